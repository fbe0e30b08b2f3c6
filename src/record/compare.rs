//! When two values mean the same, and how they are ordered.

use std::cmp::Ordering;

use rust_decimal::Decimal;
use rust_decimal::prelude::FromPrimitive;

use super::{
    Value,
    number::{Number, parse_number},
};

/// True when both values mean the same: numbers by value whatever their type
/// and scale, instants by the point in time, lists and maps by content (the
/// order of a map's keys carries no meaning). Missing and null mean the same;
/// empty text and null do not. Text is exact.
pub fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Missing | Value::Null, Value::Missing | Value::Null) => true,
        (Value::Text(a), Value::Text(b)) => a == b,
        (Value::Integer(a), Value::Integer(b)) => a == b,
        (Value::Decimal(a), Value::Decimal(b)) => a == b,
        (Value::Float(a), Value::Float(b)) => {
            a.total_cmp(b).is_eq() || *a == 0.0 && *b == 0.0 || a.is_nan() && b.is_nan()
        }
        (Value::List(a), Value::List(b)) => a.len() == b.len() && a.iter().zip(b.iter()).all(|(a, b)| same(a, b)),
        (Value::Map(a), Value::Map(b)) => {
            a.len() == b.len() && a.iter().all(|(key, value)| b.get(key).is_some_and(|other| same(value, other)))
        }
        _ if is_number(a) && is_number(b) => order_numbers(a, b) == Some(Ordering::Equal),
        _ => a == b,
    }
}

/// Orders two values of comparable types: numbers among each other, text by
/// code point, times by time. `None` where an order has no meaning.
pub fn order(a: &Value, b: &Value) -> Option<Ordering> {
    match (a, b) {
        (Value::Text(a), Value::Text(b)) => Some(a.cmp(b)),
        (Value::Boolean(a), Value::Boolean(b)) => Some(a.cmp(b)),
        (Value::Bytes(a), Value::Bytes(b)) => Some(a.cmp(b)),
        (Value::Date(a), Value::Date(b)) => Some(a.cmp(b)),
        (Value::Time(a), Value::Time(b)) => Some(a.cmp(b)),
        (Value::LocalTime(a), Value::LocalTime(b)) => Some(a.cmp(b)),
        (Value::Instant(a), Value::Instant(b)) => Some(a.cmp(b)),
        _ if is_number(a) && is_number(b) => order_numbers(a, b),
        _ => None,
    }
}

fn is_number(value: &Value) -> bool {
    matches!(value, Value::Integer(_) | Value::Decimal(_) | Value::WideDecimal(_) | Value::Float(_))
}

fn order_numbers(a: &Value, b: &Value) -> Option<Ordering> {
    if let (Some(a), Some(b)) = (exact(a), exact(b)) {
        return Some(a.cmp(&b));
    }
    if let (Value::Float(a), Value::Float(b)) = (a, b) {
        return a.partial_cmp(b);
    }
    // A double stands for the shortest number that reads back as it.
    order_wide(&a.to_string(), &b.to_string())
}

fn exact(value: &Value) -> Option<Decimal> {
    match value {
        Value::Integer(i) => Some(Decimal::from(*i)),
        Value::Decimal(d) => Some(*d),
        // The shortest text that reads back as this double is what the system shows.
        Value::Float(f) if f.is_finite() && f.abs() < 1e15 => {
            f.to_string().parse().ok().or_else(|| Decimal::from_f64(*f))
        }
        _ => None,
    }
}

/// Orders two plain decimal texts of any length; `NaN` is above all, as in
/// PostgreSQL.
fn order_wide(a: &str, b: &str) -> Option<Ordering> {
    let special = |text: &str| match text {
        "NaN" => 2,
        "Infinity" => 1,
        "-Infinity" => -1,
        _ => 0,
    };
    match (special(a), special(b)) {
        (0, 0) => {}
        (x, y) if x == 2 || y == 2 || x != 0 && y != 0 => return Some(x.cmp(&y)),
        (x, 0) => return Some(x.cmp(&0)),
        (_, y) => return Some(0.cmp(&y)),
    }
    let split = |text: &str| -> Option<(bool, String, String)> {
        let canonical = match parse_number(text)? {
            Number::Wide(wide) => wide.to_string(),
            Number::Integer(i) => i.to_string(),
            Number::Decimal(d) => d.normalize().to_string(),
        };
        let negative = canonical.starts_with('-');
        let digits = canonical.trim_start_matches('-');
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        Some((negative, whole.trim_start_matches('0').to_owned(), fraction.to_owned()))
    };
    let (a, b) = (split(a)?, split(b)?);
    Some(match (a.0, b.0) {
        (false, true) => Ordering::Greater,
        (true, false) => Ordering::Less,
        (negative, _) => {
            let magnitude = a.1.len().cmp(&b.1.len()).then_with(|| a.1.cmp(&b.1)).then_with(|| a.2.cmp(&b.2));
            if negative { magnitude.reverse() } else { magnitude }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decimal(text: &str) -> Value {
        parse_number(text).unwrap().into()
    }

    #[test]
    fn numbers_mean_the_same_whatever_their_type() {
        assert!(same(&Value::Integer(2), &decimal("2.00")));
        assert!(same(&Value::Float(0.1), &decimal("0.1")));
        assert!(same(&decimal("123456789012345678901234567890.10"), &decimal("123456789012345678901234567890.1")));
        assert!(!same(&decimal("123456789012345678901234567890.1"), &decimal("123456789012345678901234567890.2")));
        assert!(!same(&Value::text("2"), &Value::Integer(2)));
        assert!(same(&Value::Float(1e22), &decimal("10000000000000000000000")));
        assert!(!same(&Value::Float(1.234_567_890_123_456_8e22), &decimal("12345678901234567890123")));
        assert!(!same(&Value::Float(f64::INFINITY), &decimal(&"9".repeat(400))));
        assert!(same(&Value::Float(f64::INFINITY), &Value::WideDecimal("Infinity".into())));
    }

    #[test]
    fn empty_text_is_not_null() {
        assert!(!same(&Value::text(""), &Value::Null));
        assert!(same(&Value::Missing, &Value::Null));
        assert!(!same(&Value::JsonNull, &Value::Null));
    }

    #[test]
    fn wide_numbers_are_ordered() {
        let big = decimal("99999999999999999999999999999999");
        assert_eq!(order(&big, &Value::Integer(3)), Some(Ordering::Greater));
        assert_eq!(order(&decimal("-99999999999999999999999999999999"), &Value::Integer(3)), Some(Ordering::Less));
        assert_eq!(order(&Value::WideDecimal("NaN".into()), &big), Some(Ordering::Greater));
    }
}
