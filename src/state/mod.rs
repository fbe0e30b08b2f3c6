//! What the engine remembers: links with their bases, cursors, intents,
//! parked records, conflicts, runs and the events of each record.
//!
//! Owns the trait [`Store`] and its records; `sqlite` is the default store,
//! `memory` the simulation's and the shortest way to read what each call
//! means; `conformance` is the suite that every store passes. Decides nothing. All of it works in batches: there is no call for a
//! single record.

mod changes;
mod codec;
pub mod conformance;
mod error;
mod file;
mod intent;
mod ledger;
mod mapping;
mod memory;
mod postgres;
mod sqlite;
mod written;

use chrono::{DateTime, Utc};
use futures::future::BoxFuture;

use crate::plan::{Link, LinkId, Resolution};
use crate::record::{Both, Key, Side};

pub use error::{Leased, StoreError};
pub(crate) use file::{FileIdentity, file_identity};
pub use intent::{Before, Intent, IntentField, Intents, IntentsId};
pub use ledger::{
    Agreed, Conflict, ConflictFilter, ConflictStatus, EventRecord, Forgotten, OwedCounts, Parked, ParkedFilter, Reason,
    RunCounts, RunRecord, RunStatus, SideCounts, Spooled,
};
use ledger::{ConflictBefore, VALUES_FORGOTTEN};
pub use mapping::{Ahead, Cursor, Layout, LayoutField, MappingState};
pub use memory::MemoryStore;
pub use postgres::PostgresStore;
pub use sqlite::SqliteStore;
pub use written::{Cell, Written};

type Answer<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

/// A mapping's work, taken by one engine. Every change of state carries it; a
/// fence that is not the newest one of its mapping changes nothing any more.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Fence {
    pub mapping: String,
    pub number: u64,
}

/// Everything that is stored. Each call is one transaction.
pub trait Store: Send + Sync {
    /// Takes a mapping's work. An earlier fence of it is void from then on, and
    /// a run of it that has not ended is [`RunStatus::Interrupted`].
    fn acquire<'a>(&'a self, mapping: &'a str) -> Answer<'a, Fence>;

    /// What is stored of a mapping as a whole; `None` before its first commit.
    fn mapping<'a>(&'a self, mapping: &'a str) -> Answer<'a, Option<MappingState>>;

    /// Every mapping that was ever acquired, by name.
    fn mappings(&self) -> Answer<'_, Vec<String>>;

    /// The links of these keys of one side, one answer for each key, in order.
    /// A link whose making is still an unanswered intent is not one yet, here
    /// and everywhere else.
    fn links<'a>(&'a self, mapping: &'a str, side: Side, keys: &'a [Key]) -> Answer<'a, Vec<Option<Link>>>;

    /// A page of all links in the order of their numbers, those after `after`.
    fn links_after<'a>(&'a self, mapping: &'a str, after: LinkId, limit: usize) -> Answer<'a, Vec<Link>>;

    /// How many links there are, severed ones too.
    fn count_links<'a>(&'a self, mapping: &'a str) -> Answer<'a, u64>;

    /// Makes a commit last and records what is about to be sent, before it is,
    /// in one step. Links of creates in it become links when a commit answers
    /// them; their keys are taken from now on. The commit, which stores no
    /// links, lasts also where one of them is taken already.
    fn intend<'a>(&'a self, fence: &'a Fence, before: &'a Commit, intents: &'a Intents) -> Answer<'a, IntentsId>;

    /// Intents that no commit has answered, oldest first.
    fn open_intents<'a>(&'a self, mapping: &'a str) -> Answer<'a, Vec<(IntentsId, Intents)>>;

    /// Makes everything in `commit` so, or nothing. A second link for a key is
    /// [`StoreError::LinkedTwice`]; what cannot be so otherwise (an answer to
    /// intents that are not open, a change of a link or conflict that is not
    /// there) is [`StoreError::Broken`].
    fn commit<'a>(&'a self, fence: &'a Fence, commit: &'a Commit) -> Answer<'a, ()>;

    /// Conflicts that match, newest first.
    fn conflicts<'a>(&'a self, filter: &'a ConflictFilter) -> Answer<'a, Vec<Conflict>>;

    /// Sets (or takes back) a person's decision on open conflicts; says how
    /// many there were. The next run applies it.
    fn resolve<'a>(&'a self, ids: &'a [i64], resolution: Option<&'a Resolution>) -> Answer<'a, u64>;

    /// What is parked, oldest first.
    fn parked<'a>(&'a self, filter: &'a ParkedFilter) -> Answer<'a, Vec<Parked>>;

    /// Makes parked records due at once; says how many there were.
    fn retry<'a>(&'a self, ids: &'a [i64]) -> Answer<'a, u64>;

    /// Forgets parked records: nothing is owed for them any more until they
    /// change again. Says how many there were.
    fn drop_parked<'a>(&'a self, ids: &'a [i64]) -> Answer<'a, u64>;

    /// Deletes that wait for the end of a run, oldest first, those after
    /// `after`.
    fn spooled<'a>(&'a self, mapping: &'a str, after: LinkId, limit: usize) -> Answer<'a, Vec<Spooled>>;

    fn count_owed<'a>(&'a self, mapping: &'a str) -> Answer<'a, OwedCounts>;

    /// Starts a sweep of one side: forgets what an earlier one has seen.
    fn sweep_begin<'a>(&'a self, fence: &'a Fence, side: Side) -> Answer<'a, ()>;

    /// These keys were in the listing: the links that have them now are seen.
    fn sweep_seen<'a>(&'a self, fence: &'a Fence, side: Side, keys: &'a [Key]) -> Answer<'a, ()>;

    /// A page of links that are older than the sweep, not severed for a record
    /// of this side that is gone, and were not seen, in the order of their numbers, those after `after`.
    /// A sweep does not outlive the engine that began it: without one this is
    /// an error, never a list of everything.
    fn sweep_absent<'a>(&'a self, fence: &'a Fence, side: Side, after: LinkId, limit: usize) -> Answer<'a, Vec<Link>>;

    /// What the engine wrote last to these fields, one answer for each, in
    /// order, whichever mapping it was; `None` where that is not known.
    fn written<'a>(&'a self, cells: &'a [Cell]) -> Answer<'a, Vec<Option<Written>>>;

    /// The newest runs, of one mapping or of all.
    fn runs<'a>(&'a self, mapping: Option<&'a str>, limit: usize) -> Answer<'a, Vec<RunRecord>>;

    /// Forgets what happened before a time, of every mapping: events, conflicts
    /// that are at their end, and runs but for the newest [`RUNS_KEPT`] of each.
    /// Says how much that was.
    fn prune(&self, before: DateTime<Utc>) -> Answer<'_, u64>;

    /// Records deleted by this mapping's runs since then: as many as there are
    /// events [`EventRecord::DELETED`].
    fn deleted_since<'a>(&'a self, mapping: &'a str, since: DateTime<Utc>) -> Answer<'a, u64>;

    /// Keys of this side that the state knows of and that differ from this one
    /// by blanks at the end of their texts at most, as a field that its system
    /// pads has them.
    fn padded_keys<'a>(&'a self, mapping: &'a str, side: Side, key: &'a Key) -> Answer<'a, Vec<Key>>;

    /// The events of one record, oldest first; among them how its link was
    /// made, where [`Commit::made`] says so.
    fn events<'a>(&'a self, mapping: &'a str, side: Side, key: &'a Key) -> Answer<'a, Vec<EventRecord>>;

    /// Forgets cursors (so that everything is read again), with `links` also
    /// links, conflicts, parked and spooled records of the mapping, what it has
    /// written, and what makes a first sync not the first. Open intents stay: what was sent may
    /// still arrive. The mapping's fence is void, so that a run under way
    /// cannot bring back what was forgotten.
    fn reset<'a>(&'a self, mapping: &'a str, links: bool) -> Answer<'a, ()>;

    /// Forgets the values of one record: its bases, conflicts and events, and what
    /// is told of it where it is parked, which becomes due. Its link stays, and so
    /// does what is owed. The mapping's fence is void.
    fn forget_values<'a>(&'a self, mapping: &'a str, keys: &'a Both<Option<Key>>) -> Answer<'a, Forgotten>;

    /// Gives a mapping another name, with everything that is stored of it. Its
    /// fence is void. A mapping of the new name that has neither links nor open
    /// intents gives way, but for its runs and events; with any it is
    /// [`StoreError::Broken`]. Where nothing has the former name, nothing happens.
    fn rename<'a>(&'a self, former: &'a str, name: &'a str) -> Answer<'a, ()>;

    /// Gives a mapping's work back: another engine may take it at once. The
    /// fence is void from then on where the state is shared by leases;
    /// elsewhere this does nothing.
    fn release<'a>(&'a self, _fence: &'a Fence) -> Answer<'a, ()> {
        Box::pin(async { Ok(()) })
    }

    /// Puts away what an open state leaves lying about. Nothing is asked of it
    /// afterwards. A state that is merely dropped is as safe.
    fn close(&self) -> Answer<'_, ()> {
        Box::pin(async { Ok(()) })
    }
}

/// One transaction over everything a batch changed. The fields stand in the
/// order in which they come into effect: a key that is given up above is free
/// below.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Commit {
    /// Intents that are answered by this commit.
    pub answered: Vec<Answered>,
    /// Links to forget: their open conflicts are closed, their spooled deletes
    /// and everything parked under one of their keys go with them.
    pub forget: Vec<LinkId>,
    /// Links to store: new where the number is 0, else as they are now.
    pub links: Vec<Link>,
    /// Whose creates the links are that come out of `answered`, and those that
    /// are new in `links`. Kept for all of them at once: a first sync has a
    /// million.
    pub made: Option<Made>,
    /// Nothing is owed any more for these records: (side, key) of everything
    /// parked under that key, but for what `park` parks again.
    pub unpark: Vec<(Side, Key)>,
    /// To park; what is parked already for the same record and field is
    /// updated: it keeps its number and `since`, and never has fewer attempts.
    pub park: Vec<Parked>,
    /// To open, move or close. Where the link is made by this very commit its
    /// number is 0 here, and the source key says which it is.
    pub conflicts: Vec<Conflict>,
    /// Fields that do not hold what the engine wrote there any more.
    pub overtaken: Vec<Cell>,
    /// What was written, instead of what is known of the same field.
    pub written: Vec<Written>,
    pub unspool: Vec<LinkId>,
    /// Deletes to spool; one that is spooled already keeps its `since`.
    pub spool: Vec<Spooled>,
    pub events: Vec<EventRecord>,
    /// What is to be stored of the mapping as a whole, cursors included.
    pub mapping: Option<MappingState>,
    /// Cursors to move.
    pub cursors: Both<Option<Cursor>>,
    /// The run as it stands now.
    pub run: Option<RunRecord>,
}

/// A run that created records.
#[derive(Debug, Clone, PartialEq)]
pub struct Made {
    /// The side they were created on.
    pub side: Side,
    pub run: String,
    pub at: DateTime<Utc>,
}

impl Made {
    /// As an event of one of the records.
    fn event(&self, keys: &Both<Key>) -> EventRecord {
        EventRecord {
            at: self.at,
            run: self.run.clone(),
            keys: keys.clone().map(Some),
            kind: EventRecord::CREATED.to_owned(),
            detail: serde_json::json!({ "side": self.side, "fields": [] }),
        }
    }
}

/// So many runs of a mapping are kept, however old they are.
pub const RUNS_KEPT: usize = 100;

/// Puts an event among others, which are in their order.
fn insert_event(events: &mut Vec<EventRecord>, event: EventRecord) {
    let position = events.iter().position(|other| other.at >= event.at).unwrap_or(events.len());
    events.insert(position, event);
}

/// Between which texts all keys lie that differ from this one by blanks at most:
/// from the first, below the second.
fn padding_range(key: &Key) -> Option<(String, String)> {
    // Keys that begin with the same entry, but for blanks, lie side by side.
    let entry = key.entries().into_iter().next()?;
    let begin = match &entry {
        serde_json::Value::String(text) => format!("[{}", serde_json::Value::from(text.trim_end_matches(' '))),
        other => format!("[{other}\""),
    };
    let begin = begin.strip_suffix('"').unwrap_or(&begin);
    let (first, last) = if entry.is_string() { (' ', '#') } else { (',', '^') };
    Some((format!("{begin}{first}"), format!("{begin}{last}")))
}

/// True where two keys differ by blanks at the end of their texts at most.
fn same_but_for_padding(a: &Key, b: &Key) -> bool {
    let cut = |key: &Key| -> Vec<serde_json::Value> {
        let entry = |entry: serde_json::Value| match entry {
            serde_json::Value::String(text) => text.trim_end_matches(' ').into(),
            other => other,
        };
        key.entries().into_iter().map(entry).collect()
    };
    cut(a) == cut(b)
}

/// What became of recorded intents.
#[derive(Debug, Clone, PartialEq)]
pub struct Answered {
    pub intents: IntentsId,
    /// Positions in `Intents::creates` whose links were not made, or are made
    /// otherwise (then they stand in [`Commit::links`]). All others become
    /// links as they were recorded.
    pub not_made: Vec<usize>,
}

impl Commit {
    /// Everything in it belongs to the mapping it is made for.
    fn check_mapping(&self, mapping: &str) -> Result<(), StoreError> {
        let conflicts = self.conflicts.iter().map(|conflict| &conflict.mapping);
        let parked = self.park.iter().map(|parked| &parked.mapping);
        let run = self.run.iter().map(|run| &run.mapping);
        match conflicts.chain(parked).chain(run).find(|name| *name != mapping) {
            None => Ok(()),
            Some(other) => Err(StoreError::Broken(format!("a commit of mapping `{mapping}` has records of `{other}`"))),
        }
    }
}
