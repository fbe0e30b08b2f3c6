//! Writes go to a side: intents first, then the batch, then what became of it.

use std::collections::BTreeMap;

use futures::FutureExt;

use super::execute::Work;
use super::fault::{SETTLING, is_harmless};
use super::report::Trouble;
use super::session::Session;
use super::setup::Setup;
use crate::compile::SideProgram;
use crate::connector::{Action, Change, Fault, Outcome, Settled};
use crate::plan::{FieldWrite, Link, RecordWrite};
use crate::record::{Both, Key, Side, Value};
use crate::state::{Answered, Fence, Intent, IntentField, Intents, IntentsId, StoreError};

/// A write that is about to be sent.
pub(super) struct Send {
    pub work: usize,
    /// The link as it is before the write; `None` for a record that is new.
    pub link: Option<Link>,
    pub write: RecordWrite,
    /// When people made the change it carries.
    pub people: Option<chrono::DateTime<chrono::Utc>>,
    /// Slots that are set beside the fields (`deletes: { set: … }`).
    pub set: Vec<(usize, Value)>,
    /// Slots that must still stand beside those of the fields.
    pub expect: Vec<(usize, Value)>,
}

/// A batch that is ready to be sent, and holds everything that takes.
pub(super) struct Flight {
    pub side: Side,
    fence: Fence,
    pub sends: Vec<Send>,
    /// In the order of the writes, as are each kind of the intents.
    pub changes: Vec<Change>,
    pub intents: Intents,
}

/// A batch that was sent, and what the side answered.
struct Flown {
    flight: Flight,
    /// What became of the intents; `None` where the side failed before there
    /// was anything to record.
    recorded: Option<Result<IntentsId, StoreError>>,
    outcomes: Result<Vec<Outcome>, Fault>,
}

/// Sends a batch.
async fn fly(setup: &Setup, mut flight: Flight) -> Result<Flown, Trouble> {
    let side = flight.side;
    let program = &setup.program.sides[side];
    let creates = flight.sends.iter().filter(|send| send.write.action == Action::Create).count();
    let allot = if program.key_is_mapped() { 0 } else { creates };
    let writing = setup.call(side, || setup.objects[side].begin(allot)).await?;
    flight.assign(program, writing.keys());
    flight.intents.token = writing.token();
    let mut recorded = None;
    let record = async {
        recorded = Some(setup.store.intend(&flight.fence, &flight.intents).await);
        matches!(recorded, Some(Ok(_)))
    };
    let outcomes = writing.write(&flight.changes, record.boxed()).await;
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
            keys.expect("each write is an intent")[self.side] =
                Key::new(&change.key).unwrap_or_else(|| Key::from_canonical(""));
            if change.key.iter().any(Value::is_null) {
                change.key.clear();
            }
        }
    }
}

impl Session<'_> {
    /// Writes a batch to one side: intents, the write, what came of it. Answers
    /// with the links whose records were updated, by their work.
    pub(super) async fn send(
        &mut self,
        side: Side,
        sends: Vec<Send>,
        work: &mut [Work],
    ) -> Result<BTreeMap<usize, Link>, Trouble> {
        let mut acknowledged = BTreeMap::new();
        let size = self.program.sides[side].access.batch.max(1);
        let mut rest = sends;
        while !rest.is_empty() {
            let later = rest.split_off(rest.len().min(size));
            self.send_batch(side, rest, work, &mut acknowledged).await?;
            rest = later;
        }
        Ok(acknowledged)
    }

    async fn send_batch(
        &mut self,
        side: Side,
        sends: Vec<Send>,
        work: &mut [Work],
        acknowledged: &mut BTreeMap<usize, Link>,
    ) -> Result<(), Trouble> {
        let flight = self.prepare(side, sends, work);
        let flown = fly(self.setup, flight).await?;
        self.land(flown, work, acknowledged).await
    }

    /// Takes in what became of a batch; sends it again where nothing did.
    async fn land(
        &mut self,
        mut flown: Flown,
        work: &[Work],
        acknowledged: &mut BTreeMap<usize, Link>,
    ) -> Result<(), Trouble> {
        let mut attempt = 1;
        loop {
            let Flown { flight, recorded, outcomes } = flown;
            let side = flight.side;
            let fault = match (recorded, outcomes) {
                (Some(Err(StoreError::LinkedTwice { .. })), _) if self.empty[side] => {
                    self.not_so_empty(&flight, work);
                    return Ok(());
                }
                (Some(Err(error)), _) => return Err(error.into()),
                (Some(Ok(id)), Ok(outcomes)) => return self.answered(flight, work, id, outcomes, acknowledged).await,
                (None, outcomes) => outcomes.expect_err("nothing comes into effect that is not on record"),
                (Some(Ok(id)), Err(fault)) => {
                    let token = flight.intents.token.as_deref();
                    if !is_harmless(&fault) && self.settle(side, token, &fault).await? {
                        let done = |change: &Change| Outcome::Done { key: change.key.clone(), stored: None };
                        let outcomes = flight.changes.iter().map(done).collect();
                        return self.answered(flight, work, id, outcomes, acknowledged).await;
                    }
                    // Nothing of it is in effect: the intents are void.
                    let not_made = (0..flight.intents.creates.len()).collect();
                    self.pending.answered.push(Answered { intents: id, not_made });
                    self.flush().await?;
                    fault
                }
            };
            self.setup.wait(side, &mut attempt, fault).await?;
            flown = fly(self.setup, flight).await?;
        }
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
        let mut waited = std::time::Duration::ZERO;
        let mut pause = std::time::Duration::from_millis(50);
        loop {
            match self.setup.call(side, || self.setup.objects[side].settle(token)).await? {
                Settled::Applied => return Ok(true),
                Settled::NotApplied => return Ok(false),
                Settled::Running if waited < SETTLING => {
                    self.setup.world.sleep(pause).await;
                    waited += pause;
                    pause = (pause * 2).min(std::time::Duration::from_secs(5));
                }
                Settled::Look | Settled::Running => return Err(Trouble::Side(side, fault.clone())),
            }
        }
    }

    /// What is sent, and what is recorded before it is. The values of new
    /// records move there: they are the bulk of a first sync.
    fn prepare(&self, side: Side, mut sends: Vec<Send>, work: &mut [Work]) -> Flight {
        let program = &self.program.sides[side];
        let fence = self.fence.clone().expect("a run that writes has taken its mapping");
        let mut changes = Vec::with_capacity(sends.len());
        let mut intents =
            Intents { side, token: None, at: self.setup.world.now(), creates: Vec::new(), changes: Vec::new() };
        for send in &mut sends {
            let action = send.write.action;
            let mut change = Change { action, key: Vec::new(), set: Vec::new(), expect: Vec::new() };
            match &send.link {
                Some(link) if action != Action::Create => {
                    change.key = self.key_values(side, &link.keys[side]);
                    change
                        .set
                        .extend(send.write.fields.iter().map(|field| (self.slot(side, field), field.value.clone())));
                    change.set.extend(send.set.iter().cloned());
                    let expected =
                        |field: &FieldWrite| Some((self.slot(side, field), field.against.as_ref()?.expect.clone()));
                    change.expect.extend(send.write.fields.iter().filter_map(expected));
                    change.expect.extend(send.expect.iter().cloned());
                    intents.changes.push(Self::intent(side, send, link, &work[send.work]));
                }
                Some(link) => {
                    // A record that is made anew for a link that stands.
                    self.fill(side, &mut change, send.write.fields.iter().cloned());
                    intents.changes.push(Self::intent(side, send, link, &work[send.work]));
                }
                None => {
                    let item = &mut work[send.work];
                    let mut link = self.new_link(&item.keys);
                    let fields = std::mem::take(&mut send.write.fields);
                    let mut other = item.seen[side.other()].live_mut();
                    for field in &fields {
                        let shown = || {
                            other
                                .as_mut()
                                .map_or(Value::Missing, |record| std::mem::take(&mut record.fields[field.field]))
                        };
                        link.bases.give(field.field, side, &field.value, shown, self.written(field.field));
                    }
                    change.set.reserve_exact(fields.len().saturating_sub(program.access.key.len()));
                    self.fill(side, &mut change, fields);
                    intents.creates.push(link);
                }
            }
            changes.push(change);
        }
        Flight { side, fence, sends, changes, intents }
    }

    fn slot(&self, side: Side, write: &FieldWrite) -> usize {
        let way = self.program.fields[write.field].toward[side].as_ref();
        way.expect("only a field that is written is in a write").slot
    }

    /// The values of a create: those of the key, then the others.
    fn fill(&self, side: Side, change: &mut Change, fields: impl IntoIterator<Item = FieldWrite>) {
        let key = &self.program.sides[side].access.key;
        change.key.resize(key.len(), Value::Missing);
        for field in fields {
            let slot = self.slot(side, &field);
            match key.iter().position(|of_key| *of_key == slot) {
                Some(position) => change.key[position] = field.value,
                None => change.set.push((slot, field.value)),
            }
        }
    }

    /// A field's bases once a write of it is acknowledged.
    pub(super) fn bases_of(side: Side, write: &FieldWrite, item: &Work) -> Both<Value> {
        match &write.against {
            Some(against) => against.bases.clone(),
            None => Both::from_fn(|of| match item.seen[of].live() {
                Some(record) if of != side => record.fields[write.field].clone(),
                _ => write.value.clone(),
            }),
        }
    }

    fn intent(side: Side, send: &Send, link: &Link, item: &Work) -> Intent {
        let field = |write: &FieldWrite| IntentField {
            field: write.field,
            value: write.value.clone(),
            expect: write.against.as_ref().map(|against| against.expect.clone()),
            bases: Self::bases_of(side, write, item),
        };
        Intent {
            link: link.id,
            keys: link.keys.clone(),
            revision: link.revision + 1,
            action: send.write.action,
            fields: send.write.fields.iter().map(field).collect(),
        }
    }
}
