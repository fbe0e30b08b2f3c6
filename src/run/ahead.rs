//! What a batch would write, before it does: for a plan, and for the limits on
//! creates and updates.

use std::collections::{BTreeMap, BTreeSet};

use super::event::FieldChange;
use super::execute::Work;
use super::probe::Foreseen;
use super::report::{Planned, Trouble};
use super::send::Send;
use super::session::Session;
use crate::compile::Limit;
use crate::connector::Action;
use crate::diagnostic::Code;
use crate::plan::{Decision, LinkId, Pair, decide};
use crate::record::{Both, Key, Side};
use crate::state::{Conflict, SideCounts, Spooled};

/// Writes that count as no further record, under `limits` on updates.
#[derive(Default)]
pub(super) struct Steps {
    pub extra: u64,
    /// Records that are written once more for what they were written for.
    pub of: Both<BTreeSet<Key>>,
}

/// What a dry run would have done by now. A run that writes leaves it empty.
#[derive(Default)]
pub(super) struct Foresight {
    /// Keys that would be linked, so that nothing is planned for them twice.
    pub claimed: Both<BTreeSet<Key>>,
    /// Links of which one record is gone, so that a record which matches what is
    /// left may still take them over.
    pub halves: BTreeSet<LinkId>,
    /// What the records match on that would be created on each side.
    pub created: Both<Foreseen>,
    /// Deletes that would be spooled.
    pub deletes: BTreeMap<LinkId, Spooled>,
    /// The keys of a sweep.
    pub listed: BTreeSet<Key>,
}

impl Session<'_> {
    pub(super) fn limits_writes(&self) -> bool {
        let limits = &self.program.limits;
        self.state.first_sync_done && !self.options.over_limit && (limits.create.is_some() || limits.update.is_some())
    }

    /// How many of these pairs may be dealt with under the `limits` on creates
    /// and updates, and what is said where that is not all. They hold no first
    /// sync.
    pub(super) async fn within_limits(&self, work: &[Work]) -> Result<(usize, Option<Trouble>), Trouble> {
        let open = self.open_conflicts(work).await?;
        let done = |count: fn(&SideCounts) -> u64| count(&self.counts.to_target) + count(&self.counts.to_source);
        // Records count, and some are written on both sides, or in two steps.
        let updated = done(|counts| counts.updated).saturating_sub(self.steps.extra);
        let limits = [
            ("create", Action::Create, self.program.limits.create, done(|counts| counts.created)),
            ("update", Action::Update, self.program.limits.update, updated),
        ];
        let mut asked = [0, 0];
        for (index, item) in work.iter().enumerate() {
            if self.is_step(item) {
                continue;
            }
            let decision = self.decide(item, &open);
            let writes = || Side::BOTH.into_iter().filter_map(|side| decision.writes[side].as_ref());
            for ((word, action, limit, done), asked) in limits.into_iter().zip(&mut asked) {
                let Some(limit) = limit else { continue };
                let allowed = limit.of(self.links_at_start);
                *asked += u64::from(writes().any(|write| write.action == action));
                if writes().any(|write| write.action == action) && done + *asked > allowed {
                    let of = match limit {
                        Limit::Count(_) => String::new(),
                        Limit::Percent(percent) => format!(", {percent} % of {} links", self.links_at_start),
                    };
                    let message = format!(
                        "`limits: {{ {word}: … }}` stops the run: it would {word} more than {allowed} records{of}; the next \
                         run goes on from here, and `--over-limit` lets one run through"
                    );
                    return Ok((index, Some(Trouble::Refused { code: Code::LIMIT, side: None, message })));
                }
            }
        }
        Ok((work.len(), None))
    }

    /// Another write of this record has been counted: it is the next step of that.
    fn is_step(&self, item: &Work) -> bool {
        let keys = item.all_keys();
        let known = |side: Side| keys[side].as_ref().is_some_and(|key| self.steps.of[side].contains(key));
        Side::BOTH.into_iter().any(known)
    }

    /// So many writes are sent for one record.
    pub(super) fn count_steps(&mut self, item: &Work, writes: u64, again: bool) {
        if !self.limits_writes() {
            return;
        }
        self.steps.extra += if self.is_step(item) { writes } else { writes.saturating_sub(1) };
        if again {
            let keys = item.all_keys();
            for side in Side::BOTH {
                self.steps.of[side].extend(keys[side].clone());
            }
        }
    }

    /// What is decided for a pair once the writes of this decision are in
    /// effect, where it has to be decided once more.
    pub(super) fn afterwards(&self, item: &Work, decision: &Decision, open: &[Conflict]) -> Option<Decision> {
        if !decision.again {
            return None;
        }
        let mut link = item.link.clone().unwrap_or_else(|| self.new_link(&item.keys));
        let mut seen = item.seen.clone();
        for (field, values) in &decision.settled {
            link.bases.set(*field, values.clone(), self.written(*field));
        }
        for side in Side::BOTH {
            for write in decision.writes[side].iter().flat_map(|write| &write.fields) {
                seen[side].live_mut()?.fields[write.field] = write.value.clone();
                link.bases.set(write.field, Self::bases_of(side, write, item), self.written(write.field));
            }
        }
        let dealt = |field| decision.conflicts.iter().any(|step| step.field == field && step.outcome.ends());
        let mut waiting = self.waiting(&link, open);
        waiting.retain(|conflict| !dealt(conflict.field));
        let pair = Pair { link: Some(&link), seen: seen.as_ref(), open: &waiting, stale: &[] };
        Some(decide(self.program, &pair))
    }

    pub(super) fn only_plan(&mut self, work: &[Work], sends: &Both<Vec<Send>>) {
        let program = self.program;
        for side in Side::BOTH {
            let alternatives = program.alternatives(side);
            for send in &sends[side] {
                let counts = self.counts.toward(side);
                match send.action() {
                    Action::Create => {
                        counts.created += 1;
                        if let Some(record) = work[send.work].seen[side.other()].live() {
                            self.foresee(side, record, &alternatives);
                        }
                    }
                    Action::Update => counts.updated += 1,
                    Action::Delete => counts.deleted += 1,
                }
                let keys = work[send.work].all_keys();
                if let Some(key) = &keys[side.other()] {
                    self.count_early(side, &work[send.work], key);
                }
                self.plan_one(side, send.action(), keys, self.changes(side, send));
            }
        }
        self.pending = crate::state::Commit::default();
    }

    pub(super) fn plan_one(&mut self, side: Side, action: Action, keys: Both<Option<Key>>, fields: Vec<FieldChange>) {
        let planned = self.foreseen(side, action, keys, fields);
        if let Some(sink) = &self.options.sink {
            sink.planned(&planned);
        }
        self.planned_in_all.add(&planned);
        if self.options.named.is_none_or(|most| self.planned.len() < most) {
            self.planned.push(planned);
        }
    }

    /// A write as a plan names it.
    pub(super) fn foreseen(
        &self,
        side: Side,
        action: Action,
        keys: Both<Option<Key>>,
        fields: Vec<FieldChange>,
    ) -> Planned {
        let mut owed = Side::BOTH.into_iter().filter_map(|of| self.owed.get(&(of, keys[of].clone()?)));
        let parked = owed.find_map(|owed| owed.code);
        Planned { side, action, keys, fields, parked }
    }

    /// Plans what the writes of this plan bring about in turn.
    pub(super) fn plan_afterwards(
        &mut self,
        work: &[Work],
        sends: &Both<Vec<Send>>,
        afterwards: Vec<(usize, Decision)>,
    ) {
        let mut next: Both<Vec<Send>> = Both::default();
        for (index, decision) in afterwards {
            // What was parked after all brings about nothing.
            if !Side::BOTH.into_iter().any(|side| sends[side].iter().any(|send| send.work == index)) {
                continue;
            }
            let Both { source, target } = decision.writes;
            self.count_steps(&work[index], [&source, &target].into_iter().flatten().count() as u64, false);
            for (side, write) in [(Side::Source, source), (Side::Target, target)] {
                next[side].extend(write.map(|write| Send {
                    work: index,
                    link: work[index].link.clone(),
                    write,
                    people: None,
                    set: Vec::new(),
                    expect: Vec::new(),
                    owing: false,
                    away: None,
                    again: false,
                    ends: Vec::new(),
                }));
            }
        }
        self.only_plan(work, &next);
    }
}
