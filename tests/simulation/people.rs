//! People at work on both sides: what they create, edit, mark and delete while
//! runs are under way, and between them.

use chrono::TimeDelta;
use engine::record::{Key, Side, Value};

use super::scenario::{CODE, DELETED, EDITED, ID, NOTE, Scenario};
use super::stage::{Stage, code_of, number};
use super::system::{System, Transaction};

impl Stage {
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
