//! `engine discover`: what a system has.

use serde_json::json;

use super::loaded::load;
use super::render::{Cell, Grid, Page, Tone};
use super::wire::Systems;
use super::{Context, Done, Exit, Failure, ProjectPath};
use crate::config::model::Connection;
use crate::connector::{Description, Fault, ObjectSummary};
use crate::diagnostic::{Diagnostics, nearest};
use crate::record::Field;

/// List a connection's objects, or the fields of one of them.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  engine discover mappings/ erp
  engine discover mappings/ erp SA1 --format json")]
pub(super) struct DiscoverArguments {
    /// The project.
    path: ProjectPath,
    /// The connection, by its name under `connections:`.
    connection: String,
    /// The object.
    object: Option<String>,
    /// Print a mapping to start from.
    #[arg(long, hide = true)]
    scaffold: bool,
}

pub(super) async fn discover(arguments: &DiscoverArguments, context: Context<'_>) -> Done {
    if arguments.scaffold {
        return Err(Failure::not_yet("`--scaffold`", "`engine discover PATH CONNECTION OBJECT` lists the fields"));
    }
    let loaded = load(&arguments.path, context.env());
    if loaded.project.connections.is_empty() && loaded.diagnostics.has_errors() {
        context.screen.wrong(&loaded.sorted(), &loaded.project);
        return Ok(Exit::Wrong);
    }
    let names: Vec<String> = loaded.project.connections.iter().map(Connection::full_name).collect();
    let name = super::home::pick(&arguments.connection, names.iter().map(String::as_str))
        .map_err(|_| Failure::unknown("connection", &arguments.connection, names.iter().map(String::as_str)))?;
    let Some(connection) = loaded.project.connections.iter().find(|connection| connection.full_name() == name) else {
        return Err(Failure::unknown("connection", name, []));
    };
    let mut diagnostics = Diagnostics::new();
    let mut systems = Systems::for_looking(&loaded);
    let lead = loaded.lead(connection);
    let failed = |fault: Fault| {
        let help = format!("`engine check {}` looks at every connection", arguments.path.display());
        Failure::of_system(fault, &lead).help(help)
    };
    let Some(connector) = systems.connect(connection, &mut diagnostics).map_err(failed)? else {
        context.screen.wrong(&diagnostics.into_sorted(), &loaded.project);
        return Ok(Exit::Wrong);
    };
    let Some(object) = &arguments.object else {
        let objects = connector.objects().await.map_err(failed)?;
        let entry = |object: &ObjectSummary| json!({ "object": object.name, "kind": object.kind });
        context.screen.answer(
            || json!({ "connection": name, "objects": objects.iter().map(entry).collect::<Vec<_>>() }),
            || list(&objects),
        );
        return Ok(Exit::Well);
    };
    let Some(description) = connector.describe(object).await.map_err(failed)? else {
        let objects = connector.objects().await.map_err(failed)?;
        let failure = Failure::wrong(format!("`{name}` has no object `{object}`"));
        return Err(match nearest(object, objects.iter().map(|object| object.name.as_str())) {
            Some(near) => failure.help(format!("did you mean `{near}`?")),
            None => failure.help(format!("`engine discover {} {name}` lists them", arguments.path.display())),
        });
    };
    context.screen.answer(|| described(name, &description), || page(&description));
    Ok(Exit::Well)
}

fn list(objects: &[ObjectSummary]) -> Page {
    let mut page = Page::new();
    if objects.is_empty() {
        page.line("no objects");
        return page;
    }
    let mut grid = Grid::new(&["object", "kind"]);
    for object in objects {
        grid.row(vec![Cell::text(&object.name).tone(Tone::Strong), Cell::text(&object.kind)]);
    }
    page.grid(grid);
    page
}

fn described(connection: &str, description: &Description) -> serde_json::Value {
    let field = |field: &Field| {
        json!({
            "field": field.name,
            "type": field.kind.name(),
            "native": field.native,
            "key": description.key.iter().any(|key| *key == field.name),
            "nullable": field.nullable,
            "generated": field.generated && !field.has_default,
            "default": field.has_default,
            "read_only": field.read_only,
        })
    };
    json!({
        "connection": connection,
        "object": description.name,
        "fields": description.shape.fields.iter().map(field).collect::<Vec<_>>(),
        "key": description.key,
        "unique": description.unique,
        "can_create": description.can_create,
        "can_update": description.can_update,
        "can_delete": description.can_delete,
        "notes": description.notes,
    })
}

fn page(description: &Description) -> Page {
    let mut page = Page::new();
    page.toned(Tone::Strong, description.name.clone());
    let mut grid = Grid::new(&["field", "holds", "type there", ""]);
    for field in &description.shape.fields {
        let mut words = Vec::new();
        if description.key.iter().any(|key| *key == field.name) {
            words.push("key");
        }
        if !field.nullable {
            words.push("required");
        }
        if field.has_default {
            words.push("default");
        } else if field.generated {
            words.push("given by the system");
        }
        if field.read_only {
            words.push("read only");
        }
        grid.row(vec![
            Cell::text(field.name.as_str()).tone(Tone::Strong),
            Cell::text(field.kind.name()),
            Cell::text(field.native.as_str()),
            Cell::text(words.join(", ")).tone(Tone::Faint),
        ]);
    }
    page.grid(grid);
    let rights =
        [(description.can_create, "create"), (description.can_update, "update"), (description.can_delete, "delete")];
    let may: Vec<&str> = rights.iter().filter(|(may, _)| *may).map(|(_, word)| *word).collect();
    page.gap().line(if may.is_empty() { "we may only read".to_owned() } else { format!("we may {}", may.join(", ")) });
    for note in &description.notes {
        page.line(format!("note: {note}"));
    }
    page
}
