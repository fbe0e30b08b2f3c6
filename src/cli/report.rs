//! Reports of runs and plans, in both forms.

use chrono::{DateTime, Utc};
use serde_json::{Value as Json, json};

use super::Exit;
use super::failure::exit_of;
use super::keys::KeyNames;
use super::loaded::Lead;
use super::render::{Cell, Grid, Page, Tone, plural};
use crate::config::model::{FieldEntry, Mapping};
use crate::connector::Fault;
use crate::diagnostic::{Code, Diagnostic, Place, Severity};
use crate::record::{Both, Key, Side};
use crate::run::{RunReport, Trouble};
use crate::state::{Parked, RunCounts, RunStatus, SideCounts, Spooled};

/// How many records of a kind are named in a report for people.
const NAMED: usize = 5;

/// One run as it is told: with what only the state and the YAML know.
pub(super) struct Told {
    pub report: RunReport,
    pub names: KeyNames,
    /// Why it could not begin, where the YAML or the environment is to blame.
    pub wrong: Vec<Diagnostic>,
    /// The first of the deletes that were held back.
    pub held: Vec<Spooled>,
    /// Records that were found on both sides, and linked.
    pub adopted: u64,
    /// Sides that showed no record at all, and how many links there are.
    pub emptied: Both<Option<u64>>,
    /// A run of the same mapping that began before and has no end, by its
    /// number: what a plan shows may be in its hands.
    pub unfinished: Option<u64>,
    /// Keys that were asked for, and nothing is known of.
    pub unknown: Vec<(Side, Key)>,
    /// Where each side's connection leads.
    pub leads: Both<Option<Lead>>,
    pub places: Places,
}

/// Where in the YAML stands what a run may have to say something about.
#[derive(Debug)]
pub(super) struct Places {
    pub mapping: Place,
    pub sides: Both<Place>,
    pub limits: Option<Place>,
    /// The fields, by the name that conflicts have for them.
    pub fields: Vec<(String, Place)>,
}

impl Places {
    pub(super) fn of(mapping: &Mapping) -> Places {
        let mut fields = Vec::new();
        for entry in &mapping.fields {
            match entry {
                FieldEntry::Field(spec) => {
                    let name = spec.target.as_ref().or(spec.source.as_ref());
                    fields.extend(name.map(|name| (name.value.clone(), spec.place.clone())));
                }
                FieldEntry::Copy(spec) => {
                    fields.extend(spec.copy.iter().map(|name| (name.value.clone(), name.place.clone())));
                }
            }
        }
        Places {
            mapping: mapping.mapping.place.clone(),
            sides: Both::from_fn(|side| mapping.side(side).object.place.clone()),
            limits: mapping.limits.as_ref().map(|limits| limits.place.clone()),
            fields,
        }
    }

    fn limits(&self) -> &Place {
        self.limits.as_ref().unwrap_or(&self.mapping)
    }

    fn field(&self, name: &str) -> &Place {
        self.fields.iter().find(|(field, _)| field == name).map_or(&self.mapping, |(_, place)| place)
    }
}

impl Told {
    /// How the command ends as far as this run is concerned.
    pub(super) fn exit(&self) -> Exit {
        let wrong = if self.is_wrong() { Exit::Wrong } else { Exit::Well };
        let own = self.troubles().map(exit_of).fold(wrong, Exit::max);
        let by_status = if self.report.status == RunStatus::Success { Exit::Well } else { Exit::Partial };
        own.max(by_status)
    }

    fn is_wrong(&self) -> bool {
        self.wrong.iter().any(|diagnostic| diagnostic.severity == Severity::Error)
    }

    /// What stopped the run, but for what `wrong` says better.
    pub(super) fn troubles(&self) -> impl Iterator<Item = &Trouble> {
        let is_wrong = self.is_wrong();
        self.report.troubles.iter().filter(move |trouble| !is_wrong || !matches!(trouble, Trouble::Refused { .. }))
    }

    /// The entry of `runs`.
    pub(super) fn json(&self) -> Json {
        let report = &self.report;
        let mut run = json!({
            "mapping": report.mapping,
            "run": report.run,
            "status": report.status,
            "started_at": report.started_at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
            "duration_ms": report.duration_ms,
            "to_target": counts_json(&report.counts.to_target),
            "to_source": counts_json(&report.counts.to_source),
            "conflicts": report.counts.conflicts,
            "owed": report.counts.owed,
            "errors": self.errors(),
        });
        let notes = self.notes();
        if !notes.is_empty() {
            run["notes"] = notes.into();
        }
        run
    }

    /// What a person has to know, and nothing failed by.
    fn notes(&self) -> Vec<Json> {
        let emptied = Side::BOTH.into_iter().filter_map(|side| {
            let links = self.emptied[side]?;
            Some(json!({ "side": side, "message": emptied_message(side, links) }))
        });
        let unfinished = self
            .unfinished
            .map(|number| json!({ "side": null, "message": super::status::without_end(&self.report.mapping, number) }));
        emptied.chain(unfinished).collect()
    }

    fn errors(&self) -> Vec<Json> {
        let report = &self.report;
        let mapping = report.mapping.as_str();
        let mut errors: Vec<Json> = report.parked.iter().map(|parked| parked_json(parked, &self.names)).collect();
        let known = Error { mapping, at: None, ..Error::default() };
        errors.extend(self.troubles().map(|trouble| {
            let code = trouble_code(trouble);
            let (message, at) = self.words(trouble);
            let side = match trouble {
                Trouble::Side(side, _) => Some(*side),
                Trouble::Refused { side, .. } => *side,
                Trouble::State(_) | Trouble::Stopped => None,
            };
            Error { side, code: Some(code), message: &message, reason: Some("fault"), at: Some(at), ..known }.json()
        }));
        errors.extend(self.wrong.iter().map(|wrong| {
            let code = wrong.code.as_str();
            let at = wrong.place.as_ref().or(Some(&self.places.mapping));
            Error { code: Some(code), message: &wrong.message, at, ..known }.json()
        }));
        errors.extend(report.undecided.iter().map(|undecided| {
            let at = Some(self.places.field(&undecided.field));
            let mut error = Error { reason: Some("conflict"), message: &undecided.to_string(), at, ..known }.json();
            error["id"] = format!("c{}", undecided.conflict).into();
            error["source_key"] = self.names.json(Side::Source, undecided.keys.source.as_ref());
            error["target_key"] = self.names.json(Side::Target, undecided.keys.target.as_ref());
            error["field"] = undecided.field.as_str().into();
            error
        }));
        let limit_code = Code::LIMIT.as_str();
        let limits = Some(self.places.limits());
        for side in Side::BOTH {
            if let Some(message) = held_message(&report.held, side).filter(|_| report.held_anew > 0) {
                errors.push(
                    Error { side: Some(side), code: Some(limit_code), message: &message, at: limits, ..known }.json(),
                );
            }
        }
        errors.extend(report.newly_held.iter().map(|spooled| {
            let message = format!("would be deleted on the {}, and is held back", spooled.on);
            let on = Some(spooled.on);
            let mut error = Error { side: on, code: Some(limit_code), message: &message, at: limits, ..known }.json();
            error["source_key"] = self.names.json(Side::Source, Some(&spooled.keys.source));
            error["target_key"] = self.names.json(Side::Target, Some(&spooled.keys.target));
            error
        }));
        errors
    }

    /// What is said of a trouble, and the place of what it is about.
    pub(super) fn words(&self, trouble: &Trouble) -> (String, &Place) {
        let place = match trouble {
            Trouble::Side(side, fault) => match &self.leads[*side] {
                Some(lead) => return (format!("{side}: {}", lead.words(fault)), &lead.place),
                None => &self.places.sides[*side],
            },
            Trouble::Refused { side: Some(side), .. } => &self.places.sides[*side],
            Trouble::Refused { code: Code::LIMIT, .. } => self.places.limits(),
            Trouble::Refused { .. } | Trouble::State(_) | Trouble::Stopped => &self.places.mapping,
        };
        (trouble.to_string(), place)
    }

    /// True where there was nothing to do and nothing went wrong.
    fn is_quiet(&self) -> bool {
        if self.adopted > 0 {
            return false;
        }
        let report = &self.report;
        let still =
            |counts: &SideCounts| counts.created + counts.updated + counts.deleted + counts.failed + counts.parked == 0;
        report.status == RunStatus::Success
            && report.counts.conflicts == 0
            && still(&report.counts.to_target)
            && still(&report.counts.to_source)
    }
}

/// The status over all runs.
pub(super) fn overall(runs: &[Told]) -> RunStatus {
    let any = |status: RunStatus| runs.iter().any(|told| told.report.status == status);
    match (any(RunStatus::Failure), any(RunStatus::Partial), any(RunStatus::Success)) {
        (false, false, _) => RunStatus::Success,
        (true, false, false) => RunStatus::Failure,
        _ => RunStatus::Partial,
    }
}

fn trouble_code(trouble: &Trouble) -> &'static str {
    let code = match trouble {
        Trouble::Side(..) => Code::SYSTEM_FAILED,
        // One that was stopped is in no report.
        Trouble::State(_) | Trouble::Stopped => Code::STATE_FAILED,
        Trouble::Refused { code, .. } => *code,
    };
    code.as_str()
}

fn held_message(held: &Both<Option<(u64, u64)>>, side: Side) -> Option<String> {
    let (would, limit) = held[side]?;
    let deletes = plural(would, "delete");
    Some(match held[side.other()] {
        Some((others, _)) => format!(
            "{deletes} on the {side} held back: the {} of both sides are more than the {limit} that the limit leaves; \
             nothing was deleted",
            would + others
        ),
        None => format!(
            "{deletes} on the {side} held back: more than the {limit} that the limit of both sides leaves; nothing was deleted"
        ),
    })
}

/// An entry of `errors` that is no parked record.
#[derive(Debug, Clone, Copy, Default)]
struct Error<'a> {
    mapping: &'a str,
    side: Option<Side>,
    reason: Option<&'a str>,
    code: Option<&'a str>,
    message: &'a str,
    at: Option<&'a Place>,
}

impl Error<'_> {
    fn json(&self) -> Json {
        json!({
            "id": null, "mapping": self.mapping, "source_key": null, "target_key": null, "side": self.side,
            "reason": self.reason, "field": null, "value": null, "code": self.code, "message": self.message,
            "file": self.at.map(|place| place.file.display().to_string()), "line": self.at.map(Place::line),
            "attempts": null, "since": null, "next_try": null,
        })
    }
}

/// The shape that `errors` and `engine parked list` share.
pub(super) fn parked_json(parked: &Parked, names: &KeyNames) -> Json {
    let time = |time: chrono::DateTime<chrono::Utc>| time.to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
    json!({
        "id": (parked.id != 0).then(|| parked.id.to_string()),
        "mapping": parked.mapping,
        "source_key": names.json(Side::Source, parked.keys.source.as_ref()),
        "target_key": names.json(Side::Target, parked.keys.target.as_ref()),
        "side": parked.side,
        "reason": parked.reason,
        "field": parked.field,
        "value": parked.value,
        "code": parked.code,
        "message": parked.message,
        "file": parked.file,
        "line": parked.line,
        "attempts": parked.attempts,
        "since": time(parked.since),
        "next_try": parked.next_try.map(time),
    })
}

fn counts_json(counts: &SideCounts) -> Json {
    json!({
        "read": counts.read, "created": counts.created, "updated": counts.updated, "deleted": counts.deleted,
        "unchanged": counts.unchanged, "skipped": counts.skipped, "failed": counts.failed, "parked": counts.parked,
    })
}

/// Reports of runs for people. `path` is the project as the user wrote it.
pub(super) fn page(runs: &[Told], path: &str) -> Page {
    let mut page = Page::new();
    let busy: Vec<&Told> = runs.iter().filter(|told| !told.is_quiet()).collect();
    let begun: Vec<&RunReport> = busy
        .iter()
        .filter(|told| told.report.counts != RunCounts { owed: told.report.counts.owed, ..RunCounts::default() })
        .map(|told| &told.report)
        .collect();
    if !begun.is_empty() {
        page.grid(counts_grid(&begun));
        page.gap();
    }
    for told in runs {
        page.spans(headline(told, ""));
        details(told, path, &mut page);
    }
    if runs.is_empty() {
        page.line("no mapping to run");
    }
    page
}

/// What each run did, a row for each direction.
pub(super) fn counts_grid(reports: &[&RunReport]) -> Grid {
    type Count = fn(&SideCounts) -> u64;
    let columns: [(&str, Count, bool); 8] = [
        ("read", |counts| counts.read, true),
        ("created", |counts| counts.created, true),
        ("updated", |counts| counts.updated, true),
        ("deleted", |counts| counts.deleted, false),
        ("unchanged", |counts| counts.unchanged, true),
        ("skipped", |counts| counts.skipped, false),
        ("parked", |counts| counts.parked, false),
        ("failed", |counts| counts.failed, false),
    ];
    let sides = |report: &RunReport| [(Side::Target, report.counts.to_target), (Side::Source, report.counts.to_source)];
    let used = |count: Count| reports.iter().any(|report| sides(report).iter().any(|(_, counts)| count(counts) > 0));
    let shown: Vec<_> = columns.into_iter().filter(|(_, count, always)| *always || used(*count)).collect();
    let header: Vec<&str> = ["mapping", "direction"].into_iter().chain(shown.iter().map(|(name, ..)| *name)).collect();
    let mut grid = Grid::new(&header);
    for report in reports {
        let mut name = report.mapping.as_str();
        for (side, counts) in sides(report) {
            if counts == SideCounts::default() && !(side == Side::Target && report.counts.to_source.read == 0) {
                continue;
            }
            let arrow = if side == Side::Target { "-> target" } else { "<- source" };
            let mut row = vec![Cell::text(std::mem::take(&mut name)).tone(Tone::Strong), Cell::text(arrow)];
            row.extend(shown.iter().map(|(what, count, _)| {
                let cell = Cell::number(count(&counts));
                match *what {
                    "parked" if count(&counts) > 0 => cell.tone(Tone::Warn),
                    "failed" if count(&counts) > 0 => cell.tone(Tone::Bad),
                    _ => cell,
                }
            }));
            grid.row(row);
        }
    }
    grid
}

/// One run of many, as it ends: nothing where there was nothing to do.
pub(super) fn line(told: &Told, at: DateTime<Utc>, path: &str, page: &mut Page) {
    if told.is_quiet() {
        return;
    }
    let mut did = Vec::new();
    for (side, counts) in [("target", told.report.counts.to_target), ("source", told.report.counts.to_source)] {
        let counts = [("created", counts.created), ("updated", counts.updated), ("deleted", counts.deleted)];
        let counts: Vec<String> =
            counts.into_iter().filter(|(_, count)| *count > 0).map(|(what, count)| format!("{count} {what}")).collect();
        if !counts.is_empty() {
            did.push(format!(", {} on the {side}", counts.join(" and ")));
        }
    }
    let at = (Tone::Faint, at.format("%Y-%m-%d %H:%M:%S UTC  ").to_string());
    page.spans(std::iter::once(at).chain(headline(told, &did.concat())));
    details(told, path, page);
}

/// How a run went, in a line; `did` says what it did.
fn headline(told: &Told, did: &str) -> [(Tone, String); 5] {
    let report = &told.report;
    let (word, tone) = match report.status {
        _ if told.is_quiet() => ("nothing to do", Tone::Good),
        RunStatus::Success => ("all well", Tone::Good),
        RunStatus::Partial => ("partial", Tone::Warn),
        RunStatus::Failure => ("failed", Tone::Bad),
        RunStatus::Running | RunStatus::Interrupted => ("interrupted", Tone::Warn),
    };
    let mut rest = did.to_owned();
    if report.counts.conflicts > 0 {
        rest = format!("{rest}, {}", plural(report.counts.conflicts, "new conflict"));
    }
    if told.adopted > 0 {
        rest = format!("{rest}, {} linked", plural(told.adopted, "record"));
    }
    if report.counts.owed > 0 {
        rest = format!("{rest}, {} owed", report.counts.owed);
    }
    [
        (Tone::Strong, report.mapping.clone()),
        (Tone::Plain, ": ".to_owned()),
        (tone, word.to_owned()),
        (Tone::Plain, rest),
        (Tone::Faint, format!(" ({})", duration(report.duration_ms))),
    ]
}

/// What a person has to know of a run.
fn details(told: &Told, path: &str, page: &mut Page) {
    let report = &told.report;
    for wrong in &told.wrong {
        let place = wrong.place.as_ref().map(|place| format!("{place}: ")).unwrap_or_default();
        page.spans([(Tone::Bad, format!("  {} ", wrong.code)), (Tone::Plain, format!("{place}{}", wrong.message))]);
        if let Some(help) = &wrong.help {
            page.toned(Tone::Faint, format!("    help: {help}"));
        }
    }
    for of_run in told.troubles() {
        trouble(told, of_run, path, page);
    }
    newly_parked(report, path, page);
    for undecided in report.undecided.iter().take(NAMED) {
        let message = format!("  {} {}: {undecided}", keys(&undecided.keys), undecided.field);
        page.toned(Tone::Warn, message);
    }
    if report.undecided.len() > NAMED {
        page.toned(Tone::Faint, format!("  … and {} more decisions", report.undecided.len() - NAMED));
    }
    if report.counts.conflicts > 0 || !report.undecided.is_empty() {
        let waits = "  in conflict, and waiting for a decision:";
        page.spans([
            (Tone::Warn, waits.to_owned()),
            (Tone::Plain, format!(" `engine conflicts list {path} --mapping {}`", report.mapping)),
        ]);
    }
    for (side, key) in &told.unknown {
        page.toned(Tone::Warn, format!("  no record with the key {key} was found on the {side}, and no link has it"));
    }
    emptied(told, path, page);
    held(told, path, page);
}

/// What stopped a run, and what to do about it.
pub(super) fn trouble(told: &Told, trouble: &Trouble, path: &str, page: &mut Page) {
    let (words, at) = told.words(trouble);
    page.spans([(Tone::Bad, format!("  {} ", trouble_code(trouble))), (Tone::Plain, format!("{at}: {words}"))]);
    if let Some(hint) = hint(trouble, path) {
        page.toned(Tone::Faint, format!("    help: {hint}"));
    }
}

/// The field that something is parked for, before what is said of it.
pub(super) fn field(parked: &Parked) -> String {
    parked.field.as_ref().map(|field| format!("{field}: ")).unwrap_or_default()
}

/// What is new among the parked records: the reasons, and the first of each.
fn newly_parked(report: &RunReport, path: &str, page: &mut Page) {
    let RunReport { parked, mapping, counts, .. } = report;
    let mut reasons: Vec<_> = parked.iter().map(|parked| parked.reason).collect();
    reasons.sort();
    reasons.dedup();
    for reason in reasons {
        let of: Vec<&Parked> = parked.iter().filter(|parked| parked.reason == reason).collect();
        page.toned(Tone::Warn, format!("  newly parked as {}: {}", reason.name(), of.len()));
        for parked in of.iter().take(NAMED) {
            let code = parked.code.as_deref().unwrap_or_default();
            page.spans([
                (Tone::Plain, format!("    {}", keys(&parked.keys))),
                (Tone::Faint, format!(" {code}")),
                (Tone::Plain, format!(" {}{}", field(parked), parked.message)),
            ]);
        }
        if of.len() > NAMED {
            page.toned(Tone::Faint, format!("    … and {} more", of.len() - NAMED));
        }
    }
    // Not all of very many are kept for the report.
    let others = (counts.to_target.parked + counts.to_source.parked).saturating_sub(parked.len() as u64);
    if others > 0 {
        page.toned(Tone::Warn, format!("  newly parked besides: {others}"));
    }
    if !parked.is_empty() {
        page.toned(Tone::Faint, format!("  all that is owed: `engine parked list {path} --mapping {mapping}`"));
    }
}

fn emptied_message(side: Side, links: u64) -> String {
    let links = plural(links, "link");
    format!("the {side} shows no record at all, and {links} stay: an empty listing deletes nothing")
}

/// A side that shows nothing: nothing is deleted for that, which somebody may
/// not expect.
pub(super) fn emptied(told: &Told, path: &str, page: &mut Page) {
    for side in Side::BOTH {
        let Some(links) = told.emptied[side] else { continue };
        let name = &told.report.mapping;
        page.toned(Tone::Warn, format!("  {}", emptied_message(side, links)));
        page.line(format!(
            "  if its records are really gone, delete those of the {} there, then `engine reset {path} {name} --links`",
            side.other()
        ));
    }
}

fn held(told: &Told, path: &str, page: &mut Page) {
    let report = &told.report;
    for side in Side::BOTH {
        let (Some((would, _)), Some(message)) = (report.held[side], held_message(&report.held, side)) else { continue };
        page.toned(Tone::Warn, format!("  {message}"));
        let named: Vec<_> = told.held.iter().filter(|spooled| spooled.on == side).take(NAMED).collect();
        for spooled in &named {
            page.line(format!("    would delete on the {side}: {}", spooled.keys[side]));
        }
        let more = usize::try_from(would).unwrap_or(usize::MAX).saturating_sub(named.len());
        if more > 0 {
            page.toned(Tone::Faint, format!("    … and {more} more"));
        }
        page.line(format!("  `engine run {path} {} --once --over-limit` lets them through, once", report.mapping));
    }
}

/// What to do where a right is missing.
pub(super) fn ungranted(lacks: &str) -> String {
    format!(
        "as the system says above, a right is missing: on the object itself it would be `GRANT {lacks} TO …`, with USAGE of its schema"
    )
}

fn hint(trouble: &Trouble, path: &str) -> Option<String> {
    match trouble {
        Trouble::Side(_, Fault { lacks: Some(lacks), .. }) => Some(ungranted(lacks)),
        Trouble::Side(_, _) => Some(format!(
            "`engine check {path}` looks at every connection; the next run goes on where this one stopped"
        )),
        Trouble::State(_) | Trouble::Stopped => None,
        Trouble::Refused { code, .. } => Some(format!("`engine explain {code}` says more")),
    }
}

/// Both keys for people: `000001,01 -> 42`.
pub(super) fn keys(keys: &Both<Option<Key>>) -> String {
    match (&keys.source, &keys.target) {
        (Some(source), Some(target)) => format!("{source} <-> {target}"),
        (Some(source), None) => format!("source {source}"),
        (None, Some(target)) => format!("target {target}"),
        (None, None) => "(no key)".to_owned(),
    }
}

/// `412 ms`, `3.1 s`, `2 min 5 s`.
pub(super) fn duration(ms: u64) -> String {
    match ms {
        0..1000 => format!("{ms} ms"),
        1000..60_000 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        _ => format!("{} min {} s", ms / 60_000, ms % 60_000 / 1000),
    }
}
