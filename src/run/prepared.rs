//! What is written to a side that shows it whole or not at all: files.
//!
//! New records wait for the end of a reading, on record and in no memory;
//! whatever else is written comes into effect with its batch.

use std::time::Duration;

use super::fault::is_harmless;
use super::flight::Flight;
use super::report::Trouble;
use super::session::Session;
use super::setup::Setup;
use crate::connector::{Fault, FaultKind, Outcome, Retry};
use crate::record::Side;
use crate::state::{Answered, IntentsId};

/// A batch of new records that is prepared, and in effect with all others.
#[derive(Debug, Clone, Copy)]
pub(super) struct Waiting {
    intents: IntentsId,
    records: usize,
}

/// What a batch is once its side has said what became of it.
pub(super) enum Prepared {
    InEffect,
    Waits,
    /// Nothing of it is in effect, and it may be sent again.
    Void(Fault),
}

impl Setup {
    /// Brings one batch that was written into effect. It is at hand as a whole,
    /// to be written anew after a fault that passes.
    pub(super) async fn in_effect(&self, side: Side) -> Result<(), Fault> {
        self.objects[side].finish().await.map_err(|fault| match fault.retry {
            Retry::Never if fault.kind == FaultKind::External => Fault { retry: Retry::Later(Duration::ZERO), ..fault },
            _ => fault,
        })
    }
}

impl Session<'_> {
    /// Has a batch come into effect, where its side does not do that by itself,
    /// or lets it wait for others.
    pub(super) async fn held_back(
        &mut self,
        flight: &Flight,
        intents: IntentsId,
        outcomes: &[Outcome],
    ) -> Result<Prepared, Trouble> {
        let side = flight.side;
        if !self.setup.objects[side].holds_back() {
            return Ok(Prepared::InEffect);
        }
        if self.may_wait(flight, outcomes) {
            let records = flight.sends.len();
            self.waiting[side].push(Waiting { intents, records });
            self.counts.toward(side).created += records as u64;
            return Ok(Prepared::Waits);
        }
        if !self.waiting[side].is_empty() {
            let done = self.bring_into_effect(side).await;
            if done.is_err() {
                self.take_void(intents, flight.intents.creates.len()).await?;
            }
            return done.map(|()| Prepared::InEffect);
        }
        match self.setup.in_effect(side).await {
            Ok(()) => Ok(Prepared::InEffect),
            Err(fault) if is_harmless(&fault) => Ok(Prepared::Void(fault)),
            Err(fault) => Err(Trouble::Side(side, fault)),
        }
    }

    /// New records of which nothing has to be remembered but their links, which
    /// are on record.
    fn may_wait(&self, flight: &Flight, outcomes: &[Outcome]) -> bool {
        let plain = |outcome: &Outcome, key: &[crate::record::Value]| matches!(outcome, Outcome::Done { key: done, stored: None } if done == key);
        let is_ring = self.setup.neighbours.any_ring();
        !is_ring
            && self.owed.is_empty()
            && flight.sends.iter().all(|send| send.link.is_none() && send.ends.is_empty() && !send.owing && !send.again)
            && flight.changes.iter().zip(outcomes).all(|(change, outcome)| plain(outcome, &change.key))
    }

    /// What was prepared is to be seen: its records are created.
    pub(super) async fn bring_into_effect(&mut self, side: Side) -> Result<(), Trouble> {
        if self.waiting[side].is_empty() {
            return Ok(());
        }
        let setup = self.setup;
        let done = setup.call(side, || setup.objects[side].finish()).await;
        let waiting = std::mem::take(&mut self.waiting[side]);
        match done {
            Ok(()) => {
                for Waiting { intents, .. } in waiting {
                    self.pending.answered.push(Answered { intents, not_made: Vec::new() });
                }
                self.pending.made = Some(self.made(side));
                self.flush().await
            }
            Err(trouble) => {
                let records: usize = waiting.iter().map(|waiting| waiting.records).sum();
                let counts = self.counts.toward(side);
                counts.created = counts.created.saturating_sub(records as u64);
                counts.failed += records as u64;
                if matches!(&trouble, Trouble::Side(_, fault) if is_harmless(fault)) {
                    for Waiting { intents, records } in waiting {
                        self.pending.answered.push(Answered { intents, not_made: (0..records).collect() });
                    }
                    self.flush().await?;
                }
                Err(trouble)
            }
        }
    }

    /// The run ends before what was prepared is to be seen: nothing of it is
    /// made, and the next run finds it so.
    pub(super) fn let_go_of_prepared(&mut self) {
        for side in Side::BOTH {
            let records: usize = self.waiting[side].drain(..).map(|waiting| waiting.records).sum();
            let counts = self.counts.toward(side);
            counts.created = counts.created.saturating_sub(records as u64);
        }
    }

    /// What was prepared on either side is to be seen.
    pub(super) async fn bring_all_into_effect(&mut self) -> Result<(), Trouble> {
        for side in Side::BOTH {
            self.bring_into_effect(side).await?;
        }
        Ok(())
    }
}
