//! How a SQLite column holds times: SQLite has no type for them, so they are
//! ISO text (with a blank or a `T`, with or without fraction and zone) or
//! counts since 1970. A column keeps the form it already holds.

use chrono::{DateTime, Datelike, FixedOffset, NaiveDate, NaiveDateTime, NaiveTime, Offset, Timelike, Utc};
use chrono_tz::Tz;

use crate::record::zone;

/// The form of a column's times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stamp {
    Text {
        separator: char,
        /// Digits of a second that are always shown.
        digits: usize,
        zone: Zone,
    },
    Seconds,
    Milliseconds,
}

/// What stands behind a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Zone {
    Nothing,
    Z,
    Offset,
}

/// What SQLite's own functions make: `2026-03-01 12:00:00`.
pub(super) const PLAIN: Stamp = Stamp::Text { separator: ' ', digits: 0, zone: Zone::Nothing };

/// Counts beyond this are milliseconds: as seconds they would lie in the year 5138.
const SECONDS_BELOW: u64 = 100_000_000_000;

/// A date and time as text, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Parsed {
    pub(super) local: NaiveDateTime,
    pub(super) offset: Option<FixedOffset>,
    pub(super) form: Stamp,
}

impl Parsed {
    /// The point in time; a text without a zone is in `zone`.
    pub(super) fn instant(&self, zone: Tz) -> DateTime<Utc> {
        match self.offset {
            Some(offset) => (self.local - offset).and_utc(),
            None => zone::instant(self.local, zone),
        }
    }

    /// The time on the clocks of `zone`; a text without a zone is taken as it is.
    pub(super) fn local(&self, zone: Tz) -> NaiveDateTime {
        match self.offset {
            Some(_) => to_local(self.instant(zone), zone),
            None => self.local,
        }
    }
}

/// Reads `2026-03-01`, `2026-03-01 12:00`, `2026-03-01T12:00:00.5Z`, `…+03:00`;
/// a year before the first or beyond the 9999th with its sign.
pub(super) fn parse(text: &str) -> Option<Parsed> {
    let year = text.get(4..)?.find('-')? + 4;
    let (date, rest) = text.split_at_checked(year + 6)?;
    let date = NaiveDate::parse_from_str(date, "%Y-%m-%d").ok().filter(|date| is_near(*date))?;
    let Some(separator) = rest.chars().next() else {
        return Some(Parsed { local: date.and_time(NaiveTime::MIN), offset: None, form: PLAIN });
    };
    if !matches!(separator, ' ' | 'T' | 't') {
        return None;
    }
    let time = &rest[1..];
    let end = time.find(['Z', 'z', '+', '-']).unwrap_or(time.len());
    let (time, suffix) = (time[..end].trim_end(), &time[end..]);
    let digits = time.find('.').map_or(0, |point| time.len() - point - 1);
    let (offset, zone) = match suffix {
        "" => (None, Zone::Nothing),
        "Z" | "z" => (Some(Utc.fix()), Zone::Z),
        offset => (Some(parse_offset(offset)?), Zone::Offset),
    };
    let form = Stamp::Text { separator: separator.to_ascii_uppercase(), digits, zone };
    Some(Parsed { local: date.and_time(parse_time(time)?), offset, form })
}

/// Reads `12:00`, `12:00:00`, `12:00:00.123`.
pub(super) fn parse_time(text: &str) -> Option<NaiveTime> {
    NaiveTime::parse_from_str(text, "%H:%M:%S%.f").or_else(|_| NaiveTime::parse_from_str(text, "%H:%M")).ok()
}

/// Far enough from the ends of the calendar that no zone leads beyond them.
fn is_near(date: NaiveDate) -> bool {
    date.year().abs() < 262_000
}

fn parse_offset(text: &str) -> Option<FixedOffset> {
    let digits: String = text[1..].chars().filter(|c| *c != ':').collect();
    let number = |part: &str| part.parse::<i32>().ok();
    let seconds = match digits.len() {
        2 => number(&digits)? * 3600,
        4 => number(digits.get(..2)?)? * 3600 + number(digits.get(2..)?)? * 60,
        _ => return None,
    };
    FixedOffset::east_opt(if text.starts_with('-') { -seconds } else { seconds })
}

/// A count since 1970 as a point in time, and whether it counts seconds.
pub(super) fn from_count(count: i64) -> Option<(DateTime<Utc>, Stamp)> {
    let (time, form) = if count.unsigned_abs() < SECONDS_BELOW {
        (DateTime::from_timestamp(count, 0)?, Stamp::Seconds)
    } else {
        (DateTime::from_timestamp_millis(count)?, Stamp::Milliseconds)
    };
    is_near(time.date_naive()).then_some((time, form))
}

/// The clock of `zone` at a point in time.
pub(super) fn to_local(instant: DateTime<Utc>, zone: Tz) -> NaiveDateTime {
    instant.with_timezone(&zone).naive_local()
}

/// A time of day as text, at least `digits` digits of a second, and all that
/// are not zero.
pub(super) fn time_text(time: NaiveTime, digits: usize) -> String {
    let whole = time.format("%H:%M:%S");
    let fraction = format!("{:09}", time.nanosecond() % 1_000_000_000);
    let shown = fraction.trim_end_matches('0').len().max(digits.min(9));
    if shown == 0 { whole.to_string() } else { format!("{whole}.{}", &fraction[..shown]) }
}

impl Stamp {
    /// Whether the form tells a point in time.
    pub(super) fn has_zone(self) -> bool {
        !matches!(self, Stamp::Text { zone: Zone::Nothing, .. })
    }

    /// A point in time in this form: text, or a count.
    pub(super) fn render(self, instant: DateTime<Utc>, zone: Tz) -> Result<String, i64> {
        match self {
            Stamp::Seconds => Err(instant.timestamp()),
            Stamp::Milliseconds => Err(instant.timestamp_millis()),
            Stamp::Text { separator, digits, zone: suffix } => {
                let (local, suffix) = match suffix {
                    Zone::Nothing => (to_local(instant, zone), ""),
                    Zone::Z => (instant.naive_utc(), "Z"),
                    Zone::Offset => (instant.naive_utc(), "+00:00"),
                };
                Ok(format!("{}{separator}{}{suffix}", local.date(), time_text(local.time(), digits)))
            }
        }
    }

    /// A time without a zone in this form.
    pub(super) fn render_local(self, local: NaiveDateTime, zone: Tz) -> Result<String, i64> {
        match self {
            Stamp::Text { separator, digits, zone: Zone::Nothing } => {
                Ok(format!("{}{separator}{}", local.date(), time_text(local.time(), digits)))
            }
            other => other.render(zone::instant(local, zone), zone),
        }
    }
}

/// The condition that `column`, which holds ISO text, is not before `local`.
///
/// Text is compared by its characters, so the bound is the shortest text of
/// the time, which every longer spelling of it or of a later time (more
/// digits, a zone) follows. Rows with a `T` sort behind all rows of their day
/// with a blank and are compared apart.
pub(super) fn not_before(column: &str, local: NaiveDateTime) -> String {
    let date = local.date();
    let mut time = time_text(local.time(), 0);
    if local.time() == NaiveTime::MIN {
        return format!("{column} >= '{date}'");
    }
    if let Some(minutes) = time.strip_suffix(":00") {
        time = minutes.to_owned();
    }
    format!("({column} >= '{date} {time}' AND ({column} >= '{date}T{time}' OR {column} < '{date}T'))")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn local(text: &str) -> NaiveDateTime {
        text.parse().unwrap()
    }

    #[test]
    fn every_form_is_read_and_written_back() {
        for text in [
            "2026-03-01 12:00:00",
            "2026-03-01T12:00:00",
            "2026-03-01 12:00:00.120",
            "2026-03-01T12:00:00.123456Z",
            "2026-03-01 12:00:00+00:00",
            "-0043-03-15 12:00:00",
            "+12026-01-01T00:00:00Z",
        ] {
            let parsed = parse(text).unwrap();
            let instant = parsed.instant(Tz::UTC);
            assert_eq!(parsed.form.render(instant, Tz::UTC).unwrap(), text);
        }
        assert_eq!(
            parse("2026-03-01T09:00:00-03:00").unwrap().instant(Tz::UTC),
            "2026-03-01T12:00:00Z".parse::<DateTime<Utc>>().unwrap()
        );
        assert_eq!(parse("2026-03-01").unwrap().local(Tz::UTC), local("2026-03-01T00:00:00"));
        for text in [
            "",
            "2026-3-1",
            "01/03/2026",
            "2026-03-01x",
            "2026-03-01 25:00",
            "2026-03-01 12:00+3",
            "ação-03-01 12:00",
            "2026-03-01 12:00:00+aé1",
            "2026-03-01 12:00+aéa",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_and_count_is_read_or_refused(
            text in r"[-+]?[0-9]{0,7}-[0-9]{0,2}-[0-9]{0,2}[ Tt]?[0-9:.]{0,12}[-+Zzé]?[0-9:é]{0,5}|\PC{0,30}",
            count: i64,
        ) {
            for zone in [Tz::UTC, Tz::America__Sao_Paulo, Tz::Pacific__Kiritimati] {
                if let Some(parsed) = parse(&text) {
                    let instant = parsed.instant(zone);
                    parsed.form.render_local(parsed.local(zone), zone).ok();
                    prop_assert_eq!(to_local(instant, zone).date() >= NaiveDate::MIN, true);
                }
                if let Some((time, form)) = from_count(count) {
                    form.render(time, zone).ok();
                }
            }
        }
    }

    #[test]
    fn a_time_without_zone_is_in_the_connection_s() {
        let zone: Tz = "America/Sao_Paulo".parse().unwrap();
        let parsed = parse("2026-03-01 12:00:00").unwrap();
        assert_eq!(parsed.instant(zone), "2026-03-01T15:00:00Z".parse::<DateTime<Utc>>().unwrap());
        assert_eq!(parse("2026-03-01T15:00:00Z").unwrap().local(zone), local("2026-03-01T12:00:00"));
        let never = "Europe/Berlin".parse().unwrap();
        assert_eq!(
            zone::instant(local("2026-03-29T02:30:00"), never),
            "2026-03-29T01:30:00Z".parse::<DateTime<Utc>>().unwrap()
        );
    }

    #[test]
    fn a_bound_precedes_every_spelling_of_its_time() {
        assert_eq!(not_before("c", local("2026-03-01T00:00:00")), "c >= '2026-03-01'");
        let bound = not_before("c", local("2026-03-01T12:30:00.500"));
        assert!(bound.contains("'2026-03-01 12:30:00.5'") && bound.contains("'2026-03-01T12:30:00.5'"), "{bound}");
        assert!(not_before("c", local("2026-03-01T12:30:00")).contains("'2026-03-01 12:30'"));
    }

    #[test]
    fn counts_are_seconds_or_milliseconds() {
        assert_eq!(from_count(1_772_366_400).unwrap().1, Stamp::Seconds);
        assert_eq!(from_count(1_772_366_400_123).unwrap().1, Stamp::Milliseconds);
        assert_eq!(from_count(i64::MAX), None);
    }
}
