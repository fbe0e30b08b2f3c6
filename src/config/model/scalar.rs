//! Scalars with a grammar of their own: intervals, crons, time zones.

use crate::config::decode::text;
use crate::config::tree::{At, Node};
use crate::diagnostic::{Code, Diagnostic, Diagnostics, nearest};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use std::borrow::Cow;

/// A length of time, written with its unit: `500ms`, `30s`, `5m`, `1h30m`, `7d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration(pub std::time::Duration);

const UNITS: &[(&str, u64)] = &[("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

impl Duration {
    pub const fn seconds(seconds: u64) -> Duration {
        Duration(std::time::Duration::from_secs(seconds))
    }

    /// Reads `1h30m`: parts of a whole number and a unit, the largest first,
    /// no unit twice. `Err` says what is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Duration, String> {
        if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
            return Err(format!("`{text}` has no unit"));
        }
        let wrong = || format!("`{text}` is not an interval");
        let (mut rest, mut total, mut smaller_than) = (text, 0u64, u64::MAX);
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let number = &rest[..digits];
            rest = &rest[digits..];
            let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
            let unit = &rest[..letters];
            rest = &rest[letters..];
            let &(_, milliseconds) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
            if number.is_empty() || milliseconds >= smaller_than {
                return Err(wrong());
            }
            smaller_than = milliseconds;
            let part = number.parse::<u64>().ok().and_then(|n| n.checked_mul(milliseconds));
            total = part.and_then(|part| total.checked_add(part)).ok_or_else(wrong)?;
        }
        if text.is_empty() { Err("an empty interval".to_owned()) } else { Ok(Duration::milliseconds(total)) }
    }

    const fn milliseconds(milliseconds: u64) -> Duration {
        Duration(std::time::Duration::from_millis(milliseconds))
    }

    pub(crate) fn decode(node: &Node, diagnostics: &mut Diagnostics) -> Option<At<Duration>> {
        let text = text(node, diagnostics)?;
        match Duration::parse(&text) {
            Ok(duration) => Some(At::new(duration, text.place)),
            Err(message) => {
                let help = "write a number and a unit of `ms`, `s`, `m`, `h`, `d`, as in `5m` or `1h30m`";
                diagnostics.push(Diagnostic::error(Code::BAD_VALUE, &text.place, message).help(help));
                None
            }
        }
    }

    /// An interval that is longer than nothing.
    pub(crate) fn decode_positive(node: &Node, diagnostics: &mut Diagnostics) -> Option<At<Duration>> {
        let duration = Duration::decode(node, diagnostics)?;
        if duration.0.is_zero() {
            let message = "an interval of no length";
            diagnostics.push(Diagnostic::error(Code::BAD_VALUE, &duration.place, message).help("write at least `1s`"));
            return None;
        }
        Some(duration)
    }
}

/// As a user would write it.
impl std::fmt::Display for Duration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut rest = self.0.as_millis();
        if rest == 0 {
            return f.write_str("0s");
        }
        for (unit, milliseconds) in UNITS.iter().rev() {
            let milliseconds = u128::from(*milliseconds);
            if rest >= milliseconds {
                write!(f, "{}{unit}", rest / milliseconds)?;
                rest %= milliseconds;
            }
        }
        Ok(())
    }
}

impl JsonSchema for Duration {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": r"^(\d+d)?(\d+h)?(\d+m)?(\d+s)?(\d+ms)?$", "minLength": 2 })
    }
}

/// A cron pattern of five parts (minute, hour, day of the month, month, day of
/// the week), or six with seconds before them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cron {
    pub pattern: croner::Cron,
}

impl Cron {
    pub(crate) fn decode(node: &Node, diagnostics: &mut Diagnostics) -> Option<At<Cron>> {
        let text = text(node, diagnostics)?;
        let parser = croner::parser::CronParser::builder()
            .seconds(croner::parser::Seconds::Optional)
            .year(croner::parser::Year::Disallowed)
            .build();
        match parser.parse(&text) {
            Ok(pattern) => Some(At::new(Cron { pattern }, text.place)),
            Err(error) => {
                let reason = error.to_string().to_lowercase();
                let reason = reason.rsplit(": ").next().unwrap_or_default().trim_end_matches('.');
                let message = format!("`{}` is not a cron pattern: {reason}", text.value);
                let help = "write minute, hour, day of the month, month and day of the week, as in `0 6,12,18 * * *`";
                diagnostics.push(Diagnostic::error(Code::BAD_VALUE, &text.place, message).help(help));
                None
            }
        }
    }
}

impl JsonSchema for Cron {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Cron".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": r"^\s*(@[a-z]+|\S+(\s+\S+){4,5})\s*$" })
    }
}

/// An IANA time zone: `America/Sao_Paulo`, `UTC`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timezone(pub chrono_tz::Tz);

impl Timezone {
    pub(crate) fn decode(node: &Node, diagnostics: &mut Diagnostics) -> Option<At<Timezone>> {
        let text = text(node, diagnostics)?;
        if let Ok(zone) = text.parse::<chrono_tz::Tz>() {
            return Some(At::new(Timezone(zone), text.place));
        }
        let message = format!("`{}` is not a time zone", text.value);
        let help = match nearest(&text, chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name())) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "write a name of the IANA list, such as `America/Sao_Paulo`".to_owned(),
        };
        diagnostics.push(Diagnostic::error(Code::BAD_VALUE, &text.place, message).help(help));
        None
    }
}

impl JsonSchema for Timezone {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Timezone".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": r"^[A-Za-z][A-Za-z0-9_+/-]*$" })
    }
}

/// A point in time with its zone: `2026-03-01T12:00:00Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment(pub chrono::DateTime<chrono::Utc>);

impl Moment {
    pub(crate) fn decode(node: &Node, diagnostics: &mut Diagnostics) -> Option<At<Moment>> {
        let text = text(node, diagnostics)?;
        if let Ok(moment) = text.parse::<chrono::DateTime<chrono::FixedOffset>>() {
            return Some(At::new(Moment(moment.to_utc()), text.place));
        }
        let message = format!("`{}` is not a point in time", text.value);
        let help = "write it with its zone, as in `2026-03-01T12:00:00Z` or `2026-03-01T09:00:00-03:00`";
        diagnostics.push(Diagnostic::error(Code::BAD_VALUE, &text.place, message).help(help));
        None
    }
}

impl JsonSchema for Moment {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Moment".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": r"^\d{4}-\d\d-\d\d[T ]\d\d:\d\d" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_have_units_in_falling_order() {
        let milliseconds = |text| Duration::parse(text).map(|d| d.0.as_millis());
        assert_eq!(milliseconds("500ms"), Ok(500));
        assert_eq!(milliseconds("30s"), Ok(30_000));
        assert_eq!(milliseconds("5m"), Ok(300_000));
        assert_eq!(milliseconds("1h30m"), Ok(5_400_000));
        assert_eq!(milliseconds("7d"), Ok(604_800_000));
        assert_eq!(milliseconds("1d2h3m4s5ms"), Ok(93_784_005));
        for wrong in
            ["", "5", "m", "5 m", "m5", "30m1h", "5m5m", "-5m", "5.5m", "5y", "5M", "99999999999999999999d", "5é"]
        {
            assert!(Duration::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn intervals_print_as_written() {
        for text in ["500ms", "30s", "5m", "1h30m", "7d", "1d2h3m4s5ms", "0s"] {
            assert_eq!(Duration::parse(text).map(|d| d.to_string()).as_deref(), Ok(text));
        }
    }
}
