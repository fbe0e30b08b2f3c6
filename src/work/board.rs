//! What runs, what is due, and what has to wait for what. Pure: the time comes
//! in.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::timetable::{History, Timetable};
use crate::record::Both;
use crate::state::RunStatus;

/// A mapping that runs by itself.
#[derive(Debug, Clone)]
pub struct Job {
    pub mapping: String,
    /// `None` where the clock has no part in its schedule.
    pub timetable: Option<Timetable>,
    /// The mappings it runs after.
    pub after: Vec<String>,
    /// The objects of both sides, by names that tell apart what is surely
    /// another. Mappings that share one never run at once.
    pub objects: Both<String>,
    /// The connections of both sides, by name.
    pub connections: Both<String>,
    pub history: History,
}

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
    /// Since when its times are kept.
    since: DateTime<Utc>,
}

/// What the runs under way take.
#[derive(Default)]
struct Taken {
    /// How many run that did not fail before, and that did.
    running: [usize; 2],
    objects: HashSet<String>,
    /// Of those that did not fail before, how many are on each connection.
    connections: HashMap<String, usize>,
}

impl Taken {
    fn add(&mut self, job: &Job) {
        let failed = job.history.failures > 0;
        self.running[usize::from(failed)] += 1;
        self.objects.extend(each(&job.objects).map(str::to_owned));
        if !failed {
            for name in each(&job.connections) {
                *self.connections.entry(name.to_owned()).or_default() += 1;
            }
        }
    }

    /// No system that does not answer takes every place.
    fn leaves_room(&self, job: &Job, parallel: usize) -> bool {
        let failed = job.history.failures > 0;
        let most = parallel.saturating_sub(1).max(1);
        let is_full = |name: &str| self.connections.get(name).is_some_and(|taken| *taken >= most);
        self.running[usize::from(failed)] < parallel
            && !each(&job.objects).any(|object| self.objects.contains(object))
            && (failed || !each(&job.connections).any(is_full))
    }
}

/// What stands on two sides, once where it is the same.
fn each(Both { source, target }: &Both<String>) -> impl Iterator<Item = &str> {
    std::iter::once(source).chain((source != target).then_some(target)).map(String::as_str)
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
            lines.push(Line { job, due: None, since: known.map_or(now, |known| known.since) });
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
            if taken.leaves_room(job, self.parallel) && !self.waits(place, now) {
                taken.add(job);
                begun.push(job.mapping.clone());
                self.running.insert(job.mapping.clone(), job.clone());
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
        let failures = line.job.history.failures;
        self.reckon(place);
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
        let Line { job, due, .. } = &self.lines[place];
        job.after.iter().filter_map(|after| self.places.get(after)).any(|&before| {
            let Job { mapping, history, .. } = &self.lines[before].job;
            let ended = history.last.map(|(_, ended)| ended);
            (self.running.contains_key(mapping) || self.is_due(before, now)) && ended < *due
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
        let Line { job: Job { mapping, timetable, history, .. }, since, .. } = &self.lines[place];
        let due = match timetable {
            Some(timetable) => timetable.next(mapping, history, *since),
            None => self.due_after_others(place),
        };
        self.lines[place].due = due;
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
