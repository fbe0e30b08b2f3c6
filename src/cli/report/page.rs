//! Reports for people.

use chrono::{DateTime, Utc};

use super::{Told, duration, emptied_message, held_message, keys, trouble_code, ungranted};
use crate::cli::render::{Cell, Grid, Page, Tone, plural};
use crate::connector::Fault;
use crate::record::Side;
use crate::run::{RunReport, Trouble};
use crate::state::{Parked, RunCounts, RunStatus, SideCounts};

/// How many records of a kind are named in a report for people.
const NAMED: usize = 5;

/// Reports of runs for people. `path` is the project as the user wrote it.
pub(in crate::cli) fn page(runs: &[Told], path: &str) -> Page {
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
pub(in crate::cli) fn counts_grid(reports: &[&RunReport]) -> Grid {
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
pub(in crate::cli) fn line(told: &Told, at: DateTime<Utc>, path: &str, page: &mut Page) {
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
pub(in crate::cli) fn trouble(told: &Told, trouble: &Trouble, path: &str, page: &mut Page) {
    let (words, at) = told.words(trouble);
    page.spans([(Tone::Bad, format!("  {} ", trouble_code(trouble))), (Tone::Plain, format!("{at}: {words}"))]);
    if let Some(hint) = hint(trouble, path) {
        page.toned(Tone::Faint, format!("    help: {hint}"));
    }
}

/// The field that something is parked for, before what is said of it.
pub(in crate::cli) fn field(parked: &Parked) -> String {
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

/// A side that shows nothing: nothing is deleted for that, which somebody may
/// not expect.
pub(in crate::cli) fn emptied(told: &Told, path: &str, page: &mut Page) {
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
