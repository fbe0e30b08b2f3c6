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
use crate::record::{Batch, Field, Kind, Mark, Shape, Value, json};

/// The columns beside a record's own: the file it stands in, the line it begins
/// in, and what is wrong with it.
const EXTRA: [&str; 3] = ["file", "line", "bad"];

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

/// A file that records are taken from.
pub(super) struct Source {
    pub(super) name: String,
    /// Where a copy of it lies.
    pub(super) copy: PathBuf,
    /// How its records stand there, or why nobody can say.
    pub(super) form: Result<Form, String>,
}

/// Files as they were at one time, with what is to be changed in them.
pub(super) struct Stage {
    passing: Passing,
    form: Form,
    /// The names of the files.
    files: Vec<String>,
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
    /// Reads the copies that lie in the passing folder, which is gone with the
    /// stage.
    pub(super) async fn load(
        passing: Passing,
        stamp: Option<Stamp>,
        form: Form,
        sources: Vec<Source>,
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
        let files: Vec<String> = sources.iter().map(|source| source.name.clone()).collect();
        fill(&mut connection, sources, &form, access, doing).await?;
        sqlx::Connection::close(connection).await.map_err(failed)?;
        let database = passing.folder.join("records.db").to_string_lossy().into_owned();
        let settings = SqlSettings { database: Some(database), ..SqlSettings::default() };
        let records = connect_sqlite(&settings)?.open(inner(&form, access)).await?;
        let (has_copy, stamp, is_ahead) = (stamp.is_some(), Mutex::new(stamp), AtomicBool::new(false));
        Ok(Stage { passing, form, files, stamp, is_ahead, has_copy, records })
    }

    /// The name of the file that a row of the database stands in.
    pub(super) fn file(&self, number: &Value) -> Option<&str> {
        let Value::Integer(number) = number else { return None };
        self.files.get(usize::try_from(*number).ok()?).map(String::as_str)
    }

    /// Records as those of the files, whose shape is this.
    pub(super) fn outward(&self, batch: &Batch, shape: &Arc<Shape>, keep: impl Fn(&str) -> bool) -> Batch {
        let width = shape.len();
        let mut outward = Batch::with_capacity(shape.clone(), batch.len());
        for (mark, row) in batch.rows() {
            let file = self.file(&row[width]);
            if !file.is_none_or(&keep) {
                continue;
            }
            let mark = match &row[width + 2] {
                Value::Text(why) => malformed(file.unwrap_or_default(), &row[width + 1], why),
                _ => mark.clone(),
            };
            outward.push(mark, row[..width].iter().cloned());
        }
        outward.reached.clone_from(&batch.reached);
        outward
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

    /// The records whose key nobody can tell, and what is wrong with them.
    pub(super) async fn broken(&self, doing: &str) -> Result<Vec<Mark>, Fault> {
        let failed = |error: sqlx::Error| Fault::internal(doing, "", error.to_string());
        let mut connection = self.passing.database().connect().await.map_err(failed)?;
        let blank: Vec<String> = self.form.key.iter().map(|index| format!("c{index} IS NULL")).collect();
        let blank = if blank.is_empty() { "TRUE".to_owned() } else { blank.join(" OR ") };
        let sql = format!(
            "SELECT file, line, bad FROM records WHERE bad IS NOT NULL AND ({blank}) ORDER BY number LIMIT 1000"
        );
        let rows: Vec<(i64, i64, String)> =
            sqlx::query_as(safe(sql)).fetch_all(&mut connection).await.map_err(failed)?;
        let mark = |(file, line, why): (i64, i64, String)| {
            malformed(self.file(&Value::Integer(file)).unwrap_or_default(), &Value::Integer(line), &why)
        };
        Ok(rows.into_iter().map(mark).collect())
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
    let number = || Kind::Integer { bits: 64 };
    let kinds = [number(), number(), Kind::Text { max: None, padded: false }];
    fields.extend(EXTRA.iter().zip(kinds).map(|(name, kind)| Field::new(name, kind)));
    Access { object: "records".into(), shape: Arc::new(Shape { fields }), ..access.clone() }
}

async fn fill(
    connection: &mut SqliteConnection,
    sources: Vec<Source>,
    form: &Form,
    access: &Access,
    doing: &str,
) -> Result<(), Fault> {
    let failed = |error: sqlx::Error| Fault::internal(doing, "", error.to_string());
    let columns: Vec<String> =
        form.columns.iter().enumerate().map(|(index, column)| format!("c{index} {}", column.declared())).collect();
    let table = format!(
        "CREATE TABLE records (number INTEGER PRIMARY KEY, file INTEGER, line INTEGER, bad TEXT, {})",
        columns.join(", ")
    );
    let run = async |connection: &mut SqliteConnection, sql: String| {
        sqlx::query(safe(sql)).execute(connection).await.map(drop).map_err(failed)
    };
    run(connection, table).await?;
    let has_several = sources.len() > 1;
    if !sources.is_empty() {
        let (send, mut pages) = tokio::sync::mpsc::channel::<Vec<Staged>>(4);
        let used: Vec<String> = access.shape.fields.iter().map(|field| field.name.to_string()).collect();
        let (own, told) = (form.clone(), doing.to_owned());
        let reading = tokio::task::spawn_blocking(move || {
            let mut reading = Reading { form: &own, used: &used, send: &send, page: Vec::new(), number: 0 };
            let read = sources.iter().enumerate().try_for_each(|(index, source)| {
                reading.read(index, source).map_err(|error| {
                    Fault::external(&told, "", format!("the file `{}` cannot be read: {error}", source.name))
                })
            });
            reading.flush();
            read
        });
        run(connection, "BEGIN".into()).await?;
        let width = form.columns.len() + 4;
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
        let known = form.key.iter().map(|index| format!("c{index} IS NOT NULL")).collect::<Vec<_>>().join(" AND ");
        if has_several {
            // A record is what the last file says of it.
            run(
                connection,
                format!(
                    "DELETE FROM records WHERE number IN (SELECT number FROM (\
                     SELECT number, file, max(file) OVER (PARTITION BY {key}) AS newest FROM records WHERE {known}) \
                     WHERE file < newest)"
                ),
            )
            .await?;
        }
        // Of several with one key in a file the first stands for it.
        run(
            connection,
            format!(
                "UPDATE records SET bad = 'the record of line ' || twins.line || ' has the same key', {} FROM (\
                 SELECT number, first_value(number) OVER same AS first, first_value(line) OVER same AS line \
                 FROM records WHERE {known} WINDOW same AS (PARTITION BY {key} ORDER BY number)) AS twins \
                 WHERE records.number = twins.number AND twins.first < twins.number",
                form.key.iter().map(|index| format!("c{index} = NULL")).collect::<Vec<_>>().join(", "),
            ),
        )
        .await?;
    }
    Ok(())
}

/// A record on its way into the database.
struct Staged {
    number: u64,
    file: usize,
    line: u64,
    values: Vec<Value>,
    bad: Option<String>,
}

impl Staged {
    fn bind(&self, arguments: &mut SqliteArguments) -> Result<(), sqlx::Error> {
        let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let add = |added: Result<(), sqlx::error::BoxDynError>| added.map_err(sqlx::Error::Encode);
        add(arguments.add(number(self.number)))?;
        add(arguments.add(i64::try_from(self.file).unwrap_or(i64::MAX)))?;
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

/// What a row is whose line cannot be read.
fn malformed(file: &str, line: &Value, why: &str) -> Mark {
    Mark::Malformed(format!("`{file}`, line {line}: {why}").into())
}

/// Reads the records of copies.
struct Reading<'a> {
    form: &'a Form,
    /// The fields that are asked for.
    used: &'a [String],
    send: &'a tokio::sync::mpsc::Sender<Vec<Staged>>,
    page: Vec<Staged>,
    number: u64,
}

impl Reading<'_> {
    fn read(&mut self, index: usize, source: &Source) -> std::io::Result<()> {
        let nothing = || vec![Value::Null; self.form.columns.len()];
        let own = match &source.form {
            Ok(own) => own,
            Err(why) => {
                let values = nothing();
                self.add(index, 1, values, Some(why.clone()));
                return Ok(());
            }
        };
        // Files may have their columns in another order, and others besides.
        let place = |name: &str| own.columns.iter().position(|column| column.name == name);
        let places: Vec<Option<usize>> = self.form.columns.iter().map(|column| place(&column.name)).collect();
        let missing = self.used.iter().find(|name| place(name).is_none());
        let missing = missing.map(|name| format!("the file has no field `{name}`"));
        let mut records = Records::new(File::open(&source.copy)?, &own.layout)?;
        while let Some(raw) = records.next()? {
            let (values, bad) = match own.layout.say(&raw) {
                Ok(said) => {
                    let (values, bad) = values(&own.columns, &said);
                    let value = |place: &Option<usize>| place.map_or(Value::Null, |place| values[place].clone());
                    (places.iter().map(value).collect(), bad.or_else(|| missing.clone()))
                }
                Err(why) => (nothing(), Some(why)),
            };
            if !self.add(index, raw.line, values, bad) {
                return Ok(());
            }
        }
        Ok(())
    }

    /// False where nobody wants more.
    fn add(&mut self, file: usize, line: u64, values: Vec<Value>, bad: Option<String>) -> bool {
        self.number += 1;
        self.page.push(Staged { number: self.number, file, line, values, bad });
        self.page.len() < 1000 || self.flush()
    }

    fn flush(&mut self) -> bool {
        self.send.blocking_send(std::mem::take(&mut self.page)).is_ok()
    }
}

/// A record as it stands in the database.
fn standing_in(row: &sqlx::sqlite::SqliteRow, columns: &[Column]) -> Result<Standing, sqlx::Error> {
    let (number, line): (i64, Option<i64>) = (row.try_get(0)?, row.try_get(1)?);
    // What was not read from the file has no line in it.
    let was = line.and_then(|_| u64::try_from(number).ok());
    let values = read_values(row, 3, columns.iter().map(Column::declared))?;
    Ok(Standing { was, is_bad: row.try_get(2)?, values })
}
