//! The state in memory: what the simulation runs on, and a second reading of
//! what [`Store`] promises.
//!
//! Every call is done at its first poll, fully or not at all, and in an order
//! that depends on nothing but the calls. Clones are handles on the same
//! state: an engine that dies loses nothing of it, and the next one goes on
//! with it. Nothing of it outlives the process.

mod kept;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use chrono::{DateTime, Utc};

use super::{
    Answer, Cell, Commit, Conflict, ConflictFilter, ConflictStatus, EventRecord, Fence, Forgotten, Intents, IntentsId,
    Made, MappingState, OwedCounts, Parked, ParkedFilter, RUNS_KEPT, RunRecord, RunStatus, Spooled, Store, StoreError,
    VALUES_FORGOTTEN, Written, insert_event, same_but_for_padding,
};
use kept::{Given, Kept, Open, open_conflict};

use crate::plan::{Link, LinkId, LinkStatus, Resolution};
use crate::record::{Both, Key, Side};

/// A state in memory; a clone is a handle on the same one.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore {
    everything: Arc<Mutex<Everything>>,
}

#[derive(Debug, Default)]
struct Everything {
    mappings: BTreeMap<String, Mapping>,
    runs: BTreeMap<String, RunRecord>,
    /// What was written, and by which mapping.
    written: BTreeMap<Cell, (String, Written)>,
    given: Given,
}

#[derive(Debug, Default)]
struct Mapping {
    fence: u64,
    kept: Kept,
    /// Who made a link, where it was created.
    made: BTreeMap<LinkId, Made>,
    events: Vec<EventRecord>,
    sweeps: Both<Option<Sweep>>,
}

#[derive(Debug, Default)]
struct Sweep {
    /// The newest link when it began.
    until: LinkId,
    seen: BTreeSet<LinkId>,
}

impl MemoryStore {
    pub fn new() -> MemoryStore {
        MemoryStore::default()
    }

    fn lock(&self) -> MutexGuard<'_, Everything> {
        self.everything.lock().expect("no call of the store panics")
    }

    /// Runs a call when its answer is first polled.
    fn call<'a, T: Send + 'a>(
        &'a self,
        work: impl FnOnce(&mut Everything) -> Result<T, StoreError> + Send + 'a,
    ) -> Answer<'a, T> {
        Box::pin(async move { work(&mut self.lock()) })
    }
}

impl Everything {
    /// What is kept of a mapping, where anything is.
    fn kept(&self, mapping: &str) -> Option<&Kept> {
        self.mappings.get(mapping).map(|mapping| &mapping.kept)
    }

    fn fenced(&mut self, fence: &Fence) -> Result<(&mut Mapping, &mut Given), StoreError> {
        match self.mappings.get_mut(&fence.mapping) {
            Some(mapping) if mapping.fence == fence.number => Ok((mapping, &mut self.given)),
            _ => Err(StoreError::Fenced),
        }
    }

    fn commit(&mut self, fence: &Fence, commit: &Commit) -> Result<(), StoreError> {
        commit.check_mapping(&fence.mapping)?;
        let (mapping, given) = self.fenced(fence)?;
        let mut kept = mapping.kept.clone();
        let made = kept.apply(commit, given)?;
        mapping.kept = kept;
        if let Some(by) = &commit.made {
            mapping.made.extend(made.into_iter().map(|id| (id, by.clone())));
        }
        mapping.events.extend(commit.events.iter().cloned());
        for cell in &commit.overtaken {
            self.written.remove(cell);
        }
        let by = |written: &Written| (written.cell.clone(), (fence.mapping.clone(), written.clone()));
        self.written.extend(commit.written.iter().map(by));
        self.runs.extend(commit.run.iter().map(|run| (run.run.clone(), run.clone())));
        Ok(())
    }

    fn every_kept(&mut self) -> impl Iterator<Item = &mut Kept> {
        self.mappings.values_mut().map(|mapping| &mut mapping.kept)
    }
}

impl Store for MemoryStore {
    fn acquire<'a>(&'a self, mapping: &'a str) -> Answer<'a, Fence> {
        self.call(move |all| {
            let entry = all.mappings.entry(mapping.to_owned()).or_default();
            entry.fence += 1;
            let number = entry.fence;
            for run in all.runs.values_mut() {
                if run.mapping == mapping && run.status == RunStatus::Running {
                    run.status = RunStatus::Interrupted;
                }
            }
            Ok(Fence { mapping: mapping.to_owned(), number })
        })
    }

    fn mapping<'a>(&'a self, mapping: &'a str) -> Answer<'a, Option<MappingState>> {
        self.call(move |all| Ok(all.kept(mapping).and_then(|kept| kept.state.clone())))
    }

    fn mappings(&self) -> Answer<'_, Vec<String>> {
        self.call(|all| Ok(all.mappings.keys().cloned().collect()))
    }

    fn links<'a>(&'a self, mapping: &'a str, side: Side, keys: &'a [Key]) -> Answer<'a, Vec<Option<Link>>> {
        self.call(move |all| {
            let Some(kept) = all.kept(mapping) else { return Ok(vec![None; keys.len()]) };
            let link = |key| kept.links.get(kept.holders[side].get(key)?).map(|link| Link::clone(link));
            Ok(keys.iter().map(link).collect())
        })
    }

    fn links_after<'a>(&'a self, mapping: &'a str, after: LinkId, limit: usize) -> Answer<'a, Vec<Link>> {
        self.call(move |all| {
            let Some(kept) = all.kept(mapping) else { return Ok(Vec::new()) };
            Ok(kept.links_after(after).take(limit).cloned().collect())
        })
    }

    fn count_links<'a>(&'a self, mapping: &'a str) -> Answer<'a, u64> {
        self.call(move |all| Ok(all.kept(mapping).map_or(0, |kept| kept.links.len() as u64)))
    }

    fn intend<'a>(&'a self, fence: &'a Fence, before: &'a Commit, intents: &'a Intents) -> Answer<'a, IntentsId> {
        self.call(move |all| {
            all.commit(fence, before)?;
            let (mapping, given) = all.fenced(fence)?;
            let mut kept = mapping.kept.clone();
            let first = given.link + 1;
            for create in &intents.creates {
                given.link += 1;
                kept.hold(given.link, &create.keys)?;
            }
            given.intents += 1;
            kept.open.insert(given.intents, Arc::new(Open { intents: intents.clone(), first }));
            mapping.kept = kept;
            Ok(given.intents)
        })
    }

    fn open_intents<'a>(&'a self, mapping: &'a str) -> Answer<'a, Vec<(IntentsId, Intents)>> {
        self.call(move |all| {
            let Some(kept) = all.kept(mapping) else { return Ok(Vec::new()) };
            Ok(kept.open.iter().map(|(id, open)| (*id, open.intents.clone())).collect())
        })
    }

    fn commit<'a>(&'a self, fence: &'a Fence, commit: &'a Commit) -> Answer<'a, ()> {
        self.call(move |all| all.commit(fence, commit))
    }

    fn conflicts<'a>(&'a self, filter: &'a ConflictFilter) -> Answer<'a, Vec<Conflict>> {
        self.call(move |all| {
            let every = all.mappings.values().flat_map(|mapping| mapping.kept.conflicts.values());
            let mut found: Vec<_> = every.filter(|conflict| filter.finds(conflict)).collect();
            found.sort_by_key(|conflict| std::cmp::Reverse((conflict.at, conflict.id)));
            Ok(found.into_iter().map(|conflict| Conflict::clone(conflict)).collect())
        })
    }

    fn resolve<'a>(&'a self, ids: &'a [i64], resolution: Option<&'a Resolution>) -> Answer<'a, u64> {
        self.call(move |all| {
            let ids: BTreeSet<_> = ids.iter().collect();
            let mut changed = 0;
            for kept in all.every_kept() {
                for id in &ids {
                    if let Some(conflict) = open_conflict(&mut kept.conflicts, **id) {
                        conflict.resolution = resolution.cloned();
                        changed += 1;
                    }
                }
            }
            Ok(changed)
        })
    }

    fn parked<'a>(&'a self, filter: &'a ParkedFilter) -> Answer<'a, Vec<Parked>> {
        self.call(move |all| {
            let every = all.mappings.values().flat_map(|mapping| mapping.kept.parked.values());
            let mut found: Vec<_> = every.filter(|parked| filter.finds(parked)).collect();
            found.sort_by_key(|parked| parked.id);
            let limit = if filter.limit == 0 { usize::MAX } else { filter.limit };
            Ok(found.into_iter().take(limit).map(|parked| Parked::clone(parked)).collect())
        })
    }

    fn retry<'a>(&'a self, ids: &'a [i64]) -> Answer<'a, u64> {
        self.call(move |all| {
            let ids: BTreeSet<_> = ids.iter().collect();
            let mut changed = 0;
            for kept in all.every_kept() {
                for id in &ids {
                    if let Some(parked) = kept.parked.get_mut(id) {
                        let parked = Arc::make_mut(parked);
                        parked.next_try = Some(parked.since);
                        changed += 1;
                    }
                }
            }
            Ok(changed)
        })
    }

    fn drop_parked<'a>(&'a self, ids: &'a [i64]) -> Answer<'a, u64> {
        self.call(move |all| {
            let removed = all.every_kept().map(|kept| ids.iter().filter_map(|id| kept.parked.remove(id)).count());
            Ok(removed.sum::<usize>() as u64)
        })
    }

    fn spooled<'a>(&'a self, mapping: &'a str, after: LinkId, limit: usize) -> Answer<'a, Vec<Spooled>> {
        self.call(move |all| {
            let Some(kept) = all.kept(mapping) else { return Ok(Vec::new()) };
            Ok(kept.spooled.range(after.saturating_add(1)..).take(limit).map(|(_, spooled)| spooled.clone()).collect())
        })
    }

    fn count_owed<'a>(&'a self, mapping: &'a str) -> Answer<'a, OwedCounts> {
        self.call(move |all| Ok(all.kept(mapping).map_or_else(OwedCounts::default, Kept::owed)))
    }

    fn sweep_begin<'a>(&'a self, fence: &'a Fence, side: Side) -> Answer<'a, ()> {
        self.call(move |all| {
            let (mapping, given) = all.fenced(fence)?;
            mapping.sweeps[side] = Some(Sweep { until: given.link, seen: BTreeSet::new() });
            Ok(())
        })
    }

    fn sweep_seen<'a>(&'a self, fence: &'a Fence, side: Side, keys: &'a [Key]) -> Answer<'a, ()> {
        self.call(move |all| {
            let (mapping, _) = all.fenced(fence)?;
            let sweep = mapping.sweeps[side].as_mut().ok_or_else(|| StoreError::no_sweep(side))?;
            let holders = &mapping.kept.holders[side];
            sweep.seen.extend(keys.iter().filter_map(|key| holders.get(key)));
            Ok(())
        })
    }

    fn sweep_absent<'a>(&'a self, fence: &'a Fence, side: Side, after: LinkId, limit: usize) -> Answer<'a, Vec<Link>> {
        self.call(move |all| {
            let (mapping, _) = all.fenced(fence)?;
            let sweep = mapping.sweeps[side].as_ref().ok_or_else(|| StoreError::no_sweep(side))?;
            let absent = mapping.kept.links_after(after).filter(|link| {
                link.status != LinkStatus::Severed { gone: side }
                    && link.id <= sweep.until
                    && !sweep.seen.contains(&link.id)
            });
            Ok(absent.take(limit).cloned().collect())
        })
    }

    fn written<'a>(&'a self, cells: &'a [Cell]) -> Answer<'a, Vec<Option<Written>>> {
        self.call(move |all| {
            Ok(cells.iter().map(|cell| all.written.get(cell).map(|(_, written)| written.clone())).collect())
        })
    }

    fn runs<'a>(&'a self, mapping: Option<&'a str>, limit: usize) -> Answer<'a, Vec<RunRecord>> {
        self.call(move |all| {
            let newest = all.runs.values().rev();
            Ok(newest.filter(|run| mapping.is_none_or(|name| run.mapping == name)).take(limit).cloned().collect())
        })
    }

    fn prune(&self, before: DateTime<Utc>) -> Answer<'_, u64> {
        self.call(move |all| {
            let mut forgotten = 0;
            for (name, mapping) in &mut all.mappings {
                let (events, conflicts) = (mapping.events.len(), mapping.kept.conflicts.len());
                mapping.events.retain(|event| event.at >= before);
                let stays = |conflict: &Conflict| conflict.status == ConflictStatus::Open || conflict.at >= before;
                mapping.kept.conflicts.retain(|_, conflict| stays(conflict));
                forgotten += events - mapping.events.len() + conflicts - mapping.kept.conflicts.len();
                let of_it = all.runs.iter().rev().filter(|(_, run)| run.mapping == *name).skip(RUNS_KEPT);
                let old: Vec<_> = of_it.filter(|(_, run)| run.started_at < before).map(|(id, _)| id.clone()).collect();
                forgotten += old.len();
                for id in &old {
                    all.runs.remove(id);
                }
            }
            Ok(forgotten as u64)
        })
    }

    fn deleted_since<'a>(&'a self, mapping: &'a str, since: DateTime<Utc>) -> Answer<'a, u64> {
        self.call(move |all| {
            let Some(mapping) = all.mappings.get(mapping) else { return Ok(0) };
            let deleted = |event: &&EventRecord| event.kind == EventRecord::DELETED && event.at >= since;
            Ok(mapping.events.iter().filter(deleted).count() as u64)
        })
    }

    fn events<'a>(&'a self, mapping: &'a str, side: Side, key: &'a Key) -> Answer<'a, Vec<EventRecord>> {
        self.call(move |all| {
            let Some(mapping) = all.mappings.get(mapping) else { return Ok(Vec::new()) };
            let mut events: Vec<_> =
                mapping.events.iter().filter(|event| event.keys[side].as_ref() == Some(key)).cloned().collect();
            let holder = mapping.kept.holders[side].get(key);
            if let Some((link, made)) = holder.and_then(|id| mapping.kept.links.get(id).zip(mapping.made.get(id))) {
                insert_event(&mut events, made.event(&link.keys));
            }
            Ok(events)
        })
    }

    fn padded_keys<'a>(&'a self, mapping: &'a str, side: Side, key: &'a Key) -> Answer<'a, Vec<Key>> {
        self.call(move |all| {
            let Some(mapping) = all.mappings.get(mapping) else { return Ok(Vec::new()) };
            let linked = mapping.kept.links.values().map(|link| &link.keys[side]);
            let known = linked.chain(mapping.events.iter().filter_map(|event| event.keys[side].as_ref()));
            let found: BTreeSet<Key> = known.filter(|known| same_but_for_padding(known, key)).cloned().collect();
            Ok(found.into_iter().collect())
        })
    }

    fn forget_values<'a>(&'a self, mapping: &'a str, keys: &'a Both<Option<Key>>) -> Answer<'a, Forgotten> {
        self.call(move |all| {
            let mut forgotten = Forgotten::default();
            let Some(mapping) = all.mappings.get_mut(mapping) else { return Ok(forgotten) };
            mapping.fence += 1;
            let is_it = |of: &Both<Option<&Key>>| {
                Side::BOTH.iter().any(|side| of[*side].is_some() && of[*side] == keys[*side].as_ref())
            };
            let (events, conflicts) = (mapping.events.len(), mapping.kept.conflicts.len());
            mapping.events.retain(|event| !is_it(&event.keys.as_ref().map(Option::as_ref)));
            mapping.kept.conflicts.retain(|_, conflict| !is_it(&conflict.keys.as_ref().map(Some)));
            forgotten.events = (events - mapping.events.len()) as u64;
            forgotten.conflicts = (conflicts - mapping.kept.conflicts.len()) as u64;
            for link in mapping.kept.links.values_mut().filter(|link| is_it(&link.keys.as_ref().map(Some))) {
                let link = Arc::make_mut(link);
                (link.bases, link.own_stamps, link.contests) = (link.bases.emptied(), Both::default(), Vec::new());
                forgotten.links += 1;
            }
            for parked in
                mapping.kept.parked.values_mut().filter(|parked| is_it(&parked.keys.as_ref().map(Option::as_ref)))
            {
                let parked = Arc::make_mut(parked);
                (parked.value, parked.message) = (None, VALUES_FORGOTTEN.to_owned());
                parked.next_try = Some(parked.since);
                forgotten.parked += 1;
            }
            Ok(forgotten)
        })
    }

    fn rename<'a>(&'a self, former: &'a str, name: &'a str) -> Answer<'a, ()> {
        self.call(move |all| {
            let in_use = |kept: &Kept| !kept.links.is_empty() || !kept.open.is_empty();
            if !all.mappings.contains_key(former) {
                return Ok(());
            }
            if all.kept(name).is_some_and(in_use) {
                return Err(StoreError::name_in_use(name));
            }
            let mut mapping = all.mappings.remove(former).expect("it was there");
            mapping.fence += 1;
            for conflict in mapping.kept.conflicts.values_mut() {
                name.clone_into(&mut Arc::make_mut(conflict).mapping);
            }
            for parked in mapping.kept.parked.values_mut() {
                name.clone_into(&mut Arc::make_mut(parked).mapping);
            }
            if let Some(empty) = all.mappings.remove(name) {
                empty.events.into_iter().for_each(|event| insert_event(&mut mapping.events, event));
                all.written.retain(|_, (by, _)| by != name);
            }
            all.mappings.insert(name.to_owned(), mapping);
            for run in all.runs.values_mut().filter(|run| run.mapping == former) {
                name.clone_into(&mut run.mapping);
            }
            for (by, _) in all.written.values_mut().filter(|(by, _)| by == former) {
                name.clone_into(by);
            }
            Ok(())
        })
    }

    fn reset<'a>(&'a self, mapping: &'a str, links: bool) -> Answer<'a, ()> {
        self.call(move |all| {
            if links {
                all.written.retain(|_, (by, _)| by != mapping);
            }
            let Some(mapping) = all.mappings.get_mut(mapping) else { return Ok(()) };
            mapping.fence += 1;
            let kept = &mut mapping.kept;
            if let Some(state) = &mut kept.state {
                state.cursors = Both::default();
                if links {
                    state.begin_anew();
                }
            }
            if links {
                for link in std::mem::take(&mut kept.links).values() {
                    kept.release(&link.keys);
                }
                kept.conflicts.clear();
                kept.parked.clear();
                kept.spooled.clear();
            }
            Ok(())
        })
    }
}
