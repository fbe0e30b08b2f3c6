//! A mapping as a whole becomes a program.

use std::sync::Arc;

use crate::compile::case;
use crate::compile::field;
use crate::compile::program::{BaseKind, FieldProgram, Limits, Program, Reading};
use crate::compile::side::{self, Slots};
use crate::compile::{message, policy, writers};
use crate::config::model::{Deleted, Drift, FieldEntry, Mapping, Policy};
use crate::config::tree::At;
use crate::connector::Description;
use crate::diagnostic::{Code, Diagnostic, Diagnostics, Place};
use crate::record::{Both, Kind, Side, Value, digest};

/// A mapping, compiled.
#[derive(Debug)]
pub struct Compiled {
    pub program: Program,
    /// For each field what it is and a digest of its rules, as the state keeps
    /// them to notice edits of the mapping.
    pub layout: Vec<(String, String)>,
    /// What the readings of each side depend on besides how far they have come;
    /// on the first line the field by which that is told.
    pub filters: Both<String>,
}

/// Compiles a mapping against what its systems tell of its objects; offline,
/// where nothing is told, every name is taken as it stands. All problems are
/// reported; `None` where there was an error.
pub fn compile(
    mapping: &Mapping,
    described: Both<Option<&Description>>,
    diagnostics: &mut Diagnostics,
) -> Option<Compiled> {
    let mut found = Diagnostics::new();
    let (compiled, is_whole) = assemble(mapping, described, &mut found);
    let failed = found.has_errors();
    diagnostics.extend(found.into_sorted());
    (is_whole && !failed).then_some(compiled)
}

/// What a mapping comes to where something in it is wrong: never to be run,
/// only to be looked at for what else is wrong.
#[derive(Debug)]
pub struct Survey {
    pub program: Program,
    /// Every field is in it.
    pub is_whole: bool,
}

/// Compiles a mapping as [`compile`] does, and hands over what it comes to
/// whatever is wrong with it.
pub fn survey(mapping: &Mapping, described: Both<Option<&Description>>, diagnostics: &mut Diagnostics) -> Survey {
    let mut found = Diagnostics::new();
    let (Compiled { program, .. }, is_whole) = assemble(mapping, described, &mut found);
    diagnostics.extend(found.into_sorted());
    Survey { program, is_whole }
}

/// The mapping, and whether it has every field.
fn assemble(
    mapping: &Mapping,
    described: Both<Option<&Description>>,
    diagnostics: &mut Diagnostics,
) -> (Compiled, bool) {
    let mut slots = Both::new(Slots::new(Side::Source, described.source), Slots::new(Side::Target, described.target));
    let mut fields: Vec<Option<FieldProgram>> = Vec::new();
    for entry in &mapping.fields {
        match entry {
            FieldEntry::Field(spec) => fields.push(field::compile(mapping, spec, &mut slots, diagnostics)),
            FieldEntry::Copy(spec) => {
                fields.extend(spec.copy.iter().map(|name| Some(field::copy(mapping, name, &mut slots, diagnostics))));
            }
        }
    }
    let is_whole = fields.iter().all(Option::is_some);
    let fields: Vec<FieldProgram> = fields.into_iter().flatten().collect();
    let writes = Both::from_fn(|side| fields.iter().any(|field| field.writes(side)));
    let fills = |side: Side| {
        let slots: Vec<Option<usize>> =
            fields.iter().map(|field| field.toward[side].as_ref().map(|way| way.slot)).collect();
        move |slot: usize| slots.iter().position(|filled| *filled == Some(slot))
    };
    let (fills_source, fills_target) = (fills(Side::Source), fills(Side::Target));
    let Both { source, target } = slots;
    // Where an edit on the side that is written is to be noticed, that side is read too.
    let watched = Both::from_fn(|side| {
        fields.iter().any(|field| field.writes(side) && !field.is_two_way() && field.drift != Drift::Keep)
    });
    let source = side::compile(mapping, source, fills_source, writes.source, watched.source, diagnostics);
    let target = side::compile(mapping, target, fills_target, writes.target, watched.target, diagnostics);
    let matching = matching(mapping, &fields);
    let sides = Both::new(source, target);
    newest_needs_stamps(mapping, &fields, &sides, diagnostics);
    found_by_one_value(mapping, &fields, &sides, diagnostics);
    message::check(mapping, diagnostics);
    // Policies stand beside the entries of `fields`, one for each.
    if is_whole {
        policy::check(mapping, &fields, &sides, diagnostics);
        writers::check(&fields, &sides, described.map(|description| description.is_some()), diagnostics);
    }
    if is_whole {
        let names: Vec<&str> = fields.iter().map(|field| field.name.as_str()).collect();
        case::check(mapping, &sides, &names, diagnostics);
    }
    // Where `first` is silent, what is said of all conflicts decides first meetings too, those of one-way fields among them.
    let said = mapping.conflicts.as_ref().and_then(|conflicts| conflicts.first.as_ref().or(conflicts.default.as_ref()));
    let first = said.map(|policy| policy.value).filter(|policy| *policy != Policy::SumDeltas);
    let bases = bases(&fields);
    let limits = mapping.limits.as_ref().map_or_else(Limits::default, |limits| Limits {
        create: limits.create.as_ref().map(|limit| limit.value),
        update: limits.update.as_ref().map(|limit| limit.value),
        delete: limits.delete.as_ref().map(|limit| limit.value),
    });
    let grain = |side: Side| {
        let name = &sides[side].access.shape.fields[sides[side].modified?].name;
        let described = described[side]?;
        described.grains_nanos.get(described.shape.slot(name)?).copied()
    };
    let grain_nanos = Side::BOTH.into_iter().filter_map(grain).max().unwrap_or(0);
    let layout = fields.iter().map(|field| (identity(field, &sides), rules_digest(field))).collect();
    let filters = Both::from_fn(|side| {
        let access = &sides[side].access;
        let start = access.start.as_ref().map(|(_, value)| value.to_string()).unwrap_or_default();
        let cursor = access.cursor.map(|slot| &access.shape.fields[slot]);
        let cursor = cursor.map(|field| format!("{:?} {}", field.name, field.kind.name())).unwrap_or_default();
        let filter = access.filter.as_deref().unwrap_or_default();
        format!("{cursor}\n{filter}\n{start}{}", passed_over(mapping, side))
    });
    let program = Program {
        name: Arc::from(mapping.full_name.as_str()),
        place: mapping.mapping.place.clone(),
        sides,
        fields,
        matching,
        first,
        default: Some(mapping.default_policy()).filter(|policy| *policy != Policy::SumDeltas),
        // As a whole a record is one side's or the other's; any other policy has no answer.
        record_policy: match mapping.default_policy() {
            policy @ (Policy::Source | Policy::Target) => policy,
            _ => Policy::Manual,
        },
        bases,
        limits,
        grain_nanos,
    };
    (Compiled { program, layout, filters }, is_whole)
}

/// What else says which records that are read from a side come to nothing, a
/// line for each setting that is written.
fn passed_over(mapping: &Mapping, side: Side) -> String {
    let spec = mapping.side(side);
    let when = mapping.when.as_ref().and_then(|when| match side {
        Side::Source => when.source.as_ref().or(when.both.as_ref()),
        Side::Target => when.target.as_ref(),
    });
    let deleted = spec.deleted.as_ref().and_then(|deleted| match deleted {
        Deleted::Mark { field, equals } => Some(format!("{} = {}", field.value, equals.text().unwrap_or_default())),
        Deleted::When { when } => Some(when.value.clone()),
        Deleted::Sweep { .. } => None,
    });
    let allow = mapping.allow.as_ref().and_then(|allow| match side {
        Side::Source => allow.to_target.as_ref(),
        Side::Target => allow.to_source.as_ref(),
    });
    let allow = allow.map(|operations| operations.iter().map(|one| format!("{:?}", one.value)).collect::<Vec<_>>());
    let names = |names: &Vec<At<String>>| names.iter().map(|name| name.value.as_str()).collect::<Vec<_>>().join(", ");
    let matching: Vec<String> = mapping.match_on.iter().map(names).collect();
    let lines = [
        ("when", when.map(|when| when.value.clone())),
        ("deleted", deleted),
        ("allow", allow.map(|operations| operations.join(", "))),
        ("match", (!matching.is_empty()).then(|| matching.join("; "))),
    ];
    lines.into_iter().filter_map(|(name, text)| Some(format!("\n{name}: {}", text?))).collect()
}

/// `match` names target fields. One that nothing fills is reported by the
/// checks of the model.
fn matching(mapping: &Mapping, fields: &[FieldProgram]) -> Vec<Vec<usize>> {
    let position = |name: &str| fields.iter().position(|field| field.name == name);
    mapping.match_on.iter().map(|names| names.iter().filter_map(|name| position(name)).collect()).collect()
}

fn newest_needs_stamps(
    mapping: &Mapping,
    fields: &[FieldProgram],
    sides: &Both<crate::compile::SideProgram>,
    diagnostics: &mut Diagnostics,
) {
    let first = mapping.conflicts.as_ref().and_then(|conflicts| conflicts.first.as_ref());
    let newest = fields.iter().find(|field| field.is_two_way() && field.policy == Policy::Newest);
    let place = match (first.filter(|first| first.value == Policy::Newest), newest) {
        (Some(first), _) => &first.place,
        (None, Some(field)) => &field.place,
        (None, None) => return,
    };
    for side in Side::BOTH {
        let own = mapping.side(side);
        if let (Some(name), Some(slot)) = (&own.modified, sides[side].modified) {
            let kind = &sides[side].access.shape.fields[slot].kind;
            if !kind.is_time() {
                let message =
                    format!("`newest` compares times, and `{}` of the {side} holds {}", name.value, kind.name());
                let help = "name a column that is declared as a time (in SQLite `TIMESTAMP`, whether text or a count stands in it)";
                let error = Diagnostic::error(Code::NEEDS_STAMP, &name.place, message).help(help);
                diagnostics.push(error.related(place, "`newest` stands here"));
            }
        } else if sides[side].modified.is_none() && own.cursor.is_some() {
            // Where there is no cursor either, the checks of the model have said so.
            let message = format!("`newest` needs to know when a record of the {side} last changed");
            let help = format!("give the {side} a `modified`, or a `cursor` that holds a time");
            diagnostics.push(Diagnostic::error(Code::NEEDS_STAMP, place, message).help(help));
        }
    }
}

/// Nothing is found by a document or a list.
fn found_by_one_value(
    mapping: &Mapping,
    fields: &[FieldProgram],
    sides: &Both<crate::compile::SideProgram>,
    diagnostics: &mut Diagnostics,
) {
    let mut tell = |side: Side, slot: usize, place: &Place| {
        let field = &sides[side].access.shape.fields[slot];
        if !matches!(field.kind, Kind::Json | Kind::List(_)) {
            return;
        }
        let message =
            format!("`{}` of the {side} holds {}, and no record is found by that", field.name, field.kind.name());
        let help = "name a field that holds a single value";
        diagnostics.push(Diagnostic::error(Code::NOT_A_KEY, place, message).help(help));
    };
    for side in Side::BOTH {
        let written = mapping.side(side);
        for (position, slot) in sides[side].access.key.iter().enumerate() {
            tell(side, *slot, written.key.get(position).map_or(&written.object.place, |name| &name.place));
        }
        for name in mapping.match_on.iter().flatten() {
            let Some(field) = fields.iter().find(|field| field.name == name.value) else { continue };
            let slot = match (&field.toward[side], &field.read[side]) {
                (Some(way), _) => Some(way.slot),
                (None, Reading::Slot(slot) | Reading::Computed { slot: Some(slot), .. }) => Some(*slot),
                (None, _) => None,
            };
            if let Some(slot) = slot {
                tell(side, slot, &name.place);
            }
        }
    }
}

/// Digests are enough where everything flows to one side.
fn bases(fields: &[FieldProgram]) -> BaseKind {
    let writes = |side: Side| fields.iter().any(|field| field.writes(side));
    // A drift that is a conflict is decided about by its values.
    if fields.iter().any(|field| field.drift == Drift::Conflict) {
        return BaseKind::Values;
    }
    match (writes(Side::Source), writes(Side::Target)) {
        (false, true) => BaseKind::Digests { written: Side::Target },
        (true, false) => BaseKind::Digests { written: Side::Source },
        _ => BaseKind::Values,
    }
}

/// What a field is, whatever its rules: what it is read from and what it fills.
fn identity(field: &FieldProgram, sides: &Both<crate::compile::SideProgram>) -> String {
    let of = |side: Side| {
        let name = |slot: usize| sides[side].access.shape.fields[slot].name.to_string();
        match (&field.toward[side], &field.read[side]) {
            (Some(way), _) => name(way.slot),
            (None, Reading::Slot(slot) | Reading::Computed { slot: Some(slot), .. }) => name(*slot),
            (None, _) => String::new(),
        }
    };
    let way = if field.is_two_way() { "<->" } else { "-" };
    format!("{} {way} {}", of(Side::Source), of(Side::Target))
}

fn rules_digest(field: &FieldProgram) -> String {
    let reading = |side: Side| match &field.read[side] {
        Reading::Constant(value) => format!("= {value}"),
        Reading::Template(template) => template.text().to_owned(),
        Reading::Computed { rules, .. } => rules.describe(),
        Reading::Nothing | Reading::Slot(_) => String::new(),
    };
    let way = |side: Side| field.toward[side].as_ref().map_or_else(|| "-".to_owned(), |way| way.rules.describe());
    let text = [reading(Side::Source), reading(Side::Target), way(Side::Source), way(Side::Target)].join("\n");
    format!("{:032x}", digest([&Value::text(text)]))
}
