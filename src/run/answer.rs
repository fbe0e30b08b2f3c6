//! A side has answered: writes become links, and what did not go through is
//! taken back, looked at again or parked.

use std::collections::{BTreeMap, BTreeSet};

use futures::FutureExt;

use super::event::Fact;
use super::execute::Work;
use super::fault::is_harmless;
use super::flight::Flight;
use super::recover::KEY_UNTOLD;
use super::report::Trouble;
use super::send::Send;
use super::session::Session;
use crate::compile::Reading;
use crate::connector::{Action, Change, Outcome, Refusal};
use crate::diagnostic::Code;
use crate::plan::{Contest, FieldWrite, Link, LinkStatus, OwnStamp, Seen};
use crate::record::{Both, Key, Side, Value};
use crate::state::{Agreed, Answered, Intent, IntentField, Intents, IntentsId, Parked, Reason};

/// What came of the writes to one side, for the other side's writes of the
/// same pairs; both by their work.
#[derive(Default)]
pub(super) struct Acknowledged {
    /// Links of records that were written, as they are now.
    pub links: BTreeMap<usize, Link>,
    /// Pairs of which something did not go through.
    pub owing: BTreeSet<usize>,
}

/// A write to be taken back.
struct Undo {
    work: usize,
    /// The key that the record has since.
    under: Key,
    change: Change,
    /// The link as it was before the write, under a revision of its own.
    before: Link,
    /// What is put back, for whoever finds out what became of it.
    fields: Vec<IntentField>,
    parked: Parked,
}

impl Session<'_> {
    /// Takes in what a side answered to a batch.
    pub(super) async fn answered(
        &mut self,
        Flight { side, sends, changes, intents, .. }: Flight,
        work: &[Work],
        id: IntentsId,
        outcomes: Vec<Outcome>,
        acknowledged: &mut Acknowledged,
    ) -> Result<(), Trouble> {
        let mut not_made = Vec::new();
        let mut undo = Vec::new();
        // Whose key is among what was written to them.
        let mut rekeyed = Vec::new();
        let mut taken = Vec::new();
        let mut creates = intents.creates.into_iter().enumerate();
        for ((mut send, change), outcome) in sends.into_iter().zip(&changes).zip(outcomes) {
            let item = &work[send.work];
            let recorded =
                send.link.is_none().then(|| creates.next().expect("the link of each new record was recorded"));
            match outcome {
                // Done, and nobody says under which key: found again by `match`, or by a person.
                Outcome::Done { key, .. } if send.write.action == Action::Create && Key::new(&key).is_none() => {
                    self.counts.toward(side).created += 1;
                    let from = item.all_keys()[side.other()].clone().expect("what is created comes from a record");
                    let bases = match recorded {
                        Some((position, link)) => {
                            not_made.push(position);
                            link.bases
                        }
                        None => {
                            let mut bases =
                                send.link.as_ref().expect("a record that is not new has a link").bases.clone();
                            for write in &send.write.fields {
                                bases.set(write.field, Self::bases_of(side, write, item), self.written(write.field));
                            }
                            bases
                        }
                    };
                    let agreed = Agreed { layout: self.layouts.current, bases, certain: true };
                    self.park_in_doubt(side, &from, KEY_UNTOLD, Some(agreed));
                }
                Outcome::Done { key, stored } => {
                    let (position, mut link) = match recorded {
                        Some((position, link)) => (Some(position), link),
                        None => (None, send.link.clone().expect("a record that is not new has a link")),
                    };
                    let as_recorded = position.is_some() && stored.is_none() && key == change.key;
                    let before = link.keys[side].clone();
                    if !as_recorded && let Some(key) = Key::new(&key) {
                        link.keys[side] = key;
                    }
                    if item.from == side {
                        // Written before the other side's page shows the record.
                        self.early[side].insert(link.keys[side.other()].clone());
                    }
                    self.remember(side, send.work, &link.keys[side], change, stored.as_deref());
                    if as_recorded {
                        // The link stands as it was recorded.
                        self.clear_both(&link.keys.map(Some));
                        self.counts.toward(side).created += 1;
                        continue;
                    }
                    let keys = link.keys.clone().map(Some);
                    let otherwise = self.acknowledge(side, &send, item, &mut link, change, stored.as_deref());
                    if otherwise.is_none() {
                        for ended in std::mem::take(&mut send.ends) {
                            self.end_conflict(ended);
                        }
                        if !send.owing {
                            self.clear_both(&keys);
                        }
                    }
                    if send.write.action == Action::Delete {
                        self.forget(&link, &Side::BOTH);
                        self.counts.toward(side).deleted += 1;
                        self.tell(keys, Fact::Written { side, action: Action::Delete, fields: Vec::new() });
                        continue;
                    }
                    if !send.set.is_empty() {
                        link.status = LinkStatus::Severed { gone: side.other() };
                    }
                    not_made.extend(position);
                    let away = send.away.unwrap_or((link.status, link.outside));
                    let kept = Link { status: away.0, outside: away.1, ..link.clone() };
                    if send.write.action == Action::Update && before != link.keys[side] && otherwise.is_none() {
                        rekeyed.push((before, kept));
                    } else {
                        self.pending.links.push(kept);
                    }
                    let counts = self.counts.toward(side);
                    match send.action() {
                        Action::Create => counts.created += 1,
                        Action::Update => counts.updated += 1,
                        Action::Delete => counts.deleted += 1,
                    }
                    if position.is_none() {
                        let fields = self.changes(side, &send);
                        self.tell(keys.clone(), Fact::Written { side, action: send.action(), fields });
                    }
                    if let Some((field, message)) = otherwise {
                        let sent = self.digest_of(side, change);
                        let (change, before) = self.reversal(side, &send, item, change, &link, stored.as_deref());
                        let fields = self.put_back(side, &send, &change, &before);
                        let mut keys = keys;
                        if change.action == Action::Delete {
                            // It is about to be gone: the other side's record is what stays owed.
                            keys[side] = None;
                        }
                        self.park_taken_back(side, keys, field, &message, sent);
                        let parked = self.pending.park.last().expect("it was just parked").clone();
                        let under = link.keys[side].clone();
                        undo.push(Undo { work: send.work, under, change, before, fields, parked });
                        acknowledged.owing.insert(send.work);
                    }
                    acknowledged.links.insert(send.work, link);
                }
                Outcome::Moved | Outcome::Gone => {
                    acknowledged.owing.insert(send.work);
                    not_made.extend(recorded.map(|(position, _)| position));
                    self.moved_away(side, item, item.all_keys());
                }
                Outcome::Exists => {
                    acknowledged.owing.insert(send.work);
                    not_made.extend(recorded.map(|(position, _)| position));
                    taken.push((send.work, Key::new(&change.key).unwrap_or_else(Key::untold)));
                }
                Outcome::Refused(refusal) => {
                    acknowledged.owing.insert(send.work);
                    not_made.extend(recorded.map(|(position, _)| position));
                    self.park_refused(side, item.all_keys(), &refusal);
                }
            }
        }
        self.pending.answered.push(Answered { intents: id, not_made });
        self.pending.made = Some(self.made(side));
        self.rekeyed(side, rekeyed).await?;
        self.keys_taken(side, work, taken).await?;
        if undo.is_empty() {
            return Ok(());
        }
        self.flush().await?;
        self.undo(side, undo, acknowledged).await
    }

    /// Records were to be created under keys that others have.
    async fn keys_taken(&mut self, side: Side, work: &[Work], taken: Vec<(usize, Key)>) -> Result<(), Trouble> {
        let keys: Vec<Key> = taken.iter().map(|(_, key)| key.clone()).collect();
        let by_key = self.program.matches_by_key(side);
        let there = if by_key && !keys.is_empty() { self.look(side, &keys).await? } else { BTreeMap::new() };
        for (index, key) in taken {
            let item = &work[index];
            let is_blank = self.key_values(side, &key).iter().any(Value::is_blank);
            let why = match there.get(&key) {
                _ if !by_key => "and does not match",
                _ if is_blank => "and a blank key matches nothing",
                Some(Ok(Seen::Outside)) => "and `where` or `when` hides it",
                Some(Ok(Seen::Marked)) => "and is marked as deleted",
                // Whoever came between look and write is found at the next look.
                _ => {
                    self.empty[side] = false;
                    self.moved_away(side, item, item.all_keys());
                    continue;
                }
            };
            let message = format!("a {side} record with this key is there already, {why}");
            self.park(side, item.all_keys(), Reason::Rejected, None, Code::KEY_TAKEN, &message);
        }
        Ok(())
    }

    /// What takes a write back whose values were not stored as they were sent,
    /// and the link as it was before.
    fn reversal(
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
            Some(before) if send.write.action != Action::Create => {
                self.layouts.held(item.behind.as_deref()).unwrap_or(before)
            }
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
    fn put_back(&self, side: Side, send: &Send, change: &Change, before: &Link) -> Vec<IntentField> {
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
    async fn undo(&mut self, side: Side, undo: Vec<Undo>, acknowledged: &mut Acknowledged) -> Result<(), Trouble> {
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
            });
        }
        let mut attempt = 1;
        let outcomes = loop {
            let writing = setup.call(side, || setup.objects[side].begin(0)).await?;
            intents.token = writing.token();
            let mut recorded = None;
            let record = async {
                recorded = Some(setup.store.intend(&fence, &intents).await);
                matches!(recorded, Some(Ok(_)))
            };
            let outcomes = writing.write(&changes, record.boxed()).await;
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
        for ((Undo { work, change, before, parked, .. }, outcome), stored) in undo.into_iter().zip(outcomes).zip(stored)
        {
            let Outcome::Done { .. } = outcome else { continue };
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

    /// Moves the bases of the fields that were written, and of no others (those
    /// of a new record stand since it was sent). Answers with the first field
    /// whose stored value means something else than what was sent.
    fn acknowledge(
        &self,
        side: Side,
        send: &Send,
        item: &Work,
        link: &mut Link,
        sent: &Change,
        stored: Option<&[Value]>,
    ) -> Option<(usize, String)> {
        link.status = LinkStatus::Linked;
        link.layout = self.layouts.current;
        if link.id != 0 {
            link.revision += 1;
        }
        for write in &send.write.fields {
            link.bases.set(write.field, Self::bases_of(side, write, item), self.written(write.field));
            if write.contested() {
                let recent = self.state.runs.saturating_sub(10);
                link.contests.retain(|contest| contest.run > recent);
                let field = u32::try_from(write.field).unwrap_or(u32::MAX);
                link.contests.push(Contest { field, run: self.state.runs });
            }
        }
        let row = stored?;
        if let (Some(shown), Some(people), true) =
            (self.program.sides[side].stamp(row), send.people, send.write.action != Action::Create)
        {
            link.own_stamps[side] = Some(OwnStamp { shown, people });
        }
        let key = self.program.sides[side].access.key.iter().copied().zip(&sent.key);
        let set = sent.set.iter().map(|(slot, value)| (*slot, value));
        let values: BTreeMap<usize, &Value> = key.chain(set).collect();
        let is_new = send.link.is_none();
        let mut otherwise = None;
        for (index, field) in self.program.fields.iter().enumerate() {
            if is_new || send.write.fields.iter().any(|write| write.field == index) {
                let Some(value) = field.toward[side].as_ref().and_then(|way| values.get(&way.slot)) else { continue };
                otherwise = otherwise.or(self.show(side, index, link, value, row));
            }
        }
        otherwise
    }

    /// What a side shows of a field after `sent` was written becomes its base;
    /// told where it means something else.
    fn show(&self, side: Side, index: usize, link: &mut Link, sent: &Value, row: &[Value]) -> Option<(usize, String)> {
        let field = &self.program.fields[index];
        let shown = field.read(side, row).ok()?;
        let written = self.written(index);
        if field.same(side, &shown, sent) {
            if link.bases.values(index).is_none_or(|base| field.same(side, &base[side], sent)) {
                link.bases.show(index, side, shown, written);
            }
            return None;
        }
        let message = format!("the {side} stored `{shown}` where `{sent}` was sent to `{}`", field.name);
        // What stands there is no change of anybody's: it must not flow back.
        link.bases.show(index, side, shown, written);
        Some((index, message))
    }

    /// Somebody was quicker: the pair is looked at again before the run ends.
    pub(super) fn moved_away(&mut self, side: Side, item: &Work, keys: Both<Option<Key>>) {
        let from = item.from;
        let Some(key) = keys[from].clone() else { return };
        let rounds = self.again[from].get(&key).copied().unwrap_or(0) + 1;
        if rounds <= 3 {
            self.queue(from, &keys, rounds);
        } else {
            // Owed to the next run; told as parked when that was so in three.
            let message = format!("the {side} record changed each time it was about to be written");
            self.park(side, keys, Reason::Rejected, None, Code::RESTLESS, &message);
        }
    }

    /// Puts a record on the list of those to be looked at again.
    pub(super) fn queue(&mut self, side: Side, keys: &Both<Option<Key>>, rounds: u32) {
        if let Some(key) = &keys[side] {
            self.again[side].insert(key.clone(), rounds);
        }
    }

    pub(super) fn park_refused(&mut self, side: Side, keys: Both<Option<Key>>, refusal: &Refusal) {
        let field = refusal.slot.and_then(|slot| {
            self.program.fields.iter().position(|field| field.toward[side].as_ref().is_some_and(|way| way.slot == slot))
        });
        let message = if refusal.native.is_empty() {
            refusal.message.clone()
        } else {
            format!("{} ({})", refusal.message, refusal.native)
        };
        self.park(side, keys, Reason::Rejected, field, Code::REFUSED, &message);
    }
}
