//! Records that were to be created under keys that others have.

use std::collections::BTreeSet;

use super::execute::Work;
use super::report::Trouble;
use super::send::Send;
use super::session::Session;
use crate::compile::Rejection;
use crate::connector::{Action, Change};
use crate::diagnostic::Code;
use crate::plan::Seen;
use crate::record::{Both, Key, Side, Value};
use crate::state::Reason;

impl Session<'_> {
    /// Parks what was to be created under a key that stands already. Whoever
    /// came between look and write is found at the next look.
    pub(super) async fn keys_taken(
        &mut self,
        side: Side,
        work: &[Work],
        taken: Vec<(usize, Key)>,
    ) -> Result<(), Trouble> {
        if taken.is_empty() {
            return Ok(());
        }
        let keys: Vec<Key> = taken.iter().map(|(_, key)| key.clone()).collect();
        let there = self.look(side, &keys).await?;
        for (index, key) in taken {
            let keys = work[index].all_keys();
            if let Some(why) = self.why_taken(side, &key, there.get(&key)) {
                self.park_taken(side, keys, why);
            } else {
                self.empty[side] = false;
                self.moved_away(side, &work[index], keys);
            }
        }
        Ok(())
    }

    /// In a dry run: what was parked for its key is parked again as long as that
    /// key stands, and is not planned; nor is what a hidden record has the key of.
    pub(super) async fn still_taken(&mut self, work: &[Work], sends: &mut Both<Vec<Send>>) -> Result<(), Trouble> {
        for side in Side::BOTH {
            let was_taken = |send: &&Send| {
                let keys = work[send.work].all_keys();
                let owed = keys[side.other()].clone().and_then(|key| self.owed.get(&(side.other(), key)));
                send.write.action == Action::Create && owed.is_some_and(|owed| owed.code == Some(Code::KEY_TAKEN))
            };
            let may_hide = self.program.sides[side].key_is_unique && self.program.sides[side].hides();
            let asked: Vec<(usize, Key, bool)> = sends[side]
                .iter()
                .map(|send| (send, was_taken(&send)))
                .filter(|(send, was_taken)| *was_taken || may_hide && send.write.action == Action::Create)
                .filter_map(|(send, was_taken)| Some((send.work, self.new_key(side, send)?, was_taken)))
                .collect();
            if asked.is_empty() {
                continue;
            }
            let there = self.look(side, &asked.iter().map(|(_, key, _)| key.clone()).collect::<Vec<_>>()).await?;
            let mut taken = BTreeSet::new();
            for (index, key, was_taken) in asked {
                let Some(stands) = there.get(&key) else { continue };
                let is_hidden = matches!(stands, Ok(Seen::Outside | Seen::Marked));
                if (was_taken || is_hidden)
                    && let Some(why) = self.why_taken(side, &key, Some(stands))
                {
                    self.park_taken(side, work[index].all_keys(), why);
                    taken.insert(index);
                }
            }
            sends[side].retain(|send| !taken.contains(&send.work));
        }
        Ok(())
    }

    /// The key that a record is to be created under, where its fields fill it.
    fn new_key(&self, side: Side, send: &Send) -> Option<Key> {
        let mut change = Change { action: Action::Create, key: Vec::new(), set: Vec::new(), expect: Vec::new() };
        self.fill(side, &mut change, send.write.fields.iter().cloned());
        Key::new(&change.key)
    }

    fn park_taken(&mut self, side: Side, keys: Both<Option<Key>>, why: &str) {
        let message = format!("a {side} record with this key is there already, {why}");
        self.park(side, keys, Reason::Rejected, None, Code::KEY_TAKEN, &message);
    }

    /// Why the record that has a key is not the one that was to be created.
    fn why_taken(&self, side: Side, key: &Key, there: Option<&Result<Seen, Rejection>>) -> Option<&'static str> {
        let is_blank = || self.key_values(side, key).iter().any(Value::is_blank);
        match there {
            Some(Ok(Seen::Outside)) => Some("and `where`, `when` or `start` hides it"),
            Some(Ok(Seen::Marked)) => Some("and is marked as deleted"),
            _ if !self.program.matches_by_key(side) => Some("and does not match"),
            _ if is_blank() => Some("and a blank key matches nothing"),
            _ => None,
        }
    }
}
