//! Exact numbers: what expressions and rules compute with.
//!
//! Nothing here rounds unless its name says so; where a result would need more
//! digits than a decimal has, there is no result.

use std::cmp::Ordering;

use rust_decimal::prelude::ToPrimitive;
use rust_decimal::{Decimal, RoundingStrategy};

use crate::compile::trouble::{Trouble, shown};
use crate::diagnostic::Code;
use crate::record::{Number, Value, parse_number};

/// The largest mantissa of a decimal: of its 29th digit only a part is there.
const LARGEST: u128 = 10u128.pow(28) - 1;
/// The most digits a decimal has after the point.
const SCALES: u32 = 28;

const POWERS: [i128; 39] = {
    let mut powers = [1i128; 39];
    let mut index = 1;
    while index < powers.len() {
        powers[index] = powers[index - 1] * 10;
        index += 1;
    }
    powers
};

/// Ten to the power of `exponent`, where 127 bits hold it.
pub(crate) fn power(exponent: u32) -> Option<i128> {
    POWERS.get(exponent as usize).copied()
}

/// `mantissa / 10^scale`, dropping zeros at the end where that is needed.
fn build(mut mantissa: i128, mut scale: u32) -> Option<Decimal> {
    while scale > SCALES || mantissa.unsigned_abs() > LARGEST {
        if scale == 0 || mantissa % 10 != 0 {
            return None;
        }
        mantissa /= 10;
        scale -= 1;
    }
    Decimal::try_from_i128_with_scale(mantissa, scale).ok()
}

/// The exact sum.
pub(crate) fn add(a: Decimal, b: Decimal) -> Option<Decimal> {
    let sum = |a: Decimal, b: Decimal| {
        let scale = a.scale().max(b.scale());
        let lift = |d: Decimal| d.mantissa().checked_mul(power(scale - d.scale())?);
        build(lift(a)?.checked_add(lift(b)?)?, scale)
    };
    sum(a, b).or_else(|| sum(a.normalize(), b.normalize()))
}

/// The exact product.
pub(crate) fn multiply(a: Decimal, b: Decimal) -> Option<Decimal> {
    let product = |a: Decimal, b: Decimal| build(a.mantissa().checked_mul(b.mantissa())?, a.scale() + b.scale());
    product(a, b).or_else(|| product(a.normalize(), b.normalize()))
}

/// The quotient: exact where it ends within 28 digits, else rounded half-even
/// at 28 significant digits. `None` where it is too large.
pub(crate) fn divide(a: Decimal, b: Decimal) -> Option<Decimal> {
    let quotient = a.checked_div(b)?.normalize();
    if quotient.mantissa().unsigned_abs() < 10u128.pow(28) || multiply(quotient, b) == Some(a) {
        return Some(quotient);
    }
    quotient.round_sf_with_strategy(28, RoundingStrategy::MidpointNearestEven).map(|quotient| quotient.normalize())
}

/// The greatest whole number not above the quotient.
pub(crate) fn floor_divide(a: Decimal, b: Decimal) -> Option<Decimal> {
    let remainder = modulo(a, b)?;
    let whole = add(a, -remainder)?.checked_div(b)?;
    Some(whole.round())
}

/// What remains after [`floor_divide`]; it has the sign of the divisor.
pub(crate) fn modulo(a: Decimal, b: Decimal) -> Option<Decimal> {
    let remainder = a.checked_rem(b)?;
    if !remainder.is_zero() && remainder.is_sign_negative() != b.is_sign_negative() {
        return add(remainder, b);
    }
    Some(remainder)
}

/// `a * b` with exactly `scale` digits after the point, halves away from zero.
pub(crate) fn multiply_at(a: Decimal, b: Decimal, scale: u32) -> Option<Decimal> {
    let product = |a: Decimal, b: Decimal| Some((a.mantissa().checked_mul(b.mantissa())?, a.scale() + b.scale()));
    let (mantissa, digits) = product(a, b).or_else(|| product(a.normalize(), b.normalize()))?;
    let rounded = if digits > scale {
        round_quotient(mantissa, power(digits - scale)?)
    } else {
        mantissa.checked_mul(power(scale - digits)?)?
    };
    build(rounded, scale)
}

/// `a / b` with exactly `scale` digits after the point, halves away from zero.
pub(crate) fn divide_at(a: Decimal, b: Decimal, scale: u32) -> Option<Decimal> {
    let (a, b) = (a.normalize(), b.normalize());
    // a / b * 10^scale = a.mantissa * 10^(b.scale + scale) / (b.mantissa * 10^a.scale)
    let (up, down) = (b.scale() + scale, a.scale());
    let common = up.min(down);
    let numerator = a.mantissa().checked_mul(power(up - common)?)?;
    let denominator = b.mantissa().checked_mul(power(down - common)?)?;
    if denominator == 0 {
        return None;
    }
    build(round_quotient(numerator, denominator), scale)
}

/// The number rounded to exactly `scale` digits after the point.
pub(crate) fn round_at(number: Decimal, scale: u32, strategy: RoundingStrategy) -> Option<Decimal> {
    let mut rounded = number.round_dp_with_strategy(scale, strategy);
    if rounded.scale() < scale {
        rounded = build(rounded.mantissa().checked_mul(power(scale - rounded.scale())?)?, scale)?;
    }
    Some(rounded)
}

/// The quotient as a whole number, halves away from zero.
fn round_quotient(numerator: i128, denominator: i128) -> i128 {
    let (quotient, remainder) = (numerator / denominator, numerator % denominator);
    let half_or_more = remainder.unsigned_abs() >= denominator.unsigned_abs().div_ceil(2);
    if !half_or_more {
        quotient
    } else if (numerator < 0) == (denominator < 0) {
        quotient + 1
    } else {
        quotient - 1
    }
}

/// The exact number of a numeric value.
///
/// # Errors
/// Where the value is not a number, or one of more than 28 digits.
pub(crate) fn exact(value: &Value) -> Result<Decimal, Box<Trouble>> {
    match value {
        Value::Integer(integer) => Ok(Decimal::from(*integer)),
        Value::Decimal(decimal) => Ok(*decimal),
        // The shortest text that reads back as this double is what its system shows.
        Value::Float(float) => match parse_number(&float.to_string()) {
            Some(Number::Integer(integer)) => Ok(Decimal::from(integer)),
            Some(Number::Decimal(decimal)) => Ok(decimal),
            _ => Err(too_long(value)),
        },
        Value::WideDecimal(_) => Err(too_long(value)),
        other => Err(Trouble::with(
            Code::WRONG_NATURE,
            other,
            match other {
                Value::Text(_) => format!("{} is not a number; the rule `decimal` makes it one", shown(other)),
                _ => format!("{} is not a number", shown(other)),
            },
        )),
    }
}

#[expect(clippy::unnecessary_box_returns, reason = "trouble is boxed wherever it is returned")]
pub(crate) fn too_long(value: &Value) -> Box<Trouble> {
    Trouble::with(
        Code::NUMBER_TOO_LONG,
        value,
        format!("{} takes more digits than can be computed with, in itself or in what comes of it", shown(value)),
    )
}

/// A result without a fraction as an integer, any other as it is.
pub(crate) fn narrow(number: Decimal) -> Value {
    match number.to_i64() {
        Some(integer) if number.scale() == 0 => Value::Integer(integer),
        _ => Value::Decimal(number),
    }
}

/// The operators of expressions that compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    FloorDivide,
    Modulo,
}

impl Operator {
    fn sign(self) -> &'static str {
        match self {
            Operator::Add => "+",
            Operator::Subtract => "-",
            Operator::Multiply => "*",
            Operator::Divide => "/",
            Operator::FloorDivide => "//",
            Operator::Modulo => "%",
        }
    }

    /// Computes with two values. Null makes null; two texts are joined by `+`.
    pub(super) fn apply(self, a: &Value, b: &Value) -> Result<Value, Box<Trouble>> {
        if a.is_null() || b.is_null() {
            return Ok(Value::Null);
        }
        match (self, a, b) {
            (Operator::Add, Value::Integer(a), Value::Integer(b)) => {
                if let Some(sum) = a.checked_add(*b) {
                    return Ok(Value::Integer(sum));
                }
            }
            (Operator::Subtract, Value::Integer(a), Value::Integer(b)) => {
                if let Some(difference) = a.checked_sub(*b) {
                    return Ok(Value::Integer(difference));
                }
            }
            (Operator::Multiply, Value::Integer(a), Value::Integer(b)) => {
                if let Some(product) = a.checked_mul(*b) {
                    return Ok(Value::Integer(product));
                }
            }
            (Operator::Add, Value::Text(a), Value::Text(b)) => {
                let mut joined = a.clone();
                joined.push_str(b);
                return Ok(Value::Text(joined));
            }
            (_, Value::Text(_), _) | (_, _, Value::Text(_)) => {
                let text = if matches!(a, Value::Text(_)) { a } else { b };
                return Err(Trouble::with(
                    Code::WRONG_NATURE,
                    text,
                    format!(
                        "`{}` computes with numbers, and {} is not one; `~` joins texts, `| decimal` makes a number",
                        self.sign(),
                        shown(text)
                    ),
                ));
            }
            _ => {}
        }
        let (x, y) = (exact(a)?, exact(b)?);
        let divides = matches!(self, Operator::Divide | Operator::FloorDivide | Operator::Modulo);
        if divides && y.is_zero() {
            return Err(Trouble::new(Code::DIVISION_BY_ZERO, format!("{} cannot be divided by zero", shown(a))));
        }
        let result = match self {
            Operator::Add => add(x, y),
            Operator::Subtract => add(x, -y),
            Operator::Multiply => multiply(x, y),
            Operator::Divide => divide(x, y),
            Operator::FloorDivide => floor_divide(x, y),
            Operator::Modulo => modulo(x, y),
        };
        let whole = matches!((a, b), (Value::Integer(_), Value::Integer(_)));
        match result {
            Some(number) if whole => Ok(narrow(number)),
            Some(number) => Ok(Value::Decimal(number)),
            None => Err(Trouble::new(
                Code::NUMBER_TOO_LONG,
                format!("`{a} {} {b}` has more than 28 digits; `round` what goes in", self.sign()),
            )),
        }
    }
}

/// The sign turned round; null stays null.
pub(super) fn negate(value: &Value) -> Result<Value, Box<Trouble>> {
    match value {
        Value::Missing | Value::Null | Value::JsonNull => Ok(Value::Null),
        Value::Integer(integer) => {
            Ok(integer.checked_neg().map_or_else(|| Value::Decimal(-Decimal::from(*integer)), Value::Integer))
        }
        other => exact(other).map(|number| Value::Decimal(-number)),
    }
}

/// The operators of expressions that compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
    NotIn,
}

impl Comparison {
    pub(super) fn holds(self, a: &Value, b: &Value) -> Result<bool, Box<Trouble>> {
        match self {
            Comparison::Equal => Ok(equal(a, b)),
            Comparison::NotEqual => Ok(!equal(a, b)),
            Comparison::In => contains(b, a),
            Comparison::NotIn => contains(b, a).map(|found| !found),
            _ if a.is_null() || b.is_null() => Ok(false),
            _ => {
                let ordering = ordered(a, b)?;
                Ok(match self {
                    Comparison::Less => ordering == Ordering::Less,
                    Comparison::LessOrEqual => ordering != Ordering::Greater,
                    Comparison::Greater => ordering == Ordering::Greater,
                    _ => ordering != Ordering::Less,
                })
            }
        }
    }
}

/// Both as times where one is a time and the other an ISO text of one.
fn as_times(a: &Value, b: &Value) -> Option<(Value, Value)> {
    use crate::record::Kind;
    let kind = |value: &Value| match value {
        Value::Date(_) => Some(Kind::Date),
        Value::Time(_) => Some(Kind::Time { digits: 9 }),
        Value::LocalTime(_) => Some(Kind::LocalTime { digits: 9 }),
        Value::Instant(_) => Some(Kind::Instant { digits: 9 }),
        _ => None,
    };
    match (a, b) {
        (time, Value::Text(_)) => Some((time.clone(), kind(time)?.fit(b.clone()).ok()?)),
        (Value::Text(_), time) => Some((kind(time)?.fit(a.clone()).ok()?, time.clone())),
        _ => None,
    }
}

fn equal(a: &Value, b: &Value) -> bool {
    crate::record::same(a, b) || as_times(a, b).is_some_and(|(a, b)| a == b)
}

fn ordered(a: &Value, b: &Value) -> Result<Ordering, Box<Trouble>> {
    crate::record::order(a, b)
        .or_else(|| as_times(a, b).and_then(|(a, b)| crate::record::order(&a, &b)))
        .ok_or_else(|| Trouble::with(Code::WRONG_NATURE, a, format!("{} and {} have no order", shown(a), shown(b))))
}

fn contains(whole: &Value, part: &Value) -> Result<bool, Box<Trouble>> {
    match whole {
        Value::Missing | Value::Null | Value::JsonNull => Ok(false),
        Value::List(items) => Ok(items.iter().any(|item| equal(item, part))),
        Value::Map(map) => Ok(matches!(part, Value::Text(key) if map.contains_key(key))),
        Value::Text(text) => Ok(match part {
            Value::Text(part) => text.contains(part.as_str()),
            _ => false,
        }),
        other => Err(Trouble::with(Code::WRONG_NATURE, other, format!("nothing is `in` {}", shown(other)))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn d(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    #[test]
    fn sums_and_products_are_exact_or_refused() {
        assert_eq!(add(d("0.1"), d("0.2")), Some(d("0.3")));
        assert_eq!(multiply(d("19.99"), d("3")), Some(d("59.97")));
        assert_eq!(multiply(d("0.1234567890123456789012345678"), d("1.1")), None);
        assert_eq!(multiply(d("0.5"), d("0.0000000000000000000000000002")), Some(d("0.0000000000000000000000000001")));
        assert_eq!(add(d("9999999999999999999999999999"), d("0.1")), None);
        assert_eq!(add(d("10000000000000000000"), d("0.000000000")), Some(d("10000000000000000000")));
    }

    #[test]
    fn quotients_end_or_have_28_digits() {
        assert_eq!(divide(d("1"), d("8")), Some(d("0.125")));
        assert_eq!(divide(d("2"), d("3")), Some(d("0.6666666666666666666666666667")));
        assert_eq!(divide(d("200"), d("3")), Some(d("66.66666666666666666666666667")));
        assert_eq!(divide(d("70"), d("9")).map(|q| q.to_string()), Some("7.777777777777777777777777778".into()));
    }

    #[test]
    fn floors_and_remainders_follow_the_divisor() {
        for (a, b, quotient, remainder) in [
            ("7", "3", "2", "1"),
            ("-7", "3", "-3", "2"),
            ("7", "-3", "-3", "-2"),
            ("7.5", "2", "3", "1.5"),
            ("-0.5", "1", "-1", "0.5"),
        ] {
            assert_eq!(floor_divide(d(a), d(b)), Some(d(quotient)), "{a} // {b}");
            assert_eq!(modulo(d(a), d(b)), Some(d(remainder)), "{a} % {b}");
        }
    }

    #[test]
    fn products_and_quotients_at_a_scale_round_halves_away_from_zero() {
        assert_eq!(multiply_at(d("10.01"), d("1.1"), 2).map(|p| p.to_string()), Some("11.01".into()));
        assert_eq!(multiply_at(d("-0.05"), d("0.1"), 2).map(|p| p.to_string()), Some("-0.01".into()));
        assert_eq!(multiply_at(d("10"), d("1"), 2).map(|p| p.to_string()), Some("10.00".into()));
        assert_eq!(divide_at(d("11.05"), d("1.1"), 2).map(|q| q.to_string()), Some("10.05".into()));
        assert_eq!(divide_at(d("1"), d("-8"), 2).map(|q| q.to_string()), Some("-0.13".into()));
        assert_eq!(divide_at(d("1"), d("0"), 2), None);
    }
}
