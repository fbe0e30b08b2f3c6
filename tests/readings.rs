//! Runs of one mapping over two SQLite databases whose state stands as a test
//! needs it: what a crash left behind, where an earlier reading ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use engine::connector::{Access, Fault, Found, Horizon, Listing, Object, Scope, Settled, Writing};
use engine::plan::{Bases, Link, LinkStatus};
use engine::protocol::sql::{SqlSettings, connect_sqlite};
use engine::record::{Batch, Both, Key, Side, Value};
use engine::run::{Neighbours, Options, RetryPolicy, RunReport, Setup, Silent, SystemWorld, run_mapping};
use engine::state::{Commit, Intents, Layout, LayoutField, MemoryStore, ParkedFilter, Store};
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Row, SqliteConnection};

use crate::programs::{FieldSpec, ProgramSpec};

/// One side's object, and how often it was listed as a whole.
struct Listed {
    inner: Arc<dyn Object>,
    whole: Arc<AtomicUsize>,
}

impl Object for Listed {
    fn horizon(&self) -> BoxFuture<'_, Result<Horizon, Fault>> {
        self.inner.horizon()
    }

    fn read(&self, listing: Listing) -> BoxStream<'_, Result<Batch, Fault>> {
        if listing == Listing::Full {
            self.whole.fetch_add(1, Ordering::Relaxed);
        }
        self.inner.read(listing)
    }

    fn fetch<'a>(
        &'a self,
        by: &'a [usize],
        probes: &'a [Vec<Value>],
        scope: Scope,
    ) -> BoxFuture<'a, Result<Found, Fault>> {
        self.inner.fetch(by, probes, scope)
    }

    fn begin(&self, allot: usize) -> BoxFuture<'_, Result<Box<dyn Writing + '_>, Fault>> {
        self.inner.begin(allot)
    }

    fn settle<'a>(&'a self, token: Option<&'a str>) -> BoxFuture<'a, Result<Settled, Fault>> {
        self.inner.settle(token)
    }
}

struct Pair {
    folder: tempfile::TempDir,
    store: MemoryStore,
    setup: Arc<Setup>,
    /// Listings of the source as a whole.
    listings: Arc<AtomicUsize>,
}

impl Pair {
    /// `items (id, f1, at)` on both sides, `f1` copied to the target, where
    /// only what satisfies `filter` belongs to the mapping.
    async fn new(cursor: bool, filter: Option<&str>) -> Pair {
        let folder = tempfile::tempdir().unwrap();
        let listings = Arc::new(AtomicUsize::new(0));
        let spec = FieldSpec { writes: Both::new(false, true), ..FieldSpec::copy(1) };
        let mut program = ProgramSpec::new(vec![spec]).build();
        program.matching = vec![vec![0]];
        program.sides.target.read = false;
        let mut objects: Vec<Arc<dyn Object>> = Vec::new();
        for side in Side::BOTH {
            let file = folder.path().join(format!("{side}.db"));
            let mut made = SqliteConnectOptions::new().filename(&file).create_if_missing(true).connect().await.unwrap();
            sqlx::raw_sql("CREATE TABLE items (id INTEGER PRIMARY KEY, f1 TEXT, at DATETIME)")
                .execute(&mut made)
                .await
                .unwrap();
            let settings = SqlSettings { url: Some(format!("sqlite://{}", file.display())), ..SqlSettings::default() };
            let connector = connect_sqlite(&settings).unwrap();
            let described = connector.describe("items").await.unwrap().unwrap();
            let access = Access {
                object: "items".into(),
                shape: Arc::new(described.shape),
                key: vec![0],
                cursor: (cursor && side == Side::Source).then_some(2),
                filter: filter.filter(|_| side == Side::Target).map(str::to_owned),
                start: None,
                marked: None,
                batch: 100,
            };
            program.sides[side].access = access.clone();
            let inner = connector.open(access).await.unwrap();
            let whole = if side == Side::Source { listings.clone() } else { Arc::default() };
            objects.push(Arc::new(Listed { inner, whole }));
        }
        let store = MemoryStore::new();
        let setup = Setup {
            program: Arc::new(program),
            objects: Both::new(objects[0].clone(), objects[1].clone()),
            fingerprints: Both::default(),
            layout: Layout {
                id: 0,
                fields: vec![LayoutField { id: "f1".into(), rules: String::new() }],
                settled: false,
            },
            filters: Both::default(),
            neighbours: Neighbours::default(),
            retry: Both::from_fn(|_| RetryPolicy::default()),
            store: Arc::new(store.clone()),
            world: Arc::new(SystemWorld),
            observer: Arc::new(Silent),
        };
        Pair { folder, store, setup: Arc::new(setup), listings }
    }

    async fn connect(&self, side: Side) -> SqliteConnection {
        let file = self.folder.path().join(format!("{side}.db"));
        SqliteConnectOptions::new().filename(file).connect().await.unwrap()
    }

    async fn edit(&self, side: Side, sql: &str) {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut self.connect(side).await).await.unwrap();
    }

    /// What stands in the target, in the order of its keys.
    async fn target(&self) -> Vec<(i64, String)> {
        let rows = sqlx::query("SELECT id, CAST(f1 AS TEXT) FROM items ORDER BY id")
            .fetch_all(&mut self.connect(Side::Target).await)
            .await
            .unwrap();
        rows.iter().map(|row| (row.get(0), row.get(1))).collect()
    }

    async fn run(&self) -> RunReport {
        let report = run_mapping(&self.setup, &Options::default()).await;
        assert!(report.troubles.is_empty(), "{:?}", report.troubles);
        report
    }

    /// An engine went away before it heard what became of the create of source
    /// record 1 as target record 7.
    async fn left_in_the_air(&self) {
        self.run().await;
        let mapping = &*self.setup.program.name;
        let layout = self.store.mapping(mapping).await.unwrap().unwrap().layouts.last().unwrap().id;
        let fence = self.store.acquire(mapping).await.unwrap();
        let key = |id| Key::new([&Value::Integer(id)]).unwrap();
        let link = Link {
            outside: false,
            id: 0,
            keys: Both::new(key(1), key(7)),
            revision: 1,
            status: LinkStatus::Linked,
            bases: Bases::Values(vec![Some(Both::new(Value::text("ours"), Value::text("ours")))]),
            own_stamps: Both::default(),
            contests: Vec::new(),
            layout,
        };
        let at = chrono::DateTime::UNIX_EPOCH;
        let creates = vec![link];
        let intents = Intents { side: Side::Target, token: None, at, layout, creates, changes: Vec::new() };
        self.store.intend(&fence, &Commit::default(), &intents).await.unwrap();
    }
}

/// Issue 2: a stranger's record that the filter leaves out was linked.
#[tokio::test]
async fn after_a_crash_a_record_is_ours_by_what_it_shows() {
    for (stands, filter, left) in [
        // The key was given to somebody else since.
        ("'stranger'", Some("f1 <> 'stranger'"), vec![(7, "stranger"), (8, "ours")]),
        ("'stranger'", None, vec![(7, "stranger"), (8, "ours")]),
        // It is the one we made, though the filter does not let it in.
        ("'ours'", Some("f1 <> 'ours'"), vec![(7, "ours")]),
        ("'ours'", None, vec![(7, "ours")]),
    ] {
        let pair = Pair::new(false, filter).await;
        pair.left_in_the_air().await;
        pair.edit(Side::Source, "INSERT INTO items VALUES (1, 'ours', NULL)").await;
        pair.edit(Side::Target, &format!("INSERT INTO items VALUES (7, {stands}, NULL)")).await;
        pair.run().await;
        pair.run().await;
        let target = pair.target().await;
        let target: Vec<(i64, &str)> = target.iter().map(|(id, f1)| (*id, f1.as_str())).collect();
        assert_eq!(target, left, "where {stands} stands and the filter is {filter:?}");
    }
}

#[tokio::test]
async fn after_a_crash_a_record_that_cannot_be_read_is_in_doubt() {
    let pair = Pair::new(false, None).await;
    pair.left_in_the_air().await;
    pair.edit(Side::Target, "INSERT INTO items VALUES (7, CAST(x'ff' AS TEXT), NULL)").await;
    pair.run().await;
    let parked = pair.store.parked(&ParkedFilter::default()).await.unwrap();
    let message = &parked.iter().find(|one| one.reason.name() == "in_doubt").expect("a doubt").message;
    assert!(message.contains("key 7") && message.contains("cannot be read"), "{message}");
}

/// Issue 2: once the newest record was deleted, every run listed everything.
#[tokio::test]
async fn a_side_that_receded_is_looked_through_once() {
    let pair = Pair::new(true, None).await;
    pair.edit(
        Side::Source,
        "INSERT INTO items VALUES (1, 'a', '2026-03-01 12:00:00'), (2, 'b', '2026-03-01 13:00:00'), \
         (3, 'c', '2026-03-01 14:00:00')",
    )
    .await;
    pair.run().await;
    let listed = async || {
        let before = pair.listings.load(Ordering::Relaxed);
        pair.run().await;
        pair.listings.load(Ordering::Relaxed) - before
    };
    assert_eq!(listed().await, 0);
    pair.edit(Side::Source, "DELETE FROM items WHERE id = 3").await;
    assert_eq!(listed().await, 1, "it might have been restored");
    assert_eq!(listed().await, 0, "it was found harmless");
    assert_eq!(listed().await, 0);
    pair.edit(Side::Source, "DELETE FROM items WHERE id = 2").await;
    assert_eq!(listed().await, 1, "another state is looked through again");
    assert_eq!(listed().await, 0);
    pair.edit(Side::Source, "INSERT INTO items VALUES (4, 'd', '2026-03-01 15:00:00')").await;
    assert_eq!(listed().await, 0);
    assert_eq!(pair.target().await.len(), 4);
}
