//! The default state: one SQLite file beside the project.
//!
//! Owns the file, its tables (`layout`), the lock of the engine that runs on
//! it, and how each call of [`Store`] becomes statements. Decides nothing.
//! One connection writes, a few read; a write is one transaction that is on
//! the disk when it is answered. Nothing here works record by record.

mod bulk;
mod commit;
mod conflicts;
mod error;
mod file;
mod forget;
mod intents;
mod layout;
mod ledger;
mod links;
mod lock;
mod mappings;
mod parked;
mod prune;
#[cfg(test)]
mod tests;
mod written;

use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, SqliteConnection};
use tokio::sync::{Mutex, MutexGuard};

use super::{
    Agreed, Ahead, Answer, Answered, Cell, Commit, Conflict, ConflictBefore, ConflictFilter, ConflictStatus, Cursor,
    EventRecord, Fence, FileIdentity, Forgotten, Intents, IntentsId, Made, MappingState, OwedCounts, Parked,
    ParkedFilter, RUNS_KEPT, Reason, RunRecord, RunStatus, Spooled, Store, StoreError, VALUES_FORGOTTEN, Written,
    changes, codec, file_identity, insert_event, padding_range, same_but_for_padding,
};
use crate::config::private;
use crate::plan::{Link, LinkId, Resolution};
use crate::record::{Both, Key, Side};
pub(super) use error::fault;
use lock::RunLock;
use mappings::MappingRow;

/// How long a write waits for another process's. Commands write for
/// milliseconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// A state in an SQLite file.
#[derive(Debug)]
pub struct SqliteStore {
    path: PathBuf,
    /// Which file it is: another that takes its name is another state.
    file: Option<FileIdentity>,
    options: SqliteConnectOptions,
    /// Empty until the first write, and after a write that was given up.
    writer: Mutex<Option<SqliteConnection>>,
    readers: SqlitePool,
    _lock: Option<RunLock>,
}

/// A transaction. Dropping it unfinished closes the connection, and so undoes
/// it.
struct Write<'a> {
    slot: MutexGuard<'a, Option<SqliteConnection>>,
    connection: SqliteConnection,
}

impl SqliteStore {
    /// Opens the state in this file beside whoever else uses it, as commands
    /// do. A new file and its folder are readable by their owner only.
    pub async fn open(path: &Path) -> Result<SqliteStore, StoreError> {
        file::prepare(path).await?;
        SqliteStore::connect(path, None).await
    }

    /// Opens the state to run on it: there is no other engine that does, as
    /// the lock beside the file says (`state.db` has `state.lock`). `now` is
    /// what others are told when they are refused.
    pub async fn open_for_run(path: &Path, now: DateTime<Utc>) -> Result<SqliteStore, StoreError> {
        file::prepare(path).await?;
        let lock = RunLock::take(&path.with_extension("lock"), now)?;
        SqliteStore::connect(path, Some(lock)).await
    }

    async fn connect(path: &Path, lock: Option<RunLock>) -> Result<SqliteStore, StoreError> {
        let common = SqliteConnectOptions::new()
            .filename(path)
            .busy_timeout(PATIENCE)
            .statement_cache_capacity(256)
            .disable_statement_logging();
        // A lost intent is a duplicate: FULL, which costs nothing with large
        // transactions. The log is carried over in large steps.
        let options = common
            .clone()
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .pragma("cache_size", "-8192")
            .pragma("wal_autocheckpoint", "8192");
        let readers = SqlitePoolOptions::new()
            .max_connections(4)
            .test_before_acquire(false)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_lazy_with(common.read_only(true).pragma("cache_size", "-4096"));
        let (path, file) = (path.to_owned(), file_identity(path));
        let store = SqliteStore { path, file, options, writer: Mutex::new(None), readers, _lock: lock };
        let mut write = store.begin().await?;
        let prepared = layout::prepare(&mut write.connection).await;
        write.finish(prepared).await?;
        Ok(store)
    }

    /// Writes the state as it stands into a new file, beside whoever is at work
    /// on it. Answers with the file's size in bytes.
    ///
    /// # Errors
    /// The file is there already, or cannot be written.
    pub async fn back_up(&self, to: &Path) -> Result<u64, StoreError> {
        let unwritten = |error: std::io::Error| StoreError::Unwritten(format!("`{}`: {error}", to.display()));
        let file = private::new_file(to).map_err(unwritten)?;
        let mut reader = self.readers.acquire().await?;
        let copied = sqlx::query("VACUUM INTO ?").bind(to.display().to_string()).execute(&mut *reader).await;
        if let Err(error) = copied {
            let _ = std::fs::remove_file(to);
            return Err(error.into());
        }
        file.sync_all().map_err(unwritten)?;
        Ok(std::fs::metadata(to).map_err(unwritten)?.len())
    }

    async fn begin(&self) -> Result<Write<'_>, StoreError> {
        let mut slot = self.writer.lock().await;
        let mut connection = if let Some(connection) = slot.take() {
            connection
        } else {
            let mut connection = self.options.connect().await?;
            sqlx::raw_sql(layout::TEMPORARY).execute(&mut connection).await?;
            connection
        };
        sqlx::query("BEGIN IMMEDIATE").execute(&mut connection).await?;
        Ok(Write { slot, connection })
    }

    /// A transaction of one mapping's, under its fence.
    async fn begin_fenced(&self, fence: &Fence) -> Result<(Write<'_>, MappingRow), StoreError> {
        let mut write = self.begin().await?;
        match MappingRow::fenced(&mut write.connection, fence).await {
            Ok(mapping) => Ok((write, mapping)),
            Err(error) => write.finish(Err(error)).await,
        }
    }

    /// A mapping's number, where the state knows it.
    async fn number(&self, connection: &mut SqliteConnection, mapping: &str) -> Result<Option<i64>, StoreError> {
        let query = sqlx::query_scalar("SELECT mapping FROM mappings WHERE name = ?").bind(mapping);
        Ok(query.fetch_optional(connection).await?)
    }
}

impl Write<'_> {
    /// Makes it last, or undoes it where it failed.
    async fn finish<T>(mut self, done: Result<T, StoreError>) -> Result<T, StoreError> {
        let end = if done.is_ok() { "COMMIT" } else { "ROLLBACK" };
        let ended = sqlx::query(end).execute(&mut self.connection).await;
        let (done, whole) = match (done, ended) {
            (Ok(_), Err(error)) => (Err(error.into()), false),
            // After some failures SQLite has undone it already, and says so.
            (done, ended) => (done, ended.is_ok()),
        };
        if whole {
            *self.slot = Some(self.connection);
        }
        done
    }
}

impl Store for SqliteStore {
    fn acquire<'a>(&'a self, mapping: &'a str) -> Answer<'a, Fence> {
        Box::pin(async move {
            if file_identity(&self.path) != self.file {
                return Err(StoreError::Replaced(self.path.display().to_string()));
            }
            let mut write = self.begin().await?;
            let done = mappings::acquire(&mut write.connection, mapping).await;
            write.finish(done).await
        })
    }

    fn mapping<'a>(&'a self, mapping: &'a str) -> Answer<'a, Option<MappingState>> {
        Box::pin(async move { mappings::load(&mut *self.readers.acquire().await?, mapping).await })
    }

    fn mappings(&self) -> Answer<'_, Vec<String>> {
        Box::pin(async move {
            Ok(sqlx::query_scalar("SELECT name FROM mappings ORDER BY name").fetch_all(&self.readers).await?)
        })
    }

    fn links<'a>(&'a self, mapping: &'a str, side: Side, keys: &'a [Key]) -> Answer<'a, Vec<Option<Link>>> {
        Box::pin(async move {
            let mut reader = self.readers.acquire().await?;
            match self.number(&mut reader, mapping).await? {
                Some(number) => links::by_keys(&mut reader, number, side, keys).await,
                None => Ok(vec![None; keys.len()]),
            }
        })
    }

    fn links_after<'a>(&'a self, mapping: &'a str, after: LinkId, limit: usize) -> Answer<'a, Vec<Link>> {
        Box::pin(async move {
            let mut reader = self.readers.acquire().await?;
            let Some(number) = self.number(&mut reader, mapping).await? else { return Ok(Vec::new()) };
            let (first, last) = links::bounds(number);
            links::page(&mut reader, after.max(first), last, limit, None).await
        })
    }

    fn count_links<'a>(&'a self, mapping: &'a str) -> Answer<'a, u64> {
        Box::pin(async move {
            let query = sqlx::query_scalar("SELECT links FROM mappings WHERE name = ?").bind(mapping);
            codec::unsigned(query.fetch_optional(&self.readers).await?.unwrap_or(0))
        })
    }

    fn intend<'a>(&'a self, fence: &'a Fence, before: &'a Commit, intents: &'a Intents) -> Answer<'a, IntentsId> {
        Box::pin(async move {
            before.check_mapping(&fence.mapping)?;
            let (mut write, mut mapping) = self.begin_fenced(fence).await?;
            let done = commit::intend(&mut write.connection, &mut mapping, before, intents).await;
            let done = write.finish(done).await;
            if matches!(done, Err(StoreError::LinkedTwice { .. })) && *before != Commit::default() {
                self.commit(fence, before).await?;
            }
            done
        })
    }

    fn open_intents<'a>(&'a self, mapping: &'a str) -> Answer<'a, Vec<(IntentsId, Intents)>> {
        Box::pin(async move {
            // In a transaction, so that intents and their creates are of one
            // moment.
            let mut write = self.begin().await?;
            let done = intents::open(&mut write.connection, mapping).await;
            write.finish(done).await
        })
    }

    fn commit<'a>(&'a self, fence: &'a Fence, commit: &'a Commit) -> Answer<'a, ()> {
        Box::pin(async move {
            commit.check_mapping(&fence.mapping)?;
            let (mut write, mut mapping) = self.begin_fenced(fence).await?;
            let done = commit::store(&mut write.connection, &mut mapping, commit).await;
            write.finish(done).await
        })
    }

    fn conflicts<'a>(&'a self, filter: &'a ConflictFilter) -> Answer<'a, Vec<Conflict>> {
        Box::pin(async move { conflicts::find(&mut *self.readers.acquire().await?, filter).await })
    }

    fn resolve<'a>(&'a self, ids: &'a [i64], resolution: Option<&'a Resolution>) -> Answer<'a, u64> {
        Box::pin(async move {
            let mut write = self.begin().await?;
            let done = conflicts::resolve(&mut write.connection, ids, resolution).await;
            write.finish(done).await
        })
    }

    fn parked<'a>(&'a self, filter: &'a ParkedFilter) -> Answer<'a, Vec<Parked>> {
        Box::pin(async move { parked::find(&mut *self.readers.acquire().await?, filter).await })
    }

    fn retry<'a>(&'a self, ids: &'a [i64]) -> Answer<'a, u64> {
        Box::pin(async move {
            let mut write = self.begin().await?;
            let done = parked::retry(&mut write.connection, ids).await;
            write.finish(done).await
        })
    }

    fn drop_parked<'a>(&'a self, ids: &'a [i64]) -> Answer<'a, u64> {
        Box::pin(async move {
            let mut write = self.begin().await?;
            let done = parked::drop_ids(&mut write.connection, ids).await;
            write.finish(done).await
        })
    }

    fn spooled<'a>(&'a self, mapping: &'a str, after: LinkId, limit: usize) -> Answer<'a, Vec<Spooled>> {
        Box::pin(async move {
            let mut reader = self.readers.acquire().await?;
            let Some(number) = self.number(&mut reader, mapping).await? else { return Ok(Vec::new()) };
            ledger::spooled(&mut reader, number, after, limit).await
        })
    }

    fn count_owed<'a>(&'a self, mapping: &'a str) -> Answer<'a, OwedCounts> {
        Box::pin(async move {
            let mut reader = self.readers.acquire().await?;
            let Some(number) = self.number(&mut reader, mapping).await? else { return Ok(OwedCounts::default()) };
            ledger::count_owed(&mut reader, number).await
        })
    }

    fn sweep_begin<'a>(&'a self, fence: &'a Fence, side: Side) -> Answer<'a, ()> {
        Box::pin(async move {
            let (mut write, mapping) = self.begin_fenced(fence).await?;
            let done = ledger::sweep_begin(&mut write.connection, &mapping, side).await;
            write.finish(done).await
        })
    }

    fn sweep_seen<'a>(&'a self, fence: &'a Fence, side: Side, keys: &'a [Key]) -> Answer<'a, ()> {
        Box::pin(async move {
            let (mut write, mapping) = self.begin_fenced(fence).await?;
            let done = ledger::sweep_seen(&mut write.connection, &mapping, side, keys).await;
            write.finish(done).await
        })
    }

    fn sweep_absent<'a>(&'a self, fence: &'a Fence, side: Side, after: LinkId, limit: usize) -> Answer<'a, Vec<Link>> {
        Box::pin(async move {
            let (mut write, mapping) = self.begin_fenced(fence).await?;
            let done = ledger::sweep_absent(&mut write.connection, &mapping, side, after, limit).await;
            write.finish(done).await
        })
    }

    fn written<'a>(&'a self, cells: &'a [Cell]) -> Answer<'a, Vec<Option<Written>>> {
        Box::pin(async move { written::find(&mut *self.readers.acquire().await?, cells).await })
    }

    fn runs<'a>(&'a self, mapping: Option<&'a str>, limit: usize) -> Answer<'a, Vec<RunRecord>> {
        Box::pin(async move {
            let mut reader = self.readers.acquire().await?;
            let Some(name) = mapping else { return ledger::runs(&mut reader, None, limit).await };
            let Some(number) = self.number(&mut reader, name).await? else { return Ok(Vec::new()) };
            ledger::runs(&mut reader, Some(number), limit).await
        })
    }

    fn prune(&self, before: DateTime<Utc>) -> Answer<'_, u64> {
        Box::pin(async move {
            let mut forgotten = 0;
            loop {
                let mut write = self.begin().await?;
                let page = prune::events(&mut write.connection, before).await;
                let (events, is_more) = write.finish(page).await?;
                forgotten += events;
                if !is_more {
                    break;
                }
            }
            let mut write = self.begin().await?;
            let done = prune::conflicts_and_runs(&mut write.connection, before).await;
            Ok(forgotten + write.finish(done).await?)
        })
    }

    fn deleted_since<'a>(&'a self, mapping: &'a str, since: DateTime<Utc>) -> Answer<'a, u64> {
        Box::pin(async move {
            let mut reader = self.readers.acquire().await?;
            let Some(number) = self.number(&mut reader, mapping).await? else { return Ok(0) };
            ledger::deleted_since(&mut reader, number, since).await
        })
    }

    fn events<'a>(&'a self, mapping: &'a str, side: Side, key: &'a Key) -> Answer<'a, Vec<EventRecord>> {
        Box::pin(async move {
            let mut reader = self.readers.acquire().await?;
            let Some(number) = self.number(&mut reader, mapping).await? else { return Ok(Vec::new()) };
            ledger::events(&mut reader, number, side, key).await
        })
    }

    fn padded_keys<'a>(&'a self, mapping: &'a str, side: Side, key: &'a Key) -> Answer<'a, Vec<Key>> {
        Box::pin(async move {
            let mut reader = self.readers.acquire().await?;
            let Some(number) = self.number(&mut reader, mapping).await? else { return Ok(Vec::new()) };
            ledger::padded_keys(&mut reader, number, side, key).await
        })
    }

    fn reset<'a>(&'a self, mapping: &'a str, links: bool) -> Answer<'a, ()> {
        Box::pin(async move {
            let mut write = self.begin().await?;
            let done = mappings::reset(&mut write.connection, mapping, links).await;
            write.finish(done).await
        })
    }

    fn forget_values<'a>(&'a self, mapping: &'a str, keys: &'a Both<Option<Key>>) -> Answer<'a, Forgotten> {
        Box::pin(async move {
            let mut write = self.begin().await?;
            let done = forget::values(&mut write.connection, mapping, keys).await;
            let forgotten = write.finish(done).await?;
            // Nor does the log beside the file hold it any longer.
            if let Some(connection) = self.writer.lock().await.as_mut() {
                sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(connection).await?;
            }
            Ok(forgotten)
        })
    }

    fn rename<'a>(&'a self, former: &'a str, name: &'a str) -> Answer<'a, ()> {
        Box::pin(async move {
            let mut write = self.begin().await?;
            let done = mappings::rename(&mut write.connection, former, name).await;
            write.finish(done).await
        })
    }

    /// The last one to close the file carries the log over into it, so that
    /// nothing is left beside it.
    fn close(&self) -> Answer<'_, ()> {
        Box::pin(async move {
            self.readers.close().await;
            if let Some(connection) = self.writer.lock().await.take() {
                connection.close().await?;
            }
            Ok(())
        })
    }
}
