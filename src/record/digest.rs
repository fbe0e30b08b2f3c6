//! Digests of values: the same digest for values that mean the same.

use xxhash_rust::xxh3::Xxh3Default;

use super::Value;

/// A 128-bit digest (xxh3) of the meaning of `values`: equal for values that
/// [`super::same`] calls the same, whatever their number type, scale or the
/// order of map keys. For change detection; not for hostile content.
pub fn digest<'a>(values: impl IntoIterator<Item = &'a Value>) -> u128 {
    let mut hasher = Xxh3Default::new();
    for value in values {
        feed(&mut hasher, value);
    }
    hasher.digest128()
}

fn feed(hasher: &mut Xxh3Default, value: &Value) {
    let mut tagged = |tag: u8, bytes: &[u8]| {
        hasher.update(&[tag]);
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    match value {
        Value::Missing | Value::Null => tagged(0, &[]),
        Value::Boolean(b) => tagged(1, &[u8::from(*b)]),
        Value::Integer(i) => feed_integer(hasher, *i),
        Value::Decimal(d) => {
            let d = d.normalize();
            if d.scale() == 0
                && let Ok(integer) = i64::try_from(d.mantissa())
            {
                feed_integer(hasher, integer);
            } else {
                tagged(3, d.to_string().as_bytes());
            }
        }
        Value::WideDecimal(text) => tagged(3, text.as_bytes()),
        #[expect(clippy::cast_possible_truncation, reason = "checked to be a whole number that a double holds exactly")]
        Value::Float(f) if f.fract() == 0.0 && f.abs() < 9e15 => feed_integer(hasher, *f as i64),
        Value::Float(f) => tagged(3, f.to_string().as_bytes()),
        Value::Text(text) => tagged(4, text.as_bytes()),
        Value::Bytes(bytes) => tagged(5, bytes),
        Value::Date(_) | Value::Time(_) | Value::LocalTime(_) | Value::Instant(_) | Value::Interval(_) => {
            tagged(6, value.type_name().as_bytes());
            tagged(6, value.to_string().as_bytes());
        }
        Value::List(items) => {
            tagged(7, &(items.len() as u64).to_le_bytes());
            items.iter().for_each(|item| feed(hasher, item));
        }
        Value::Map(map) => {
            tagged(8, &(map.len() as u64).to_le_bytes());
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by_key(|(key, _)| *key);
            for (key, item) in entries {
                feed(hasher, &Value::Text(key.clone()));
                feed(hasher, item);
            }
        }
    }
}

fn feed_integer(hasher: &mut Xxh3Default, integer: i64) {
    hasher.update(&[2]);
    hasher.update(&integer.to_le_bytes());
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
        assert_ne!(digest([&Value::text("ab"), &Value::text("c")]), digest([&Value::text("a"), &Value::text("bc")]));
    }
}
