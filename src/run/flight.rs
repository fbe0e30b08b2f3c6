//! A batch on its way to a side and back: the intents go on record, the side is
//! sent the batch, and what became of it is taken in.
//!
//! New records fly beside the next batch, in a task of their own, while
//! nothing that is asked meanwhile depends on them; see `may_fly`. Where a side
//! takes several batches at once, as many are in the air. They go on record,
//! and land, in the order in which they were sent.

use std::collections::HashSet;
use std::panic::resume_unwind;

use futures::FutureExt;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::answer::Acknowledged;
use super::execute::Work;
use super::fault::is_harmless;
use super::prepared::Prepared;
use super::report::Trouble;
use super::send::Send;
use super::session::Session;
use super::setup::Setup;
use crate::compile::SideProgram;
use crate::connector::{Action, Change, Fault, Outcome, Settled};
use crate::record::{Key, Side, Value};
use crate::state::{Answered, Commit, Fence, Intents, IntentsId, StoreError};

/// A batch that is ready to be sent, and holds everything that takes.
pub(super) struct Flight {
    pub side: Side,
    pub fence: Fence,
    pub sends: Vec<Send>,
    /// In the order of the writes, as are each kind of the intents.
    pub changes: Vec<Change>,
    /// What goes into the state before the intents do.
    pub before: Commit,
    pub intents: Intents,
    pub turn: Turn,
}

/// What goes into the state before a batch does so after that of the batches
/// which were sent before it.
#[derive(Default)]
pub(super) struct Turn {
    /// True once that is done; closed where it failed.
    pub comes: Option<watch::Receiver<bool>>,
    pub done: Option<watch::Sender<bool>>,
}

impl Turn {
    async fn comes(&mut self) -> bool {
        match self.comes.take() {
            Some(mut before) => before.wait_for(|done| *done).await.is_ok(),
            None => true,
        }
    }

    fn is_done(&mut self) {
        if let Some(done) = self.done.take() {
            done.send_replace(true);
        }
    }
}

impl Flight {
    /// Everything is in the state that goes there before this batch. A run
    /// whose state fails it comes to its end.
    async fn commit_before(&self, setup: &Setup, turn: &mut Turn) -> Result<(), Trouble> {
        if !turn.comes().await {
            return Err(Trouble::Stopped);
        }
        if self.before != Commit::default() {
            setup.store.commit(&self.fence, &self.before).await?;
        }
        turn.is_done();
        Ok(())
    }
}

/// A batch that was sent, and what the side answered.
pub(super) struct Flown {
    flight: Flight,
    /// What became of the intents; `None` where the side failed before there
    /// was anything to record.
    recorded: Option<Result<IntentsId, StoreError>>,
    outcomes: Result<Vec<Outcome>, Fault>,
}

/// A batch that is sent while the run goes on; dropped, it comes down where it
/// is, as in a crash.
pub(super) struct Airborne {
    /// Holds the one task.
    pub task: JoinSet<Result<Flown, Trouble>>,
    /// Where it goes, and of how many records.
    pub side: Side,
    pub records: usize,
    pub work: Vec<Work>,
    /// Of the records that it carries over, on the side they come from.
    pub keys: HashSet<Key>,
    /// Of those that went before, whose links it brings into the state.
    pub earlier: HashSet<Key>,
    /// True once those are there.
    pub on_record: watch::Receiver<bool>,
}

impl Airborne {
    /// True where the state does not tell yet what became of a record.
    pub(super) fn carries(&self, key: &Key) -> bool {
        self.keys.contains(key) || self.earlier.contains(key)
    }
}

/// Sends a batch.
pub(super) async fn fly(setup: &Setup, mut flight: Flight) -> Result<Flown, Trouble> {
    let side = flight.side;
    let mut turn = std::mem::take(&mut flight.turn);
    let program = &setup.program.sides[side];
    let creates = flight.sends.iter().filter(|send| send.write.action == Action::Create).count();
    let allot = if program.key_is_mapped() { 0 } else { creates };
    let writing = match setup.call(side, || setup.objects[side].begin(allot)).await {
        Ok(writing) => writing,
        Err(trouble) => {
            flight.commit_before(setup, &mut turn).await?;
            return Err(trouble);
        }
    };
    flight.assign(program, writing.keys());
    flight.intents.token = writing.token();
    let mut recorded = None;
    let record = async {
        let done = match flight.commit_before(setup, &mut turn).await {
            Ok(()) => Ok(setup.store.intend(&flight.fence, &flight.intents).await),
            Err(trouble) => Err(trouble),
        };
        let is_done = matches!(done, Ok(Ok(_)));
        recorded = Some(done);
        is_done
    };
    let outcomes = writing.write(&flight.changes, record.boxed()).await;
    let recorded = recorded.transpose()?;
    if recorded.is_some() {
        flight.before = Commit::default();
    }
    Ok(Flown { flight, recorded, outcomes })
}

impl Flight {
    /// Gives the creates the keys that were allotted to them, where their
    /// system gives keys.
    fn assign(&mut self, program: &SideProgram, allotted: &[Vec<Value>]) {
        let is_given = |position: &usize| program.key_fields.get(*position).is_none_or(Option::is_none);
        let given: Vec<usize> = (0..program.access.key.len()).filter(is_given).collect();
        let mut allotted = allotted.iter();
        let mut made = self.intents.creates.iter_mut().map(|link| &mut link.keys);
        let mut changed = self.intents.changes.iter_mut().map(|intent| &mut intent.keys);
        for (send, change) in self.sends.iter().zip(&mut self.changes) {
            let keys = if send.link.is_none() { made.next() } else { changed.next() };
            if change.action != Action::Create {
                continue;
            }
            let values = if given.is_empty() { None } else { allotted.next() };
            for position in &given {
                if let Some(value) = change.key.get_mut(*position) {
                    *value = values.map_or(Value::Missing, |values| values[*position].clone());
                }
            }
            keys.expect("each write is an intent")[self.side] = Key::new(&change.key).unwrap_or_else(Key::untold);
            if change.key.iter().all(|value| *value == Value::Missing) {
                change.key.clear();
            }
        }
    }
}

impl Session<'_> {
    /// Waits for the batches that are in the air, and takes in what became of
    /// them; the next flush, or the next batch, brings that into the state.
    pub(super) async fn land(&mut self) -> Result<(), Trouble> {
        while !self.airborne.is_empty() {
            self.land_first().await?;
        }
        Ok(())
    }

    /// The same for the batch that was sent first, if one is in the air.
    pub(super) async fn land_first(&mut self) -> Result<(), Trouble> {
        let Some(first) = self.airborne.pop_front() else { return Ok(()) };
        let Airborne { mut task, side, records, work, keys, .. } = first;
        self.unflushed.extend(keys);
        let flown = match task.join_next().await.expect("one batch is in the air") {
            Ok(flown) => self.failing(side, records, flown)?,
            // A fault of the engine ends this run as it does everywhere else.
            Err(error) => resume_unwind(error.into_panic()),
        };
        self.debrief(flown, &work, &mut Acknowledged::default()).await
    }

    /// Takes in what became of a batch; sends it again where nothing did.
    pub(super) async fn debrief(
        &mut self,
        mut flown: Flown,
        work: &[Work],
        acknowledged: &mut Acknowledged,
    ) -> Result<(), Trouble> {
        let mut attempt = 1;
        loop {
            let Flown { flight, recorded, outcomes } = flown;
            let (side, records) = (flight.side, flight.sends.len());
            let fault = match (recorded, outcomes) {
                (Some(Err(StoreError::LinkedTwice { .. })), _) if self.empty[side] => {
                    self.not_so_empty(&flight, work);
                    return Ok(());
                }
                (Some(Err(error @ StoreError::LinkedTwice { .. })), _) => {
                    return self.linked_twice(&flight, work, error).await;
                }
                (Some(Err(error)), _) => return Err(error.into()),
                (Some(Ok(id)), Ok(outcomes)) => match self.held_back(&flight, id, &outcomes).await? {
                    Prepared::InEffect => return self.answered(flight, work, id, outcomes, acknowledged).await,
                    Prepared::Waits => return Ok(()),
                    Prepared::Void(fault) => {
                        self.take_void(id, flight.intents.creates.len()).await?;
                        fault
                    }
                },
                (None, outcomes) => outcomes.expect_err("nothing comes into effect that is not on record"),
                (Some(Ok(id)), Err(fault)) => {
                    let token = flight.intents.token.as_deref();
                    let harmless = is_harmless(&fault);
                    let applied = if harmless { Ok(false) } else { self.settle(side, token, &fault).await };
                    if self.failing(side, records, applied)? {
                        let done = |change: &Change| Outcome::Done { key: self.key_sent(side, change), stored: None };
                        let outcomes = flight.changes.iter().map(done).collect();
                        return self.answered(flight, work, id, outcomes, acknowledged).await;
                    }
                    self.take_void(id, flight.intents.creates.len()).await?;
                    fault
                }
            };
            let waited = self.setup.wait(side, &mut attempt, fault).await;
            self.failing(side, records, waited)?;
            let sent = fly(self.setup, flight).await;
            flown = self.failing(side, records, sent)?;
        }
    }

    /// Nothing of a batch is in effect: its intents are void.
    pub(super) async fn take_void(&mut self, id: IntentsId, creates: usize) -> Result<(), Trouble> {
        self.pending.answered.push(Answered { intents: id, not_made: (0..creates).collect() });
        self.flush().await
    }

    /// The key of a record once a change of it is in effect.
    fn key_sent(&self, side: Side, change: &Change) -> Vec<Value> {
        let slots = &self.program.sides[side].access.key;
        let sent = |(slot, value): (&usize, &Value)| {
            let set = change.set.iter().find(|(set, _)| set == slot);
            set.map_or(value, |(_, value)| value).clone()
        };
        slots.iter().zip(&change.key).map(sent).collect()
    }

    /// The records of a batch that a side did not take in, where it failed us
    /// for good.
    pub(super) fn failing<T>(&mut self, side: Side, records: usize, done: Result<T, Trouble>) -> Result<T, Trouble> {
        if matches!(done, Err(Trouble::Side(..))) {
            self.counts.toward(side).failed += records as u64;
        }
        done
    }

    /// Two records were to be created under one key, in a side that was empty
    /// when the run began, so that nothing was looked for: now it has to be.
    fn not_so_empty(&mut self, flight: &Flight, work: &[Work]) {
        self.empty[flight.side] = false;
        for item in flight.sends.iter().map(|send| &work[send.work]) {
            self.queue(item.from, &item.all_keys(), 0);
        }
    }

    /// Asks a side what became of a batch without an answer. True: it is in
    /// effect; false: it is not. Where only a look can tell, the run ends here,
    /// and the next one recovers.
    pub(super) async fn settle(&mut self, side: Side, token: Option<&str>, fault: &Fault) -> Result<bool, Trouble> {
        match self.setup.settled(side, token).await? {
            Settled::Applied => Ok(true),
            Settled::NotApplied => Ok(false),
            Settled::Running | Settled::Look => Err(Trouble::Side(side, fault.clone())),
        }
    }
}
