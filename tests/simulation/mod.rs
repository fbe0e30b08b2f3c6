//! The whole engine, run by one seed against simulated systems.
//!
//! `stage` holds everything outside the engine: both systems with the history
//! of every value, the people who edit them, faults and crashes, all drawn
//! from the seed. `object` and `store` are the seams through which the engine
//! meets it. `scenario` is what a seed makes of a mapping, `forms` how its fields
//! are shown and `merges` what is added up in them. `play` is one seed from the
//! first edit to rest, `check` what must hold then, and `mutants` breaks one
//! promise at a time, which `check` has to notice. `cases` and `keys` are single
//! histories, played by hand. The state is the one in memory; some seeds are
//! played with those in a file and in PostgreSQL as well.
//!
//! `ENGINE_SIM_SEEDS=1000000` plays more seeds, `ENGINE_SIM_FROM=10000` others,
//! `ENGINE_SIM_SEED=123` one with its whole trace.

mod cases;
mod check;
mod foresight;
mod forms;
mod keys;
mod merges;
mod mutants;
mod object;
mod owing;
mod people;
mod play;
mod scenario;
mod stage;
mod store;
mod system;

use scenario::Scenario;
use store::{Place, lying_in};
use tokio::runtime::Builder;

use crate::support::postgres::Database;

const SEEDS: u64 = 10_000;

#[expect(clippy::disallowed_methods, reason = "what a long run of the tests is asked for by")]
fn asked(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

/// A part of all seeds, so that several parts run at once.
fn part(number: u64) {
    plays(Scenario::draw, SEEDS, |seed| seed % 4 == number);
}

/// Plays what `draw` makes of the seeds, or of the one that is asked for.
fn plays(draw: fn(u64) -> Scenario, seeds: u64, is_mine: impl Fn(u64) -> bool) {
    if let Some(seed) = asked("ENGINE_SIM_SEED") {
        if is_mine(0) {
            let played = play::play(&draw(seed), None);
            #[expect(clippy::print_stderr, reason = "the trace was asked for")]
            {
                eprintln!("{:#?}\n{}", draw(seed), played.trace.join("\n"));
            }
            assert_eq!(played.broken, Vec::<String>::new(), "seed {seed}");
        }
        return;
    }
    let (from, seeds) = (asked("ENGINE_SIM_FROM").unwrap_or(0), asked("ENGINE_SIM_SEEDS").unwrap_or(seeds));
    let broken: Vec<_> = (from..from + seeds)
        .filter(|seed| is_mine(*seed))
        .map(|seed| (seed, play::play(&draw(seed), None).broken))
        .filter(|(_, broken)| !broken.is_empty())
        .collect();
    assert!(broken.is_empty(), "broken with ENGINE_SIM_SEED=…: {broken:#?}");
}

#[test]
fn every_promise_is_kept_first_quarter() {
    part(0);
}

#[test]
fn every_promise_is_kept_second_quarter() {
    part(1);
}

#[test]
fn every_promise_is_kept_third_quarter() {
    part(2);
}

#[test]
fn every_promise_is_kept_fourth_quarter() {
    part(3);
}

#[test]
fn first_syncs_keep_every_promise() {
    plays(Scenario::first_sync, 2_000, |_| true);
}

/// The stores that outlive a process remember what the one in memory does: the
/// whole history of a seed is the same, to the last word of its trace.
fn plays_alike(place: &Place, seeds: u64) {
    let elsewhere = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let (from, seeds) = (asked("ENGINE_SIM_FROM").unwrap_or(0), asked("ENGINE_SIM_SEEDS").unwrap_or(seeds));
    for seed in asked("ENGINE_SIM_SEED").map_or(from..from + seeds, |seed| seed..seed + 1) {
        let scenario = Scenario::draw(seed);
        let other = play::play_on(&lying_in(place, &elsewhere, seed), &scenario, None);
        assert_eq!(other.broken, Vec::<String>::new(), "seed {seed}");
        let trace = play::play(&scenario, None).trace;
        let differs = trace.iter().zip(&other.trace).find(|(here, there)| here != there);
        assert_eq!((differs, trace.len()), (None, other.trace.len()), "seed {seed}");
    }
}

#[test]
fn a_state_in_a_file_plays_alike() {
    plays_alike(&Place::Sqlite(tempfile::tempdir().expect("a folder")), 200);
}

#[test]
fn a_state_in_postgres_plays_alike() {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    plays_alike(&Place::Postgres(runtime.block_on(Database::fresh())), 60);
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in 0..50 {
        let scenario = Scenario::draw(seed);
        let (one, other) = (play::play(&scenario, None), play::play(&scenario, None));
        assert!(one.trace.len() > 10, "something happens");
        assert_eq!(one.trace, other.trace, "seed {seed}");
    }
}
