//! What is kept for people: conflicts, parked records, runs, events.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::StoreError;
use crate::compile::Policy;
use crate::plan::{Bases, LinkId, Resolution};
use crate::record::{Both, Key, Side, Value};

/// A field (or the record, `*`) in conflict.
#[derive(Debug, Clone, PartialEq)]
pub struct Conflict {
    /// 0 until it is stored. One open conflict for each link and field:
    /// storing another one replaces it under its number, and so closes it
    /// where the other is not open. What a person decided stays on an open
    /// conflict as long as both values stay, unless another decision is given.
    pub id: i64,
    pub mapping: String,
    pub link: LinkId,
    pub keys: Both<Key>,
    /// The target path; `*` for the record as a whole.
    pub field: String,
    /// `None` where the field had not agreed yet.
    pub bases: Option<Both<Value>>,
    pub values: Both<Value>,
    pub policy: Policy,
    pub status: ConflictStatus,
    pub at: DateTime<Utc>,
    pub resolution: Option<Resolution>,
}

impl Conflict {
    /// Keeps a decision that was made while a run looked elsewhere.
    pub(super) fn keep_decision(&mut self, before: &Both<Value>, decision: Option<&Resolution>) {
        if self.status == ConflictStatus::Open && self.resolution.is_none() && self.values == *before {
            self.resolution = decision.cloned();
        }
    }
}

/// What stood in a conflict that a commit replaces.
pub(super) struct ConflictBefore {
    pub values: Both<Value>,
    pub decision: Option<Resolution>,
}

impl ConflictBefore {
    /// The conflicts of a commit as they are to be stored, one for each number:
    /// a later one of the same commit stands for the earlier. `open` are those
    /// that wait on their links, `by_id` all that are replaced, `next` gives new
    /// numbers.
    pub(super) fn number(
        conflicts: Vec<Conflict>,
        mut open: BTreeMap<(LinkId, String), i64>,
        mut by_id: BTreeMap<i64, ConflictBefore>,
        mut next: impl FnMut() -> i64,
    ) -> Result<Vec<Conflict>, StoreError> {
        // By number: a later one of the same commit stands for the earlier.
        let mut stored = BTreeMap::new();
        for mut conflict in conflicts {
            let place = (conflict.link, conflict.field.clone());
            if let Some(id) = open.get(&place) {
                conflict.id = *id;
            } else if conflict.id != 0 && !by_id.contains_key(&conflict.id) {
                return Err(StoreError::no_conflict(conflict.id));
            }
            if let Some(before) = by_id.get(&conflict.id) {
                conflict.keep_decision(&before.values, before.decision.as_ref());
            } else {
                conflict.id = next();
            }
            if conflict.status == ConflictStatus::Open {
                open.insert(place, conflict.id);
            } else {
                open.remove(&place);
            }
            let (values, decision) = (conflict.values.clone(), conflict.resolution.clone());
            by_id.insert(conflict.id, ConflictBefore { values, decision });
            stored.insert(conflict.id, conflict);
        }
        Ok(stored.into_values().collect())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ConflictStatus {
    /// It waits for a person.
    Open,
    /// A policy decided it.
    Decided,
    /// A person's decision was applied.
    Resolved,
    /// Both sides came to mean the same, or one returned to its base.
    Closed,
}

/// Which conflicts. Empty lists everything.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ConflictFilter {
    pub mapping: Option<String>,
    pub ids: Vec<i64>,
    pub field: Option<String>,
    /// Only those that wait for a person.
    pub open: bool,
    pub links: Vec<LinkId>,
    /// Only those with a person's decision that no run has applied yet.
    pub decided: bool,
}

impl ConflictStatus {
    pub(super) const ALL: [ConflictStatus; 4] =
        [ConflictStatus::Open, ConflictStatus::Decided, ConflictStatus::Resolved, ConflictStatus::Closed];

    pub fn name(self) -> &'static str {
        match self {
            ConflictStatus::Open => "open",
            ConflictStatus::Decided => "decided",
            ConflictStatus::Resolved => "resolved",
            ConflictStatus::Closed => "closed",
        }
    }
}

impl ConflictFilter {
    /// Whether it lists this conflict.
    pub(super) fn finds(&self, conflict: &Conflict) -> bool {
        let open = conflict.status == ConflictStatus::Open;
        self.mapping.as_ref().is_none_or(|mapping| *mapping == conflict.mapping)
            && (self.ids.is_empty() || self.ids.contains(&conflict.id))
            && self.field.as_ref().is_none_or(|field| *field == conflict.field)
            && (!self.open || open)
            && (self.links.is_empty() || self.links.contains(&conflict.link))
            && (!self.decided || (open && conflict.resolution.is_some()))
    }
}

/// Why a record or field was set aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    Conflict,
    Unknown,
    Ambiguous,
    Rejected,
    Approval,
    InDoubt,
    Loop,
}

impl Reason {
    pub(super) const ALL: [Reason; 7] = [
        Reason::Conflict,
        Reason::Unknown,
        Reason::Ambiguous,
        Reason::Rejected,
        Reason::Approval,
        Reason::InDoubt,
        Reason::Loop,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Reason::Conflict => "conflict",
            Reason::Unknown => "unknown",
            Reason::Ambiguous => "ambiguous",
            Reason::Rejected => "rejected",
            Reason::Approval => "approval",
            Reason::InDoubt => "in_doubt",
            Reason::Loop => "loop",
        }
    }
}

/// A record or field set aside, still owed. One for each mapping, side, keys
/// and field.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Parked {
    /// 0 until it is stored.
    pub id: i64,
    pub mapping: String,
    pub keys: Both<Option<Key>>,
    /// Where the record has no key: a digest of the row, `#` before it.
    pub row: Option<String>,
    /// The side that would have been written.
    pub side: Side,
    pub reason: Reason,
    /// The target path, where one field is to blame.
    pub field: Option<String>,
    pub value: Option<String>,
    /// A digest of what was sent and had to be taken back: it is not sent again
    /// as long as it is the same.
    pub sent: Option<String>,
    /// Of a record in doubt: what agreed, once its counterpart is found.
    #[serde(skip)]
    pub agreed: Option<Agreed>,
    /// The diagnostic code.
    pub code: Option<String>,
    pub message: String,
    /// Where in the YAML the field or rule stands.
    pub file: Option<String>,
    pub line: Option<u32>,
    pub attempts: u32,
    pub since: DateTime<Utc>,
    pub next_try: Option<DateTime<Utc>>,
}

/// The bases of a link that was not made, as nobody knows whether the record
/// was created for it, or under which key.
#[derive(Debug, Clone, PartialEq)]
pub struct Agreed {
    pub layout: i64,
    pub bases: Bases,
    /// It surely was created.
    pub certain: bool,
}

/// How much a mapping owes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OwedCounts {
    pub parked: u64,
    /// Conflicts that are open.
    pub conflicts: u64,
    /// Deletes that are held back.
    pub held: u64,
}

impl OwedCounts {
    pub fn all(self) -> u64 {
        self.parked + self.conflicts + self.held
    }
}

/// Which parked records. Empty lists everything.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ParkedFilter {
    pub mapping: Option<String>,
    pub ids: Vec<i64>,
    pub reason: Option<Reason>,
    /// Only those whose next try is not after this.
    pub due: Option<DateTime<Utc>>,
    /// Only those after this number; for pages.
    pub after: i64,
    /// At most so many; 0 for all.
    pub limit: usize,
}

impl Parked {
    /// What it is parked for: one for each of these. A record without a key is
    /// parked as a whole, with its row in the place of a field.
    pub fn place(&self) -> (Side, Option<&Key>, Option<&Key>, Option<&str>) {
        (self.side, self.keys.source.as_ref(), self.keys.target.as_ref(), self.row.as_deref().or(self.field.as_deref()))
    }
}

impl ParkedFilter {
    /// Whether it lists this record, pages aside.
    pub(super) fn finds(&self, parked: &Parked) -> bool {
        self.mapping.as_ref().is_none_or(|mapping| *mapping == parked.mapping)
            && (self.ids.is_empty() || self.ids.contains(&parked.id))
            && self.reason.is_none_or(|reason| reason == parked.reason)
            && self.due.is_none_or(|due| parked.next_try.is_some_and(|next_try| next_try <= due))
            && parked.id > self.after
    }
}

/// A delete that waits for the end of the run.
#[derive(Debug, Clone, PartialEq)]
pub struct Spooled {
    pub link: LinkId,
    pub keys: Both<Key>,
    /// The side to delete on.
    pub on: Side,
    pub since: DateTime<Utc>,
}

/// A run of a mapping as the state keeps it. While it lasts, and where it never
/// ends, with what was committed of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunRecord {
    /// Unique and sortable by time.
    pub run: String,
    pub mapping: String,
    /// Its number in the mapping.
    pub number: u64,
    pub status: RunStatus,
    pub started_at: DateTime<Utc>,
    pub duration_ms: u64,
    pub counts: RunCounts,
    /// What went wrong as a whole, in words.
    pub errors: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    Success,
    Partial,
    Failure,
    /// It has begun, and nothing tells of its end.
    Running,
    /// It has begun and never ended: its mapping was acquired anew since.
    Interrupted,
}

impl RunStatus {
    pub(super) const ALL: [RunStatus; 5] =
        [RunStatus::Success, RunStatus::Partial, RunStatus::Failure, RunStatus::Running, RunStatus::Interrupted];

    /// Its end is on record.
    pub fn has_ended(self) -> bool {
        !matches!(self, RunStatus::Running | RunStatus::Interrupted)
    }

    pub fn name(self) -> &'static str {
        match self {
            RunStatus::Success => "success",
            RunStatus::Partial => "partial",
            RunStatus::Failure => "failure",
            RunStatus::Running => "running",
            RunStatus::Interrupted => "interrupted",
        }
    }
}

/// What a run did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct RunCounts {
    pub to_target: SideCounts,
    pub to_source: SideCounts,
    /// Fields that newly came into conflict.
    pub conflicts: u64,
    /// Records and fields owed when the run ended.
    pub owed: u64,
}

/// What a run did towards one side. `read` counts the records of the other
/// side that would cause the writes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct SideCounts {
    pub read: u64,
    pub created: u64,
    pub updated: u64,
    pub deleted: u64,
    pub unchanged: u64,
    pub skipped: u64,
    pub failed: u64,
    pub parked: u64,
}

impl RunCounts {
    pub fn toward(&mut self, side: Side) -> &mut SideCounts {
        match side {
            Side::Source => &mut self.to_source,
            Side::Target => &mut self.to_target,
        }
    }
}

/// One thing that happened to one record.
#[derive(Debug, Clone, PartialEq)]
pub struct EventRecord {
    pub at: DateTime<Utc>,
    pub run: String,
    pub keys: Both<Option<Key>>,
    /// A stable word: `created`, `conflict_opened`.
    pub kind: String,
    /// A JSON object with what the word needs.
    pub detail: serde_json::Value,
}

impl EventRecord {
    /// The kind of the event that tells of one created record.
    pub const CREATED: &str = "created";
    /// The kind of the event that tells of one deleted record.
    pub const DELETED: &str = "deleted";
}

/// How much was forgotten of one record.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Forgotten {
    /// Links whose bases are none any more.
    pub links: u64,
    pub conflicts: u64,
    pub events: u64,
    /// Parked entries that say nothing of its values any more.
    pub parked: u64,
}

/// What is said of a parked record whose values were forgotten.
pub(super) const VALUES_FORGOTTEN: &str = "its values were forgotten; the next run tries it again";
