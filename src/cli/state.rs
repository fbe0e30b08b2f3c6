//! `engine state`: what people may do to the state as a whole.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::json;

use super::home::{Place, mapping_named, open_for_run, state_place};
use super::keys::KeyNames;
use super::loaded::load;
use super::log::Teller;
use super::render::{Cell, Grid, Page, plural};
use super::round::chosen;
use super::run::SideArgument;
use super::trace::seen;
use super::wire::{Surroundings, Systems, prepare_one};
use super::{Context, Done, Exit, Failure, ProjectPath};
use crate::diagnostic::Code;
use crate::record::{Both, Key, Side};
use crate::run::{SystemWorld, adopt_sides};
use crate::state::{ParkedFilter, Reason, SqliteStore, Store};

/// Copy the state; change what it knows of a mapping's sides.
#[derive(Debug, clap::Subcommand)]
pub(super) enum StateCommand {
    Adopt(AdoptArguments),
    Backup(BackupArguments),
    Forget(ForgetArguments),
}

/// Copy the state as it stands into a new file, also while an engine runs on it.
///
/// The copy is a state like any other: `--state FILE` looks at it, and put in place of a lost one it is gone on from. It is
/// then older than the sides: what was linked since is found again by `match` or by its key, and records whose other key a
/// system gave are created twice where nothing says that they are the same. Look at `engine plan` first.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  engine state backup mappings/ backups/monday.db
  engine status mappings/ --state backups/monday.db")]
pub(super) struct BackupArguments {
    /// The project.
    path: ProjectPath,
    /// The file to make.
    file: PathBuf,
}

/// Say that both sides are still the ones that the links belong to.
///
/// Links belong to one system, object and key on each side. After a system has moved or an object was renamed, runs are
/// refused until this is said; say it only where the records are the same. A key of other fields cannot be adopted: links
/// name records by their keys.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  engine state adopt mappings/
  engine state adopt mappings/ customers")]
pub(super) struct AdoptArguments {
    /// The project.
    path: ProjectPath,
    /// Only this mapping.
    mapping: Option<String>,
}

/// Forget what the state knows of one record's values, as a person may ask.
///
/// What both sides last agreed on, its conflicts and its timeline are gone, and where it is parked its value and the words
/// about it. Its keys stay, with the link, so that it is not created anew: the next time it is looked at both sides are
/// compared as on their first meeting. Copies of the state, logs and the systems themselves keep what they have. In
/// PostgreSQL the rows are gone from the disk when the server has cleaned up (`VACUUM`).
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  engine state forget mappings/ customers A1_COD=000004,A1_LOJA=01
  engine state forget mappings/ customers 42 --side target")]
pub(super) struct ForgetArguments {
    /// The project.
    path: ProjectPath,
    /// The mapping.
    mapping: String,
    /// The record's key: a value, or `field=value,field=value`.
    key: String,
    /// The side that the key is of.
    #[arg(long, value_enum, default_value_t = SideArgument::Source)]
    side: SideArgument,
}

/// A side that became another one.
struct Adopted {
    mapping: String,
    side: Side,
    before: String,
    now: String,
}

pub(super) async fn state(command: &StateCommand, context: Context<'_>) -> Done {
    match command {
        StateCommand::Adopt(arguments) => adopt(arguments, context).await,
        StateCommand::Backup(arguments) => backup(arguments, context).await,
        StateCommand::Forget(arguments) => forget(arguments, context).await,
    }
}

async fn backup(arguments: &BackupArguments, context: Context<'_>) -> Done {
    let Place::File(state) = state_place(context.common, &arguments.path)? else {
        let message = "a state in PostgreSQL is not copied by the engine: `pg_dump` does it";
        return Err(
            Failure::wrong(message).help("`pg_dump --schema=engine URL` writes it, also while engines run on it")
        );
    };
    if !state.is_file() {
        let help = "is the path the project's, and the state where `--state` says?";
        return Err(Failure::wrong(format!("there is no state at `{}`", state.display())).help(help));
    }
    let file = &arguments.file;
    if file.exists() {
        let help = "name a file that is not there yet: a copy takes the place of none";
        return Err(Failure::wrong(format!("`{}` is there already", file.display())).help(help));
    }
    let store = SqliteStore::open(&state).await?;
    let copied = store.back_up(file).await;
    store.close().await?;
    let size = copied?;
    context.screen.answer(
        || json!({ "state": state, "file": file, "bytes": size }),
        || {
            let mut page = Page::new();
            page.line(format!("`{}` holds the state as it stands ({} KiB)", file.display(), size.div_ceil(1024)));
            page
        },
    );
    Ok(Exit::Well)
}

async fn adopt(arguments: &AdoptArguments, context: Context<'_>) -> Done {
    let loaded = load(&arguments.path, context.env());
    if loaded.diagnostics.has_errors() {
        context.screen.wrong(&loaded.sorted(), &loaded.project);
        return Ok(Exit::Wrong);
    }
    let mappings = chosen(&loaded, arguments.mapping.as_slice())?;
    let store = open_for_run(context, &loaded.project.root).await?;
    let observer = Arc::new(Teller::new(context.screen));
    let surroundings = Surroundings::new(context, &loaded.project.root, store.clone(), Arc::new(SystemWorld), observer);
    let mut systems = Systems::new(&loaded).remembered_by(&*store).await?;
    let mut adopted: Vec<Adopted> = Vec::new();
    for mapping in mappings {
        systems.take_over_name(mapping, &*store).await?;
        let Some(stored) = store.mapping(&mapping.full_name).await? else { continue };
        let setup = prepare_one(mapping, &loaded, &mut systems, &surroundings, context).await?;
        let before = &stored.fingerprints;
        let (old, new) = (KeyNames::of_fingerprints(before), KeyNames::of(&setup.program));
        let mut changed: Both<bool> = Both::default();
        for side in Side::BOTH {
            changed[side] = !before[side].is_empty() && before[side] != setup.fingerprints[side];
        }
        if let Some(side) = setup.other_key(&stored) {
            let key = |names: &KeyNames| names.of_side(side).join(", ");
            let message = format!(
                "the {side} of `{}` had the key ({}) and has ({}) now: its links cannot be carried over, since they \
                 name records by the former one",
                mapping.full_name,
                key(&old),
                key(&new),
            );
            let help = format!(
                "put the former `key` back; or forget the links with `engine reset {} {} --links`: the next run is then \
                 a first sync, which finds records again by `match`",
                arguments.path.display(),
                mapping.full_name
            );
            return Err(Failure { code: Some(Code::FINGERPRINT), ..Failure::wrong(message).help(help) });
        }
        if !changed.source && !changed.target {
            continue;
        }
        adopt_sides(&setup).await?;
        adopted.extend(Side::BOTH.into_iter().filter(|side| changed[*side]).map(|side| Adopted {
            mapping: mapping.full_name.clone(),
            side,
            before: before[side].clone(),
            now: setup.fingerprints[side].clone(),
        }));
    }
    context.screen.answer(
        || {
            let entry = |adopted: &Adopted| {
                json!({ "mapping": adopted.mapping, "side": adopted.side, "before": adopted.before, "now": adopted.now })
            };
            json!({ "adopted": adopted.iter().map(entry).collect::<Vec<_>>() })
        },
        || {
            let mut page = Page::new();
            if adopted.is_empty() {
                page.line("nothing to adopt: every side is the one its links belong to");
                return page;
            }
            let mut grid = Grid::new(&["mapping", "side", "was", "is now"]);
            for adopted in &adopted {
                grid.row(vec![
                    Cell::text(&adopted.mapping),
                    Cell::text(adopted.side.name()),
                    Cell::text(&adopted.before),
                    Cell::text(&adopted.now),
                ]);
            }
            page.grid(grid);
            page
        },
    );
    Ok(Exit::Well)
}

async fn forget(arguments: &ForgetArguments, context: Context<'_>) -> Done {
    // Alone with the state: a run under way would bring back what it has read.
    let store = open_for_run(context, &arguments.path).await?;
    let mapping = mapping_named(&*store, &arguments.mapping).await?;
    let keys = seen(&*store, &mapping, arguments.side.into(), &arguments.key).await?;
    let filter =
        ParkedFilter { mapping: Some(mapping.clone()), reason: Some(Reason::InDoubt), ..ParkedFilter::default() };
    let is_its = |of: &Both<Option<Key>>| Side::BOTH.iter().any(|side| of[*side].is_some() && of[*side] == keys[*side]);
    let in_doubt = store.parked(&filter).await?.iter().any(|parked| is_its(&parked.keys));
    if in_doubt || !store.open_intents(&mapping).await?.is_empty() {
        let help = "run the mapping, or settle what is in doubt (`engine parked settle`), and forget it then";
        return Err(Failure::wrong("a write of it, or of its mapping, has no answer yet").help(help));
    }
    let forgotten = store.forget_values(&mapping, &keys).await?;
    context.screen.answer(
        || json!({ "mapping": mapping, "forgotten": forgotten }),
        || {
            let mut page = Page::new();
            page.line(format!(
                "forgotten: what both sides agreed on in {}, {}, {}; {} without its words",
                plural(forgotten.links, "link"),
                plural(forgotten.conflicts, "conflict"),
                plural(forgotten.events, "event"),
                plural(forgotten.parked, "parked entry"),
            ));
            page
        },
    );
    Ok(Exit::Well)
}
