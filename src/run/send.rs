//! What was decided to be written becomes batches for a side, with the intents
//! that go on record before them.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::answer::Acknowledged;
use super::conflicts::Ended;
use super::execute::Work;
use super::flight::{Airborne, Flight, Turn, fly};
use super::report::Trouble;
use super::session::Session;
use crate::connector::{Action, Change, Overlap};
use crate::plan::{Bases, FieldWrite, Link, LinkStatus, OwnStamp, Record, RecordWrite};
use crate::record::{Both, Side, Value, short_digest_of};
use crate::state::{Before, Commit, Intent, IntentField, Intents, RunStatus};

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
    /// Something of its pair did not go through, and stays owed whatever comes
    /// of this.
    pub owing: bool,
    /// What the link tells until the other side is written as well: that one of
    /// its records was gone, or outside.
    pub away: Option<(LinkStatus, bool)>,
    /// The same decision writes the other side next: owed until that is done.
    pub again: bool,
    /// Conflicts that are at their end once this is written: what people
    /// decided about them is done by it.
    pub ends: Vec<Ended>,
}

impl Send {
    /// What it does to the record, as people count it: `deletes: { set: … }`
    /// deletes, whatever that means to the system.
    pub(super) fn action(&self) -> Action {
        if self.set.is_empty() { self.write.action } else { Action::Delete }
    }
}

impl Session<'_> {
    /// Writes a batch to one side: intents, the write, what came of it.
    pub(super) async fn send(
        &mut self,
        side: Side,
        sends: Vec<Send>,
        work: &mut [Work],
    ) -> Result<Acknowledged, Trouble> {
        let mut acknowledged = Acknowledged::default();
        let size = self.program.sides[side].access.batch.max(1);
        let mut rest = sends;
        while !rest.is_empty() {
            let later = rest.split_off(rest.len().min(size));
            let records = rest.len();
            let flight = self.prepare(side, rest, work);
            let sent = fly(self.setup, flight).await;
            let flown = self.failing(side, records, sent)?;
            self.debrief(flown, work, &mut acknowledged).await?;
            self.flush().await?;
            rest = later;
        }
        Ok(acknowledged)
    }

    /// True where what is next read can be dealt with while this is written:
    /// new records into a side that was empty, of which nothing is asked that
    /// the batch could change.
    pub(super) fn may_fly(&self, sends: &Both<Vec<Send>>) -> Option<Side> {
        let side = Side::BOTH.into_iter().find(|side| !sends[*side].is_empty() && sends[side.other()].is_empty())?;
        let near = &self.setup.neighbours;
        let apart = near.rivals.is_empty() && !near.in_ring.source && !near.in_ring.target;
        let fits = sends[side].len() <= self.program.sides[side].access.batch;
        let new = sends[side].iter().all(|send| send.link.is_none());
        (apart && fits && new && self.is_unasked(side)).then_some(side)
    }

    /// Sends a batch as soon as its side takes one more, and does not wait for
    /// it.
    pub(super) async fn launch(&mut self, side: Side, sends: Vec<Send>, mut work: Vec<Work>) -> Result<(), Trouble> {
        let at_most = match self.setup.objects[side].overlap() {
            Overlap::None => 1,
            Overlap::Opened => 2,
            Overlap::Written => 3,
        };
        while self.airborne.len() >= at_most {
            self.land_first().await?;
        }
        if !self.is_unasked(side) {
            self.not_so_empty(side, &sends, &work);
            return self.land().await;
        }
        if !self.pending.links.is_empty() {
            // One of them may have to give up its key.
            self.flush().await?;
        }
        let records = sends.len();
        let keys = sends.iter().filter_map(|send| work[send.work].keys[side.other()].clone()).collect();
        let earlier = std::mem::take(&mut self.unflushed);
        let mut flight = self.prepare(side, sends, &mut work);
        if self.pending != Commit::default() {
            self.pending.run = Some(self.as_it_stands(RunStatus::Running));
        }
        flight.before = std::mem::take(&mut self.pending);
        flight.turn = Turn::after(self.airborne.back());
        let stage = flight.turn.stage();
        let setup = Arc::clone(self.setup);
        let mut task = JoinSet::new();
        task.spawn(async move { fly(&setup, flight).await });
        self.airborne.push_back(Airborne { task, side, records, work, keys, earlier, stage });
        Ok(())
    }

    /// What is sent, and what is recorded before it is. The values of new
    /// records move there: they are the bulk of a first sync.
    fn prepare(&self, side: Side, mut sends: Vec<Send>, work: &mut [Work]) -> Flight {
        let program = &self.program.sides[side];
        let fence = self.fence.clone().expect("a run that writes has taken its mapping");
        let by_time = self.program.asks_who_was_newer();
        let mut changes = Vec::with_capacity(sends.len());
        let mut intents = Intents {
            side,
            token: None,
            at: self.setup.world.now(),
            layout: self.layouts.current,
            creates: Vec::new(),
            changes: Vec::new(),
        };
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
                    intents.changes.push(self.intent(side, send, link, &work[send.work], by_time));
                }
                Some(link) => {
                    // A record that is made anew for a link that stands.
                    self.fill(side, &mut change, send.write.fields.iter().cloned());
                    intents.changes.push(self.intent(side, send, link, &work[send.work], by_time));
                }
                None => {
                    let item = &mut work[send.work];
                    let mut link = self.new_link(&item.keys);
                    let fields = std::mem::take(&mut send.write.fields);
                    let row =
                        self.row_of_create(side, fields.iter().map(|field| (self.slot(side, field), &field.value)));
                    let mut other = item.seen[side.other()].live_mut();
                    for field in &fields {
                        let shown = || {
                            other
                                .as_mut()
                                .map_or(Value::Missing, |record| std::mem::take(&mut record.fields[field.field]))
                        };
                        link.bases.give(field.field, side, &field.value, shown, self.written(field.field));
                    }
                    self.set_unfilled(side, &row, other.as_deref(), &mut link.bases);
                    change.set.reserve_exact(fields.len().saturating_sub(program.access.key.len()));
                    self.fill(side, &mut change, fields);
                    intents.creates.push(link);
                }
            }
            changes.push(change);
        }
        let is_unasked = self.is_unasked(side);
        Flight { side, fence, sends, changes, before: Commit::default(), intents, is_unasked, turn: Turn::default() }
    }

    /// A new record as far as what is sent tells; empty where no field asks.
    pub(super) fn row_of_create<'v>(&self, side: Side, sent: impl Iterator<Item = (usize, &'v Value)>) -> Vec<Value> {
        if self.unfilled[side].is_empty() {
            return Vec::new();
        }
        let mut row = vec![Value::Null; self.program.sides[side].access.shape.len()];
        sent.for_each(|(slot, value)| row[slot] = value.clone());
        row
    }

    /// The bases of the fields that a new record of `side` got no value for.
    /// What people entered on the other side stays until this one is edited;
    /// where they left nothing, what this side shows goes over.
    pub(super) fn set_unfilled(&self, side: Side, row: &[Value], other: Option<&Record>, bases: &mut Bases) {
        for index in &self.unfilled[side] {
            let given = self.program.fields[*index].read(side, row).unwrap_or(Value::Null);
            let shown = other.map_or(Value::Missing, |record| record.fields[*index].clone());
            if shown.is_blank() && !given.is_blank() {
                bases.clear(*index);
            } else {
                bases.give(*index, side, &given, || shown, self.written(*index));
            }
        }
    }

    pub(super) fn slot(&self, side: Side, write: &FieldWrite) -> usize {
        let way = self.program.fields[write.field].toward[side].as_ref();
        way.expect("only a field that is written is in a write").slot
    }

    /// The values of a create: those of the key, then the others.
    pub(super) fn fill(&self, side: Side, change: &mut Change, fields: impl IntoIterator<Item = FieldWrite>) {
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

    fn intent(&self, side: Side, send: &Send, link: &Link, item: &Work, by_time: bool) -> Intent {
        let shape = &self.program.sides[side].access.shape;
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
            set: send.set.iter().map(|(slot, value)| (shape.fields[*slot].name.to_string(), value.clone())).collect(),
            before: if by_time { Self::last_touched(side, send, item) } else { None },
        }
    }

    fn last_touched(side: Side, send: &Send, item: &Work) -> Option<Before> {
        let people = send.people.filter(|_| send.write.action == Action::Update)?;
        let record = item.seen[side].live()?;
        let beside = beside(record, |field| send.write.fields.iter().any(|write| write.field == field));
        Some(Before { people, beside })
    }

    /// The stamp of a record as the engine's own, where it shows what was sent
    /// and nothing else has changed.
    pub(super) fn own_stamp(&self, layout: i64, intent: &Intent, record: &Record) -> Option<OwnStamp> {
        let before = intent.before.filter(|_| layout == self.layouts.current)?;
        let beside = beside(record, |field| intent.fields.iter().any(|written| written.field == field));
        let shows = Some(short_digest_of(&record.fields));
        Some(OwnStamp { shown: record.stamp?, people: before.people, shows }).filter(|_| beside == before.beside)
    }
}

/// A digest of a record's fields but for those that are written.
fn beside(record: &Record, is_written: impl Fn(usize) -> bool) -> u64 {
    let fields = record.fields.iter().enumerate();
    short_digest_of(fields.filter(|(field, _)| !is_written(*field)).map(|(_, value)| value))
}
