//! A statement whose engine is dead commits after all, or does not.

use engine::record::Side;

use super::project::{POSTGRES_POSTGRES, Project, SQLITE_POSTGRES, Terms, count, end, written};
use super::system::{Edit, Hand, brake};

/// Waits for the server to say that something is so.
pub(super) async fn until(hand: &mut Hand, what: &str) {
    // The server answers each question in its own time; nothing is timed here.
    for _ in 0..20_000 {
        if hand
            .number(&format!("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND {what}"))
            .await
            > 0
        {
            return;
        }
    }
    panic!("this never came about: {what}");
}

/// The engine's transaction is at its COMMIT, and cannot end.
pub(super) const AT_COMMIT: &str =
    "application_name = 'engine' AND query = 'COMMIT' AND state = 'active' AND wait_event_type = 'Lock'";

/// Another engine asks what became of it.
pub(super) const ASKS: &str = "application_name = 'engine' AND query LIKE '%pg_xact_status%'";

/// An engine is killed while its COMMIT is under way on `side`; the next one
/// runs while the server is still at it. `commits` tells what comes of it.
async fn late(project: Project, side: Side, commits: bool) {
    let mut source = project.systems[side.other()].hand().await;
    let (mut holder, mut watcher) = (project.systems[side].hand().await, project.systems[side].hand().await);
    let create = |code: &str| Edit::Create { code: code.into(), values: ["1".into(), "1".into()] };
    source.edit(&create("old")).await;
    source.edit(&create("going")).await;
    project.run().ends(0);

    brake(&mut holder, true).await;
    source.edit(&create("new")).await;
    source.edit(&Edit::Set { code: "old".into(), field: 0, value: "2".into() }).await;
    let mut first = project.start(&[]);
    until(&mut watcher, AT_COMMIT).await;
    first.kill().unwrap();
    assert_eq!(end(first).code, None);
    // Somebody edits the same record meanwhile, another field.
    source.edit(&Edit::Set { code: "old".into(), field: 1, value: "3".into() }).await;

    let mut second = project.start(&[]);
    until(&mut watcher, ASKS).await;
    assert!(second.try_wait().unwrap().is_none(), "it waits for the statement of the one before");
    let rows = project.systems[side].rows().await;
    assert!(!rows.contains_key("new") && rows["old"][0] == [Some("1".into()), Some("1".into())], "{rows:?}");
    if commits {
        brake(&mut holder, false).await;
    } else {
        let ended = format!(
            "SELECT count(*) FROM (SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity \
             WHERE datname = current_database() AND {AT_COMMIT}) AS ended"
        );
        assert_eq!(watcher.number(&ended).await, 1);
        brake(&mut holder, false).await;
    }
    let ran = end(second).ends(0);
    let report = ran.report();
    let said = ["created", "updated"].map(|what| count(&report, side, what));
    // What the first run did is told by the second, and then the edit made in between.
    assert_eq!(said, if commits { [1, 2] } else { [1, 1] }, "{report}");
    for side in Side::BOTH {
        let rows = project.systems[side].rows().await;
        assert_eq!(rows["new"], [[Some("1".into()), Some("1".into())]], "{rows:?}");
        assert_eq!(rows["old"], [[Some("2".into()), Some("3".into())]], "{rows:?}");
    }
    assert_eq!(written(&project.run().ends(0).report()), 0);
    assert_eq!(project.conflicts(), Vec::<serde_json::Value>::new());
}

#[tokio::test]
async fn a_commit_that_outlives_its_engine_is_waited_for_and_taken_in() {
    late(Project::new(SQLITE_POSTGRES, &Terms::PLAIN, false).await, Side::Target, true).await;
    late(Project::new(POSTGRES_POSTGRES, &Terms::PLAIN, false).await, Side::Source, true).await;
}

#[tokio::test]
async fn a_commit_that_dies_after_its_engine_is_made_again() {
    late(Project::new(SQLITE_POSTGRES, &Terms::PLAIN, false).await, Side::Target, false).await;
    late(Project::new(POSTGRES_POSTGRES, &Terms::PLAIN, false).await, Side::Source, false).await;
}
