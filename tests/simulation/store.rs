//! The state behind a seam: crashes before and after each commit.

use chrono::{DateTime, Utc};
use engine::plan::{Link, LinkId, Resolution};
use engine::record::{Key, Side};
use engine::state::{
    Cell, Commit, Conflict, ConflictFilter, EventRecord, Fence, Intents, IntentsId, MappingState, MemoryStore,
    OwedCounts, Parked, ParkedFilter, RunRecord, Spooled, Store, StoreError, Written,
};
use futures::future::BoxFuture;

use super::mutants::{Mutant, Tamper};
use super::stage::Shared;

type Answer<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

pub(super) struct SimStore {
    pub(super) inner: MemoryStore,
    pub(super) stage: Shared,
    pub(super) mutant: Option<Mutant>,
}

/// Passes a call on as it is.
macro_rules! pass {
    ($($name:ident($($argument:ident: $type:ty),*) -> $answer:ty;)*) => {
        $(fn $name<'a>(&'a self, $($argument: $type),*) -> Answer<'a, $answer> {
            self.inner.$name($($argument),*)
        })*
    };
}

impl Store for SimStore {
    fn mappings(&self) -> Answer<'_, Vec<String>> {
        self.inner.mappings()
    }

    fn prune(&self, before: DateTime<Utc>) -> Answer<'_, u64> {
        self.inner.prune(before)
    }

    fn open_intents<'a>(&'a self, mapping: &'a str) -> Answer<'a, Vec<(IntentsId, Intents)>> {
        Box::pin(async move {
            if self.mutant == Some(Mutant::IntentsForgotten) {
                return Ok(Vec::new());
            }
            self.inner.open_intents(mapping).await
        })
    }

    fn intend<'a>(&'a self, fence: &'a Fence, intents: &'a Intents) -> Answer<'a, IntentsId> {
        Box::pin(async move {
            self.stage.pause("intend").await;
            let answer = self.inner.intend(fence, intents).await;
            self.stage.pause("intended").await;
            answer
        })
    }

    fn commit<'a>(&'a self, fence: &'a Fence, commit: &'a Commit) -> Answer<'a, ()> {
        Box::pin(async move {
            self.stage.pause("commit").await;
            let tampered = match self.mutant {
                Some(mutant) => self.tamper(mutant, &fence.mapping, commit).await,
                None => None,
            };
            self.inner.commit(fence, tampered.as_ref().unwrap_or(commit)).await?;
            {
                let mut stage = self.stage.lock();
                let spooled: Vec<_> = commit.spool.iter().map(|spooled| spooled.link).collect();
                if !(spooled.is_empty() && commit.unspool.is_empty()) {
                    stage.tell(&format!("deletes spooled {spooled:?}, taken off {:?}", commit.unspool));
                }
                stage.logged.extend(commit.conflicts.iter().cloned());
                if !commit.answered.is_empty() {
                    stage.unacknowledged.clear();
                }
            }
            self.stage.pause("committed").await;
            Ok(())
        })
    }

    pass! {
        acquire(mapping: &'a str) -> Fence;
        mapping(mapping: &'a str) -> Option<MappingState>;
        links(mapping: &'a str, side: Side, keys: &'a [Key]) -> Vec<Option<Link>>;
        links_after(mapping: &'a str, after: LinkId, limit: usize) -> Vec<Link>;
        count_links(mapping: &'a str) -> u64;
        conflicts(filter: &'a ConflictFilter) -> Vec<Conflict>;
        resolve(ids: &'a [i64], resolution: Option<&'a Resolution>) -> u64;
        parked(filter: &'a ParkedFilter) -> Vec<Parked>;
        retry(ids: &'a [i64]) -> u64;
        drop_parked(ids: &'a [i64]) -> u64;
        spooled(mapping: &'a str, after: LinkId, limit: usize) -> Vec<Spooled>;
        count_owed(mapping: &'a str) -> OwedCounts;
        sweep_begin(fence: &'a Fence, side: Side) -> ();
        sweep_seen(fence: &'a Fence, side: Side, keys: &'a [Key]) -> ();
        sweep_absent(fence: &'a Fence, side: Side, after: LinkId, limit: usize) -> Vec<Link>;
        written(cells: &'a [Cell]) -> Vec<Option<Written>>;
        runs(mapping: Option<&'a str>, limit: usize) -> Vec<RunRecord>;
        deleted_since(mapping: &'a str, since: DateTime<Utc>) -> u64;
        padded_keys(mapping: &'a str, side: Side, key: &'a Key) -> Vec<Key>;
        events(mapping: &'a str, side: Side, key: &'a Key) -> Vec<EventRecord>;
        reset(mapping: &'a str, links: bool) -> ();
    }
}
