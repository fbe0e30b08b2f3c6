//! Two systems with the history of every value: what the engine is answered, and
//! when it becomes visible.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use engine::connector::{Action, Change, Outcome, Refusal};
use engine::record::{Key, Side, Value, same};

use super::scenario::{CODE, DELETED, EDITED, ID, MODIFIED, NOTE};
use super::stage::{Stage, all_done, code_of, number};

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
    /// The code of each row that ever was.
    pub(super) codes: BTreeMap<i64, String>,
    /// Of each code and slot, every value it ever showed.
    pub(super) history: BTreeMap<(String, usize), Vec<Version>>,
    /// Everything that ever happened to a code's record.
    pub(super) touched: BTreeMap<String, Vec<Touch>>,
    /// Codes of records that people gave another key, by the old one.
    pub(super) moved: BTreeMap<i64, String>,
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

    pub(super) fn apply_one(&mut self, side: Side, change: &Change, stamp: DateTime<Utc>) -> Outcome {
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
                Value::Integer(number(value) / 10 * 10)
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

    pub(super) fn id(&mut self) -> i64 {
        self.next_id += 1;
        self.next_id
    }
}
