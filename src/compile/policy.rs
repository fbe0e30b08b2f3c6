//! Whether the policies of a mapping can decide about its fields' kinds.

use crate::compile::program::{FieldProgram, Reading, SideProgram};
use crate::config::model::{Drift, FieldEntry, Mapping, Policy};
use crate::config::tree::At;
use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::record::{Both, Kind, Side};

/// Reports every policy that would never decide, as far as kinds are known:
/// offline only where a rule makes them.
pub(super) fn check(
    mapping: &Mapping,
    fields: &[FieldProgram],
    sides: &Both<SideProgram>,
    diagnostics: &mut Diagnostics,
) {
    for (field, own) in fields.iter().zip(own_policies(mapping)) {
        let disputed = field.is_two_way() || field.drift == Drift::Conflict;
        let kind = compared(field, sides);
        if !disputed || takes(field.policy, &kind) {
            continue;
        }
        let message = format!("{}, and `{}` holds {}", needs(field.policy), field.name, kind.name());
        let (place, help) = match own {
            Some(own) => (&own.place, "choose a policy that can decide about it"),
            None => {
                (&field.place, "the mapping's `default` does not go for it: give the field a `conflict` of its own")
            }
        };
        diagnostics.push(Diagnostic::error(Code::IDLE_POLICY, place, message).help(help));
    }
    let first = mapping.conflicts.as_ref().and_then(|conflicts| conflicts.first.as_ref());
    if let Some(first) = first
        && !fields.is_empty()
        && !fields.iter().any(|field| takes(first.value, &compared(field, sides)))
    {
        let message = format!("{}, and no field of the mapping can take it", needs(first.value));
        let help = "write `source`, `target` or another policy";
        diagnostics.push(Diagnostic::error(Code::IDLE_POLICY, &first.place, message).help(help));
    }
}

/// The policy that each field has of its own, in the order of the fields.
fn own_policies(mapping: &Mapping) -> Vec<Option<&At<Policy>>> {
    let mut own = Vec::with_capacity(mapping.fields.len());
    for entry in &mapping.fields {
        match entry {
            FieldEntry::Field(spec) => own.push(spec.conflict.as_ref()),
            FieldEntry::Copy(spec) => own.extend(spec.copy.iter().map(|_| None)),
        }
    }
    own
}

/// The kind in which the values of both sides are compared.
fn compared(field: &FieldProgram, sides: &Both<SideProgram>) -> Kind {
    let side = if field.writes(Side::Target) { Side::Target } else { Side::Source };
    let Some(way) = &field.toward[side] else { return Kind::Any };
    if way.kind != Kind::Any {
        return way.kind.clone();
    }
    let arriving = match &field.read[side.other()] {
        Reading::Slot(slot) => sides[side.other()].access.shape.fields[*slot].kind.clone(),
        _ => Kind::Any,
    };
    // What does not go together has been said where the rules were compiled.
    way.rules.output_kind(&arriving, &mut Diagnostics::new())
}

/// True unless the policy never decides between values of this kind.
fn takes(policy: Policy, kind: &Kind) -> bool {
    let open = matches!(kind, Kind::Any | Kind::Json | Kind::Other(_));
    match policy {
        // A text may hold a number.
        Policy::SumDeltas => {
            open || matches!(kind, Kind::Integer { .. } | Kind::Decimal { .. } | Kind::Float { .. } | Kind::Text { .. })
        }
        Policy::Union => open || matches!(kind, Kind::List(_)),
        Policy::Max | Policy::Min => !matches!(kind, Kind::List(_) | Kind::Interval),
        Policy::Manual | Policy::Source | Policy::Target | Policy::Newest => true,
    }
}

fn needs(policy: Policy) -> String {
    let what = match policy {
        Policy::SumDeltas => "adds numbers",
        Policy::Union => "joins lists",
        _ => "compares values that have an order",
    };
    format!("`{}` {what}", policy.as_str())
}
