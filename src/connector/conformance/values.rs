//! Values and names come back as they were given, and descriptions say what
//! is there.

use super::super::{Change, Listing, Outcome, Scope};
use super::{Column, Harness, LONG, TEXT, access, all_same, create, int, opened, rows, update, write};
use crate::record::{Kind, Shape, Value, same};

pub(super) async fn values_come_back(harness: &dyn Harness) {
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

pub(super) async fn names_are_taken_as_they_are(harness: &dyn Harness) {
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
        let read = rows(&*object, Listing::changes(Some(int(5)))).await;
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

pub(super) async fn descriptions_fit(harness: &dyn Harness) {
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
