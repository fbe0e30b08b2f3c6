//! Checks of the entries under `fields:` and of `match`.

use super::mapping::no_references;
use crate::config::model::{Deletes, Direction, Drift, FieldEntry, FieldSpec, Mapping, Policy};
use crate::config::tree::At;
use crate::diagnostic::{Code, Diagnostic, Diagnostics, Place, nearest};
use std::collections::HashMap;

pub(super) fn check(mapping: &Mapping, diagnostics: &mut Diagnostics) {
    for entry in &mapping.fields {
        if let FieldEntry::Field(field) = entry {
            if field.complete {
                check_shape(field, diagnostics);
            }
            if mapping.direction_known {
                check_direction(field, mapping, diagnostics);
                check_policies(field, mapping, diagnostics);
            }
        }
    }
    check_writers(mapping, diagnostics);
    check_match(mapping, diagnostics);
}

/// Whether the entry names what it needs, and nothing that contradicts it.
fn check_shape(field: &FieldSpec, diagnostics: &mut Diagnostics) {
    let value = field.value.as_ref().and_then(|value| Some((value.text()?, &value.place)));
    let template = field.template.as_ref().map(|template| (template.as_str(), &template.place));
    for (text, place) in value.into_iter().chain(template) {
        no_references(text, place, diagnostics);
    }
    let filler = filler(field);
    if let (Some(value), Some(template)) = (&field.value, &field.template) {
        let diagnostic = Diagnostic::error(Code::EXCLUSIVE, &template.place, "`template` beside `value`");
        diagnostics.push(diagnostic.help("keep one of them").related(&value.place, "`value` stands here"));
    }
    match (&field.source, &field.target, filler) {
        (None, None, None) => {
            let message = "a field entry without `source` and `target`";
            let help = "name the field of each side, or `copy: […]` those of the same name";
            diagnostics.push(Diagnostic::error(Code::EMPTY_ENTRY, &field.place, message).help(help));
        }
        (None, None, Some((name, place))) => {
            let message = format!("a `{name}` that fills no field");
            let help = "name the field it fills, as `target` or `source`";
            diagnostics.push(Diagnostic::error(Code::EMPTY_ENTRY, place, message).help(help));
        }
        (Some(one), None, None) => half(one, "source", "target", diagnostics),
        (None, Some(one), None) => half(one, "target", "source", diagnostics),
        (Some(_), Some(_), Some((name, place))) => {
            let message = format!("`{name}` fills one field, but the entry names two");
            let help = "leave out the side that is not filled; a template reads its fields by name";
            diagnostics.push(Diagnostic::error(Code::EXCLUSIVE, place, message).help(help));
        }
        _ => {}
    }
    let Some((name, _)) = filler else { return };
    let beside = |setting: &str, rules: &[crate::config::model::RuleSpec], diagnostics: &mut Diagnostics| {
        if let Some(rule) = rules.first() {
            let message = format!("`{setting}` beside `{name}`");
            let help = match name {
                "template" => "every rule is also a filter: `\"{{ field | trim }}\"`",
                _ => "write the value as it shall be",
            };
            diagnostics.push(Diagnostic::error(Code::EXCLUSIVE, &rule.place, message).help(help));
        }
    };
    beside("rules", &field.rules, diagnostics);
    beside("reverse", field.reverse.as_deref().unwrap_or_default(), diagnostics);
}

fn half(one: &At<String>, has: &str, lacks: &str, diagnostics: &mut Diagnostics) {
    let message = format!("`{}` has a `{has}`, and no `{lacks}`", one.value);
    let help = format!("name the field of the {lacks}, or fill this one with `template` or `value`");
    diagnostics.push(Diagnostic::error(Code::EMPTY_ENTRY, &one.place, message).help(help));
}

/// The setting that fills the field by itself, where there is one.
fn filler(field: &FieldSpec) -> Option<(&'static str, &Place)> {
    let template = field.template.as_ref().map(|template| ("template", &template.place));
    template.or_else(|| field.value.as_ref().map(|value| ("value", &value.place)))
}

/// The one direction of an entry that fills a field by itself.
fn filled(field: &FieldSpec) -> Option<Direction> {
    filler(field)?;
    match (&field.source, &field.target) {
        (None, Some(_)) => Some(Direction::SourceToTarget),
        (Some(_), None) => Some(Direction::TargetToSource),
        _ => None,
    }
}

/// Whether the entry's direction is one it and the mapping can take.
fn check_direction(field: &FieldSpec, mapping: &Mapping, diagnostics: &mut Diagnostics) {
    let whole = mapping.direction();
    let related = |diagnostic: Diagnostic| match &mapping.direction {
        Some(direction) => diagnostic.related(&direction.place, "the mapping's direction"),
        None => diagnostic,
    };
    let outside = |direction: Direction| whole != Direction::Bidirectional && direction != whole;
    match (&field.direction, filled(field)) {
        (Some(written), Some(towards)) if written.value != towards => {
            let message = format!("`{}`, but the entry goes `{}`", written.as_str(), towards.as_str());
            let help = "an entry with `template` or `value` goes towards the field it fills; leave `direction` out";
            diagnostics.push(Diagnostic::error(Code::IDLE_POLICY, &written.place, message).help(help));
        }
        (_, Some(towards)) if outside(towards) => {
            let place = filler(field).map_or(&field.place, |(_, place)| place);
            let message = format!("the mapping goes `{}`, so this is never written", whole.as_str());
            diagnostics.push(related(Diagnostic::error(Code::IDLE_POLICY, place, message)));
        }
        (Some(written), None) if outside(written.value) => {
            let message = format!("`{}` in a mapping that goes `{}`", written.as_str(), whole.as_str());
            let help = "make the mapping `bidirectional`, and give the other fields their one direction";
            let diagnostic = Diagnostic::error(Code::IDLE_POLICY, &written.place, message).help(help);
            diagnostics.push(related(diagnostic));
        }
        _ => {}
    }
}

/// Whether the entry's policies can ever apply.
fn check_policies(field: &FieldSpec, mapping: &Mapping, diagnostics: &mut Diagnostics) {
    let mut idle = |place: &Place, message: String, help: &str| {
        diagnostics.push(Diagnostic::error(Code::IDLE_POLICY, place, message).help(help));
    };
    let direction = field.direction(mapping);
    let one_way = direction != Direction::Bidirectional;
    let drift = field.drift.as_ref().map(|drift| drift.value);
    if one_way
        && filler(field).is_none()
        && let Some(rule) = field.reverse.iter().flatten().next()
    {
        let message = "`reverse` in a field that goes one way".to_owned();
        idle(&rule.place, message, "leave it out, or make the field `bidirectional`");
    }
    if let Some(conflict) = &field.conflict
        && one_way
        && drift != Some(Drift::Conflict)
    {
        let message = "`conflict` in a field that goes one way".to_owned();
        idle(&conflict.place, message, "leave it out; `drift: conflict` makes edits on the other side conflicts");
    }
    if let Some(drift) = &field.drift {
        if !one_way {
            let message = "`drift` in a field that goes both ways".to_owned();
            idle(&drift.place, message, "leave it out: an edit on either side flows to the other");
        } else if field.write.is_some() && drift.value != Drift::Keep {
            let message = "`drift` beside `write: create`".to_owned();
            idle(&drift.place, message, "leave it out: the field is left alone once the record exists");
        }
    }
    if let Some(required) = field.required.as_ref().filter(|required| required.value)
        && field.target.is_none()
    {
        idle(&required.place, "`required` without a `target`".to_owned(), "leave it out");
    }
    if let Some(write) = &field.write {
        let creates = |towards_target: bool| {
            let writes = if towards_target { direction.writes_target() } else { direction.writes_source() };
            writes && mapping.may_create(towards_target)
        };
        if !creates(true) && !creates(false) {
            let message = "`write: create`, but no record is created in this direction".to_owned();
            idle(&write.place, message, "leave it out, or allow creates under `allow`");
        }
    }
    if let Some(conflict) = &field.conflict {
        super::mapping::check_policy(conflict, mapping, diagnostics);
    }
}

/// Whether each field has one writer in each direction.
fn check_writers(mapping: &Mapping, diagnostics: &mut Diagnostics) {
    let mut written: [HashMap<&str, &Place>; 2] = [HashMap::new(), HashMap::new()];
    for entry in &mapping.fields {
        match entry {
            FieldEntry::Copy(copy) => {
                for name in &copy.copy {
                    claim(&mut written, Some(name), Some(name), mapping.direction(), diagnostics);
                }
            }
            FieldEntry::Field(field) => {
                let direction = filled(field).unwrap_or_else(|| field.direction(mapping));
                claim(&mut written, field.source.as_ref(), field.target.as_ref(), direction, diagnostics);
            }
        }
    }
}

/// Notes what an entry writes, on the source and on the target, and reports
/// what another entry writes as well: one problem for an entry.
fn claim<'a>(
    [to_source, to_target]: &mut [HashMap<&'a str, &'a Place>; 2],
    source: Option<&'a At<String>>,
    target: Option<&'a At<String>>,
    direction: Direction,
    diagnostics: &mut Diagnostics,
) {
    let target = target.filter(|_| direction.writes_target());
    let source = source.filter(|_| direction.writes_source());
    let mut reported = false;
    for (side, name, written) in [("target", target, to_target), ("source", source, to_source)] {
        let Some(name) = name else { continue };
        let Some(first) = written.get(name.as_str()) else {
            written.insert(name, &name.place);
            continue;
        };
        if !reported {
            let message = format!("a second entry writes the {side}'s field `{}`", name.value);
            let help = "remove one of the two";
            let diagnostic = Diagnostic::error(Code::FIELD_TWICE, &name.place, message);
            diagnostics.push(diagnostic.help(help).related(first, "the first entry that writes it"));
        }
        reported = true;
    }
}

/// Whether the fields under `match` are filled, so that there is something to
/// compare with.
fn check_match(mapping: &Mapping, diagnostics: &mut Diagnostics) {
    let mut filled: Vec<&str> = Vec::new();
    let mut constant: Vec<&At<String>> = Vec::new();
    for entry in &mapping.fields {
        match entry {
            FieldEntry::Copy(copy) => filled.extend(copy.copy.iter().map(|name| name.as_str())),
            FieldEntry::Field(field) if field.value.is_none() => {
                filled.extend(field.target.iter().map(|target| target.as_str()));
            }
            FieldEntry::Field(field) => constant.extend(&field.target),
        }
    }
    for alternative in &mapping.match_on {
        for (at, name) in alternative.iter().enumerate() {
            if let Some(first) = alternative[..at].iter().find(|first| first.value == name.value) {
                let message = format!("`{}` stands twice", name.value);
                let diagnostic = Diagnostic::error(Code::BAD_VALUE, &name.place, message);
                diagnostics.push(diagnostic.related(&first.place, "it stands here first"));
            } else if filled.contains(&name.as_str()) {
            } else if let Some(target) = constant.iter().find(|target| target.value == name.value) {
                let message = format!("`match` names `{}`, which has the same value in all records", name.value);
                let diagnostic = Diagnostic::error(Code::UNMAPPED_MATCH, &name.place, message);
                let help = "name a field that tells one record from another";
                diagnostics.push(diagnostic.help(help).related(&target.place, "it is filled here"));
            } else if mapping.fields_known {
                let message = format!("`match` names `{}`, which no entry fills", name.value);
                let help = match nearest(name, filled.iter().copied()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => "name a field that stands as `target` under `fields:`".to_owned(),
                };
                diagnostics.push(Diagnostic::error(Code::UNMAPPED_MATCH, &name.place, message).help(help));
            }
        }
    }
}

/// Whether some field can come into conflict, or the record as a whole.
pub(super) fn can_conflict(mapping: &Mapping) -> bool {
    let deletes = |Deletes { to_target, to_source, .. }: &Deletes| {
        [to_target, to_source].into_iter().flatten().any(|policy| policy.acts())
    };
    !mapping.direction_known
        || mapping.direction() == Direction::Bidirectional
        || mapping.deletes.as_ref().is_some_and(deletes)
        || mapping.fields.iter().any(|entry| match entry {
            FieldEntry::Field(field) => field.drift() == Drift::Conflict,
            FieldEntry::Copy(_) => false,
        })
}

/// Whether a policy compares times of change.
pub(super) fn needs_times(policy: Policy) -> bool {
    policy == Policy::Newest
}
