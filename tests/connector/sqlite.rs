//! SQLite: the conformance suite, and what only SQLite does.

use std::sync::Arc;

use engine::connector::conformance::{Column, Edit, Harness, conform};
use engine::connector::{
    Action, Applied, Change, Connector, FaultKind, Listing, Object, Outcome, Scope, Settled, unrecorded,
};
use engine::protocol::sql::{SqlSettings, connect_sqlite};
use engine::record::{Kind, Mark, Value, parse_number};
use futures::StreamExt;
use futures::future::BoxFuture;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode};
use sqlx::{AssertSqlSafe, ConnectOptions, SqliteConnection};

use super::object::{create, int, leaves_marked_rows_alone, open, rows, stored, update, write};
use crate::support::sql;

struct Sqlite {
    folder: tempfile::TempDir,
    connector: Arc<dyn Connector>,
}

impl Sqlite {
    async fn new(journal: SqliteJournalMode) -> Sqlite {
        Sqlite::with(journal, |_| {}).await
    }

    async fn with(journal: SqliteJournalMode, change: impl FnOnce(&mut SqlSettings)) -> Sqlite {
        let folder = tempfile::tempdir().unwrap();
        let options = SqliteConnectOptions::new().filename(folder.path().join("test.db")).create_if_missing(true);
        drop(options.journal_mode(journal).connect().await.unwrap());
        let mut settings = settings(&folder);
        change(&mut settings);
        let connector = connect_sqlite(&settings).unwrap();
        Sqlite { folder, connector }
    }

    async fn writer(&self) -> SqliteConnection {
        SqliteConnectOptions::new().filename(self.folder.path().join("test.db")).connect().await.unwrap()
    }

    async fn run(&self, sql: &str) {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut self.writer().await).await.unwrap();
    }

    async fn open(&self, object: &str, key: &[&str], cursor: Option<&str>) -> Arc<dyn Object> {
        open(&*self.connector, object, key, cursor).await
    }
}

fn settings(folder: &tempfile::TempDir) -> SqlSettings {
    SqlSettings { url: Some("sqlite://test.db".into()), folder: folder.path().into(), ..SqlSettings::default() }
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
            self.run(&sql::script(object, columns, &edits)).await;
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
                    Value::JsonNull,
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
                    Value::LocalTime("-0043-03-15T12:00:00".parse().unwrap()),
                    Value::LocalTime("+12026-01-01T12:00:00".parse().unwrap()),
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

fn local(text: &str) -> Value {
    Value::LocalTime(text.parse().unwrap())
}

#[tokio::test]
async fn a_missing_database_is_made_whole() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("shop.sql"),
        "CREATE TABLE t (id INTEGER PRIMARY KEY); INSERT INTO t VALUES (1);",
    )
    .unwrap();
    let connect = || {
        let settings = SqlSettings {
            url: Some("sqlite://data/new/shop.db".into()),
            create_from: Some("shop.sql".into()),
            ..settings(&folder)
        };
        connect_sqlite(&settings).unwrap()
    };
    let (first, second) = (connect(), connect());
    let (a, b) = tokio::join!(first.check(), second.check());
    assert!(a.unwrap().starts_with("SQLite 3") && b.unwrap().starts_with("SQLite 3"));
    let left: Vec<_> = std::fs::read_dir(folder.path().join("data/new")).unwrap().collect();
    assert_eq!(left.len(), 1, "nothing is left beside it: {left:?}");
    std::fs::write(folder.path().join("shop.sql"), "not even SQL").unwrap();
    let again = connect();
    assert!(again.describe("t").await.unwrap().is_some(), "what is there is not made again");

    std::fs::remove_file(folder.path().join("data/new/shop.db")).unwrap();
    let fault = connect().check().await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::User);
    assert!(fault.message.contains("shop.sql"), "{fault}");
    assert!(!folder.path().join("data/new/shop.db").exists(), "half a database is none");
    let fault = connect_sqlite(&settings(&folder)).unwrap().check().await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::User, "{fault}");
}

#[tokio::test]
async fn numbers_are_exact_whatever_holds_them() {
    let sqlite = Sqlite::new(SqliteJournalMode::Wal).await;
    sqlite
        .run(
            "CREATE TABLE t (id INTEGER PRIMARY KEY, price DECIMAL(10,2), flag BOOLEAN, code CHAR(6), raw); \
             INSERT INTO t VALUES (1, 19.90, 1, '01    ', 7), (2, '0.1', 0, '01', 'x'), (3, 100, 2, NULL, 0.5), \
             (4, 'n/a', NULL, 12, x'00ff')",
        )
        .await;
    let object = sqlite.open("t", &["id"], None).await;
    let decimal = |text: &str| Value::Decimal(text.parse().unwrap());
    let bytes = Value::Bytes(vec![0, 255].into());
    assert_eq!(
        rows(&*object, Listing::Full).await,
        [
            [int(1), decimal("19.9"), Value::Boolean(true), Value::text("01    "), int(7)],
            [int(2), decimal("0.1"), Value::Boolean(false), Value::text("01"), Value::text("x")],
            [int(3), int(100), int(2), Value::Null, Value::Float(0.5)],
            [int(4), Value::text("n/a"), Value::Null, Value::text("12"), bytes.clone()],
        ]
    );
    let expected = vec![(1, decimal("19.90"))];
    let outcomes = write(&*object, &[update(1, vec![(1, decimal("20.10"))], expected)]).await;
    assert_eq!(stored(&outcomes[0])[1], decimal("20.1"));
    let found = async |slot: usize, probe: Value| {
        object.fetch(&[slot], &[vec![probe]], Scope::Filtered).await.unwrap().batch.len()
    };
    assert_eq!(found(1, decimal("20.10")).await, 1, "numbers are found by value");
    assert_eq!(found(3, Value::text("01")).await, 1, "blanks count");
    assert_eq!(found(4, bytes).await, 1);
    assert_eq!(found(4, int(7)).await, 1);
    let notes = sqlite.connector.describe("t").await.unwrap().unwrap().notes;
    assert!(notes.is_empty(), "{notes:?}");
}

#[tokio::test]
async fn times_keep_the_form_they_have() {
    let sqlite = Sqlite::new(SqliteJournalMode::Delete).await;
    for (table, first, kind, written, read) in [
        (
            "blank",
            "'2026-03-01 10:00:00'",
            Kind::LocalTime { digits: 9 },
            "2026-03-02 11:30:00",
            local("2026-03-02T11:30:00"),
        ),
        (
            "letter",
            "'2026-03-01T10:00:00.000'",
            Kind::LocalTime { digits: 9 },
            "2026-03-02T11:30:00.000",
            local("2026-03-02T11:30:00"),
        ),
        (
            "zulu",
            "'2026-03-01T10:00:00Z'",
            Kind::Instant { digits: 9 },
            "2026-03-02T11:30:00Z",
            Value::Instant("2026-03-02T11:30:00Z".parse().unwrap()),
        ),
        (
            "count",
            "1772359200",
            Kind::Instant { digits: 0 },
            "1772451000",
            Value::Instant("2026-03-02T11:30:00Z".parse().unwrap()),
        ),
        (
            "millis",
            "1772359200000",
            Kind::Instant { digits: 3 },
            "1772451000000",
            Value::Instant("2026-03-02T11:30:00Z".parse().unwrap()),
        ),
    ] {
        sqlite
            .run(&format!(
                "CREATE TABLE {table} (id INTEGER PRIMARY KEY, at DATETIME); INSERT INTO {table} VALUES (1, {first})"
            ))
            .await;
        let described = sqlite.connector.describe(table).await.unwrap().unwrap();
        assert_eq!(described.shape.fields[1].kind, kind, "{table}");
        let object = sqlite.open(table, &["id"], Some("at")).await;
        let before = rows(&*object, Listing::Full).await.remove(0);
        let outcomes = write(&*object, &[update(1, vec![(1, read.clone())], vec![(1, before[1].clone())])]).await;
        assert_eq!(stored(&outcomes[0])[1], read, "{table}");
        let text: String = sqlx::query_scalar(AssertSqlSafe(format!("SELECT CAST(at AS TEXT) FROM {table}")))
            .fetch_one(&mut sqlite.writer().await)
            .await
            .unwrap();
        assert_eq!(text, written, "{table}");
        let changes = rows(&*object, Listing::changes(Some(read.clone()))).await;
        assert_eq!(changes, [[int(1), read.clone()]], "{table}: a stamp is found from itself on");
        let horizon = object.horizon().await.unwrap();
        assert_eq!(horizon.largest.as_ref(), Some(&read), "{table}");
        assert_eq!(horizon.clock.unwrap().type_name(), read.type_name(), "{table}");
    }
}

#[tokio::test]
async fn no_spelling_of_a_stamp_is_skipped() {
    let sqlite = Sqlite::new(SqliteJournalMode::Wal).await;
    sqlite
        .run(
            "CREATE TABLE t (id INTEGER PRIMARY KEY, at DATETIME); INSERT INTO t VALUES \
             (1, '2026-03-01'), (2, '2026-03-01 10:00'), (3, '2026-03-01 10:00:00'), (4, '2026-03-01 10:00:00.000'), \
             (5, '2026-03-01 10:00:00.5'), (6, '2026-03-01T09:00:00'), (7, '2026-03-01T10:00:00'), (8, '2026-03-02')",
        )
        .await;
    let object = sqlite.open("t", &["id"], Some("at")).await;
    let from = async |text: &str| {
        let mut ids: Vec<i64> = rows(&*object, Listing::changes(Some(local(text))))
            .await
            .into_iter()
            .map(|row| if let Value::Integer(id) = row[0] { id } else { 0 })
            .collect();
        ids.sort_unstable();
        ids
    };
    assert_eq!(from("2026-03-01T10:00:00").await, [2, 3, 4, 5, 7, 8]);
    assert_eq!(from("2026-03-01T10:00:00.2").await, [5, 8]);
    assert_eq!(from("2026-03-01T00:00:00").await, [1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(from("2026-03-01T23:00:00").await, [8]);
}

#[tokio::test]
async fn another_writer_is_waited_for() {
    let sqlite =
        Sqlite::with(SqliteJournalMode::Wal, |settings| settings.timeout = std::time::Duration::from_millis(100)).await;
    sqlite.run("CREATE TABLE t (id INTEGER PRIMARY KEY, at DATETIME)").await;
    let object = sqlite.open("t", &["id"], Some("at")).await;
    let mut other = sqlite.writer().await;
    sqlx::raw_sql("BEGIN IMMEDIATE; INSERT INTO t VALUES (1, '2026-03-01 10:00:00')")
        .execute(&mut other)
        .await
        .unwrap();
    let fault = object.begin(0).await.err().unwrap();
    assert_eq!((fault.kind, fault.applied, fault.native.as_str()), (FaultKind::External, Applied::No, "5"));
    assert_eq!(object.settle(None).await.unwrap(), Settled::Running);
    assert!(object.horizon().await.is_err(), "a change that is not in effect yet is not overlooked");
    sqlx::raw_sql("COMMIT").execute(&mut other).await.unwrap();
    assert_eq!(object.settle(None).await.unwrap(), Settled::Look);
    assert_eq!(object.horizon().await.unwrap().largest, Some(local("2026-03-01T10:00:00")));
}

#[tokio::test]
async fn a_reading_keeps_nobody_from_writing() {
    for journal in [SqliteJournalMode::Delete, SqliteJournalMode::Wal] {
        let sqlite = Sqlite::with(journal, |settings| settings.timeout = std::time::Duration::from_secs(2)).await;
        sqlite
            .run(
                "CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT); WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 \
                 FROM n WHERE i < 5000) INSERT INTO t SELECT i, 'x' FROM n",
            )
            .await;
        let object = sqlite.open("t", &["id"], None).await;
        let mut reading = object.read(Listing::Full);
        let mut count = reading.next().await.unwrap().unwrap().len();
        let outcomes =
            write(&*object, &[update(4000, vec![(1, Value::text("y"))], vec![]), create(vec![int(9999)], vec![])])
                .await;
        assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Done { .. })), "{journal:?}: {outcomes:?}");
        while let Some(batch) = reading.next().await {
            count += batch.unwrap().len();
        }
        assert_eq!(count, 5000, "{journal:?}: a listing shows one moment");
        // More often than there are connections.
        for _ in 0..20 {
            assert_eq!(object.read(Listing::Full).next().await.unwrap().unwrap().len(), 100);
        }
        assert_eq!(rows(&*object, Listing::Keys).await.len(), 5001);
    }
}

#[tokio::test]
async fn what_triggers_make_of_a_row_is_told() {
    let sqlite = Sqlite::new(SqliteJournalMode::Delete).await;
    sqlite
        .run(
            "CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT, seen INT DEFAULT 0, length INT GENERATED ALWAYS AS (length(name))); \
             CREATE TRIGGER a AFTER INSERT ON t BEGIN UPDATE t SET name = upper(name), seen = seen + 1 WHERE id = NEW.id; END; \
             CREATE TRIGGER b BEFORE INSERT ON t WHEN NEW.name = 'no' BEGIN SELECT RAISE(FAIL, 'not this one'); END; \
             CREATE VIEW loud AS SELECT id, upper(name) AS name FROM t; \
             CREATE VIEW doors AS SELECT id, name FROM t; \
             CREATE TRIGGER d INSTEAD OF UPDATE ON doors BEGIN UPDATE t SET name = NEW.name WHERE id = NEW.id; END",
        )
        .await;
    let object = sqlite.open("t", &["id"], None).await;
    let named = |id: i64, name: &str| create(vec![int(id)], vec![(1, Value::text(name))]);
    let outcomes = write(&*object, &[named(1, "ana"), named(2, "no"), named(3, "rui")]).await;
    assert_eq!(stored(&outcomes[0]), [int(1), Value::text("ANA"), int(1), int(3)]);
    assert!(matches!(&outcomes[1], Outcome::Refused(refusal) if refusal.message == "not this one"), "{outcomes:?}");
    assert_eq!(stored(&outcomes[2])[1], Value::text("RUI"));
    let described = sqlite.connector.describe("T").await.unwrap().unwrap();
    assert!(described.shape.fields[3].read_only && !described.shape.fields[2].read_only);
    assert!(described.notes.iter().any(|note| note.contains("trigger")));

    let loud = sqlite.connector.describe("main.loud").await.unwrap().unwrap();
    assert!(!loud.can_create && !loud.can_update && !loud.can_delete);
    let doors = sqlite.connector.describe("doors").await.unwrap().unwrap();
    assert!(!doors.can_create && doors.can_update && !doors.can_delete);
    let object = sqlite.open("doors", &["id"], None).await;
    let outcomes = write(&*object, &[update(1, vec![(1, Value::text("eva"))], vec![(1, Value::text("ANA"))])]).await;
    assert_eq!(stored(&outcomes[0]), [int(1), Value::text("eva")]);
}

#[tokio::test]
async fn keys_come_from_wherever_the_table_gets_them() {
    let sqlite = Sqlite::new(SqliteJournalMode::Delete).await;
    sqlite
        .run(
            "CREATE TABLE counted (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT); INSERT INTO counted VALUES (41, 'x'); \
             DELETE FROM counted; \
             CREATE TABLE drawn (id TEXT PRIMARY KEY DEFAULT (lower(hex(randomblob(8)))), name TEXT) WITHOUT ROWID; \
             CREATE TABLE half (company TEXT, id INT DEFAULT 7, name TEXT, PRIMARY KEY (company, id)); \
             CREATE TABLE by_hand (id INT PRIMARY KEY, name TEXT)",
        )
        .await;
    let counted = sqlite.open("counted", &["id"], None).await;
    let writing = counted.begin(2).await.unwrap();
    assert_eq!(writing.keys(), [[int(42)], [int(43)]], "a number once given is not given again");
    drop(writing);
    let drawn = sqlite.open("drawn", &["id"], None).await;
    let writing = drawn.begin(3).await.unwrap();
    let keys = writing.keys().to_vec();
    assert_eq!((keys.len(), keys[0] == keys[1]), (3, false));
    let changes: Vec<Change> = keys.iter().map(|key| create(key.clone(), vec![])).collect();
    writing.write(&changes, unrecorded()).await.unwrap();
    assert_eq!(drawn.fetch(&[0], &keys, Scope::Everything).await.unwrap().batch.len(), 3);
    let half = sqlite.open("half", &["company", "id"], None).await;
    let outcomes = write(&*half, &[create(vec![Value::text("a"), Value::Missing], vec![])]).await;
    assert_eq!(stored(&outcomes[0])[..2], [Value::text("a"), int(7)]);
    let by_hand = sqlite.open("by_hand", &["id"], None).await;
    assert!(by_hand.begin(1).await.unwrap().keys().is_empty());
}

#[tokio::test]
async fn what_is_no_text_is_malformed() {
    let sqlite = Sqlite::new(SqliteJournalMode::Wal).await;
    sqlite.run("CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT); INSERT INTO t VALUES (1, CAST(x'ff41' AS TEXT)), (2, 'x')").await;
    let object = sqlite.open("t", &["id"], None).await;
    let batch = object.read(Listing::Full).next().await.unwrap().unwrap();
    assert!(matches!(batch.mark(0), Mark::Malformed(why) if why.contains("`name`")), "{:?}", batch.mark(0));
    assert_eq!(batch.row(0)[0], int(1), "its key is known");
    assert_eq!(batch.mark(1), &Mark::Live);
}

#[tokio::test]
async fn a_database_only_to_be_read_is_not_written() {
    let sqlite =
        Sqlite::with(SqliteJournalMode::Delete, |settings| settings.url = Some("sqlite://test.db?mode=ro".into()))
            .await;
    sqlite
        .run("CREATE TABLE t (id INTEGER PRIMARY KEY, at DATETIME); INSERT INTO t VALUES (1, '2026-03-01 10:00:00')")
        .await;
    let object = sqlite.open("t", &["id"], Some("at")).await;
    assert_eq!(rows(&*object, Listing::Full).await.len(), 1);
    assert!(object.horizon().await.unwrap().largest.is_some());
    match object.begin(0).await {
        Err(fault) => assert_eq!(fault.kind, FaultKind::User, "{fault}"),
        Ok(writing) => {
            let fault = writing.write(&[create(vec![int(2)], vec![])], unrecorded()).await.unwrap_err();
            assert_eq!((fault.kind, fault.applied), (FaultKind::User, Applied::No), "{fault}");
        }
    }
}

#[tokio::test]
async fn a_table_that_would_replace_rows_is_kept_from_it() {
    let sqlite = Sqlite::new(SqliteJournalMode::Delete).await;
    sqlite
        .run(
            "CREATE TABLE t (id INTEGER PRIMARY KEY, email TEXT UNIQUE ON CONFLICT REPLACE); \
             INSERT INTO t VALUES (1, 'a@x'), (2, 'b@x')",
        )
        .await;
    let object = sqlite.open("t", &["id"], None).await;
    let email = |text: &str| vec![(1, Value::text(text))];
    let changes =
        [create(vec![int(3)], email("a@x")), update(2, email("a@x"), vec![]), create(vec![int(4)], email("d@x"))];
    let outcomes = write(&*object, &changes).await;
    assert!(matches!(&outcomes[..2], [Outcome::Refused(_), Outcome::Refused(_)]), "{outcomes:?}");
    assert!(matches!(outcomes[2], Outcome::Done { .. }));
    assert_eq!(rows(&*object, Listing::Keys).await.len(), 3, "nobody's row is taken away");
}

#[tokio::test]
async fn a_reference_that_could_wait_still_finds_its_record() {
    let sqlite = Sqlite::new(SqliteJournalMode::Delete).await;
    sqlite
        .run(
            "CREATE TABLE parent (id INTEGER PRIMARY KEY); INSERT INTO parent VALUES (1); \
             CREATE TABLE child (id INTEGER PRIMARY KEY, parent INT REFERENCES parent DEFERRABLE INITIALLY DEFERRED); \
             CREATE TABLE strict (id INTEGER PRIMARY KEY, parent INT REFERENCES parent)",
        )
        .await;
    for table in ["child", "strict"] {
        let object = sqlite.open(table, &["id"], None).await;
        let changes: Vec<Change> =
            (1..=5).map(|id| create(vec![int(id)], vec![(1, int(if id == 3 { 9 } else { 1 }))])).collect();
        let outcomes = write(&*object, &changes).await;
        for (id, outcome) in (1..).zip(&outcomes) {
            match outcome {
                Outcome::Refused(refusal) => assert_eq!((id, refusal.native.as_str()), (3, "787"), "{table}"),
                Outcome::Done { .. } => assert_ne!(id, 3, "{table}"),
                other => panic!("{table}: {other:?}"),
            }
        }
        assert_eq!(rows(&*object, Listing::Keys).await.len(), 4, "{table}");
    }
    let parents = sqlite.open("parent", &["id"], None).await;
    let gone = Change { action: Action::Delete, key: vec![int(1)], set: vec![], expect: vec![] };
    let outcomes = write(&*parents, &[gone]).await;
    assert!(matches!(&outcomes[0], Outcome::Refused(refusal) if refusal.native == "787"), "{outcomes:?}");
}

/// Issue 2: a clock with milliseconds became the low mark, and the stamp that
/// `CURRENT_TIMESTAMP` wrote in the same second lay before it.
#[tokio::test]
async fn the_clock_is_no_finer_than_the_next_stamp() {
    let sqlite = Sqlite::new(SqliteJournalMode::Wal).await;
    sqlite
        .run("CREATE TABLE t (id INTEGER PRIMARY KEY, at DATETIME, made DATETIME, day DATE, zoned TIMESTAMPTZ)")
        .await;
    sqlite.run("INSERT INTO t VALUES (1, NULL, '2026-03-01 12:00:00.123', NULL, 1772359200000)").await;
    for cursor in ["at", "made", "zoned"] {
        let object = sqlite.open("t", &["id"], Some(cursor)).await;
        let nanos = match object.horizon().await.unwrap().clock {
            Some(Value::LocalTime(time)) => time.and_utc().timestamp_subsec_nanos(),
            Some(Value::Instant(time)) => time.timestamp_subsec_nanos(),
            other => panic!("{cursor}: {other:?}"),
        };
        assert_eq!(nanos, 0, "{cursor}");
    }
    let described = sqlite.connector.describe("t").await.unwrap().unwrap();
    let (second, milli) = (1_000_000_000, 1_000_000);
    assert_eq!(described.grains_nanos[1..], [second, milli, 86_400 * second, milli], "each column has its own");
}

/// Issue 2: a live row was refused beside one of the same key that is marked.
#[tokio::test]
async fn rows_marked_as_deleted_are_left_alone() {
    let sqlite = Sqlite::new(SqliteJournalMode::Wal).await;
    sqlite
        .run(
            "CREATE TABLE twins (code TEXT, name TEXT, gone TEXT NOT NULL); \
             INSERT INTO twins VALUES ('A', 'old', '*'), ('A', 'old', ' '), ('B', 'old', '*');",
        )
        .await;
    leaves_marked_rows_alone(&*sqlite.connector).await;
}

/// Issue 2: a look at the file's rights closed it, and with it went the locks
/// of every connection to it. Others then took the log away while it was in use.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_look_at_a_database_leaves_its_locks() {
    use std::os::unix::fs::MetadataExt;
    let sqlite = Sqlite::new(SqliteJournalMode::Wal).await;
    sqlite.run("CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT); INSERT INTO t VALUES (1, 'a')").await;
    let inode = std::fs::metadata(sqlite.folder.path().join("test.db")).unwrap().ino();
    let locks = || {
        let all = std::fs::read_to_string("/proc/locks").unwrap();
        let of_ours = format!(" {} ", std::process::id());
        all.lines().filter(|line| line.contains(&of_ours) && line.contains(&format!(":{inode} "))).count()
    };
    let object = sqlite.open("t", &["id"], None).await;
    assert_eq!(rows(&*object, Listing::Full).await.len(), 1);
    assert!(locks() > 0, "a database with a write-ahead log is locked while it is open");
    sqlite.connector.describe("t").await.unwrap().unwrap();
    assert!(locks() > 0, "and still is");
}

/// Issue 2: after SQLite itself had rolled a transaction back, as it does where
/// the disk is full, the connection could not begin another.
#[tokio::test]
async fn a_transaction_that_sqlite_rolls_back_leaves_nothing_behind() {
    let sqlite = Sqlite::new(SqliteJournalMode::Wal).await;
    sqlite
        .run(
            "CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT);
             CREATE TRIGGER enough BEFORE INSERT ON t WHEN NEW.name = 'bad' BEGIN SELECT RAISE(ROLLBACK, 'enough'); END",
        )
        .await;
    let object = sqlite.open("t", &["id"], None).await;
    for _ in 0..3 {
        let bad = [create(vec![int(1)], vec![(1, Value::text("bad"))])];
        let made = object.begin(0).await.unwrap().write(&bad, unrecorded()).await.unwrap();
        assert!(matches!(&made[0], Outcome::Refused(refusal) if refusal.message.contains("enough")), "{made:?}");
        assert_eq!(object.settle(None).await.unwrap(), Settled::Look);
    }
    let made = write(&*object, &[create(vec![int(1)], vec![(1, Value::text("good"))])]).await;
    assert!(matches!(made[0], Outcome::Done { .. }), "{made:?}");
}

/// Issue 2: what a trigger kept out without a word counted as created, and was
/// deleted on the other side; a trigger that takes the whole transaction away
/// held up every other record.
#[tokio::test]
async fn what_a_trigger_keeps_out_is_refused_alone() {
    let sqlite = Sqlite::new(SqliteJournalMode::Wal).await;
    let name = |text: &str| vec![(1, Value::text(text))];
    for (table, key) in [("by_hand", "INTEGER PRIMARY KEY"), ("by_text", "TEXT PRIMARY KEY")] {
        sqlite
            .run(&format!(
                "CREATE TABLE {table} (id {key}, name TEXT);
                 CREATE TRIGGER {table}_ignores BEFORE INSERT ON {table} WHEN NEW.name = 'ignored' BEGIN SELECT RAISE(IGNORE); END;
                 CREATE TRIGGER {table}_takes AFTER INSERT ON {table} WHEN NEW.name = 'taken' BEGIN DELETE FROM {table} WHERE id = NEW.id; END;
                 CREATE TRIGGER {table}_aborts AFTER INSERT ON {table} WHEN NEW.name = 'aborted' BEGIN SELECT RAISE(ABORT, 'not so'); END;
                 CREATE TRIGGER {table}_ends BEFORE INSERT ON {table} WHEN NEW.name = 'ended' BEGIN SELECT RAISE(ROLLBACK, 'enough'); END;
                 CREATE TRIGGER {table}_stays BEFORE DELETE ON {table} WHEN OLD.name = 'stays' BEGIN SELECT RAISE(IGNORE); END"
            ))
            .await;
        let object = sqlite.open(table, &["id"], None).await;
        let id = |number: i64| if table == "by_text" { Value::text(number.to_string()) } else { int(number) };
        let wanted = ["one", "ignored", "two", "ended", "taken", "stays", "aborted", "ended", "three"];
        let changes: Vec<Change> =
            (1..).zip(wanted).map(|(number, wanted)| create(vec![id(number)], name(wanted))).collect();
        let outcomes = write(&*object, &changes).await;
        for (wanted, outcome) in wanted.iter().zip(&outcomes) {
            let words = match *wanted {
                "ignored" | "taken" => "did not keep the record",
                "ended" => "enough",
                "aborted" => "not so",
                _ => {
                    assert!(matches!(outcome, Outcome::Done { .. }), "{table} {wanted}: {outcome:?}");
                    continue;
                }
            };
            assert!(
                matches!(outcome, Outcome::Refused(refusal) if refusal.message.contains(words)),
                "{table} {wanted}: {outcome:?}"
            );
        }
        let standing: Vec<Value> = rows(&*object, Listing::Full).await.iter().map(|row| row[1].clone()).collect();
        assert_eq!(standing, ["one", "two", "stays", "three"].map(Value::text), "{table}");

        if table == "by_hand" {
            // SQLite gives the key, and nobody is told one of what is kept out.
            let outcomes = write(&*object, &[create(vec![Value::Missing], name("ignored"))]).await;
            assert!(
                matches!(&outcomes[0], Outcome::Refused(refusal) if refusal.message.contains("did not keep")),
                "{outcomes:?}"
            );
        }
        let gone = |number| Change { action: Action::Delete, key: vec![id(number)], set: vec![], expect: vec![] };
        let outcomes = write(&*object, &[gone(1), gone(6), gone(9)]).await;
        assert!(matches!((&outcomes[0], &outcomes[2]), (Outcome::Done { .. }, Outcome::Done { .. })), "{outcomes:?}");
        assert!(
            matches!(&outcomes[1], Outcome::Refused(refusal) if refusal.message.contains("did not delete")),
            "{table}: {outcomes:?}"
        );
        assert_eq!(rows(&*object, Listing::Full).await.len(), 2, "{table}");
    }
}
