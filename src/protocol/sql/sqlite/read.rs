//! Listings and fetches of a SQLite table.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use async_stream::try_stream;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use sqlx::sqlite::{SqliteArguments, SqliteConnection, SqliteRow};
use sqlx::{Arguments, Row};

use super::super::read::{Selection, is_position};
use super::super::statement::{quote, safe};
use super::describe::Table;
use super::value::{Column, Stored};
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
        Ok(Opened { inner, table, access, columns, selection, highest: AtomicI64::new(0) })
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

    /// Rows whose slots `by` equal a probe, with the probe's index and whether
    /// the row is within `where` and `start`.
    pub(super) async fn find(
        &self,
        connection: &mut SqliteConnection,
        by: &[usize],
        probes: &[Vec<Value>],
        scope: Scope,
    ) -> Result<Found, sqlx::Error> {
        let mut found = Found { batch: Batch::new(self.access.shape.clone()), probes: Vec::new(), within: Vec::new() };
        let stored: Vec<(usize, Vec<Stored>)> = probes
            .iter()
            .enumerate()
            .filter(|(_, probe)| !probe.iter().any(Value::is_null))
            .map(|(index, probe)| {
                (index, by.iter().zip(probe).map(|(slot, value)| self.columns[*slot].store(value)).collect())
            })
            .collect();
        if stored.is_empty() || by.is_empty() {
            return Ok(found);
        }
        let everything: Vec<usize> = (0..self.columns.len()).collect();
        let sql = self.probe_statement(by, &stored, scope);
        let items = stored.iter().map(|(_, probe)| match probe.as_slice() {
            [only] => only.json(),
            several => several.iter().map(Stored::json).collect(),
        });
        let mut arguments = SqliteArguments::default();
        let list: serde_json::Value = items.collect();
        arguments.add(list.to_string()).map_err(sqlx::Error::Encode)?;
        let mut rows = sqlx::query_with(safe(sql), arguments).fetch(connection);
        while let Some(row) = rows.next().await {
            let row = row?;
            let position: i64 = row.try_get(0)?;
            let position = usize::try_from(position).ok().and_then(|position| stored.get(position));
            let (index, _) = position.ok_or_else(|| sqlx::Error::Protocol("an answer to no probe".into()))?;
            let (mark, values) = self.decode(&row, 2, &everything)?;
            found.batch.push(mark, values);
            found.probes.push(*index);
            found.within.push(row.try_get::<i64, _>(1)? != 0);
        }
        Ok(found)
    }

    /// CROSS JOIN keeps the order: each probe looks into the table's index,
    /// instead of each row looking into the list.
    fn probe_statement(&self, by: &[usize], probes: &[(usize, Vec<Stored>)], scope: Scope) -> String {
        let conditions: Vec<String> = by
            .iter()
            .enumerate()
            .map(|(position, slot)| {
                let blob = probes.iter().any(|(_, probe)| matches!(probe[position], Stored::Blob(_)));
                let item = if by.len() == 1 {
                    "engine_probe.engine_value".to_owned()
                } else {
                    format!("(engine_probe.engine_value ->> {position})")
                };
                let item = if blob { format!("unhex({item})") } else { item };
                // The bare `+` takes no affinity along: the column's own applies.
                format!("{} = +{item}", self.selection.columns[*slot])
            })
            .collect();
        let within = &self.selection.within;
        let scope = match scope {
            Scope::Filtered => within.as_str(),
            Scope::Everything => "TRUE",
        };
        format!(
            "SELECT engine_probe.engine_index, ({within}) IS TRUE, {} FROM (SELECT key AS engine_index, value AS engine_value \
             FROM json_each(?1)) AS engine_probe CROSS JOIN {} WHERE {} AND {scope}",
            self.selection.selected.join(", "),
            self.selection.table,
            conditions.join(" AND "),
        )
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

#[cfg(test)]
mod tests {
    use chrono_tz::Tz;
    use sqlx::Connection;

    use super::super::super::SqlSettings;
    use super::super::describe;
    use super::*;
    use crate::record::Shape;

    #[tokio::test]
    async fn probes_look_into_the_index() {
        let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        sqlx::raw_sql(
            "CREATE TABLE t (id INTEGER PRIMARY KEY, company TEXT, code TEXT, price DECIMAL(10,2), UNIQUE (company, code)); \
             CREATE INDEX by_price ON t (price); ",
        )
        .execute(&mut connection)
        .await
        .unwrap();
        let table = describe::find(&mut connection, "t", Tz::UTC).await.unwrap().unwrap();
        let shape = Shape { fields: table.columns.iter().map(|column| column.field.clone()).collect() };
        let access = Access {
            object: "t".into(),
            shape: Arc::new(shape),
            key: vec![0],
            cursor: None,
            filter: None,
            start: None,
            marked: None,
            batch: 10,
        };
        let settings = SqlSettings::default();
        let inner = Inner { settings, path: "t".into(), read_only: false, pool: tokio::sync::OnceCell::new() };
        let opened = Opened::new(Arc::new(inner), table, access).unwrap();
        for by in [&[0][..], &[1, 2], &[3]] {
            let probe = (0, vec![Stored::Text("1".into()); by.len()]);
            let sql = format!("EXPLAIN QUERY PLAN {}", opened.probe_statement(by, &[probe], Scope::Everything));
            let plan = sqlx::query(safe(sql)).bind("[1]").fetch_all(&mut connection).await.unwrap();
            let steps: Vec<&str> = plan.iter().map(|row| row.try_get(3).unwrap()).collect();
            assert!(steps[0].starts_with("SCAN json_each") && steps[1].starts_with("SEARCH t "), "{by:?}: {steps:?}");
        }
    }
}
