//! What the engine wrote where it may come back through other mappings.

use std::sync::Arc;

use crate::record::Key;

/// One field of one record, whichever mapping deals with it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cell {
    /// The system's identity, object and key, as text.
    pub object: Arc<str>,
    pub key: Key,
    pub field: String,
}

/// What the engine wrote to a field last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    pub cell: Cell,
    /// Of the value as it stands there since: another one is people's.
    pub digest: u64,
    /// The fields it was made of, and those that their values came from.
    pub origins: Vec<Cell>,
}
