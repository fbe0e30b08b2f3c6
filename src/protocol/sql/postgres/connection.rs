//! Connections to one server: opened when needed, kept while they are sound.
//!
//! Not the driver's pool: an error of the first connection is told at once
//! and as what it is, and a connection that was left in the middle of
//! something (a future was dropped) is closed instead of cleaned up, which
//! makes the server end whatever it was doing there.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions, Connection};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::super::statement::{literal, safe};
use super::fault;
use crate::connector::Fault;

/// Connections at once: readings, fetches and writes of several mappings.
const CONNECTIONS: usize = 24;

pub(super) struct Connections {
    options: PgConnectOptions,
    /// What every connection is told first.
    greeting: String,
    timeout: Duration,
    idle: Mutex<Vec<PgConnection>>,
    free: Arc<Semaphore>,
}

impl Connections {
    pub(super) fn new(options: PgConnectOptions, timezone: chrono_tz::Tz, timeout: Duration) -> Arc<Connections> {
        // Times without a zone, which defaults and triggers make of now(),
        // must come out in the connection's zone. Statements as plain as ours
        // only lose time by being compiled. A client that vanished without a
        // word is noticed within a minute, so that what it left open ends.
        let greeting = format!(
            "SET TIME ZONE {}; SET lock_timeout = {}; SET standard_conforming_strings = on; SET DateStyle = 'ISO, YMD'; \
             SET bytea_output = 'hex'; SET jit = off; \
             SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3",
            literal(timezone.name()),
            timeout.as_millis(),
        );
        let (idle, free) = (Mutex::default(), Arc::new(Semaphore::new(CONNECTIONS)));
        Arc::new(Connections { options, greeting, timeout, idle, free })
    }

    /// A connection, which comes back only by [`Lease::give_back`].
    pub(super) async fn acquire(self: &Arc<Connections>, doing: &str) -> Result<Lease, Fault> {
        let late = |_| Fault::external(doing, "", format!("no connection within {} s", self.timeout.as_secs()));
        tokio::time::timeout(self.timeout, self.take(doing)).await.map_err(late)?
    }

    async fn take(self: &Arc<Connections>, doing: &str) -> Result<Lease, Fault> {
        let permit = self.free.clone().acquire_owned().await.expect("the semaphore is never closed");
        let lease = |connection| Lease { connection, home: self.clone(), _permit: permit };
        loop {
            let idle = self.idle.lock().expect("nothing panics while it holds the lock").pop();
            let Some(mut connection) = idle else { break };
            // The server may have closed it since.
            if connection.ping().await.is_ok() {
                return Ok(lease(connection));
            }
        }
        let failed = |error: sqlx::Error| fault::fault(doing, &error);
        let mut connection = self.options.connect().await.map_err(failed)?;
        sqlx::raw_sql(safe(self.greeting.clone())).execute(&mut connection).await.map_err(failed)?;
        Ok(lease(connection))
    }
}

/// A connection on loan. Dropping it closes it.
pub(super) struct Lease {
    connection: PgConnection,
    home: Arc<Connections>,
    _permit: OwnedSemaphorePermit,
}

impl Lease {
    /// Gives back a connection with nothing under way.
    pub(super) fn give_back(self) {
        self.home.idle.lock().expect("nothing panics while it holds the lock").push(self.connection);
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
