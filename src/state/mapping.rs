//! What is stored of a mapping as a whole.

use chrono::{DateTime, Utc};

use crate::record::{Both, Value};

/// A mapping between runs.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MappingState {
    /// The number of its last run; runs count from 1.
    pub runs: u64,
    /// Each side's identity, object and key; a change is refused until it is
    /// adopted.
    pub fingerprints: Both<String>,
    /// Every field list that stored bases follow, the newest last.
    pub layouts: Vec<Layout>,
    /// How far each side has been read.
    pub cursors: Both<Option<Cursor>>,
    /// When each side was last swept.
    pub swept: Both<Option<DateTime<Utc>>>,
    /// A first sync was let through: what stands on the sides since may be its
    /// own.
    pub first_sync_begun: bool,
    /// Both sides were read to their end at least once.
    pub first_sync_done: bool,
}

impl MappingState {
    /// Forgets what makes a first sync not the first. Layouts stay, since
    /// links of open intents follow them, and runs go on counting.
    pub(super) fn begin_anew(&mut self) {
        self.fingerprints = Both::default();
        self.swept = Both::default();
        self.first_sync_begun = false;
        self.first_sync_done = false;
    }
}

/// The fields that the bases of a link follow, in order.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Layout {
    pub id: i64,
    pub fields: Vec<LayoutField>,
    /// Every link of an earlier layout was looked at since this one is the
    /// newest. Those still left are looked at when their record is back.
    #[serde(default)]
    pub settled: bool,
}

/// One field of a layout.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct LayoutField {
    /// What it fills and is read from: `A1_NOME -> name`.
    pub id: String,
    /// A digest of its rules in both directions.
    pub rules: String,
}

/// How far a side has been read.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Cursor {
    /// The next run reads from here, less the overlap. `None` where the side
    /// had no cursor value yet.
    pub low: Option<Value>,
    /// What stood in the side then, in its own words: of the rows at `low` the
    /// next run reads those that came later.
    pub known: Option<String>,
    /// The side's timeline then; another one means it was restored.
    pub timeline: Option<String>,
    /// What the readings depend on besides the mark (the cursor's field; `where`,
    /// `start`, `when`, `deleted`, `allow`, `match`): where they change everything is read again.
    pub filter: String,
    /// How far it was read beyond `low`, where that is held back.
    pub ahead: Option<Ahead>,
    /// The largest value that stands in the side, where it was found to lie
    /// below `low` only because newer records are gone.
    pub receded: Option<Value>,
    /// The side was found to be restored from a backup: nothing is read or
    /// written until the mapping is reset.
    pub restored: bool,
}

/// A mark that becomes the low one when the transactions that might still put
/// records below it have ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Ahead {
    pub mark: Value,
    /// Those transactions, as the side names them.
    pub open: Vec<String>,
}
