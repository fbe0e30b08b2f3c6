//! `engine reset`: forgets how far a mapping was read, or all of it.

use serde_json::json;

use super::home::{mapping_named, open, open_for_run};
use super::render::{Page, plural};
use super::{Context, Done, Exit, Failure, ProjectPath};

/// Forget how far a mapping was read, so that the next run reads everything; with `--links` forget its links as well.
///
/// Links and what both sides last agreed on are kept, unless `--links`: then the next run is a first sync, which finds
/// records again by `match`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  engine reset mappings/ customers
  engine reset mappings/ customers --links")]
pub(super) struct ResetArguments {
    /// The project.
    path: ProjectPath,
    /// The mapping.
    mapping: String,
    /// Forget its links, conflicts and parked records as well.
    #[arg(long)]
    links: bool,
    /// Do not ask. Where nobody can be asked, as in a script, nothing is asked anyway.
    #[arg(long, short)]
    yes: bool,
}

pub(super) async fn reset(arguments: &ResetArguments, context: Context<'_>) -> Done {
    let looking = open(context, &arguments.path).await?;
    let mapping = mapping_named(&*looking, &arguments.mapping).await?;
    let links = looking.count_links(&mapping).await?;
    drop(looking);
    let question = if arguments.links {
        format!("forget {} of `{mapping}`, and what both sides last agreed on?", plural(links, "link"))
    } else {
        format!("forget how far `{mapping}` was read? {} stay", plural(links, "link"))
    };
    let answer = if arguments.yes { Some(true) } else { context.screen.confirm(&question) };
    match answer {
        Some(true) => {}
        Some(false) => return Err(Failure { exit: Exit::Partial, ..Failure::wrong("nothing was forgotten") }),
        // A script says what it means.
        None => {}
    }
    // Alone with the state: a run under way would go on from what is forgotten.
    let store = open_for_run(context, &arguments.path).await?;
    store.reset(&mapping, arguments.links).await?;
    context.screen.answer(
        || json!({ "mapping": mapping, "links_forgotten": if arguments.links { links } else { 0 } }),
        || {
            let mut page = Page::new();
            page.line(if arguments.links {
                format!("`{mapping}` knows nothing any more; the next run is a first sync")
            } else {
                format!("`{mapping}` reads everything with the next run; {} stay", plural(links, "link"))
            });
            page
        },
    );
    Ok(Exit::Well)
}
