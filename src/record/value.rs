//! A value of a field, with every type a system can hold and no more.

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use compact_str::CompactString;
use indexmap::IndexMap;
use rust_decimal::Decimal;

/// A value. `Missing` means the field was not there at all; `Null` that it was
/// there and empty.
///
/// Numbers stay exact: what a system holds as a decimal is a [`Value::Decimal`]
/// (up to 28 digits) or a [`Value::WideDecimal`] (its canonical text, any
/// number of digits), never a float.
#[derive(Debug, Clone, Default)]
pub enum Value {
    #[default]
    Missing,
    Null,
    Boolean(bool),
    Integer(i64),
    Decimal(Decimal),
    /// A number that needs more than 28 digits, as plain digits with an
    /// optional sign and point; also `NaN`, `Infinity`, `-Infinity` of
    /// databases that store them.
    WideDecimal(CompactString),
    Float(f64),
    Text(CompactString),
    Bytes(Box<[u8]>),
    Date(NaiveDate),
    /// Time of day.
    Time(NaiveTime),
    /// Date and time without a zone.
    LocalTime(NaiveDateTime),
    /// A point in time.
    Instant(DateTime<Utc>),
    Interval(Interval),
    List(Box<Vec<Value>>),
    /// Keys in the order of the system.
    Map(Box<IndexMap<CompactString, Value>>),
}

/// A calendar interval, as SQL databases hold it: months, days and
/// microseconds are kept apart since none has a fixed length in the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Interval {
    pub months: i32,
    pub days: i32,
    pub microseconds: i64,
}

impl Value {
    pub fn text(text: impl AsRef<str>) -> Value {
        Value::Text(CompactString::new(text.as_ref()))
    }

    /// True for `Missing` and `Null`: there is no value.
    pub fn is_null(&self) -> bool {
        matches!(self, Value::Missing | Value::Null)
    }

    /// True for no value, and for text that is empty or only white space: what
    /// never matches and what adoption may fill.
    pub fn is_blank(&self) -> bool {
        match self {
            Value::Missing | Value::Null => true,
            Value::Text(text) => text.trim().is_empty(),
            _ => false,
        }
    }

    /// The word diagnostics use for this value's type.
    pub fn type_name(&self) -> &'static str {
        match self {
            Value::Missing => "missing",
            Value::Null => "null",
            Value::Boolean(_) => "boolean",
            Value::Integer(_) => "integer",
            Value::Decimal(_) | Value::WideDecimal(_) => "decimal",
            Value::Float(_) => "float",
            Value::Text(_) => "text",
            Value::Bytes(_) => "bytes",
            Value::Date(_) => "date",
            Value::Time(_) => "time",
            Value::LocalTime(_) => "local time",
            Value::Instant(_) => "instant",
            Value::Interval(_) => "interval",
            Value::List(_) => "list",
            Value::Map(_) => "map",
        }
    }

    /// The value as JSON for people and machines: decimals, and integers a
    /// double would change, become strings; times become ISO 8601 text; bytes
    /// become `\x` and hex digits.
    pub fn to_json(&self) -> serde_json::Value {
        use serde_json::Value as Json;
        match self {
            Value::Missing | Value::Null => Json::Null,
            Value::Boolean(b) => Json::Bool(*b),
            Value::Integer(i) if i.unsigned_abs() <= (1 << 53) => Json::from(*i),
            Value::Float(f) => {
                serde_json::Number::from_f64(*f).map_or_else(|| Json::String(f.to_string()), Json::Number)
            }
            Value::List(items) => Json::Array(items.iter().map(Value::to_json).collect()),
            Value::Map(map) => Json::Object(map.iter().map(|(k, v)| (k.to_string(), v.to_json())).collect()),
            other => Json::String(other.to_string()),
        }
    }

    /// JSON text to a value, numbers exactly as written: integers within 64
    /// bits, every other number a decimal.
    pub fn from_json(json: &serde_json::Value) -> Value {
        use serde_json::Value as Json;
        match json {
            Json::Null => Value::Null,
            Json::Bool(b) => Value::Boolean(*b),
            Json::Number(n) => n.as_i64().map_or_else(
                || {
                    n.to_string()
                        .parse::<Decimal>()
                        .map_or_else(|_| Value::Float(n.as_f64().unwrap_or(f64::NAN)), Value::Decimal)
                },
                Value::Integer,
            ),
            Json::String(s) => Value::text(s),
            Json::Array(items) => Value::List(Box::new(items.iter().map(Value::from_json).collect())),
            Json::Object(map) => {
                Value::Map(Box::new(map.iter().map(|(k, v)| (CompactString::new(k), Value::from_json(v))).collect()))
            }
        }
    }
}

/// Plain text of a value, as templates and keys print it. Null prints as
/// nothing, decimals without exponent, times as ISO 8601.
impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Value::Missing | Value::Null => Ok(()),
            Value::Boolean(b) => write!(f, "{b}"),
            Value::Integer(i) => write!(f, "{i}"),
            Value::Decimal(d) => write!(f, "{d}"),
            Value::WideDecimal(t) | Value::Text(t) => f.write_str(t),
            Value::Float(x) => write!(f, "{x}"),
            Value::Bytes(bytes) => {
                f.write_str("\\x")?;
                bytes.iter().try_for_each(|b| write!(f, "{b:02x}"))
            }
            Value::Date(d) => write!(f, "{}", d.format("%Y-%m-%d")),
            Value::Time(t) => write!(f, "{}", t.format("%H:%M:%S%.f")),
            Value::LocalTime(t) => write!(f, "{}", t.format("%Y-%m-%dT%H:%M:%S%.f")),
            Value::Instant(t) => write!(f, "{}", t.format("%Y-%m-%dT%H:%M:%S%.fZ")),
            Value::Interval(i) => write!(f, "{i}"),
            Value::List(_) | Value::Map(_) => write!(f, "{}", self.to_json()),
        }
    }
}

/// ISO 8601, as `P1Y2M3DT4.5S`; every part carries its own sign.
impl std::fmt::Display for Interval {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("P")?;
        if self.months != 0 {
            write!(f, "{}M", self.months)?;
        }
        if self.days != 0 {
            write!(f, "{}D", self.days)?;
        }
        if self.microseconds != 0 || (self.months == 0 && self.days == 0) {
            let seconds = Decimal::new(self.microseconds, 6).normalize();
            write!(f, "T{seconds}S")?;
        }
        Ok(())
    }
}

macro_rules! from {
    ($($type:ty => $variant:ident),*) => {
        $(impl From<$type> for Value {
            fn from(value: $type) -> Value {
                Value::$variant(value.into())
            }
        })*
    };
}
from!(bool => Boolean, i64 => Integer, i32 => Integer, Decimal => Decimal, f64 => Float, &str => Text, String => Text,
      CompactString => Text, NaiveDate => Date, NaiveTime => Time, NaiveDateTime => LocalTime, DateTime<Utc> => Instant);

/// Structural equality: the same variant with the same content. What two
/// values *mean* is compared by [`super::same`].
impl PartialEq for Value {
    fn eq(&self, other: &Value) -> bool {
        match (self, other) {
            (Value::Missing, Value::Missing) | (Value::Null, Value::Null) => true,
            (Value::Boolean(a), Value::Boolean(b)) => a == b,
            (Value::Integer(a), Value::Integer(b)) => a == b,
            (Value::Decimal(a), Value::Decimal(b)) => a == b && a.scale() == b.scale(),
            (Value::WideDecimal(a), Value::WideDecimal(b)) | (Value::Text(a), Value::Text(b)) => a == b,
            (Value::Float(a), Value::Float(b)) => a.to_bits() == b.to_bits(),
            (Value::Bytes(a), Value::Bytes(b)) => a == b,
            (Value::Date(a), Value::Date(b)) => a == b,
            (Value::Time(a), Value::Time(b)) => a == b,
            (Value::LocalTime(a), Value::LocalTime(b)) => a == b,
            (Value::Instant(a), Value::Instant(b)) => a == b,
            (Value::Interval(a), Value::Interval(b)) => a == b,
            (Value::List(a), Value::List(b)) => a == b,
            (Value::Map(a), Value::Map(b)) => a == b,
            _ => false,
        }
    }
}

impl Eq for Value {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_fits_in_32_bytes() {
        assert!(size_of::<Value>() <= 32, "{}", size_of::<Value>());
    }

    #[test]
    fn json_keeps_what_a_double_would_change() {
        assert_eq!(Value::Integer(1 << 60).to_json(), serde_json::json!("1152921504606846976"));
        assert_eq!(Value::Decimal("19.90".parse().unwrap()).to_json(), serde_json::json!("19.90"));
        assert_eq!(Value::Integer(7).to_json(), serde_json::json!(7));
    }
}
