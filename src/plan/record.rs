//! A pair of records as a whole.

use chrono::{DateTime, TimeDelta, Utc};

use super::conflict::{IN_DOUBT, OpenConflict, Resolution, stands};
use super::decision::{ConflictOutcome, ConflictStep, Decision, FieldWrite, RecordWrite, Verdict};
use super::field::{Case, FieldStep, Refused};
use super::link::{Bases, Link, LinkStatus};
use super::seen::{Record, Seen};
use crate::compile::{DeletePolicy, DeletedWhen, FieldProgram, Misfitting, Policy, Program, Rejection};
use crate::connector::Action;
use crate::diagnostic::Code;
use crate::record::{Both, Side, Value, same, short_digest};

/// What is known of a pair of records.
#[derive(Debug)]
pub struct Pair<'a> {
    /// `None` for a pair that is not linked yet.
    pub link: Option<&'a Link>,
    pub seen: Both<&'a Seen>,
    /// The pair's conflicts that wait for a person.
    pub open: &'a [OpenConflict],
    /// For each field whether its rules changed since the link's bases were
    /// stored; empty where none did.
    pub stale: &'a [bool],
}

/// Decides what shall be done with a pair.
pub fn decide(program: &Program, pair: &Pair) -> Decision {
    use Seen::{Gone, Live, Marked, Nobody, Outside};
    match (pair.seen.source, pair.seen.target, pair.link) {
        (Live(source), Live(target), link) => both_live(program, pair, link, Both::new(source, target)),
        (Live(record), Nobody, None) => create(program, Side::Target, record),
        (Nobody, Live(record), None) => create(program, Side::Source, record),
        // Where either mark is taken off, it is known whose counterpart the other is.
        (Marked, Marked, Some(link)) if link.status == LinkStatus::Linked => {
            Decision::only(Verdict::Sever { gone: Side::Source })
        }
        (Marked, Marked, Some(_)) => Decision::keep(),
        (Gone | Marked | Nobody, Gone | Marked | Nobody, Some(_)) => Decision::only(Verdict::Forget),
        (Gone | Marked | Nobody, Live(record), Some(link)) => one_gone(program, pair, link, Side::Source, record),
        (Live(record), Gone | Marked | Nobody, Some(link)) => one_gone(program, pair, link, Side::Target, record),
        // Left `where` or `when`: left alone, the link stays. And what never
        // had a counterpart leaves nothing behind.
        (Outside, ..) | (_, Outside, _) | (_, _, None) => Decision::keep(),
    }
}

fn both_live(program: &Program, pair: &Pair, link: Option<&Link>, records: Both<&Record>) -> Decision {
    if let Some(Link { status: LinkStatus::Severed { gone }, .. }) = link
        && is_another(program, *gone, &records)
    {
        return reject(another(program, *gone));
    }
    let unlinked;
    let bases = match link {
        Some(link) => &link.bases,
        None => {
            unlinked = Bases::none(program.fields.len(), program.keeps_digests());
            &unlinked
        }
    };
    let mut decision = Decision::only(match link {
        Some(Link { status: LinkStatus::Linked, .. }) => Verdict::Keep,
        // Newly adopted, or back from the gone.
        _ => Verdict::Link,
    });
    let stamps = tied(records.map(|record| record.stamp), program.grain_nanos);
    for (index, field) in program.fields.iter().enumerate() {
        let case = Case {
            index,
            field,
            flows: flows(program, index),
            bases,
            now: records.map(|record| &record.fields[index]),
            stamps,
            open: pair.open.iter().find(|open| open.field == Some(index)),
            stale: pair.stale.get(index).copied().unwrap_or(false),
            first: program.first,
            default: program.default,
        };
        match case.decide() {
            Ok(step) => add(&mut decision, index, step),
            Err(refused) => return reject(refused),
        }
    }
    // The record as a whole is in no conflict while both records stand.
    decision.conflicts.extend(pair.open.iter().filter(|open| open.field.is_none()).map(|open| ConflictStep {
        field: None,
        bases: None,
        values: open.values.clone(),
        policy: program.record_policy,
        outcome: ConflictOutcome::Closed,
    }));
    if decision.verdict == Verdict::Keep && (decision.writes.source.is_some() || decision.writes.target.is_some()) {
        decision.verdict = Verdict::Link;
    }
    decision
}

/// Under a key that its system gives stands a record again, which was gone, and
/// by nothing in `match` is it the one that was there: some systems give a key
/// again. One that was only marked is known by its row.
fn is_another(program: &Program, gone: Side, records: &Both<&Record>) -> bool {
    let side = &program.sides[gone];
    let agrees = |index: &usize| {
        let field = &program.fields[*index];
        Side::BOTH.into_iter().filter(|to| field.writes(*to)).any(|to| {
            let shown = &records[to].fields[*index];
            field
                .convert(to, &records[to.other()].fields[*index])
                .is_ok_and(|mapped| field.same(to, &mapped, shown) || field.equal_by_rules(&mapped, shown))
        })
    };
    !program.matching.is_empty()
        && !side.key_is_mapped()
        && matches!(side.deleted, DeletedWhen::Unknown | DeletedWhen::Sweep(_))
        && !program.matching.iter().any(|fields| fields.iter().all(agrees))
}

fn another(program: &Program, gone: Side) -> Refused {
    let rejection = Rejection::from(Misfitting {
        code: Code::AMBIGUOUS,
        field: "*".to_owned(),
        value: None,
        rule: None,
        message: format!(
            "the {gone} record was gone, and the one that has its key now is another by `match`: the {gone} gave the key \
             again"
        ),
        place: program.place.clone(),
    });
    Refused { toward: gone.other(), rejection }
}

/// Stamps closer together than the clocks tell apart are one.
fn tied(stamps: Both<Option<DateTime<Utc>>>, grain_nanos: u64) -> Both<Option<DateTime<Utc>>> {
    match (stamps.source, stamps.target) {
        (Some(source), Some(target))
            if (source - target).abs() < TimeDelta::nanoseconds(i64::try_from(grain_nanos).unwrap_or(i64::MAX)) =>
        {
            Both::new(Some(source), Some(source))
        }
        _ => stamps,
    }
}

fn add(decision: &mut Decision, index: usize, step: FieldStep) {
    if let Some((side, write)) = step.write {
        decision.writes[side]
            .get_or_insert_with(|| RecordWrite { action: Action::Update, fields: Vec::new() })
            .fields
            .push(write);
    }
    decision.settled.extend(step.settled.map(|values| (index, values)));
    decision.conflicts.extend(step.conflict);
    decision.again |= step.again;
}

fn reject(refused: Refused) -> Decision {
    Decision::only(Verdict::Reject { toward: refused.toward, rejection: Box::new(refused.rejection) })
}

/// To which sides a field may flow once both records stand.
fn flows(program: &Program, index: usize) -> Both<bool> {
    let field = &program.fields[index];
    Both::from_fn(|side| !field.create_only && field.writes(side) && program.sides[side].may_update)
}

/// A record without a counterpart is created on `to`.
fn create(program: &Program, to: Side, record: &Record) -> Decision {
    if !program.sides[to].may_create {
        return Decision::only(Verdict::NotAllowed);
    }
    let mut fields = Vec::with_capacity(program.fields.len());
    for (index, field) in program.fields.iter().enumerate() {
        if !field.writes(to) {
            continue;
        }
        let value = match field.convert(to, &record.fields[index]) {
            Ok(value) => value,
            Err(rejection) => return reject(Refused { toward: to, rejection }),
        };
        if value.is_null() && program.sides[to].key_fields.contains(&Some(index)) {
            let rejection = Rejection::from(Misfitting {
                code: Code::KEY_BLANK,
                field: field.name.clone(),
                value: None,
                rule: None,
                message: format!("`{}` fills the key of the {to}, and has no value", field.name),
                place: field.place.clone(),
            });
            return reject(Refused { toward: to, rejection });
        }
        fields.push(FieldWrite { field: index, value, against: None });
    }
    let mut decision = Decision::only(Verdict::Link);
    decision.writes[to] = Some(RecordWrite { action: Action::Create, fields });
    decision
}

/// `gone` has no record any more, the other side still has.
fn one_gone(program: &Program, pair: &Pair, link: &Link, gone: Side, left: &Record) -> Decision {
    let on = gone.other();
    if let LinkStatus::Severed { gone: known } = link.status {
        let was_deleted = matches!(program.sides[known].deleted, DeletedWhen::Unknown | DeletedWhen::Sweep(_))
            && matches!(program.sides[gone].deletes, DeletePolicy::Set(_));
        return match known == gone {
            true => Decision::keep(),
            // Entered anew after its deletion had gone over.
            false if was_deleted => bring_back(program, gone, left),
            // Whoever is gone by now is waited for.
            false => Decision::only(Verdict::Sever { gone }),
        };
    }
    let side = &program.sides[on];
    let policy = match &side.deletes {
        DeletePolicy::Ignore => return Decision::only(Verdict::Sever { gone }),
        policy => policy,
    };
    // Deleted here, changed there?
    let open = pair.open.iter().find(|open| open.field.is_none());
    let values = Both::from_fn(|side| if side == gone { Value::Null } else { summary(program, left) });
    let step = |outcome| ConflictStep {
        field: None,
        bases: base_summary(program, link),
        values: values.clone(),
        policy: program.record_policy,
        outcome,
    };
    if !was_edited(program, pair, link, on, left) {
        let decision = carry_out(policy, gone);
        return if open.is_some() { with_conflict(decision, step(ConflictOutcome::Closed)) } else { decision };
    }
    let stands = |open: &OpenConflict| Side::BOTH.into_iter().all(|side| same(&open.values[side], &values[side]));
    let (winner, outcome) = match (program.record_policy, open) {
        (_, Some(open @ OpenConflict { resolution: Some(Resolution::Take(side)), .. })) if stands(open) => {
            (*side, ConflictOutcome::Resolved)
        }
        (Policy::Source, _) => (Side::Source, ConflictOutcome::Decided),
        (Policy::Target, _) => (Side::Target, ConflictOutcome::Decided),
        (_, None) => return with_conflict(Decision::keep(), step(ConflictOutcome::Opened)),
        (_, Some(open)) if stands(open) => return with_conflict(Decision::keep(), step(ConflictOutcome::Waiting)),
        (_, Some(_)) => return with_conflict(Decision::keep(), step(ConflictOutcome::Moved)),
    };
    let decision = if winner == gone { carry_out(policy, gone) } else { bring_back(program, gone, left) };
    match decision.verdict {
        // Nothing came of it, so the conflict stands.
        Verdict::Reject { .. } => decision,
        _ => with_conflict(decision, step(outcome)),
    }
}

fn with_conflict(mut decision: Decision, step: ConflictStep) -> Decision {
    decision.conflicts.push(step);
    decision
}

fn carry_out(policy: &DeletePolicy, gone: Side) -> Decision {
    match policy {
        DeletePolicy::Ignore => Decision::only(Verdict::Sever { gone }),
        DeletePolicy::Propagate | DeletePolicy::Set(_) => Decision::only(Verdict::Delete { on: gone.other() }),
    }
}

/// The changed record wins over the deletion: its counterpart is made anew
/// where that is allowed, else the link is severed.
fn bring_back(program: &Program, gone: Side, left: &Record) -> Decision {
    let decision = create(program, gone, left);
    if decision.verdict == Verdict::NotAllowed { Decision::only(Verdict::Sever { gone }) } else { decision }
}

/// The record that is left holds something that the deleted one did not have:
/// a mapped field differs from its base, or holds a value and never agreed with
/// the other side, where it would have gone.
fn was_edited(program: &Program, pair: &Pair, link: &Link, side: Side, record: &Record) -> bool {
    program.fields.iter().enumerate().filter(|(_, field)| !field.create_only).any(|(index, field)| {
        let now = &record.fields[index];
        let holds = match &link.bases {
            Bases::Values(values) => values[index].as_ref().map(|base| stands(field, base, side, now)),
            Bases::Digests(digests) => digests[index].map(|base| stands_as(field, side, now, base)),
        };
        let disputed = || pair.open.iter().any(|open| open.field == Some(index));
        let unseen = || field.writes(side.other()) && !now.is_blank();
        holds.map_or_else(|| disputed() || unseen(), |holds| !holds)
    })
}

/// A value of `side` has this digest in the representation of the side the
/// field is written to.
fn stands_as(field: &FieldProgram, side: Side, value: &Value, base: u64) -> bool {
    if field.writes(side) {
        short_digest(value) == base
    } else {
        field.convert(side.other(), value).is_ok_and(|value| short_digest(&value) == base)
    }
}

/// The record's fields by name, for people who decide about it as a whole.
fn summary(program: &Program, record: &Record) -> Value {
    let map =
        program.fields.iter().zip(&record.fields).map(|(field, value)| (field.name.as_str().into(), value.clone()));
    Value::Map(Box::new(map.collect()))
}

/// What both sides' fields were when they last agreed, by name.
fn base_summary(program: &Program, link: &Link) -> Option<Both<Value>> {
    let Bases::Values(bases) = &link.bases else { return None };
    let named = |side: Side| {
        let known = program.fields.iter().zip(bases).filter_map(|(field, base)| Some((field, base.as_ref()?)));
        let known = known.filter(|(_, base)| **base != IN_DOUBT);
        known.map(move |(field, base)| (field.name.as_str().into(), base[side].clone())).collect()
    };
    Some(Both::from_fn(|side| Value::Map(Box::new(named(side)))))
}
