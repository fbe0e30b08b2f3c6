//! Where a run starts to read a side, and where the next one will.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use chrono::{Datelike, TimeDelta};
use rust_decimal::Decimal;

use super::pages::{Page, Pages};
use super::report::Trouble;
use super::session::Session;
use super::setup::Setup;
use crate::connector::{Horizon, Listing};
use crate::diagnostic::Code;
use crate::plan::{Link, LinkStatus, Record, Seen};
use crate::record::{Key, Kind, Mark, Side, Value, order, same};
use crate::state::{Ahead, Cursor, MappingState};

/// What a timeline tells, part by part.
fn parts(timeline: &str) -> BTreeMap<&str, &str> {
    timeline.split(", ").filter_map(|part| part.split_once(' ')).collect()
}

/// Of what both timelines tell of, something differs.
fn is_another(before: &str, now: &str) -> bool {
    let now = parts(now);
    parts(before).iter().any(|(of, what)| now.get(of).is_some_and(|now| now != what))
}

/// A timeline with what an earlier one told and it does not tell itself: a right
/// that is missing for a while makes nothing forgotten.
fn with_earlier(before: &str, now: &str) -> String {
    let mut told = parts(before);
    told.extend(parts(now));
    told.iter().map(|(of, what)| format!("{of} {what}")).collect::<Vec<_>>().join(", ")
}

/// Why nothing is done for a mapping of which a side was restored.
fn restored(mapping: &str, side: Side, how: &str) -> Trouble {
    let message = format!(
        "the {side} of `{mapping}` was restored from a backup ({how}); what the restore took back cannot be told from \
         what people edited or deleted: look, then `engine reset`",
    );
    Trouble::Refused { code: Code::RESTORED, side: Some(side), message }
}

impl Setup {
    /// A side that was found to be restored is left alone until somebody has
    /// looked, whatever it shows by now: what the restore took back is still
    /// not known.
    pub(super) fn refuse_restored(&self, stored: &MappingState) -> Result<(), Trouble> {
        let is_restored = |side: &Side| stored.cursors[*side].as_ref().is_some_and(|cursor| cursor.restored);
        match Side::BOTH.into_iter().find(is_restored) {
            Some(side) => Err(restored(&self.program.name, side, "as an earlier run has found")),
            None => Ok(()),
        }
    }
}

impl Session<'_> {
    /// Where the side stands before its first page.
    pub(super) async fn horizon(&mut self, side: Side) -> Result<Horizon, Trouble> {
        let horizon = self.setup.call(side, || self.setup.objects[side].horizon()).await?;
        let Some(mut cursor) = self.state.cursors[side].take() else { return Ok(horizon) };
        if cursor.filter.lines().next() != self.setup.filters[side].lines().next() {
            // Marks of another field say nothing of this one's values: everything is read once.
            cursor = Cursor { timeline: cursor.timeline, filter: cursor.filter, ..Cursor::default() };
        }
        self.state.cursors[side] = Some(cursor.clone());
        if let (Some(before), Some(now)) = (&cursor.timeline, &horizon.timeline)
            && is_another(before, now)
        {
            let how = format!("its history was {before} and is {now}");
            return Err(self.note_restored(side, &how).await?);
        }
        if let (Some(low), Some(largest)) = (&cursor.low, &horizon.largest)
            && order(largest, low) == Some(Ordering::Less)
            && !cursor.receded.as_ref().is_some_and(|receded| same(receded, largest))
        {
            if let Some(key) = self.taken_back_by_restore(side, low).await? {
                let how = format!(
                    "its newest stamps lie before those already read, and the record {key} shows other values under an \
                     old stamp"
                );
                return Err(self.note_restored(side, &how).await?);
            }
            // What was found harmless once need not be listed again.
            self.state.cursors[side] = Some(Cursor { receded: Some(largest.clone()), ..cursor });
        }
        Ok(horizon)
    }

    /// No run reads or writes anything until somebody has looked.
    async fn note_restored(&mut self, side: Side, how: &str) -> Result<Trouble, Trouble> {
        if let Some(cursor) = &mut self.state.cursors[side] {
            cursor.restored = true;
        }
        self.pending.mapping = Some(self.state.clone());
        self.flush().await?;
        Ok(restored(&self.program.name, side, how))
    }

    /// The newest stamps of a side lie before its cursor. Either its newest
    /// records were deleted, or it was restored from a backup: then linked
    /// records show other values than when they were last read, under stamps
    /// that were read already. Answers with the first of those.
    async fn taken_back_by_restore(&self, side: Side, low: &Value) -> Result<Option<Key>, Trouble> {
        let setup = self.setup;
        let Some(low) = self.overlapped(side, low) else { return Ok(None) };
        let mut pages = Pages::new(setup, side, Listing::Full);
        while let Some(page) = pages.next().await? {
            let Page::Rows(batch) = page else { continue };
            let mut seen = Vec::new();
            for (mark, row) in batch.rows() {
                let stamp = self.program.sides[side].access.cursor.map(|slot| &row[slot]);
                if *mark == Mark::Live
                    && stamp.and_then(|stamp| order(stamp, &low)) == Some(Ordering::Less)
                    && let (Some(key), Ok(Seen::Live(record))) =
                        (self.program.sides[side].key(row), self.see(side, row, true))
                {
                    seen.push((key, record));
                }
            }
            let keys: Vec<_> = seen.iter().map(|(key, _)| key.clone()).collect();
            let links = setup.store.links(&self.program.name, side, &keys).await?;
            for ((key, record), link) in seen.iter().zip(links) {
                let Some(link) = link.filter(|link| link.layout == self.layouts.current) else { continue };
                if self.would_have_flowed(side, record, &link)
                    && !self.in_conflict.contains(&link.id)
                    && !self.held_back.contains_key(&link.id)
                    && !self.owed.contains_key(&(side, key.clone()))
                {
                    return Ok(Some(key.clone()));
                }
            }
        }
        Ok(None)
    }

    /// A field differs from its base that no run would have left so. While the
    /// other side's record is gone or outside, edits wait.
    fn would_have_flowed(&self, side: Side, record: &Record, link: &Link) -> bool {
        let other = side.other();
        link.status == LinkStatus::Linked
            && !link.outside
            && self.program.sides[other].may_update
            && self.program.fields.iter().enumerate().any(|(index, field)| {
                let flows = field.writes(other) && !field.create_only;
                flows
                    && link
                        .bases
                        .values(index)
                        .is_some_and(|base| !field.same(side, &base[side], &record.fields[index]))
            })
    }

    /// What to read from a side.
    pub(super) fn listing(&self, side: Side) -> Listing {
        let program = &self.program.sides[side];
        let stored = self.state.cursors[side].as_ref().filter(|cursor| cursor.filter == self.setup.filters[side]);
        if self.setup.objects[side].shows_once() {
            let anew = self.options.full || self.keyless[side].values().any(|known| known.due);
            let known = stored.and_then(|cursor| cursor.known.clone()).filter(|_| !anew);
            return Listing::Changes { from: None, known, but_created: false };
        }
        if program.access.cursor.is_none() {
            return Listing::Full;
        }
        let from = match stored.and_then(|cursor| cursor.low.as_ref()) {
            Some(low) if !self.options.full && !self.keyless[side].values().any(|known| known.due) => {
                self.overlapped(side, low)
            }
            _ => None,
        };
        let known = stored.and_then(|cursor| cursor.known.clone()).filter(|_| from.is_some());
        Listing::Changes { from, known, but_created: false }
    }

    /// The low mark of a side, less the overlap.
    fn overlapped(&self, side: Side, low: &Value) -> Option<Value> {
        let program = &self.program.sides[side];
        let cursor = program.access.cursor?;
        before(low, program.overlap, &program.access.shape.fields[cursor].kind)
    }

    /// Everything up to the horizon is dealt with: the next run starts there.
    pub(super) fn move_cursor(&mut self, side: Side, horizon: &Horizon) {
        let stored = self.state.cursors[side].take().unwrap_or_default();
        let earlier = stored.low;
        // Rows may have gone since: what was read before stays read.
        let largest = match (&horizon.largest, earlier.clone()) {
            (Some(now), Some(earlier)) if order(&earlier, now) == Some(Ordering::Greater) => Some(earlier),
            (Some(now), _) => Some(now.clone()),
            (None, earlier) => earlier,
        };
        // Without a stamp there is no mark: the clock is none that anything was read by, and what stands there
        // without one is read as a whole anyway.
        let mut low = largest;
        for bound in [&horizon.clock, &horizon.oldest_open].into_iter().flatten() {
            if low.as_ref().and_then(|low| order(bound, low)) == Some(Ordering::Less) {
                low = Some(bound.clone());
            }
        }
        let mut ahead = None;
        if !horizon.open.is_empty()
            && let Some(mark) = low
        {
            // Numbers tell nothing of time: the mark waits until those have ended that may put records below it.
            let is_open = |ahead: &Ahead| horizon.open.iter().any(|name| name.is_empty() || ahead.open.contains(name));
            match stored.ahead {
                Some(waits) if is_open(&waits) => (low, ahead) = (earlier, Some(waits)),
                waits => {
                    low = waits.map(|ahead| ahead.mark).or(earlier);
                    ahead = Some(Ahead { mark, open: horizon.open.clone() });
                }
            }
        }
        let receded = stored.receded.filter(|receded| horizon.largest.as_ref().is_some_and(|now| same(receded, now)));
        let timeline = match (&stored.timeline, &horizon.timeline) {
            (Some(before), Some(now)) => Some(with_earlier(before, now)),
            (before, now) => now.clone().or_else(|| before.clone()),
        };
        let filter = self.setup.filters[side].clone();
        let known = match (&stored.known, &horizon.known) {
            (Some(before), Some(now)) if self.setup.objects[side].shows_once() => {
                let words: BTreeSet<&str> = before.split(' ').chain(now.split(' ')).collect();
                Some(words.into_iter().collect::<Vec<_>>().join(" "))
            }
            (_, now) => now.clone(),
        };
        let cursor = Cursor { low, known, timeline, filter, ahead, receded, restored: false };
        self.pending.cursors[side] = Some(cursor.clone());
        self.state.cursors[side] = Some(cursor);
    }
}

/// A cursor value, this much earlier: a number by one for each second of the
/// overlap, a date by as many days as begin in it. `None` where no value of
/// the kind is that early.
fn before(low: &Value, overlap: std::time::Duration, kind: &Kind) -> Option<Value> {
    if overlap.is_zero() {
        return Some(low.clone());
    }
    let delta = TimeDelta::from_std(overlap).ok()?;
    let number = delta.num_seconds();
    let earlier = match low {
        Value::Instant(time) => Value::Instant(time.checked_sub_signed(delta).filter(|time| time.year() > 0)?),
        Value::LocalTime(time) => Value::LocalTime(time.checked_sub_signed(delta).filter(|time| time.year() > 0)?),
        Value::Date(date) => {
            let days = delta.num_seconds().div_euclid(DAY) + i64::from(delta.num_seconds().rem_euclid(DAY) > 0);
            Value::Date(date.checked_sub_signed(TimeDelta::try_days(days)?).filter(|date| date.year() > 0)?)
        }
        Value::Integer(low) => Value::Integer(low.checked_sub(number)?),
        Value::Decimal(low) => Value::Decimal(low.checked_sub(Decimal::from(number))?),
        // A number too long to count with.
        Value::WideDecimal(_) => return None,
        Value::Float(low) => {
            #[expect(clippy::cast_precision_loss, reason = "a float is no more exact")]
            let number = number as f64;
            Value::Float(low - number)
        }
        other => other.clone(),
    };
    kind.fit(earlier).ok()
}

const DAY: i64 = 86_400;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Issue 3: a part that one reading was not told was forgotten.
    #[test]
    fn a_timeline_keeps_what_it_is_not_told_again() {
        for (before, now, expected) in [
            ("server X/1, table 5", "table 5", "server X/1, table 5"),
            ("table 5", "server X/1, table 5", "server X/1, table 5"),
            ("server X/1", "", "server X/1"),
            ("", "", ""),
        ] {
            assert_eq!(with_earlier(before, now), expected);
            assert!(!is_another(before, now), "{before}; {now}");
        }
        assert!(is_another(&with_earlier("server X/1, table 5", "table 5"), "server X/2, table 5"));
    }

    /// Issue 2: an overlap of more years than there are ended the run.
    #[test]
    fn an_overlap_goes_as_far_back_as_values_do() {
        let day = |text: &str| Value::Date(text.parse().unwrap());
        let at = |text: &str| Value::Instant(text.parse().unwrap());
        let local = |text: &str| Value::LocalTime(text.parse().unwrap());
        let days = |days: u64| Duration::from_secs(days * 86_400);
        let (instant, plain) = (Kind::Instant { digits: 6 }, Kind::LocalTime { digits: 6 });
        let int = |bits| Kind::Integer { bits };
        for (low, overlap, kind, expected) in [
            (day("2026-03-01"), Duration::ZERO, Kind::Date, Some(day("2026-03-01"))),
            (day("2026-03-01"), Duration::from_mins(10), Kind::Date, Some(day("2026-02-28"))),
            (day("2026-03-01"), days(2), Kind::Date, Some(day("2026-02-27"))),
            (day("2026-03-01"), days(1_000_000), Kind::Date, None),
            (day("2026-03-01"), days(100_000_000), Kind::Date, None),
            (day("2026-03-01"), Duration::MAX, Kind::Date, None),
            (at("2026-03-01T12:00:00Z"), Duration::from_mins(1), instant.clone(), Some(at("2026-03-01T11:59:00Z"))),
            (at("2026-03-01T12:00:00Z"), days(100_000_000), instant, None),
            (local("2026-03-01T12:00:00"), days(100_000_000), plain, None),
            (Value::Integer(100), Duration::from_mins(1), int(32), Some(Value::Integer(40))),
            (Value::Integer(100), days(100_000_000), int(32), None),
            (Value::Integer(i64::MIN + 1), Duration::from_secs(2), int(64), None),
            (Value::Float(1.5), Duration::from_secs(1), Kind::Float { bits: 64 }, Some(Value::Float(0.5))),
        ] {
            assert_eq!(before(&low, overlap, &kind), expected, "{low} less {overlap:?}");
        }
    }
}
