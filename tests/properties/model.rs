//! A pair of records that decisions are applied to, as a run would.

use engine::compile::{BaseKind, Program};
use engine::connector::Action;
use engine::plan::{
    Bases, ConflictOutcome, Decision, Link, LinkStatus, OpenConflict, Pair, Record, Resolution, Seen, Verdict, decide,
};
use engine::record::{Both, Key, Side, Value};

/// Both sides of a pair, what is stored of it, and what waits for a person.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Model {
    pub(crate) link: Option<Link>,
    pub(crate) seen: Both<Seen>,
    pub(crate) open: Vec<OpenConflict>,
    pub(crate) stale: Vec<bool>,
}

pub(crate) fn link(bases: Bases) -> Link {
    let key = |name: &str| Key::new(&[Value::text(name)]).unwrap();
    Link {
        id: 1,
        keys: Both::new(key("s"), key("t")),
        revision: 1,
        status: LinkStatus::Linked,
        outside: false,
        bases,
        own_stamps: Both::default(),
        contests: Vec::new(),
        layout: 1,
    }
}

pub(crate) fn live(fields: Vec<Value>) -> Seen {
    Seen::Live(Record { fields, stamp: None })
}

impl Model {
    /// Both records stand and are linked.
    pub(crate) fn linked(bases: Vec<Option<Both<Value>>>, source: Vec<Value>, target: Vec<Value>) -> Model {
        Model {
            link: Some(link(Bases::Values(bases))),
            seen: Both::new(live(source), live(target)),
            open: Vec::new(),
            stale: Vec::new(),
        }
    }

    pub(crate) fn decide(&self, program: &Program) -> Decision {
        let pair = Pair { link: self.link.as_ref(), seen: self.seen.as_ref(), open: &self.open, stale: &self.stale };
        decide(program, &pair)
    }

    pub(crate) fn value(&self, side: Side, field: usize) -> Option<&Value> {
        self.seen[side].live().map(|record| &record.fields[field])
    }

    pub(crate) fn base(&self, field: usize) -> Option<&Both<Value>> {
        self.link.as_ref().and_then(|link| link.bases.values(field))
    }

    pub(crate) fn open_of(&self, field: usize) -> Option<&OpenConflict> {
        self.open.iter().find(|open| open.field == Some(field))
    }

    pub(crate) fn mirror(&self) -> Model {
        let mut link = self.link.clone();
        if let Some(link) = &mut link {
            link.keys = link.keys.clone().swap();
            link.status = match link.status {
                LinkStatus::Severed { gone } => LinkStatus::Severed { gone: gone.other() },
                LinkStatus::Linked => LinkStatus::Linked,
            };
            if let Bases::Values(bases) = &mut link.bases {
                bases.iter_mut().flatten().for_each(|base| *base = base.clone().swap());
            }
        }
        let open = self.open.iter().map(|open| OpenConflict {
            field: open.field,
            values: open.values.clone().swap(),
            resolution: open.resolution.clone().map(|resolution| match resolution {
                Resolution::Take(side) => Resolution::Take(side.other()),
                Resolution::Value(value) => Resolution::Value(value),
            }),
        });
        Model { link, seen: self.seen.clone().swap(), open: open.collect(), stale: self.stale.clone() }
    }

    /// Does what was decided: every write is acknowledged as sent.
    pub(crate) fn apply(&mut self, program: &Program, decision: &Decision) {
        let width = program.fields.len();
        if let Verdict::Link = decision.verdict {
            let digests = matches!(program.bases, BaseKind::Digests { .. });
            let link = self.link.get_or_insert_with(|| link(Bases::none(width, digests)));
            link.status = LinkStatus::Linked;
        }
        for side in Side::BOTH {
            let Some(write) = &decision.writes[side] else { continue };
            if write.action == Action::Create {
                self.seen[side] = live(vec![Value::Missing; width]);
            }
            let Seen::Live(record) = &mut self.seen[side] else { panic!("a write to a record that is not there") };
            for field in &write.fields {
                record.fields[field.field] = field.value.clone();
            }
        }
        let written = match program.bases {
            BaseKind::Digests { written } => written,
            BaseKind::Values => Side::Target,
        };
        if let Some(link) = &mut self.link {
            for side in Side::BOTH {
                for field in decision.writes[side].iter().flat_map(|write| &write.fields) {
                    let bases = match &field.against {
                        Some(against) => against.bases.clone(),
                        // A create: what the one side shows, and what the other is given.
                        None => Both::from_fn(|of| match (of == side, &self.seen[of]) {
                            (false, Seen::Live(record)) => record.fields[field.field].clone(),
                            _ => field.value.clone(),
                        }),
                    };
                    link.bases.set(field.field, bases, written);
                }
            }
            for (field, values) in &decision.settled {
                link.bases.set(*field, values.clone(), written);
            }
        }
        match decision.verdict {
            Verdict::Sever { gone } => {
                self.link.as_mut().expect("only a link is severed").status = LinkStatus::Severed { gone };
            }
            Verdict::Forget => {
                self.link = None;
                self.seen = Both::new(Seen::Nobody, Seen::Nobody);
                self.open.clear();
            }
            Verdict::Delete { on } => self.seen[on] = Seen::Gone,
            Verdict::Keep | Verdict::Link | Verdict::NotAllowed | Verdict::Reject { .. } => {}
        }
        for step in &decision.conflicts {
            let known = self.open.iter().position(|open| open.field == step.field);
            match step.outcome {
                ConflictOutcome::Opened | ConflictOutcome::Moved => {
                    let open = OpenConflict { field: step.field, values: step.values.clone(), resolution: None };
                    match known {
                        Some(position) => self.open[position] = open,
                        None => self.open.push(open),
                    }
                }
                ConflictOutcome::Waiting => assert!(known.is_some(), "nothing waits that was not open: {step:?}"),
                ConflictOutcome::Decided | ConflictOutcome::Resolved | ConflictOutcome::Closed => {
                    if let Some(position) = known {
                        self.open.remove(position);
                    }
                }
            }
        }
        self.stale.clear();
    }

    /// Decides and applies until nothing is left to do, at most `rounds` times.
    /// Answers whether it came to rest.
    pub(crate) fn rest(&mut self, program: &Program, rounds: usize) -> bool {
        for _ in 0..rounds {
            let decision = self.decide(program);
            if is_quiet(&decision) {
                return true;
            }
            self.apply(program, &decision);
        }
        is_quiet(&self.decide(program))
    }
}

/// Nothing is written, no base moves, no conflict changes.
pub(crate) fn is_quiet(decision: &Decision) -> bool {
    decision.writes.source.is_none()
        && decision.writes.target.is_none()
        && decision.settled.is_empty()
        && decision.conflicts.iter().all(|step| step.outcome == ConflictOutcome::Waiting)
        && matches!(decision.verdict, Verdict::Keep | Verdict::NotAllowed | Verdict::Reject { .. })
}
