//! `engine run`: runs mappings.

use std::sync::Arc;

use serde_json::json;

use super::home::{key_names, open_for_run};
use super::keys::{KeyNames, typed};
use super::log::Teller;
use super::report::{Told, overall, page};
use super::wire::{Loaded, Surroundings, Systems, Unready, load};
use super::{Context, Done, Exit, Failure, ProjectPath};
use crate::config::model::Mapping;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::record::{Key, Side};
use crate::run::{Options, RunReport, SystemWorld, Trouble, World, fail_run};
use crate::state::{ParkedFilter, Store};
use crate::work::run_once;

/// Run mappings, each once.
///
/// Reads what changed on both sides, writes only that, and says what was done. What could not be written is parked and
/// owed; what was edited on both sides is a conflict, and waits where the mapping does not say who wins.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  engine run mappings/ --once
  engine run mappings/ customers --once --full
  engine run mappings/ customers --once --key A1_COD=000001,A1_LOJA=01
  engine run mappings/ --once --format json")]
pub(super) struct RunArguments {
    /// The project: a folder of YAML files, or one file.
    path: ProjectPath,
    /// Only these mappings. Default: all that are switched on.
    #[arg(value_name = "MAPPING")]
    mappings: Vec<String>,
    /// Run each mapping once, in the order of their dependencies, then exit.
    #[arg(long)]
    once: bool,
    /// Read everything, whatever was read before.
    #[arg(long)]
    full: bool,
    /// Only the record of this key: a value, or `field=value,field=value`.
    #[arg(long, value_name = "KEY")]
    key: Vec<String>,
    /// The side that `--key` is of.
    #[arg(long, value_enum, default_value_t = SideArgument::Source, requires = "key")]
    side: SideArgument,
    /// Let this run delete, create and update more than the limits allow.
    #[arg(long)]
    over_limit: bool,
}

/// A side on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum SideArgument {
    Source,
    Target,
}

impl From<SideArgument> for Side {
    fn from(side: SideArgument) -> Side {
        match side {
            SideArgument::Source => Side::Source,
            SideArgument::Target => Side::Target,
        }
    }
}

pub(super) async fn run(arguments: &RunArguments, context: Context<'_>) -> Done {
    if !arguments.once {
        return Err(Failure::not_yet(
            "running on schedules",
            "`--once` runs each mapping once, in the order of their dependencies",
        ));
    }
    let loaded = load(&arguments.path);
    let diagnostics = loaded.sorted();
    if loaded.diagnostics.has_errors() {
        context.screen.wrong(&diagnostics, &loaded.project);
        return Ok(Exit::Wrong);
    }
    let mappings = chosen(&loaded, &arguments.mappings)?;
    context.screen.aside(&diagnostics, &loaded.project);
    let store = open_for_run(context.common, &loaded.project.root).await?;
    let teller = Arc::new(Teller::new(context.screen));
    let surroundings = Surroundings { store, world: Arc::new(SystemWorld), observer: teller.clone() };
    let mut systems = Systems::new(&loaded);
    let mut told = Vec::with_capacity(mappings.len());
    for mapping in mappings {
        let asked = Asked {
            keys: &arguments.key,
            side: arguments.side.into(),
            options: Options { full: arguments.full, over_limit: arguments.over_limit, ..Options::default() },
        };
        told.push(one(mapping, &mut systems, &surroundings, asked).await?);
        teller.done(&mapping.full_name);
    }
    let path = arguments.path.display().to_string();
    context.screen.answer(
        || json!({ "status": overall(&told), "runs": told.iter().map(Told::json).collect::<Vec<_>>() }),
        || page(&told, &path),
    );
    Ok(told.iter().map(Told::exit).max().unwrap_or(Exit::Well))
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

/// What one run is asked for.
pub(super) struct Asked<'a> {
    pub keys: &'a [String],
    pub side: Side,
    pub options: Options,
}

/// Runs one mapping. What keeps it from beginning is in its report: the others
/// run all the same.
pub(super) async fn one(
    mapping: &Mapping,
    systems: &mut Systems<'_>,
    surroundings: &Surroundings,
    asked: Asked<'_>,
) -> Result<Told, Failure> {
    let store = &*surroundings.store;
    let mut diagnostics = Diagnostics::new();
    let setup = systems.prepare(mapping, surroundings, &mut diagnostics).await;
    let wrong = diagnostics.into_sorted();
    let trouble = match setup {
        Ok(setup) => {
            let mut options = asked.options;
            options.keys = keys(&setup.program, asked.side, asked.keys)?;
            let names = KeyNames::of(&setup.program);
            let mut report = run_once(setup, options).await;
            number_parked(&mut report, store).await?;
            let held = report.held.source.is_some() || report.held.target.is_some();
            let held = if held { store.spooled(&report.mapping, 0, 20).await? } else { Vec::new() };
            return Ok(Told { report, names, wrong, held });
        }
        Err(Unready::Fault(side, fault)) => Trouble::Side(side, fault),
        Err(Unready::Wrong) => first_error(&wrong),
    };
    let name = &mapping.full_name;
    let world: &dyn World = &*surroundings.world;
    let report = if asked.options.dry {
        RunReport::unstarted(name, world, trouble)
    } else {
        fail_run(store, world, name, trouble).await
    };
    let names = key_names(store, name).await?;
    Ok(Told { report, names, wrong, held: Vec::new() })
}

fn first_error(wrong: &[Diagnostic]) -> Trouble {
    let code = wrong.first().map_or("E0106", |wrong| wrong.code.as_str());
    let message = wrong.first().map_or_else(|| "the mapping is wrong".to_owned(), |wrong| wrong.message.clone());
    Trouble::Refused { code, message }
}

fn keys(program: &crate::compile::Program, side: Side, written: &[String]) -> Result<Vec<(Side, Key)>, Failure> {
    let names = KeyNames::of(program);
    written.iter().map(|key| Ok((side, typed(program, side, &names.parse(side, key)?)?))).collect()
}

/// Gives what was newly parked the numbers the state has for it.
async fn number_parked(report: &mut RunReport, store: &dyn Store) -> Result<(), Failure> {
    if report.parked.is_empty() {
        return Ok(());
    }
    let filter = ParkedFilter { mapping: Some(report.mapping.clone()), ..ParkedFilter::default() };
    let stored = store.parked(&filter).await?;
    let numbers: std::collections::HashMap<_, _> = stored
        .iter()
        .map(|parked| ((parked.side, &parked.keys.source, &parked.keys.target, &parked.field), parked.id))
        .collect();
    for parked in &mut report.parked {
        let place = (parked.side, &parked.keys.source, &parked.keys.target, &parked.field);
        parked.id = numbers.get(&place).copied().unwrap_or(0);
    }
    Ok(())
}
