//! PostgreSQL: the conformance suite, and what only PostgreSQL does.

use std::sync::Arc;

use engine::connector::conformance::{Column, Edit, Harness, conform};
use engine::connector::{
    Access, Action, Applied, Change, Connector, FaultKind, Listing, Object, Outcome, Scope, Settled,
};
use engine::protocol::sql::{SqlSettings, connect_postgres};
use engine::record::{Interval, Kind, Value, parse_number};
use futures::StreamExt;
use futures::future::BoxFuture;
use sqlx::Executor;

use crate::support::postgres::Database;
use crate::support::sql;

struct Postgres {
    database: Database,
    connector: Arc<dyn Connector>,
}

impl Postgres {
    async fn new() -> Postgres {
        Postgres::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut SqlSettings)) -> Postgres {
        let database = Database::fresh().await;
        let mut settings = SqlSettings { url: Some(database.url.clone()), ..SqlSettings::default() };
        change(&mut settings);
        let connector = connect_postgres(settings).unwrap();
        Postgres { database, connector }
    }

    async fn run(&self, sql: &str) {
        self.database.run(sql).await;
    }

    async fn open(&self, object: &str, key: &[&str], cursor: Option<&str>) -> Arc<dyn Object> {
        let described = self.connector.describe(object).await.unwrap().unwrap();
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
        self.connector.open(access).await.unwrap()
    }
}

fn native(column: &Column) -> String {
    native_of(&column.kind) + if column.generated { " GENERATED ALWAYS AS IDENTITY" } else { "" }
}

fn native_of(kind: &Kind) -> String {
    match kind {
        Kind::Boolean => "boolean".into(),
        Kind::Integer { bits: 16 } => "smallint".into(),
        Kind::Integer { bits: 32 } => "integer".into(),
        Kind::Integer { .. } => "bigint".into(),
        Kind::Decimal { precision: Some(p), scale } => format!("numeric({p},{})", scale.unwrap_or(0)),
        Kind::Decimal { .. } => "numeric".into(),
        Kind::Float { bits: 32 } => "real".into(),
        Kind::Float { .. } => "double precision".into(),
        Kind::Text { max: Some(max), padded: true } => format!("char({max})"),
        Kind::Text { max: Some(max), .. } => format!("varchar({max})"),
        Kind::Bytes => "bytea".into(),
        Kind::Uuid => "uuid".into(),
        Kind::Enum { .. } => "mood".into(),
        Kind::Date => "date".into(),
        Kind::Time { .. } => "time".into(),
        Kind::LocalTime { digits } => format!("timestamp({digits})"),
        Kind::Instant { digits } => format!("timestamptz({digits})"),
        Kind::Interval => "interval".into(),
        Kind::Json => "jsonb".into(),
        Kind::List(item) => native_of(item) + "[]",
        Kind::Other(native) => native.clone(),
        _ => "text".into(),
    }
}

impl Harness for Postgres {
    fn connector(&self) -> Arc<dyn Connector> {
        self.connector.clone()
    }

    fn create<'a>(&'a self, object: &'a str, columns: &'a [Column]) -> BoxFuture<'a, ()> {
        Box::pin(async move { self.run(&sql::create_table(object, columns, native)).await })
    }

    fn edit<'a>(&'a self, object: &'a str, columns: &'a [Column], edits: Vec<Edit>) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let statements: Vec<String> = edits.iter().map(|edit| sql::statement(object, columns, edit)).collect();
            self.run(&statements.join(";\n")).await;
        })
    }

    fn filter(&self, column: &str, equals: &str) -> String {
        format!("{} = '{equals}' -- and no more", sql::quote(column))
    }

    fn kinds(&self) -> Vec<(Kind, Vec<Value>)> {
        let number = |text: &str| Value::from(parse_number(text).unwrap());
        let numbers = |texts: &[&str]| texts.iter().map(|text| number(text)).collect::<Vec<_>>();
        let text = |texts: &[&str]| texts.iter().map(Value::text).collect::<Vec<_>>();
        let json = |text: &str| Value::from_json(&serde_json::from_str(text).unwrap());
        let list = |items: Vec<Value>| Value::List(Box::new(items));
        vec![
            (Kind::Integer { bits: 64 }, vec![Value::Integer(0), Value::Integer(i64::MIN), Value::Integer(i64::MAX)]),
            (Kind::Integer { bits: 32 }, vec![Value::Integer(i32::MIN.into()), Value::Integer(i32::MAX.into())]),
            (Kind::Integer { bits: 16 }, vec![Value::Integer(-32768), Value::Integer(7)]),
            (
                Kind::Decimal { precision: Some(15), scale: Some(2) },
                numbers(&["19.90", "-0.01", "0", "1234567890123.45", "100.00", "10000", "0.10"]),
            ),
            (
                Kind::Decimal { precision: None, scale: None },
                [
                    numbers(&[
                        "12345678901234567890.12",
                        "0.0000000000000000000000000001",
                        "-123456789012345678901234567890123456789.123456789",
                        "1000000000000000000000000000000000000000000",
                        "99999999999999999999999999999",
                    ]),
                    ["NaN", "Infinity", "-Infinity"].map(|text| Value::WideDecimal(text.into())).to_vec(),
                ]
                .concat(),
            ),
            (
                Kind::Float { bits: 64 },
                vec![
                    Value::Float(0.1),
                    Value::Float(-1e300),
                    Value::Float(5e-324),
                    Value::Float(f64::INFINITY),
                    Value::Float(f64::NAN),
                ],
            ),
            (Kind::Float { bits: 32 }, vec![Value::Float(f64::from(0.1f32)), Value::Float(-0.5)]),
            (Kind::Boolean, vec![Value::Boolean(true), Value::Boolean(false)]),
            (
                Kind::Text { max: None, padded: false },
                text(&[
                    "",
                    " ",
                    "00012",
                    "ação 😀",
                    "it's \"quoted\" \\ % \\N \\.",
                    "line\nbreak\ttab\r",
                    "1e3",
                    "a  ",
                    "NULL",
                ]),
            ),
            (Kind::Text { max: Some(6), padded: false }, text(&["000001", "ãé", "a  "])),
            (Kind::Text { max: Some(6), padded: true }, text(&["000001", "01", "ãé", ""])),
            (Kind::Bytes, vec![Value::Bytes(Box::new([])), Value::Bytes(vec![0, 1, 92, 255].into())]),
            (Kind::Uuid, text(&["7f0c1c52-9d1e-4a53-8f5e-0d7c1a6a4c1b"])),
            (Kind::Enum { labels: vec!["happy".into(), "sad".into()] }, text(&["happy", "sad"])),
            (
                Kind::Json,
                vec![
                    json(r#"{"a":[1,"x",null,true],"ç":{"n":12}}"#),
                    list(numbers(&["12345678901234567890.12", "19.90"])),
                    Value::text("plain"),
                    Value::Boolean(true),
                    json("{}"),
                ],
            ),
            (Kind::Other("json".into()), vec![json(r#"{"b":1,"a":[1,"x"]}"#)]),
            (
                Kind::Date,
                vec![
                    Value::Date("2026-02-28".parse().unwrap()),
                    Value::Date("1899-12-31".parse().unwrap()),
                    Value::Date("-0043-03-15".parse().unwrap()),
                    Value::text("infinity"),
                ],
            ),
            (
                Kind::Time { digits: 6 },
                vec![
                    Value::Time("23:59:59.999999".parse().unwrap()),
                    Value::Time("00:00:00".parse().unwrap()),
                    Value::text("24:00:00"),
                ],
            ),
            (
                Kind::LocalTime { digits: 6 },
                vec![
                    Value::LocalTime("2026-03-01T12:00:00".parse().unwrap()),
                    Value::LocalTime("1969-12-31T23:59:59.5".parse().unwrap()),
                    Value::text("-infinity"),
                ],
            ),
            (
                Kind::Instant { digits: 6 },
                vec![
                    Value::Instant("2026-03-01T12:00:00Z".parse().unwrap()),
                    Value::Instant("1969-12-31T23:59:59.123456Z".parse().unwrap()),
                ],
            ),
            (
                Kind::Interval,
                vec![
                    Value::Interval(Interval { months: 14, days: -3, microseconds: 4_500_000 }),
                    Value::Interval(Interval { months: 0, days: 0, microseconds: -1 }),
                ],
            ),
            (
                Kind::List(Box::new(Kind::Text { max: None, padded: false })),
                vec![list(text(&["a", "", "b\"\\,{} ", "NULL", "ação"])), list(vec![]), list(vec![Value::Null])],
            ),
            (Kind::List(Box::new(Kind::Integer { bits: 32 })), vec![list(vec![Value::Integer(1), Value::Null])]),
            (
                Kind::List(Box::new(Kind::Decimal { precision: None, scale: None })),
                vec![list(numbers(&["1.10", "12345678901234567890123456789012345.5"]))],
            ),
            (Kind::List(Box::new(Kind::Date)), vec![list(vec![Value::Date("2026-02-28".parse().unwrap())])]),
            (
                Kind::List(Box::new(Kind::Enum { labels: vec!["happy".into(), "sad".into()] })),
                vec![list(text(&["sad", "happy"]))],
            ),
            (
                Kind::List(Box::new(Kind::Json)),
                vec![list(vec![json(r#"{"a":[1]}"#), list(vec![Value::Integer(1)]), Value::text("x\"y")])],
            ),
            (Kind::Other("inet".into()), text(&["10.0.0.1", "10.0.0.0/8"])),
            (Kind::Other("int4range".into()), text(&["[1,5)"])),
            (Kind::Other("point".into()), text(&["(1,2.5)"])),
            (Kind::Other("money_amount".into()), numbers(&["12.50"])),
        ]
    }

    fn names(&self) -> Vec<&'static str> {
        vec!["Order Details", "select", "say \"hi\"", "ação", "a.b", "semi;colon--", "it's", "back\\slash", "$1", "{x}"]
    }
}

async fn with_types() -> Postgres {
    let postgres = Postgres::new().await;
    postgres
        .run(
            "CREATE TYPE mood AS ENUM ('happy', 'sad'); \
             CREATE DOMAIN money_amount AS numeric(10,2) CHECK (VALUE >= 0)",
        )
        .await;
    postgres
}

#[tokio::test]
async fn conforms() {
    conform(&with_types().await).await;
}

fn int(integer: i64) -> Value {
    Value::Integer(integer)
}

fn create(key: Vec<Value>, set: Vec<(usize, Value)>) -> Change {
    Change { action: Action::Create, key, set, expect: Vec::new() }
}

fn update(key: i64, set: Vec<(usize, Value)>) -> Change {
    Change { action: Action::Update, key: vec![int(key)], set, expect: Vec::new() }
}

fn delete(key: i64) -> Change {
    Change { action: Action::Delete, key: vec![int(key)], set: Vec::new(), expect: Vec::new() }
}

async fn write(object: &dyn Object, changes: &[Change]) -> Vec<Outcome> {
    object.begin(0).await.unwrap().write(changes).await.unwrap()
}

fn stored(outcome: &Outcome) -> &[Value] {
    match outcome {
        Outcome::Done { stored: Some(row), .. } => row,
        other => panic!("a row was to be stored: {other:?}"),
    }
}

async fn rows(object: &dyn Object) -> Vec<Vec<Value>> {
    let batches: Vec<_> = object.read(Listing::Full).map(Result::unwrap).collect().await;
    batches.iter().flat_map(|batch| batch.rows().map(|(_, row)| row.to_vec())).collect()
}

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
    writing.write(&[create(vec![int(1)], vec![])]).await.unwrap();
    assert_eq!(object.settle(Some(&token)).await.unwrap(), Settled::Applied);

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
    let fault = writing.write(&[create(vec![int(1)], vec![])]).await.unwrap_err();
    assert_eq!((fault.kind, fault.applied), (FaultKind::External, Applied::No), "{fault}");
    assert_eq!(settle(&*object, &token).await, Settled::NotApplied);
    assert!(rows(&*object).await.is_empty(), "and the next reading has a connection that works");
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
    let changes = [update(1, vec![(1, Value::text("ours"))])];
    {
        let mut sent = writing.write(&changes);
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
    assert_eq!(rows(&*object).await, [[int(1), Value::text("old")]]);
}

#[tokio::test]
async fn a_lock_that_another_holds_is_not_waited_for_for_ever() {
    let postgres = Postgres::with(|settings| settings.timeout = std::time::Duration::from_millis(1500)).await;
    postgres.run("CREATE TABLE t (id int PRIMARY KEY, name text); INSERT INTO t VALUES (1, 'old')").await;
    let object = postgres.open("t", &["id"], None).await;
    let mut other = postgres.database.connect().await;
    other.execute("BEGIN; UPDATE t SET name = 'other' WHERE id = 1").await.unwrap();
    let writing = object.begin(0).await.unwrap();
    let fault = writing.write(&[update(1, vec![(1, Value::text("ours"))])]).await.unwrap_err();
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
    let (outcomes, ()) = tokio::join!(writing.write(&changes), commit);
    let outcomes = outcomes.unwrap();
    assert!(matches!(outcomes[0], Outcome::Done { .. }), "{outcomes:?}");
    assert_eq!(outcomes[1], Outcome::Exists);
    assert!(matches!(outcomes[2], Outcome::Done { .. }), "{outcomes:?}");
    assert_eq!(rows(&*object).await[1], [int(2), Value::text("other")]);
}

#[tokio::test]
async fn an_open_transaction_holds_the_horizon_back() {
    let postgres = Postgres::new().await;
    postgres.run("CREATE TABLE t (id int PRIMARY KEY, stamp timestamptz DEFAULT now())").await;
    let object = postgres.open("t", &["id"], Some("stamp")).await;
    assert!(postgres.connector.describe("t").await.unwrap().unwrap().sees_open_transactions);
    let mut other = postgres.database.connect().await;
    other.execute("BEGIN; INSERT INTO t VALUES (1)").await.unwrap();
    postgres.run("INSERT INTO t VALUES (2)").await;
    let horizon = object.horizon().await.unwrap();
    other.execute("COMMIT").await.unwrap();
    let stamp = |row: &Vec<Value>| match row[1] {
        Value::Instant(time) => time,
        ref value => panic!("{value:?}"),
    };
    let rows = rows(&*object).await;
    let Some(Value::Instant(oldest)) = horizon.oldest_open else { panic!("{horizon:?}") };
    let Some(Value::Instant(clock)) = horizon.clock else { panic!("{horizon:?}") };
    assert!(oldest <= stamp(&rows[0]), "the late commit lies behind the horizon");
    assert_eq!(horizon.largest, Some(Value::Instant(stamp(&rows[1]))));
    assert!(stamp(&rows[1]) <= clock);
    assert!(horizon.timeline.is_some());

    // A prepared transaction is open too, though nobody is connected to it.
    postgres.run("BEGIN; INSERT INTO t VALUES (3); PREPARE TRANSACTION 'late'").await;
    let prepared = object.horizon().await.unwrap();
    assert!(prepared.oldest_open.is_some(), "{prepared:?}");
    postgres.run("ROLLBACK PREPARED 'late'").await;
}

#[tokio::test]
async fn names_lead_where_they_say() {
    let postgres = Postgres::new().await;
    postgres
        .run(
            "CREATE TABLE users (id int PRIMARY KEY, here int); CREATE TABLE \"Users\" (id int PRIMARY KEY, capital int); \
             CREATE TABLE \"Orders\" (id int PRIMARY KEY); \
             CREATE SCHEMA \"Sales.Dept\"; CREATE TABLE \"Sales.Dept\".users (id int PRIMARY KEY, there int); \
             CREATE TABLE \"Sales.Dept\".only_there (id int PRIMARY KEY)",
        )
        .await;
    let second = async |name: &str| {
        let described = postgres.connector.describe(name).await.unwrap();
        described.map(|described| described.shape.fields.last().unwrap().name.to_string())
    };
    assert_eq!(second("users").await.as_deref(), Some("here"));
    assert_eq!(second("Users").await.as_deref(), Some("capital"));
    assert_eq!(second("USERS").await, None, "a name that fits several is none");
    assert_eq!(second("orders").await.as_deref(), Some("id"), "the only one in another case is meant");
    assert_eq!(second("public.users").await.as_deref(), Some("here"));
    assert_eq!(second("\"Sales.Dept\".users").await.as_deref(), Some("there"));
    assert_eq!(second("\"sales.dept\".USERS").await.as_deref(), Some("there"));
    assert_eq!(second("only_there").await, None, "a schema off the search path is named");
    let access = Access {
        object: "USERS".into(),
        shape: Arc::default(),
        key: vec![],
        cursor: None,
        filter: None,
        start: None,
        batch: 1,
    };
    let fault = postgres.connector.open(access).await.err().unwrap();
    assert!(fault.message.contains("users") && fault.message.contains("Users"), "{fault}");
    let listed: Vec<String> =
        postgres.connector.objects().await.unwrap().into_iter().map(|object| object.name).collect();
    assert_eq!(listed, ["Orders", "Users", "users", "\"Sales.Dept\".only_there", "\"Sales.Dept\".users"]);
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
    let outcomes = write(&*object, &[update(1, vec![(1, Value::text("eva"))])]).await;
    assert_eq!(stored(&outcomes[0]), [int(1), Value::text("EVA"), int(1)]);
    assert_eq!(rows(&*object).await.len(), 3);
}

#[tokio::test]
async fn keys_come_from_wherever_the_table_gets_them() {
    let postgres = Postgres::new().await;
    postgres
        .run(
            "CREATE TABLE by_serial (id serial PRIMARY KEY, name text); \
             CREATE TABLE by_uuid (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), name text); \
             CREATE TABLE by_half (company text, id int GENERATED ALWAYS AS IDENTITY, name text, PRIMARY KEY (company, id)); \
             CREATE TABLE by_hand (id int PRIMARY KEY, name text)",
        )
        .await;
    for table in ["by_serial", "by_uuid"] {
        let object = postgres.open(table, &["id"], None).await;
        let writing = object.begin(2).await.unwrap();
        let keys = writing.keys().to_vec();
        assert_eq!(keys.len(), 2);
        let changes: Vec<Change> = keys.iter().map(|key| create(key.clone(), vec![(1, Value::text("x"))])).collect();
        let outcomes = writing.write(&changes).await.unwrap();
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
    let names: Vec<Value> = rows(&*object).await.into_iter().map(|row| row[1].clone()).collect();
    assert_eq!(names, ["1", "2", "new"].map(Value::text));
}

#[tokio::test]
async fn probes_are_compared_as_the_column_compares() {
    let postgres = Postgres::new().await;
    postgres
        .run(
            "CREATE COLLATION any_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false); \
             CREATE TABLE t (id int PRIMARY KEY, code char(6), name text COLLATE any_case, n numeric, at timestamptz); \
             INSERT INTO t VALUES (1, '01', 'Ana', 1.50, '2026-03-01 12:00+00')",
        )
        .await;
    let object = postgres.open("t", &["id"], None).await;
    let found = async |slot: usize, probe: Value| {
        object.fetch(&[slot], &[vec![probe]], Scope::Filtered).await.unwrap().batch.len()
    };
    assert_eq!(found(1, Value::text("01")).await, 1);
    assert_eq!(found(1, Value::text("01    ")).await, 1, "blanks do not count in a CHAR");
    assert_eq!(found(2, Value::text("ANA")).await, 1, "a collation that ignores case does so here");
    assert_eq!(found(3, Value::Decimal("1.5".parse().unwrap())).await, 1);
    assert_eq!(found(4, Value::Instant("2026-03-01T12:00:00Z".parse().unwrap())).await, 1);
    assert_eq!(found(0, Value::text("not a number")).await, 0, "what is no value of the column finds nothing");
    let probes = [Value::text("x"), int(1), Value::text("y")].map(|probe| vec![probe]);
    assert_eq!(object.fetch(&[0], &probes, Scope::Everything).await.unwrap().probes, [1]);
}

#[tokio::test]
async fn rights_are_told() {
    let postgres = Postgres::new().await;
    let role = format!("{}_clerk", postgres.database.url.rsplit('/').next().unwrap());
    postgres
        .run(&format!(
            "CREATE TABLE t (id int PRIMARY KEY, stamp timestamp); CREATE TABLE hidden (id int PRIMARY KEY); \
             CREATE ROLE {role} LOGIN PASSWORD 'geheim'; GRANT SELECT, UPDATE ON t TO {role}"
        ))
        .await;
    let settings = SqlSettings {
        url: Some(postgres.database.url.clone()),
        username: Some(role.clone()),
        password: Some("geheim".into()),
        ..SqlSettings::default()
    };
    assert!(!format!("{settings:?}").contains("geheim"));
    let clerk = Postgres { connector: connect_postgres(settings).unwrap(), database: Database { url: String::new() } };
    let described = clerk.connector.describe("t").await.unwrap().unwrap();
    assert!(!described.can_create && described.can_update && !described.can_delete);
    assert!(!described.sees_open_transactions);
    assert!(described.notes.iter().any(|note| note.contains("pg_read_all_stats")), "{:?}", described.notes);
    assert!(!described.identity.is_empty());
    let object = clerk.open("t", &["id"], Some("stamp")).await;
    assert!(object.horizon().await.unwrap().clock.is_some());
    let fault = object.begin(0).await.unwrap().write(&[create(vec![int(1)], vec![])]).await.unwrap_err();
    assert_eq!((fault.kind, fault.applied, fault.native.as_str()), (FaultKind::User, Applied::No, "42501"));
    let hidden = clerk.open("hidden", &["id"], None).await;
    let fault = hidden.read(Listing::Full).next().await.unwrap().unwrap_err();
    assert_eq!(fault.kind, FaultKind::User, "{fault}");
    postgres.run(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await;
}

#[tokio::test]
async fn a_server_that_is_not_there_is_told_at_once() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("postgres://clerk:geheim@127.0.0.1:{free}/shop");
    let connector = connect_postgres(SqlSettings { url: Some(url), ..SqlSettings::default() }).unwrap();
    let fault = connector.check().await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::External);
    assert!(!fault.to_string().contains("geheim"));
    let odd = SqlSettings { url: Some("postgres://clerk:geheim@[oops".into()), ..SqlSettings::default() };
    let fault = connect_postgres(odd).err().unwrap();
    assert_eq!(fault.kind, FaultKind::User);
    assert!(!fault.to_string().contains("geheim"));
}

#[tokio::test]
async fn a_reading_left_in_the_middle_leaves_nothing_behind() {
    let postgres = Postgres::new().await;
    postgres
        .run("CREATE TABLE t (id int PRIMARY KEY, name text); INSERT INTO t SELECT n, 'x' FROM generate_series(1, 50000) n")
        .await;
    let object = postgres.open("t", &["id"], None).await;
    // More often than there are connections.
    for _ in 0..30 {
        let mut reading = object.read(Listing::Full);
        assert_eq!(reading.next().await.unwrap().unwrap().len(), 100);
    }
    let all: usize =
        object.read(Listing::Keys).map(|batch| batch.unwrap().len()).collect::<Vec<_>>().await.iter().sum();
    assert_eq!(all, 50_000);
}

#[tokio::test]
async fn stamps_without_a_zone_are_in_the_connection_s() {
    let postgres = Postgres::with(|settings| settings.timezone = "America/Sao_Paulo".parse().unwrap()).await;
    postgres
        .run("CREATE TABLE t (id int PRIMARY KEY, local timestamp DEFAULT now(), at timestamptz DEFAULT now())")
        .await;
    let object = postgres.open("t", &["id"], Some("local")).await;
    write(&*object, &[create(vec![int(1)], vec![])]).await;
    let row = rows(&*object).await.remove(0);
    let (Value::LocalTime(local), Value::Instant(at)) = (&row[1], &row[2]) else { panic!("{row:?}") };
    let zone: chrono_tz::Tz = "America/Sao_Paulo".parse().unwrap();
    assert_eq!(*local, at.with_timezone(&zone).naive_local());
    let Some(Value::LocalTime(clock)) = object.horizon().await.unwrap().clock else { panic!("a clock") };
    assert!(
        clock >= *local && clock - *local < chrono::TimeDelta::minutes(30),
        "{clock} is of the same zone as {local}"
    );
}

#[tokio::test]
async fn what_the_engine_does_not_know_is_noted() {
    let postgres = with_types().await;
    postgres
        .run(
            "CREATE TABLE t (id int PRIMARY KEY, net inet, price money_amount, mood mood, code char(6), \
             total numeric(10,2) GENERATED ALWAYS AS (1.5) STORED, names varchar(10)[], stamp timestamp(3))",
        )
        .await;
    let described = postgres.connector.describe("t").await.unwrap().unwrap();
    let kind = |name: &str| described.shape.fields[described.shape.slot(name).unwrap()].kind.clone();
    assert_eq!(kind("net"), Kind::Other("inet".into()));
    assert_eq!(kind("price"), Kind::Decimal { precision: Some(10), scale: Some(2) });
    assert_eq!(kind("mood"), Kind::Enum { labels: vec!["happy".into(), "sad".into()] });
    assert_eq!(kind("code"), Kind::Text { max: Some(6), padded: true });
    assert_eq!(kind("names"), Kind::List(Box::new(Kind::Text { max: Some(10), padded: false })));
    assert_eq!(kind("stamp"), Kind::LocalTime { digits: 3 });
    let total = &described.shape.fields[described.shape.slot("total").unwrap()];
    assert!(total.read_only && total.generated);
    assert_eq!(described.notes, ["`net` is of type `inet`: carried as text"]);
}
