//! `kill -9`, again and again, while people edit both sides without a pause.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use engine::record::{Both, Side};

use super::asked_number;
use super::check::promises;
use super::histories::{People, Watch, rest, run_and_kill};
use super::project::{POSTGRES_POSTGRES, Pair, Project, SQLITE_POSTGRES, SQLITE_SQLITE, Terms};
use crate::seed::Seed;

const KILLS: u64 = 12;

/// Edits on each side that make a storm.
const EDITS: u64 = 20;

/// What the people of a storm have in common.
struct Crowd {
    people: Mutex<People>,
    stop: AtomicBool,
    edits: Both<AtomicU64>,
}

/// Somebody edits one side until told to stop.
async fn edit(project: Arc<Project>, side: Side, crowd: Arc<Crowd>) {
    let mut hand = project.systems[side].hand().await;
    while !crowd.stop.load(Ordering::Relaxed) {
        let edit = crowd.people.lock().unwrap().draw(side, true);
        hand.edit(&edit).await;
        crowd.edits[side].fetch_add(1, Ordering::Relaxed);
        // People are not faster than that; without it the histories only grow.
        std::thread::sleep(Duration::from_millis(3));
    }
}

async fn storm(pair: Pair) {
    let number = asked_number("ENGINE_SERVERS_SEED").unwrap_or(1);
    let mut seed = Seed::new(number);
    let project = Arc::new(Project::new(pair, &Terms::PLAIN, true).await);
    let people = Mutex::new(People::new("v", Seed::new(seed.next())));
    let crowd = Arc::new(Crowd { people, stop: AtomicBool::new(false), edits: Both::default() });
    let writers = Side::BOTH.map(|side| tokio::spawn(edit(project.clone(), side, crowd.clone())));
    let kills = asked_number("ENGINE_SERVERS_KILLS").unwrap_or(KILLS);
    let (mut killed, mut runs) = (0, 0);
    while runs < kills || Side::BOTH.iter().any(|side| crowd.edits[*side].load(Ordering::Relaxed) < EDITS) {
        runs += 1;
        let after = Duration::from_millis(20 + seed.below(180));
        let project = project.clone();
        let ran = tokio::task::spawn_blocking(move || run_and_kill(&project, after)).await.unwrap();
        match ran.code {
            None => killed += 1,
            Some(code) => assert!(code == 0 || code == 1, "{ran:?}"),
        }
    }
    crowd.stop.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await.unwrap();
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
