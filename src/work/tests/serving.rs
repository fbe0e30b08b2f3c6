//! Mappings on their schedules, with runs that only pass the time, on virtual
//! time.

#![expect(clippy::disallowed_methods, reason = "the runtime's clock is paused: this is simulated time")]

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures::future::BoxFuture;
use tokio::time::Instant;

use super::{at, job};
use crate::run::World;
use crate::state::RunStatus;
use crate::work::{Job, Runner, serve};

/// Tokio's paused clock, and a stop.
struct Clock {
    began: Instant,
    stops_after: Duration,
}

impl World for Clock {
    fn now(&self) -> DateTime<Utc> {
        at("2026-03-01T12:00:00Z") + TimeDelta::from_std(self.began.elapsed()).expect("it is not that late")
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'_, ()> {
        Box::pin(tokio::time::sleep(duration))
    }

    fn id(&self) -> String {
        "id".into()
    }

    fn stopped(&self) -> BoxFuture<'_, ()> {
        Box::pin(tokio::time::sleep_until(self.began + self.stops_after))
    }
}

/// Runs that last a while; what they did is kept.
#[derive(Default)]
struct Player {
    lasts: Duration,
    panics: Option<&'static str>,
    edited: Mutex<Option<Vec<Job>>>,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    running: BTreeSet<String>,
    most: usize,
    twice: bool,
    begun: Vec<String>,
    ended: Vec<String>,
    broke_off: Vec<String>,
}

impl Runner for Player {
    type Report = String;

    fn run(&self, mapping: &str) -> BoxFuture<'static, String> {
        let (mapping, seen, lasts) = (mapping.to_owned(), self.seen.clone(), self.lasts);
        let panics = self.panics == Some(mapping.as_str());
        Box::pin(async move {
            {
                let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                seen.begun.push(mapping.clone());
                seen.twice |= !seen.running.insert(mapping.clone());
                seen.most = seen.most.max(seen.running.len());
            }
            tokio::time::sleep(lasts).await;
            seen.lock().unwrap_or_else(PoisonError::into_inner).running.remove(&mapping);
            assert!(!panics, "as it was asked to");
            mapping
        })
    }

    fn status(_: &String) -> RunStatus {
        RunStatus::Success
    }

    fn ended(&self, mapping: &str, ended: Result<String, String>, _: Option<DateTime<Utc>>, _: u32) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match ended {
            Ok(report) => seen.ended.push(report),
            Err(why) => seen.broke_off.push(format!("{mapping}: {why}")),
        }
    }

    fn changes(&self) -> BoxFuture<'_, Option<Vec<Job>>> {
        Box::pin(std::future::ready(self.edited.lock().unwrap_or_else(PoisonError::into_inner).take()))
    }
}

fn every(mapping: &str, seconds: u64, group: usize) -> Job {
    job(mapping, &format!("every: {seconds}s"), &[], group)
}

async fn played(player: &Player, jobs: Vec<Job>, parallel: usize, minutes: u64) {
    let world = Clock { began: Instant::now(), stops_after: Duration::from_mins(minutes) };
    serve(player, &world, jobs, parallel).await;
}

#[tokio::test(start_paused = true)]
async fn a_run_that_takes_longer_than_its_interval_is_not_overlapped() {
    let player = Player { lasts: Duration::from_secs(25), ..Player::default() };
    played(&player, vec![every("a", 10, 0), every("b", 10, 1)], 4, 10).await;
    let seen = player.seen.lock().unwrap_or_else(PoisonError::into_inner);
    assert!(!seen.twice);
    assert_eq!(seen.most, 2);
    assert_eq!(seen.begun.iter().filter(|name| *name == "a").count(), 24, "one after the other");
    // Stopped in the middle of two runs, both of which came to their end.
    assert_eq!(seen.begun.len(), seen.ended.len());
}

#[tokio::test(start_paused = true)]
async fn a_panic_ends_one_run_and_no_other() {
    let player = Player { lasts: Duration::from_secs(1), panics: Some("a"), ..Player::default() };
    played(&player, vec![every("a", 60, 0), every("b", 60, 1)], 1, 10).await;
    let seen = player.seen.lock().unwrap_or_else(PoisonError::into_inner);
    let of = |name: &str| seen.begun.iter().filter(|begun| *begun == name).count();
    assert_eq!(of("b"), 10);
    // After the second failure in a row it is tried less often.
    assert!((3..=6).contains(&of("a")), "{:?}", seen.begun);
    assert_eq!(seen.broke_off.len(), of("a"));
}

#[tokio::test(start_paused = true)]
async fn what_is_edited_runs_from_then_on() {
    let player = Player::default();
    *player.edited.lock().unwrap_or_else(PoisonError::into_inner) = Some(vec![every("b", 60, 0)]);
    played(&player, vec![every("a", 60, 0)], 1, 5).await;
    let seen = player.seen.lock().unwrap_or_else(PoisonError::into_inner);
    assert_eq!(seen.begun, ["a", "b", "b", "b", "b", "b"]);
}

/// A thousand mappings, each a tenth of a second long every ten minutes.
#[tokio::test(start_paused = true)]
async fn a_thousand_mappings_share_what_runs_at_once() {
    let player = Player { lasts: Duration::from_millis(100), ..Player::default() };
    let jobs = (0..1000).map(|number| every(&format!("m{number}"), 600, number)).collect();
    played(&player, jobs, 4, 30).await;
    let seen = player.seen.lock().unwrap_or_else(PoisonError::into_inner);
    assert_eq!((seen.begun.len(), seen.most, seen.twice), (3000, 4, false));
}

#[tokio::test(start_paused = true)]
async fn a_stop_while_nothing_runs_ends_at_once() {
    let world = Clock { began: Instant::now(), stops_after: Duration::from_secs(90) };
    serve(&Player::default(), &world, vec![every("a", 3600, 0)], 1).await;
    assert!(world.began.elapsed() < Duration::from_secs(93), "{:?}", world.began.elapsed());
}
