//! All of a small domain, and many of a large one.

use engine::compile::{BaseKind, DeletePolicy, Drift, Policy, Program};
use engine::plan::{Bases, LinkStatus, OpenConflict, Record, Resolution, Seen};
use engine::record::{Both, Kind, Side, Value};

use super::laws;
use super::model::{Model, link, live};
use crate::programs::{FieldSpec, ProgramSpec};
use crate::seed::Seed;

const DRIFTS: [Drift; 3] = [Drift::Keep, Drift::Restore, Drift::Conflict];

/// What the cases of one kind of field are made of.
fn small_domains() -> [Vec<Value>; 3] {
    let list = |items: &[&str]| Value::List(Box::new(items.iter().map(Value::text_of).collect()));
    [
        vec![Value::Null, Value::text("a"), Value::text("b")],
        vec![Value::Integer(1), Value::Integer(2), Value::Decimal("4.0".parse().unwrap())],
        vec![list(&[]), list(&["a"]), list(&["b"])],
    ]
}

trait TextOf {
    fn text_of(text: &&str) -> Value;
}

impl TextOf for Value {
    fn text_of(text: &&str) -> Value {
        Value::text(*text)
    }
}

/// Runs one case, and says which it was where a law is broken.
fn check(spec: &ProgramSpec, model: &Model, laws: impl FnOnce()) {
    if let Err(panic) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(laws)) {
        let program = spec.build();
        let decide = std::panic::AssertUnwindSafe(|| format!("{:#?}", model.decide(&program)));
        let decision = std::panic::catch_unwind(decide);
        #[expect(clippy::print_stderr, reason = "a broken law names its case")]
        {
            eprintln!("mapping: {spec:#?}\ncase: {model:#?}\ndecision: {}", decision.unwrap_or_default());
        }
        std::panic::resume_unwind(panic);
    }
}

/// Every open conflict, and every decision of a person, that a case can have.
fn opens(values: &Both<Value>, domain: &[Value]) -> Vec<Option<OpenConflict>> {
    let mut all = vec![None];
    let elsewhere = Both::new(domain[0].clone(), domain[0].clone());
    for values in [values, &elsewhere] {
        let resolutions = [None, Some(Resolution::Take(Side::Source)), Some(Resolution::Take(Side::Target))];
        let said = domain.iter().map(|value| Some(Resolution::Value(value.clone())));
        for resolution in resolutions.into_iter().chain(said) {
            all.push(Some(OpenConflict { field: Some(0), values: values.clone(), resolution }));
        }
    }
    all
}

fn each_small_case(policy: Policy, mut visit: impl FnMut(&ProgramSpec, &Program, &Program, &Model)) {
    for domain in small_domains() {
        for writes in [Both::new(true, true), Both::new(false, true), Both::new(true, false)] {
            for drift in DRIFTS {
                if writes.source && writes.target && drift != Drift::Keep {
                    continue;
                }
                let mut spec = ProgramSpec::new(vec![FieldSpec { writes, policy, drift, ..FieldSpec::copy(1) }]);
                for first in [None, Some(Policy::Manual), Some(Policy::Source), Some(Policy::Target)] {
                    spec.first = first;
                    let (program, mirrored) = (spec.build(), spec.mirror().build());
                    let mut bases = vec![None];
                    if first.is_none() {
                        bases.extend(pairs(&domain).map(Some));
                    }
                    for base in &bases {
                        for now in pairs(&domain) {
                            for open in opens(&now, &domain) {
                                let mut model = Model::linked(
                                    vec![base.clone()],
                                    vec![now.source.clone()],
                                    vec![now.target.clone()],
                                );
                                model.open = open.into_iter().collect();
                                visit(&spec, &program, &mirrored, &model);
                            }
                        }
                    }
                }
            }
        }
    }
}

fn pairs(domain: &[Value]) -> impl Iterator<Item = Both<Value>> {
    domain.iter().flat_map(move |source| domain.iter().map(move |target| Both::new(source.clone(), target.clone())))
}

#[test]
fn every_small_case_keeps_the_laws() {
    let mut cases = 0;
    for policy in Policy::ALL {
        each_small_case(policy, |spec, program, _, model| {
            cases += 1;
            check(spec, model, || laws::hold(program, model));
        });
    }
    assert!(cases > 100_000, "{cases}");
}

#[test]
fn every_small_case_has_its_mirror() {
    for policy in Policy::ALL {
        each_small_case(policy, |spec, program, mirrored, model| {
            check(spec, model, || laws::mirror(program, mirrored, model));
        });
    }
}

/// What a large case draws its values from.
struct Domain {
    kinds: Both<Kind>,
    values: Both<Vec<Value>>,
}

fn large_domains() -> Vec<Domain> {
    let texts: Vec<Value> =
        ["", " ", "a", "b", "c", "d"].into_iter().map(Value::text).chain([Value::Null, Value::Missing]).collect();
    let numbers: Vec<Value> =
        (0..6).map(Value::Integer).chain([Value::Decimal("2.0".parse().unwrap()), Value::Null]).collect();
    let codes: Vec<Value> = ["1", "2", "3", "4", "x", ""].into_iter().map(Value::text).collect();
    let items = |items: &str| Value::List(Box::new(items.chars().map(|c| Value::text(c.to_string())).collect()));
    let lists: Vec<Value> = ["", "a", "b", "ab", "bc", "c"].into_iter().map(items).collect();
    let any = || Both::new(Kind::Any, Kind::Any);
    let both = |values: &Vec<Value>| Both::new(values.clone(), values.clone());
    vec![
        Domain { kinds: any(), values: both(&texts) },
        Domain { kinds: any(), values: both(&numbers) },
        Domain { kinds: any(), values: both(&lists) },
        // Each side has a representation of its own, and not every value of
        // one fits the other.
        Domain {
            kinds: Both::new(Kind::Text { max: None, padded: false }, Kind::Integer { bits: 64 }),
            values: Both::new(codes.clone(), (0..6).map(Value::Integer).chain([Value::Null]).collect()),
        },
        Domain {
            kinds: Both::new(Kind::Text { max: Some(1), padded: true }, Kind::Any),
            values: Both::new(codes, texts),
        },
    ]
}

impl Domain {
    fn draw(&self, seed: &mut Seed, side: Side) -> Value {
        seed.pick(&self.values[side]).clone()
    }

    fn draw_both(&self, seed: &mut Seed) -> Both<Value> {
        Both::new(self.draw(seed, Side::Source), self.draw(seed, Side::Target))
    }
}

fn draw_policy(seed: &mut Seed) -> Policy {
    *seed.pick(&Policy::ALL)
}

fn draw_field(seed: &mut Seed, slot: usize, domain: &Domain) -> FieldSpec {
    let writes = match seed.below(6) {
        0 => Both::new(false, true),
        1 => Both::new(true, false),
        _ => Both::new(true, true),
    };
    FieldSpec {
        kinds: domain.kinds.clone(),
        writes,
        policy: draw_policy(seed),
        drift: *seed.pick(&DRIFTS),
        required: seed.percent(5),
        create_only: seed.percent(5),
        ..FieldSpec::copy(slot)
    }
}

fn draw_deletes(seed: &mut Seed) -> DeletePolicy {
    match seed.below(3) {
        0 => DeletePolicy::Ignore,
        _ => DeletePolicy::Propagate,
    }
}

fn draw_program(seed: &mut Seed, domains: &[Domain]) -> (ProgramSpec, Vec<usize>) {
    let of: Vec<usize> = (0..=seed.index(3)).map(|_| seed.index(domains.len())).collect();
    let fields = of.iter().enumerate().map(|(slot, of)| draw_field(seed, slot + 1, &domains[*of])).collect();
    let mut spec = ProgramSpec::new(fields);
    spec.first = seed.percent(40).then(|| draw_policy(seed));
    spec.record_policy = *seed.pick(&[Policy::Manual, Policy::Source, Policy::Target, Policy::Newest]);
    spec.may_create = Both::from_fn(|_| seed.percent(85));
    spec.may_update = Both::from_fn(|_| seed.percent(90));
    spec.deletes = Both::from_fn(|_| draw_deletes(seed));
    (spec, of)
}

fn draw_record(seed: &mut Seed, side: Side, fields: &[&Domain]) -> Record {
    let stamp = seed.percent(90).then(|| {
        chrono::DateTime::from_timestamp(i64::try_from(seed.below(4)).unwrap(), 0).expect("a small stamp is one")
    });
    Record { fields: fields.iter().map(|domain| domain.draw(seed, side)).collect(), stamp }
}

fn draw_model(seed: &mut Seed, fields: &[&Domain]) -> Model {
    let seen = Both::from_fn(|side| match seed.below(20) {
        0 => Seen::Gone,
        1 => Seen::Nobody,
        2 => Seen::Outside,
        3 => Seen::Marked,
        _ => Seen::Live(draw_record(seed, side, fields)),
    });
    let bases: Vec<Option<Both<Value>>> = fields
        .iter()
        .enumerate()
        .map(|(index, domain)| {
            seed.percent(90).then(|| {
                // Often a side still shows its base.
                let drawn = domain.draw_both(seed);
                Both::from_fn(|side| match seen[side].live() {
                    Some(record) if seed.percent(40) => record.fields[index].clone(),
                    _ => drawn[side].clone(),
                })
            })
        })
        .collect();
    let mut model = Model { link: None, seen, open: Vec::new(), stale: Vec::new() };
    if seed.percent(85) {
        let mut stored = link(Bases::Values(bases));
        if seed.percent(5) {
            stored.status = LinkStatus::Severed { gone: *seed.pick(&Side::BOTH) };
        }
        model.link = Some(stored);
        model.open = draw_opens(seed, &model, fields);
        if seed.percent(5) {
            model.stale = fields.iter().map(|_| seed.percent(50)).collect();
        }
    }
    model
}

fn draw_opens(seed: &mut Seed, model: &Model, fields: &[&Domain]) -> Vec<OpenConflict> {
    let mut opens = Vec::new();
    for (index, domain) in fields.iter().enumerate() {
        if seed.percent(25) {
            let drawn = domain.draw_both(seed);
            let values = Both::from_fn(|side| match model.value(side, index) {
                Some(value) if seed.percent(80) => value.clone(),
                _ => drawn[side].clone(),
            });
            let resolution = match seed.below(4) {
                0 => None,
                1 => Some(Resolution::Value(domain.draw(seed, Side::Target))),
                _ => Some(Resolution::Take(*seed.pick(&Side::BOTH))),
            };
            opens.push(OpenConflict { field: Some(index), values, resolution });
        }
    }
    if seed.percent(5) {
        let values = Both::new(Value::Null, Value::Null);
        opens.push(OpenConflict { field: None, values, resolution: Some(Resolution::Take(*seed.pick(&Side::BOTH))) });
    }
    opens
}

/// Programs, and cases for each: a quarter of a million triples for one seed.
fn random(seed: u64, programs: usize, cases: usize) {
    let mut seed = Seed::new(seed);
    let domains = large_domains();
    for _ in 0..programs {
        let (spec, of) = draw_program(&mut seed, &domains);
        let program = spec.build();
        let fields: Vec<&Domain> = of.iter().map(|of| &domains[*of]).collect();
        let mirrored = has_mirror(&spec).then(|| spec.mirror().build());
        for case in 0..cases {
            let model = draw_model(&mut seed, &fields);
            let mut elsewhere = model.clone();
            let kept = seed.index(fields.len());
            change_elsewhere(&mut seed, &mut elsewhere, &fields, kept);
            check(&spec, &model, || {
                laws::hold(&program, &model);
                if case % 2 == 0
                    && fields.len() > 1
                    && model.seen.source.live().is_some()
                    && model.seen.target.live().is_some()
                {
                    laws::locality(&program, &model, kept, &elsewhere);
                }
                if let (Some(mirrored), true) = (&mirrored, case % 2 == 1 && model.stale.is_empty()) {
                    laws::mirror(&program, mirrored, &model);
                }
            });
        }
    }
}

/// A tie of `newest`, what is `required` of the target, and policies that
/// compare in the representation of one side have no mirror.
fn has_mirror(spec: &ProgramSpec) -> bool {
    let plain = |field: &FieldSpec| {
        field.policy != Policy::Newest && !field.required && field.kinds == Both::new(Kind::Any, Kind::Any)
    };
    spec.first != Some(Policy::Newest) && spec.fields.iter().all(plain)
}

/// Draws every field but `kept` anew.
fn change_elsewhere(seed: &mut Seed, model: &mut Model, fields: &[&Domain], kept: usize) {
    for (index, domain) in fields.iter().enumerate().filter(|(index, _)| *index != kept) {
        for side in Side::BOTH {
            if let Seen::Live(record) = &mut model.seen[side] {
                record.fields[index] = domain.draw(seed, side);
            }
        }
        if let Some(Bases::Values(bases)) = model.link.as_mut().map(|link| &mut link.bases) {
            bases[index] = seed.percent(80).then(|| domain.draw_both(seed));
        }
        model.open.retain(|open| open.field != Some(index));
    }
}

#[test]
fn half_a_million_random_triples_keep_the_laws() {
    random(1, 5_000, 100);
}

#[test]
fn another_half_million_random_triples_keep_the_laws() {
    random(2, 5_000, 100);
}

#[test]
fn links_with_digests_write_what_links_with_values_write() {
    let domains = large_domains();
    let mut seed = Seed::new(3);
    for _ in 0..3_000 {
        let written = *seed.pick(&Side::BOTH);
        let domain = seed.pick(&domains);
        let mut spec = ProgramSpec::new(vec![FieldSpec {
            kinds: domain.kinds.clone(),
            writes: Both::from_fn(|side| side == written),
            drift: *seed.pick(&laws::DIGEST_DRIFTS),
            ..FieldSpec::copy(1)
        }]);
        spec.deletes = Both::from_fn(|_| draw_deletes(&mut seed));
        let start = Model {
            link: None,
            seen: Both::from_fn(|side| live(vec![domain.draw(&mut seed, side)])),
            open: Vec::new(),
            stale: Vec::new(),
        };
        let (mut values, mut digests) = (start.clone(), start);
        for _ in 0..6 {
            check(
                &spec,
                &values.clone(),
                std::panic::AssertUnwindSafe(|| {
                    laws::digests(&spec, written, &mut values, &mut digests);
                }),
            );
            let side = *seed.pick(&Side::BOTH);
            let seen = if seed.percent(10) { Seen::Gone } else { live(vec![domain.draw(&mut seed, side)]) };
            if values.link.is_some() {
                values.seen[side] = seen.clone();
                digests.seen[side] = seen;
            }
        }
    }
    let by = ProgramSpec { bases: BaseKind::Digests { written: Side::Target }, ..ProgramSpec::new(Vec::new()) };
    assert_eq!(by.mirror().bases, BaseKind::Digests { written: Side::Source });
}
