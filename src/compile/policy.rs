//! Whether the policies of a mapping can decide about its fields' kinds.

use crate::compile::program::{FieldProgram, Reading, SideProgram};
use crate::compile::rule::Chain;
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
        if !disputed {
            continue;
        }
        let merges = matches!(field.policy, Policy::SumDeltas | Policy::Union);
        let message = match untaken(field.policy, field, sides) {
            Some(kind) => format!("{}, and `{}` holds {}", needs(field.policy), field.name, kind.name()),
            None if merges && !field.is_two_way() => {
                format!("`{}` changes both sides, and `{}` goes one way", field.policy.as_str(), field.name)
            }
            None => continue,
        };
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
        && fields.iter().all(|field| untaken(first.value, field, sides).is_some())
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

/// A kind of the field's for which the policy never decides: of what the field
/// is compared in, or of what arrives there from the other side. `None` where
/// it may.
fn untaken(policy: Policy, field: &FieldProgram, sides: &Both<SideProgram>) -> Option<Kind> {
    let side = if field.writes(Side::Target) { Side::Target } else { Side::Source };
    let way = field.toward[side].as_ref()?;
    let shown = match &field.read[side.other()] {
        Reading::Slot(slot) => sides[side.other()].access.shape.fields[*slot].kind.clone(),
        _ => Kind::Any,
    };
    // What does not go together has been said where the rules were compiled.
    let arriving = way.rules.output_kind(&shown, &mut Diagnostics::new());
    let merges = matches!(policy, Policy::SumDeltas | Policy::Union);
    let kinds = if way.kind == Kind::Any {
        [&arriving, &arriving]
    } else {
        [&way.kind, if merges { &arriving } else { &way.kind }]
    };
    let never = kinds.into_iter().find(|kind| !takes(policy, kind));
    if merges && way.kind == Kind::Any && arriving == Kind::Any && shown == Kind::Any {
        return never_made(policy, &way.rules);
    }
    // A text may hold a number, but where nothing says so it is a name.
    let wordy = |kind: &&Kind| matches!(kind, Kind::Text { .. });
    let words = (policy == Policy::SumDeltas && [&way.kind, &arriving, &shown].iter().all(wordy)).then_some(&way.kind);
    never.or(words).cloned()
}

/// A kind that rules make of something, where of nothing they take and make the
/// policy can decide on both sides.
fn never_made(policy: Policy, rules: &Chain) -> Option<Kind> {
    let kinds = [
        Kind::Text { max: None, padded: false },
        Kind::Integer { bits: 64 },
        Kind::Boolean,
        Kind::Date,
        Kind::LocalTime { digits: 9 },
        Kind::Instant { digits: 9 },
        Kind::List(Box::new(Kind::Any)),
    ];
    let mut never = None;
    for taken in kinds {
        let mut diagnostics = Diagnostics::new();
        let made = rules.output_kind(&taken, &mut diagnostics);
        if diagnostics.has_errors() {
            continue;
        }
        if takes(policy, &taken) && takes(policy, &made) {
            return None;
        }
        never.get_or_insert(if takes(policy, &made) { taken } else { made });
    }
    never
}

/// True unless the policy never decides between values of this kind.
fn takes(policy: Policy, kind: &Kind) -> bool {
    let open = matches!(kind, Kind::Any | Kind::Json | Kind::Other(_));
    match policy {
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
