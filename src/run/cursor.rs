//! Where a run starts to read a side, and where the next one will.

use std::cmp::Ordering;

use chrono::TimeDelta;
use futures::StreamExt;
use rust_decimal::Decimal;

use super::report::Trouble;
use super::session::Session;
use crate::connector::{Horizon, Listing};
use crate::plan::{Link, Record, Seen};
use crate::record::{Mark, Side, Value, order};
use crate::state::Cursor;

impl Session<'_> {
    /// Where the side stands before its first page.
    pub(super) async fn horizon(&mut self, side: Side) -> Result<Horizon, Trouble> {
        let horizon = self.setup.call(side, || self.setup.objects[side].horizon()).await?;
        if let Some(cursor) = &self.state.cursors[side]
            && let (Some(before), Some(now)) = (&cursor.timeline, &horizon.timeline)
            && before != now
        {
            return Err(Trouble::Refused {
                code: "E0902",
                message: format!(
                    "the {side} of `{}` was restored from a backup (its timeline was {before} and is {now}); \
                     what it lost cannot be told from what was deleted: look, then `engine reset`",
                    self.program.name
                ),
            });
        }
        if let (Some(low), Some(largest)) =
            (self.state.cursors[side].as_ref().and_then(|cursor| cursor.low.clone()), &horizon.largest)
            && order(largest, &low) == Some(Ordering::Less)
        {
            self.refuse_restored(side, &low).await?;
        }
        Ok(horizon)
    }

    /// The newest stamps of a side lie before its cursor. Either its newest
    /// records were deleted, or it was restored from a backup: then linked
    /// records show other values than when they were last read, under stamps
    /// that were read already.
    async fn refuse_restored(&self, side: Side, low: &Value) -> Result<(), Trouble> {
        let setup = self.setup;
        let low = before(low, self.program.sides[side].overlap);
        let mut attempt = 1;
        let mut stream = setup.objects[side].read(Listing::Full);
        while let Some(batch) = stream.next().await {
            let batch = match batch {
                Ok(batch) => batch,
                Err(fault) => {
                    setup.wait(side, &mut attempt, fault).await?;
                    stream = setup.objects[side].read(Listing::Full);
                    continue;
                }
            };
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
                    && !self.owed.contains_key(&(side, key.clone()))
                {
                    return Err(Trouble::Refused {
                        code: "E0902",
                        message: format!(
                            "the {side} of `{}` was restored from a backup: its newest stamps lie before those already \
                             read, and the record {key} shows other values under an old stamp; what the restore took \
                             back cannot be told from what people edited: look, then `engine reset`",
                            self.program.name
                        ),
                    });
                }
            }
        }
        Ok(())
    }

    /// A field differs from its base that no run would have left so.
    fn would_have_flowed(&self, side: Side, record: &Record, link: &Link) -> bool {
        let other = side.other();
        self.program.sides[other].may_update
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
        if program.access.cursor.is_none() {
            return Listing::Full;
        }
        let stored = self.state.cursors[side].as_ref().filter(|cursor| cursor.filter == self.setup.filters[side]);
        let from = match stored.and_then(|cursor| cursor.low.as_ref()) {
            Some(low) if !self.options.full && !self.keyless[side].values().any(|known| known.due) => {
                Some(before(low, program.overlap))
            }
            _ => None,
        };
        Listing::Changes { from, but_created: false }
    }

    /// Everything up to the horizon is dealt with: the next run starts there.
    pub(super) fn move_cursor(&mut self, side: Side, horizon: &Horizon) {
        let earlier = self.state.cursors[side].take().and_then(|cursor| cursor.low);
        // Rows may have gone since: what was read before stays read.
        let largest = match (&horizon.largest, earlier) {
            (Some(now), Some(earlier)) if order(&earlier, now) == Some(Ordering::Greater) => Some(earlier),
            (Some(now), _) => Some(now.clone()),
            (None, earlier) => earlier,
        };
        let mut low = largest.or_else(|| horizon.clock.clone());
        for bound in [&horizon.clock, &horizon.oldest_open].into_iter().flatten() {
            if low.as_ref().and_then(|low| order(bound, low)) == Some(Ordering::Less) {
                low = Some(bound.clone());
            }
        }
        let cursor = Cursor { low, timeline: horizon.timeline.clone(), filter: self.setup.filters[side].clone() };
        self.pending.cursors[side] = Some(cursor.clone());
        self.state.cursors[side] = Some(cursor);
    }
}

/// A cursor value, this much earlier. Whole numbers go back by a record for
/// each second of the overlap.
fn before(low: &Value, overlap: std::time::Duration) -> Value {
    let delta = TimeDelta::from_std(overlap).unwrap_or(TimeDelta::MAX);
    match low {
        Value::Instant(time) => time.checked_sub_signed(delta).map_or_else(|| low.clone(), Value::Instant),
        Value::LocalTime(time) => time.checked_sub_signed(delta).map_or_else(|| low.clone(), Value::LocalTime),
        // A date is as coarse as a day.
        Value::Date(date) => Value::Date(*date - delta),
        Value::Integer(number) => Value::Integer(number.saturating_sub(delta.num_seconds())),
        Value::Decimal(number) => {
            Value::Decimal(number.checked_sub(Decimal::from(delta.num_seconds())).unwrap_or(*number))
        }
        other => other.clone(),
    }
}
