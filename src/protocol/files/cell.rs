//! A cell's text and the value that it stands for.

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Timelike, Utc};
use rust_decimal::Decimal;

use super::config::CellKind;
use crate::record::{Field, Kind, Value, json, parse_number, zone};

/// A field of a file.
#[derive(Debug, Clone)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) kind: CellKind,
    /// How its dates and times are written.
    pub(super) format: Option<String>,
    pub(super) decimal_comma: bool,
    /// The file makes no difference between an empty text and none.
    pub(super) empty_is_null: bool,
    /// The characters it takes, filled up with blanks.
    pub(super) width: Option<usize>,
    /// The way to it in an element.
    pub(super) path: Vec<String>,
    pub(super) timezone: chrono_tz::Tz,
}

impl Column {
    /// What the engine is told of it.
    pub(super) fn field(&self) -> Field {
        let (kind, native) = match self.kind {
            CellKind::Text => {
                let max = self.width.and_then(|width| width.try_into().ok());
                (Kind::Text { max, padded: self.width.is_some() }, "text")
            }
            CellKind::Integer => (Kind::Integer { bits: 64 }, "integer"),
            CellKind::Decimal => (Kind::Decimal { precision: None, scale: None }, "decimal"),
            CellKind::Boolean => (Kind::Boolean, "boolean"),
            CellKind::Date => (Kind::Date, "date"),
            CellKind::Time => (Kind::Time { digits: 9 }, "time"),
            CellKind::Datetime => (Kind::LocalTime { digits: 9 }, "datetime"),
            CellKind::Timestamp => (Kind::Instant { digits: 9 }, "timestamp"),
            CellKind::Json => (Kind::Json, "json"),
        };
        let empty_is_null = self.empty_is_null && self.kind == CellKind::Text;
        Field { native: native.into(), empty_is_null, ..Field::new(&self.name, kind) }
    }

    /// The type under which SQLite keeps its values exactly.
    pub(super) fn declared(&self) -> &'static str {
        match self.kind {
            CellKind::Text => "TEXT",
            CellKind::Integer => "INTEGER",
            CellKind::Decimal => "DECIMAL_TEXT",
            CellKind::Boolean => "BOOLEAN",
            CellKind::Date => "DATE",
            CellKind::Time => "TIME",
            CellKind::Datetime => "DATETIME",
            CellKind::Timestamp => "TIMESTAMPTZ",
            CellKind::Json => "JSON",
        }
    }

    /// The value of a cell; an empty one has none.
    ///
    /// # Errors
    /// What is wrong with it, for people.
    pub(super) fn parse(&self, text: &str) -> Result<Value, String> {
        if self.kind == CellKind::Text {
            let text = if self.width.is_some() { text.trim_end_matches(' ') } else { text };
            return Ok(if text.is_empty() { Value::Null } else { Value::text(text) });
        }
        let text = text.trim();
        if text.is_empty() {
            return Ok(Value::Null);
        }
        let value = match self.kind {
            CellKind::Text => None,
            CellKind::Integer => text.parse().ok().map(Value::Integer),
            CellKind::Decimal => self.number(text),
            CellKind::Boolean => match text.to_ascii_lowercase().as_str() {
                "true" | "1" => Some(Value::Boolean(true)),
                "false" | "0" => Some(Value::Boolean(false)),
                _ => None,
            },
            CellKind::Date => match &self.format {
                Some(format) => NaiveDate::parse_from_str(text, format).ok(),
                None => text.parse().ok(),
            }
            .map(Value::Date),
            CellKind::Time => match &self.format {
                Some(format) => NaiveTime::parse_from_str(text, format).ok(),
                None => text.parse().ok(),
            }
            .map(Value::Time),
            CellKind::Datetime => self.local(text).map(Value::LocalTime),
            CellKind::Timestamp => self.instant(text).map(Value::Instant),
            CellKind::Json => json::document(text),
        };
        value.ok_or_else(|| match &self.format {
            Some(format) => format!("`{}`: `{text}` is no {} of the form `{format}`", self.name, self.field().native),
            None => format!("`{}`: `{text}` is no {}", self.name, self.field().native),
        })
    }

    /// A number: with a comma before its fraction, points between its thousands.
    fn number(&self, text: &str) -> Option<Value> {
        if !self.decimal_comma {
            return parse_number(text).map(Value::from).map(normal);
        }
        let (whole, fraction) = text.split_once(',').unwrap_or((text, ""));
        let mut groups = whole.split('.');
        let first = groups.next().unwrap_or_default();
        let are_thousands =
            groups.clone().all(|group| group.len() == 3) && (groups.next().is_none() || !first.is_empty());
        if !are_thousands || fraction.contains('.') {
            return None;
        }
        let whole = whole.replace('.', "");
        let text = if fraction.is_empty() { whole } else { format!("{whole}.{fraction}") };
        parse_number(&text).map(Value::from).map(normal)
    }

    fn local(&self, text: &str) -> Option<NaiveDateTime> {
        match &self.format {
            Some(format) => NaiveDateTime::parse_from_str(text, format).ok(),
            None => ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"]
                .iter()
                .find_map(|format| NaiveDateTime::parse_from_str(text, format).ok()),
        }
    }

    /// A time that names no zone is meant in the connection's.
    fn instant(&self, text: &str) -> Option<DateTime<Utc>> {
        let with_zone = match &self.format {
            Some(format) => DateTime::parse_from_str(text, format).ok(),
            None => DateTime::parse_from_rfc3339(text).ok(),
        };
        let without = || self.local(text).map(|local| zone::instant(local, self.timezone));
        with_zone.map(|time| time.with_timezone(&Utc)).or_else(without)
    }

    /// A value as a cell has it.
    pub(super) fn render(&self, value: &Value) -> String {
        let formatted = |time: &dyn Fn(&str) -> String| self.format.as_deref().map(time);
        match value {
            Value::Missing | Value::Null => String::new(),
            Value::Integer(_) | Value::Decimal(_) | Value::WideDecimal(_) if self.decimal_comma => {
                value.to_string().replace('.', ",")
            }
            Value::Date(date) => {
                formatted(&|format| date.format(format).to_string()).unwrap_or_else(|| value.to_string())
            }
            Value::Time(time) => {
                formatted(&|format| time.format(format).to_string()).unwrap_or_else(|| value.to_string())
            }
            Value::LocalTime(time) => {
                formatted(&|format| time.format(format).to_string()).unwrap_or_else(|| value.to_string())
            }
            Value::Instant(time) => {
                let local = time.with_timezone(&self.timezone);
                formatted(&|format| local.format(format).to_string()).unwrap_or_else(|| value.to_string())
            }
            _ if self.kind == CellKind::Json => {
                let mut text = String::new();
                json::write(value, &mut text);
                text
            }
            other => other.to_string(),
        }
    }
}

/// The same number in the one form in which it is looked for.
pub(super) fn normal(value: Value) -> Value {
    match value {
        Value::Decimal(number) => Value::Decimal(if number.is_zero() { Decimal::ZERO } else { number.normalize() }),
        other => other,
    }
}

/// True where values of a kind can be written by a format and read again.
pub fn is_format(kind: CellKind, format: &str) -> bool {
    use std::fmt::Write;
    let sample = NaiveDate::from_ymd_opt(2026, 10, 28).and_then(|day| day.and_hms_opt(13, 14, 15));
    let Some(sample) = sample else { return false };
    let mut text = String::new();
    let (written, value) = match kind {
        CellKind::Date => (write!(text, "{}", sample.date().format(format)), Value::Date(sample.date())),
        CellKind::Time => (write!(text, "{}", sample.time().format(format)), Value::Time(sample.time())),
        CellKind::Datetime => (write!(text, "{}", sample.format(format)), Value::LocalTime(sample)),
        CellKind::Timestamp => (write!(text, "{}", sample.and_utc().format(format)), Value::Instant(sample.and_utc())),
        _ => return false,
    };
    let format = Some(format.to_owned());
    let (name, timezone) = (String::new(), chrono_tz::UTC);
    let (width, path) = (None, Vec::new());
    let column = Column { name, kind, format, decimal_comma: false, empty_is_null: true, width, path, timezone };
    let whole = |value: Value| match value {
        // A form without seconds is one all the same.
        Value::Time(time) => Value::Time(time.with_second(15).unwrap_or(time)),
        Value::LocalTime(time) => Value::LocalTime(time.with_second(15).unwrap_or(time)),
        Value::Instant(time) => Value::Instant(time.with_second(15).unwrap_or(time)),
        other => other,
    };
    written.is_ok() && column.parse(&text).is_ok_and(|read| whole(read) == value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(kind: CellKind, format: Option<&str>, decimal_comma: bool) -> Column {
        let format = format.map(str::to_owned);
        let timezone = chrono_tz::America::Sao_Paulo;
        let (name, width, path) = ("c".to_owned(), None, Vec::new());
        Column { name, kind, format, decimal_comma, empty_is_null: true, width, path, timezone }
    }

    #[test]
    fn a_cell_is_its_value_and_back() {
        use CellKind::{Boolean, Date, Datetime, Decimal, Integer, Text, Time, Timestamp};
        for (kind, format, comma, text, shown) in [
            (Text, None, false, "00001", "00001"),
            (Text, None, false, " a ", " a "),
            (Integer, None, false, " 12 ", "12"),
            (Decimal, None, false, "19.90", "19.9"),
            (Decimal, None, true, "1.234,56", "1234,56"),
            (Decimal, None, true, "-0,50", "-0,5"),
            (Decimal, None, true, "12345678901234567890,125", "12345678901234567890,125"),
            (Boolean, None, false, "TRUE", "true"),
            (Date, None, false, "2026-02-28", "2026-02-28"),
            (Date, Some("%d/%m/%Y"), false, "28/02/2026", "28/02/2026"),
            (Time, None, false, "23:59:00", "23:59:00"),
            (Datetime, None, false, "2026-02-28 12:00", "2026-02-28T12:00:00"),
            (Timestamp, None, false, "2026-02-28T12:00:00-03:00", "2026-02-28T15:00:00Z"),
            (Timestamp, None, false, "2026-02-28 12:00:00", "2026-02-28T15:00:00Z"),
        ] {
            let column = column(kind, format, comma);
            let value = column.parse(text).unwrap_or_else(|why| panic!("{why}"));
            assert_eq!(column.render(&value), shown, "{kind:?} {text}");
            assert_eq!(column.parse(shown), Ok(value), "what was written is read the same: {kind:?} {text}");
        }
        for (kind, format, is_good) in [
            (Date, "%d/%m/%Y", true),
            (Date, "%d/%m", false),
            (Date, "%d/%m/%Y %H", false),
            (Date, "%Q", false),
            (Time, "%H:%M", true),
            (Datetime, "%d.%m.%Y %H:%M:%S", true),
            (Timestamp, "%Y-%m-%d %H:%M:%S%z", true),
            (Text, "%d", false),
        ] {
            assert_eq!(is_format(kind, format), is_good, "{kind:?} {format}");
        }
        for (kind, format, comma, text) in [
            (Integer, None, false, "1.5"),
            (Decimal, None, false, "1.234,56"),
            (Decimal, None, true, "1.23,4"),
            (Decimal, None, true, ".123,4"),
            (Date, Some("%d/%m/%Y"), false, "2026-02-28"),
            (Date, None, false, "2026-02-30"),
            (Boolean, None, false, "sim"),
        ] {
            assert!(column(kind, format, comma).parse(text).is_err(), "{kind:?} {text}");
        }
    }
}
