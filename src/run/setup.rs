//! What a run is given, and how it may be asked to behave.

use std::sync::Arc;
use std::time::Duration;

use super::event::Observer;
use super::neighbours::Neighbours;
use super::report::Trouble;
use super::review::{PlanSink, Review};
use super::world::World;
use crate::compile::Program;
use crate::connector::Object;
use crate::diagnostic::Code;
use crate::record::{Both, Key, Side};
use crate::state::{Layout, MappingState, Store};

/// Everything one mapping runs on.
pub struct Setup {
    pub program: Arc<Program>,
    pub objects: Both<Arc<dyn Object>>,
    /// Each side's identity, object and key, as text.
    pub fingerprints: Both<String>,
    /// The fields of the program's bases; its number is given by the run.
    pub layout: Layout,
    /// What readings depend on besides the cursor, as text.
    pub filters: Both<String>,
    /// What the project's other mappings have to do with this one.
    pub neighbours: Neighbours,
    pub retry: Both<RetryPolicy>,
    pub store: Arc<dyn Store>,
    pub world: Arc<dyn World>,
    pub observer: Arc<dyn Observer>,
}

impl Setup {
    /// Links belong to exactly two sides. Before the first run, and after a
    /// reset of everything, they belong to none yet.
    pub(super) fn refuse_other_sides(&self, stored: &MappingState) -> Result<(), Trouble> {
        let other = |side: &Side| {
            let before = &stored.fingerprints[*side];
            !before.is_empty() && *before != self.fingerprints[*side]
        };
        let Some(side) = Side::BOTH.into_iter().find(other) else { return Ok(()) };
        let name = &self.program.name;
        let ways = if self.other_key(stored).is_some() {
            format!(
                "links of another key cannot be taken over: put the former `key` back, or forget the links with \
                 `engine reset PATH {name} --links`, after which the next run is a first sync that finds records again \
                 by `match`"
            )
        } else {
            "`engine state adopt` takes the links over, `engine reset --links` forgets them".to_owned()
        };
        Err(Trouble::Refused {
            code: Code::FINGERPRINT,
            side: Some(side),
            message: format!(
                "the {side} of `{name}` is not what its links belong to: they were made with {}, and it is {} now; {ways}",
                stored.fingerprints[side], self.fingerprints[side]
            ),
        })
    }

    /// The side whose key has other fields, or fields in another order, than
    /// when its links were made. Its links name records that the new key does
    /// not know: carried over, each of them would look deleted.
    pub fn other_key(&self, stored: &MappingState) -> Option<Side> {
        Side::BOTH.into_iter().find(|side| {
            let before = &stored.fingerprints[*side];
            !before.is_empty() && key_of_fingerprint(before) != key_of_fingerprint(&self.fingerprints[*side])
        })
    }
}

/// The key fields at the end of a side's fingerprint, as text.
pub fn key_of_fingerprint(fingerprint: &str) -> Option<&str> {
    let (_, key) = fingerprint.strip_suffix(')')?.rsplit_once(" (")?;
    Some(key)
}

/// How often a call that failed for a passing reason is made again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Calls in all.
    pub attempts: u32,
    /// The wait before the second call; doubled for each further one.
    pub backoff: Duration,
    pub max: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        RetryPolicy { attempts: 5, backoff: Duration::from_millis(500), max: Duration::from_secs(30) }
    }
}

/// How one run may be asked to behave.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Read everything, whatever the cursors say.
    pub full: bool,
    /// Only these records: a side and a key each.
    pub keys: Vec<(Side, Key)>,
    /// Let this run delete more than the limit.
    pub over_limit: bool,
    /// Decide everything, write nothing: neither to a side nor to the state.
    pub dry: bool,
    /// In a dry run: who takes each change that is planned.
    pub sink: Option<Arc<dyn PlanSink>>,
    /// In a dry run: so many changes are named in the report; `None` for all.
    pub named: Option<usize>,
    /// Only these changes.
    pub review: Option<Arc<dyn Review>>,
}

impl Options {
    /// Only some records are looked at, which says nothing of the others.
    pub(super) fn is_partial(&self) -> bool {
        !self.keys.is_empty() || self.review.is_some()
    }
}
