//! `kill -9`, again and again, while people edit both sides without a pause.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use engine::record::Side;

use super::asked_number;
use super::check::promises;
use super::histories::{People, Watch, rest, run_and_kill};
use super::project::{POSTGRES_POSTGRES, Pair, Project, SQLITE_POSTGRES, SQLITE_SQLITE, Terms};
use crate::seed::Seed;

const KILLS: u64 = 12;

/// Somebody edits one side until told to stop; how many edits that were.
async fn edit(project: Arc<Project>, side: Side, people: Arc<Mutex<People>>, stop: Arc<AtomicBool>) -> u64 {
    let mut hand = project.systems[side].hand().await;
    let mut edits = 0;
    while !stop.load(Ordering::Relaxed) {
        let edit = people.lock().unwrap().draw(side, true);
        hand.edit(&edit).await;
        edits += 1;
        // People are not faster than that; without it the histories only grow.
        std::thread::sleep(Duration::from_millis(3));
    }
    edits
}

async fn storm(pair: Pair) {
    let number = asked_number("ENGINE_SERVERS_SEED").unwrap_or(1);
    let mut seed = Seed::new(number);
    let project = Arc::new(Project::new(pair, &Terms::PLAIN, true).await);
    let people = Arc::new(Mutex::new(People::new("v", Seed::new(seed.next()))));
    let stop = Arc::new(AtomicBool::new(false));
    let writers = Side::BOTH.map(|side| tokio::spawn(edit(project.clone(), side, people.clone(), stop.clone())));
    let mut killed = 0;
    for _ in 0..asked_number("ENGINE_SERVERS_KILLS").unwrap_or(KILLS) {
        let after = Duration::from_millis(20 + seed.below(180));
        let project = project.clone();
        let ran = tokio::task::spawn_blocking(move || run_and_kill(&project, after)).await.unwrap();
        match ran.code {
            None => killed += 1,
            Some(code) => assert!(code == 0 || code == 1, "{ran:?}"),
        }
    }
    stop.store(true, Ordering::Relaxed);
    for writer in writers {
        assert!(writer.await.unwrap() > 20, "somebody edited all the while");
    }
    assert!(killed > 0, "some runs were killed");
    let mut watch = Watch::new();
    let last = rest(&project, &mut watch).await;
    let mut broken = watch.broken;
    if !last.is_null() {
        broken.extend(promises(&project, &Terms::PLAIN, &last, watch.doubts).await);
    }
    assert_eq!(
        broken,
        Vec::<String>::new(),
        "broken with {pair:?} and ENGINE_SERVERS_SEED={number}\n{:#?}",
        watch.trace
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_while_people_edit_sqlite_and_sqlite() {
    storm(SQLITE_SQLITE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_while_people_edit_sqlite_and_postgres() {
    storm(SQLITE_POSTGRES).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_while_people_edit_postgres_and_postgres() {
    storm(POSTGRES_POSTGRES).await;
}
