//! What fits a field: values in the form that its kind holds.

use chrono::{DateTime, DurationRound, FixedOffset, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Timelike};
use compact_str::CompactString;
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;

use super::number::{Number, parse_number};
use super::{Interval, Kind, Misfit, Value, same};

impl Kind {
    /// Brings a value into the form a field of this kind holds, without losing
    /// anything: numbers between number types where no digit is lost, times at
    /// the precision held, text in ISO form to times and intervals, anything to
    /// text. What a type holds beside its plain values (`infinity`, `NaN`,
    /// `24:00:00`) is the text it is.
    ///
    /// # Errors
    /// A [`Misfit`] where something would be lost or the value is of another
    /// nature.
    pub fn fit(&self, value: Value) -> Result<Value, Misfit> {
        if self.holds(&value) {
            return Ok(value);
        }
        if matches!(value, Value::JsonNull) {
            return Ok(if *self == Kind::Json { value } else { Value::Null });
        }
        let fitted = match (self, value) {
            (Kind::Json, value) => Ok(in_json(value)),
            (Kind::Any | Kind::Other(_), value) => Ok(value),
            (Kind::Boolean, value) => match (whole_number(&value), &value) {
                (Some(0), _) => Ok(Value::Boolean(false)),
                (Some(1), _) => Ok(Value::Boolean(true)),
                (_, Value::Text(text)) => truth(text.trim()).map(Value::Boolean).ok_or(value),
                _ => Err(value),
            },
            (Kind::Integer { bits }, value) => fit_integer(*bits, value),
            (Kind::Decimal { precision, scale }, value) => fit_decimal(*precision, *scale, value),
            (Kind::Float { bits }, value) => fit_float(*bits, value),
            (Kind::Text { max, padded }, value) => fit_text(*max, *padded, value),
            (Kind::Uuid, value) => match uuid::Uuid::try_parse(value.to_string().trim()) {
                Ok(uuid) => Ok(Value::text(uuid.hyphenated().to_string())),
                Err(_) => Err(value),
            },
            (Kind::Enum { labels }, value) => {
                let label = value.to_string();
                if labels.contains(&label) { Ok(Value::text(label)) } else { Err(value) }
            }
            (Kind::Date, value) => match &value {
                Value::LocalTime(t) if t.time() == NaiveTime::MIN => Ok(Value::Date(t.date())),
                Value::Text(text) if is_endless(text) || is_far(text, false) => Ok(value),
                Value::Text(text) => text.trim().parse::<NaiveDate>().map(Value::Date).map_err(|_| value),
                _ => Err(value),
            },
            (Kind::Time { digits }, value) => match &value {
                Value::Time(t) => Ok(Value::Time(round_time(*t, *digits))),
                Value::Text(text) if text == "24:00:00" => Ok(value),
                Value::Text(text) => {
                    text.trim().parse::<NaiveTime>().map(|t| Value::Time(round_time(t, *digits))).map_err(|_| value)
                }
                _ => Err(value),
            },
            (Kind::LocalTime { digits }, value) => match &value {
                Value::LocalTime(t) => Ok(Value::LocalTime(round_local(*t, *digits))),
                Value::Date(d) => Ok(Value::LocalTime(d.and_time(NaiveTime::MIN))),
                Value::Text(text) if is_endless(text) || is_far(text, true) => Ok(value),
                Value::Text(text) => match parse_local(text.trim()) {
                    Some(t) => Ok(Value::LocalTime(round_local(t, *digits))),
                    None => Err(value),
                },
                _ => Err(value),
            },
            (Kind::Instant { digits }, value) => match &value {
                Value::Instant(t) => Ok(Value::Instant(round_local(t.naive_utc(), *digits).and_utc())),
                Value::Text(text) if is_endless(text) || is_far(text, true) => Ok(value),
                Value::Text(text) => match parse_zoned(text.trim()) {
                    Some(t) => Ok(Value::Instant(round_local(t.naive_utc(), *digits).and_utc())),
                    None => Err(value),
                },
                _ => Err(value),
            },
            (Kind::List(item), Value::List(items)) => {
                let fitted: Result<Vec<Value>, Misfit> = items.into_iter().map(|value| item.fit(value)).collect();
                return fitted.map(|items| Value::List(Box::new(items)));
            }
            (Kind::Interval, Value::Text(text)) => {
                text.parse::<Interval>().map(Value::Interval).map_err(|()| Value::Text(text))
            }
            // An array that is more than a list (of several dimensions, of other
            // bounds) is carried as its text.
            (Kind::List(_), Value::Text(text)) if text.starts_with(['{', '[']) && text.ends_with('}') => {
                Ok(Value::Text(text))
            }
            (Kind::Bytes, Value::Text(text)) => match parse_hex(&text) {
                Some(bytes) => Ok(Value::Bytes(bytes.into())),
                None => Err(Value::Text(text)),
            },
            (Kind::Bytes | Kind::Interval | Kind::List(_), value) => Err(value),
        };
        fitted.map_err(|value| self.misfit(&value))
    }

    /// True where a value is seen at once to have the form already: most have,
    /// and need not be taken apart and put together again.
    pub(crate) fn holds(&self, value: &Value) -> bool {
        match (self, value) {
            (_, Value::Missing | Value::Null)
            | (Kind::Boolean, Value::Boolean(_))
            | (Kind::Bytes, Value::Bytes(_))
            | (Kind::Date, Value::Date(_))
            | (Kind::Interval, Value::Interval(_)) => true,
            (Kind::Any | Kind::Other(_), value) => !matches!(value, Value::JsonNull),
            (Kind::Integer { bits: 16 }, Value::Integer(number)) => i16::try_from(*number).is_ok(),
            (Kind::Integer { bits: 32 }, Value::Integer(number)) => i32::try_from(*number).is_ok(),
            (Kind::Integer { .. }, Value::Integer(_)) => true,
            (Kind::Text { max, padded: false }, Value::Text(text)) => max.is_none_or(|max| text.len() <= max as usize),
            _ => false,
        }
    }

    fn misfit(&self, value: &Value) -> Misfit {
        let text = value.to_string();
        let mut shown: String = text.chars().take(60).collect();
        if shown.len() < text.len() {
            shown.push('…');
        }
        Misfit { message: format!("{} `{shown}` does not fit {}", value.type_name(), self.name()), value: text }
    }
}

/// The words for a boolean, as it is written into a text.
fn truth(text: &str) -> Option<bool> {
    let is = |word: &str| text.eq_ignore_ascii_case(word);
    if is("true") { Some(true) } else { is("false").then_some(false) }
}

/// `\x00ff` as bytes.
fn parse_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.strip_prefix("\\x").filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))?;
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok()).collect()
}

/// What stands at an end of time, where a system has such ends.
fn is_endless(text: &str) -> bool {
    matches!(text, "infinity" | "-infinity")
}

/// A day, or a time on it, beyond the year 262,142, where our calendar ends.
fn is_far(text: &str, timed: bool) -> bool {
    let Some((year, rest)) = text.split_once('-') else { return false };
    let far = (6..=7).contains(&year.len()) && year.parse::<u32>().is_ok_and(|year| year > 262_142);
    let (day, time) = rest.split_once(' ').unwrap_or((rest, ""));
    let day_is_one = format!("2000-{day}").parse::<NaiveDate>().is_ok();
    far && day_is_one
        && match time {
            "" => true,
            time => timed && time.trim_end_matches("+00").parse::<NaiveTime>().is_ok(),
        }
}

/// A value as a document holds it: what JSON has no form for is text there.
fn in_json(value: Value) -> Value {
    match value {
        Value::List(items) => Value::List(Box::new(items.into_iter().map(in_json_inside).collect())),
        Value::Map(map) => {
            Value::Map(Box::new(map.into_iter().map(|(key, item)| (key, in_json_inside(item))).collect()))
        }
        Value::Missing
        | Value::Null
        | Value::JsonNull
        | Value::Boolean(_)
        | Value::Integer(_)
        | Value::Decimal(_)
        | Value::Text(_) => value,
        Value::WideDecimal(ref text) if parse_number(text).is_some() => value,
        Value::Float(float) if float.is_finite() => value,
        other => Value::text(other.to_string()),
    }
}

fn in_json_inside(value: Value) -> Value {
    if value.is_null() { Value::Null } else { in_json(value) }
}

/// The exact number a value holds, text included.
fn number(value: &Value) -> Option<Number> {
    match value {
        Value::Boolean(b) => Some(Number::Integer(i64::from(*b))),
        Value::Integer(i) => Some(Number::Integer(*i)),
        Value::Decimal(d) => Some(Number::Decimal(*d)),
        Value::WideDecimal(text) => parse_number(text),
        Value::Float(f) => parse_number(&f.to_string()),
        Value::Text(text) => parse_number(text.trim()),
        _ => None,
    }
}

/// The same where it is a whole one of 64 bits.
fn whole_number(value: &Value) -> Option<i64> {
    match number(value)? {
        Number::Integer(integer) => Some(integer),
        Number::Decimal(decimal) if decimal.fract().is_zero() => decimal.to_i64(),
        Number::Decimal(_) | Number::Wide(_) => None,
    }
}

fn fit_integer(bits: u8, value: Value) -> Result<Value, Value> {
    let Some(whole) = whole_number(&value) else { return Err(value) };
    let fits = match bits {
        16 => i16::try_from(whole).is_ok(),
        32 => i32::try_from(whole).is_ok(),
        _ => true,
    };
    if fits { Ok(Value::Integer(whole)) } else { Err(value) }
}

fn fit_decimal(precision: Option<u16>, scale: Option<u16>, value: Value) -> Result<Value, Value> {
    let Some(number) = number(&value) else {
        // No number of digits holds the infinite; not a number is one anywhere.
        return match no_number(&value) {
            Some(special) if precision.is_none() || special == "NaN" => Ok(Value::WideDecimal(special.into())),
            _ => Err(value),
        };
    };
    let Some(precision) = precision else {
        return Ok(match number {
            Number::Integer(i) => Value::Decimal(Decimal::from(i)),
            other => other.into(),
        });
    };
    let scale = scale.unwrap_or(0);
    let (whole_digits, fraction_digits) = match &number {
        Number::Integer(i) => (digits_of(*i), 0),
        Number::Decimal(d) => {
            let d = d.normalize().abs();
            let whole = d.trunc().mantissa().unsigned_abs();
            (whole.checked_ilog10().map_or(0, |log| log as usize + 1), d.scale() as usize)
        }
        Number::Wide(text) => {
            let digits = text.trim_start_matches('-');
            let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
            (whole.trim_start_matches('0').len(), fraction.len())
        }
    };
    if fraction_digits > usize::from(scale) || whole_digits > usize::from(precision.saturating_sub(scale)) {
        return Err(value);
    }
    Ok(match number {
        Number::Integer(i) => Value::Decimal(Decimal::from(i)),
        other => other.into(),
    })
}

/// `NaN`, `Infinity` and `-Infinity`, in whatever type.
fn no_number(value: &Value) -> Option<&'static str> {
    let float = match value {
        Value::Float(float) => *float,
        Value::WideDecimal(text) | Value::Text(text) if matches!(text.trim(), "NaN" | "Infinity" | "-Infinity") => {
            text.trim().parse().ok()?
        }
        _ => return None,
    };
    match float {
        _ if float.is_nan() => Some("NaN"),
        f64::INFINITY => Some("Infinity"),
        f64::NEG_INFINITY => Some("-Infinity"),
        _ => None,
    }
}

fn digits_of(integer: i64) -> usize {
    integer.unsigned_abs().checked_ilog10().map_or(0, |log| log as usize + 1)
}

fn fit_float(bits: u8, value: Value) -> Result<Value, Value> {
    #[expect(clippy::cast_possible_truncation, reason = "a 32-bit field holds no more")]
    let held = |float: f64| if bits == 32 { single(float as f32) } else { float };
    if let Value::Float(float) = &value {
        let held = held(*float);
        // What is too large or too small for it would be infinite, or nothing.
        let is_lost = float.is_finite() && !held.is_finite() || held == 0.0 && *float != 0.0;
        return if is_lost { Err(value) } else { Ok(Value::Float(held)) };
    }
    let Some(number) = number(&value) else {
        return match no_number(&value) {
            Some(special) => Ok(Value::Float(special.parse().expect("these are floats"))),
            None => Err(value),
        };
    };
    let number = Value::from(number);
    let Ok(float) = number.to_string().parse().map(held) else { return Err(value) };
    // An exact number whose digits a float does not hold would come back as another.
    let back = parse_number(&float.to_string()).map(Value::from);
    if back.is_some_and(|back| same(&back, &number)) { Ok(Value::Float(float)) } else { Err(value) }
}

/// A number of 32 bits: the shortest decimal that they tell from others, which
/// is what databases print (`0.1`), not what 64 bits make of it.
pub(crate) fn single(number: f32) -> f64 {
    if !number.is_finite() || number.fract() == 0.0 && number.abs() < 16_777_216.0 {
        return number.into();
    }
    number.to_string().parse().unwrap_or_else(|_| number.into())
}

fn fit_text(max: Option<u32>, padded: bool, value: Value) -> Result<Value, Value> {
    let text = match value {
        Value::Text(text) => text,
        Value::List(_) | Value::Map(_) | Value::Bytes(_) => return Err(value),
        other => CompactString::from(other.to_string()),
    };
    let text = if padded { CompactString::from(text.trim_end_matches(' ')) } else { text };
    match max {
        Some(max) if text.len() > max as usize && text.chars().count() > max as usize => Err(Value::Text(text)),
        _ => Ok(Value::Text(text)),
    }
}

/// A time with its zone, of which the hours alone are enough: `+02`, as
/// `PostgreSQL` prints it.
fn parse_zoned(text: &str) -> Option<DateTime<FixedOffset>> {
    let has_hours_alone = |text: &str| {
        let zone = text.get(text.len().checked_sub(3)?..)?;
        Some(
            zone.starts_with(['+', '-']) && zone[1..].bytes().all(|digit| digit.is_ascii_digit()) && text.contains(':'),
        )
    };
    match text.parse() {
        Ok(time) => Some(time),
        Err(_) if has_hours_alone(text) == Some(true) => format!("{text}:00").parse().ok(),
        Err(_) => None,
    }
}

/// `2026-03-01T12:00:00.5`, with a blank or `T`, seconds optional.
fn parse_local(text: &str) -> Option<NaiveDateTime> {
    ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"]
        .iter()
        .find_map(|format| NaiveDateTime::parse_from_str(text, format).ok())
        .or_else(|| text.parse::<NaiveDate>().ok().map(|date| date.and_time(NaiveTime::MIN)))
}

fn round_time(time: NaiveTime, digits: u8) -> NaiveTime {
    let unit = 10u32.pow(u32::from(9 - digits.min(9)));
    let rounded = (time.nanosecond() + unit / 2) / unit * unit;
    // 23:59:59.9999 does not round into the next day: a time of day has none.
    time.with_nanosecond(rounded.min(999_999_999 / unit * unit)).unwrap_or(time)
}

fn round_local(time: NaiveDateTime, digits: u8) -> NaiveDateTime {
    let unit = 10i64.pow(u32::from(9 - digits.min(9)));
    if i64::from(time.and_utc().timestamp_subsec_nanos()) % unit == 0 {
        return time;
    }
    time.duration_round(TimeDelta::nanoseconds(unit)).unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decimal(text: &str) -> Value {
        parse_number(text).unwrap().into()
    }

    #[test]
    fn numbers_fit_where_no_digit_is_lost() {
        let money = Kind::Decimal { precision: Some(10), scale: Some(2) };
        assert_eq!(money.fit(decimal("19.90")), Ok(decimal("19.90")));
        assert!(money.fit(decimal("19.905")).is_err());
        assert!(money.fit(decimal("123456789.00")).is_err());
        assert_eq!(Kind::Integer { bits: 32 }.fit(decimal("7.00")), Ok(Value::Integer(7)));
        assert!(Kind::Integer { bits: 16 }.fit(Value::Integer(40000)).is_err());
        assert_eq!(Kind::Boolean.fit(Value::Integer(1)), Ok(Value::Boolean(true)));
        assert_eq!(Kind::Boolean.fit(decimal("0.00")), Ok(Value::Boolean(false)));
        assert_eq!(Kind::Decimal { precision: None, scale: None }.fit(decimal("10.00")).unwrap().to_string(), "10.00");
        assert_eq!(money.fit(decimal("10.00")).unwrap().to_string(), "10.00");
        assert_eq!(Kind::Integer { bits: 64 }.fit(Value::Boolean(true)), Ok(Value::Integer(1)));
        let error = money.fit(Value::text("abc")).unwrap_err();
        assert_eq!(error.message, "text `abc` does not fit decimal(10,2)");
    }

    #[test]
    fn text_fits_by_characters_and_padding() {
        let code = Kind::Text { max: Some(3), padded: true };
        assert_eq!(code.fit(Value::text("ãé  ")), Ok(Value::text("ãé")));
        assert!(code.fit(Value::text("abcd")).is_err());
        assert_eq!(Kind::Text { max: None, padded: false }.fit(Value::Integer(7)), Ok(Value::text("7")));
    }

    #[test]
    fn times_are_held_at_their_precision() {
        let at = |text: &str| Value::Instant(text.parse().unwrap());
        let kind = Kind::Instant { digits: 6 };
        assert_eq!(kind.fit(at("2026-03-01T12:00:00.1234567Z")), Ok(at("2026-03-01T12:00:00.123457Z")));
        assert_eq!(kind.fit(Value::text("2026-03-01T12:00:00-03:00")), Ok(at("2026-03-01T15:00:00Z")));
        assert_eq!(kind.fit(Value::text("2026-03-01 12:00:00-03")), Ok(at("2026-03-01T15:00:00Z")));
        assert_eq!(kind.fit(Value::text("2026-03-01 12:00:00.5+0530")), Ok(at("2026-03-01T06:30:00.5Z")));
        for text in ["2026-03-01", "2026-03-01 12:00:00", "2026-03-01 12:00:00-é", "12:00-03"] {
            assert!(kind.fit(Value::text(text)).is_err(), "{text}");
        }
        assert!(Kind::Date.fit(Value::text("01/03/2026")).is_err());
        assert_eq!(kind.fit(at("+12026-03-01T12:00:00Z")), Ok(at("+12026-03-01T12:00:00Z")));
        assert_eq!(kind.fit(Value::text(at("+12026-03-01T12:00:00Z").to_string())), Ok(at("+12026-03-01T12:00:00Z")));
    }

    #[test]
    fn what_stands_beside_the_plain_values_of_a_type_fits_it() {
        let (stamp, zoned) = (Kind::LocalTime { digits: 6 }, Kind::Instant { digits: 6 });
        for (kind, text) in [
            (&Kind::Date, "infinity"),
            (&Kind::Date, "5874897-12-31"),
            (&stamp, "-infinity"),
            (&stamp, "294276-12-31 23:59:59.999999"),
            (&zoned, "infinity"),
            (&zoned, "294276-12-31 23:59:59+00"),
            (&Kind::Time { digits: 6 }, "24:00:00"),
            (&Kind::List(Box::new(Kind::Text { max: None, padded: false })), "[0:1]={x,y}"),
        ] {
            assert_eq!(kind.fit(Value::text(text)), Ok(Value::text(text)), "{kind:?}");
            assert!(Kind::Integer { bits: 64 }.fit(Value::text(text)).is_err());
        }
        for text in ["5874897-13-01", "5874897-12-31x", "5874897-12-31 10:00:00", "never", "24:00:01"] {
            assert!(Kind::Date.fit(Value::text(text)).is_err(), "{text}");
        }
        let dates = Kind::List(Box::new(Kind::Date));
        let list = Value::List(Box::new(vec![Value::text("infinity"), Value::Null]));
        assert_eq!(dates.fit(list.clone()), Ok(list));
        let nan = Value::WideDecimal("NaN".into());
        let money = Kind::Decimal { precision: Some(10), scale: Some(2) };
        let any = Kind::Decimal { precision: None, scale: None };
        for value in [nan.clone(), Value::Float(f64::NAN), Value::text("NaN")] {
            assert_eq!(money.fit(value), Ok(nan.clone()));
        }
        assert!(money.fit(Value::Float(f64::INFINITY)).is_err());
        assert_eq!(any.fit(Value::Float(f64::INFINITY)), Ok(Value::WideDecimal("Infinity".into())));
        assert_eq!(Kind::Float { bits: 64 }.fit(nan), Ok(Value::Float(f64::NAN)));
        let text = |float: f64| Kind::Text { max: None, padded: false }.fit(Value::Float(float)).unwrap();
        assert_eq!(text(f64::NEG_INFINITY), Value::text("-Infinity"));
        assert_eq!(Kind::Float { bits: 64 }.fit(text(f64::NEG_INFINITY)), Ok(Value::Float(f64::NEG_INFINITY)));
        for (text, held) in [("true", Ok(true)), ("False", Ok(false)), ("yes", Err(())), ("", Err(()))] {
            let fitted = Kind::Boolean.fit(Value::text(text)).map_err(drop);
            assert_eq!(fitted, held.map(Value::Boolean), "{text}");
        }
    }

    #[test]
    fn a_float_takes_exact_numbers_whose_digits_it_holds() {
        let (single, double) = (Kind::Float { bits: 32 }, Kind::Float { bits: 64 });
        assert_eq!(double.fit(decimal("0.10")), Ok(Value::Float(0.1)));
        assert_eq!(single.fit(decimal("0.1")), Ok(Value::Float(0.1)));
        assert_eq!(single.fit(Value::Float(0.123_456_789_1)), Ok(Value::Float(0.123_456_79)));
        for lost in [1e300, -1e39, 1e-300] {
            assert!(single.fit(Value::Float(lost)).is_err(), "{lost}");
        }
        assert!(double.fit(decimal("123456789.123456789")).is_err());
        assert!(double.fit(Value::Integer((1 << 53) + 1)).is_err());
        assert!(double.fit(decimal("12345678901234567890123456789012345")).is_err());
        assert!(single.fit(decimal("0.1234567891")).is_err());
    }

    #[test]
    fn a_document_holds_what_json_has_a_form_for() {
        let list = |items: Vec<Value>| Value::List(Box::new(items));
        let day = || Value::Date("2020-01-01".parse().unwrap());
        assert_eq!(
            Kind::Json.fit(list(vec![day(), Value::JsonNull])),
            Ok(list(vec![Value::text("2020-01-01"), Value::Null]))
        );
        assert_eq!(Kind::Json.fit(Value::JsonNull), Ok(Value::JsonNull));
        assert_eq!(Kind::Bytes.fit(Value::JsonNull), Ok(Value::Null));
        assert_eq!(Kind::Bytes.fit(Value::text("\\x00fF")), Ok(Value::Bytes(vec![0, 255].into())));
        assert!(["\\x0", "00", "\\x+f"].iter().all(|text| Kind::Bytes.fit(Value::text(text)).is_err()));
        assert_eq!(Kind::List(Box::new(Kind::Date)).fit(list(vec![Value::text("2020-01-01")])), Ok(list(vec![day()])));
    }
}
