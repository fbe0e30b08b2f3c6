//! The part of a mapping that a test is about.

use crate::compile::field;
use crate::compile::mapping::{Survey, survey};
use crate::compile::side::Slots;
use crate::compile::{Program, SideProgram};
use crate::config::model::{CaseRecord, CopySpec, FieldEntry, FieldSpec, Mapping, TestCase};
use crate::diagnostic::{Code, Diagnostic, Diagnostics, nearest, quoted};
use crate::record::{Both, Side};

/// What a mapping comes to for a case: the fields that read or fill something
/// the case gives, and those that read nothing at all.
pub fn part(mapping: &Mapping, case: &TestCase) -> Program {
    let is_given = |side: Side, name: &str| {
        let base = case.base.as_ref();
        let (now, base) = match side {
            Side::Source => (&case.source, base.and_then(|base| base.source.as_ref())),
            Side::Target => (&case.target, base.and_then(|base| base.target.as_ref())),
        };
        now.iter().chain(base).flat_map(CaseRecord::named).any(|(given, _)| given.value == name)
    };
    let mut fields = Vec::with_capacity(mapping.fields.len());
    for entry in &mapping.fields {
        match entry {
            FieldEntry::Copy(spec) => {
                let copy: Vec<_> = spec
                    .copy
                    .iter()
                    .filter(|name| Side::BOTH.iter().any(|side| is_given(*side, name)))
                    .cloned()
                    .collect();
                if !copy.is_empty() {
                    fields.push(FieldEntry::Copy(CopySpec { copy, ..spec.clone() }));
                }
            }
            FieldEntry::Field(spec) => {
                let named = named(mapping, spec);
                let reads = if spec.direction(mapping).writes_target() { Side::Source } else { Side::Target };
                let given =
                    Side::BOTH.iter().any(|side| named[*side].iter().any(|name| is_given(*side, name.as_str())));
                if given || named[reads].is_empty() {
                    fields.push(entry.clone());
                }
            }
        }
    }
    let part = Mapping { fields, match_on: Vec::new(), tests: Vec::new(), ..mapping.clone() };
    let Survey { program, .. } = survey(&part, Both::new(None, None), &mut Diagnostics::new());
    program
}

/// What an entry of `fields` names on each side, its rules included.
fn named(mapping: &Mapping, spec: &FieldSpec) -> Both<Vec<String>> {
    let mut slots = Both::new(Slots::new(Side::Source, None), Slots::new(Side::Target, None));
    field::compile(mapping, spec, &mut slots, &mut Diagnostics::new());
    slots.map(|slots| slots.names().map(str::to_owned).collect())
}

/// Reports what the tests of a mapping name that it does not.
pub(super) fn check(mapping: &Mapping, sides: &Both<SideProgram>, fields: &[&str], diagnostics: &mut Diagnostics) {
    for case in &mapping.tests {
        for (of_source, record) in case.records() {
            let side = if of_source { Side::Source } else { Side::Target };
            let known = || sides[side].access.shape.fields.iter().map(|field| field.name.as_str());
            for (name, _) in record.named() {
                if !known().any(|field| field == name.value) {
                    let message = format!("the mapping names no field `{}` of the {side}", name.value);
                    diagnostics.push(unknown(name, message, known()));
                }
            }
        }
        for name in case.expect_conflicts.iter().flatten() {
            if name.value != "*" && !fields.contains(&name.as_str()) {
                let message = format!("the mapping has no field `{}` that could be in conflict", name.value);
                diagnostics.push(unknown(name, message, fields.iter().copied()));
            }
        }
    }
}

fn unknown<'a>(
    name: &crate::config::tree::At<String>,
    message: String,
    known: impl Iterator<Item = &'a str> + Clone,
) -> Diagnostic {
    let help = match nearest(name, known.clone()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("it names {}", quoted(&known.collect::<Vec<_>>())),
    };
    Diagnostic::error(Code::UNKNOWN_NAME, &name.place, message).help(help)
}
