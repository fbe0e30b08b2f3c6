//! PostgreSQL: the conformance suite, and what only PostgreSQL does.

use std::sync::Arc;

use engine::connector::conformance::{Column, Edit, Harness, conform};
use engine::connector::{Access, Connector, Object};
use engine::protocol::sql::{SqlSettings, connect_postgres};
use engine::record::{Interval, Kind, Value, parse_number};
use futures::future::BoxFuture;

use crate::support::postgres::Database;
use crate::support::sql;

struct Postgres {
    database: Database,
    connector: Arc<dyn Connector>,
}

impl Postgres {
    async fn new() -> Postgres {
        let database = Database::fresh().await;
        let settings = SqlSettings { url: Some(database.url.clone()), ..SqlSettings::default() };
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
