//! Links whose record goes on under another key, and keys that two links claim.
//!
//! Owns when a link takes a new key: the record under the old one is verified
//! gone, and `match` leaves one choice on both sides. The bases stay, so that
//! what was edited meanwhile is seen as an edit. Decides nothing about values.

use std::collections::BTreeSet;

use super::event::Fact;
use super::execute::Work;
use super::flight::Flight;
use super::report::Trouble;
use super::session::Session;
use crate::compile::{Reading, Way};
use crate::diagnostic::Code;
use crate::plan::{Link, LinkId, LinkStatus, Seen};
use crate::record::{Both, Key, Kind, Side, Value};
use crate::state::{Commit, ConflictFilter, Parked, ParkedFilter, Reason, StoreError};

impl Session<'_> {
    /// Of these links those whose record of `side` is verified gone.
    pub(super) async fn adrift(
        &self,
        side: Side,
        links: impl Iterator<Item = &Link>,
    ) -> Result<BTreeSet<LinkId>, Trouble> {
        let (ids, keys): (Vec<LinkId>, Vec<Key>) = links.map(|link| (link.id, link.keys[side].clone())).unzip();
        if keys.is_empty() {
            return Ok(BTreeSet::new());
        }
        let there = self.look(side, &keys).await?;
        let is_gone = |key: &Key| there.get(key).is_none_or(|seen| seen.as_ref().is_ok_and(Seen::is_gone));
        Ok(ids.into_iter().zip(&keys).filter(|(_, key)| is_gone(key)).map(|(id, _)| id).collect())
    }

    /// Linked pairs whose record of `gone` is gone go on with the one record
    /// there that matches what is left and that nobody has linked. Answers with
    /// the keys that were taken.
    pub(super) async fn follow(&mut self, gone: Side, work: &mut Vec<Work>) -> Result<BTreeSet<Key>, Trouble> {
        let program = self.program;
        let left = gone.other();
        let is_lost = |item: &Work| {
            item.link.is_some()
                && (item.seen[gone].is_gone() || item.seen[gone] == Seen::Nobody)
                && matches!(item.seen[left], Seen::Live(_))
        };
        let mut lost: BTreeSet<usize> = (0..work.len()).filter(|index| is_lost(&work[*index])).collect();
        if lost.is_empty() || program.matching.is_empty() {
            return Ok(BTreeSet::new());
        }
        let mut found: Vec<(usize, Key)> = Vec::new();
        // What went away between two looks is looked at once more.
        let mut restless = BTreeSet::new();
        for (alternative, fields) in program.matching.iter().enumerate() {
            let mapped = fields.iter().all(|field| self.shows_there(gone, *field));
            let askable = mapped && [gone, left].into_iter().all(|side| self.match_slots(side, fields).is_some());
            if !askable && !self.deleting {
                // A listing of a whole side is due before something is deleted, and not earlier: until then the new
                // record is read, or is looked for once more.
                continue;
            }
            let mut probes = Vec::new();
            for &index in &lost {
                let Seen::Live(record) = &work[index].seen[left] else { continue };
                // A value that cannot be mapped finds nothing.
                probes.extend(self.probe(left, index, record, fields).ok().flatten());
            }
            let asked: Vec<_> = probes.iter().map(|probe| (probe.values.as_slice(), probe.digest)).collect();
            let hits = self.ask(gone, alternative, fields, &asked, mapped).await?;
            probes =
                probes.into_iter().zip(&hits).filter(|(_, hits)| !hits.is_empty()).map(|(probe, _)| probe).collect();
            let asked: Vec<_> = probes.iter().map(|probe| (probe.own.as_slice(), probe.digest)).collect();
            let rivals = self.ask(left, alternative, fields, &asked, true).await?;
            let hits: Vec<Vec<Key>> = hits.into_iter().filter(|hits| !hits.is_empty()).collect();
            let all: Vec<Key> = hits.iter().flatten().cloned().collect();
            let links = self.setup.store.links(&program.name, gone, &all).await?;
            let owners = self.owners(gone, &all).await?;
            let is_taken = |(key, link): &(&Key, &Option<Link>)| {
                link.is_some() || owners.contains_key(key) || self.foresight.claimed[gone].contains(key)
            };
            let taken: BTreeSet<&Key> = all.iter().zip(&links).filter(is_taken).map(|(key, _)| key).collect();
            for ((probe, hits), rivals) in probes.iter().zip(&hits).zip(rivals) {
                lost.remove(&probe.record);
                let free: BTreeSet<&Key> = hits.iter().filter(|key| !taken.contains(key)).collect();
                let rivals: BTreeSet<Key> = rivals.into_iter().collect();
                match (free.first(), free.len(), rivals.len()) {
                    (Some(key), 1, 1) => found.push((probe.record, (*key).clone())),
                    (Some(_), _, 0) => {
                        restless.insert(probe.record);
                    }
                    _ => {}
                }
            }
        }
        if found.is_empty() && restless.is_empty() {
            return Ok(BTreeSet::new());
        }
        let keys: Vec<Key> = found.iter().map(|(_, key)| key.clone()).collect();
        let mut there = self.look(gone, &keys).await?;
        let mut moved = Vec::new();
        let mut taken = BTreeSet::new();
        for (index, key) in found {
            let (Some(Ok(mut seen @ Seen::Live(_))), Some(link)) = (there.remove(&key), &mut work[index].link) else {
                restless.insert(index);
                continue;
            };
            let before = std::mem::replace(&mut link.keys[gone], key.clone());
            Self::restamp(gone, link, &mut seen);
            self.recognise(gone, link, &seen);
            let mut stored = link.clone();
            if let Some(behind) = &mut work[index].behind {
                behind.keys[gone] = key.clone();
                self.recognise(gone, behind, &seen);
                stored = Link::clone(behind);
            }
            moved.push((before, stored));
            work[index].seen[gone] = seen;
            taken.insert(key);
        }
        for index in &restless {
            self.moved_away(gone, &work[*index], work[*index].all_keys());
        }
        let mut index = 0..;
        work.retain(|_| index.next().is_none_or(|index| !restless.contains(&index)));
        self.rekeyed(gone, moved).await?;
        Ok(taken)
    }

    /// True where what the other side shows of a field, mapped where it is
    /// written, is what this side shows.
    fn shows_there(&self, side: Side, field: usize) -> bool {
        let field = &self.program.fields[field];
        let shown = match field.read[side] {
            Reading::Slot(slot) => Some(&self.program.sides[side].access.shape.fields[slot].kind),
            _ => None,
        };
        let as_it_is = |way: &Way| {
            way.rules.is_empty()
                && shown.is_some_and(|kind| {
                    *kind == way.kind || matches!((kind, &way.kind), (Kind::Text { .. }, Kind::Text { .. }))
                })
        };
        field.writes(side) || field.toward[side.other()].as_ref().is_some_and(as_it_is)
    }

    /// The key that a record of `side` has once these fields are written to it.
    pub(super) fn key_after<'v>(&self, side: Side, key: &Key, fields: impl Iterator<Item = (usize, &'v Value)>) -> Key {
        let filled = &self.program.sides[side].key_fields;
        let in_key = |(field, value)| Some((filled.iter().position(|filled| *filled == Some(field))?, value));
        let mut written = fields.filter_map(in_key).peekable();
        if key.is_empty() || written.peek().is_none() {
            return key.clone();
        }
        let mut values = self.key_values(side, key);
        for (position, value) in written {
            values[position] = value.clone();
        }
        Key::new(&values).unwrap_or_else(|| key.clone())
    }

    /// Links have taken other keys of `side` than those they had: what hangs on
    /// them follows, and what was to become of the old record does not happen.
    pub(super) async fn rekeyed(&mut self, side: Side, moved: Vec<(Key, Link)>) -> Result<(), Trouble> {
        if moved.is_empty() {
            return Ok(());
        }
        let links: Vec<LinkId> =
            moved.iter().map(|(_, link)| link.id).filter(|id| self.in_conflict.contains(id)).collect();
        if !links.is_empty() {
            let mapping = Some(self.program.name.to_string());
            let filter = ConflictFilter { mapping, open: true, links, ..ConflictFilter::default() };
            for mut conflict in self.setup.store.conflicts(&filter).await? {
                let link = moved.iter().find(|(_, link)| link.id == conflict.link);
                let keys = link.expect("only conflicts of these links were asked for").1.keys.clone();
                match self.pending.conflicts.iter_mut().find(|pending| pending.id == conflict.id) {
                    Some(pending) => pending.keys = keys,
                    None => {
                        conflict.keys = keys;
                        self.pending.conflicts.push(conflict);
                    }
                }
            }
        }
        for (before, link) in moved {
            self.pending.spool.retain(|spooled| spooled.link != link.id);
            self.pending.unspool.push(link.id);
            self.foresight.deletes.remove(&link.id);
            if self.owed.contains_key(&(side, before.clone())) {
                self.owe_as(side, &before, &link.keys).await?;
                self.queue(side.other(), &link.keys.clone().map(Some), 0);
            }
            self.left[side].insert(before.clone());
            if self.options.dry {
                // Stored nowhere: whoever meets the pair once more would find it apart.
                self.foresight.claimed[side].extend([before.clone(), link.keys[side].clone()]);
                self.foresight.claimed[side.other()].insert(link.keys[side.other()].clone());
                self.again[side.other()].remove(&link.keys[side.other()]);
            }
            // The old key's timeline ends with it, the new one's begins.
            let mut old = Both::default();
            old[side] = Some(before.clone());
            for keys in [old, link.keys.clone().map(Some)] {
                self.tell(keys, Fact::Rekeyed { side, before: before.clone(), after: link.keys[side].clone() });
            }
            self.pending.links.retain(|other| other.id != link.id);
            self.pending.links.push(link);
        }
        self.flush().await
    }

    /// What a record still owes, it owes under its new key.
    async fn owe_as(&mut self, side: Side, before: &Key, keys: &Both<Key>) -> Result<(), Trouble> {
        let filter = ParkedFilter { mapping: Some(self.program.name.to_string()), ..ParkedFilter::default() };
        let mut owed = self.setup.store.parked(&filter).await?;
        owed.retain(|parked| parked.keys[side].as_ref() == Some(before) && parked.reason != Reason::InDoubt);
        for mut parked in owed {
            parked.keys[side] = Some(keys[side].clone());
            self.pending.park.push(Parked { id: 0, ..parked });
        }
        let (before, now) = ((side, before.clone()), (side, keys[side].clone()));
        if !self.in_doubt.contains(&before) {
            if let Some(owed) = self.owed.remove(&before) {
                self.owed.insert(now.clone(), owed);
            }
            self.pending.unpark.push(before.clone());
        }
        if let Some(sent) = self.taken_back.remove(&(side.other(), before.1)) {
            self.taken_back.insert((side.other(), now.1), sent);
        }
        Ok(())
    }

    /// A batch was to make a second link for a key: nothing of it was sent.
    /// Where both records of the first link are gone it is forgotten, else the
    /// new record is parked; the others are looked at again.
    pub(super) async fn linked_twice(
        &mut self,
        flight: &Flight,
        work: &[Work],
        error: StoreError,
    ) -> Result<(), Trouble> {
        let new = flight.sends.iter().filter(|send| send.link.is_none()).map(|send| send.work);
        let creates: Vec<(usize, &Link)> = new.zip(&flight.intents.creates).collect();
        let mut holders: Vec<Option<(Side, Link)>> = vec![None; creates.len()];
        for side in Side::BOTH {
            let keys: Vec<Key> = creates.iter().map(|(_, link)| link.keys[side].clone()).collect();
            for (holder, link) in holders.iter_mut().zip(self.setup.store.links(&self.program.name, side, &keys).await?)
            {
                *holder = holder.take().or(link.map(|link| (side, link)));
            }
        }
        let adrift = Both::new(
            self.adrift(Side::Source, holders.iter().flatten().map(|(_, link)| link)).await?,
            self.adrift(Side::Target, holders.iter().flatten().map(|(_, link)| link)).await?,
        );
        let mut forgotten = BTreeSet::new();
        let mut claimed: Both<BTreeSet<&Key>> = Both::default();
        let mut parked = BTreeSet::new();
        let mut avoids = false;
        for ((item, create), holder) in creates.iter().zip(&holders) {
            let keys = work[*item].all_keys();
            let twin = Side::BOTH
                .into_iter()
                .find(|side| !create.keys[*side].is_empty() && !claimed[*side].insert(&create.keys[*side]));
            let why = match (holder, twin) {
                (Some((_, link)), None) if Side::BOTH.iter().all(|side| adrift[*side].contains(&link.id)) => {
                    if forgotten.insert(link.id) {
                        self.forget(link, &Side::BOTH);
                        self.tell(link.keys.clone().map(Some), Fact::Forgotten);
                    }
                    continue;
                }
                (Some((side, link)), _)
                    if link.status == (LinkStatus::Severed { gone: *side })
                        && *side == flight.side
                        && !self.program.sides[*side].key_is_mapped() =>
                {
                    // The system gave a key again that a deleted record had, which is still to be told from others.
                    self.setup.objects[*side].avoid(&self.key_values(*side, &link.keys[*side]));
                    avoids = true;
                    continue;
                }
                (Some((side, link)), _) => {
                    if adrift[*side].contains(&link.id) {
                        // Its own record is gone, which nobody has noticed yet.
                        self.queue(*side, &link.keys.clone().map(Some), 0);
                    }
                    let other = side.other();
                    format!("the {side} key {} is linked to the {other} record {}", link.keys[*side], link.keys[other])
                }
                (None, Some(side)) => {
                    format!("another record is about to become the {side} record with key {}", create.keys[side])
                }
                (None, None) => continue,
            };
            parked.insert(*item);
            self.park(flight.side, keys, Reason::Ambiguous, None, Code::AMBIGUOUS, &why);
        }
        if parked.is_empty() && forgotten.is_empty() && !avoids {
            return Err(error.into());
        }
        for index in flight.sends.iter().map(|send| send.work).filter(|index| !parked.contains(index)) {
            let (from, keys) = (work[index].from, work[index].all_keys());
            let rounds = keys[from].as_ref().and_then(|key| self.again[from].get(key)).map_or(0, |rounds| rounds + 1);
            self.queue(from, &keys, rounds);
        }
        self.flush().await
    }

    /// A commit stores a second link for a key: a system gave the key to a
    /// record that was just written, so that whoever had it is gone. The first
    /// link is forgotten, and what it left behind on the other side is parked.
    pub(super) async fn give_up(&mut self, side: Side, key: &str, commit: &mut Commit) -> Result<(), Trouble> {
        let again = || StoreError::LinkedTwice { side, key: key.to_owned() };
        let keys = [Key::from_canonical(key)];
        let first = self.setup.store.links(&self.program.name, side, &keys).await?.pop().flatten();
        let first = first
            .filter(|first| !commit.forget.contains(&first.id) && commit.links.iter().all(|link| link.id != first.id));
        let first = first.ok_or_else(again)?;
        commit.forget.push(first.id);
        commit.spool.retain(|spooled| spooled.link != first.id);
        commit.conflicts.retain(|conflict| conflict.link != first.id);
        let mut keys = first.keys.clone().map(Some);
        keys[side] = None;
        let why =
            format!("it was linked to the {side} record {}, which has given its key to another", first.keys[side]);
        let pending = std::mem::take(&mut self.pending);
        self.park(side, keys, Reason::Ambiguous, None, Code::AMBIGUOUS, &why);
        self.tell(first.keys.map(Some), Fact::Forgotten);
        let told = std::mem::replace(&mut self.pending, pending);
        commit.park.extend(told.park);
        commit.events.extend(told.events);
        Ok(())
    }
}
