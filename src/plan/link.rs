//! A link: the stored fact that this source record is that target record, and
//! what both showed when they last agreed.

use chrono::{DateTime, Utc};

use crate::record::{Both, Key, Side, Value, short_digest};

/// A link's number, given by the store; 0 until it is stored.
pub type LinkId = i64;

/// "This source key is that target key", with each side's base.
#[derive(Debug, Clone, PartialEq)]
pub struct Link {
    pub id: LinkId,
    pub keys: Both<Key>,
    /// Grows with every write and never repeats.
    pub revision: u64,
    pub status: LinkStatus,
    /// A side's record had left `where` or `when` when the pair was last looked
    /// at: whatever changed meanwhile is found when it is back.
    pub outside: bool,
    pub bases: Bases,
    /// Where the engine made the last change of a side's record.
    pub own_stamps: Both<Option<OwnStamp>>,
    /// Writes of the last runs that went against a change, for the loop breaker.
    pub contests: Vec<Contest>,
    /// The layout of the fields `bases` follows; another one than the
    /// program's means the mapping was edited since.
    pub layout: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkStatus {
    Linked,
    /// One side's record is gone and the other stays as it is.
    Severed {
        gone: Side,
    },
}

/// What each field showed when both sides last agreed. `None` for a field that
/// has not agreed yet: a new one, or one in conflict since adoption.
#[derive(Debug, Clone, PartialEq)]
pub enum Bases {
    Values(Vec<Option<Both<Value>>>),
    /// In a mapping of one direction: a digest of each field in the
    /// representation of the written side.
    Digests(Vec<Option<u64>>),
}

/// The stamp a side's record carries since the engine wrote it, and when
/// people last changed it as far as that write tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnStamp {
    pub shown: DateTime<Utc>,
    pub people: DateTime<Utc>,
    /// Where nobody was told that the write carries this stamp: a digest of the
    /// record as it showed it. While it shows that, the stamp is nobody else's.
    pub shows: Option<u64>,
}

/// One write of a field against a change of the side written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contest {
    pub field: u32,
    /// The number of the mapping's run.
    pub run: u64,
}

impl Bases {
    /// Bases of `fields` fields that have not agreed yet.
    pub fn none(fields: usize, digests: bool) -> Bases {
        if digests { Bases::Digests(vec![None; fields]) } else { Bases::Values(vec![None; fields]) }
    }

    /// As many fields, none of which has agreed yet.
    pub fn emptied(&self) -> Bases {
        Bases::none(self.len(), matches!(self, Bases::Digests(_)))
    }

    /// Both values of a field, where they are kept.
    pub fn values(&self, field: usize) -> Option<&Both<Value>> {
        match self {
            Bases::Values(values) => values[field].as_ref(),
            Bases::Digests(_) => None,
        }
    }

    /// The digest of a field, where digests are kept.
    pub fn digest(&self, field: usize) -> Option<u64> {
        match self {
            Bases::Values(_) => None,
            Bases::Digests(digests) => digests[field],
        }
    }

    /// Sets a field's base: what `side` is given, and what the other shows.
    /// `written` as in [`Bases::set`].
    pub fn give(&mut self, field: usize, side: Side, given: &Value, other: impl FnOnce() -> Value, written: Side) {
        match self {
            Bases::Values(bases) => {
                let mut base = Both::default();
                base[side] = given.clone();
                base[side.other()] = other();
                bases[field] = Some(base);
            }
            Bases::Digests(digests) if side == written => digests[field] = Some(short_digest(given)),
            Bases::Digests(digests) => digests[field] = Some(short_digest(&other())),
        }
    }

    /// Sets a field's base. `written` is the value in the representation of
    /// the written side.
    pub fn set(&mut self, field: usize, values: Both<Value>, written: Side) {
        match self {
            Bases::Values(bases) => bases[field] = Some(values),
            Bases::Digests(digests) => digests[field] = Some(short_digest(&values[written])),
        }
    }

    /// `side` shows this instead of what was set. `written` as in [`Bases::set`].
    pub fn show(&mut self, field: usize, side: Side, shown: Value, written: Side) {
        match self {
            Bases::Values(bases) => {
                if let Some(base) = &mut bases[field] {
                    base[side] = shown;
                }
            }
            Bases::Digests(digests) if side == written => digests[field] = Some(short_digest(&shown)),
            Bases::Digests(_) => {}
        }
    }

    /// True where the digest of this value is the field's base.
    pub fn holds(&self, field: usize, value: &Value) -> bool {
        self.digest(field) == Some(short_digest(value))
    }

    /// Forgets a field's base.
    pub fn clear(&mut self, field: usize) {
        match self {
            Bases::Values(bases) => bases[field] = None,
            Bases::Digests(digests) => digests[field] = None,
        }
    }

    pub fn len(&self) -> usize {
        match self {
            Bases::Values(values) => values.len(),
            Bases::Digests(digests) => digests.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
