//! The suite every [`Connector`] has to pass.
//!
//! A [`Harness`] gives it a system it can make objects in, and a second way
//! into that system: another writer, who does not go through the connector.
//! [`conform`] runs everything; it panics with what was promised where a
//! promise is broken. Start reading there.

mod reading;
mod values;
mod writing;

use std::sync::Arc;

use futures::StreamExt;
use futures::future::BoxFuture;

use super::{Access, Action, Change, Connector, Listing, Object, Outcome, unrecorded};
use crate::record::{Batch, Kind, Mark, Shape, Value, same};

/// A field of an object the suite asks for.
#[derive(Debug, Clone)]
pub struct Column {
    pub name: &'static str,
    pub kind: Kind,
    /// Part of the primary key.
    pub key: bool,
    /// The key is given by the system where a record comes without it.
    pub generated: bool,
    /// Takes no null.
    pub required: bool,
    /// No two records have the same value in it.
    pub unique: bool,
}

impl Column {
    pub fn new(name: &'static str, kind: Kind) -> Column {
        Column { name, kind, key: false, generated: false, required: false, unique: false }
    }

    pub fn key(name: &'static str, kind: Kind) -> Column {
        Column { key: true, ..Column::new(name, kind) }
    }
}

/// What another writer does. Rows and keys are in the order of the columns.
#[derive(Debug, Clone)]
pub enum Edit {
    Insert(Vec<Value>),
    Update { key: Vec<Value>, set: Vec<(usize, Value)> },
    Delete { key: Vec<Value> },
}

/// A system to hold the suite against.
pub trait Harness: Sync {
    fn connector(&self) -> Arc<dyn Connector>;

    /// Makes an empty object. The suite never uses a name twice.
    fn create<'a>(&'a self, object: &'a str, columns: &'a [Column]) -> BoxFuture<'a, ()>;

    /// Another writer's edits, in effect when this returns.
    fn edit<'a>(&'a self, object: &'a str, columns: &'a [Column], edits: Vec<Edit>) -> BoxFuture<'a, ()>;

    /// The system's own filter for "this column, a text, equals".
    fn filter(&self, column: &str, equals: &str) -> String;

    /// False where the system has no rules of its own: neither filters, nor
    /// constraints, nor keys that it gives. The suite asks for none of them then.
    fn has_rules(&self) -> bool {
        true
    }

    /// Kinds the system holds, each with values that must come back the same.
    fn kinds(&self) -> Vec<(Kind, Vec<Value>)>;

    /// Names the system allows, the odd ones too.
    fn names(&self) -> Vec<&'static str>;
}

/// Holds a connector to every promise.
pub async fn conform(harness: &dyn Harness) {
    reading::changes_come_in_order(harness).await;
    reading::keys_are_listed_whole(harness).await;
    reading::fetches_answer_their_probes(harness).await;
    writing::writes_say_what_became_of_them(harness).await;
    writing::a_batch_is_settled(harness).await;
    writing::nothing_is_done_that_is_not_recorded(harness).await;
    values::values_come_back(harness).await;
    values::names_are_taken_as_they_are(harness).await;
    reading::the_horizon_is_seen(harness).await;
    if harness.has_rules() {
        reading::nothing_but_what_was_asked_for(harness).await;
        writing::a_refused_record_is_alone(harness).await;
        writing::keys_are_allotted(harness).await;
        values::descriptions_fit(harness).await;
    }
}

const LONG: Kind = Kind::Integer { bits: 64 };
const TEXT: Kind = Kind::Text { max: None, padded: false };

fn int(integer: i64) -> Value {
    Value::Integer(integer)
}

fn access(object: &str, shape: Shape, key: &[usize], cursor: Option<usize>) -> Access {
    Access {
        object: object.into(),
        shape: Arc::new(shape),
        key: key.to_vec(),
        cursor,
        filter: None,
        start: None,
        marked: None,
        batch: 3,
    }
}

/// Describes the object and gives its shape with every field, in the order of
/// the columns.
async fn shape(harness: &dyn Harness, object: &str, columns: &[Column]) -> Shape {
    let described = harness.connector().describe(object).await.expect("a described object");
    let described = described.unwrap_or_else(|| panic!("`{object}` is there and is described"));
    let field = |column: &Column| {
        let slot = described.shape.slot(column.name).unwrap_or_else(|| panic!("`{}` is a field", column.name));
        described.shape.fields[slot].clone()
    };
    Shape { fields: columns.iter().map(field).collect() }
}

async fn open(harness: &dyn Harness, access: Access) -> Arc<dyn Object> {
    harness.connector().open(access).await.expect("the object opens")
}

async fn opened(harness: &dyn Harness, object: &str, columns: &[Column], cursor: Option<usize>) -> Arc<dyn Object> {
    let key: Vec<usize> = (0..columns.len()).filter(|slot| columns[*slot].key).collect();
    let shape = shape(harness, object, columns).await;
    open(harness, access(object, shape, &key, cursor)).await
}

async fn batches(object: &dyn Object, listing: Listing) -> Vec<Batch> {
    object.read(listing).map(|batch| batch.expect("a batch is read")).collect().await
}

async fn rows(object: &dyn Object, listing: Listing) -> Vec<Vec<Value>> {
    let batches = batches(object, listing).await;
    batches
        .iter()
        .flat_map(Batch::rows)
        .map(|(mark, row)| {
            assert_eq!(*mark, Mark::Live, "a readable row is live");
            row.to_vec()
        })
        .collect()
}

async fn write(object: &dyn Object, changes: &[Change]) -> Vec<Outcome> {
    let writing = object.begin(0).await.expect("a batch begins");
    let outcomes = writing.write(changes, unrecorded()).await.expect("a batch is written");
    assert_eq!(outcomes.len(), changes.len(), "each change has its outcome");
    object.finish().await.expect("what was prepared comes into effect");
    outcomes
}

fn create(key: Vec<Value>, set: Vec<(usize, Value)>) -> Change {
    Change { action: Action::Create, key, set, expect: Vec::new() }
}

fn update(key: Vec<Value>, set: Vec<(usize, Value)>, expect: Vec<(usize, Value)>) -> Change {
    Change { action: Action::Update, key, set, expect }
}

fn delete(key: Vec<Value>, expect: Vec<(usize, Value)>) -> Change {
    Change { action: Action::Delete, key, set: Vec::new(), expect }
}

fn all_same(a: &[Value], b: &[Value]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
}
