//! The rows of the contract's table, one by one.

use engine::compile::{DeletePolicy, Drift, Policy};
use engine::plan::{Bases, ConflictOutcome, OpenConflict, Resolution, Seen, Verdict};
use engine::record::{Both, Side, Value};

use super::model::{Model, live};
use crate::programs::{FieldSpec, ProgramSpec};

fn text(text: &str) -> Value {
    Value::text(text)
}

fn values(texts: &[&str]) -> Vec<Value> {
    texts.iter().map(|one| text(one)).collect()
}

/// What is decided for one field that flows both ways: what is written where,
/// whether bases settle, and what becomes of the conflict.
fn decide(
    policy: Policy,
    base: Option<(&str, &str)>,
    source: &str,
    target: &str,
) -> (Option<(Side, String)>, bool, Option<ConflictOutcome>) {
    let program = ProgramSpec::new(vec![FieldSpec { policy, ..FieldSpec::copy(1) }]).build();
    let bases = vec![base.map(|(source, target)| Both::new(text(source), text(target)))];
    let decision = Model::linked(bases, values(&[source]), values(&[target])).decide(&program);
    let write = Side::BOTH
        .into_iter()
        .find_map(|side| decision.writes[side].as_ref().map(|write| (side, write.fields[0].value.to_string())));
    (write, !decision.settled.is_empty(), decision.conflicts.first().map(|step| step.outcome))
}

#[test]
fn one_field_follows_the_table() {
    use ConflictOutcome::{Decided, Opened};
    use Policy::{Manual, Max, Min, Source, Target, Union};
    let to = |side: Side, value: &str| Some((side, value.to_owned()));
    let base = Some(("a", "a"));
    for (policy, base, source, target, expected) in [
        (Manual, base, "a", "a", (None, false, None)),
        (Manual, base, "b", "a", (to(Side::Target, "b"), false, None)),
        (Manual, base, "a", "b", (to(Side::Source, "b"), false, None)),
        (Manual, base, "b", "b", (None, true, None)),
        (Manual, base, "b", "c", (None, false, Some(Opened))),
        (Source, base, "b", "c", (to(Side::Target, "b"), false, Some(Decided))),
        (Target, base, "b", "c", (to(Side::Source, "c"), false, Some(Decided))),
        (Max, base, "b", "c", (to(Side::Source, "c"), false, Some(Decided))),
        (Min, base, "b", "c", (to(Side::Target, "b"), false, Some(Decided))),
        (Union, base, "b", "c", (None, false, Some(Opened))),
        // Already there: bases move, nothing is written.
        (Manual, Some(("a", "b")), "b", "b", (None, true, None)),
        // On adoption a blank is filled, and what differs is decided.
        (Manual, None, "a", "", (to(Side::Target, "a"), false, None)),
        (Manual, None, " ", "b", (to(Side::Source, "b"), false, None)),
        (Manual, None, "a", "b", (None, false, Some(Opened))),
        (Target, None, "a", "b", (to(Side::Source, "b"), false, Some(Decided))),
    ] {
        assert_eq!(
            decide(policy, base, source, target),
            expected,
            "{policy:?}: base {base:?}, source `{source}`, target `{target}`"
        );
    }
}

#[test]
fn first_outranks_the_policy_of_a_field_on_adoption() {
    let mut spec = ProgramSpec::new(vec![FieldSpec { policy: Policy::Target, ..FieldSpec::copy(1) }]);
    spec.first = Some(Policy::Source);
    let model = Model { link: None, ..Model::linked(vec![None], values(&["a"]), values(&["b"])) };
    let decision = model.decide(&spec.build());
    assert_eq!(decision.verdict, Verdict::Link);
    assert_eq!(decision.writes.target.unwrap().fields[0].value, text("a"));
    assert_eq!(decision.conflicts[0].policy, Policy::Source);
}

#[test]
fn sums_add_what_both_sides_added() {
    let program = ProgramSpec::new(vec![FieldSpec { policy: Policy::SumDeltas, ..FieldSpec::copy(1) }]).build();
    let number = |number: i64| vec![Value::Integer(number)];
    let base = vec![Some(Both::new(Value::Integer(10), Value::Integer(10)))];
    let mut model = Model::linked(base, number(13), number(5));
    assert!(model.rest(&program, 2));
    for side in Side::BOTH {
        assert!(engine::record::same(model.value(side, 0).unwrap(), &Value::Integer(8)), "{model:?}");
    }
}

#[test]
fn a_one_way_field_keeps_restores_or_disputes_a_drift() {
    let case = |drift, source: &str, target: &str| {
        let writes = Both::new(false, true);
        let program = ProgramSpec::new(vec![FieldSpec { writes, drift, ..FieldSpec::copy(1) }]).build();
        let base = vec![Some(Both::new(text("a"), text("a")))];
        let decision = Model::linked(base, values(&[source]), values(&[target])).decide(&program);
        let write =
            decision.writes.target.map(|write| (write.fields[0].value.to_string(), write.fields[0].contested()));
        (write, decision.conflicts.first().map(|step| step.outcome))
    };
    let write = |value: &str, contested| Some((value.to_owned(), contested));
    assert_eq!(case(Drift::Keep, "a", "b"), (None, None));
    assert_eq!(case(Drift::Keep, "c", "b"), (write("c", true), None));
    assert_eq!(case(Drift::Keep, "c", "a"), (write("c", false), None));
    assert_eq!(case(Drift::Restore, "a", "b"), (write("a", true), None));
    assert_eq!(case(Drift::Conflict, "a", "b"), (None, Some(ConflictOutcome::Opened)));
    assert_eq!(case(Drift::Conflict, "c", "b"), (None, Some(ConflictOutcome::Opened)));
    assert_eq!(case(Drift::Conflict, "c", "a"), (write("c", false), None));
}

#[test]
fn a_field_written_on_creation_is_left_alone_afterwards() {
    let program = ProgramSpec::new(vec![FieldSpec { create_only: true, ..FieldSpec::copy(1) }]).build();
    let base = vec![Some(Both::new(text("a"), text("a")))];
    let decision = Model::linked(base, values(&["b"]), values(&["c"])).decide(&program);
    assert!(super::model::is_quiet(&decision), "{decision:?}");
    let mut new = Model { link: None, ..Model::linked(vec![None], values(&["b"]), values(&[])) };
    new.seen.target = Seen::Nobody;
    assert_eq!(new.decide(&program).writes.target.unwrap().fields.len(), 1);
}

/// What is decided where one side is gone.
fn deleted(policy: DeletePolicy, record_policy: Policy, left: &str) -> (Verdict, Option<ConflictOutcome>) {
    let mut spec = ProgramSpec::new(vec![FieldSpec::copy(1)]);
    spec.deletes.target = policy;
    spec.record_policy = record_policy;
    let mut model = Model::linked(vec![Some(Both::new(text("a"), text("a")))], values(&["a"]), values(&[left]));
    model.seen.source = Seen::Gone;
    let decision = model.decide(&spec.build());
    (decision.verdict, decision.conflicts.first().map(|step| step.outcome))
}

#[test]
fn deletes_follow_the_table() {
    use ConflictOutcome::{Decided, Opened};
    let gone = Side::Source;
    let on = Side::Target;
    let propagate = || DeletePolicy::Propagate;
    let set = || DeletePolicy::Set(vec![(1, text("off"))]);
    for (policy, record, left, expected) in [
        (DeletePolicy::Ignore, Policy::Manual, "a", (Verdict::Sever { gone }, None)),
        (DeletePolicy::Ignore, Policy::Manual, "b", (Verdict::Sever { gone }, None)),
        (propagate(), Policy::Manual, "a", (Verdict::Delete { on }, None)),
        (set(), Policy::Manual, "a", (Verdict::Delete { on }, None)),
        (propagate(), Policy::Manual, "b", (Verdict::Keep, Some(Opened))),
        (propagate(), Policy::Newest, "b", (Verdict::Keep, Some(Opened))),
        (propagate(), Policy::Source, "b", (Verdict::Delete { on }, Some(Decided))),
        (propagate(), Policy::Target, "b", (Verdict::Link, Some(Decided))),
    ] {
        assert_eq!(deleted(policy.clone(), record, left), expected, "{policy:?} {record:?} left `{left}`");
    }
}

#[test]
fn a_conflict_of_no_direction_is_closed() {
    // The mapping was edited while the conflict was open: nothing flows now.
    let program = ProgramSpec::new(vec![FieldSpec { create_only: true, ..FieldSpec::copy(1) }]).build();
    let base = vec![Some(Both::new(text("a"), text("a")))];
    let mut model = Model::linked(base, values(&["b"]), values(&["c"]));
    model.open = vec![OpenConflict { field: Some(0), values: Both::new(text("b"), text("c")), resolution: None }];
    assert_eq!(model.decide(&program).conflicts[0].outcome, ConflictOutcome::Closed);
}

#[test]
fn an_edit_back_to_the_base_closes_the_conflict_of_a_deleted_record() {
    let mut spec = ProgramSpec::new(vec![FieldSpec::copy(1)]);
    spec.deletes.target = DeletePolicy::Propagate;
    let program = spec.build();
    let mut model = Model::linked(vec![Some(Both::new(text("a"), text("a")))], values(&["a"]), values(&["b"]));
    model.seen.source = Seen::Gone;
    let opened = model.decide(&program);
    model.apply(&program, &opened);
    assert_eq!(model.open.len(), 1);
    model.seen.target = live(values(&["a"]));
    let decision = model.decide(&program);
    assert_eq!(decision.verdict, Verdict::Delete { on: Side::Target });
    assert_eq!(decision.conflicts[0].outcome, ConflictOutcome::Closed);
}

#[test]
fn a_person_takes_a_side_or_says_a_value() {
    let program = ProgramSpec::new(vec![FieldSpec::copy(1)]).build();
    for (resolution, expected) in [
        (Resolution::Take(Side::Source), "b"),
        (Resolution::Take(Side::Target), "c"),
        (Resolution::Value(text("d")), "d"),
        (Resolution::Value(text("b")), "b"),
        (Resolution::Value(text("c")), "c"),
    ] {
        let base = vec![Some(Both::new(text("a"), text("a")))];
        let mut model = Model::linked(base, values(&["b"]), values(&["c"]));
        let values = Both::new(text("b"), text("c"));
        model.open = vec![OpenConflict { field: Some(0), values, resolution: Some(resolution.clone()) }];
        assert!(model.rest(&program, 3));
        for side in Side::BOTH {
            assert_eq!(model.value(side, 0), Some(&text(expected)), "{resolution:?} on {side}");
        }
        assert!(model.open.is_empty());
    }
}

#[test]
fn new_rules_speak_through_the_source() {
    let program = ProgramSpec::new(vec![FieldSpec::copy(1)]).build();
    // The base was made by other rules: what the source shows maps to another
    // value now.
    let base = vec![Some(Both::new(text("a"), text("A")))];
    let mut model = Model::linked(base, values(&["a"]), values(&["A"]));
    assert!(super::model::is_quiet(&model.decide(&program)));
    model.stale = vec![true];
    assert_eq!(model.decide(&program).writes.target.unwrap().fields[0].value, text("a"));
}

#[test]
fn bases_of_digests_tell_a_change_of_either_side() {
    let mut spec = ProgramSpec::new(vec![FieldSpec { writes: Both::new(false, true), ..FieldSpec::copy(1) }]);
    spec.bases = engine::compile::BaseKind::Digests { written: Side::Target };
    let program = spec.build();
    let mut model = Model::linked(vec![None], values(&["a"]), values(&["a"]));
    model.link.as_mut().unwrap().bases = Bases::none(1, true);
    assert!(model.rest(&program, 1));
    model.seen.source = live(values(&["b"]));
    assert_eq!(model.decide(&program).writes.target.unwrap().fields[0].value, text("b"));
}
