//! What must hold of every decision.

use engine::compile::{BaseKind, DeletePolicy, Drift, Policy, Program};
use engine::connector::Action;
use engine::plan::{
    Bases, ConflictOutcome, ConflictStep, Decision, FieldWrite, LinkStatus, OpenConflict, Resolution, Seen, Verdict,
};
use engine::record::{Both, Side, Value, same};

use super::model::{Model, is_quiet};
use crate::programs::{ProgramSpec, mirrored};

/// After so many decisions everything has come to rest: a merge takes two
/// writes, one more settles what the other directions ask for.
const ROUNDS: usize = 3;

/// Checks every law that a single case can tell.
///
/// # Panics
/// With the law that is broken.
pub(crate) fn hold(program: &Program, model: &Model) {
    let decision = model.decide(program);
    match (&model.seen.source, &model.seen.target) {
        (Seen::Live(_), Seen::Live(_)) => both_live(program, model, &decision),
        _ => one_side(program, model, &decision),
    }
    at_rest(program, &go_to_rest(program, model.clone(), decision));
}

fn flows(program: &Program, field: usize) -> Both<bool> {
    let one = &program.fields[field];
    Both::from_fn(|side| one.writes(side) && !one.create_only && program.sides[side].may_update)
}

fn writes_of(decision: &Decision, field: usize) -> Vec<(Side, &FieldWrite)> {
    let of = |side: Side| {
        let fields = decision.writes[side].iter().flat_map(|write| &write.fields);
        fields.filter(move |write| write.field == field).map(move |write| (side, write))
    };
    Side::BOTH.into_iter().flat_map(of).collect()
}

fn steps_of(decision: &Decision, field: Option<usize>) -> Vec<&ConflictStep> {
    decision.conflicts.iter().filter(|step| step.field == field).collect()
}

fn holds_still(outcome: ConflictOutcome) -> bool {
    matches!(outcome, ConflictOutcome::Opened | ConflictOutcome::Moved | ConflictOutcome::Waiting)
}

fn stands_as(open: &OpenConflict, now: Both<&Value>) -> bool {
    Side::BOTH.into_iter().all(|side| same(&open.values[side], now[side]))
}

/// Either value maps to the other.
fn agree(program: &Program, field: usize, now: Both<&Value>) -> bool {
    let field = &program.fields[field];
    Side::BOTH
        .into_iter()
        .filter(|to| field.writes(*to))
        .any(|to| field.convert(to, now[to.other()]).is_ok_and(|mapped| field.same(to, &mapped, now[to])))
}

fn both_live(program: &Program, model: &Model, decision: &Decision) {
    if let Verdict::Reject { .. } = decision.verdict {
        assert_eq!(decision.writes, Both::default(), "a record that is rejected is not written");
        assert!(decision.settled.is_empty() && decision.conflicts.is_empty(), "nor is anything else decided of it");
        return;
    }
    for write in Side::BOTH.into_iter().filter_map(|side| decision.writes[side].as_ref()) {
        assert_eq!(write.action, Action::Update, "records that stand are only updated");
        assert!(!write.fields.is_empty(), "a write has something to write");
    }
    for field in 0..program.fields.len() {
        one_field(program, model, decision, field);
    }
}

fn one_field(program: &Program, model: &Model, decision: &Decision, index: usize) {
    let field = &program.fields[index];
    let flows = flows(program, index);
    let now = Both::from_fn(|side| model.value(side, index).unwrap());
    let base = model.base(index);
    let stale = model.stale.get(index).copied().unwrap_or(false);
    let writes = writes_of(decision, index);
    let steps = steps_of(decision, Some(index));
    let settled: Vec<_> = decision.settled.iter().filter(|(of, _)| *of == index).collect();
    let open = model.open_of(index);

    assert!(writes.len() <= 1, "a field is written on one side at a time");
    assert!(steps.len() <= 1, "a field has one conflict");
    assert!(settled.len() + writes.len() <= 1, "a base moves by agreement or by a write");
    for (side, write) in &writes {
        assert!(flows[*side], "nothing flows where the field does not");
        let against = write.against.as_ref().expect("a write to what stands says what it goes against");
        assert_eq!(&against.expect, now[*side], "a write says what must still stand");
        assert!(!same(&write.value, now[*side]), "what stands there already is not written");
        if !decision.again {
            assert_eq!(against.bases[*side], write.value, "the base becomes what is written");
            assert_eq!(&against.bases[side.other()], now[side.other()], "beside what the other side shows");
        }
        if against.policy.is_some() {
            assert!(!steps.is_empty(), "what a policy decides is told");
        }
    }
    let step = steps.first();
    if let Some(step) = step {
        assert_eq!(step.values.as_ref(), now, "a conflict tells both values");
        assert_eq!(step.bases.as_ref(), base, "and both bases");
        if holds_still(step.outcome) {
            assert!(writes.is_empty() && settled.is_empty(), "an open conflict keeps its field still");
        }
        match step.outcome {
            ConflictOutcome::Opened => assert!(open.is_none(), "what is open is not opened again"),
            ConflictOutcome::Decided => {}
            _ => assert!(open.is_some(), "only what is open goes on"),
        }
        if step.outcome == ConflictOutcome::Resolved {
            let open = open.unwrap();
            assert!(open.resolution.is_some(), "a person decided");
            assert!(stands_as(open, now), "for these values");
        }
    }
    if open.is_some() {
        assert!(step.is_some(), "an open conflict is told of");
    }
    if !(flows.source && flows.target) {
        return;
    }
    // From here on a field of two directions.
    if !settled.is_empty() {
        let blank = base.is_none() && now.source.is_blank() && now.target.is_blank();
        assert!(agree(program, index, now) || blank, "bases move without a write only where both sides agree");
    }
    let agree = agree(program, index, now);
    let policy = if base.is_none() { program.first.unwrap_or(field.policy) } else { field.policy };
    let conflicting = match base {
        Some(base) if !stale => Side::BOTH.into_iter().all(|side| !field.same(side, &base[side], now[side])),
        Some(_) => return,
        None => open.is_some() || Side::BOTH.into_iter().all(|side| !now[side].is_blank()),
    };
    if conflicting && !agree {
        let step = step.expect("a field that was changed on both sides is a conflict, always told");
        assert_eq!(step.policy, policy);
        assert_ne!(step.outcome, ConflictOutcome::Closed, "a conflict does not close by itself");
        let resolution = open.and_then(|open| open.resolution.as_ref().map(|_| stands_as(open, now)));
        let expected: &[ConflictOutcome] = match (open, resolution) {
            (_, Some(true)) => &[ConflictOutcome::Resolved],
            (None, _) => &[ConflictOutcome::Opened, ConflictOutcome::Decided],
            (Some(open), _) if stands_as(open, now) => &[ConflictOutcome::Waiting, ConflictOutcome::Decided],
            (Some(_), _) => &[ConflictOutcome::Moved, ConflictOutcome::Decided],
        };
        assert!(expected.contains(&step.outcome), "{expected:?} was expected, not {:?}", step.outcome);
        let is_stamped =
            Side::BOTH.into_iter().any(|side| model.seen[side].live().is_some_and(|record| record.stamp.is_some()));
        match policy {
            Policy::Manual => assert_ne!(step.outcome, ConflictOutcome::Decided, "a person decides"),
            Policy::Newest if !is_stamped => {
                assert_ne!(step.outcome, ConflictOutcome::Decided, "nobody knows which is newer");
            }
            Policy::Source | Policy::Target | Policy::Newest if resolution != Some(true) => {
                assert_eq!(step.outcome, ConflictOutcome::Decided, "the policy decides at once");
            }
            _ => {}
        }
        if step.outcome == ConflictOutcome::Decided
            && let Policy::Source | Policy::Target = policy
        {
            let loser = if policy == Policy::Source { Side::Target } else { Side::Source };
            assert_eq!(writes.first().map(|(side, _)| *side), Some(loser), "the winner's value is written");
        }
    } else {
        let closed = open.map(|_| ConflictOutcome::Closed);
        assert_eq!(step.map(|step| step.outcome), closed, "no conflict, and an open one closes");
        let changed = base.map(|base| Both::from_fn(|side| !field.same(side, &base[side], now[side])));
        match changed.map(|changed| (changed.source, changed.target)) {
            Some((false, false)) => assert!(writes.is_empty() && settled.is_empty(), "nothing changed, nothing done"),
            Some((true, false)) => one_edit(Side::Target, &writes, agree),
            Some((false, true)) => one_edit(Side::Source, &writes, agree),
            _ => {}
        }
    }
}

/// The other side of `to` was edited alone.
fn one_edit(to: Side, writes: &[(Side, &FieldWrite)], agree: bool) {
    if agree {
        return;
    }
    assert_eq!(writes.first().map(|(side, _)| *side), Some(to), "the edit is written to the other side");
    let against = writes[0].1.against.as_ref().expect("it goes to a record that stands");
    assert_eq!((against.policy, against.contested), (None, false), "and nobody is overruled");
}

/// At least one side has no record to look at.
fn one_side(program: &Program, model: &Model, decision: &Decision) {
    assert!(decision.settled.is_empty(), "no base moves without both records");
    assert!(!decision.again);
    let absent = |side: Side| model.seen[side].is_gone() || model.seen[side] == Seen::Nobody;
    if Side::BOTH.into_iter().any(|side| model.seen[side] == Seen::Outside) {
        assert_eq!(*decision, Decision::keep(), "what left the mapping is left alone");
        return;
    }
    let Some(link) = &model.link else {
        let Some(from) = Side::BOTH.into_iter().find(|side| model.seen[*side].live().is_some()) else {
            assert_eq!(*decision, Decision::keep());
            return;
        };
        if model.seen[from.other()] == Seen::Nobody {
            created(program, model, decision, from.other());
        }
        return;
    };
    if model.seen == Both::new(Seen::Marked, Seen::Marked) {
        let severed = Verdict::Sever { gone: Side::Source };
        let expected = if link.status == LinkStatus::Linked { severed } else { Verdict::Keep };
        assert_eq!(decision.verdict, expected, "marks may be taken off again");
        return;
    }
    if absent(Side::Source) && absent(Side::Target) {
        assert_eq!(decision.verdict, Verdict::Forget, "gone on both sides is forgotten");
        return;
    }
    let gone = if absent(Side::Source) { Side::Source } else { Side::Target };
    let on = gone.other();
    if let LinkStatus::Severed { gone: known } = link.status {
        let turned = Decision { verdict: Verdict::Sever { gone }, ..Decision::keep() };
        let expected = if known == gone { Decision::keep() } else { turned };
        assert_eq!(*decision, expected, "a severed link is left alone, and knows whom it waits for");
        return;
    }
    if let DeletePolicy::Ignore = program.sides[on].deletes {
        assert_eq!(decision.verdict, Verdict::Sever { gone });
        assert_eq!(decision.writes, Both::default());
        return;
    }
    let edited = (0..program.fields.len()).filter(|index| !program.fields[*index].create_only).any(|index| {
        let (field, now) = (&program.fields[index], model.value(on, index).unwrap());
        match model.base(index) {
            Some(base) => !field.same(on, &base[on], now),
            None => model.open_of(index).is_some() || field.writes(gone) && !now.is_blank(),
        }
    });
    let steps = steps_of(decision, None);
    let open = model.open.iter().find(|open| open.field.is_none());
    if !edited {
        assert_eq!(decision.verdict, Verdict::Delete { on }, "an unchanged counterpart is deleted");
        assert_eq!(steps.first().map(|step| step.outcome), open.map(|_| ConflictOutcome::Closed));
        return;
    }
    if let Verdict::Reject { .. } = decision.verdict {
        assert!(steps.is_empty(), "a rejected record decides no conflict");
        return;
    }
    let step = steps.first().expect("deleted here and changed there is a conflict of the record");
    let winner = match (program.record_policy, open.and_then(|open| open.resolution.as_ref())) {
        (_, Some(Resolution::Take(side))) if open.is_some_and(|open| open.values == step.values) => Some(*side),
        (Policy::Source, _) => Some(Side::Source),
        (Policy::Target, _) => Some(Side::Target),
        _ => None,
    };
    match winner {
        None => {
            assert!(holds_still(step.outcome), "it waits");
            assert_eq!((&decision.verdict, &decision.writes), (&Verdict::Keep, &Both::default()));
        }
        Some(side) if side == gone => assert_eq!(decision.verdict, Verdict::Delete { on }),
        Some(_) if program.sides[gone].may_create => created(program, model, decision, gone),
        Some(_) => assert_eq!(decision.verdict, Verdict::Sever { gone }, "what may not be made anew is severed"),
    }
}

fn created(program: &Program, model: &Model, decision: &Decision, on: Side) {
    if let Verdict::Reject { .. } = decision.verdict {
        assert_eq!(decision.writes, Both::default());
        return;
    }
    if !program.sides[on].may_create {
        assert_eq!(decision.verdict, Verdict::NotAllowed);
        assert_eq!(decision.writes, Both::default());
        return;
    }
    assert_eq!(decision.verdict, Verdict::Link);
    assert_eq!(decision.writes[on.other()], None, "a create writes one side");
    let write = decision.writes[on].as_ref().expect("it is created");
    assert_eq!(write.action, Action::Create);
    for (index, field) in program.fields.iter().enumerate() {
        let of = write.fields.iter().find(|write| write.field == index);
        assert_eq!(of.is_some(), field.writes(on), "every field that is written there");
        if let Some(of) = of {
            let value = model.value(on.other(), index).unwrap();
            assert_eq!(of.value, field.convert(on, value).unwrap());
            assert_eq!(of.against, None, "it goes against nothing");
        }
    }
}

/// Applies what is decided until nothing is left to do. On the whole way every
/// value that was changed stays where it is, or is overruled aloud.
fn go_to_rest(program: &Program, mut model: Model, mut decision: Decision) -> Model {
    for _ in 0..ROUNDS {
        if is_quiet(&decision) {
            return model;
        }
        nothing_lost(program, &model, &decision);
        model.apply(program, &decision);
        decision = model.decide(program);
    }
    assert!(is_quiet(&decision), "it comes to rest");
    model
}

fn nothing_lost(program: &Program, model: &Model, decision: &Decision) {
    for (side, write) in Side::BOTH
        .into_iter()
        .flat_map(|side| decision.writes[side].iter().flat_map(|write| &write.fields).map(move |write| (side, write)))
    {
        let index = write.field;
        let field = &program.fields[index];
        let Some(before) = model.value(side, index) else { continue };
        let edited = match model.base(index) {
            Some(base) => !field.same(side, &base[side], before),
            None => !before.is_blank(),
        };
        let told = steps_of(decision, Some(index))
            .iter()
            .any(|step| matches!(step.outcome, ConflictOutcome::Decided | ConflictOutcome::Resolved));
        let one_way = !flows(program, index)[side.other()];
        assert!(!edited || told || one_way, "an edit is overwritten in silence");
        if edited && one_way && model.base(index).is_some() {
            assert!(write.contested(), "an overwritten drift is marked as one");
        }
    }
}

/// Both sides agree, or a person is asked.
fn at_rest(program: &Program, model: &Model) {
    if let Verdict::Reject { .. } = model.decide(program).verdict {
        return;
    }
    let (Seen::Live(_), Seen::Live(_), Some(link)) = (&model.seen.source, &model.seen.target, &model.link) else {
        return;
    };
    let Bases::Values(_) = link.bases else { return };
    for index in 0..program.fields.len() {
        let flows = flows(program, index);
        if !(flows.source && flows.target) || model.open_of(index).is_some() {
            continue;
        }
        let base = model.base(index).expect("a field at rest has agreed or is in conflict");
        for side in Side::BOTH {
            let now = model.value(side, index).unwrap();
            assert!(program.fields[index].same(side, &base[side], now), "at rest a side shows its base");
        }
    }
}

/// Swapping the sides of the mapping and of what was seen swaps the outcome.
/// Where the bases of a sum never agreed, its deltas lie on the target's; where
/// both records are marked, it is the source's that is waited for.
pub(crate) fn mirror(program: &Program, mirrored: &Program, model: &Model) {
    let disagree = |index: usize| model.base(index).is_some_and(|base| !same(&base.source, &base.target));
    if (0..program.fields.len()).any(|index| program.fields[index].policy == Policy::SumDeltas && disagree(index))
        || model.seen == Both::new(Seen::Marked, Seen::Marked)
    {
        return;
    }
    let (mut here, mut there) = (model.clone(), model.mirror());
    let (one, other) = (here.decide(program), there.decide(mirrored));
    if !one.again && !other.again {
        assert_eq!(canonical(one), canonical(swap(other)), "the mirrored mapping decides the mirrored");
    }
    here.rest(program, ROUNDS);
    there.rest(mirrored, ROUNDS);
    let there = there.mirror();
    assert_eq!(here.link.is_some(), there.link.is_some());
    assert_eq!(here.open.len(), there.open.len(), "the same conflicts are left open");
    for side in Side::BOTH {
        match (&here.seen[side], &there.seen[side]) {
            (Seen::Live(a), Seen::Live(b)) => {
                assert!(a.fields.iter().zip(&b.fields).all(|(a, b)| alike(a, b)), "both rest at the same values");
            }
            (a, b) => assert_eq!(a, b),
        }
    }
}

/// The same value, or the same members in any order.
fn alike(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::List(a), Value::List(b)) => {
            a.len() == b.len() && a.iter().all(|item| b.iter().any(|other| same(item, other)))
        }
        _ => same(a, b),
    }
}

fn swap(decision: Decision) -> Decision {
    let write = |write: Option<engine::plan::RecordWrite>| {
        write.map(|mut write| {
            for against in write.fields.iter_mut().filter_map(|field| field.against.as_mut()) {
                against.bases = against.bases.clone().swap();
                against.policy = against.policy.map(mirrored);
            }
            write
        })
    };
    Decision {
        verdict: match decision.verdict {
            Verdict::Sever { gone } => Verdict::Sever { gone: gone.other() },
            Verdict::Delete { on } => Verdict::Delete { on: on.other() },
            Verdict::Reject { toward, rejection } => Verdict::Reject { toward: toward.other(), rejection },
            other => other,
        },
        writes: decision.writes.map(write).swap(),
        settled: decision.settled.into_iter().map(|(field, values)| (field, values.swap())).collect(),
        conflicts: decision
            .conflicts
            .into_iter()
            .map(|step| ConflictStep {
                bases: step.bases.map(Both::swap),
                values: step.values.swap(),
                policy: mirrored(step.policy),
                ..step
            })
            .collect(),
        again: decision.again,
    }
}

/// A rejection is found on the way to either side, whichever was tried first.
fn canonical(decision: Decision) -> Decision {
    match decision.verdict {
        Verdict::Reject { .. } => Decision { verdict: Verdict::NotAllowed, ..decision },
        _ => decision,
    }
}

/// What is decided for one field does not depend on what another shows.
pub(crate) fn locality(program: &Program, model: &Model, field: usize, elsewhere: &Model) {
    let (one, other) = (model.decide(program), elsewhere.decide(program));
    let rejected = |decision: &Decision| matches!(decision.verdict, Verdict::Reject { .. });
    if rejected(&one) || rejected(&other) {
        return;
    }
    assert_eq!(writes_of(&one, field), writes_of(&other, field));
    assert_eq!(steps_of(&one, Some(field)), steps_of(&other, Some(field)));
    let settled = |decision: &Decision| decision.settled.iter().find(|(of, _)| *of == field).cloned();
    assert_eq!(settled(&one), settled(&other));
}

/// What the target gets and what it shows do not depend on whether links keep
/// values or digests. Both models have gone the same way so far; this goes it
/// on to rest.
pub(crate) fn digests(spec: &ProgramSpec, written: Side, values: &mut Model, digests: &mut Model) {
    let with = |bases| ProgramSpec { bases, ..spec.clone() }.build();
    let (by_values, by_digests) = (with(BaseKind::Values), with(BaseKind::Digests { written }));
    for _ in 0..ROUNDS {
        let (one, other) = (values.decide(&by_values), digests.decide(&by_digests));
        let told = |decision: &Decision| {
            let mut decision = decision.clone();
            for write in [&mut decision.writes.source, &mut decision.writes.target].into_iter().flatten() {
                let against = write.fields.iter_mut().filter_map(|field| field.against.as_mut());
                against.for_each(|against| against.bases = Both::default());
            }
            decision.conflicts.iter_mut().for_each(|step| step.bases = None);
            (decision.verdict, decision.writes, decision.conflicts)
        };
        assert_eq!(told(&one), told(&other), "values and digests decide alike");
        values.apply(&by_values, &one);
        digests.apply(&by_digests, &other);
    }
    assert!(is_quiet(&values.decide(&by_values)) && is_quiet(&digests.decide(&by_digests)), "both come to rest");
}

/// Which drifts digests can tell: a conflict needs the values.
pub(crate) const DIGEST_DRIFTS: [Drift; 2] = [Drift::Keep, Drift::Restore];
