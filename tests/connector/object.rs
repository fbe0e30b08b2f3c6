//! What the tests of every connector do with an object.

use std::sync::Arc;

use engine::connector::{Access, Action, Change, Connector, Listing, Object, Outcome, unrecorded};
use engine::record::Value;
use futures::StreamExt;

/// Opens an object with every field it has.
pub(super) async fn open(
    connector: &dyn Connector,
    object: &str,
    key: &[&str],
    cursor: Option<&str>,
) -> Arc<dyn Object> {
    let described = connector.describe(object).await.unwrap().unwrap();
    let slot = |name: &str| described.shape.slot(name).unwrap();
    let access = Access {
        object: object.into(),
        key: key.iter().map(|name| slot(name)).collect(),
        cursor: cursor.map(slot),
        shape: Arc::new(described.shape.clone()),
        filter: None,
        start: None,
        marked: None,
        batch: 100,
    };
    connector.open(access).await.unwrap()
}

pub(super) fn int(integer: i64) -> Value {
    Value::Integer(integer)
}

pub(super) fn create(key: Vec<Value>, set: Vec<(usize, Value)>) -> Change {
    Change { action: Action::Create, key, set, expect: Vec::new() }
}

pub(super) fn update(key: i64, set: Vec<(usize, Value)>, expect: Vec<(usize, Value)>) -> Change {
    Change { action: Action::Update, key: vec![int(key)], set, expect }
}

pub(super) fn delete(key: i64) -> Change {
    Change { action: Action::Delete, key: vec![int(key)], set: Vec::new(), expect: Vec::new() }
}

pub(super) async fn write(object: &dyn Object, changes: &[Change]) -> Vec<Outcome> {
    let outcomes = object.begin(0).await.unwrap().write(changes, unrecorded()).await.unwrap();
    object.finish().await.unwrap();
    outcomes
}

/// The row that an outcome shows.
pub(super) fn stored(outcome: &Outcome) -> &[Value] {
    match outcome {
        Outcome::Done { stored: Some(row), .. } => row,
        other => panic!("a row was to be stored: {other:?}"),
    }
}

pub(super) async fn rows(object: &dyn Object, listing: Listing) -> Vec<Vec<Value>> {
    let batches: Vec<_> = object.read(listing).map(Result::unwrap).collect().await;
    batches.iter().flat_map(|batch| batch.rows().map(|(_, row)| row.to_vec())).collect()
}

/// Opens the table `twins`, whose rows are (code, name, gone): ("A", "old",
/// "*"), ("A", "old", " ") and ("B", "old", "*"), and makes sure that those
/// with the mark stay as they are.
pub(super) async fn leaves_marked_rows_alone(connector: &dyn Connector) {
    let described = connector.describe("twins").await.unwrap().unwrap();
    let slot = |name: &str| described.shape.slot(name).unwrap();
    let (code, name, gone) = (slot("code"), slot("name"), slot("gone"));
    let access = Access {
        object: "twins".into(),
        key: vec![code],
        cursor: None,
        shape: Arc::new(described.shape.clone()),
        filter: None,
        start: None,
        marked: Some((gone, Value::text("*"))),
        batch: 100,
    };
    let object = connector.open(access).await.unwrap();
    let change = |key: &str, action, set: Vec<(usize, Value)>| Change {
        action,
        key: vec![Value::text(key)],
        set,
        expect: vec![(name, Value::text("old"))],
    };
    let renamed = || vec![(name, Value::text("new"))];
    let outcomes =
        write(&*object, &[change("A", Action::Update, renamed()), change("B", Action::Update, renamed())]).await;
    assert_eq!(stored(&outcomes[0])[name], Value::text("new"));
    assert!(!matches!(outcomes[1], Outcome::Done { .. }), "{outcomes:?}");
    let shown = async || {
        let mut shown: Vec<(Value, Value, bool)> = Vec::new();
        for row in rows(&*object, Listing::Full).await {
            let is_marked = matches!(&row[gone], Value::Text(mark) if mark == "*");
            shown.push((row[code].clone(), row[name].clone(), is_marked));
        }
        shown.sort_by_key(|row| format!("{row:?}"));
        shown
    };
    let marked = |code: &str| (Value::text(code), Value::text("old"), true);
    assert_eq!(shown().await, [(Value::text("A"), Value::text("new"), false), marked("A"), marked("B")]);
    let mut deletes = [change("A", Action::Delete, Vec::new()), change("B", Action::Delete, Vec::new())];
    deletes[0].expect = renamed();
    let outcomes = write(&*object, &deletes).await;
    assert!(matches!(outcomes[0], Outcome::Done { .. }), "{outcomes:?}");
    assert!(!matches!(outcomes[1], Outcome::Done { .. }), "{outcomes:?}");
    assert_eq!(shown().await, [marked("A"), marked("B")]);
}
