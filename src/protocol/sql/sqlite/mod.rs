//! SQLite: a database in a file.
//!
//! One writer at a time: a batch of writes holds the write lock from `begin`
//! to its end, and so does, for a moment, whoever takes the horizon or settles
//! a batch. Start reading at [`connect_sqlite`]; `value` and `stamp` say how
//! untyped columns are read.

mod allot;
mod change;
mod describe;
mod fault;
mod probe;
mod read;
mod statement;
mod stamp;
mod value;
mod write;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use futures::future::BoxFuture;
use sqlx::pool::PoolConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use sqlx::{ConnectOptions, Connection, Sqlite, SqlitePool};
use tokio::sync::OnceCell;

use self::describe::Table;
use super::SqlSettings;
use super::statement::safe;
use crate::connector::{Access, Connector, Description, Fault, Object, ObjectSummary};
use crate::protocol::is_locked_away;
use crate::record::{Field, Value};

/// Connections at once: readings, fetches and writes of several mappings.
const CONNECTIONS: u32 = 24;

/// A SQLite database. Nothing is opened before the first use.
///
/// # Errors
/// A fault of the user's where the settings name no file.
pub fn connect_sqlite(settings: &SqlSettings) -> Result<Arc<dyn Connector>, Fault> {
    let (path, read_only) = locate(settings)?;
    Ok(Arc::new(Database {
        inner: Arc::new(Inner { settings: settings.clone(), path, read_only, pool: OnceCell::new() }),
    }))
}

/// The file that the settings name.
///
/// # Errors
/// A fault of the user's where they name none.
pub fn sqlite_file(settings: &SqlSettings) -> Result<PathBuf, Fault> {
    Ok(locate(settings)?.0)
}

/// The database file, and whether it is only to be read.
fn locate(settings: &SqlSettings) -> Result<(PathBuf, bool), Fault> {
    let refuse = |message: &str| Fault::user("opening the database", "", message);
    let url = match (&settings.url, &settings.database) {
        (_, Some(database)) => database.as_str(),
        (Some(url), None) => url.as_str(),
        (None, None) => return Err(refuse("no `url` says which file it is; write `url: \"sqlite://data/shop.db\"`")),
    };
    let address = url.strip_prefix("sqlite://").or_else(|| url.strip_prefix("sqlite:")).unwrap_or(url);
    let (file, options) = address.split_once('?').unwrap_or((address, ""));
    let read_only = match options {
        "" | "mode=rw" | "mode=rwc" => false,
        "mode=ro" => true,
        other => return Err(refuse(&format!("unknown option `{other}`; only `mode=ro` is taken"))),
    };
    if file.is_empty() || file.starts_with(":memory:") {
        return Err(refuse("a database in memory has nothing to sync; name a file"));
    }
    Ok((settings.folder.join(file), read_only))
}

/// The values of a row's columns from `first` on, which are declared so.
pub(in crate::protocol) fn read_values<'d>(
    row: &sqlx::sqlite::SqliteRow,
    first: usize,
    declared: impl Iterator<Item = &'d str>,
) -> Result<Vec<Value>, sqlx::Error> {
    let read = |(index, declared): (usize, &str)| {
        let field = Field::new(declared, value::kind(declared));
        let column = value::Column { field, stamp: stamp::PLAIN, zone: chrono_tz::UTC };
        column.read(sqlx::Row::try_get_raw(row, first + index)?).map_err(sqlx::Error::Protocol)
    };
    declared.enumerate().map(read).collect()
}

struct Inner {
    settings: SqlSettings,
    path: PathBuf,
    read_only: bool,
    pool: OnceCell<SqlitePool>,
}

struct Database {
    inner: Arc<Inner>,
}

impl Inner {
    fn options(&self, path: &Path) -> SqliteConnectOptions {
        SqliteConnectOptions::new()
            .filename(path)
            .read_only(self.read_only)
            .create_if_missing(false)
            .busy_timeout(self.settings.timeout)
            .row_buffer_size(1000)
            // Statements hold values; a slow one is no news.
            .disable_statement_logging()
    }

    async fn pool(&self, doing: &str) -> Result<&SqlitePool, Fault> {
        let open = || async {
            if !self.path.exists() {
                self.create(doing).await?;
            }
            Ok(SqlitePoolOptions::new()
                .max_connections(CONNECTIONS)
                .acquire_timeout(self.settings.timeout)
                .after_release(|connection, _| {
                    Box::pin(async move {
                        // What is still to be rolled back is, and SQLite may have done so itself (a full disk): the
                        // driver then takes the transaction for open for ever.
                        match connection.begin_with("BEGIN").await {
                            Ok(transaction) => transaction.rollback().await.map(|()| true),
                            Err(_) => Ok(false),
                        }
                    })
                })
                .connect_lazy_with(self.options(&self.path)))
        };
        self.pool.get_or_try_init(open).await
    }

    async fn acquire(&self, doing: &str) -> Result<PoolConnection<Sqlite>, Fault> {
        self.pool(doing).await?.acquire().await.map_err(|error| fault::fault(doing, &error))
    }

    /// Makes the database out of `create_from`, whole or not at all: in a file
    /// beside it that takes its name at the end, unless another process was
    /// faster.
    async fn create(&self, doing: &str) -> Result<(), Fault> {
        static DRAFTS: AtomicU32 = AtomicU32::new(0);
        let refuse = |message: String| Fault::user(doing, "", message);
        let Some(script) = &self.settings.create_from else {
            return Err(refuse(format!("there is no database file `{}`", self.path.display())));
        };
        let script = self.settings.folder.join(script);
        let text = tokio::fs::read_to_string(&script)
            .await
            .map_err(|error| refuse(format!("`{}` cannot be read: {error}", script.display())))?;
        let unmade = |error: std::io::Error| refuse(format!("`{}` cannot be made: {error}", self.path.display()));
        if let Some(folder) = self.path.parent() {
            tokio::fs::create_dir_all(folder).await.map_err(unmade)?;
        }
        let name = self.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let number = DRAFTS.fetch_add(1, Ordering::Relaxed);
        let draft = self.path.with_file_name(format!(".{name}.{}-{number}.new", std::process::id()));
        let made = self.fill(&draft, text).await;
        let placed = match made {
            Ok(()) => match tokio::fs::hard_link(&draft, &self.path).await {
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
                Err(_) => tokio::fs::rename(&draft, &self.path).await.map_err(unmade),
                Ok(()) => Ok(()),
            },
            Err(error) => Err(refuse(format!("`{}`: {error}", script.display()))),
        };
        // After a rename there is nothing left to remove.
        drop(tokio::fs::remove_file(&draft).await);
        placed
    }

    async fn fill(&self, draft: &Path, text: String) -> Result<(), sqlx::Error> {
        // A crash may have left a half-made one; its process has had our id.
        drop(tokio::fs::remove_file(draft).await);
        let options = self.options(draft).read_only(false).create_if_missing(true);
        let mut connection = sqlx::sqlite::SqliteConnection::connect_with(&options).await?;
        sqlx::raw_sql(safe(text)).execute(&mut connection).await?;
        connection.close().await
    }

    async fn table(&self, doing: &str, object: &str) -> Result<Result<Table, Vec<String>>, Fault> {
        let mut connection = self.acquire(doing).await?;
        describe::find(&mut connection, object, self.settings.zone()).await.map_err(|error| fault::fault(doing, &error))
    }
}

impl Connector for Database {
    fn check(&self) -> BoxFuture<'_, Result<String, Fault>> {
        Box::pin(async move {
            let doing = "opening the database";
            let mut connection = self.inner.acquire(doing).await?;
            let version: String =
                sqlx::query_scalar("SELECT sqlite_version() FROM (SELECT count(*) FROM sqlite_schema)")
                    .fetch_one(&mut *connection)
                    .await
                    .map_err(|error| fault::fault(doing, &error))?;
            Ok(format!("SQLite {version}"))
        })
    }

    fn objects(&self) -> BoxFuture<'_, Result<Vec<ObjectSummary>, Fault>> {
        Box::pin(async move {
            let doing = "listing the tables";
            let mut connection = self.inner.acquire(doing).await?;
            describe::list(&mut connection).await.map_err(|error| fault::fault(doing, &error))
        })
    }

    fn describe<'a>(&'a self, object: &'a str) -> BoxFuture<'a, Result<Option<Description>, Fault>> {
        Box::pin(async move {
            let table = self.inner.table(&format!("describing `{object}`"), object).await?;
            let path = std::fs::canonicalize(&self.inner.path).unwrap_or_else(|_| self.inner.path.clone());
            let mut description = table.ok().map(|table| table.description(&path, self.inner.settings.zone()));
            if let Some(description) = description.as_mut().filter(|_| self.inner.read_only || is_locked_away(&path)) {
                (description.can_create, description.can_update, description.can_delete) = (false, false, false);
                description.notes.push(format!("the database file `{}` can only be read", path.display()));
            }
            Ok(description)
        })
    }

    fn open(&self, access: Access) -> BoxFuture<'_, Result<Arc<dyn Object>, Fault>> {
        Box::pin(async move {
            let doing = format!("opening `{}`", access.object);
            let table = self.inner.table(&doing, &access.object).await?.map_err(|alike| {
                let message = match alike.as_slice() {
                    [] => "there is no such table or view".to_owned(),
                    names => format!("the name fits several: {}", names.join(", ")),
                };
                Fault::user(&doing, "", message)
            })?;
            Ok(Arc::new(read::Opened::new(self.inner.clone(), table, access)?) as Arc<dyn Object>)
        })
    }
}
