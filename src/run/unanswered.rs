//! A write has no answer and its writer is at its end: the records tell what it
//! did.

use std::collections::{BTreeMap, BTreeSet};

use super::event::Fact;
use super::recover::agreed;
use super::report::Trouble;
use super::session::Session;
use crate::connector::Action;
use crate::plan::{Bases, Link, Seen};
use crate::record::{Both, Key, Mark, Side, Value, same};
use crate::state::{Answered, Intent, Intents, IntentsId};

/// Why a record is in doubt: whether it was created, or under which key.
const NO_WAY_TO_LOOK: &str = "sent, without an answer, and there is no way to look whether it is in effect";
const SHOWS_OTHERWISE: &str =
    "sent, without an answer, and under the key it was to have stands a record that shows something else";

/// What a record is that stands under the key of an unanswered create.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Ours,
    /// It cannot be read, so that nobody can tell.
    Unreadable,
    /// It shows half of what was sent: ours and edited since, or somebody's.
    Alike,
    Strange,
}

impl Session<'_> {
    /// Finds out what became of everything that was sent.
    pub(super) async fn look_at(&mut self, id: IntentsId, intents: &Intents) -> Result<(), Trouble> {
        let side = intents.side;
        let (not_made, otherwise) = self.look_at_creates(intents).await?;
        self.recovered_creates(intents, &not_made);
        self.pending.answered.push(Answered { intents: id, not_made });
        self.pending.made = Some(self.made(side));
        self.link_by_key(side, &otherwise).await?;
        let rekeyed = self.look_at_changes(intents).await?;
        self.rekeyed(side, rekeyed).await
    }

    /// Which creates are not known to be in effect, by their position; and the
    /// pairs of those under whose keys, by which records are found, stands
    /// something else.
    async fn look_at_creates(&mut self, intents: &Intents) -> Result<(Vec<usize>, Vec<Both<Key>>), Trouble> {
        let side = intents.side;
        // A side that is asked by token says so where nothing came into effect.
        let in_effect = intents.token.is_some();
        let keys: Vec<Key> = intents.creates.iter().map(|link| link.keys[side].clone()).collect();
        let known: Vec<Key> = keys.iter().filter(|key| !key.is_empty()).cloned().collect();
        let there = self.fetch_keys(side, &known).await?;
        let mut rows: BTreeMap<&Key, Vec<(&Mark, &[Value])>> = BTreeMap::new();
        for (row, probe) in there.batch.rows().zip(&there.probes) {
            rows.entry(&known[*probe]).or_default().push(row);
        }
        let mut not_made = Vec::new();
        let mut otherwise = Vec::new();
        for (position, (link, key)) in intents.creates.iter().zip(&keys).enumerate() {
            if key.is_empty() {
                not_made.push(position);
                self.park_in_doubt(side, &link.keys[side.other()], NO_WAY_TO_LOOK, Some(agreed(link, false)));
                continue;
            }
            let told: Vec<Standing> = rows
                .get(key)
                .into_iter()
                .flatten()
                .map(|(mark, row)| self.stands_there(side, in_effect, link, mark, row))
                .collect();
            if told.contains(&Standing::Ours) {
                self.count_recovered(side, Action::Create, &link.keys);
                self.tell(link.keys.clone().map(Some), Fact::Recovered { side, applied: true });
            } else {
                not_made.push(position);
                // It may stand under a key that nobody knows, or go on under another one.
                self.agreed.insert((side.other(), link.keys[side.other()].clone()), agreed(link, false));
                let told_apart = !self.program.matching.is_empty() || self.program.sides[side].key_is_mapped();
                if told.contains(&Standing::Unreadable) {
                    let message = format!(
                        "sent, without an answer, and the {side} record with key {key}, which may be it, cannot be read"
                    );
                    self.park_in_doubt(side, &link.keys[side.other()], &message, Some(agreed(link, false)));
                } else if rows.contains_key(key) && !told_apart || told.contains(&Standing::Alike) {
                    self.park_in_doubt(side, &link.keys[side.other()], SHOWS_OTHERWISE, Some(agreed(link, false)));
                } else if rows.contains_key(key) && self.program.matches_by_key(side) {
                    otherwise.push(link.keys.clone());
                }
            }
        }
        Ok((not_made, otherwise))
    }

    /// Takes in the changes that are in effect, and answers with the links of
    /// which the key is among what was changed, each with the key it had.
    async fn look_at_changes(&mut self, intents: &Intents) -> Result<Vec<(Key, Link)>, Trouble> {
        let side = intents.side;
        let mut rekeyed = Vec::new();
        let set = self.set_as_intended(side, &intents.changes).await?;
        let links = self.links_of(side, &intents.changes).await?;
        // A record that is to be made anew has a key of its own; else the link tells the key, for it may have been
        // given another one since an earlier look.
        let mut keys: Vec<Key> = intents
            .changes
            .iter()
            .zip(&links)
            .map(|(intent, link)| match link {
                Some(link) if intent.action == Action::Update && !link.keys[side].is_empty() => link.keys[side].clone(),
                _ => intent.keys[side].clone(),
            })
            .collect();
        // Nor may it stand under that key any more where it was to get another by what was sent.
        let sent_to = |(intent, key)| self.key_intended(side, intents.layout, intent, key);
        let moved: Vec<Key> = intents.changes.iter().zip(&keys).map(sent_to).collect();
        let taken = self.setup.store.links(&self.program.name, side, &moved).await?;
        let known: BTreeSet<&Key> = keys.iter().chain(&moved).filter(|key| !key.is_empty()).collect();
        let known: Vec<Key> = known.into_iter().cloned().collect();
        // What was written may have left `where` since.
        let there = self.look_at_all(side, &known, true).await?;
        for ((key, moved), taken) in keys.iter_mut().zip(moved).zip(taken) {
            let is_live = |key: &Key| matches!(there.get(key), Some(Ok(Seen::Live(_))));
            if taken.is_none()
                && is_live(&moved)
                && matches!(there.get(key), None | Some(Ok(Seen::Gone | Seen::Marked)))
            {
                *key = moved;
            }
        }
        self.keep_sent(intents, &keys, &links, &there).await?;
        for (intent, (key, link)) in intents.changes.iter().zip(keys.iter().zip(links)) {
            if key.is_empty() {
                let sent = link.map(|link| agreed(&self.sent_for(side, intents.layout, intent, link), false));
                self.park_in_doubt(side, &intent.keys[side.other()], NO_WAY_TO_LOOK, sent);
                continue;
            }
            // What was written since is another matter.
            let Some(link) = link.filter(|link| link.revision < intent.revision) else { continue };
            let seen = there.get(key);
            let in_effect = match (intent.action, seen) {
                _ if !intent.set.is_empty() => set.contains(&intent.keys[side]),
                (Action::Delete, None | Some(Ok(Seen::Gone | Seen::Marked))) => true,
                (Action::Delete, Some(_))
                | (Action::Create | Action::Update, None | Some(Ok(Seen::Gone | Seen::Marked))) => false,
                (Action::Create | Action::Update, Some(Ok(Seen::Live(record)))) => {
                    // Field by field: what stands as intended is ours; what still stands as it was was not
                    // written; a third value is somebody's edit, and planned as one.
                    let (held, others): (Vec<_>, Vec<_>) = intent
                        .fields
                        .iter()
                        .cloned()
                        .partition(|field| self.stands(side, intents.layout, field, record));
                    let sums = self.doubtful_sums(side, intents.layout, &others, Some(record));
                    let is_doubtful = !sums.is_empty();
                    let link = self.with_doubts(intents.layout, sums, link);
                    if !held.is_empty() {
                        let before = intent.before.filter(|_| others.is_empty());
                        let part = Intent { fields: held, before, ..intent.clone() };
                        rekeyed.extend(self.take_in(side, intents.layout, &part, link, Some(record)));
                    } else if is_doubtful {
                        self.pending.links.push(link);
                    }
                    continue;
                }
                (Action::Create | Action::Update, Some(_)) => {
                    // It cannot be read.
                    let sums = self.doubtful_sums(side, intents.layout, &intent.fields, None);
                    if !sums.is_empty() {
                        self.pending.links.push(self.with_doubts(intents.layout, sums, link));
                    }
                    continue;
                }
            };
            if in_effect {
                rekeyed.extend(self.take_in(side, intents.layout, intent, link, None));
            }
        }
        Ok(rekeyed)
    }

    /// Whether a record under the key of an unanswered create is the one we made.
    /// Where the batch is known to have come into effect, a key that its system gave
    /// to us is nobody else's. Otherwise the key may have been given again
    /// since, and the record has to match what was sent, or to show all of it,
    /// whether the mapping's filters let it in by now or not.
    fn stands_there(&self, side: Side, in_effect: bool, link: &Link, mark: &Mark, row: &[Value]) -> Standing {
        let is_given = !self.program.sides[side].key_is_mapped();
        if is_given && in_effect {
            return Standing::Ours;
        }
        if matches!(mark, Mark::Malformed(_)) {
            return Standing::Unreadable;
        }
        let shown: Vec<Option<Value>> = self.program.fields.iter().map(|field| field.read(side, row).ok()).collect();
        // By the mapping as it was, for what it still has of it.
        let mut sent = vec![None; self.program.fields.len()];
        for position in 0..link.bases.len() {
            if let Some(now) = self.layouts.position(link.layout, position) {
                sent[now] = Some(position);
            }
        }
        let shows = |index: usize| {
            let (field, Some(shown), Some(sent)) = (&self.program.fields[index], &shown[index], sent[index]) else {
                return false;
            };
            match &link.bases {
                Bases::Values(values) => values[sent].as_ref().is_none_or(|base| field.same(side, &base[side], shown)),
                Bases::Digests(_) => link.bases.holds(sent, shown),
            }
        };
        let written = |index: &usize| self.program.fields[*index].writes(side) && sent[*index].is_some();
        if !(0..sent.len()).any(|index| written(&index)) {
            return Standing::Unreadable;
        }
        let is_blank = |index: usize| shown[index].as_ref().is_none_or(Value::is_blank);
        let matches = |fields: &Vec<usize>| {
            let agrees = |index: &usize| written(index) && !is_blank(*index) && shows(*index);
            !fields.is_empty() && fields.iter().all(agrees)
        };
        let (same, others): (Vec<usize>, Vec<usize>) = (0..sent.len()).filter(written).partition(|index| shows(*index));
        if others.is_empty() || is_given && self.program.matching.iter().any(matches) {
            return Standing::Ours;
        }
        let alike = same.into_iter().filter(|index| !is_blank(*index)).count();
        if is_given && alike > 0 && alike >= others.len() { Standing::Alike } else { Standing::Strange }
    }

    /// The keys of records that show what was to be set beside the fields.
    async fn set_as_intended(&self, side: Side, changes: &[Intent]) -> Result<BTreeSet<Key>, Trouble> {
        let changes: Vec<&Intent> = changes.iter().filter(|intent| !intent.set.is_empty()).collect();
        if changes.is_empty() {
            return Ok(BTreeSet::new());
        }
        let keys: Vec<Key> = changes.iter().map(|intent| intent.keys[side].clone()).collect();
        let found = self.fetch_keys(side, &keys).await?;
        let shape = &self.program.sides[side].access.shape;
        let shows = |row: &[Value], (name, value): &(String, Value)| {
            let slot = shape.fields.iter().position(|field| field.name == name.as_str());
            slot.is_some_and(|slot| same(&row[slot], value))
        };
        let rows = found.batch.rows().zip(&found.probes);
        let set = rows.filter(|((_, row), probe)| changes[**probe].set.iter().all(|set| shows(row, set)));
        Ok(set.map(|(_, probe)| keys[*probe].clone()).collect())
    }

    /// Records were to be created under keys by which they are found, and there
    /// stands something else by now: whoever made it, it is the counterpart, also
    /// where it has another key when they are next looked at.
    async fn link_by_key(&mut self, side: Side, pairs: &[Both<Key>]) -> Result<(), Trouble> {
        if pairs.is_empty() {
            return Ok(());
        }
        let keys: Vec<Key> = pairs.iter().map(|keys| keys[side].clone()).collect();
        let there = self.look_at_all(side, &keys, true).await?;
        let taken = self.setup.store.links(&self.program.name, side, &keys).await?;
        for (keys, taken) in pairs.iter().zip(taken) {
            let (None, Some(Ok(Seen::Live(record)))) = (taken, there.get(&keys[side])) else { continue };
            if let Some(link) = self.agreed_link(&keys.clone().map(Some), Both::new(record, record)) {
                self.tell(keys.clone().map(Some), Fact::Adopted);
                self.pending.links.push(link);
            }
        }
        Ok(())
    }
}
