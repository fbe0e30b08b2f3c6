//! Calls to a side, made again while there is hope.

use std::fmt::Display;
use std::time::Duration;

use futures::future::BoxFuture;

use super::report::Trouble;
use super::setup::{RetryPolicy, Setup};
use super::world::{World, is_stopped, unless_stopped};
use crate::connector::{Applied, Fault, Retry, Settled};
use crate::record::Side;

impl Setup {
    /// Makes a call that changes nothing, again after each passing fault.
    pub(super) async fn call<'a, T>(
        &'a self,
        side: Side,
        call: impl FnMut() -> BoxFuture<'a, Result<T, Fault>>,
    ) -> Result<T, Trouble> {
        let answer = self.retry[side].call(&*self.world, Connected(self.connection(side)), call).await;
        answer.map_err(|fault| self.trouble(side, fault))
    }

    /// Waits before the next attempt, or gives up.
    pub(super) async fn wait(&self, side: Side, attempt: &mut u32, fault: Fault) -> Result<(), Trouble> {
        let waited = self.retry[side].wait(&*self.world, Connected(self.connection(side)), attempt, fault).await;
        waited.map_err(|fault| self.trouble(side, fault))
    }

    /// What a fault means of which nothing came into effect: where the engine is
    /// to end, nobody has waited until it passes.
    fn trouble(&self, side: Side, fault: Fault) -> Trouble {
        let passes = matches!(fault.retry, Retry::Later(_));
        if passes && is_stopped(&*self.world) { Trouble::Stopped } else { Trouble::Side(side, fault) }
    }

    fn connection(&self, side: Side) -> &str {
        &self.program.sides[side].connection
    }
}

impl Setup {
    /// What became of a batch without an answer: asked until the writer is at
    /// its end, or has been at it for too long.
    pub(super) async fn settled(&self, side: Side, token: Option<&str>) -> Result<Settled, Trouble> {
        let (mut waited, mut pause) = (Duration::ZERO, Duration::from_millis(50));
        loop {
            let settled = self.call(side, || self.objects[side].settle(token)).await?;
            if settled != Settled::Running || waited >= SETTLING {
                return Ok(settled);
            }
            self.world.sleep(pause).await;
            waited += pause;
            pause = (pause * 2).min(Duration::from_secs(5));
        }
    }
}

/// A connection, as warnings name it.
#[derive(Debug, Clone, Copy)]
pub struct Connected<'a>(pub &'a str);

impl Display for Connected<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "connection `{}`", self.0)
    }
}

impl RetryPolicy {
    /// Makes a call that may be made again, again after each passing fault;
    /// `whom` says in warnings who failed.
    ///
    /// # Errors
    /// The last fault, once there is no hope.
    pub async fn call<'a, T>(
        self,
        world: &dyn World,
        whom: impl Display + Copy,
        mut call: impl FnMut() -> BoxFuture<'a, Result<T, Fault>>,
    ) -> Result<T, Fault> {
        let mut attempt = 1;
        loop {
            match call().await {
                Ok(answer) => return Ok(answer),
                Err(fault) => self.wait(world, whom, &mut attempt, fault).await?,
            }
        }
    }

    async fn wait(self, world: &dyn World, whom: impl Display, attempt: &mut u32, fault: Fault) -> Result<(), Fault> {
        match fault.retry {
            Retry::Later(at_least) if *attempt < self.attempts => {
                let doubled = self.backoff.saturating_mul(1 << (*attempt - 1).min(16));
                let pause = doubled.min(self.max).max(at_least);
                *attempt += 1;
                // Else a run that waits for a system looks like one that hangs.
                let attempts = self.attempts;
                let message = format!("{whom}: {fault}; attempt {attempt} of {attempts} in {pause:?}");
                tracing::warn!(target: "engine::retry", "{message}");
                unless_stopped(world, world.sleep(pause)).await.ok_or(fault)
            }
            _ => Err(fault),
        }
    }
}

/// How long an unanswered write is asked about before the run gives up.
const SETTLING: Duration = Duration::from_mins(1);

/// True where nothing that was sent came into effect.
pub(super) fn is_harmless(fault: &Fault) -> bool {
    fault.applied == Applied::No
}
