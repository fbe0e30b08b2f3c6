//! `engine conflicts`: what waits for a person's decision.

use std::collections::HashMap;
use std::path::Path;

use serde_json::{Map, Value as Json, json};

use super::home::{key_names, mapping_named, open};
use super::keys::KeyNames;
use super::loaded::load;
use super::plan::show;
use super::render::{Cell, Grid, Page, Tone, plural};
use super::report::Places;
use super::run::SideArgument;
use super::wire::Systems;
use super::{Context, Done, Exit, Failure, ProjectPath};
use crate::compile::{FieldProgram, Rejection, compile};
use crate::diagnostic::Diagnostics;
use crate::plan::{IN_DOUBT, Resolution};
use crate::record::json::parse;
use crate::record::{Kind, Side, Value};
use crate::state::{Conflict, ConflictFilter, ConflictStatus, Store};

/// See and decide what was edited on both sides.
///
/// A field that changed on both sides since they last agreed, to values that do not mean the same, is in conflict. Where
/// the policy is `manual` it waits here, and the rest of the record goes on.
#[derive(Debug, clap::Subcommand)]
pub(super) enum ConflictsCommand {
    List(ListArguments),
    Show(ShowArguments),
    Resolve(ResolveArguments),
}

/// List the conflicts that wait for a decision.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  engine conflicts list mappings/
  engine conflicts list mappings/ --mapping customers --field email --format json")]
pub(super) struct ListArguments {
    /// The project.
    path: ProjectPath,
    #[command(flatten)]
    which: Which,
    /// Also those that a policy or a person has decided, and those that closed by themselves.
    #[arg(long)]
    all: bool,
}

/// Which conflicts.
#[derive(Debug, clap::Args)]
struct Which {
    /// Only those of this mapping.
    #[arg(long, value_name = "NAME")]
    mapping: Option<String>,
    /// Only those of this field, by its target path.
    #[arg(long, value_name = "FIELD")]
    field: Option<String>,
}

/// Show one conflict with everything that is known of it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  engine conflicts show mappings/ 17")]
pub(super) struct ShowArguments {
    /// The project.
    path: ProjectPath,
    /// The conflict's id, as `list` shows it.
    id: String,
}

/// Decide conflicts; the next run applies it.
///
/// A decision holds for the values it was made for: if one of them moves before the run, the conflict is shown again.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  engine conflicts resolve mappings/ 17 18 --take source
  engine conflicts resolve mappings/ --mapping customers --field email --take target
  engine conflicts resolve mappings/ 17 --value '\"ana@example.com\"'")]
pub(super) struct ResolveArguments {
    /// The project.
    path: ProjectPath,
    /// The conflicts' ids, as `list` shows them. Or select by `--mapping` and `--field`.
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    #[command(flatten)]
    which: Which,
    /// Whose value is right.
    #[arg(long, value_enum, value_name = "SIDE", conflicts_with = "value")]
    take: Option<SideArgument>,
    /// The right value as JSON, as the target shows it.
    #[arg(long, value_name = "JSON", allow_hyphen_values = true)]
    value: Option<String>,
}

pub(super) async fn conflicts(command: &ConflictsCommand, context: Context<'_>) -> Done {
    match command {
        ConflictsCommand::List(arguments) => list(arguments, context).await,
        ConflictsCommand::Show(arguments) => self::show_one(arguments, context).await,
        ConflictsCommand::Resolve(arguments) => resolve(arguments, context).await,
    }
}

async fn filter(
    store: &dyn Store,
    path: &Path,
    which: &Which,
    open: bool,
    context: Context<'_>,
) -> Result<ConflictFilter, Failure> {
    let mapping = match &which.mapping {
        Some(name) => Some(mapping_named(store, name).await?),
        None => None,
    };
    let filter = ConflictFilter { mapping, field: which.field.clone(), ..ConflictFilter::default() };
    if let Some(field) = &which.field
        && store.conflicts(&filter).await?.is_empty()
    {
        refuse_unknown(field, filter.mapping.as_deref(), path, context)?;
    }
    Ok(ConflictFilter { open, ..filter })
}

/// A field that no mapping has and no conflict ever had is mistyped, unless the
/// YAML is being edited.
fn refuse_unknown(field: &str, mapping: Option<&str>, path: &Path, context: Context<'_>) -> Result<(), Failure> {
    let loaded = load(path, context.env());
    if field == "*" || loaded.diagnostics.has_errors() {
        return Ok(());
    }
    let mappings = loaded.project.mappings.iter().filter(|known| mapping.is_none_or(|name| known.full_name == name));
    let places: Vec<Places> = mappings.map(Places::of).collect();
    let fields = || places.iter().flat_map(|places| &places.fields).map(|(name, _)| name.as_str());
    if fields().any(|known| known == field) { Ok(()) } else { Err(Failure::unknown("field", field, fields())) }
}

async fn list(arguments: &ListArguments, context: Context<'_>) -> Done {
    let store = open(context, &arguments.path).await?;
    let found =
        store.conflicts(&filter(&*store, &arguments.path, &arguments.which, !arguments.all, context).await?).await?;
    let names = names(&*store, found.iter().map(|conflict| conflict.mapping.as_str())).await?;
    let path = arguments.path.display();
    context.screen.answer(
        || json!({ "conflicts": found.iter().map(|conflict| conflict_json(conflict, &names)).collect::<Vec<_>>() }),
        || {
            let mut page = Page::new();
            if found.is_empty() {
                page.line("no conflicts");
                return page;
            }
            let mut grid = Grid::new(&["id", "mapping", "record", "field", "source", "target", "policy", "status"]);
            for conflict in &found {
                let (status, tone) = status_word(conflict);
                grid.row(vec![
                    Cell::text(conflict.id.to_string()).tone(Tone::Strong),
                    Cell::text(&conflict.mapping),
                    Cell::text(format!("{} <-> {}", conflict.keys.source, conflict.keys.target)),
                    Cell::text(&conflict.field),
                    Cell::text(show(&conflict.values.source)),
                    Cell::text(show(&conflict.values.target)),
                    Cell::text(conflict.policy.as_str()),
                    Cell::text(status).tone(tone),
                ]);
            }
            page.grid(grid);
            if found.iter().any(|conflict| conflict.status == ConflictStatus::Open && conflict.resolution.is_none()) {
                page.gap().toned(
                    Tone::Faint,
                    format!("decide with `engine conflicts resolve {path} ID… --take source|target` or `--value JSON`"),
                );
            }
            page
        },
    );
    Ok(Exit::Well)
}

async fn show_one(arguments: &ShowArguments, context: Context<'_>) -> Done {
    let store = open(context, &arguments.path).await?;
    let found = by_ids(&*store, std::slice::from_ref(&arguments.id)).await?;
    let Some(conflict) = found.first() else { return Err(no_conflict(&arguments.id)) };
    let names = names(&*store, [conflict.mapping.as_str()]).await?;
    context.screen.answer(
        || json!({ "conflicts": [conflict_json(conflict, &names)] }),
        || {
            let mut page = Page::new();
            let (status, tone) = status_word(conflict);
            page.spans([
                (Tone::Strong, format!("{} {}", conflict.mapping, conflict.field)),
                (Tone::Plain, format!("  {} <-> {}  ", conflict.keys.source, conflict.keys.target)),
                (tone, status),
            ]);
            let mut grid = Grid::new(&["", "source", "target"]);
            let base = |side: Side| match &conflict.bases {
                None if conflict.field == "*" => "both stood".to_owned(),
                None => "(never agreed)".to_owned(),
                Some(bases) if *bases == IN_DOUBT => "(in doubt: a write has no answer)".to_owned(),
                Some(bases) => bases[side].to_json().to_string(),
            };
            grid.row(vec![
                Cell::text("when both agreed"),
                Cell::text(base(Side::Source)),
                Cell::text(base(Side::Target)),
            ]);
            let now = |side: Side| Cell::text(conflict.values[side].to_json().to_string());
            let when = if conflict.status == ConflictStatus::Open { "now" } else { "before it ended" };
            grid.row(vec![Cell::text(when), now(Side::Source), now(Side::Target)]);
            page.grid(grid);
            page.line(format!(
                "policy {}, last seen {}",
                conflict.policy.as_str(),
                conflict.at.format("%Y-%m-%d %H:%M:%S UTC")
            ));
            page
        },
    );
    Ok(Exit::Well)
}

async fn resolve(arguments: &ResolveArguments, context: Context<'_>) -> Done {
    let resolution = match (&arguments.take, &arguments.value) {
        (Some(side), _) => Resolution::Take((*side).into()),
        (None, Some(text)) => Resolution::Value(exact(text)?),
        (None, None) => return Err(Failure::wrong("say `--take source`, `--take target` or `--value JSON`")),
    };
    let selects = arguments.which.mapping.is_some() || arguments.which.field.is_some();
    if arguments.ids.is_empty() && !selects {
        return Err(Failure::wrong("which conflicts? none is named")
            .help("name their ids, or select them with `--mapping` and `--field`"));
    }
    let store = open(context, &arguments.path).await?;
    let found = if arguments.ids.is_empty() {
        store.conflicts(&filter(&*store, &arguments.path, &arguments.which, true, context).await?).await?
    } else {
        let found = by_ids(&*store, &arguments.ids).await?;
        let selected = filter(&*store, &arguments.path, &arguments.which, false, context).await?;
        let other = found.iter().find(|conflict| {
            selected.mapping.as_ref().is_some_and(|mapping| *mapping != conflict.mapping)
                || selected.field.as_ref().is_some_and(|field| *field != conflict.field)
        });
        if let Some(other) = other {
            let message = format!("conflict {} is one of `{}`, field `{}`", other.id, other.mapping, other.field);
            return Err(Failure::wrong(message).help("leave `--mapping` and `--field` out, or the id"));
        }
        found
    };
    if let Some(closed) = found.iter().find(|conflict| conflict.status != ConflictStatus::Open) {
        let message = format!("conflict {} is not open any more", closed.id);
        return Err(Failure::wrong(message).help("`engine conflicts list` shows those that are"));
    }
    if let Some(whole) = found.iter().find(|conflict| conflict.field == "*")
        && matches!(resolution, Resolution::Value(_))
    {
        let message = format!("conflict {} is of a whole record, deleted here and changed there", whole.id);
        return Err(Failure::wrong(message).help("decide it with `--take source` or `--take target`"));
    }
    if let Resolution::Value(value) = &resolution
        && let Some((conflict, why)) = found.iter().find_map(|conflict| Some((conflict, misfit(conflict, value)?)))
    {
        let message = format!("{why}, which `{}` of conflict {} holds", conflict.field, conflict.id);
        return Err(Failure::wrong(message).help("give the value as the target shows it"));
    }
    if let Resolution::Value(value) = &resolution {
        refuse_unfit(&arguments.path, &found, value, context).await?;
    }
    let ids: Vec<i64> = found.iter().map(|conflict| conflict.id).collect();
    let count = store.resolve(&ids, Some(&resolution)).await?;
    context.screen.answer(
        || json!({ "resolved": count, "ids": ids.iter().map(ToString::to_string).collect::<Vec<_>>() }),
        || {
            let mut page = Page::new();
            match count {
                0 => page.line("no open conflict fits"),
                count => page.line(format!("{} decided; the next run applies it", plural(count, "conflict"))),
            };
            page
        },
    );
    Ok(Exit::Well)
}

/// Why a value is of another nature than those the target has shown, as far as
/// these tell; the run knows the field's own type.
fn misfit(conflict: &Conflict, value: &Value) -> Option<String> {
    let shown = [Some(&conflict.values.target), conflict.bases.as_ref().map(|bases| &bases.target)];
    let kind = |shown: &Value| {
        Some(match shown {
            Value::Boolean(_) => Kind::Boolean,
            Value::Integer(_) | Value::Decimal(_) => Kind::Decimal { precision: None, scale: None },
            Value::Float(_) => Kind::Float { bits: 64 },
            Value::Date(_) => Kind::Date,
            Value::Time(_) => Kind::Time { digits: 9 },
            Value::LocalTime(_) => Kind::LocalTime { digits: 9 },
            Value::Instant(_) => Kind::Instant { digits: 9 },
            Value::Interval(_) => Kind::Interval,
            _ => return None,
        })
    };
    let mut kinds = shown.into_iter().flatten().filter_map(kind);
    let first = kinds.next()?;
    // A document may hold now this, now that.
    if kinds.any(|other| other != first) {
        return None;
    }
    first.fit(value.clone()).err().map(|misfit| misfit.message)
}

/// Refuses a value that its field cannot hold on one of the sides, as their
/// systems tell. Where they cannot be asked, the run that applies it finds out.
async fn refuse_unfit(path: &Path, found: &[Conflict], value: &Value, context: Context<'_>) -> Result<(), Failure> {
    let loaded = load(path, context.env());
    if loaded.diagnostics.has_errors() {
        return Ok(());
    }
    let mut systems = Systems::for_looking(&loaded);
    let mut unsaid = Diagnostics::new();
    let mut programs = HashMap::new();
    for conflict in found {
        let name = conflict.mapping.as_str();
        if !programs.contains_key(name) {
            let mut program = None;
            if let Some(mapping) = loaded.project.mapping(name)
                && let Ok(described) = systems.describe(mapping, None, &mut unsaid).await
            {
                let described = described.as_ref().map(|(_, description)| Some(description));
                program = compile(mapping, described, &mut unsaid).map(|compiled| compiled.program);
            }
            programs.insert(name, program);
        }
        let program = programs.get(name).and_then(Option::as_ref);
        let field = program.and_then(|program| program.fields.iter().find(|field| field.name == conflict.field));
        let Some((side, rejection)) = field.and_then(|field| unfit(field, value)) else { continue };
        let message = format!(
            "`{}` of conflict {} cannot hold that on the {side}: {}",
            conflict.field, conflict.id, rejection.message
        );
        return Err(Failure::wrong(message).help("give a value that fits, as the target shows it"));
    }
    Ok(())
}

/// The side that a value cannot come to, and why.
fn unfit(field: &FieldProgram, value: &Value) -> Option<(Side, Rejection)> {
    let fitted = if field.writes(Side::Target) { field.fit(Side::Target, value.clone()) } else { Ok(value.clone()) };
    let value = match fitted {
        Ok(value) => value,
        Err(rejection) => return Some((Side::Target, rejection)),
    };
    if !field.writes(Side::Source) {
        return None;
    }
    field.convert(Side::Source, &value).err().map(|rejection| (Side::Source, rejection))
}

/// A value exactly as written: `19.90` stays so.
fn exact(text: &str) -> Result<Value, Failure> {
    parse(text).ok_or_else(|| {
        Failure::wrong(format!("`{text}` is not JSON"))
            .help(format!("a text stands in double quotes: `--value '{}'`", Json::String(text.to_owned())))
    })
}

/// The conflicts of these ids, each of which there has to be.
async fn by_ids(store: &dyn Store, ids: &[String]) -> Result<Vec<Conflict>, Failure> {
    let mut numbers = Vec::with_capacity(ids.len());
    for id in ids {
        // As `engine parked list` shows it among other things that are owed.
        let number = id.strip_prefix('c').unwrap_or(id).parse::<i64>().map_err(|_| no_conflict(id))?;
        numbers.push(number);
    }
    let found = store.conflicts(&ConflictFilter { ids: numbers.clone(), ..ConflictFilter::default() }).await?;
    match numbers.iter().position(|number| found.iter().all(|conflict| conflict.id != *number)) {
        Some(missing) => Err(no_conflict(&ids[missing])),
        None => Ok(found),
    }
}

fn no_conflict(id: &str) -> Failure {
    Failure::wrong(format!("there is no conflict `{id}`")).help("`engine conflicts list` shows their ids")
}

/// Key names of every mapping that is spoken of.
pub(super) async fn names<'a>(
    store: &dyn Store,
    mappings: impl IntoIterator<Item = &'a str>,
) -> Result<HashMap<String, KeyNames>, Failure> {
    let mut names = HashMap::new();
    for mapping in mappings {
        if !names.contains_key(mapping) {
            names.insert(mapping.to_owned(), key_names(store, mapping).await?);
        }
    }
    Ok(names)
}

fn status_word(conflict: &Conflict) -> (String, Tone) {
    match (conflict.status, &conflict.resolution) {
        (ConflictStatus::Open, None) => ("open".to_owned(), Tone::Warn),
        (ConflictStatus::Open, Some(Resolution::Take(side))) => (format!("open, {side} with the next run"), Tone::Good),
        (ConflictStatus::Open, Some(Resolution::Value(value))) => {
            (format!("open, {} with the next run", show(value)), Tone::Good)
        }
        (ConflictStatus::Decided, _) => ("decided".to_owned(), Tone::Faint),
        (ConflictStatus::Resolved, _) => ("resolved".to_owned(), Tone::Faint),
        (ConflictStatus::Closed, _) => ("closed".to_owned(), Tone::Faint),
    }
}

/// A conflict with its place in a mapping and its life.
fn conflict_json(conflict: &Conflict, names: &HashMap<String, KeyNames>) -> Json {
    let unknown = KeyNames::default();
    let names = names.get(&conflict.mapping).unwrap_or(&unknown);
    let resolution = conflict.resolution.as_ref().map(|resolution| match resolution {
        Resolution::Take(side) => json!({ "take": side }),
        Resolution::Value(value) => json!({ "value": value.to_json() }),
    });
    let mut told = Map::new();
    told.insert("id".into(), json!(conflict.id.to_string()));
    told.insert("mapping".into(), json!(conflict.mapping));
    told.extend(dispute(conflict, names));
    told.insert("status".into(), json!(conflict.status));
    told.insert("resolution".into(), json!(resolution));
    told.insert("at".into(), json!(conflict.at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)));
    Json::Object(told)
}

/// What two sides disagree on.
pub(super) fn dispute(conflict: &Conflict, names: &KeyNames) -> Map<String, Json> {
    let base = |side: Side| conflict.bases.as_ref().map(|bases| bases[side].to_json());
    let told = [
        ("source_key", json!(names.json(Side::Source, Some(&conflict.keys.source)))),
        ("target_key", json!(names.json(Side::Target, Some(&conflict.keys.target)))),
        ("field", json!(conflict.field)),
        ("source_base", json!(base(Side::Source))),
        ("target_base", json!(base(Side::Target))),
        ("source", conflict.values.source.to_json()),
        ("target", conflict.values.target.to_json()),
        ("policy", json!(conflict.policy.as_str())),
    ];
    told.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
