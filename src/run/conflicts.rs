//! What happens to conflicts: opened, kept up to date, brought to their end.

use super::event::Fact;
use super::execute::Work;
use super::report::{Trouble, Undecided};
use super::send::Send;
use super::session::Session;
use crate::plan::{ConflictOutcome, ConflictStep, Decision, Link, OpenConflict};
use crate::record::{Both, Key, Side, Value};
use crate::state::{Conflict, ConflictFilter, ConflictStatus};

/// What happens to a conflict.
#[derive(Debug)]
pub(super) struct Ended {
    pub conflict: Conflict,
    pub outcome: ConflictOutcome,
    /// What is written because of it, and where.
    pub written: Option<(Side, Value)>,
}

impl Session<'_> {
    pub(super) async fn open_conflicts(&self, work: &[Work]) -> Result<Vec<Conflict>, Trouble> {
        let links: Vec<_> = work
            .iter()
            .filter_map(|item| item.link.as_ref().map(|link| link.id))
            .filter(|id| self.in_conflict.contains(id))
            .collect();
        if links.is_empty() {
            return Ok(Vec::new());
        }
        let filter = ConflictFilter {
            mapping: Some(self.program.name.to_string()),
            open: true,
            links,
            ..ConflictFilter::default()
        };
        Ok(self.setup.store.conflicts(&filter).await?)
    }

    /// A link's open conflicts, as the planner sees them.
    pub(super) fn waiting(&self, link: &Link, open: &[Conflict]) -> Vec<OpenConflict> {
        open.iter()
            .filter(|conflict| conflict.link == link.id)
            .filter_map(|conflict| {
                let field = if conflict.field == "*" {
                    None
                } else {
                    Some(self.program.fields.iter().position(|field| field.name == conflict.field)?)
                };
                Some(OpenConflict { field, values: conflict.values.clone(), resolution: conflict.resolution.clone() })
            })
            .collect()
    }

    /// What happens to a conflict; `None` where it waits as before.
    fn conflict(
        &mut self,
        item: &Work,
        keys: &Both<Option<Key>>,
        step: ConflictStep,
        written: Option<(Side, Value)>,
        open: &[Conflict],
    ) -> Option<Ended> {
        if step.outcome == ConflictOutcome::Waiting {
            return None;
        }
        let field = step.field.map_or_else(|| "*".to_owned(), |index| self.program.fields[index].name.clone());
        let link = item.link.as_ref().map_or(0, |link| link.id);
        let known = open.iter().find(|conflict| conflict.link == link && conflict.field == field);
        let status = match step.outcome {
            ConflictOutcome::Opened | ConflictOutcome::Moved | ConflictOutcome::Waiting => ConflictStatus::Open,
            ConflictOutcome::Decided => ConflictStatus::Decided,
            ConflictOutcome::Resolved => ConflictStatus::Resolved,
            ConflictOutcome::Closed => ConflictStatus::Closed,
        };
        if step.outcome == ConflictOutcome::Opened {
            self.counts.conflicts += 1;
            if link != 0 {
                self.in_conflict.insert(link);
            }
        }
        let taken = known
            .filter(|_| matches!(step.outcome, ConflictOutcome::Resolved | ConflictOutcome::Closed))
            .and_then(|conflict| conflict.resolution.clone());
        if let Some((known, decision)) = known.and_then(|known| Some((known, known.resolution.clone()?)))
            && step.outcome == ConflictOutcome::Moved
            && !self.undecided.iter().any(|undecided| undecided.conflict == known.id)
        {
            self.undecided.push(Undecided {
                conflict: known.id,
                keys: keys.clone(),
                field: field.clone(),
                decision,
                decided_for: known.values.clone(),
                now: step.values.clone(),
            });
        }
        let conflict = Conflict {
            id: known.map_or(0, |conflict| conflict.id),
            mapping: self.program.name.to_string(),
            link,
            keys: keys.clone().map(|key| key.unwrap_or_else(Key::untold)),
            field,
            bases: step.bases,
            values: step.values,
            policy: step.policy,
            status,
            at: self.setup.world.now(),
            resolution: taken,
        };
        if self.options.dry && step.outcome == ConflictOutcome::Opened {
            self.disputed.push(conflict.clone());
        }
        Some(Ended { conflict, outcome: step.outcome, written })
    }

    /// Puts what happened to the conflicts of a pair on record, or with the write
    /// that carries it out. Answers with those that this was about.
    pub(super) fn take_up_conflicts(
        &mut self,
        index: usize,
        item: &Work,
        steps: Vec<ConflictStep>,
        contested: &[(usize, Side, Value)],
        open: &[Conflict],
        sends: &mut Both<Vec<Send>>,
    ) -> Vec<i64> {
        let keys = item.all_keys();
        let mut dealt = Vec::new();
        for step in steps {
            // Until what it lets go over is written, it stays open: a run that breaks off decides the same again.
            let ends = matches!(step.outcome, ConflictOutcome::Resolved | ConflictOutcome::Closed);
            let field = step.field;
            let write = contested.iter().find(|(contested, ..)| field == Some(*contested));
            let write = write.map(|(_, side, value)| (*side, value.clone()));
            let Some(ended) = self.conflict(item, &keys, step, write, open) else { continue };
            dealt.push(ended.conflict.id);
            let carries = |send: &&mut Send| {
                send.work == index
                    && field.is_none_or(|field| send.write.fields.iter().any(|write| write.field == field))
            };
            let Both { source, target } = &mut *sends;
            match [source, target].into_iter().filter_map(|side| side.last_mut()).find(carries) {
                Some(send) if ends => send.ends.push(ended),
                _ => self.end_conflict(ended),
            }
        }
        dealt
    }

    /// The other open conflicts of a link, closed.
    pub(super) fn left_open(&self, item: &Work, open: &[Conflict], dealt: &[i64]) -> Vec<Ended> {
        let link = item.link.as_ref().map_or(0, |link| link.id);
        open.iter()
            .filter(|conflict| conflict.link == link && !dealt.contains(&conflict.id))
            .map(|conflict| Ended {
                conflict: Conflict { status: ConflictStatus::Closed, at: self.setup.world.now(), ..conflict.clone() },
                outcome: ConflictOutcome::Closed,
                written: None,
            })
            .collect()
    }

    /// Puts what happened to a conflict on record.
    pub(super) fn end_conflict(&mut self, Ended { conflict, outcome, written }: Ended) {
        self.tell(
            conflict.keys.clone().map(|key| (!key.is_empty()).then_some(key)),
            Fact::Conflict {
                field: conflict.field.clone(),
                outcome,
                bases: conflict.bases.clone(),
                values: conflict.values.clone(),
                policy: conflict.policy.as_str(),
                taken: conflict.resolution.clone(),
                written: written.map(Box::new),
            },
        );
        self.pending.conflicts.push(conflict);
    }
}

/// What is written in a decision that has to do with conflicts: the field, the
/// side and the value.
pub(super) fn contested_writes(decision: &Decision) -> Vec<(usize, Side, Value)> {
    if decision.conflicts.is_empty() {
        return Vec::new();
    }
    let of = |side: Side| decision.writes[side].iter().flat_map(|write| &write.fields).map(move |write| (side, write));
    Side::BOTH.into_iter().flat_map(of).map(|(side, write)| (write.field, side, write.value.clone())).collect()
}
