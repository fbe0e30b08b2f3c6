//! Connections to one server: opened when needed, kept while they are sound.
//!
//! Not the driver's pool: an error of the first connection is told at once
//! and as what it is, and a connection that was left in the middle of
//! something (a future was dropped) is closed instead of cleaned up, which
//! makes the server end whatever it was doing there.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_stream::try_stream;
use futures::StreamExt;
use futures::stream::BoxStream;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions, Connection};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::super::statement::{literal, safe};
use super::fault;
use crate::connector::Fault;
use crate::record::Batch;

/// Connections at once: readings, fetches and writes of several mappings.
const CONNECTIONS: usize = 24;

/// So many are kept open while nothing needs them.
const IDLE: usize = 8;

/// The zone in which the server gives times to whoever names none. The driver
/// names one, so that the session does not tell: what is set for the database, or
/// for all of them, does, else the zone of the server's log, which is the same
/// unless somebody has set one of the two by hand.
pub(super) const SERVER_ZONE: &str = "coalesce((SELECT split_part(setting, '=', 2) \
     FROM pg_db_role_setting AS own, unnest(own.setconfig) AS setting \
     WHERE lower(split_part(setting, '=', 1)) = 'timezone' AND own.setrole = 0 AND own.setdatabase IN \
       (0, (SELECT oid FROM pg_database WHERE datname = current_database())) \
     ORDER BY own.setdatabase DESC LIMIT 1), current_setting('log_timezone'))";

/// One that was idle and is sound says so within this time.
const SOUND: Duration = Duration::from_secs(5);

pub(super) struct Connections {
    options: PgConnectOptions,
    /// What every connection is told first.
    greeting: String,
    timeout: Duration,
    idle: Mutex<Vec<PgConnection>>,
    free: Arc<Semaphore>,
}

impl Connections {
    pub(super) fn new(
        options: PgConnectOptions,
        timezone: Option<chrono_tz::Tz>,
        timeout: Duration,
    ) -> Arc<Connections> {
        // Times without a zone, which defaults and triggers make of now(),
        // must come out in the connection's zone; where none is named, as they
        // do for everybody else: stamps have to follow each other. Statements as plain as ours
        // only lose time by being compiled. A client that vanished without a
        // word is noticed within a minute, so that what it left open ends.
        let greeting = format!(
            "{zone}; SET lock_timeout = {timeout}; SET statement_timeout = {statement}; SET standard_conforming_strings = on; SET DateStyle = 'ISO, YMD'; \
             SET bytea_output = 'hex'; SET jit = off; \
             SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3",
            zone = match timezone {
                Some(zone) => format!("SET TIME ZONE {}", literal(zone.name())),
                None => format!("SELECT set_config('TimeZone', {SERVER_ZONE}, false)"),
            },
            timeout = timeout.as_millis(),
            statement = limit(timeout),
        );
        let (idle, free) = (Mutex::default(), Arc::new(Semaphore::new(CONNECTIONS)));
        Arc::new(Connections { options, greeting, timeout, idle, free })
    }

    /// A reading, with the time that each batch of it may take. The statement
    /// itself has no limit ([`Lease::begin_reading`]): it lasts as long as the
    /// reader takes for what it reads.
    pub(super) fn in_time<'a>(
        &'a self,
        doing: String,
        mut reading: BoxStream<'a, Result<Batch, Fault>>,
    ) -> BoxStream<'a, Result<Batch, Fault>> {
        Box::pin(try_stream! {
            loop {
                let late = |_| fault::late(&doing, self.timeout);
                let next = tokio::time::timeout(self.timeout, reading.next()).await.map_err(late)?;
                match next {
                    Some(batch) => yield batch?,
                    None => break,
                }
            }
        })
    }

    /// Waits for the answer to a statement. The server itself ends one that
    /// takes twice the `timeout`; where nothing was heard for longer still,
    /// nobody is there any more.
    pub(super) async fn answer<T>(
        &self,
        answer: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, sqlx::Error> {
        let patience = 3 * self.timeout;
        tokio::time::timeout(patience, answer).await.unwrap_or_else(|_| Err(fault::silence(patience)))
    }

    /// A connection, which comes back only by [`Lease::give_back`].
    pub(super) async fn acquire(self: &Arc<Connections>, doing: &str) -> Result<Lease, Fault> {
        let late = |_| fault::late(doing, self.timeout);
        tokio::time::timeout(self.timeout, self.take(doing)).await.map_err(late)?
    }

    async fn take(self: &Arc<Connections>, doing: &str) -> Result<Lease, Fault> {
        let permit = self.free.clone().acquire_owned().await.expect("the semaphore is never closed");
        let lease = |connection| Lease { connection, home: self.clone(), _permit: permit };
        let idle = self.idle.lock().expect("nothing panics while it holds the lock").pop();
        if let Some(mut connection) = idle {
            if matches!(tokio::time::timeout(SOUND, connection.ping()).await, Ok(Ok(()))) {
                return Ok(lease(connection));
            }
            // The server has closed it since, or is gone without a word: the others are no better.
            self.idle.lock().expect("nothing panics while it holds the lock").clear();
        }
        let failed = |error: sqlx::Error| fault::fault(doing, &error);
        // A server that hangs up while TLS is agreed on is told as one that talks nonsense.
        let mut connection = self.options.connect().await.map_err(|error| match &error {
            sqlx::Error::Protocol(_) => Fault::external(doing, "", error.to_string()),
            _ => failed(error),
        })?;
        sqlx::raw_sql(safe(self.greeting.clone())).execute(&mut connection).await.map_err(failed)?;
        Ok(lease(connection))
    }
}

/// What a statement may take, in milliseconds: the time of a request, and as
/// much to wait for a lock, which has a limit of its own.
fn limit(timeout: Duration) -> u128 {
    2 * timeout.as_millis()
}

/// A connection on loan. Dropping it closes it.
pub(super) struct Lease {
    connection: PgConnection,
    home: Arc<Connections>,
    _permit: OwnedSemaphorePermit,
}

impl Lease {
    /// Lifts the limit of time from the statements that follow.
    pub(super) async fn begin_reading(&mut self) -> Result<(), sqlx::Error> {
        sqlx::raw_sql("SET statement_timeout = 0").execute(&mut self.connection).await.map(drop)
    }

    pub(super) async fn end_reading(&mut self) -> Result<(), sqlx::Error> {
        let limit = format!("SET statement_timeout = {}", limit(self.home.timeout));
        sqlx::raw_sql(safe(limit)).execute(&mut self.connection).await.map(drop)
    }

    /// Gives back a connection with nothing under way.
    pub(super) fn give_back(self) {
        let mut idle = self.home.idle.lock().expect("nothing panics while it holds the lock");
        if idle.len() < IDLE {
            idle.push(self.connection);
        }
    }
}

impl std::ops::Deref for Lease {
    type Target = PgConnection;
    fn deref(&self) -> &PgConnection {
        &self.connection
    }
}

impl std::ops::DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.connection
    }
}
