//! What a plan says is what the run after it does, where nobody edits between
//! the two.

use std::time::Duration;

use engine::record::{Both, Key, Side};
use engine::run::{Options, RunReport, World, run_mapping};
use engine::state::{MemoryStore, RunCounts, SideCounts};

use super::asked;
use super::play::{people, setup};
use super::scenario::Scenario;
use super::stage::Shared;

/// No faults, and people who rest while the engine is at work.
fn calm(number: u64) -> Scenario {
    Scenario { faults: 0, edits: 0, crashes: 0, ..Scenario::draw(number) }
}

/// What a report says of writes, records that are parked, conflicts and deletes
/// that are held back.
fn told(report: &RunReport) -> String {
    let mut parked: Vec<(Side, Both<Option<Key>>)> =
        report.parked.iter().map(|parked| (parked.side, parked.keys.clone())).collect();
    parked.sort_by_key(|parked| format!("{parked:?}"));
    // Whether what the run itself created is read as well depends on the listing, and it is unchanged.
    let side = |counts: SideCounts| {
        let SideCounts { read, created, updated, deleted, unchanged, skipped, failed, parked } = counts;
        let _ = (read, unchanged, skipped);
        format!("+{created} ~{updated} -{deleted}, {failed} {parked}")
    };
    let RunCounts { to_source, to_target, conflicts, .. } = report.counts;
    format!("<- {}; -> {}; {conflicts} {parked:?} {:?}", side(to_source), side(to_target), report.held)
}

#[test]
fn a_plan_says_what_the_run_does() {
    let mut broken = Vec::new();
    let numbers = asked("ENGINE_SIM_SEED").map_or(0..3_000, |number| number..number + 1);
    for number in numbers {
        let scenario = calm(number);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime of one thread");
        let _inside = runtime.enter();
        let shared = Shared::new(&scenario);
        shared.lock().calm();
        let memory = MemoryStore::new();
        runtime.block_on(async {
            for run in 0..scenario.runs {
                let edits = 4 + shared.lock().seed.below(8);
                people(&shared, edits);
                shared.sleep(Duration::from_secs(20)).await;
                shared.lock().land();
                let setup = setup(&scenario, None, &shared, &memory);
                shared.lock().tell("a plan is made");
                let planned = run_mapping(&setup, &Options { dry: true, ..Options::default() }).await;
                shared.lock().tell("a run begins");
                let done = run_mapping(&setup, &Options::default()).await;
                if told(&planned) != told(&done) {
                    let mut words = format!("seed {number}, run {run}:\n  {}\n  {}", told(&planned), told(&done));
                    if asked("ENGINE_SIM_SEED").is_some() {
                        use std::fmt::Write as _;
                        let _ = write!(
                            words,
                            "\n{scenario:#?}\n{}\n{:#?}",
                            shared.lock().trace.join("\n"),
                            planned.planned
                        );
                    }
                    broken.push(words);
                    break;
                }
            }
        });
    }
    assert!(broken.is_empty(), "{}: {}", broken.len(), broken[..broken.len().min(20)].join("\n"));
}
