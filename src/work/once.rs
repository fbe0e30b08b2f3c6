//! Each mapping once.

use std::sync::Arc;

use crate::diagnostic::Code;
use crate::run::{Options, RunReport, Setup, Trouble, fail_begun_run, run_mapping};

/// What is said of a run that panicked.
pub fn broke_off(why: &str) -> String {
    format!("the run broke off by a fault of the engine: {why}")
}

/// Runs one mapping on a task of its own. A panic ends this run and no other.
pub async fn run_once(setup: Setup, options: Options) -> RunReport {
    let mapping = setup.program.name.to_string();
    let (store, world, dry) = (Arc::clone(&setup.store), Arc::clone(&setup.world), options.dry);
    let started_at = world.now();
    let task = tokio::spawn(async move { run_mapping(&Arc::new(setup), &options).await });
    match task.await {
        Ok(report) => report,
        Err(error) => {
            let message = broke_off(&error.to_string());
            let trouble = Trouble::Refused { code: Code::BROKE_OFF, side: None, message };
            let report = RunReport::unstarted(&mapping, &*world, started_at, trouble);
            if dry { report } else { fail_begun_run(&*store, report).await }
        }
    }
}
