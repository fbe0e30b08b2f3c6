//! PostgreSQL: the conformance suite, and what only PostgreSQL does.

use std::sync::Arc;

use engine::connector::conformance::{Column, Edit, Harness, conform};
use engine::connector::{Access, Applied, Connector, FaultKind, Listing, Object, Scope, unrecorded};
use engine::protocol::sql::{SqlSettings, connect_postgres};
use engine::record::{Interval, Kind, Value, parse_number};
use futures::StreamExt;
use futures::future::BoxFuture;

use super::object::{int, leaves_marked_rows_alone, open, rows, update};
use crate::support::postgres::Database;
use crate::support::sql;

pub(super) struct Postgres {
    pub(super) database: Database,
    pub(super) connector: Arc<dyn Connector>,
}

impl Postgres {
    pub(super) async fn new() -> Postgres {
        Postgres::with(|_| {}).await
    }

    pub(super) async fn with(change: impl FnOnce(&mut SqlSettings)) -> Postgres {
        let database = Database::fresh().await;
        let mut settings = SqlSettings { url: Some(database.url.clone()), ..SqlSettings::default() };
        change(&mut settings);
        let connector = connect_postgres(&settings).unwrap();
        Postgres { database, connector }
    }

    pub(super) async fn run(&self, sql: &str) {
        self.database.run(sql).await;
    }

    pub(super) async fn open(&self, object: &str, key: &[&str], cursor: Option<&str>) -> Arc<dyn Object> {
        open(&*self.connector, object, key, cursor).await
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
            self.run(&sql::script(object, columns, &edits)).await;
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
            (Kind::Float { bits: 32 }, vec![Value::Float(0.1), Value::Float(-0.5), Value::Float(3.402_823_5e38)]),
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
                    Value::JsonNull,
                ],
            ),
            (Kind::Other("json".into()), vec![json(r#"{"b":1,"a":[1,"x"]}"#), Value::JsonNull]),
            (
                Kind::Date,
                vec![
                    Value::Date("2026-02-28".parse().unwrap()),
                    Value::Date("1899-12-31".parse().unwrap()),
                    Value::Date("-0043-03-15".parse().unwrap()),
                    Value::text("infinity"),
                    Value::text("5874897-12-31"),
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
                    Value::text("294276-12-31 23:59:59.999999"),
                ],
            ),
            (
                Kind::Instant { digits: 6 },
                vec![
                    Value::Instant("2026-03-01T12:00:00Z".parse().unwrap()),
                    Value::Instant("1969-12-31T23:59:59.123456Z".parse().unwrap()),
                    Value::text("294276-12-31 23:59:59.999999+00"),
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
            (
                Kind::List(Box::new(Kind::Integer { bits: 32 })),
                vec![
                    list(vec![Value::Integer(1), Value::Null]),
                    Value::text(r#"[0:1]={"7",NULL}"#),
                    Value::text(r#"{{"1","2"},{"3","4"}}"#),
                ],
            ),
            (
                Kind::List(Box::new(Kind::Decimal { precision: None, scale: None })),
                vec![list(numbers(&["1.10", "12345678901234567890123456789012345.5"]))],
            ),
            (
                Kind::List(Box::new(Kind::Date)),
                vec![list(vec![Value::Date("2026-02-28".parse().unwrap()), Value::text("-infinity")])],
            ),
            (
                Kind::List(Box::new(Kind::Enum { labels: vec!["happy".into(), "sad".into()] })),
                vec![list(text(&["sad", "happy"]))],
            ),
            (
                Kind::List(Box::new(Kind::Json)),
                vec![list(vec![
                    json(r#"{"a":[1]}"#),
                    list(vec![Value::Integer(1)]),
                    Value::text("x\"y"),
                    Value::JsonNull,
                    Value::Null,
                ])],
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

pub(super) async fn with_types() -> Postgres {
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

/// Issue 2: a record on which `where` failed counted as gone, and its
/// counterpart was deleted.
#[tokio::test]
async fn a_where_that_fails_on_a_row_is_told() {
    let postgres = Postgres::new().await;
    postgres
        .run(
            "CREATE TABLE t (id int PRIMARY KEY, code text, stock int); \
             INSERT INTO t VALUES (1, '6', 1), (2, 'x', 1), (3, '7', 0), (4, '8', 1)",
        )
        .await;
    let described = postgres.connector.describe("t").await.unwrap().unwrap();
    for (filter, native, broken) in [("code::int > 5", "22P02", 2), ("100 / stock > 5", "22012", 3)] {
        let access = Access {
            object: "t".into(),
            shape: Arc::new(described.shape.clone()),
            key: vec![0],
            cursor: None,
            filter: Some(filter.into()),
            start: None,
            marked: None,
            batch: 100,
        };
        let object = postgres.connector.open(access).await.unwrap();
        for scope in [Scope::Everything, Scope::Filtered] {
            for ids in [vec![broken], vec![1, broken, 4]] {
                let probes: Vec<Vec<Value>> = ids.into_iter().map(|id| vec![int(id)]).collect();
                let fault = object.fetch(&[0], &probes, scope).await.unwrap_err();
                assert_eq!((fault.kind, fault.native.as_str()), (FaultKind::User, native), "{fault}");
            }
            let probes = [Value::text("nonsense"), int(1)].map(|probe| vec![probe]);
            assert_eq!(object.fetch(&[0], &probes, scope).await.unwrap().probes, [1]);
        }
        // In a transaction that has failed the database's words are still the first ones.
        let moved = [1, broken].map(|id| update(id, vec![(1, Value::text("9"))], vec![(2, int(99))]));
        let fault = object.begin(0).await.unwrap().write(&moved, unrecorded()).await.unwrap_err();
        assert_eq!(
            (fault.kind, fault.native.as_str(), fault.applied),
            (FaultKind::User, native, Applied::No),
            "{fault}"
        );
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_told_at_once() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("postgres://clerk:geheim@127.0.0.1:{free}/shop");
    let connector = connect_postgres(&SqlSettings { url: Some(url), ..SqlSettings::default() }).unwrap();
    let fault = connector.check().await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::External);
    assert!(!fault.to_string().contains("geheim"));
    let odd = SqlSettings { url: Some("postgres://clerk:geheim@[oops".into()), ..SqlSettings::default() };
    let fault = connect_postgres(&odd).err().unwrap();
    assert_eq!(fault.kind, FaultKind::User);
    assert!(!fault.to_string().contains("geheim"));
}

/// Issue 2: a statement that hung held its run for ever.
#[tokio::test]
async fn a_statement_ends_in_time() {
    let postgres = Postgres::with(|settings| settings.timeout = std::time::Duration::from_millis(300)).await;
    postgres
        .run(
            "CREATE TABLE t (id int PRIMARY KEY, name text); INSERT INTO t SELECT n, 'x' FROM generate_series(1, 300) n; \
             CREATE VIEW asleep AS SELECT id, name FROM t WHERE id <= 100 OR pg_sleep(600) IS NULL; \
             CREATE FUNCTION doze() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(600); RETURN NEW; END'; \
             CREATE TRIGGER doze BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION doze()",
        )
        .await;
    let told = |fault: &engine::connector::Fault| {
        assert_eq!((fault.kind, fault.applied), (FaultKind::External, Applied::No), "{fault}");
        assert!(fault.message.contains("`timeout` of the connection"), "{fault}");
    };
    let asleep = postgres.open("asleep", &["id"], None).await;
    let mut reading = asleep.read(Listing::Full);
    let first = reading.next().await.unwrap();
    told(&first.unwrap_err());
    let probes: Vec<Vec<Value>> = (1..=300).map(|id| vec![int(id)]).collect();
    told(&asleep.fetch(&[0], &probes, Scope::Everything).await.unwrap_err());
    let object = postgres.open("t", &["id"], None).await;
    let change = update(1, vec![(1, Value::text("y"))], vec![]);
    told(&object.begin(0).await.unwrap().write(&[change], unrecorded()).await.unwrap_err());
    // What it left under way does not stand in the way of the next.
    assert_eq!(rows(&*object, Listing::Full).await.len(), 300);
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

/// Issue 2: both rows were written, the live one and the marked one.
#[tokio::test]
async fn rows_marked_as_deleted_are_left_alone() {
    let postgres = Postgres::new().await;
    postgres
        .run(
            "CREATE TABLE twins (code char(3), name text, gone char(1) NOT NULL); \
             INSERT INTO twins VALUES ('A', 'old', '*'), ('A', 'old', ' '), ('B', 'old', '*');",
        )
        .await;
    leaves_marked_rows_alone(&*postgres.connector).await;
}
