//! Decisions become writes, and writes become links.

use super::event::{Fact, FieldChange};
use super::fault::{SETTLING, is_harmless};
use super::report::{Planned, Trouble};
use super::session::Session;
use crate::compile::{BaseKind, DeletePolicy, Limit, Policy};
use crate::connector::{Action, Change, Fault, Outcome, Refusal, Settled};
use crate::plan::{
    Bases, ConflictOutcome, ConflictStep, Contest, Decision, Link, LinkStatus, OpenConflict, OwnStamp, Pair,
    RecordWrite, Seen, Verdict, decide,
};
use crate::record::{Both, Key, Side, Value};
use crate::state::{Answered, Conflict, ConflictFilter, ConflictStatus, Intent, IntentField, Intents, Reason, Spooled};

/// A pair of records to be dealt with.
#[derive(Debug)]
pub(super) struct Work {
    pub link: Option<Link>,
    /// The keys of a pair without a link, as far as they are known.
    pub keys: Both<Option<Key>>,
    pub seen: Both<Seen>,
    /// The side it was read from as a change; `None` where it is looked at again.
    pub read: Option<Side>,
    /// The side it is looked at from.
    pub from: Side,
}

impl Work {
    pub(super) fn all_keys(&self) -> Both<Option<Key>> {
        match &self.link {
            Some(link) => link.keys.clone().map(Some),
            None => self.keys.clone(),
        }
    }
}

/// A write that is about to be sent.
struct Send {
    work: usize,
    /// The link as it is before the write; a new one has number 0.
    link: Link,
    write: RecordWrite,
    /// When people made the change it carries.
    people: Option<chrono::DateTime<chrono::Utc>>,
    /// Slots that are set beside the fields (`deletes: { set: … }`).
    set: Vec<(usize, Value)>,
    /// Slots that must still stand beside those of the fields.
    expect: Vec<(usize, Value)>,
}

impl Session<'_> {
    pub(super) async fn apply(&mut self, mut work: Vec<Work>) -> Result<(), Trouble> {
        if work.is_empty() {
            return self.flush().await;
        }
        let open = self.open_conflicts(&work).await?;
        let mut sends: Both<Vec<Send>> = Both::default();
        // Links that are new or moved without a write, by their work.
        let mut moved: Vec<(usize, Link)> = Vec::new();
        for (index, item) in work.iter_mut().enumerate() {
            let waiting: Vec<OpenConflict> =
                item.link.as_ref().map(|link| self.waiting(link, &open)).unwrap_or_default();
            let stale = item.link.as_ref().map_or(&[][..], |link| self.layouts.stale(link));
            let pair = Pair { link: item.link.as_ref(), seen: item.seen.as_ref(), open: &waiting, stale };
            let decision = decide(self.program, &pair);
            self.take_up(index, item, decision, &open, &mut sends, &mut moved);
        }
        self.limit_writes(&sends)?;
        if self.options.dry {
            self.only_plan(&work, &sends);
            return Ok(());
        }
        // What needs no write is made to last first; then the target is written, then the source.
        let adopted: Vec<usize> = moved.iter().filter(|(_, link)| link.id == 0).map(|(index, _)| *index).collect();
        self.pending.links.extend(moved.into_iter().map(|(_, link)| link));
        // What a policy decides is on record before it is done; what a person decided waits until it is.
        let (resolved, told): (Vec<_>, Vec<_>) = std::mem::take(&mut self.pending.conflicts)
            .into_iter()
            .partition(|conflict| conflict.status == ConflictStatus::Resolved);
        self.pending.conflicts = told;
        if adopted.is_empty() {
            if !(self.pending.links.is_empty() && self.pending.conflicts.is_empty()) {
                self.flush().await?;
            }
        } else {
            let disputed: Vec<Key> = self
                .pending
                .conflicts
                .iter()
                .filter(|conflict| conflict.link == 0 && conflict.status == ConflictStatus::Open)
                .map(|conflict| conflict.keys.source.clone())
                .collect();
            self.flush().await?;
            self.number_links(&mut sends).await?;
            let links = self.setup.store.links(&self.program.name, Side::Source, &disputed).await?;
            self.in_conflict.extend(links.into_iter().flatten().map(|link| link.id));
        }
        self.pending.conflicts.extend(resolved);
        let Both { source, target } = sends;
        let written = self.send(Side::Target, target, &work).await?;
        let source = source
            .into_iter()
            .map(|mut send| {
                if let Some(link) = written.iter().find(|(index, _)| *index == send.work).map(|(_, link)| link) {
                    send.link = link.clone();
                }
                send
            })
            .collect();
        self.send(Side::Source, source, &work).await?;
        self.flush().await
    }

    /// Puts one decision where it belongs.
    fn take_up(
        &mut self,
        index: usize,
        item: &mut Work,
        decision: Decision,
        open: &[Conflict],
        sends: &mut Both<Vec<Send>>,
        moved: &mut Vec<(usize, Link)>,
    ) {
        let toward = item.from.other();
        let keys = item.all_keys();
        let mut unchanged = true;
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
                self.pending.forget.push(link.id);
                self.tell(keys.clone(), Fact::Forgotten);
            }
            Verdict::Sever { gone } => {
                let mut link = item.link.clone().expect("only a link is severed");
                link.status = LinkStatus::Severed { gone: *gone };
                self.tell(keys.clone(), Fact::Severed { gone: *gone });
                moved.push((index, link));
            }
            Verdict::Delete { on } => {
                let link = item.link.as_ref().expect("only a linked record is deleted");
                if self.deleting || self.options.dry {
                    sends[*on].push(self.delete(index, item, link, *on));
                } else {
                    self.pending.spool.push(Spooled {
                        link: link.id,
                        keys: link.keys.clone(),
                        on: *on,
                        since: self.setup.world.now(),
                    });
                    self.tell(keys.clone(), Fact::Spooled { on: *on });
                }
            }
            Verdict::Keep | Verdict::Link => {
                let adopts = item.link.is_none() && keys.source.is_some() && keys.target.is_some();
                let revived = item.link.as_ref().is_some_and(|link| link.status != LinkStatus::Linked)
                    && decision.verdict == Verdict::Link;
                let mut link = item.link.clone().unwrap_or_else(|| self.new_link(&keys));
                let stale_layout = link.layout != self.layouts.current;
                if adopts || revived || !decision.settled.is_empty() || stale_layout {
                    link.status = LinkStatus::Linked;
                    link.layout = self.layouts.current;
                    for (field, values) in decision.settled {
                        link.bases.set(field, values, self.written(field));
                    }
                    if adopts {
                        self.tell(keys.clone(), Fact::Adopted);
                    }
                    if adopts || item.link.is_some() {
                        moved.push((index, link.clone()));
                    }
                }
                let writes = decision.writes;
                for side in Side::BOTH {
                    let write = match side {
                        Side::Source => writes.source.clone(),
                        Side::Target => writes.target.clone(),
                    };
                    let Some(write) = write else { continue };
                    if let Some(looping) = self.looping(&link, &write) {
                        let field = self.program.fields[looping].name.clone();
                        let message =
                            format!("`{field}` was written four times in ten runs, each time against a change");
                        self.park(side, keys.clone(), Reason::Loop, Some(looping), Some("E0706"), &message);
                        return;
                    }
                    if side == toward {
                        unchanged = false;
                    }
                    let people = item.seen[side.other()].live().and_then(|record| record.stamp);
                    sends[side].push(Send {
                        work: index,
                        link: link.clone(),
                        write,
                        people,
                        set: Vec::new(),
                        expect: Vec::new(),
                    });
                }
                if decision.again {
                    self.queue(item.from, &keys, 0);
                }
                item.link = item.link.take().or_else(|| adopts.then_some(link));
            }
        }
        let writes = Side::BOTH.iter().any(|side| sends[*side].last().is_some_and(|send| send.work == index));
        if self.options.dry && (writes || !decision.conflicts.is_empty()) {
            // The other side's page will show this pair as well.
            for side in Side::BOTH {
                self.claimed[side].extend(keys[side].clone());
            }
        }
        for step in decision.conflicts {
            self.record_conflict(item, &keys, step, open);
        }
        // What is to be written is owed until that went through.
        if !writes {
            self.clear_both(&keys);
        }
        if unchanged && item.read.is_some() {
            self.count_unchanged(toward, &keys);
        }
    }

    /// The delete of a record, or what `deletes: { set: … }` makes of it, as
    /// long as it shows what it showed when that was decided.
    fn delete(&self, work: usize, item: &Work, link: &Link, on: Side) -> Send {
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
            link: link.clone(),
            write: RecordWrite { action, fields: Vec::new() },
            people: None,
            set: sets.unwrap_or_default(),
            expect,
        }
    }

    pub(super) fn written(&self, field: usize) -> Side {
        match self.program.bases {
            BaseKind::Digests { written } => written,
            BaseKind::Values if self.program.fields[field].writes(Side::Target) => Side::Target,
            BaseKind::Values => Side::Source,
        }
    }

    fn new_link(&self, keys: &Both<Option<Key>>) -> Link {
        Link {
            id: 0,
            keys: keys.clone().map(|key| key.unwrap_or_else(|| Key::from_canonical(""))),
            revision: 1,
            status: LinkStatus::Linked,
            bases: Bases::none(self.program.fields.len(), matches!(self.program.bases, BaseKind::Digests { .. })),
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

    fn clear_both(&mut self, keys: &Both<Option<Key>>) {
        for side in Side::BOTH {
            if let Some(key) = &keys[side] {
                let key = key.clone();
                self.clear_owed(side, &key);
            }
        }
    }

    async fn open_conflicts(&self, work: &[Work]) -> Result<Vec<Conflict>, Trouble> {
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
    fn waiting(&self, link: &Link, open: &[Conflict]) -> Vec<OpenConflict> {
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

    fn record_conflict(&mut self, item: &Work, keys: &Both<Option<Key>>, step: ConflictStep, open: &[Conflict]) {
        if step.outcome == ConflictOutcome::Waiting {
            return;
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
        self.pending.conflicts.push(Conflict {
            id: known.map_or(0, |conflict| conflict.id),
            mapping: self.program.name.to_string(),
            link,
            keys: keys.clone().map(|key| key.unwrap_or_else(|| Key::from_canonical(""))),
            field: field.clone(),
            bases: step.bases.clone(),
            values: step.values.clone(),
            policy: step.policy,
            status,
            at: self.setup.world.now(),
            resolution: known
                .filter(|_| step.outcome == ConflictOutcome::Resolved)
                .and_then(|conflict| conflict.resolution.clone()),
        });
        self.tell(
            keys.clone(),
            Fact::Conflict {
                field,
                outcome: step.outcome,
                bases: step.bases,
                values: step.values,
                policy: step.policy.as_str(),
            },
        );
    }

    /// The field of a write that the engine has written four times in ten runs,
    /// each time against a change.
    fn looping(&self, link: &Link, write: &RecordWrite) -> Option<usize> {
        let recent = self.state.runs.saturating_sub(10);
        write.fields.iter().filter(|field| field.contested).map(|field| field.field).find(|field| {
            link.contests.iter().filter(|contest| contest.field as usize == *field && contest.run > recent).count() >= 4
        })
    }

    /// `limits` on creates and updates: they hold no first sync, and stop the
    /// run where they are reached.
    fn limit_writes(&self, sends: &Both<Vec<Send>>) -> Result<(), Trouble> {
        if !self.state.first_sync_done || self.options.over_limit {
            return Ok(());
        }
        let limits = &self.program.limits;
        for (action, limit) in [(Action::Create, limits.create), (Action::Update, limits.update)] {
            let Some(limit) = limit else { continue };
            let allowed = limit.of(self.links_at_start);
            let done = |side: Side| {
                let counts = if side == Side::Target { &self.counts.to_target } else { &self.counts.to_source };
                if action == Action::Create { counts.created } else { counts.updated }
            };
            let asked: usize = Side::BOTH
                .iter()
                .map(|side| sends[*side].iter().filter(|send| send.write.action == action).count())
                .sum();
            let total = asked as u64 + done(Side::Source) + done(Side::Target);
            if total > allowed {
                let (word, setting) =
                    if action == Action::Create { ("create", "create") } else { ("update", "update") };
                return Err(Trouble::Refused {
                    code: "E0904",
                    message: format!(
                        "this run would {word} more than {allowed} records ({}): `limits: {{ {setting}: … }}` stops it; \
                         `--over-limit` lets one run through",
                        match limit {
                            Limit::Count(_) => "the limit".to_owned(),
                            Limit::Percent(percent) => format!("{percent} % of {} links", self.links_at_start),
                        }
                    ),
                });
            }
        }
        Ok(())
    }

    fn only_plan(&mut self, work: &[Work], sends: &Both<Vec<Send>>) {
        for side in Side::BOTH {
            for send in &sends[side] {
                let counts = self.counts.toward(side);
                match send.write.action {
                    Action::Create => counts.created += 1,
                    Action::Update => counts.updated += 1,
                    Action::Delete => counts.deleted += 1,
                }
                self.planned.push(Planned {
                    side,
                    action: send.write.action,
                    keys: work[send.work].all_keys(),
                    fields: self.changes(side, send),
                });
            }
        }
        self.pending = crate::state::Commit::default();
    }

    fn changes(&self, side: Side, send: &Send) -> Vec<FieldChange> {
        let mapped = send.write.fields.iter().map(|field| FieldChange {
            field: self.program.fields[field.field].name.clone(),
            before: field.expect.clone(),
            after: field.value.clone(),
            policy: field.policy.map(Policy::as_str),
        });
        let shape = &self.program.sides[side].access.shape;
        let set = send.set.iter().map(|(slot, value)| FieldChange {
            field: shape.fields[*slot].name.to_string(),
            before: None,
            after: value.clone(),
            policy: None,
        });
        mapped.chain(set).collect()
    }

    /// Newly adopted links got their numbers in the commit.
    async fn number_links(&mut self, sends: &mut Both<Vec<Send>>) -> Result<(), Trouble> {
        for side in Side::BOTH {
            let unnumbered = |send: &&mut Send| send.link.id == 0 && send.write.action != Action::Create;
            let keys: Vec<Key> =
                sends[side].iter_mut().filter(unnumbered).map(|send| send.link.keys.source.clone()).collect();
            if keys.is_empty() {
                continue;
            }
            let links = self.setup.store.links(&self.program.name, Side::Source, &keys).await?;
            for (send, link) in sends[side].iter_mut().filter(unnumbered).zip(links) {
                send.link.id = link.expect("what was committed can be read").id;
            }
        }
        Ok(())
    }

    /// Writes a batch to one side: intents, the write, what came of it. Answers
    /// with the links of the writes that were acknowledged.
    async fn send(&mut self, side: Side, sends: Vec<Send>, work: &[Work]) -> Result<Vec<(usize, Link)>, Trouble> {
        let mut acknowledged = Vec::new();
        let size = self.program.sides[side].access.batch.max(1);
        let mut rest = sends;
        while !rest.is_empty() {
            let later = rest.split_off(rest.len().min(size));
            self.send_batch(side, rest, work, &mut acknowledged).await?;
            rest = later;
        }
        Ok(acknowledged)
    }

    async fn send_batch(
        &mut self,
        side: Side,
        sends: Vec<Send>,
        work: &[Work],
        acknowledged: &mut Vec<(usize, Link)>,
    ) -> Result<(), Trouble> {
        let setup = self.setup;
        let fence = self.fence.clone().expect("a run that writes has taken its mapping");
        let mut attempt = 1;
        loop {
            let allot = if self.program.sides[side].key_is_mapped() {
                0
            } else {
                sends.iter().filter(|send| send.write.action == Action::Create).count()
            };
            let writing = setup.call(side, || setup.objects[side].begin(allot)).await?;
            let (changes, intents) = self.intents(side, &sends, writing.keys(), writing.token());
            let id = setup.store.intend(&fence, &intents).await?;
            match writing.write(&changes).await {
                Ok(outcomes) => return self.answered(side, sends, work, (id, intents), outcomes, acknowledged).await,
                Err(fault) => {
                    let applied = !is_harmless(&fault) && self.settle(side, intents.token.as_deref(), &fault).await?;
                    if applied {
                        let outcomes = changes
                            .iter()
                            .map(|change| Outcome::Done { key: change.key.clone(), stored: None })
                            .collect();
                        return self.answered(side, sends, work, (id, intents), outcomes, acknowledged).await;
                    }
                    // Nothing of it is in effect: the intents are void.
                    self.pending
                        .answered
                        .push(Answered { intents: id, not_made: (0..intents.creates.len()).collect() });
                    self.flush().await?;
                    setup.wait(side, &mut attempt, fault).await?;
                }
            }
        }
    }

    /// Asks a side what became of a batch without an answer. True: it is in
    /// effect; false: it is not. Where only a look can tell, the run ends here,
    /// and the next one recovers.
    async fn settle(&mut self, side: Side, token: Option<&str>, fault: &Fault) -> Result<bool, Trouble> {
        let mut waited = std::time::Duration::ZERO;
        let mut pause = std::time::Duration::from_millis(50);
        loop {
            match self.setup.call(side, || self.setup.objects[side].settle(token)).await? {
                Settled::Applied => return Ok(true),
                Settled::NotApplied => return Ok(false),
                Settled::Running if waited < SETTLING => {
                    self.setup.world.sleep(pause).await;
                    waited += pause;
                    pause = (pause * 2).min(std::time::Duration::from_secs(5));
                }
                Settled::Look | Settled::Running => return Err(Trouble::Side(side, fault.clone())),
            }
        }
    }

    /// What is sent, and what is recorded before it is.
    fn intents(
        &self,
        side: Side,
        sends: &[Send],
        allotted: &[Vec<Value>],
        token: Option<String>,
    ) -> (Vec<Change>, Intents) {
        let program = &self.program.sides[side];
        let mut allotted = allotted.iter();
        let mut changes = Vec::with_capacity(sends.len());
        let mut intents = Intents { side, token, at: self.setup.world.now(), creates: Vec::new(), changes: Vec::new() };
        for send in sends {
            let write = &send.write;
            let slot = |field: usize| {
                self.program.fields[field].toward[side]
                    .as_ref()
                    .expect("only a field that is written is in a write")
                    .slot
            };
            let set = write.fields.iter().map(|field| (slot(field.field), field.value.clone()));
            if write.action == Action::Create {
                let (in_key, set): (Vec<_>, Vec<_>) = set.partition(|(slot, _)| program.access.key.contains(slot));
                let given = if program.key_is_mapped() { None } else { allotted.next() };
                let key: Vec<Value> = program
                    .access
                    .key
                    .iter()
                    .enumerate()
                    .map(|(position, slot)| {
                        in_key
                            .iter()
                            .find(|(mapped, _)| mapped == slot)
                            .map(|(_, value)| value.clone())
                            .or_else(|| given.map(|given| given[position].clone()))
                            .unwrap_or(Value::Missing)
                    })
                    .collect();
                let mut link = send.link.clone();
                link.keys[side] = Key::new(&key).unwrap_or_else(|| Key::from_canonical(""));
                link.status = LinkStatus::Linked;
                for field in &write.fields {
                    link.bases.set(field.field, field.bases.clone(), self.written(field.field));
                }
                if link.id == 0 {
                    intents.creates.push(link);
                } else {
                    // A record that is made anew for a link that stands.
                    intents.changes.push(Self::intent(&link, write));
                }
                let key = if key.iter().any(Value::is_null) { Vec::new() } else { key };
                changes.push(Change { action: Action::Create, key, set, expect: Vec::new() });
            } else {
                let expect = write
                    .fields
                    .iter()
                    .filter_map(|field| Some((slot(field.field), field.expect.clone()?)))
                    .chain(send.expect.iter().cloned())
                    .collect();
                intents.changes.push(Self::intent(&send.link, write));
                changes.push(Change {
                    action: write.action,
                    key: self.key_values(side, &send.link.keys[side]),
                    set: set.chain(send.set.iter().cloned()).collect(),
                    expect,
                });
            }
        }
        (changes, intents)
    }

    fn intent(link: &Link, write: &RecordWrite) -> Intent {
        Intent {
            link: link.id,
            keys: link.keys.clone(),
            revision: link.revision + 1,
            action: write.action,
            fields: write
                .fields
                .iter()
                .map(|field| IntentField {
                    field: field.field,
                    value: field.value.clone(),
                    expect: field.expect.clone(),
                    bases: field.bases.clone(),
                })
                .collect(),
        }
    }

    /// Takes in what a side answered to a batch.
    async fn answered(
        &mut self,
        side: Side,
        sends: Vec<Send>,
        work: &[Work],
        (id, intents): (crate::state::IntentsId, Intents),
        outcomes: Vec<Outcome>,
        acknowledged: &mut Vec<(usize, Link)>,
    ) -> Result<(), Trouble> {
        let mut not_made = Vec::new();
        let mut undo = Vec::new();
        let mut creates = intents.creates.into_iter().enumerate();
        for (send, outcome) in sends.into_iter().zip(outcomes) {
            let item = &work[send.work];
            let recorded = (send.write.action == Action::Create && send.link.id == 0)
                .then(|| creates.next().expect("one for each create"));
            let mut keys = item.all_keys();
            match outcome {
                Outcome::Done { key, stored } => {
                    let mut link = recorded.as_ref().map_or_else(|| send.link.clone(), |(_, link)| link.clone());
                    if let Some(key) = Key::new(&key) {
                        link.keys[side] = key;
                    }
                    keys[side] = Some(link.keys[side].clone());
                    self.clear_both(&keys);
                    if item.from == side {
                        // Written before the other side's page shows the record.
                        self.early[side].extend(keys[side.other()].clone());
                    }
                    let otherwise = self.acknowledge(side, &send, &mut link, stored.as_deref());
                    if send.write.action == Action::Delete {
                        self.pending.forget.push(link.id);
                        self.counts.toward(side).deleted += 1;
                        self.tell(keys, Fact::Written { side, action: Action::Delete, fields: Vec::new() });
                        continue;
                    }
                    if !send.set.is_empty() {
                        link.status = LinkStatus::Severed { gone: side.other() };
                    }
                    match &recorded {
                        Some((_, as_recorded)) if otherwise.is_none() && link == *as_recorded => {}
                        Some((position, _)) => {
                            not_made.push(*position);
                            self.pending.links.push(link.clone());
                        }
                        None => self.pending.links.push(link.clone()),
                    }
                    let counts = self.counts.toward(side);
                    match send.write.action {
                        Action::Create => counts.created += 1,
                        Action::Update => counts.updated += 1,
                        Action::Delete => counts.deleted += 1,
                    }
                    if send.write.action != Action::Create || recorded.is_none() {
                        let fields = self.changes(side, &send);
                        self.tell(keys.clone(), Fact::Written { side, action: send.write.action, fields });
                    }
                    if let Some((field, message)) = otherwise {
                        undo.push(self.reversal(side, &send, &link, stored.as_deref()));
                        self.park(side, keys, Reason::Rejected, Some(field), Some("E0703"), &message);
                    }
                    acknowledged.push((send.work, link));
                }
                Outcome::Moved | Outcome::Gone => {
                    not_made.extend(recorded.map(|(position, _)| position));
                    self.moved_away(side, item, keys);
                }
                Outcome::Exists => {
                    not_made.extend(recorded.map(|(position, _)| position));
                    if self.matches_by_key(side) {
                        self.empty[side] = false;
                        self.moved_away(side, item, keys);
                    } else {
                        let message = format!("a {side} record with this key is there already, and does not match");
                        self.park(side, keys, Reason::Rejected, None, Some("E0707"), &message);
                    }
                }
                Outcome::Refused(refusal) => {
                    not_made.extend(recorded.map(|(position, _)| position));
                    self.park_refused(side, keys, &refusal);
                }
            }
        }
        self.pending.answered.push(Answered { intents: id, not_made });
        self.flush().await?;
        self.undo(side, undo).await
    }

    /// What takes a write back whose values were not stored as they were sent,
    /// and the link as it was before.
    fn reversal(&self, side: Side, send: &Send, link: &Link, stored: Option<&[Value]>) -> (Change, Link) {
        let key = self.key_values(side, &link.keys[side]);
        if send.write.action == Action::Create {
            return (Change { action: Action::Delete, key, set: Vec::new(), expect: Vec::new() }, link.clone());
        }
        let slots = send.write.fields.iter().filter_map(|write| {
            let slot = self.program.fields[write.field].toward[side].as_ref()?.slot;
            Some((slot, write.expect.clone()?, stored?[slot].clone()))
        });
        let (set, expect) = slots.map(|(slot, before, now)| ((slot, before), (slot, now))).unzip();
        let before = Link { id: link.id, revision: link.revision + 1, ..send.link.clone() };
        (Change { action: Action::Update, key, set, expect }, before)
    }

    /// Takes writes back. Where that fails, what stands there stays, with bases
    /// that keep it from flowing anywhere.
    async fn undo(&mut self, side: Side, undo: Vec<(Change, Link)>) -> Result<(), Trouble> {
        if undo.is_empty() {
            return Ok(());
        }
        let (changes, links): (Vec<Change>, Vec<Link>) = undo.into_iter().unzip();
        let writing = self.setup.call(side, || self.setup.objects[side].begin(0)).await?;
        let outcomes = writing.write(&changes).await.map_err(|fault| Trouble::Side(side, fault))?;
        let keys: Vec<Key> = links.iter().map(|link| link.keys[side].clone()).collect();
        let stored = self.setup.store.links(&self.program.name, side, &keys).await?;
        for (((change, mut link), outcome), stored) in changes.iter().zip(links).zip(outcomes).zip(stored) {
            let (Outcome::Done { .. }, Some(stored)) = (outcome, stored) else { continue };
            if change.action == Action::Delete {
                self.pending.forget.push(stored.id);
            } else {
                link.id = stored.id;
                self.pending.links.push(link);
            }
        }
        self.flush().await
    }

    /// Moves the bases of the fields that were written, and of no others.
    /// Answers with the first field whose stored value means something else
    /// than what was sent.
    fn acknowledge(
        &self,
        side: Side,
        send: &Send,
        link: &mut Link,
        stored: Option<&[Value]>,
    ) -> Option<(usize, String)> {
        let mut otherwise = None;
        let is_new = send.write.action == Action::Create;
        link.status = LinkStatus::Linked;
        link.layout = self.layouts.current;
        if link.id != 0 {
            link.revision += 1;
        }
        for write in &send.write.fields {
            let field = &self.program.fields[write.field];
            let mut bases = write.bases.clone();
            if let Some(row) = stored
                && let Ok(shown) = field.read(side, row)
            {
                if field.same(side, &shown, &write.value) {
                    if field.same(side, &bases[side], &write.value) {
                        bases[side] = shown;
                    }
                } else {
                    // What stands there is no change of anybody's: it must not flow back.
                    bases[side] = shown.clone();
                    otherwise.get_or_insert_with(|| {
                        let message =
                            format!("the {side} stored `{shown}` where `{}` was sent to `{}`", write.value, field.name);
                        (write.field, message)
                    });
                }
            }
            link.bases.set(write.field, bases, self.written(write.field));
            if write.contested {
                let recent = self.state.runs.saturating_sub(10);
                link.contests.retain(|contest| contest.run > recent);
                let field = u32::try_from(write.field).unwrap_or(u32::MAX);
                link.contests.push(Contest { field, run: self.state.runs });
            }
        }
        let shown =
            self.program.sides[side].modified.and_then(|slot| stored.and_then(|row| super::batch::stamp(&row[slot])));
        if let (Some(shown), Some(people), false) = (shown, send.people, is_new) {
            link.own_stamps[side] = Some(OwnStamp { shown, people });
        }
        otherwise
    }

    /// Somebody was quicker: the pair is looked at again before the run ends.
    fn moved_away(&mut self, side: Side, item: &Work, keys: Both<Option<Key>>) {
        let from = item.from;
        let Some(key) = keys[from].clone() else { return };
        let rounds = self.again[from].get(&key).copied().unwrap_or(0) + 1;
        if rounds <= 3 {
            self.queue(from, &keys, rounds);
        } else {
            let message = format!("the {side} record changed each time it was about to be written");
            self.park(side, keys, Reason::Rejected, None, Some("E0803"), &message);
        }
    }

    /// Puts a record on the list of those to be looked at again.
    pub(super) fn queue(&mut self, side: Side, keys: &Both<Option<Key>>, rounds: u32) {
        if let Some(key) = &keys[side] {
            self.again[side].insert(key.clone(), rounds);
        }
    }

    fn park_refused(&mut self, side: Side, keys: Both<Option<Key>>, refusal: &Refusal) {
        let field = refusal.slot.and_then(|slot| {
            self.program.fields.iter().position(|field| field.toward[side].as_ref().is_some_and(|way| way.slot == slot))
        });
        let message = if refusal.native.is_empty() {
            refusal.message.clone()
        } else {
            format!("{} ({})", refusal.message, refusal.native)
        };
        self.park(side, keys, Reason::Rejected, field, Some("E0708"), &message);
    }
}
