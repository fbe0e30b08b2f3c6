//! `engine discover`: what a system has.

use std::path::Path;
use std::sync::Arc;

use serde_json::json;

use super::home::pick;
use super::loaded::{Loaded, load};
use super::render::{Cell, Grid, Page, Tone};
use super::scaffold::{Half, alike, scaffold};
use super::wire::Systems;
use super::{Context, Done, Exit, Failure, ProjectPath};
use crate::config::model::Connection;
use crate::connector::{Connector, Description, Fault, ObjectSummary};
use crate::diagnostic::{Diagnostics, nearest};
use crate::record::{Both, Field};

/// List a connection's objects, or the fields of one of them.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  engine discover mappings/ erp
  engine discover mappings/ erp SA1 --format json
  engine discover mappings/ erp SA1 --scaffold --to shop customers > mappings/customers.yaml")]
pub(super) struct DiscoverArguments {
    /// The project.
    path: ProjectPath,
    /// The connection, by its name under `connections:`.
    connection: String,
    /// The object.
    object: Option<String>,
    /// Print a mapping from this object to start from. Its fields are paired with those that are most alike.
    #[arg(long, requires = "object")]
    scaffold: bool,
    /// With `--scaffold`: the other side, a connection and its object. Default: the object that is most alike, of all
    /// other connections of the project.
    #[arg(long, num_args = 1..=2, value_names = ["CONNECTION", "OBJECT"], requires = "scaffold")]
    to: Vec<String>,
}

pub(super) async fn discover(arguments: &DiscoverArguments, context: Context<'_>) -> Done {
    let loaded = load(&arguments.path, context.env());
    if loaded.project.connections.is_empty() && loaded.diagnostics.has_errors() {
        context.screen.wrong(&loaded.sorted(), &loaded.project);
        return Ok(Exit::Wrong);
    }
    let mut look = Look::new(&arguments.path, &loaded, context);
    let connection = look.connection(&arguments.connection)?;
    let Some(system) = look.connect(connection)? else { return Ok(Exit::Wrong) };
    let name = connection.full_name();
    let Some(object) = &arguments.object else {
        let objects = look.objects(connection, &*system).await?;
        let entry = |object: &ObjectSummary| json!({ "object": object.name, "kind": object.kind });
        context.screen.answer(
            || json!({ "connection": name, "objects": objects.iter().map(entry).collect::<Vec<_>>() }),
            || list(&objects),
        );
        return Ok(Exit::Well);
    };
    let description = look.describe(connection, &*system, object).await?;
    if !arguments.scaffold {
        context.screen.answer(|| described(&name, &description), || page(&description));
        return Ok(Exit::Well);
    }
    let Some((other, other_object, its)) = look.counterpart(connection, &description, &arguments.to).await? else {
        return Ok(Exit::Wrong);
    };
    let other_name = other.full_name();
    let halves = Both::new(
        Half { connection: &name, object, description: &description },
        Half { connection: &other_name, object: &other_object, description: &its },
    );
    let Some(text) = scaffold(&halves) else {
        let message = format!("no field of `{object}` is like one of `{other_object}`");
        return Err(Failure::wrong(message).help("name the other side with `--to CONNECTION OBJECT`"));
    };
    if context.screen.takes_json() {
        let target = json!({ "connection": other_name, "object": other_object });
        context.screen.answer(
            || json!({ "source": { "connection": name, "object": object }, "target": target, "mapping": text }),
            Page::new,
        );
    } else {
        context.screen.raw(&text);
    }
    Ok(Exit::Well)
}

/// So many objects of a connection are looked at to find the one that is most
/// alike; of more, those whose names are.
const LOOKED_AT: usize = 40;

/// The systems of a project that are looked at.
pub(super) struct Look<'a> {
    path: &'a Path,
    loaded: &'a Loaded,
    systems: Systems<'a>,
    context: Context<'a>,
}

impl<'a> Look<'a> {
    pub(super) fn new(path: &'a Path, loaded: &'a Loaded, context: Context<'a>) -> Look<'a> {
        Look { path, loaded, systems: Systems::for_looking(loaded), context }
    }

    pub(super) fn connection(&self, named: &str) -> Result<&'a Connection, Failure> {
        let connections = &self.loaded.project.connections;
        let names: Vec<String> = connections.iter().map(Connection::full_name).collect();
        let name = pick(named, names.iter().map(String::as_str))
            .map_err(|_| Failure::unknown("connection", named, names.iter().map(String::as_str)))?;
        let found = connections.iter().find(|connection| connection.full_name() == name);
        found.ok_or_else(|| Failure::unknown("connection", name, []))
    }

    /// `None` where its settings are wrong, which is then said.
    pub(super) fn connect(&mut self, connection: &Connection) -> Result<Option<Arc<dyn Connector>>, Failure> {
        let mut diagnostics = Diagnostics::new();
        let opened = self.systems.connect(connection, &mut diagnostics);
        let opened = opened.map_err(|fault| self.failed(connection, fault))?;
        if opened.is_none() {
            self.context.screen.wrong(&diagnostics.into_sorted(), &self.loaded.project);
        }
        Ok(opened)
    }

    pub(super) async fn objects(
        &self,
        connection: &Connection,
        system: &dyn Connector,
    ) -> Result<Vec<ObjectSummary>, Failure> {
        system.objects().await.map_err(|fault| self.failed(connection, fault))
    }

    pub(super) async fn describe(
        &self,
        connection: &Connection,
        system: &dyn Connector,
        object: &str,
    ) -> Result<Description, Failure> {
        let described = system.describe(object).await.map_err(|fault| self.failed(connection, fault))?;
        if let Some(description) = described {
            return Ok(description);
        }
        let objects = self.objects(connection, system).await?;
        let name = connection.full_name();
        let failure = Failure::wrong(format!("`{name}` has no object `{object}`"));
        Err(match nearest(object, objects.iter().map(|object| object.name.as_str())) {
            Some(near) => failure.help(format!("did you mean `{near}`?")),
            None => failure.help(format!("`engine discover {} {name}` lists them", self.path.display())),
        })
    }

    /// The other side of a mapping: as it is named, else the object that is
    /// most alike. `None` where a connection's settings are wrong, which is
    /// then said.
    pub(super) async fn counterpart(
        &mut self,
        own: &Connection,
        description: &Description,
        named: &[String],
    ) -> Result<Option<(&'a Connection, String, Description)>, Failure> {
        let others: Vec<&Connection> = match named.first() {
            Some(name) => vec![self.connection(name)?],
            None => self.loaded.project.connections.iter().filter(|other| !std::ptr::eq(*other, own)).collect(),
        };
        let mut best: Option<(f64, &Connection, String, Description)> = None;
        for other in others {
            let Some(system) = self.connect(other)? else { return Ok(None) };
            if let Some(object) = named.get(1) {
                return Ok(Some((other, object.clone(), self.describe(other, &*system, object).await?)));
            }
            let mut objects = self.objects(other, &*system).await?;
            let by_name = |object: &ObjectSummary| strsim::jaro_winkler(&object.name, &description.name);
            objects.sort_by(|a, b| by_name(b).total_cmp(&by_name(a)));
            for object in objects.into_iter().take(LOOKED_AT) {
                let Ok(Some(its)) = system.describe(&object.name).await else { continue };
                let likeness = alike(&description.shape, &its.shape);
                let is_itself = its.identity == description.identity && its.name == description.name;
                if !is_itself && best.as_ref().is_none_or(|(most, ..)| likeness > *most) {
                    best = Some((likeness, other, object.name, its));
                }
            }
        }
        let Some((_, other, object, its)) = best else {
            let message = "there is no other object to map to";
            let help = "name it with `--to CONNECTION OBJECT`; its connection stands in the project's files";
            return Err(Failure::wrong(message).help(help));
        };
        Ok(Some((other, object, its)))
    }

    fn failed(&self, connection: &Connection, fault: Fault) -> Failure {
        let help = format!("`engine check {}` looks at every connection", self.path.display());
        Failure::of_system(fault, &self.loaded.lead(connection)).help(help)
    }
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
