//! What was seen of a record on one side.

use chrono::{DateTime, Utc};

use crate::record::Value;

/// A side's record as the run saw it.
#[derive(Debug, Clone, PartialEq)]
pub enum Seen {
    /// There is no counterpart (and never was, as far as links know).
    Nobody,
    Live(Record),
    /// Linked, and verified gone.
    Gone,
    /// Its side marks it as deleted: that is gone, and may come back.
    Marked,
    /// There, but outside `where`, `start` or `when`.
    Outside,
}

/// A record's fields, one for each field of the program, as its side shows
/// them.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    pub fields: Vec<Value>,
    /// When it last changed, by its `modified`.
    pub stamp: Option<DateTime<Utc>>,
}

impl Seen {
    pub fn is_gone(&self) -> bool {
        matches!(self, Seen::Gone | Seen::Marked)
    }

    pub fn live_mut(&mut self) -> Option<&mut Record> {
        match self {
            Seen::Live(record) => Some(record),
            _ => None,
        }
    }

    pub fn live(&self) -> Option<&Record> {
        match self {
            Seen::Live(record) => Some(record),
            _ => None,
        }
    }
}
