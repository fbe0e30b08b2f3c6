//! What a seed makes of a mapping and of the world around it.

use std::time::Duration;

use engine::compile::{BaseKind, DeletePolicy, DeletedWhen, Limit, Policy, Program};
use engine::connector::Overlap;
use engine::record::{Both, Field, Kind, Shape, Side, Value};
use std::sync::Arc;

use super::forms::Form;
use crate::programs::{FieldSpec, ProgramSpec};
use crate::seed::Seed;

pub(super) const ID: usize = 0;
pub(super) const CODE: usize = 1;
/// The fields that people edit.
pub(super) const EDITED: [usize; 2] = [2, 3];
pub(super) const MODIFIED: usize = 4;
pub(super) const DELETED: usize = 5;
/// Not mapped; editing it touches `modified` alone, and true means that the row
/// is outside of a `where`.
pub(super) const NOTE: usize = 6;
/// The code that a record was first entered under, whatever its code is now: by
/// this those who look on know it. Mapped where records are told by it.
pub(super) const NAME: usize = 7;

/// Where the scenario merges, people add to this field: to a number, or to a set.
pub(super) const MERGED: usize = 3;

/// What a record is found by on the other side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MatchedBy {
    Nothing,
    Code,
    /// The name, which stays when the code changes.
    Name,
}

/// Everything a seed decides before the first edit.
#[derive(Debug, Clone)]
pub(super) struct Scenario {
    pub(super) seed: u64,
    pub(super) two_way: bool,
    pub(super) policies: [Policy; 2],
    pub(super) first: Option<Policy>,
    pub(super) record_policy: Policy,
    pub(super) deletes: bool,
    pub(super) marks: Both<bool>,
    pub(super) sweep: bool,
    pub(super) delete_limit: Option<u64>,
    pub(super) cursor: Both<bool>,
    /// The side tells the start of its oldest open transaction.
    pub(super) tells_open: Both<bool>,
    /// The side can say what became of a batch.
    pub(super) tokens: Both<bool>,
    /// Codes are unique on the side.
    pub(super) unique: bool,
    /// Numbers are stored with two digits after the point.
    pub(super) decimals: Both<bool>,
    pub(super) skew_ms: Both<i64>,
    pub(super) grain_ms: Both<i64>,
    pub(super) runs: u64,
    /// In a hundred calls.
    pub(super) faults: u64,
    pub(super) edits: u64,
    pub(super) crashes: u64,
    pub(super) batch: usize,
    /// The side has a `where`, which people let records leave and enter.
    pub(super) filters: Both<bool>,
    /// The side gives the keys of new records away before they are written;
    /// else only its answer tells them.
    pub(super) allots: Both<bool>,
    pub(super) matched: MatchedBy,
    /// Records of the side have their code for a key, which is mapped; else
    /// numbers that the side gives. People change codes where either side has.
    pub(super) keyed: Both<bool>,
    /// Under `deletes: ignore`, people mark records as deleted and take the mark
    /// back.
    pub(super) undeletes: bool,
    /// How the edited fields are shown.
    pub(super) forms: [Form; 2],
    /// People enter what does not fit, and mend it in the end.
    pub(super) misfits: bool,
    /// So many records are in the source before the first run.
    pub(super) before: u64,
    pub(super) overlap: Overlap,
}

impl Scenario {
    pub(super) fn draw(number: u64) -> Scenario {
        let mut seed = Seed::new(number);
        let seed = &mut seed;
        let policies = [Policy::Manual, Policy::Manual, Policy::Newest, Policy::Source, Policy::Target];
        let two_way = seed.percent(80);
        let deletes = seed.percent(50);
        let marks = Both::from_fn(|_| seed.percent(40));
        let scenario = Scenario {
            seed: number,
            two_way,
            policies: [*seed.pick(&policies), *seed.pick(&policies)],
            first: seed.percent(30).then(|| *seed.pick(&[Policy::Manual, Policy::Source, Policy::Target])),
            record_policy: *seed.pick(&[Policy::Manual, Policy::Source, Policy::Target]),
            deletes,
            marks,
            sweep: deletes,
            delete_limit: seed.percent(30).then_some(1),
            cursor: Both::from_fn(|_| seed.percent(75)),
            tells_open: Both::from_fn(|_| seed.percent(50)),
            tokens: Both::from_fn(|_| seed.percent(50)),
            unique: seed.percent(50),
            decimals: Both::from_fn(|_| seed.percent(40)),
            skew_ms: Both::from_fn(|_| i64::try_from(seed.below(8_000)).expect("small") - 4_000),
            grain_ms: Both::new(1_000, *seed.pick(&[1_000, 100])),
            runs: 3 + seed.below(5),
            faults: if seed.percent(60) { 4 } else { 0 },
            edits: *seed.pick(&[0, 15, 30]),
            crashes: if seed.percent(50) { 30 } else { 0 },
            batch: *seed.pick(&[1, 2, 100]),
            allots: Both::from_fn(|_| seed.percent(75)),
            // On both sides people enter the same thing: something has to tell.
            matched: if seed.percent(60) || two_way { MatchedBy::Code } else { MatchedBy::Nothing },
            keyed: Both::default(),
            // That a record comes back is noticed where its side is read.
            filters: Both::from_fn(|side| seed.percent(25) && (two_way || side == Side::Source)),
            undeletes: seed.percent(50) && !deletes,
            forms: [Form::Plain; 2],
            misfits: false,
            before: 0,
            overlap: [Overlap::None, Overlap::Opened, Overlap::Written][usize::try_from(number % 3).expect("small")],
        };
        scenario.with_keys(seed).with_forms(seed).with_merges(seed)
    }

    /// A first sync of many records that are found by their keys, so that
    /// several batches are on their way at once.
    pub(super) fn first_sync(number: u64) -> Scenario {
        let scenario = Scenario::draw(number);
        let keyed = Both::new(scenario.two_way || scenario.keyed.source, true);
        let (batch, before) = (scenario.batch.min(2), 6 + number % 12);
        Scenario { matched: MatchedBy::Nothing, keyed, batch, before, crashes: 60, ..scenario }
    }

    /// A quarter of the seeds have keys of people's own.
    fn with_keys(self, seed: &mut Seed) -> Scenario {
        if !seed.percent(25) {
            return self;
        }
        let keyed = Both::new(seed.percent(40), true);
        // New records of a side are found by their keys on the other where those are mapped.
        let needless = keyed.source || !self.two_way;
        let matched = match seed.below(10) {
            0..4 => MatchedBy::Name,
            4..7 if needless => MatchedBy::Nothing,
            _ => MatchedBy::Code,
        };
        Scenario { matched, keyed, ..self }
    }

    /// A quarter of the seeds have rules.
    fn with_forms(self, seed: &mut Seed) -> Scenario {
        if !seed.percent(25) {
            return self;
        }
        let forms = [Form::Plain, Form::Prefixed, Form::Scaled, Form::Dated];
        let forms = [*seed.pick(&forms), *seed.pick(&forms)];
        Scenario { forms, misfits: seed.percent(50), ..self }
    }

    /// A quarter of the seeds have a policy that looks at what the values say.
    fn with_merges(self, seed: &mut Seed) -> Scenario {
        if !self.two_way || !seed.percent(25) {
            return self;
        }
        let policies = [Policy::SumDeltas, Policy::SumDeltas, Policy::Union, Policy::Max, Policy::Min];
        let policies = [self.policies[0], *seed.pick(&policies)];
        let scaled = matches!(policies[1], Policy::SumDeltas) && self.forms[1] == Form::Scaled;
        let forms = [self.forms[0], if scaled { Form::Scaled } else { Form::Plain }];
        Scenario { policies, forms, ..self }
    }

    /// How a slot is shown.
    pub(super) fn form(&self, slot: usize) -> Form {
        let position = EDITED.iter().position(|edited| *edited == slot);
        position.map_or(Form::Plain, |position| self.forms[position])
    }

    /// What people enter into the merged field on both sides is joined.
    pub(super) fn merges(&self) -> bool {
        matches!(self.policies[1], Policy::SumDeltas | Policy::Union)
    }

    /// The slot of a side's key.
    pub(super) fn key(&self, side: Side) -> usize {
        if self.keyed[side] { CODE } else { ID }
    }

    /// No two live records of the side have the same code.
    pub(super) fn is_unique(&self, side: Side) -> bool {
        self.unique || self.keyed[side]
    }

    pub(super) fn is_keyed(&self) -> bool {
        self.keyed.source || self.keyed.target
    }

    /// People change codes, and a record with another code is the same record.
    pub(super) fn renames(&self, side: Side) -> bool {
        self.is_keyed() && (!self.keyed[side] || self.matched == MatchedBy::Name)
    }

    /// The fields whose values are followed.
    pub(super) fn followed(&self) -> &'static [usize] {
        match (Side::BOTH.into_iter().any(|side| self.renames(side)), self.merges()) {
            (true, true) => &[CODE, EDITED[0]],
            (true, false) => &[CODE, EDITED[0], EDITED[1]],
            (false, true) => &[EDITED[0]],
            (false, false) => &EDITED,
        }
    }

    pub(super) fn shape() -> Shape {
        let mut id = Field::new("id", Kind::Integer { bits: 64 });
        id.generated = true;
        Shape {
            fields: vec![
                id,
                Field::new("code", Kind::Text { max: None, padded: false }),
                Field::new("one", Kind::Any),
                Field::new("two", Kind::Any),
                Field::new("modified", Kind::Instant { digits: 6 }),
                Field::new("deleted", Kind::Boolean),
                Field::new("note", Kind::Any),
                Field::new("name", Kind::Text { max: None, padded: false }),
            ],
        }
    }

    /// A row of which nothing is known yet.
    pub(super) fn blank_row(id: i64, name: &str) -> Vec<Value> {
        let mut row = vec![Value::Null; 8];
        row[ID] = Value::Integer(id);
        row[DELETED] = Value::Boolean(false);
        row[NAME] = Value::text(name);
        row
    }

    pub(super) fn program(&self) -> Program {
        let writes = Both::new(self.two_way, true);
        let mut fields = vec![FieldSpec { writes, ..FieldSpec::copy(CODE) }];
        for (slot, policy) in EDITED.into_iter().zip(self.policies) {
            fields.push(FieldSpec { writes, policy, ..FieldSpec::copy(slot) });
        }
        if self.matched == MatchedBy::Name {
            fields.push(FieldSpec { writes, ..FieldSpec::copy(NAME) });
        }
        let mut spec = ProgramSpec::new(fields);
        spec.first = self.first;
        spec.record_policy = self.record_policy;
        spec.may_create = Both::new(self.two_way, true);
        spec.may_update = Both::new(self.two_way, true);
        let policy = if self.deletes { DeletePolicy::Propagate } else { DeletePolicy::Ignore };
        spec.deletes = Both::new(if self.two_way { policy.clone() } else { DeletePolicy::Ignore }, policy);
        if !self.two_way {
            spec.bases = BaseKind::Digests { written: Side::Target };
        }
        let mut program = spec.build();
        for (field, form) in program.fields[1..].iter_mut().zip(self.forms) {
            form.give(field);
        }
        program.matching = match self.matched {
            MatchedBy::Nothing => Vec::new(),
            MatchedBy::Code => vec![vec![0]],
            MatchedBy::Name => vec![vec![3]],
        };
        program.grain_nanos = 1_000_000_000;
        program.limits.delete = self.delete_limit.map(Limit::Count);
        for side in Side::BOTH {
            let one = &mut program.sides[side];
            one.access.shape = Arc::new(Scenario::shape());
            one.access.key = vec![self.key(side)];
            one.key_fields = vec![(self.keyed[side] && (self.two_way || side == Side::Target)).then_some(0)];
            one.access.cursor = self.cursor[side].then_some(MODIFIED);
            one.access.batch = self.batch;
            // Clocks are read to the grain, and a statement lasts five seconds at most.
            one.overlap = Duration::from_secs(10);
            one.modified = Some(MODIFIED);
            one.read = side == Side::Source || self.two_way;
            one.deleted = if self.marks[side] {
                DeletedWhen::Mark { slot: DELETED, equals: Value::Boolean(true) }
            } else if self.sweep {
                DeletedWhen::Sweep(Duration::ZERO)
            } else {
                DeletedWhen::Unknown
            };
        }
        program
    }
}
