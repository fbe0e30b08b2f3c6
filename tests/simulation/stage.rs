//! Everything outside the engine: two systems with the history of every
//! value, the people who edit them, and what goes wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use engine::connector::{Action, Change, Outcome, Refusal};
use engine::record::{Both, Key, Side, Value, same};
use engine::run::World;
use engine::state::Conflict;
use futures::future::BoxFuture;

use super::scenario::{CODE, DELETED, EDITED, ID, MODIFIED, NOTE, Scenario};
use crate::seed::Seed;

/// A handle on the stage; never held over an await.
#[derive(Clone)]
pub(super) struct Shared {
    stage: Arc<Mutex<Stage>>,
    pub(super) crash: Arc<tokio::sync::Notify>,
}

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
    /// Between two runs, so that people can do what would race otherwise.
    pub(super) idle: bool,
    /// Orders everything that ever became visible.
    clock: u64,
    /// What people still do during this run: it ends when they do not outrun it.
    pub(super) energy: u64,
    /// How often the engine has called.
    points: u64,
    values: i64,
    codes: u64,
    ids: u64,
    started: tokio::time::Instant,
    /// Codes of which a write was in doubt, with nothing to ask.
    pub(super) doubted: BTreeSet<String>,
    /// Of these nobody knew the key, nor whether they were created: what is found
    /// in their place agrees anew, and what was edited meanwhile is not known
    /// from what was sent.
    pub(super) unfound: BTreeSet<String>,
    /// Of these nobody knew the key.
    pub(super) untold: BTreeSet<String>,
    /// The engine died or an answer was lost: reports count what they know.
    pub(super) uncounted: bool,
    /// Batches whose answer the engine has not committed yet.
    pub(super) unacknowledged: Vec<(Side, Vec<Change>, bool)>,
    /// Every conflict as it was committed, whatever became of it.
    pub(super) logged: Vec<Conflict>,
    /// Calls that fail once: a side, what it is doing, after so many others.
    pub(super) fails_at: Vec<(Side, &'static str, u64)>,
    /// The engine dies the next time it comes there.
    pub(super) dies_at: Option<(Side, &'static str)>,
    /// The target stores other numbers than the engine sends.
    pub(super) alters: bool,
    /// Whole rows as the last writes were answered; for a mutant.
    pub(super) answers: Both<BTreeMap<i64, Vec<Value>>>,
    /// Keys that a broken listing left out; for a mutant.
    pub(super) absent: Both<BTreeSet<i64>>,
}

/// A value of one field as it became visible on one side.
#[derive(Debug, Clone)]
pub(super) struct Version {
    pub(super) at: u64,
    pub(super) value: i64,
    pub(super) by_people: bool,
    pub(super) stamp: DateTime<Utc>,
}

/// Something happened to a record.
#[derive(Debug, Clone, Copy)]
pub(super) struct Touch {
    pub(super) at: u64,
    pub(super) stamp: DateTime<Utc>,
    pub(super) by_people: bool,
}

#[derive(Default)]
pub(super) struct System {
    pub(super) rows: BTreeMap<i64, Vec<Value>>,
    next_id: i64,
    open: Vec<Transaction>,
    landing: Vec<Landing>,
    /// What became of a batch, for those who ask: all done, or not.
    pub(super) fates: BTreeMap<String, Fate>,
    tokens: u64,
    /// The code of each row that ever was.
    codes: BTreeMap<i64, String>,
    /// Of each code and slot, every value it ever showed.
    pub(super) history: BTreeMap<(String, usize), Vec<Version>>,
    /// Everything that ever happened to a code's record.
    pub(super) touched: BTreeMap<String, Vec<Touch>>,
    /// Codes of records that people gave another key, by the old one.
    moved: BTreeMap<i64, String>,
    /// What people noted on a code's record, which no mapping knows of.
    pub(super) notes: BTreeMap<String, Value>,
    /// When a code's record went away, and whether people did it.
    pub(super) deleted: BTreeMap<String, Vec<(u64, bool)>>,
    pub(super) created: u64,
    pub(super) updated: u64,
    pub(super) removed: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Applied,
    Partly,
}

/// A user's statement that has its stamp and is not visible yet.
struct Transaction {
    row: i64,
    code: String,
    stamp: DateTime<Utc>,
    until: DateTime<Utc>,
    set: Vec<(usize, Value)>,
}

/// A batch of the engine's whose connection is gone and which goes on.
struct Landing {
    token: String,
    changes: Vec<Change>,
    stamp: DateTime<Utc>,
    at: DateTime<Utc>,
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
            idle: true,
            clock: 0,
            energy: 0,
            points: 0,
            values: 0,
            codes: 0,
            ids: 0,
            started,
            doubted: BTreeSet::new(),
            unfound: BTreeSet::new(),
            untold: BTreeSet::new(),
            uncounted: false,
            unacknowledged: Vec::new(),
            logged: Vec::new(),
            fails_at: Vec::new(),
            dies_at: None,
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
}

/// The number an edited field shows.
pub(super) fn number(value: &Value) -> i64 {
    match value {
        Value::Integer(number) => *number,
        Value::Decimal(number) => {
            i64::try_from(number.trunc().mantissa() / 10i128.pow(number.trunc().scale())).unwrap()
        }
        other => panic!("an edited field holds numbers, not {other:?}"),
    }
}

pub(super) fn all_done(outcomes: &[Outcome]) -> bool {
    outcomes.iter().all(|outcome| matches!(outcome, Outcome::Done { .. }))
}

pub(super) fn code_of(row: &[Value]) -> String {
    row[CODE].to_string()
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

    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    /// How much has become visible by now.
    pub(super) fn known(&self) -> u64 {
        self.clock
    }

    /// A row has been touched since so much was visible.
    pub(super) fn is_touched(&self, side: Side, row: &[Value], since: u64) -> bool {
        let touches = self.systems[side].touched.get(&code_of(row));
        touches.and_then(|touches| touches.last()).is_none_or(|touch| touch.at > since)
    }

    /// A side's own clock, as its stamps show it.
    pub(super) fn stamp(&self, side: Side) -> DateTime<Utc> {
        let shown = self.now() + TimeDelta::milliseconds(self.scenario.skew_ms[side]);
        shown.duration_trunc(TimeDelta::milliseconds(self.scenario.grain_ms[side])).expect("a grain is small")
    }

    fn point(&mut self) -> bool {
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

    /// True where the engine was to die here.
    pub(super) fn dies_here(&mut self, side: Side, doing: &str) -> bool {
        self.dies_at.take_if(|at| *at == (side, doing)).is_some()
    }

    /// What is due becomes visible.
    pub(super) fn land(&mut self) {
        let now = self.now();
        for side in Side::BOTH {
            while let Some(due) = self.systems[side].open.iter().position(|open| open.until <= now) {
                self.finish(side, due);
            }
            while let Some(due) = self.systems[side].landing.iter().position(|landing| landing.at <= now) {
                let landing = self.systems[side].landing.remove(due);
                self.tell(&format!("{side}: a cut-off batch lands"));
                let outcomes = self.apply(side, &landing.changes, landing.stamp);
                self.doubt(side, &landing.changes, all_done(&outcomes));
                self.settle_fate(side, &landing.token, &outcomes);
            }
        }
    }

    pub(super) fn settle_fate(&mut self, side: Side, token: &str, outcomes: &[Outcome]) {
        let fate = if all_done(outcomes) { Fate::Applied } else { Fate::Partly };
        self.systems[side].fates.insert(token.to_owned(), fate);
    }

    pub(super) fn token(&mut self, side: Side) -> String {
        let system = &mut self.systems[side];
        system.tokens += 1;
        format!("{side}{}", system.tokens)
    }

    pub(super) fn allot(&mut self, side: Side, count: usize) -> Vec<Vec<Value>> {
        let count = if self.scenario.allots[side] { count } else { 0 };
        (0..count).map(|_| vec![Value::Integer(self.systems[side].id())]).collect()
    }

    pub(super) fn oldest_open(&self, side: Side) -> Option<DateTime<Utc>> {
        let system = &self.systems[side];
        let open = system.open.iter().map(|open| open.stamp);
        open.chain(system.landing.iter().map(|landing| landing.stamp)).min()
    }

    pub(super) fn is_landing(&self, side: Side, token: Option<&str>) -> bool {
        self.systems[side].landing.iter().any(|landing| token.is_none_or(|token| landing.token == token))
    }

    /// The batch goes on without its writer.
    pub(super) fn cut_off(&mut self, side: Side, token: &str, changes: &[Change]) {
        let at = self.now() + TimeDelta::milliseconds(200 + i64::try_from(self.seed.below(4_000)).expect("small"));
        let stamp = self.stamp(side);
        self.tell(&format!("{side}: a batch of {} is cut off", changes.len()));
        self.systems[side].landing.push(Landing { token: token.to_owned(), changes: changes.to_vec(), stamp, at });
        self.doubt(side, changes, true);
    }

    /// Nobody has heard what became of these. Where the side can say that all
    /// of a batch is in effect, or nothing, there is no doubt.
    pub(super) fn doubt(&mut self, side: Side, changes: &[Change], all_or_nothing: bool) {
        self.uncounted = true;
        for change in changes {
            let code =
                change.set.iter().find(|(slot, _)| *slot == CODE).map(|(_, code)| code.to_string()).or_else(|| {
                    let id = number(change.key.first()?);
                    let system = &self.systems[side];
                    system.rows.get(&id).map(|row| code_of(row)).or_else(|| system.moved.get(&id).cloned())
                });
            let told = self.scenario.tokens[side] && all_or_nothing;
            // Whatever is found by its code may be somebody else's: it agrees anew, as on adoption.
            if change.key.is_empty() && !told {
                self.unfound.extend(code.clone());
            }
            if change.key.is_empty() {
                self.untold.extend(code.clone());
            }
            if change.key.is_empty() || !told {
                self.doubted.extend(code);
            }
        }
    }

    /// Carries out a batch of the engine's.
    pub(super) fn apply(&mut self, side: Side, changes: &[Change], stamp: DateTime<Utc>) -> Vec<Outcome> {
        let mut outcomes = Vec::with_capacity(changes.len());
        for change in changes {
            let outcome = self.apply_one(side, change, stamp);
            if !matches!(outcome, Outcome::Done { .. }) {
                self.tell(&format!("{side}: {:?} of {:?} is {outcome:?}", change.action, change.key));
            }
            outcomes.push(outcome);
        }
        outcomes
    }

    fn apply_one(&mut self, side: Side, change: &Change, stamp: DateTime<Utc>) -> Outcome {
        let id = change.key.first().map_or_else(|| self.systems[side].id(), number);
        if change.action == Action::Create {
            let code = change.set.iter().find(|(slot, _)| *slot == CODE).expect("a record has a code").1.to_string();
            self.wait_for(side, |open| open.code == code);
            if self.scenario.unique && self.row_of(side, &code).is_some() {
                let refusal = Refusal { native: "unique".into(), message: "code is taken".into(), slot: Some(CODE) };
                return Outcome::Refused(refusal);
            }
            let mut row = vec![Value::Null; 7];
            row[ID] = Value::Integer(id);
            row[DELETED] = Value::Boolean(false);
            self.systems[side].rows.insert(id, row);
            self.set(side, id, &change.set, stamp, false);
            self.systems[side].created += 1;
        } else {
            self.wait_for(side, |open| open.row == id);
            let Some(row) = self.systems[side].rows.get(&id) else { return Outcome::Gone };
            if !change.expect.iter().all(|(slot, value)| same(&row[*slot], value)) {
                return Outcome::Moved;
            }
            if change.action == Action::Delete {
                let code = code_of(row);
                self.tell(&format!("{side}: the engine deletes {code}"));
                self.systems[side].removed += 1;
                self.remove(side, id, false);
                return Outcome::Done { key: change.key.clone(), stored: None };
            }
            self.set(side, id, &change.set, stamp, false);
            self.systems[side].updated += 1;
        }
        Outcome::Done { key: vec![Value::Integer(id)], stored: Some(self.systems[side].rows[&id].clone()) }
    }

    /// A row that a user's statement holds is written after it.
    fn wait_for(&mut self, side: Side, holds: impl Fn(&Transaction) -> bool) {
        while let Some(position) = self.systems[side].open.iter().position(&holds) {
            self.finish(side, position);
        }
    }

    fn finish(&mut self, side: Side, position: usize) {
        let open = self.systems[side].open.remove(position);
        if self.systems[side].rows.contains_key(&open.row) {
            self.set(side, open.row, &open.set, open.stamp, true);
        }
    }

    fn remove(&mut self, side: Side, id: i64, by_people: bool) {
        let at = self.tick();
        let row = self.systems[side].rows.remove(&id).expect("only a row that is there is removed");
        self.systems[side].deleted.entry(code_of(&row)).or_default().push((at, by_people));
    }

    /// Values become visible in a row.
    pub(super) fn set(&mut self, side: Side, id: i64, set: &[(usize, Value)], stamp: DateTime<Utc>, by_people: bool) {
        let at = self.tick();
        let decimals = self.scenario.decimals[side];
        let alters = self.alters && side == Side::Target && !by_people;
        let system = &mut self.systems[side];
        let row = system.rows.get_mut(&id).expect("only a row that is there is set");
        for (slot, value) in set {
            let edited = EDITED.contains(slot) && !value.is_null();
            row[*slot] = if edited && alters {
                Value::Integer(-1)
            } else if edited && decimals {
                Value::Decimal(rust_decimal::Decimal::new(number(value) * 100, 2))
            } else {
                value.clone()
            };
        }
        row[MODIFIED] = Value::Instant(stamp);
        let code = code_of(row);
        system.codes.insert(id, code.clone());
        let who = if by_people { "people set" } else { "the engine sets" };
        system.touched.entry(code.clone()).or_default().push(Touch { at, stamp, by_people });
        let mut told = format!("{side}: {who} {code} (row {id}, stamp {})", stamp.format("%H:%M:%S%.3f"));
        for (slot, value) in set {
            let _ = std::fmt::Write::write_fmt(&mut told, format_args!(" {slot}={value}"));
            if EDITED.contains(slot) && !value.is_null() {
                let version = Version { at, value: number(value), by_people, stamp };
                system.history.entry((code.clone(), *slot)).or_default().push(version);
            }
        }
        if let Some((_, note)) = set.iter().find(|(slot, _)| *slot == NOTE) {
            system.notes.insert(code.clone(), note.clone());
        }
        if by_people && set.iter().any(|(slot, value)| *slot == DELETED && *value == Value::Boolean(true)) {
            system.deleted.entry(code).or_default().push((at, true));
        }
        self.tell(&told);
    }

    pub(super) fn row_of(&self, side: Side, code: &str) -> Option<i64> {
        let stands = |row: &[Value]| code_of(row) == code && row[DELETED] != Value::Boolean(true);
        self.systems[side].rows.iter().find(|(_, row)| stands(row)).map(|(id, _)| *id)
    }

    /// The other side's record with the code that this one has, or last had.
    pub(super) fn counterpart(&self, side: Side, key: &Key) -> Option<Key> {
        let id: i64 = key.plain().parse().expect("keys are numbers");
        let code = self.systems[side].codes.get(&id)?;
        Key::new(&[Value::Integer(self.row_of(side.other(), code)?)])
    }

    fn value(&mut self) -> Value {
        self.values += 1;
        Value::Integer(self.values)
    }

    /// Somebody does something.
    pub(super) fn people(&mut self) {
        if !self.scenario.two_way && self.seed.percent(25) {
            return self.drift();
        }
        let side = if self.scenario.two_way { *self.seed.pick(&Side::BOTH) } else { Side::Source };
        let rows = self.free_rows(side);
        match self.seed.below(100) {
            0..12 => self.create(side),
            12..20 => self.create_twin(side),
            20..28 if self.scenario.deletes && !rows.is_empty() => {
                let id = *self.seed.pick(&rows);
                self.delete(side, id);
            }
            20..28 if self.scenario.undeletes => self.mark_or_unmark(side),
            _ if rows.is_empty() => self.create(side),
            28..32 => {
                let id = *self.seed.pick(&rows);
                let code = code_of(&self.systems[side].rows[&id]);
                // Where nothing is matched, its counterpart is outside, or both records get another key, nobody can
                // tell that they are those of before.
                let Scenario { matched, filters, .. } = &self.scenario;
                let told = *matched && !filters.source && !filters.target;
                let deleted = Side::BOTH.into_iter().any(|side| self.systems[side].deleted.contains_key(&code));
                let kept = !self.scenario.undeletes || !deleted;
                if told && kept && !self.systems[side.other()].moved.values().any(|moved| *moved == code) {
                    self.rekey(side, id);
                }
            }
            chance => self.edit(side, &rows, chance < 38),
        }
    }

    /// Somebody edits the side that a mapping of one direction writes.
    fn drift(&mut self) {
        if self.scenario.undeletes && self.seed.percent(20) {
            return self.mark_or_unmark(Side::Target);
        }
        let rows = self.free_rows(Side::Target);
        if !rows.is_empty() {
            let note = self.seed.percent(20);
            self.edit(Side::Target, &rows, note);
        }
    }

    /// Live rows that no statement holds.
    fn free_rows(&self, side: Side) -> Vec<i64> {
        let system = &self.systems[side];
        let held: Vec<i64> = system.open.iter().map(|open| open.row).collect();
        let free = |(id, row): &(&i64, &Vec<Value>)| !held.contains(id) && row[DELETED] != Value::Boolean(true);
        system.rows.iter().filter(free).map(|(id, _)| *id).collect()
    }

    fn edit(&mut self, side: Side, rows: &[i64], note: bool) {
        let id = *self.seed.pick(rows);
        let slot = if note { NOTE } else { *self.seed.pick(&EDITED) };
        let value = if note && self.may_leave(side, id) { Value::Boolean(self.seed.percent(60)) } else { self.value() };
        self.statement(side, id, vec![(slot, value)]);
    }

    /// Somebody marks a record as deleted that the other side has, or takes such
    /// a mark back.
    fn mark_or_unmark(&mut self, side: Side) {
        if !self.scenario.marks[side] {
            return;
        }
        let marked = |row: &[Value]| row[DELETED] == Value::Boolean(true);
        let back: Vec<i64> = self.systems[side].rows.iter().filter(|(_, row)| marked(row)).map(|(id, _)| *id).collect();
        if !back.is_empty() && self.seed.percent(60) {
            let id = *self.seed.pick(&back);
            let stamp = self.stamp(side);
            return self.set(side, id, &[(DELETED, Value::Boolean(false))], stamp, true);
        }
        let mut rows = self.free_rows(side);
        rows.retain(|id| {
            let row = &self.systems[side].rows[id];
            let code = code_of(row);
            let moved = |side: Side| self.systems[side].moved.values().any(|moved| *moved == code);
            let versions =
                |side: Side| self.systems[side].history.get(&(code.clone(), EDITED[0])).into_iter().flatten();
            let carried_over = Side::BOTH.into_iter().any(|side| versions(side).any(|version| !version.by_people));
            carried_over
                && self.row_of(side.other(), &code).is_some()
                && self.is_within(side, row)
                && !Side::BOTH.into_iter().any(moved)
                && !self.doubted.contains(&code)
        });
        if !rows.is_empty() {
            let id = *self.seed.pick(&rows);
            self.delete(side, id);
        }
    }

    /// A row that the engine has carried over may leave the `where`: until then
    /// it would be entered anew on its own side.
    fn may_leave(&self, side: Side, id: i64) -> bool {
        let code = code_of(&self.systems[side].rows[&id]);
        let deleted = Side::BOTH.into_iter().any(|side| self.systems[side].deleted.contains_key(&code));
        let versions = |side: Side| self.systems[side].history.get(&(code.clone(), EDITED[0])).into_iter().flatten();
        self.scenario.filters[side]
            && !deleted
            && Side::BOTH.into_iter().any(|side| versions(side).any(|version| !version.by_people))
    }

    pub(super) fn is_within(&self, side: Side, row: &[Value]) -> bool {
        !self.scenario.filters[side] || row[NOTE] != Value::Boolean(true)
    }

    /// A statement takes its stamp now and becomes visible now or later.
    fn statement(&mut self, side: Side, row: i64, set: Vec<(usize, Value)>) {
        let stamp = self.stamp(side);
        if self.seed.percent(70) {
            return self.set(side, row, &set, stamp, true);
        }
        let until = self.now() + TimeDelta::milliseconds(i64::try_from(self.seed.below(5_000)).expect("small"));
        let code = code_of(&self.systems[side].rows[&row]);
        self.systems[side].open.push(Transaction { row, code, stamp, until, set });
    }

    pub(super) fn create(&mut self, side: Side) {
        self.codes += 1;
        let code = format!("c{}", self.codes);
        self.insert(side, &code);
    }

    /// The same thing is entered on both sides. Where nothing keeps a code
    /// from standing twice, nobody does so while the engine is at work.
    fn create_twin(&mut self, side: Side) {
        let other = side.other();
        if !self.scenario.two_way || !self.scenario.unique && !self.idle {
            return;
        }
        if !self.scenario.unique && !self.systems[side].landing.is_empty() {
            return;
        }
        let known = |system: &System, code: &str| {
            system.history.contains_key(&(code.to_owned(), EDITED[0])) || system.deleted.contains_key(code)
        };
        let alone: Vec<String> = self.systems[other]
            .rows
            .values()
            .map(|row| code_of(row))
            .filter(|code| !known(&self.systems[side], code) && !self.systems[other].deleted.contains_key(code))
            .collect();
        if !alone.is_empty() {
            let code = self.seed.pick(&alone).clone();
            self.insert(side, &code);
        }
    }

    fn insert(&mut self, side: Side, code: &str) {
        let id = self.systems[side].id();
        let mut row = vec![Value::Null; 7];
        row[ID] = Value::Integer(id);
        row[CODE] = Value::text(code);
        row[DELETED] = Value::Boolean(false);
        self.systems[side].rows.insert(id, row);
        let mut set = Vec::new();
        for slot in EDITED {
            let value = self.value();
            set.push((slot, value));
        }
        let stamp = self.stamp(side);
        self.set(side, id, &set, stamp, true);
    }

    /// The record stays, under another key.
    pub(super) fn rekey(&mut self, side: Side, before: i64) {
        let id = self.systems[side].id();
        let row = self.systems[side].rows.remove(&before).expect("only a row that is there gets another key");
        let code = code_of(&row);
        self.tell(&format!("{side}: people give {code} another key (row {before} is {id} now)"));
        self.systems[side].moved.insert(before, code);
        self.systems[side].rows.insert(id, row);
        let stamp = self.stamp(side);
        self.set(side, id, &[(ID, Value::Integer(id))], stamp, true);
    }

    pub(super) fn delete(&mut self, side: Side, id: i64) {
        if self.scenario.marks[side] {
            let stamp = self.stamp(side);
            self.set(side, id, &[(DELETED, Value::Boolean(true))], stamp, true);
        } else {
            let code = code_of(&self.systems[side].rows[&id]);
            self.tell(&format!("{side}: people delete {code}"));
            self.remove(side, id, true);
        }
    }

    /// Somebody enters the other side's value.
    pub(super) fn copy(&mut self, side: Side, key: &Key, slot: usize, value: &Value) {
        let id = key.plain().parse().expect("keys are numbers");
        self.wait_for(side, |open| open.row == id);
        if self.systems[side].rows.contains_key(&id) {
            let stamp = self.stamp(side);
            self.set(side, id, &[(slot, Value::Integer(number(value)))], stamp, true);
        }
    }

    /// Nothing begins any more, and everything is inside again.
    pub(super) fn calm(&mut self) {
        for side in Side::BOTH {
            let under_way = self.systems[side].open.iter_mut().flat_map(|open| &mut open.set);
            for (_, value) in under_way.filter(|(slot, value)| *slot == NOTE && *value == Value::Boolean(true)) {
                *value = Value::Boolean(false);
            }
            let rows = &self.systems[side].rows;
            let outside = rows.iter().filter(|(_, row)| !self.is_within(side, row)).map(|(id, _)| *id);
            for id in outside.collect::<Vec<_>>() {
                let stamp = self.stamp(side);
                self.set(side, id, &[(NOTE, Value::Boolean(false))], stamp, true);
            }
        }
        self.editing = false;
        self.failing = false;
        self.crash_in = None;
    }

    pub(super) fn is_calm(&self) -> bool {
        Side::BOTH.into_iter().all(|side| self.systems[side].open.is_empty() && self.systems[side].landing.is_empty())
    }
}

impl System {
    /// People gave the record with this key another one.
    pub(super) fn has_moved(&self, id: i64) -> bool {
        self.moved.contains_key(&id)
    }

    /// People gave the record with this code another key.
    pub(super) fn moved_code(&self, code: &str) -> bool {
        self.moved.values().any(|moved| moved == code)
    }

    /// How many rows there were since it began, a row with a new key counted
    /// twice.
    pub(super) fn rows_ever(&self) -> u64 {
        u64::try_from(self.next_id - 1).expect("numbers are given upwards")
    }

    fn id(&mut self) -> i64 {
        self.next_id += 1;
        self.next_id
    }
}
