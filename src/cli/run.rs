//! `engine run`: runs mappings.

use serde_json::json;

use super::report::{Told, overall, page};
use super::round::{Asked, Round, round};
use super::{Context, Done, Exit, Failure, ProjectPath};
use crate::record::Side;
use crate::run::Options;

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
    let asked = Asked {
        path: &arguments.path,
        mappings: &arguments.mappings,
        keys: &arguments.key,
        side: arguments.side.into(),
        options: Options { full: arguments.full, over_limit: arguments.over_limit, ..Options::default() },
    };
    let Some(Round { told, .. }) = round(&asked, context).await? else { return Ok(Exit::Wrong) };
    let path = arguments.path.display().to_string();
    context.screen.answer(
        || json!({ "status": overall(&told), "runs": told.iter().map(Told::json).collect::<Vec<_>>() }),
        || page(&told, &path),
    );
    Ok(told.iter().map(Told::exit).max().unwrap_or(Exit::Well))
}
