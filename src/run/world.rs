//! Time and ids, which come in from outside.

use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::future::BoxFuture;

/// The only clock and the only source of ids. Simulated in the tests.
pub trait World: Send + Sync {
    fn now(&self) -> DateTime<Utc>;

    fn sleep(&self, duration: Duration) -> BoxFuture<'_, ()>;

    /// A new id, unique and sortable by time.
    fn id(&self) -> String;
}

/// The real one.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemWorld;

#[expect(clippy::disallowed_methods, reason = "the one place where the real clock and real ids come from")]
impl World for SystemWorld {
    fn now(&self) -> DateTime<Utc> {
        Utc::now()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'_, ()> {
        Box::pin(tokio::time::sleep(duration))
    }

    fn id(&self) -> String {
        ulid::Ulid::new().to_string()
    }
}
