//! Writes: what becomes of each change, and of a batch without an answer.

use super::super::{Applied, Change, Listing, Object, Outcome, Scope, Settled, unrecorded};
use super::{Column, Edit, Harness, LONG, TEXT, create, delete, int, opened, rows, update, write};
use crate::record::Value;

pub(super) async fn writes_say_what_became_of_them(harness: &dyn Harness) {
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

pub(super) async fn a_refused_record_is_alone(harness: &dyn Harness) {
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

pub(super) async fn keys_are_allotted(harness: &dyn Harness) {
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
        for (index, outcome) in
            writing.write(&changes, unrecorded()).await.expect("a batch is written").into_iter().enumerate()
        {
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

pub(super) async fn a_batch_is_settled(harness: &dyn Harness) {
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
    writing
        .write(&[create(vec![int(1)], vec![(1, Value::text("x"))])], unrecorded())
        .await
        .expect("a batch is written");
    let settled = settle(&*object, token.as_deref()).await;
    assert!(matches!(settled, Settled::Applied | Settled::Look), "a written batch is in effect: {settled:?}");
}

pub(super) async fn nothing_is_done_that_is_not_recorded(harness: &dyn Harness) {
    let columns = [Column::key("id", LONG), Column::new("name", TEXT)];
    harness.create("unrecorded", &columns).await;
    let object = opened(harness, "unrecorded", &columns, None).await;
    let named = |name: &str| vec![(1, Value::text(name))];
    write(&*object, &[create(vec![int(1)], named("x"))]).await;
    let changes = [
        create(vec![int(2)], named("y")),
        update(vec![int(1)], named("z"), Vec::new()),
        delete(vec![int(1)], Vec::new()),
    ];
    for change in changes {
        let writing = object.begin(0).await.expect("a batch begins");
        let token = writing.token();
        let fault = writing.write(&[change], Box::pin(std::future::ready(false))).await;
        let fault = fault.expect_err("what could not be recorded is not written");
        assert_eq!(fault.applied, Applied::No, "nothing was done: {fault}");
        let settled = settle(&*object, token.as_deref()).await;
        assert_ne!(settled, Settled::Applied, "what was taken back is not in effect");
        assert_eq!(rows(&*object, Listing::Full).await, vec![vec![int(1), Value::text("x")]]);
    }
}
