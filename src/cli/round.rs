//! Mappings run, or planned, one after the other: what `engine run` and
//! `engine plan` share.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use chrono::TimeDelta;

use super::home::{key_names, open, open_for_run};
use super::keys::{KeyNames, typed};
use super::loaded::{Loaded, load};
use super::log::Teller;
use super::notices::{Happened, Notices};
use super::plan::{KeptChanges, PlanWriter};
use super::report::{Places, Told};
use super::wire::{Surroundings, Systems, Unready};
use super::{Context, Failure};
use crate::config::model::Mapping;
use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::record::{Both, Key, Side};
use crate::run::{Options, RunReport, Trouble, World, fail_run, is_stopped, unless_stopped};
use crate::state::{ParkedFilter, RunCounts, Store};
use crate::work::run_once;

/// What is asked for.
pub(super) struct Asked<'a> {
    pub path: &'a Path,
    /// Only these mappings; all that are switched on where it is empty.
    pub mappings: &'a [String],
    pub how: How,
    pub world: Arc<dyn World>,
    /// How long the history is kept; `None` where nothing is to be forgotten.
    pub history: Option<TimeDelta>,
}

/// How each run is to behave.
#[derive(Debug, Clone, Default)]
pub(super) struct How {
    pub options: Options,
    /// Only the records of these keys, as they were typed, and the side that
    /// they are of.
    pub keys: Vec<(Side, String)>,
    /// Where a plan is kept.
    pub out: Option<Arc<PlanWriter>>,
    /// The changes that may be made, of each mapping; where none are given, all.
    pub reviews: Vec<Arc<KeptChanges>>,
}

/// What came of it.
pub(super) struct Round {
    pub told: Vec<Told>,
    /// The connections that a passing copy stood in for.
    pub drafted: Vec<String>,
    /// The messages about it that are on their way.
    pub notices: Notices,
}

/// Does it; `None` where what was written is wrong, which is then said.
pub(super) async fn round(asked: &Asked<'_>, context: Context<'_>) -> Result<Option<Round>, Failure> {
    let loaded = load(asked.path, context.env());
    let diagnostics = loaded.sorted();
    if loaded.diagnostics.has_errors() {
        context.screen.wrong(&diagnostics, &loaded.project);
        return Ok(None);
    }
    if loaded.project.mappings.is_empty() {
        return Err(nothing_there(asked.path));
    }
    let mappings = chosen(&loaded, asked.mappings)?;
    context.screen.aside(&diagnostics, &loaded.project);
    let root = &loaded.project.root;
    let (store, systems) = if asked.how.options.dry {
        (open(context, root).await?, Systems::for_looking(&loaded))
    } else {
        (open_for_run(context, root).await?, Systems::new(&loaded))
    };
    let mut systems = systems.remembered_by(&*store).await?;
    let teller = Arc::new(Teller::new(context.screen));
    let surroundings = Surroundings::new(context, root, store, asked.world.clone(), teller.clone());
    let notices = Notices::new(asked.world.clone());
    let mut told = Vec::with_capacity(mappings.len());
    for mapping in mappings {
        if is_stopped(&*asked.world) {
            break;
        }
        let run = one(mapping, &mut systems, &surroundings, &teller, &asked.how).await?;
        if let Some(run) = run.as_ref().filter(|_| !asked.how.options.dry) {
            notices.tell(&loaded, mapping, &Happened::ran(run));
        }
        told.extend(run);
        teller.done(&mapping.full_name);
    }
    if let Some(kept) = asked.history {
        forget_history(&*surroundings.store, &*asked.world, kept).await;
    }
    Ok(Some(Round { told, drafted: systems.drafted().to_vec(), notices }))
}

/// Forgets what happened longer ago. No run fails for it.
pub(super) async fn forget_history(store: &dyn Store, world: &dyn World, kept: TimeDelta) {
    let Some(before) = world.now().checked_sub_signed(kept) else { return };
    match store.prune(before).await {
        Ok(forgotten) => tracing::debug!(forgotten, %before, "history forgotten"),
        Err(error) => tracing::warn!("the history before {before} was not forgotten: {error}"),
    }
}

pub(super) fn nothing_there(path: &Path) -> Failure {
    let message = format!("there is no mapping in `{}`: nothing would run", path.display());
    let failure = Failure::wrong(message).help("a mapping is a document that begins with `mapping: NAME`");
    Failure { code: Some(Code::NOTHING_THERE), ..failure }
}

/// The mappings to run. One that is asked for by its name has to be switched on.
pub(super) fn chosen<'a>(loaded: &'a Loaded, names: &[String]) -> Result<Vec<&'a Mapping>, Failure> {
    let mut mappings = loaded.select(names)?;
    if !names.is_empty()
        && let Some(off) = mappings.iter().find_map(|mapping| loaded.switched_off(mapping))
    {
        return Err(Failure::wrong(off).help("remove the `enabled: false`, or leave the mapping out"));
    }
    mappings.retain(|mapping| loaded.switched_off(mapping).is_none());
    Ok(mappings)
}

/// Runs one mapping. What keeps it from beginning is in its report: the others
/// run all the same. `None` where the engine was stopped before it could begin.
pub(super) async fn one(
    mapping: &Mapping,
    systems: &mut Systems<'_>,
    surroundings: &Surroundings,
    teller: &Teller,
    how: &How,
) -> Result<Option<Told>, Failure> {
    let store = &*surroundings.store;
    let started = surroundings.world.now();
    let leads = Both::from_fn(|side| systems.loaded.connection(mapping, side).map(|own| systems.loaded.lead(own)));
    let places = Places::of(mapping);
    if !how.options.dry {
        systems.take_over_name(mapping, store).await?;
    }
    let mut diagnostics = Diagnostics::new();
    let prepared = systems.prepare(mapping, surroundings, &mut diagnostics);
    let Some(setup) = unless_stopped(&*surroundings.world, prepared).await else { return Ok(None) };
    let wrong = diagnostics.into_sorted();
    let trouble = match setup {
        Ok(setup) => {
            let mut options = how.options.clone();
            options.keys = keys(&setup.program, &how.keys)?;
            let names = KeyNames::of(&setup.program);
            let asked_keys = options.keys.clone();
            let kept = how.reviews.iter().find(|changes| changes.mapping == mapping.full_name);
            options.review = kept.map(|changes| changes.review(names.clone()));
            options.sink = how.out.as_ref().map(|out| out.of(&mapping.full_name, names.clone()));
            let unfinished = if options.dry { unfinished(store, &setup.program.name).await? } else { None };
            teller.begins(&setup.program.name, names.clone());
            let mut report = run_once(setup, options).await;
            number_parked(&mut report, store).await?;
            let unknown = unknown_keys(&report, store, &asked_keys).await?;
            let held = report.held.source.is_some() || report.held.target.is_some();
            let held = if held { store.spooled(&report.mapping, 0, 20).await? } else { Vec::new() };
            let adopted = teller.adopted(&report.mapping);
            let emptied = teller.emptied(&report.mapping);
            teller.done(&report.mapping);
            // A plan goes by what the state has under the former name.
            report.mapping.clone_from(&mapping.full_name);
            return Ok(Some(Told { report, names, wrong, held, adopted, emptied, unfinished, unknown, leads, places }));
        }
        Err(Unready::Fault(side, fault)) => Trouble::Side(side, fault),
        Err(Unready::Wrong) => first_error(&wrong),
    };
    let name = &mapping.full_name;
    let world: &dyn World = &*surroundings.world;
    let report = if how.options.dry {
        RunReport::unstarted(name, world, started, trouble)
    } else {
        let words = match &trouble {
            Trouble::Side(side, fault) => leads[*side].as_ref().map(|lead| format!("{side}: {}", lead.words(fault))),
            Trouble::State(_) | Trouble::Refused { .. } | Trouble::Stopped => None,
        };
        let words = words.unwrap_or_else(|| trouble.to_string());
        fail_run(store, world, name, started, trouble, words).await
    };
    let names = key_names(store, name).await?;
    Ok(Some(Told {
        report,
        names,
        wrong,
        held: Vec::new(),
        adopted: 0,
        emptied: Both::default(),
        unfinished: None,
        unknown: Vec::new(),
        leads,
        places,
    }))
}

/// A run that began and has no end: it may be under way.
async fn unfinished(store: &dyn Store, mapping: &str) -> Result<Option<u64>, Failure> {
    let state = store.mapping(mapping).await?.unwrap_or_default();
    let last = store.runs(Some(mapping), 1).await?.into_iter().next();
    Ok(super::status::unfinished(&state, last.as_ref()))
}

fn first_error(wrong: &[Diagnostic]) -> Trouble {
    let code = wrong.first().map_or(Code::BAD_VALUE, |wrong| wrong.code);
    let message = wrong.first().map_or_else(|| "the mapping is wrong".to_owned(), |wrong| wrong.message.clone());
    Trouble::Refused { code, side: None, message }
}

fn keys(program: &crate::compile::Program, written: &[(Side, String)]) -> Result<Vec<(Side, Key)>, Failure> {
    let names = KeyNames::of(program);
    written.iter().map(|(side, key)| Ok((*side, typed(program, *side, &names.parse(*side, key)?)?))).collect()
}

/// The keys asked for that nothing came of and nothing is known of.
async fn unknown_keys(
    report: &RunReport,
    store: &dyn Store,
    asked: &[(Side, Key)],
) -> Result<Vec<(Side, Key)>, Failure> {
    let counts = RunCounts { owed: report.counts.owed, ..RunCounts::default() };
    if report.counts != counts || !report.troubles.is_empty() || !report.planned.is_empty() {
        return Ok(Vec::new());
    }
    let mut unknown = Vec::new();
    for (side, key) in asked {
        if store.links(&report.mapping, *side, std::slice::from_ref(key)).await?.iter().all(Option::is_none) {
            unknown.push((*side, key.clone()));
        }
    }
    Ok(unknown)
}

/// Gives what was newly parked the numbers the state has for it.
async fn number_parked(report: &mut RunReport, store: &dyn Store) -> Result<(), Failure> {
    if report.parked.is_empty() {
        return Ok(());
    }
    let mut ids = vec![0; report.parked.len()];
    let places: HashMap<_, usize> =
        report.parked.iter().enumerate().map(|(index, parked)| (parked.place(), index)).collect();
    let mut filter = ParkedFilter { mapping: Some(report.mapping.clone()), limit: 1000, ..ParkedFilter::default() };
    let mut left = places.len();
    while left > 0 {
        let page = store.parked(&filter).await?;
        let Some(last) = page.last() else { break };
        filter.after = last.id;
        for stored in &page {
            if let Some(index) = places.get(&stored.place()) {
                ids[*index] = stored.id;
                left -= 1;
            }
        }
    }
    for (parked, id) in report.parked.iter_mut().zip(ids) {
        parked.id = id;
    }
    Ok(())
}
