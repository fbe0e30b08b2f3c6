//! What shall be done with a pair of records.

use crate::compile::{Policy, Rejection};
use crate::connector::Action;
use crate::record::{Both, Side, Value};

/// Everything decided for one pair.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    pub verdict: Verdict,
    /// At most one write for each side.
    pub writes: Both<Option<RecordWrite>>,
    /// Fields on which both sides agree without a write, with their new bases.
    pub settled: Vec<(usize, Both<Value>)>,
    pub conflicts: Vec<ConflictStep>,
    /// After the write is acknowledged the pair has to be decided once more in
    /// the same run.
    pub again: bool,
}

/// What becomes of the pair as a whole.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// Nothing to do with it: unchanged, skipped, or left alone.
    Keep,
    /// Its link is made or moved on.
    Link,
    /// One side is gone and the other stays: the link is severed.
    Sever { gone: Side },
    /// Both sides are gone: the link is forgotten.
    Forget,
    /// The counterpart of a deleted record is deleted, among the last things
    /// of the run and under its limit.
    Delete { on: Side },
    /// A record that the mapping does not create on the other side.
    NotAllowed,
    /// A value does not fit: the record is parked.
    Reject { toward: Side, rejection: Box<Rejection> },
}

/// One write to one record.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordWrite {
    pub action: Action,
    pub fields: Vec<FieldWrite>,
}

/// One field of a write, in the representation of the side written to.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldWrite {
    pub field: usize,
    pub value: Value,
    /// What it goes against; `None` in a create, where nothing stands yet and
    /// the bases become what the one side shows and what the other is given.
    pub against: Option<Box<Against>>,
}

/// What a write of a field to a record that is there goes against.
#[derive(Debug, Clone, PartialEq)]
pub struct Against {
    /// What must still stand there.
    pub expect: Value,
    /// The field's bases once this write is acknowledged.
    pub bases: Both<Value>,
    /// The policy that decided, where both sides had changed.
    pub policy: Option<Policy>,
    /// It goes against a change of the side it is written to.
    pub contested: bool,
}

/// What happens to the conflict of a field, or of the record (`field: None`).
#[derive(Debug, Clone, PartialEq)]
pub struct ConflictStep {
    pub field: Option<usize>,
    pub bases: Option<Both<Value>>,
    pub values: Both<Value>,
    pub policy: Policy,
    pub outcome: ConflictOutcome,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConflictOutcome {
    /// It waits for a person, newly.
    Opened,
    /// It waits with other values than before, or for a decision that fits.
    Moved,
    /// It still waits as it was.
    Waiting,
    /// A policy decided it at once.
    Decided,
    /// A person's decision was applied.
    Resolved,
    /// It is none any more: both sides came to mean the same, or one returned
    /// to its base.
    Closed,
}

impl ConflictOutcome {
    /// It waits for nobody any more.
    pub fn ends(self) -> bool {
        use ConflictOutcome::{Closed, Decided, Moved, Opened, Resolved, Waiting};
        match self {
            Decided | Resolved | Closed => true,
            Opened | Moved | Waiting => false,
        }
    }
}

impl FieldWrite {
    /// It goes against a change of the side it is written to.
    pub fn contested(&self) -> bool {
        self.against.as_ref().is_some_and(|against| against.contested)
    }
}

impl Decision {
    /// Nothing to do.
    pub fn keep() -> Decision {
        Decision::only(Verdict::Keep)
    }

    pub(super) fn only(verdict: Verdict) -> Decision {
        Decision { verdict, writes: Both::default(), settled: Vec::new(), conflicts: Vec::new(), again: false }
    }
}
