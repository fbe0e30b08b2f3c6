//! What people do to a mapping's state between runs: links from elsewhere,
//! another address of the same system, the end of a doubt. And runs that never
//! began.

use chrono::{DateTime, Utc};

use super::layout::Layouts;
use super::report::{PlanSize, RunReport, Trouble};
use super::session::give_back;
use super::setup::Setup;
use super::world::World;
use crate::plan::{Bases, Link, LinkStatus};
use crate::record::{Both, Key, Side};
use crate::state::{
    Agreed, Commit, MappingState, Parked, ParkedFilter, Reason, RunCounts, RunRecord, RunStatus, Store,
};

/// Stores links without bases: the next run reads both sides and compares each
/// pair as on adoption.
///
/// # Errors
/// Where the mapping's sides are not those its links belong to, or a key has a
/// link already.
pub async fn import_links(setup: &Setup, pairs: &[Both<Key>]) -> Result<(), Trouble> {
    store_links(setup, pairs, None, None).await
}

/// `instead` is the link whose place they take, `agreed` their bases.
async fn store_links(
    setup: &Setup,
    pairs: &[Both<Key>],
    instead: Option<&Link>,
    agreed: Option<Agreed>,
) -> Result<(), Trouble> {
    let name = &*setup.program.name;
    let before = setup.store.mapping(name).await?.unwrap_or_default();
    setup.refuse_other_sides(&before)?;
    setup.refuse_restored(&before)?;
    // Records that did not change since the cursor have to be compared as well.
    setup.store.reset(name, false).await?;
    let fence = setup.store.acquire(name).await?;
    let mut state = setup.store.mapping(name).await?.unwrap_or_default();
    state.fingerprints = setup.fingerprints.clone();
    let current = Layouts::enter(&mut state, &setup.layout).current;
    let digests = setup.program.keeps_digests();
    let (layout, bases) = match agreed {
        Some(agreed) => (agreed.layout, agreed.bases),
        None => (current, Bases::none(setup.program.fields.len(), digests)),
    };
    let link = |keys: &Both<Key>| Link {
        id: instead.map_or(0, |link| link.id),
        keys: keys.clone(),
        revision: instead.map_or(0, |link| link.revision),
        status: LinkStatus::Linked,
        outside: false,
        bases: bases.clone(),
        own_stamps: Both::default(),
        contests: Vec::new(),
        layout,
    };
    let commit = Commit { links: pairs.iter().map(link).collect(), mapping: Some(state), ..Commit::default() };
    Ok(setup.store.commit(&fence, &commit).await?)
}

/// A record in doubt was created, under this key on `side`: both are linked,
/// with the bases that were sent. A link that stands is of a record that was to be made anew.
///
/// # Errors
/// Where the mapping's sides are not those its links belong to, or the key on
/// `side` has a link already.
pub async fn settle_as_sent(setup: &Setup, side: Side, keys: &Both<Key>) -> Result<(), Trouble> {
    let (name, other) = (&*setup.program.name, side.other());
    let known = setup.store.links(name, other, std::slice::from_ref(&keys[other])).await?;
    let doubts =
        ParkedFilter { mapping: Some(name.to_owned()), reason: Some(Reason::InDoubt), ..ParkedFilter::default() };
    let parked = setup.store.parked(&doubts).await?;
    let is_it = |parked: &Parked| parked.side == side && parked.keys[other].as_ref() == Some(&keys[other]);
    let agreed = parked.into_iter().find(is_it).and_then(|parked| parked.agreed);
    store_links(setup, std::slice::from_ref(keys), known.into_iter().flatten().next().as_ref(), agreed).await
}

/// Says that both sides are the ones the links belong to, whatever they are
/// called now.
///
/// # Errors
/// Where a side has another key than its links, or the state fails.
pub async fn adopt_sides(setup: &Setup) -> Result<(), Trouble> {
    let name = &*setup.program.name;
    let fence = setup.store.acquire(name).await?;
    let mut state = setup.store.mapping(name).await?.unwrap_or_default();
    if setup.other_key(&state).is_some() {
        setup.refuse_other_sides(&state)?;
    }
    for side in Side::BOTH.into_iter().filter(|side| state.fingerprints[*side] != setup.fingerprints[*side]) {
        if let Some(cursor) = &mut state.cursors[side] {
            // Where it stands now it has another history, and numbers its rows anew.
            (cursor.timeline, cursor.known) = (None, None);
        }
    }
    state.fingerprints = setup.fingerprints.clone();
    let commit = Commit { mapping: Some(state), ..Commit::default() };
    Ok(setup.store.commit(&fence, &commit).await?)
}

/// A record in doubt was not created after all: it is owed like any other
/// record, and sent with the next run.
///
/// # Errors
/// Where the state fails.
pub async fn settle_as_not_sent(store: &dyn Store, parked: &Parked, now: DateTime<Utc>) -> Result<(), Trouble> {
    let fence = store.acquire(&parked.mapping).await?;
    let owed = Parked {
        reason: Reason::Rejected,
        message: "a person says that it was not sent; it is sent with the next run".to_owned(),
        next_try: Some(now),
        agreed: None,
        code: None,
        ..parked.clone()
    };
    Ok(store.commit(&fence, &Commit { park: vec![owed], ..Commit::default() }).await?)
}

/// Notes a run that could not begin, so that a mapping whose system is away
/// does not look well.
pub async fn fail_run(
    store: &dyn Store,
    world: &dyn World,
    mapping: &str,
    started: DateTime<Utc>,
    trouble: Trouble,
    words: String,
) -> RunReport {
    noted(store, RunReport::unstarted(mapping, world, started, trouble), None, vec![words]).await
}

/// Notes a run that broke off, and could not say so itself: in the place of
/// what is on record of it, where it came so far.
pub async fn fail_begun_run(store: &dyn Store, mut report: RunReport) -> RunReport {
    let words = report.troubles.iter().map(ToString::to_string).collect();
    let newest = store.runs(Some(&report.mapping), 1).await;
    let begun = newest.ok().and_then(|runs| {
        runs.into_iter().find(|run| run.status == RunStatus::Running && run.started_at >= report.started_at)
    });
    if let Some(begun) = &begun {
        report.run.clone_from(&begun.run);
        report.counts = begun.counts;
    }
    noted(store, report, begun.map(|begun| begun.number), words).await
}

async fn noted(store: &dyn Store, mut report: RunReport, number: Option<u64>, words: Vec<String>) -> RunReport {
    if let Err(error) = note(store, &mut report, number, words).await {
        report.troubles.push(error);
    }
    report
}

impl RunReport {
    /// The report of a run that could not begin, however long it was tried.
    pub fn unstarted(mapping: &str, world: &dyn World, started: DateTime<Utc>, trouble: Trouble) -> RunReport {
        RunReport {
            mapping: mapping.to_owned(),
            run: world.id(),
            status: RunStatus::Failure,
            started_at: started,
            duration_ms: u64::try_from((world.now() - started).num_milliseconds()).unwrap_or(0),
            counts: RunCounts::default(),
            parked: Vec::new(),
            troubles: vec![trouble],
            planned: Vec::new(),
            planned_in_all: PlanSize::default(),
            disputed: Vec::new(),
            unanswered: 0,
            held: Both::default(),
            held_anew: 0,
            newly_held: Vec::new(),
            undecided: Vec::new(),
        }
    }
}

/// `number` is the run's, where it was counted already.
async fn note(
    store: &dyn Store,
    report: &mut RunReport,
    number: Option<u64>,
    errors: Vec<String>,
) -> Result<(), Trouble> {
    let name = report.mapping.as_str();
    let fence = store.acquire(name).await?;
    let mut state: MappingState = store.mapping(name).await?.unwrap_or_default();
    state.runs += u64::from(number.is_none());
    report.counts.owed = store.count_owed(name).await?.all();
    let run = RunRecord {
        run: report.run.clone(),
        mapping: name.to_owned(),
        number: number.unwrap_or(state.runs),
        status: report.status,
        started_at: report.started_at,
        duration_ms: report.duration_ms,
        counts: report.counts,
        errors,
    };
    let done = store.commit(&fence, &Commit { run: Some(run), mapping: Some(state), ..Commit::default() }).await;
    give_back(store, &fence).await;
    Ok(done?)
}
