//! Dates and times from text and numbers, and back.
//!
//! These rules go both ways by what comes in: a text becomes a date, a date
//! becomes a text. So the same rule serves a field whose source keeps text and
//! one whose target does, and is its own way back.

use std::sync::Arc;

use chrono::{DateTime, LocalResult, NaiveDateTime, NaiveTime, Offset, TimeZone, Utc};
use chrono_tz::Tz;
use compact_str::{CompactString, ToCompactString};
use rust_decimal::prelude::ToPrimitive;

use super::arguments::{Arguments, Reported};
use super::format::{Format, Holds};
use super::kinds::{Nature, TEXT, nature, not};
use super::number::number_in;
use super::{Back, Class, Definition, Example, Parameter, Rule, Takes};
use crate::compile::Trouble;
use crate::compile::trouble::shown;
use crate::diagnostic::{Code, nearest};
use crate::record::{Kind, Value};

pub(super) static DATE: Definition = Definition {
    name: "date",
    class: Class::Invertible,
    parameters: &[Parameter::argument(Takes::Text, "A strftime format that holds year, month and day.")],
    manual: "Reads a text as a date, or writes a date as a text, by a strftime format (`%Y%m%d`, `%d/%m/%Y`). Blank \
             text becomes null. Where both sides keep text, write one `date` for each: \
             `[{ date: \"%Y%m%d\" }, { date: \"%d/%m/%Y\" }]`. A year of two digits lies between 1970 and 2069; a \
             date outside is rejected rather than written.",
    examples: &[
        Example {
            rule: r#"{ date: "%Y%m%d" }"#,
            values: &[
                (r#""20240229""#, "2024-02-29"),
                ("2024-02-29", r#""20240229""#),
                (r#""        ""#, "null"),
                ("20240229", "2024-02-29"),
                (r#""20230229""#, "refused"),
            ],
        },
        Example {
            rule: r#"{ date: "%d/%m/%y" }"#,
            values: &[(r#""01/03/26""#, "2026-03-01"), ("1926-03-01", "refused")],
        },
    ],
    build: build_date,
};

fn build_date(arguments: &mut Arguments<'_>) -> Result<Arc<dyn Rule>, Reported> {
    arguments.required("")?;
    let format = format(arguments, Holds::Date)?.ok_or(Reported)?;
    Ok(Arc::new(Date(format)))
}

fn format(arguments: &mut Arguments<'_>, holds: Holds) -> Result<Option<Format>, Reported> {
    let Some(text) = arguments.text("")? else { return Ok(None) };
    match Format::new(text, holds) {
        Ok(format) => Ok(Some(format)),
        Err(reason) => {
            let place = arguments.argument().map_or(&arguments.spec.place, |node| &node.place).clone();
            let example = if holds == Holds::Date { "%Y%m%d" } else { "%Y-%m-%d %H:%M:%S" };
            let help = format!("formats are strftime's: `{example}`");
            Err(arguments.report(Code::BAD_FORMAT, &place, format!("the format `{text}` {reason}"), Some(help)))
        }
    }
}

#[derive(Debug, Clone)]
struct Date(Format);

impl Date {
    fn read(&self, value: &Value, text: &str) -> Result<Value, Box<Trouble>> {
        let trimmed = text.trim();
        if trimmed.is_empty() {
            return Ok(Value::Null);
        }
        if let Some((time, _)) = self.0.read(trimmed, Holds::Date) {
            return Ok(Value::Date(time.date()));
        }
        let message = format!("`{trimmed}` is not a date in the form `{}`", self.0.text());
        Err(Trouble::with(Code::NOT_A_TIME, value, message))
    }
}

impl Rule for Date {
    fn apply(&self, value: Value, _: &[Value]) -> Result<Value, Box<Trouble>> {
        let date = match &value {
            Value::Text(text) => return self.read(&value, text),
            Value::Integer(digits) => return self.read(&value, &digits.to_compact_string()),
            Value::Date(date) => *date,
            Value::LocalTime(time) if time.time() == NaiveTime::MIN => time.date(),
            other => return Err(not(other, "a text or a date")),
        };
        written(&self.0, date.and_time(NaiveTime::MIN), None, Holds::Date, &value).map(Value::Text)
    }

    fn back(&self) -> Back {
        Back::rule(self.clone())
    }

    fn gives(&self, kind: &Kind) -> Result<Kind, &'static str> {
        match nature(kind) {
            Nature::Unknown => Ok(Kind::Any),
            Nature::Text | Nature::Number => Ok(Kind::Date),
            Nature::Date => Ok(TEXT),
            Nature::Time if matches!(kind, Kind::LocalTime { .. }) => Ok(TEXT),
            _ => Err("a text or a date"),
        }
    }

    fn describe(&self) -> String {
        format!("date by `{}`", self.0.text())
    }
}

/// The text of a time, proven to read back where the format cannot hold all.
fn written(
    format: &Format,
    time: NaiveDateTime,
    offset: Option<chrono::FixedOffset>,
    holds: Holds,
    value: &Value,
) -> Result<CompactString, Box<Trouble>> {
    let refused =
        || Trouble::with(Code::NOT_A_TIME, value, format!("{} cannot be written as `{}`", shown(value), format.text()));
    let text = format.write(time, offset).ok_or_else(refused)?;
    if format.partial && format.read(&text, holds).is_none_or(|(read, _)| read.date() != time.date()) {
        return Err(refused());
    }
    Ok(text)
}

pub(super) static DATETIME: Definition = Definition {
    name: "datetime",
    class: Class::Invertible,
    parameters: &[
        Parameter::argument(Takes::Text, "A strftime format that holds date and time; ISO 8601 if left out.")
            .optional(),
        Parameter::option(
            "timezone",
            Takes::Text,
            "The zone of texts without an offset, as IANA names it: `America/Sao_Paulo`.",
        ),
    ],
    manual: "Reads a text as a date and time, or writes one as a text. With an offset in the format, or with a \
             `timezone`, the text means a point in time; without both it stays a time without zone. A time that the \
             clocks skip is rejected; of an hour that comes twice the first is meant, and a point in time in the \
             second is rejected rather than written without its offset. What the format has no place for, such as \
             fractions of a second, is not written.",
    examples: &[
        Example {
            rule: r#"{ datetime: "%d/%m/%Y %H:%M", timezone: America/Sao_Paulo }"#,
            values: &[
                (r#""01/03/2026 09:30""#, "2026-03-01T12:30:00Z"),
                ("2026-03-01T12:30:00Z", r#""01/03/2026 09:30""#),
                (r#""04/11/2018 00:30""#, "refused"),
            ],
        },
        Example {
            rule: "datetime",
            values: &[
                (r#""2026-03-01 09:30:00""#, "2026-03-01T09:30:00"),
                (r#""2026-03-01T09:30:00-03:00""#, "2026-03-01T12:30:00Z"),
            ],
        },
    ],
    build: build_datetime,
};

fn build_datetime(arguments: &mut Arguments<'_>) -> Result<Arc<dyn Rule>, Reported> {
    let format = format(arguments, Holds::DateAndTime);
    let zone = match arguments.text("timezone")? {
        None => None,
        Some(name) => {
            let Ok(zone) = name.parse::<Tz>() else {
                let help = nearest(name, chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name()))
                    .map(|near| format!("did you mean `{near}`?"));
                return Err(arguments.bad("timezone", "takes a zone of the IANA list", help));
            };
            Some(zone)
        }
    };
    Ok(Arc::new(Datetime { format: format?, zone }))
}

#[derive(Debug, Clone)]
struct Datetime {
    /// ISO 8601 where there is none.
    format: Option<Format>,
    zone: Option<Tz>,
}

impl Datetime {
    fn read(&self, value: &Value, text: &str) -> Result<Value, Box<Trouble>> {
        let trimmed = text.trim();
        if trimmed.is_empty() {
            return Ok(Value::Null);
        }
        let read = match &self.format {
            Some(format) => format.read(trimmed, Holds::DateAndTime),
            None => read_iso(trimmed),
        };
        let Some((time, offset)) = read else {
            let form = self.format.as_ref().map_or("ISO 8601", |format| format.text());
            let message = format!("`{trimmed}` is not a date and time in the form `{form}`");
            return Err(Trouble::with(Code::NOT_A_TIME, value, message));
        };
        match (offset, self.zone) {
            (Some(offset), _) => match offset.from_local_datetime(&time).single() {
                Some(instant) => Ok(Value::Instant(instant.to_utc())),
                None => Err(not(value, "a point in time")),
            },
            (None, Some(zone)) => instant(zone, time, value).map(Value::Instant),
            (None, None) => Ok(Value::LocalTime(time)),
        }
    }

    fn zoned(&self) -> bool {
        self.format.as_ref().is_some_and(|format| format.zoned)
    }

    fn write_instant(&self, value: &Value, instant: DateTime<Utc>) -> Result<CompactString, Box<Trouble>> {
        let (local, offset) = match self.zone {
            Some(zone) => {
                let local = instant.with_timezone(&zone);
                (local.naive_local(), local.offset().fix())
            }
            None => (instant.naive_utc(), Utc.fix()),
        };
        // Before zones had whole minutes no text could hold their offset.
        let odd = offset.local_minus_utc() % 60 != 0;
        let written_with_offset = self.format.as_ref().is_none_or(|format| format.zoned);
        let (local, offset) =
            if odd && written_with_offset { (instant.naive_utc(), Utc.fix()) } else { (local, offset) };
        let Some(format) = &self.format else {
            return Ok(write_iso(local, Some(offset), self.zone.is_none()));
        };
        if !format.zoned {
            let Some(zone) = self.zone else {
                let message = format!("{} can be written as `{}` only with a `timezone`", shown(value), format.text());
                return Err(Trouble::with(Code::NOT_A_TIME, value, message));
            };
            if zone.from_local_datetime(&local).earliest().is_none_or(|first| first.to_utc() != instant) {
                let message = format!(
                    "{} falls into the second of two hours that `{zone}` calls alike, and `{}` has no offset",
                    shown(value),
                    format.text()
                );
                return Err(Trouble::with(Code::NOT_A_TIME, value, message));
            }
        }
        written(format, local, Some(offset), Holds::DateAndTime, value)
    }

    fn write_local(&self, value: &Value, time: NaiveDateTime) -> Result<CompactString, Box<Trouble>> {
        match (&self.format, self.zone) {
            (Some(format), _) if !format.zoned => written(format, time, None, Holds::DateAndTime, value),
            (_, Some(zone)) => self.write_instant(value, instant(zone, time, value)?),
            (None, None) => Ok(write_iso(time, None, false)),
            (Some(format), None) => {
                let message = format!("{} can be written as `{}` only with a `timezone`", shown(value), format.text());
                Err(Trouble::with(Code::NOT_A_TIME, value, message))
            }
        }
    }
}

/// The point in time that a zone's clocks show so; the first of two.
fn instant(zone: Tz, time: NaiveDateTime, value: &Value) -> Result<DateTime<Utc>, Box<Trouble>> {
    match zone.from_local_datetime(&time) {
        LocalResult::Single(instant) | LocalResult::Ambiguous(instant, _) => Ok(instant.to_utc()),
        LocalResult::None => {
            let message = format!("{} does not exist in `{zone}`: the clocks skip it", shown(value));
            Err(Trouble::with(Code::NOT_A_TIME, value, message))
        }
    }
}

fn read_iso(text: &str) -> Option<(NaiveDateTime, Option<chrono::FixedOffset>)> {
    if let Ok(zoned) = DateTime::parse_from_rfc3339(text) {
        return Some((zoned.naive_local(), Some(*zoned.offset())));
    }
    match (Kind::LocalTime { digits: 9 }).fit(Value::text(text)) {
        Ok(Value::LocalTime(time)) => Some((time, None)),
        _ => None,
    }
}

fn write_iso(time: NaiveDateTime, offset: Option<chrono::FixedOffset>, utc: bool) -> CompactString {
    let local = time.format("%Y-%m-%dT%H:%M:%S%.f");
    match offset {
        Some(_) if utc => compact_str::format_compact!("{local}Z"),
        Some(offset) => compact_str::format_compact!("{local}{offset}"),
        None => compact_str::format_compact!("{local}"),
    }
}

impl Rule for Datetime {
    fn apply(&self, value: Value, _: &[Value]) -> Result<Value, Box<Trouble>> {
        match &value {
            Value::Text(text) => self.read(&value, text),
            Value::Integer(digits) => self.read(&value, &digits.to_compact_string()),
            Value::Instant(instant) => self.write_instant(&value, *instant).map(Value::Text),
            Value::LocalTime(time) => self.write_local(&value, *time).map(Value::Text),
            Value::Date(date) => self.write_local(&value, date.and_time(NaiveTime::MIN)).map(Value::Text),
            other => Err(not(other, "a text or a time")),
        }
    }

    fn back(&self) -> Back {
        Back::rule(self.clone())
    }

    fn gives(&self, kind: &Kind) -> Result<Kind, &'static str> {
        match nature(kind) {
            Nature::Unknown => Ok(Kind::Any),
            // ISO texts may have an offset or not.
            Nature::Text | Nature::Number if self.format.is_none() && self.zone.is_none() => Ok(Kind::Any),
            Nature::Text | Nature::Number if self.zone.is_some() || self.zoned() => Ok(Kind::Instant { digits: 9 }),
            Nature::Text | Nature::Number => Ok(Kind::LocalTime { digits: 9 }),
            Nature::Date | Nature::Time => Ok(TEXT),
            _ => Err("a text or a time"),
        }
    }

    fn describe(&self) -> String {
        let form = self.format.as_ref().map_or("ISO 8601", |format| format.text());
        match self.zone {
            Some(zone) => format!("datetime by `{form}` in {zone}"),
            None => format!("datetime by `{form}`"),
        }
    }
}

const UNITS: &[(&str, u32)] = &[("seconds", 0), ("milliseconds", 3), ("microseconds", 6)];

pub(super) static EPOCH: Definition = Definition {
    name: "epoch",
    class: Class::Invertible,
    parameters: &[Parameter::argument(
        Takes::Choice(&["seconds", "milliseconds", "microseconds"]),
        "The unit that is counted; `seconds` if left out.",
    )
    .optional()],
    manual: "Makes a point in time of the units passed since 1970-01-01 UTC, and whole units of a point in time; what \
             is less than a unit is not written, and a number with a fraction is rejected.",
    examples: &[
        Example {
            rule: "epoch",
            values: &[("1772323200", "2026-03-01T00:00:00Z"), ("2026-03-01T00:00:00Z", "1772323200")],
        },
        Example {
            rule: "{ epoch: milliseconds }",
            values: &[(r#""-1""#, "1969-12-31T23:59:59.999Z"), (r#""soon""#, "refused"), ("0.5", "refused")],
        },
    ],
    build: |arguments| Ok(Arc::new(Epoch { digits: arguments.choice("", UNITS)?.unwrap_or(0) })),
};

#[derive(Debug, Clone, Copy)]
struct Epoch {
    /// Decimal digits of a second that are counted.
    digits: u32,
}

impl Rule for Epoch {
    fn apply(&self, value: Value, _: &[Value]) -> Result<Value, Box<Trouble>> {
        if let Value::Instant(instant) = &value {
            let fraction = i64::from(instant.timestamp_subsec_nanos() / 10u32.pow(9 - self.digits));
            let units =
                instant.timestamp().checked_mul(10i64.pow(self.digits)).and_then(|units| units.checked_add(fraction));
            return units.map(Value::Integer).ok_or_else(|| not(&value, "within the range of times"));
        }
        let Some(number) = number_in(&value)? else { return Ok(Value::Null) };
        if !number.fract().is_zero() {
            let message = format!("{} is not a whole number; `multiply` it and count in a smaller unit", shown(&value));
            return Err(Trouble::with(Code::NOT_A_NUMBER, &value, message));
        }
        let scale = i128::from(10u32.pow(self.digits));
        let instant = number.to_i128().and_then(|units| {
            let seconds = i64::try_from(units.div_euclid(scale)).ok()?;
            let fraction = u32::try_from(units.rem_euclid(scale)).ok()?;
            DateTime::from_timestamp(seconds, fraction * 10u32.pow(9 - self.digits))
        });
        instant.map(Value::Instant).ok_or_else(|| {
            Trouble::with(Code::NOT_A_TIME, &value, format!("{} is not within the range of times", shown(&value)))
        })
    }

    fn back(&self) -> Back {
        Back::rule(*self)
    }

    fn gives(&self, kind: &Kind) -> Result<Kind, &'static str> {
        match kind {
            Kind::Instant { .. } => Ok(Kind::Integer { bits: 64 }),
            kind => match nature(kind) {
                Nature::Unknown => Ok(Kind::Any),
                Nature::Text | Nature::Number => Ok(Kind::Instant { digits: 9 }),
                _ => Err("a number or a point in time"),
            },
        }
    }

    fn describe(&self) -> String {
        let unit = UNITS.iter().find(|(_, digits)| *digits == self.digits).map_or("", |(name, _)| name);
        format!("epoch in {unit}")
    }
}
