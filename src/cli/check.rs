//! `engine check`: reaches every connection.

use serde_json::json;

use super::loaded::load;
use super::render::{Cell, Grid, Page, Tone};
use super::wire::Systems;
use super::{Context, Done, Exit, ProjectPath};
use crate::connector::Fault;
use crate::diagnostic::{Code, Diagnostics, Place};

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
    outcome: Result<String, Wrong>,
    exit: Exit,
}

/// What is the matter with a connection, and where it stands.
struct Wrong {
    code: Code,
    place: Option<Place>,
    message: String,
}

pub(super) async fn check(arguments: &CheckArguments, context: Context<'_>) -> Done {
    let loaded = load(&arguments.path, context.env());
    if loaded.diagnostics.has_errors() {
        context.screen.wrong(&loaded.sorted(), &loaded.project);
        return Ok(Exit::Wrong);
    }
    let mut systems = Systems::for_looking(&loaded);
    let mut all = Vec::new();
    for connection in loaded.project.connections.iter().filter(|connection| connection.is_enabled()) {
        let mut diagnostics = Diagnostics::new();
        let lead = loaded.lead(connection);
        let told = |fault: Fault| Wrong {
            code: Code::SYSTEM_FAILED,
            place: Some(lead.place.clone()),
            message: match &lead.server {
                Some(server) => format!("{server}: {fault}"),
                None => fault.to_string(),
            },
        };
        let (outcome, exit) = match systems.connect(connection, &mut diagnostics) {
            Ok(Some(connector)) => match connector.check().await {
                Ok(answered) => (Ok(answered), Exit::Well),
                Err(fault) => (Err(told(fault)), Exit::Unreachable),
            },
            Ok(None) => {
                let found = diagnostics.into_sorted();
                let messages: Vec<String> = found.iter().map(|diagnostic| diagnostic.message.clone()).collect();
                let (code, place) =
                    found.first().map_or((Code::BAD_VALUE, None), |first| (first.code, first.place.clone()));
                (Err(Wrong { code, place, message: messages.join("; ") }), Exit::Wrong)
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
                let wrong = checked.outcome.as_ref().err();
                let place = wrong.and_then(|wrong| wrong.place.as_ref());
                json!({
                    "connection": checked.connection,
                    "connector": checked.connector,
                    "ok": checked.outcome.is_ok(),
                    "answered": checked.outcome.as_ref().ok(),
                    "error": wrong.map(|wrong| &wrong.message),
                    "code": wrong.map(|wrong| wrong.code),
                    "file": place.map(|place| place.file.display().to_string()),
                    "line": place.map(Place::line),
                    "column": place.map(Place::column),
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
                    Err(Wrong { code, place, message }) => {
                        let place = place.as_ref().map(|place| format!("{place}: ")).unwrap_or_default();
                        ("failed", Tone::Bad, format!("{code} {place}{message}"))
                    }
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
