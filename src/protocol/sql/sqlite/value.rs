//! Columns of SQLite and what stands in them.
//!
//! SQLite types values, not columns: a column's declared type is a hint, and
//! any value may stand anywhere. A value is read by its column's kind where it
//! can be, else as what it is.

use chrono::{NaiveDate, NaiveTime};
use chrono_tz::Tz;
use sqlx::sqlite::{SqliteArguments, SqliteValueRef};
use sqlx::{Arguments, Decode, Sqlite, TypeInfo, ValueRef};

use super::super::statement::literal;
use super::stamp::{self, Stamp};
use crate::record::{Field, Kind, Value, json, parse_number, zone};

/// A column and the form of the times in it.
#[derive(Debug, Clone)]
pub(super) struct Column {
    pub(super) field: Field,
    pub(super) stamp: Stamp,
    /// Of times without a zone.
    pub(super) zone: Tz,
}

/// SQLite's storage classes, but for null.
enum Class {
    Integer,
    Real,
    Text,
    Blob,
}

/// The kind of a declared type: well-known names first, then SQLite's own
/// rules of affinity (<https://www.sqlite.org/datatype3.html>, section 3.1).
pub(super) fn kind(declared: &str) -> Kind {
    let upper = declared.to_uppercase();
    let (name, sizes) = upper.split_once('(').unwrap_or((&upper, ""));
    let name = name.trim();
    let mut sizes = sizes.trim_end().trim_end_matches(')').split(',').map(|size| size.trim().parse::<u16>().ok());
    let (first, second) = (sizes.next().flatten(), sizes.next().flatten());
    match name {
        "" | "ANY" => Kind::Any,
        "BOOL" | "BOOLEAN" => Kind::Boolean,
        "DATE" => Kind::Date,
        "TIME" => Kind::Time { digits: 9 },
        "DATETIME" | "TIMESTAMP" | "TIMESTAMP WITHOUT TIME ZONE" => Kind::LocalTime { digits: 9 },
        "TIMESTAMPTZ" | "DATETIMETZ" | "TIMESTAMP WITH TIME ZONE" => Kind::Instant { digits: 9 },
        // By SQLite's rules such a column keeps every digit as text.
        "DECIMAL_TEXT" => Kind::Decimal { precision: None, scale: None },
        "DECIMAL" | "NUMERIC" | "NUMBER" | "MONEY" | "CURRENCY" => {
            Kind::Decimal { precision: first, scale: first.map(|_| second.unwrap_or(0)) }
        }
        "JSON" | "JSONB" => Kind::Json,
        "INTERVAL" => Kind::Interval,
        "UUID" | "GUID" | "UNIQUEIDENTIFIER" => Kind::Uuid,
        "BYTEA" | "BINARY" | "VARBINARY" | "IMAGE" => Kind::Bytes,
        _ if name.contains("INT") => Kind::Integer { bits: 64 },
        _ if name.contains("CHAR") => Kind::Text { max: first.map(u32::from), padded: false },
        _ if name.contains("CLOB") || name.contains("TEXT") => Kind::Text { max: None, padded: false },
        _ if name.contains("BLOB") => Kind::Bytes,
        _ if name.contains("REAL") || name.contains("FLOA") || name.contains("DOUB") => Kind::Float { bits: 64 },
        _ => Kind::Any,
    }
}

impl Column {
    /// Reads what stands in the column.
    ///
    /// # Errors
    /// Where it is no value at all: text that is not UTF-8.
    pub(super) fn read(&self, raw: SqliteValueRef<'_>) -> Result<Value, String> {
        let unreadable = |error: sqlx::error::BoxDynError| format!("`{}` cannot be read: {error}", self.field.name);
        if raw.is_null() {
            return Ok(Value::Null);
        }
        let class = match raw.type_info().name() {
            "INTEGER" => Class::Integer,
            "REAL" => Class::Real,
            "TEXT" => Class::Text,
            _ => Class::Blob,
        };
        Ok(match class {
            Class::Integer => self.read_integer(<i64 as Decode<Sqlite>>::decode(raw).map_err(unreadable)?),
            Class::Real => self.read_real(<f64 as Decode<Sqlite>>::decode(raw).map_err(unreadable)?),
            Class::Text => self.read_text(<&str as Decode<Sqlite>>::decode(raw).map_err(unreadable)?),
            Class::Blob => Value::Bytes(<&[u8] as Decode<Sqlite>>::decode(raw).map_err(unreadable)?.into()),
        })
    }

    fn read_integer(&self, integer: i64) -> Value {
        match self.field.kind {
            Kind::Boolean if integer == 0 || integer == 1 => Value::Boolean(integer == 1),
            Kind::Instant { .. } => {
                stamp::from_count(integer).map_or(Value::Integer(integer), |(time, _)| Value::Instant(time))
            }
            Kind::LocalTime { .. } => stamp::from_count(integer)
                .map_or(Value::Integer(integer), |(time, _)| Value::LocalTime(stamp::to_local(time, self.zone))),
            _ => Value::Integer(integer),
        }
    }

    /// A binary fraction in a column of exact numbers stands for the shortest
    /// decimal that reads back as it: SQLite has turned `19.90` into it.
    fn read_real(&self, real: f64) -> Value {
        match self.field.kind {
            Kind::Decimal { .. } | Kind::Integer { .. } => {
                parse_number(&real.to_string()).map_or(Value::Float(real), Value::from)
            }
            _ => Value::Float(real),
        }
    }

    fn read_text(&self, text: &str) -> Value {
        let read = match self.field.kind {
            Kind::Decimal { .. } if matches!(text, "NaN" | "Infinity" | "-Infinity") => {
                Some(Value::WideDecimal(text.into()))
            }
            Kind::Decimal { .. } | Kind::Integer { .. } => parse_number(text).map(Value::from),
            Kind::Interval => text.parse().ok().map(Value::Interval),
            Kind::Boolean if text.eq_ignore_ascii_case("true") => Some(Value::Boolean(true)),
            Kind::Boolean if text.eq_ignore_ascii_case("false") => Some(Value::Boolean(false)),
            Kind::Date => NaiveDate::parse_from_str(text, "%Y-%m-%d").ok().map(Value::Date),
            Kind::Time { .. } => stamp::parse_time(text).map(Value::Time),
            Kind::LocalTime { .. } => stamp::parse(text).map(|parsed| Value::LocalTime(parsed.local(self.zone))),
            Kind::Instant { .. } => stamp::parse(text).map(|parsed| Value::Instant(parsed.instant(self.zone))),
            Kind::Json => json::document(text),
            _ => None,
        };
        read.unwrap_or_else(|| Value::text(text))
    }

    /// The form a value is stored in. Exact numbers go as text: SQLite turns
    /// them into what the column's affinity asks for.
    pub(super) fn store(&self, value: &Value) -> Stored {
        let count_or_text = |rendered: Result<String, i64>| match rendered {
            Ok(text) => Stored::Text(text),
            Err(count) => Stored::Integer(count),
        };
        match value {
            Value::Missing | Value::Null => Stored::Null,
            _ if self.field.kind == Kind::Json => {
                let mut text = String::new();
                json::write(value, &mut text);
                Stored::Text(text)
            }
            Value::JsonNull => Stored::Null,
            Value::Boolean(b) => Stored::Integer(i64::from(*b)),
            Value::Integer(i) => Stored::Integer(*i),
            Value::Float(f) => Stored::Real(*f),
            Value::Bytes(bytes) => Stored::Blob(bytes.to_vec()),
            Value::Time(time) => Stored::Text(stamp::time_text(*time, 0)),
            Value::Date(date) if matches!(self.field.kind, Kind::LocalTime { .. } | Kind::Instant { .. }) => {
                count_or_text(self.stamp.render_local(date.and_time(NaiveTime::MIN), self.zone))
            }
            Value::LocalTime(time) => count_or_text(self.stamp.render_local(*time, self.zone)),
            Value::Instant(time) => count_or_text(self.stamp.render(*time, self.zone)),
            Value::List(_) | Value::Map(_) => {
                let mut text = String::new();
                json::write(value, &mut text);
                Stored::Text(text)
            }
            Value::Decimal(_) | Value::WideDecimal(_) | Value::Text(_) | Value::Date(_) | Value::Interval(_) => {
                Stored::Text(value.to_string())
            }
        }
    }

    /// The condition that the column is not before `value`, in the order in
    /// which SQLite sorts the column.
    pub(super) fn not_before(&self, column: &str, value: &Value) -> String {
        let text_stamp = matches!(self.stamp, Stamp::Text { .. });
        match value {
            Value::LocalTime(time) if text_stamp => {
                let local = if self.stamp.has_zone() { zone::instant(*time, self.zone).naive_utc() } else { *time };
                stamp::not_before(column, local)
            }
            Value::Instant(time) if text_stamp => {
                let local = if self.stamp.has_zone() { time.naive_utc() } else { stamp::to_local(*time, self.zone) };
                stamp::not_before(column, local)
            }
            _ => format!("{column} >= {}", self.store(value).literal()),
        }
    }
}

/// A value in one of SQLite's storage classes.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Stored {
    Null,
    Integer(i64),
    Real(f64),
    Text(String),
    Blob(Vec<u8>),
}

impl Stored {
    /// Adds it to a statement's parameters.
    pub(super) fn bind(self, arguments: &mut SqliteArguments) {
        let added = match self {
            Stored::Null => arguments.add(None::<i64>),
            Stored::Integer(integer) => arguments.add(integer),
            Stored::Real(real) => arguments.add(real),
            Stored::Text(text) => arguments.add(text),
            Stored::Blob(bytes) => arguments.add(bytes),
        };
        added.expect("SQLite takes every value of its own storage classes");
    }

    /// As a literal of SQL.
    pub(super) fn literal(&self) -> String {
        match self {
            Stored::Null => "NULL".into(),
            Stored::Integer(integer) => integer.to_string(),
            Stored::Real(real) if real.is_finite() => format!("{real:?}"),
            Stored::Real(real) => if *real < 0.0 { "-9e999" } else { "9e999" }.into(),
            Stored::Text(text) => literal(text),
            Stored::Blob(bytes) => {
                format!("x'{}'", hex(bytes))
            }
        }
    }

    /// As an item of the JSON that probes travel in; a blob as its hex digits.
    pub(super) fn json(&self) -> serde_json::Value {
        match self {
            Stored::Null => serde_json::Value::Null,
            Stored::Integer(integer) => (*integer).into(),
            Stored::Real(real) => (*real).into(),
            Stored::Text(text) => text.as_str().into(),
            Stored::Blob(bytes) => hex(bytes).into(),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    let mut out = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        write!(out, "{byte:02x}").expect("writing to a string cannot fail");
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn declared_types_have_a_kind() {
        assert_eq!(kind("integer"), Kind::Integer { bits: 64 });
        assert_eq!(kind("UNSIGNED BIG INT"), Kind::Integer { bits: 64 });
        assert_eq!(kind("decimal(10, 2)"), Kind::Decimal { precision: Some(10), scale: Some(2) });
        assert_eq!(kind("NUMERIC"), Kind::Decimal { precision: None, scale: None });
        assert_eq!(kind("CHAR(6)"), Kind::Text { max: Some(6), padded: false });
        assert_eq!(kind("text"), Kind::Text { max: None, padded: false });
        assert_eq!(kind("double precision"), Kind::Float { bits: 64 });
        assert_eq!(kind("datetime"), Kind::LocalTime { digits: 9 });
        assert_eq!(kind(""), Kind::Any);
        assert_eq!(kind("STRING"), Kind::Any);
    }

    proptest! {
        #[test]
        fn anything_may_stand_in_any_column(text in "\\PC{0,30}", integer: i64, real: f64) {
            let declared = ["BOOLEAN", "DATE", "TIME", "TIMESTAMP", "TIMESTAMPTZ", "DECIMAL(10,2)", "JSON", "INTERVAL", "INT", ""];
            for declared in declared {
                let field = Field::new("c", kind(declared));
                let column = Column { field, stamp: stamp::PLAIN, zone: Tz::America__Sao_Paulo };
                for value in [column.read_text(&text), column.read_integer(integer), column.read_real(real)] {
                    column.store(&value).literal();
                    column.not_before("c", &value);
                }
            }
        }
    }

    #[test]
    fn a_value_is_read_by_its_kind_where_it_can_be() {
        let column =
            |declared: &str| Column { field: Field::new("c", kind(declared)), stamp: stamp::PLAIN, zone: Tz::UTC };
        let number = |text: &str| Value::from(parse_number(text).unwrap());
        assert_eq!(column("DECIMAL(10,2)").read_real(19.9), number("19.9"));
        assert_eq!(column("DECIMAL").read_text("12345678901234567890.12"), number("12345678901234567890.12"));
        assert_eq!(column("DECIMAL").read_text("n/a"), Value::text("n/a"));
        assert_eq!(column("REAL").read_real(19.9), Value::Float(19.9));
        assert_eq!(column("BOOLEAN").read_integer(1), Value::Boolean(true));
        assert_eq!(column("BOOLEAN").read_integer(2), Value::Integer(2));
        assert_eq!(column("DATE").read_text("2026-02-30"), Value::text("2026-02-30"));
        assert_eq!(column("DECIMAL(10,2)").read_text("NaN"), Value::WideDecimal("NaN".into()));
        assert_eq!(column("INTERVAL").read_text("P1D").to_string(), "P1D");
        assert_eq!(column("JSON").read_text("null"), Value::JsonNull);
        assert_eq!(column("JSON").store(&Value::JsonNull), Stored::Text("null".into()));
    }
}
