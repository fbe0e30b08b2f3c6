//! What is decided and not written yet is decided again, whatever broke off.

use std::sync::Arc;

use engine::plan::Resolution;
use engine::record::{Both, Side, Value};
use engine::run::{Options, RunReport, run_mapping};
use engine::state::{ConflictFilter, RunStatus};

use super::cases::{Case, quiet};
use super::scenario::{EDITED, Scenario};

fn with_cursors() -> Case {
    Case::new(Scenario { two_way: true, cursor: Both::new(true, true), ..quiet() }, 1)
}

impl Case {
    /// A run in which a side cannot be written.
    async fn fails_to_write(&self, side: Side) -> RunReport {
        self.shared.lock().fails_at = (0..9).map(|_| (side, "writing", 0)).collect();
        let report = self.run().await;
        self.shared.lock().fails_at.clear();
        assert_eq!(report.status, RunStatus::Failure, "{report:?}");
        report
    }

    async fn succeeds(&self) {
        let report = self.run().await;
        assert_eq!((report.status, report.counts.owed), (RunStatus::Success, 0), "{report:?}");
        self.shared.sleep_for(60).await;
    }
}

/// Issue 2: a conflict that one side ended by taking its edit back was closed
/// before the other side's edit was written, and the edit was forgotten where
/// that failed.
#[tokio::test(start_paused = true)]
async fn an_edit_that_an_ended_conflict_lets_go_is_written_after_a_fault() {
    let case = with_cursors();
    case.succeeds().await;
    let base = case.shown(Side::Target, EDITED[0]);
    case.edit(Side::Source, EDITED[0], 71);
    case.edit(Side::Target, EDITED[0], 72);
    assert_eq!(case.run().await.counts.conflicts, 1);
    case.shared.sleep_for(60).await;
    assert_eq!(case.run().await.counts.owed, 1);
    case.shared.sleep_for(60).await;
    case.edit(Side::Target, EDITED[0], base);
    assert_eq!(case.fails_to_write(Side::Target).await.counts.owed, 1);
    case.succeeds().await;
    assert_eq!(Side::BOTH.map(|side| case.shown(side, EDITED[0])), [71, 71]);
}

/// Issue 2: a field that came to the mapping was never filled where the first
/// run with it failed to write.
#[tokio::test(start_paused = true)]
async fn a_new_field_is_filled_after_a_fault() {
    let case = with_cursors();
    let mut setup = case.setup();
    Arc::get_mut(&mut setup.program).unwrap().fields.remove(1);
    setup.layout.fields.remove(1);
    let report = run_mapping(&Arc::new(setup), &Options::default()).await;
    assert_eq!(report.status, RunStatus::Success, "{report:?}");
    case.shared.sleep_for(60).await;
    case.fails_to_write(Side::Target).await;
    case.succeeds().await;
    let shown = Side::BOTH.map(|side| case.rows(side)[0][EDITED[0]].clone());
    assert_eq!(shown[0], shown[1]);
    assert_ne!(shown[1], Value::Null);
}

/// Issue 2: of a decision that writes both sides the second half was known to
/// the memory of the run alone.
#[tokio::test(start_paused = true)]
async fn the_second_half_of_a_decision_is_owed_until_it_is_written() {
    let case = with_cursors();
    case.succeeds().await;
    case.edit(Side::Source, EDITED[0], 71);
    case.edit(Side::Target, EDITED[0], 72);
    case.run().await;
    case.shared.sleep_for(60).await;
    let conflict = case.state.conflicts(&ConflictFilter::default()).await.unwrap().remove(0);
    let decision = Resolution::Value(Value::Integer(73));
    case.state.resolve(&[conflict.id], Some(&decision)).await.unwrap();
    assert_eq!(case.fails_to_write(Side::Source).await.counts.owed, 1);
    assert_eq!(Side::BOTH.map(|side| case.shown(side, EDITED[0])), [71, 73]);
    case.succeeds().await;
    assert_eq!(Side::BOTH.map(|side| case.shown(side, EDITED[0])), [73, 73]);
}

/// Wherever a run is stopped, it ends soon and well, and the next one goes on.
#[tokio::test(start_paused = true)]
async fn a_run_that_is_stopped_anywhere_goes_on_with_the_next() {
    for asked in 0..200 {
        let scenario = Scenario { two_way: true, deletes: true, sweep: true, batch: 2, ..quiet() };
        let case = Case::new(scenario, 5);
        case.succeeds().await;
        {
            let mut stage = case.shared.lock();
            (0..3).for_each(|_| stage.create(Side::Target));
        }
        case.edit(Side::Source, EDITED[0], 71);
        case.edit(Side::Target, EDITED[1], 72);
        case.shared.lock().stops_in = Some(asked);
        let report = case.run().await;
        assert_eq!(report.troubles, []);
        case.shared.lock().stops_in = None;
        if report.status != RunStatus::Interrupted {
            assert!(asked > 5, "it is asked for between batches");
            return;
        }
        case.succeeds().await;
        let shown =
            Side::BOTH.map(|side| (case.rows(side).len(), case.shown(side, EDITED[0]), case.shown(side, EDITED[1])));
        assert_eq!(shown, [(8, 71, 72); 2], "stopped at {asked}");
    }
    panic!("it never comes to its end");
}
