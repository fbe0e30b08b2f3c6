//! How somebody stops a run from outside.

use tokio::sync::watch;

use super::Exit;
use crate::run::StoppableWorld;

/// Listens to Ctrl-C and SIGTERM.
pub(super) struct Stop {
    ask: watch::Sender<bool>,
    signals: Signals,
    first: Option<Exit>,
}

impl Stop {
    /// Listens from now on. The world ends with the first signal.
    pub(super) fn listen() -> (Stop, StoppableWorld) {
        let (ask, world) = StoppableWorld::new();
        (Stop { ask, signals: Signals::listen(), first: None }, world)
    }

    /// Works until that is done, or a second signal comes; `asked` is called at
    /// the first. Answers with what came of the work, and how the process ends
    /// where somebody stopped it.
    pub(super) async fn during<T>(
        &mut self,
        work: impl Future<Output = T>,
        asked: impl Fn(),
    ) -> (Option<T>, Option<Exit>) {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return (Some(done), self.first),
                exit = self.signals.next() => {
                    if self.first.is_some() {
                        return (None, self.first);
                    }
                    self.first = Some(exit);
                    self.ask.send_replace(true);
                    asked();
                }
            }
        }
    }
}

#[cfg(unix)]
struct Signals([(Option<tokio::signal::unix::Signal>, Exit); 2]);

#[cfg(unix)]
impl Signals {
    fn listen() -> Signals {
        use tokio::signal::unix::{SignalKind, signal};
        // Where one cannot be listened to, it ends the process as ever.
        Signals([
            (signal(SignalKind::interrupt()).ok(), Exit::Interrupted),
            (signal(SignalKind::terminate()).ok(), Exit::Terminated),
        ])
    }

    async fn next(&mut self) -> Exit {
        let waits = self.0.iter_mut().map(|(signals, exit)| {
            Box::pin(async move {
                if let Some(signals) = signals
                    && signals.recv().await.is_some()
                {
                    return *exit;
                }
                std::future::pending().await
            })
        });
        futures::future::select_all(waits).await.0
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn listen() -> Signals {
        Signals
    }

    async fn next(&mut self) -> Exit {
        match tokio::signal::ctrl_c().await {
            Ok(()) => Exit::Interrupted,
            Err(_) => std::future::pending().await,
        }
    }
}
