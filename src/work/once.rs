//! Each mapping once.

use std::sync::Arc;

use crate::record::Both;
use crate::run::{Options, RunReport, Setup, Trouble, run_mapping};
use crate::state::{RunCounts, RunStatus};

/// Runs one mapping on a task of its own. A panic ends this run and no other.
pub async fn run_once(setup: Setup, options: Options) -> RunReport {
    let mapping = setup.program.name.to_string();
    let (world, id) = (Arc::clone(&setup.world), setup.world.id());
    let started_at = world.now();
    let task = tokio::spawn(async move { run_mapping(&Arc::new(setup), &options).await });
    match task.await {
        Ok(report) => report,
        Err(error) => RunReport {
            mapping,
            run: id,
            status: RunStatus::Failure,
            started_at,
            duration_ms: u64::try_from((world.now() - started_at).num_milliseconds()).unwrap_or(0),
            counts: RunCounts::default(),
            parked: Vec::new(),
            troubles: vec![Trouble::Refused {
                code: "E0905",
                message: format!("the run broke off by a fault of the engine: {error}"),
            }],
            planned: Vec::new(),
            held: Both::default(),
            undecided: Vec::new(),
        },
    }
}
