//! People at work on both sides: what they create, edit, mark and delete while
//! runs are under way, and between them.

use chrono::TimeDelta;
use engine::record::{Key, Side, Value};

use super::forms::number;
use super::scenario::{CODE, DELETED, EDITED, ID, MERGED, MatchedBy, NOTE, Scenario};
use super::stage::{Stage, name_of};
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
                if self.scenario.is_keyed() {
                    return self.rename(side, id);
                }
                if self.may_move(side, &name_of(&self.systems[side].rows[&id])) {
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
        let value = if note && self.may_leave(side, id) {
            Value::Boolean(self.seed.percent(60))
        } else if slot == MERGED && self.scenario.merges() {
            self.add(side, id)
        } else {
            self.value_of(side, slot)
        };
        self.statement(side, id, vec![(slot, value)]);
    }

    /// Somebody marks a record as deleted that the other side has, or takes such
    /// a mark back.
    fn mark_or_unmark(&mut self, side: Side) {
        if !self.scenario.marks[side] {
            return;
        }
        let marked = |row: &[Value]| row[DELETED] == Value::Boolean(true);
        let rows = &self.systems[side].rows;
        let is_free = |row: &[Value]| self.taken(side, &row[CODE].to_string(), &name_of(row), None).is_none();
        let may_be_back = |(_, row): &(&i64, &Vec<Value>)| marked(row) && (!self.scenario.keyed[side] || is_free(row));
        let back: Vec<i64> = rows.iter().filter(may_be_back).map(|(id, _)| *id).collect();
        if !back.is_empty() && self.seed.percent(60) {
            let id = *self.seed.pick(&back);
            let stamp = self.stamp(side);
            return self.set(side, id, &[(DELETED, Value::Boolean(false))], stamp, true);
        }
        let mut rows = self.free_rows(side);
        rows.retain(|id| {
            let row = &self.systems[side].rows[id];
            let code = name_of(row);
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
        let code = name_of(&self.systems[side].rows[&id]);
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
        let code = name_of(&self.systems[side].rows[&row]);
        self.systems[side].open.push(Transaction { row, code, stamp, until, set });
    }

    /// A value that people enter, which need not fit.
    fn value_of(&mut self, side: Side, slot: usize) -> Value {
        let value = self.value();
        if !self.scenario.misfits || !self.seed.percent(10) {
            return value;
        }
        self.scenario.form(slot).misfit(side, number(&value)).unwrap_or(value)
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
        let unique = self.scenario.is_unique(side);
        if !self.scenario.two_way || !unique && !self.idle {
            return;
        }
        if !unique && !self.systems[side].landing.is_empty() {
            return;
        }
        let known = |system: &System, code: &str| {
            system.history.contains_key(&(code.to_owned(), EDITED[0])) || system.deleted.contains_key(code)
        };
        let alone: Vec<String> = self.systems[other]
            .rows
            .values()
            .map(|row| name_of(row))
            .filter(|code| !known(&self.systems[side], code) && !self.systems[other].deleted.contains_key(code))
            .filter(|code| !self.names.values().any(|name| name == code))
            .collect();
        if !alone.is_empty() {
            let code = self.seed.pick(&alone).clone();
            self.insert(side, &code);
        }
    }

    fn insert(&mut self, side: Side, code: &str) {
        let id = self.systems[side].id();
        self.systems[side].rows.insert(id, Scenario::blank_row(id, code));
        let mut set = vec![(CODE, Value::text(code))];
        for slot in EDITED {
            let value =
                if slot == MERGED && self.scenario.merges() { self.begin(code) } else { self.value_of(side, slot) };
            set.push((slot, value));
        }
        let stamp = self.stamp(side);
        self.set(side, id, &set, stamp, true);
    }

    /// The record stays, under another key.
    pub(super) fn rekey(&mut self, side: Side, before: i64) {
        let id = self.systems[side].id();
        let row = self.systems[side].rows.remove(&before).expect("only a row that is there gets another key");
        let code = name_of(&row);
        self.tell(&format!("{side}: people give {code} another key (row {before} is {id} now)"));
        self.systems[side].moved.insert(Key::new(&[Value::Integer(before)]).expect("a number is a key"), code);
        self.systems[side].rows.insert(id, row);
        let stamp = self.stamp(side);
        self.set(side, id, &[(ID, Value::Integer(id))], stamp, true);
    }

    /// Somebody gives a record another code. Where the code is the key and
    /// nothing else tells, one record goes and another comes.
    fn rename(&mut self, side: Side, id: i64) {
        let name = name_of(&self.systems[side].rows[&id]);
        self.codes += 1;
        let code = format!("c{}", self.codes);
        if !self.scenario.renames(side) {
            // That it is gone without a mark nobody would know.
            if !self.scenario.marks[side] {
                self.tell(&format!("{side}: people give {name} another key ({code})"));
                self.remove(side, id, true);
                self.insert(side, &code);
            }
            return;
        }
        let entered = |side: Side| {
            let versions = self.systems[side].history.get(&(name.clone(), EDITED[0]));
            versions.and_then(|versions| versions.first()).is_some_and(|version| version.by_people)
        };
        // By its code alone nobody would find what was entered on both sides.
        let twin = Side::BOTH.into_iter().all(entered);
        if twin && self.scenario.matched != MatchedBy::Name || self.scenario.keyed[side] && !self.may_move(side, &name)
        {
            return;
        }
        if self.scenario.keyed[side] {
            let before = &self.systems[side].rows[&id][CODE];
            let before = Key::new([before]).expect("a record has a code");
            self.systems[side].moved.insert(before, name.clone());
        }
        self.names.insert(code.clone(), name);
        self.statement(side, id, vec![(CODE, Value::text(code))]);
    }

    /// A record may get another key: where nothing is matched, its counterpart
    /// is outside, or both records get another key, nobody can tell that they
    /// are those of before.
    fn may_move(&self, side: Side, name: &str) -> bool {
        let Scenario { matched, filters, undeletes, .. } = &self.scenario;
        let told = *matched != MatchedBy::Nothing && !filters.source && !filters.target;
        let deleted = Side::BOTH.into_iter().any(|side| self.systems[side].deleted.contains_key(name));
        told && !(*undeletes && deleted) && !self.systems[side.other()].moved_name(name)
    }

    pub(super) fn delete(&mut self, side: Side, id: i64) {
        if self.scenario.marks[side] {
            let stamp = self.stamp(side);
            self.set(side, id, &[(DELETED, Value::Boolean(true))], stamp, true);
        } else {
            let code = name_of(&self.systems[side].rows[&id]);
            self.tell(&format!("{side}: people delete {code}"));
            self.remove(side, id, true);
        }
    }

    /// Somebody enters the other side's value.
    pub(super) fn copy(&mut self, side: Side, key: &Key, slot: usize, value: &Value) {
        if slot == MERGED && self.scenario.merges() {
            return;
        }
        let Some(id) = self.at(side, key) else { return };
        self.wait_for(side, |open| open.row == id);
        let value = if slot == CODE { value.clone() } else { Value::Integer(number(value)) };
        if self.systems[side].rows.contains_key(&id) {
            let stamp = self.stamp(side);
            self.set(side, id, &[(slot, value)], stamp, true);
        }
    }

    /// Nothing begins any more, everything is inside again, and fits.
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
        for (side, slot) in Side::BOTH.into_iter().flat_map(|side| EDITED.map(|slot| (side, slot))) {
            let misfits = |value: &Value| matches!(value, Value::Text(text) if text.starts_with('?'));
            let under_way = self.systems[side].open.iter_mut().flat_map(|open| &mut open.set);
            for (_, value) in under_way.filter(|(of, value)| *of == slot && misfits(value)) {
                *value = Value::Integer(number(value));
            }
            let stands = |row: &[Value]| row[DELETED] != Value::Boolean(true);
            let rows = self.systems[side].rows.iter().filter(|(_, row)| stands(row) && misfits(&row[slot]));
            for id in rows.map(|(id, _)| *id).collect::<Vec<_>>() {
                let (stamp, value) = (self.stamp(side), self.value());
                self.set(side, id, &[(slot, value)], stamp, true);
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
