//! Links, intents, fences and sweeps.

use super::{
    MAPPING, acquire, all_links, answer, assert_broken, conflict, conflicts, event, intents, key, link, links_commit,
    number, one_link, parked, store_links, time,
};
use crate::connector::Action;
use crate::plan::{Bases, Contest, Link, LinkId, LinkStatus, OwnStamp};
use crate::record::{Both, Key, Side, Value};
use crate::state::{
    Before, Commit, ConflictFilter, Fence, Intent, IntentField, Intents, Parked, ParkedFilter, Store, StoreError,
};

pub(super) async fn links_come_back_exactly(store: &dyn Store) {
    let fence = acquire(store).await;
    let both = |source: Value, target: Value| Some(Both::new(source, target));
    let every_byte: Vec<u8> = (0..=255).collect();
    let bases = Bases::Values(vec![
        None,
        both(Value::text("ação\0 \n"), Value::text("ação\0 \n")),
        both(Value::Integer(2), Value::Decimal("2.00".parse().expect("a number"))),
        both(Value::Missing, Value::Null),
        both(Value::Bytes(every_byte.into()), Value::Boolean(true)),
        both(Value::List(Box::new(vec![Value::Instant(time(1))])), Value::Float(0.1)),
    ]);
    let stamp = |minutes| OwnStamp { shown: time(minutes), people: time(minutes - 1), shows: Some(7) };
    let mut rich = link("Açúcar \"fino\"", i64::MAX);
    rich.revision = 7;
    rich.status = LinkStatus::Severed { gone: Side::Target };
    rich.bases = bases;
    rich.own_stamps = Both::new(None, Some(stamp(3)));
    rich.contests = vec![Contest { field: 1, run: 4 }, Contest { field: 2, run: 5 }];
    rich.outside = true;
    rich.layout = 3;
    let mut digests = link("b", 2);
    digests.bases = Bases::Digests(vec![Some(u64::MAX), None]);
    digests.own_stamps = Both::new(Some(stamp(1)), Some(stamp(2)));
    digests.status = LinkStatus::Severed { gone: Side::Source };
    let mut outside = link("c", 3);
    outside.outside = true;
    let given = vec![rich, digests, outside];
    let stored = store_links(store, &fence, given.clone()).await;
    for (given, stored) in given.iter().zip(&stored) {
        assert!(stored.id > 0, "a stored link has a number");
        assert_eq!(*stored, Link { id: stored.id, ..given.clone() });
    }
    let mut changed = Link { revision: 8, ..stored[0].clone() };
    changed.status = LinkStatus::Linked;
    changed.bases = Bases::Values(vec![None]);
    changed.contests.clear();
    changed.outside = false;
    changed.own_stamps = Both::default();
    changed.layout = 4;
    store.commit(&fence, &links_commit(vec![changed.clone()])).await.expect("a link is updated");
    let expected = vec![changed, stored[1].clone(), stored[2].clone()];
    assert_eq!(all_links(store).await, expected, "a link stored under its number is as it was given");
    assert_eq!(store.count_links(MAPPING).await, Ok(3), "severed links count, updates do not");
}

pub(super) async fn links_are_answered_in_the_order_of_the_keys(store: &dyn Store) {
    let fence = acquire(store).await;
    let stored = store_links(store, &fence, (0..600).map(|n| link(&format!("{n:04}"), 1000 - n)).collect()).await;
    let wanted: Vec<usize> = vec![599, 3, 3, 0, 42];
    let mut keys: Vec<Key> = wanted.iter().map(|index| stored[*index].keys.target.clone()).collect();
    keys.insert(2, number(-1));
    let mut expected: Vec<_> = wanted.iter().map(|index| Some(stored[*index].clone())).collect();
    expected.insert(2, None);
    assert_eq!(store.links(MAPPING, Side::Target, &keys).await, Ok(expected));
    let keys: Vec<Key> = stored.iter().rev().map(|link| link.keys.source.clone()).collect();
    let expected: Vec<_> = stored.iter().rev().cloned().map(Some).collect();
    assert_eq!(store.links(MAPPING, Side::Source, &keys).await, Ok(expected));
    assert_eq!(store.links(MAPPING, Side::Source, &[]).await, Ok(Vec::new()));
    let other = store.acquire("other").await.expect("a mapping is acquired");
    store.commit(&other, &links_commit(vec![link("0000", 1)])).await.expect("another mapping may use the same keys");
    let found = store.links("other", Side::Source, &[key("0000"), key("0001")]).await.expect("links are read");
    assert!(found[0].is_some() && found[1].is_none(), "the links of one mapping are not those of another");
}

pub(super) async fn links_are_listed_in_pages(store: &dyn Store) {
    let fence = acquire(store).await;
    let other = store.acquire("other").await.expect("a mapping is acquired");
    for part in 0..3 {
        let some = |from: i64| (from..from + 200).map(|n| link(&format!("{n:04}"), n)).collect();
        store.commit(&fence, &links_commit(some(part * 200))).await.expect("links are stored");
        store.commit(&other, &links_commit(some(part * 200))).await.expect("links are stored");
    }
    let mut listed = Vec::new();
    let mut after: LinkId = 0;
    loop {
        let page = store.links_after(MAPPING, after, 270).await.expect("links are listed");
        assert!(page.len() <= 270, "a page holds no more than was asked for");
        assert!(page.is_sorted_by(|a, b| a.id < b.id) && page.iter().all(|link| link.id > after));
        let Some(last) = page.last() else { break };
        after = last.id;
        listed.extend(page.into_iter().map(|link| link.keys.source));
    }
    let expected: Vec<Key> = (0..600).map(|n| key(&format!("{n:04}"))).collect();
    assert_eq!(listed, expected, "pages list every link of the mapping once, as they were numbered");
}

pub(super) async fn links_are_one_to_one(store: &dyn Store) {
    let fence = acquire(store).await;
    let stored = store_links(store, &fence, vec![link("a", 1), link("b", 2)]).await;
    let before = all_links(store).await;
    let promise = "a key has one link";
    let fence = acquire(store).await;
    let commit = async |links: Vec<Link>| store.commit(&fence, &links_commit(links)).await;
    assert_broken(commit(vec![link("a", 3)]).await, r#"source key ["a","01"]"#, promise);
    assert_broken(commit(vec![link("c", 2)]).await, "target key [2]", promise);
    assert_broken(commit(vec![link("c", 3), link("c", 4)]).await, r#"source key ["c","01"]"#, promise);
    let mut moved = stored[0].clone();
    moved.keys.target = number(2);
    assert_broken(commit(vec![moved]).await, "target key [2]", promise);
    let mut keyless = link("d", 4);
    keyless.keys.target = Key::untold();
    assert_broken(commit(vec![keyless]).await, "needs a key on both sides", "a link has two keys");
    let missing = Link { id: stored[1].id + 1000, ..link("e", 5) };
    assert_broken(commit(vec![missing]).await, "there is no link", "only a link that is there is updated");
    assert_eq!(all_links(store).await, before, "a commit that failed changed nothing");
    store.intend(&fence, &Commit::default(), &intents(vec![link("p", 9)])).await.expect("intents are recorded");
    let promise = "the keys of an open create are taken";
    assert_broken(commit(vec![link("p", 10)]).await, "source key", promise);
    assert_broken(commit(vec![link("q", 9)]).await, "target key [9]", promise);
    let beside = Commit { park: vec![parked("s", None)], ..Commit::default() };
    let twice = store.intend(&fence, &beside, &intents(vec![link("a", 11)])).await;
    assert_broken(twice, r#"source key ["a","01"]"#, "a linked record is not created");
    let owed = store.count_owed(MAPPING).await.expect("what is parked is counted");
    assert_eq!(owed.parked, 1, "what comes before intents lasts, whatever becomes of them");
    let beside = Commit { unpark: vec![(Side::Source, parked("s", None).keys.source.expect("its key"))], ..beside };
    let beside = Commit { park: Vec::new(), ..beside };
    let id = store.intend(&fence, &beside, &intents(vec![link("r", 12)])).await.expect("intents are recorded");
    assert_eq!(store.count_owed(MAPPING).await.expect("what is parked is counted").parked, 0, "in one step");
    let open = store.open_intents(MAPPING).await.expect("open intents are read");
    assert_eq!(open.last().map(|(id, _)| *id), Some(id));
}

pub(super) async fn links_change_their_keys(store: &dyn Store) {
    let fence = acquire(store).await;
    let mut stored = store_links(store, &fence, vec![link("a", 1), link("b", 2), link("c", 3)]).await;
    stored[0].keys.target = number(2);
    stored[1].keys.target = number(1);
    stored[2].keys.target = number(30);
    store.commit(&fence, &links_commit(stored.clone())).await.expect("links may exchange keys in one commit");
    assert_eq!(all_links(store).await, stored);
    assert_eq!(one_link(store, Side::Target, number(1)).await, Some(stored[1].clone()));
    assert_eq!(one_link(store, Side::Target, number(3)).await, None, "a key that was given up is nobody's");
    let commit = Commit { forget: vec![stored[0].id], links: vec![link("a", 2)], ..Commit::default() };
    store.commit(&fence, &commit).await.expect("the key of a link that is forgotten is free in the same commit");
    let anew = one_link(store, Side::Source, key("a")).await.expect("it was stored");
    assert!(anew.id > stored[2].id, "the number of a forgotten link is not given again");
    assert_eq!(store.count_links(MAPPING).await, Ok(3));
}

pub(super) async fn an_old_fence_changes_nothing(store: &dyn Store) {
    let old = acquire(store).await;
    store_links(store, &old, vec![link("a", 1)]).await;
    let new = acquire(store).await;
    assert!(new.number > old.number && new.mapping == MAPPING);
    let before = all_links(store).await;
    let commit = links_commit(vec![link("b", 2)]);
    assert_eq!(store.commit(&old, &commit).await, Err(StoreError::Fenced));
    assert_eq!(store.intend(&old, &Commit::default(), &intents(vec![link("b", 2)])).await, Err(StoreError::Fenced));
    assert_eq!(store.sweep_begin(&old, Side::Source).await, Err(StoreError::Fenced));
    assert_eq!(store.sweep_seen(&old, Side::Source, &[]).await, Err(StoreError::Fenced));
    assert_eq!(store.sweep_absent(&old, Side::Source, 0, 10).await, Err(StoreError::Fenced));
    let future = Fence { number: new.number + 1, ..new.clone() };
    assert_eq!(store.commit(&future, &commit).await, Err(StoreError::Fenced));
    let never = Fence { mapping: "never".into(), number: 1 };
    assert_eq!(store.commit(&never, &commit).await, Err(StoreError::Fenced), "a fence has to be acquired");
    assert_eq!(all_links(store).await, before);
    assert_eq!(store.open_intents(MAPPING).await, Ok(Vec::new()));
    store.acquire("other").await.expect("a mapping is acquired");
    assert_eq!(store.commit(&new, &commit).await, Ok(()), "another mapping's fence is no matter of this one");
}

pub(super) async fn creates_become_links_when_they_are_answered(store: &dyn Store) {
    let fence = acquire(store).await;
    store_links(store, &fence, vec![link("a", 1)]).await;
    store.sweep_begin(&fence, Side::Source).await.expect("a sweep begins");
    let mut untold = link("d", 0);
    untold.keys.target = Key::untold();
    let mut untold_too = link("e", 0);
    untold_too.keys.target = Key::untold();
    let creates = vec![link("b", 2), link("c", 3), untold.clone(), untold_too.clone()];
    let id = store.intend(&fence, &Commit::default(), &intents(creates.clone())).await.expect("intents are recorded");
    assert_eq!(one_link(store, Side::Source, key("b")).await, None, "an open create is no link");
    assert_eq!(one_link(store, Side::Target, number(2)).await, None);
    assert_eq!(all_links(store).await.len(), 1);
    assert_eq!(store.count_links(MAPPING).await, Ok(1));
    let absent = store.sweep_absent(&fence, Side::Source, 0, 10).await.expect("a sweep is under way");
    assert_eq!(absent.len(), 1, "an open create is not absent from a listing");
    let promise = "a create without a key does not become a link as it was recorded";
    assert_broken(store.commit(&fence, &answer(id, vec![1, 2])).await, "has no key yet", promise);
    assert_broken(store.commit(&fence, &answer(id, vec![4])).await, "fewer creates", "positions are of this batch");
    let told = Link { revision: 2, ..link("d", 4) };
    let commit = Commit { links: vec![told.clone(), link("c", 33)], ..answer(id, vec![1, 2, 3]) };
    store.commit(&fence, &commit).await.expect("intents are answered");
    let strip = |link: Option<Link>| link.map(|link| Link { id: 0, ..link });
    assert_eq!(strip(one_link(store, Side::Target, number(2)).await), Some(link("b", 2)), "made as it was recorded");
    assert_eq!(strip(one_link(store, Side::Source, key("c")).await), Some(link("c", 33)), "made otherwise");
    assert_eq!(one_link(store, Side::Target, number(3)).await, None);
    assert_eq!(strip(one_link(store, Side::Source, key("d")).await), Some(told), "its key was in the answer");
    assert_eq!(one_link(store, Side::Source, key("e")).await, None, "not made");
    assert_eq!(store.count_links(MAPPING).await, Ok(4));
    assert_eq!(all_links(store).await.len(), 4);
    assert_eq!(store.open_intents(MAPPING).await, Ok(Vec::new()));
    let again = store.intend(&fence, &Commit::default(), &intents(vec![link("e", 5)])).await;
    assert!(again.is_ok_and(|again| again > id), "keys that were not used are free, and numbers are never given again");
}

pub(super) async fn intents_come_back_exactly(store: &dyn Store) {
    let fence = acquire(store).await;
    let stored = store_links(store, &fence, vec![link("a", 1), link("b", 2)]).await;
    let field = |field, value: Value, expect: Option<Value>| IntentField {
        field,
        bases: Both::new(Value::text("source"), value.clone()),
        value,
        expect,
    };
    let change = |link: &Link, action, fields| Intent {
        link: link.id,
        keys: link.keys.clone(),
        revision: link.revision + 1,
        action,
        fields,
        set: Vec::new(),
        before: None,
    };
    let before = Some(Before { people: time(7), beside: u64::MAX });
    let set = vec![("active".to_owned(), Value::Boolean(false)), ("left_on".to_owned(), Value::Null)];
    let decimal = Value::Decimal("19.90".parse().expect("a number"));
    let first = Intents {
        side: Side::Source,
        token: None,
        at: time(1),
        layout: 3,
        creates: Vec::new(),
        changes: vec![
            change(&stored[0], Action::Update, vec![field(0, decimal, Some(Value::Null)), field(3, Value::Null, None)]),
            change(&stored[1], Action::Delete, Vec::new()),
            Intent { set, before, ..change(&stored[1], Action::Update, Vec::new()) },
            change(&stored[1], Action::Create, vec![field(0, Value::text("ação"), None)]),
        ],
    };
    let mut untold = link("u", 0);
    untold.keys.target = Key::untold();
    let creates: Vec<Link> = (0..700).map(|n| link(&format!("{n:04}"), 100 + n)).chain([untold]).collect();
    let second = Intents { changes: vec![change(&stored[0], Action::Update, Vec::new())], ..intents(creates) };
    let first_id = store.intend(&fence, &Commit::default(), &first).await.expect("intents are recorded");
    let second_id = store.intend(&fence, &Commit::default(), &second).await.expect("intents are recorded");
    let fence = acquire(store).await;
    let open = store.open_intents(MAPPING).await.expect("open intents are listed");
    assert_eq!(open, vec![(first_id, first), (second_id, second.clone())], "oldest first, as they were recorded");
    assert_eq!(store.open_intents("other").await, Ok(Vec::new()));
    store.commit(&fence, &answer(first_id, Vec::new())).await.expect("a later engine answers an earlier one's intents");
    assert_eq!(store.open_intents(MAPPING).await, Ok(vec![(second_id, second)]));
}

pub(super) async fn intents_are_answered_once(store: &dyn Store) {
    let fence = acquire(store).await;
    let other = store.acquire("other").await.expect("a mapping is acquired");
    let id =
        store.intend(&fence, &Commit::default(), &intents(vec![link("a", 1)])).await.expect("intents are recorded");
    let promise = "only open intents of the mapping are answered";
    assert_broken(store.commit(&other, &answer(id, Vec::new())).await, "are not open", promise);
    assert_broken(store.commit(&fence, &answer(id + 1, Vec::new())).await, "are not open", promise);
    store.commit(&fence, &answer(id, Vec::new())).await.expect("intents are answered");
    assert_broken(store.commit(&fence, &answer(id, Vec::new())).await, "are not open", promise);
    assert_eq!(store.count_links(MAPPING).await, Ok(1));
}

pub(super) async fn large_batches_are_taken(store: &dyn Store) {
    let fence = acquire(store).await;
    let count = 3000_i64;
    let creates: Vec<Link> = (0..count).map(|n| link(&format!("{n:06}"), n * 7919 % count)).collect();
    let id = store.intend(&fence, &Commit::default(), &intents(creates.clone())).await.expect("intents are recorded");
    let not_made: Vec<usize> = (0..creates.len()).filter(|position| position % 3 == 0).collect();
    let made = creates.len() - not_made.len();
    let events = (0..count).map(|n| event(&format!("{n:06}"), "created", n)).collect();
    store.commit(&fence, &Commit { events, ..answer(id, not_made) }).await.expect("intents are answered");
    let keys: Vec<Key> = creates.iter().map(|link| link.keys.target.clone()).collect();
    let found = store.links(MAPPING, Side::Target, &keys).await.expect("links are read");
    for (position, (create, found)) in creates.iter().zip(&found).enumerate() {
        let found = found.as_ref().map(|found| (&found.keys, &found.bases));
        assert_eq!(found, (position % 3 != 0).then_some((&create.keys, &create.bases)));
    }
    assert_eq!(store.count_links(MAPPING).await, Ok(made as u64));
    let mut links: Vec<Link> = found.into_iter().flatten().collect();
    for link in &mut links {
        link.revision += 1;
    }
    let park = links.iter().map(|link| Parked { keys: link.keys.clone().map(Some), ..parked("", None) }).collect();
    let all_in_conflict = links.iter().map(|link| conflict(link, "name")).collect();
    let commit = Commit { links: links.clone(), park, conflicts: all_in_conflict, ..Commit::default() };
    store.commit(&fence, &commit).await.expect("links are updated");
    links.sort_by_key(|link| link.id);
    assert_eq!(all_links(store).await, links);
    assert_eq!(conflicts(store, ConflictFilter::default()).await.len(), made);
    let unpark = links.iter().map(|link| (Side::Target, link.keys.target.clone())).collect();
    let forget = links.iter().skip(1).map(|link| link.id).collect();
    store.commit(&fence, &Commit { forget, unpark, ..Commit::default() }).await.expect("links are forgotten");
    assert_eq!(store.parked(&ParkedFilter::default()).await, Ok(Vec::new()));
    assert_eq!(all_links(store).await.len(), 1);
}

pub(super) async fn a_sweep_tells_what_is_absent(store: &dyn Store) {
    let fence = acquire(store).await;
    let other = store.acquire("other").await.expect("a mapping is acquired");
    let promise = "without a sweep nothing is absent";
    assert_broken(store.sweep_absent(&fence, Side::Target, 0, 10).await, "no sweep of the target", promise);
    assert_broken(store.sweep_seen(&fence, Side::Target, &[number(1)]).await, "no sweep of the target", promise);
    let mut given: Vec<Link> = (0..600).map(|n| link(&format!("{n:04}"), n)).collect();
    given[5].status = LinkStatus::Severed { gone: Side::Source };
    let links = store_links(store, &fence, given).await;
    store_links(store, &other, vec![link("a", 1)]).await;
    let absent = async |side, after, limit| {
        let page = store.sweep_absent(&fence, side, after, limit).await.expect("a sweep is under way");
        page.into_iter().map(|link| link.id).collect::<Vec<_>>()
    };
    store.sweep_begin(&fence, Side::Target).await.expect("a sweep begins");
    store.sweep_begin(&fence, Side::Source).await.expect("both sides may be swept at once");
    let seen: Vec<Key> = (0..600).filter(|n| n % 100 != 3).map(number).chain([number(7777)]).collect();
    store.sweep_seen(&fence, Side::Target, &seen[..300]).await.expect("keys are seen");
    store.sweep_seen(&fence, Side::Target, &seen[290..]).await.expect("keys may be seen twice");
    store_links(store, &fence, vec![link("late", 5000)]).await;
    let expected: Vec<LinkId> = [3, 103, 203, 303, 403, 503].map(|n| links[n].id).into();
    assert_eq!(absent(Side::Target, 0, 10).await, expected, "older than the sweep, and not seen");
    assert_eq!(absent(Side::Target, expected[1], 2).await, expected[2..4]);
    assert_eq!(absent(Side::Source, 0, 1000).await.len(), 599, "a side's sweep sees nothing of the other's");
    assert!(!absent(Side::Source, 0, 1000).await.contains(&links[5].id), "what is known to be gone is not absent");
    store.sweep_begin(&fence, Side::Target).await.expect("a sweep begins anew");
    assert_eq!(absent(Side::Target, 0, 1000).await.len(), 601, "it has forgotten what the earlier one has seen");
    assert!(absent(Side::Target, 0, 1000).await.contains(&links[5].id), "what a severed link has left may go too");
}
