//! Listings and fetches of a SQLite table.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use async_stream::try_stream;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::super::read::{Selection, is_position};
use super::super::statement::{quote, safe};
use super::describe::Table;
use super::value::Column;
use super::{Inner, fault, write};
use crate::connector::{Access, Fault, Found, Horizon, Listing, Object, Scope, Settled, Writing};
use crate::record::{Batch, Kind, Mark, Value};

/// A table opened for one mapping.
pub(super) struct Opened {
    pub(super) inner: Arc<Inner>,
    pub(super) table: Table,
    pub(super) access: Access,
    /// The column of each slot.
    pub(super) columns: Vec<Column>,
    pub(super) selection: Selection,
    /// No row number up to this one is allotted.
    pub(super) highest: AtomicI64,
    /// Whether SQLite finds what a statement of probes asks for by an index.
    pub(super) probing: Mutex<HashMap<String, bool>>,
}

impl Opened {
    pub(super) fn new(inner: Arc<Inner>, table: Table, access: Access) -> Result<Opened, Fault> {
        let column = |name: &str| {
            table.columns.iter().find(|column| column.field.name == name).cloned().ok_or_else(|| {
                Fault::user(format!("opening `{}`", access.object), "", format!("there is no column `{name}`"))
            })
        };
        let columns: Vec<Column> =
            access.shape.fields.iter().map(|field| column(&field.name)).collect::<Result<_, _>>()?;
        let names: Vec<&str> = columns.iter().map(|column| column.field.name.as_str()).collect();
        let nullable = access.cursor.is_none_or(|slot| columns[slot].field.nullable);
        let mut selection = Selection::new(quote(&table.name), &table.name, &access, &names, nullable);
        let start = access.start.as_ref();
        let start = start.map(|(slot, value)| (*slot, columns[*slot].not_before(&selection.columns[*slot], value)));
        selection.keep_within(access.filter.as_deref(), start);
        Ok(Opened { inner, table, access, columns, selection, highest: AtomicI64::new(0), probing: Mutex::default() })
    }

    pub(super) fn doing(&self, verb: &str) -> String {
        format!("{verb} `{}`", self.access.object)
    }

    /// The values of a row whose columns, from `first` on, are these slots;
    /// the other slots are missing.
    pub(super) fn decode(
        &self,
        row: &SqliteRow,
        first: usize,
        slots: &[usize],
    ) -> Result<(Mark, Vec<Value>), sqlx::Error> {
        let mut values = vec![Value::Missing; self.columns.len()];
        let mut mark = Mark::Live;
        for (index, slot) in slots.iter().enumerate() {
            values[*slot] = match self.columns[*slot].read(row.try_get_raw(first + index)?) {
                Ok(value) => value,
                Err(why) => {
                    mark = Mark::Malformed(why.into());
                    Value::Null
                }
            };
        }
        Ok((mark, values))
    }

    fn listing(&self, listing: Listing) -> BoxStream<'_, Result<Batch, Fault>> {
        let doing = self.doing("reading");
        Box::pin(try_stream! {
            let failed = |error: sqlx::Error| fault::fault(&doing, &error);
            let mut connection = self.inner.acquire(&doing).await?;
            let journal: String =
                sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&mut *connection).await.map_err(failed)?;
            let from = match (&listing, self.access.cursor) {
                (Listing::Changes { from: Some(from), .. }, Some(cursor)) => {
                    Some(self.columns[cursor].not_before(&self.selection.columns[cursor], from))
                }
                _ => None,
            };
            for statement in self.selection.listing(&listing, from.as_deref()) {
                let mut sql = statement.sql;
                // Outside WAL mode an open reading would keep every writer from
                // committing, us included: take a copy first, in SQLite's own
                // temporary file.
                let copied = journal != "wal";
                if copied {
                    sqlx::query("DROP TABLE IF EXISTS temp.engine_listing").execute(&mut *connection).await.map_err(failed)?;
                    let copy = format!("CREATE TEMP TABLE engine_listing AS {sql}");
                    sqlx::query(safe(copy)).persistent(false).execute(&mut *connection).await.map_err(failed)?;
                    sql = "SELECT * FROM temp.engine_listing ORDER BY rowid".into();
                }
                let mut batch = Batch::with_capacity(self.access.shape.clone(), self.access.batch);
                {
                    let mut rows = sqlx::query(safe(sql)).persistent(false).fetch(&mut *connection);
                    while let Some(row) = rows.next().await {
                        let (mark, values) = self.decode(&row.map_err(failed)?, 0, &statement.slots).map_err(failed)?;
                        if let (true, Some(cursor)) = (statement.moves_cursor, self.access.cursor)
                            && is_position(&self.columns[cursor].field.kind, &values[cursor])
                        {
                            batch.reached = Some(values[cursor].clone());
                        }
                        batch.push(mark, values);
                        if batch.len() >= self.access.batch {
                            let empty = Batch::with_capacity(self.access.shape.clone(), self.access.batch);
                            yield std::mem::replace(&mut batch, empty);
                        }
                    }
                }
                if copied {
                    sqlx::query("DROP TABLE temp.engine_listing").execute(&mut *connection).await.map_err(failed)?;
                }
                if !batch.is_empty() {
                    yield batch;
                }
            }
        })
    }

    async fn take_horizon(&self) -> Result<Horizon, Fault> {
        let doing = self.doing("asking for the horizon of");
        let failed = |error: sqlx::Error| fault::fault(&doing, &error);
        let pool = self.inner.pool(&doing).await?;
        // While we hold the write lock nobody else is in the middle of a
        // change with a stamp it took earlier.
        let begin = if self.inner.read_only { "BEGIN" } else { "BEGIN IMMEDIATE" };
        let mut transaction = pool.begin_with(begin).await.map_err(failed)?;
        let mut horizon = Horizon::default();
        if let Some(cursor) = self.access.cursor {
            let sql = format!("SELECT max({}) FROM {}", self.selection.columns[cursor], self.selection.table);
            let row = sqlx::query(safe(sql)).fetch_one(&mut *transaction).await.map_err(failed)?;
            let largest = self.columns[cursor].read(row.try_get_raw(0).map_err(failed)?);
            horizon.largest = largest.ok().filter(|value| is_position(&self.columns[cursor].field.kind, value));
            let now: String = sqlx::query_scalar("SELECT strftime('%Y-%m-%dT%H:%M:%SZ', 'now')")
                .fetch_one(&mut *transaction)
                .await
                .map_err(failed)?;
            // Nothing says how fine the next stamp will be: `CURRENT_TIMESTAMP` counts seconds.
            let now = super::stamp::parse(&now).map(|now| now.instant(chrono_tz::Tz::UTC));
            let zone = self.inner.settings.zone();
            horizon.clock = now.and_then(|now| match self.columns[cursor].field.kind {
                Kind::Instant { .. } => Some(Value::Instant(now)),
                Kind::LocalTime { .. } => Some(Value::LocalTime(super::stamp::to_local(now, zone))),
                Kind::Date => Some(Value::Date(super::stamp::to_local(now, zone).date())),
                _ => None,
            });
        }
        transaction.rollback().await.map_err(failed)?;
        Ok(horizon)
    }
}

impl Object for Opened {
    fn horizon(&self) -> BoxFuture<'_, Result<Horizon, Fault>> {
        Box::pin(self.take_horizon())
    }

    fn understand(&self) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(async move {
            let doing = self.doing("reading");
            let mut connection = self.inner.acquire(&doing).await?;
            let asked = sqlx::query(safe(self.selection.explained())).persistent(false).fetch_all(&mut *connection);
            asked.await.map(drop).map_err(|error| fault::fault(&doing, &error))
        })
    }

    fn read(&self, listing: Listing) -> BoxStream<'_, Result<Batch, Fault>> {
        self.listing(listing)
    }

    fn avoid(&self, key: &[Value]) {
        if let [Value::Integer(number)] = key {
            self.highest.fetch_max(*number, Ordering::Relaxed);
        }
    }

    fn fetch<'a>(
        &'a self,
        by: &'a [usize],
        probes: &'a [Vec<Value>],
        scope: Scope,
    ) -> BoxFuture<'a, Result<Found, Fault>> {
        Box::pin(async move {
            let doing = self.doing("fetching from");
            let mut connection = self.inner.acquire(&doing).await?;
            self.find(&mut connection, by, probes, scope).await.map_err(|error| fault::fault(&doing, &error))
        })
    }

    fn begin(&self, allot: usize) -> BoxFuture<'_, Result<Box<dyn Writing + '_>, Fault>> {
        Box::pin(
            async move { write::begin(self, allot).await.map(|writing| Box::new(writing) as Box<dyn Writing + '_>) },
        )
    }

    /// A SQLite transaction ends with its process; one that is still running
    /// holds the write lock, so whoever gets the lock knows it is over.
    fn settle<'a>(&'a self, _token: Option<&'a str>) -> BoxFuture<'a, Result<Settled, Fault>> {
        Box::pin(async move {
            let doing = self.doing("settling a batch of");
            let failed = |error: sqlx::Error| fault::fault(&doing, &error);
            match self.inner.pool(&doing).await?.begin_with("BEGIN IMMEDIATE").await {
                Ok(transaction) => transaction.rollback().await.map(|()| Settled::Look).map_err(failed),
                Err(error) if fault::is_busy(&error) => Ok(Settled::Running),
                Err(error) => Err(failed(error)),
            }
        })
    }
}
