//! PostgreSQL: writes in doubt, writes in the way of others, and what the
//! database makes of them.

use engine::connector::{Action, Applied, Change, FaultKind, Listing, Object, Outcome, Scope, Settled, unrecorded};
use engine::record::{Interval, Value};
use sqlx::Executor;

use super::object::{create, delete, int, rows, stored, update, write};
use super::postgres::Postgres;

/// Asks until the server is no longer at it.
async fn settle(object: &dyn Object, token: &str) -> Settled {
    loop {
        match object.settle(Some(token)).await.unwrap() {
            Settled::Running => {}
            settled => return settled,
        }
    }
}

#[tokio::test]
async fn a_batch_is_asked_for_by_its_transaction() {
    let postgres = Postgres::new().await;
    postgres.run("CREATE TABLE t (id int PRIMARY KEY, name text)").await;
    let object = postgres.open("t", &["id"], None).await;

    let writing = object.begin(0).await.unwrap();
    let token = writing.token().unwrap();
    assert_eq!(object.settle(Some(&token)).await.unwrap(), Settled::Running, "an open transaction may yet commit");
    writing.write(&[create(vec![int(1)], vec![])], unrecorded()).await.unwrap();
    assert_eq!(object.settle(Some(&token)).await.unwrap(), Settled::Look);

    let writing = object.begin(0).await.unwrap();
    let token = writing.token().unwrap();
    drop(writing);
    assert_eq!(settle(&*object, &token).await, Settled::NotApplied);
    let unknown = object.settle(Some("1000000000000")).await.unwrap();
    assert_eq!(unknown, Settled::Look, "a transaction of another life of this server tells nothing");
}

#[tokio::test]
async fn a_writer_that_is_cut_off_has_written_nothing() {
    let postgres = Postgres::new().await;
    postgres.run("CREATE TABLE t (id int PRIMARY KEY, name text)").await;
    let object = postgres.open("t", &["id"], None).await;
    let writing = object.begin(0).await.unwrap();
    let token = writing.token().unwrap();
    let cut = "SELECT count(*) FROM (SELECT pid FROM pg_stat_activity WHERE backend_xid::text = $1 OFFSET 0) AS writer \
               WHERE pg_terminate_backend(pid, 5000)";
    let ended: i64 =
        sqlx::query_scalar(cut).bind(&token).fetch_one(&mut postgres.database.connect().await).await.unwrap();
    assert_eq!(ended, 1);
    let fault = writing.write(&[create(vec![int(1)], vec![])], unrecorded()).await.unwrap_err();
    assert_eq!((fault.kind, fault.applied), (FaultKind::External, Applied::No), "{fault}");
    assert_eq!(settle(&*object, &token).await, Settled::NotApplied);
    assert!(rows(&*object, Listing::Full).await.is_empty(), "and the next reading has a connection that works");
}

#[tokio::test]
async fn a_write_that_lost_its_client_is_waited_for() {
    let postgres = Postgres::new().await;
    postgres.run("CREATE TABLE t (id int PRIMARY KEY, name text); INSERT INTO t VALUES (1, 'old')").await;
    let object = postgres.open("t", &["id"], None).await;
    // Another writer holds the row, so the server is still at it when we are gone.
    let mut other = postgres.database.connect().await;
    other.execute("BEGIN; UPDATE t SET name = 'other' WHERE id = 1").await.unwrap();
    let writing = object.begin(0).await.unwrap();
    let token = writing.token().unwrap();
    let changes = [update(1, vec![(1, Value::text("ours"))], vec![])];
    {
        let mut sent = writing.write(&changes, unrecorded());
        let blocked = "SELECT count(*) FROM pg_stat_activity WHERE backend_xid::text = $1 AND wait_event_type = 'Lock'";
        let mut watcher = postgres.database.connect().await;
        loop {
            // Until the statement waits for the lock, the write is driven on.
            let waits = sqlx::query_scalar::<_, i64>(blocked).bind(&token).fetch_one(&mut watcher);
            tokio::select! {
                biased;
                waits = waits => if waits.unwrap() == 1 { break },
                done = &mut sent => panic!("the write cannot end while the row is held: {done:?}"),
            }
        }
    }
    assert_eq!(
        object.settle(Some(&token)).await.unwrap(),
        Settled::Running,
        "the server does not know yet that we are gone"
    );
    other.execute("ROLLBACK").await.unwrap();
    assert_eq!(settle(&*object, &token).await, Settled::NotApplied);
    assert_eq!(rows(&*object, Listing::Full).await, [[int(1), Value::text("old")]]);
}

#[tokio::test]
async fn a_lock_that_another_holds_is_not_waited_for_for_ever() {
    let postgres = Postgres::with(|settings| settings.timeout = std::time::Duration::from_millis(1500)).await;
    postgres.run("CREATE TABLE t (id int PRIMARY KEY, name text); INSERT INTO t VALUES (1, 'old')").await;
    let object = postgres.open("t", &["id"], None).await;
    let mut other = postgres.database.connect().await;
    other.execute("BEGIN; UPDATE t SET name = 'other' WHERE id = 1").await.unwrap();
    let writing = object.begin(0).await.unwrap();
    let fault = writing.write(&[update(1, vec![(1, Value::text("ours"))], vec![])], unrecorded()).await.unwrap_err();
    assert_eq!((fault.kind, fault.applied, fault.native.as_str()), (FaultKind::External, Applied::No, "55P03"));
}

#[tokio::test]
async fn a_key_taken_at_this_moment_is_there_already() {
    let postgres = Postgres::new().await;
    postgres.run("CREATE TABLE t (id int PRIMARY KEY, name text)").await;
    let object = postgres.open("t", &["id"], None).await;
    let mut other = postgres.database.connect().await;
    other.execute("BEGIN; INSERT INTO t VALUES (2, 'other')").await.unwrap();
    let changes: Vec<Change> = (1..=3).map(|id| create(vec![int(id)], vec![(1, Value::text("ours"))])).collect();
    let writing = object.begin(0).await.unwrap();
    let token = writing.token().unwrap();
    let mut watcher = postgres.database.connect().await;
    let commit = async {
        let blocked = "SELECT count(*) FROM pg_stat_activity WHERE backend_xid::text = $1 AND wait_event_type = 'Lock'";
        while sqlx::query_scalar::<_, i64>(blocked).bind(&token).fetch_one(&mut watcher).await.unwrap() == 0 {}
        other.execute("COMMIT").await.unwrap();
    };
    let (outcomes, ()) = tokio::join!(writing.write(&changes, unrecorded()), commit);
    let outcomes = outcomes.unwrap();
    assert!(matches!(outcomes[0], Outcome::Done { .. }), "{outcomes:?}");
    assert_eq!(outcomes[1], Outcome::Exists);
    assert!(matches!(outcomes[2], Outcome::Done { .. }), "{outcomes:?}");
    assert_eq!(rows(&*object, Listing::Full).await[1], [int(2), Value::text("other")]);
}

/// Issue 2: what was written through a view and not shown by it counted as
/// deleted, and was deleted on the other side.
#[tokio::test]
async fn what_a_view_would_not_show_is_not_written_to_it() {
    let postgres = Postgres::new().await;
    postgres
        .run("CREATE TABLE t (id int PRIMARY KEY, name text); CREATE VIEW v AS SELECT * FROM t WHERE name <> 'no'")
        .await;
    let object = postgres.open("v", &["id"], None).await;
    let named = |name: &str| vec![(1, Value::text(name))];
    let made = write(
        &*object,
        &[create(vec![int(1)], named("a")), create(vec![int(2)], named("no")), create(vec![int(3)], named("b"))],
    )
    .await;
    let refused = |outcome: &Outcome| matches!(outcome, Outcome::Refused(refusal) if refusal.native == "44000");
    assert_eq!(made.iter().map(refused).collect::<Vec<_>>(), [false, true, false], "{made:?}");
    let made = write(&*object, &[update(1, named("no"), vec![]), update(3, named("c"), vec![])]).await;
    assert_eq!(made.iter().map(refused).collect::<Vec<_>>(), [true, false], "{made:?}");
    let table = postgres.open("t", &["id"], None).await;
    let left = rows(&*table, Listing::Full).await;
    assert_eq!(left, [[int(1), Value::text("a")], [int(3), Value::text("c")]]);
}

#[tokio::test]
async fn views_are_written_where_they_can_be() {
    let postgres = Postgres::new().await;
    postgres
        .run(
            "CREATE TABLE t (id int PRIMARY KEY, name text, city text); \
             CREATE VIEW porto AS SELECT id, name, upper(city) AS loud, city FROM t WHERE city = 'Porto' WITH CHECK OPTION; \
             CREATE VIEW counted AS SELECT city, count(*) AS n FROM t GROUP BY city",
        )
        .await;
    let counted = postgres.connector.describe("counted").await.unwrap().unwrap();
    assert!(!counted.can_create && !counted.can_update && !counted.can_delete);
    let porto = postgres.connector.describe("porto").await.unwrap().unwrap();
    assert!(porto.can_create && porto.can_update && porto.can_delete);
    let read_only: Vec<bool> = porto.shape.fields.iter().map(|field| field.read_only).collect();
    assert_eq!(read_only, [false, false, true, false]);
    let object = postgres.open("porto", &["id"], None).await;
    let outcomes = write(
        &*object,
        &[
            create(vec![int(1)], vec![(1, Value::text("Ana")), (3, Value::text("Porto"))]),
            create(vec![int(2)], vec![(1, Value::text("Rui")), (3, Value::text("Faro"))]),
        ],
    )
    .await;
    assert_eq!(stored(&outcomes[0])[2], Value::text("PORTO"));
    assert!(matches!(&outcomes[1], Outcome::Refused(refusal) if refusal.native == "44000"), "{outcomes:?}");
    assert!(matches!(write(&*object, &[delete(1)]).await[0], Outcome::Done { .. }));
}

#[tokio::test]
async fn what_triggers_make_of_a_row_is_told() {
    let postgres = Postgres::new().await;
    postgres
        .run(
            "CREATE TABLE t (id int PRIMARY KEY, name text, seen int DEFAULT 0); \
             CREATE FUNCTION before() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
               IF NEW.name = 'no' THEN RAISE EXCEPTION 'not %', NEW.name; END IF; \
               IF NEW.name = 'skip' THEN RETURN NULL; END IF; \
               IF NEW.name = 'moved' THEN NEW.id := NEW.id + 1000; END IF; \
               NEW.name := upper(NEW.name); RETURN NEW; END $$; \
             CREATE TRIGGER b BEFORE INSERT OR UPDATE OF name ON t FOR EACH ROW EXECUTE FUNCTION before(); \
             CREATE FUNCTION after() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
               UPDATE t SET seen = seen + 1 WHERE id = NEW.id; RETURN NULL; END $$; \
             CREATE TRIGGER a AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION after()",
        )
        .await;
    let object = postgres.open("t", &["id"], None).await;
    let named = |id: i64, name: &str| create(vec![int(id)], vec![(1, Value::text(name))]);
    let changes = [named(1, "ana"), named(2, "no"), named(3, "skip"), named(4, "moved"), named(5, "rui")];
    let outcomes = write(&*object, &changes).await;
    assert_eq!(stored(&outcomes[0]), [int(1), Value::text("ANA"), int(1)]);
    assert!(
        matches!(&outcomes[1], Outcome::Refused(refusal) if refusal.native == "P0001" && refusal.message.contains("not no")),
        "{outcomes:?}"
    );
    assert!(matches!(&outcomes[2], Outcome::Refused(_)), "{outcomes:?}");
    match &outcomes[3] {
        Outcome::Done { key, stored } => {
            assert_eq!((key, stored.as_ref().unwrap()[0].clone()), (&vec![int(1004)], int(1004)));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(stored(&outcomes[4]), [int(5), Value::text("RUI"), int(1)]);
    let outcomes = write(&*object, &[update(1, vec![(1, Value::text("eva"))], vec![])]).await;
    assert_eq!(stored(&outcomes[0]), [int(1), Value::text("EVA"), int(1)]);
    assert_eq!(rows(&*object, Listing::Full).await.len(), 3);
}

#[tokio::test]
async fn keys_come_from_wherever_the_table_gets_them() {
    let postgres = Postgres::new().await;
    postgres
        .run(
            "CREATE TABLE by_serial (id serial PRIMARY KEY, name text); \
             CREATE TABLE by_uuid (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), name text); \
             CREATE TABLE by_half (company text, id int GENERATED ALWAYS AS IDENTITY, name text, PRIMARY KEY (company, id)); \
             CREATE TABLE by_hand (id int PRIMARY KEY, name text); \
             CREATE TABLE by_nobody (id text DEFAULT 'same' PRIMARY KEY, name text)",
        )
        .await;
    for table in ["by_serial", "by_uuid"] {
        let object = postgres.open(table, &["id"], None).await;
        let writing = object.begin(2).await.unwrap();
        let keys = writing.keys().to_vec();
        assert_eq!(keys.len(), 2);
        let changes: Vec<Change> = keys.iter().map(|key| create(key.clone(), vec![(1, Value::text("x"))])).collect();
        let outcomes = writing.write(&changes, unrecorded()).await.unwrap();
        assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Done { .. })), "{outcomes:?}");
        let found = object.fetch(&[0], &keys, Scope::Everything).await.unwrap();
        assert_eq!(found.batch.len(), 2);
    }
    let object = postgres.open("by_half", &["company", "id"], None).await;
    assert!(object.begin(1).await.unwrap().keys().is_empty(), "half a key is none");
    let outcomes =
        write(&*object, &[create(vec![Value::text("a"), Value::Missing], vec![(2, Value::text("x"))])]).await;
    match &outcomes[0] {
        Outcome::Done { key, .. } => assert_eq!(*key, [Value::text("a"), int(1)]),
        other => panic!("{other:?}"),
    }
    let object = postgres.open("by_hand", &["id"], None).await;
    assert!(object.begin(1).await.unwrap().keys().is_empty(), "the database gives no such key");
    let object = postgres.open("by_nobody", &["id"], None).await;
    assert!(object.begin(2).await.unwrap().keys().is_empty(), "nor one that it gives twice");
    let keyless = || create(vec![Value::Missing], vec![(1, Value::text("x"))]);
    let outcomes = write(&*object, &[keyless(), keyless()]).await;
    assert!(matches!(outcomes[0], Outcome::Done { .. }), "{outcomes:?}");
    assert!(matches!(&outcomes[1], Outcome::Refused(refusal) if refusal.native == "23505"), "{outcomes:?}");
}

#[tokio::test]
async fn a_constraint_that_could_wait_still_finds_its_record() {
    let postgres = Postgres::new().await;
    postgres
        .run(
            "CREATE TABLE parent (id int PRIMARY KEY); INSERT INTO parent VALUES (1); \
             CREATE TABLE child (id int PRIMARY KEY, parent int REFERENCES parent DEFERRABLE INITIALLY DEFERRED)",
        )
        .await;
    let object = postgres.open("child", &["id"], None).await;
    let changes: Vec<Change> =
        (1..=5).map(|id| create(vec![int(id)], vec![(1, int(if id == 3 { 9 } else { 1 }))])).collect();
    let outcomes = write(&*object, &changes).await;
    for (id, outcome) in (1..).zip(&outcomes) {
        match outcome {
            Outcome::Refused(refusal) => assert_eq!((id, refusal.native.as_str()), (3, "23503")),
            Outcome::Done { .. } => assert_ne!(id, 3),
            other => panic!("{other:?}"),
        }
    }
    let parents = postgres.open("parent", &["id"], None).await;
    let outcomes = write(&*parents, &[delete(1)]).await;
    assert!(matches!(&outcomes[0], Outcome::Refused(refusal) if refusal.native == "23503"), "{outcomes:?}");
}

#[tokio::test]
async fn a_refusal_names_its_column() {
    let postgres = Postgres::new().await;
    postgres.run("CREATE TABLE t (id int PRIMARY KEY, name text NOT NULL, code varchar(3), n smallint)").await;
    let object = postgres.open("t", &["id"], None).await;
    let with = |id: i64, code: &str, n: i64| {
        create(vec![int(id)], vec![(1, Value::text("x")), (2, Value::text(code)), (3, int(n))])
    };
    let outcomes = write(
        &*object,
        &[
            create(vec![int(1)], vec![(1, Value::Null)]),
            with(2, "abcd", 1),
            with(3, "abc", 70_000),
            with(4, "nul\0", 1),
            with(5, "abc", 1),
        ],
    )
    .await;
    assert!(matches!(&outcomes[0], Outcome::Refused(refusal) if refusal.slot == Some(1)), "{outcomes:?}");
    let codes: Vec<&str> = outcomes[1..4]
        .iter()
        .map(|outcome| match outcome {
            Outcome::Refused(refusal) => refusal.native.as_str(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(codes, ["22001", "22003", "22021"], "nothing is cut to fit");
    assert!(matches!(outcomes[4], Outcome::Done { .. }));
}

#[tokio::test]
async fn a_key_of_several_rows_is_not_written() {
    let postgres = Postgres::new().await;
    postgres
        .run("CREATE TABLE t (code text, name text); INSERT INTO t VALUES ('a', '1'), ('a', '2'), ('b', '3')")
        .await;
    let object = postgres.open("t", &["code"], None).await;
    let change = |code: &str| Change {
        action: Action::Update,
        key: vec![Value::text(code)],
        set: vec![(1, Value::text("new"))],
        expect: vec![],
    };
    let outcomes = write(&*object, &[change("a"), change("b")]).await;
    assert!(matches!(&outcomes[0], Outcome::Refused(refusal) if refusal.message.contains("several")), "{outcomes:?}");
    assert!(matches!(&outcomes[1], Outcome::Done { .. }), "{outcomes:?}");
    let names: Vec<Value> = rows(&*object, Listing::Full).await.into_iter().map(|row| row[1].clone()).collect();
    assert_eq!(names, ["1", "2", "new"].map(Value::text));
}

#[tokio::test]
async fn a_key_that_is_checked_late_is_still_a_key() {
    let postgres = Postgres::new().await;
    postgres
        .run("CREATE TABLE t (id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED, name text); INSERT INTO t VALUES (2, 'old')")
        .await;
    let object = postgres.open("t", &["id"], None).await;
    let changes: Vec<Change> = (1..=3).map(|id| create(vec![int(id)], vec![(1, Value::text("new"))])).collect();
    let outcomes = write(&*object, &changes).await;
    assert_eq!(outcomes[1], Outcome::Exists, "{outcomes:?}");
    let names: Vec<Value> = rows(&*object, Listing::Full).await.into_iter().map(|row| row[1].clone()).collect();
    assert_eq!(names, ["new", "old", "new"].map(Value::text));
}

/// Issue 2: COPY cut what it could not hold without a word, and the cut value
/// went back over the other side's.
#[tokio::test]
async fn what_a_column_makes_of_a_value_is_told() {
    let postgres = Postgres::new().await;
    postgres
        .run(
            "CREATE TABLE t (id int PRIMARY KEY, letter \"char\", days interval day, whole interval(0), price money, \
             all_days interval(0)[])",
        )
        .await;
    let object = postgres.open("t", &["id"], None).await;
    let hours = Value::Interval(Interval { months: 0, days: 3, microseconds: 5 * 3600 * 1_000_000 });
    let parts = Value::Interval(Interval { months: 0, days: 0, microseconds: 1_600_000 });
    let sent = [
        (1, Value::text("abc")),
        (2, hours),
        (3, parts.clone()),
        (4, Value::text("1.239")),
        (5, Value::List(Box::new(vec![parts]))),
    ];
    for (id, (slot, value)) in (1..).zip(sent) {
        let outcomes = write(&*object, &[create(vec![int(id)], vec![(slot, value.clone())])]).await;
        assert_ne!(stored(&outcomes[0])[slot], value, "the row is told as it stands");
    }
}

/// Issue 2: a trigger that kept a row as it was counted as somebody who edits
/// without end.
#[tokio::test]
async fn what_a_trigger_leaves_as_it_is_was_refused() {
    let postgres = Postgres::new().await;
    postgres
        .run(
            "CREATE TABLE t (id int PRIMARY KEY, name text); INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c'); \
             CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$; \
             CREATE TRIGGER a BEFORE UPDATE OR DELETE ON t FOR EACH ROW WHEN (OLD.id = 2) EXECUTE FUNCTION no()",
        )
        .await;
    let object = postgres.open("t", &["id"], None).await;
    let renamed = |id: i64, before: &str| update(id, vec![(1, Value::text("x"))], vec![(1, Value::text(before))]);
    let outcomes = write(&*object, &[renamed(1, "a"), renamed(2, "b"), renamed(3, "other"), renamed(4, "d")]).await;
    assert!(matches!(&outcomes[0], Outcome::Done { .. }), "{outcomes:?}");
    let words = "did not change the record";
    assert!(matches!(&outcomes[1], Outcome::Refused(refusal) if refusal.message.contains(words)), "{outcomes:?}");
    assert!(matches!(&outcomes[2..], [Outcome::Moved, Outcome::Gone]), "{outcomes:?}");
    let outcomes = write(&*object, &[delete(2), delete(3)]).await;
    let words = "did not delete the record";
    assert!(matches!(&outcomes[0], Outcome::Refused(refusal) if refusal.message.contains(words)), "{outcomes:?}");
    assert!(matches!(&outcomes[1], Outcome::Done { .. }), "{outcomes:?}");
}
