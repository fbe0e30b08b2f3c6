//! Everything outside the engine: two systems with the history of every
//! value, the people who edit them, and what goes wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use engine::connector::{Change, Outcome};
use engine::record::{Both, Key, Side, Value};
use engine::run::World;
use engine::state::{Conflict, IntentsId};
use futures::future::BoxFuture;

use super::merges::Merged;
use super::scenario::{NAME, Scenario};
use super::system::System;
use crate::seed::Seed;

/// A handle on the stage; never held over an await.
#[derive(Clone)]
pub(super) struct Shared {
    stage: Arc<Mutex<Stage>>,
    pub(super) crash: Arc<tokio::sync::Notify>,
}

/// What somebody does.
pub(super) type Act = fn(&mut Stage);

pub(super) struct Stage {
    pub(super) scenario: Scenario,
    pub(super) seed: Seed,
    pub(super) systems: Both<System>,
    pub(super) trace: Vec<String>,
    /// People are at work.
    pub(super) editing: bool,
    /// Calls may fail.
    pub(super) failing: bool,
    /// The engine dies after so many more points.
    pub(super) crash_in: Option<u64>,
    /// Somebody wants the engine to end: after so many times that it asks.
    pub(super) stops_in: Option<u64>,
    /// Between two runs, so that people can do what would race otherwise.
    pub(super) idle: bool,
    /// Orders everything that ever became visible.
    pub(super) clock: u64,
    /// What people still do during this run: it ends when they do not outrun it.
    pub(super) energy: u64,
    /// How often the engine has called.
    pub(super) points: u64,
    pub(super) values: i64,
    pub(super) codes: u64,
    /// Of each code that people gave to a record later, the record's name.
    pub(super) names: BTreeMap<String, String>,
    /// What people have entered into the merged fields.
    pub(super) merged: Merged,
    pub(super) ids: u64,
    pub(super) started: tokio::time::Instant,
    /// Codes of which a write was in doubt, with nothing to ask.
    pub(super) doubted: BTreeSet<String>,
    /// Of these nobody knew the key, or people may have given it as well, nor
    /// whether they were created: what is found
    /// in their place agrees anew, and what was edited meanwhile is not known
    /// from what was sent.
    pub(super) unfound: BTreeSet<String>,
    /// Of these nobody knew the key.
    pub(super) untold: BTreeSet<String>,
    /// The engine died or an answer was lost: reports count what they know.
    pub(super) uncounted: bool,
    /// Batches whose answer the engine has not committed yet.
    pub(super) unacknowledged: Vec<(Side, Vec<Change>, bool)>,
    /// The keys of what is on record as sent.
    pub(super) intended: BTreeMap<IntentsId, Vec<Key>>,
    /// Every conflict as it was committed, whatever became of it.
    pub(super) logged: Vec<Conflict>,
    /// Calls that fail once: a side, what it is doing, after so many others.
    pub(super) fails_at: Vec<(Side, &'static str, u64)>,
    /// The engine dies when it comes there, after so many other times.
    pub(super) dies_at: Option<(Side, &'static str, u64)>,
    /// What somebody does just before a call: a side, what it is doing, after so
    /// many others.
    pub(super) acts_at: Vec<(Side, &'static str, u64, Act)>,
    /// The target stores whole tens of what the engine sends.
    pub(super) alters: bool,
    /// Whole rows as the last writes were answered; for a mutant.
    pub(super) answers: Both<BTreeMap<i64, Vec<Value>>>,
    /// Keys that a broken listing left out; for a mutant.
    pub(super) absent: Both<BTreeSet<i64>>,
}

impl Shared {
    pub(super) fn new(scenario: &Scenario) -> Shared {
        #[expect(clippy::disallowed_methods, reason = "the simulated clock starts somewhere")]
        let started = tokio::time::Instant::now();
        let stage = Stage {
            scenario: scenario.clone(),
            seed: Seed::new(scenario.seed ^ 0x5eed),
            systems: Both::from_fn(|_| System { next_id: 1, ..System::default() }),
            trace: Vec::new(),
            editing: true,
            failing: true,
            crash_in: None,
            stops_in: None,
            idle: true,
            clock: 0,
            energy: 0,
            points: 0,
            values: 0,
            codes: 0,
            names: BTreeMap::new(),
            merged: Merged::default(),
            ids: 0,
            started,
            doubted: BTreeSet::new(),
            unfound: BTreeSet::new(),
            untold: BTreeSet::new(),
            uncounted: false,
            unacknowledged: Vec::new(),
            intended: BTreeMap::new(),
            logged: Vec::new(),
            fails_at: Vec::new(),
            dies_at: None,
            acts_at: Vec::new(),
            alters: false,
            answers: Both::default(),
            absent: Both::default(),
        };
        Shared { stage: Arc::new(Mutex::new(stage)), crash: Arc::new(tokio::sync::Notify::new()) }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// A point at which time passes, people act, and the engine may die. True
    /// where it dies here.
    pub(super) async fn passes(&self) -> bool {
        let (dies, delay) = {
            let mut stage = self.lock();
            let delay = stage.seed.below(40);
            (stage.point(), delay)
        };
        if !dies {
            self.sleep(Duration::from_millis(delay)).await;
            self.lock().land();
        }
        dies
    }

    /// The engine is gone: its future is never polled again.
    pub(super) async fn die(&self, at: &str) {
        {
            let mut stage = self.lock();
            stage.tell(&format!("the engine dies at {at}"));
            stage.uncounted = true;
            for (side, changes, all_or_nothing) in std::mem::take(&mut stage.unacknowledged) {
                stage.doubt(side, &changes, all_or_nothing);
            }
        }
        self.crash.notify_one();
        std::future::pending::<()>().await;
    }

    pub(super) async fn sleep_for(&self, seconds: u64) {
        self.sleep(Duration::from_secs(seconds)).await;
    }

    pub(super) async fn pause(&self, at: &str) {
        if self.passes().await {
            self.die(at).await;
        }
    }
}

impl World for Shared {
    fn now(&self) -> DateTime<Utc> {
        self.lock().now()
    }

    #[expect(clippy::disallowed_methods, reason = "the runtime's clock is paused: this is simulated time")]
    fn sleep(&self, duration: Duration) -> BoxFuture<'_, ()> {
        Box::pin(tokio::time::sleep(duration))
    }

    fn id(&self) -> String {
        let mut stage = self.lock();
        stage.ids += 1;
        format!("run{:06}", stage.ids)
    }

    fn stopped(&self) -> BoxFuture<'_, ()> {
        match &mut self.lock().stops_in {
            Some(0) => Box::pin(std::future::ready(())),
            Some(left) => {
                *left -= 1;
                Box::pin(std::future::pending())
            }
            None => Box::pin(std::future::pending()),
        }
    }
}

pub(super) fn all_done(outcomes: &[Outcome]) -> bool {
    outcomes.iter().all(|outcome| matches!(outcome, Outcome::Done { .. }))
}

/// The name of a record: its code, as long as nobody gave it another.
pub(super) fn name_of(row: &[Value]) -> String {
    row[NAME].to_string()
}

impl Stage {
    pub(super) fn now(&self) -> DateTime<Utc> {
        let elapsed = TimeDelta::from_std(self.started.elapsed()).expect("a simulation is short");
        DateTime::from_timestamp(1_770_000_000, 0).expect("a time") + elapsed
    }

    pub(super) fn tell(&mut self, what: &str) {
        let now = self.now().format("%H:%M:%S%.3f");
        self.trace.push(format!("{now} {what}"));
    }

    pub(super) fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    /// How much has become visible by now.
    pub(super) fn known(&self) -> u64 {
        self.clock
    }

    /// A row has been touched since so much was visible.
    pub(super) fn is_touched(&self, side: Side, row: &[Value], since: u64) -> bool {
        let touches = self.systems[side].touched.get(&name_of(row));
        touches.and_then(|touches| touches.last()).is_none_or(|touch| touch.at > since)
    }

    /// A side's own clock, as its stamps show it.
    pub(super) fn stamp(&self, side: Side) -> DateTime<Utc> {
        let shown = self.now() + TimeDelta::milliseconds(self.scenario.skew_ms[side]);
        shown.duration_trunc(TimeDelta::milliseconds(self.scenario.grain_ms[side])).expect("a grain is small")
    }

    pub(super) fn point(&mut self) -> bool {
        self.points += 1;
        assert!(self.points < 20_000, "a run without end");
        self.land();
        if self.editing && self.energy > 0 && self.seed.percent(self.scenario.edits) {
            self.energy -= 1;
            self.people();
        }
        match &mut self.crash_in {
            Some(0) => {
                self.crash_in = None;
                true
            }
            Some(left) => {
                *left -= 1;
                false
            }
            None => false,
        }
    }

    /// True where the call at hand shall fail.
    pub(super) fn fails(&mut self) -> bool {
        self.failing && self.scenario.faults > 0 && self.seed.percent(self.scenario.faults)
    }

    /// True where this very call was to fail.
    pub(super) fn fails_here(&mut self, side: Side, doing: &str) -> bool {
        let Some(at) = self.fails_at.iter().position(|(of, what, _)| (*of, *what) == (side, doing)) else {
            return false;
        };
        match &mut self.fails_at[at].2 {
            0 => {
                self.fails_at.remove(at);
                true
            }
            left => {
                *left -= 1;
                false
            }
        }
    }

    /// Somebody was to do something here.
    pub(super) fn acts_here(&mut self, side: Side, doing: &str) {
        for at in (0..self.acts_at.len()).rev() {
            match &mut self.acts_at[at] {
                (of, what, 0, _) if (*of, *what) == (side, doing) => (self.acts_at.remove(at).3)(self),
                (of, what, left, _) if (*of, *what) == (side, doing) => *left -= 1,
                _ => {}
            }
        }
    }

    /// True where the engine was to die here.
    pub(super) fn dies_here(&mut self, side: Side, doing: &str) -> bool {
        match &mut self.dies_at {
            Some((of, what, 0)) if (*of, *what) == (side, doing) => {
                self.dies_at = None;
                true
            }
            Some((of, what, left)) if (*of, *what) == (side, doing) => {
                *left -= 1;
                false
            }
            _ => false,
        }
    }

    pub(super) fn value(&mut self) -> Value {
        self.values += 1;
        Value::Integer(self.values)
    }
}
