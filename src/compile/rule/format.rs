//! strftime formats: checked once, then read and written without detours.

use std::fmt::Write;

use chrono::format::{Fixed, Item, Numeric, Pad, Parsed, StrftimeItems, parse};
use chrono::{Datelike, FixedOffset, NaiveDate, NaiveDateTime, NaiveTime, Offset, TimeZone};
use compact_str::CompactString;

/// A format of dates or times.
#[derive(Debug, Clone)]
pub(super) struct Format {
    text: Box<str>,
    items: Vec<Item<'static>>,
    /// The format as fields of fixed width, where it is no more than that.
    quick: Option<Vec<Piece>>,
    /// It holds an offset from UTC.
    pub(super) zoned: bool,
    /// It cannot hold every date (a year of two digits), so that what is
    /// written must be proven to read back.
    pub(super) partial: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Piece {
    Year,
    Month,
    Day,
    Hour,
    Minute,
    Second,
    Literal(u8),
}

/// What a format reads and writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holds {
    Date,
    DateAndTime,
}

impl Format {
    /// Checks a format by writing and reading samples.
    ///
    /// # Errors
    /// What is wrong with it, to be read after the format itself.
    pub(super) fn new(text: &str, holds: Holds) -> Result<Format, String> {
        let items = StrftimeItems::new(text)
            .parse_to_owned()
            .map_err(|_| "has a specifier that strftime does not know".to_owned())?;
        let zoned = items.iter().any(|item| {
            matches!(
                item,
                Item::Fixed(
                    Fixed::TimezoneOffset
                        | Fixed::TimezoneOffsetColon
                        | Fixed::TimezoneOffsetColonZ
                        | Fixed::TimezoneOffsetZ
                        | Fixed::TimezoneOffsetDoubleColon
                        | Fixed::TimezoneOffsetTripleColon
                        | Fixed::RFC2822
                        | Fixed::RFC3339
                )
            ) || matches!(item, Item::Numeric(Numeric::Timestamp, _))
        });
        if items.iter().any(|item| matches!(item, Item::Numeric(Numeric::Nanosecond, _))) {
            return Err("counts nanoseconds with `%f`: `%.f` is a fraction of a second, with its point".into());
        }
        if holds == Holds::Date && items.iter().any(has_time) {
            return Err("holds a time of day as well; that is `datetime`".into());
        }
        let quick = items.iter().map(pieces).collect::<Option<Vec<_>>>().map(|pieces| pieces.concat());
        let mut format = Format { text: text.into(), items, quick, zoned, partial: false };
        let date = |year, month, day| NaiveDate::from_ymd_opt(year, month, day).expect("a sample is a date");
        let time = |hour, minute| NaiveTime::from_hms_opt(hour, minute, 0).expect("a sample is a time");
        let samples = [
            date(2000, 2, 29).and_time(time(0, 0)),
            date(1999, 12, 31).and_time(time(23, 59)),
            date(2026, 1, 2).and_time(time(12, 34)),
        ];
        let returns = |format: &Format, sample: NaiveDateTime| {
            let sample = if holds == Holds::Date { sample.date().and_time(NaiveTime::MIN) } else { sample };
            format
                .write(sample, FixedOffset::east_opt(0))
                .is_some_and(|text| format.read(&text, holds).is_some_and(|(read, _)| read == sample))
        };
        if !samples.iter().all(|sample| returns(&format, *sample)) {
            return Err(match holds {
                Holds::Date => "does not hold a whole date: year, month and day".into(),
                Holds::DateAndTime => "does not hold a whole date and time: year, month, day, hour and minute".into(),
            });
        }
        let wide = [
            date(1850, 5, 6).and_time(time(1, 2)),
            date(1920, 5, 6).and_time(time(1, 2)),
            date(2099, 5, 6).and_time(time(13, 2)),
        ];
        format.partial = !wide.iter().all(|sample| returns(&format, *sample));
        Ok(format)
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The date and time of a text, as it stands there, and its offset if it
    /// has one.
    pub(super) fn read(&self, text: &str, holds: Holds) -> Option<(NaiveDateTime, Option<FixedOffset>)> {
        if let Some(time) = self.quick.as_ref().and_then(|pieces| read_quick(pieces, text)) {
            return Some((time, None));
        }
        let mut parsed = Parsed::new();
        parse(&mut parsed, text, self.items.iter()).ok()?;
        if holds == Holds::Date {
            let date = parsed.to_naive_date().ok()?.and_time(NaiveTime::MIN);
            return self.stands_for(date, text).then_some((date, None));
        }
        let offset =
            if self.zoned { Some(parsed.to_fixed_offset().unwrap_or_else(|_| chrono::Utc.fix())) } else { None };
        let seconds = offset.map_or(0, |offset| offset.local_minus_utc());
        let time = parsed.to_naive_datetime_with_offset(seconds).ok()?;
        // Offsets and fractions have several spellings.
        let is_plain = |item: &Item<'_>| !matches!(item, Item::Fixed(fixed) if !is_name(fixed));
        let exact = self.zoned || !self.items.iter().all(is_plain);
        (exact || self.stands_for(time, text)).then_some((time, offset))
    }

    /// Whether a text is what this time is written as, but for zeros before its
    /// numbers. A number that is short of digits was cut, or belongs elsewhere.
    fn stands_for(&self, time: NaiveDateTime, text: &str) -> bool {
        let Some(written) = self.write(time, None) else { return false };
        let numbers = |text: &str| -> Vec<String> {
            let numbers = text.split(|c: char| !c.is_ascii_digit()).filter(|digits| !digits.is_empty());
            numbers.map(|digits| digits.trim_start_matches('0').to_owned()).collect()
        };
        written.trim() == text.trim() || time.year() >= 1000 && numbers(&written) == numbers(text)
    }

    /// The text of a date and time, with the offset where the format asks for
    /// one. `None` where it cannot be written so.
    pub(super) fn write(&self, time: NaiveDateTime, offset: Option<FixedOffset>) -> Option<CompactString> {
        if let Some(text) = self.quick.as_ref().and_then(|pieces| write_quick(pieces, time)) {
            return Some(text);
        }
        let mut out = CompactString::default();
        match offset {
            Some(offset) if self.zoned => {
                let zoned = offset.from_local_datetime(&time).single()?;
                write!(out, "{}", zoned.format_with_items(self.items.iter())).ok()?;
            }
            _ => write!(out, "{}", time.format_with_items(self.items.iter())).ok()?,
        }
        Some(out)
    }
}

fn has_time(item: &Item<'_>) -> bool {
    match item {
        Item::Numeric(numeric, _) => {
            matches!(numeric, Numeric::Hour | Numeric::Hour12 | Numeric::Minute | Numeric::Second | Numeric::Timestamp)
        }
        Item::Fixed(fixed) => !is_name(fixed),
        _ => false,
    }
}

/// The name of a month or of a day of the week.
fn is_name(fixed: &Fixed) -> bool {
    matches!(fixed, Fixed::ShortMonthName | Fixed::LongMonthName | Fixed::ShortWeekdayName | Fixed::LongWeekdayName)
}

fn pieces(item: &Item<'_>) -> Option<Vec<Piece>> {
    let literal = |text: &str| text.is_ascii().then(|| text.bytes().map(Piece::Literal).collect());
    match item {
        Item::Numeric(Numeric::Year, Pad::Zero) => Some(vec![Piece::Year]),
        Item::Numeric(Numeric::Month, Pad::Zero) => Some(vec![Piece::Month]),
        Item::Numeric(Numeric::Day, Pad::Zero) => Some(vec![Piece::Day]),
        Item::Numeric(Numeric::Hour, Pad::Zero) => Some(vec![Piece::Hour]),
        Item::Numeric(Numeric::Minute, Pad::Zero) => Some(vec![Piece::Minute]),
        Item::Numeric(Numeric::Second, Pad::Zero) => Some(vec![Piece::Second]),
        Item::Literal(text) | Item::Space(text) => literal(text),
        Item::OwnedLiteral(text) | Item::OwnedSpace(text) => literal(text),
        _ => None,
    }
}

fn read_quick(pieces: &[Piece], text: &str) -> Option<NaiveDateTime> {
    let (mut year, mut month, mut day, mut hour, mut minute, mut second) = (0, 0, 0, 0, 0, 0);
    let mut bytes = text.as_bytes();
    for piece in pieces {
        let mut number = |width: usize| {
            let (digits, rest) = bytes.split_at_checked(width)?;
            bytes = rest;
            digits
                .iter()
                .try_fold(0, |number, digit| digit.is_ascii_digit().then(|| number * 10 + u32::from(digit - b'0')))
        };
        match piece {
            Piece::Year => year = number(4)?,
            Piece::Month => month = number(2)?,
            Piece::Day => day = number(2)?,
            Piece::Hour => hour = number(2)?,
            Piece::Minute => minute = number(2)?,
            Piece::Second => second = number(2)?,
            Piece::Literal(literal) => {
                let (first, rest) = bytes.split_first()?;
                if first != literal {
                    return None;
                }
                bytes = rest;
            }
        }
    }
    if !bytes.is_empty() {
        return None;
    }
    NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, month, day)?.and_hms_opt(hour, minute, second)
}

fn write_quick(pieces: &[Piece], time: NaiveDateTime) -> Option<CompactString> {
    use chrono::{Datelike, Timelike};
    let year = u32::try_from(time.year()).ok().filter(|year| *year <= 9999)?;
    let mut out = CompactString::default();
    for piece in pieces {
        let mut number = |number: u32, width: u32| {
            for place in (0..width).rev() {
                out.push(char::from(b'0' + u8::try_from(number / 10u32.pow(place) % 10).unwrap_or(0)));
            }
        };
        match piece {
            Piece::Year => number(year, 4),
            Piece::Month => number(time.month(), 2),
            Piece::Day => number(time.day(), 2),
            Piece::Hour => number(time.hour(), 2),
            Piece::Minute => number(time.minute(), 2),
            Piece::Second => number(time.second(), 2),
            Piece::Literal(literal) => out.push(char::from(*literal)),
        }
    }
    Some(out)
}
