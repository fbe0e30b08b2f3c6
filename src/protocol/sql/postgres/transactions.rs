//! What PostgreSQL tells of its transactions: how far a table can be read, which
//! rows are known already, and what became of a batch.

use chrono::{DateTime, NaiveDateTime, SubsecRound, Utc};
use sqlx::Arguments;
use sqlx::postgres::{PgArguments, PgConnection};

use super::super::read::is_position;
use super::super::statement::safe;
use super::connection::Lease;
use super::encode;
use super::read::Opened;
use crate::connector::{Fault, Horizon, Settled};
use crate::record::{Kind, Mark, Value};

/// Transactions that are remembered. Their numbers repeat only after some four
/// thousand million.
const CREATIONS: usize = 4096;

impl Opened {
    /// Notes a transaction whose rows are new and were all made here.
    pub(super) fn created(&self, xmin: String) {
        let mut creations = self.creations.lock().expect("nothing panics while it holds the lock");
        if creations.len() == CREATIONS {
            creations.pop_front();
        }
        creations.push_back(xmin);
    }

    /// A condition, less the rows whose newest version one of these
    /// transactions made.
    pub(super) fn but_created(&self, condition: String) -> String {
        let creations = self.creations.lock().expect("nothing panics while it holds the lock");
        if creations.is_empty() {
            return condition;
        }
        let list = creations.iter().map(String::as_str).collect::<Vec<_>>().join(",");
        format!("{condition} AND {}.xmin <> ALL ('{{{list}}}'::xid[])", self.selection.qualifier)
    }

    /// A condition, less the rows at exactly `from` that were committed when
    /// all transactions before number `known` had ended. Rows tell the lower
    /// half of a number: across more than half of what that can tell, none is
    /// left out.
    pub(super) fn but_known(&self, condition: String, cursor: usize, from: &Value, known: &str) -> String {
        let (Some(from), Ok(known), true) = (self.compared(cursor, from), known.parse::<u64>(), self.table.tells_xmin)
        else {
            return condition;
        };
        let half = known & u64::from(u32::MAX);
        format!(
            "{condition} AND ({} > {from} OR age({}.xmin) <= age('{half}'::xid) \
             OR pg_snapshot_xmin(pg_current_snapshot())::text::numeric - {known} NOT BETWEEN 0 AND 2000000000)",
            self.selection.columns[cursor], self.selection.qualifier,
        )
    }

    /// The number of the transaction, or subtransaction, that made the row
    /// with this key what it is.
    pub(super) async fn xmin(
        &self,
        connection: &mut PgConnection,
        key: &[Value],
    ) -> Result<Option<String>, sqlx::Error> {
        let mut arguments = PgArguments::default();
        let mut equal = Vec::with_capacity(key.len());
        for (slot, value) in self.access.key.iter().zip(key) {
            let native = &self.columns[*slot].native;
            arguments.add(encode::text(&native.base, value)).map_err(sqlx::Error::Encode)?;
            equal.push(format!("{} = ${}::text::{}", self.selection.columns[*slot], equal.len() + 1, native.cast));
        }
        let sql = format!(
            "SELECT {}.xmin::text FROM {} WHERE {} LIMIT 1",
            self.selection.qualifier,
            self.selection.table,
            equal.join(" AND ")
        );
        self.connections.answer(sqlx::query_scalar_with(safe(sql), arguments).fetch_optional(connection)).await
    }

    pub(super) async fn take_horizon(&self) -> Result<Horizon, Fault> {
        let doing = self.doing("asking for the horizon of");
        let mut lease = self.connections.acquire(&doing).await?;
        let horizon = self.connections.answer(self.ask_horizon(&mut lease)).await;
        let horizon = horizon.map_err(|error| self.unread(&doing, &error))?;
        lease.give_back();
        Ok(horizon)
    }

    async fn ask_horizon(&self, lease: &mut Lease) -> Result<Horizon, sqlx::Error> {
        let mut horizon = Horizon { timeline: self.timeline(lease).await?, ..Horizon::default() };
        if let Some(cursor) = self.access.cursor {
            // The clock first: a transaction that begins after it has later stamps.
            let (clock, local, known): (DateTime<Utc>, NaiveDateTime, String) = sqlx::query_as(
                "SELECT now, now::timestamp, pg_snapshot_xmin(pg_current_snapshot())::text FROM clock_timestamp() AS now",
            )
            .fetch_one(&mut **lease)
            .await?;
            horizon.known = Some(known).filter(|_| self.table.tells_xmin);
            // Every open transaction may already have taken its stamp, whether
            // it has written yet or not. Those of other roles show no start
            // where we may not see it. A prepared transaction does not tell
            // when it began: the mark waits for its end.
            let (oldest, oldest_local, prepared): (Option<DateTime<Utc>>, Option<NaiveDateTime>, bool) = sqlx::query_as(
                "SELECT least(began, prepared), least(began, prepared)::timestamp, prepared IS NOT NULL \
                 FROM (SELECT min(xact_start) FROM pg_stat_activity WHERE datname = current_database() AND pid <> \
                   pg_backend_pid() AND backend_type NOT IN ('autovacuum worker', 'walsender', 'parallel worker')) AS a (began), \
                 (SELECT min(prepared) FROM pg_prepared_xacts WHERE database = current_database()) AS p (prepared)",
            )
            .fetch_one(&mut **lease)
            .await?;
            let sql = format!(
                "SELECT {} FROM {} WHERE {column} IS NOT NULL ORDER BY {column} DESC LIMIT 1",
                self.selection.selected[cursor],
                self.selection.table,
                column = self.selection.columns[cursor],
            );
            let row = sqlx::query(safe(sql)).fetch_optional(&mut **lease).await?;
            if let Some(row) = row {
                let largest = self.value(&row, 0, cursor, &mut Mark::Live)?;
                horizon.largest = Some(largest).filter(|value| is_position(&self.columns[cursor].field.kind, value));
            }
            horizon.clock = self.stamp(cursor, clock, local);
            let oldest = oldest.zip(oldest_local);
            horizon.oldest_open = oldest.and_then(|(oldest, local)| self.stamp(cursor, oldest, local));
            if horizon.clock.is_none() {
                horizon.open = open_transactions(lease).await?;
            } else if prepared {
                horizon.open = vec![String::new()];
            }
        }
        Ok(horizon)
    }

    /// The cluster, its timeline and the table, of which the second changes when
    /// the server is restored, and the third when a dump is. What we may not ask
    /// for, or a view has not, is left out.
    async fn timeline(&self, lease: &mut Lease) -> Result<Option<String>, sqlx::Error> {
        let table: Option<String> =
            sqlx::query_scalar("SELECT oid::text FROM pg_class WHERE oid = to_regclass($1) AND relkind IN ('r', 'p')")
                .bind(&*self.selection.table)
                .fetch_optional(&mut **lease)
                .await?;
        let server = timeline(lease).await?;
        let server = server.map(|server| format!("server {server}"));
        let table = table.map(|table| format!("table {table}"));
        let parts: Vec<String> = server.into_iter().chain(table).collect();
        Ok((!parts.is_empty()).then(|| parts.join(", ")))
    }

    /// A point in time, and the same on the server's clock, as the column of this
    /// slot would hold it at the least: a stamp of that moment may have lost what
    /// the column has no digits for.
    fn stamp(&self, slot: usize, time: DateTime<Utc>, local: NaiveDateTime) -> Option<Value> {
        match self.columns[slot].field.kind {
            Kind::Instant { digits } => Some(Value::Instant(time.trunc_subsecs(digits.into()))),
            Kind::LocalTime { digits } => Some(Value::LocalTime(local.trunc_subsecs(digits.into()))),
            Kind::Date => Some(Value::Date(local.date())),
            _ => None,
        }
    }

    pub(super) async fn ask_settled(&self, lease: &mut Lease, token: &str) -> Result<Settled, sqlx::Error> {
        let status = sqlx::query_scalar::<_, Option<String>>("SELECT pg_xact_status($1::text::xid8)")
            .bind(token)
            .fetch_one(&mut **lease)
            .await;
        match status {
            Ok(Some(status)) => Ok(match status.as_str() {
                // The transaction is in effect, but a change whose condition did not hold, or that
                // was refused, is no part of it.
                "committed" => Settled::Look,
                "aborted" => Settled::NotApplied,
                _ => Settled::Running,
            }),
            // Too old for the server to remember.
            Ok(None) => Ok(Settled::Look),
            // Not given out yet: the server was restored from a backup, and
            // whoever wrote is no part of it.
            Err(sqlx::Error::Database(error)) if error.code().is_some_and(|code| code.starts_with("22")) => {
                Ok(Settled::Look)
            }
            Err(error) => Err(error),
        }
    }
}

/// Every open transaction of the database but ours, whether it has written yet
/// or not, by the lock it holds on itself, which every role may see. A
/// prepared one had another name before.
async fn open_transactions(lease: &mut Lease) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT l.virtualtransaction FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid \
         WHERE l.locktype = 'virtualxid' AND l.mode = 'ExclusiveLock' AND a.datname = current_database() \
         AND l.pid <> pg_backend_pid() AND a.backend_type IS DISTINCT FROM 'autovacuum worker' \
         UNION SELECT '' FROM pg_prepared_xacts WHERE database = current_database()",
    )
    .fetch_all(&mut **lease)
    .await
}

/// The cluster and its timeline, which changes when it is restored; `None`
/// where we may not ask.
async fn timeline(lease: &mut Lease) -> Result<Option<String>, sqlx::Error> {
    let asked = sqlx::query_scalar(
        "SELECT system_identifier::text || '/' || timeline_id::text FROM pg_control_system(), pg_control_checkpoint()",
    )
    .fetch_one(&mut **lease)
    .await;
    match asked {
        Ok(timeline) => Ok(Some(timeline)),
        Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("42501") => Ok(None),
        Err(error) => Err(error),
    }
}
