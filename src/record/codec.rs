//! Values as bytes, for the state: compact, exact and stable across versions.
//!
//! One tag byte for each value, then its content; integers little-endian,
//! lengths as LEB128. Tags are never reused.

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Timelike};
use compact_str::CompactString;
use indexmap::IndexMap;
use rust_decimal::Decimal;

use super::{Interval, Value};

/// Bytes that are no values of this codec.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodecError;

impl std::fmt::Display for CodecError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("these bytes are not encoded values")
    }
}

/// Appends values to `out`, one after the other.
pub fn encode_values<'a>(values: impl IntoIterator<Item = &'a Value>, out: &mut Vec<u8>) {
    for value in values {
        encode(value, out);
    }
}

/// Reads every value in `bytes`.
///
/// # Errors
/// [`CodecError`] where the bytes were not made by [`encode_values`].
pub fn decode_values(mut bytes: &[u8]) -> Result<Vec<Value>, CodecError> {
    let mut values = Vec::new();
    while !bytes.is_empty() {
        values.push(decode_value(&mut bytes)?);
    }
    Ok(values)
}

/// Reads the first value in `bytes`, and leaves what comes after it.
///
/// # Errors
/// [`CodecError`] where the bytes were not made by [`encode_values`].
pub fn decode_value(bytes: &mut &[u8]) -> Result<Value, CodecError> {
    decode(bytes, 0)
}

fn encode(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Missing => out.push(0),
        Value::Null => out.push(1),
        Value::Boolean(false) => out.push(2),
        Value::Boolean(true) => out.push(3),
        Value::Integer(i) => {
            out.push(4);
            out.extend(i.to_le_bytes());
        }
        Value::Decimal(d) => {
            out.push(5);
            out.extend(d.serialize());
        }
        Value::WideDecimal(text) => encode_text(6, text, out),
        Value::Float(f) => {
            out.push(7);
            out.extend(f.to_bits().to_le_bytes());
        }
        Value::Text(text) => encode_text(8, text, out),
        Value::Bytes(bytes) => {
            out.push(9);
            encode_length(bytes.len(), out);
            out.extend_from_slice(bytes);
        }
        Value::Date(date) => {
            out.push(10);
            encode_date(*date, out);
        }
        Value::Time(time) => {
            out.push(11);
            encode_time(*time, out);
        }
        Value::LocalTime(time) => {
            out.push(12);
            encode_date(time.date(), out);
            encode_time(time.time(), out);
        }
        Value::Instant(time) => {
            out.push(13);
            out.extend(time.timestamp().to_le_bytes());
            out.extend(time.timestamp_subsec_nanos().to_le_bytes());
        }
        Value::Interval(interval) => {
            out.push(14);
            out.extend(interval.months.to_le_bytes());
            out.extend(interval.days.to_le_bytes());
            out.extend(interval.microseconds.to_le_bytes());
        }
        Value::List(items) => {
            out.push(15);
            encode_length(items.len(), out);
            encode_values(items.iter(), out);
        }
        Value::Map(map) => {
            out.push(16);
            encode_length(map.len(), out);
            for (key, item) in map.iter() {
                encode_length(key.len(), out);
                out.extend_from_slice(key.as_bytes());
                encode(item, out);
            }
        }
        Value::JsonNull => out.push(17),
    }
}

fn encode_text(tag: u8, text: &str, out: &mut Vec<u8>) {
    out.push(tag);
    encode_length(text.len(), out);
    out.extend_from_slice(text.as_bytes());
}

#[expect(clippy::cast_possible_truncation, reason = "seven bits at a time")]
fn encode_length(mut length: usize, out: &mut Vec<u8>) {
    while length >= 0x80 {
        out.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
}

fn encode_date(date: NaiveDate, out: &mut Vec<u8>) {
    out.extend(date.to_epoch_days().to_le_bytes());
}

fn encode_time(time: NaiveTime, out: &mut Vec<u8>) {
    out.extend(time.num_seconds_from_midnight().to_le_bytes());
    out.extend(time.nanosecond().to_le_bytes());
}

/// Values nested deeper than this were not made by this engine.
const DEEPEST: usize = 512;

fn decode(bytes: &mut &[u8], depth: usize) -> Result<Value, CodecError> {
    if depth > DEEPEST {
        return Err(CodecError);
    }
    let tag = take::<1>(bytes)?[0];
    Ok(match tag {
        0 => Value::Missing,
        1 => Value::Null,
        2 => Value::Boolean(false),
        3 => Value::Boolean(true),
        4 => Value::Integer(i64::from_le_bytes(take(bytes)?)),
        5 => Value::Decimal(Decimal::deserialize(take(bytes)?)),
        6 => Value::WideDecimal(decode_text(bytes)?),
        7 => Value::Float(f64::from_bits(u64::from_le_bytes(take(bytes)?))),
        8 => Value::Text(decode_text(bytes)?),
        9 => Value::Bytes(decode_slice(bytes)?.into()),
        10 => Value::Date(decode_date(bytes)?),
        11 => Value::Time(decode_time(bytes)?),
        12 => Value::LocalTime(NaiveDateTime::new(decode_date(bytes)?, decode_time(bytes)?)),
        13 => {
            let seconds = i64::from_le_bytes(take(bytes)?);
            let nanoseconds = u32::from_le_bytes(take(bytes)?);
            Value::Instant(DateTime::from_timestamp(seconds, nanoseconds).ok_or(CodecError)?)
        }
        14 => Value::Interval(Interval {
            months: i32::from_le_bytes(take(bytes)?),
            days: i32::from_le_bytes(take(bytes)?),
            microseconds: i64::from_le_bytes(take(bytes)?),
        }),
        15 => {
            let length = decode_length(bytes)?;
            let items: Result<Vec<_>, _> = (0..length).map(|_| decode(bytes, depth + 1)).collect();
            Value::List(Box::new(items?))
        }
        16 => {
            let length = decode_length(bytes)?;
            let mut map = IndexMap::new();
            for _ in 0..length {
                let key = decode_text(bytes)?;
                map.insert(key, decode(bytes, depth + 1)?);
            }
            Value::Map(Box::new(map))
        }
        17 => Value::JsonNull,
        _ => return Err(CodecError),
    })
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], CodecError> {
    let (head, rest) = bytes.split_first_chunk::<N>().ok_or(CodecError)?;
    *bytes = rest;
    Ok(*head)
}

fn decode_length(bytes: &mut &[u8]) -> Result<usize, CodecError> {
    let mut length = 0usize;
    for shift in (0..63).step_by(7) {
        let [byte] = take::<1>(bytes)?;
        length |= usize::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(length);
        }
    }
    Err(CodecError)
}

fn decode_slice<'a>(bytes: &mut &'a [u8]) -> Result<&'a [u8], CodecError> {
    let length = decode_length(bytes)?;
    let (head, rest) = bytes.split_at_checked(length).ok_or(CodecError)?;
    *bytes = rest;
    Ok(head)
}

fn decode_text(bytes: &mut &[u8]) -> Result<CompactString, CodecError> {
    CompactString::from_utf8(decode_slice(bytes)?).map_err(|_| CodecError)
}

fn decode_date(bytes: &mut &[u8]) -> Result<NaiveDate, CodecError> {
    NaiveDate::from_epoch_days(i32::from_le_bytes(take(bytes)?)).ok_or(CodecError)
}

fn decode_time(bytes: &mut &[u8]) -> Result<NaiveTime, CodecError> {
    let seconds = u32::from_le_bytes(take(bytes)?);
    let nanoseconds = u32::from_le_bytes(take(bytes)?);
    NaiveTime::from_num_seconds_from_midnight_opt(seconds, nanoseconds).ok_or(CodecError)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_variant_comes_back() {
        let map: IndexMap<CompactString, Value> =
            [("a".into(), Value::Integer(-1)), ("b".into(), Value::Null)].into_iter().collect();
        let values = vec![
            Value::Missing,
            Value::Null,
            Value::Boolean(true),
            Value::Integer(i64::MIN),
            Value::Decimal("-79228162514264337593543950335".parse().unwrap()),
            Value::Decimal("0.10".parse().unwrap()),
            Value::WideDecimal("123456789012345678901234567890.5".into()),
            Value::Float(f64::MIN_POSITIVE),
            Value::text("ação"),
            Value::Bytes(vec![0, 255].into()),
            Value::Date("1899-12-31".parse().unwrap()),
            Value::Time("23:59:59.999999".parse().unwrap()),
            Value::LocalTime("2026-02-28T00:00:00".parse().unwrap()),
            Value::Instant("1969-12-31T23:59:59.5Z".parse().unwrap()),
            Value::Interval(Interval { months: -1, days: 2, microseconds: -3 }),
            Value::List(Box::new(vec![Value::text("x".repeat(300)), Value::Null])),
            Value::Map(Box::new(map)),
            Value::JsonNull,
        ];
        let mut bytes = Vec::new();
        encode_values(&values, &mut bytes);
        assert_eq!(decode_values(&bytes), Ok(values));
    }

    #[test]
    fn foreign_bytes_are_an_error() {
        for bytes in [&[99][..], &[4, 1], &[8, 5, b'a'], &[8, 0xff, 0xff, 0xff, 0xff], &[8, 1, 0xff]] {
            assert_eq!(decode_values(bytes), Err(CodecError), "{bytes:?}");
        }
    }
}
