//! Calls to a side, made again while there is hope.

use std::time::Duration;

use futures::future::BoxFuture;

use super::report::Trouble;
use super::setup::Setup;
use crate::connector::{Applied, Fault, Retry};
use crate::record::Side;

impl Setup {
    /// Makes a call that changes nothing, again after each passing fault.
    pub(super) async fn call<'a, T>(
        &'a self,
        side: Side,
        mut call: impl FnMut() -> BoxFuture<'a, Result<T, Fault>>,
    ) -> Result<T, Trouble> {
        let mut attempt = 1;
        loop {
            match call().await {
                Ok(answer) => return Ok(answer),
                Err(fault) => self.wait(side, &mut attempt, fault).await?,
            }
        }
    }

    /// Waits before the next attempt, or gives up.
    pub(super) async fn wait(&self, side: Side, attempt: &mut u32, fault: Fault) -> Result<(), Trouble> {
        let policy = self.retry[side];
        match fault.retry {
            Retry::Later(at_least) if *attempt < policy.attempts => {
                let doubled = policy.backoff.saturating_mul(1 << (*attempt - 1).min(16));
                *attempt += 1;
                self.world.sleep(doubled.min(policy.max).max(at_least)).await;
                Ok(())
            }
            _ => Err(Trouble::Side(side, fault)),
        }
    }
}

/// How long an unanswered write is asked about before the run gives up.
pub(super) const SETTLING: Duration = Duration::from_mins(1);

/// True where nothing that was sent came into effect.
pub(super) fn is_harmless(fault: &Fault) -> bool {
    fault.applied == Applied::No
}
