//! The suite every [`Connector`] has to pass.
//!
//! A [`Harness`] gives it a system it can make objects in, and a second way
//! into that system: another writer, who does not go through the connector.
//! [`conform`] runs everything; it panics with what was promised where a
//! promise is broken. Start reading there.

use std::sync::Arc;

use futures::StreamExt;
use futures::future::BoxFuture;

use super::{Access, Action, Change, Connector, Found, Listing, Object, Outcome, Scope, Settled};
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

    /// Kinds the system holds, each with values that must come back the same.
    fn kinds(&self) -> Vec<(Kind, Vec<Value>)>;

    /// Names the system allows, the odd ones too.
    fn names(&self) -> Vec<&'static str>;
}

/// Holds a connector to every promise.
pub async fn conform(harness: &dyn Harness) {
    changes_come_in_order(harness).await;
    nothing_but_what_was_asked_for(harness).await;
    keys_are_listed_whole(harness).await;
    fetches_answer_their_probes(harness).await;
    writes_say_what_became_of_them(harness).await;
    a_refused_record_is_alone(harness).await;
    keys_are_allotted(harness).await;
    a_batch_is_settled(harness).await;
    values_come_back(harness).await;
    names_are_taken_as_they_are(harness).await;
    the_horizon_is_seen(harness).await;
    descriptions_fit(harness).await;
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
    let outcomes = writing.write(changes).await.expect("a batch is written");
    assert_eq!(outcomes.len(), changes.len(), "each change has its outcome");
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

async fn changes_come_in_order(harness: &dyn Harness) {
    let columns = [Column::key("id", LONG), Column::new("stamp", LONG), Column::new("name", TEXT)];
    harness.create("ordered", &columns).await;
    // Ten records share a cursor value, over several pages of three.
    let mut expected: Vec<Vec<Value>> = Vec::new();
    for id in 1..=4 {
        expected.push(vec![int(id), int(id), Value::text("early")]);
    }
    for id in 11..=20 {
        expected.push(vec![int(id), int(5), Value::text("tie")]);
    }
    expected.push(vec![int(5), int(9), Value::Null]);
    for id in 30..=34 {
        expected.push(vec![int(id), Value::Null, Value::text("no stamp")]);
    }
    let edits = expected.iter().rev().map(|row| Edit::Insert(row.clone())).collect();
    harness.edit("ordered", &columns, edits).await;
    let object = opened(harness, "ordered", &columns, Some(1)).await;

    let read = rows(&*object, Listing::Changes { from: None }).await;
    assert_eq!(read, expected, "changes come by cursor, then by key, then those without a cursor by key");
    let from_five: Vec<Vec<Value>> = expected[4..].to_vec();
    let read = rows(&*object, Listing::Changes { from: Some(int(5)) }).await;
    assert_eq!(read, from_five, "`from` is included, with every record that has it");
    let read = rows(&*object, Listing::Changes { from: Some(int(100)) }).await;
    assert_eq!(read, expected[15..], "records without a cursor value are always among the changes");

    for batch in batches(&*object, Listing::Changes { from: None }).await {
        assert!((1..=3).contains(&batch.len()), "a batch has rows, and no more than were asked for");
        match (&batch.reached, &batch.row(batch.len() - 1)[1]) {
            (Some(reached), last) => assert_eq!(reached, last, "a batch reaches its last row's cursor"),
            (None, last) => assert!(last.is_null(), "a batch that ends on a cursor value reaches it"),
        }
    }
    let mut sorted = expected;
    sorted.sort_by_key(|row| if let Value::Integer(id) = row[0] { id } else { 0 });
    assert_eq!(rows(&*object, Listing::Full).await, sorted, "a full listing comes by key");
}

async fn nothing_but_what_was_asked_for(harness: &dyn Harness) {
    let columns = [Column::key("id", LONG), Column::new("stamp", LONG), Column::new("tipo", TEXT)];
    harness.create("filtered", &columns).await;
    let row = |id, stamp: Value, tipo: &str| vec![int(id), stamp, Value::text(tipo)];
    let all = [row(1, int(1), "F"), row(2, int(5), "J"), row(3, int(7), "F"), row(4, Value::Null, "F")];
    harness.edit("filtered", &columns, all.iter().cloned().map(Edit::Insert).collect()).await;
    let mut wanted = access("filtered", shape(harness, "filtered", &columns).await, &[0], Some(1));
    wanted.filter = Some(harness.filter("tipo", "F"));
    wanted.start = Some((1, int(3)));
    let object = open(harness, wanted).await;

    let within = [all[2].clone(), all[3].clone()];
    assert_eq!(rows(&*object, Listing::Full).await, within, "`where` and `start` hold in a full listing");
    assert_eq!(rows(&*object, Listing::Changes { from: None }).await, within, "and among the changes");
    assert_eq!(rows(&*object, Listing::Keys).await.len(), 4, "the keys are everybody's");

    let probes: Vec<Vec<Value>> = (1..=5).map(|id| vec![int(id)]).collect();
    let Found { batch, probes: hits, within } = object.fetch(&[0], &probes, Scope::Everything).await.expect("a fetch");
    let mut seen: Vec<(usize, bool)> = hits.into_iter().zip(within).collect();
    seen.sort_unstable();
    assert_eq!(batch.len(), 4, "a fetch of everything finds everything");
    assert_eq!(seen, [(0, false), (1, false), (2, true), (3, true)], "and says what is within `where` and `start`");
    let found = object.fetch(&[0], &probes, Scope::Filtered).await.expect("a fetch");
    let mut hits = found.probes;
    hits.sort_unstable();
    assert_eq!(hits, [2, 3], "a filtered fetch finds what is within");
    assert!(found.within.iter().all(|within| *within), "and says so");
}

async fn keys_are_listed_whole(harness: &dyn Harness) {
    let columns = [Column::key("company", TEXT), Column::key("number", LONG), Column::new("note", TEXT)];
    harness.create("keyed", &columns).await;
    let mut keys = Vec::new();
    for company in ["a", "b"] {
        for number in 1..=4 {
            keys.push(vec![Value::text(company), int(number)]);
        }
    }
    let row = |key: &Vec<Value>| Edit::Insert([&key[..], &[Value::text("x")]].concat());
    harness.edit("keyed", &columns, keys.iter().rev().map(row).collect()).await;
    let object = opened(harness, "keyed", &columns, None).await;
    let listed = rows(&*object, Listing::Keys).await;
    let expected: Vec<Vec<Value>> = keys.iter().map(|key| [&key[..], &[Value::Missing]].concat()).collect();
    assert_eq!(listed, expected, "keys come in key order, and nothing else with them");

    let outcomes = write(
        &*object,
        &[
            update(keys[1].clone(), vec![(2, Value::text("y"))], vec![(2, Value::text("x"))]),
            delete(keys[2].clone(), vec![(2, Value::text("x"))]),
        ],
    )
    .await;
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Done { .. })), "{outcomes:?}");
    let found = object.fetch(&[0, 1], &keys, Scope::Everything).await.expect("a fetch by a key of two");
    assert_eq!(found.batch.len(), 7, "one of two fields is not the key");
}

async fn fetches_answer_their_probes(harness: &dyn Harness) {
    let columns = [Column::key("id", LONG), Column::new("tax_id", TEXT), Column::new("city", TEXT)];
    harness.create("probed", &columns).await;
    let row = |id, tax: Value, city: &str| Edit::Insert(vec![int(id), tax, Value::text(city)]);
    let edits = vec![
        row(1, Value::text("A"), "Porto"),
        row(2, Value::text("B"), "Porto"),
        row(3, Value::text("B"), "São Paulo"),
        row(4, Value::Null, "Porto"),
        row(5, Value::text("it's \"q\" \\ {}"), "Porto"),
    ];
    harness.edit("probed", &columns, edits).await;
    let object = opened(harness, "probed", &columns, None).await;
    let probes: Vec<Vec<Value>> =
        [Value::text("none"), Value::text("A"), Value::Null, Value::text("B"), Value::text("it's \"q\" \\ {}")]
            .into_iter()
            .map(|probe| vec![probe])
            .collect();
    let found = object.fetch(&[1], &probes, Scope::Everything).await.expect("a fetch");
    let mut hits: Vec<(usize, Value)> =
        found.probes.iter().zip(found.batch.rows()).map(|(probe, (_, row))| (*probe, row[0].clone())).collect();
    hits.sort_by_key(|(probe, id)| (*probe, if let Value::Integer(id) = id { *id } else { 0 }));
    assert_eq!(
        hits,
        [(1, int(1)), (3, int(2)), (3, int(3)), (4, int(5))],
        "each hit names its probe; a null finds nothing"
    );
    let pair = vec![vec![Value::text("B"), Value::text("São Paulo")], vec![Value::text("A"), Value::text("Faro")]];
    let found = object.fetch(&[1, 2], &pair, Scope::Everything).await.expect("a fetch by two fields");
    assert_eq!((found.probes, found.batch.len()), (vec![0], 1), "every field of a probe counts");
    let twice = vec![vec![int(1)], vec![int(1)]];
    let mut found = object.fetch(&[0], &twice, Scope::Everything).await.expect("a fetch").probes;
    found.sort_unstable();
    assert_eq!(found, [0, 1], "equal probes are each answered");
    let many: Vec<Vec<Value>> = (1..3000).map(|id| vec![int(id)]).collect();
    assert_eq!(object.fetch(&[0], &many, Scope::Everything).await.expect("a big fetch").batch.len(), 5);
    assert!(object.fetch(&[0], &[], Scope::Everything).await.expect("an empty fetch").batch.is_empty());
}

async fn writes_say_what_became_of_them(harness: &dyn Harness) {
    let columns = [Column::key("id", LONG), Column::new("name", TEXT), Column::new("city", TEXT)];
    harness.create("written", &columns).await;
    let object = opened(harness, "written", &columns, None).await;
    let name = |text: &str| (1usize, Value::text(text));
    let city = |text: &str| (2usize, Value::text(text));
    let outcomes = write(
        &*object,
        &[
            create(vec![int(1)], vec![name("Ana"), city("Porto")]),
            create(vec![int(2)], vec![name("Rui")]),
            create(vec![int(3)], vec![name("Eva"), city("Faro")]),
        ],
    )
    .await;
    for (outcome, id) in outcomes.iter().zip(1..) {
        let Outcome::Done { key, .. } = outcome else { panic!("a record is created: {outcome:?}") };
        assert_eq!(*key, [int(id)], "a created record has its key");
    }
    let row = |id, name: &str, city: Value| vec![int(id), Value::text(name), city];
    let expected =
        [row(1, "Ana", Value::text("Porto")), row(2, "Rui", Value::Null), row(3, "Eva", Value::text("Faro"))];
    assert_eq!(rows(&*object, Listing::Full).await, expected, "what was created stands there");

    harness.edit("written", &columns, vec![Edit::Update { key: vec![int(3)], set: vec![city("Beja")] }]).await;
    let outcomes = write(
        &*object,
        &[
            create(vec![int(1)], vec![name("Other")]),
            update(vec![int(1)], vec![name("Anna")], vec![name("Ana"), city("Porto")]),
            update(vec![int(2)], vec![city("Lagos")], vec![(2, Value::Null)]),
            update(vec![int(3)], vec![city("Braga")], vec![city("Faro")]),
            update(vec![int(9)], vec![city("Braga")], vec![]),
            delete(vec![int(8)], vec![]),
            delete(vec![int(3)], vec![name("Somebody")]),
            create(vec![int(4)], vec![name("New"), city("Évora")]),
        ],
    )
    .await;
    assert_eq!(outcomes[0], Outcome::Exists, "a taken key is told");
    match &outcomes[1] {
        Outcome::Done { key, stored } => {
            assert_eq!(*key, [int(1)]);
            if let Some(stored) = stored {
                assert_eq!(*stored, row(1, "Anna", Value::text("Porto")), "what is stored is the row as it stands");
            }
        }
        other => panic!("an update whose condition holds is done: {other:?}"),
    }
    assert!(matches!(outcomes[2], Outcome::Done { .. }), "null is a value to expect: {:?}", outcomes[2]);
    assert_eq!(outcomes[3], Outcome::Moved, "an update never overwrites what it does not expect");
    assert_eq!(outcomes[4], Outcome::Gone, "an update makes no record");
    assert_eq!(outcomes[5], Outcome::Gone, "a delete of nothing says so");
    assert_eq!(outcomes[6], Outcome::Moved, "a delete never takes what it does not expect");
    assert!(matches!(outcomes[7], Outcome::Done { .. }), "the rest of the batch is done: {:?}", outcomes[7]);

    let outcomes = write(&*object, &[delete(vec![int(3)], vec![name("Eva"), city("Beja")])]).await;
    assert!(matches!(outcomes[0], Outcome::Done { .. }), "a delete whose condition holds is done");
    let expected = [
        row(1, "Anna", Value::text("Porto")),
        row(2, "Rui", Value::text("Lagos")),
        row(4, "New", Value::text("Évora")),
    ];
    assert_eq!(rows(&*object, Listing::Full).await, expected, "only what was said to be done is done");
    assert!(write(&*object, &[]).await.is_empty(), "an empty batch is nothing");

    let outcomes = write(
        &*object,
        &[
            delete(vec![int(4)], vec![]),
            create(vec![int(4)], vec![name("Again")]),
            update(vec![int(4)], vec![city("Tomar")], vec![(2, Value::Null)]),
        ],
    )
    .await;
    assert!(
        outcomes.iter().all(|outcome| matches!(outcome, Outcome::Done { .. })),
        "changes of one key are made in their order: {outcomes:?}"
    );
    assert_eq!(rows(&*object, Listing::Full).await[2], row(4, "Again", Value::text("Tomar")));
}

async fn a_refused_record_is_alone(harness: &dyn Harness) {
    let name = Column { required: true, ..Column::new("name", TEXT) };
    let email = Column { unique: true, ..Column::new("email", TEXT) };
    let columns = [Column::key("id", LONG), name, email];
    harness.create("strict", &columns).await;
    let object = opened(harness, "strict", &columns, None).await;
    let row = |id: i64, name: Value, email: &str| create(vec![int(id)], vec![(1, name), (2, Value::text(email))]);
    let mut changes: Vec<Change> = (1..=20).map(|id| row(id, Value::text("x"), &format!("{id}@x"))).collect();
    changes[6] = row(7, Value::Null, "7@x");
    changes[13] = row(14, Value::text("x"), "3@x");
    let outcomes = write(&*object, &changes).await;
    for (index, outcome) in outcomes.iter().enumerate() {
        match (index, outcome) {
            (6 | 13, Outcome::Refused(refusal)) => {
                assert!(!refusal.message.is_empty(), "a refusal has the system's words");
            }
            (6 | 13, other) => panic!("a record that breaks a constraint is refused: {other:?}"),
            (_, Outcome::Done { .. }) => {}
            (_, other) => panic!("the others are done: {other:?}"),
        }
    }
    assert_eq!(rows(&*object, Listing::Full).await.len(), 18, "what was refused is not there");
    let outcomes = write(
        &*object,
        &[
            update(vec![int(1)], vec![(2, Value::text("2@x"))], vec![]),
            update(vec![int(3)], vec![(1, Value::Null)], vec![]),
            update(vec![int(4)], vec![(2, Value::text("new@x"))], vec![]),
            delete(vec![int(5)], vec![]),
        ],
    )
    .await;
    assert!(matches!(outcomes[0], Outcome::Refused(_)), "{:?}", outcomes[0]);
    assert!(matches!(outcomes[1], Outcome::Refused(_)), "{:?}", outcomes[1]);
    assert!(matches!(outcomes[2], Outcome::Done { .. }), "{:?}", outcomes[2]);
    assert!(matches!(outcomes[3], Outcome::Done { .. }), "{:?}", outcomes[3]);
    let found = object.fetch(&[0], &[vec![int(1)], vec![int(3)]], Scope::Everything).await.expect("a fetch");
    for (_, row) in found.batch.rows() {
        assert_eq!(row[1], Value::text("x"), "a refused update changes nothing");
        assert_ne!(row[2], Value::text("2@x"), "a refused update changes nothing");
    }
}

async fn keys_are_allotted(harness: &dyn Harness) {
    let id = Column { generated: true, ..Column::key("id", LONG) };
    let columns = [id, Column::new("name", TEXT)];
    harness.create("numbered", &columns).await;
    let object = opened(harness, "numbered", &columns, None).await;
    let mut all: Vec<Vec<Value>> = Vec::new();
    for round in 0..2 {
        let writing = object.begin(3).await.expect("a batch begins");
        let allotted = writing.keys().to_vec();
        assert!(allotted.is_empty() || allotted.len() == 3, "as many keys as were asked for, or none");
        let named = |index: usize| vec![(1, Value::text(format!("{round}-{index}")))];
        let changes: Vec<Change> =
            (0..3).map(|index| create(allotted.get(index).cloned().unwrap_or_default(), named(index))).collect();
        for (index, outcome) in writing.write(&changes).await.expect("a batch is written").into_iter().enumerate() {
            let Outcome::Done { key, .. } = outcome else { panic!("a record is created: {outcome:?}") };
            if let Some(expected) = allotted.get(index) {
                assert_eq!(key, *expected, "an allotted key is the record's");
            }
            all.push(vec![key[0].clone(), Value::text(format!("{round}-{index}"))]);
        }
    }
    let standing = rows(&*object, Listing::Full).await;
    assert_eq!(standing.len(), 6);
    assert!(all.iter().all(|row| standing.contains(row)), "each record stands under the key that was told");
    // Another writer's record gets a key of its own afterwards.
    harness.edit("numbered", &columns, vec![Edit::Insert(vec![Value::Missing, Value::text("other")])]).await;
    assert_eq!(rows(&*object, Listing::Full).await.len(), 7, "allotted keys are not given twice");
    let outcomes = write(&*object, &[create(Vec::new(), vec![(1, Value::text("late"))])]).await;
    let Outcome::Done { key, .. } = &outcomes[0] else { panic!("a record is created: {outcomes:?}") };
    let found = object.fetch(&[0], std::slice::from_ref(key), Scope::Everything).await.expect("a fetch");
    assert_eq!(found.batch.row(0)[1], Value::text("late"), "a key that only the answer tells is the record's");
}

/// Asks until the system is no longer at it.
async fn settle(object: &dyn Object, token: Option<&str>) -> Settled {
    for _ in 0..10_000 {
        match object.settle(token).await.expect("settled") {
            Settled::Running => {}
            settled => return settled,
        }
    }
    panic!("a batch that nobody is at any more is settled at some time");
}

async fn a_batch_is_settled(harness: &dyn Harness) {
    let columns = [Column::key("id", LONG), Column::new("name", TEXT)];
    harness.create("settled", &columns).await;
    let object = opened(harness, "settled", &columns, None).await;
    let writing = object.begin(0).await.expect("a batch begins");
    let token = writing.token();
    drop(writing);
    let settled = settle(&*object, token.as_deref()).await;
    assert!(matches!(settled, Settled::NotApplied | Settled::Look), "a dropped batch is not in effect: {settled:?}");
    assert!(rows(&*object, Listing::Full).await.is_empty(), "a batch that began and was dropped changes nothing");

    let writing = object.begin(0).await.expect("a batch begins");
    let token = writing.token();
    writing.write(&[create(vec![int(1)], vec![(1, Value::text("x"))])]).await.expect("a batch is written");
    let settled = settle(&*object, token.as_deref()).await;
    assert!(matches!(settled, Settled::Applied | Settled::Look), "a written batch is in effect: {settled:?}");
}

async fn values_come_back(harness: &dyn Harness) {
    const NAMES: [&str; 12] = ["t0", "t1", "t2", "t3", "t4", "t5", "t6", "t7", "t8", "t9", "t10", "t11"];
    for (number, (kind, values)) in harness.kinds().into_iter().enumerate() {
        let object_name = format!("kind_{number}");
        let columns = [Column::key("id", LONG), Column::new("value", kind.clone()), Column::new("touched", LONG)];
        harness.create(&object_name, &columns).await;
        let object = opened(harness, &object_name, &columns, None).await;
        let changes: Vec<Change> = values
            .iter()
            .chain([&Value::Null])
            .zip(1..)
            .map(|(value, id)| create(vec![int(id)], vec![(1, value.clone())]))
            .collect();
        let outcomes = write(&*object, &changes).await;
        let read = rows(&*object, Listing::Full).await;
        assert_eq!(read.len(), changes.len(), "{kind:?} is written: {outcomes:?}");
        for ((change, row), outcome) in changes.iter().zip(&read).zip(&outcomes) {
            let sent = &change.set[0].1;
            assert!(same(sent, &row[1]), "{kind:?}: {sent:?} comes back as {:?}", row[1]);
            if let Outcome::Done { stored: Some(stored), .. } = outcome {
                assert!(
                    all_same(stored, row),
                    "{kind:?}: what is told to be stored {stored:?} is what is read {row:?}"
                );
            }
        }
        // What was read is what a condition expects, and what an update can set again.
        let touches: Vec<Change> = read
            .iter()
            .map(|row| update(vec![row[0].clone()], vec![(2, int(1))], vec![(1, row[1].clone()), (2, Value::Null)]))
            .collect();
        for (outcome, row) in write(&*object, &touches).await.iter().zip(&read) {
            assert!(
                matches!(outcome, Outcome::Done { .. }),
                "{kind:?}: {:?} is what stands there, and yet: {outcome:?}",
                row[1]
            );
        }
        let turned: Vec<Change> = read
            .iter()
            .zip(read.iter().cycle().skip(1))
            .map(|(row, next)| update(vec![row[0].clone()], vec![(1, next[1].clone())], vec![(1, row[1].clone())]))
            .collect();
        for outcome in write(&*object, &turned).await {
            assert!(matches!(outcome, Outcome::Done { .. }), "{kind:?}: {outcome:?}");
        }
        let after = rows(&*object, Listing::Full).await;
        for (row, expected) in after.iter().zip(read.iter().cycle().skip(1)) {
            assert!(same(&row[1], &expected[1]), "{kind:?}: {:?} was written, {:?} is read", expected[1], row[1]);
        }
    }
    // The rows of several kinds side by side: no value slips into another's slot.
    let kinds: Vec<(Kind, Vec<Value>)> =
        harness.kinds().into_iter().filter(|(_, values)| !values.is_empty()).take(NAMES.len()).collect();
    let mut columns = vec![Column::key("id", LONG)];
    columns.extend(kinds.iter().zip(NAMES).map(|((kind, _), name)| Column::new(name, kind.clone())));
    harness.create("kinds_beside", &columns).await;
    let object = opened(harness, "kinds_beside", &columns, None).await;
    let set = kinds.iter().enumerate().map(|(slot, (_, values))| (slot + 1, values[0].clone())).collect();
    write(&*object, &[create(vec![int(1)], set)]).await;
    let read = rows(&*object, Listing::Full).await;
    let sent: Vec<Value> = std::iter::once(int(1)).chain(kinds.iter().map(|(_, values)| values[0].clone())).collect();
    assert!(all_same(&read[0], &sent), "sent {sent:?}, read {:?}", read[0]);
}

async fn names_are_taken_as_they_are(harness: &dyn Harness) {
    for name in harness.names() {
        let columns = [Column::key("order", LONG), Column::new(name, TEXT), Column::new("Group By", LONG)];
        harness.create(name, &columns).await;
        let written =
            if name.contains(['.', '"']) { format!("\"{}\"", name.replace('"', "\"\"")) } else { name.into() };
        let object = opened(harness, &written, &columns, Some(2)).await;
        let changes = [create(vec![int(1)], vec![(1, Value::text("x")), (2, int(5))])];
        write(&*object, &changes).await;
        write(&*object, &[update(vec![int(1)], vec![(1, Value::text("y"))], vec![(1, Value::text("x"))])]).await;
        let expected = vec![int(1), Value::text("y"), int(5)];
        let read = rows(&*object, Listing::Changes { from: Some(int(5)) }).await;
        assert_eq!(read, [expected], "`{name}` is a name as any other");
        let found = object.fetch(&[1], &[vec![Value::text("y")]], Scope::Filtered).await.expect("a fetch");
        assert_eq!(found.batch.len(), 1);
    }
    let connector = harness.connector();
    let mut fields: Vec<String> = Vec::new();
    for summary in connector.objects().await.expect("a list of objects") {
        let described = connector.describe(&summary.name).await.expect("a listed object is described");
        let described =
            described.unwrap_or_else(|| panic!("a listed object is found by its listed name `{}`", summary.name));
        fields.extend(described.shape.fields.iter().map(|field| field.name.to_string()));
    }
    for name in harness.names() {
        assert!(fields.iter().any(|field| field == name), "`{name}` is among the objects");
    }
}

async fn the_horizon_is_seen(harness: &dyn Harness) {
    let columns = [Column::key("id", LONG), Column::new("stamp", Kind::LocalTime { digits: 6 })];
    harness.create("horizon", &columns).await;
    let object = opened(harness, "horizon", &columns, Some(1)).await;
    let empty = object.horizon().await.expect("a horizon");
    assert_eq!(empty.largest, None, "nothing is the largest of nothing");
    let clock = empty.clock.expect("a system with stamps has a clock");
    assert!(matches!(clock, Value::LocalTime(_)), "the clock is told as the cursor is: {clock:?}");
    let early = Value::LocalTime("2020-01-01T00:00:00".parse().expect("a time"));
    let late = Value::LocalTime("2026-01-01T12:30:00.5".parse().expect("a time"));
    let edits = vec![
        Edit::Insert(vec![int(1), late.clone()]),
        Edit::Insert(vec![int(2), early]),
        Edit::Insert(vec![int(3), Value::Null]),
    ];
    harness.edit("horizon", &columns, edits).await;
    let horizon = object.horizon().await.expect("a horizon");
    assert_eq!(horizon.largest, Some(late.clone()), "the largest cursor value is seen");
    let read = rows(&*object, Listing::Changes { from: Some(late.clone()) }).await;
    assert_eq!(read, [vec![int(1), late], vec![int(3), Value::Null]], "a stamp that was read is found again");
}

async fn descriptions_fit(harness: &dyn Harness) {
    let id = Column { generated: true, ..Column::key("id", LONG) };
    let name = Column { required: true, ..Column::new("name", TEXT) };
    let email = Column { unique: true, ..Column::new("email", TEXT) };
    let columns = [id, name, email];
    harness.create("described", &columns).await;
    let connector = harness.connector();
    let described = connector.describe("described").await.expect("an answer").expect("a description");
    assert_eq!(described.key, ["id"]);
    assert!(described.unique.contains(&vec!["id".to_owned()]), "the key is unique: {:?}", described.unique);
    assert!(described.unique.contains(&vec!["email".to_owned()]), "{:?}", described.unique);
    assert!(described.shape.fields[0].generated && !described.shape.fields[1].generated);
    assert!(!described.shape.fields[1].nullable && described.shape.fields[2].nullable);
    assert!(described.can_create && described.can_update && described.can_delete);
    assert!(!described.identity.is_empty());
    let again = connector.describe("DESCRIBED").await.expect("an answer").expect("the only name in another case");
    assert_eq!(again, described, "a name in another case leads to the same object");
    assert_eq!(connector.describe("no such object").await.expect("an answer"), None);
    assert!(!connector.check().await.expect("a check").is_empty());
    let missing = access("no such object", Shape::default(), &[], None);
    assert!(connector.open(missing).await.is_err(), "what is not there does not open");
}
