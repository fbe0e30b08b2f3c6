//! What must hold when all is quiet, said of what the systems wrote down
//! themselves.
//!
//! Every value that people enter is unique, so a value tells which edit it is,
//! wherever it turns up. One edit had reached the other side before another
//! was made there if the other side's own history has its value first: no
//! clock is needed, and none is shared.

use std::collections::{BTreeMap, BTreeSet};

use engine::record::{Both, Side};
use serde_json::Value as Json;

use super::project::{Project, Terms};
use super::system::{Entry, FIELDS, Row};

/// Entries of a side's history that were made in runs without an end: first
/// and last.
pub(super) type Doubts = Both<Vec<(i64, i64)>>;

/// One value of one field, in the order in which it changed.
#[derive(Debug, Clone, PartialEq)]
struct Version {
    n: i64,
    value: Option<String>,
    engine: bool,
    /// How often the record had been deleted before.
    life: usize,
}

struct End {
    rows: Both<BTreeMap<String, Vec<Row>>>,
    entries: Both<Vec<Entry>>,
    versions: Both<BTreeMap<(String, usize), Vec<Version>>>,
    conflicts: Vec<Json>,
    doubts: Doubts,
    broken: Vec<String>,
}

/// Every promise that was not kept, in words. `last` is the report of a run
/// that found nothing to do.
pub(super) async fn promises(project: &Project, terms: &Terms, last: &Json, doubts: Doubts) -> Vec<String> {
    let rows = Both::new(project.systems.source.rows().await, project.systems.target.rows().await);
    let entries = Both::new(project.systems.source.history().await, project.systems.target.history().await);
    let versions = entries.as_ref().map(|entries| versions(entries));
    let mut end = End { rows, entries, versions, conflicts: project.conflicts(), doubts, broken: Vec::new() };
    let parked = project.parked();
    let looping: BTreeSet<String> = parked.iter().filter(|one| one["reason"] == "loop").map(Json::to_string).collect();
    for one in parked.iter().filter(|one| one["reason"] != "loop" || terms.policy == "manual") {
        end.broken.push(format!("still owed: {one}"));
    }
    let owed = parked.len() + end.conflicts.iter().filter(|one| one["status"] == "open").count();
    if last["owed"] != owed {
        end.broken.push(format!("the last run says {} are owed, and {owed} are", last["owed"]));
    }
    end.nothing_is_doubled();
    end.no_edit_is_lost();
    end.conflicts_are_concurrent();
    end.deletes_are_traced();
    if looping.is_empty() {
        end.counterparts_agree(terms);
    }
    end.broken
}

fn versions(entries: &[Entry]) -> BTreeMap<(String, usize), Vec<Version>> {
    let mut versions: BTreeMap<(String, usize), Vec<Version>> = BTreeMap::new();
    let mut lives: BTreeMap<&str, usize> = BTreeMap::new();
    for entry in entries {
        let life = lives.entry(&entry.code).or_default();
        if entry.action == "DELETE" {
            *life += 1;
            continue;
        }
        for (field, value) in [&entry.one, &entry.two].into_iter().enumerate() {
            let before = versions.entry((entry.code.clone(), field)).or_default();
            if before.last().is_none_or(|last| last.value != *value || last.life != *life) {
                before.push(Version { n: entry.n, value: value.clone(), engine: entry.engine, life: *life });
            }
        }
    }
    versions
}

fn text(value: &Json) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn name(side: Side) -> &'static str {
    if side == Side::Source { "source" } else { "target" }
}

impl End {
    fn of(&self, side: Side, code: &str, field: usize) -> &[Version] {
        self.versions[side].get(&(code.to_owned(), field)).map_or(&[], Vec::as_slice)
    }

    /// A value of a side's history, with the code and field it is of.
    fn find(&self, side: Side, value: Option<&String>) -> Option<(&str, usize, &Version)> {
        self.versions[side].iter().find_map(|((code, field), versions)| {
            let version = versions.iter().find(|version| version.value.as_ref() == value)?;
            Some((code.as_str(), *field, version))
        })
    }

    /// Where people entered this value on a side.
    fn entered(&self, side: Side, code: &str, field: usize, value: Option<&String>) -> Option<&Version> {
        self.of(side, code, field).iter().find(|version| version.value.as_ref() == value && !version.engine)
    }

    fn deletes<'a>(&'a self, side: Side, code: &'a str) -> impl Iterator<Item = &'a Entry> {
        self.entries[side].iter().filter(move |entry| entry.action == "DELETE" && entry.code == code)
    }

    fn deleted_by_people(&self, side: Side, code: &str) -> bool {
        self.deletes(side, code).any(|entry| !entry.engine)
    }

    fn made_by_people(&self, side: Side, code: &str) -> bool {
        self.entries[side].iter().any(|entry| entry.action == "INSERT" && entry.code == code && !entry.engine)
    }

    fn is_doubted(&self, side: Side, n: i64) -> bool {
        self.doubts[side].iter().any(|(first, last)| (*first..=*last).contains(&n))
    }

    /// The conflict that told of this value before it was overwritten.
    fn told(&self, side: Side, field: usize, value: Option<&String>) -> bool {
        self.conflicts.iter().any(|conflict| {
            conflict["status"] != "closed"
                && conflict["field"] == FIELDS[field]
                && text(&conflict[name(side)]).as_ref() == value
        })
    }

    /// Conflicts about a record as a whole, in some status.
    fn about_whole<'a>(&'a self, code: &'a str) -> impl Iterator<Item = &'a Json> {
        self.conflicts.iter().filter(move |conflict| {
            let names = |side: &Side| conflict[name(*side)]["code"] == code;
            conflict["field"] == "*" && (names(&Side::Source) || names(&Side::Target))
        })
    }

    fn open_on(&self, code: &str, field: usize) -> bool {
        let [source, target] = Side::BOTH.map(|side| &self.rows[side][code][0][field]);
        self.conflicts.iter().any(|conflict| {
            conflict["status"] == "open"
                && conflict["field"] == FIELDS[field]
                && text(&conflict["source"]) == *source
                && text(&conflict["target"]) == *target
        })
    }

    fn nothing_is_doubled(&mut self) {
        for side in Side::BOTH {
            for (code, rows) in self.rows[side].iter().filter(|(_, rows)| rows.len() > 1) {
                self.broken.push(format!("{code} stands {} times in the {}", rows.len(), name(side)));
            }
            let mut live = BTreeSet::new();
            for entry in &self.entries[side] {
                let known = match entry.action.as_str() {
                    "INSERT" => !live.insert(&entry.code),
                    "DELETE" => !live.remove(&entry.code),
                    _ => false,
                };
                if known {
                    self.broken.push(format!("{} has had {} twice: {entry:?}", name(side), entry.code));
                }
            }
        }
    }

    /// Both sides have the record with the same values, but where people's
    /// decision is waited for.
    fn counterparts_agree(&mut self, terms: &Terms) {
        let mut broken = Vec::new();
        let codes: BTreeSet<&String> = self.rows.source.keys().chain(self.rows.target.keys()).collect();
        for code in codes {
            let there = self.rows.as_ref().map(|rows| rows.contains_key(code.as_str()));
            if !there.source || !there.target {
                let gone = if there.source { Side::Target } else { Side::Source };
                let waits = self.about_whole(code).any(|conflict| conflict["status"] == "open");
                if !self.deleted_by_people(gone, code) {
                    broken.push(format!("{code} has no counterpart in the {}", name(gone)));
                } else if terms.deletes && !waits {
                    broken.push(format!("{code} was deleted in the {}, and nothing came of it", name(gone)));
                }
                continue;
            }
            for field in 0..FIELDS.len() {
                let [source, target] = Side::BOTH.map(|side| &self.rows[side][code][0][field]);
                let open = self.open_on(code, field);
                if source == target && open {
                    broken.push(format!("{code}.{field} is {source:?} on both sides, and in conflict"));
                }
                if source != target && !open {
                    broken.push(format!(
                        "{code}.{field} is {source:?} in the source and {target:?} in the target, and in no conflict"
                    ));
                }
            }
        }
        // An open conflict is of what stands there now.
        for conflict in self.conflicts.iter().filter(|one| one["status"] == "open" && one["field"] != "*") {
            let field = usize::from(conflict["field"] == FIELDS[1]);
            let stands =
                |side: Side| self.rows[side].values().flatten().any(|row| row[field] == text(&conflict[name(side)]));
            // Where one side's record is gone, that is to be decided first.
            let code = Side::BOTH.iter().find_map(|side| self.find(*side, text(&conflict[name(*side)]).as_ref()));
            let gone = code.is_some_and(|(code, ..)| self.about_whole(code).any(|whole| whole["status"] == "open"));
            if !gone && (!stands(Side::Source) || !stands(Side::Target)) {
                broken.push(format!("an open conflict is of values that do not stand: {conflict}"));
            }
        }
        self.broken.extend(broken);
    }

    /// Whatever the engine overwrote had reached the other side before the
    /// edit that took its place was made, or was in a conflict.
    fn no_edit_is_lost(&mut self) {
        let mut broken = Vec::new();
        for side in Side::BOTH {
            for ((code, field), versions) in &self.versions[side] {
                let other = self.of(side.other(), code, *field);
                for pair in versions.windows(2) {
                    let (before, after) = (&pair[0], &pair[1]);
                    if before.engine || !after.engine || before.life != after.life {
                        continue;
                    }
                    let Some(made) = self.entered(side.other(), code, *field, after.value.as_ref()) else {
                        broken.push(format!(
                            "{code}.{field}: in the {} the edit {:?} was overwritten with its own old {:?}",
                            name(side),
                            before.value,
                            after.value
                        ));
                        continue;
                    };
                    let seen = other.iter().any(|reached| reached.value == before.value && reached.n < made.n);
                    if !seen
                        && !self.told(side, *field, before.value.as_ref())
                        && self.about_whole(code).next().is_none()
                    {
                        broken.push(format!(
                            "{code}.{field}: in the {} the edit {:?} is lost under {:?}",
                            name(side),
                            before.value,
                            after.value
                        ));
                    }
                }
            }
        }
        self.broken.extend(broken);
    }

    /// Neither edit of a conflict had reached the other's side when it was
    /// made. Where a run had no end, its write may have been overwritten before
    /// anybody could learn of it.
    fn conflicts_are_concurrent(&mut self) {
        let mut broken = Vec::new();
        for conflict in self.conflicts.iter().filter(|one| one["field"] != "*" && one["status"] != "closed") {
            let values = Both::new(text(&conflict["source"]), text(&conflict["target"]));
            let Some((code, field, _)) = self.find(Side::Source, values.source.as_ref()) else {
                broken.push(format!("a conflict of a value that never stood in the source: {conflict}"));
                continue;
            };
            for side in Side::BOTH {
                let own = self.entered(side, code, field, values[side].as_ref());
                let theirs = self.entered(side.other(), code, field, values[side.other()].as_ref());
                let (Some(own), Some(theirs)) = (own, theirs) else {
                    broken
                        .push(format!("{code}.{field}: a conflict with a value that nobody entered there: {conflict}"));
                    break;
                };
                let reached = self.of(side.other(), code, field).iter();
                let mut reached = reached.filter(|one| one.value == own.value && one.n < theirs.n);
                if reached.any(|one| !self.is_doubted(side.other(), one.n)) {
                    broken.push(format!(
                        "{code}.{field}: a conflict of edits one of which had seen the other: {conflict}"
                    ));
                    break;
                }
            }
        }
        self.broken.extend(broken);
    }

    /// Every delete of the engine's follows one of people's on the other side,
    /// and takes no edit with it that the other side had not seen; and what
    /// people deleted does not come back by itself.
    fn deletes_are_traced(&mut self) {
        let mut broken = Vec::new();
        for side in Side::BOTH {
            let by_engine = self.entries[side].iter().filter(|entry| entry.action == "DELETE" && entry.engine);
            for delete in by_engine {
                let code = &delete.code;
                let decided = self.about_whole(code).any(|conflict| conflict["status"] != "open");
                if !self.deleted_by_people(side.other(), code) {
                    broken.push(format!("nobody deleted {code}, and the engine did so in the {}", name(side)));
                }
                for field in 0..FIELDS.len() {
                    let last = self.of(side, code, field).iter().rev().find(|version| version.n < delete.n);
                    let Some(last) = last.filter(|last| !last.engine) else { continue };
                    let seen = self.of(side.other(), code, field).iter().any(|one| one.value == last.value);
                    if !seen && !decided && !self.told(side, field, last.value.as_ref()) {
                        broken.push(format!(
                            "{code}.{field}: the edit {:?} was deleted in the {}",
                            last.value,
                            name(side)
                        ));
                    }
                }
            }
            let by_engine = self.entries[side].iter().filter(|entry| entry.action == "INSERT" && entry.engine);
            for made in by_engine {
                let code = &made.code;
                let before = self.deletes(side, code).filter(|entry| entry.n < made.n).last();
                let Some(before) = before.filter(|before| !before.engine) else { continue };
                let decided = self.about_whole(code).any(|conflict| conflict["status"] != "open");
                // One that was deleted before its run could learn that it had made it looks like one that was never made.
                let first = self.entries[side].iter().find(|entry| entry.code == *code && entry.engine);
                let in_doubt = first.is_some_and(|first| first.n < before.n && self.is_doubted(side, first.n));
                // One that both sides made on their own may go from one side before they ever met.
                let made_twice = self.made_by_people(Side::Source, code) && self.made_by_people(Side::Target, code);
                if !decided && !in_doubt && !made_twice {
                    broken.push(format!("people deleted {code} in the {}, and the engine made it anew", name(side)));
                }
            }
        }
        self.broken.extend(broken);
    }
}
