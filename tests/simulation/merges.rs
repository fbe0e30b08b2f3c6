//! Fields that are merged: people add to a number or to a set, on both sides at
//! once, and nothing of that gets lost or counts twice.

use std::collections::{BTreeMap, BTreeSet};

use engine::compile::Policy;
use engine::record::{Both, Key, Side, Value};
use engine::state::{Conflict, ConflictStatus, Parked};

use super::forms::number;
use super::scenario::{DELETED, EDITED, MERGED};
use super::stage::{Stage, name_of};

/// What people have entered, by the name of the record.
#[derive(Debug, Default)]
pub(super) struct Merged {
    /// All that was ever added to a number.
    sums: BTreeMap<String, i64>,
    /// What was ever put into a set, and never taken out of it.
    sets: BTreeMap<String, BTreeSet<i64>>,
}

fn items(value: &Value) -> Vec<i64> {
    match value {
        Value::List(items) => items.iter().map(number).collect(),
        other => panic!("a set is a list, not {other:?}"),
    }
}

fn list(items: impl IntoIterator<Item = i64>) -> Value {
    Value::List(Box::new(items.into_iter().map(Value::Integer).collect()))
}

impl Stage {
    /// The first value of a new record.
    pub(super) fn begin(&mut self, name: &str) -> Value {
        let value = self.value();
        let entered = number(&value);
        if self.scenario.policies[1] == Policy::Union {
            self.merged.sets.entry(name.to_owned()).or_default().insert(entered);
            return list([entered]);
        }
        *self.merged.sums.entry(name.to_owned()).or_default() += entered;
        value
    }

    /// Somebody adds to what a record shows, or takes something out of the set.
    pub(super) fn add(&mut self, side: Side, id: i64) -> Value {
        let row = &self.systems[side].rows[&id];
        let (name, shown) = (name_of(row), row[MERGED].clone());
        if self.scenario.policies[1] != Policy::Union {
            // Two sides that show the same agree, however they came to it: what they add differs.
            let added = 1 + i64::try_from(self.seed.below(9)).expect("small");
            let added = if side == Side::Source { 1_000 * added } else { added };
            *self.merged.sums.entry(name).or_default() += added;
            return Value::Integer(number(&shown) + added);
        }
        let mut items = items(&shown);
        let set = self.merged.sets.entry(name).or_default();
        if !items.is_empty() && self.seed.percent(25) {
            let gone = items.remove(self.seed.index(items.len()));
            set.remove(&gone);
        } else {
            self.values += 1;
            items.push(self.values);
            set.insert(self.values);
        }
        list(items)
    }
}

/// What is not there that was added, or there twice.
pub(super) fn broken(stage: &Stage, conflicts: &[Conflict], parked: &[Parked]) -> Vec<String> {
    if !stage.scenario.merges() {
        return Vec::new();
    }
    let mut broken = Vec::new();
    let live = Both::from_fn(|side| {
        let rows = stage.systems[side].rows.values().filter(|row| row[DELETED] != Value::Boolean(true));
        rows.map(|row| (name_of(row), &row[MERGED])).collect::<BTreeMap<_, _>>()
    });
    for (name, source) in &live.source {
        let deleted = Side::BOTH.into_iter().any(|side| stage.systems[side].deleted.contains_key(name));
        let Some(target) = live.target.get(name).filter(|_| !deleted) else { continue };
        // Where two were entered, or a person decides, one of two values is right.
        let entered = |side: Side| {
            let versions = stage.systems[side].history.get(&(name.clone(), EDITED[0]));
            versions.and_then(|versions| versions.first()).is_some_and(|version| version.by_people)
        };
        let is_its = |side: Side, key: &Key| stage.systems[side].known.get(key) == Some(name);
        let is_of = |conflict: &&Conflict| {
            conflict.field == format!("f{MERGED}")
                && Side::BOTH.into_iter().any(|side| is_its(side, &conflict.keys[side]))
        };
        let is_owed =
            |one: &Parked| Side::BOTH.into_iter().any(|side| one.keys[side].iter().any(|key| is_its(side, key)));
        let by_people = |one: &Conflict| one.status != ConflictStatus::Decided;
        let decided = conflicts.iter().chain(&stage.logged).filter(is_of).any(by_people);
        if Side::BOTH.into_iter().all(entered) || decided || stage.unfound.contains(name) {
            continue;
        }
        // What is parked may lack something, and has nothing twice.
        let waits = parked.iter().any(is_owed);
        for (side, shown) in [(Side::Source, source), (Side::Target, target)] {
            if stage.scenario.policies[1] == Policy::Union {
                let (shown, kept) = (items(shown), stage.merged.sets.get(name));
                let lost: Vec<_> = kept.into_iter().flatten().filter(|item| !shown.contains(item)).collect();
                if !lost.is_empty() && !waits {
                    broken.push(format!("{name}: {lost:?} are not in the {side}'s {shown:?}"));
                }
            } else {
                let (shown, all) = (number(shown), stage.merged.sums.get(name).copied().unwrap_or_default());
                if shown > all || shown < all && !waits {
                    broken.push(format!("{name}: {all} was added up, and the {side} shows {shown}"));
                }
            }
        }
    }
    broken
}
