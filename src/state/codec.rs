//! Bases, histories, times and words as the tables hold them.

use chrono::{DateTime, SecondsFormat, Utc};

use super::error::damaged;
use super::{Cell, StoreError};
use crate::plan::{Bases, Contest, OwnStamp, Resolution};
use crate::record::{Both, Key, Side, Value, decode_value, decode_values, encode_values};

/// The first byte of bases.
const VALUES: u8 = 0;
const DIGESTS: u8 = 1;

/// One byte for each field of bases.
const NO_BASE: u8 = 0;
/// Both values follow.
const BOTH: u8 = 1;
/// One value follows, which is the base of both sides: the usual case.
const SAME: u8 = 2;

/// A form byte, the number of fields, a byte for each field, then the values
/// or digests of those that have any.
pub(super) fn encode_bases(bases: &Bases) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    let fields = u32::try_from(bases.len()).expect("a mapping has fewer fields than four thousand million");
    match bases {
        Bases::Values(values) => {
            out.push(VALUES);
            out.extend(fields.to_le_bytes());
            out.extend(values.iter().map(|base| match base {
                None => NO_BASE,
                Some(Both { source, target }) if source == target => SAME,
                Some(_) => BOTH,
            }));
            for (index, base) in values.iter().enumerate() {
                if let Some(Both { source, target }) = base {
                    encode_values([source], &mut out);
                    if out[5 + index] == BOTH {
                        encode_values([target], &mut out);
                    }
                }
            }
        }
        Bases::Digests(digests) => {
            out.push(DIGESTS);
            out.extend(fields.to_le_bytes());
            out.extend(digests.iter().map(|digest| if digest.is_some() { SAME } else { NO_BASE }));
            out.extend(digests.iter().flatten().flat_map(|digest| digest.to_le_bytes()));
        }
    }
    out
}

pub(super) fn decode_bases(bytes: &[u8]) -> Result<Bases, StoreError> {
    try_decode_bases(bytes).ok_or_else(|| damaged("the bases of a link"))
}

fn try_decode_bases(bytes: &[u8]) -> Option<Bases> {
    let (form, rest) = bytes.split_first()?;
    let (fields, rest) = rest.split_first_chunk()?;
    let (marks, mut rest) = rest.split_at_checked(u32::from_le_bytes(*fields) as usize)?;
    if *form == DIGESTS {
        let mut digests = Vec::with_capacity(marks.len());
        for mark in marks {
            digests.push(if *mark == NO_BASE { None } else { Some(u64::from_le_bytes(take(&mut rest)?)) });
        }
        return Some(Bases::Digests(digests));
    }
    // Links are read by the million: straight into their place.
    let mut values = Vec::with_capacity(marks.len());
    for mark in marks {
        values.push(match *mark {
            NO_BASE => None,
            SAME => {
                let value = decode_value(&mut rest).ok()?;
                Some(Both::new(value.clone(), value))
            }
            _ => Some(Both::new(decode_value(&mut rest).ok()?, decode_value(&mut rest).ok()?)),
        });
    }
    Some(Bases::Values(values))
}

/// Among the marks of a history: a record of its link is outside.
const OUTSIDE: u8 = 4;

/// Among the marks of a history, shifted like the marks of the own stamps: with
/// the stamp stands what the record showed.
const SHOWS: u8 = 8;

/// Own stamps and contests of a link, and whether a record of it is outside;
/// `None` where there is nothing to tell.
pub(super) fn encode_history(stamps: &Both<Option<OwnStamp>>, contests: &[Contest], outside: bool) -> Option<Vec<u8>> {
    if contests.is_empty() && stamps.source.is_none() && stamps.target.is_none() && !outside {
        return None;
    }
    let outside = if outside { OUTSIDE } else { 0 };
    let mut out = vec![outside];
    for (bit, side) in Side::BOTH.into_iter().enumerate() {
        let Some(stamp) = stamps[side] else { continue };
        out[0] |= 1 << bit;
        for time in [stamp.shown, stamp.people] {
            out.extend(time.timestamp().to_le_bytes());
            out.extend(time.timestamp_subsec_nanos().to_le_bytes());
        }
        if let Some(shows) = stamp.shows {
            out[0] |= SHOWS << bit;
            out.extend(shows.to_le_bytes());
        }
    }
    for contest in contests {
        out.extend(contest.field.to_le_bytes());
        out.extend(contest.run.to_le_bytes());
    }
    Some(out)
}

pub(super) type History = (Both<Option<OwnStamp>>, Vec<Contest>, bool);

pub(super) fn decode_history(bytes: &[u8]) -> Result<History, StoreError> {
    if bytes.is_empty() {
        return Ok(History::default());
    }
    try_decode_history(bytes).ok_or_else(|| damaged("the history of a link"))
}

fn try_decode_history(bytes: &[u8]) -> Option<History> {
    let (marks, mut rest) = bytes.split_first()?;
    let mut stamps = Both::default();
    for (bit, side) in Side::BOTH.into_iter().enumerate() {
        if marks & (1 << bit) != 0 {
            let (shown, people) = (take_time(&mut rest)?, take_time(&mut rest)?);
            let shows = if marks & (SHOWS << bit) == 0 { None } else { Some(u64::from_le_bytes(take(&mut rest)?)) };
            stamps[side] = Some(OwnStamp { shown, people, shows });
        }
    }
    let mut contests = Vec::new();
    while !rest.is_empty() {
        let field = u32::from_le_bytes(take(&mut rest)?);
        contests.push(Contest { field, run: u64::from_le_bytes(take(&mut rest)?) });
    }
    Some((stamps, contests, marks & OUTSIDE != 0))
}

fn take_time(bytes: &mut &[u8]) -> Option<DateTime<Utc>> {
    let seconds = i64::from_le_bytes(take(bytes)?);
    DateTime::from_timestamp(seconds, u32::from_le_bytes(take(bytes)?))
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*head)
}

pub(super) fn encode_all<'a>(values: impl IntoIterator<Item = &'a Value>) -> Vec<u8> {
    let mut out = Vec::new();
    encode_values(values, &mut out);
    out
}

/// Exactly `N` values.
pub(super) fn decode_exactly<const N: usize>(bytes: &[u8], what: &str) -> Result<[Value; N], StoreError> {
    decode_values(bytes).ok().and_then(|values| values.try_into().ok()).ok_or_else(|| damaged(what))
}

/// A decision as its two columns hold it: a side, or a value.
pub(super) fn decision_columns(resolution: Option<&Resolution>) -> (Option<&'static str>, Option<Vec<u8>>) {
    match resolution {
        None => (None, None),
        Some(Resolution::Take(side)) => (Some(side.name()), None),
        Some(Resolution::Value(value)) => (None, Some(encode_all([value]))),
    }
}

pub(super) fn decision(take: Option<&str>, value: Option<&[u8]>) -> Result<Option<Resolution>, StoreError> {
    if let Some(word) = take {
        return Ok(Some(Resolution::Take(side(word)?)));
    }
    let value = value.map(|bytes| decode_exactly(bytes, "a decision")).transpose()?;
    Ok(value.map(|[value]| Resolution::Value(value)))
}

/// Both values of a conflict.
pub(super) fn both(bytes: &[u8]) -> Result<Both<Value>, StoreError> {
    let [source, target] = decode_exactly(bytes, "a conflict")?;
    Ok(Both::new(source, target))
}

/// Cells as JSON triples of texts.
pub(super) fn cells_json(cells: &[Cell]) -> String {
    let triples: Vec<[&str; 3]> = cells.iter().map(|cell| [&*cell.object, cell.key.as_str(), &cell.field]).collect();
    serde_json::to_string(&triples).expect("texts are JSON")
}

pub(super) fn parse_cells(text: &str) -> Result<Vec<Cell>, StoreError> {
    let triples: Vec<[String; 3]> = serde_json::from_str(text).map_err(|_| damaged("where a value came from"))?;
    let cell =
        |[object, key, field]: [String; 3]| Cell { object: object.into(), key: Key::from_canonical(&key), field };
    Ok(triples.into_iter().map(cell).collect())
}

/// ISO 8601 in UTC with a fixed number of digits: as text it sorts by time.
pub(super) fn time_text(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Nanos, true)
}

pub(super) fn parse_time(text: &str) -> Result<DateTime<Utc>, StoreError> {
    DateTime::parse_from_rfc3339(text).map(|time| time.to_utc()).map_err(|_| damaged("a time"))
}

/// The one among `all` that is called so.
pub(super) fn named<T: Copy>(all: &[T], name: fn(T) -> &'static str, word: &str) -> Result<T, StoreError> {
    all.iter().copied().find(|one| name(*one) == word).ok_or_else(|| damaged(&format!("the word `{word}`")))
}

pub(super) fn side(word: &str) -> Result<Side, StoreError> {
    named(&Side::BOTH, Side::name, word)
}

/// A count as SQLite keeps it.
pub(super) fn signed(count: u64) -> i64 {
    i64::try_from(count).expect("counts and revisions stay below nine million million million")
}

pub(super) fn unsigned(number: i64) -> Result<u64, StoreError> {
    u64::try_from(number).map_err(|_| damaged("a count"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bases_come_back() {
        let text = Value::text("ação");
        let values = Bases::Values(vec![
            None,
            Some(Both::new(text.clone(), text.clone())),
            Some(Both::new(Value::Integer(2), Value::Decimal("2.00".parse().unwrap()))),
            Some(Both::new(Value::Null, Value::Missing)),
        ]);
        let digests = Bases::Digests(vec![Some(u64::MAX), None, Some(0)]);
        for bases in [values, digests, Bases::Values(Vec::new()), Bases::none(3, true)] {
            assert_eq!(decode_bases(&encode_bases(&bases)), Ok(bases));
        }
    }

    #[test]
    fn equal_bases_are_stored_once() {
        let both = |text: &str| Bases::Values(vec![Some(Both::new(Value::text("x".repeat(100)), Value::text(text)))]);
        assert!(encode_bases(&both(&"x".repeat(100))).len() < 110);
        assert!(encode_bases(&both(&"y".repeat(100))).len() > 200);
    }

    #[test]
    fn a_history_comes_back() {
        let time = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        let (shown, people) = (time("2026-03-01T12:00:00.123456789Z"), time("1969-01-01T00:00:00Z"));
        let stamp = OwnStamp { shown, people, shows: None };
        let guessed = OwnStamp { shows: Some(u64::MAX), ..stamp };
        let contests = vec![Contest { field: 3, run: 9 }, Contest { field: 0, run: 10 }];
        for (stamps, contests, outside) in [
            (Both::new(None, Some(stamp)), contests.clone(), false),
            (Both::new(Some(stamp), None), Vec::new(), true),
            (Both::new(Some(guessed), Some(stamp)), contests.clone(), true),
            (Both::new(None, Some(guessed)), Vec::new(), false),
            (Both::default(), contests, true),
            (Both::default(), Vec::new(), true),
        ] {
            let bytes = encode_history(&stamps, &contests, outside).unwrap();
            assert_eq!(decode_history(&bytes), Ok((stamps, contests, outside)));
        }
        assert_eq!(encode_history(&Both::default(), &[], false), None);
    }

    #[test]
    fn foreign_bytes_are_damage() {
        for bytes in
            [&[][..], &[0], &[0, 1, 0, 0, 0], &[0, 1, 0, 0, 0, 2], &[1, 1, 0, 0, 0, 2, 1], &[0, 255, 255, 255, 255]]
        {
            assert!(matches!(decode_bases(bytes), Err(StoreError::Broken(_))), "{bytes:?}");
        }
        assert!(matches!(decode_history(&[3, 1]), Err(StoreError::Broken(_))));
    }
}
