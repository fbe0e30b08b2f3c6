//! A batch on its way to a side and back: the intents go on record, the side is
//! sent the batch, and what became of it is taken in.
//!
//! New records fly beside the next batch, in a task of their own, while
//! nothing that is asked meanwhile depends on them; see `may_fly` and `land`.
//! Where a side can open a batch ahead, one goes on record while the one before
//! it is written. Batches go on record, are written, and land in the order in
//! which they were sent; where one is not written, those behind it are not.

use std::collections::HashSet;
use std::panic::resume_unwind;

use futures::FutureExt;
use tokio::sync::{oneshot, watch};
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
use crate::connector::{Action, Change, Fault, Outcome, Overlap, Settled, Writing};
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
    /// Nothing was asked for the keys of its new records; see `is_unasked`.
    pub is_unasked: bool,
    pub turn: Turn,
}

/// How far a batch has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) enum Stage {
    #[default]
    Prepared,
    /// It has its way to the side.
    Opened,
    /// What goes into the state before it is there, and so are its intents.
    OnRecord,
    /// It is in effect, or is not going to be.
    Written,
}

/// The place of a batch behind the one that was sent before it.
#[derive(Default)]
pub(super) struct Turn {
    before: Option<watch::Receiver<Stage>>,
    own: watch::Sender<Stage>,
}

impl Turn {
    pub(super) fn after(before: Option<&Airborne>) -> Turn {
        Turn { before: before.map(|before| before.stage.clone()), own: watch::Sender::default() }
    }

    pub(super) fn stage(&self) -> watch::Receiver<Stage> {
        self.own.subscribe()
    }

    /// The batch before has come so far; `false` where it does not.
    async fn comes(&self, stage: Stage) -> bool {
        match self.before.clone() {
            Some(mut before) => before.wait_for(|reached| *reached >= stage).await.is_ok(),
            None => true,
        }
    }

    fn reach(&self, stage: Stage) {
        self.own.send_replace(stage);
    }
}

impl Flight {
    /// Opens the batch: ahead of its turn where the side takes it. Whoever comes
    /// before has its way by then: it never waits for what this one holds.
    async fn open<'s>(&self, setup: &'s Setup, turn: &Turn) -> Result<Option<Box<dyn Writing + 's>>, Trouble> {
        let side = self.side;
        let creates = self.sends.iter().filter(|send| send.write.action == Action::Create).count();
        let allot = if setup.program.sides[side].key_is_mapped() { 0 } else { creates };
        if turn.before.is_some() {
            if turn.comes(Stage::Opened).await
                && let Ok(writing) = setup.objects[side].begin(allot).await
            {
                return Ok(Some(writing));
            }
            // There may be no more than one connection to be had.
            if !turn.comes(Stage::Written).await {
                return Ok(None);
            }
        }
        setup.call(side, || setup.objects[side].begin(allot)).await.map(Some)
    }
}

/// A batch that was sent, and what the side answered.
pub(super) struct Flown {
    flight: Flight,
    /// What became of the intents; `None` where they were not to go on record.
    recorded: Option<Result<IntentsId, StoreError>>,
    /// `None` where the batch before was not written, so that nothing was sent.
    outcomes: Option<Result<Vec<Outcome>, Fault>>,
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
    pub stage: watch::Receiver<Stage>,
}

impl Airborne {
    /// True where the state does not tell yet what became of a record.
    pub(super) fn carries(&self, key: &Key) -> bool {
        self.keys.contains(key) || self.earlier.contains(key)
    }
}

/// Sends a batch.
pub(super) async fn fly(setup: &Setup, mut flight: Flight) -> Result<Flown, Trouble> {
    let turn = std::mem::take(&mut flight.turn);
    let opened = flight.open(setup, &turn).await;
    let Ok(Some(writing)) = opened else {
        // What went before goes into the state all the same.
        if !turn.comes(Stage::OnRecord).await {
            return Err(Trouble::Stopped);
        }
        if flight.before != Commit::default() {
            setup.store.commit(&flight.fence, &std::mem::take(&mut flight.before)).await?;
        }
        turn.reach(Stage::OnRecord);
        return opened.map(|_| Flown { flight, recorded: None, outcomes: None });
    };
    turn.reach(Stage::Opened);
    flight.assign(&setup.program.sides[flight.side], writing.keys());
    flight.intents.token = writing.token();
    let (tell, told) = oneshot::channel();
    let record = async {
        // A run whose state fails it comes to its end.
        if !turn.comes(Stage::OnRecord).await {
            return Err(Trouble::Stopped);
        }
        let recorded = setup.store.intend(&flight.fence, &flight.before, &flight.intents).await;
        if matches!(recorded, Ok(_) | Err(StoreError::LinkedTwice { .. })) {
            turn.reach(Stage::OnRecord);
        }
        // Whoever writes may have failed by now.
        let _ = tell.send(recorded.is_ok());
        Ok::<_, Trouble>(recorded)
    };
    let write = async {
        let may_overtake = setup.objects[flight.side].overlap() == Overlap::Written;
        if !may_overtake && !turn.comes(Stage::Written).await {
            return None;
        }
        Some(writing.write(&flight.changes, told.map(|told| told == Ok(true)).boxed()).await)
    };
    let (recorded, outcomes) = futures::join!(record, write);
    let recorded = recorded?;
    if matches!(outcomes, Some(Ok(_))) || matches!(recorded, Err(StoreError::LinkedTwice { .. })) {
        turn.reach(Stage::Written);
    }
    flight.before = Commit::default();
    Ok(Flown { flight, recorded: Some(recorded), outcomes })
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
    /// Waits for the batches that are in the air and brings what became of them
    /// into the state, which then tells all there is to tell. Comes before
    /// anything is asked, of the state or a side, that they might change.
    pub(super) async fn land(&mut self) -> Result<(), Trouble> {
        if self.airborne.is_empty() {
            return Ok(());
        }
        while !self.airborne.is_empty() {
            self.land_first().await?;
        }
        self.flush().await
    }

    /// Takes in what became of the batch that was sent first, if one is in the
    /// air; the next flush brings that into the state, or the next batch.
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
                (Some(Err(StoreError::LinkedTwice { .. })), _) if flight.is_unasked => {
                    self.not_so_empty(side, &flight.sends, work);
                    return Ok(());
                }
                (Some(Err(error @ StoreError::LinkedTwice { .. })), _) => {
                    return self.linked_twice(&flight, work, error).await;
                }
                (Some(Err(error)), _) => return Err(error.into()),
                (Some(Ok(id)), Some(Ok(outcomes))) => match self.held_back(&flight, id, &outcomes).await? {
                    Prepared::InEffect => return self.answered(flight, work, id, outcomes, acknowledged).await,
                    Prepared::Waits => return Ok(()),
                    Prepared::Void(fault) => {
                        self.take_void(id, flight.intents.creates.len()).await?;
                        Some(fault)
                    }
                },
                (Some(Ok(id)), Some(Err(fault))) => {
                    let token = flight.intents.token.as_deref();
                    let harmless = is_harmless(&fault);
                    let applied = if harmless { Ok(false) } else { self.settle(side, token, &fault).await };
                    if self.failing(side, records, applied)? {
                        let done = |change: &Change| Outcome::Done { key: self.key_sent(side, change), stored: None };
                        let outcomes = flight.changes.iter().map(done).collect();
                        return self.answered(flight, work, id, outcomes, acknowledged).await;
                    }
                    self.take_void(id, flight.intents.creates.len()).await?;
                    Some(fault)
                }
                (Some(Ok(id)), None) => {
                    self.take_void(id, flight.intents.creates.len()).await?;
                    None
                }
                (None, _) => None,
            };
            if self.ended {
                self.counts.toward(side).failed += if self.stopped { 0 } else { records as u64 };
                return Ok(());
            }
            if let Some(fault) = fault {
                let waited = self.setup.wait(side, &mut attempt, fault).await;
                self.failing(side, records, waited)?;
            }
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

    /// True where nothing has to be looked for by its key in a side that was
    /// empty when the run began: the side itself says where it is taken by now.
    /// A dry run takes nothing.
    pub(super) fn is_unasked(&self, side: Side) -> bool {
        self.program.matches_by_key(side) && self.empty[side] && !self.options.dry
    }

    /// Records were to be created under one key, in a side of which nothing was
    /// asked for it: now it has to be.
    pub(super) fn not_so_empty(&mut self, side: Side, sends: &[Send], work: &[Work]) {
        self.empty[side] = false;
        for item in sends.iter().map(|send| &work[send.work]) {
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
