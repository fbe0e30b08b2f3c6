//! Single histories, played by hand: one fault at one place, and what a run
//! makes of it.

use std::sync::Arc;

use engine::compile::{DeletePolicy, Policy};
use engine::plan::LinkStatus;
use engine::record::{Both, Key, Side, Value};
use engine::run::{Event, Observer, Options, RunReport, Setup, run_mapping, settle_as_sent};
use engine::state::{ConflictFilter, ParkedFilter, Reason, RunCounts, RunStatus};
use engine::work::run_once;

use super::forms::{Form, number};
use super::play;
use super::scenario::{EDITED, MatchedBy, NOTE, Scenario};
use super::stage::Shared;
use super::store::{State, in_memory};

pub(super) struct Case {
    pub(super) scenario: Scenario,
    pub(super) shared: Shared,
    pub(super) state: State,
}

/// One way, nothing drawn, nothing going wrong.
pub(super) fn quiet() -> Scenario {
    Scenario {
        two_way: false,
        policies: [Policy::Manual; 2],
        first: None,
        record_policy: Policy::Manual,
        deletes: false,
        marks: Both::default(),
        sweep: false,
        delete_limit: None,
        cursor: Both::default(),
        tokens: Both::default(),
        unique: false,
        decimals: Both::default(),
        skew_ms: Both::default(),
        grain_ms: Both::new(1_000, 1_000),
        faults: 0,
        edits: 0,
        crashes: 0,
        batch: 2,
        allots: Both::new(true, true),
        matched: MatchedBy::Code,
        keyed: Both::default(),
        undeletes: false,
        forms: [Form::Plain; 2],
        misfits: false,
        filters: Both::default(),
        ..Scenario::draw(0)
    }
}

impl Case {
    /// So many records in the source.
    pub(super) fn new(scenario: Scenario, records: u64) -> Case {
        let case = Case { shared: Shared::new(&scenario), scenario, state: in_memory() };
        let mut stage = case.shared.lock();
        (0..records).for_each(|_| stage.create(Side::Source));
        drop(stage);
        case
    }

    pub(super) fn setup(&self) -> Setup {
        Arc::into_inner(play::setup(&self.scenario, None, &self.shared, &self.state)).unwrap()
    }

    pub(super) async fn run(&self) -> RunReport {
        run_mapping(&Arc::new(self.setup()), &Options::default()).await
    }

    /// Runs until the engine dies.
    pub(super) async fn dies(&self, setup: Setup) {
        let (setup, options) = (Arc::new(setup), Options::default());
        tokio::select! {
            biased;
            () = self.shared.crash.notified() => {}
            report = run_mapping(&setup, &options) => panic!("it lives: {report:?}"),
        }
    }

    /// Somebody edits the first record of a side.
    pub(super) fn edit(&self, side: Side, slot: usize, value: i64) {
        let mut stage = self.shared.lock();
        let key = &stage.systems[side].rows.values().next().unwrap()[stage.scenario.key(side)];
        let key = Key::new([key]).unwrap();
        stage.copy(side, &key, slot, &Value::Integer(value));
    }

    /// What the first record of a side shows.
    pub(super) fn shown(&self, side: Side, slot: usize) -> i64 {
        number(&self.rows(side)[0][slot])
    }

    pub(super) fn rows(&self, side: Side) -> Vec<Vec<Value>> {
        self.shared.lock().systems[side].rows.values().cloned().collect()
    }
}

/// Issue 2: one fault of the first look at a side, of the look after a restore,
/// and of taking a write back, ended the run.
#[tokio::test(start_paused = true)]
async fn a_passing_fault_ends_no_run() {
    let case = Case::new(Scenario { matched: MatchedBy::Nothing, ..quiet() }, 3);
    case.shared.lock().fails_at = vec![(Side::Target, "reading", 0)];
    let report = case.run().await;
    assert_eq!((report.status, report.counts.to_target.created), (RunStatus::Success, 3), "{:?}", report.troubles);

    let case = Case::new(Scenario { cursor: Both::new(true, false), ..quiet() }, 1);
    case.shared.sleep_for(60).await;
    case.shared.lock().create(Side::Source);
    assert_eq!(case.run().await.status, RunStatus::Success);
    {
        let mut stage = case.shared.lock();
        let newest = *stage.systems.source.rows.keys().max().unwrap();
        stage.delete(Side::Source, newest);
        stage.fails_at = vec![(Side::Source, "reading", 0)];
    }
    let report = case.run().await;
    assert_eq!(report.status, RunStatus::Success, "{:?}", report.troubles);
    assert!(case.shared.lock().fails_at.is_empty(), "the side was looked at after its newest record went");

    let case = Case::new(quiet(), 1);
    {
        let mut stage = case.shared.lock();
        stage.alters = true;
        stage.fails_at = vec![(Side::Target, "writing", 1)];
    }
    let report = case.run().await;
    assert_eq!((report.status, report.counts.to_target.parked), (RunStatus::Partial, 1), "{:?}", report.troubles);
    assert!(case.shared.lock().fails_at.is_empty() && case.rows(Side::Target).is_empty(), "it was taken back");
}

/// Issue 2: the engine died once a write was taken back, and what it had put
/// back went over the edit that it came from; a record that it had made and
/// taken away counted as deleted by people, and took its source record along.
#[tokio::test(start_paused = true)]
async fn what_was_taken_back_before_a_crash_is_nobodys_edit() {
    for tokens in [true, false] {
        let scenario = || Scenario { two_way: true, tokens: Both::new(tokens, tokens), ..quiet() };
        let case = Case::new(scenario(), 1);
        case.edit(Side::Source, EDITED[0], 20);
        case.edit(Side::Source, EDITED[1], 30);
        assert_eq!(case.run().await.status, RunStatus::Success);
        case.edit(Side::Source, EDITED[0], 26);
        {
            let mut stage = case.shared.lock();
            stage.alters = true;
            stage.dies_at = Some((Side::Target, "written", 1));
        }
        case.dies(case.setup()).await;
        for _ in 0..2 {
            let report = case.run().await;
            assert_eq!(report.status, RunStatus::Success, "{report:?}");
            assert_eq!((case.shown(Side::Source, EDITED[0]), case.shown(Side::Target, EDITED[0])), (26, 20));
            assert_eq!(report.counts.owed, 1);
        }

        let case = Case::new(Scenario { deletes: true, ..scenario() }, 1);
        case.edit(Side::Source, EDITED[0], 26);
        {
            let mut stage = case.shared.lock();
            stage.alters = true;
            stage.dies_at = Some((Side::Target, "written", 1));
        }
        case.dies(case.setup()).await;
        assert_eq!(case.rows(Side::Target), Vec::<Vec<Value>>::new());
        for _ in 0..2 {
            let report = case.run().await;
            assert_eq!(report.status, RunStatus::Success, "{report:?}");
            assert_eq!((case.rows(Side::Source).len(), case.rows(Side::Target).len()), (1, 0));
            assert_eq!(report.counts.owed, 1);
        }
    }
}

/// Issue 2: a listing that was started once more was counted twice.
#[tokio::test(start_paused = true)]
async fn a_listing_that_starts_once_more_counts_once() {
    let case = Case::new(quiet(), 5);
    case.shared.lock().fails_at = vec![(Side::Source, "reading", 2)];
    let counts = case.run().await.counts.to_target;
    assert_eq!((counts.read, counts.created, counts.unchanged), (5, 5, 0));
    case.shared.lock().fails_at = vec![(Side::Source, "reading", 1)];
    let counts = case.run().await.counts.to_target;
    assert_eq!((counts.read, counts.created, counts.unchanged), (5, 0, 5));
}

/// Issue 2: what had been written before a crash counted twice in the run that
/// learnt of it, as written and as unchanged.
#[tokio::test(start_paused = true)]
async fn what_was_written_before_a_crash_counts_once() {
    for (tokens, two_way) in [(true, false), (false, false), (true, true), (false, true)] {
        let case = Case::new(Scenario { two_way, tokens: Both::new(tokens, tokens), batch: 2, ..quiet() }, 6);
        case.shared.lock().dies_at = Some((Side::Target, "written", 1));
        case.dies(case.setup()).await;
        let counts = case.run().await.counts.to_target;
        assert_eq!((counts.read, counts.created + counts.unchanged), (6, 6), "{tokens} {two_way}: {counts:?}");
        case.edit(Side::Source, EDITED[0], 71);
        case.shared.lock().dies_at = Some((Side::Target, "written", 0));
        case.dies(case.setup()).await;
        let counts = case.run().await.counts.to_target;
        assert_eq!((counts.read, counts.updated, counts.unchanged), (6, 1, 5), "{tokens} {two_way}: {counts:?}");
    }
}

/// Issue 2: what `deletes: { set: … }` had set before a crash was taken for
/// somebody's edit, and came into conflict with the delete.
#[tokio::test(start_paused = true)]
async fn what_a_delete_sets_is_known_after_a_crash() {
    for tokens in [true, false] {
        let scenario = Scenario { deletes: true, sweep: true, tokens: Both::new(tokens, tokens), ..quiet() };
        let case = Case::new(scenario, 2);
        let setup = || {
            let mut setup = case.setup();
            let program = Arc::get_mut(&mut setup.program).unwrap();
            program.sides.target.deletes = DeletePolicy::Set(vec![(EDITED[0], Value::Integer(0))]);
            setup
        };
        run_mapping(&Arc::new(setup()), &Options::default()).await;
        {
            let mut stage = case.shared.lock();
            let first = *stage.systems.source.rows.keys().min().unwrap();
            stage.delete(Side::Source, first);
            stage.dies_at = Some((Side::Target, "written", 0));
        }
        case.dies(setup()).await;
        let report = run_mapping(&Arc::new(setup()), &Options::default()).await;
        assert_eq!(report.status, RunStatus::Success, "{report:?}");
        assert_eq!(case.state.conflicts(&ConflictFilter::default()).await, Ok(Vec::new()));
        let links = case.state.links_after("test", 0, 10).await.unwrap();
        assert_eq!(links[0].status, LinkStatus::Severed { gone: Side::Source });
        assert_eq!(number(&case.rows(Side::Target)[0][EDITED[0]]), 0);
        assert_eq!(case.shared.lock().systems.target.updated, 1);
    }
}

/// Issue 2: a record in doubt was created again by the very run that parked it,
/// and what had come of it went back as a new record.
#[tokio::test(start_paused = true)]
async fn nothing_is_written_for_a_record_in_doubt() {
    for (two_way, tokens) in [(false, false), (false, true), (true, false)] {
        let (allots, tokens) = (Both::new(true, false), Both::new(tokens, tokens));
        let case = Case::new(Scenario { two_way, matched: MatchedBy::Nothing, allots, tokens, ..quiet() }, 0);
        assert_eq!(case.run().await.status, RunStatus::Success, "a first sync of nothing");
        case.shared.lock().create(Side::Source);
        case.shared.lock().dies_at = Some((Side::Target, "written", 0));
        case.dies(case.setup()).await;
        for _ in 0..3 {
            let report = case.run().await;
            assert!(report.troubles.is_empty(), "{:?}", report.troubles);
            assert_eq!(case.rows(Side::Source).len() + case.rows(Side::Target).len(), 2, "one on each side");
        }
        let filter = ParkedFilter { reason: Some(Reason::InDoubt), ..ParkedFilter::default() };
        let parked = case.state.parked(&filter).await.unwrap().remove(0);
        let there = Key::new(&case.rows(Side::Target)[0][..1]).unwrap();
        let keys = Both::new(parked.keys.source.clone().unwrap(), there);
        settle_as_sent(&case.setup(), Side::Target, &keys).await.unwrap();
        let report = case.run().await;
        assert_eq!((report.status, report.counts.owed), (RunStatus::Success, 0), "{report:?}");
        assert_eq!(case.rows(Side::Source).len() + case.rows(Side::Target).len(), 2, "one on each side");
    }
}

/// Issue 2: the stamp that a run had left before it died was taken for people's,
/// and the older of two edits won.
#[tokio::test(start_paused = true)]
async fn the_stamp_of_a_run_that_died_is_nobodys() {
    for tokens in [true, false] {
        let scenario = Scenario {
            two_way: true,
            policies: [Policy::Newest; 2],
            cursor: Both::new(true, true),
            tokens: Both::new(tokens, tokens),
            skew_ms: Both::new(-60_000, 0),
            ..quiet()
        };
        let case = Case::new(scenario, 1);
        assert_eq!(case.run().await.status, RunStatus::Success);
        case.shared.sleep_for(600).await;
        case.edit(Side::Source, EDITED[0], 71);
        case.shared.sleep_for(600).await;
        case.edit(Side::Target, EDITED[1], 72);
        case.shared.sleep_for(600).await;
        case.shared.lock().dies_at = Some((Side::Target, "written", 0));
        case.dies(case.setup()).await;
        let shown = EDITED.map(|slot| (case.shown(Side::Source, slot), case.shown(Side::Target, slot)));
        assert!(shown[0] == (71, 71) && shown[1].0 != 72 && shown[1].1 == 72, "the target is written first: {shown:?}");
        // By the clock of the source before the engine wrote the target, and after people did.
        case.edit(Side::Source, EDITED[1], 73);
        let report = case.run().await;
        assert_eq!(report.status, RunStatus::Success, "{report:?}");
        let shown = EDITED.map(|slot| (case.shown(Side::Source, slot), case.shown(Side::Target, slot)));
        assert_eq!(shown, [(71, 71), (73, 73)]);
    }
}

/// Issue 2: what a run had written before it died was taken for somebody's edit
/// where the record had another key by then, and went over a newer value.
#[tokio::test(start_paused = true)]
async fn what_was_written_before_a_record_got_another_key_is_nobodys_edit() {
    for again in [false, true] {
        let scenario = Scenario { two_way: true, policies: [Policy::Source; 2], ..quiet() };
        let case = Case::new(scenario, 1);
        assert_eq!(case.run().await.status, RunStatus::Success);
        case.edit(Side::Target, EDITED[0], 71);
        case.shared.lock().dies_at = Some((Side::Source, "written", 0));
        case.dies(case.setup()).await;
        assert_eq!(case.shown(Side::Source, EDITED[0]), 71);
        case.edit(Side::Target, EDITED[0], 72);
        {
            let mut stage = case.shared.lock();
            let id = *stage.systems.source.rows.keys().next().unwrap();
            stage.rekey(Side::Source, id);
            if again {
                // Before anything comes of what it has found out.
                stage.dies_at = Some((Side::Source, "written", 0));
            }
        }
        if again {
            case.dies(case.setup()).await;
        }
        let report = case.run().await;
        assert_eq!(report.status, RunStatus::Success, "{report:?}");
        assert_eq!(Side::BOTH.map(|side| case.shown(side, EDITED[0])), [72, 72]);
        assert_eq!(case.state.conflicts(&ConflictFilter::default()).await, Ok(Vec::new()));
        assert_eq!(case.state.open_intents("test").await, Ok(Vec::new()));
    }
}

/// Issue 2: what had become of a record in doubt that `where` hid by then was
/// created anew where it had come from.
#[tokio::test(start_paused = true)]
async fn what_became_of_a_hidden_record_does_not_go_back() {
    let filters = Both::new(true, false);
    let case = Case::new(Scenario { two_way: true, filters, allots: Both::new(true, false), ..quiet() }, 1);
    case.shared.lock().dies_at = Some((Side::Target, "written", 0));
    case.dies(case.setup()).await;
    let hide = |hides: bool| {
        let mut stage = case.shared.lock();
        let id = *stage.systems.source.rows.keys().next().unwrap();
        let stamp = stage.stamp(Side::Source);
        stage.set(Side::Source, id, &[(NOTE, Value::Boolean(hides))], stamp, true);
    };
    hide(true);
    for _ in 0..2 {
        case.run().await;
        assert_eq!(Side::BOTH.map(|side| case.rows(side).len()), [1, 1]);
    }
    hide(false);
    let report = case.run().await;
    assert_eq!((report.status, report.counts.owed), (RunStatus::Success, 0), "{report:?}");
    assert_eq!(Side::BOTH.map(|side| case.rows(side).len()), [1, 1]);
}

/// Issue 2: what was sent before a crash was taken for other fields where the
/// mapping had been edited before the next run.
#[tokio::test(start_paused = true)]
async fn what_was_sent_is_known_by_its_field_after_an_edit() {
    for removes in [false, true] {
        let case = Case::new(Scenario { two_way: true, tokens: Both::new(true, true), ..quiet() }, 1);
        assert_eq!(case.run().await.status, RunStatus::Success);
        case.edit(Side::Source, EDITED[0], 71);
        case.edit(Side::Source, EDITED[1], 72);
        case.shared.lock().dies_at = Some((Side::Target, "written", 0));
        case.dies(case.setup()).await;
        case.edit(Side::Target, EDITED[1], 73);
        let mut setup = case.setup();
        let fields = &mut Arc::get_mut(&mut setup.program).unwrap().fields;
        if removes {
            fields.remove(1);
            setup.layout.fields.remove(1);
        } else {
            fields.swap(1, 2);
            setup.layout.fields.swap(1, 2);
        }
        let report = run_mapping(&Arc::new(setup), &Options::default()).await;
        assert_eq!((report.status, report.counts.conflicts), (RunStatus::Success, 0), "{report:?}");
        assert_eq!(Side::BOTH.map(|side| case.shown(side, EDITED[1])), [73, 73]);
    }
}

/// Issue 2: what was created under a key that nobody knows was linked without
/// bases, and a policy put the value that had been sent over an edit of it.
#[tokio::test(start_paused = true)]
async fn what_was_edited_during_a_doubt_is_an_edit() {
    for settles in [false, true] {
        let allots = Both::new(true, false);
        let tokens = Both::new(true, true);
        let case = Case::new(Scenario { two_way: true, policies: [Policy::Source; 2], allots, tokens, ..quiet() }, 1);
        case.shared.lock().dies_at = Some((Side::Target, "written", 0));
        case.dies(case.setup()).await;
        case.edit(Side::Target, EDITED[0], 71);
        if settles {
            // Nothing can be read, but that it is in doubt is on record.
            case.shared.lock().fails_at = (0..9).map(|_| (Side::Source, "looking at the clock", 0)).collect();
            assert_eq!(case.run().await.status, RunStatus::Failure);
            case.shared.lock().fails_at.clear();
            let filter = ParkedFilter { reason: Some(Reason::InDoubt), ..ParkedFilter::default() };
            let parked = case.state.parked(&filter).await.unwrap().remove(0);
            let there = Key::new(&case.rows(Side::Target)[0][..1]).unwrap();
            let keys = Both::new(parked.keys.source.clone().unwrap(), there);
            settle_as_sent(&case.setup(), Side::Target, &keys).await.unwrap();
        }
        let report = case.run().await;
        assert_eq!((report.troubles.len(), report.counts.owed), (0, 0), "{report:?}");
        assert_eq!(Side::BOTH.map(|side| case.shown(side, EDITED[0])), [71, 71]);
        assert_eq!(case.state.conflicts(&ConflictFilter::default()).await, Ok(Vec::new()));
    }
}

/// Issue 2: an edit that waited for its counterpart to come back inside `where`
/// was taken for what a restored backup shows, once the newest record was
/// deleted.
#[tokio::test(start_paused = true)]
async fn what_waits_for_its_counterpart_is_no_backup() {
    let (cursor, filters) = (Both::new(true, false), Both::new(false, true));
    let case = Case::new(Scenario { two_way: true, cursor, filters, ..quiet() }, 1);
    let runs_well = async || {
        let report = case.run().await;
        assert_eq!(report.status, RunStatus::Success, "{:?}", report.troubles);
        case.shared.sleep_for(60).await;
    };
    runs_well().await;
    {
        let mut stage = case.shared.lock();
        let (id, stamp) = (*stage.systems.target.rows.keys().next().unwrap(), stage.stamp(Side::Target));
        stage.set(Side::Target, id, &[(NOTE, Value::Boolean(true))], stamp, true);
    }
    case.edit(Side::Source, EDITED[0], 71);
    runs_well().await;
    case.shared.lock().create(Side::Source);
    runs_well().await;
    let newest = *case.shared.lock().systems.source.rows.keys().max().unwrap();
    case.shared.lock().delete(Side::Source, newest);
    runs_well().await;
}

struct Breaks;

impl Observer for Breaks {
    fn progress(&self, _: &str, _: &RunCounts) {
        panic!("a fault of the engine");
    }

    fn event(&self, _: &str, _: &str, _: &Event) {}
}

/// Issue 2: after a run that broke off the state showed the one before it.
#[tokio::test(start_paused = true)]
async fn a_run_that_breaks_off_is_on_record() {
    let case = Case::new(quiet(), 1);
    assert_eq!(case.run().await.status, RunStatus::Success);
    let setup = Setup { observer: Arc::new(Breaks), ..case.setup() };
    let report = run_once(setup, Options::default()).await;
    assert_eq!(report.status, RunStatus::Failure);
    let runs = case.state.runs(Some("test"), 1).await.unwrap();
    assert_eq!((&runs[0].run, runs[0].status), (&report.run, RunStatus::Failure));
    assert!(runs[0].errors[0].contains("broke off"), "{:?}", runs[0].errors);
    let planned = Setup { observer: Arc::new(Breaks), ..case.setup() };
    run_once(planned, Options { dry: true, ..Options::default() }).await;
    assert_eq!(case.state.runs(Some("test"), 9).await.unwrap().len(), 2, "a plan leaves nothing behind");
}
