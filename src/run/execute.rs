//! Decisions about pairs are taken up: what is to be written, linked, parked or
//! left.

use super::report::Trouble;
use super::send::Send;
use super::session::Session;
use crate::plan::{Bases, Decision, Link, OpenConflict, Pair, Seen, decide};
use crate::record::{Both, Key, Side};
use crate::state::{Conflict, ConflictStatus};

/// A pair of records to be dealt with.
#[derive(Debug)]
pub(super) struct Work {
    pub link: Option<Link>,
    /// The link as it is stored, where that is under another layout.
    pub behind: Option<Box<Link>>,
    /// The keys of a pair without a link, as far as they are known.
    pub keys: Both<Option<Key>>,
    pub seen: Both<Seen>,
    /// The side it was read from as a change; `None` where it is looked at again.
    pub read: Option<Side>,
    /// The side it is looked at from.
    pub from: Side,
}

impl Work {
    pub(super) fn all_keys(&self) -> Both<Option<Key>> {
        match &self.link {
            Some(link) => link.keys.clone().map(Some),
            None => self.keys.clone(),
        }
    }
}

impl Session<'_> {
    /// Deals with pairs, as far as the `limits` on creates and updates allow:
    /// where they are reached the run stops.
    pub(super) async fn apply(&mut self, work: Vec<Work>) -> Result<(), Trouble> {
        let mut work = self.reviewed(work).await?;
        if !self.limits_writes() {
            return self.apply_all(work).await;
        }
        loop {
            // What is under way counts.
            self.land().await?;
            let (within, reached) = self.within_limits(&work).await?;
            let later = work.split_off(within);
            self.apply_all(work).await?;
            match reached {
                None => return Ok(()),
                Some(trouble) if within == 0 => return Err(trouble),
                // Something of that may have been refused, and left room.
                Some(_) => work = later,
            }
        }
    }

    async fn apply_all(&mut self, mut work: Vec<Work>) -> Result<(), Trouble> {
        if work.is_empty() {
            return self.flush().await;
        }
        for item in &mut work {
            self.carry_over(item);
        }
        let open = self.open_conflicts(&work).await?;
        let mut sends: Both<Vec<Send>> = Both::default();
        // Links that are new or moved without a write.
        let mut moved: Vec<Link> = Vec::new();
        let decisions: Vec<Decision> = work.iter().map(|item| self.decide(item, &open)).collect();
        self.trace_origins(&work, &decisions).await?;
        let mut afterwards = Vec::new();
        for (index, (item, decision)) in work.iter_mut().zip(decisions).enumerate() {
            if self.options.dry {
                afterwards.extend(self.afterwards(item, &decision, &open).map(|next| (index, next)));
            }
            self.take_up(index, item, decision, &open, &mut sends, &mut moved);
        }
        if self.options.dry {
            self.still_taken(&work, &mut sends).await?;
            self.only_plan(&work, &sends);
            self.plan_afterwards(&work, &sends, afterwards);
            return Ok(());
        }
        let writes_only = moved.is_empty() && self.pending.links.is_empty() && self.pending.conflicts.is_empty();
        if let Some(side) = self.may_fly(&sends).filter(|_| writes_only) {
            let sends = std::mem::take(&mut sends[side]);
            return self.launch(side, sends, work).await;
        }
        self.land().await?;
        // What needs no write is made to last first; then the target is written, then the source.
        let adopts = moved.iter().any(|link| link.id == 0);
        self.pending.links.extend(moved);
        // What a policy decides is on record before it is done; what a person decided goes with its write.
        if adopts {
            let disputed: Vec<Key> = self
                .pending
                .conflicts
                .iter()
                .filter(|conflict| conflict.link == 0 && conflict.status == ConflictStatus::Open)
                .map(|conflict| conflict.keys.source.clone())
                .collect();
            self.flush().await?;
            self.number_links(&mut sends).await?;
            let links = self.setup.store.links(&self.program.name, Side::Source, &disputed).await?;
            self.in_conflict.extend(links.into_iter().flatten().map(|link| link.id));
        } else if !(self.pending.links.is_empty() && self.pending.conflicts.is_empty()) {
            self.flush().await?;
        }
        let Both { source, target } = sends;
        let mut written = self.send(Side::Target, target, &mut work).await?;
        let source = source
            .into_iter()
            .filter_map(|mut send| {
                send.owing |= written.owing.contains(&send.work);
                if send.owing && self.held(&work[send.work]).is_some() {
                    // Written now, its link would no longer tell that the target is still without the edit.
                    return None;
                }
                if let Some(link) = written.links.remove(&send.work) {
                    send.link = Some(link);
                }
                Some(send)
            })
            .collect();
        self.send(Side::Source, source, &mut work).await?;
        self.flush().await
    }

    /// A mapping that went one way has kept digests. Of a field that goes on as it
    /// did the source still shows what that stands for, or it has changed since.
    pub(super) fn carry_over(&self, item: &mut Work) {
        let (Some(link), Some(stored)) = (&mut item.link, &item.behind) else { return };
        let (Bases::Values(bases), Bases::Digests(_)) = (&mut link.bases, &stored.bases) else { return };
        for (position, stood) in self.layouts.still_one_way(stored) {
            let field = &self.program.fields[position];
            let Some(to) = Side::BOTH.into_iter().find(|side| field.writes(*side)) else { continue };
            let Some(shown) = item.seen[to.other()].live().map(|record| &record.fields[position]) else { continue };
            let given = field.convert(to, shown).ok().filter(|given| stored.bases.holds(stood, given));
            if let (None, Some(given)) = (&bases[position], given) {
                let mut base = Both::new(given.clone(), given);
                base[to.other()] = shown.clone();
                bases[position] = Some(base);
            }
        }
    }

    pub(super) fn decide(&self, item: &Work, open: &[Conflict]) -> Decision {
        let waiting: Vec<OpenConflict> = item.link.as_ref().map(|link| self.waiting(link, open)).unwrap_or_default();
        let stale = item.behind.as_ref().map_or(&[][..], |stored| self.layouts.stale(stored));
        let pair = Pair { link: item.link.as_ref(), seen: item.seen.as_ref(), open: &waiting, stale };
        decide(self.program, &pair)
    }

    /// The link as it is stored, where that has to stand until the mapping's
    /// edit has taken effect on the pair.
    pub(super) fn held<'w>(&self, item: &'w Work) -> Option<&'w Link> {
        self.layouts.held(item.behind.as_deref())
    }

    /// The link as it is stored, where it tells that new fields are still to be
    /// filled.
    pub(super) fn to_be_filled<'w>(&self, item: &'w Work) -> Option<&'w Link> {
        self.layouts.to_be_filled(item.behind.as_deref(), self.program.keeps_digests())
    }

    /// Newly adopted links got their numbers in the commit.
    pub(super) async fn number_links(&mut self, sends: &mut Both<Vec<Send>>) -> Result<(), Trouble> {
        for side in Side::BOTH {
            let mut unnumbered: Vec<&mut Link> =
                sends[side].iter_mut().filter_map(|send| send.link.as_mut()).filter(|link| link.id == 0).collect();
            if unnumbered.is_empty() {
                continue;
            }
            let keys: Vec<Key> = unnumbered.iter().map(|link| link.keys.source.clone()).collect();
            let stored = self.setup.store.links(&self.program.name, Side::Source, &keys).await?;
            for (link, stored) in unnumbered.iter_mut().zip(stored) {
                link.id = stored.expect("what was committed can be read").id;
            }
        }
        Ok(())
    }
}
