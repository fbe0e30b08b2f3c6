//! PostgreSQL's binary forms to values, without detours: this runs for every
//! value that is read.
//!
//! The forms are those of the server's `*_send` functions. What no value of
//! ours can hold (`infinity`, `24:00`, a day beyond our calendar's end, an
//! array that is no plain list) is given as the text the server reads it from.

use std::fmt::Write;

use chrono::{DateTime, Datelike, NaiveDate, NaiveTime};
use rust_decimal::Decimal;

use super::encode;
use super::types::Type;
use crate::record::{Interval, Value, json, parse_number, single};

/// Days and microseconds from 1970 to PostgreSQL's 2000-01-01.
const EPOCH_DAYS: i32 = 10_957;
const EPOCH_MICROSECONDS: i64 = 946_684_800_000_000;

/// Reads one value.
///
/// # Errors
/// Where the bytes are not of the type, or beyond what any value holds.
pub(super) fn decode(kind: &Type, bytes: &[u8]) -> Result<Value, &'static str> {
    const BROKEN: &str = "not the binary form of its type";
    Ok(match kind {
        Type::Text | Type::Printed => Value::text(text(bytes)?),
        // The blanks a CHAR is filled up with are no part of its value.
        Type::Char => Value::text(text(bytes)?.trim_end_matches(' ')),
        Type::Int4 => Value::Integer(i32::from_be_bytes(bytes.try_into().map_err(|_| BROKEN)?).into()),
        Type::Int8 => Value::Integer(i64::from_be_bytes(bytes.try_into().map_err(|_| BROKEN)?)),
        Type::Int2 => Value::Integer(i16::from_be_bytes(bytes.try_into().map_err(|_| BROKEN)?).into()),
        Type::Oid => Value::Integer(u32::from_be_bytes(bytes.try_into().map_err(|_| BROKEN)?).into()),
        Type::Bool => Value::Boolean(*bytes.first().ok_or(BROKEN)? != 0),
        Type::Numeric => numeric(bytes).ok_or(BROKEN)?,
        Type::Float8 => Value::Float(f64::from_be_bytes(bytes.try_into().map_err(|_| BROKEN)?)),
        Type::Float4 => Value::Float(single(f32::from_be_bytes(bytes.try_into().map_err(|_| BROKEN)?))),
        Type::Timestamptz => match stamp(i64::from_be_bytes(bytes.try_into().map_err(|_| BROKEN)?), "+00") {
            Ok(time) => Value::Instant(time),
            Err(other) => other,
        },
        Type::Timestamp => match stamp(i64::from_be_bytes(bytes.try_into().map_err(|_| BROKEN)?), "") {
            Ok(time) => Value::LocalTime(time.naive_utc()),
            Err(other) => other,
        },
        Type::Date => date(i32::from_be_bytes(bytes.try_into().map_err(|_| BROKEN)?)),
        Type::Time => time(i64::from_be_bytes(bytes.try_into().map_err(|_| BROKEN)?)).ok_or(BROKEN)?,
        Type::Interval => interval(bytes).ok_or(BROKEN)?,
        Type::Bytea => Value::Bytes(bytes.into()),
        Type::Uuid => {
            let uuid = uuid::Uuid::from_slice(bytes).map_err(|_| BROKEN)?;
            Value::text(uuid.hyphenated().encode_lower(&mut uuid::Uuid::encode_buffer()))
        }
        Type::Json => document(text(bytes)?)?,
        // Version 1 of the form: the text behind one byte.
        Type::Jsonb => document(text(bytes.strip_prefix(&[1]).ok_or(BROKEN)?)?)?,
        Type::Array(element) => array(element, bytes)?,
    })
}

fn text(bytes: &[u8]) -> Result<&str, &'static str> {
    std::str::from_utf8(bytes).map_err(|_| "text that is not UTF-8")
}

/// A text in its place would be written elsewhere as a text.
fn document(text: &str) -> Result<Value, &'static str> {
    json::document(text).ok_or("JSON nested more deeply than 128 levels")
}

/// A point in time, or the text of one that is none of ours, `zone` behind it.
fn stamp(microseconds: i64, zone: &str) -> Result<DateTime<chrono::Utc>, Value> {
    match microseconds {
        i64::MAX => Err(Value::text("infinity")),
        i64::MIN => Err(Value::text("-infinity")),
        _ => microseconds.checked_add(EPOCH_MICROSECONDS).and_then(DateTime::from_timestamp_micros).ok_or_else(|| {
            const DAY: i64 = 86_400_000_000;
            let (day, time) = (far_day(microseconds.div_euclid(DAY)), microseconds.rem_euclid(DAY));
            let time = time_of(time).expect("within a day").format("%H:%M:%S%.f");
            Value::text(format!("{day} {time}{zone}"))
        }),
    }
}

fn date(days: i32) -> Value {
    match days {
        i32::MAX => Value::text("infinity"),
        i32::MIN => Value::text("-infinity"),
        _ => days
            .checked_add(EPOCH_DAYS)
            .and_then(NaiveDate::from_epoch_days)
            .map_or_else(|| Value::text(far_day(days.into())), Value::Date),
    }
}

/// A day beyond our calendar's end, counted from 2000-01-01. The calendar
/// repeats itself every 400 years, which are 146,097 days.
fn far_day(days: i64) -> String {
    let (rounds, days) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let days = i32::try_from(days).expect("less than a round");
    let near = NaiveDate::from_epoch_days(days + EPOCH_DAYS).expect("within 400 years of 2000");
    let year = i64::from(near.year()) + rounds * 400;
    let (year, era) = if year > 0 { (year, "") } else { (1 - year, " BC") };
    format!("{year:04}-{:02}-{:02}{era}", near.month(), near.day())
}

fn time(microseconds: i64) -> Option<Value> {
    if microseconds == 86_400_000_000 {
        return Some(Value::text("24:00:00"));
    }
    time_of(microseconds).map(Value::Time)
}

fn time_of(microseconds: i64) -> Option<NaiveTime> {
    let seconds = u32::try_from(microseconds / 1_000_000).ok()?;
    let nanoseconds = u32::try_from(microseconds % 1_000_000 * 1000).ok()?;
    NaiveTime::from_num_seconds_from_midnight_opt(seconds, nanoseconds)
}

fn interval(bytes: &[u8]) -> Option<Value> {
    let (microseconds, rest) = bytes.split_first_chunk::<8>()?;
    let (days, months) = rest.split_first_chunk::<4>()?;
    Some(Value::Interval(Interval {
        months: i32::from_be_bytes(months.try_into().ok()?),
        days: i32::from_be_bytes(*days),
        microseconds: i64::from_be_bytes(*microseconds),
    }))
}

/// Digits to the base 10,000, the first of which counts `weight` places
/// before the point; the scale says how many decimals are shown.
fn numeric(bytes: &[u8]) -> Option<Value> {
    const INFALLIBLE: &str = "writing to a string cannot fail";
    let (head, digits) = bytes.split_first_chunk::<8>()?;
    let half = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
    let (count, sign, scale) = (usize::from(half(0)), half(4), u32::from(half(6)));
    let weight = i32::from(i16::from_be_bytes([head[2], head[3]]));
    let negative = match sign {
        0x0000 => false,
        0x4000 => true,
        0xC000 => return Some(Value::WideDecimal("NaN".into())),
        0xD000 => return Some(Value::WideDecimal("Infinity".into())),
        0xF000 => return Some(Value::WideDecimal("-Infinity".into())),
        _ => return None,
    };
    if digits.len() != count * 2 {
        return None;
    }
    let digits = digits.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
    if let Some(decimal) = narrow(digits.clone(), count, weight, scale, negative) {
        return Some(Value::Decimal(decimal));
    }
    let mut text = String::from(if negative { "-" } else { "" });
    let digits: Vec<u16> = digits.collect();
    let at = |place: i32| usize::try_from(place).ok().and_then(|place| digits.get(place)).copied().unwrap_or(0);
    for place in 0..=weight {
        write!(text, "{:04}", at(place)).expect(INFALLIBLE);
    }
    if weight < 0 {
        text.push('0');
    }
    if scale > 0 {
        text.push('.');
        let shown = text.len() + scale as usize;
        let mut place = weight + 1;
        while text.len() < shown {
            write!(text, "{:04}", at(place)).expect(INFALLIBLE);
            place += 1;
        }
        text.truncate(shown);
    }
    parse_number(&text).map(Value::from)
}

/// The number where 28 digits hold it.
fn narrow(digits: impl Iterator<Item = u16>, count: usize, weight: i32, scale: u32, negative: bool) -> Option<Decimal> {
    if count > 8 || scale > 28 {
        return None;
    }
    let mut mantissa: i128 = 0;
    for digit in digits {
        mantissa = mantissa * 10_000 + i128::from(digit);
    }
    let exponent = (weight + 1 - i32::try_from(count).ok()?) * 4 + i32::try_from(scale).ok()?;
    let power = 10i128.checked_pow(exponent.unsigned_abs())?;
    mantissa = if exponent >= 0 { mantissa.checked_mul(power)? } else { mantissa / power };
    if mantissa >= 10i128.pow(28) {
        return None;
    }
    Decimal::try_from_i128_with_scale(if negative { -mantissa } else { mantissa }, scale).ok()
}

fn array(element: &Type, bytes: &[u8]) -> Result<Value, &'static str> {
    const BROKEN: &str = "not the binary form of an array";
    let mut rest = bytes;
    let dimensions = usize::try_from(take(&mut rest).ok_or(BROKEN)?).map_err(|_| BROKEN)?;
    take(&mut rest).ok_or(BROKEN)?;
    take(&mut rest).ok_or(BROKEN)?;
    // The server knows six dimensions at most.
    if dimensions > 6 {
        return Err(BROKEN);
    }
    let (mut lengths, mut bounds) = (Vec::with_capacity(dimensions), Vec::with_capacity(dimensions));
    for _ in 0..dimensions {
        lengths.push(usize::try_from(take(&mut rest).ok_or(BROKEN)?).map_err(|_| BROKEN)?);
        bounds.push(i64::from(take(&mut rest).ok_or(BROKEN)?));
    }
    // Each item has its length before it, so that what is told is there.
    let count = lengths.iter().try_fold(1usize, |count, length| count.checked_mul(*length)).ok_or(BROKEN)?;
    if lengths.is_empty() || count == 0 {
        return Ok(Value::List(Box::default()));
    }
    if count > rest.len() / 4 {
        return Err(BROKEN);
    }
    let list = items(element, &lengths, &mut rest)?;
    if bounds == [1] {
        return Ok(list);
    }
    // More than a list: as the text it is read from, with its bounds where they are not the usual.
    let mut literal = String::new();
    if bounds.iter().any(|bound| *bound != 1) {
        for (bound, length) in bounds.iter().zip(&lengths) {
            let last = i64::try_from(*length).map_err(|_| BROKEN)? + bound - 1;
            write!(literal, "[{bound}:{last}]").expect("writing to a string cannot fail");
        }
        literal.push('=');
    }
    let Value::List(items) = &list else { return Err(BROKEN) };
    encode::array(element, items, dimensions, &mut literal);
    Ok(Value::text(literal))
}

fn items(element: &Type, lengths: &[usize], rest: &mut &[u8]) -> Result<Value, &'static str> {
    const BROKEN: &str = "not the binary form of an array";
    let Some((length, inner)) = lengths.split_first() else {
        let length = take(rest).ok_or(BROKEN)?;
        let Ok(length) = usize::try_from(length) else { return Ok(Value::Null) };
        let (item, more) = rest.split_at_checked(length).ok_or(BROKEN)?;
        *rest = more;
        return decode(element, item);
    };
    let items: Result<Vec<Value>, _> = (0..*length).map(|_| items(element, inner, rest)).collect();
    Ok(Value::List(Box::new(items?)))
}

fn take(rest: &mut &[u8]) -> Option<i32> {
    let (head, more) = rest.split_first_chunk::<4>()?;
    *rest = more;
    Some(i32::from_be_bytes(*head))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn number(weight: i16, sign: u16, scale: u16, digits: &[u16]) -> String {
        let mut bytes = Vec::new();
        bytes.extend(u16::try_from(digits.len()).unwrap().to_be_bytes());
        bytes.extend(weight.to_be_bytes());
        bytes.extend(sign.to_be_bytes());
        bytes.extend(scale.to_be_bytes());
        bytes.extend(digits.iter().flat_map(|digit| digit.to_be_bytes()));
        decode(&Type::Numeric, &bytes).unwrap().to_string()
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_taken(bytes: Vec<u8>, head in 0u8..4, kind in 0usize..20) {
            let kinds = [
                Type::Bool, Type::Int2, Type::Int4, Type::Int8, Type::Oid, Type::Float4, Type::Float8, Type::Numeric,
                Type::Text, Type::Char, Type::Bytea, Type::Uuid, Type::Json, Type::Jsonb, Type::Date, Type::Time,
                Type::Timestamp, Type::Timestamptz, Type::Interval, Type::Printed,
            ];
            let kind = kinds[kind].clone();
            let _taken = decode(&kind, &bytes);
            // The shortest ways into an array and a number.
            let mut array = vec![0, 0, 0, head, 0, 0, 0, 0, 0, 0, 0, 25];
            array.extend(&bytes);
            let _taken = decode(&Type::Array(Box::new(kind)), &array);
            let mut number = vec![0, head, 0, head, 0, 0];
            number.extend(&bytes);
            let _taken = decode(&Type::Numeric, &number);
        }
    }

    /// Two thousand million lists of nothing, or of one number each, would fit into as few bytes.
    #[test]
    fn an_array_is_no_longer_than_its_bytes() {
        let array = |inner: u8| {
            let mut bytes = vec![0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 23];
            bytes.extend([0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 1, 0, 0, 0, inner, 0, 0, 0, 1]);
            decode(&Type::Array(Box::new(Type::Int4)), &bytes)
        };
        assert_eq!(array(0), Ok(Value::List(Box::default())));
        assert!(array(1).is_err());
    }

    #[test]
    fn numbers_of_any_size_are_exact() {
        assert_eq!(number(0, 0, 2, &[19, 9000]), "19.90");
        assert_eq!(number(0, 0x4000, 1, &[1, 5000]), "-1.5");
        assert_eq!(number(0, 0, 0, &[]), "0");
        assert_eq!(number(0, 0, 3, &[]), "0.000");
        assert_eq!(number(1, 0, 0, &[1]), "10000");
        assert_eq!(number(-1, 0, 4, &[12]), "0.0012");
        assert_eq!(number(-3, 0, 12, &[7]), "0.000000000007");
        assert_eq!(number(7, 0, 1, &[1, 2, 3, 4, 5, 6, 7, 8, 5000]), "10002000300040005000600070008.5");
        assert_eq!(number(-9, 0x4000, 40, &[1, 2345]), "-0.0000000000000000000000000000000000012345");
        assert_eq!(number(8, 0, 0, &[1]), format!("1{}", "0".repeat(32)));
        assert_eq!(number(0, 0xC000, 0, &[]), "NaN");
    }

    #[test]
    fn what_no_value_holds_is_its_text() {
        assert_eq!(decode(&Type::Date, &i32::MAX.to_be_bytes()), Ok(Value::text("infinity")));
        assert_eq!(decode(&Type::Timestamptz, &i64::MIN.to_be_bytes()), Ok(Value::text("-infinity")));
        assert_eq!(decode(&Type::Time, &86_400_000_000i64.to_be_bytes()), Ok(Value::text("24:00:00")));
        // As the server prints it: SELECT '294276-12-31 23:59:59.999999'::timestamp, '5874897-12-31'::date.
        assert_eq!(
            decode(&Type::Timestamptz, &9_223_371_331_199_999_999i64.to_be_bytes()),
            Ok(Value::text("294276-12-31 23:59:59.999999+00"))
        );
        assert_eq!(decode(&Type::Date, &2_145_031_948i32.to_be_bytes()), Ok(Value::text("5874897-12-31")));
        for kind in
            [Type::Int4, Type::Numeric, Type::Uuid, Type::Jsonb, Type::Interval, Type::Array(Box::new(Type::Int4))]
        {
            assert!(decode(&kind, &[9, 2, 3]).is_err(), "{kind:?}");
        }
    }

    #[test]
    fn an_array_that_is_no_plain_list_is_its_text() {
        let bytes = |dimensions: &[(i32, i32)], items: &[i32]| {
            let count = i32::try_from(dimensions.len()).unwrap();
            let mut words = vec![count, 0, 23];
            words.extend(dimensions.iter().flat_map(|(length, bound)| [*length, *bound]));
            words.extend(items.iter().flat_map(|item| [4, *item]));
            words.into_iter().flat_map(i32::to_be_bytes).collect::<Vec<u8>>()
        };
        let read = |bytes: &[u8]| decode(&Type::Array(Box::new(Type::Int4)), bytes);
        assert_eq!(read(&bytes(&[(2, 0)], &[7, 8])), Ok(Value::text(r#"[0:1]={"7","8"}"#)));
        assert_eq!(read(&bytes(&[(2, 1), (1, 1)], &[7, 8])), Ok(Value::text(r#"{{"7"},{"8"}}"#)));
        assert!(read(&bytes(&[(i32::MAX, 1), (0, 1)], &[])).is_ok(), "nothing is made of what is not there");
        assert!(read(&bytes(&[(i32::MAX, 1)], &[])).is_err());
    }

    #[test]
    fn a_small_number_is_the_shortest() {
        assert_eq!(decode(&Type::Float4, &0.1f32.to_be_bytes()), Ok(Value::Float(0.1)));
        assert_eq!(decode(&Type::Float4, &(-3.402_823_5e38f32).to_be_bytes()), Ok(Value::Float(-3.402_823_5e38)));
        assert_eq!(decode(&Type::Float4, &f32::INFINITY.to_be_bytes()), Ok(Value::Float(f64::INFINITY)));
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_value_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..64), small: bool) {
            // Counts and lengths are mostly small.
            let bytes: Vec<u8> = bytes.iter().enumerate().map(|(at, byte)| if small && at % 4 != 3 { 0 } else { *byte }).collect();
            let array = |element: Type| Type::Array(Box::new(element));
            for kind in [
                Type::Bool, Type::Int2, Type::Int4, Type::Int8, Type::Oid, Type::Float4, Type::Float8, Type::Numeric,
                Type::Text, Type::Char, Type::Bytea, Type::Uuid, Type::Json, Type::Jsonb, Type::Date, Type::Time,
                Type::Timestamp, Type::Timestamptz, Type::Interval, Type::Printed,
                array(Type::Int4), array(Type::Numeric), array(Type::Text), array(Type::Jsonb),
            ] {
                for from in 0..bytes.len().min(4) {
                    if let Ok(value) = decode(&kind, &bytes[from..]) {
                        encode::text(&kind, &value);
                    }
                }
                for length in [2, 4, 8, 16] {
                    decode(&kind, &bytes[..length.min(bytes.len())]).ok();
                }
            }
        }
    }
}
