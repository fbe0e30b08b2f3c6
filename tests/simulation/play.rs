//! One seed, from the first edit to rest.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use engine::plan::Resolution;
use engine::record::{Both, Key, Side, Value};
use engine::run::{
    Event, Neighbours, Observer, Options, RetryPolicy, RunReport, Setup, Silent, World, run_mapping,
    settle_as_not_sent, settle_as_sent,
};
use engine::state::{Conflict, ConflictFilter, Layout, LayoutField, ParkedFilter, Reason, RunCounts, RunStatus};

use tokio::runtime::{Builder, Runtime};

use super::asked;
use super::check;
use super::mutants::Mutant;
use super::object::SimObject;
use super::scenario::{EDITED, Scenario};
use super::stage::Shared;
use super::store::{SimStore, State, in_memory};

/// What came of a seed: everything that happened, and which promises were not
/// kept.
pub(super) struct Played {
    pub(super) trace: Vec<String>,
    pub(super) broken: Vec<String>,
}

/// Puts the engine's events into the trace of a seed that somebody looks at.
struct Traces(Shared);

impl Observer for Traces {
    fn progress(&self, _: &str, _: &RunCounts) {}

    fn event(&self, _: &str, _: &str, event: &Event) {
        let key = |side: Side| event.keys[side].as_ref().map_or("-", Key::as_str);
        self.0.lock().tell(&format!("  {} = {}: {:?}", key(Side::Source), key(Side::Target), event.fact));
    }
}

/// Runs that finished, and what they said.
#[derive(Default)]
pub(super) struct Told {
    pub(super) reports: Vec<RunReport>,
    pub(super) at_rest: bool,
    /// People have decided about all that waited for them.
    pub(super) decided: bool,
    /// What did not hold before they had.
    pub(super) broken: Vec<String>,
}

/// A runtime whose clock goes on where everybody waits.
pub(super) fn paused() -> Runtime {
    Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime of one thread")
}

pub(super) fn play(scenario: &Scenario, mutant: Option<Mutant>) -> Played {
    play_on(&in_memory(), scenario, mutant)
}

/// Plays a seed with a fresh state.
pub(super) fn play_on(state: &State, scenario: &Scenario, mutant: Option<Mutant>) -> Played {
    let runtime = paused();
    let _inside = runtime.enter();
    let shared = Shared::new(scenario);
    let played = std::panic::catch_unwind(AssertUnwindSafe(|| {
        runtime.block_on(async {
            let told = run_all(scenario, mutant, &shared, state).await;
            let kept = check::Kept::read(state).await;
            let mut broken = told.broken.clone();
            broken.extend(check::promises(scenario, &shared.lock(), kept, &told));
            broken
        })
    }));
    let broken = played.unwrap_or_else(|panic| {
        let words = panic.downcast_ref::<String>().cloned();
        let words = words.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
        vec![format!("the engine panicked: {}", words.unwrap_or_default())]
    });
    Played { trace: std::mem::take(&mut shared.lock().trace), broken }
}

pub(super) fn setup(scenario: &Scenario, mutant: Option<Mutant>, shared: &Shared, state: &State) -> Arc<Setup> {
    let mut program = scenario.program();
    if mutant == Some(Mutant::OverlapZero) {
        for side in Side::BOTH {
            program.sides[side].overlap = Duration::ZERO;
        }
    }
    if mutant == Some(Mutant::NoTieBreak) {
        program.grain_nanos = 0;
    }
    let object = |side| {
        Arc::new(SimObject {
            side,
            stage: shared.clone(),
            shape: Arc::new(Scenario::shape()),
            batch: scenario.batch,
            mutant,
            created: Mutex::default(),
        })
    };
    let fields =
        program.fields.iter().map(|field| LayoutField { id: field.name.clone(), rules: String::new() }).collect();
    Arc::new(Setup {
        program: Arc::new(program),
        objects: Both::new(object(Side::Source), object(Side::Target)),
        fingerprints: Both::default(),
        layout: Layout { id: 0, fields, settled: false },
        filters: Both::default(),
        neighbours: Neighbours::default(),
        retry: Both::from_fn(|_| RetryPolicy::default()),
        store: Arc::new(SimStore { inner: state.clone(), stage: shared.clone(), mutant }),
        world: Arc::new(shared.clone()),
        observer: if asked("ENGINE_SIM_SEED").is_some() { Arc::new(Traces(shared.clone())) } else { Arc::new(Silent) },
    })
}

async fn run_all(scenario: &Scenario, mutant: Option<Mutant>, shared: &Shared, state: &State) -> Told {
    let mut told = Told::default();
    let over_limit = mutant == Some(Mutant::LimitsOff);
    let options = Options { over_limit, ..Options::default() };
    let first = 3 + shared.lock().seed.below(6);
    people(shared, first);
    for _ in 0..scenario.before {
        shared.lock().create(Side::Source);
    }
    for _ in 0..scenario.runs {
        {
            let mut stage = shared.lock();
            let crashes = scenario.crashes;
            stage.energy = 25;
            stage.crash_in = stage.seed.percent(crashes).then(|| stage.seed.below(120));
        }
        let setup = setup(scenario, mutant, shared, state);
        run_once(&setup, &options, shared, &mut told).await;
        resolve(shared, state).await;
        settle(&setup, shared, state).await;
        let (edits, pause) = {
            let mut stage = shared.lock();
            (stage.seed.below(5), 1_000 + stage.seed.below(15_000))
        };
        people(shared, edits);
        shared.sleep(Duration::from_millis(pause)).await;
        shared.lock().land();
    }
    shared.lock().calm();
    shared.sleep(Duration::from_secs(20)).await;
    shared.lock().land();
    assert!(shared.lock().is_calm(), "nothing is under way any more");
    let setup = setup(scenario, mutant, shared, state);
    told.at_rest = rest(&setup, &options, shared, state, &mut told).await;
    if told.at_rest {
        let kept = check::Kept::read(state).await;
        told.broken = check::promises(scenario, &shared.lock(), kept, &told);
        decide(shared, state).await;
        told.decided = true;
        told.at_rest = rest(&setup, &options, shared, state, &mut told).await;
    }
    told
}

/// Runs until nothing is written any more; false where that does not come.
async fn rest(setup: &Arc<Setup>, options: &Options, shared: &Shared, state: &State, told: &mut Told) -> bool {
    for _ in 0..8 {
        let before = written(shared);
        run_once(setup, options, shared, told).await;
        let settled = settle(setup, shared, state).await;
        shared.sleep(Duration::from_secs(20)).await;
        // Nor has it come to know of anything that an earlier run had made.
        let told = told.reports.last().map(|report| [report.counts.to_source, report.counts.to_target]);
        let is_quiet =
            told.is_none_or(|sides| sides.iter().all(|side| side.created + side.updated + side.deleted == 0));
        if written(shared) == before && !settled && is_quiet {
            return true;
        }
    }
    false
}

/// Which field of which records is in conflict.
fn about(conflict: &Conflict) -> String {
    let Both { source, target } = &conflict.keys;
    format!("{} of {} and {}", conflict.field, source.as_str(), target.as_str())
}

/// Somebody decides about every open conflict.
async fn decide(shared: &Shared, state: &State) {
    let filter = ConflictFilter { open: true, ..ConflictFilter::default() };
    for conflict in state.conflicts(&filter).await.expect("the state can be read") {
        let side = {
            let mut stage = shared.lock();
            // In one direction, what is decided for the target stays there alone.
            if stage.scenario.two_way { *stage.seed.pick(&Side::BOTH) } else { Side::Source }
        };
        shared.lock().tell(&format!("somebody takes the {side}, in the end: {}", about(&conflict)));
        let resolution = Resolution::Take(side);
        state.resolve(&[conflict.id], Some(&resolution)).await.expect("the state can be changed");
    }
}

fn written(shared: &Shared) -> u64 {
    let stage = shared.lock();
    Side::BOTH
        .into_iter()
        .map(|side| stage.systems[side].created + stage.systems[side].updated + stage.systems[side].removed)
        .sum()
}

pub(super) fn people(shared: &Shared, edits: u64) {
    let mut stage = shared.lock();
    stage.idle = true;
    (0..edits).for_each(|_| stage.people());
    stage.idle = false;
}

async fn run_once(setup: &Arc<Setup>, options: &Options, shared: &Shared, told: &mut Told) {
    shared.lock().tell("a run begins");
    let report = tokio::select! {
        biased;
        () = shared.crash.notified() => None,
        report = run_mapping(setup, options) => Some(report),
    };
    let mut stage = shared.lock();
    stage.crash_in = None;
    // What a run has not heard of until its end, the next one asks for.
    for (side, changes, all_or_nothing) in std::mem::take(&mut stage.unacknowledged) {
        stage.doubt(side, &changes, all_or_nothing);
    }
    match report {
        None => stage.tell("the run is gone"),
        Some(report) => {
            stage.tell(&format!("the run ends: {:?} {:?} {:?}", report.status, report.counts, report.troubles));
            for parked in &report.parked {
                stage.tell(&format!("parked: {:?} {:?}: {}", parked.keys, parked.reason, parked.message));
            }
            told.reports.push(report);
        }
    }
}

/// Somebody looks up what became of records in doubt, once nothing is under way
/// any more.
async fn settle(setup: &Setup, shared: &Shared, state: &State) -> bool {
    let mut any = false;
    let filter = ParkedFilter { reason: Some(Reason::InDoubt), ..ParkedFilter::default() };
    for parked in state.parked(&filter).await.expect("the state can be read") {
        let from = parked.side.other();
        let key = parked.keys[from].clone().expect("what is in doubt comes from a record");
        let there = {
            let mut stage = shared.lock();
            let patience = if stage.editing { 30 } else { 100 };
            if !stage.seed.percent(patience) || !stage.is_calm() {
                continue;
            }
            let there = stage.counterpart(from, &key);
            stage.tell(&format!("somebody settles {key} of the {from} as {there:?}"));
            there
        };
        any = true;
        let settled = "the state can be changed";
        if let Some(there) = there {
            let mut keys = Both::new(key.clone(), key);
            keys[parked.side] = there;
            // What stands there may be another record's by now.
            let known = state.links("test", parked.side, std::slice::from_ref(&keys[parked.side])).await;
            if known.expect(settled) == [None] {
                settle_as_sent(setup, parked.side, &keys).await.expect(settled);
            }
            state.drop_parked(&[parked.id]).await.expect(settled);
        } else {
            settle_as_not_sent(&**state, &parked, shared.now()).await.expect(settled);
        }
    }
    any
}

/// Somebody decides about some of the open conflicts, or enters the other
/// side's value.
async fn resolve(shared: &Shared, state: &State) {
    let filter = ConflictFilter { open: true, ..ConflictFilter::default() };
    for conflict in state.conflicts(&filter).await.expect("the state can be read") {
        let (chance, side) = {
            let mut stage = shared.lock();
            (stage.seed.below(100), *stage.seed.pick(&Side::BOTH))
        };
        match chance {
            0..25 => {
                shared.lock().tell(&format!("somebody takes the {side}: {}", about(&conflict)));
                let resolution = Resolution::Take(side);
                state.resolve(&[conflict.id], Some(&resolution)).await.expect("the state can be changed");
            }
            25..45 if conflict.field != "*" => {
                let slot = conflict.field.trim_start_matches('f').parse().expect("a field is named for its slot");
                shared.lock().copy(side, &conflict.keys[side], slot, &conflict.values[side.other()]);
            }
            _ => {}
        }
    }
}

/// Issue 2: it was parked in the first run.
#[test]
fn a_record_that_never_holds_still_is_owed_and_parked_after_three_runs() {
    let quiet = Scenario { two_way: true, faults: 0, edits: 0, crashes: 0, deletes: false, ..Scenario::draw(1) };
    let runtime = paused();
    let _inside = runtime.enter();
    let shared = Shared::new(&quiet);
    let state = in_memory();
    shared.lock().calm();
    let once = async |mutant| {
        shared.sleep(Duration::from_secs(20)).await;
        let setup = setup(&quiet, mutant, &shared, &state);
        let mut report = run_mapping(&setup, &Options::default()).await;
        assert_eq!(report.troubles, []);
        (report.status, report.counts.owed, report.parked.pop().map(|parked| (parked.code, parked.attempts)))
    };
    runtime.block_on(async {
        people(&shared, 5);
        shared.sleep(Duration::from_secs(20)).await;
        shared.lock().land();
        once(None).await;
        let link = state.links_after("test", 0, 1).await.expect("the state can be read").remove(0);
        shared.lock().copy(Side::Source, &link.keys.source, EDITED[0], &Value::Integer(7_777));
        let told = Some((Some("E0803".to_owned()), 3));
        let moves = Some(Mutant::NeverStill);
        assert_eq!(once(moves).await, (RunStatus::Success, 1, None), "owed to the next run");
        assert_eq!(once(moves).await, (RunStatus::Success, 1, None));
        assert_eq!(once(moves).await, (RunStatus::Partial, 1, told), "parked");
        assert_eq!(once(moves).await, (RunStatus::Success, 1, None), "told once");
        assert_eq!(once(None).await, (RunStatus::Success, 0, None));
    });
}
