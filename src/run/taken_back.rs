//! What a side stored otherwise than it was sent is taken back, and not sent
//! again until it is something else.

use std::collections::BTreeSet;

use futures::FutureExt;

use super::answer::Acknowledged;
use super::execute::Work;
use super::fault::is_harmless;
use super::report::Trouble;
use super::send::Send;
use super::session::Session;
use crate::compile::Reading;
use crate::connector::{Action, Change, Outcome};
use crate::diagnostic::Code;
use crate::plan::{FieldWrite, Link, RecordWrite};
use crate::record::{Both, Key, Side, Value, digest};
use crate::state::{Answered, Commit, Intent, IntentField, Intents, Parked, Reason};

/// A write to be taken back.
pub(super) struct Undo {
    pub work: usize,
    /// What it was counted as.
    pub counted: Action,
    /// The key that the record has since.
    pub under: Key,
    pub change: Change,
    /// The link as it was before the write, under a revision of its own.
    pub before: Link,
    /// What is put back, for whoever finds out what became of it.
    pub fields: Vec<IntentField>,
    pub parked: Parked,
}

impl Session<'_> {
    /// What takes a write back whose values were not stored as they were sent,
    /// and the link as it was before.
    pub(super) fn reversal(
        &self,
        side: Side,
        send: &Send,
        item: &Work,
        sent: &Change,
        link: &Link,
        stored: Option<&[Value]>,
    ) -> (Change, Link) {
        let key = self.key_values(side, &link.keys[side]);
        let before = match &send.link {
            Some(before) if send.write.action != Action::Create => self.held(item).unwrap_or(before),
            _ => {
                // Only as it was stored: what people have made of it meanwhile is theirs.
                let read = self.program.fields.iter().filter_map(|field| match field.read[side] {
                    Reading::Slot(slot) => Some(slot),
                    _ => None,
                });
                let slots: BTreeSet<usize> = read.chain(sent.set.iter().map(|(slot, _)| *slot)).collect();
                let expect = slots.into_iter().filter_map(|slot| Some((slot, stored?[slot].clone()))).collect();
                let before = Link { revision: link.revision + 1, ..link.clone() };
                return (Change { action: Action::Delete, key, set: Vec::new(), expect }, before);
            }
        };
        let slots = send.write.fields.iter().filter_map(|write| {
            let slot = self.program.fields[write.field].toward[side].as_ref()?.slot;
            Some((slot, write.against.as_ref()?.expect.clone(), stored?[slot].clone()))
        });
        let (set, expect) = slots.map(|(slot, before, now)| ((slot, before), (slot, now))).unzip();
        let before = Link { id: link.id, revision: link.revision + 1, ..before.clone() };
        (Change { action: Action::Update, key, set, expect }, before)
    }

    /// The fields that a reversal puts back, each with its former bases; those
    /// of a record that goes again, with nothing in their place.
    pub(super) fn put_back(&self, side: Side, send: &Send, change: &Change, before: &Link) -> Vec<IntentField> {
        if change.action == Action::Delete {
            let written = (0..self.program.fields.len()).filter(|field| self.program.fields[*field].writes(side));
            let nothing = |field| IntentField { field, value: Value::Missing, expect: None, bases: Both::default() };
            return written.map(nothing).collect();
        }
        let field = |write: &FieldWrite| {
            let value = write.against.as_ref()?.expect.clone();
            let known = before.layout == self.layouts.current;
            let bases = known.then(|| before.bases.values(write.field).cloned()).flatten();
            // Without bases of its own it was new to the link: the other side's value flows once more.
            let bases = bases.unwrap_or_else(|| {
                let mut bases = Both::<Value>::default();
                bases[side] = value.clone();
                bases
            });
            Some(IntentField { field: write.field, value, expect: None, bases })
        };
        send.write.fields.iter().filter_map(field).collect()
    }

    /// Takes writes back. Where that fails, what stands there stays, with bases
    /// that keep it from flowing anywhere.
    pub(super) async fn undo(
        &mut self,
        side: Side,
        undo: Vec<Undo>,
        acknowledged: &mut Acknowledged,
    ) -> Result<(), Trouble> {
        let setup = self.setup;
        let keys: Vec<Key> = undo.iter().map(|undo| undo.under.clone()).collect();
        let stored = setup.store.links(&self.program.name, side, &keys).await?;
        let (undo, stored): (Vec<Undo>, Vec<Link>) =
            undo.into_iter().zip(stored).filter_map(|(undo, stored)| Some((undo, stored?))).unzip();
        let fence = self.fence.clone().expect("a run that writes has taken its mapping");
        let mut changes = Vec::with_capacity(undo.len());
        let mut intents = Intents {
            side,
            token: None,
            at: setup.world.now(),
            layout: self.layouts.current,
            creates: Vec::new(),
            changes: Vec::with_capacity(undo.len()),
        };
        for (undo, stored) in undo.iter().zip(&stored) {
            changes.push(undo.change.clone());
            intents.changes.push(Intent {
                link: stored.id,
                keys: stored.keys.clone(),
                revision: undo.before.revision,
                action: undo.change.action,
                fields: undo.fields.clone(),
                set: Vec::new(),
                before: None,
            });
        }
        let mut attempt = 1;
        let outcomes = loop {
            let writing = setup.call(side, || setup.objects[side].begin(0)).await?;
            intents.token = writing.token();
            let mut recorded = None;
            let record = async {
                recorded = Some(setup.store.intend(&fence, &Commit::default(), &intents).await);
                matches!(recorded, Some(Ok(_)))
            };
            let mut outcomes = writing.write(&changes, record.boxed()).await;
            if outcomes.is_ok()
                && let Err(fault) = setup.in_effect(side).await
            {
                outcomes = Err(fault);
            }
            let answered = recorded.transpose()?.map(|id| Answered { intents: id, not_made: Vec::new() });
            match outcomes {
                // What became of it is found out as for every write.
                Err(fault) if !is_harmless(&fault) => return Err(Trouble::Side(side, fault)),
                Err(fault) => {
                    self.pending.answered.extend(answered);
                    self.flush().await?;
                    setup.wait(side, &mut attempt, fault).await?;
                }
                Ok(outcomes) => {
                    self.pending.answered.extend(answered);
                    break outcomes;
                }
            }
        };
        for ((Undo { work, counted, change, before, parked, .. }, outcome), stored) in
            undo.into_iter().zip(outcomes).zip(stored)
        {
            let Outcome::Done { .. } = outcome else { continue };
            let counts = self.counts.toward(side);
            let counted = match counted {
                Action::Create => &mut counts.created,
                Action::Update => &mut counts.updated,
                Action::Delete => &mut counts.deleted,
            };
            *counted = counted.saturating_sub(1);
            if change.action == Action::Delete {
                // What is parked goes with the link, and is owed all the same.
                self.forget(&stored, &[side]);
                self.pending.park.push(parked);
                acknowledged.links.remove(&work);
            } else {
                let link = Link { id: stored.id, ..before };
                self.pending.links.push(link.clone());
                acknowledged.links.insert(work, link);
            }
        }
        self.flush().await
    }

    /// Parks a record for a field that a side stored otherwise than it was sent,
    /// which was taken back.
    pub(super) fn park_taken_back(
        &mut self,
        side: Side,
        keys: Both<Option<Key>>,
        field: usize,
        message: &str,
        sent: String,
    ) {
        if let Some(from) = &keys[side.other()] {
            self.taken_back.insert((side, from.clone()), sent.clone());
        }
        let parked = self.aside(side, keys, Reason::Rejected, Some(field), Code::STORED_OTHERWISE, message);
        self.put_aside(Parked { sent: Some(sent), ..parked });
    }

    /// The very same was sent before, and stored as something else.
    pub(super) fn was_taken_back(&self, side: Side, keys: &Both<Option<Key>>, write: &RecordWrite) -> bool {
        let Some(from) = keys[side.other()].as_ref().filter(|_| !self.taken_back.is_empty()) else { return false };
        let slots = write.fields.iter().map(|field| (self.slot(side, field), &field.value));
        self.taken_back.get(&(side, from.clone())).is_some_and(|sent| *sent == self.digest_of_slots(side, slots))
    }

    /// What a change sends of fields, as a digest.
    pub(super) fn digest_of(&self, side: Side, change: &Change) -> String {
        let program = &self.program.sides[side];
        let mapped = |(position, slot): (usize, &usize)| {
            program.key_fields.get(position).copied().flatten()?;
            Some((*slot, change.key.get(position)?))
        };
        let creates = change.action == Action::Create;
        let key = program.access.key.iter().enumerate().filter_map(mapped).filter(|_| creates);
        self.digest_of_slots(side, key.chain(change.set.iter().map(|(slot, value)| (*slot, value))))
    }

    fn digest_of_slots<'v>(&self, side: Side, slots: impl Iterator<Item = (usize, &'v Value)>) -> String {
        let shape = &self.program.sides[side].access.shape;
        let mut named: Vec<(&str, &Value)> =
            slots.map(|(slot, value)| (shape.fields[slot].name.as_str(), value)).collect();
        named.sort_by_key(|(name, _)| *name);
        let flat: Vec<Value> = named.into_iter().flat_map(|(name, value)| [Value::text(name), value.clone()]).collect();
        format!("#{:032x}", digest(&flat))
    }
}
