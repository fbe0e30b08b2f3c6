//! Checks of a mapping's sides, policies and schedule.

use super::field::{can_conflict, needs_times};
use crate::config::decode::not_yet;
use crate::config::environment::has_references;
use crate::config::model::{
    Connection, DeletePolicy, Deleted, Files, Limit, Mapping, Policy, Schedule, SideSpec, System,
};
use crate::config::tree::At;
use crate::diagnostic::{Code, Diagnostic, Diagnostics, Place};
use crate::record::{Kind, Value, parse_number};
use chrono::TimeZone;

pub(super) fn check(
    mapping: &Mapping,
    source: Option<&Connection>,
    target: Option<&Connection>,
    diagnostics: &mut Diagnostics,
) {
    let direction = mapping.direction();
    let known = mapping.direction_known;
    check_side(&mapping.source, source, known && direction.writes_source(), diagnostics);
    check_side(&mapping.target, target, known && direction.writes_target(), diagnostics);
    check_both_sides(mapping, source, target, diagnostics);
    check_allow(mapping, diagnostics);
    check_conflicts(mapping, diagnostics);
    check_deletes(mapping, [source, target], diagnostics);
    check_limits(mapping, diagnostics);
    check_when(mapping, diagnostics);
    if let Some(schedule) = &mapping.schedule {
        check_schedule(schedule, diagnostics);
    }
}

fn idle(place: &Place, message: impl Into<String>) -> Diagnostic {
    Diagnostic::error(Code::IDLE_POLICY, place, message)
}

/// A mapping reads no environment. Of a value that there is not it was told
/// where it was to be filled in.
pub(super) fn no_references(text: &str, place: &Place, diagnostics: &mut Diagnostics) {
    if has_references(text) && !text.contains("${var.") {
        diagnostics.push(not_yet(place, "`${…}` in a mapping"));
    }
}

fn check_side(side: &SideSpec, connection: Option<&Connection>, written: bool, diagnostics: &mut Diagnostics) {
    let filter = side.filter.as_ref();
    let texts = [Some(&side.connection), Some(&side.object), side.start.as_ref()].into_iter().flatten();
    let texts = texts.map(|text| (text.as_str(), &text.place));
    for (text, place) in texts.chain(filter.and_then(|filter| Some((filter.text()?, &filter.place)))) {
        no_references(text, place, diagnostics);
    }
    for (at, name) in side.key.iter().enumerate() {
        if let Some(first) = side.key[..at].iter().find(|first| first.value == name.value) {
            let diagnostic = Diagnostic::error(Code::BAD_VALUE, &name.place, format!("`{}` stands twice", name.value));
            diagnostics.push(diagnostic.related(&first.place, "it stands here first"));
        }
    }
    if let Some(start) = &side.start
        && side.modified.is_none()
        && side.cursor.is_none()
        && side.complete
    {
        let message = "`start` needs `modified` or `cursor`";
        let help = "name the field that says when a record was last changed";
        diagnostics.push(Diagnostic::error(Code::NEEDS_STAMP, &start.place, message).help(help));
    }
    if let Some(start) = &side.start
        && !has_references(start)
        && !is_start(start)
    {
        let message = format!("`{}` is neither a date or time nor a number", start.value);
        let help = "write it as the field holds it: `2026-03-01`, `2026-03-01T12:00:00Z`, `20260301`";
        diagnostics.push(Diagnostic::error(Code::BAD_VALUE, &start.place, message).help(help));
    }
    let Some(connection) = connection else { return };
    if let System::Files(files) = &connection.system {
        check_pattern(side, files, written, diagnostics);
    }
    if let (Some(filter), System::Files(_)) = (filter, &connection.system) {
        let message = "a file has no filter language for a `where`";
        let help = "leave records out with `when`, which takes an expression";
        diagnostics.push(Diagnostic::error(Code::BAD_FILTER, &filter.place, message).help(help));
    } else if let Some(filter) = filter
        && filter.text().is_none_or(|text| text.trim().is_empty())
    {
        let (code, what) = match filter.text() {
            Some(_) => (Code::BAD_VALUE, "an empty text"),
            None => (Code::WRONG_TYPE, filter.kind()),
        };
        let message = format!("`where` is a condition of SQL, but {what} stands here");
        let help = "write it as text: `where: \"status = 'open'\"`, or leave the setting out for all records";
        diagnostics.push(Diagnostic::error(code, &filter.place, message).help(help));
    }
    if let Some((name, _)) = connection.queries().iter().find(|(name, _)| name.value == side.object.value)
        && written
    {
        let message = format!("`{}` is a query and cannot be written", side.object.value);
        let help = "turn `direction` round, or name a table";
        let diagnostic = Diagnostic::error(Code::READ_ONLY, &side.object.place, message).help(help);
        diagnostics.push(diagnostic.related(&name.place, "the query is declared here"));
    }
}

/// Files that are read once, as they come.
fn check_pattern(side: &SideSpec, files: &Files, written: bool, diagnostics: &mut Diagnostics) {
    let Some(pattern) = files.pattern_of(&side.object.value) else { return };
    let mut push = |code: Code, place: &Place, message: &str, help: &str| {
        let diagnostic = Diagnostic::error(code, place, message).help(help);
        diagnostics.push(diagnostic.related(&pattern.place, "the pattern stands here"));
    };
    if written {
        let help = "turn `direction` round, or name one file";
        push(Code::READ_ONLY, &side.object.place, "files of a pattern are only read", help);
    }
    if let Some(cursor) = &side.cursor {
        let message = "a `cursor`, and each file of a pattern is read once";
        push(Code::EXCLUSIVE, &cursor.place, message, "leave it out");
    }
    if let Some(Deleted::Sweep { sweep }) = &side.deleted {
        let message = "a `sweep`, and what is not in a file of a pattern is not gone for that";
        push(Code::EXCLUSIVE, &sweep.place, message, "leave it out; a field that marks what is deleted is noticed");
    }
}

/// What a stamp or a cursor may hold; which of them, only the system knows.
fn is_start(text: &str) -> bool {
    let fits = |kind: Kind| kind.fit(Value::text(text)).is_ok();
    parse_number(text.trim()).is_some() || fits(Kind::LocalTime { digits: 9 }) || fits(Kind::Instant { digits: 9 })
}

fn check_both_sides(
    mapping: &Mapping,
    source: Option<&Connection>,
    target: Option<&Connection>,
    diagnostics: &mut Diagnostics,
) {
    let (Some(source), Some(target)) = (source, target) else { return };
    if std::ptr::eq(source, target) && mapping.source.object.value == mapping.target.object.value {
        let message = "both sides are the same object";
        let diagnostic = Diagnostic::warning(Code::BAD_VALUE, &mapping.target.object.place, message);
        diagnostics.push(diagnostic.related(&mapping.source.object.place, "the source stands here"));
    }
}

fn check_allow(mapping: &Mapping, diagnostics: &mut Diagnostics) {
    let Some(allow) = &mapping.allow else { return };
    let direction = mapping.direction();
    let sides = [
        ("target", &allow.to_target, direction.writes_target()),
        ("source", &allow.to_source, direction.writes_source()),
    ];
    for (side, operations, written) in sides {
        if let Some(first) = operations.iter().flatten().next()
            && !written
            && mapping.direction_known
        {
            let message = format!("`to_{side}`, but the {side} is never written");
            let help = "leave it out, or make the mapping `bidirectional`";
            diagnostics.push(idle(&first.place, message).help(help));
        }
    }
}

fn check_conflicts(mapping: &Mapping, diagnostics: &mut Diagnostics) {
    let Some(conflicts) = &mapping.conflicts else { return };
    if let Some(default) = &conflicts.default {
        if can_conflict(mapping) {
            check_policy(default, mapping, diagnostics);
        } else {
            let message = "`conflicts` in a mapping whose fields all go one way";
            let help = "leave `default` out; `drift: conflict` makes edits on the other side conflicts";
            diagnostics.push(idle(&default.place, message).help(help));
        }
    }
    if let Some(first) = &conflicts.first {
        if first.value == Policy::SumDeltas {
            let message = "`sum_deltas` where two records meet for the first time";
            let help = "nothing was agreed yet that could have changed; write `source`, `target` or another policy";
            diagnostics.push(idle(&first.place, message).help(help));
        }
        check_policy(first, mapping, diagnostics);
    }
}

/// Whether a policy finds what it needs on both sides.
pub(super) fn check_policy(policy: &At<Policy>, mapping: &Mapping, diagnostics: &mut Diagnostics) {
    if !needs_times(policy.value) {
        return;
    }
    for (word, side) in [("source", &mapping.source), ("target", &mapping.target)] {
        if side.complete && side.modified.is_none() && side.cursor.is_none() {
            let message = format!("`newest`, but nothing tells when the {word} was changed");
            let help = format!("set `modified` of the {word} to the field with the time of the last change");
            let diagnostic = idle(&policy.place, message).help(help);
            diagnostics.push(diagnostic.related(&side.place, format!("the {word} stands here")));
        }
    }
}

fn check_deletes(mapping: &Mapping, connections: [Option<&Connection>; 2], diagnostics: &mut Diagnostics) {
    let Some(deletes) = &mapping.deletes else { return };
    let direction = mapping.direction();
    let pattern = |side: &SideSpec, connection: Option<&Connection>| match &connection?.system {
        System::Files(files) => files.pattern_of(&side.object.value).cloned(),
        _ => None,
    };
    let [source, target] = connections;
    let patterns = [pattern(&mapping.source, source), pattern(&mapping.target, target)];
    let ways = [
        ("target", "source", &deletes.to_target, direction.writes_target(), &mapping.source, &mapping.target),
        ("source", "target", &deletes.to_source, direction.writes_source(), &mapping.target, &mapping.source),
    ];
    for ((side, from, policy, written, read, on), pattern) in ways.into_iter().zip(patterns) {
        let Some(policy) = policy.as_ref().filter(|policy| policy.acts()) else { continue };
        if !written && mapping.direction_known {
            let message = format!("`to_{side}`, but the {side} is never written");
            let help = "leave it out, or make the mapping `bidirectional`";
            diagnostics.push(idle(&policy.place, message).help(help));
        } else if let (Some(cursor), None, true) = (&read.cursor, &read.deleted, read.complete) {
            let message = format!("deletes on the {from} are not noticed: it is read by its cursor");
            let help = format!(
                "say under `deleted` of the {from} how they are known: `{{ field: …, equals: … }}` or `{{ sweep: 24h }}`"
            );
            let diagnostic = Diagnostic::error(Code::UNSEEN_DELETES, &policy.place, message).help(help);
            diagnostics.push(diagnostic.related(&cursor.place, format!("the {from}'s cursor stands here")));
        } else if let (Some(pattern), None) = (pattern, &read.deleted) {
            let message = format!("deletes on the {from} are not noticed: each of its files is read once");
            let help = format!("say under `deleted` of the {from} which field marks them, or leave this out");
            let diagnostic = Diagnostic::error(Code::UNSEEN_DELETES, &policy.place, message).help(help);
            diagnostics.push(diagnostic.related(&pattern.place, "the pattern stands here"));
        } else if let (DeletePolicy::Propagate, Some(Deleted::Mark { field, equals })) = (&policy.value, &on.deleted) {
            let message = format!("`propagate` deletes the row, and the {side} marks what is deleted");
            let equals = equals.as_scalar().map_or("…", |scalar| scalar.text.as_str());
            let help = format!("to set the mark instead, write `{{ set: {{ {}: \"{equals}\" }} }}`", field.value);
            let diagnostic = Diagnostic::warning(Code::MARK_PASSED_OVER, &policy.place, message).help(help);
            diagnostics.push(diagnostic.related(&field.place, format!("the {side}'s mark stands here")));
        }
    }
}

fn check_limits(mapping: &Mapping, diagnostics: &mut Diagnostics) {
    let Some(limits) = &mapping.limits else { return };
    let all = [
        ("create", &limits.create, "leave `create` out of `allow`"),
        ("update", &limits.update, "leave `update` out of `allow`"),
        ("delete", &limits.delete, "leave `deletes` at `ignore`, its default"),
    ];
    for (name, limit, help) in all {
        let Some(limit) = limit else { continue };
        if matches!(limit.value, Limit::Count(0)) || matches!(limit.value, Limit::Percent(percent) if percent.is_zero())
        {
            let message = format!("a limit of nothing on `{name}`");
            let help = format!("to forbid it, {help}");
            diagnostics.push(Diagnostic::error(Code::BAD_VALUE, &limit.place, message).help(help));
        }
    }
}

fn check_when(mapping: &Mapping, diagnostics: &mut Diagnostics) {
    let Some(when) = &mapping.when else { return };
    if when.both.is_none() && when.source.is_none() && when.target.is_none() {
        let message = "`when` says nothing";
        let help = "write an expression, or `{ source: …, target: … }`";
        diagnostics.push(Diagnostic::error(Code::MISSING_NAME, &when.place, message).help(help));
    }
    let direction = mapping.direction();
    for (side, expression, read) in
        [("source", &when.source, direction.writes_target()), ("target", &when.target, direction.writes_source())]
    {
        if let Some(expression) = expression
            && !read
            && mapping.direction_known
        {
            let message = format!("`when` of the {side}, from which nothing is carried over");
            diagnostics.push(idle(&expression.place, message).help("leave it out"));
        }
    }
}

fn check_schedule(schedule: &Schedule, diagnostics: &mut Diagnostics) {
    match (&schedule.every, &schedule.cron) {
        (Some(every), Some(cron)) => {
            let diagnostic = Diagnostic::error(Code::EXCLUSIVE, &cron.place, "`cron` beside `every`");
            diagnostics.push(diagnostic.help("keep one of them").related(&every.place, "`every` stands here"));
        }
        (None, None) if schedule.after.is_empty() && schedule.complete => {
            let message = "a schedule needs `every`, `cron` or `after`";
            diagnostics.push(Diagnostic::error(Code::MISSING_NAME, &schedule.place, message));
        }
        _ => {}
    }
    if let (Some(timezone), None, true) = (&schedule.timezone, &schedule.cron, schedule.complete) {
        diagnostics.push(idle(&timezone.place, "`timezone` without `cron`").help("leave it out"));
    }
    if schedule.every.is_none() && schedule.cron.is_none() && schedule.complete {
        let jitter = schedule.jitter.as_ref().map(|jitter| ("jitter", &jitter.place));
        let missed = schedule.missed.as_ref().map(|missed| ("missed", &missed.place));
        for (word, place) in [jitter, missed].into_iter().flatten() {
            let message = format!("`{word}` without `every` or `cron`");
            diagnostics.push(idle(place, message).help("leave it out"));
        }
    }
    if let Some(cron) = &schedule.cron {
        // Any day does: the pattern comes in no year, or in some.
        let day = chrono::Utc.with_ymd_and_hms(2024, 1, 1, 0, 0, 0).single().expect("the date exists");
        if cron.pattern.find_next_occurrence(&day, true).is_err() {
            let message = format!("`{}` fits no day in any year", cron.pattern.as_str());
            diagnostics.push(Diagnostic::error(Code::NEVER_DUE, &cron.place, message));
        }
    }
}
