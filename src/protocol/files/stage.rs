//! A file's records in a passing database: there they have an order, an index
//! and conditions, which a file has not, and take no memory.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use futures::StreamExt;
use sqlx::sqlite::{SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{Arguments, ConnectOptions, Row, SqliteConnection};

use super::super::sql::{SqlSettings, connect_sqlite, read_values, safe};
use super::cell::Column;
use super::layout::{Layout, values};
use super::place::{Draft, Stamp, passing_folder};
use super::records::Records;
use super::render::{Standing, render};
use crate::connector::{Access, Fault, Object};
use crate::record::{Field, Kind, Shape, Value, json};

/// The columns beside a record's own: the line it begins in, and what is wrong
/// with it.
const EXTRA: [&str; 2] = ["line", "bad"];

/// So many values go into one statement.
const PARAMETERS: usize = 30_000;

/// How the records of an object stand in its file.
#[derive(Debug, Clone)]
pub(super) struct Form {
    pub(super) layout: Layout,
    /// In the order in which they stand there.
    pub(super) columns: Vec<Column>,
    /// The columns that tell records apart.
    pub(super) key: Vec<usize>,
}

/// A file as it was at one time, with what is to be changed in it.
pub(super) struct Stage {
    passing: Passing,
    form: Form,
    /// Which content of the file this was; `None` where there was none.
    stamp: Mutex<Option<Stamp>>,
    /// Something is staged that does not stand in the file.
    is_ahead: AtomicBool,
    /// There was a file, and a copy of it lies in the folder.
    has_copy: bool,
    /// The records, for one mapping.
    pub(super) records: Arc<dyn Object>,
}

impl Stage {
    /// Reads the copy that lies in the passing folder, which is gone with the stage.
    pub(super) async fn load(
        passing: Passing,
        stamp: Option<Stamp>,
        form: Form,
        access: &Access,
        doing: &str,
    ) -> Result<Stage, Fault> {
        let failed = |error: sqlx::Error| Fault::internal(doing, "", error.to_string());
        let options = passing
            .database()
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Off);
        let mut connection = options.connect().await.map_err(failed)?;
        let mut form = form;
        let place = |slot: &usize| {
            let name = access.shape.fields[*slot].name.as_str();
            form.columns.iter().position(|column| column.name == name)
        };
        form.key = access.key.iter().filter_map(place).collect();
        fill(&mut connection, &passing.copy(), &form, stamp.is_some(), doing).await?;
        sqlx::Connection::close(connection).await.map_err(failed)?;
        let database = passing.folder.join("records.db").to_string_lossy().into_owned();
        let settings = SqlSettings { database: Some(database), ..SqlSettings::default() };
        let records = connect_sqlite(&settings)?.open(inner(&form, access)).await?;
        let (has_copy, stamp, is_ahead) = (stamp.is_some(), Mutex::new(stamp), AtomicBool::new(false));
        Ok(Stage { passing, form, stamp, is_ahead, has_copy, records })
    }

    pub(super) fn stamp(&self) -> Option<Stamp> {
        self.stamp.lock().expect("nothing panics while it looks").clone()
    }

    pub(super) fn is_ahead(&self) -> bool {
        self.is_ahead.load(Ordering::Acquire)
    }

    /// What is staged from now on does not stand in the file.
    pub(super) fn goes_ahead(&self) {
        self.is_ahead.store(true, Ordering::Release);
    }

    /// The file holds now what is staged.
    pub(super) fn is_in_place(&self, stamp: Stamp) {
        self.is_ahead.store(false, Ordering::Release);
        *self.stamp.lock().expect("nothing panics while it notes") = Some(stamp);
    }

    /// The form of a field's dates and times, where this value does not come back
    /// by it: seconds that it leaves out would look like somebody's edit.
    pub(super) fn loses(&self, field: &str, value: &Value) -> Option<&str> {
        let column = self.form.columns.iter().find(|column| column.name == field)?;
        let form = column.format.as_deref().filter(|_| !value.is_null())?;
        let comes_back = column.parse(&column.render(value)).is_ok_and(|read| crate::record::same(&read, value));
        (!comes_back).then_some(form)
    }

    /// The characters that a field has in its line, where this value takes more.
    pub(super) fn too_narrow(&self, field: &str, value: &Value) -> Option<usize> {
        let column = self.form.columns.iter().find(|column| column.name == field)?;
        column.width.filter(|width| column.render(value).chars().count() > *width)
    }

    /// What of a text cannot stand in the file, for people.
    pub(super) fn lacks(&self, text: &str) -> Option<String> {
        self.form.layout.lacks(text)
    }

    /// The lines of records whose key nobody can tell, and what is wrong with
    /// them.
    pub(super) async fn broken(&self, doing: &str) -> Result<Vec<(i64, String)>, Fault> {
        let failed = |error: sqlx::Error| Fault::internal(doing, "", error.to_string());
        let mut connection = self.passing.database().connect().await.map_err(failed)?;
        let blank: Vec<String> = self.form.key.iter().map(|index| format!("c{index} IS NULL")).collect();
        let blank = if blank.is_empty() { "TRUE".to_owned() } else { blank.join(" OR ") };
        let sql = format!("SELECT line, bad FROM records WHERE bad IS NOT NULL AND ({blank}) ORDER BY line LIMIT 1000");
        sqlx::query_as(safe(sql)).fetch_all(&mut connection).await.map_err(failed)
    }

    /// The file with all that was changed, ready to take the place of the one
    /// that was read: what nobody changed as it stood there.
    pub(super) async fn draft(&self, target: &Path, doing: &str) -> Result<Draft, Fault> {
        let failed = |error: sqlx::Error| Fault::internal(doing, "", error.to_string());
        let mut connection = self.passing.database().connect().await.map_err(failed)?;
        let names: Vec<String> = (0..self.form.columns.len()).map(|index| format!("c{index}")).collect();
        let sql = format!("SELECT number, line, bad IS NOT NULL, {} FROM records ORDER BY number", names.join(", "));
        let (send, mut rows) = tokio::sync::mpsc::channel::<Vec<Standing>>(4);
        let (form, copy, had) = (self.form.clone(), self.passing.copy(), self.has_copy);
        let (target, told) = (target.to_owned(), doing.to_owned());
        let written = tokio::task::spawn_blocking(move || {
            let standing = std::iter::from_fn(|| rows.blocking_recv()).flatten();
            Draft::fill(&target, |out| render(out, &form, had.then_some(copy.as_path()), standing)).map_err(|error| {
                Fault::external(told, "", format!("`{}` cannot be written: {error}", target.display()))
            })
        });
        {
            let mut standing = sqlx::query(safe(sql)).fetch(&mut connection);
            let mut page = Vec::new();
            while let Some(row) = standing.next().await {
                page.push(standing_in(&row.map_err(failed)?, &self.form.columns).map_err(failed)?);
                if page.len() == 1000 && send.send(std::mem::take(&mut page)).await.is_err() {
                    break;
                }
            }
            // Whoever is gone has told why.
            let _ended = send.send(page).await;
            drop(send);
        }
        written.await.map_err(|error| Fault::internal(doing, "", error.to_string()))?
    }
}

/// A folder with the copy of a file and the database of its records; gone with
/// this.
pub(super) struct Passing {
    folder: PathBuf,
    _lock: File,
}

impl Passing {
    pub(super) fn new() -> std::io::Result<Passing> {
        passing_folder().map(|(folder, lock)| Passing { folder, _lock: lock })
    }

    pub(super) fn copy(&self) -> PathBuf {
        self.folder.join("copy")
    }

    fn database(&self) -> SqliteConnectOptions {
        SqliteConnectOptions::new().filename(self.folder.join("records.db")).disable_statement_logging()
    }
}

impl Drop for Passing {
    fn drop(&mut self) {
        let _left = std::fs::remove_dir_all(&self.folder);
    }
}

/// What a mapping needs of a file, as its records stand in the database: the
/// same slots, and the extra ones behind them.
fn inner(form: &Form, access: &Access) -> Access {
    let place = |field: &Field| form.columns.iter().position(|column| column.name == field.name.as_str());
    let mut fields: Vec<Field> = Vec::with_capacity(access.shape.len() + EXTRA.len());
    for field in &access.shape.fields {
        let name = place(field).map_or_else(|| field.name.to_string(), |index| format!("c{index}"));
        fields.push(Field { name: name.into(), ..field.clone() });
    }
    let kinds = [Kind::Integer { bits: 64 }, Kind::Text { max: None, padded: false }];
    fields.extend(EXTRA.iter().zip(kinds).map(|(name, kind)| Field::new(name, kind)));
    Access { object: "records".into(), shape: Arc::new(Shape { fields }), ..access.clone() }
}

async fn fill(
    connection: &mut SqliteConnection,
    copy: &Path,
    form: &Form,
    has_file: bool,
    doing: &str,
) -> Result<(), Fault> {
    let failed = |error: sqlx::Error| Fault::internal(doing, "", error.to_string());
    let columns: Vec<String> =
        form.columns.iter().enumerate().map(|(index, column)| format!("c{index} {}", column.declared())).collect();
    let table =
        format!("CREATE TABLE records (number INTEGER PRIMARY KEY, line INTEGER, bad TEXT, {})", columns.join(", "));
    let run = async |connection: &mut SqliteConnection, sql: String| {
        sqlx::query(safe(sql)).execute(connection).await.map(drop).map_err(failed)
    };
    run(connection, table).await?;
    if has_file {
        let (send, mut pages) = tokio::sync::mpsc::channel::<Vec<Staged>>(4);
        let (copy, own, told) = (copy.to_owned(), form.clone(), doing.to_owned());
        let reading = tokio::task::spawn_blocking(move || {
            parse(&copy, &own, &send)
                .map_err(|error| Fault::external(told, "", format!("the file cannot be read: {error}")))
        });
        run(connection, "BEGIN".into()).await?;
        let width = form.columns.len() + 3;
        let most = (PARAMETERS / width).max(1);
        while let Some(page) = pages.recv().await {
            for rows in page.chunks(most) {
                let places = vec![format!("({})", vec!["?"; width].join(", ")); rows.len()].join(", ");
                let mut arguments = SqliteArguments::default();
                rows.iter().try_for_each(|row| row.bind(&mut arguments)).map_err(failed)?;
                let sql = format!("INSERT INTO records VALUES {places}");
                sqlx::query_with(safe(sql), arguments).execute(&mut *connection).await.map_err(failed)?;
            }
        }
        reading.await.map_err(|error| Fault::internal(doing, "", error.to_string()))??;
        run(connection, "COMMIT".into()).await?;
    }
    if !form.key.is_empty() {
        let key: Vec<String> = form.key.iter().map(|index| format!("c{index}")).collect();
        let key = key.join(", ");
        run(connection, format!("CREATE INDEX by_key ON records ({key})")).await?;
        // Of several with one key the first stands for it.
        run(
            connection,
            format!(
                "UPDATE records SET bad = 'the record of line ' || twins.line || ' has the same key', {} FROM (\
                 SELECT number, first_value(number) OVER same AS first, first_value(line) OVER same AS line \
                 FROM records WHERE {} WINDOW same AS (PARTITION BY {key} ORDER BY number)) AS twins \
                 WHERE records.number = twins.number AND twins.first < twins.number",
                form.key.iter().map(|index| format!("c{index} = NULL")).collect::<Vec<_>>().join(", "),
                form.key.iter().map(|index| format!("c{index} IS NOT NULL")).collect::<Vec<_>>().join(" AND "),
            ),
        )
        .await?;
    }
    Ok(())
}

/// A record on its way into the database.
struct Staged {
    number: u64,
    line: u64,
    values: Vec<Value>,
    bad: Option<String>,
}

impl Staged {
    fn bind(&self, arguments: &mut SqliteArguments) -> Result<(), sqlx::Error> {
        let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let add = |added: Result<(), sqlx::error::BoxDynError>| added.map_err(sqlx::Error::Encode);
        add(arguments.add(number(self.number)))?;
        add(arguments.add(number(self.line)))?;
        add(arguments.add(self.bad.as_deref()))?;
        for value in &self.values {
            add(match value {
                Value::Missing | Value::Null => arguments.add(None::<i64>),
                Value::Integer(integer) => arguments.add(*integer),
                Value::Boolean(boolean) => arguments.add(i64::from(*boolean)),
                Value::JsonNull | Value::List(_) | Value::Map(_) => {
                    let mut text = String::new();
                    json::write(value, &mut text);
                    arguments.add(text)
                }
                other => arguments.add(other.to_string()),
            })?;
        }
        Ok(())
    }
}

/// Reads the records of a copy.
fn parse(copy: &Path, form: &Form, send: &tokio::sync::mpsc::Sender<Vec<Staged>>) -> std::io::Result<()> {
    let mut records = Records::new(File::open(copy)?, &form.layout)?;
    let (mut page, mut number) = (Vec::new(), 0);
    while let Some(raw) = records.next()? {
        number += 1;
        let (values, bad) = match form.layout.say(&raw) {
            Ok(said) => values(&form.columns, &said),
            Err(why) => (vec![Value::Null; form.columns.len()], Some(why)),
        };
        page.push(Staged { number, line: raw.line, values, bad });
        if page.len() == 1000 && send.blocking_send(std::mem::take(&mut page)).is_err() {
            return Ok(());
        }
    }
    let _ended = send.blocking_send(page);
    Ok(())
}

/// A record as it stands in the database.
fn standing_in(row: &sqlx::sqlite::SqliteRow, columns: &[Column]) -> Result<Standing, sqlx::Error> {
    let (number, line): (i64, Option<i64>) = (row.try_get(0)?, row.try_get(1)?);
    // What was not read from the file has no line in it.
    let was = line.and_then(|_| u64::try_from(number).ok());
    let values = read_values(row, 3, columns.iter().map(Column::declared))?;
    Ok(Standing { was, is_bad: row.try_get(2)?, values })
}
