//! Two systems with the history of every value: what the engine is answered, and
//! when it becomes visible.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use engine::connector::{Action, Change, Outcome, Refusal};
use engine::record::{Key, Side, Value, same};
use engine::state::IntentsId;

use super::forms::{Form, number};
use super::scenario::{CODE, DELETED, EDITED, MODIFIED, NOTE, Scenario};
use super::stage::{Stage, all_done, name_of};

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
    pub(super) next_id: i64,
    pub(super) open: Vec<Transaction>,
    pub(super) landing: Vec<Landing>,
    /// What became of a batch, for those who ask: all done, or not.
    pub(super) fates: BTreeMap<String, Fate>,
    pub(super) tokens: u64,
    /// The name of the record under each key that ever was.
    pub(super) known: BTreeMap<Key, String>,
    /// Of each record and slot, every value it ever showed.
    pub(super) history: BTreeMap<(String, usize), Vec<Version>>,
    /// Everything that ever happened to a record.
    pub(super) touched: BTreeMap<String, Vec<Touch>>,
    /// Records that people gave another key, by the old one.
    pub(super) moved: BTreeMap<Key, String>,
    /// What people noted on a record, which no mapping knows of.
    pub(super) notes: BTreeMap<String, Value>,
    /// When a record went away, and whether people did it.
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
pub(super) struct Transaction {
    pub(super) row: i64,
    pub(super) code: String,
    pub(super) stamp: DateTime<Utc>,
    pub(super) until: DateTime<Utc>,
    pub(super) set: Vec<(usize, Value)>,
}

/// A batch of the engine's whose connection is gone and which goes on.
pub(super) struct Landing {
    pub(super) token: String,
    pub(super) changes: Vec<Change>,
    pub(super) stamp: DateTime<Utc>,
    pub(super) at: DateTime<Utc>,
}

impl Stage {
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

    /// The engine has committed the answer to what it sent.
    pub(super) fn acknowledged(&mut self, intents: IntentsId) {
        let keys = self.intended.remove(&intents).unwrap_or_default();
        // Where several batches are on their way the keys of each are known.
        let is_it = |change: &Change| Key::new(&change.key).is_none_or(|key| keys.contains(&key));
        self.unacknowledged.retain(|(_, changes, _)| !changes.iter().any(is_it));
    }

    /// Nobody has heard what became of these. Where the side can say that all
    /// of a batch is in effect, or nothing, there is no doubt.
    pub(super) fn doubt(&mut self, side: Side, changes: &[Change], all_or_nothing: bool) {
        self.uncounted = true;
        for change in changes {
            let code = match change.action {
                Action::Create => Some(self.name(&self.created_code(side, change))),
                _ => Key::new(&change.key).and_then(|key| self.systems[side].known.get(&key).cloned()),
            };
            let told = self.scenario.tokens[side] && all_or_nothing;
            // Whatever is found by its code may be somebody else's: it agrees anew, as on adoption.
            let mapped = change.action == Action::Create && self.scenario.keyed[side];
            if (change.key.is_empty() || mapped) && !told {
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

    pub(super) fn apply_one(&mut self, side: Side, change: &Change, stamp: DateTime<Utc>) -> Outcome {
        let keyed = self.scenario.keyed[side];
        let id;
        if change.action == Action::Create {
            let given = change.key.first().filter(|_| !keyed);
            id = given.map_or_else(|| self.systems[side].id(), number);
            let code = self.created_code(side, change);
            let name = self.name(&code);
            self.wait_for(side, |open| open.code == name);
            if let Some(taken) = self.taken(side, &code, &name, None) {
                return taken;
            }
            self.systems[side].rows.insert(id, Scenario::blank_row(id, &name));
            let mut set = change.set.clone();
            if keyed {
                set.push((CODE, Value::text(&code)));
            }
            self.set(side, id, &set, stamp, false);
            self.systems[side].created += 1;
        } else {
            let key = Key::new(&change.key).expect("what is changed has a key");
            while let Some(row) = self.at(side, &key)
                && self.systems[side].open.iter().any(|open| open.row == row)
            {
                self.wait_for(side, |open| open.row == row);
            }
            let Some(row) = self.at(side, &key) else { return Outcome::Gone };
            id = row;
            let row = &self.systems[side].rows[&id];
            if self.scenario.marks[side] && row[DELETED] == Value::Boolean(true) {
                return Outcome::Gone;
            }
            if !change.expect.iter().all(|(slot, value)| same(&row[*slot], value)) {
                return Outcome::Moved;
            }
            if change.action == Action::Delete {
                let code = name_of(row);
                self.tell(&format!("{side}: the engine deletes {code}"));
                self.systems[side].removed += 1;
                self.remove(side, id, false);
                return Outcome::Done { key: change.key.clone(), stored: None };
            }
            let code = change.set.iter().find(|(slot, _)| *slot == CODE).map(|(_, code)| code.to_string());
            let name = name_of(row);
            if let Some(taken) = code.and_then(|code| self.taken(side, &code, &name, Some(id))) {
                return taken;
            }
            self.set(side, id, &change.set, stamp, false);
            self.systems[side].updated += 1;
        }
        let row = &self.systems[side].rows[&id];
        Outcome::Done { key: vec![row[self.scenario.key(side)].clone()], stored: Some(row.clone()) }
    }

    /// The code of a record that is to be created.
    fn created_code(&self, side: Side, change: &Change) -> String {
        let set = change.set.iter().find(|(slot, _)| *slot == CODE).map(|(_, code)| code);
        let code = if self.scenario.keyed[side] { change.key.first() } else { set };
        code.expect("a record has a code").to_string()
    }

    /// What is said where another live record has this code or name, and may not.
    pub(super) fn taken(&self, side: Side, code: &str, name: &str, own: Option<i64>) -> Option<Outcome> {
        let others = || {
            let others = self.systems[side].rows.iter().filter(move |(id, _)| Some(**id) != own);
            others.map(|(_, row)| row).filter(|row| row[DELETED] != Value::Boolean(true))
        };
        let code_taken = others().any(|row| row[CODE] == Value::text(code));
        if !self.scenario.is_unique(side) || !code_taken && !others().any(|row| name_of(row) == name) {
            return None;
        }
        if code_taken && own.is_none() && self.scenario.keyed[side] {
            return Some(Outcome::Exists);
        }
        Some(Outcome::Refused(Refusal { native: "unique".into(), message: "it is taken".into(), slot: Some(CODE) }))
    }

    /// A row that a user's statement holds is written after it.
    pub(super) fn wait_for(&mut self, side: Side, holds: impl Fn(&Transaction) -> bool) {
        while let Some(position) = self.systems[side].open.iter().position(&holds) {
            self.finish(side, position);
        }
    }

    pub(super) fn finish(&mut self, side: Side, position: usize) {
        let open = self.systems[side].open.remove(position);
        if self.systems[side].rows.contains_key(&open.row) {
            self.set(side, open.row, &open.set, open.stamp, true);
        }
    }

    pub(super) fn remove(&mut self, side: Side, id: i64, by_people: bool) {
        let at = self.tick();
        let row = self.systems[side].rows.remove(&id).expect("only a row that is there is removed");
        self.systems[side].deleted.entry(name_of(&row)).or_default().push((at, by_people));
    }

    /// Values become visible in a row.
    pub(super) fn set(&mut self, side: Side, id: i64, set: &[(usize, Value)], stamp: DateTime<Utc>, by_people: bool) {
        let at = self.tick();
        let decimals = self.scenario.decimals[side];
        let (key, followed) = (self.scenario.key(side), self.scenario.followed());
        let alters = self.alters && side == Side::Target && !by_people;
        let system = &mut self.systems[side];
        let row = system.rows.get_mut(&id).expect("only a row that is there is set");
        // What is set in a record that stays deleted is seen by nobody.
        let is_hidden = by_people && row[DELETED] == Value::Boolean(true) && !self.scenario.undeletes;
        for (slot, value) in set {
            let form = self.scenario.form(*slot);
            let edited = EDITED.contains(slot);
            row[*slot] = match value {
                Value::Integer(number) if edited && by_people && form != Form::Plain => {
                    form.show(side, *number, &mut self.seed)
                }
                Value::Integer(_) | Value::Decimal(_) if edited && alters => Value::Integer(number(value) / 10 * 10),
                Value::Integer(_) | Value::Decimal(_) if edited && decimals && form == Form::Plain => {
                    Value::Decimal(rust_decimal::Decimal::new(number(value) * 100, 2))
                }
                value => value.clone(),
            };
        }
        row[MODIFIED] = Value::Instant(stamp);
        let code = name_of(row);
        system.known.extend(Key::new([&row[key]]).map(|key| (key, code.clone())));
        let who = if by_people { "people set" } else { "the engine sets" };
        system.touched.entry(code.clone()).or_default().push(Touch { at, stamp, by_people });
        let mut told = format!("{side}: {who} {code} (row {id}, stamp {})", stamp.format("%H:%M:%S%.3f"));
        for (slot, value) in set {
            let _ = std::fmt::Write::write_fmt(&mut told, format_args!(" {slot}={value}"));
            if followed.contains(slot) && !value.is_null() && !is_hidden {
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
        let stands = |row: &[Value]| name_of(row) == code && row[DELETED] != Value::Boolean(true);
        self.systems[side].rows.iter().find(|(_, row)| stands(row)).map(|(id, _)| *id)
    }

    /// The row under a key: of several the one that is not marked as deleted.
    pub(super) fn at(&self, side: Side, key: &Key) -> Option<i64> {
        let rows = &self.systems[side].rows;
        if !self.scenario.keyed[side] {
            return key.plain().parse().ok().filter(|id| rows.contains_key(id));
        }
        let has = |(_, row): &(&i64, &Vec<Value>)| row[CODE].to_string() == key.plain();
        let found = rows.iter().filter(has).min_by_key(|(_, row)| row[DELETED] == Value::Boolean(true));
        found.map(|(id, _)| *id)
    }

    /// The record that the engine made on the other side for the one under this
    /// key, by the name that this one has, or last had.
    pub(super) fn counterpart(&self, side: Side, key: &Key) -> Option<Key> {
        let other = side.other();
        let name = self.systems[side].known.get(key)?;
        let row = self.row_of(other, name)?;
        let shown = self.systems[other].history.get(&(name.clone(), EDITED[0]));
        if shown.and_then(|versions| versions.first()).is_some_and(|first| first.by_people) {
            return None;
        }
        Key::new([&self.systems[other].rows[&row][self.scenario.key(other)]])
    }

    /// The name of the record that has this code, or had it.
    pub(super) fn name(&self, code: &str) -> String {
        self.names.get(code).map_or(code, String::as_str).to_owned()
    }
}

impl System {
    /// People gave the record with this key another one.
    pub(super) fn has_moved(&self, key: &Key) -> bool {
        self.moved.contains_key(key)
    }

    /// People gave the record with this name another key.
    pub(super) fn moved_name(&self, name: &str) -> bool {
        self.moved.values().any(|moved| moved == name)
    }

    /// How many rows there were since it began, a row with a new key counted
    /// twice.
    pub(super) fn rows_ever(&self) -> u64 {
        u64::try_from(self.next_id - 1).expect("numbers are given upwards")
    }

    pub(super) fn id(&mut self) -> i64 {
        self.next_id += 1;
        self.next_id
    }
}
