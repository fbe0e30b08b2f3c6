//! Reports for machines: the entries of `runs`, and those of their `errors`.

use serde_json::{Value as Json, json};

use super::{Told, emptied_message, held_message, trouble_code};
use crate::cli::keys::KeyNames;
use crate::cli::status::without_end;
use crate::diagnostic::{Code, Place};
use crate::record::Side;
use crate::run::Trouble;
use crate::state::{Parked, SideCounts};

impl Told {
    /// The entry of `runs`.
    pub(in crate::cli) fn json(&self) -> Json {
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
        let unfinished =
            self.unfinished.map(|number| json!({ "side": null, "message": without_end(&self.report.mapping, number) }));
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
            let code = Some(Code::NOT_APPLIED.as_str());
            let mut error =
                Error { reason: Some("conflict"), code, message: &undecided.to_string(), at, ..known }.json();
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
pub(in crate::cli) fn parked_json(parked: &Parked, names: &KeyNames) -> Json {
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
