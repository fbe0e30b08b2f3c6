//! Digests of values: the same digest for values that mean the same.

use std::cell::RefCell;

use chrono::{Datelike, Timelike};
use rust_decimal::Decimal;
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use super::Value;

/// A 128-bit digest (xxh3) of the meaning of `values`: equal for values that
/// [`super::same`] calls the same, whatever their number type, scale or the
/// order of map keys. For change detection; not for hostile content.
pub fn digest<'a>(values: impl IntoIterator<Item = &'a Value>) -> u128 {
    with_bytes(|bytes| {
        values.into_iter().for_each(|value| feed(bytes, value));
        xxh3_128(bytes)
    })
}

/// A 64-bit digest of one value: enough to notice a change of one field of one
/// known record.
pub fn short_digest(value: &Value) -> u64 {
    short_digest_of([value])
}

/// A 64-bit digest of several values, in their order.
pub fn short_digest_of<'a>(values: impl IntoIterator<Item = &'a Value>) -> u64 {
    with_bytes(|bytes| {
        values.into_iter().for_each(|value| feed(bytes, value));
        xxh3_64(bytes)
    })
}

/// Values are digested by the million: what they are put into is kept.
fn with_bytes<T>(digest: impl FnOnce(&mut Vec<u8>) -> T) -> T {
    thread_local! {
        static BYTES: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    }
    BYTES.with_borrow_mut(|bytes| {
        bytes.clear();
        let digest = digest(bytes);
        // One large document is no reason to hold on to its size.
        bytes.shrink_to(LARGE);
        digest
    })
}

/// Bytes of a value that are larger than those of nearly all values.
const LARGE: usize = 64 * 1024;

fn feed(bytes: &mut Vec<u8>, value: &Value) {
    let mut tagged = |tag: u8, content: &[u8]| {
        bytes.push(tag);
        bytes.extend((content.len() as u64).to_le_bytes());
        bytes.extend(content);
    };
    match value {
        Value::Missing | Value::Null => tagged(0, &[]),
        Value::JsonNull => tagged(15, &[]),
        Value::Boolean(b) => tagged(1, &[u8::from(*b)]),
        Value::Integer(i) => feed_integer(bytes, *i),
        Value::Decimal(d) => feed_decimal(bytes, *d),
        Value::WideDecimal(text) => tagged(3, text.as_bytes()),
        #[expect(clippy::cast_possible_truncation, reason = "checked to be a whole number that a double holds exactly")]
        Value::Float(f) if f.fract() == 0.0 && f.abs() < 9e15 => feed_integer(bytes, *f as i64),
        Value::Float(f) => match f.to_string().parse() {
            Ok(d) => feed_decimal(bytes, d),
            Err(_) => tagged(3, value.to_string().as_bytes()),
        },
        Value::Text(text) => tagged(4, text.as_bytes()),
        Value::Bytes(content) => tagged(5, content),
        Value::Date(date) => tagged(9, &date.num_days_from_ce().to_le_bytes()),
        Value::Time(time) => {
            tagged(10, &time.num_seconds_from_midnight().to_le_bytes());
            tagged(10, &time.nanosecond().to_le_bytes());
        }
        Value::LocalTime(time) => {
            tagged(11, &time.and_utc().timestamp().to_le_bytes());
            tagged(11, &time.nanosecond().to_le_bytes());
        }
        Value::Instant(time) => {
            tagged(12, &time.timestamp().to_le_bytes());
            tagged(12, &time.nanosecond().to_le_bytes());
        }
        Value::Interval(interval) => {
            tagged(13, &interval.months.to_le_bytes());
            tagged(13, &interval.days.to_le_bytes());
            tagged(13, &interval.microseconds.to_le_bytes());
        }
        Value::List(items) => {
            tagged(7, &(items.len() as u64).to_le_bytes());
            items.iter().for_each(|item| feed(bytes, item));
        }
        Value::Map(map) => {
            tagged(8, &(map.len() as u64).to_le_bytes());
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by_key(|(key, _)| *key);
            for (key, item) in entries {
                feed(bytes, &Value::Text(key.clone()));
                feed(bytes, item);
            }
        }
    }
}

fn feed_integer(bytes: &mut Vec<u8>, integer: i64) {
    bytes.push(2);
    bytes.extend(integer.to_le_bytes());
}

/// Whole numbers as integers, others as their digits and scale without zeros
/// at the end.
fn feed_decimal(bytes: &mut Vec<u8>, decimal: Decimal) {
    let mut scale = decimal.scale();
    let mut mantissa = decimal.mantissa();
    if let Ok(mut short) = i64::try_from(mantissa) {
        while scale > 0 && short % 10 == 0 {
            short /= 10;
            scale -= 1;
        }
        mantissa = short.into();
    } else {
        while scale > 0 && mantissa % 10 == 0 {
            mantissa /= 10;
            scale -= 1;
        }
    }
    match i64::try_from(mantissa) {
        Ok(integer) if scale == 0 => feed_integer(bytes, integer),
        _ => {
            bytes.push(14);
            bytes.extend(scale.to_le_bytes());
            bytes.extend(mantissa.to_le_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_meaning_same_digest() {
        let two: Value = Value::Decimal("2.00".parse().unwrap());
        assert_eq!(digest([&two]), digest([&Value::Integer(2)]));
        assert_eq!(digest([&Value::Float(2.0)]), digest([&Value::Integer(2)]));
        assert_eq!(digest([&Value::Float(2.5)]), digest([&Value::Decimal("2.50".parse().unwrap())]));
        assert_ne!(digest([&Value::text("")]), digest([&Value::Null]));
        assert_ne!(digest([&Value::JsonNull]), digest([&Value::Null]));
        assert_ne!(digest([&Value::text("ab"), &Value::text("c")]), digest([&Value::text("a"), &Value::text("bc")]));
    }
}
