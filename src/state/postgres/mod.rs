//! The state in PostgreSQL, which several engines may share.
//!
//! Owns a schema of its own with its tables (`layout`), the leases that keep
//! engines out of each other's mappings (`lease`), and how each call of
//! [`Store`] becomes statements. Decides nothing. A call is one transaction,
//! on the disk when it is answered; every change locks the mapping's row and
//! looks at its fence, so that an engine that stood still and wakes up changes
//! nothing any more. Time is the server's. Nothing here works record by record.

mod address;
mod commit;
mod conflicts;
mod error;
mod forget;
mod intents;
mod layout;
mod lease;
mod ledger;
mod links;
mod mappings;
mod parked;
mod prune;
mod written;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::postgres::{PgPool, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, PgConnection, Postgres, Transaction};
use url::Url;

use super::error::{damaged, is_of_the_way};
use super::{
    Agreed, Ahead, Answer, Answered, Cell, Commit, Conflict, ConflictBefore, ConflictFilter, ConflictStatus, Cursor,
    EventRecord, Fence, Forgotten, Intents, IntentsId, Leased, Made, MappingState, OwedCounts, Parked, ParkedFilter,
    RUNS_KEPT, Reason, RunRecord, RunStatus, Spooled, Store, StoreError, VALUES_FORGOTTEN, Written, changes, codec,
    insert_event, padding_range, same_but_for_padding,
};
use crate::plan::{Link, LinkId, Resolution};
use crate::record::{Both, Key, Side};
use address::Address;
pub(super) use error::fault;
use lease::Held;
use mappings::MappingRow;

/// Connections of one engine: its runs commit beside each other.
const CONNECTIONS: u32 = 8;

/// How long a call waits for a connection.
const PATIENCE: Duration = Duration::from_secs(20);

/// How often, and for how many times, the server is asked what became of a
/// change whose answer was lost.
const ASK_EVERY: Duration = Duration::from_millis(250);
const ASK_TIMES: u32 = 40;

/// A state in a schema of a PostgreSQL server.
#[derive(Debug)]
pub struct PostgresStore {
    pool: PgPool,
    /// Tells this engine from others; the server made it up.
    engine: String,
    /// The same for people.
    holder: String,
    lease: Duration,
    held: Arc<Held>,
    keeper: tokio::task::AbortHandle,
}

/// A change under way. Dropping it unfinished undoes it.
struct Write {
    transaction: Transaction<'static, Postgres>,
    /// What the server calls it, where that matters.
    number: Option<String>,
}

impl PostgresStore {
    /// Opens the state at `postgres://…`, and makes its schema and tables where
    /// they are missing. `?options[search_path]=NAME` chooses the schema,
    /// which is `engine` otherwise.
    ///
    /// # Errors
    /// [`StoreError::Unreachable`] where the server does not let us in,
    /// [`StoreError::Newer`] for the state of a newer engine,
    /// [`StoreError::Broken`] for an address that cannot be read, or a schema
    /// of another program.
    pub async fn open(url: &Url) -> Result<PostgresStore, StoreError> {
        let address = Address::read(url)?;
        let mut connection = address.options.connect().await?;
        let mut transaction = connection.begin().await?;
        layout::prepare(&mut transaction, &address.schema, &layout::STEPS).await?;
        transaction.commit().await?;
        PostgresStore::on(address, connection).await
    }

    /// Opens the state to look at it; `None` where there is none, and none is
    /// made.
    pub async fn open_there(url: &Url) -> Result<Option<PostgresStore>, StoreError> {
        let address = Address::read(url)?;
        let mut connection = address.options.connect().await?;
        let there = layout::is_there(&mut connection, &address.schema).await?;
        connection.close().await?;
        if there { Ok(Some(PostgresStore::open(url).await?)) } else { Ok(None) }
    }

    async fn on(address: Address, mut connection: PgConnection) -> Result<PostgresStore, StoreError> {
        let (engine, client): (String, String) = sqlx::query_as(
            "SELECT gen_random_uuid()::text, coalesce(host(inet_client_addr()), 'the machine of the state')",
        )
        .fetch_one(&mut connection)
        .await?;
        connection.close().await?;
        let lease = address.lease;
        let holder = format!("process {} at {client}", std::process::id());
        let pool = PgPoolOptions::new()
            .max_connections(CONNECTIONS)
            .acquire_timeout(PATIENCE)
            .connect_lazy_with(address.options);
        let held: Arc<Held> = Arc::new(Mutex::new(BTreeMap::new()));
        let keeping = lease::keep(pool.clone(), engine.clone(), Arc::downgrade(&held), lease);
        let keeper = tokio::spawn(keeping).abort_handle();
        Ok(PostgresStore { pool, engine, holder, lease, held, keeper })
    }

    async fn begin(&self) -> Result<Write, StoreError> {
        Ok(Write { transaction: self.pool.begin().await?, number: None })
    }

    /// A transaction of one mapping's, under its fence.
    async fn begin_fenced(&self, fence: &Fence) -> Result<(Write, MappingRow), StoreError> {
        let mut write = self.begin().await?;
        match MappingRow::fenced(&mut write.transaction, fence, self.lease).await {
            Ok((mapping, number)) => {
                write.number = Some(number);
                Ok((write, mapping))
            }
            Err(error) => {
                if error == StoreError::Fenced {
                    self.let_go(fence);
                }
                self.finish(write, Err(error)).await
            }
        }
    }

    /// Makes it last, or undoes it where it failed. Where the answer is lost,
    /// the server is asked what became of it.
    async fn finish<T>(&self, write: Write, done: Result<T, StoreError>) -> Result<T, StoreError> {
        let Write { transaction, number } = write;
        let done = match done {
            Ok(done) => done,
            Err(error) => {
                // Where the connection is gone, so is the change.
                let _ = transaction.rollback().await;
                return Err(error);
            }
        };
        let Err(error) = transaction.commit().await else { return Ok(done) };
        let lost = is_of_the_way(&error);
        let error = StoreError::from(error);
        if !lost && !matches!(error, StoreError::Unreachable(_)) {
            return Err(error);
        }
        match number {
            Some(number) => match self.became_of(&number).await {
                Some(true) => Ok(done),
                Some(false) => Err(error),
                None => Err(StoreError::Unanswered(error.to_string())),
            },
            None => Err(StoreError::Unanswered(error.to_string())),
        }
    }

    /// Whether a change lasts; `None` where that cannot be told.
    async fn became_of(&self, number: &str) -> Option<bool> {
        let mut beat = tokio::time::interval(ASK_EVERY);
        for _ in 0..ASK_TIMES {
            beat.tick().await;
            let status: Option<String> = sqlx::query_scalar("SELECT pg_xact_status($1::text::xid8)")
                .bind(number)
                .fetch_one(&self.pool)
                .await
                .ok()?;
            match status.as_deref() {
                Some("committed") => return Some(true),
                Some("aborted") => return Some(false),
                Some("in progress") => {}
                _ => return None,
            }
        }
        None
    }

    fn hold(&self, fence: &Fence) {
        let mut held = self.held.lock().expect("nothing panics while it holds the lock");
        held.insert(fence.mapping.clone(), fence.number);
    }

    fn let_go(&self, fence: &Fence) {
        let mut held = self.held.lock().expect("nothing panics while it holds the lock");
        if held.get(&fence.mapping) == Some(&fence.number) {
            held.remove(&fence.mapping);
        }
    }

    /// A mapping's number, where the state knows it.
    async fn number(&self, connection: &mut PgConnection, mapping: &str) -> Result<Option<i64>, StoreError> {
        let query = sqlx::query_scalar("SELECT mapping FROM mappings WHERE name = $1").bind(mapping);
        Ok(query.fetch_optional(connection).await?)
    }
}

impl Drop for PostgresStore {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

/// A text as PostgreSQL can hold it: it has no place for a null character.
fn storable(text: &str) -> String {
    text.replace('\0', "\u{2400}")
}

impl Store for PostgresStore {
    fn acquire<'a>(&'a self, mapping: &'a str) -> Answer<'a, Fence> {
        Box::pin(async move {
            let mut write = self.begin().await?;
            let (engine, holder) = (&self.engine, &self.holder);
            let done = mappings::acquire(&mut write.transaction, engine, holder, mapping, self.lease).await;
            let fence = self.finish(write, done).await?;
            self.hold(&fence);
            Ok(fence)
        })
    }

    fn mapping<'a>(&'a self, mapping: &'a str) -> Answer<'a, Option<MappingState>> {
        Box::pin(async move { mappings::load(&mut *self.pool.acquire().await?, mapping).await })
    }

    fn mappings(&self) -> Answer<'_, Vec<String>> {
        Box::pin(async move {
            Ok(sqlx::query_scalar("SELECT name FROM mappings ORDER BY name").fetch_all(&self.pool).await?)
        })
    }

    fn links<'a>(&'a self, mapping: &'a str, side: Side, keys: &'a [Key]) -> Answer<'a, Vec<Option<Link>>> {
        Box::pin(async move {
            let mut reader = self.pool.acquire().await?;
            match self.number(&mut reader, mapping).await? {
                Some(number) => links::by_keys(&mut reader, number, side, keys).await,
                None => Ok(vec![None; keys.len()]),
            }
        })
    }

    fn links_after<'a>(&'a self, mapping: &'a str, after: LinkId, limit: usize) -> Answer<'a, Vec<Link>> {
        Box::pin(async move {
            let mut reader = self.pool.acquire().await?;
            let Some(number) = self.number(&mut reader, mapping).await? else { return Ok(Vec::new()) };
            let (first, last) = links::bounds(number);
            links::page(&mut reader, after.max(first), last, limit, None).await
        })
    }

    fn count_links<'a>(&'a self, mapping: &'a str) -> Answer<'a, u64> {
        Box::pin(async move {
            let query = sqlx::query_scalar("SELECT links FROM mappings WHERE name = $1").bind(mapping);
            codec::unsigned(query.fetch_optional(&self.pool).await?.unwrap_or(0))
        })
    }

    fn intend<'a>(&'a self, fence: &'a Fence, before: &'a Commit, intents: &'a Intents) -> Answer<'a, IntentsId> {
        Box::pin(async move {
            before.check_mapping(&fence.mapping)?;
            let (mut write, mut mapping) = self.begin_fenced(fence).await?;
            let done = commit::intend(&mut write.transaction, &mut mapping, before, intents).await;
            let done = self.finish(write, done).await;
            if matches!(done, Err(StoreError::LinkedTwice { .. })) && *before != Commit::default() {
                self.commit(fence, before).await?;
            }
            done
        })
    }

    fn open_intents<'a>(&'a self, mapping: &'a str) -> Answer<'a, Vec<(IntentsId, Intents)>> {
        Box::pin(async move {
            // Of one moment, so that intents and their creates fit.
            let mut write = self.begin().await?;
            sqlx::raw_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
                .execute(&mut *write.transaction)
                .await?;
            let done = intents::open(&mut write.transaction, mapping).await;
            self.finish(write, done).await
        })
    }

    fn commit<'a>(&'a self, fence: &'a Fence, commit: &'a Commit) -> Answer<'a, ()> {
        Box::pin(async move {
            commit.check_mapping(&fence.mapping)?;
            let (mut write, mut mapping) = self.begin_fenced(fence).await?;
            let done = commit::store(&mut write.transaction, &mut mapping, commit).await;
            self.finish(write, done).await
        })
    }

    fn conflicts<'a>(&'a self, filter: &'a ConflictFilter) -> Answer<'a, Vec<Conflict>> {
        Box::pin(async move { conflicts::find(&mut *self.pool.acquire().await?, filter).await })
    }

    fn resolve<'a>(&'a self, ids: &'a [i64], resolution: Option<&'a Resolution>) -> Answer<'a, u64> {
        Box::pin(async move {
            let mut write = self.begin().await?;
            let done = conflicts::resolve(&mut write.transaction, ids, resolution).await;
            self.finish(write, done).await
        })
    }

    fn parked<'a>(&'a self, filter: &'a ParkedFilter) -> Answer<'a, Vec<Parked>> {
        Box::pin(async move { parked::find(&mut *self.pool.acquire().await?, filter).await })
    }

    fn retry<'a>(&'a self, ids: &'a [i64]) -> Answer<'a, u64> {
        Box::pin(async move {
            let mut write = self.begin().await?;
            let done = parked::retry(&mut write.transaction, ids).await;
            self.finish(write, done).await
        })
    }

    fn drop_parked<'a>(&'a self, ids: &'a [i64]) -> Answer<'a, u64> {
        Box::pin(async move {
            let mut write = self.begin().await?;
            let done = parked::drop_ids(&mut write.transaction, ids).await;
            self.finish(write, done).await
        })
    }

    fn spooled<'a>(&'a self, mapping: &'a str, after: LinkId, limit: usize) -> Answer<'a, Vec<Spooled>> {
        Box::pin(async move {
            let mut reader = self.pool.acquire().await?;
            let Some(number) = self.number(&mut reader, mapping).await? else { return Ok(Vec::new()) };
            ledger::spooled(&mut reader, number, after, limit).await
        })
    }

    fn count_owed<'a>(&'a self, mapping: &'a str) -> Answer<'a, OwedCounts> {
        Box::pin(async move {
            let mut reader = self.pool.acquire().await?;
            let Some(number) = self.number(&mut reader, mapping).await? else { return Ok(OwedCounts::default()) };
            ledger::count_owed(&mut reader, number).await
        })
    }

    fn sweep_begin<'a>(&'a self, fence: &'a Fence, side: Side) -> Answer<'a, ()> {
        Box::pin(async move {
            let (mut write, mapping) = self.begin_fenced(fence).await?;
            let done = ledger::sweep_begin(&mut write.transaction, &self.engine, &mapping, side).await;
            self.finish(write, done).await
        })
    }

    fn sweep_seen<'a>(&'a self, fence: &'a Fence, side: Side, keys: &'a [Key]) -> Answer<'a, ()> {
        Box::pin(async move {
            let (mut write, mapping) = self.begin_fenced(fence).await?;
            let done = ledger::sweep_seen(&mut write.transaction, &self.engine, &mapping, side, keys).await;
            self.finish(write, done).await
        })
    }

    fn sweep_absent<'a>(&'a self, fence: &'a Fence, side: Side, after: LinkId, limit: usize) -> Answer<'a, Vec<Link>> {
        Box::pin(async move {
            let (mut write, mapping) = self.begin_fenced(fence).await?;
            let done = ledger::sweep_absent(&mut write.transaction, &self.engine, &mapping, side, after, limit).await;
            self.finish(write, done).await
        })
    }

    fn written<'a>(&'a self, cells: &'a [Cell]) -> Answer<'a, Vec<Option<Written>>> {
        Box::pin(async move { written::find(&mut *self.pool.acquire().await?, cells).await })
    }

    fn runs<'a>(&'a self, mapping: Option<&'a str>, limit: usize) -> Answer<'a, Vec<RunRecord>> {
        Box::pin(async move {
            let mut reader = self.pool.acquire().await?;
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
                let page = prune::events(&mut write.transaction, before).await;
                let (events, is_more) = self.finish(write, page).await?;
                forgotten += events;
                if !is_more {
                    break;
                }
            }
            let mut write = self.begin().await?;
            let done = prune::conflicts_and_runs(&mut write.transaction, before).await;
            Ok(forgotten + self.finish(write, done).await?)
        })
    }

    fn deleted_since<'a>(&'a self, mapping: &'a str, since: DateTime<Utc>) -> Answer<'a, u64> {
        Box::pin(async move {
            let mut reader = self.pool.acquire().await?;
            let Some(number) = self.number(&mut reader, mapping).await? else { return Ok(0) };
            ledger::deleted_since(&mut reader, number, since).await
        })
    }

    fn events<'a>(&'a self, mapping: &'a str, side: Side, key: &'a Key) -> Answer<'a, Vec<EventRecord>> {
        Box::pin(async move {
            let mut reader = self.pool.acquire().await?;
            let Some(number) = self.number(&mut reader, mapping).await? else { return Ok(Vec::new()) };
            ledger::events(&mut reader, number, side, key).await
        })
    }

    fn padded_keys<'a>(&'a self, mapping: &'a str, side: Side, key: &'a Key) -> Answer<'a, Vec<Key>> {
        Box::pin(async move {
            let mut reader = self.pool.acquire().await?;
            let Some(number) = self.number(&mut reader, mapping).await? else { return Ok(Vec::new()) };
            ledger::padded_keys(&mut reader, number, side, key).await
        })
    }

    fn reset<'a>(&'a self, mapping: &'a str, links: bool) -> Answer<'a, ()> {
        Box::pin(async move {
            let mut write = self.begin().await?;
            let done = mappings::reset(&mut write.transaction, &self.engine, mapping, links).await;
            self.finish(write, done).await
        })
    }

    fn forget_values<'a>(&'a self, mapping: &'a str, keys: &'a Both<Option<Key>>) -> Answer<'a, Forgotten> {
        Box::pin(async move {
            let mut write = self.begin().await?;
            let done = forget::values(&mut write.transaction, &self.engine, mapping, keys).await;
            self.finish(write, done).await
        })
    }

    fn rename<'a>(&'a self, former: &'a str, name: &'a str) -> Answer<'a, ()> {
        Box::pin(async move {
            let mut write = self.begin().await?;
            let done = mappings::rename(&mut write.transaction, &self.engine, former, name).await;
            self.finish(write, done).await
        })
    }

    fn release<'a>(&'a self, fence: &'a Fence) -> Answer<'a, ()> {
        Box::pin(async move {
            self.let_go(fence);
            lease::release(&self.pool, &self.engine, fence).await
        })
    }

    /// Gives back what is still held, so that nobody has to wait for it.
    fn close(&self) -> Answer<'_, ()> {
        Box::pin(async move {
            let held = std::mem::take(&mut *self.held.lock().expect("nothing panics while it holds the lock"));
            for (mapping, number) in held {
                lease::release(&self.pool, &self.engine, &Fence { mapping, number }).await?;
            }
            self.keeper.abort();
            self.pool.close().await;
            Ok(())
        })
    }
}
