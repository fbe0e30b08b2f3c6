//! Intents that an earlier run left without an answer.

use std::collections::{BTreeMap, BTreeSet};

use super::conflicts::Ended;
use super::event::Fact;
use super::report::Trouble;
use super::session::Session;
use crate::compile::{Policy, Rejection};
use crate::connector::{Action, Fault, Settled};
use crate::plan::{Bases, ConflictOutcome, IN_DOUBT, Link, LinkStatus, Record, Seen};
use crate::record::{Both, Key, Mark, Side, Value, same};
use crate::state::{
    Agreed, Answered, Conflict, ConflictFilter, ConflictStatus, Intent, IntentField, Intents, IntentsId, ParkedFilter,
};

/// Why a record is in doubt: whether it was created, or under which key.
const NO_WAY_TO_LOOK: &str = "sent, without an answer, and there is no way to look whether it is in effect";
const SHOWS_OTHERWISE: &str =
    "sent, without an answer, and under the key it was to have stands a record that shows something else";
pub(super) const KEY_UNTOLD: &str = "created, and the system did not tell under which key";

/// What a record is that stands under the key of an unanswered create.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Ours,
    /// It cannot be read, so that nobody can tell.
    Unreadable,
    /// It shows half of what was sent: ours and edited since, or somebody's.
    Alike,
    Strange,
}

/// Fields that were sent to a record which has gone since, and nobody knows
/// whether they came into effect.
pub(super) struct Sent {
    side: Side,
    layout: i64,
    fields: Vec<IntentField>,
}

/// What a link would agree on.
pub(super) fn agreed(link: &Link, certain: bool) -> Agreed {
    Agreed { layout: link.layout, bases: link.bases.clone(), certain }
}

impl Session<'_> {
    /// Finds out what became of every write without an answer, before anything
    /// else is done.
    pub(super) async fn recover(&mut self) -> Result<(), Trouble> {
        if self.options.dry {
            return Ok(());
        }
        for (id, intents) in self.setup.store.open_intents(&self.program.name).await? {
            let side = intents.side;
            match self.outcome(side, intents.token.as_deref()).await? {
                Settled::NotApplied => {
                    self.tell(Both::default(), Fact::Recovered { side, applied: false });
                    let not_made = (0..intents.creates.len()).collect();
                    self.pending.answered.push(Answered { intents: id, not_made });
                }
                Settled::Applied => {
                    self.keep_owed(&intents).await?;
                    self.as_intended(id, intents).await?;
                }
                Settled::Look | Settled::Running => {
                    self.keep_owed(&intents).await?;
                    self.look_at(id, intents).await?;
                }
            }
            self.remember_recovered(side).await?;
            self.end_decisions().await?;
            self.flush().await?;
        }
        Ok(())
    }

    /// A create that was taken back leaves no link, and stays owed all the same.
    async fn keep_owed(&mut self, intents: &Intents) -> Result<(), Trouble> {
        let from = intents.side.other();
        let taken_back = intents.changes.iter().filter(|intent| intent.takes_back_a_create());
        let keys: BTreeSet<&Key> = taken_back.map(|intent| &intent.keys[from]).collect();
        if !keys.is_empty() {
            let filter = ParkedFilter { mapping: Some(self.program.name.to_string()), ..ParkedFilter::default() };
            let mut parked = self.setup.store.parked(&filter).await?;
            parked.retain(|parked| parked.sent.is_some());
            parked.retain(|parked| parked.keys[from].as_ref().is_some_and(|key| keys.contains(key)));
            self.pending.park.extend(parked);
        }
        Ok(())
    }

    /// What people decided about records that are forgotten now was done.
    async fn end_decisions(&mut self) -> Result<(), Trouble> {
        if self.pending.forget.is_empty() {
            return Ok(());
        }
        let filter = ConflictFilter {
            mapping: Some(self.program.name.to_string()),
            field: Some("*".to_owned()),
            decided: true,
            links: self.pending.forget.clone(),
            ..ConflictFilter::default()
        };
        for conflict in self.setup.store.conflicts(&filter).await? {
            let conflict = Conflict { status: ConflictStatus::Resolved, at: self.setup.world.now(), ..conflict };
            self.end_conflict(Ended { conflict, outcome: ConflictOutcome::Resolved, written: None });
        }
        Ok(())
    }

    /// Asks until the writer is at its end.
    async fn outcome(&self, side: Side, token: Option<&str>) -> Result<Settled, Trouble> {
        let settled = self.setup.settled(side, token).await?;
        if settled == Settled::Running {
            let doing = format!("waiting for an earlier write to `{}`", self.program.name);
            let fault = Fault::external(doing, "", "the system is still at work on a statement of an earlier run");
            return Err(Trouble::Side(side, fault));
        }
        Ok(settled)
    }

    /// All of it is in effect.
    async fn as_intended(&mut self, id: IntentsId, intents: Intents) -> Result<(), Trouble> {
        let side = intents.side;
        let mut not_made = Vec::new();
        let mut rekeyed = Vec::new();
        for (position, link) in intents.creates.iter().enumerate() {
            self.counts.toward(side).created += 1;
            if link.keys[side].is_empty() {
                not_made.push(position);
                self.park_in_doubt(side, &link.keys[side.other()], KEY_UNTOLD, Some(agreed(link, true)));
            } else {
                self.tell(link.keys.clone().map(Some), Fact::Recovered { side, applied: true });
            }
        }
        let links = self.links_of(side, &intents.changes).await?;
        for (intent, link) in intents.changes.iter().zip(links) {
            if intent.keys[side].is_empty() {
                self.counts.toward(side).created += 1;
                let sent = link.map(|link| agreed(&self.sent_for(intents.layout, intent, link), true));
                self.park_in_doubt(side, &intent.keys[side.other()], KEY_UNTOLD, sent);
            } else if let Some(link) = link {
                rekeyed.extend(self.take_in(side, intents.layout, intent, link));
            }
        }
        self.recovered_creates(&intents, &not_made);
        self.pending.answered.push(Answered { intents: id, not_made });
        self.pending.made = Some(self.made(side));
        self.rekeyed(side, rekeyed).await
    }

    /// A change is known to be in effect: its bases and no others move. Answers
    /// with the link and the key it had, where the change gave it another.
    fn take_in(&mut self, side: Side, layout: i64, intent: &Intent, mut link: Link) -> Option<(Key, Link)> {
        self.tell(intent.keys.clone().map(Some), Fact::Recovered { side, applied: true });
        let counts = self.counts.toward(side);
        if intent.takes_back_a_create() {
            self.forget(&link, &[side]);
            return None;
        }
        // Only `deletes: { set: … }` updates none of the fields.
        let sets = intent.action == Action::Update && intent.fields.is_empty();
        match intent.action {
            Action::Create => counts.created += 1,
            Action::Update if !sets => counts.updated += 1,
            Action::Update | Action::Delete => {
                counts.deleted += 1;
                let keys = intent.keys.clone().map(Some);
                self.tell(keys, Fact::Written { side, action: Action::Delete, fields: Vec::new() });
                if sets {
                    link.revision = link.revision.max(intent.revision);
                    link.status = LinkStatus::Severed { gone: side.other() };
                    self.pending.links.push(link);
                } else {
                    self.forget(&link, &Side::BOTH);
                }
                return None;
            }
        }
        link = self.sent_for(layout, intent, link);
        let before = link.keys[side].clone();
        if intent.action == Action::Create {
            link.keys[side] = intent.keys[side].clone();
        } else {
            link.keys[side] = self.key_intended(side, layout, intent, &before);
        }
        link.revision = link.revision.max(intent.revision);
        let position = |field: &IntentField| Some((self.layouts.position(layout, field.field)?, field.value.clone()));
        let written: Vec<_> = intent.fields.iter().filter_map(position).collect();
        if !intent.set.is_empty() {
            link.status = LinkStatus::Severed { gone: side.other() };
        }
        self.recovered(side, &link.keys, written.iter().map(|(field, value)| (*field, value)));
        if intent.action == Action::Update && link.keys[side] != before {
            return Some((before, link));
        }
        self.pending.links.push(link);
        None
    }

    /// The key of a record once what was intended for it is in effect.
    fn key_intended(&self, side: Side, layout: i64, intent: &Intent, key: &Key) -> Key {
        let now = |field: &IntentField| self.layouts.position(layout, field.field);
        self.key_after(side, key, intent.fields.iter().filter_map(|field| Some((now(field)?, &field.value))))
    }

    /// Whether a record under the key of an unanswered create is the one we made.
    /// Where the batch is known to have come into effect, a key that its system gave
    /// to us is nobody else's. Otherwise the key may have been given again
    /// since, and the record has to match what was sent, or to show all of it,
    /// whether the mapping's filters let it in by now or not.
    fn stands_there(&self, side: Side, in_effect: bool, link: &Link, mark: &Mark, row: &[Value]) -> Standing {
        let is_given = !self.program.sides[side].key_is_mapped();
        if is_given && in_effect {
            return Standing::Ours;
        }
        if matches!(mark, Mark::Malformed(_)) {
            return Standing::Unreadable;
        }
        let shown: Vec<Option<Value>> = self.program.fields.iter().map(|field| field.read(side, row).ok()).collect();
        // By the mapping as it was, for what it still has of it.
        let mut sent = vec![None; self.program.fields.len()];
        for position in 0..link.bases.len() {
            if let Some(now) = self.layouts.position(link.layout, position) {
                sent[now] = Some(position);
            }
        }
        let shows = |index: usize| {
            let (field, Some(shown), Some(sent)) = (&self.program.fields[index], &shown[index], sent[index]) else {
                return false;
            };
            match &link.bases {
                Bases::Values(values) => values[sent].as_ref().is_none_or(|base| field.same(side, &base[side], shown)),
                Bases::Digests(_) => link.bases.holds(sent, shown),
            }
        };
        let written = |index: &usize| self.program.fields[*index].writes(side) && sent[*index].is_some();
        if !(0..sent.len()).any(|index| written(&index)) {
            return Standing::Unreadable;
        }
        let is_blank = |index: usize| shown[index].as_ref().is_none_or(Value::is_blank);
        let matches = |fields: &Vec<usize>| {
            let agrees = |index: &usize| written(index) && !is_blank(*index) && shows(*index);
            !fields.is_empty() && fields.iter().all(agrees)
        };
        let (same, others): (Vec<usize>, Vec<usize>) = (0..sent.len()).filter(written).partition(|index| shows(*index));
        if others.is_empty() || is_given && self.program.matching.iter().any(matches) {
            return Standing::Ours;
        }
        let alike = same.into_iter().filter(|index| !is_blank(*index)).count();
        if is_given && alike > 0 && alike >= others.len() { Standing::Alike } else { Standing::Strange }
    }

    /// The links that changes of `side` belong to, found by the other side's
    /// key: a record that is made anew has another one than its link knows.
    async fn links_of(&self, side: Side, changes: &[Intent]) -> Result<Vec<Option<Link>>, Trouble> {
        let other = side.other();
        let keys: Vec<Key> = changes.iter().map(|intent| intent.keys[other].clone()).collect();
        Ok(self.setup.store.links(&self.program.name, other, &keys).await?)
    }

    /// The keys of records that show what was to be set beside the fields.
    async fn set_as_intended(&self, side: Side, changes: &[Intent]) -> Result<BTreeSet<Key>, Trouble> {
        let changes: Vec<&Intent> = changes.iter().filter(|intent| !intent.set.is_empty()).collect();
        if changes.is_empty() {
            return Ok(BTreeSet::new());
        }
        let keys: Vec<Key> = changes.iter().map(|intent| intent.keys[side].clone()).collect();
        let found = self.fetch_keys(side, &keys).await?;
        let shape = &self.program.sides[side].access.shape;
        let shows = |row: &[Value], (name, value): &(String, Value)| {
            let slot = shape.fields.iter().position(|field| field.name == name.as_str());
            slot.is_some_and(|slot| same(&row[slot], value))
        };
        let rows = found.batch.rows().zip(&found.probes);
        let set = rows.filter(|((_, row), probe)| changes[**probe].set.iter().all(|set| shows(row, set)));
        Ok(set.map(|(_, probe)| keys[*probe].clone()).collect())
    }

    /// A link once what was sent for it is in effect.
    fn sent_for(&self, layout: i64, intent: &Intent, mut link: Link) -> Link {
        self.layouts.bring_to(layout, &mut link, self.program.keeps_digests());
        let known = link.bases.len();
        for field in intent.fields.iter().filter(|field| field.field < known) {
            // Which side is the written one matters to digests alone, and there it is one for all fields.
            link.bases.set(field.field, field.bases.clone(), self.written(0));
        }
        link
    }

    /// What people added up to a third value may hold what was sent, or not: it
    /// must not be added again, so that a person decides.
    fn without_sums(&self, side: Side, layout: i64, fields: &[IntentField], record: &Record, mut link: Link) -> Link {
        let is_third = |field: &&IntentField| {
            let Some(now) = self.layouts.position(layout, field.field) else { return false };
            let program = &self.program.fields[now];
            program.policy == Policy::SumDeltas
                && field.expect.as_ref().is_some_and(|before| !program.same(side, &record.fields[now], before))
        };
        let sums: Vec<usize> = fields.iter().filter(is_third).map(|field| field.field).collect();
        if !sums.is_empty() {
            self.layouts.bring_to(layout, &mut link, self.program.keeps_digests());
            for field in sums {
                link.bases.set(field, IN_DOUBT, self.written(field));
            }
        }
        link
    }

    /// A record shows what was to be written to a field.
    fn stands(&self, side: Side, layout: i64, field: &IntentField, record: &Record) -> bool {
        let now = self.layouts.position(layout, field.field);
        now.is_some_and(|now| self.program.fields[now].same(side, &record.fields[now], &field.value))
    }

    /// Changes of records that are gone by now stay on record: they may go on
    /// under another key, and show what was sent.
    async fn keep_sent(
        &mut self,
        intents: &Intents,
        keys: &[Key],
        links: &[Option<Link>],
        there: &BTreeMap<Key, Result<Seen, Rejection>>,
    ) -> Result<(), Trouble> {
        let mut kept = Vec::new();
        for (intent, (key, link)) in intents.changes.iter().zip(keys.iter().zip(links)) {
            let is_gone = matches!(there.get(key), None | Some(Ok(Seen::Gone)));
            if let Some(link) = link.as_ref().filter(|link| link.revision < intent.revision)
                && is_gone
                && !key.is_empty()
                && intent.action != Action::Delete
                && intent.set.is_empty()
            {
                let (side, layout, fields) = (intents.side, intents.layout, intent.fields.clone());
                self.sent.insert(link.id, Sent { side, layout, fields });
                kept.push(intent.clone());
            }
        }
        if let (false, Some(fence)) = (kept.is_empty(), &self.fence) {
            let kept = Intents { creates: Vec::new(), changes: kept, ..intents.clone() };
            self.sent_under.push(self.setup.store.intend(fence, &kept).await?);
        }
        Ok(())
    }

    /// Records were to be created under keys by which they are found, and there
    /// stands something else by now: whoever made it, it is the counterpart, also
    /// where it has another key when they are next looked at.
    async fn link_by_key(&mut self, side: Side, pairs: &[Both<Key>]) -> Result<(), Trouble> {
        if pairs.is_empty() {
            return Ok(());
        }
        let keys: Vec<Key> = pairs.iter().map(|keys| keys[side].clone()).collect();
        let there = self.look_at_all(side, &keys, true).await?;
        let taken = self.setup.store.links(&self.program.name, side, &keys).await?;
        for (keys, taken) in pairs.iter().zip(taken) {
            let (None, Some(Ok(Seen::Live(record)))) = (taken, there.get(&keys[side])) else { continue };
            if let Some(link) = self.agreed_link(&keys.clone().map(Some), Both::new(record, record)) {
                self.tell(keys.clone().map(Some), Fact::Adopted);
                self.pending.links.push(link);
            }
        }
        Ok(())
    }

    /// A link goes on with another record, which may show what was sent to the
    /// one before: that is nobody's edit.
    pub(super) fn recognise(&mut self, side: Side, link: &mut Link, seen: &Seen) {
        let from = (side.other(), link.keys[side.other()].clone());
        if let (Some(agreed), Seen::Live(_)) = (self.agreed.get(&from).filter(|agreed| agreed.certain), seen) {
            let mut agreed = Link { layout: agreed.layout, bases: agreed.bases.clone(), ..link.clone() };
            self.layouts.bring_to(link.layout, &mut agreed, self.program.keeps_digests());
            link.bases = agreed.bases;
            link.revision += 1;
            return;
        }
        let Some(Sent { layout, fields, .. }) = self.sent.get(&link.id).filter(|sent| sent.side == side) else {
            return;
        };
        let (layout, Seen::Live(record)) = (*layout, seen) else { return };
        let mut any = false;
        for field in fields.iter().filter(|field| self.stands(side, layout, field, record)) {
            let now = self.layouts.position(layout, field.field);
            let position = if link.layout == layout { Some(field.field) } else { now };
            if let Some(position) = position.filter(|_| [layout, self.layouts.current].contains(&link.layout)) {
                link.bases.set(position, field.bases.clone(), self.written(now.unwrap_or_default()));
                any = true;
            }
        }
        if any {
            link.revision += 1;
            self.tell(link.keys.clone().map(Some), Fact::Recovered { side, applied: true });
        }
    }

    /// Both sides were read: whoever was to go on in the place of a record has
    /// been found.
    pub(super) fn let_go_of_sent(&mut self) {
        let ids = std::mem::take(&mut self.sent_under);
        self.pending.answered.extend(ids.into_iter().map(|intents| Answered { intents, not_made: Vec::new() }));
        self.sent.clear();
    }

    /// The writer is at its end; the records tell what it did.
    async fn look_at(&mut self, id: IntentsId, intents: Intents) -> Result<(), Trouble> {
        let side = intents.side;
        // A side that is asked by token says so where nothing came into effect.
        let in_effect = intents.token.is_some();
        let keys: Vec<Key> = intents.creates.iter().map(|link| link.keys[side].clone()).collect();
        let known: Vec<Key> = keys.iter().filter(|key| !key.is_empty()).cloned().collect();
        let there = self.fetch_keys(side, &known).await?;
        let mut rows: BTreeMap<&Key, Vec<(&Mark, &[Value])>> = BTreeMap::new();
        for (row, probe) in there.batch.rows().zip(&there.probes) {
            rows.entry(&known[*probe]).or_default().push(row);
        }
        let mut not_made = Vec::new();
        let mut rekeyed = Vec::new();
        // Under their keys stands something else than was sent.
        let mut otherwise = Vec::new();
        for (position, (link, key)) in intents.creates.iter().zip(&keys).enumerate() {
            if key.is_empty() {
                not_made.push(position);
                self.park_in_doubt(side, &link.keys[side.other()], NO_WAY_TO_LOOK, Some(agreed(link, false)));
                continue;
            }
            let told: Vec<Standing> = rows
                .get(key)
                .into_iter()
                .flatten()
                .map(|(mark, row)| self.stands_there(side, in_effect, link, mark, row))
                .collect();
            if told.contains(&Standing::Ours) {
                self.counts.toward(side).created += 1;
                self.tell(link.keys.clone().map(Some), Fact::Recovered { side, applied: true });
            } else {
                not_made.push(position);
                // It may stand under a key that nobody knows, or go on under another one.
                self.agreed.insert((side.other(), link.keys[side.other()].clone()), agreed(link, false));
                let told_apart = !self.program.matching.is_empty() || self.program.sides[side].key_is_mapped();
                if told.contains(&Standing::Unreadable) {
                    let message = format!(
                        "sent, without an answer, and the {side} record with key {key}, which may be it, cannot be read"
                    );
                    self.park_in_doubt(side, &link.keys[side.other()], &message, Some(agreed(link, false)));
                } else if rows.contains_key(key) && !told_apart || told.contains(&Standing::Alike) {
                    self.park_in_doubt(side, &link.keys[side.other()], SHOWS_OTHERWISE, Some(agreed(link, false)));
                } else if rows.contains_key(key) && self.program.matches_by_key(side) {
                    otherwise.push(link.keys.clone());
                }
            }
        }
        self.recovered_creates(&intents, &not_made);
        self.pending.answered.push(Answered { intents: id, not_made });
        self.pending.made = Some(self.made(side));
        self.link_by_key(side, &otherwise).await?;
        let set = self.set_as_intended(side, &intents.changes).await?;
        let links = self.links_of(side, &intents.changes).await?;
        // A record that is to be made anew has a key of its own; else the link tells the key, for it may have been
        // given another one since an earlier look.
        let mut keys: Vec<Key> = intents
            .changes
            .iter()
            .zip(&links)
            .map(|(intent, link)| match link {
                Some(link) if intent.action == Action::Update && !link.keys[side].is_empty() => link.keys[side].clone(),
                _ => intent.keys[side].clone(),
            })
            .collect();
        // Nor may it stand under that key any more where it was to get another by what was sent.
        let sent_to = |(intent, key)| self.key_intended(side, intents.layout, intent, key);
        let moved: Vec<Key> = intents.changes.iter().zip(&keys).map(sent_to).collect();
        let taken = self.setup.store.links(&self.program.name, side, &moved).await?;
        let known: BTreeSet<&Key> = keys.iter().chain(&moved).filter(|key| !key.is_empty()).collect();
        let known: Vec<Key> = known.into_iter().cloned().collect();
        // What was written may have left `where` since.
        let there = self.look_at_all(side, &known, true).await?;
        for ((key, moved), taken) in keys.iter_mut().zip(moved).zip(taken) {
            let is_live = |key: &Key| matches!(there.get(key), Some(Ok(Seen::Live(_))));
            if taken.is_none() && is_live(&moved) && matches!(there.get(key), None | Some(Ok(Seen::Gone))) {
                *key = moved;
            }
        }
        self.keep_sent(&intents, &keys, &links, &there).await?;
        for (intent, (key, link)) in intents.changes.iter().zip(keys.iter().zip(links)) {
            if key.is_empty() {
                let sent = link.map(|link| agreed(&self.sent_for(intents.layout, intent, link), false));
                self.park_in_doubt(side, &intent.keys[side.other()], NO_WAY_TO_LOOK, sent);
                continue;
            }
            // What was written since is another matter.
            let Some(link) = link.filter(|link| link.revision < intent.revision) else { continue };
            let seen = there.get(key);
            let in_effect = match (intent.action, seen) {
                _ if !intent.set.is_empty() => set.contains(&intent.keys[side]),
                (Action::Delete, None | Some(Ok(Seen::Gone))) => true,
                (Action::Delete, Some(_)) | (Action::Create | Action::Update, None) => false,
                (Action::Create | Action::Update, Some(Ok(Seen::Live(record)))) => {
                    // Field by field: what stands as intended is ours; what still stands as it was was not
                    // written; a third value is somebody's edit, and planned as one.
                    let (held, others): (Vec<_>, Vec<_>) = intent
                        .fields
                        .iter()
                        .cloned()
                        .partition(|field| self.stands(side, intents.layout, field, record));
                    let before = link.clone();
                    let link = self.without_sums(side, intents.layout, &others, record, link);
                    if !held.is_empty() {
                        let part = Intent { fields: held, ..intent.clone() };
                        rekeyed.extend(self.take_in(side, intents.layout, &part, link));
                    } else if link != before {
                        self.pending.links.push(link);
                    }
                    continue;
                }
                (Action::Create | Action::Update, Some(_)) => false,
            };
            if in_effect {
                rekeyed.extend(self.take_in(side, intents.layout, intent, link));
            }
        }
        self.rekeyed(side, rekeyed).await
    }
}
