//! What a commit changes of a mapping, and how.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::plan::{Link, LinkId};
use crate::record::{Both, Key, Side};
use crate::state::{
    Answered, Commit, Conflict, ConflictStatus, Intents, IntentsId, MappingState, OwedCounts, Parked, Spooled,
    StoreError,
};

/// The last number given of each kind; none is ever given twice.
#[derive(Debug, Default)]
pub(super) struct Given {
    pub(super) link: LinkId,
    pub(super) intents: IntentsId,
    pub(super) conflict: i64,
    pub(super) parked: i64,
}

/// What a commit changes: a copy of it takes the place of the old one when
/// all of the commit went well.
#[derive(Debug, Clone, Default)]
pub(super) struct Kept {
    pub(super) state: Option<MappingState>,
    pub(super) links: BTreeMap<LinkId, Arc<Link>>,
    /// Which link has a key, those of open creates too.
    pub(super) holders: Both<BTreeMap<Key, LinkId>>,
    pub(super) open: BTreeMap<IntentsId, Arc<Open>>,
    pub(super) conflicts: BTreeMap<i64, Arc<Conflict>>,
    pub(super) parked: BTreeMap<i64, Arc<Parked>>,
    pub(super) spooled: BTreeMap<LinkId, Spooled>,
}

#[derive(Debug)]
pub(super) struct Open {
    pub(super) intents: Intents,
    /// The number its first create will have as a link; the others follow.
    pub(super) first: LinkId,
}

impl Kept {
    pub(super) fn links_after(&self, after: LinkId) -> impl Iterator<Item = &Link> {
        self.links.range(after.saturating_add(1)..).map(|(_, link)| &**link)
    }

    pub(super) fn owed(&self) -> OwedCounts {
        let is_open = |conflict: &&Arc<Conflict>| conflict.status == ConflictStatus::Open;
        OwedCounts {
            parked: self.parked.len() as u64,
            conflicts: self.conflicts.values().filter(is_open).count() as u64,
            held: self.spooled.len() as u64,
        }
    }

    /// Answers with the links that are there newly.
    pub(super) fn apply(&mut self, commit: &Commit, given: &mut Given) -> Result<Vec<LinkId>, StoreError> {
        let mut made = Vec::new();
        for answered in &commit.answered {
            self.answer(answered, &mut made)?;
        }
        for id in &commit.forget {
            self.forget(*id)?;
        }
        let before = given.link;
        self.store_links(&commit.links, given)?;
        made.extend(before + 1..=given.link);
        self.unpark_and_park(commit, given);
        for conflict in &commit.conflicts {
            self.store_conflict(conflict, given)?;
        }
        for id in &commit.unspool {
            self.spooled.remove(id);
        }
        for spooled in &commit.spool {
            let since = self.spooled.get(&spooled.link).map_or(spooled.since, |before| before.since);
            self.spooled.insert(spooled.link, Spooled { since, ..spooled.clone() });
        }
        if let Some(state) = &commit.mapping {
            self.state = Some(state.clone());
        }
        let state = self.state.get_or_insert_default();
        for side in Side::BOTH {
            if let Some(cursor) = &commit.cursors[side] {
                state.cursors[side] = Some(cursor.clone());
            }
        }
        Ok(made)
    }

    /// Notes that this link has these keys. An empty key is nobody's yet.
    pub(super) fn hold(&mut self, id: LinkId, keys: &Both<Key>) -> Result<(), StoreError> {
        for side in Side::BOTH {
            let key = &keys[side];
            if !key.is_empty() && self.holders[side].insert(key.clone(), id).is_some() {
                return Err(StoreError::linked_twice(side, key.as_str()));
            }
        }
        Ok(())
    }

    pub(super) fn release(&mut self, keys: &Both<Key>) {
        for side in Side::BOTH {
            self.holders[side].remove(&keys[side]);
        }
    }

    fn answer(&mut self, answered: &Answered, made: &mut Vec<LinkId>) -> Result<(), StoreError> {
        let open = self.open.remove(&answered.intents).ok_or_else(|| StoreError::not_open(answered.intents))?;
        let creates = &open.intents.creates;
        let not_made: BTreeSet<_> = answered.not_made.iter().copied().collect();
        if not_made.last().is_some_and(|last| *last >= creates.len()) {
            return Err(StoreError::no_create(answered));
        }
        for ((position, create), id) in creates.iter().enumerate().zip(open.first..) {
            if not_made.contains(&position) {
                self.release(&create.keys);
            } else if Side::BOTH.iter().any(|side| create.keys[*side].is_empty()) {
                return Err(StoreError::without_key(answered.intents));
            } else {
                self.links.insert(id, Arc::new(Link { id, ..create.clone() }));
                made.push(id);
            }
        }
        Ok(())
    }

    pub(super) fn forget(&mut self, id: LinkId) -> Result<(), StoreError> {
        let link = self.links.remove(&id).ok_or_else(|| StoreError::no_link(id))?;
        self.release(&link.keys);
        self.spooled.remove(&id);
        self.parked.retain(|_, parked| Side::BOTH.iter().all(|s| parked.keys[*s].as_ref() != Some(&link.keys[*s])));
        for conflict in self.conflicts.values_mut() {
            if conflict.link == id && conflict.status == ConflictStatus::Open {
                Arc::make_mut(conflict).status = ConflictStatus::Closed;
            }
        }
        Ok(())
    }

    fn store_links(&mut self, links: &[Link], given: &mut Given) -> Result<(), StoreError> {
        // All old keys go first: links may exchange theirs.
        for link in links.iter().filter(|link| link.id != 0) {
            let old = self.links.remove(&link.id).ok_or_else(|| StoreError::no_link(link.id))?;
            self.release(&old.keys);
        }
        for link in links {
            if Side::BOTH.iter().any(|side| link.keys[*side].is_empty()) {
                return Err(StoreError::keyless(link));
            }
            let mut link = link.clone();
            if link.id == 0 {
                given.link += 1;
                link.id = given.link;
            }
            self.hold(link.id, &link.keys)?;
            self.links.insert(link.id, Arc::new(link));
        }
        Ok(())
    }

    fn unpark_and_park(&mut self, commit: &Commit, given: &mut Given) {
        let again: BTreeSet<_> = commit.park.iter().map(Parked::place).collect();
        self.parked.retain(|_, parked| {
            again.contains(&parked.place())
                || !commit.unpark.iter().any(|(side, key)| parked.keys[*side].as_ref() == Some(key))
        });
        for parked in &commit.park {
            let before = self.parked.values().find(|before| before.place() == parked.place());
            let mut parked = parked.clone();
            if let Some(before) = before {
                (parked.id, parked.since, parked.attempts) =
                    (before.id, before.since, before.attempts.max(parked.attempts));
            } else {
                given.parked += 1;
                parked.id = given.parked;
            }
            self.parked.insert(parked.id, Arc::new(parked));
        }
    }

    fn store_conflict(&mut self, conflict: &Conflict, given: &mut Given) -> Result<(), StoreError> {
        let mut conflict = conflict.clone();
        if conflict.link == 0 {
            let link = self.holders.source.get(&conflict.keys.source).filter(|id| self.links.contains_key(id));
            conflict.link = *link.ok_or_else(|| StoreError::no_link_for_conflict(&conflict))?;
        }
        let open = self.conflicts.values().find(|before| {
            before.status == ConflictStatus::Open && before.link == conflict.link && before.field == conflict.field
        });
        let before = match open {
            None if conflict.id != 0 => {
                Some(self.conflicts.get(&conflict.id).ok_or_else(|| StoreError::no_conflict(conflict.id))?)
            }
            open => open,
        };
        if let Some(before) = before {
            conflict.id = before.id;
            conflict.keep_decision(&before.values, before.resolution.as_ref());
        } else {
            given.conflict += 1;
            conflict.id = given.conflict;
        }
        self.conflicts.insert(conflict.id, Arc::new(conflict));
        Ok(())
    }
}

pub(super) fn open_conflict(conflicts: &mut BTreeMap<i64, Arc<Conflict>>, id: i64) -> Option<&mut Conflict> {
    conflicts.get_mut(&id).map(Arc::make_mut).filter(|conflict| conflict.status == ConflictStatus::Open)
}
