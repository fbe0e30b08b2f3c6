//! What must hold when all is quiet.

use std::collections::BTreeMap;

use engine::compile::Policy;
use engine::plan::{Link, LinkStatus, Resolution};
use engine::record::{Both, Key, Side, Value, same};
use engine::state::{Conflict, ConflictFilter, ConflictStatus, Parked, ParkedFilter, Reason, RunStatus};

use super::forms::number;
use super::merges;
use super::play::Told;
use super::scenario::{DELETED, MERGED, NOTE, Scenario};
use super::stage::{Stage, name_of};
use super::store::State;
use super::system::Version;

/// Everything there is to look at, once nothing moves any more.
struct End<'a> {
    scenario: &'a Scenario,
    stage: &'a Stage,
    conflicts: Vec<Conflict>,
    broken: Vec<String>,
}

/// What the engine has kept of it all.
pub(super) struct Kept {
    conflicts: Vec<Conflict>,
    parked: Vec<Parked>,
    links: Vec<Link>,
}

impl Kept {
    pub(super) async fn read(state: &State) -> Kept {
        let readable = "the state can be read";
        Kept {
            conflicts: state.conflicts(&ConflictFilter::default()).await.expect(readable),
            parked: state.parked(&ParkedFilter::default()).await.expect(readable),
            links: state.links_after("test", 0, usize::MAX).await.expect(readable),
        }
    }
}

/// Every promise that was not kept, in words.
pub(super) fn promises(scenario: &Scenario, stage: &Stage, kept: Kept, told: &Told) -> Vec<String> {
    let Kept { conflicts, parked, links } = kept;
    let mut end = End { scenario, stage, conflicts, broken: Vec::new() };
    if !told.at_rest {
        end.broken.push("it does not come to rest".into());
        return end.broken;
    }
    if let Some(last) = told.reports.last()
        && last.status == RunStatus::Failure
    {
        end.broken.push(format!("the last run failed: {:?}", last.troubles));
    }
    let owed: Vec<Key> =
        parked.iter().flat_map(|parked| [&parked.keys.source, &parked.keys.target]).flatten().cloned().collect();
    // Of a code that was deleted and entered anew there may be two at once: a person has to look.
    let excused = |one: &Parked| {
        one.reason == Reason::Loop || scenario.deletes && matches!(one.reason, Reason::Ambiguous | Reason::Rejected)
    };
    for one in parked.iter().filter(|one| !excused(one)) {
        end.broken.push(format!("still owed: {:?} {:?}: {}", one.keys, one.reason, one.message));
    }
    end.nothing_is_doubled();
    end.notes_stay();
    end.no_edit_is_lost();
    end.conflicts_are_concurrent();
    end.broken.extend(merges::broken(stage, &end.conflicts, &parked));
    end.deletes_are_traced();
    if owed.is_empty() {
        end.counterparts_agree();
    }
    let is_owed = |link: &Link| owed.contains(&link.keys.source) || owed.contains(&link.keys.target);
    for link in links.iter().filter(|link| link.status != LinkStatus::Linked && !is_owed(link)) {
        end.what_is_back_is_linked(link);
    }
    for link in links.iter().filter(|link| link.status == LinkStatus::Linked && !is_owed(link)) {
        end.deletions_are_carried_over(link, told);
    }
    if told.decided {
        end.decisions_are_carried_out(&owed, told);
    }
    end.counts_are_true(told);
    end.broken
}

/// The latest version of this value on a side.
fn version(history: &[Version], value: i64) -> Option<&Version> {
    history.iter().rev().find(|version| version.value == value)
}

/// Where people entered this value on a side, else where it came to stand.
fn entered(history: &[Version], value: i64) -> Option<&Version> {
    history.iter().find(|version| version.value == value && version.by_people).or_else(|| version(history, value))
}

impl End<'_> {
    fn history(&self, side: Side, code: &str, slot: usize) -> &[Version] {
        self.stage.systems[side].history.get(&(code.to_owned(), slot)).map_or(&[], Vec::as_slice)
    }

    fn live(&self, side: Side) -> BTreeMap<String, Vec<&Vec<Value>>> {
        let mut live: BTreeMap<String, Vec<&Vec<Value>>> = BTreeMap::new();
        for row in self.stage.systems[side].rows.values().filter(|row| row[DELETED] != Value::Boolean(true)) {
            live.entry(name_of(row)).or_default().push(row);
        }
        live
    }

    fn deleted(&self, side: Side, code: &str) -> &[(u64, bool)] {
        self.stage.systems[side].deleted.get(code).map_or(&[], Vec::as_slice)
    }

    /// The two were paired after a doubt, and by `first` the target is right.
    fn is_left_to_the_target(&self, code: &str) -> bool {
        self.scenario.first == Some(Policy::Target) && self.is_lost_sight_of(code)
    }

    /// It was created under a key that nobody knows, and nobody knew that it was;
    /// or people then gave one of the two another key, by which what was sent is
    /// told.
    fn is_lost_sight_of(&self, code: &str) -> bool {
        let moved = |side: Side| self.stage.systems[side].moved_name(code);
        self.stage.unfound.contains(code) || self.stage.untold.contains(code) && Side::BOTH.into_iter().any(moved)
    }

    /// People (or the engine) have deleted this anywhere.
    fn was_deleted(&self, code: &str) -> bool {
        Side::BOTH.into_iter().any(|side| self.stage.systems[side].deleted.contains_key(code))
    }

    fn nothing_is_doubled(&mut self) {
        for side in Side::BOTH {
            let doubled: Vec<String> =
                self.live(side).into_iter().filter(|(_, rows)| rows.len() > 1).map(|(code, _)| code).collect();
            self.broken.extend(doubled.iter().map(|code| format!("{code} stands twice in the {side}")));
        }
    }

    /// What is not mapped is still there: no record was deleted and made anew.
    fn notes_stay(&mut self) {
        let mut broken = Vec::new();
        for side in Side::BOTH {
            let live = self.live(side);
            for (code, note) in self.stage.systems[side].notes.iter().filter(|(code, _)| !self.was_deleted(code)) {
                let stands = live.get(code).is_some_and(|rows| rows.iter().any(|row| same(&row[NOTE], note)));
                if !stands {
                    broken.push(format!("the note {note} of {code} in the {side} is gone"));
                }
            }
        }
        self.broken.extend(broken);
    }

    fn counterparts_agree(&mut self) {
        let live = Both::from_fn(|side| self.live(side));
        let mut broken = Vec::new();
        for from in Side::BOTH {
            if from == Side::Target && !self.scenario.two_way {
                continue;
            }
            // Where only the other side tells that its record is back, that is noticed with the next change here.
            let noticed = self.scenario.two_way || !self.scenario.cursor.source;
            let back = |code: &str| self.scenario.undeletes && noticed && live[from.other()].contains_key(code);
            for (code, rows) in live[from].iter().filter(|(code, _)| !self.was_deleted(code) || back(code)) {
                let Some(counterpart) = live[from.other()].get(code) else {
                    broken.push(format!("{code} of the {from} has no counterpart"));
                    continue;
                };
                for &slot in self.scenario.followed() {
                    let open = self.open(code, slot);
                    let equal = number(&rows[0][slot]) == number(&counterpart[0][slot]);
                    let agree = equal
                        || !self.scenario.two_way && self.has_drifted(code, slot, number(&rows[0][slot]))
                        || !self.scenario.two_way && self.is_left_to_the_target(code)
                        || !self.scenario.two_way
                            && self.was_left_apart(code, slot, &rows[0][slot], &counterpart[0][slot]);
                    if from == Side::Source && equal && open.is_some() {
                        broken.push(format!("{code}.{slot} is the same on both sides and in conflict"));
                    }
                    if from == Side::Source && !agree && open.is_none() {
                        broken.push(format!(
                            "{code}.{slot} is {} in the source and {} in the target, and in no conflict",
                            rows[0][slot], counterpart[0][slot]
                        ));
                    }
                }
            }
        }
        self.broken.extend(broken);
    }

    /// In a mapping of one direction: the source's value has been in the target,
    /// where people have edited it since. They may have entered it there themselves:
    /// that closed the conflict that was open.
    fn has_drifted(&self, code: &str, slot: usize, value: i64) -> bool {
        let shown = self.history(Side::Target, code, slot);
        let closed = self.has_closed_on(code, slot, value);
        let arrived = shown.iter().rposition(|version| version.value == value && (closed || !version.by_people));
        let last = shown.last().is_some_and(|version| version.by_people);
        last && arrived.is_some_and(|arrived| shown[arrived + 1..].iter().all(|version| version.by_people))
    }

    /// A conflict of the field ended because both sides had come to this value.
    fn has_closed_on(&self, code: &str, slot: usize, value: i64) -> bool {
        self.logged(code, slot).any(|conflict| {
            conflict.status == ConflictStatus::Closed
                && Side::BOTH.into_iter().all(|side| number(&conflict.values[side]) == value)
        })
    }

    /// Somebody decided that the target keeps its value, where nothing flows back.
    fn was_left_apart(&self, code: &str, slot: usize, source: &Value, target: &Value) -> bool {
        self.told_of(code, Side::Source, slot, number(source)).any(|conflict| {
            conflict.resolution == Some(Resolution::Take(Side::Target))
                && number(&conflict.values.target) == number(target)
        })
    }

    /// The open conflict of a field, found by the values it has seen.
    fn open(&self, code: &str, slot: usize) -> Option<&Conflict> {
        self.conflicts.iter().find(|conflict| {
            conflict.status == ConflictStatus::Open
                && conflict.field == format!("f{slot}")
                && self.is_of(conflict, code)
                && Side::BOTH.into_iter().any(|side| self.stage.at(side, &conflict.keys[side]).is_some())
        })
    }

    /// A conflict of a field is of the record whose history has its values.
    fn is_of(&self, conflict: &Conflict, code: &str) -> bool {
        let slot: usize = conflict.field.trim_start_matches('f').parse().unwrap_or(0);
        self.scenario.followed().contains(&slot)
            && version(self.history(Side::Source, code, slot), number(&conflict.values.source)).is_some()
    }

    /// The conflicts that told of this value before it was overwritten, each time
    /// something became of them.
    fn told_of(&self, code: &str, side: Side, slot: usize, value: i64) -> impl Iterator<Item = &Conflict> {
        self.logged(code, slot).filter(move |conflict| {
            conflict.status != ConflictStatus::Closed && number(&conflict.values[side]) == value
        })
    }

    /// The conflicts of a field, each time something became of them.
    fn logged(&self, code: &str, slot: usize) -> impl Iterator<Item = &Conflict> {
        let is_of = move |conflict: &&Conflict| conflict.field == format!("f{slot}") && self.is_of(conflict, code);
        self.stage.logged.iter().filter(is_of)
    }

    /// Whatever the engine overwrote had reached the other side before the edit
    /// that took its place was made, or was in a conflict.
    fn no_edit_is_lost(&mut self) {
        let mut broken = Vec::new();
        for side in Side::BOTH {
            for ((code, slot), versions) in &self.stage.systems[side].history {
                let other = self.history(side.other(), code, *slot);
                for pair in versions.windows(2) {
                    let (before, after) = (&pair[0], &pair[1]);
                    if !before.by_people || after.by_people || before.value == after.value {
                        continue;
                    }
                    if self.is_lost_sight_of(code) {
                        continue;
                    }
                    if self.deleted(side, code).iter().any(|(at, _)| *at > before.at && *at < after.at) {
                        continue;
                    }
                    let mut made = other.iter().filter(|version| version.value == after.value && version.at < after.at);
                    // People may enter again what the engine had brought.
                    let made = made.clone().rfind(|version| version.by_people).or_else(|| made.next());
                    // In one direction an edit stays until the other side is edited again.
                    let stood = |version: &Version| version.value == after.value && version.at < before.at;
                    let put_back = !self.scenario.two_way && versions.iter().any(stood);
                    let known = !put_back || self.stage.doubted.contains(code);
                    let decided = || {
                        let mut told = self.told_of(code, side, *slot, before.value);
                        told.any(|conflict| match &conflict.resolution {
                            Some(Resolution::Take(side)) => number(&conflict.values[*side]) == after.value,
                            Some(Resolution::Value(value)) => number(value) == after.value,
                            None => false,
                        })
                    };
                    let Some(made) = made.filter(|made| made.by_people && known) else {
                        if decided() {
                            continue;
                        }
                        broken.push(format!(
                            "{code}.{slot}: the {side}'s {} was overwritten with its own old {}",
                            before.value, after.value
                        ));
                        continue;
                    };
                    if !self.scenario.two_way {
                        continue;
                    }
                    let superseded = other.iter().any(|reached| reached.value == before.value && reached.at < made.at);
                    let told = self.told_of(code, side, *slot, before.value).next();
                    if !superseded && told.is_none() {
                        broken.push(format!(
                            "{code}.{slot}: the {side}'s edit {} is lost under {}",
                            before.value, after.value
                        ));
                    }
                    if let Some(conflict) = told
                        && number(&conflict.values[side.other()]) == after.value
                        && conflict.status == ConflictStatus::Decided
                        && (conflict.policy == Policy::Max && before.value > after.value
                            || conflict.policy == Policy::Min && before.value < after.value)
                    {
                        broken.push(format!("{code}.{slot}: {} gave way to {}", before.value, after.value));
                    }
                    if let Some(conflict) = told
                        && !superseded
                        && conflict.policy == Policy::Newest
                        && conflict.status == ConflictStatus::Decided
                        && self.untouched(side, code, before, after.at)
                        && self.untouched(side.other(), code, made, after.at)
                        && winner(side, before, made) == side
                    {
                        broken.push(format!("{code}.{slot}: {} was newer than {}", before.value, after.value));
                    }
                }
            }
        }
        self.broken.extend(broken);
    }

    /// This version was the last that happened to its record until then, and
    /// its stamp is nobody else's.
    fn untouched(&self, side: Side, code: &str, version: &Version, until: u64) -> bool {
        let touched = self.stage.systems[side].touched.get(code).map_or(&[][..], Vec::as_slice);
        let last = touched.iter().filter(|touch| touch.at < until).map(|touch| touch.at).max();
        last == Some(version.at) && !touched.iter().any(|touch| !touch.by_people && touch.stamp == version.stamp)
    }

    /// Neither edit of a conflict had reached the other's side when it was made.
    fn conflicts_are_concurrent(&mut self) {
        let mut broken = Vec::new();
        for conflict in self.conflicts.iter().filter(|one| one.field != "*" && one.status != ConflictStatus::Closed) {
            let slot: usize = conflict.field.trim_start_matches('f').parse().expect("a field is named for its slot");
            if slot == MERGED && self.scenario.merges() {
                continue;
            }
            if !self.scenario.followed().contains(&slot) {
                broken.push(format!("a conflict of a code: {:?}", conflict.values));
                continue;
            }
            let codes: Vec<&String> = self.stage.systems.source.history.keys().map(|(code, _)| code).collect();
            let Some(code) = codes.into_iter().find(|code| self.is_of(conflict, code)) else {
                broken.push(format!("a conflict of nothing that ever was: {:?}", conflict.values));
                continue;
            };
            if self.stage.doubted.contains(code) {
                continue;
            }
            let values = conflict.values.as_ref().map(number);
            for side in Side::BOTH {
                let own = entered(self.history(side, code, slot), values[side]);
                let theirs = entered(self.history(side.other(), code, slot), values[side.other()]);
                let (Some(own), Some(theirs)) = (own, theirs) else {
                    broken.push(format!("{code}.{slot}: a conflict of values nobody saw: {values:?}"));
                    break;
                };
                if !own.by_people {
                    broken.push(format!("{code}.{slot}: the engine's own {} is in conflict: {values:?}", own.value));
                    break;
                }
                let reached = self.history(side.other(), code, slot);
                let reached = reached.iter().any(|one| one.value == own.value && !one.by_people && one.at < theirs.at);
                if reached {
                    broken.push(format!("{code}.{slot}: {values:?} is a conflict, and one had followed the other"));
                    break;
                }
            }
        }
        self.broken.extend(broken);
    }

    /// Every delete of the engine's follows one of people's, and takes no edit
    /// with it that its other side had not seen.
    fn deletes_are_traced(&mut self) {
        let mut broken = Vec::new();
        for side in Side::BOTH {
            let system = &self.stage.systems[side];
            let deletes = system.deleted.iter().flat_map(|(code, all)| all.iter().map(move |one| (code, one)));
            for (code, (at, by_people)) in deletes {
                if *by_people {
                    continue;
                }
                let asked = self.deleted(side.other(), code).iter().rev().find(|(asked, people)| *people && asked < at);
                let Some((deleted, _)) = asked else {
                    broken.push(format!("{code} was deleted in the {side}, and nobody had asked for it"));
                    continue;
                };
                let decided = self.stage.logged.iter().any(|conflict| {
                    conflict.field == "*"
                        && matches!(conflict.status, ConflictStatus::Decided | ConflictStatus::Resolved)
                });
                // An edit may still reach a record between the look at it and its mark.
                let marked = self.scenario.marks[side.other()];
                for &slot in self.scenario.followed() {
                    let last = self.history(side, code, slot).iter().rev().find(|version| version.at < *at);
                    let Some(last) = last.filter(|last| last.by_people) else { continue };
                    let seen = self
                        .history(side.other(), code, slot)
                        .iter()
                        .any(|version| version.value == last.value && (version.at < *deleted || marked));
                    let field_conflict = self.told_of(code, side, slot, last.value).next().is_some();
                    // In one direction, what was linked without bases holds no edit that anybody knows of.
                    let without_bases = !self.scenario.two_way && self.is_lost_sight_of(code);
                    if !seen && !decided && !field_conflict && !without_bases {
                        broken.push(format!("{code}.{slot}: the edit {} was deleted in the {side}", last.value));
                    }
                }
            }
        }
        let removed = self.stage.systems.source.removed + self.stage.systems.target.removed;
        // What a run deleted that died before its end is not counted against the day's limit.
        if let Some(limit) = self.scenario.delete_limit
            && !self.stage.uncounted
            && removed > limit
        {
            broken.push(format!("{removed} records were deleted under a limit of {limit}"));
        }
        self.broken.extend(broken);
    }

    /// On which sides the records of a link stand.
    fn there(&self, link: &Link) -> Both<bool> {
        Both::from_fn(|side| {
            let row = self.stage.at(side, &link.keys[side]).map(|id| &self.stage.systems[side].rows[&id]);
            row.is_some_and(|row| row[DELETED] != Value::Boolean(true))
        })
    }

    /// A link is severed for as long as one of its records is gone.
    fn what_is_back_is_linked(&mut self, link: &Link) {
        if self.scenario.two_way && self.there(link) == Both::new(true, true) {
            self.broken.push(format!("both records of {:?} stand, and their link is severed", link.keys));
        }
    }

    /// A linked record whose counterpart people deleted is deleted, in conflict
    /// or held back.
    fn deletions_are_carried_over(&mut self, link: &Link, told: &Told) {
        let there = self.there(link);
        let held =
            told.reports.last().is_some_and(|report| report.held.source.is_some() || report.held.target.is_some());
        let open = self.conflicts.iter().any(|conflict| {
            conflict.link == link.id && conflict.field == "*" && conflict.status == ConflictStatus::Open
        });
        let (gone, carried) = match (there.source, there.target) {
            (false, true) => (Side::Source, true),
            (true, false) => (Side::Target, self.scenario.two_way),
            _ => return,
        };
        // An empty listing never counts.
        let listed = self.scenario.sweep && !self.stage.systems[gone].rows.is_empty();
        // A mark under a key that the engine never saw tells it nothing.
        let has_moved = self.stage.systems[gone].has_moved(&link.keys[gone]);
        let noticed = if self.scenario.marks[gone] { !has_moved } else { listed };
        if noticed && carried && !held && !open {
            self.broken.push(format!("the {gone} of {:?} is gone, and nothing came of it", link.keys));
        }
    }

    /// People have decided about everything that waited for them, and nothing
    /// moved since.
    fn decisions_are_carried_out(&mut self, owed: &[Key], told: &Told) {
        let open: Vec<&Conflict> = self.conflicts.iter().filter(|one| one.status == ConflictStatus::Open).collect();
        // A delete may be held back by the limit, and whatever else is to become of the record.
        let stands = |one: &Conflict, side: Side| {
            let row = self.stage.at(side, &one.keys[side]).map(|id| &self.stage.systems[side].rows[&id]);
            row.is_some_and(|row| row[DELETED] != Value::Boolean(true))
        };
        let report = told.reports.last();
        let holds = report.is_some_and(|report| report.held.source.is_some() || report.held.target.is_some());
        let held = |one: &Conflict| holds && Side::BOTH.into_iter().any(|side| !stands(one, side));
        // The values that were decided about are as old as the last reading of the side, and it may be read no more.
        let shown_again = |one: &Conflict| !self.scenario.two_way && one.resolution.is_none();
        let parked = |one: &Conflict| owed.contains(&one.keys.source) || owed.contains(&one.keys.target);
        // A mark under a key that the engine never saw is found where a decision has it looked for.
        let found = |one: &Conflict, side: Side| {
            self.scenario.marks[side] && self.stage.systems[side].has_moved(&one.keys[side]) && !stands(one, side)
        };
        let is_new = |one: &Conflict| Side::BOTH.into_iter().any(|side| found(one, side));
        if let Some(open) = open.iter().find(|one| !held(one) && !parked(one) && !shown_again(one) && !is_new(one)) {
            let words = format!("{:?} {}: {:?} came to nothing", open.keys, open.field, open.resolution);
            self.broken.push(words);
        }
    }

    fn counts_are_true(&mut self, told: &Told) {
        // A listing that broke off and began anew has read nothing twice.
        for (report, side) in told.reports.iter().flat_map(|report| Side::BOTH.map(|side| (report, side))) {
            let counts = if side == Side::Source { report.counts.to_target } else { report.counts.to_source };
            let ever = self.stage.systems[side].rows_ever();
            if !self.scenario.cursor[side] && counts.read > ever {
                self.broken
                    .push(format!("{} records of the {side} were read, and there never were but {ever}", counts.read));
            }
        }
        if self.stage.uncounted {
            return;
        }
        for side in Side::BOTH {
            let mut sums = (0, 0, 0);
            for report in &told.reports {
                let counts = if side == Side::Target { report.counts.to_target } else { report.counts.to_source };
                sums = (sums.0 + counts.created, sums.1 + counts.updated, sums.2 + counts.deleted);
            }
            let system = &self.stage.systems[side];
            let own = (system.created, system.updated, system.removed);
            if sums != own {
                self.broken.push(format!("the reports say {sums:?} of the {side}, and it counted {own:?}"));
            }
        }
    }
}

/// The side of the newer of two edits; a tie goes to the source.
fn winner(side: Side, here: &Version, there: &Version) -> Side {
    let apart = (here.stamp - there.stamp).num_milliseconds();
    match apart {
        _ if apart.abs() < 1_000 => Side::Source,
        _ if apart > 0 => side,
        _ => side.other(),
    }
}
