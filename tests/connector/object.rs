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
    object.begin(0).await.unwrap().write(changes, unrecorded()).await.unwrap()
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
