//! A side has answered: writes become links, and what did not go through is
//! taken back, looked at again or parked.

use std::collections::{BTreeMap, BTreeSet};

use super::event::Fact;
use super::execute::Work;
use super::flight::Flight;
use super::recover::KEY_UNTOLD;
use super::report::Trouble;
use super::send::Send;
use super::session::Session;
use super::taken_back::Undo;
use crate::connector::{Action, Change, Outcome};
use crate::diagnostic::Code;
use crate::plan::{Bases, Contest, Link, LinkStatus, OwnStamp};
use crate::record::{Both, Key, Side, Value};
use crate::state::{Agreed, Answered, IntentsId, Reason};

/// What came of the writes to one side, for the other side's writes of the
/// same pairs; both by their work.
#[derive(Default)]
pub(super) struct Acknowledged {
    /// Links of records that were written, as they are now.
    pub links: BTreeMap<usize, Link>,
    /// Pairs of which something did not go through.
    pub owing: BTreeSet<usize>,
}

/// One write that was answered.
struct Written<'a> {
    send: Send,
    change: &'a Change,
    item: &'a Work,
    /// Of a new record: its position among the creates, and the link that was
    /// recorded for it.
    recorded: Option<(usize, Link)>,
}

/// What the answers to a batch lead to.
#[derive(Default)]
struct Sequel {
    /// The creates whose links do not stand as they were recorded.
    not_made: Vec<usize>,
    undo: Vec<Undo>,
    /// Links whose key is among what was written, each with the key before.
    rekeyed: Vec<(Key, Link)>,
    /// Creates under keys that others have.
    taken: Vec<(usize, Key)>,
}

impl Session<'_> {
    /// Takes in what a side answered to a batch.
    pub(super) async fn answered(
        &mut self,
        Flight { side, sends, changes, intents, .. }: Flight,
        work: &[Work],
        id: IntentsId,
        outcomes: Vec<Outcome>,
        acknowledged: &mut Acknowledged,
    ) -> Result<(), Trouble> {
        let mut sequel = Sequel::default();
        let mut creates = intents.creates.into_iter().enumerate();
        for ((send, change), outcome) in sends.into_iter().zip(&changes).zip(outcomes) {
            let item = &work[send.work];
            let recorded =
                send.link.is_none().then(|| creates.next().expect("the link of each new record was recorded"));
            if let Outcome::Done { key, stored } = outcome {
                let written = Written { send, change, item, recorded };
                if written.send.write.action == Action::Create && Key::new(&key).is_none() {
                    self.done_untold(side, written, &mut sequel);
                } else {
                    self.done(side, written, &key, stored.as_deref(), &mut sequel, acknowledged);
                }
                continue;
            }
            acknowledged.owing.insert(send.work);
            sequel.not_made.extend(recorded.map(|(position, _)| position));
            match outcome {
                Outcome::Done { .. } => {}
                Outcome::Moved | Outcome::Gone => self.moved_away(side, item, item.all_keys()),
                Outcome::Exists => {
                    self.keep_filling(item, send.link);
                    sequel.taken.push((send.work, Key::new(&change.key).unwrap_or_else(Key::untold)));
                }
                Outcome::Refused(refusal) => {
                    self.keep_filling(item, send.link);
                    self.park_refused(side, item.all_keys(), &refusal);
                }
            }
        }
        let Sequel { not_made, undo, rekeyed, taken } = sequel;
        self.pending.answered.push(Answered { intents: id, not_made });
        self.pending.made = Some(self.made(side));
        self.rekeyed(side, rekeyed).await?;
        self.keys_taken(side, work, taken).await?;
        if undo.is_empty() {
            return Ok(());
        }
        self.flush().await?;
        self.undo(side, undo, acknowledged).await
    }

    /// What is parked is known to be owed: its link need not tell that new fields
    /// are still to be filled, and keeps what has agreed.
    fn keep_filling(&mut self, item: &Work, link: Option<Link>) {
        if self.to_be_filled(item).is_some() {
            self.pending.links.extend(link);
        }
    }

    /// Created, and nobody says under which key: found again by `match`, or by a
    /// person.
    fn done_untold(&mut self, side: Side, Written { send, item, recorded, .. }: Written<'_>, sequel: &mut Sequel) {
        self.counts.toward(side).created += 1;
        let from = item.all_keys()[side.other()].clone().expect("what is created comes from a record");
        let bases = if let Some((position, link)) = recorded {
            sequel.not_made.push(position);
            link.bases
        } else {
            let mut bases = Bases::none(self.program.fields.len(), self.program.keeps_digests());
            for write in &send.write.fields {
                bases.set(write.field, Self::bases_of(side, write, item), self.written(write.field));
            }
            bases
        };
        let agreed = Agreed { layout: self.layouts.current, bases, certain: true };
        self.park_in_doubt(side, &from, KEY_UNTOLD, Some(agreed));
    }

    /// It is in effect, under this key.
    fn done(
        &mut self,
        side: Side,
        Written { mut send, change, item, recorded }: Written<'_>,
        key: &[Value],
        stored: Option<&[Value]>,
        sequel: &mut Sequel,
        acknowledged: &mut Acknowledged,
    ) {
        let (position, mut link) = match recorded {
            Some((position, link)) => (Some(position), link),
            None => (None, send.link.clone().expect("a record that is not new has a link")),
        };
        let as_recorded = position.is_some() && stored.is_none() && key == change.key;
        let before = link.keys[side].clone();
        if !as_recorded && let Some(key) = Key::new(key) {
            link.keys[side] = key;
        }
        self.count_early(side, item, &link.keys[side.other()]);
        self.remember(side, send.work, &link.keys[side], change, stored);
        if as_recorded {
            // The link stands as it was recorded.
            self.clear_both(&link.keys.map(Some));
            self.counts.toward(side).created += 1;
            return;
        }
        let keys = link.keys.clone().map(Some);
        let otherwise = self.acknowledge(side, &send, item, &mut link, change, stored);
        if otherwise.is_none() {
            for ended in std::mem::take(&mut send.ends) {
                self.end_conflict(ended);
            }
            if !send.owing {
                self.clear_both(&keys);
            }
            if send.again {
                let message = format!("the {side} is written, and the {} is not yet", side.other());
                self.park(side.other(), keys.clone(), Reason::Rejected, None, Code::RESTLESS, &message);
            }
        }
        if send.write.action == Action::Delete {
            self.forget(&link, &Side::BOTH);
            self.counts.toward(side).deleted += 1;
            self.tell(keys, Fact::Written { side, action: Action::Delete, fields: Vec::new() });
            return;
        }
        if !send.set.is_empty() {
            link.status = LinkStatus::Severed { gone: side.other() };
        }
        sequel.not_made.extend(position);
        let away = send.away.unwrap_or((link.status, link.outside));
        let kept = Link { status: away.0, outside: away.1, ..link.clone() };
        if send.write.action == Action::Update && before != link.keys[side] && otherwise.is_none() {
            sequel.rekeyed.push((before, kept));
        } else {
            self.pending.links.push(kept);
        }
        let counts = self.counts.toward(side);
        match send.action() {
            Action::Create => counts.created += 1,
            Action::Update => counts.updated += 1,
            Action::Delete => counts.deleted += 1,
        }
        if position.is_none() {
            let fields = self.changes(side, &send);
            self.tell(keys.clone(), Fact::Written { side, action: send.action(), fields });
        }
        if let Some((field, message)) = otherwise {
            let sent = self.digest_of(side, change);
            let (change, before) = self.reversal(side, &send, item, change, &link, stored);
            let fields = self.put_back(side, &send, &change, &before);
            let mut keys = keys;
            if change.action == Action::Delete {
                // It is about to be gone: the other side's record is what stays owed.
                keys[side] = None;
            }
            self.park_taken_back(side, keys, field, &message, sent);
            let parked = self.pending.park.last().expect("it was just parked").clone();
            let under = link.keys[side].clone();
            sequel.undo.push(Undo { work: send.work, counted: send.action(), under, change, before, fields, parked });
            acknowledged.owing.insert(send.work);
        }
        acknowledged.links.insert(send.work, link);
    }

    /// Moves the bases of the fields that were written, and of no others (those
    /// of a new record stand since it was sent). Answers with the first field
    /// whose stored value means something else than what was sent.
    fn acknowledge(
        &self,
        side: Side,
        send: &Send,
        item: &Work,
        link: &mut Link,
        sent: &Change,
        stored: Option<&[Value]>,
    ) -> Option<(usize, String)> {
        link.status = LinkStatus::Linked;
        link.layout = self.layouts.current;
        if link.id != 0 {
            link.revision += 1;
        }
        let is_create = send.write.action == Action::Create;
        let values = || {
            let of_key = self.program.sides[side].access.key.iter().copied().zip(&sent.key);
            of_key.chain(sent.set.iter().map(|(slot, value)| (*slot, value)))
        };
        let other = item.seen[side.other()].live();
        if send.link.is_some() && is_create {
            link.bases = Bases::none(link.bases.len(), self.program.keeps_digests());
            let row = self.row_of_create(side, values());
            self.set_unfilled(side, &row, other, &mut link.bases);
        }
        for write in &send.write.fields {
            link.bases.set(write.field, Self::bases_of(side, write, item), self.written(write.field));
            if write.contested() {
                let recent = self.state.runs.saturating_sub(10);
                link.contests.retain(|contest| contest.run > recent);
                let field = u32::try_from(write.field).unwrap_or(u32::MAX);
                link.contests.push(Contest { field, run: self.state.runs });
            }
        }
        let row = stored?;
        if let (true, Some(other)) = (is_create, other) {
            self.set_unfilled(side, row, Some(other), &mut link.bases);
        }
        if let (Some(shown), Some(people), true) =
            (self.program.sides[side].stamp(row), send.people, send.write.action != Action::Create)
        {
            link.own_stamps[side] = Some(OwnStamp { shown, people, shows: None });
        }
        let values: BTreeMap<usize, &Value> = values().collect();
        let is_new = send.link.is_none();
        let mut otherwise = None;
        for (index, field) in self.program.fields.iter().enumerate() {
            if is_new || send.write.fields.iter().any(|write| write.field == index) {
                let Some(value) = field.toward[side].as_ref().and_then(|way| values.get(&way.slot)) else { continue };
                otherwise = otherwise.or(self.show(side, index, link, value, row));
            }
        }
        otherwise
    }

    /// What a side shows of a field after `sent` was written becomes its base;
    /// told where it means something else.
    fn show(&self, side: Side, index: usize, link: &mut Link, sent: &Value, row: &[Value]) -> Option<(usize, String)> {
        let field = &self.program.fields[index];
        let shown = field.read(side, row).ok()?;
        let written = self.written(index);
        if field.same(side, &shown, sent) || field.equal_by_rules(&shown, sent) {
            if link.bases.values(index).is_none_or(|base| field.same(side, &base[side], sent)) {
                link.bases.show(index, side, shown, written);
            }
            return None;
        }
        let message = format!("the {side} stored `{shown}` where `{sent}` was sent to `{}`", field.name);
        // What stands there is no change of anybody's: it must not flow back.
        link.bases.show(index, side, shown, written);
        Some((index, message))
    }

    /// Somebody was quicker: the pair is looked at again before the run ends.
    pub(super) fn moved_away(&mut self, side: Side, item: &Work, keys: Both<Option<Key>>) {
        let from = item.from;
        let Some(key) = keys[from].clone() else { return };
        let rounds = self.again[from].get(&key).copied().unwrap_or(0) + 1;
        if rounds <= 3 {
            self.queue(from, &keys, rounds);
        } else {
            // Owed to the next run; told as parked when that was so in three.
            let message = format!("the {side} record changed each time it was about to be written");
            self.park(side, keys, Reason::Rejected, None, Code::RESTLESS, &message);
        }
    }

    /// Puts a record on the list of those to be looked at again.
    pub(super) fn queue(&mut self, side: Side, keys: &Both<Option<Key>>, rounds: u32) {
        if let Some(key) = &keys[side] {
            self.again[side].insert(key.clone(), rounds);
        }
    }
}
