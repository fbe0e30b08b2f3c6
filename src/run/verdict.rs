//! What was decided about a pair is put where it belongs: a write, a link, a
//! spooled delete, something parked.

use super::conflicts::contested_writes;
use super::event::{Fact, FieldChange};
use super::execute::Work;
use super::send::Send;
use super::session::Session;
use crate::compile::{BaseKind, DeletePolicy, Policy};
use crate::connector::Action;
use crate::plan::{Bases, ConflictOutcome, ConflictStep, Decision, Link, LinkStatus, RecordWrite, Seen, Verdict};
use crate::record::{Both, Key, Side, Value};
use crate::state::{Conflict, Spooled};

/// How far a pair that stands, or comes to stand, was taken up.
#[derive(Default)]
struct Kept {
    /// Something is to be written to the side it was not read from.
    writes_toward: bool,
    /// Nothing is written after all.
    parked: bool,
    /// Fields that would be stored otherwise than they are sent.
    waits_for_change: Vec<usize>,
}

impl Session<'_> {
    /// Puts one decision where it belongs.
    pub(super) fn take_up(
        &mut self,
        index: usize,
        item: &mut Work,
        mut decision: Decision,
        open: &[Conflict],
        sends: &mut Both<Vec<Send>>,
        moved: &mut Vec<Link>,
    ) {
        let toward = item.from.other();
        let keys = item.all_keys();
        if self.is_in_doubt(&keys) && !self.ends_doubt(item, &decision.verdict) {
            self.counts.toward(toward).skipped += u64::from(item.read.is_some());
            return;
        }
        if let (Some(link), false) =
            (&item.link, matches!(decision.verdict, Verdict::Delete { .. } | Verdict::Reject { .. }))
        {
            self.let_off(link.id);
        }
        let contested = contested_writes(&decision);
        let mut kept = Kept::default();
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
                let status = LinkStatus::Severed { gone: *gone };
                // What was edited in the mapping is for when it is back.
                let link = self.held(item).or(item.link.as_ref()).expect("only a link is severed");
                let severed = Link { status, outside: false, ..link.clone() };
                moved.push(severed);
                let link = item.link.as_mut().expect("only a link is severed");
                (link.status, link.outside) = (status, false);
                self.tell(keys.clone(), Fact::Severed { gone: *gone });
            }
            Verdict::Delete { on } => self.take_up_delete(index, item, *on, sends),
            Verdict::Keep | Verdict::Link => kept = self.keep(index, item, &mut decision, sends, moved),
        }
        let writes = Side::BOTH.iter().any(|side| sends[*side].last().is_some_and(|send| send.work == index));
        let deletes = matches!(decision.verdict, Verdict::Delete { .. });
        if self.options.dry && (writes || !decision.conflicts.is_empty() && !deletes) {
            let is_half = Side::BOTH.iter().any(|side| item.seen[*side].is_gone());
            self.foresight.halves.extend(item.link.as_ref().filter(|_| is_half && !writes).map(|link| link.id));
            // The other side's page will show this pair as well.
            for side in Side::BOTH {
                self.foresight.claimed[side].extend(keys[side].clone());
            }
        }
        let mut steps = decision.conflicts;
        steps.retain(|step| {
            let decides = matches!(step.outcome, ConflictOutcome::Decided | ConflictOutcome::Resolved);
            let waits = step.field.is_some_and(|field| kept.waits_for_change.contains(&field));
            // What was decided is not done yet: it is decided again when it is.
            !(decides && (deletes && !writes || kept.parked || waits))
        });
        let dealt = self.take_up_conflicts(index, item, steps, &contested, open, sends);
        // Nothing can settle a field while one side has no record; should that come back, both are compared anew.
        let severed = item.link.as_ref().is_some_and(|link| link.status != LinkStatus::Linked);
        // A record that is made anew shows all that its counterpart shows.
        let is_made = |send: &Send| send.work == index && send.link.is_some() && send.action() == Action::Create;
        let anew = Side::BOTH.iter().any(|side| sends[*side].last().is_some_and(is_made));
        if severed && !writes || deletes && writes || anew {
            for ended in self.left_open(item, open, &dealt) {
                match sends.source.last_mut().into_iter().chain(sends.target.last_mut()).find(|send| send.work == index)
                {
                    Some(send) => send.ends.push(ended),
                    None => self.end_conflict(ended),
                }
            }
        }
        // What is to be written is owed until that went through.
        if !writes && !kept.parked && !deletes && kept.waits_for_change.is_empty() {
            self.clear_both(&keys);
        }
        if !deletes && !kept.parked && !kept.writes_toward && item.read.is_some() {
            if item.seen.source == Seen::Outside || item.seen.target == Seen::Outside {
                // Whatever changed goes over when both are back.
                self.counts.toward(toward).skipped += 1;
            } else {
                self.count_unchanged(toward, &keys);
            }
        }
    }

    /// A record in doubt whose counterpart stands, linked to it: the doubt is
    /// over. Whatever else was decided waits.
    fn ends_doubt(&mut self, item: &Work, verdict: &Verdict) -> bool {
        let found = Side::BOTH.iter().all(|side| item.seen[*side].live().is_some());
        if !(found && matches!(verdict, Verdict::Keep | Verdict::Link)) {
            return false;
        }
        let keys = item.all_keys();
        for side in Side::BOTH {
            if let Some(key) = &keys[side] {
                self.in_doubt.remove(&(side, key.clone()));
                self.agreed.remove(&(side, key.clone()));
            }
        }
        true
    }

    /// A delete is sent where the deletes are being carried out, and spooled
    /// until then.
    fn take_up_delete(&mut self, index: usize, item: &Work, on: Side, sends: &mut Both<Vec<Send>>) {
        let link = item.link.as_ref().expect("only a linked record is deleted");
        if self.deleting {
            sends[on].push(self.delete(index, item, link, on));
            return;
        }
        let spooled = Spooled { link: link.id, keys: link.keys.clone(), on, since: self.setup.world.now() };
        if self.options.dry {
            self.foresight.deletes.insert(link.id, spooled);
        } else {
            self.hold_back(spooled);
        }
        self.tell(item.all_keys(), Fact::Spooled { on });
    }

    /// A pair that stands, or comes to stand: its link, and what is written.
    fn keep(
        &mut self,
        index: usize,
        item: &mut Work,
        decision: &mut Decision,
        sends: &mut Both<Vec<Send>>,
        moved: &mut Vec<Link>,
    ) -> Kept {
        let keys = item.all_keys();
        let mut kept = Kept::default();
        let was = item.link.as_ref().map(|link| (link.status, link.outside));
        let is_written = Side::BOTH.map(|side| decision.writes[side].is_some());
        // That one of them was away is all that tells of what it missed, until that is written.
        let away =
            was.filter(|(status, outside)| is_written.contains(&true) && (*status != LinkStatus::Linked || *outside));
        self.keep_link(item, decision, away, moved);
        if let Some(parked) = self.comes_back(index, item).or_else(|| self.fights(item, decision)) {
            // Nothing of it is written, so that nothing of it is half written.
            self.put_aside(parked);
            return Kept { parked: true, ..kept };
        }
        let writes = std::mem::take(&mut decision.writes);
        for (side, write) in [(Side::Source, writes.source), (Side::Target, writes.target)] {
            let Some(write) = write else { continue };
            if self.was_taken_back(side, &keys, &write) {
                kept.waits_for_change.extend(write.fields.iter().map(|field| field.field));
                continue;
            }
            kept.writes_toward |= side == item.from.other();
            sends[side].push(Send {
                work: index,
                link: item.link.clone(),
                write,
                // What differs from its base there was changed by people, and before this write.
                people: item.seen[side].live().and_then(|record| record.stamp),
                set: Vec::new(),
                expect: Vec::new(),
                // What it still owes, it owes until both sides are written.
                owing: is_written == [true, true] && side == Side::Target,
                away: away.filter(|_| is_written == [true, true] && side == Side::Target),
                again: decision.again,
                ends: Vec::new(),
            });
        }
        let written = Side::BOTH.into_iter().filter(|side| sends[*side].last().is_some_and(|send| send.work == index));
        self.count_steps(item, written.count() as u64, decision.again);
        if !kept.waits_for_change.is_empty() {
            let others = sends.source.last_mut().into_iter().chain(sends.target.last_mut());
            others.filter(|send| send.work == index).for_each(|send| send.owing = true);
        } else if decision.again {
            self.queue(item.from, &keys, 0);
        }
        kept
    }

    /// Brings the link of a pair up to what was decided; it is made to last
    /// where that is no part of a write.
    fn keep_link(
        &mut self,
        item: &mut Work,
        decision: &mut Decision,
        away: Option<(LinkStatus, bool)>,
        moved: &mut Vec<Link>,
    ) {
        let keys = item.all_keys();
        let links = decision.verdict == Verdict::Link;
        let is_new = item.link.as_ref().is_none_or(|link| link.id == 0);
        let adopts = is_new && keys.source.is_some() && keys.target.is_some();
        let revived = item.link.as_ref().is_some_and(|link| link.status != LinkStatus::Linked) && links;
        let both_live = Side::BOTH.iter().all(|side| item.seen[*side].live().is_some());
        let waits = |step: &ConflictStep| {
            use ConflictOutcome::{Moved, Opened, Waiting};
            matches!(step.outcome, Opened | Moved | Waiting)
        };
        let done = decision.writes.source.is_none()
            && decision.writes.target.is_none()
            && !decision.conflicts.iter().any(waits);
        // What other rules make of a pair is known once both records stand and agree.
        let is_written = decision.writes.source.is_some() || decision.writes.target.is_some();
        let filling = || self.to_be_filled(item).filter(|_| is_written);
        let held = self.held(item).filter(|_| !(both_live && done)).or_else(filling);
        let left = Side::BOTH.iter().any(|side| item.seen[*side] == Seen::Outside);
        let outside = |link: &Link| left || link.outside && !both_live;
        let turns = item.link.as_ref().is_some_and(|link| link.outside != outside(link));
        if !(adopts || revived || !decision.settled.is_empty() || turns || item.behind.is_some()) {
            return;
        }
        let held = held.map(|stored| Link { outside: outside(stored), ..stored.clone() });
        let link = item.link.get_or_insert_with(|| self.new_link(&item.keys));
        link.outside = outside(link);
        if links {
            link.status = LinkStatus::Linked;
        }
        if !decision.settled.is_empty() && self.sent.contains_key(&link.id) {
            // What was sent before is no longer what its bases follow.
            link.revision += 1;
        }
        for (field, values) in std::mem::take(&mut decision.settled) {
            link.bases.set(field, values, self.written(field));
        }
        if adopts {
            self.tell(keys, Fact::Adopted);
        } else if revived && both_live {
            self.tell(keys, Fact::Resumed);
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
            again: false,
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

    /// A write that is counted before a page shows the record it comes from, and
    /// not once more then.
    pub(super) fn count_early(&mut self, side: Side, item: &Work, from: &Key) {
        let ahead = item.read.is_none() && !self.reads;
        if item.from == side || ahead {
            self.early[side].insert(from.clone());
        }
    }

    pub(super) fn clear_both(&mut self, keys: &Both<Option<Key>>) {
        for side in Side::BOTH {
            if let Some(key) = &keys[side] {
                self.clear_owed(side, key);
            }
        }
    }

    pub(super) fn changes(&self, side: Side, send: &Send) -> Vec<FieldChange> {
        self.field_changes(&send.write).chain(self.sets(side, &send.set)).collect()
    }

    /// What a write makes of fields of the mapping.
    pub(super) fn field_changes<'s>(&'s self, write: &'s RecordWrite) -> impl Iterator<Item = FieldChange> + use<'s> {
        write.fields.iter().map(|field| FieldChange {
            field: self.program.fields[field.field].name.clone(),
            before: field.against.as_ref().map(|against| against.expect.clone()),
            after: field.value.clone(),
            policy: field.against.as_ref().and_then(|against| against.policy).map(Policy::as_str),
            over: field.contested(),
        })
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
            over: false,
        })
    }
}
