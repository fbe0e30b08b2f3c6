//! A value of a field, with every type a system can hold and no more.

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use compact_str::CompactString;
use indexmap::IndexMap;
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;

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
    /// The document `null` in a field of JSON, which is another thing there
    /// than no document. Rules and expressions take it for null; a null
    /// inside of a document is [`Value::Null`].
    JsonNull,
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

    /// True for `Missing`, `Null` and the document `null`: there is no value.
    pub fn is_null(&self) -> bool {
        matches!(self, Value::Missing | Value::Null | Value::JsonNull)
    }

    /// True for no value, and for text that is empty or only white space: what
    /// never matches and what adoption may fill.
    pub fn is_blank(&self) -> bool {
        match self {
            Value::Missing | Value::Null | Value::JsonNull => true,
            Value::Text(text) => text.trim().is_empty(),
            _ => false,
        }
    }

    /// The word diagnostics use for this value's type.
    pub fn type_name(&self) -> &'static str {
        match self {
            Value::Missing => "missing",
            Value::Null | Value::JsonNull => "null",
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

    /// The value as JSON for people and machines: whole numbers are numbers
    /// whatever type holds them, but for those a double would change; these
    /// and exact fractions become strings, outside of documents: there a number
    /// is a number where its shortest double reads the same. Times become ISO
    /// 8601 text; bytes become `\x` and hex digits.
    pub fn to_json(&self) -> serde_json::Value {
        use serde_json::Value as Json;
        match self {
            Value::Missing | Value::Null | Value::JsonNull => Json::Null,
            Value::Boolean(b) => Json::Bool(*b),
            Value::Integer(i) if in_doubles(*i) => Json::from(*i),
            Value::Decimal(d) if d.fract().is_zero() => match d.to_i64() {
                Some(whole) if in_doubles(whole) => Json::from(whole),
                _ => Json::String(d.normalize().to_string()),
            },
            Value::Float(f) => {
                serde_json::Number::from_f64(*f).map_or_else(|| Json::String(f.to_string()), Json::Number)
            }
            Value::List(items) => Json::Array(items.iter().map(Value::to_json).collect()),
            Value::Map(map) => Json::Object(map.iter().map(|(k, v)| (k.to_string(), v.to_json_inside())).collect()),
            other => Json::String(other.to_string()),
        }
    }

    /// A value inside of a document.
    fn to_json_inside(&self) -> serde_json::Value {
        use serde_json::Value as Json;
        match self {
            Value::List(items) => Json::Array(items.iter().map(Value::to_json_inside).collect()),
            Value::Decimal(d) => match d.to_f64().filter(|double| double.to_string() == d.normalize().to_string()) {
                Some(double) if !d.fract().is_zero() => Json::from(double),
                _ => self.to_json(),
            },
            other => other.to_json(),
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

/// True where a double holds this integer, and no other integer reads as the
/// same double.
pub(super) fn in_doubles(integer: i64) -> bool {
    integer.unsigned_abs() <= (1 << 53)
}

/// Plain text of a value, as templates and keys print it. Null prints as
/// nothing, decimals without exponent, times as ISO 8601.
impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Value::Missing | Value::Null | Value::JsonNull => Ok(()),
            Value::Boolean(b) => write!(f, "{b}"),
            Value::Integer(i) => write!(f, "{i}"),
            Value::Decimal(d) => write!(f, "{d}"),
            Value::WideDecimal(t) | Value::Text(t) => f.write_str(t),
            Value::Float(x) if x.is_infinite() => f.write_str(if *x > 0.0 { "Infinity" } else { "-Infinity" }),
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
            Value::List(_) | Value::Map(_) => {
                let mut text = String::new();
                super::json::write(self, &mut text);
                f.write_str(&text)
            }
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

impl std::str::FromStr for Interval {
    type Err = ();

    /// Reads ISO 8601 (`P1Y2M3DT4H5M6.5S`, each part with a sign of its own),
    /// and words as databases print them (`1 year 2 mons -3 days 04:05:06.5`).
    fn from_str(text: &str) -> Result<Interval, ()> {
        let mut sum = Interval::default();
        let text = text.trim();
        if let Some(parts) = text.strip_prefix(['P', 'p']) {
            let (days, times) = parts.split_once(['T', 't']).unwrap_or((parts, ""));
            if days.is_empty() && times.is_empty() {
                return Err(());
            }
            for (mut part, timed) in [(days, false), (times, true)] {
                while !part.is_empty() {
                    let end = part.find(|c: char| c.is_ascii_alphabetic()).ok_or(())?;
                    let unit = match (part.as_bytes()[end].to_ascii_uppercase(), timed) {
                        (b'Y', false) => "year",
                        (b'M', false) => "month",
                        (b'W', false) => "week",
                        (b'D', false) => "day",
                        (b'H', true) => "hour",
                        (b'M', true) => "minute",
                        (b'S', true) => "second",
                        _ => return Err(()),
                    };
                    sum.add(&part[..end], unit)?;
                    part = &part[end + 1..];
                }
            }
            return Ok(sum);
        }
        let mut words = text.split_ascii_whitespace().peekable();
        words.peek().ok_or(())?;
        while let Some(word) = words.next() {
            if word.contains(':') {
                let (minus, clock) = match word.strip_prefix('-') {
                    Some(clock) => ("-", clock),
                    None => ("", word.strip_prefix('+').unwrap_or(word)),
                };
                let mut parts = clock.splitn(3, ':');
                for unit in ["hour", "minute", "second"] {
                    let part = parts.next().unwrap_or("0");
                    if !part.starts_with(|c: char| c.is_ascii_digit()) {
                        return Err(());
                    }
                    sum.add(&format!("{minus}{part}"), unit)?;
                }
            } else {
                let unit = words.next().ok_or(())?;
                sum.add(word, unit.strip_suffix('s').unwrap_or(unit))?;
            }
        }
        Ok(sum)
    }
}

impl Interval {
    /// Adds so many of a unit; only weeks and shorter ones come in fractions.
    fn add(&mut self, count: &str, unit: &str) -> Result<(), ()> {
        let count: Decimal = match super::parse_number(count).ok_or(())? {
            super::Number::Integer(whole) => whole.into(),
            super::Number::Decimal(decimal) => decimal,
            super::Number::Wide(_) => return Err(()),
        };
        let times = |units: i64| count.checked_mul(units.into()).filter(|product| product.fract().is_zero()).ok_or(());
        let whole = |units: i64| times(units)?.to_i32().ok_or(());
        let short = |units: i64| times(units)?.to_i64().ok_or(());
        match unit {
            "year" => self.months = self.months.checked_add(whole(12)?).ok_or(())?,
            "mon" | "month" => self.months = self.months.checked_add(whole(1)?).ok_or(())?,
            "week" => self.days = self.days.checked_add(whole(7)?).ok_or(())?,
            "day" => self.days = self.days.checked_add(whole(1)?).ok_or(())?,
            unit => {
                let length = match unit {
                    "hour" => 3_600_000_000,
                    "min" | "minute" => 60_000_000,
                    "sec" | "second" => 1_000_000,
                    _ => return Err(()),
                };
                self.microseconds = self.microseconds.checked_add(short(length)?).ok_or(())?;
            }
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
            (Value::Missing, Value::Missing) | (Value::Null, Value::Null) | (Value::JsonNull, Value::JsonNull) => true,
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
    fn intervals_are_read_as_they_are_printed() {
        let of = |months, days, microseconds| Interval { months, days, microseconds };
        for interval in [of(0, 0, 0), of(-14, 3, -4_500_000), of(i32::MAX, i32::MIN, i64::MAX), of(0, 0, i64::MIN)] {
            assert_eq!(interval.to_string().parse(), Ok(interval));
        }
        let read = |text: &str| text.parse::<Interval>();
        assert_eq!(read("P1Y2M3DT4H5M6.5S"), Ok(of(14, 3, 14_706_500_000)));
        assert_eq!(read("P1W"), Ok(of(0, 7, 0)));
        assert_eq!(read("1 year 2 mons -3 days -04:05:06.789"), Ok(of(14, -3, -14_706_789_000)));
        assert_eq!(read("5 days"), Ok(of(0, 5, 0)));
        for text in ["", "P", "PT", "P1", "1", "days", "1 fortnight", "P1.5M", "1:xx", "P99999999999D", "-:1", "P1é"] {
            assert_eq!(read(text), Err(()), "{text}");
        }
    }

    #[test]
    fn json_keeps_what_a_double_would_change() {
        assert_eq!(Value::Integer(1 << 60).to_json(), serde_json::json!("1152921504606846976"));
        let price = Value::Decimal("19.90".parse().unwrap());
        assert_eq!(price.to_json(), serde_json::json!("19.90"));
        let long = Value::Decimal("0.1234567890123456789".parse().unwrap());
        let list = Value::List(Box::new(vec![price.clone(), Value::Integer(2)]));
        let map = [("price", price), ("long", long), ("list", list)];
        let map = Value::Map(Box::new(map.into_iter().map(|(key, value)| (key.into(), value)).collect()));
        let shown = serde_json::json!({ "price": 19.9, "long": "0.1234567890123456789", "list": [19.9, 2] });
        assert_eq!(map.to_json(), shown, "a number of a document is one");
        assert_eq!(map.to_string(), r#"{"price":19.90,"long":0.1234567890123456789,"list":[19.90,2]}"#);
        assert_eq!(Value::Integer(7).to_json(), serde_json::json!(7));
        assert_eq!(Value::Decimal("7".parse().unwrap()).to_json(), serde_json::json!(7), "one form for one number");
        assert_eq!(Value::Decimal("1152921504606846976".parse().unwrap()).to_json(), Value::Integer(1 << 60).to_json());
    }
}
