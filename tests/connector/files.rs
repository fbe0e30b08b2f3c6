//! Files: the conformance suite, over every format.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use engine::connector::conformance::{Column, Edit, Harness, conform};
use engine::connector::{Action, Change, Connector, Listing};
use engine::protocol::files::{CellKind, FieldSettings, FileSettings, FilesSettings, Format, connect_files};
use engine::record::{Kind, Mark, Value, parse_number};
use futures::StreamExt;
use futures::future::BoxFuture;

use super::object::{create, int, open, update};

struct Files {
    folder: tempfile::TempDir,
    format: Format,
    objects: Mutex<BTreeMap<String, FileSettings>>,
}

fn cell(kind: &Kind) -> CellKind {
    match kind {
        Kind::Integer { .. } => CellKind::Integer,
        Kind::Decimal { .. } => CellKind::Decimal,
        Kind::Boolean => CellKind::Boolean,
        Kind::Date => CellKind::Date,
        Kind::Time { .. } => CellKind::Time,
        Kind::LocalTime { .. } => CellKind::Datetime,
        Kind::Instant { .. } => CellKind::Timestamp,
        Kind::Json => CellKind::Json,
        _ => CellKind::Text,
    }
}

impl Files {
    fn new(format: Format) -> Files {
        Files { folder: tempfile::tempdir().unwrap(), format, objects: Mutex::default() }
    }

    fn settings(&self) -> FilesSettings {
        let objects = self.objects.lock().unwrap().clone();
        let folder = self.folder.path().to_owned();
        FilesSettings { folder, timezone: chrono_tz::UTC, settle: Duration::ZERO, objects }
    }

    fn path(&self, object: &str) -> std::path::PathBuf {
        self.folder.path().join(object)
    }
}

impl Harness for Files {
    fn connector(&self) -> Arc<dyn Connector> {
        connect_files(&self.settings())
    }

    fn create<'a>(&'a self, object: &'a str, columns: &'a [Column]) -> BoxFuture<'a, ()> {
        let width = (self.format == Format::FixedWidth).then_some(60);
        // Not every name is one that an element can have.
        let path = |index: usize| (self.format == Format::Xml).then(|| format!("more/f{index}"));
        let field = |(index, column): (usize, &Column)| {
            (column.name.to_owned(), FieldSettings { kind: cell(&column.kind), width, path: path(index), format: None })
        };
        let fields: Vec<_> = columns.iter().enumerate().map(field).collect();
        let record = if self.format == Format::Xml { vec!["rows".to_owned(), "row".to_owned()] } else { Vec::new() };
        let settings = FileSettings { format: Some(self.format), record, fields, ..FileSettings::default() };
        self.objects.lock().unwrap().insert(object.to_owned(), settings);
        Box::pin(std::future::ready(()))
    }

    /// Another program that reads the whole file, and writes another in its
    /// place: here, another connection.
    fn edit<'a>(&'a self, object: &'a str, columns: &'a [Column], edits: Vec<Edit>) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let key: Vec<&str> = columns.iter().filter(|column| column.key).map(|column| column.name).collect();
            let opened = open(&*self.connector(), object, &key, None).await;
            let described = self.connector().describe(object).await.unwrap().unwrap();
            let slot = |index: usize| described.shape.slot(columns[index].name).unwrap();
            let keys: Vec<usize> = (0..columns.len()).filter(|index| columns[*index].key).collect();
            let change = |edit: Edit| match edit {
                Edit::Insert(row) => create(
                    keys.iter().map(|index| row[*index].clone()).collect(),
                    (0..row.len())
                        .filter(|index| !columns[*index].key)
                        .map(|index| (slot(index), row[index].clone()))
                        .collect(),
                ),
                Edit::Update { key, set } => Change { action: Action::Update, key, set, expect: Vec::new() },
                Edit::Delete { .. } => unreachable!("the suite deletes nothing from outside"),
            };
            let changes: Vec<_> = edits.into_iter().map(change).collect();
            super::object::write(&*opened, &changes).await;
        })
    }

    fn filter(&self, _: &str, _: &str) -> String {
        unreachable!("a file has no filters")
    }

    fn has_rules(&self) -> bool {
        false
    }

    fn kinds(&self) -> Vec<(Kind, Vec<Value>)> {
        let number = |text: &str| Value::from(parse_number(text).unwrap());
        let texts =
            ["00012", " ", "ação 😀", "it's \"quoted\" \\ %", "line\nbreak\ttab", "a,b;c  ", "\"", "null", "<&>"];
        // A line of fixed width is one line, and the blanks at the end of a cell are none of its text.
        let holds = |text: &&&str| self.format != Format::FixedWidth || !text.ends_with(' ') && !text.contains('\n');
        let instant = |text: &str| Value::Instant(text.parse().unwrap());
        vec![
            (Kind::Integer { bits: 64 }, vec![int(0), int(i64::MIN), int(i64::MAX)]),
            (
                Kind::Decimal { precision: None, scale: None },
                vec![number("19.90"), number("-0.01"), number("0"), number("12345678901234567890.123456789")],
            ),
            (Kind::Boolean, vec![Value::Boolean(true), Value::Boolean(false)]),
            (Kind::Text { max: None, padded: false }, texts.iter().filter(holds).map(Value::text).collect()),
            (Kind::Date, vec![Value::Date("2026-02-28".parse().unwrap())]),
            (Kind::Time { digits: 9 }, vec![Value::Time("23:59:59.999999".parse().unwrap())]),
            (Kind::LocalTime { digits: 9 }, vec![Value::LocalTime("1969-12-31T23:59:59.5".parse().unwrap())]),
            (Kind::Instant { digits: 9 }, vec![instant("2026-03-01T12:00:00.25Z"), instant("1900-01-01T00:00:00Z")]),
            (Kind::Json, vec![Value::List(Box::new(vec![number("19.90"), Value::text("x,\"y\""), Value::Null]))]),
        ]
    }

    fn names(&self) -> Vec<&'static str> {
        vec!["select", "ação", "it's", "100%", "a;b"]
    }
}

#[tokio::test]
async fn csv_conforms() {
    conform(&Files::new(Format::Csv)).await;
}

#[tokio::test]
async fn json_lines_conform() {
    conform(&Files::new(Format::JsonLines)).await;
}

#[tokio::test]
async fn fixed_width_conforms() {
    conform(&Files::new(Format::FixedWidth)).await;
}

#[tokio::test]
async fn xml_conforms() {
    conform(&Files::new(Format::Xml)).await;
}

/// What was prepared is not in effect where somebody else has written the file
/// meanwhile; and what they wrote stays.
#[tokio::test]
async fn nothing_is_written_over_what_somebody_wrote_meanwhile() {
    let files = Files::new(Format::Csv);
    files.create("items", &[Column::key("id", Kind::Integer { bits: 64 }), Column::new("name", Kind::Any)]).await;
    std::fs::write(files.path("items"), "id,name\n1,x\n").unwrap();
    let object = open(&*files.connector(), "items", &["id"], None).await;
    let change = || update(1, vec![(1, Value::text("ours"))], vec![(1, Value::text("x"))]);
    let prepare = async || {
        let writing = object.begin(0).await.unwrap();
        writing.write(&[change()], engine::connector::unrecorded()).await.unwrap()
    };
    prepare().await;
    assert_eq!(std::fs::read_to_string(files.path("items")).unwrap(), "id,name\n1,x\n", "it is only prepared");
    std::fs::write(files.path("items"), "id,name\n1,theirs\n").unwrap();
    let fault = object.finish().await.unwrap_err();
    assert!(fault.message.contains("meanwhile"), "{fault}");
    assert_eq!(std::fs::read_to_string(files.path("items")).unwrap(), "id,name\n1,theirs\n");
    assert!(matches!(prepare().await[..], [engine::connector::Outcome::Moved]), "it is read anew");
    object.finish().await.expect("there is nothing to finish");
    let listed: Vec<_> = object.read(Listing::Full).map(Result::unwrap).collect().await;
    assert_eq!(listed[0].row(0), [int(1), Value::text("theirs")]);
    assert_eq!(*listed[0].mark(0), Mark::Live);
}
