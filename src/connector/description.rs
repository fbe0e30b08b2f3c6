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
    /// The fields that an index begins with (the primary key's among them).
    /// `None` where the system does not tell, as of a view.
    pub indexed: Option<Vec<String>>,
    pub can_read: bool,
    pub can_create: bool,
    pub can_update: bool,
    pub can_delete: bool,
    /// Whether the side tells the start of its oldest open transaction, so
    /// that a late commit is seen without leaning on the overlap.
    pub sees_open_transactions: bool,
    /// For each field of `shape`, the steps in nanoseconds in which its stamps
    /// go as far as they tell: stamps closer than this are a tie. Only times
    /// and dates need one.
    pub grains_nanos: Vec<u64>,
    /// The zone of its times and dates without one.
    pub timezone: chrono_tz::Tz,
    /// What a user should know (a type carried as text, a trigger that changes
    /// what is written), for `validate --online`.
    pub notes: Vec<String>,
}
