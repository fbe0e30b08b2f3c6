//! SQLite: the conformance suite, and what only SQLite does.

use std::sync::Arc;

use engine::connector::conformance::{Column, Edit, Harness, conform};
use engine::connector::{Access, Connector, Object};
use engine::protocol::sql::{SqlSettings, connect_sqlite};
use engine::record::{Kind, Value, parse_number};
use futures::future::BoxFuture;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode};
use sqlx::{AssertSqlSafe, ConnectOptions, SqliteConnection};

use crate::support::sql;

struct Sqlite {
    folder: tempfile::TempDir,
    connector: Arc<dyn Connector>,
}

impl Sqlite {
    async fn new(journal: SqliteJournalMode) -> Sqlite {
        let folder = tempfile::tempdir().unwrap();
        let options = SqliteConnectOptions::new().filename(folder.path().join("test.db")).create_if_missing(true);
        drop(options.journal_mode(journal).connect().await.unwrap());
        let settings = SqlSettings {
            url: Some("sqlite://test.db".into()),
            folder: folder.path().into(),
            ..SqlSettings::default()
        };
        let connector = connect_sqlite(settings).unwrap();
        Sqlite { folder, connector }
    }

    async fn writer(&self) -> SqliteConnection {
        SqliteConnectOptions::new().filename(self.folder.path().join("test.db")).connect().await.unwrap()
    }

    async fn run(&self, sql: &str) {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut self.writer().await).await.unwrap();
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
    match &column.kind {
        Kind::Integer { .. } if column.generated => "INTEGER PRIMARY KEY AUTOINCREMENT".into(),
        Kind::Any => String::new(),
        Kind::Boolean => "BOOLEAN".into(),
        Kind::Integer { .. } => "BIGINT".into(),
        Kind::Decimal { precision: Some(p), scale } => format!("DECIMAL({p},{})", scale.unwrap_or(0)),
        Kind::Decimal { .. } => "NUMERIC".into(),
        Kind::Float { .. } => "REAL".into(),
        Kind::Text { max: Some(max), .. } => format!("VARCHAR({max})"),
        Kind::Bytes => "BLOB".into(),
        Kind::Uuid => "UUID".into(),
        Kind::Date => "DATE".into(),
        Kind::Time { .. } => "TIME".into(),
        Kind::LocalTime { .. } => "DATETIME".into(),
        Kind::Instant { .. } => "TIMESTAMPTZ".into(),
        Kind::Json => "JSON".into(),
        _ => "TEXT".into(),
    }
}

impl Harness for Sqlite {
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
        let text = |texts: &[&str]| texts.iter().map(Value::text).collect::<Vec<_>>();
        vec![
            (Kind::Integer { bits: 64 }, vec![Value::Integer(0), Value::Integer(i64::MIN), Value::Integer(i64::MAX)]),
            (
                Kind::Decimal { precision: Some(15), scale: Some(2) },
                vec![number("19.90"), number("-0.01"), number("0"), number("1234567890123.45"), number("100.00")],
            ),
            (Kind::Float { bits: 64 }, vec![Value::Float(0.1), Value::Float(-1e300), Value::Float(f64::INFINITY)]),
            (Kind::Boolean, vec![Value::Boolean(true), Value::Boolean(false)]),
            (
                Kind::Text { max: None, padded: false },
                text(&["", " ", "00012", "ação 😀", "it's \"quoted\" \\ %", "line\nbreak\ttab", "1e3", "a  "]),
            ),
            (Kind::Text { max: Some(6), padded: false }, text(&["000001", "ãé"])),
            (Kind::Bytes, vec![Value::Bytes(Box::new([])), Value::Bytes(vec![0, 1, 255].into())]),
            (Kind::Uuid, text(&["7f0c1c52-9d1e-4a53-8f5e-0d7c1a6a4c1b"])),
            (
                Kind::Json,
                vec![
                    engine_json(r#"{"a":[1,"x",null,true],"ç":{"n":12}}"#),
                    Value::List(Box::new(vec![number("12345678901234567890.12"), number("19.90")])),
                    Value::text("plain"),
                    Value::Boolean(true),
                ],
            ),
            (Kind::Date, vec![Value::Date("2026-02-28".parse().unwrap()), Value::Date("1899-12-31".parse().unwrap())]),
            (
                Kind::Time { digits: 9 },
                vec![Value::Time("23:59:59.999999".parse().unwrap()), Value::Time("00:00:00".parse().unwrap())],
            ),
            (
                Kind::LocalTime { digits: 9 },
                vec![
                    Value::LocalTime("2026-03-01T12:00:00".parse().unwrap()),
                    Value::LocalTime("1969-12-31T23:59:59.5".parse().unwrap()),
                ],
            ),
            (
                Kind::Instant { digits: 9 },
                vec![
                    Value::Instant("2026-03-01T12:00:00Z".parse().unwrap()),
                    Value::Instant("1969-12-31T23:59:59.123456Z".parse().unwrap()),
                ],
            ),
            (Kind::Any, vec![Value::Integer(7), Value::text("7"), Value::Float(0.5), Value::Bytes(vec![7].into())]),
        ]
    }

    fn names(&self) -> Vec<&'static str> {
        vec!["Order Details", "select", "say \"hi\"", "ação", "a.b", "semi;colon--", "it's"]
    }
}

fn engine_json(text: &str) -> Value {
    Value::from_json(&serde_json::from_str(text).unwrap())
}

#[tokio::test]
async fn conforms_with_a_rollback_journal() {
    conform(&Sqlite::new(SqliteJournalMode::Delete).await).await;
}

#[tokio::test]
async fn conforms_with_a_write_ahead_log() {
    conform(&Sqlite::new(SqliteJournalMode::Wal).await).await;
}
