//! What runs, what is due, and what has to wait for what. Pure: the time comes
//! in.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::timetable::{History, Timetable};
use crate::record::Both;
use crate::state::RunStatus;

/// When a mapping that another engine works on is tried again: a third of the
/// time for which a lease lasts.
const LEASED: TimeDelta = TimeDelta::seconds(10);

/// A mapping that runs by itself.
#[derive(Debug, Clone)]
pub struct Job {
    pub mapping: String,
    /// `None` where the clock has no part in its schedule.
    pub timetable: Option<Timetable>,
    /// The mappings it runs after.
    pub after: Vec<String>,
    /// The objects of both sides. Mappings that share one never run at once.
    pub objects: Both<Place>,
    /// The connections of both sides, by name.
    pub connections: Both<String>,
    pub history: History,
}

/// An object, by what can be told of it without asking its system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Its name, in small letters and without its schema.
    pub object: String,
    /// Where its system is, as that is written.
    pub address: String,
    /// Which system it is, however it is reached; `None` where that is not known
    /// yet.
    pub system: Option<String>,
}

impl Place {
    /// By what is known of both systems, else by where they are.
    pub(super) fn is_same(&self, other: &Place) -> bool {
        let same_system = match (&self.system, &other.system) {
            (Some(one), Some(other)) => one == other,
            _ => self.address == other.address,
        };
        self.object == other.object && same_system
    }
}

/// So many runs on one connection at once leave enough of its calls for each.
const ON_ONE_CONNECTION: usize = 12;

/// All of them, and which are running.
pub(super) struct Board {
    lines: Vec<Line>,
    places: BTreeMap<String, usize>,
    parallel: usize,
    /// What runs, as it was when it began; a mapping may have left the board
    /// since.
    running: BTreeMap<String, Job>,
    latest: DateTime<Utc>,
}

struct Line {
    job: Job,
    due: Option<DateTime<Utc>>,
    /// The same without its jitter.
    by_clock: Option<DateTime<Utc>>,
    /// Not run since it was written as it is now: failures of before keep it
    /// from nothing.
    is_new: bool,
    /// Since when its times are kept.
    since: DateTime<Utc>,
}

/// What the runs under way take.
#[derive(Default)]
struct Taken {
    /// How many run that did not fail before, and that did.
    running: [usize; 2],
    objects: HashMap<String, Vec<Place>>,
    /// How many are on each connection; of those that did not fail before, and
    /// of all.
    connections: HashMap<String, [usize; 2]>,
}

impl Taken {
    fn add(&mut self, job: &Job) {
        let failed = job.history.failures > 0;
        self.running[usize::from(failed)] += 1;
        self.reserve(job);
        for name in each(&job.connections) {
            let [sound, all] = self.connections.entry(name.clone()).or_default();
            *sound += usize::from(!failed);
            *all += 1;
        }
    }

    /// Its objects are for nobody else.
    fn reserve(&mut self, job: &Job) {
        for place in each(&job.objects) {
            self.objects.entry(place.object.clone()).or_default().push(place.clone());
        }
    }

    fn has(&self, place: &Place) -> bool {
        self.objects.get(&place.object).is_some_and(|taken| taken.iter().any(|taken| taken.is_same(place)))
    }

    /// None of its objects is taken.
    fn leaves_objects(&self, job: &Job) -> bool {
        !each(&job.objects).any(|place| self.has(place))
    }

    /// No system that does not answer takes every place.
    fn leaves_room(&self, job: &Job, parallel: usize) -> bool {
        let failed = job.history.failures > 0;
        let most = parallel.saturating_sub(1).max(1);
        let is_full = |name: &String| {
            let [sound, all] = self.connections.get(name).copied().unwrap_or_default();
            all >= ON_ONE_CONNECTION || !failed && sound >= most
        };
        self.running[usize::from(failed)] < parallel && !each(&job.connections).any(is_full)
    }
}

/// What stands on two sides, once where it is the same.
fn each<T: PartialEq>(Both { source, target }: &Both<T>) -> impl Iterator<Item = &T> {
    std::iter::once(source).chain((source != target).then_some(target))
}

impl Board {
    pub(super) fn new(jobs: Vec<Job>, now: DateTime<Utc>, parallel: usize) -> Board {
        let mut board = Board {
            lines: Vec::new(),
            places: BTreeMap::new(),
            parallel: parallel.max(1),
            running: BTreeMap::new(),
            latest: now,
        };
        board.replace(jobs, now);
        board
    }

    /// Other mappings from now on; what runs goes on to its end.
    pub(super) fn replace(&mut self, jobs: Vec<Job>, now: DateTime<Utc>) {
        let mut lines = Vec::with_capacity(jobs.len());
        for mut job in jobs {
            let known = self.places.get(&job.mapping).map(|&place| &self.lines[place]);
            if let Some(known) = known {
                job.history = known.job.history;
            }
            let since = known.map_or(now, |known| known.since);
            lines.push(Line { job, due: None, by_clock: None, is_new: true, since });
        }
        self.places = lines.iter().enumerate().map(|(place, line)| (line.job.mapping.clone(), place)).collect();
        self.lines = lines;
        self.reckon_all(now);
    }

    /// What begins now.
    pub(super) fn begin(&mut self, now: DateTime<Utc>) -> Vec<String> {
        if now < self.latest {
            self.reckon_all(now);
        }
        self.latest = now;
        let mut taken = Taken::default();
        self.running.values().for_each(|job| taken.add(job));
        let mut due: Vec<usize> = (0..self.lines.len()).filter(|&place| self.is_due(place, now)).collect();
        // Who has waited longest comes first.
        due.sort_by_key(|&place| self.lines[place].due);
        let mut begun = Vec::new();
        for place in due {
            let job = &self.lines[place].job;
            if self.waits(place, now) || !taken.leaves_room(job, self.parallel) {
                continue;
            }
            if taken.leaves_objects(job) {
                taken.add(job);
                begun.push(job.mapping.clone());
                self.running.insert(job.mapping.clone(), job.clone());
            } else {
                // Who comes after it and needs one of them would hold it up for ever.
                taken.reserve(job);
            }
        }
        begun
    }

    /// A run has ended. Answers with when the mapping is due next by the clock,
    /// and how many of its runs in a row have failed.
    pub(super) fn end(
        &mut self,
        mapping: &str,
        status: RunStatus,
        began: DateTime<Utc>,
        ended: DateTime<Utc>,
    ) -> (Option<DateTime<Utc>>, u32) {
        self.running.remove(mapping);
        let Some(&place) = self.places.get(mapping) else { return (None, 0) };
        let line = &mut self.lines[place];
        line.job.history = line.job.history.with(status, began, ended);
        line.is_new = false;
        let failures = line.job.history.failures;
        self.reckon(place);
        if status == RunStatus::Interrupted {
            // Another engine works on it: its lease ends, or its run does.
            self.lines[place].due = Some(ended + LEASED);
        }
        for other in 0..self.lines.len() {
            if self.lines[other].job.after.iter().any(|after| after == mapping) {
                self.reckon(other);
            }
        }
        (self.lines[place].due, failures)
    }

    /// How long until something is due that is not now; `None` where nothing is.
    pub(super) fn until_next(&self, now: DateTime<Utc>) -> Option<Duration> {
        let waiting = self.lines.iter().filter(|line| !self.running.contains_key(&line.job.mapping));
        let next = waiting.filter_map(|line| line.due).filter(|due| *due > now).min()?;
        (next - now).to_std().ok()
    }

    fn is_due(&self, place: usize, now: DateTime<Utc>) -> bool {
        let line = &self.lines[place];
        line.due.is_some_and(|due| due <= now) && !self.running.contains_key(&line.job.mapping)
    }

    /// What it runs after is due as well, or under way, and has not ended since
    /// this was due: who is always at it holds up nobody for ever.
    fn waits(&self, place: usize, now: DateTime<Utc>) -> bool {
        let Line { job, due, by_clock, .. } = &self.lines[place];
        job.after.iter().filter_map(|after| self.places.get(after)).any(|&before| {
            let Line { job: Job { mapping, history, .. }, by_clock: first, .. } = &self.lines[before];
            let ended = history.last.map(|(_, ended)| ended);
            // Jitter turns no order round.
            let comes = first.zip(*by_clock).is_some_and(|(first, then)| first <= then);
            (self.running.contains_key(mapping) || self.is_due(before, now) || comes) && ended < *due
        })
    }

    /// Works out anew when all of them are due. A clock that was set back puts
    /// none of them off.
    fn reckon_all(&mut self, now: DateTime<Utc>) {
        for line in &mut self.lines {
            let history = &mut line.job.history;
            history.last = history.last.map(|(began, ended)| (began.min(now), ended.min(now)));
            history.done = history.done.map(|done| done.min(now));
            line.since = line.since.min(now);
        }
        (0..self.lines.len()).for_each(|place| self.reckon(place));
    }

    /// Works out when a mapping is due.
    fn reckon(&mut self, place: usize) {
        let Line { job: Job { mapping, timetable, history, .. }, since, is_new, .. } = &self.lines[place];
        let history = if *is_new { history.forgiven() } else { *history };
        let (by_clock, due) = match timetable {
            Some(timetable) => {
                let by_clock = timetable.unshifted(&history, *since);
                (by_clock, by_clock.and_then(|time| timetable.shifted(mapping, time)))
            }
            None => (None, self.due_after_others(place)),
        };
        let line = &mut self.lines[place];
        (line.by_clock, line.due) = (by_clock, due);
    }

    /// All that it runs after have run since it began last, and have not failed.
    fn due_after_others(&self, place: usize) -> Option<DateTime<Utc>> {
        let Job { after, history, .. } = &self.lines[place].job;
        let done =
            after.iter().filter_map(|after| self.places.get(after)).map(|&before| self.lines[before].job.history.done);
        let done: Option<Vec<DateTime<Utc>>> = done.collect();
        let (first, last) = done.and_then(|done| Some((*done.iter().min()?, *done.iter().max()?)))?;
        match history.last {
            None => Some(last),
            Some((began, _)) if first > began => Some(history.patience().map_or(last, |patience| patience.max(last))),
            // It failed, and is tried again without their running once more.
            Some((_, ended)) if history.failures > 0 => {
                Some(history.patience().unwrap_or(ended + TimeDelta::minutes(1)))
            }
            Some(_) => None,
        }
    }
}

/// Those of the mappings that never run by themselves: without a schedule, or
/// only after such.
pub fn idle(jobs: &[Job]) -> Vec<&str> {
    let mut running: HashSet<&str> =
        jobs.iter().filter(|job| job.timetable.is_some()).map(|job| job.mapping.as_str()).collect();
    loop {
        let before = running.len();
        let follows = |job: &&Job| {
            let known = |after: &&String| jobs.iter().any(|job| job.mapping == **after);
            let mut after = job.after.iter().filter(known).peekable();
            after.peek().is_some() && after.all(|after| running.contains(after.as_str()))
        };
        let more: Vec<&str> = jobs.iter().filter(follows).map(|job| job.mapping.as_str()).collect();
        running.extend(more);
        if running.len() == before {
            return jobs.iter().map(|job| job.mapping.as_str()).filter(|name| !running.contains(name)).collect();
        }
    }
}
