//! Ten engines are started at once on one state.

use std::process::Child;

use engine::record::Side;

use super::late::{AT_COMMIT, until};
use super::project::{Pair, Project, Ran, SQLITE_POSTGRES, SQLITE_SQLITE, Terms, count, end, written};
use super::system::{Edit, brake};

const STARTS: usize = 10;
const RECORDS: u64 = 50;

fn ten(project: &Project) -> Vec<Ran> {
    let started: Vec<Child> = (0..STARTS).map(|_| project.start(&[])).collect();
    started.into_iter().map(end).collect()
}

async fn fill(project: &Project) {
    for side in Side::BOTH {
        let mut hand = project.systems[side].hand().await;
        for number in 0..RECORDS {
            let code = format!("{side}{number}");
            hand.edit(&Edit::Create { code, values: ["1".into(), "2".into()] }).await;
        }
    }
}

/// Those that were not let in say who is.
fn refused(ran: &Ran, by: Option<u32>) {
    assert_eq!(ran.code, Some(3), "{ran:?}");
    // In the moment in which it takes the state, the holder's name is not there to be read.
    let holder = by.map_or_else(String::new, |by| format!("process {by}, since "));
    let says = format!("another engine works on this state: {holder}");
    let error = &ran.json()["error"];
    assert!(error["code"] == "E0906" && error["message"].as_str().unwrap().contains(&says), "{ran:?}");
}

/// Every record stands once on each side, made by the engine where it was not
/// made by people.
async fn nothing_is_doubled(project: &Project) {
    for side in Side::BOTH {
        let rows = project.systems[side].rows().await;
        assert_eq!(rows.len() as u64, 2 * RECORDS);
        assert!(rows.values().all(|rows| rows.len() == 1), "{rows:?}");
        let entries = project.systems[side].history().await;
        assert_eq!(entries.iter().filter(|entry| entry.engine).count() as u64, RECORDS);
    }
    assert_eq!(written(&project.run().ends(0).report()), 0);
}

async fn whoever_comes_first_works(pair: Pair) {
    let project = Project::new(pair, &Terms::PLAIN, true).await;
    fill(&project).await;
    let (ran, others): (Vec<Ran>, Vec<Ran>) = ten(&project).into_iter().partition(|ran| ran.code == Some(0));
    assert!(!ran.is_empty(), "{others:?}");
    for ran in &others {
        refused(ran, None);
    }
    for side in Side::BOTH {
        let created: u64 = ran.iter().map(|ran| count(&ran.report(), side, "created")).sum();
        assert_eq!(created, RECORDS, "those that worked did it once between them");
    }
    nothing_is_doubled(&project).await;
}

#[tokio::test]
async fn of_ten_starts_one_works_at_a_time() {
    whoever_comes_first_works(SQLITE_SQLITE).await;
    whoever_comes_first_works(SQLITE_POSTGRES).await;
}

#[tokio::test]
async fn while_one_works_ten_are_refused_and_after_its_death_one_takes_over() {
    let project = Project::new(SQLITE_POSTGRES, &Terms::PLAIN, true).await;
    fill(&project).await;
    let (mut holder, mut watcher) = (project.systems.target.hand().await, project.systems.target.hand().await);
    brake(&mut holder, true).await;
    let mut first = project.start(&[]);
    until(&mut watcher, AT_COMMIT).await;
    for ran in ten(&project) {
        refused(&ran, Some(first.id()));
    }
    first.kill().unwrap();
    assert_eq!(end(first).code, None);

    // The server is still at work on what the dead one sent: whoever takes over waits for it.
    let mut started: Vec<Child> = (0..STARTS).map(|_| project.start(&[])).collect();
    until(&mut watcher, super::late::ASKS).await;
    let mut left = STARTS;
    while left > 1 {
        left = started.iter_mut().filter_map(|child| child.try_wait().unwrap().is_none().then_some(())).count();
        std::thread::yield_now();
    }
    brake(&mut holder, false).await;
    let (ran, others): (Vec<Ran>, Vec<Ran>) = started.into_iter().map(end).partition(|ran| ran.code == Some(0));
    assert_eq!(ran.len(), 1, "{others:?}");
    for ran in &others {
        refused(ran, None);
    }
    for side in Side::BOTH {
        assert_eq!(count(&ran[0].report(), side, "created"), RECORDS);
    }
    nothing_is_doubled(&project).await;
}
