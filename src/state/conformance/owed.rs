//! What is parked, in conflict, or waits for the end of a run.

use super::{
    MAPPING, acquire, all_links, assert_broken, conflict, conflicts, conflicts_commit, key, link, number, one_link,
    parked, store_links, time,
};
use crate::plan::{Link, Resolution};
use crate::record::{Both, Side, Value};
use crate::state::{Commit, Conflict, ConflictFilter, ConflictStatus, Parked, ParkedFilter, Reason, Spooled, Store};

pub(super) async fn what_is_parked_is_owed(store: &dyn Store) {
    let fence = acquire(store).await;
    let park = |park: Vec<Parked>| Commit { park, ..Commit::default() };
    let list = async || store.parked(&ParkedFilter::default()).await.expect("what is parked is listed");
    let other_keys = Parked { keys: Both::new(Some(key("a")), Some(number(1))), ..parked("a", None) };
    let other_side = Parked { side: Side::Source, ..parked("a", None) };
    let places = vec![parked("a", None), parked("a", Some("name")), other_keys.clone(), other_side];
    store.commit(&fence, &park(places.clone())).await.expect("records are parked");
    let first = list().await;
    assert!(first.is_sorted_by(|a, b| a.id < b.id), "oldest first");
    let given: Vec<_> = first.iter().map(|parked| Parked { id: 0, ..parked.clone() }).collect();
    assert_eq!(given, places, "one for each mapping, side, keys and field");
    let again = Parked {
        reason: Reason::Unknown,
        message: "no such seller".into(),
        value: None,
        code: None,
        file: None,
        line: None,
        since: time(9),
        next_try: Some(time(10)),
        attempts: 2,
        ..parked("a", Some("name"))
    };
    store.commit(&fence, &park(vec![again.clone()])).await.expect("a record is parked again");
    let expected = Parked { id: first[1].id, since: time(0), ..again };
    assert_eq!(list().await[1], expected, "it keeps its number and since");
    let commit = Commit { unpark: vec![(Side::Target, number(1))], ..Commit::default() };
    store.commit(&fence, &commit).await.expect("a record is unparked");
    assert_eq!(
        list().await.iter().map(|parked| parked.id).collect::<Vec<_>>(),
        [first[0].id, first[1].id, first[3].id]
    );
    let more = Parked { attempts: 3, ..parked("a", None) };
    let commit = Commit { unpark: vec![(Side::Source, key("a"))], park: vec![more], ..Commit::default() };
    store.commit(&fence, &commit).await.expect("a record is unparked");
    let left = list().await;
    assert_eq!(left.len(), 1, "everything under the key goes, but for what is parked again");
    assert_eq!((left[0].id, left[0].attempts), (first[0].id, 3));
    store.commit(&fence, &park(vec![parked("a", None)])).await.expect("a record is parked again");
    assert_eq!(list().await[0].attempts, 3, "attempts never become fewer");
    assert_eq!(store.drop_parked(&[first[0].id, first[1].id]).await, Ok(1), "as many as there were");
    assert_eq!(list().await, Vec::new());
    assert_eq!(store.drop_parked(&[]).await, Ok(0));
    let row = |digest: &str| Parked { keys: Both::default(), row: Some(digest.into()), ..parked("a", None) };
    store.commit(&fence, &park(vec![row("#1"), row("#2")])).await.expect("rows without a key are parked");
    store.commit(&fence, &park(vec![Parked { attempts: 2, ..row("#2") }])).await.expect("a row is parked again");
    let rows: Vec<_> = list().await.into_iter().map(|parked| (parked.row, parked.field, parked.attempts)).collect();
    let expected = [(Some("#1".to_owned()), None, 1), (Some("#2".to_owned()), None, 2)];
    assert_eq!(rows, expected, "each row is told from others, and known again");
}

pub(super) async fn parked_records_are_found(store: &dyn Store) {
    let fence = acquire(store).await;
    let other = store.acquire("other").await.expect("a mapping is acquired");
    let due = Parked { next_try: Some(time(5)), reason: Reason::Unknown, ..parked("b", None) };
    let park = vec![parked("a", None), due, parked("c", None)];
    store.commit(&fence, &Commit { park, ..Commit::default() }).await.expect("records are parked");
    let park = vec![Parked { mapping: "other".into(), ..parked("a", None) }];
    store.commit(&other, &Commit { park, ..Commit::default() }).await.expect("records are parked");
    let all = store.parked(&ParkedFilter::default()).await.expect("what is parked is listed");
    let ids: Vec<i64> = all.iter().map(|parked| parked.id).collect();
    assert_eq!(all[3].mapping, "other");
    let find = async |filter: ParkedFilter| {
        let found = store.parked(&filter).await.expect("what is parked is listed");
        found.into_iter().map(|parked| parked.id).collect::<Vec<_>>()
    };
    let none = ParkedFilter::default;
    assert_eq!(find(ParkedFilter { mapping: Some(MAPPING.into()), ..none() }).await, ids[..3]);
    assert_eq!(find(ParkedFilter { ids: vec![ids[2], ids[0], 999], ..none() }).await, [ids[0], ids[2]]);
    assert_eq!(find(ParkedFilter { reason: Some(Reason::Unknown), ..none() }).await, [ids[1]]);
    assert_eq!(find(ParkedFilter { after: ids[0], limit: 2, ..none() }).await, ids[1..3]);
    assert_eq!(find(ParkedFilter { due: Some(time(4)), ..none() }).await, Vec::<i64>::new());
    assert_eq!(find(ParkedFilter { due: Some(time(5)), ..none() }).await, [ids[1]], "due from its time on");
    assert_eq!(store.retry(&[ids[0], 999]).await, Ok(1));
    assert_eq!(find(ParkedFilter { due: Some(time(0)), ..none() }).await, [ids[0]], "what is retried is due at once");
}

pub(super) async fn a_conflict_is_open_once(store: &dyn Store) {
    let fence = acquire(store).await;
    let a = store_links(store, &fence, vec![link("a", 1)]).await.remove(0);
    let commit = async |conflicts| store.commit(&fence, &conflicts_commit(conflicts)).await;
    commit(vec![conflict(&a, "name"), conflict(&a, "email")]).await.expect("conflicts are stored");
    let first = conflicts(store, ConflictFilter::default()).await;
    assert_eq!(first.len(), 2);
    let name = first.iter().find(|conflict| conflict.field == "name").expect("it was stored").clone();
    assert_eq!(name, Conflict { id: name.id, ..conflict(&a, "name") });
    let moved = Conflict { values: Both::new(Value::text("c"), Value::Null), at: time(2), ..conflict(&a, "name") };
    commit(vec![moved.clone()]).await.expect("a conflict moves");
    let now = conflicts(store, ConflictFilter::default()).await;
    assert_eq!(now[0], Conflict { id: name.id, ..moved.clone() }, "it is replaced under its number, newest first");
    assert_eq!(now.len(), 2);
    let closed = Conflict { status: ConflictStatus::Resolved, bases: None, ..moved };
    commit(vec![closed.clone()]).await.expect("a conflict is closed");
    let now = conflicts(store, ConflictFilter { field: Some("name".into()), ..ConflictFilter::default() }).await;
    assert_eq!(now, [Conflict { id: name.id, ..closed.clone() }], "another status closes the open one");
    commit(vec![closed, conflict(&a, "name")]).await.expect("conflicts are stored");
    let now = conflicts(store, ConflictFilter { field: Some("name".into()), ..ConflictFilter::default() }).await;
    assert_eq!(now.len(), 3, "what is closed stays, decided at once or not");
    assert_eq!(now.iter().filter(|conflict| conflict.status == ConflictStatus::Open).count(), 1);
    let by_number = Conflict { id: now[1].id, status: ConflictStatus::Closed, ..conflict(&a, "name") };
    commit(vec![by_number]).await.expect("a conflict is closed by its number");
    assert_eq!(conflicts(store, ConflictFilter { open: true, ..ConflictFilter::default() }).await.len(), 1);
    let missing = Conflict { id: 999, ..conflict(&a, "phone") };
    assert_broken(commit(vec![missing]).await, "no conflict 999", "only a conflict that is there is changed");
    let adopted = Commit { links: vec![link("b", 2)], ..conflicts_commit(vec![conflict(&link("b", 2), "name")]) };
    store.commit(&fence, &adopted).await.expect("a conflict of a link that this commit makes");
    let b = one_link(store, Side::Source, key("b")).await.expect("it was stored");
    let found = conflicts(store, ConflictFilter { links: vec![b.id], ..ConflictFilter::default() }).await;
    assert_eq!(found.len(), 1, "it is known under the link's number");
    let of_none = commit(vec![conflict(&link("z", 9), "name")]).await;
    assert_broken(of_none, "conflict is of no link", "a conflict is of a link");
}

pub(super) async fn a_persons_decision_stays(store: &dyn Store) {
    let fence = acquire(store).await;
    let a = store_links(store, &fence, vec![link("a", 1)]).await.remove(0);
    let commit = async |conflict| {
        store.commit(&fence, &conflicts_commit(vec![conflict])).await.expect("a conflict is stored");
    };
    let decisions = async || {
        let open = conflicts(store, ConflictFilter { open: true, ..ConflictFilter::default() }).await;
        open.into_iter().map(|conflict| conflict.resolution).collect::<Vec<_>>()
    };
    commit(conflict(&a, "name")).await;
    commit(Conflict { status: ConflictStatus::Decided, ..conflict(&a, "email") }).await;
    let ids: Vec<i64> = conflicts(store, ConflictFilter::default()).await.iter().map(|conflict| conflict.id).collect();
    let take = Resolution::Take(Side::Target);
    assert_eq!(store.resolve(&ids, Some(&take)).await, Ok(1), "only open conflicts are decided");
    assert_eq!(decisions().await, [Some(take.clone())]);
    assert_eq!(store.resolve(&ids, None).await, Ok(1));
    assert_eq!(decisions().await, [None], "a decision can be taken back");
    let value = Resolution::Value(Value::Decimal("1.10".parse().expect("a number")));
    assert_eq!(store.resolve(&ids, Some(&value)).await, Ok(1));
    commit(Conflict { at: time(3), ..conflict(&a, "name") }).await;
    assert_eq!(decisions().await, [Some(value)], "a decision made during a run stays as long as the values do");
    commit(Conflict { resolution: Some(take.clone()), ..conflict(&a, "name") }).await;
    assert_eq!(decisions().await, [Some(take)], "what is given stands");
    commit(Conflict { values: Both::new(Value::Null, Value::Null), ..conflict(&a, "name") }).await;
    assert_eq!(decisions().await, [None], "a decision is for the values it was made for");
    assert_eq!(store.resolve(&[], None).await, Ok(0));
}

pub(super) async fn conflicts_are_found(store: &dyn Store) {
    let fence = acquire(store).await;
    let other = store.acquire("other").await.expect("a mapping is acquired");
    let links = store_links(store, &fence, vec![link("a", 1), link("b", 2)]).await;
    let foreign = store_links(store, &other, vec![link("a", 1)]).await.remove(0);
    let given = vec![
        conflict(&links[0], "name"),
        Conflict { at: time(1), ..conflict(&links[1], "email") },
        Conflict { at: time(2), status: ConflictStatus::Closed, ..conflict(&links[1], "name") },
    ];
    store.commit(&fence, &conflicts_commit(given)).await.expect("conflicts are stored");
    let foreign = Conflict { mapping: "other".into(), at: time(3), ..conflict(&foreign, "name") };
    store.commit(&other, &conflicts_commit(vec![foreign])).await.expect("conflicts are stored");
    let find = async |filter: ConflictFilter| {
        let found = conflicts(store, filter).await;
        found.into_iter().map(|conflict| conflict.id).collect::<Vec<_>>()
    };
    let none = ConflictFilter::default;
    let all = find(none()).await;
    assert_eq!(all.len(), 4);
    assert_eq!(conflicts(store, none()).await.iter().map(|c| c.at).collect::<Vec<_>>(), [3, 2, 1, 0].map(time));
    assert_eq!(find(ConflictFilter { mapping: Some("other".into()), ..none() }).await, [all[0]]);
    assert_eq!(find(ConflictFilter { ids: vec![all[3], all[1]], ..none() }).await, [all[1], all[3]]);
    assert_eq!(find(ConflictFilter { field: Some("email".into()), ..none() }).await, [all[2]]);
    assert_eq!(find(ConflictFilter { open: true, ..none() }).await, [all[0], all[2], all[3]]);
    assert_eq!(find(ConflictFilter { links: vec![links[1].id], ..none() }).await, [all[1], all[2]]);
    assert_eq!(find(ConflictFilter { links: vec![links[1].id], open: true, ..none() }).await, [all[2]]);
    assert_eq!(find(ConflictFilter { decided: true, ..none() }).await, Vec::<i64>::new());
    store.resolve(&[all[2]], Some(&Resolution::Take(Side::Source))).await.expect("a conflict is decided");
    assert_eq!(find(ConflictFilter { decided: true, ..none() }).await, [all[2]]);
}

pub(super) async fn a_forgotten_link_leaves_nothing_behind(store: &dyn Store) {
    let fence = acquire(store).await;
    let links = store_links(store, &fence, vec![link("a", 1), link("b", 2)]).await;
    let spooled = |link: &Link| Spooled { link: link.id, keys: link.keys.clone(), on: Side::Target, since: time(0) };
    let by_target = Parked { keys: Both::new(None, Some(number(1))), ..parked("a", None) };
    let commit = Commit {
        park: vec![parked("a", None), by_target, parked("b", None)],
        conflicts: vec![conflict(&links[0], "name"), conflict(&links[1], "name")],
        spool: links.iter().map(spooled).collect(),
        ..Commit::default()
    };
    store.commit(&fence, &commit).await.expect("records are stored");
    let forget = Commit { forget: vec![links[0].id], ..Commit::default() };
    store.commit(&fence, &forget).await.expect("a link is forgotten");
    assert_eq!(all_links(store).await, [links[1].clone()]);
    assert_eq!(one_link(store, Side::Target, number(1)).await, None);
    assert_eq!(store.count_links(MAPPING).await, Ok(1));
    let open = conflicts(store, ConflictFilter { open: true, ..ConflictFilter::default() }).await;
    assert_eq!(open.iter().map(|conflict| conflict.link).collect::<Vec<_>>(), [links[1].id]);
    let closed = conflicts(store, ConflictFilter { links: vec![links[0].id], ..ConflictFilter::default() }).await;
    assert_eq!(closed[0].status, ConflictStatus::Closed);
    assert_eq!(store.spooled(MAPPING, 0, 10).await, Ok(vec![spooled(&links[1])]));
    let owed = store.parked(&ParkedFilter::default()).await.expect("what is parked is listed");
    assert_eq!(owed.iter().map(|parked| parked.keys.source.clone()).collect::<Vec<_>>(), [Some(key("b"))]);
    assert_broken(store.commit(&fence, &forget).await, "no link", "only a link that is there is forgotten");
}

pub(super) async fn deletes_are_spooled(store: &dyn Store) {
    let fence = acquire(store).await;
    let other = store.acquire("other").await.expect("a mapping is acquired");
    let links = store_links(store, &fence, (0..5).map(|n| link(&n.to_string(), n)).collect()).await;
    let foreign = store_links(store, &other, vec![link("a", 1)]).await.remove(0);
    let spooled = |link: &Link, minutes| Spooled {
        link: link.id,
        keys: link.keys.clone(),
        on: Side::Source,
        since: time(minutes),
    };
    let spool = links.iter().zip(0..).map(|(link, minutes)| spooled(link, minutes)).collect();
    store.commit(&fence, &Commit { spool, ..Commit::default() }).await.expect("deletes are spooled");
    let spool = vec![spooled(&foreign, 0)];
    store.commit(&other, &Commit { spool, ..Commit::default() }).await.expect("deletes are spooled");
    assert_eq!(store.count_owed(MAPPING).await.map(|owed| owed.held), Ok(5));
    let page = store.spooled(MAPPING, links[1].id, 2).await;
    assert_eq!(page, Ok(vec![spooled(&links[2], 2), spooled(&links[3], 3)]));
    let again = Spooled { on: Side::Target, ..spooled(&links[4], 90) };
    let commit = Commit { unspool: vec![links[0].id, links[4].id], spool: vec![again.clone()], ..Commit::default() };
    store.commit(&fence, &commit).await.expect("deletes are unspooled");
    assert_eq!(store.count_owed(MAPPING).await.map(|owed| owed.held), Ok(4));
    let renewed = Spooled { on: Side::Target, ..spooled(&links[3], 95) };
    let commit = Commit { spool: vec![renewed.clone()], ..Commit::default() };
    store.commit(&fence, &commit).await.expect("a delete is spooled again");
    let expected = vec![Spooled { since: time(3), ..renewed }, again];
    assert_eq!(store.spooled(MAPPING, links[2].id, 10).await, Ok(expected), "spooled again, it keeps its since");
}
