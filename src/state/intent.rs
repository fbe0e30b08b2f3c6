//! What is about to be sent to a side, recorded before it is.

use chrono::{DateTime, Utc};

use crate::connector::Action;
use crate::plan::{Link, LinkId};
use crate::record::{Both, Key, Side, Value};

/// A number the store gives to recorded intents.
pub type IntentsId = i64;

/// One batch of writes to one side.
#[derive(Debug, Clone, PartialEq)]
pub struct Intents {
    pub side: Side,
    /// What the side can later be asked with what became of them.
    pub token: Option<String>,
    pub at: DateTime<Utc>,
    /// The layout that the fields of `changes` follow; each link in `creates`
    /// has its own.
    pub layout: i64,
    /// For each record to be created, the link as it will be once that is
    /// acknowledged (number 0). Where the side tells a key only in its answer,
    /// the written side's key is empty.
    pub creates: Vec<Link>,
    pub changes: Vec<Intent>,
}

/// A change of one linked record.
#[derive(Debug, Clone, PartialEq)]
pub struct Intent {
    pub link: LinkId,
    pub keys: Both<Key>,
    /// The link's revision once this is acknowledged.
    pub revision: u64,
    pub action: Action,
    /// What is written. A delete with fields takes a create back.
    pub fields: Vec<IntentField>,
    /// What is set beside the fields, by name (`deletes: { set: … }`): once it
    /// is acknowledged the link is severed.
    pub set: Vec<(String, Value)>,
    /// Where the mapping asks who was newer and the side tells times.
    pub before: Option<Before>,
}

/// What tells the stamp of the engine's own write from one that people left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Before {
    /// When people had last changed the record.
    pub people: DateTime<Utc>,
    /// A digest of what the record showed in the mapped fields that are not
    /// written.
    pub beside: u64,
}

impl Intent {
    /// It deletes what was created just before, since it was stored as
    /// something else.
    pub fn takes_back_a_create(&self) -> bool {
        self.action == Action::Delete && !self.fields.is_empty()
    }
}

/// One field of a change.
#[derive(Debug, Clone, PartialEq)]
pub struct IntentField {
    /// Its position in the layout of the intents.
    pub field: usize,
    /// In the representation of the written side.
    pub value: Value,
    /// What stood there.
    pub expect: Option<Value>,
    /// The field's bases once it is acknowledged.
    pub bases: Both<Value>,
}
