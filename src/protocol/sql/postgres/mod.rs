//! PostgreSQL, 13 and later.
//!
//! Reading streams one statement; writing is one transaction for each batch,
//! whose id is the token that tells afterwards what became of it. Values are
//! read in binary form (`decode`) and sent as text (`encode`). Start reading
//! at [`connect_postgres`].

mod allot;
mod connection;
mod copy;
mod decode;
mod describe;
mod encode;
mod fault;
mod read;
mod statement;
mod tls;
mod transactions;
mod types;
mod write;

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use futures::future::BoxFuture;
use sqlx::ConnectOptions;
use sqlx::postgres::PgConnectOptions;
use url::Url;

use self::connection::Connections;
use super::SqlSettings;
use crate::connector::{Access, Connector, Description, Fault, Object, ObjectSummary};

/// The address of a PostgreSQL server with the files of its TLS settings named
/// from `folder`, as `tls` has it.
///
/// # Errors
/// A fault of the user's where a file cannot be read, or would not be looked at.
pub fn settle_tls(url: Url, folder: &Path) -> Result<Url, Fault> {
    tls::settle(url, folder)
}

/// A PostgreSQL database. Nothing is connected before the first use.
///
/// # Errors
/// A fault of the user's where the address cannot be read.
pub fn connect_postgres(settings: &SqlSettings) -> Result<Arc<dyn Connector>, Fault> {
    let refuse = |message: &str| Fault::user("connecting", "", message);
    if settings.create_from.is_some() {
        return Err(refuse("`create_from` is for SQLite only"));
    }
    let mut options = match &settings.url {
        // What the URL's parser would say of it may show the password.
        Some(url) => {
            let unreadable = "the `url` cannot be read; it has the form `postgres://user:password@host:5432/database`";
            let url = url.parse::<Url>().map_err(|problem| refuse(&format!("{unreadable}: {problem}")))?;
            if !matches!(url.scheme(), "postgres" | "postgresql") {
                return Err(refuse(&format!("the `url` is of another kind, `{}`: {unreadable}", url.scheme())));
            }
            let url = tls::settle(url, &settings.folder)?;
            PgConnectOptions::from_url(&url).map_err(|_| refuse(unreadable))?
        }
        None if settings.host.is_some() || settings.database.is_some() => PgConnectOptions::new_without_pgpass(),
        None => return Err(refuse("none of `url`, `host` and `database` says where the server is")),
    };
    if let Some(host) = &settings.host {
        options = options.host(host);
    }
    if let Some(port) = settings.port {
        options = options.port(port);
    }
    if let Some(database) = &settings.database {
        options = options.database(database);
    }
    if let Some(username) = &settings.username {
        options = options.username(username);
    }
    if let Some(password) = &settings.password {
        options = options.password(password);
    }
    // Statements hold values; a slow one is no news.
    options = options.application_name("engine").disable_statement_logging();
    let connections = Connections::new(options, settings.timezone, settings.timeout);
    Ok(Arc::new(Server { connections, timezone: settings.zone(), described: Mutex::default() }))
}

struct Server {
    connections: Arc<Connections>,
    timezone: chrono_tz::Tz,
    /// Tables as they were last described, each for the next opening: asking
    /// a catalog takes longer than a run with nothing to do.
    described: Mutex<HashMap<String, describe::Table>>,
}

impl Server {
    fn take_described(&self, object: &str) -> Option<describe::Table> {
        self.described.lock().expect("nothing panics while it holds the lock").remove(object)
    }
}

impl Connector for Server {
    fn check(&self) -> BoxFuture<'_, Result<String, Fault>> {
        Box::pin(async move {
            let doing = "connecting";
            let mut lease = self.connections.acquire(doing).await?;
            let version = sqlx::query_scalar("SELECT current_setting('server_version')").fetch_one(&mut *lease);
            let version: String =
                self.connections.answer(version).await.map_err(|error| fault::fault(doing, &error))?;
            lease.give_back();
            Ok(format!("PostgreSQL {version}"))
        })
    }

    fn objects(&self) -> BoxFuture<'_, Result<Vec<ObjectSummary>, Fault>> {
        Box::pin(async move {
            let doing = "listing the tables";
            let mut lease = self.connections.acquire(doing).await?;
            let objects = self.connections.answer(describe::list(&mut lease)).await;
            let objects = objects.map_err(|error| fault::fault(doing, &error))?;
            lease.give_back();
            Ok(objects)
        })
    }

    fn describe<'a>(&'a self, object: &'a str) -> BoxFuture<'a, Result<Option<Description>, Fault>> {
        Box::pin(async move {
            let doing = format!("describing `{object}`");
            let mut lease = self.connections.acquire(&doing).await?;
            let table = self.connections.answer(describe::find(&mut lease, object)).await;
            let table = table.map_err(|error| fault::fault(&doing, &error))?;
            lease.give_back();
            let description = table.as_ref().ok().map(|table| table.description(self.timezone));
            if let Ok(table) = table {
                self.described.lock().expect("nothing panics while it holds the lock").insert(object.to_owned(), table);
            }
            Ok(description)
        })
    }

    fn open(&self, access: Access) -> BoxFuture<'_, Result<Arc<dyn Object>, Fault>> {
        Box::pin(async move {
            let doing = format!("opening `{}`", access.object);
            let table = match self.take_described(&access.object) {
                Some(table) => Ok(table),
                None => {
                    let mut lease = self.connections.acquire(&doing).await?;
                    let found = self.connections.answer(describe::find(&mut lease, &access.object)).await;
                    let found = found.map_err(|error| fault::fault(&doing, &error))?;
                    lease.give_back();
                    found
                }
            };
            let table = table.map_err(|alike| {
                let message = match alike.as_slice() {
                    [] => "there is no such table or view".to_owned(),
                    names => format!("the name fits several: {}", names.join(", ")),
                };
                Fault::user(&doing, "", message)
            })?;
            let opened = read::Opened::new(self.connections.clone(), table, access)?;
            Ok(Arc::new(Arc::new(opened)) as Arc<dyn Object>)
        })
    }
}
