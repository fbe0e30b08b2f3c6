//! `engine man`: what `man` shows.

use std::path::PathBuf;

use clap::CommandFactory;
use serde_json::json;

use super::render::Page;
use super::{Arguments, Context, Done, Exit, Failure};

/// Print the page for `man`, or write those of all commands into a folder.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  engine man | man -l -
  engine man /usr/local/share/man/man1")]
pub(super) struct ManArguments {
    /// The folder, which has to be there: a page for each command. Without one the first page is printed.
    folder: Option<PathBuf>,
}

pub(super) fn man(arguments: &ManArguments, context: Context<'_>) -> Done {
    let Some(folder) = &arguments.folder else {
        let mut page = Vec::new();
        clap_mangen::Man::new(Arguments::command())
            .render(&mut page)
            .map_err(|error| Failure::wrong(format!("the page cannot be made: {error}")))?;
        context.screen.raw(&String::from_utf8_lossy(&page));
        return Ok(Exit::Well);
    };
    let shown = folder.display().to_string();
    clap_mangen::generate_to(Arguments::command(), folder)
        .map_err(|error| Failure::wrong(format!("`{shown}` cannot be written: {error}")))?;
    context.screen.answer(
        || json!({ "folder": shown }),
        || {
            let mut page = Page::new();
            page.line(format!("the pages lie in `{shown}`"));
            page
        },
    );
    Ok(Exit::Well)
}
