//! Listings, fetches and the horizon of a PostgreSQL table.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use async_stream::{stream, try_stream};
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use sqlx::postgres::{PgArguments, PgConnection, PgRow};
use sqlx::{Arguments, Row, ValueRef};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::super::read::{Selection, is_position};
use super::super::statement::{literal, safe};
use super::connection::Connections;
use super::describe::{Column, Table};
use super::{decode, encode, fault, write};
use crate::connector::{Access, Fault, Found, Horizon, Listing, Object, Overlap, Scope, Settled, Writing};
use crate::record::{Batch, Mark, Value};

/// The answer of a transaction in which something has failed.
const FAILED_TRANSACTION: &str = "25P02";

/// A table opened for one mapping.
pub(super) struct Opened {
    pub(super) connections: Arc<Connections>,
    pub(super) table: Table,
    pub(super) access: Access,
    /// The column of each slot.
    pub(super) columns: Vec<Column>,
    pub(super) selection: Selection,
    /// The newest transactions (subtransactions, by the number their rows
    /// carry) that did nothing but create records.
    pub(super) creations: Mutex<VecDeque<String>>,
}

impl Opened {
    pub(super) fn new(connections: Arc<Connections>, table: Table, access: Access) -> Result<Opened, Fault> {
        let column = |name: &str| {
            table.columns.iter().find(|column| column.field.name == name).cloned().ok_or_else(|| {
                Fault::user(format!("opening `{}`", access.object), "", format!("there is no column `{name}`"))
            })
        };
        let columns: Vec<Column> =
            access.shape.fields.iter().map(|field| column(&field.name)).collect::<Result<_, _>>()?;
        let names: Vec<&str> = columns.iter().map(|column| column.field.name.as_str()).collect();
        let nullable = access.cursor.is_none_or(|slot| !columns[slot].never_null);
        let mut selection = Selection::new(table.quoted(), &table.name, &access, &names, nullable);
        selection.selected =
            columns.iter().zip(&selection.columns).map(|(column, name)| column.native.selected(name)).collect();
        let mut opened = Opened { connections, table, access, columns, selection, creations: Mutex::default() };
        let start = opened.access.start.as_ref().map(|(slot, value)| (*slot, opened.not_before(*slot, value)));
        opened.selection.keep_within(opened.access.filter.as_deref(), start);
        Ok(opened)
    }

    pub(super) fn doing(&self, verb: &str) -> String {
        format!("{verb} `{}`", self.access.object)
    }

    /// What an error of reading the table is.
    pub(super) fn unread(&self, doing: &str, error: &sqlx::Error) -> Fault {
        fault::fault_on(doing, "SELECT", &self.selection.table, error)
    }

    /// A value as a column of this slot is compared with it.
    pub(super) fn compared(&self, slot: usize, value: &Value) -> Option<String> {
        let native = &self.columns[slot].native;
        Some(format!("{}::{}", literal(&encode::text(&native.base, value)?), native.cast))
    }

    fn not_before(&self, slot: usize, value: &Value) -> String {
        let compared = self.compared(slot, value);
        compared.map_or("TRUE".into(), |value| format!("{} >= {value}", self.selection.columns[slot]))
    }

    /// Adds a row to a batch: the columns of `row`, from `first` on, are
    /// these slots; the other slots are missing.
    pub(super) fn push(
        &self,
        batch: &mut Batch,
        row: &PgRow,
        first: usize,
        slots: &[usize],
    ) -> Result<(), sqlx::Error> {
        batch.push_with(|values| {
            let mut mark = Mark::Live;
            let before = values.len();
            if slots.len() == self.columns.len() {
                for slot in slots {
                    values.push(self.value(row, first + slot, *slot, &mut mark)?);
                }
            } else {
                values.resize(before + self.columns.len(), Value::Missing);
                for (index, slot) in slots.iter().enumerate() {
                    values[before + *slot] = self.value(row, first + index, *slot, &mut mark)?;
                }
            }
            Ok(mark)
        })
    }

    pub(super) fn value(&self, row: &PgRow, index: usize, slot: usize, mark: &mut Mark) -> Result<Value, sqlx::Error> {
        let raw = row.try_get_raw(index)?;
        if raw.is_null() {
            return Ok(Value::Null);
        }
        let column = &self.columns[slot];
        let bytes = raw.as_bytes().map_err(sqlx::Error::Decode)?;
        Ok(decode::decode(&column.native.base, bytes).unwrap_or_else(|why| {
            *mark = Mark::Malformed(format!("`{}` cannot be read: {why}", column.field.name).into());
            Value::Null
        }))
    }

    /// One statement is one snapshot, and the server waits while the reader
    /// does: nothing is held here but a batch. Where the reader stops early
    /// the connection is closed, which ends the statement.
    fn listing(&self, listing: Listing) -> BoxStream<'_, Result<Batch, Fault>> {
        let doing = self.doing("reading");
        Box::pin(try_stream! {
            let failed = |error: sqlx::Error| self.unread(&doing, &error);
            let mut lease = self.connections.acquire(&doing).await?;
            let mut from = match (&listing, self.access.cursor) {
                (Listing::Changes { from: Some(from), known, .. }, Some(cursor)) => {
                    let condition = self.not_before(cursor, from);
                    Some(match known {
                        Some(known) => self.but_known(condition, cursor, from, known),
                        None => condition,
                    })
                }
                _ => None,
            };
            if let (Listing::Changes { but_created: true, .. }, Some(cursor)) = (&listing, self.access.cursor) {
                let there = || format!("{} IS NOT NULL", self.selection.columns[cursor]);
                from = Some(self.but_created(from.unwrap_or_else(there)));
            }
            let (before, after) = match &listing {
                // A range of the cursor is nearly always short, but a table that
                // was just filled has no statistics that say so.
                Listing::Changes { from: Some(_), .. } => ("SET enable_seqscan = off", "RESET enable_seqscan"),
                // Where a policy would hide rows, this makes the server refuse
                // instead: a listing of all keys must not look complete then.
                Listing::Keys => ("SET row_security = off", "RESET row_security"),
                _ => ("", ""),
            };
            lease.begin_reading().await.map_err(failed)?;
            if !before.is_empty() {
                sqlx::raw_sql(before).execute(&mut *lease).await.map_err(failed)?;
            }
            // Most listings are short: room for a whole batch is made after the first.
            let new_batch = || Batch::with_capacity(self.access.shape.clone(), self.access.batch);
            for statement in self.selection.listing(&listing, from.as_deref()) {
                let mut batch = Batch::new(self.access.shape.clone());
                {
                    let mut rows = sqlx::query(safe(statement.sql)).persistent(false).fetch(&mut *lease);
                    while let Some(row) = rows.next().await {
                        self.push(&mut batch, &row.map_err(failed)?, 0, &statement.slots).map_err(failed)?;
                        if batch.len() >= self.access.batch {
                            self.reach(&mut batch, statement.moves_cursor);
                            yield std::mem::replace(&mut batch, new_batch());
                        }
                    }
                }
                if !batch.is_empty() {
                    self.reach(&mut batch, statement.moves_cursor);
                    yield batch;
                }
            }
            if !after.is_empty() {
                sqlx::raw_sql(after).execute(&mut *lease).await.map_err(failed)?;
            }
            lease.end_reading().await.map_err(failed)?;
            lease.give_back();
        })
    }

    /// Notes the last cursor value of a batch that moves the cursor.
    fn reach(&self, batch: &mut Batch, moves_cursor: bool) {
        if let (true, Some(cursor)) = (moves_cursor, self.access.cursor) {
            let kind = &self.columns[cursor].field.kind;
            let mut values = (0..batch.len()).rev().map(|row| &batch.row(row)[cursor]);
            batch.reached = values.find(|value| is_position(kind, value)).cloned();
        }
    }

    /// Rows whose slots `by` equal a probe, with the probe's index and whether
    /// the row is within `where` and `start`. A probe that is no value of the
    /// column's type at all finds nothing; a `where` that fails on a row is an
    /// error, for nobody knows then what stands there.
    pub(super) fn find<'a>(
        &'a self,
        connection: &'a mut PgConnection,
        by: &'a [usize],
        probes: &'a [(usize, &'a [Value])],
        scope: Scope,
        found: &'a mut Found,
    ) -> BoxFuture<'a, Result<(), sqlx::Error>> {
        async move {
            if probes.is_empty() || by.is_empty() {
                return Ok(());
            }
            let everything: Vec<usize> = (0..self.columns.len()).collect();
            let arguments = self.probe_arguments(by, probes)?;
            let rows = sqlx::query_with(safe(self.probe_statement(by, scope)), arguments).fetch_all(&mut *connection);
            let rows = self.connections.answer(rows).await;
            let rows = match rows {
                Err(error) if is_of_a_value(&error) => {
                    if self.are_values(connection, by, probes).await? {
                        return Err(error);
                    }
                    if probes.len() > 1 {
                        let (first, second) = probes.split_at(probes.len() / 2);
                        self.find(connection, by, first, scope, found).await?;
                        self.find(connection, by, second, scope, found).await?;
                    }
                    return Ok(());
                }
                rows => rows?,
            };
            for row in &rows {
                let position: i64 = row.try_get(0)?;
                let position = usize::try_from(position - 1).ok().and_then(|position| probes.get(position));
                let (index, _) = position.ok_or_else(|| sqlx::Error::Protocol("an answer to no probe".into()))?;
                self.push(&mut found.batch, row, 2, &everything)?;
                found.probes.push(*index);
                found.within.push(row.try_get(1)?);
            }
            Ok(())
        }
        .boxed()
    }

    fn probe_arguments(&self, by: &[usize], probes: &[(usize, &[Value])]) -> Result<PgArguments, sqlx::Error> {
        let mut arguments = PgArguments::default();
        for (position, slot) in by.iter().enumerate() {
            let base = &self.columns[*slot].native.base;
            let texts: Vec<_> = probes.iter().map(|(_, probe)| encode::text(base, &probe[position])).collect();
            arguments.add(texts).map_err(sqlx::Error::Encode)?;
        }
        Ok(arguments)
    }

    /// Whether every probe is a value of its columns' types. In a transaction
    /// that has failed nothing is asked any more: what failed it stands.
    async fn are_values(
        &self,
        connection: &mut PgConnection,
        by: &[usize],
        probes: &[(usize, &[Value])],
    ) -> Result<bool, sqlx::Error> {
        let casts = by.iter().enumerate().map(|(position, slot)| {
            let cast = &self.columns[*slot].native.cast;
            format!("(SELECT count(item::{cast}) FROM unnest(${}::text[]) AS item)", position + 1)
        });
        let sql = format!("SELECT {}", casts.collect::<Vec<_>>().join(" + "));
        let arguments = self.probe_arguments(by, probes)?;
        let counted = sqlx::query_with(safe(sql), arguments).fetch_one(connection);
        match self.connections.answer(counted).await {
            Ok(_) => Ok(true),
            Err(error) if is_of_a_value(&error) => Ok(false),
            Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some(FAILED_TRANSACTION) => Ok(true),
            Err(error) => Err(error),
        }
    }

    fn probe_statement(&self, by: &[usize], scope: Scope) -> String {
        let names: Vec<String> = (0..by.len()).map(|position| format!("engine_{position}")).collect();
        let arrays: Vec<String> = (1..=by.len()).map(|number| format!("${number}::text[]")).collect();
        let cast =
            names.iter().zip(by).map(|(name, slot)| format!("{name}::{} AS {name}", self.columns[*slot].native.cast));
        let equal: Vec<String> = names
            .iter()
            .zip(by)
            .map(|(name, slot)| format!("{} = engine_probe.{name}", self.selection.columns[*slot]))
            .collect();
        let within = &self.selection.within;
        let scope = match scope {
            Scope::Filtered => within.as_str(),
            Scope::Everything => "TRUE",
        };
        format!(
            "SELECT engine_probe.engine_index, ({within}) IS TRUE, {} FROM (SELECT engine_index, {} FROM unnest({}) \
             WITH ORDINALITY AS engine_raw({}, engine_index)) AS engine_probe JOIN {} ON {} WHERE {scope}",
            self.selection.selected.join(", "),
            cast.collect::<Vec<_>>().join(", "),
            arrays.join(", "),
            names.join(", "),
            self.selection.table,
            equal.join(" AND "),
        )
    }
}

/// A value that is none of its type, or that an operator does not take.
fn is_of_a_value(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    code.is_some_and(|code| code.starts_with("22"))
}

impl Object for Arc<Opened> {
    fn horizon(&self) -> BoxFuture<'_, Result<Horizon, Fault>> {
        Box::pin(self.take_horizon())
    }

    fn understand(&self) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(async move {
            let doing = self.doing("reading");
            let mut lease = self.connections.acquire(&doing).await?;
            let asked = sqlx::query(safe(self.selection.explained())).persistent(false).fetch_all(&mut *lease).await;
            asked.map_err(|error| self.unread(&doing, &error))?;
            lease.give_back();
            Ok(())
        })
    }

    fn read(&self, listing: Listing) -> BoxStream<'_, Result<Batch, Fault>> {
        // A task of its own, so that rows are decoded while others are dealt with. It ends with the stream.
        let (sender, mut batches) = mpsc::channel(1);
        let opened = self.clone();
        Box::pin(stream! {
            let mut reader = JoinSet::new();
            reader.spawn(async move {
                let mut listed = opened.connections.in_time(opened.doing("reading"), opened.listing(listing));
                while let Some(batch) = listed.next().await {
                    if sender.send(batch).await.is_err() {
                        break;
                    }
                }
            });
            while let Some(batch) = batches.recv().await {
                yield batch;
            }
            while let Some(ended) = reader.join_next().await {
                if let Err(ended) = ended && ended.is_panic() {
                    std::panic::resume_unwind(ended.into_panic());
                }
            }
        })
    }

    fn fetch<'a>(
        &'a self,
        by: &'a [usize],
        probes: &'a [Vec<Value>],
        scope: Scope,
    ) -> BoxFuture<'a, Result<Found, Fault>> {
        Box::pin(async move {
            let doing = self.doing("fetching from");
            let mut found =
                Found { batch: Batch::new(self.access.shape.clone()), probes: Vec::new(), within: Vec::new() };
            let whole: Vec<(usize, &[Value])> = probes
                .iter()
                .enumerate()
                .filter(|(_, probe)| !probe.iter().any(Value::is_null))
                .map(|(index, probe)| (index, probe.as_slice()))
                .collect();
            let mut lease = self.connections.acquire(&doing).await?;
            self.find(&mut lease, by, &whole, scope, &mut found).await.map_err(|error| self.unread(&doing, &error))?;
            lease.give_back();
            Ok(found)
        })
    }

    fn begin(&self, allot: usize) -> BoxFuture<'_, Result<Box<dyn Writing + '_>, Fault>> {
        Box::pin(async move { write::begin(self, allot).await.map(|batch| Box::new(batch) as Box<dyn Writing + '_>) })
    }

    fn overlap(&self) -> Overlap {
        if self.table.rows_stand_alone { Overlap::Written } else { Overlap::Opened }
    }

    fn settle<'a>(&'a self, token: Option<&'a str>) -> BoxFuture<'a, Result<Settled, Fault>> {
        Box::pin(async move {
            // A batch without a token never began here.
            let Some(token) = token else { return Ok(Settled::Look) };
            let doing = self.doing("settling a batch of");
            let mut lease = self.connections.acquire(&doing).await?;
            let settled = self.connections.answer(self.ask_settled(&mut lease, token)).await;
            let settled = settled.map_err(|error| fault::fault(&doing, &error))?;
            lease.give_back();
            Ok(settled)
        })
    }
}
