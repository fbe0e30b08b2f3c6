//! The suite every [`Store`] has to pass.
//!
//! [`conform`] runs everything, each part on a fresh store; it panics with
//! what was promised where a promise is broken. Start reading there.

mod links;
mod owed;
mod written;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use super::{
    Agreed, Ahead, Answered, Commit, Conflict, ConflictFilter, ConflictStatus, Cursor, EventRecord, Fence, Forgotten,
    Intents, Layout, LayoutField, Made, MappingState, OwedCounts, Parked, ParkedFilter, RUNS_KEPT, Reason, RunCounts,
    RunRecord, RunStatus, Spooled, Store, StoreError,
};
use crate::compile::Policy;
use crate::plan::{Bases, Link, LinkStatus};
use crate::record::{Both, Key, Side, Value};

/// Holds a store to every promise. `fresh` makes an empty one.
pub async fn conform<S: Store>(fresh: impl AsyncFn() -> S) {
    nothing_is_known_at_first(&fresh().await).await;
    links::links_come_back_exactly(&fresh().await).await;
    links::links_are_answered_in_the_order_of_the_keys(&fresh().await).await;
    links::links_are_listed_in_pages(&fresh().await).await;
    links::links_are_one_to_one(&fresh().await).await;
    links::links_change_their_keys(&fresh().await).await;
    links::an_old_fence_changes_nothing(&fresh().await).await;
    links::creates_become_links_when_they_are_answered(&fresh().await).await;
    links::intents_come_back_exactly(&fresh().await).await;
    links::intents_are_answered_once(&fresh().await).await;
    a_commit_is_all_or_nothing(&fresh().await).await;
    the_mapping_is_kept(&fresh().await).await;
    owed::what_is_parked_is_owed(&fresh().await).await;
    owed::parked_records_are_found(&fresh().await).await;
    owed::a_conflict_is_open_once(&fresh().await).await;
    owed::a_persons_decision_stays(&fresh().await).await;
    owed::conflicts_are_found(&fresh().await).await;
    owed::a_forgotten_link_leaves_nothing_behind(&fresh().await).await;
    owed::deletes_are_spooled(&fresh().await).await;
    links::a_sweep_tells_what_is_absent(&fresh().await).await;
    Box::pin(written::what_was_written_is_found_by_every_mapping(&fresh().await)).await;
    written::what_is_not_committed_is_not_written(&fresh().await).await;
    runs_and_events_are_kept(&fresh().await).await;
    what_is_long_ago_is_forgotten(&fresh().await).await;
    who_made_a_link_is_told(&fresh().await).await;
    keys_are_found_without_their_padding(&fresh().await).await;
    a_reset_forgets_what_it_says(&fresh().await).await;
    a_mapping_keeps_everything_under_another_name(&fresh().await).await;
    values_are_forgotten_and_nothing_else(&fresh().await).await;
    links::large_batches_are_taken(&fresh().await).await;
}

const MAPPING: &str = "acme/customers";

fn time(minutes: i64) -> DateTime<Utc> {
    let start: DateTime<Utc> = "2026-03-01T12:00:00.123456789Z".parse().expect("a time");
    start + TimeDelta::minutes(minutes)
}

fn key(text: &str) -> Key {
    Key::new([&Value::text(text), &Value::text("01")]).expect("nothing is null")
}

fn number(number: i64) -> Key {
    Key::new([&Value::Integer(number)]).expect("nothing is null")
}

/// A link of a record `name`.
fn link(name: &str, target: i64) -> Link {
    let text = Value::text(name);
    Link {
        id: 0,
        keys: Both::new(key(name), number(target)),
        revision: 1,
        status: LinkStatus::Linked,
        outside: false,
        bases: Bases::Values(vec![Some(Both::new(text.clone(), text))]),
        own_stamps: Both::default(),
        contests: Vec::new(),
        layout: 1,
    }
}

fn links_commit(links: Vec<Link>) -> Commit {
    Commit { links, ..Commit::default() }
}

async fn store_links(store: &dyn Store, fence: &Fence, links: Vec<Link>) -> Vec<Link> {
    let keys: Vec<Key> = links.iter().map(|link| link.keys.source.clone()).collect();
    store.commit(fence, &links_commit(links)).await.expect("new links are stored");
    let stored = store.links(&fence.mapping, Side::Source, &keys).await.expect("links are read");
    stored.into_iter().map(|link| link.expect("a stored link is found by its key")).collect()
}

async fn acquire(store: &dyn Store) -> Fence {
    store.acquire(MAPPING).await.expect("a mapping is acquired")
}

async fn all_links(store: &dyn Store) -> Vec<Link> {
    store.links_after(MAPPING, 0, 10_000).await.expect("links are listed")
}

async fn one_link(store: &dyn Store, side: Side, key: Key) -> Option<Link> {
    store.links(MAPPING, side, &[key]).await.expect("a link is looked up").pop().expect("one answer for one key")
}

fn intents(creates: Vec<Link>) -> Intents {
    Intents { side: Side::Target, token: Some("tx 7".into()), at: time(0), layout: 1, creates, changes: Vec::new() }
}

fn answer(intents: i64, not_made: Vec<usize>) -> Commit {
    Commit { answered: vec![Answered { intents, not_made }], ..Commit::default() }
}

fn parked(name: &str, field: Option<&str>) -> Parked {
    Parked {
        id: 0,
        row: None,
        mapping: MAPPING.into(),
        keys: Both::new(Some(key(name)), None),
        side: Side::Target,
        reason: Reason::Rejected,
        field: field.map(str::to_owned),
        value: Some("x".into()),
        sent: Some("#12ab".into()),
        agreed: Some(Agreed {
            layout: 2,
            bases: Bases::Values(vec![None, Some(Both::new(Value::text("a"), Value::Null))]),
            certain: true,
        }),
        code: Some("E0501".into()),
        message: "does not fit".into(),
        file: Some("customers.yaml".into()),
        line: Some(7),
        attempts: 1,
        since: time(0),
        next_try: None,
    }
}

fn conflict(link: &Link, field: &str) -> Conflict {
    Conflict {
        id: 0,
        mapping: MAPPING.into(),
        link: link.id,
        keys: link.keys.clone(),
        field: field.into(),
        bases: Some(Both::new(Value::text("a"), Value::Null)),
        values: Both::new(Value::text("b"), Value::Decimal("1.10".parse().expect("a number"))),
        policy: Policy::Manual,
        status: ConflictStatus::Open,
        at: time(0),
        resolution: None,
    }
}

async fn conflicts(store: &dyn Store, filter: ConflictFilter) -> Vec<Conflict> {
    store.conflicts(&filter).await.expect("conflicts are listed")
}

fn conflicts_commit(conflicts: Vec<Conflict>) -> Commit {
    Commit { conflicts, ..Commit::default() }
}

fn event(name: &str, kind: &str, minutes: i64) -> EventRecord {
    EventRecord {
        at: time(minutes),
        run: "run1".into(),
        keys: Both::new(Some(key(name)), Some(number(1))),
        kind: kind.into(),
        detail: json!({ "fields": ["name"] }),
    }
}

fn run(id: &str, mapping: &str) -> RunRecord {
    let mut counts = RunCounts::default();
    counts.to_target.created = 3;
    RunRecord {
        run: id.into(),
        mapping: mapping.into(),
        number: 1,
        status: RunStatus::Partial,
        started_at: time(0),
        duration_ms: 12,
        counts,
        errors: vec!["refused".into()],
    }
}

fn assert_broken<T: std::fmt::Debug>(result: Result<T, StoreError>, says: &str, promise: &str) {
    match result {
        Err(StoreError::Broken(text)) if text.contains(says) => {}
        Err(error @ StoreError::LinkedTwice { .. }) if error.to_string().contains(says) => {}
        other => panic!("{promise}, but the store answered {other:?}"),
    }
}

async fn nothing_is_known_at_first(store: &dyn Store) {
    assert_eq!(store.mapping(MAPPING).await, Ok(None));
    assert_eq!(store.mappings().await, Ok(Vec::new()));
    assert_eq!(store.links(MAPPING, Side::Source, &[key("a"), key("b")]).await, Ok(vec![None, None]));
    assert_eq!(store.links_after(MAPPING, 0, 10).await, Ok(Vec::new()));
    assert_eq!(store.count_links(MAPPING).await, Ok(0));
    assert_eq!(store.open_intents(MAPPING).await, Ok(Vec::new()));
    assert_eq!(store.spooled(MAPPING, 0, 10).await, Ok(Vec::new()));
    assert_eq!(store.count_owed(MAPPING).await, Ok(OwedCounts::default()));
    assert_eq!(store.runs(Some(MAPPING), 10).await, Ok(Vec::new()));
    assert_eq!(store.deleted_since(MAPPING, time(0)).await, Ok(0));
    assert_eq!(store.events(MAPPING, Side::Source, &key("a")).await, Ok(Vec::new()));
    assert_eq!(store.reset(MAPPING, true).await, Ok(()));
    let fence = acquire(store).await;
    assert_eq!(store.mapping(MAPPING).await, Ok(None), "there is nothing of a mapping before its first commit");
    store.acquire("a").await.expect("a mapping is acquired");
    assert_eq!(store.mappings().await, Ok(vec!["a".into(), MAPPING.into()]));
    store.commit(&fence, &Commit::default()).await.expect("an empty commit is one");
    assert_eq!(store.mapping(MAPPING).await, Ok(Some(MappingState::default())));
}

async fn a_commit_is_all_or_nothing(store: &dyn Store) {
    let fence = acquire(store).await;
    let stored = store_links(store, &fence, vec![link("a", 1), link("b", 2)]).await;
    let id =
        store.intend(&fence, &Commit::default(), &intents(vec![link("c", 3)])).await.expect("intents are recorded");
    let cursor = Cursor { low: Some(Value::Integer(1)), ..Cursor::default() };
    let commit = Commit {
        answered: vec![Answered { intents: id, not_made: Vec::new() }],
        forget: vec![stored[0].id],
        links: vec![link("d", 4), link("b", 5)],
        park: vec![parked("a", None)],
        conflicts: vec![conflict(&stored[1], "name")],
        spool: vec![Spooled { link: stored[1].id, keys: stored[1].keys.clone(), on: Side::Target, since: time(0) }],
        events: vec![event("a", "created", 0)],
        cursors: Both::new(Some(cursor), None),
        run: Some(run("run1", MAPPING)),
        ..Commit::default()
    };
    assert_broken(store.commit(&fence, &commit).await, "source key", "a key has one link");
    assert_eq!(all_links(store).await, stored);
    assert_eq!(store.count_links(MAPPING).await, Ok(2));
    assert_eq!(store.open_intents(MAPPING).await.map(|open| open.len()), Ok(1));
    assert_eq!(store.parked(&ParkedFilter::default()).await, Ok(Vec::new()));
    assert_eq!(conflicts(store, ConflictFilter::default()).await, Vec::new());
    assert_eq!(store.count_owed(MAPPING).await, Ok(OwedCounts::default()));
    assert_eq!(store.events(MAPPING, Side::Source, &key("a")).await, Ok(Vec::new()));
    assert_eq!(store.runs(None, 10).await, Ok(Vec::new()));
    let state = store.mapping(MAPPING).await.expect("the mapping is read").expect("it had a commit");
    assert_eq!(state.cursors, Both::default());
    let foreign = Commit { park: vec![Parked { mapping: "other".into(), ..parked("a", None) }], ..Commit::default() };
    assert_broken(store.commit(&fence, &foreign).await, "`other`", "a commit is of one mapping");
}

async fn the_mapping_is_kept(store: &dyn Store) {
    let fence = acquire(store).await;
    let cursor = |low: Option<Value>| Cursor {
        low,
        known: Some("812".into()),
        timeline: Some("t1".into()),
        filter: "A1_TIPO = 'F'".into(),
        ahead: Some(Ahead { mark: Value::Integer(9), open: vec!["3/12".into(), String::new()] }),
        receded: Some(Value::Integer(4)),
        restored: true,
    };
    let field = LayoutField { id: "A1_NOME -> name".into(), rules: "12ab".into() };
    let mut state = MappingState {
        runs: 4,
        fingerprints: Both::new("erp".into(), "crm".into()),
        layouts: vec![
            Layout { id: 1, fields: Vec::new(), settled: false },
            Layout { id: 2, fields: vec![field], settled: true },
        ],
        cursors: Both::new(Some(cursor(Some(Value::Instant(time(5))))), Some(cursor(None))),
        swept: Both::new(None, Some(time(9))),
        first_sync_begun: true,
        first_sync_done: false,
    };
    let commit = Commit { mapping: Some(state.clone()), ..Commit::default() };
    store.commit(&fence, &commit).await.expect("a mapping is stored");
    assert_eq!(store.mapping(MAPPING).await, Ok(Some(state.clone())));
    let moved =
        Cursor { timeline: None, ahead: None, receded: None, restored: false, ..cursor(Some(Value::Integer(7))) };
    let commit = Commit { cursors: Both::new(None, Some(moved.clone())), ..Commit::default() };
    store.commit(&fence, &commit).await.expect("a cursor moves");
    state.cursors.target = Some(moved.clone());
    assert_eq!(store.mapping(MAPPING).await, Ok(Some(state.clone())), "only the cursor that is named moves");
    state.cursors = Both::default();
    let cursors = Both::new(Some(moved.clone()), None);
    let commit = Commit { mapping: Some(state.clone()), cursors, ..Commit::default() };
    store.commit(&fence, &commit).await.expect("a mapping is stored");
    state.cursors.source = Some(moved);
    assert_eq!(store.mapping(MAPPING).await, Ok(Some(state)), "cursors of the state go, the one that moves stands");
}

async fn runs_and_events_are_kept(store: &dyn Store) {
    let fence = acquire(store).await;
    let other = store.acquire("other").await.expect("a mapping is acquired");
    let one_sided = EventRecord { keys: Both::new(None, Some(number(2))), ..event("", "parked", 3) };
    let events = vec![event("a", "created", 0), event("b", "deleted", 1), event("a", "deleted", 2), one_sided.clone()];
    let commit = Commit { events, run: Some(run("01A", MAPPING)), ..Commit::default() };
    store.commit(&fence, &commit).await.expect("events are stored");
    let finished = RunRecord { status: RunStatus::Partial, duration_ms: 99, errors: Vec::new(), ..run("01A", MAPPING) };
    let commit = Commit { run: Some(finished.clone()), ..Commit::default() };
    store.commit(&fence, &commit).await.expect("a run is stored");
    let events = vec![event("a", "deleted", 9)];
    let commit = Commit { events, run: Some(run("01B", "other")), ..Commit::default() };
    store.commit(&other, &commit).await.expect("events are stored");
    store
        .commit(&fence, &Commit { run: Some(run("01C", MAPPING)), ..Commit::default() })
        .await
        .expect("a run is stored");
    let newest = vec![run("01C", MAPPING), run("01B", "other"), finished.clone()];
    assert_eq!(store.runs(None, 10).await, Ok(newest.clone()), "newest first, each as it stands now");
    assert_eq!(store.runs(None, 2).await, Ok(newest[..2].to_vec()));
    assert_eq!(store.runs(Some(MAPPING), 10).await, Ok(vec![run("01C", MAPPING), finished]));
    let under_way = RunRecord { status: RunStatus::Running, ..run("01D", MAPPING) };
    let commit = Commit { run: Some(under_way.clone()), ..Commit::default() };
    store.commit(&fence, &commit).await.expect("a run is stored that has begun");
    store.acquire("other").await.expect("another mapping is acquired");
    assert_eq!(store.runs(None, 1).await, Ok(vec![under_way.clone()]), "the run of one mapping is none of another's");
    acquire(store).await;
    let left = RunRecord { status: RunStatus::Interrupted, ..under_way };
    assert_eq!(store.runs(None, 2).await, Ok(vec![left, run("01C", MAPPING)]), "whoever comes next finds it left");
    let of_a = vec![event("a", "created", 0), event("a", "deleted", 2)];
    assert_eq!(store.events(MAPPING, Side::Source, &key("a")).await, Ok(of_a), "oldest first");
    assert_eq!(store.events(MAPPING, Side::Target, &number(2)).await, Ok(vec![one_sided]));
    assert_eq!(store.deleted_since(MAPPING, time(1)).await, Ok(2));
    assert_eq!(store.deleted_since(MAPPING, time(2)).await, Ok(1));
    assert_eq!(store.deleted_since(MAPPING, time(3)).await, Ok(0), "another mapping's deletes are its own");
}

async fn what_is_long_ago_is_forgotten(store: &dyn Store) {
    let fence = acquire(store).await;
    let linked = store_links(store, &fence, vec![link("a", 1), link("b", 2)]).await;
    let events = vec![event("a", "updated", 0), event("a", "updated", 5), event("b", "updated", 4)];
    let ended = Conflict { status: ConflictStatus::Closed, at: time(1), ..conflict(&linked[0], "name") };
    let conflicts = vec![conflict(&linked[0], "name"), conflict(&linked[1], "name")];
    store.commit(&fence, &Commit { conflicts, events, ..Commit::default() }).await.expect("it is stored");
    let open = store.conflicts(&ConflictFilter::default()).await.expect("conflicts are listed");
    let of_a = open.iter().find(|one| one.link == linked[0].id).expect("it is open");
    let ended = Conflict { id: of_a.id, ..ended };
    store.commit(&fence, &Commit { conflicts: vec![ended], ..Commit::default() }).await.expect("it is closed");
    for number in 0..=RUNS_KEPT {
        let run = RunRecord { started_at: time(0), ..run(&format!("{number:04}"), MAPPING) };
        store.commit(&fence, &Commit { run: Some(run), ..Commit::default() }).await.expect("a run is stored");
    }
    assert_eq!(store.prune(time(4)).await, Ok(3), "an event, a conflict, and a run beyond those that are kept");
    assert_eq!(store.prune(time(4)).await, Ok(0), "once");
    assert_eq!(store.events(MAPPING, Side::Source, &key("a")).await, Ok(vec![event("a", "updated", 5)]));
    assert_eq!(store.events(MAPPING, Side::Source, &key("b")).await.map(|events| events.len()), Ok(1));
    let left = store.conflicts(&ConflictFilter::default()).await.expect("conflicts are listed");
    assert!(left.len() == 1 && left[0].link == linked[1].id, "what is open stays, however old: {left:?}");
    let runs = store.runs(Some(MAPPING), 1000).await.expect("runs are listed");
    assert_eq!((runs.len(), runs.last().map(|run| run.run.as_str())), (RUNS_KEPT, Some("0001")));
}

async fn who_made_a_link_is_told(store: &dyn Store) {
    let fence = acquire(store).await;
    store_links(store, &fence, vec![link("adopted", 1)]).await;
    let creates = vec![link("a", 2), link("b", 3), link("c", 4)];
    let id = store.intend(&fence, &Commit::default(), &intents(creates)).await.expect("intents are recorded");
    assert_eq!(store.events(MAPPING, Side::Source, &key("a")).await, Ok(Vec::new()), "not before it is answered");
    let made = Made { side: Side::Target, run: "01B".into(), at: time(5) };
    let commit = Commit {
        made: Some(made.clone()),
        links: vec![link("b", 33)],
        events: vec![event("a", "parked", 0), event("a", "updated", 9)],
        ..answer(id, vec![1, 2])
    };
    store.commit(&fence, &commit).await.expect("intents are answered");
    store_links(store, &fence, vec![link("later", 5)]).await;
    let created = |name: &str, target: i64| EventRecord {
        at: made.at,
        run: made.run.clone(),
        keys: Both::new(Some(key(name)), Some(number(target))),
        kind: EventRecord::CREATED.into(),
        detail: json!({ "side": "target", "fields": [] }),
    };
    let told = vec![event("a", "parked", 0), created("a", 2), event("a", "updated", 9)];
    assert_eq!(store.events(MAPPING, Side::Source, &key("a")).await, Ok(told), "in its place among the events");
    assert_eq!(store.events(MAPPING, Side::Target, &number(2)).await, Ok(vec![created("a", 2)]));
    assert_eq!(store.events(MAPPING, Side::Source, &key("b")).await, Ok(vec![created("b", 33)]), "made otherwise");
    for name in ["adopted", "c", "later"] {
        assert_eq!(store.events(MAPPING, Side::Source, &key(name)).await, Ok(Vec::new()), "{name} was not created");
    }
    store.reset(MAPPING, true).await.expect("a mapping is reset");
    assert_eq!(store.events(MAPPING, Side::Source, &key("b")).await, Ok(Vec::new()), "forgotten with its link");
}

async fn keys_are_found_without_their_padding(store: &dyn Store) {
    let fence = acquire(store).await;
    let two = |first: &str, second: &str| Key::new([&Value::text(first), &Value::text(second)]).expect("no nulls");
    let counted =
        |first: i64, second: &str| Key::new([&Value::Integer(first), &Value::text(second)]).expect("no nulls");
    let sources = [two("01", "A   "), two("01", "AB"), two("01  ", "A"), two("01x", "A"), two("1", "A"), two("0", "A")];
    let targets =
        [counted(7, "x  "), counted(70, "x"), counted(7, "xy"), counted(8, "x"), counted(9, "é\" "), counted(5, "")];
    let pairs = sources.iter().zip(&targets);
    let links = pairs.map(|(source, target)| Link { keys: Both::new(source.clone(), target.clone()), ..link("", 0) });
    store.commit(&fence, &links_commit(links.collect())).await.expect("links are stored");
    let unlinked = EventRecord { keys: Both::new(Some(two("P ", "Q ")), None), ..event("", "parked", 1) };
    store.commit(&fence, &Commit { events: vec![unlinked], ..Commit::default() }).await.expect("an event is stored");
    let found = async |side: Side, key: Key| {
        let mut keys = store.padded_keys(MAPPING, side, &key).await.expect("keys are looked for");
        keys.sort();
        keys
    };
    let mut both = vec![sources[0].clone(), sources[2].clone()];
    both.sort();
    assert_eq!(found(Side::Source, two("01", "A")).await, both);
    assert_eq!(found(Side::Source, two("01 ", "AB ")).await, [sources[1].clone()]);
    assert_eq!(found(Side::Source, two("P", "Q")).await, [two("P ", "Q ")], "that of an event as well");
    assert_eq!(found(Side::Source, two("01", "B")).await, []);
    assert_eq!(found(Side::Target, counted(7, "x")).await, [targets[0].clone()]);
    assert_eq!(found(Side::Target, counted(9, "é\"")).await, [targets[4].clone()]);
    assert_eq!(store.padded_keys("other", Side::Source, &two("01", "A")).await, Ok(Vec::new()));
}

async fn values_are_forgotten_and_nothing_else(store: &dyn Store) {
    let fence = acquire(store).await;
    let links = store_links(store, &fence, vec![link("a", 1), link("b", 2)]).await;
    let updated =
        |name: &str, link: &Link| EventRecord { keys: link.keys.clone().map(Some), ..event(name, "updated", 0) };
    let commit = Commit {
        park: vec![parked("a", None), parked("b", None)],
        conflicts: vec![conflict(&links[0], "name"), conflict(&links[1], "name")],
        events: vec![updated("a", &links[0]), updated("b", &links[1])],
        ..Commit::default()
    };
    store.commit(&fence, &commit).await.expect("records are stored");
    let forgotten = store.forget_values(MAPPING, &links[0].keys.clone().map(Some)).await.expect("values are forgotten");
    assert_eq!(forgotten, Forgotten { links: 1, conflicts: 1, events: 1, parked: 1 });
    assert_eq!(store.commit(&fence, &Commit::default()).await, Err(StoreError::Fenced), "a run under way is stopped");
    let emptied = |link: &Link| Link {
        bases: link.bases.emptied(),
        own_stamps: Both::default(),
        contests: Vec::new(),
        ..link.clone()
    };
    assert_eq!(all_links(store).await, vec![emptied(&links[0]), links[1].clone()], "the link stays, and the other one");
    let open = conflicts(store, ConflictFilter::default()).await;
    assert_eq!(open.iter().map(|conflict| conflict.link).collect::<Vec<_>>(), [links[1].id]);
    let left = store.parked(&ParkedFilter::default()).await.expect("parked records are read");
    assert_eq!(left.len(), 2, "what is owed stays so");
    let first = left.iter().find(|parked| parked.keys.source == Some(key("a"))).expect("it is parked");
    assert_eq!((&first.value, first.next_try), (&None, Some(first.since)));
    assert!(first.message.contains("forgotten"), "{first:?}");
    assert_eq!(store.events(MAPPING, Side::Source, &key("a")).await, Ok(Vec::new()));
    assert_eq!(store.events(MAPPING, Side::Source, &key("b")).await.map(|events| events.len()), Ok(1));
    let nobody = store.forget_values("nobody", &links[0].keys.clone().map(Some)).await;
    assert_eq!(nobody, Ok(Forgotten::default()));
}

async fn a_mapping_keeps_everything_under_another_name(store: &dyn Store) {
    const NEW: &str = "acme/clients";
    let fence = acquire(store).await;
    let links = store_links(store, &fence, vec![link("a", 1)]).await;
    let state = MappingState { runs: 3, first_sync_done: true, ..MappingState::default() };
    let commit = Commit {
        mapping: Some(state.clone()),
        park: vec![parked("a", None)],
        conflicts: vec![conflict(&links[0], "name")],
        events: vec![event("a", "created", 0)],
        run: Some(run("01A", MAPPING)),
        ..Commit::default()
    };
    store.commit(&fence, &commit).await.expect("records are stored");
    let pending = intents(vec![link("p", 9)]);
    let id = store.intend(&fence, &Commit::default(), &pending).await.expect("intents are recorded");
    // Whoever ran under the new name and found nothing to link gives way, but for the history.
    let early = store.acquire(NEW).await.expect("a mapping is acquired");
    let tried = Commit { run: Some(run("01B", NEW)), events: vec![event("a", "parked", 1)], ..Commit::default() };
    store.commit(&early, &tried).await.expect("a run is stored");
    store.release(&early).await.expect("a mapping is given back");
    store.release(&fence).await.expect("a mapping is given back");
    store.rename(MAPPING, NEW).await.expect("a mapping is renamed");
    for old in [&fence, &early] {
        assert_eq!(store.commit(old, &Commit::default()).await, Err(StoreError::Fenced), "a run under way is stopped");
    }
    assert_eq!(store.mappings().await, Ok(vec![NEW.to_owned()]));
    assert_eq!(store.mapping(MAPPING).await, Ok(None));
    assert_eq!(store.mapping(NEW).await, Ok(Some(state)));
    assert_eq!(store.links_after(NEW, 0, 10).await, Ok(links));
    assert_eq!(store.count_links(NEW).await, Ok(1));
    assert_eq!(store.count_owed(NEW).await, Ok(OwedCounts { parked: 1, conflicts: 1, held: 0 }));
    let filter = ParkedFilter { mapping: Some(NEW.into()), ..ParkedFilter::default() };
    assert!(store.parked(&filter).await.expect("parked records are read").iter().all(|parked| parked.mapping == NEW));
    let filter = ConflictFilter { mapping: Some(NEW.into()), ..ConflictFilter::default() };
    assert_eq!(conflicts(store, filter).await.len(), 1);
    assert_eq!(store.runs(Some(NEW), 10).await.map(|runs| runs.len()), Ok(2));
    assert_eq!(store.events(NEW, Side::Source, &key("a")).await.map(|events| events.len()), Ok(2));
    assert_eq!(store.open_intents(NEW).await, Ok(vec![(id, pending)]));
    let fence = store.acquire(NEW).await.expect("a mapping is acquired");
    store.commit(&fence, &answer(id, Vec::new())).await.expect("intents are answered");
    // Another mapping of the former name is another one, whatever an engine of long ago believes.
    let former = acquire(store).await;
    assert_ne!(former, early);
    store_links(store, &former, vec![link("b", 2)]).await;
    store.release(&former).await.expect("a mapping is given back");
    store.release(&fence).await.expect("a mapping is given back");
    assert!(matches!(store.rename(MAPPING, NEW).await, Err(StoreError::Broken(_))), "links are not mixed");
    assert_eq!(store.count_links(NEW).await, Ok(2));
    store.rename("nobody", "other").await.expect("nothing is to be renamed");
    assert_eq!(store.mapping("other").await, Ok(None));
}

async fn a_reset_forgets_what_it_says(store: &dyn Store) {
    let fence = acquire(store).await;
    let other = store.acquire("other").await.expect("a mapping is acquired");
    let links = store_links(store, &fence, vec![link("a", 1), link("b", 2)]).await;
    let foreign = store_links(store, &other, vec![link("a", 1)]).await;
    let ahead = Some(Ahead { mark: Value::Integer(9), open: Vec::new() });
    let cursor = Cursor { ahead, ..Cursor::default() };
    let state = MappingState {
        runs: 3,
        fingerprints: Both::new("erp".into(), "crm".into()),
        layouts: vec![Layout { id: 1, fields: Vec::new(), settled: true }],
        cursors: Both::new(Some(cursor.clone()), Some(cursor)),
        swept: Both::new(Some(time(0)), None),
        first_sync_begun: true,
        first_sync_done: true,
    };
    let commit = Commit {
        mapping: Some(state.clone()),
        park: vec![parked("a", None)],
        conflicts: vec![conflict(&links[0], "name")],
        spool: vec![Spooled { link: links[0].id, keys: links[0].keys.clone(), on: Side::Target, since: time(0) }],
        events: vec![event("a", "created", 0)],
        run: Some(run("01A", MAPPING)),
        ..Commit::default()
    };
    store.commit(&fence, &commit).await.expect("records are stored");
    let pending = intents(vec![link("p", 9)]);
    let id = store.intend(&fence, &Commit::default(), &pending).await.expect("intents are recorded");
    store.reset(MAPPING, false).await.expect("a mapping is reset");
    assert_eq!(store.commit(&fence, &Commit::default()).await, Err(StoreError::Fenced), "a run under way is stopped");
    let without = MappingState { cursors: Both::default(), ..state.clone() };
    assert_eq!(store.mapping(MAPPING).await, Ok(Some(without.clone())), "cursors are forgotten");
    assert_eq!(all_links(store).await, links, "links are kept");
    store.reset(MAPPING, true).await.expect("a mapping is reset");
    let anew = MappingState {
        fingerprints: Both::default(),
        swept: Both::default(),
        first_sync_begun: false,
        first_sync_done: false,
        ..without
    };
    assert_eq!(store.mapping(MAPPING).await, Ok(Some(anew)), "the next sync is a first one");
    assert_eq!(all_links(store).await, Vec::new());
    assert_eq!(one_link(store, Side::Source, key("a")).await, None);
    assert_eq!(store.count_links(MAPPING).await, Ok(0));
    assert_eq!(conflicts(store, ConflictFilter::default()).await, Vec::new());
    assert_eq!(store.parked(&ParkedFilter::default()).await, Ok(Vec::new()));
    assert_eq!(store.count_owed(MAPPING).await, Ok(OwedCounts::default()));
    assert_eq!(store.events(MAPPING, Side::Source, &key("a")).await.map(|events| events.len()), Ok(1));
    assert_eq!(store.runs(Some(MAPPING), 10).await.map(|runs| runs.len()), Ok(1));
    assert_eq!(store.open_intents(MAPPING).await, Ok(vec![(id, pending)]), "what was sent may still arrive");
    assert_eq!(store.links_after("other", 0, 10).await, Ok(foreign), "another mapping is left alone");
    let fence = acquire(store).await;
    store.commit(&fence, &answer(id, Vec::new())).await.expect("intents are answered");
    let stored = store_links(store, &fence, vec![link("a", 1)]).await;
    assert!(stored[0].id > links[1].id, "numbers are never given again");
    assert_eq!(store.count_links(MAPPING).await, Ok(2));
}
