//! `engine trace`: the story of one record.

use serde_json::{Value as Json, json};

use super::home::{key_names, mapping_named, open};
use super::keys::{KeyNames, candidates};
use super::render::{Cell, Grid, Page, Tone};
use super::run::SideArgument;
use super::{Context, Done, Exit, Failure, ProjectPath};
use crate::plan::{Bases, Link, LinkStatus};
use crate::record::{Both, Key, Side};
use crate::state::{EventRecord, MappingState, Store};

/// Tell the story of one record: every decision, and why.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  engine trace mappings/ customers A1_COD=000001,A1_LOJA=01
  engine trace mappings/ customers 42 --side target --format json")]
pub(super) struct TraceArguments {
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

pub(super) async fn trace(arguments: &TraceArguments, context: Context<'_>) -> Done {
    let store = open(context, &arguments.path).await?;
    let mapping = mapping_named(&*store, &arguments.mapping).await?;
    let names = key_names(&*store, &mapping).await?;
    let known = known(&*store, &mapping, &names, arguments.side.into(), &arguments.key).await?;
    let state = store.mapping(&mapping).await?.unwrap_or_default();
    context.screen.answer(|| json(&mapping, &known, &names, &state), || page(&mapping, &known, &names, &state));
    Ok(Exit::Well)
}

/// What is known of the record of a key as it was typed.
async fn known(store: &dyn Store, mapping: &str, names: &KeyNames, side: Side, typed: &str) -> Result<Known, Failure> {
    let keys = candidates(&names.parse(side, typed)?);
    if let Some(known) = find(store, mapping, side, &keys).await? {
        return Ok(known);
    }
    let message = format!("`{mapping}` has never seen a {side} record with the key `{typed}`");
    let help = match names.stranger(side, typed) {
        Some(stranger) => {
            let fields: Vec<&str> = names.of_side(side).iter().map(String::as_str).collect();
            format!("`{stranger}` is no key field of the {side}, whose key is {}", crate::diagnostic::quoted(&fields))
        }
        None => format!("`--side {}` takes a key of the {}", side.other(), side.other()),
    };
    Err(Failure::wrong(message).help(help))
}

/// The keys of the record of a key as it was typed, as far as the state knows
/// them.
pub(super) async fn seen(
    store: &dyn Store,
    mapping: &str,
    side: Side,
    typed: &str,
) -> Result<Both<Option<Key>>, Failure> {
    let names = key_names(store, mapping).await?;
    let Known { link, events } = known(store, mapping, &names, side, typed).await?;
    let of_events = |of: Side| events.iter().find_map(|event| event.keys[of].clone());
    Ok(match link {
        Some(link) => link.keys.map(Some),
        None => Both::from_fn(of_events),
    })
}

/// What is stored of one record.
struct Known {
    link: Option<Link>,
    events: Vec<EventRecord>,
}

/// What is known of the record that these keys may mean. One that its system
/// pads with blanks is found without them.
async fn find(store: &dyn Store, mapping: &str, side: Side, keys: &[Key]) -> Result<Option<Known>, Failure> {
    if let Some(known) = find_exactly(store, mapping, side, keys).await? {
        return Ok(Some(known));
    }
    let mut padded = Vec::new();
    for key in keys {
        padded.extend(store.padded_keys(mapping, side, key).await?);
    }
    match padded.as_slice() {
        [] => Ok(None),
        [one] => find_exactly(store, mapping, side, std::slice::from_ref(one)).await,
        several => {
            let written: Vec<&str> = several.iter().map(Key::as_str).collect();
            let message = format!("the key may be one of {}", crate::diagnostic::quoted(&written));
            Err(Failure::wrong(message).help("write it with its blanks, in double quotes"))
        }
    }
}

/// The first of the keys that something is known of.
async fn find_exactly(store: &dyn Store, mapping: &str, side: Side, keys: &[Key]) -> Result<Option<Known>, Failure> {
    let links = store.links(mapping, side, keys).await?;
    for (key, link) in keys.iter().zip(links) {
        let mut events = store.events(mapping, side, key).await?;
        // Some facts are told under the other side's key only: those before the pair was known.
        if let Some(link) = &link {
            for event in store.events(mapping, side.other(), &link.keys[side.other()]).await? {
                if !events.contains(&event) {
                    events.push(event);
                }
            }
            events.sort_by_key(|event| event.at);
        }
        if link.is_some() || !events.is_empty() {
            return Ok(Some(Known { link, events }));
        }
    }
    Ok(None)
}

fn json(mapping: &str, known: &Known, names: &KeyNames, state: &MappingState) -> Json {
    let keyed = |side: Side, key: Option<&Key>| names.json(side, key);
    let link = known.link.as_ref().map(|link| {
        json!({
            "source_key": keyed(Side::Source, Some(&link.keys.source)),
            "target_key": keyed(Side::Target, Some(&link.keys.target)),
            "status": if link.status == LinkStatus::Linked { "linked" } else { "severed" },
            "revision": link.revision,
            "writes": writes(known),
            "origin": origin(known, link),
            "bases": bases(link, state).into_iter().map(|(field, source, target)| json!({
                "field": field, "source": source, "target": target,
            })).collect::<Vec<_>>(),
        })
    });
    let event = |event: &EventRecord| {
        json!({
            "at": event.at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
            "run": event.run,
            "kind": event.kind,
            "source_key": keyed(Side::Source, event.keys.source.as_ref()),
            "target_key": keyed(Side::Target, event.keys.target.as_ref()),
            "detail": event.detail,
        })
    };
    json!({ "mapping": mapping, "link": link, "events": known.events.iter().map(event).collect::<Vec<_>>() })
}

/// How the pair came to be. A state from before creates were told has links
/// that were never adopted, and have a revision all the same.
fn origin(known: &Known, link: &Link) -> &'static str {
    match known.events.iter().any(|event| event.kind == "adopted") {
        true => "adopted",
        false if link.revision > 0 => "created",
        false => "imported",
    }
}

/// How often the engine has written one of the two records.
fn writes(known: &Known) -> u64 {
    let wrote = |event: &&EventRecord| match event.kind.as_str() {
        "created" | "updated" | "deleted" => true,
        // A create that was found in effect is told as one, too.
        "recovered" => event.detail["applied"] == true && !known.events.iter().any(|other| made_by(other, event)),
        _ => false,
    };
    known.events.iter().filter(wrote).count() as u64
}

/// Whether one event tells of the create that the other has found in effect.
fn made_by(create: &EventRecord, found: &EventRecord) -> bool {
    create.kind == EventRecord::CREATED && create.run == found.run
}

/// Each field of a link with the values that both sides last agreed on; nulls
/// where only a digest is kept, or nothing was agreed.
fn bases(link: &Link, state: &MappingState) -> Vec<(String, Json, Json)> {
    let Some(layout) = state.layouts.iter().find(|layout| layout.id == link.layout) else { return Vec::new() };
    let of = |(index, field): (usize, &crate::state::LayoutField)| {
        let values = if index < link.bases.len() { link.bases.values(index) } else { None };
        let json = |side: Side| values.map_or(Json::Null, |values| values[side].to_json());
        (field.id.trim().to_owned(), json(Side::Source), json(Side::Target))
    };
    layout.fields.iter().enumerate().map(of).collect()
}

fn page(mapping: &str, known: &Known, names: &KeyNames, state: &MappingState) -> Page {
    let mut page = Page::new();
    if let Some(link) = &known.link {
        let status = match link.status {
            LinkStatus::Linked => "linked".to_owned(),
            LinkStatus::Severed { gone } => format!("severed: the {gone} record is gone"),
        };
        page.spans([
            (Tone::Strong, mapping.to_owned()),
            (
                Tone::Plain,
                format!(
                    "  {} <-> {}  ",
                    names.json(Side::Source, Some(&link.keys.source)),
                    names.json(Side::Target, Some(&link.keys.target))
                ),
            ),
            (Tone::Faint, format!("{status}, written {}", super::render::plural(writes(known), "time"))),
        ]);
        page.line(match origin(known, link) {
            "adopted" => "both records were there, and were found to be the same one",
            "created" => "one was created from the other by the engine",
            _ => "the link was imported",
        });
        page.gap();
        if matches!(link.bases, Bases::Values(_)) {
            let mut grid = Grid::new(&["field", "source, when both agreed", "target"]);
            for (field, source, target) in bases(link, state) {
                grid.row(vec![Cell::text(field), Cell::text(source.to_string()), Cell::text(target.to_string())]);
            }
            page.grid(grid).gap();
        }
    } else {
        page.line(format!("{mapping}: the record has no link")).gap();
    }
    let mut run = "";
    for event in &known.events {
        if event.run != run {
            run = &event.run;
            page.toned(Tone::Faint, format!("run {run}"));
        }
        let tone = match event.kind.as_str() {
            "created" | "updated" | "adopted" => Tone::Good,
            "deleted" | "severed" | "forgotten" => Tone::Bad,
            kind if kind.starts_with("conflict") || kind == "parked" || kind == "delete_held" => Tone::Warn,
            _ => Tone::Plain,
        };
        page.spans([
            (Tone::Faint, format!("  {}  ", event.at.format("%Y-%m-%d %H:%M:%S UTC"))),
            (tone, event.kind.replace('_', " ")),
            (Tone::Plain, headline(event)),
        ]);
        for line in details(event) {
            page.line(format!("      {line}"));
        }
    }
    if known.events.is_empty() {
        page.line("nothing has happened to it since");
    }
    page
}

fn text(value: &Json) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn headline(event: &EventRecord) -> String {
    let detail = &event.detail;
    match event.kind.as_str() {
        "created" | "updated" | "deleted" | "delete_spooled" | "delete_held" | "recovered" => {
            format!(" on the {}", text(&detail["side"]))
        }
        "rekeyed" => {
            format!(" on the {}: {} -> {}", text(&detail["side"]), text(&detail["before"]), text(&detail["after"]))
        }
        "severed" => format!(": gone on the {}", text(&detail["gone"])),
        "parked" => format!(" as {}: {}", text(&detail["reason"]), text(&detail["message"])),
        kind if kind.starts_with("conflict") => {
            let taken = match &detail["taken"] {
                Json::Null => String::new(),
                Json::String(side) => format!(": the value of the {side} was taken"),
                other => format!(": {} was taken", other["value"]),
            };
            let dropped = if detail["dropped"].is_null() { "" } else { "; what was decided about it was not applied" };
            format!(" in {}, policy {}{taken}{dropped}", text(&detail["field"]), text(&detail["policy"]))
        }
        _ => String::new(),
    }
}

fn details(event: &EventRecord) -> Vec<String> {
    let detail = &event.detail;
    if event.kind.starts_with("conflict") {
        let base = |side: &str| match &detail[format!("{side}_base").as_str()] {
            Json::Null => String::new(),
            base => format!(" (was {base})"),
        };
        return vec![
            format!("source {}{}", detail["source"], base("source")),
            format!("target {}{}", detail["target"], base("target")),
        ];
    }
    let fields = detail["fields"].as_array().map_or(&[][..], Vec::as_slice);
    fields
        .iter()
        .map(|field| {
            let policy =
                field["policy"].as_str().map(|policy| format!("  (in conflict: {policy})")).unwrap_or_default();
            match &field["before"] {
                Json::Null => format!("{}: {}{policy}", text(&field["field"]), field["after"]),
                before => format!("{}: {before} -> {}{policy}", text(&field["field"]), field["after"]),
            }
        })
        .collect()
}
