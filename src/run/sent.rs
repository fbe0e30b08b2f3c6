//! What was sent, without an answer, to a record that has gone since: whatever
//! goes on in its place may show it, and that is nobody's edit.

use std::collections::BTreeMap;

use super::event::Fact;
use super::report::Trouble;
use super::session::Session;
use crate::compile::Rejection;
use crate::connector::Action;
use crate::plan::{Link, Seen};
use crate::record::{Key, Side};
use crate::state::{Answered, IntentField, Intents};

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
            let is_gone = matches!(there.get(key), None | Some(Ok(Seen::Gone)));
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
            self.sent_under.push(self.setup.store.intend(fence, &kept).await?);
        }
        Ok(())
    }

    /// A link goes on with another record, which may show what was sent to the
    /// one before: that is nobody's edit.
    pub(super) fn recognise(&mut self, side: Side, link: &mut Link, seen: &Seen) {
        let from = (side.other(), link.keys[side.other()].clone());
        if let (Some(agreed), Seen::Live(_)) = (self.agreed.get(&from).filter(|agreed| agreed.certain), seen) {
            let mut agreed = Link { layout: agreed.layout, bases: agreed.bases.clone(), ..link.clone() };
            self.layouts.bring_to(link.layout, &mut agreed, self.program.keeps_digests());
            link.bases = agreed.bases;
            link.revision += 1;
            return;
        }
        let Some(Sent { layout, fields, .. }) = self.sent.get(&link.id).filter(|sent| sent.side == side) else {
            return;
        };
        let (layout, Seen::Live(record)) = (*layout, seen) else { return };
        let mut any = false;
        for field in fields.iter().filter(|field| self.stands(side, layout, field, record)) {
            let now = self.layouts.position(layout, field.field);
            let position = if link.layout == layout { Some(field.field) } else { now };
            if let Some(position) = position.filter(|_| [layout, self.layouts.current].contains(&link.layout)) {
                link.bases.set(position, field.bases.clone(), self.written(now.unwrap_or_default()));
                any = true;
            }
        }
        if any {
            link.revision += 1;
            self.tell(link.keys.clone().map(Some), Fact::Recovered { side, applied: true });
        }
    }

    /// Both sides were read: whoever was to go on in the place of a record has
    /// been found.
    pub(super) fn let_go_of_sent(&mut self) {
        let ids = std::mem::take(&mut self.sent_under);
        self.pending.answered.extend(ids.into_iter().map(|intents| Answered { intents, not_made: Vec::new() }));
        self.sent.clear();
    }
}
