//! What the engine wrote and where it came from.

use super::{MAPPING, acquire, key, number};
use crate::record::Key;
use crate::state::{Cell, Commit, Fence, Store, StoreError, Written};

fn cell(object: &str, key: Key, field: &str) -> Cell {
    Cell { object: object.into(), key, field: field.to_owned() }
}

fn written(cell: Cell, digest: u64, origins: Vec<Cell>) -> Written {
    Written { cell, digest, origins }
}

async fn commit(store: &dyn Store, fence: &Fence, overtaken: Vec<Cell>, written: Vec<Written>) {
    let commit = Commit { overtaken, written, ..Commit::default() };
    store.commit(fence, &commit).await.expect("what was written is stored");
}

async fn found(store: &dyn Store, cells: &[Cell]) -> Vec<Option<Written>> {
    store.written(cells).await.expect("what was written is looked up")
}

pub(super) async fn what_was_written_is_found_by_every_mapping(store: &dyn Store) {
    let name = |key: Key| cell("crm \"a\" customers (id)", key, "name");
    let (one, two, erp) = (name(number(1)), name(number(2)), cell("erp SA1 (A1_COD)", key("ação"), "A1 NOME"));
    assert_eq!(found(store, std::slice::from_ref(&one)).await, [None]);
    assert_eq!(found(store, &[]).await, []);
    let fence = acquire(store).await;
    let first = written(one.clone(), u64::MAX, vec![erp.clone(), two.clone()]);
    let second = written(erp.clone(), 7, Vec::new());
    commit(store, &fence, Vec::new(), vec![first.clone(), second.clone()]).await;
    let other_field = Cell { field: "Name".into(), ..one.clone() };
    let other_object = Cell { object: "crm customers (id)".into(), ..one.clone() };
    let asked = [erp.clone(), two.clone(), one.clone(), other_field, other_object, erp.clone()];
    let expected = [Some(second.clone()), None, Some(first), None, None, Some(second.clone())];
    assert_eq!(found(store, &asked).await, expected, "answers come in the order of what was asked");

    let other = store.acquire("other").await.expect("a mapping is acquired");
    let anew = written(one.clone(), 3, vec![two.clone()]);
    commit(store, &other, vec![one.clone()], vec![anew.clone()]).await;
    let promise = "what is written last counts, whoever wrote it, and forgetting comes first";
    assert_eq!(found(store, &[one.clone(), erp.clone()]).await, [Some(anew.clone()), Some(second)], "{promise}");
    commit(store, &fence, vec![erp.clone(), two], Vec::new()).await;
    assert_eq!(
        found(store, &[one.clone(), erp.clone()]).await,
        [Some(anew.clone()), None],
        "what moved on is forgotten"
    );

    let many: Vec<Written> =
        (0..2500).map(|n| written(name(number(1000 + n)), n.unsigned_abs(), vec![one.clone()])).collect();
    commit(store, &fence, Vec::new(), many.clone()).await;
    let cells: Vec<Cell> = many.iter().rev().map(|written| written.cell.clone()).collect();
    assert_eq!(found(store, &cells).await, many.into_iter().rev().map(Some).collect::<Vec<_>>());
    store.reset(MAPPING, false).await.expect("a mapping is reset");
    assert!(found(store, &cells[..1]).await[0].is_some(), "what was written stands as long as the links do");
    store.reset(MAPPING, true).await.expect("a mapping is reset");
    assert_eq!(found(store, &cells[..1]).await, [None], "it goes with the links of the mapping that wrote it");
    assert_eq!(found(store, &[one]).await, [Some(anew)], "what another mapping wrote stays");
}

pub(super) async fn what_is_not_committed_is_not_written(store: &dyn Store) {
    let old = acquire(store).await;
    let fence = acquire(store).await;
    let place = cell("crm customers (id)", number(1), "name");
    let fresh = Commit { written: vec![written(place.clone(), 1, Vec::new())], ..Commit::default() };
    assert_eq!(store.commit(&old, &fresh).await, Err(StoreError::Fenced));
    let broken = Commit { forget: vec![999], ..fresh.clone() };
    assert!(store.commit(&fence, &broken).await.is_err(), "a link that is not there cannot be forgotten");
    assert_eq!(found(store, std::slice::from_ref(&place)).await, [None]);
    store.commit(&fence, &fresh).await.expect("what was written is stored");
    assert!(found(store, &[place]).await[0].is_some());
}
