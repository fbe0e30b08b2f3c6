//! `engine check`: reaches every connection.

use serde_json::json;

use super::render::{Cell, Grid, Page, Tone};
use super::wire::{Systems, load};
use super::{Context, Done, Exit, ProjectPath};
use crate::connector::Fault;
use crate::diagnostic::Diagnostics;

/// Reach and authenticate every connection.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  engine check mappings/
  engine check mappings/ --format json")]
pub(super) struct CheckArguments {
    /// The project.
    path: ProjectPath,
}

/// What came of one connection.
struct Checked {
    connection: String,
    connector: &'static str,
    outcome: Result<String, String>,
    exit: Exit,
}

pub(super) async fn check(arguments: &CheckArguments, context: Context<'_>) -> Done {
    let loaded = load(&arguments.path);
    if loaded.diagnostics.has_errors() {
        context.screen.wrong(&loaded.sorted(), &loaded.project);
        return Ok(Exit::Wrong);
    }
    let mut systems = Systems::for_looking(&loaded);
    let mut all = Vec::new();
    for connection in loaded.project.connections.iter().filter(|connection| connection.is_enabled()) {
        let mut diagnostics = Diagnostics::new();
        let server = loaded.lead(connection).server;
        let told = |fault: Fault| match &server {
            Some(server) => format!("{server}: {fault}"),
            None => fault.to_string(),
        };
        let (outcome, exit) = match systems.connect(connection, &mut diagnostics) {
            Ok(Some(connector)) => match connector.check().await {
                Ok(answered) => (Ok(answered), Exit::Well),
                Err(fault) => (Err(told(fault)), Exit::Unreachable),
            },
            Ok(None) => {
                let found = diagnostics.into_sorted();
                let messages: Vec<String> = found.iter().map(|diagnostic| diagnostic.message.clone()).collect();
                (Err(messages.join("; ")), Exit::Wrong)
            }
            Err(fault) => (Err(told(fault)), Exit::Unreachable),
        };
        let connector = connection.connector().as_str();
        all.push(Checked { connection: connection.full_name(), connector, outcome, exit });
    }
    let drafted = systems.drafted();
    context.screen.answer(
        || {
            let entry = |checked: &Checked| {
                json!({
                    "connection": checked.connection,
                    "connector": checked.connector,
                    "ok": checked.outcome.is_ok(),
                    "answered": checked.outcome.as_ref().ok(),
                    "error": checked.outcome.as_ref().err(),
                })
            };
            json!({ "connections": all.iter().map(entry).collect::<Vec<_>>() })
        },
        || {
            let mut page = Page::new();
            let mut grid = Grid::new(&["connection", "connector", "", ""]);
            for checked in &all {
                let (word, tone, text) = match &checked.outcome {
                    Ok(_) if drafted.contains(&checked.connection) => {
                        ("ok", Tone::Good, "is made from its `create_from` by the first run".to_owned())
                    }
                    Ok(answered) => ("ok", Tone::Good, answered.clone()),
                    Err(error) => ("failed", Tone::Bad, error.clone()),
                };
                grid.row(vec![
                    Cell::text(&checked.connection).tone(Tone::Strong),
                    Cell::text(checked.connector),
                    Cell::text(word).tone(tone),
                    Cell::text(text),
                ]);
            }
            if all.is_empty() {
                page.line("no connections");
            } else {
                page.grid(grid);
            }
            page
        },
    );
    Ok(all.iter().map(|checked| checked.exit).max().unwrap_or(Exit::Well))
}
