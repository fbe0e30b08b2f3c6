//! The contract every system is spoken to through, and what comes back.
//!
//! Owns the traits [`Connector`] (one configured system), [`Object`] (one
//! object of it, opened for one mapping) and [`Writing`] (one batch of
//! writes), what a system tells of itself ([`Description`]) and what it does
//! to us ([`Fault`], [`Outcome`]). Never knows of mappings, plans or state.
//!
//! The engine relies on every sentence of these docs; `conformance` is the
//! suite that holds each implementation to them.

pub mod conformance;
mod description;
mod fault;

use std::sync::Arc;

use futures::future::BoxFuture;
use futures::stream::BoxStream;

use crate::record::{Batch, Shape, Value};

pub use description::{Description, ObjectSummary};
pub use fault::{Applied, Fault, FaultKind, Retry};

/// One configured system: a connection of the user's.
pub trait Connector: Send + Sync {
    /// Reaches the system and authenticates; says in a few words what answered
    /// (product and version).
    fn check(&self) -> BoxFuture<'_, Result<String, Fault>>;

    /// The objects the system offers, in its own order.
    fn objects(&self) -> BoxFuture<'_, Result<Vec<ObjectSummary>, Fault>>;

    /// What the system tells of one object, by the name the user wrote.
    /// `Ok(None)` where it has no such object (or the name is ambiguous; then
    /// `objects` helps to say which).
    fn describe<'a>(&'a self, object: &'a str) -> BoxFuture<'a, Result<Option<Description>, Fault>>;

    /// Opens an object for one mapping. Names are resolved and statements are
    /// prepared here, once.
    fn open(&self, access: Access) -> BoxFuture<'_, Result<Arc<dyn Object>, Fault>>;
}

/// What one mapping needs of an object. Slots index `shape`.
#[derive(Debug, Clone)]
pub struct Access {
    /// The object as the user wrote it.
    pub object: String,
    /// The fields read and written, in slot order; each is a field of the
    /// object's [`Description`] under its exact name.
    pub shape: Arc<Shape>,
    pub key: Vec<usize>,
    pub cursor: Option<usize>,
    /// `where`, in the system's own filter language.
    pub filter: Option<String>,
    /// `start`: records whose slot holds less than this are left alone.
    pub start: Option<(usize, Value)>,
    /// Rows whose slot holds this value are deleted: no update or delete
    /// touches them, also where a row that lives has the same key.
    pub marked: Option<(usize, Value)>,
    /// Rows in one batch of a reading.
    pub batch: usize,
}

/// One object of a system, opened for one mapping.
pub trait Object: Send + Sync {
    /// Where the side stands now, taken before the first page of a run.
    fn horizon(&self) -> BoxFuture<'_, Result<Horizon, Fault>>;

    /// Has the system read what a user wrote in its own language (`where`),
    /// without reading a record. A fault where it does not understand it.
    fn understand(&self) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Reads records. Every row that satisfies the request when the reading
    /// starts, and is not changed while it lasts, is delivered at least once;
    /// order as [`Listing`] says. Each row has a value for every slot.
    fn read(&self, listing: Listing) -> BoxStream<'_, Result<Batch, Fault>>;

    /// Records whose slots `by` equal one of `probes`, by the system's own
    /// equality (collation, padding). A probe that holds a null finds nothing.
    fn fetch<'a>(
        &'a self,
        by: &'a [usize],
        probes: &'a [Vec<Value>],
        scope: Scope,
    ) -> BoxFuture<'a, Result<Found, Fault>>;

    /// Opens a batch of writes, before its intents are recorded. `allot` is
    /// the number of creates that come without a key the system generates.
    /// Dropping the answer without [`Writing::write`] changes nothing.
    fn begin(&self, allot: usize) -> BoxFuture<'_, Result<Box<dyn Writing + '_>, Fault>>;

    fn overlap(&self) -> Overlap {
        Overlap::None
    }

    /// This key is spoken for, though no record has it: a system that gives keys
    /// again is not to allot it.
    fn avoid(&self, _key: &[Value]) {}

    /// True where a record is shown once, as it comes: [`Listing::Changes`] has
    /// what has come since [`Horizon::known`], whose words, with blanks between
    /// them, are kept for ever; and what it does not show may be there still.
    fn shows_once(&self) -> bool {
        false
    }

    /// True where what is written is only prepared, as its outcomes foretell, and
    /// comes into effect with [`Object::finish`]: files appear whole. Readings
    /// and fetches show what is prepared.
    fn holds_back(&self) -> bool {
        false
    }

    /// Brings everything into effect that was written since the last time, whole
    /// or not at all. After a fault that [`Retry::Later`] is said of it may be
    /// tried again; after another one all of it is to be written anew.
    fn finish(&self) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// What became of a batch whose writer gave no answer. Only returns
    /// [`Settled::Look`], `Applied` or `NotApplied` once the writer is surely
    /// at its end: nothing of the batch can still come into effect.
    fn settle<'a>(&'a self, token: Option<&'a str>) -> BoxFuture<'a, Result<Settled, Fault>>;
}

/// Comes true once the intents of a batch are on record; false where they
/// could not be, so that nothing of the batch may come into effect.
pub type Recorded<'a> = BoxFuture<'a, bool>;

/// Nothing has to be recorded first.
pub fn unrecorded<'a>() -> Recorded<'a> {
    Box::pin(std::future::ready(true))
}

/// What of a batch of new records may be done before the one sent before it is
/// in effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overlap {
    None,
    /// It may be opened, and its intents recorded.
    Opened,
    /// It may be written: what becomes of a record hangs on no other, but for
    /// its key.
    Written,
}

/// One batch of writes that is about to be sent.
pub trait Writing: Send {
    /// What [`Object::settle`] can later be asked with; goes into the intents.
    fn token(&self) -> Option<String>;

    /// Keys allotted to the creates that have none, `allot` of them, each a
    /// value for every key slot. Empty where the system tells a key only in
    /// its answer.
    fn keys(&self) -> &[Vec<Value>];

    /// Sends the changes and makes them last, but for what [`Object::holds_back`]:
    /// one outcome for each, in order.
    /// A batch is all or nothing but for the changes whose outcome says that
    /// nothing was done. An error with [`Applied::No`] means nothing was.
    ///
    /// Nothing may come into effect before `recorded` has come true; what can
    /// be taken back may be sent while it is waited for. Where it comes false
    /// the answer is [`Fault::not_recorded`].
    fn write<'a>(
        self: Box<Self>,
        changes: &'a [Change],
        recorded: Recorded<'a>,
    ) -> BoxFuture<'a, Result<Vec<Outcome>, Fault>>
    where
        Self: 'a;
}

/// How far a side could be read, in the representation of its cursor field.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Horizon {
    /// The side's own clock.
    pub clock: Option<Value>,
    /// The start of its oldest open transaction, where the side can tell.
    pub oldest_open: Option<Value>,
    /// The largest cursor value that stands in the object now.
    pub largest: Option<Value>,
    /// The transactions that were open once `largest` was taken, and of which no
    /// time tells below which stamp their records may come to lie. By names
    /// that a transaction keeps while it is open and that no other has at the
    /// same time; one that may have had another name before has an empty one.
    pub open: Vec<String>,
    /// What stands in the object now, in the side's own words, where it can
    /// tell later which rows have come since.
    pub known: Option<String>,
    /// Changes when the side was restored from a backup: parts such as `server
    /// ID/TIMELINE` and `table ID`, with `, ` between them. What the side does
    /// not tell is left out, and not compared.
    pub timeline: Option<String>,
}

/// What to read, and in which order.
#[derive(Debug, Clone, PartialEq)]
pub enum Listing {
    /// Rows whose cursor is at least `from` (all, where `None`), ordered by
    /// cursor, then by key; then, in batches of their own, the rows whose
    /// cursor is null, ordered by key. `Batch::reached` is the last cursor
    /// value in the batch that can be compared with a stamp (not `infinity`,
    /// not a text in a column of times). `where` and `start` apply.
    ///
    /// Rows at exactly `from` that stand since [`Horizon::known`] was `known`
    /// may be left out: many rows may have the newest stamp, and they would be
    /// read by every run until there is a newer one.
    ///
    /// Of an object that shows records once, without a cursor: those that have
    /// come since, all where `known` is `None`.
    ///
    /// With `but_created`, records that stand exactly as this object created
    /// them since it was opened may be left out, where the system can tell.
    Changes { from: Option<Value>, known: Option<String>, but_created: bool },
    /// Every row, ordered by key. `where` and `start` apply.
    Full,
    /// The keys of every row whatever `where` and `start` say, as one complete
    /// listing, ordered by key; slots other than the key are `Missing`. If it cannot be told
    /// complete, it ends with a fault.
    Keys,
}

impl Listing {
    /// Everything from a cursor value on.
    pub fn changes(from: Option<Value>) -> Listing {
        Listing::Changes { from, known: None, but_created: false }
    }
}

/// Which rows a fetch may find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Only those that satisfy `where` and `start`.
    Filtered,
    /// Whatever `where` and `start` say.
    Everything,
}

/// What a fetch found: a row for each hit, and for each row the probe it
/// answers. A probe may have none, one or several rows.
#[derive(Debug, Clone)]
pub struct Found {
    pub batch: Batch,
    pub probes: Vec<usize>,
    /// For each row whether it satisfies `where` and `start`.
    pub within: Vec<bool>,
}

/// What is done to one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    Create,
    Update,
    Delete,
}

/// One change of one record.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    pub action: Action,
    /// A value for every key slot. Empty for a create whose key only the
    /// answer tells.
    pub key: Vec<Value>,
    /// The slots to write. For a create the key slots are in `key`, not here.
    pub set: Vec<(usize, Value)>,
    /// What must still stand in these slots for the change to be made.
    pub expect: Vec<(usize, Value)>,
}

/// What became of one change.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// Done. `stored` is the whole row as it stands now, where the system
    /// says; `None` means: exactly as sent.
    Done { key: Vec<Value>, stored: Option<Vec<Value>> },
    /// Not done: something in `expect` does not stand any more.
    Moved,
    /// Not done: a record with this key is there already.
    Exists,
    /// Not done: there is no record with this key.
    Gone,
    /// Not done: the system refused this record.
    Refused(Refusal),
}

/// Why a system refused a record, in its own words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The system's own code (an SQLSTATE, an HTTP status).
    pub native: String,
    pub message: String,
    /// The slot it names, where it does.
    pub slot: Option<usize>,
}

/// What became of a batch without an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// All of it is in effect, every single change.
    Applied,
    /// Nothing of it is, nor will be.
    NotApplied,
    /// The writer is at its end; only a look at the records can tell.
    Look,
    /// The system is still at it; ask again.
    Running,
}
