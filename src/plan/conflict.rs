//! Conflicts, and how policies and people decide them.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;

use crate::compile::{FieldProgram, Policy, Rejection};
use crate::record::{Both, Side, Value, order, parse_number, same};

/// The base of a field of which nobody knows what the sides agreed on: a write
/// of it has no answer, and may be in effect or not. No two sides agree on no
/// value here and the document `null` there.
pub const IN_DOUBT: Both<Value> = Both { source: Value::Missing, target: Value::JsonNull };

/// True where a side still shows a field's base; never where that is in doubt.
pub fn stands(field: &FieldProgram, base: &Both<Value>, side: Side, now: &Value) -> bool {
    *base != IN_DOUBT && field.same(side, &base[side], now)
}

/// A conflict that waits for a person.
#[derive(Debug, Clone, PartialEq)]
pub struct OpenConflict {
    /// The field's index; `None` for the record as a whole.
    pub field: Option<usize>,
    /// Both values when it was last seen.
    pub values: Both<Value>,
    /// What a person decided, for these values.
    pub resolution: Option<Resolution>,
}

/// What a person decided.
#[derive(Debug, Clone, PartialEq)]
pub enum Resolution {
    Take(Side),
    /// A value, as the target shows it.
    Value(Value),
}

/// What a policy makes of two changed values.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Ruling {
    /// This side's value is written to the other.
    Wins(Side),
    /// The target gets a value that holds both changes. Its acknowledgement
    /// moves both bases to `bases`, so that what the target had changed is all
    /// that is left, and flows to the source as any change does.
    Merge { target: Value, bases: Both<Value> },
    /// A person decides: the policy says so, or has no answer for these values.
    Wait,
}

/// Rules on a field that changed on both sides. `base` is `None` on adoption.
pub(super) fn rule(
    field: &FieldProgram,
    policy: Policy,
    base: Option<&Both<Value>>,
    now: Both<&Value>,
    stamps: Both<Option<DateTime<Utc>>>,
) -> Result<Ruling, Rejection> {
    Ok(match policy {
        Policy::Manual => Ruling::Wait,
        Policy::Source => Ruling::Wins(Side::Source),
        Policy::Target => Ruling::Wins(Side::Target),
        Policy::Newest => newest(stamps),
        Policy::Max | Policy::Min => match compare(field, now)? {
            None => Ruling::Wait,
            Some(ordering) => {
                let source_wins = if policy == Policy::Max { ordering.is_ge() } else { ordering.is_le() };
                Ruling::Wins(if source_wins { Side::Source } else { Side::Target })
            }
        },
        Policy::Union => union(field, now)?,
        Policy::SumDeltas => match base.filter(|base| **base != IN_DOUBT) {
            Some(base) => sum_deltas(field, base, now)?,
            None => Ruling::Wait,
        },
    })
}

/// The side that was changed last wins; a tie goes to the source, and a side
/// without a stamp counts as the older. Where neither has one there is no telling.
fn newest(stamps: Both<Option<DateTime<Utc>>>) -> Ruling {
    match (stamps.source, stamps.target) {
        (None, None) => Ruling::Wait,
        (source, target) => Ruling::Wins(if target > source { Side::Target } else { Side::Source }),
    }
}

/// Orders both values in the target's representation, or in the source's where
/// the target is not written.
fn compare(field: &FieldProgram, now: Both<&Value>) -> Result<Option<std::cmp::Ordering>, Rejection> {
    Ok(if field.writes(Side::Target) {
        order(&field.convert(Side::Target, now.source)?, now.target)
    } else {
        order(now.source, &field.convert(Side::Source, now.target)?)
    })
}

/// Joins two sets, in the target's representation.
fn union(field: &FieldProgram, now: Both<&Value>) -> Result<Ruling, Rejection> {
    let mapped = field.convert(Side::Target, now.source)?;
    let (Value::List(ours), Value::List(theirs)) = (&mapped, now.target) else { return Ok(Ruling::Wait) };
    let mut joined = theirs.as_ref().clone();
    for item in ours.iter() {
        if !joined.iter().any(|other| same(other, item)) {
            joined.push(item.clone());
        }
    }
    Ok(if joined.len() == theirs.len() {
        Ruling::Wins(Side::Target)
    } else if theirs.iter().all(|item| ours.iter().any(|other| same(other, item))) {
        Ruling::Wins(Side::Source)
    } else {
        Ruling::Merge { target: Value::List(Box::new(joined)), bases: Both::new(now.source.clone(), mapped) }
    })
}

/// Adds what the source added to what the target shows.
fn sum_deltas(field: &FieldProgram, base: &Both<Value>, now: Both<&Value>) -> Result<Ruling, Rejection> {
    let mapped = |value: &Value| field.convert(Side::Target, value).map(|value| number(&value));
    let (Some(source_now), Some(source_base), Some(target_now), Some(target_base)) =
        (mapped(now.source)?, mapped(&base.source)?, number(now.target), number(&base.target))
    else {
        return Ok(Ruling::Wait);
    };
    let sums = source_now
        .checked_sub(source_base)
        .and_then(|added| Some((target_now.checked_add(added)?, target_base.checked_add(added)?)));
    let Some((target, target_base)) = sums else { return Ok(Ruling::Wait) };
    if same(&Value::Decimal(target), now.target) {
        // What the source added comes to nothing in the target's representation.
        return Ok(Ruling::Wins(Side::Target));
    }
    Ok(Ruling::Merge {
        target: field.fit(Side::Target, Value::Decimal(target))?,
        bases: Both::new(now.source.clone(), field.fit(Side::Target, Value::Decimal(target_base))?),
    })
}

fn number(value: &Value) -> Option<Decimal> {
    match value {
        Value::Integer(i) => Some(Decimal::from(*i)),
        Value::Decimal(d) => Some(*d),
        Value::Float(f) => f.to_string().parse().ok(),
        Value::Text(text) => match parse_number(text.trim())? {
            crate::record::Number::Integer(i) => Some(Decimal::from(i)),
            crate::record::Number::Decimal(d) => Some(d),
            crate::record::Number::Wide(_) => None,
        },
        _ => None,
    }
}
