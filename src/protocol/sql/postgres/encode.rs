//! Values as the text PostgreSQL's types are read from: parameters, COPY
//! lines, and literals alike.

use std::borrow::Cow;
use std::fmt::Write;

use chrono::{Datelike, Timelike};

use super::types::Type;
use crate::record::{Value, json};

/// The text of a value for a column of this type; `None` for no value.
pub(super) fn text<'a>(kind: &Type, value: &'a Value) -> Option<Cow<'a, str>> {
    Some(match value {
        Value::Missing | Value::Null => return None,
        Value::JsonNull if !matches!(kind, Type::Json | Type::Jsonb) => return None,
        _ if matches!(kind, Type::Json | Type::Jsonb) => {
            let mut out = String::new();
            json::write(value, &mut out);
            Cow::Owned(out)
        }
        Value::Text(text) | Value::WideDecimal(text) => Cow::Borrowed(text.as_str()),
        Value::Boolean(b) => Cow::Borrowed(if *b { "true" } else { "false" }),
        Value::Float(f) if f.is_infinite() => Cow::Borrowed(if *f > 0.0 { "Infinity" } else { "-Infinity" }),
        Value::Date(_) | Value::LocalTime(_) | Value::Instant(_) | Value::Time(_) => {
            let mut out = String::with_capacity(32);
            push_time(value, &mut out);
            Cow::Owned(out)
        }
        Value::Interval(interval) => {
            let seconds = rust_decimal::Decimal::new(interval.microseconds, 6);
            Cow::Owned(format!("{} months {} days {seconds} seconds", interval.months, interval.days))
        }
        Value::List(items) => {
            let mut out = String::new();
            if let Type::Array(element) = kind {
                array(element, items, 1, &mut out);
            } else {
                json::write(value, &mut out);
            }
            Cow::Owned(out)
        }
        Value::Map(_) => {
            let mut out = String::new();
            json::write(value, &mut out);
            Cow::Owned(out)
        }
        Value::Integer(_) | Value::Decimal(_) | Value::Float(_) | Value::Bytes(_) | Value::JsonNull => {
            Cow::Owned(value.to_string())
        }
    })
}

/// Dates and times, digit by digit: a general formatter takes many times as
/// long, for every row. Years before the first are told by `BC`.
fn push_time(value: &Value, out: &mut String) {
    let (day, time, zone) = match value {
        Value::Date(day) => (Some(*day), None, ""),
        Value::Time(time) => (None, Some(*time), ""),
        Value::LocalTime(time) => (Some(time.date()), Some(time.time()), ""),
        Value::Instant(time) => (Some(time.date_naive()), Some(time.time()), "+00"),
        _ => (None, None, ""),
    };
    let before_christ = day.is_some_and(|day| day.year() <= 0);
    if let Some(day) = day {
        let year = if before_christ { 1 - day.year() } else { day.year() };
        push_digits(year.unsigned_abs(), 4, out);
        out.push('-');
        push_digits(day.month(), 2, out);
        out.push('-');
        push_digits(day.day(), 2, out);
        if time.is_some() {
            out.push(' ');
        }
    }
    if let Some(time) = time {
        push_digits(time.hour(), 2, out);
        out.push(':');
        push_digits(time.minute(), 2, out);
        out.push(':');
        push_digits(time.second(), 2, out);
        let nanoseconds = time.nanosecond() % 1_000_000_000;
        if nanoseconds % 1000 != 0 {
            out.push('.');
            push_digits(nanoseconds, 9, out);
        } else if nanoseconds != 0 {
            out.push('.');
            push_digits(nanoseconds / 1000, 6, out);
        }
        out.push_str(zone);
    }
    if before_christ {
        out.push_str(" BC");
    }
}

/// A number with at least `width` digits.
fn push_digits(number: u32, width: usize, out: &mut String) {
    let mut digits = [b'0'; 10];
    let mut rest = number;
    let mut first = digits.len();
    while rest > 0 || digits.len() - first < width {
        first -= 1;
        digits[first] = b'0' + u8::try_from(rest % 10).expect("a digit is below ten");
        rest /= 10;
    }
    digits[first..].iter().for_each(|digit| out.push(char::from(*digit)));
}

/// An array of so many dimensions, as the server reads it.
pub(super) fn array(element: &Type, items: &[Value], dimensions: usize, out: &mut String) {
    out.push('{');
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        match (item, text(element, item)) {
            (Value::List(inner), _) if dimensions > 1 || !matches!(element, Type::Json | Type::Jsonb) => {
                array(element, inner, dimensions.saturating_sub(1), out);
            }
            (_, None) => out.push_str("NULL"),
            (_, Some(text)) => {
                out.push('"');
                for character in text.chars() {
                    if matches!(character, '"' | '\\') {
                        out.push('\\');
                    }
                    out.push(character);
                }
                out.push('"');
            }
        }
    }
    out.push('}');
}

/// Appends a value to a line of COPY's text format.
pub(super) fn copy_field(kind: &Type, value: &Value, out: &mut String) {
    match value {
        Value::Integer(integer) => write!(out, "{integer}").expect("writing to a string cannot fail"),
        Value::Decimal(decimal) => write!(out, "{decimal}").expect("writing to a string cannot fail"),
        Value::Date(_) | Value::LocalTime(_) | Value::Instant(_) | Value::Time(_)
            if !matches!(kind, Type::Json | Type::Jsonb) =>
        {
            push_time(value, out);
        }
        _ => match text(kind, value) {
            None => out.push_str("\\N"),
            Some(text) if !text.bytes().any(|byte| matches!(byte, b'\\' | b'\n' | b'\r' | b'\t')) => {
                out.push_str(&text);
            }
            Some(text) => {
                for character in text.chars() {
                    match character {
                        '\\' => out.push_str("\\\\"),
                        '\n' => out.push_str("\\n"),
                        '\r' => out.push_str("\\r"),
                        '\t' => out.push_str("\\t"),
                        other => out.push(other),
                    }
                }
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Interval;

    fn shown(kind: &Type, value: &Value) -> String {
        text(kind, value).unwrap().into_owned()
    }

    #[test]
    fn times_are_written_as_the_server_reads_them() {
        let at = |text: &str| Value::LocalTime(text.parse().unwrap());
        assert_eq!(shown(&Type::Timestamp, &at("2026-03-01T12:00:00.5")), "2026-03-01 12:00:00.500000");
        assert_eq!(shown(&Type::Timestamp, &at("-0043-03-15T12:00:00")), "0044-03-15 12:00:00 BC");
        assert_eq!(
            shown(&Type::Date, &Value::Date(chrono::NaiveDate::from_ymd_opt(12026, 1, 2).unwrap())),
            "12026-01-02"
        );
        let interval = Interval { months: -1, days: 2, microseconds: -1_500_000 };
        assert_eq!(shown(&Type::Interval, &Value::Interval(interval)), "-1 months 2 days -1.500000 seconds");
    }

    #[test]
    fn arrays_and_lines_are_escaped() {
        let list = Value::List(Box::new(vec![Value::text("a\"\\,{}"), Value::Null, Value::text("NULL")]));
        assert_eq!(shown(&Type::Array(Box::new(Type::Text)), &list), r#"{"a\"\\,{}",NULL,"NULL"}"#);
        let nested = Value::List(Box::new(vec![Value::List(Box::new(vec![Value::Integer(1), Value::Integer(2)]))]));
        assert_eq!(shown(&Type::Array(Box::new(Type::Int4)), &nested), r#"{{"1","2"}}"#);
        let mut line = String::new();
        copy_field(&Type::Text, &Value::text("a\tb\\N\n"), &mut line);
        assert_eq!(line, "a\\tb\\\\N\\n");
    }
}
