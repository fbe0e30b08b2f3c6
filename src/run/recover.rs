//! Intents that an earlier run left without an answer.

use std::collections::{BTreeMap, BTreeSet};

use super::conflicts::Ended;
use super::event::Fact;
use super::report::Trouble;
use super::session::Session;
use super::world::unless_stopped;
use crate::compile::Rejection;
use crate::connector::{Action, Fault, Settled};
use crate::plan::{ConflictOutcome, Link, LinkStatus, Record, Seen};
use crate::record::{Both, Key, Side};
use crate::state::{
    Agreed, Answered, Conflict, ConflictFilter, ConflictStatus, Intent, IntentField, Intents, IntentsId, ParkedFilter,
};

/// Why a record is in doubt: nobody knows under which key it was created.
pub(super) const KEY_UNTOLD: &str = "created, and the system did not tell under which key";

/// What a link would agree on.
pub(super) fn agreed(link: &Link, certain: bool) -> Agreed {
    Agreed { layout: link.layout, bases: link.bases.clone(), certain }
}

impl Session<'_> {
    /// Finds out what became of every write without an answer, before anything
    /// else is done.
    pub(super) async fn recover(&mut self) -> Result<(), Trouble> {
        let open = self.setup.store.open_intents(&self.program.name).await?;
        if self.options.dry {
            self.unanswered =
                open.iter().map(|(_, intents)| (intents.creates.len() + intents.changes.len()) as u64).sum();
            return Ok(());
        }
        for (id, intents) in open {
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
                    self.look_at(id, &intents).await?;
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
        // Nothing is being written: a stop waits for nobody.
        let asked = unless_stopped(&*self.setup.world, self.setup.settled(side, token));
        let settled = asked.await.ok_or(Trouble::Stopped)??;
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
            self.count_recovered(side, Action::Create, &link.keys);
            if link.keys[side].is_empty() {
                not_made.push(position);
                self.park_in_doubt(side, &link.keys[side.other()], KEY_UNTOLD, Some(agreed(link, true)));
            } else {
                self.tell(link.keys.clone().map(Some), Fact::Recovered { side, applied: true });
            }
        }
        let links = self.links_of(side, &intents.changes).await?;
        let shown = self.shown_since(&intents).await?;
        for (intent, link) in intents.changes.iter().zip(links) {
            if intent.keys[side].is_empty() {
                self.count_recovered(side, Action::Create, &intent.keys);
                let sent = link.map(|link| agreed(&self.sent_for(side, intents.layout, intent, link), true));
                self.park_in_doubt(side, &intent.keys[side.other()], KEY_UNTOLD, sent);
            } else if let Some(link) = link {
                let key = self.key_intended(side, intents.layout, intent, &intent.keys[side]);
                let record = shown.get(&key).and_then(|seen| seen.as_ref().ok()?.live());
                rekeyed.extend(self.take_in(side, intents.layout, intent, link, record));
            }
        }
        self.recovered_creates(&intents, &not_made);
        self.pending.answered.push(Answered { intents: id, not_made });
        self.pending.made = Some(self.made(side));
        self.rekeyed(side, rekeyed).await
    }

    /// A write of an earlier run counts in the one that learns of it, in place
    /// of what its record would count as when that is read.
    pub(super) fn count_recovered(&mut self, side: Side, action: Action, keys: &Both<Key>) {
        let counts = self.counts.toward(side);
        match action {
            Action::Create => counts.created += 1,
            Action::Update => counts.updated += 1,
            Action::Delete => {
                counts.deleted += 1;
                return;
            }
        }
        self.early[side].insert(keys[side.other()].clone());
    }

    /// What stands where it matters which stamps of it are the engine's own.
    async fn shown_since(&self, intents: &Intents) -> Result<BTreeMap<Key, Result<Seen, Rejection>>, Trouble> {
        let side = intents.side;
        let asked = intents.changes.iter().filter(|intent| intent.before.is_some());
        let key = |intent: &Intent| self.key_intended(side, intents.layout, intent, &intent.keys[side]);
        let keys: BTreeSet<Key> = asked.map(key).collect();
        if keys.is_empty() {
            return Ok(BTreeMap::new());
        }
        self.look_at_all(side, &keys.into_iter().collect::<Vec<_>>(), true).await
    }

    /// A change is known to be in effect: its bases and no others move. Answers
    /// with the link and the key it had, where the change gave it another.
    /// `shown` is the record as it stands now, where it was looked at.
    pub(super) fn take_in(
        &mut self,
        side: Side,
        layout: i64,
        intent: &Intent,
        mut link: Link,
        shown: Option<&Record>,
    ) -> Option<(Key, Link)> {
        self.tell(intent.keys.clone().map(Some), Fact::Recovered { side, applied: true });
        if intent.takes_back_a_create() {
            self.forget(&link, &[side]);
            return None;
        }
        // Only `deletes: { set: … }` updates none of the fields.
        let sets = intent.action == Action::Update && intent.fields.is_empty();
        let action = if sets { Action::Delete } else { intent.action };
        self.count_recovered(side, action, &intent.keys);
        if action == Action::Delete {
            let keys = intent.keys.clone().map(Some);
            self.tell(keys, Fact::Written { side, action, fields: Vec::new() });
            if sets {
                link.revision = link.revision.max(intent.revision);
                link.status = LinkStatus::Severed { gone: side.other() };
                self.pending.links.push(link);
            } else {
                self.forget(&link, &Side::BOTH);
            }
            return None;
        }
        if link.layout != layout {
            // Fields have come since it was stored that agreed, or were written with it: their bases went with the run.
            self.queue(side.other(), &link.keys.clone().map(Some), 0);
        }
        link = self.sent_for(side, layout, intent, link);
        let before = link.keys[side].clone();
        if intent.action == Action::Create {
            link.keys[side] = intent.keys[side].clone();
        } else {
            link.keys[side] = self.key_intended(side, layout, intent, &before);
        }
        link.revision = link.revision.max(intent.revision);
        let stands = |record: &&Record| intent.fields.iter().all(|field| self.stands(side, layout, field, record));
        if let Some(own) = shown.filter(stands).and_then(|record| self.own_stamp(layout, intent, record)) {
            link.own_stamps[side] = Some(own);
        }
        let position = |field: &IntentField| Some((self.layouts.position(layout, field.field)?, field.value.clone()));
        let written: Vec<_> = intent.fields.iter().filter_map(position).collect();
        if !intent.set.is_empty() {
            link.status = LinkStatus::Severed { gone: side.other() };
        }
        self.recovered(side, &link.keys, written.iter().map(|(field, value)| (*field, value)));
        // What is open about a record that was made anew is looked at under the key it has now.
        let follows = intent.action == Action::Update || self.in_conflict.contains(&link.id);
        if follows && link.keys[side] != before {
            return Some((before, link));
        }
        self.pending.links.push(link);
        None
    }

    /// The key of a record once what was intended for it is in effect.
    pub(super) fn key_intended(&self, side: Side, layout: i64, intent: &Intent, key: &Key) -> Key {
        let now = |field: &IntentField| self.layouts.position(layout, field.field);
        self.key_after(side, key, intent.fields.iter().filter_map(|field| Some((now(field)?, &field.value))))
    }

    /// The links that changes of `side` belong to, found by the other side's
    /// key: a record that is made anew has another one than its link knows.
    pub(super) async fn links_of(&self, side: Side, changes: &[Intent]) -> Result<Vec<Option<Link>>, Trouble> {
        let other = side.other();
        let keys: Vec<Key> = changes.iter().map(|intent| intent.keys[other].clone()).collect();
        Ok(self.setup.store.links(&self.program.name, other, &keys).await?)
    }

    /// A link once what was sent for it is in effect.
    pub(super) fn sent_for(&self, side: Side, layout: i64, intent: &Intent, mut link: Link) -> Link {
        self.layouts.bring_to(layout, &mut link, self.program.bases);
        let known = link.bases.len();
        if intent.action == Action::Create {
            // What is never written to a record that was made anew has not agreed with it.
            let is_written = |position: usize| {
                self.layouts.position(layout, position).is_none_or(|now| self.program.fields[now].writes(side))
            };
            (0..known).filter(|position| !is_written(*position)).for_each(|position| link.bases.clear(position));
        }
        for field in intent.fields.iter().filter(|field| field.field < known) {
            // Which side is the written one matters to digests alone, and there it is one for all fields.
            link.bases.set(field.field, field.bases.clone(), self.written(0));
        }
        link
    }
}
