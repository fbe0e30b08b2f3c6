//! What a system tells of its objects.

use crate::record::Shape;

/// An object in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectSummary {
    /// As a user would write it in `object:`.
    pub name: String,
    /// `table`, `view`, `resource`, …
    pub kind: String,
}

/// Everything a system tells of one object.
#[derive(Debug, Clone, PartialEq)]
pub struct Description {
    /// The object's full name, as the system itself would write it.
    pub name: String,
    /// The system's own identity, not its address: what stays the same when a
    /// host is renamed and differs between two systems.
    pub identity: String,
    /// Every field of the object.
    pub shape: Shape,
    /// The primary key's field names; empty where there is none.
    pub key: Vec<String>,
    /// Field sets that are unique (the primary key among them).
    pub unique: Vec<Vec<String>>,
    pub can_create: bool,
    pub can_update: bool,
    pub can_delete: bool,
    /// Whether the side tells the start of its oldest open transaction, so
    /// that a late commit is seen without leaning on the overlap.
    pub sees_open_transactions: bool,
    /// The side's clock ticks in steps of this many nanoseconds as far as its
    /// stamps tell; stamps closer than this are a tie.
    pub clock_grain_nanos: u64,
    /// What a user should know (a type carried as text, a trigger that changes
    /// what is written), for `validate --online`.
    pub notes: Vec<String>,
}
