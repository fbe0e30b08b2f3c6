//! A mapping to start from: which fields of two objects are likely the same.
//!
//! It is a guess, and says so: each pair carries how alike the two are, and
//! what cannot be is left as a comment with the reason.

mod likeness;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use crate::compile::compile;
use crate::config::mapping_of;
use crate::connector::Description;
use crate::diagnostic::{Diagnostics, Severity};
use crate::record::{Both, Field, Kind, Side};

pub(super) use likeness::{Pair, alike, pairs};

/// One side of the mapping to be.
pub(super) struct Half<'a> {
    /// The connection's name.
    pub connection: &'a str,
    /// The object, as it is written in `object:`.
    pub object: &'a str,
    pub description: &'a Description,
}

/// A line of `fields`.
struct Line {
    entry: String,
    likeness: f64,
    /// Why it cannot be, where it cannot.
    fault: Option<String>,
}

/// The mapping as YAML; `None` where no two fields are alike enough. What
/// `engine validate` would refuse of it is left out as a comment.
pub(super) fn scaffold(halves: &Both<Half<'_>>) -> Option<String> {
    let shapes = halves.as_ref().map(|half| &half.description.shape);
    let pairs = pairs(shapes.source, shapes.target);
    let mut lines: Vec<Line> = pairs
        .iter()
        .map(|pair| {
            let (source, target) = (&shapes.source.fields[pair.source], &shapes.target.fields[pair.target]);
            Line { entry: entry(source, target), likeness: pair.likeness, fault: None }
        })
        .collect();
    // Each round takes at least one line out.
    while lines.iter().any(|line| line.fault.is_none()) {
        let text = text(halves, &pairs, &lines);
        let faults = faults(halves, &text);
        let first = text.lines().take_while(|line| *line != "fields:").count() + 2;
        let mut is_sound = true;
        for (position, line) in lines.iter_mut().enumerate() {
            if let Some(fault) = faults.get(&u32::try_from(first + position).ok()?).filter(|_| line.fault.is_none()) {
                line.fault = Some(fault.clone());
                is_sound = false;
            }
        }
        if is_sound {
            return Some(text);
        }
    }
    None
}

/// What is wrong with a draft, by line.
fn faults(halves: &Both<Half<'_>>, text: &str) -> BTreeMap<u32, String> {
    let mut diagnostics = Diagnostics::new();
    let file: Arc<Path> = Arc::from(Path::new("scaffold.yaml"));
    if let Some(mapping) = mapping_of(&file, text, &mut diagnostics) {
        compile(&mapping, halves.as_ref().map(|half| Some(half.description)), &mut diagnostics);
    }
    let errors = diagnostics.iter().filter(|diagnostic| diagnostic.severity == Severity::Error);
    errors.filter_map(|error| Some((error.place.as_ref()?.line(), error.message.clone()))).collect()
}

fn text(halves: &Both<Half<'_>>, pairs: &[Pair], lines: &[Line]) -> String {
    let mut text = format!(
        "# Guessed from what `{}` and `{}` tell of their fields: read it before it runs. Behind each pair stands how\n\
         # alike the two are, by name and type.\nmapping: {}\n",
        halves.source.object,
        halves.target.object,
        name(halves.target.object),
    );
    for side in Side::BOTH {
        let half = &halves[side];
        let _ = writeln!(
            text,
            "{side}: {{ connection: {}, object: {}, key: {} }}{}",
            scalar(half.connection),
            scalar(half.object),
            list(&key(half.description)),
            if half.description.key.is_empty() { "   # it tells no key: is this one?" } else { "" },
        );
    }
    text.push_str("# direction: bidirectional   # without it, from source to target\n");
    match matching(halves, pairs, lines) {
        Some(fields) => {
            let _ = writeln!(text, "match: {}", list(&fields));
        }
        None => text.push_str("# match: […]   # the fields that tell which records are the same ones\n"),
    }
    text.push_str("fields:\n");
    for line in lines {
        let percent = format!("{:.0} %", line.likeness * 100.0);
        let _ = match &line.fault {
            None => writeln!(text, "  - {}   # {percent}", line.entry),
            Some(fault) => writeln!(text, "  # - {}   # {percent}, but {fault}", line.entry),
        };
    }
    for side in Side::BOTH {
        let fields = &halves[side].description.shape.fields;
        let paired = |field: usize| {
            pairs.iter().any(|pair| field == if side == Side::Source { pair.source } else { pair.target })
        };
        let mut alone = fields.iter().enumerate().filter(|(position, _)| !paired(*position)).peekable();
        if alone.peek().is_some() {
            let _ = writeln!(text, "# The {side} alone has:");
        }
        for (_, field) in alone {
            let _ = writeln!(text, "#   {}", told(field));
        }
    }
    text
}

/// What fills one field from the other.
fn entry(source: &Field, target: &Field) -> String {
    let rules = match (&source.kind, &target.kind) {
        (Kind::Text { max: Some(8), .. }, Kind::Date) => "[{ date: '%Y%m%d' }]",
        (Kind::Text { .. }, Kind::Date) => "[{ date: '%Y-%m-%d' }]",
        (Kind::Text { .. }, Kind::LocalTime { .. } | Kind::Instant { .. }) => "[{ datetime: '%Y-%m-%d %H:%M:%S' }]",
        (Kind::Text { .. }, Kind::Decimal { .. } | Kind::Float { .. }) => "[decimal]",
        (Kind::Text { .. }, Kind::Integer { .. }) => "[integer]",
        (Kind::Text { .. } | Kind::Integer { .. }, Kind::Boolean) => "[boolean]",
        (Kind::Text { padded: true, .. }, Kind::Text { padded: false, .. }) => "[trim]",
        _ => "",
    };
    let rules = if rules.is_empty() { String::new() } else { format!(", rules: {rules}") };
    format!("{{ source: {}, target: {}{rules} }}", scalar(&source.name), scalar(&target.name))
}

/// The key of an object, or else what is nearest to one.
fn key(description: &Description) -> Vec<String> {
    let known = [&description.key].into_iter().chain(&description.unique).find(|fields| !fields.is_empty());
    known
        .cloned()
        .unwrap_or_else(|| description.shape.fields.iter().take(1).map(|field| field.name.to_string()).collect())
}

/// Fields that are one record's alone on one of the sides, and paired; by
/// their names on the target, as `match` has them.
fn matching(halves: &Both<Half<'_>>, pairs: &[Pair], lines: &[Line]) -> Option<Vec<String>> {
    let fields = |pair: &Pair| {
        (&halves.source.description.shape.fields[pair.source], &halves.target.description.shape.fields[pair.target])
    };
    let sound = || pairs.iter().zip(lines).filter(|(_, line)| line.fault.is_none()).map(|(pair, _)| fields(pair));
    Side::BOTH.into_iter().rev().find_map(|side| {
        halves[side].description.unique.iter().filter(|unique| !unique.is_empty()).find_map(|unique| {
            let on_target = |name: &String| {
                let own = |(source, target): &(&Field, &Field)| match side {
                    Side::Source => *source.name == **name,
                    Side::Target => *target.name == **name && (target.has_default || !target.generated),
                };
                sound().find(own).map(|(_, target)| target.name.to_string())
            };
            unique.iter().map(on_target).collect::<Option<Vec<_>>>()
        })
    })
}

fn told(field: &Field) -> String {
    let needed = if !field.nullable && !field.generated { ", required" } else { "" };
    format!("{} ({}{needed})", field.name, field.kind.name())
}

/// A mapping's name: of an object's, without its schema and its ending.
fn name(object: &str) -> String {
    let last = object.rsplit('.').find(|part| part.chars().any(char::is_alphanumeric)).unwrap_or(object);
    let plain = |c: char| if c.is_alphanumeric() || matches!(c, '_' | '-') { c } else { '_' };
    let name: String = last.trim_matches('"').chars().map(plain).collect::<String>().to_lowercase();
    let name = name.trim_start_matches(['-', '_']);
    if name.is_empty() { "records".to_owned() } else { name.to_owned() }
}

fn list(names: &[String]) -> String {
    format!("[{}]", names.iter().map(|name| scalar(name)).collect::<Vec<_>>().join(", "))
}

/// A text as YAML reads it back, in a flow as well.
pub(super) fn scalar(text: &str) -> String {
    let starts = text.starts_with(|c: char| c.is_alphabetic() || c == '_');
    let is_plain = starts && text.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.'));
    let is_word = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"].contains(&text.to_lowercase().as_str());
    if is_plain && !is_word { text.to_owned() } else { format!("'{}'", text.replace('\'', "''")) }
}
