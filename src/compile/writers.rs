//! Whether what one field entry carries over, another carries back.

use std::collections::{BTreeMap, BTreeSet};

use crate::compile::program::{FieldProgram, Reading, SideProgram};
use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::record::{Both, Side};

/// A field of a side, by the name it has there.
type Cell<'a> = (Side, &'a str);

/// Reports fields that two entries write under names that mean the same, and
/// values that come back to where they are from by entries of one direction:
/// two edits would change places for ever.
///
/// What stands twice under one name was reported by the checks of the model; that
/// two names mean one field shows where it is `described`.
pub(super) fn check(
    fields: &[FieldProgram],
    sides: &Both<SideProgram>,
    described: Both<bool>,
    diagnostics: &mut Diagnostics,
) {
    let name = |side: Side, slot: usize| sides[side].access.shape.fields[slot].name.as_str();
    for side in Side::BOTH.into_iter().filter(|side| described[*side]) {
        let mut written: BTreeMap<&str, &FieldProgram> = BTreeMap::new();
        for field in fields {
            let Some(way) = &field.toward[side] else { continue };
            let Some(first) = written.insert(name(side, way.slot), field) else { continue };
            let message = format!("a second entry writes the {side}'s field `{}`", name(side, way.slot));
            let diagnostic = Diagnostic::error(Code::FIELD_TWICE, &field.place, message).help("remove one of the two");
            diagnostics.push(diagnostic.related(&first.place, "the first entry that writes it"));
        }
    }
    let ways: Vec<(Cell<'_>, Cell<'_>, &FieldProgram)> =
        fields.iter().filter_map(|field| one_way(field, name)).collect();
    for (index, (from, to, field)) in ways.iter().enumerate() {
        let mut reached = BTreeSet::from([*to]);
        let mut ahead = vec![*to];
        while let Some(cell) = ahead.pop() {
            // The entry that closes the circle tells of it.
            let next = ways[..index].iter().filter(|(from, ..)| *from == cell).map(|(_, to, _)| *to);
            ahead.extend(next.filter(|to| reached.insert(*to)));
        }
        if reached.contains(from) {
            let (side, name) = from;
            let message =
                format!("what is carried over from the {side}'s field `{name}` is carried back to it by other entries");
            let help = "write one entry for both directions, with `reverse` where the way back has other rules";
            diagnostics.push(Diagnostic::error(Code::FIELD_TWICE, &field.place, message).help(help));
        }
    }
}

/// Where an entry of one direction leads.
fn one_way<'a>(
    field: &'a FieldProgram,
    name: impl Fn(Side, usize) -> &'a str,
) -> Option<(Cell<'a>, Cell<'a>, &'a FieldProgram)> {
    let to = Side::BOTH.into_iter().find(|side| field.writes(*side)).filter(|_| !field.is_two_way())?;
    let from = to.other();
    let slot = match &field.read[from] {
        Reading::Slot(slot) | Reading::Computed { slot: Some(slot), .. } => *slot,
        _ => return None,
    };
    let way = field.toward[to].as_ref().filter(|_| !field.create_only)?;
    Some(((from, name(from, slot)), (to, name(to, way.slot)), field))
}
