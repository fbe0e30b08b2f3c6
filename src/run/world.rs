//! Time and ids, which come in from outside.

use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::FutureExt;
use futures::future::{BoxFuture, Either};
use tokio::sync::watch;

/// The only clock and the only source of ids. Simulated in the tests.
pub trait World: Send + Sync {
    fn now(&self) -> DateTime<Utc>;

    fn sleep(&self, duration: Duration) -> BoxFuture<'_, ()>;

    /// A new id, unique and sortable by time.
    fn id(&self) -> String;

    /// Comes once whoever runs the engine wants it to end: what is being
    /// written is finished, and nothing else is begun. By default never.
    fn stopped(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::pending())
    }
}

/// Whether whoever runs the engine wants it to end.
pub(crate) fn is_stopped(world: &dyn World) -> bool {
    world.stopped().now_or_never().is_some()
}

/// What comes of a call that may be broken off, `None` where the engine is to
/// end before.
pub(crate) async fn unless_stopped<T>(world: &dyn World, call: impl Future<Output = T>) -> Option<T> {
    match futures::future::select(std::pin::pin!(call), world.stopped()).await {
        Either::Left((answer, _)) => Some(answer),
        Either::Right(_) => None,
    }
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

/// The real one, until somebody asks it to end.
#[derive(Debug, Clone)]
pub struct StoppableWorld(watch::Receiver<bool>);

impl StoppableWorld {
    /// A world that goes on until `true` is sent.
    pub fn new() -> (watch::Sender<bool>, StoppableWorld) {
        let (ask, asked) = watch::channel(false);
        (ask, StoppableWorld(asked))
    }
}

impl World for StoppableWorld {
    fn now(&self) -> DateTime<Utc> {
        SystemWorld.now()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'_, ()> {
        Box::pin(async move { SystemWorld.sleep(duration).await })
    }

    fn id(&self) -> String {
        SystemWorld.id()
    }

    fn stopped(&self) -> BoxFuture<'_, ()> {
        let mut asked = self.0.clone();
        Box::pin(async move {
            if asked.wait_for(|asked| *asked).await.is_err() {
                // Nobody is left who could ask.
                std::future::pending::<()>().await;
            }
        })
    }
}
