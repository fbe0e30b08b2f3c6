//! Mappings that run by themselves, until somebody stops the engine.
//!
//! One task decides what begins when; the runs hang off it. What a run does,
//! and what the mappings are, is for the [`Runner`].

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::future::BoxFuture;
use tokio::task::{Id, JoinSet};

use super::board::{Board, Job};
use crate::run::{World, is_stopped, unless_stopped};
use crate::state::RunStatus;

/// So often it is looked whether what was written has changed, and the time is
/// taken anew: a clock that was set does not leave anybody asleep.
const LOOK: Duration = Duration::from_secs(2);

/// What runs mappings.
pub trait Runner: Send + Sync + 'static {
    /// What came of a run.
    type Report: Send + 'static;

    /// Runs a mapping once. Ends soon after the world was stopped.
    fn run(&self, mapping: &str) -> BoxFuture<'static, Self::Report>;

    fn status(report: &Self::Report) -> RunStatus;

    /// A run has ended, or broke off by a fault of the engine, of which the words
    /// are told. The mapping runs next at this time, if the clock decides that;
    /// so many runs in a row have failed.
    fn ended(&self, mapping: &str, ended: Result<Self::Report, String>, next: Option<DateTime<Utc>>, failures: u32);

    /// The mappings as they are to run from now on, where that has changed
    /// since this was last asked.
    fn changes(&self) -> BoxFuture<'_, Option<Vec<Job>>>;
}

/// Runs mappings whenever they are due, at most so many at once that have not
/// failed before, and as many of those that have. Ends once the world was
/// stopped and the runs that were under way have ended.
pub async fn serve<R: Runner>(runner: &R, world: &dyn World, jobs: Vec<Job>, parallel: usize) {
    let mut board = Board::new(jobs, world.now(), parallel);
    let mut runs: JoinSet<R::Report> = JoinSet::new();
    let mut under_way: HashMap<Id, (String, DateTime<Utc>)> = HashMap::new();
    let mut looked = world.now();
    loop {
        let now = world.now();
        if is_stopped(world) {
            if runs.is_empty() {
                return;
            }
        } else {
            for mapping in board.begin(now) {
                let run = runs.spawn(runner.run(&mapping));
                under_way.insert(run.id(), (mapping, now));
            }
            if now < looked || now - looked >= chrono::TimeDelta::from_std(LOOK).unwrap_or_default() {
                if let Some(jobs) = runner.changes().await {
                    board.replace(jobs, world.now());
                }
                looked = world.now();
                continue;
            }
        }
        let wait = board.until_next(now).map_or(LOOK, |wait| wait.min(LOOK));
        let ended = async {
            match runs.join_next_with_id().await {
                Some(ended) => ended,
                None => std::future::pending().await,
            }
        };
        let ended = tokio::select! {
            biased;
            ended = ended => ended,
            _ = unless_stopped(world, world.sleep(wait)), if !is_stopped(world) => continue,
        };
        let now = world.now();
        let (id, ended) = match ended {
            Ok((id, report)) => (id, Ok(report)),
            Err(error) => (error.id(), Err(error.to_string())),
        };
        let Some((mapping, began)) = under_way.remove(&id) else { continue };
        let status = ended.as_ref().map_or(RunStatus::Failure, R::status);
        let (next, failures) = board.end(&mapping, status, began, now);
        runner.ended(&mapping, ended, next, failures);
    }
}
