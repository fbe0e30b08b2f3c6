//! What was sent, without an answer, to a record that has gone since: whatever
//! goes on in its place may show it, and that is nobody's edit.

use std::collections::BTreeMap;

use super::event::Fact;
use super::report::Trouble;
use super::session::Session;
use crate::compile::{Policy, Rejection};
use crate::connector::Action;
use crate::plan::{IN_DOUBT, Link, Record, Seen};
use crate::record::{Key, Side, Value};
use crate::state::{Answered, Commit, IntentField, Intents};

/// Fields that were sent to a record which has gone since, and nobody knows
/// whether they came into effect.
pub(super) struct Sent {
    side: Side,
    layout: i64,
    fields: Vec<IntentField>,
}

impl Session<'_> {
    /// Changes of records that are gone by now stay on record: they may go on
    /// under another key, and show what was sent.
    pub(super) async fn keep_sent(
        &mut self,
        intents: &Intents,
        keys: &[Key],
        links: &[Option<Link>],
        there: &BTreeMap<Key, Result<Seen, Rejection>>,
    ) -> Result<(), Trouble> {
        let mut kept = Vec::new();
        for (intent, (key, link)) in intents.changes.iter().zip(keys.iter().zip(links)) {
            let is_gone = matches!(there.get(key), None | Some(Ok(Seen::Gone | Seen::Marked)));
            if let Some(link) = link.as_ref().filter(|link| link.revision < intent.revision)
                && is_gone
                && !key.is_empty()
                && intent.action != Action::Delete
                && intent.set.is_empty()
            {
                let (side, layout, fields) = (intents.side, intents.layout, intent.fields.clone());
                self.sent.insert(link.id, Sent { side, layout, fields });
                kept.push(intent.clone());
            }
        }
        if let (false, Some(fence)) = (kept.is_empty(), &self.fence) {
            let kept = Intents { creates: Vec::new(), changes: kept, ..intents.clone() };
            self.sent_under.push(self.setup.store.intend(fence, &Commit::default(), &kept).await?);
        }
        Ok(())
    }

    /// A link goes on with another record, which may show what was sent to the
    /// one before: that is nobody's edit.
    pub(super) fn recognise(&mut self, side: Side, link: &mut Link, seen: &Seen) {
        let from = (side.other(), link.keys[side.other()].clone());
        if let (Some(agreed), Seen::Live(_)) = (self.agreed.get(&from).filter(|agreed| agreed.certain), seen) {
            let mut agreed = Link { layout: agreed.layout, bases: agreed.bases.clone(), ..link.clone() };
            self.layouts.bring_to(link.layout, &mut agreed, self.program.bases);
            link.bases = agreed.bases;
            link.revision += 1;
            return;
        }
        let Some(Sent { layout, fields, .. }) = self.sent.get(&link.id).filter(|sent| sent.side == side) else {
            return;
        };
        let (layout, Seen::Live(record)) = (*layout, seen) else { return };
        let (held, others): (Vec<_>, Vec<_>) =
            fields.iter().cloned().partition(|field| self.stands(side, layout, field, record));
        let doubtful = self.doubtful_sums(side, layout, &others, Some(record));
        let known = [layout, self.layouts.current].contains(&link.layout);
        let shown = held.into_iter().map(|field| (field.field, field.bases, true));
        let mut applied = false;
        for (field, bases, stands) in shown.chain(doubtful.into_iter().map(|field| (field, IN_DOUBT, false))) {
            let now = self.layouts.position(layout, field);
            let position = if link.layout == layout { Some(field) } else { now };
            if let Some(position) = position.filter(|_| known) {
                link.bases.set(position, bases, self.written(now.unwrap_or_default()));
                applied |= stands;
            }
        }
        if applied {
            link.revision += 1;
            self.tell(link.keys.clone().map(Some), Fact::Recovered { side, applied: true });
        }
    }

    /// A record shows what was to be written to a field.
    pub(super) fn stands(&self, side: Side, layout: i64, field: &IntentField, record: &Record) -> bool {
        let now = self.layouts.position(layout, field.field);
        now.is_some_and(|now| self.program.fields[now].same(side, &record.fields[now], &field.value))
    }

    /// Of fields that do not stand as they were sent the sums of which nobody
    /// can tell: what people added up to a third value, or a record that cannot
    /// be read, may hold what was sent, or not. It must not be added again.
    pub(super) fn doubtful_sums(
        &self,
        side: Side,
        layout: i64,
        fields: &[IntentField],
        record: Option<&Record>,
    ) -> Vec<usize> {
        let is_doubtful = |field: &&IntentField| {
            let Some(now) = self.layouts.position(layout, field.field) else { return false };
            let program = &self.program.fields[now];
            let is_as_before = |before: &Value| record.is_some_and(|r| program.same(side, &r.fields[now], before));
            program.policy == Policy::SumDeltas && field.expect.as_ref().is_some_and(|before| !is_as_before(before))
        };
        fields.iter().filter(is_doubtful).map(|field| field.field).collect()
    }

    /// A link of which these fields, by their position in the layout of what was
    /// sent, are in doubt until a person decides.
    pub(super) fn with_doubts(&self, layout: i64, fields: Vec<usize>, mut link: Link) -> Link {
        if !fields.is_empty() {
            self.layouts.bring_to(layout, &mut link, self.program.bases);
        }
        let known = link.bases.len();
        for field in fields.into_iter().filter(|field| *field < known) {
            // A mapping of digests has one written side, and no sums.
            link.bases.set(field, IN_DOUBT, Side::Target);
        }
        link
    }

    /// Both sides were read: whoever was to go on in the place of a record has
    /// been found.
    pub(super) fn let_go_of_sent(&mut self) {
        let ids = std::mem::take(&mut self.sent_under);
        self.pending.answered.extend(ids.into_iter().map(|intents| Answered { intents, not_made: Vec::new() }));
        self.sent.clear();
    }
}
