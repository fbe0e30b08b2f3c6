//! One field of a linked pair whose records both stand.

use chrono::{DateTime, Utc};

use super::conflict::{OpenConflict, Resolution, Ruling, rule, stands};
use super::decision::{Against, ConflictOutcome, ConflictStep, FieldWrite};
use super::link::Bases;
use crate::compile::{Drift, FieldProgram, Policy, Rejection};
use crate::record::{Both, Side, Value, short_digest};

/// What is decided for one field.
#[derive(Debug, Default)]
pub(super) struct FieldStep {
    pub write: Option<(Side, FieldWrite)>,
    pub settled: Option<Both<Value>>,
    pub conflict: Option<ConflictStep>,
    pub again: bool,
}

/// A conversion was refused while the field was on its way to `toward`.
#[derive(Debug)]
pub(super) struct Refused {
    pub toward: Side,
    pub rejection: Rejection,
}

/// One field, its program, what it showed and what it shows.
pub(super) struct Case<'a> {
    pub index: usize,
    pub field: &'a FieldProgram,
    /// To which sides it may flow now.
    pub flows: Both<bool>,
    pub bases: &'a Bases,
    pub now: Both<&'a Value>,
    pub stamps: Both<Option<DateTime<Utc>>>,
    pub open: Option<&'a OpenConflict>,
    /// The rules have changed since the bases were stored.
    pub stale: bool,
    /// What decides on adoption, where the mapping says.
    pub first: Option<Policy>,
    /// What decides on adoption in two directions else; `None`: the field's own
    /// policy.
    pub default: Option<Policy>,
}

impl Case<'_> {
    /// The table of changes: same or changed on either side since the base.
    pub(super) fn decide(&self) -> Result<FieldStep, Refused> {
        match (self.flows.source, self.flows.target) {
            (false, false) => Ok(self.closing(FieldStep::default())),
            _ if !self.has_base() => self.adopt(),
            (true, true) => self.two_way(),
            (false, true) => self.one_way(Side::Target),
            (true, false) => self.one_way(Side::Source),
        }
    }

    fn has_base(&self) -> bool {
        match self.bases {
            Bases::Values(values) => values[self.index].is_some(),
            Bases::Digests(digests) => digests[self.index].is_some(),
        }
    }

    fn two_way(&self) -> Result<FieldStep, Refused> {
        let base = self.bases.values(self.index).expect("a mapping of two directions keeps both values");
        let mut changed = Both::from_fn(|side| !stands(self.field, base, side, self.now[side]));
        if self.stale && !changed.source {
            // New rules speak through the source: where they make something
            // else of what it showed, that is a change of the source.
            let remade = self.convert(Side::Target, self.now.source)?;
            changed.source = !self.field.same(Side::Target, &remade, &base.target);
        }
        match (changed.source, changed.target) {
            (false, false) => Ok(self.closing(FieldStep::default())),
            (true, false) => self.flow(Side::Target, None),
            (false, true) => self.flow(Side::Source, None),
            (true, true) if self.agree()? => self.settle(),
            (true, true) => self.conflict(self.field.policy, Some(base)),
        }
    }

    /// A field that flows only to `to`.
    fn one_way(&self, to: Side) -> Result<FieldStep, Refused> {
        let from = to.other();
        let value = self.convert(to, self.now[from])?;
        // What does not show in the other's representation is no change for it.
        let (moved, spoke, drifted) = match self.bases {
            Bases::Digests(digests) => {
                let base = digests[self.index];
                (false, Some(short_digest(&value)) != base, Some(short_digest(self.now[to])) != base)
            }
            Bases::Values(values) => {
                let base = values[self.index].as_ref().expect("checked to have a base");
                let moved = !self.field.same(from, &base[from], self.now[from]);
                // Where there was nothing and is nothing, other rules have nothing to say of what people entered.
                let is_silent = base[from].is_blank() && value.is_blank();
                let spoke = (moved || self.stale && !is_silent) && !self.field.same(to, &base[to], &value);
                (moved, spoke, !self.field.same(to, &base[to], self.now[to]))
            }
        };
        match (spoke, drifted) {
            (false, false) if moved => self.settle(),
            (false, false) => Ok(self.closing(FieldStep::default())),
            (false, true) if self.field.drift != Drift::Conflict && self.alike(to, &value) => {
                Ok(self.closing(FieldStep::default()))
            }
            _ if self.alike(to, &value) => self.settle(),
            // A field of two directions that may not be updated in one of them was changed on both sides all the same.
            (spoke, true) if self.field.drift == Drift::Conflict || spoke && self.field.is_two_way() => {
                self.conflict(self.field.policy, self.bases.values(self.index))
            }
            (false, true) if self.field.drift == Drift::Keep => Ok(self.closing(FieldStep::default())),
            (_, drifted) => self.write(to, value, None, drifted),
        }
    }

    /// Without a base: the record was just adopted, or the field is new.
    fn adopt(&self) -> Result<FieldStep, Refused> {
        if self.agree()? {
            return self.settle();
        }
        let policy = self.first.or(self.default).unwrap_or(self.field.policy);
        if self.open.is_some() {
            // It has no base to return to: only agreement or a decision ends it.
            return self.conflict(policy, None);
        }
        let blank = self.now.map(Value::is_blank);
        match (blank.source, blank.target) {
            (true, true) => self.settle(),
            _ if self.field.drift == Drift::Restore && self.flows.source != self.flows.target => {
                // Put back at once, as every run does.
                self.flow(if self.flows.target { Side::Target } else { Side::Source }, None)
            }
            (true, false) if self.flows.source => self.flow(Side::Source, None),
            (false, true) if self.flows.target => self.flow(Side::Target, None),
            (true, false) | (false, true) => self.settle(),
            (false, false) if self.flows.source && self.flows.target => self.conflict(policy, None),
            (false, false) => {
                let to = if self.flows.target { Side::Target } else { Side::Source };
                match self.first {
                    None => self.flow(to, None),
                    Some(policy) => self.conflict(policy, None),
                }
            }
        }
    }

    /// True where both sides mean the same: either maps to the other, or both
    /// are equal by `equal`. Refused only where no way can be gone.
    fn agree(&self) -> Result<bool, Refused> {
        let mut answers = Vec::with_capacity(2);
        for to in Side::BOTH.into_iter().filter(|to| self.field.writes(*to)) {
            answers.push(self.convert(to, self.now[to.other()]).map(|mapped| self.alike(to, &mapped)));
        }
        if answers.iter().any(|answer| matches!(answer, Ok(true))) {
            return Ok(true);
        }
        if answers.iter().any(Result::is_ok) { Ok(false) } else { answers.pop().unwrap_or(Ok(false)) }
    }

    /// True where `mapped` means what `side` already shows.
    fn alike(&self, side: Side, mapped: &Value) -> bool {
        self.field.same(side, mapped, self.now[side]) || self.field.equal_by_rules(mapped, self.now[side])
    }

    fn conflict(&self, policy: Policy, base: Option<&Both<Value>>) -> Result<FieldStep, Refused> {
        if let Some(open) = self.open
            && let Some(resolution) = &open.resolution
            && self.stands_as(open)
        {
            let mut step = match self.resolve(resolution) {
                Ok(step) => step,
                // A value that does not fit is no decision: it is asked for again, and the other fields go on.
                Err(_) if matches!(resolution, Resolution::Value(_)) => {
                    let conflict = Some(self.step(policy, base, ConflictOutcome::Moved));
                    return Ok(FieldStep { conflict, ..FieldStep::default() });
                }
                Err(refused) => return Err(refused),
            };
            step.conflict = Some(self.step(policy, base, ConflictOutcome::Resolved));
            return Ok(step);
        }
        let merges = matches!(policy, Policy::Union | Policy::SumDeltas);
        let ruling = if merges && !(self.flows.source && self.flows.target) {
            // A merge changes both sides; where one may not be, a person decides.
            Ruling::Wait
        } else {
            rule(self.field, policy, base, self.now, self.stamps)
                .map_err(|rejection| Refused { toward: Side::Target, rejection })?
        };
        let mut step = match ruling {
            Ruling::Wins(side) => self.wins(side, policy)?,
            Ruling::Merge { target, bases } => {
                let against =
                    Against { expect: self.now.target.clone(), bases, policy: Some(policy), contested: false };
                let write = FieldWrite { field: self.index, value: target, against: Some(Box::new(against)) };
                FieldStep { write: Some((Side::Target, write)), again: true, ..FieldStep::default() }
            }
            Ruling::Wait => {
                let outcome = match self.open {
                    None => ConflictOutcome::Opened,
                    Some(open) if self.stands_as(open) => ConflictOutcome::Waiting,
                    Some(_) => ConflictOutcome::Moved,
                };
                return Ok(FieldStep { conflict: Some(self.step(policy, base, outcome)), ..FieldStep::default() });
            }
        };
        step.conflict = Some(self.step(policy, base, ConflictOutcome::Decided));
        Ok(step)
    }

    /// Both sides show what they showed when the conflict was last seen.
    fn stands_as(&self, open: &OpenConflict) -> bool {
        Side::BOTH.into_iter().all(|side| self.field.same(side, &open.values[side], self.now[side]))
    }

    /// A side's value stands: it flows to the other, or where the field does
    /// not flow there, the other keeps what it shows.
    fn wins(&self, winner: Side, policy: Policy) -> Result<FieldStep, Refused> {
        if self.flows[winner.other()] { self.flow(winner.other(), Some(policy)) } else { self.settle() }
    }

    fn resolve(&self, resolution: &Resolution) -> Result<FieldStep, Refused> {
        match resolution {
            Resolution::Take(side) => self.wins(*side, Policy::Manual),
            Resolution::Value(value) => {
                let refuse = |toward| move |rejection| Refused { toward, rejection };
                if !self.flows.target {
                    let source = self.convert(Side::Source, value)?;
                    return if self.field.same(Side::Source, &source, self.now.source) {
                        self.wins(Side::Source, Policy::Manual)
                    } else {
                        self.write(Side::Source, source, Some(Policy::Manual), true)
                    };
                }
                let target = self.field.fit(Side::Target, value.clone()).map_err(refuse(Side::Target))?;
                if self.field.same(Side::Target, &target, self.now.target) {
                    return self.wins(Side::Target, Policy::Manual);
                }
                if !self.flows.source {
                    return self.write(Side::Target, target, Some(Policy::Manual), true);
                }
                // First the target; then its change flows to the source, which
                // stands at its base until then. Where the source's value fits
                // no target, any other value says that the target changed.
                let held = self.convert(Side::Target, self.now.source).unwrap_or_else(|_| self.now.target.clone());
                let against = Against {
                    expect: self.now.target.clone(),
                    bases: Both::new(self.now.source.clone(), held),
                    policy: Some(Policy::Manual),
                    contested: true,
                };
                let write = FieldWrite { field: self.index, value: target, against: Some(Box::new(against)) };
                Ok(FieldStep { write: Some((Side::Target, write)), again: true, ..FieldStep::default() })
            }
        }
    }

    /// The other side's value goes to `to`.
    fn flow(&self, to: Side, policy: Option<Policy>) -> Result<FieldStep, Refused> {
        let value = self.convert(to, self.now[to.other()])?;
        if self.alike(to, &value) {
            return self.settle();
        }
        self.write(to, value, policy, policy.is_some())
    }

    #[expect(clippy::unnecessary_wraps, reason = "reads as one step of the table beside those that can be refused")]
    fn write(&self, to: Side, value: Value, policy: Option<Policy>, contested: bool) -> Result<FieldStep, Refused> {
        let mut bases = self.now.map(Value::clone);
        bases[to] = value.clone();
        let against = Against { expect: self.now[to].clone(), bases, policy, contested };
        let write = FieldWrite { field: self.index, value, against: Some(Box::new(against)) };
        Ok(self.closing(FieldStep { write: Some((to, write)), ..FieldStep::default() }))
    }

    /// Both sides stay as they are. In a field of one direction the base is
    /// what the side that is read maps to, so that what the other shows instead
    /// stays known as a drift; unless a drift is a conflict, which was decided.
    fn settle(&self) -> Result<FieldStep, Refused> {
        let mut values = self.now.map(Value::clone);
        if self.flows.source != self.flows.target && self.field.drift != Drift::Conflict {
            let to = if self.flows.target { Side::Target } else { Side::Source };
            values[to] = self.convert(to, self.now[to.other()])?;
        }
        Ok(self.closing(FieldStep { settled: Some(values), ..FieldStep::default() }))
    }

    /// An open conflict that is none any more is closed.
    fn closing(&self, mut step: FieldStep) -> FieldStep {
        if self.open.is_some() && step.conflict.is_none() {
            step.conflict = Some(self.step(self.field.policy, self.bases.values(self.index), ConflictOutcome::Closed));
        }
        step
    }

    fn step(&self, policy: Policy, base: Option<&Both<Value>>, outcome: ConflictOutcome) -> ConflictStep {
        ConflictStep {
            field: Some(self.index),
            bases: base.cloned(),
            values: self.now.map(Value::clone),
            policy,
            outcome,
        }
    }

    fn convert(&self, to: Side, value: &Value) -> Result<Value, Refused> {
        self.field.convert(to, value).map_err(|rejection| Refused { toward: to, rejection })
    }
}
