//! Reports of runs and plans, in both forms: what is told of a run, `json` for
//! machines, `page` for people.

mod json;
mod page;

use super::Exit;
use super::failure::exit_of;
use super::keys::KeyNames;
use super::loaded::Lead;
use super::render::plural;
use crate::config::model::{FieldEntry, Mapping};
use crate::diagnostic::{Code, Diagnostic, Place, Severity};
use crate::record::{Both, Key, Side};
use crate::run::{RunReport, Trouble};
use crate::state::{RunStatus, SideCounts, Spooled};

pub(super) use json::parked_json;
pub(super) use page::{counts_grid, emptied, field, line, page, trouble};

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

fn emptied_message(side: Side, links: u64) -> String {
    let links = plural(links, "link");
    format!("the {side} shows no record at all, and {links} stay: an empty listing deletes nothing")
}

/// What to do where a right is missing.
pub(super) fn ungranted(lacks: &str) -> String {
    format!(
        "as the system says above, a right is missing: on the object itself it would be `GRANT {lacks} TO …`, with USAGE of its schema"
    )
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
