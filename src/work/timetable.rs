//! When a mapping is due by the clock. Pure: what was, and the time, come in.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;

use crate::config::model::{Missed, Schedule};
use crate::record::{Value, digest};
use crate::state::{RunRecord, RunStatus};

/// After the second failure in a row the next try is at least so far off, and
/// twice as far with each further one.
const BACKOFF: Duration = Duration::from_mins(1);

/// So many runs of a mapping tell how often it failed in a row.
pub const REMEMBERED: usize = 20;

/// However often it failed, a mapping that is due is tried after this time.
const LONGEST: Duration = Duration::from_hours(1);

/// The part of a schedule that the clock decides.
#[derive(Debug, Clone)]
pub struct Timetable {
    times: Times,
    jitter: Duration,
    missed: Missed,
}

#[derive(Debug, Clone)]
enum Times {
    Every(Duration),
    Cron(Box<croner::Cron>, Tz),
}

/// What is known of a mapping's runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct History {
    /// When its last run began and ended.
    pub last: Option<(DateTime<Utc>, DateTime<Utc>)>,
    /// When the last run ended that did not fail.
    pub done: Option<DateTime<Utc>>,
    /// So many runs in a row have failed, the last one among them.
    pub failures: u32,
}

impl History {
    /// What these runs come to, from the newest to the oldest.
    pub fn of(runs: &[RunRecord]) -> History {
        runs.iter().rev().fold(History::default(), |history, run| {
            let lasted = Duration::from_millis(run.duration_ms);
            history.with(run.status, run.started_at, later(run.started_at, lasted).unwrap_or(run.started_at))
        })
    }

    /// The same with one more run. One that was interrupted has not been.
    #[must_use]
    pub(super) fn with(self, status: RunStatus, began: DateTime<Utc>, ended: DateTime<Utc>) -> History {
        let last = Some((began, ended));
        match status {
            RunStatus::Running | RunStatus::Interrupted => self,
            RunStatus::Failure => History { last, done: self.done, failures: self.failures.saturating_add(1) },
            RunStatus::Success | RunStatus::Partial => History { last, done: Some(ended), failures: 0 },
        }
    }

    /// The same, as if it had failed once at most: what was wrong may have been
    /// put right.
    #[must_use]
    pub(super) fn forgiven(self) -> History {
        History { failures: self.failures.min(1), ..self }
    }

    /// Before this no run is tried again.
    pub fn patience(&self) -> Option<DateTime<Utc>> {
        let (_, ended) = self.last?;
        let doublings = self.failures.checked_sub(2)?;
        let pause = BACKOFF.saturating_mul(1 << doublings.min(16)).min(LONGEST);
        later(ended, pause)
    }
}

impl Timetable {
    /// `None` where the clock has no part in the schedule.
    pub fn of(schedule: &Schedule) -> Option<Timetable> {
        let zone = schedule.timezone.as_ref().map_or(Tz::UTC, |zone| zone.value.0);
        let times = match (&schedule.every, &schedule.cron) {
            (Some(every), _) => Times::Every(every.value.0),
            (None, Some(cron)) => Times::Cron(Box::new(cron.value.pattern.clone()), zone),
            (None, None) => return None,
        };
        let jitter = schedule.jitter.as_ref().map_or(Duration::ZERO, |jitter| jitter.value.0);
        let missed = schedule.missed.as_ref().map_or_else(Missed::default, |missed| missed.value);
        Some(Timetable { times, jitter, missed })
    }

    /// When a mapping is due next; in the past where a time was missed. `since`
    /// is when somebody began to keep its times. `None` where that never comes.
    pub fn next(&self, mapping: &str, history: &History, since: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.shifted(mapping, self.unshifted(history, since)?)
    }

    /// The same without its jitter.
    pub(super) fn unshifted(&self, history: &History, since: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let due = match history.last {
            None => self.first(since)?,
            Some((began, ended)) => {
                let due = self.after(began)?;
                let counts_from = since.max(ended);
                if self.missed == Missed::Skip && due < counts_from { self.skip_to(due, counts_from)? } else { due }
            }
        };
        match history.patience() {
            Some(patience) if due < patience => match &self.times {
                Times::Every(_) => Some(patience),
                Times::Cron(..) => self.after(patience),
            },
            _ => Some(due),
        }
    }

    /// A time, later by the mapping's jitter then: the same for all who ask.
    pub(super) fn shifted(&self, mapping: &str, due: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let most = u64::try_from(self.jitter.as_millis()).ok()?;
        let chance = digest([&Value::text(mapping), &Value::Instant(due)]);
        let chance = u64::try_from(chance & u128::from(u64::MAX)).unwrap_or_default();
        later(due, Duration::from_millis(most.checked_add(1).map_or(0, |choices| chance % choices)))
    }

    /// The first time of a mapping that never ran.
    fn first(&self, since: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match &self.times {
            Times::Every(_) => Some(since),
            Times::Cron(..) => self.after(since),
        }
    }

    /// The next time after another, which need not be one.
    fn after(&self, time: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match &self.times {
            Times::Every(every) => later(time, *every),
            Times::Cron(pattern, zone) => {
                let next = pattern.find_next_occurrence(&time.with_timezone(zone), false).ok()?;
                Some(next.with_timezone(&Utc))
            }
        }
    }

    /// The first time from `since` on, counted from `due`.
    fn skip_to(&self, due: DateTime<Utc>, since: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match &self.times {
            Times::Every(every) => {
                let step = TimeDelta::from_std(*every).ok()?.num_milliseconds().max(1);
                let behind = (since - due).num_milliseconds();
                let steps = behind / step + i64::from(behind % step > 0);
                due.checked_add_signed(TimeDelta::milliseconds(steps.checked_mul(step)?))
            }
            Times::Cron(..) => self.after(since),
        }
    }
}

fn later(time: DateTime<Utc>, by: Duration) -> Option<DateTime<Utc>> {
    time.checked_add_signed(TimeDelta::from_std(by).ok()?)
}
