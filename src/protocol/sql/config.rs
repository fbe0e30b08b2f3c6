//! What a connection to a SQL database is told, every secret resolved.

use std::path::PathBuf;
use std::time::Duration;

use chrono_tz::Tz;

/// The settings of one connection. Not every dialect takes every setting;
/// the connector's constructor refuses what it has no use for.
#[derive(Clone, PartialEq, Eq)]
pub struct SqlSettings {
    /// The address as a URL: `sqlite://data/demo.db`,
    /// `postgres://user:password@host/database`. Or `host`, `port`,
    /// `database`, `username` and `password`, each of which, where given,
    /// outranks its part of the URL.
    pub url: Option<String>,
    pub host: Option<String>,
    pub port: Option<u16>,
    pub database: Option<String>,
    pub username: Option<String>,
    pub password: Option<String>,
    /// The folder that relative paths in `url` and `create_from` start from.
    pub folder: PathBuf,
    /// SQLite only: where the database file does not exist, it is made from
    /// the SQL text in this file.
    pub create_from: Option<PathBuf>,
    /// The zone of times that carry none, where it is said; else they are taken
    /// as UTC, and a server goes on giving them in its own.
    pub timezone: Option<Tz>,
    /// How long to wait for a connection, or for a lock that another holds.
    pub timeout: Duration,
}

impl Default for SqlSettings {
    fn default() -> SqlSettings {
        SqlSettings {
            url: None,
            host: None,
            port: None,
            database: None,
            username: None,
            password: None,
            folder: PathBuf::new(),
            create_from: None,
            timezone: None,
            timeout: Duration::from_secs(30),
        }
    }
}

impl SqlSettings {
    /// The zone of times that carry none.
    pub(super) fn zone(&self) -> Tz {
        self.timezone.unwrap_or(Tz::UTC)
    }
}

/// Without the password, wherever it stands.
impl std::fmt::Debug for SqlSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqlSettings")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("database", &self.database)
            .field("username", &self.username)
            .field("folder", &self.folder)
            .field("create_from", &self.create_from)
            .field("timezone", &self.timezone)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}
