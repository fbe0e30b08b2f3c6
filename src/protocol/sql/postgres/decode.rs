//! PostgreSQL's binary forms to values, without detours: this runs for every
//! value that is read.
//!
//! The forms are those of the server's `*_send` functions. What no value of
//! ours can hold (`infinity`, `24:00`) is given as the text it is.

use std::fmt::Write;

use chrono::{DateTime, NaiveDate, NaiveTime};
use rust_decimal::Decimal;

use super::types::Type;
use crate::protocol::json;
use crate::record::{Interval, Value, parse_number};

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
        Type::Float4 => Value::Float(f32::from_be_bytes(bytes.try_into().map_err(|_| BROKEN)?).into()),
        Type::Timestamptz => match stamp(i64::from_be_bytes(bytes.try_into().map_err(|_| BROKEN)?))? {
            Ok(time) => Value::Instant(time),
            Err(infinity) => infinity,
        },
        Type::Timestamp => match stamp(i64::from_be_bytes(bytes.try_into().map_err(|_| BROKEN)?))? {
            Ok(time) => Value::LocalTime(time.naive_utc()),
            Err(infinity) => infinity,
        },
        Type::Date => date(i32::from_be_bytes(bytes.try_into().map_err(|_| BROKEN)?))?,
        Type::Time => time(i64::from_be_bytes(bytes.try_into().map_err(|_| BROKEN)?)).ok_or(BROKEN)?,
        Type::Interval => interval(bytes).ok_or(BROKEN)?,
        Type::Bytea => Value::Bytes(bytes.into()),
        Type::Uuid => {
            let uuid = uuid::Uuid::from_slice(bytes).map_err(|_| BROKEN)?;
            Value::text(uuid.hyphenated().encode_lower(&mut uuid::Uuid::encode_buffer()))
        }
        Type::Json => document(text(bytes)?),
        // Version 1 of the form: the text behind one byte.
        Type::Jsonb => document(text(bytes.strip_prefix(&[1]).ok_or(BROKEN)?)?),
        Type::Array(element) => array(element, bytes)?,
    })
}

fn text(bytes: &[u8]) -> Result<&str, &'static str> {
    std::str::from_utf8(bytes).map_err(|_| "text that is not UTF-8")
}

/// JSON that is nested too deeply for us stays text.
fn document(text: &str) -> Value {
    json::parse(text).unwrap_or_else(|| Value::text(text))
}

fn stamp(microseconds: i64) -> Result<Result<DateTime<chrono::Utc>, Value>, &'static str> {
    match microseconds {
        i64::MAX => Ok(Err(Value::text("infinity"))),
        i64::MIN => Ok(Err(Value::text("-infinity"))),
        _ => microseconds
            .checked_add(EPOCH_MICROSECONDS)
            .and_then(DateTime::from_timestamp_micros)
            .map(Ok)
            .ok_or("a time beyond the year 262,000"),
    }
}

fn date(days: i32) -> Result<Value, &'static str> {
    match days {
        i32::MAX => Ok(Value::text("infinity")),
        i32::MIN => Ok(Value::text("-infinity")),
        _ => days
            .checked_add(EPOCH_DAYS)
            .and_then(NaiveDate::from_epoch_days)
            .map(Value::Date)
            .ok_or("a date beyond the year 262,000"),
    }
}

fn time(microseconds: i64) -> Option<Value> {
    if microseconds == 86_400_000_000 {
        return Some(Value::text("24:00:00"));
    }
    let seconds = u32::try_from(microseconds / 1_000_000).ok()?;
    let nanoseconds = u32::try_from(microseconds % 1_000_000 * 1000).ok()?;
    NaiveTime::from_num_seconds_from_midnight_opt(seconds, nanoseconds).map(Value::Time)
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
    let mut lengths = Vec::with_capacity(dimensions);
    for _ in 0..dimensions {
        lengths.push(usize::try_from(take(&mut rest).ok_or(BROKEN)?).map_err(|_| BROKEN)?);
        take(&mut rest).ok_or(BROKEN)?;
    }
    if lengths.is_empty() {
        return Ok(Value::List(Box::default()));
    }
    // Each item has a length of four bytes before it; the server sends no empty dimensions.
    let items_in_all = lengths.iter().try_fold(1usize, |all, length| all.checked_mul(*length)).ok_or(BROKEN)?;
    if items_in_all == 0 || items_in_all > rest.len() / 4 {
        return Err(BROKEN);
    }
    items(element, &lengths, &mut rest)
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

    /// An array of a thousand million empty lists would fit into twenty bytes.
    #[test]
    fn an_array_is_no_longer_than_its_bytes() {
        let mut bytes = vec![0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 23];
        bytes.extend([0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1]);
        assert!(decode(&Type::Array(Box::new(Type::Int4)), &bytes).is_err());
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
        assert!(decode(&Type::Timestamp, &(i64::MAX - 1).to_be_bytes()).is_err());
        for kind in
            [Type::Int4, Type::Numeric, Type::Uuid, Type::Jsonb, Type::Interval, Type::Array(Box::new(Type::Int4))]
        {
            assert!(decode(&kind, &[9, 2, 3]).is_err(), "{kind:?}");
        }
    }
}
