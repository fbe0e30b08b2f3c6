//! The state behind a seam: crashes before and after each commit.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use engine::plan::{Link, LinkId, Resolution};
use engine::record::{Both, Key, Side};
use engine::state::{
    Cell, Commit, Conflict, ConflictFilter, EventRecord, Fence, Forgotten, Intents, IntentsId, MappingState,
    MemoryStore, OwedCounts, Parked, ParkedFilter, PostgresStore, RunRecord, Spooled, SqliteStore, Store, StoreError,
    Written,
};
use futures::future::BoxFuture;

use tempfile::TempDir;
use tokio::runtime::{Handle, Runtime};

use super::mutants::{Mutant, Tamper};
use super::stage::Shared;
use crate::support::postgres::Database;

/// What the engine remembers.
pub(super) type State = Arc<dyn Store>;

type Answer<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

pub(super) struct SimStore {
    pub(super) inner: State,
    pub(super) stage: Shared,
    pub(super) mutant: Option<Mutant>,
}

/// The calls that nothing happens around.
macro_rules! passed_on {
    () => {
        passed_on! {
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
            forget_values(mapping: &'a str, keys: &'a Both<Option<Key>>) -> Forgotten;
            rename(former: &'a str, name: &'a str) -> ();
        }

        fn mappings(&self) -> Answer<'_, Vec<String>> {
            self.pass(self.inner.mappings())
        }

        fn prune(&self, before: DateTime<Utc>) -> Answer<'_, u64> {
            self.pass(self.inner.prune(before))
        }
    };
    ($($name:ident($($argument:ident: $type:ty),*) -> $answer:ty;)*) => {
        $(fn $name<'a>(&'a self, $($argument: $type),*) -> Answer<'a, $answer> {
            self.pass(self.inner.$name($($argument),*))
        })*
    };
}

impl SimStore {
    #[expect(clippy::unused_self, reason = "the other store of the simulation asks elsewhere")]
    fn pass<'a, T>(&'a self, answer: Answer<'a, T>) -> Answer<'a, T> {
        answer
    }

    async fn tampered(&self, mapping: &str, commit: &Commit) -> Option<Commit> {
        self.tamper(self.mutant?, mapping, commit).await
    }

    /// What a commit holds is in the state.
    fn lasts(&self, commit: &Commit) {
        let mut stage = self.stage.lock();
        let (spooled, done) = (commit.spool.iter().map(|spooled| &spooled.link), commit.unspool.iter());
        if spooled.len() + done.len() > 0 {
            let [spooled, done] = [within_mapping(spooled), within_mapping(done)];
            stage.tell(&format!("deletes spooled {spooled:?}, taken off {done:?}"));
        }
        stage.logged.extend(commit.conflicts.iter().cloned());
        for answered in &commit.answered {
            stage.acknowledged(answered.intents);
        }
    }
}

impl Store for SimStore {
    fn open_intents<'a>(&'a self, mapping: &'a str) -> Answer<'a, Vec<(IntentsId, Intents)>> {
        Box::pin(async move {
            if self.mutant == Some(Mutant::IntentsForgotten) {
                return Ok(Vec::new());
            }
            self.inner.open_intents(mapping).await
        })
    }

    fn intend<'a>(&'a self, fence: &'a Fence, before: &'a Commit, intents: &'a Intents) -> Answer<'a, IntentsId> {
        Box::pin(async move {
            self.stage.pause("intend").await;
            let tampered = self.tampered(&fence.mapping, before).await;
            let answer = self.inner.intend(fence, tampered.as_ref().unwrap_or(before), intents).await;
            if matches!(answer, Ok(_) | Err(StoreError::LinkedTwice { .. })) {
                self.lasts(before);
            }
            if let Ok(id) = &answer {
                let keys = intents.creates.iter().map(|link| &link.keys);
                let keys = keys.chain(intents.changes.iter().map(|intent| &intent.keys));
                let keys = keys.map(|keys| keys[intents.side].clone()).collect();
                self.stage.lock().intended.insert(*id, keys);
            }
            self.stage.pause("intended").await;
            answer
        })
    }

    fn commit<'a>(&'a self, fence: &'a Fence, commit: &'a Commit) -> Answer<'a, ()> {
        Box::pin(async move {
            self.stage.pause("commit").await;
            let tampered = self.tampered(&fence.mapping, commit).await;
            self.inner.commit(fence, tampered.as_ref().unwrap_or(commit)).await?;
            self.lasts(commit);
            self.stage.pause("committed").await;
            Ok(())
        })
    }

    passed_on!();
}

/// The numbers that links have within their mapping: stores in databases put
/// the mapping's own number before them.
fn within_mapping<'a>(links: impl Iterator<Item = &'a LinkId>) -> Vec<LinkId> {
    links.map(|link| link & 0xff_ffff_ffff).collect()
}

/// A state that lies outside of the simulation's clock: whoever asks it stands
/// still until it answers, and no simulated time goes by.
struct Elsewhere {
    inner: Arc<dyn Store>,
    runtime: Handle,
}

impl Elsewhere {
    fn pass<'a, T: 'a>(&'a self, answer: Answer<'a, T>) -> Answer<'a, T> {
        Box::pin(async move { waited(&self.runtime, answer) })
    }
}

impl Store for Elsewhere {
    fn open_intents<'a>(&'a self, mapping: &'a str) -> Answer<'a, Vec<(IntentsId, Intents)>> {
        self.pass(self.inner.open_intents(mapping))
    }

    fn intend<'a>(&'a self, fence: &'a Fence, before: &'a Commit, intents: &'a Intents) -> Answer<'a, IntentsId> {
        self.pass(self.inner.intend(fence, before, intents))
    }

    fn commit<'a>(&'a self, fence: &'a Fence, commit: &'a Commit) -> Answer<'a, ()> {
        self.pass(self.inner.commit(fence, commit))
    }

    passed_on!();
}

/// What comes of a future whose connections and clock are another runtime's.
fn waited<T>(runtime: &Handle, future: impl Future<Output = T>) -> T {
    let _inside = runtime.enter();
    futures::executor::block_on(tokio::task::unconstrained(future))
}

/// A state for one history, in memory.
pub(super) fn in_memory() -> State {
    Arc::new(MemoryStore::new())
}

/// Where states lie that are no memory of this process.
pub(super) enum Place {
    /// Files in a folder.
    Sqlite(TempDir),
    /// Schemas of a database.
    Postgres(Database),
}

/// A fresh state in a place, of this number.
pub(super) fn lying_in(place: &Place, runtime: &Runtime, number: u64) -> State {
    let handle = runtime.handle().clone();
    let inner: State = match place {
        Place::Sqlite(folder) => {
            let path = folder.path().join(format!("{number}.db"));
            Arc::new(waited(&handle, SqliteStore::open(&path)).expect("a fresh state"))
        }
        Place::Postgres(database) => {
            let mut url: url::Url = database.url.parse().expect("the address of a database");
            url.query_pairs_mut().append_pair("options[search_path]", &format!("state_{number}"));
            Arc::new(waited(&handle, PostgresStore::open(&url)).expect("a fresh state"))
        }
    };
    Arc::new(Elsewhere { inner, runtime: handle })
}
