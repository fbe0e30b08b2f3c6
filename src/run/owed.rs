//! What is owed: parked records, people's decisions, records to look at again.

use std::collections::BTreeSet;

use super::conflicts::Ended;
use super::report::Trouble;
use super::session::Session;
use crate::plan::{ConflictOutcome, LinkStatus};
use crate::record::{Both, Key, Side};
use crate::state::{Conflict, ConflictFilter, ConflictStatus, ParkedFilter, Reason};

impl Session<'_> {
    /// Tries again what is parked and due.
    pub(super) async fn retry_owed(&mut self) -> Result<(), Trouble> {
        if self.owed.is_empty() {
            return Ok(());
        }
        // `match` may find what became of those in doubt; else nothing is done for them.
        for side in Side::BOTH {
            let doubted = self.in_doubt.iter().filter(|(of, _)| *of == side).map(|(_, key)| key.clone()).collect();
            self.revisit(side, doubted).await?;
            // What was taken back is sent again when it is something else, and owed no more when it is gone.
            let taken_back = self.taken_back.keys().filter(|(on, _)| on.other() == side);
            self.revisit(side, taken_back.map(|(_, key)| key.clone()).collect()).await?;
        }
        let mut filter = ParkedFilter {
            mapping: Some(self.program.name.to_string()),
            due: Some(self.setup.world.now()),
            limit: 1000,
            ..ParkedFilter::default()
        };
        loop {
            self.go_on()?;
            let page = self.setup.store.parked(&filter).await?;
            let Some(last) = page.last() else { return Ok(()) };
            filter.after = last.id;
            let mut keys: Both<Vec<Key>> = Both::default();
            for parked in page.iter().filter(|parked| parked.reason != Reason::InDoubt) {
                let from = parked.side.other();
                let side = if parked.keys[from].is_some() { from } else { parked.side };
                keys[side].extend(parked.keys[side].clone());
            }
            for side in Side::BOTH {
                let mut keys = std::mem::take(&mut keys[side]);
                keys.sort();
                keys.dedup();
                self.revisit(side, keys).await?;
            }
            self.flush().await?;
        }
    }

    /// Looks at the records that people have decided about; where a side is not
    /// read, at all in conflict, since an edit there may have ended it.
    pub(super) async fn look_at_conflicts(&mut self) -> Result<(), Trouble> {
        let filter = ConflictFilter {
            mapping: Some(self.program.name.to_string()),
            open: true,
            decided: self.program.sides.source.read && self.program.sides.target.read,
            ..ConflictFilter::default()
        };
        let mut keys: Vec<Key> =
            self.setup.store.conflicts(&filter).await?.into_iter().map(|conflict| conflict.keys.source).collect();
        keys.sort();
        keys.dedup();
        self.revisit(Side::Source, keys).await
    }

    /// A field that is not mapped any more is in no conflict.
    async fn close_unmapped(&mut self) -> Result<(), Trouble> {
        let mapping = Some(self.program.name.to_string());
        let filter = ConflictFilter { mapping, open: true, ..ConflictFilter::default() };
        let is_mapped = |name: &str| name == "*" || self.program.fields.iter().any(|field| field.name == name);
        let open = self.setup.store.conflicts(&filter).await?;
        let left: Vec<Conflict> = open.into_iter().filter(|conflict| !is_mapped(&conflict.field)).collect();
        for conflict in left {
            let (status, at) = (ConflictStatus::Closed, self.setup.world.now());
            let conflict = Conflict { status, at, ..conflict };
            self.end_conflict(Ended { conflict, outcome: ConflictOutcome::Closed, written: None });
        }
        self.flush().await
    }

    /// After the mapping was edited: links whose bases follow other fields or
    /// rules are looked at again, once. What is not at hand (a severed link, a
    /// record outside) keeps its old layout, and is looked at when it is back.
    pub(super) async fn reevaluate(&mut self) -> Result<(), Trouble> {
        if self.state.layouts.last().is_none_or(|current| current.settled) {
            return Ok(());
        }
        self.close_unmapped().await?;
        let digests = self.program.keeps_digests();
        let side = if self.program.sides.source.read { Side::Source } else { Side::Target };
        let mut after = 0;
        loop {
            self.go_on()?;
            let mut page = self.setup.store.links_after(&self.program.name, after, 1000).await?;
            let Some(last) = page.last() else { break };
            after = last.id;
            page.retain(|link| link.layout != self.layouts.current);
            let mut keys = Vec::new();
            for mut link in page {
                if self.layouts.means_the_same(&link, digests) {
                    self.layouts.bring(&mut link, self.program.bases);
                    self.pending.links.push(link);
                } else if link.status == LinkStatus::Linked && !link.outside {
                    keys.push(link.keys[side].clone());
                }
            }
            self.flush().await?;
            self.revisit(side, keys).await?;
        }
        // Those that moved meanwhile, too.
        self.look_again().await?;
        self.forget_layouts().await
    }

    /// No link needs a look for its layout any more; layouts that none has are
    /// forgotten.
    async fn forget_layouts(&mut self) -> Result<(), Trouble> {
        let mut used = BTreeSet::from([self.layouts.current]);
        used.extend(self.agreed.values().map(|agreed| agreed.layout));
        let mut after = 0;
        loop {
            let page = self.setup.store.links_after(&self.program.name, after, 1000).await?;
            let Some(last) = page.last() else { break };
            after = last.id;
            used.extend(page.iter().map(|link| link.layout));
        }
        self.state.layouts.retain(|layout| used.contains(&layout.id));
        self.state.layouts.last_mut().expect("the program's layout is among them").settled = true;
        self.pending.mapping = Some(self.state.clone());
        self.flush().await
    }

    /// Records that moved while they were written, or that a merge has left
    /// half done, until nothing is left to look at.
    pub(super) async fn look_again(&mut self) -> Result<(), Trouble> {
        while !self.again.source.is_empty() || !self.again.target.is_empty() {
            // They may be paired with what is not in the state yet.
            self.flush().await?;
            for side in Side::BOTH {
                let keys: Vec<Key> = self.again[side].keys().cloned().collect();
                let rounds = self.again[side].clone();
                self.revisit(side, keys.clone()).await?;
                // What was not put on the list anew is done with.
                for key in keys {
                    if self.again[side].get(&key) == rounds.get(&key) {
                        self.again[side].remove(&key);
                    }
                }
            }
        }
        Ok(())
    }
}
