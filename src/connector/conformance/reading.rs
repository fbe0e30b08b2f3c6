//! Listings, fetches and the horizon.

use super::super::{Found, Listing, Outcome, Scope};
use super::{
    Column, Edit, Harness, LONG, TEXT, access, batches, delete, int, open, opened, rows, shape, update, write,
};
use crate::record::{Kind, Value};

pub(super) async fn changes_come_in_order(harness: &dyn Harness) {
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

    let read = rows(&*object, Listing::changes(None)).await;
    assert_eq!(read, expected, "changes come by cursor, then by key, then those without a cursor by key");
    let from_five: Vec<Vec<Value>> = expected[4..].to_vec();
    let read = rows(&*object, Listing::changes(Some(int(5)))).await;
    assert_eq!(read, from_five, "`from` is included, with every record that has it");
    let read = rows(&*object, Listing::changes(Some(int(100)))).await;
    assert_eq!(read, expected[15..], "records without a cursor value are always among the changes");

    for batch in batches(&*object, Listing::changes(None)).await {
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

pub(super) async fn nothing_but_what_was_asked_for(harness: &dyn Harness) {
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
    assert_eq!(rows(&*object, Listing::changes(None)).await, within, "and among the changes");
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

pub(super) async fn keys_are_listed_whole(harness: &dyn Harness) {
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

pub(super) async fn fetches_answer_their_probes(harness: &dyn Harness) {
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

pub(super) async fn the_horizon_is_seen(harness: &dyn Harness) {
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
    let read = rows(&*object, Listing::changes(Some(late.clone()))).await;
    assert_eq!(read, [vec![int(1), late], vec![int(3), Value::Null]], "a stamp that was read is found again");
}
