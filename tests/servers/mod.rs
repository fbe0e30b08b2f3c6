//! The promises, on real servers: the engine's own binary on SQLite files and
//! PostgreSQL databases, killed, cut off, started ten at once.
//!
//! `system` is one of the two real systems, with people who edit it and the
//! history it writes itself; `project` runs the engine on a pair of them;
//! `check` says what must hold when all is quiet. `histories` draws what
//! people do from a seed, with runs between and some of them killed; `storm`
//! kills run after run while people go on editing; `points` ends a run at each
//! call by which it changes anything outside itself, or takes its connections
//! away, by `point.c`; `first` does so in a first sync; `late` lets a statement
//! commit after its engine died; `starts` starts ten at once; `soak` has forty
//! mappings go on for as long as `ENGINE_SOAK_SECONDS` says.
//!
//! `ENGINE_SERVERS_SEED=123` plays one seed of the histories and prints what
//! happened, `ENGINE_SERVERS_SEEDS=500` plays more; `ENGINE_SERVERS_POINTS=1`
//! leaves out no point; `ENGINE_SERVERS_KILLS=500` makes longer storms.

mod check;
mod first;
mod histories;
mod late;
mod points;
mod project;
mod soak;
mod starts;
mod storm;
mod system;

#[expect(clippy::disallowed_methods, reason = "what a long run of the tests is asked for by")]
fn asked(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn asked_number(name: &str) -> Option<u64> {
    asked(name).map(|text| text.parse().expect("a number"))
}
