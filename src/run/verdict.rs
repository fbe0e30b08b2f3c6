//! What was decided about a pair is put where it belongs: a write, a link, a
//! spooled delete, something parked.

use super::conflicts::contested_writes;
use super::event::{Fact, FieldChange};
use super::execute::Work;
use super::send::Send;
use super::session::Session;
use crate::compile::{BaseKind, DeletePolicy, Policy};
use crate::connector::Action;
use crate::diagnostic::Code;
use crate::plan::{Bases, ConflictOutcome, ConflictStep, Decision, Link, LinkStatus, RecordWrite, Seen, Verdict};
use crate::record::{Both, Key, Side, Value};
use crate::state::{Conflict, Reason, Spooled};

impl Session<'_> {
    /// Puts one decision where it belongs.
    pub(super) fn take_up(
        &mut self,
        index: usize,
        item: &mut Work,
        decision: Decision,
        open: &[Conflict],
        sends: &mut Both<Vec<Send>>,
        moved: &mut Vec<Link>,
    ) {
        let toward = item.from.other();
        let keys = item.all_keys();
        if self.is_in_doubt(&keys) {
            let found = item.seen.source.live().is_some() && item.seen.target.live().is_some();
            if !(found && matches!(decision.verdict, Verdict::Keep | Verdict::Link)) {
                return;
            }
            // Its counterpart stands, and they are linked: the doubt is over.
            for side in Side::BOTH {
                if let Some(key) = &keys[side] {
                    self.in_doubt.remove(&(side, key.clone()));
                    self.agreed.remove(&(side, key.clone()));
                }
            }
        }
        if let (Some(link), false) =
            (&item.link, matches!(decision.verdict, Verdict::Delete { .. } | Verdict::Reject { .. }))
        {
            self.let_off(link.id);
        }
        let mut unchanged = true;
        let mut parked = false;
        let contested = contested_writes(&decision);
        // Fields that would be stored otherwise than they are sent.
        let mut waits_for_change = Vec::new();
        match &decision.verdict {
            Verdict::Reject { toward, rejection } => {
                let rejection = rejection.clone();
                self.park_rejection(*toward, keys, &rejection);
                return;
            }
            Verdict::NotAllowed => {
                if item.read.is_some() {
                    self.counts.toward(toward).skipped += 1;
                }
                self.clear_both(&keys);
                return;
            }
            Verdict::Forget => {
                let link = item.link.as_ref().expect("only a link is forgotten");
                self.forget(link, &Side::BOTH);
                self.tell(keys.clone(), Fact::Forgotten);
            }
            Verdict::Sever { gone } => {
                let link = item.link.as_mut().expect("only a link is severed");
                link.status = LinkStatus::Severed { gone: *gone };
                link.outside = false;
                // Other rules are for when it is back.
                let stored = self.layouts.held(item.behind.as_deref()).unwrap_or(link);
                moved.push(Link { status: link.status, outside: false, ..stored.clone() });
                self.tell(keys.clone(), Fact::Severed { gone: *gone });
            }
            Verdict::Delete { on } => {
                unchanged = false;
                let link = item.link.as_ref().expect("only a linked record is deleted");
                if self.deleting {
                    sends[*on].push(self.delete(index, item, link, *on));
                } else {
                    let since = self.setup.world.now();
                    let spooled = Spooled { link: link.id, keys: link.keys.clone(), on: *on, since };
                    if self.options.dry {
                        self.dry_spool.insert(link.id, spooled);
                    } else {
                        self.pending.spool.push(spooled);
                    }
                    self.tell(keys.clone(), Fact::Spooled { on: *on });
                }
            }
            Verdict::Keep | Verdict::Link => {
                let is_new = item.link.as_ref().is_none_or(|link| link.id == 0);
                let adopts = is_new && keys.source.is_some() && keys.target.is_some();
                let revived = item.link.as_ref().is_some_and(|link| link.status != LinkStatus::Linked)
                    && decision.verdict == Verdict::Link;
                let both_live = Side::BOTH.iter().all(|side| item.seen[*side].live().is_some());
                let waits = |step: &ConflictStep| {
                    use ConflictOutcome::{Moved, Opened, Waiting};
                    matches!(step.outcome, Opened | Moved | Waiting)
                };
                let done = decision.writes.source.is_none()
                    && decision.writes.target.is_none()
                    && !decision.conflicts.iter().any(waits);
                // What other rules make of a pair is known once both records stand and agree.
                let held = self.layouts.held(item.behind.as_deref()).filter(|_| !(both_live && done));
                let left = Side::BOTH.iter().any(|side| item.seen[*side] == Seen::Outside);
                let outside = |link: &Link| left || link.outside && !both_live;
                // That one of them was away is all that tells of what it missed, until that is written.
                let was = item.link.as_ref().map(|link| (link.status, link.outside));
                let is_written = decision.writes.source.is_some() || decision.writes.target.is_some();
                let both_written = decision.writes.source.is_some() && decision.writes.target.is_some();
                let away = was.filter(|(status, outside)| is_written && (*status != LinkStatus::Linked || *outside));
                let turns = item.link.as_ref().is_some_and(|link| link.outside != outside(link));
                if adopts || revived || !decision.settled.is_empty() || turns || item.behind.is_some() {
                    let held = held.map(|stored| Link { outside: outside(stored), ..stored.clone() });
                    let link = item.link.get_or_insert_with(|| self.new_link(&item.keys));
                    link.outside = outside(link);
                    if decision.verdict == Verdict::Link {
                        link.status = LinkStatus::Linked;
                    }
                    if !decision.settled.is_empty() && self.sent.contains_key(&link.id) {
                        // What was sent before is no longer what its bases follow.
                        link.revision += 1;
                    }
                    for (field, values) in decision.settled {
                        link.bases.set(field, values, self.written(field));
                    }
                    if adopts {
                        self.tell(keys.clone(), Fact::Adopted);
                    } else if revived && both_live {
                        self.tell(keys.clone(), Fact::Resumed);
                    }
                    match held {
                        None => {
                            let (status, outside) = away.unwrap_or((link.status, link.outside));
                            moved.push(Link { status, outside, ..link.clone() });
                        }
                        Some(stored) if turns && away.is_none() => moved.push(stored),
                        Some(_) => {}
                    }
                }
                if let Some((side, returning)) = self.rings.returning(index) {
                    let field = &self.program.fields[returning.field].name;
                    let message = format!(
                        "the value of `{field}` began in the {side} record with key {}, and comes back changed through other mappings",
                        returning.began
                    );
                    self.park(side, keys.clone(), Reason::Loop, Some(returning.field), Code::LOOPING, &message);
                    parked = true;
                }
                let Both { source, target } = decision.writes;
                let writes = [(Side::Source, source), (Side::Target, target)];
                let mut writes: Vec<_> = writes.into_iter().filter_map(|(side, write)| Some((side, write?))).collect();
                let looping = writes.iter().find_map(|(side, write)| {
                    Some((*side, item.link.as_ref().and_then(|link| self.looping(link, write))?))
                });
                if let (Some((side, looping)), false) = (looping, parked) {
                    let field = self.program.fields[looping].name.clone();
                    let message = format!("`{field}` was written four times in ten runs, each time against a change");
                    self.park(side, keys.clone(), Reason::Loop, Some(looping), Code::LOOPING, &message);
                    parked = true;
                }
                if parked {
                    // Nothing of it is written, so that nothing of it is half written.
                    unchanged = false;
                    writes.clear();
                }
                for (side, write) in writes {
                    if self.was_taken_back(side, &keys, &write) {
                        waits_for_change.extend(write.fields.iter().map(|field| field.field));
                        continue;
                    }
                    if side == toward {
                        unchanged = false;
                    }
                    let people = item.seen[side.other()].live().and_then(|record| record.stamp);
                    let link = item.link.clone();
                    sends[side].push(Send {
                        work: index,
                        link,
                        write,
                        people,
                        set: Vec::new(),
                        expect: Vec::new(),
                        owing: false,
                        away: away.filter(|_| both_written && side == Side::Target),
                        ends: Vec::new(),
                    });
                }
                if !waits_for_change.is_empty() {
                    let others = sends.source.last_mut().into_iter().chain(sends.target.last_mut());
                    others.filter(|send| send.work == index).for_each(|send| send.owing = true);
                }
                if decision.again && !parked && waits_for_change.is_empty() {
                    self.queue(item.from, &keys, 0);
                }
            }
        }
        let writes = Side::BOTH.iter().any(|side| sends[*side].last().is_some_and(|send| send.work == index));
        let deletes = matches!(decision.verdict, Verdict::Delete { .. });
        if self.options.dry && (writes || !decision.conflicts.is_empty() && !deletes) {
            // The other side's page will show this pair as well.
            for side in Side::BOTH {
                self.claimed[side].extend(keys[side].clone());
            }
        }
        let mut dealt = Vec::new();
        for step in decision.conflicts {
            let decides = matches!(step.outcome, ConflictOutcome::Decided | ConflictOutcome::Resolved);
            let waits = step.field.is_some_and(|field| waits_for_change.contains(&field));
            if decides && (deletes && !writes || parked || waits) {
                // What was decided is not done yet: it is decided again when it is.
                continue;
            }
            let (resolves, field) = (step.outcome == ConflictOutcome::Resolved, step.field);
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
                Some(send) if resolves => send.ends.push(ended),
                _ => self.end_conflict(ended),
            }
        }
        // Nothing can settle a field while one side has no record; should that come back, both are compared anew.
        let severed = item.link.as_ref().is_some_and(|link| link.status != LinkStatus::Linked);
        if severed && !writes || deletes && writes {
            for ended in self.left_open(item, open, &dealt) {
                match sends.source.last_mut().into_iter().chain(sends.target.last_mut()).find(|send| send.work == index)
                {
                    Some(send) => send.ends.push(ended),
                    None => self.end_conflict(ended),
                }
            }
        }
        // What is to be written is owed until that went through.
        if !writes && !parked && !deletes && waits_for_change.is_empty() {
            self.clear_both(&keys);
        }
        if unchanged && item.read.is_some() {
            if item.seen.source == Seen::Outside || item.seen.target == Seen::Outside {
                // Whatever changed goes over when both are back.
                self.counts.toward(toward).skipped += 1;
            } else {
                self.count_unchanged(toward, &keys);
            }
        }
    }

    /// The delete of a record, or what `deletes: { set: … }` makes of it, as
    /// long as it shows what it showed when that was decided.
    pub(super) fn delete(&self, work: usize, item: &Work, link: &Link, on: Side) -> Send {
        let sets = match &self.program.sides[on].deletes {
            DeletePolicy::Set(values) => Some(values.clone()),
            _ => None,
        };
        let expect = item.seen[on].live().map_or_else(Vec::new, |record| {
            let slot_of = |(index, field): (usize, &crate::compile::FieldProgram)| match field.read[on] {
                crate::compile::Reading::Slot(slot) => Some((slot, record.fields[index].clone())),
                _ => None,
            };
            self.program.fields.iter().enumerate().filter_map(slot_of).collect()
        });
        let action = if sets.is_some() { Action::Update } else { Action::Delete };
        Send {
            work,
            link: Some(link.clone()),
            write: RecordWrite { action, fields: Vec::new() },
            people: None,
            set: sets.unwrap_or_default(),
            expect,
            owing: false,
            away: None,
            ends: Vec::new(),
        }
    }

    pub(super) fn written(&self, field: usize) -> Side {
        match self.program.bases {
            BaseKind::Digests { written } => written,
            BaseKind::Values if self.program.fields[field].writes(Side::Target) => Side::Target,
            BaseKind::Values => Side::Source,
        }
    }

    pub(super) fn new_link(&self, keys: &Both<Option<Key>>) -> Link {
        Link {
            id: 0,
            keys: keys.clone().map(|key| key.unwrap_or_else(Key::untold)),
            revision: 1,
            status: LinkStatus::Linked,
            outside: false,
            bases: Bases::none(self.program.fields.len(), self.program.keeps_digests()),
            own_stamps: Both::default(),
            contests: Vec::new(),
            layout: self.layouts.current,
        }
    }

    /// A record that causes no write to `toward`, unless it did so before its
    /// own page was read.
    pub(super) fn count_unchanged(&mut self, toward: Side, keys: &Both<Option<Key>>) {
        let counted = keys[toward.other()].as_ref().is_some_and(|key| self.early[toward].remove(key));
        if !counted {
            self.counts.toward(toward).unchanged += 1;
        }
    }

    pub(super) fn clear_both(&mut self, keys: &Both<Option<Key>>) {
        for side in Side::BOTH {
            if let Some(key) = &keys[side] {
                self.clear_owed(side, key);
            }
        }
    }

    /// The field of a write that the engine has written four times in ten runs,
    /// each time against a change.
    fn looping(&self, link: &Link, write: &RecordWrite) -> Option<usize> {
        let recent = self.state.runs.saturating_sub(10);
        write.fields.iter().filter(|field| field.contested()).map(|field| field.field).find(|field| {
            link.contests.iter().filter(|contest| contest.field as usize == *field && contest.run > recent).count() >= 4
        })
    }

    pub(super) fn changes(&self, side: Side, send: &Send) -> Vec<FieldChange> {
        let mapped = send.write.fields.iter().map(|field| FieldChange {
            field: self.program.fields[field.field].name.clone(),
            before: field.against.as_ref().map(|against| against.expect.clone()),
            after: field.value.clone(),
            policy: field.against.as_ref().and_then(|against| against.policy).map(Policy::as_str),
        });
        mapped.chain(self.sets(side, &send.set)).collect()
    }

    /// What `deletes: { set: … }` sets.
    pub(super) fn sets<'s>(
        &self,
        side: Side,
        set: &'s [(usize, Value)],
    ) -> impl Iterator<Item = FieldChange> + use<'s> {
        let shape = self.program.sides[side].access.shape.clone();
        set.iter().map(move |(slot, value)| FieldChange {
            field: shape.fields[*slot].name.to_string(),
            before: None,
            after: value.clone(),
            policy: None,
        })
    }
}
