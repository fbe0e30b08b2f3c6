//! Single histories of records whose keys are people's own, and of what is added
//! up on both sides.

use std::sync::Arc;

use engine::compile::Policy;
use engine::plan::Resolution;
use engine::record::{Both, Side, Value};
use engine::run::{Options, run_mapping};
use engine::state::{ConflictFilter, ConflictStatus, RunStatus};

use super::cases::{Case, quiet};
use super::scenario::{CODE, DELETED, EDITED, MERGED, MatchedBy, NOTE, Scenario};
use super::stage::Stage;

/// The target's key is the code.
fn keyed() -> Scenario {
    Scenario { keyed: Both::new(false, true), unique: true, ..quiet() }
}

fn set(stage: &mut Stage, side: Side, slot: usize, value: Value) {
    let (id, stamp) = (*stage.systems[side].rows.keys().next().unwrap(), stage.stamp(side));
    stage.set(side, id, &[(slot, value)], stamp, true);
}

impl Case {
    fn set(&self, side: Side, slot: usize, value: Value) {
        set(&mut self.shared.lock(), side, slot, value);
    }

    /// Somebody gives the first record of a side another code.
    fn rename(&self, side: Side, code: &str) {
        self.set(side, CODE, Value::text(code));
        self.shared.lock().names.insert(code.to_owned(), "c1".to_owned());
    }

    /// One record on each side, with the same code and the same values.
    async fn agrees_as(&self, code: &str) {
        let report = self.run().await;
        assert_eq!((report.status, report.counts.owed), (RunStatus::Success, 0), "{report:?}");
        assert_eq!(Side::BOTH.map(|side| self.rows(side).len()), [1, 1], "one on each side");
        for side in Side::BOTH {
            assert_eq!(self.rows(side)[0][CODE], Value::text(code), "{side}");
        }
        assert_eq!(self.shown(Side::Source, EDITED[0]), self.shown(Side::Target, EDITED[0]));
    }
}

/// Issue 2: a record whose key the engine had changed without hearing of it was
/// lost sight of: it followed its counterpart no more, and under `deletes` its
/// old key took the counterpart along.
#[tokio::test(start_paused = true)]
async fn a_key_that_was_written_without_an_answer_is_known() {
    for (tokens, matched) in [true, false]
        .into_iter()
        .flat_map(|tokens| [MatchedBy::Nothing, MatchedBy::Code, MatchedBy::Name].map(|matched| (tokens, matched)))
    {
        let deletes = matched == MatchedBy::Code;
        let scenario = Scenario { tokens: Both::new(tokens, tokens), matched, deletes, sweep: deletes, ..keyed() };
        let case = Case::new(Scenario { two_way: deletes, ..scenario }, 1);
        case.agrees_as("c1").await;
        case.rename(Side::Source, "c2");
        case.shared.lock().dies_at = Some((Side::Target, "written", 0));
        case.dies(case.setup()).await;
        case.edit(Side::Source, EDITED[0], 71);
        case.agrees_as("c2").await;
        case.edit(Side::Source, EDITED[0], 72);
        case.agrees_as("c2").await;
    }
}

/// Issue 2: a decision about a record to which the engine had given another key
/// came to nothing, for its conflict was still listed under the old one.
#[tokio::test(start_paused = true)]
async fn a_conflict_goes_with_a_key_that_is_written() {
    let scenario = Scenario { keyed: Both::new(true, true), two_way: true, matched: MatchedBy::Name, ..keyed() };
    let case = Case::new(scenario, 1);
    case.agrees_as("c1").await;
    case.edit(Side::Source, EDITED[0], 71);
    case.edit(Side::Target, EDITED[0], 72);
    assert_eq!(case.run().await.counts.conflicts, 1);
    case.rename(Side::Target, "c2");
    case.run().await;
    let conflict = case.state.conflicts(&ConflictFilter::default()).await.unwrap().remove(0);
    assert_eq!(conflict.keys.map(|key| key.plain()), Both::new("c2".to_owned(), "c2".to_owned()));
    case.state.resolve(&[conflict.id], Some(&Resolution::Take(Side::Target))).await.unwrap();
    case.agrees_as("c2").await;
    assert_eq!(case.shown(Side::Source, EDITED[0]), 72);
}

/// Issue 2: a record that was read before the same run gave it another key was
/// taken for a new one under the old key.
#[tokio::test(start_paused = true)]
async fn a_page_from_before_a_key_was_written_shows_nothing_new() {
    let cursor = Both::new(true, true);
    let case = Case::new(Scenario { two_way: true, batch: 1, cursor, unique: false, ..keyed() }, 1);
    case.agrees_as("c1").await;
    case.shared.sleep_for(60).await;
    case.set(Side::Target, EDITED[0], Value::Integer(71));
    {
        // The target is read while its first page, which has the record, is dealt with.
        let mut stage = case.shared.lock();
        let rename = |stage: &mut Stage| {
            set(stage, Side::Source, CODE, Value::text("c2"));
            stage.names.insert("c2".to_owned(), "c1".to_owned());
        };
        let touch = |stage: &mut Stage| {
            let stamp = stage.stamp(Side::Target) + chrono::TimeDelta::seconds(1);
            let id = *stage.systems.target.rows.keys().next().unwrap();
            stage.set(Side::Target, id, &[(NOTE, Value::Integer(2))], stamp, true);
        };
        stage.acts_at = vec![(Side::Target, "reading", 0, rename), (Side::Target, "reading", 1, touch)];
    }
    assert_eq!(case.run().await.status, RunStatus::Success);
    case.agrees_as("c2").await;
}

/// Issue 2: a record whose creation under a key of the mapping's own had no
/// answer was created once more where it had been edited since, or had come
/// under another code.
#[tokio::test(start_paused = true)]
async fn what_stands_under_a_key_that_was_sent_is_the_counterpart() {
    let case = Case::new(Scenario { two_way: true, ..keyed() }, 1);
    case.shared.lock().dies_at = Some((Side::Target, "written", 0));
    case.dies(case.setup()).await;
    case.edit(Side::Target, EDITED[1], 71);
    case.rename(Side::Source, "c2");
    case.run().await;
    let conflict = case.state.conflicts(&ConflictFilter::default()).await.unwrap().remove(0);
    assert_eq!((conflict.field.as_str(), conflict.status), ("f3", ConflictStatus::Open), "nobody knows whose it is");
    case.state.resolve(&[conflict.id], Some(&Resolution::Take(Side::Target))).await.unwrap();
    case.agrees_as("c2").await;
    assert_eq!(case.shown(Side::Source, EDITED[1]), 71);
}

/// Issue 2: an edit made while the other record was deleted or outside was
/// forgotten where the run broke off that had found the record back.
#[tokio::test(start_paused = true)]
async fn what_a_record_missed_while_it_was_away_is_owed_until_it_is_written() {
    for (slot, both) in [(DELETED, false), (NOTE, false), (DELETED, true)] {
        let (marks, filters) = (Both::new(slot == DELETED, false), Both::new(slot == NOTE, false));
        let case = Case::new(Scenario { two_way: true, cursor: Both::new(true, true), marks, filters, ..quiet() }, 1);
        case.agrees_as("c1").await;
        case.set(Side::Source, slot, Value::Boolean(true));
        case.edit(Side::Target, EDITED[0], 71);
        case.run().await;
        case.shared.sleep_for(60).await;
        // The target is read from here on.
        case.shared.lock().create(Side::Target);
        case.run().await;
        case.shared.sleep_for(60).await;
        case.set(Side::Source, slot, Value::Boolean(false));
        if both {
            case.edit(Side::Source, EDITED[1], 72);
        }
        case.shared.lock().fails_at = (0..9).map(|_| (Side::Source, "writing", 0)).collect();
        assert_eq!(case.run().await.status, RunStatus::Failure);
        case.shared.lock().fails_at.clear();
        let report = case.run().await;
        assert_eq!((report.status, report.counts.owed), (RunStatus::Success, 0), "{report:?}");
        assert_eq!(Side::BOTH.map(|side| case.shown(side, EDITED[0])), [71, 71]);
    }
}

/// Issue 2: what had been added to a sum without an answer was added once more
/// where people had added to it as well, whatever became of the mapping or of
/// the record's key meanwhile.
#[tokio::test(start_paused = true)]
async fn a_sum_in_doubt_waits_for_a_person() {
    for what in ["nothing", "edited", "decided at first", "without a field", "under another key", "unreadable"] {
        let first = (what == "decided at first").then_some(Policy::Source);
        let (policies, matched) = ([Policy::Manual, Policy::SumDeltas], MatchedBy::Name);
        let case = Case::new(Scenario { two_way: true, policies, first, matched, ..keyed() }, 1);
        case.agrees_as("c1").await;
        let begun = case.shown(Side::Source, MERGED);
        case.set(Side::Source, MERGED, Value::Integer(begun + 1_000));
        case.set(Side::Target, MERGED, Value::Integer(begun + 1));
        case.shared.lock().dies_at = Some((Side::Target, "written", 0));
        case.dies(case.setup()).await;
        assert_eq!(case.shown(Side::Target, MERGED), begun + 1_001);
        let edited = what != "nothing";
        if edited {
            case.set(Side::Target, MERGED, Value::Integer(begun + 1_003));
        }
        if what == "unreadable" {
            case.set(Side::Target, NOTE, Value::text("torn"));
            let report = case.run().await;
            assert_eq!((report.counts.conflicts, report.counts.owed), (0, 1), "{report:?}");
            case.set(Side::Target, NOTE, Value::Null);
        }
        if what == "under another key" {
            case.rename(Side::Target, "c2");
        }
        let mut setup = case.setup();
        if what == "without a field" {
            Arc::get_mut(&mut setup.program).unwrap().fields.remove(1);
            setup.layout.fields.remove(1);
        }
        let report = run_mapping(&Arc::new(setup), &Options::default()).await;
        assert_eq!(report.troubles, [], "{what}");
        let told = Side::BOTH.map(|side| case.shown(side, MERGED) - begun);
        let expected = if edited { (1, [1_000, 1_003]) } else { (0, [1_001, 1_001]) };
        assert_eq!((report.counts.conflicts, told), expected, "{what}");
    }
}

/// Issue 2: a record whose mark was taken off was not found back where its
/// counterpart had been the one that was marked before.
#[tokio::test(start_paused = true)]
async fn a_mark_that_moves_to_the_other_side_is_waited_for_there() {
    let (marks, cursor) = (Both::new(true, true), Both::new(true, true));
    let case = Case::new(Scenario { two_way: true, marks, cursor, ..quiet() }, 1);
    case.agrees_as("c1").await;
    let mark = async |side: Side, marked: bool| {
        case.shared.sleep_for(60).await;
        case.set(side, DELETED, Value::Boolean(marked));
    };
    mark(Side::Target, true).await;
    case.run().await;
    mark(Side::Target, false).await;
    mark(Side::Source, true).await;
    case.run().await;
    case.set(Side::Target, EDITED[0], Value::Integer(71));
    case.run().await;
    mark(Side::Source, false).await;
    case.run().await;
    assert_eq!(case.shown(Side::Source, EDITED[0]), 71);
}
