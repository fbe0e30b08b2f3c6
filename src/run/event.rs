//! What is worth telling, one variant for each fact.

use chrono::{DateTime, Utc};
use serde_json::json;

use crate::connector::Action;
use crate::plan::{ConflictOutcome, Resolution};
use crate::record::{Both, Key, Side, Value};
use crate::state::{EventRecord, Parked, RunCounts};

/// Listens to a run while it lasts. Called often and from the run's own task:
/// it has to be quick.
pub trait Observer: Send + Sync {
    /// The run has read and dealt with more records.
    fn progress(&self, mapping: &str, counts: &RunCounts);

    /// Something was decided about a record.
    fn event(&self, mapping: &str, run: &str, event: &Event);
}

/// Tells nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Observer for Silent {
    fn progress(&self, _: &str, _: &RunCounts) {}
    fn event(&self, _: &str, _: &str, _: &Event) {}
}

/// One fact about one record.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    pub keys: Both<Option<Key>>,
    pub fact: Fact,
}

/// A field's value before and after, in the representation of the side
/// written to.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldChange {
    pub field: String,
    pub before: Option<Value>,
    pub after: Value,
    pub policy: Option<&'static str>,
    /// It goes over what people had changed there.
    pub over: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Fact {
    /// Two records that were there already are one from now on.
    Adopted,
    /// A record was written.
    Written {
        side: Side,
        action: Action,
        fields: Vec<FieldChange>,
    },
    /// A field (or the record, `*`) is in conflict, or is no more.
    Conflict {
        field: String,
        outcome: ConflictOutcome,
        bases: Option<Both<Value>>,
        values: Both<Value>,
        policy: &'static str,
        /// What a person decided, where that was applied, or came too late.
        taken: Option<Resolution>,
        /// The side that is written to for it, and what it gets.
        written: Option<Box<(Side, Value)>>,
    },
    Parked(Box<Parked>),
    /// One side's record is gone and the other stays.
    Severed {
        gone: Side,
    },
    /// The record that was gone is back under its key: its link is taken up
    /// again.
    Resumed,
    /// A link goes on with another record of a side, for the one it had is gone.
    Rekeyed {
        side: Side,
        before: Key,
        after: Key,
    },
    /// Both records are gone.
    Forgotten,
    /// A delete waits for the end of the run.
    Spooled {
        on: Side,
    },
    /// A spooled delete was not carried out, for there would be too many.
    Held {
        on: Side,
        would: u64,
        limit: u64,
    },
    /// A side shows no record at all, though there are links: nothing is
    /// deleted for that. Told, and not kept.
    Emptied {
        side: Side,
        links: u64,
    },
    /// A write without an answer turned out to be in effect, or not.
    Recovered {
        side: Side,
        applied: bool,
    },
}

impl Fact {
    /// The stable word of the log and of `engine trace`.
    pub fn kind(&self) -> &'static str {
        match self {
            Fact::Adopted => "adopted",
            Fact::Written { action: Action::Create, .. } => "created",
            Fact::Written { action: Action::Update, .. } => "updated",
            Fact::Written { action: Action::Delete, .. } => "deleted",
            Fact::Conflict { outcome, .. } => match outcome {
                ConflictOutcome::Opened => "conflict_opened",
                ConflictOutcome::Moved => "conflict_moved",
                ConflictOutcome::Waiting => "conflict_waiting",
                ConflictOutcome::Decided => "conflict_decided",
                ConflictOutcome::Resolved => "conflict_resolved",
                ConflictOutcome::Closed => "conflict_closed",
            },
            Fact::Parked(_) => "parked",
            Fact::Severed { .. } => "severed",
            Fact::Resumed => "resumed",
            Fact::Rekeyed { .. } => "rekeyed",
            Fact::Forgotten => "forgotten",
            Fact::Spooled { .. } => "delete_spooled",
            Fact::Held { .. } => "delete_held",
            Fact::Emptied { .. } => "side_emptied",
            Fact::Recovered { .. } => "recovered",
        }
    }

    /// What the word needs, as a JSON object.
    pub fn detail(&self) -> serde_json::Value {
        match self {
            Fact::Adopted | Fact::Resumed | Fact::Forgotten => json!({}),
            Fact::Written { side, fields, .. } => {
                let fields: Vec<_> = fields
                    .iter()
                    .map(|change| {
                        let mut entry = json!({
                            "field": change.field,
                            "before": change.before.as_ref().map(Value::to_json),
                            "after": change.after.to_json(),
                        });
                        if let Some(policy) = change.policy {
                            entry["policy"] = policy.into();
                        }
                        if change.over {
                            entry["over_edit"] = true.into();
                        }
                        entry
                    })
                    .collect();
                json!({ "side": side, "fields": fields })
            }
            Fact::Conflict { field, outcome, bases, values, policy, taken, written } => {
                let mut detail = json!({
                    "field": field,
                    "source_base": bases.as_ref().map(|bases| bases.source.to_json()),
                    "target_base": bases.as_ref().map(|bases| bases.target.to_json()),
                    "source": values.source.to_json(),
                    "target": values.target.to_json(),
                    "policy": policy,
                    "outcome": outcome_word(*outcome),
                });
                if *outcome == ConflictOutcome::Decided {
                    let winner = match (*policy, written.as_deref()) {
                        ("source" | "target", _) => Some(*policy),
                        ("sum_deltas" | "union", Some(_)) => Some("both"),
                        (_, Some((side, _))) => Some(side.other().name()),
                        _ => None,
                    };
                    detail["winner"] = winner.into();
                }
                if let Some((side, value)) = written.as_deref() {
                    detail["written"] = json!({ "side": side, "value": value.to_json() });
                }
                // One that ended otherwise leaves nothing to a decision.
                let decision = if *outcome == ConflictOutcome::Closed { "dropped" } else { "taken" };
                match taken {
                    None => {}
                    Some(Resolution::Take(side)) => detail[decision] = side.name().into(),
                    Some(Resolution::Value(value)) => detail[decision] = json!({ "value": value.to_json() }),
                }
                detail
            }
            Fact::Parked(parked) => json!({
                "side": parked.side,
                "reason": parked.reason,
                "field": parked.field,
                "value": parked.value,
                "code": parked.code,
                "message": parked.message,
            }),
            Fact::Severed { gone } => json!({ "gone": gone }),
            Fact::Rekeyed { side, before, after } => {
                json!({ "side": side, "before": before.plain(), "after": after.plain() })
            }
            Fact::Spooled { on } => json!({ "side": on }),
            Fact::Held { on, would, limit } => json!({ "side": on, "would_delete": would, "limit": limit }),
            Fact::Emptied { side, links } => json!({ "side": side, "links": links }),
            Fact::Recovered { side, applied } => json!({ "side": side, "applied": applied }),
        }
    }
}

fn outcome_word(outcome: ConflictOutcome) -> &'static str {
    match outcome {
        ConflictOutcome::Opened => "opened",
        ConflictOutcome::Moved => "moved",
        ConflictOutcome::Waiting => "waiting",
        ConflictOutcome::Decided => "decided",
        ConflictOutcome::Resolved => "resolved",
        ConflictOutcome::Closed => "closed",
    }
}

impl Event {
    pub fn record(&self, run: &str, at: DateTime<Utc>) -> EventRecord {
        EventRecord {
            at,
            run: run.to_owned(),
            keys: self.keys.clone(),
            kind: self.fact.kind().to_owned(),
            detail: self.fact.detail(),
        }
    }
}
