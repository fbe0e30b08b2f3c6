//! How deletions are noticed, and how deletes are held back or carried out.

use chrono::TimeDelta;

use super::event::{Event, Fact};
use super::pages::{Page, Pages};
use super::report::Trouble;
use super::session::Session;
use crate::compile::{BaseKind, DeletePolicy, DeletedWhen, Limit};
use crate::connector::{Action, Listing};
use crate::plan::{LinkId, LinkStatus};
use crate::record::{Both, Key, Mark, Side};
use crate::state::Spooled;

/// By default so many deletes are let through, or 5 % of the links if that is
/// more.
const ALWAYS_ALLOWED: u64 = 10;

/// So many of the deletes that are newly held back are named in the report; the
/// events name all.
const NAMED: usize = 1000;

/// So many deletes held back before are remembered in a run.
const REMEMBERED: usize = 100_000;

/// So many spooled deletes are dealt with at once.
const PAGE: usize = 500;

impl Session<'_> {
    /// True where a complete listing of a side doubles as its sweep.
    pub(super) fn sweeps_by_listing(&self, side: Side) -> bool {
        // Under `deletes: ignore` too: what is gone is severed, or forgotten where its counterpart is gone as well.
        self.links_at_start > 0
            && matches!(self.program.sides[side].deleted, DeletedWhen::Unknown)
            && self.listing(side) == Listing::Full
            && !matches!(self.program.bases, BaseKind::Digests { written } if written == side)
    }

    /// Sweeps a side where that is due.
    pub(super) async fn sweep(&mut self, side: Side) -> Result<(), Trouble> {
        let DeletedWhen::Sweep(every) = self.program.sides[side].deleted else { return Ok(()) };
        let now = self.setup.world.now();
        let due = self.state.swept[side]
            .is_none_or(|last| self.options.full || now - last >= TimeDelta::from_std(every).unwrap_or(TimeDelta::MAX));
        if !due || self.setup.store.count_links(&self.program.name).await? == 0 {
            return Ok(());
        }
        self.sweep_begin(side).await?;
        let mut pages = Pages::new(self.setup, side, Listing::Keys);
        while let Some(page) = pages.next().await? {
            self.go_on()?;
            let Page::Rows(batch) = page else {
                self.sweep_begin(side).await?;
                continue;
            };
            self.unread[side] |= batch.rows().any(|(mark, _)| matches!(mark, Mark::Malformed(_)));
            let keys: Vec<Key> = batch.rows().filter_map(|(_, row)| self.program.sides[side].key(row)).collect();
            self.sweep_seen(side, &keys).await?;
        }
        if self.sweep_end(side).await? {
            self.state.swept[side] = Some(now);
        }
        self.look_again().await
    }

    pub(super) async fn sweep_begin(&mut self, side: Side) -> Result<(), Trouble> {
        if let Some(fence) = &self.fence {
            self.setup.store.sweep_begin(fence, side).await?;
        }
        self.swept = 0;
        self.foresight.listed.clear();
        Ok(())
    }

    pub(super) async fn sweep_seen(&mut self, side: Side, keys: &[Key]) -> Result<(), Trouble> {
        self.swept += keys.len() as u64;
        if let Some(fence) = &self.fence {
            self.setup.store.sweep_seen(fence, side, keys).await?;
        } else {
            self.foresight.listed.extend(keys.iter().cloned());
        }
        Ok(())
    }

    /// Links whose key was not in the listing are looked at one by one: a get
    /// by key, without `where`, says whether the record is gone. False for a
    /// listing that says nothing: an empty one, or one with a record whose key
    /// cannot be read.
    pub(super) async fn sweep_end(&mut self, side: Side) -> Result<bool, Trouble> {
        if self.unread[side] {
            return Ok(false);
        }
        // What this run has created itself fills no side.
        let own = if self.options.dry { 0 } else { self.counts.toward(side).created };
        if self.swept <= own {
            // An empty listing never counts; that it is one is told, also by a plan.
            let links = self.setup.store.count_links(&self.program.name).await?;
            if links > 0 && self.links_at_start > 0 {
                let event = Event { keys: Both::default(), fact: Fact::Emptied { side, links } };
                self.setup.observer.event(&self.program.name, &self.run, &event);
            }
            return Ok(false);
        }
        let mut after = 0;
        loop {
            let store = &self.setup.store;
            let page = match &self.fence {
                Some(fence) => store.sweep_absent(fence, side, after, 1000).await?,
                None => store.links_after(&self.program.name, after, 1000).await?,
            };
            let Some(last) = page.last() else { return Ok(true) };
            after = last.id;
            let keys = page
                .iter()
                .filter(|link| link.status != LinkStatus::Severed { gone: side })
                .map(|link| link.keys[side].clone())
                .filter(|key| !self.foresight.listed.contains(key))
                .collect();
            self.revisit(side, keys).await?;
            self.flush().await?;
        }
    }

    /// What was held back before does not happen where the record turns out to
    /// be there. Of more than this run looks at them once they are let through.
    pub(super) async fn load_held_back(&mut self) -> Result<(), Trouble> {
        let (store, name) = (&self.setup.store, &self.program.name);
        let mut after = 0;
        while self.held_back.len() < REMEMBERED {
            let page = store.spooled(name, after, PAGE).await?;
            let Some(last) = page.last() else { break };
            after = last.link;
            self.held_back.extend(page.iter().map(|spooled| (spooled.link, spooled.on)));
        }
        Ok(())
    }

    /// True in a run of everything, and where this is what was asked for.
    fn asks_for(&self, spooled: &Spooled) -> bool {
        if self.options.review.is_some() {
            return self.approved.contains(&spooled.link);
        }
        let asked = &self.options.keys;
        asked.is_empty() || asked.iter().any(|(side, key)| spooled.keys[*side] == *key)
    }

    /// A delete that waits from now on.
    pub(super) fn hold_back(&mut self, spooled: Spooled) {
        self.let_off.remove(&spooled.link);
        // A delete of the other side that was held back is not wanted any more.
        if self.held_back.len() < REMEMBERED || self.held_back.contains_key(&spooled.link) {
            self.held_back.insert(spooled.link, spooled.on);
        }
        self.pending.spool.push(spooled);
    }

    /// A delete that was held back has no reason any more.
    pub(super) fn let_off(&mut self, link: LinkId) {
        self.foresight.deletes.remove(&link);
        if self.held_back.remove(&link).is_some() {
            self.pending.spool.retain(|spooled| spooled.link != link);
            self.pending.unspool.push(link);
            self.let_off.insert(link);
        }
    }

    /// The spooled deletes after that of a link which this run is about, and the
    /// last link that was looked at; `None` where no more are left.
    async fn spooled(&self, after: LinkId) -> Result<Option<(LinkId, Vec<Spooled>)>, Trouble> {
        let mut page = self.setup.store.spooled(&self.program.name, after, PAGE).await?;
        let last = page.last().map(|spooled| spooled.link);
        page.retain(|spooled| self.asks_for(spooled) && !self.let_off.contains(&spooled.link));
        Ok(last.map(|last| (last, page)))
    }

    /// The deletes of this run and those held back before: all or nothing
    /// under the limit, each looked at once more.
    pub(super) async fn flush_deletes(&mut self) -> Result<(), Trouble> {
        self.flush().await?;
        let setup = self.setup;
        let name = self.program.name.clone();
        let waits = self.spooled_on_each().await?;
        let waiting = waits.source + waits.target;
        if waiting == 0 {
            return Ok(());
        }
        let links = self.links_at_start;
        let limit = match self.program.limits.delete {
            Some(limit) => limit.of(links),
            None => Limit::Percent(5.into()).of(links).max(ALWAYS_ALLOWED),
        };
        // What this run has recovered is among them.
        let done = setup.store.deleted_since(&name, setup.world.now() - TimeDelta::days(1)).await?;
        if done + waiting > limit && !self.options.over_limit {
            if self.options.dry {
                self.plan_held().await?;
            } else {
                self.tell_held(limit).await?;
            }
            for on in Side::BOTH.into_iter().filter(|on| waits[*on] > 0) {
                self.held[on] = Some((waits[on], limit.saturating_sub(done)));
                self.tell(Both::default(), Fact::Held { on, would: waits[on], limit });
            }
            return self.flush().await;
        }
        self.deleting = true;
        // Whoever took the place of a record that is gone may have come since these were listed.
        self.indexes = Both::default();
        let mut after = 0;
        while let Some((last, page)) = self.spooled(after).await? {
            self.go_on()?;
            after = last;
            self.carry_out(&page).await?;
        }
        let foreseen: Vec<Spooled> = std::mem::take(&mut self.foresight.deletes).into_values().collect();
        for page in foreseen.chunks(PAGE) {
            self.carry_out(page).await?;
        }
        self.deleting = false;
        // Records that changed just before they were deleted.
        self.look_again().await?;
        self.flush().await
    }

    /// Looks at what is gone once more, and deletes what is to be deleted.
    async fn carry_out(&mut self, page: &[Spooled]) -> Result<(), Trouble> {
        for on in Side::BOTH {
            let gone = on.other();
            if self.unread[gone] {
                // What cannot be read may be what seems to be gone.
                continue;
            }
            let of = page.iter().filter(|spooled| spooled.on == on);
            self.revisit(gone, of.clone().map(|spooled| spooled.keys[gone].clone()).collect()).await?;
            // Only now: a delete that could not be sent stays owed, and so does that of a record in doubt, or of one that
            // is looked at once more.
            let again =
                |spooled: &&Spooled| Side::BOTH.iter().any(|of| self.again[*of].contains_key(&spooled.keys[*of]));
            let dealt = of.filter(|spooled| !self.is_in_doubt(&spooled.keys.clone().map(Some)) && !again(spooled));
            let dealt: Vec<LinkId> = dealt.map(|spooled| spooled.link).collect();
            self.pending.unspool.extend(dealt);
        }
        self.flush().await
    }

    /// How many spooled deletes this run is about; in a dry run with those it
    /// would have spooled.
    async fn spooled_on_each(&mut self) -> Result<Both<u64>, Trouble> {
        let (mut waits, mut after) = (Both::default(), 0);
        while let Some((last, page)) = self.spooled(after).await? {
            after = last;
            for spooled in page {
                waits[spooled.on] += 1;
                // What is spooled already is not foreseen.
                self.foresight.deletes.remove(&spooled.link);
            }
        }
        for foreseen in self.foresight.deletes.values() {
            waits[foreseen.on] += 1;
        }
        Ok(waits)
    }

    /// In a dry run: plans the deletes that would be held back, without another
    /// look: a run takes that once they are let through.
    async fn plan_held(&mut self) -> Result<(), Trouble> {
        let foreseen: Vec<Spooled> = std::mem::take(&mut self.foresight.deletes).into_values().collect();
        self.held_anew = foreseen.len() as u64;
        self.plan_spooled(foreseen);
        let mut after = 0;
        while let Some((last, page)) = self.spooled(after).await? {
            after = last;
            self.plan_spooled(page);
        }
        Ok(())
    }

    fn plan_spooled(&mut self, page: Vec<Spooled>) {
        let program = self.program;
        for spooled in page {
            let fields = match &program.sides[spooled.on].deletes {
                DeletePolicy::Set(set) => self.sets(spooled.on, set).collect(),
                DeletePolicy::Ignore | DeletePolicy::Propagate => Vec::new(),
            };
            self.plan_one(spooled.on, Action::Delete, spooled.keys.map(Some), fields);
        }
    }

    /// Says of each delete that was not held back before what it would have
    /// deleted.
    async fn tell_held(&mut self, limit: u64) -> Result<(), Trouble> {
        let mut after = 0;
        while let Some((last, page)) = self.spooled(after).await? {
            after = last;
            let started = self.started;
            for spooled in page.into_iter().filter(|spooled| spooled.since >= started) {
                self.held_anew += 1;
                let keys = spooled.keys.clone().map(Some);
                self.tell(keys, Fact::Held { on: spooled.on, would: 1, limit });
                if self.newly_held.len() < NAMED {
                    self.newly_held.push(spooled);
                }
            }
            self.flush().await?;
        }
        Ok(())
    }
}
