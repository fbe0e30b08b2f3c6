//! What a run did.

use chrono::{DateTime, Utc};

use crate::connector::{Action, Fault, FaultKind};
use crate::diagnostic::Code;
use crate::plan::Resolution;
use crate::record::{Both, Key, Side, Value};
use crate::state::{Conflict, Parked, RunCounts, RunStatus, Spooled, StoreError};

use super::event::FieldChange;

/// The outcome of one run of one mapping.
#[derive(Debug, Clone, PartialEq)]
pub struct RunReport {
    pub mapping: String,
    pub run: String,
    pub status: RunStatus,
    pub started_at: DateTime<Utc>,
    pub duration_ms: u64,
    pub counts: RunCounts,
    /// What was newly parked.
    pub parked: Vec<Parked>,
    /// What stopped the run, or a part of it.
    pub troubles: Vec<Trouble>,
    /// In a dry run: what would be done, or the first of it.
    pub planned: Vec<Planned>,
    pub planned_in_all: PlanSize,
    /// In a dry run: the conflicts that would be opened.
    pub disputed: Vec<Conflict>,
    /// In a dry run: writes of earlier runs without an answer, which a run
    /// settles before it does anything.
    pub unanswered: u64,
    /// Deletes that were held back: the side, how many, and the limit.
    pub held: Both<Option<(u64, u64)>>,
    /// How many of them were not held back before, and the first of those.
    pub held_anew: u64,
    pub newly_held: Vec<Spooled>,
    /// Decisions of people that were not applied: the values have moved, or
    /// the value decided on does not fit.
    pub undecided: Vec<Undecided>,
}

/// A person's decision that was made for values which do not stand any more,
/// or whose value does not fit: the conflict waits again.
#[derive(Debug, Clone, PartialEq)]
pub struct Undecided {
    /// The conflict's number.
    pub conflict: i64,
    pub keys: Both<Option<Key>>,
    /// The target path; `*` for the record as a whole.
    pub field: String,
    pub decision: Resolution,
    /// What both sides showed when it was decided, and what they show now.
    pub decided_for: Both<Value>,
    pub now: Both<Value>,
}

impl std::fmt::Display for Undecided {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sides = Side::BOTH.into_iter().filter(|side| self.decided_for[*side] != self.now[*side]);
        let moved = sides.map(|side| {
            let json = |value: &Value| value.to_json().to_string();
            format!("{side} {} -> {}", json(&self.decided_for[side]), json(&self.now[side]))
        });
        let moved = moved.collect::<Vec<_>>().join(", ");
        if moved.is_empty() {
            return f.write_str(
                "the decision was not applied, for its value does not fit the field; the conflict waits again",
            );
        }
        write!(f, "the decision was not applied, for it was made for other values ({moved}); the conflict waits again")
    }
}

/// One write a dry run would have made.
#[derive(Debug, Clone, PartialEq)]
pub struct Planned {
    pub side: Side,
    pub action: Action,
    pub keys: Both<Option<Key>>,
    pub fields: Vec<FieldChange>,
    /// What the record is parked for: it is tried again.
    pub parked: Option<Code>,
}

/// How much a dry run would have done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PlanSize {
    pub changes: u64,
    /// The deletes among them, which limits may hold back.
    pub deletes: u64,
}

impl PlanSize {
    pub(super) fn add(&mut self, planned: &Planned) {
        self.changes += 1;
        self.deletes += u64::from(planned.action == Action::Delete);
    }
}

/// What stopped a run, or kept it from something.
#[derive(Debug, Clone, PartialEq)]
pub enum Trouble {
    /// A side failed us.
    Side(Side, Fault),
    State(StoreError),
    /// The run refuses to go on: why, the side it is about, and what to do.
    Refused {
        code: Code,
        side: Option<Side>,
        message: String,
    },
    /// Somebody wants the engine to end. A run that ends so is interrupted, and
    /// this is not among its troubles.
    Stopped,
}

impl Trouble {
    /// True where a system could not be reached or refused us, so that the
    /// command ends with 3.
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Trouble::Side(_, Fault { kind: FaultKind::External | FaultKind::User, .. }))
    }
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Trouble::Side(side, fault) => write!(f, "{side}: {fault}"),
            Trouble::State(error) => write!(f, "state: {error}"),
            Trouble::Refused { message, .. } => f.write_str(message),
            Trouble::Stopped => f.write_str("the engine was stopped"),
        }
    }
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Trouble {
        Trouble::State(error)
    }
}
