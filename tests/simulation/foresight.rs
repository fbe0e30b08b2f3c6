//! What a plan says is what the run after it does, where nobody edits between
//! the two.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use engine::connector::Action;
use engine::record::{Both, Key, Side};
use engine::run::{Event, Fact, FieldChange, Observer, Options, Planned, Review, RunReport, Setup, World, run_mapping};
use engine::state::{RunCounts, SideCounts};

use super::asked;
use super::play::{paused, people, setup};
use super::scenario::Scenario;
use super::stage::Shared;
use super::store::in_memory;

const SEEDS: u64 = 2_000;

/// Keeps what was updated and deleted, each in the words of a plan.
struct Writes {
    shared: Shared,
    told: Mutex<Vec<String>>,
}

impl Writes {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.told.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Observer for Writes {
    fn progress(&self, _: &str, _: &RunCounts) {}

    fn event(&self, _: &str, _: &str, event: &Event) {
        if let Fact::Written { side, action, fields } = &event.fact
            && *action != Action::Create
        {
            let words = words(&self.shared, *side, *action, &event.keys, fields);
            self.told.lock().unwrap_or_else(PoisonError::into_inner).push(words);
        }
    }
}

/// A record is called by its name: a run may have written its other key by then.
fn words(shared: &Shared, side: Side, action: Action, keys: &Both<Option<Key>>, fields: &[FieldChange]) -> String {
    let fields: Vec<String> = fields.iter().map(|field| format!("{}={}", field.field, field.after.to_json())).collect();
    let stage = shared.lock();
    let from = keys[side.other()].as_ref().and_then(|key| stage.systems[side.other()].known.get(key).cloned());
    format!("{action:?} on the {side} for {} {}", from.unwrap_or_default(), fields.join(" "))
}

/// What a report says beside the writes: what is parked, in conflict or held
/// back. Which records are read, and left alone, depends on the reading: a run
/// reads again what it wrote itself.
fn told(report: &RunReport) -> String {
    let mut parked: Vec<String> =
        report.parked.iter().map(|parked| format!("{} {:?}", parked.side, parked.keys)).collect();
    parked.sort();
    let side = |counts: SideCounts| {
        let SideCounts { created, updated, deleted, failed, parked, .. } = counts;
        format!("+{created} ~{updated} -{deleted}, {failed} failed, {parked} parked")
    };
    let RunCounts { to_source, to_target, conflicts, .. } = report.counts;
    format!("<- {}; -> {}; {conflicts} {parked:?} {:?}", side(to_source), side(to_target), report.held)
}

/// Plays a seed without faults, with people who rest while the engine is at
/// work: where a run did something else than was planned, both.
fn differs(number: u64) -> Option<String> {
    let scenario = Scenario { faults: 0, edits: 0, crashes: 0, ..Scenario::draw(number) };
    let runtime = paused();
    let _inside = runtime.enter();
    let shared = Shared::new(&scenario);
    shared.lock().calm();
    let state = in_memory();
    runtime.block_on(async {
        for run in 0..scenario.runs {
            let edits = 4 + shared.lock().seed.below(8);
            people(&shared, edits);
            shared.sleep(Duration::from_secs(20)).await;
            shared.lock().land();
            let observer = Arc::new(Writes { shared: shared.clone(), told: Mutex::default() });
            let setup = setup(&scenario, None, &shared, &state);
            let setup = Setup { observer: observer.clone(), ..Arc::into_inner(setup).expect("nobody else has it") };
            let setup = Arc::new(setup);
            shared.lock().tell("a plan is made");
            let plan = run_mapping(&setup, &Options { dry: true, ..Options::default() }).await;
            assert_eq!(observer.take(), Vec::<String>::new(), "a plan writes nothing");
            shared.lock().tell("a run begins");
            let report = run_mapping(&setup, &Options::default()).await;
            // A create is counted; only that of a record that is made anew is told as well.
            let is_told = |side: Side, action| match action {
                Action::Create => false,
                Action::Update => true,
                Action::Delete => plan.held[side].is_none(),
            };
            let planned = plan.planned.iter().filter(|planned| is_told(planned.side, planned.action));
            let mut planned: Vec<String> =
                planned.map(|one| words(&shared, one.side, one.action, &one.keys, &one.fields)).collect();
            let mut written = observer.take();
            planned.sort();
            written.sort();
            if (told(&plan), &planned) != (told(&report), &written) {
                let said = |told: String, writes: &[String]| format!("{told}\n    {}", writes.join("\n    "));
                let created = plan.planned.iter().filter(|one| one.action == Action::Create);
                planned.extend(created.map(|one| words(&shared, one.side, one.action, &one.keys, &one.fields)));
                let both = [said(told(&plan), &planned), said(told(&report), &written)].join("\n  ");
                let trace =
                    if asked("ENGINE_SIM_SEED").is_some() { shared.lock().trace.join("\n") } else { String::new() };
                return Some(format!("seed {number}, run {run}:\n  {both}\n{trace}"));
            }
        }
        None
    })
}

/// A plan that was kept, all of it.
#[derive(Debug)]
struct Kept {
    changes: Vec<Planned>,
    /// How many of them were looked at, and which were made.
    done: Mutex<(usize, Vec<bool>)>,
}

impl Review for Kept {
    fn next(&self) -> Result<Option<Both<Vec<Key>>>, String> {
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        let some = &self.changes[done.0..self.changes.len().min(done.0 + 3)];
        done.0 += some.len();
        let mut keys: Both<Vec<Key>> = Both::default();
        for change in some {
            let side = if change.keys[change.side.other()].is_some() { change.side.other() } else { change.side };
            let key = change.keys[side].clone().expect("a change names a record");
            if !keys[side].contains(&key) {
                keys[side].push(key);
            }
        }
        Ok((!some.is_empty()).then_some(keys))
    }

    fn allows(&self, changes: &[Planned]) -> bool {
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        // One key tells the record: the other may have been written since.
        let same = |one: &Planned, other: &Planned| {
            let told = Side::BOTH.iter().any(|side| one.keys[*side].is_some() && one.keys[*side] == other.keys[*side]);
            told && (one.side, one.action, &one.fields) == (other.side, other.action, &other.fields)
        };
        let place = |change| self.changes.iter().position(|known| same(known, change));
        let Some(places) = changes.iter().map(place).collect::<Option<Vec<usize>>>() else { return false };
        for place in places {
            done.1[place] = true;
        }
        true
    }
}

/// Plays a seed as above, and has the plans applied; with `moved`, people edit
/// in between. What is made and is not in the plan; and what is not made of it,
/// though nobody has edited since.
fn is_not_made(number: u64, moved: bool) -> Option<String> {
    let scenario = Scenario { faults: 0, edits: 0, crashes: 0, ..Scenario::draw(number) };
    let runtime = paused();
    let _inside = runtime.enter();
    let shared = Shared::new(&scenario);
    shared.lock().calm();
    let state = in_memory();
    runtime.block_on(async {
        for run in 0..scenario.runs {
            let edit = async || {
                let edits = 4 + shared.lock().seed.below(8);
                people(&shared, edits);
                shared.sleep(Duration::from_secs(20)).await;
                shared.lock().land();
            };
            edit().await;
            let observer = Arc::new(Writes { shared: shared.clone(), told: Mutex::default() });
            let setup = setup(&scenario, None, &shared, &state);
            let setup = Setup { observer: observer.clone(), ..Arc::into_inner(setup).expect("nobody else has it") };
            let setup = Arc::new(setup);
            let plan = run_mapping(&setup, &Options { dry: true, over_limit: true, ..Options::default() }).await;
            let told = |one: &Planned| words(&shared, one.side, one.action, &one.keys, &one.fields);
            let planned: Vec<String> = plan.planned.iter().map(told).collect();
            if moved {
                edit().await;
            }
            shared.lock().tell("the plan is applied");
            let kept = Kept { done: Mutex::new((0, vec![false; planned.len()])), changes: plan.planned };
            let kept = Arc::new(kept);
            let review = Options { over_limit: true, review: Some(kept.clone()), ..Options::default() };
            let report = run_mapping(&setup, &review).await;
            let RunCounts { to_target, to_source, .. } = report.counts;
            let creates = kept.changes.iter().filter(|one| one.action == Action::Create).count() as u64;
            let mut wrong = observer.take();
            wrong.retain(|written| !planned.contains(written));
            if to_target.created + to_source.created > creates {
                wrong.push("more creates than planned".to_owned());
            }
            if !moved && report.troubles.is_empty() {
                let made = kept.done.lock().unwrap_or_else(PoisonError::into_inner).1.clone();
                wrong.extend(planned.iter().zip(made).filter(|(_, made)| !made).map(|(one, _)| format!("left: {one}")));
            }
            if !wrong.is_empty() {
                let trace =
                    if asked("ENGINE_SIM_SEED").is_some() { shared.lock().trace.join("\n") } else { String::new() };
                return Some(format!("seed {number}, run {run}: {wrong:?}; planned: {planned:?}\n{trace}"));
            }
            run_mapping(&setup, &Options::default()).await;
        }
        None
    })
}

fn each_seed(is_broken: impl Fn(u64) -> Option<String>) {
    let (from, seeds) = (asked("ENGINE_SIM_FROM").unwrap_or(0), asked("ENGINE_SIM_SEEDS").unwrap_or(SEEDS));
    let numbers = asked("ENGINE_SIM_SEED").map_or(from..from + seeds, |number| number..number + 1);
    let broken: Vec<String> = numbers.filter_map(is_broken).collect();
    assert!(broken.is_empty(), "{}:\n{}", broken.len(), broken[..broken.len().min(20)].join("\n"));
}

#[test]
fn a_plan_says_what_the_run_does() {
    each_seed(differs);
}

#[test]
fn a_plan_that_is_applied_at_once_is_made_as_a_whole() {
    each_seed(|number| is_not_made(number, false));
}

#[test]
fn of_a_plan_that_is_applied_later_nothing_is_made_that_was_not_planned() {
    each_seed(|number| is_not_made(number, true));
}
