//! What was read becomes pairs of records.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::execute::Work;
use super::flight::Airborne;
use super::report::Trouble;
use super::session::Session;
use crate::compile::{Drift, FieldProgram};
use crate::plan::{Bases, Link, LinkStatus, Record, Seen, stands};
use crate::record::{Batch, Both, Key, Mark, Side, short_digest_of};
use crate::state::Parked;

/// A record with its link, which follows the program's layout.
struct Paired {
    candidate: Candidate,
    link: Link,
    /// The link as it is stored, where that is under another layout.
    behind: Option<Box<Link>>,
}

/// A record of one side, as it was read.
#[derive(Debug)]
pub(super) struct Candidate {
    pub key: Key,
    pub seen: Seen,
    /// It was read as a change (and counts as read), not looked at again.
    pub counted: bool,
}

impl Session<'_> {
    /// Deals with a batch of a reading.
    pub(super) async fn batch(&mut self, side: Side, batch: &Batch, sweeping: bool) -> Result<(), Trouble> {
        let toward = side.other();
        self.counts.toward(toward).read += batch.len() as u64;
        let mut candidates = Vec::with_capacity(batch.len());
        let mut position: HashMap<Key, usize> = HashMap::with_capacity(batch.len());
        let mut twice: Vec<Key> = Vec::new();
        for (mark, row) in batch.rows() {
            let key = self.program.sides[side].key(row);
            let Some(key) = key else {
                self.unread[side] |= matches!(mark, Mark::Malformed(_));
                if *mark == Mark::Deleted
                    || *mark == Mark::Live && self.see(side, row, true).is_ok_and(|seen| seen.is_gone())
                {
                    self.counts.toward(toward).skipped += 1;
                } else {
                    self.park_without_key(side, mark, row);
                }
                continue;
            };
            let seen = match mark {
                Mark::Malformed(why) => {
                    self.park_malformed(side, &key, why);
                    continue;
                }
                Mark::Deleted => Seen::Gone,
                Mark::Live => match self.see(side, row, true) {
                    Ok(seen) => seen,
                    Err(rejection) => {
                        self.park_rejected(toward, side, &key, &rejection);
                        continue;
                    }
                },
            };
            let candidate = Candidate { key: key.clone(), seen, counted: true };
            // A row may be read twice; and a code marked as deleted may live on in another row.
            match position.get(&key) {
                Some(&earlier) => {
                    let known: &mut Candidate = &mut candidates[earlier];
                    if matches!((&known.seen, &candidate.seen), (Seen::Live(_), Seen::Live(_))) {
                        twice.push(key);
                    } else {
                        self.counts.toward(toward).unchanged += 1;
                    }
                    if !(matches!(known.seen, Seen::Live(_)) && candidate.seen.is_gone()) {
                        *known = candidate;
                    }
                }
                None => {
                    position.insert(key, candidates.len());
                    candidates.push(candidate);
                }
            }
        }
        if sweeping {
            let keys: Vec<Key> = candidates.iter().map(|candidate| candidate.key.clone()).collect();
            self.sweep_seen(side, &keys).await?;
        }
        if !twice.is_empty() {
            let mut keys: Vec<Key> = twice.clone();
            keys.sort();
            keys.dedup();
            let there = self.look(side, &keys).await?;
            for key in &twice {
                match there.get(key) {
                    Some(Err(rejection)) => self.park_rejected(toward, side, key, rejection),
                    _ => self.counts.toward(toward).unchanged += 1,
                }
            }
            candidates.retain(|candidate| !matches!(there.get(&candidate.key), Some(Err(_))));
        }
        self.candidates(side, candidates).await
    }

    /// Deals with records of one side: finds their links, leaves alone what did
    /// not change, and pairs up the rest.
    pub(super) async fn candidates(&mut self, side: Side, candidates: Vec<Candidate>) -> Result<(), Trouble> {
        let toward = side.other();
        let keys: Vec<Key> = candidates.iter().map(|candidate| candidate.key.clone()).collect();
        let is_carried = |air: &Airborne| air.side == side || keys.iter().any(|key| air.carries(key));
        if !self.is_unasked(toward) || self.airborne.iter().any(is_carried) {
            self.land().await?;
        }
        let mut links = self.setup.store.links(&self.program.name, side, &keys).await?;
        if !self.airborne.is_empty() && links.iter().any(Option::is_some) {
            self.land().await?;
            links = self.setup.store.links(&self.program.name, side, &keys).await?;
        }
        let mut linked: Vec<Paired> = Vec::new();
        let mut new: Vec<Candidate> = Vec::new();
        for (mut candidate, link) in candidates.into_iter().zip(links) {
            if self.options.dry && self.foresight.claimed[side].contains(&candidate.key) {
                self.leave(toward, side, &candidate);
                continue;
            }
            match link {
                Some(mut link) => {
                    if matches!(candidate.seen, Seen::Live(_)) && self.held_back.get(&link.id) == Some(&toward) {
                        // Whoever was gone is back.
                        self.let_off(link.id);
                    }
                    let behind = self.layouts.is_behind(&link, self.program.bases).then(|| Box::new(link.clone()));
                    let stale = behind.as_ref().is_some_and(|stored| !self.layouts.stale(stored).is_empty());
                    self.layouts.bring(&mut link, self.program.bases);
                    Self::restamp(side, &link, &mut candidate.seen);
                    // Whoever names a record wants to know of both sides.
                    let is_named = candidate.counted && self.options.is_partial();
                    if stale || is_named || self.needs_a_look(side, &candidate, &link) {
                        linked.push(Paired { candidate, link, behind });
                    } else {
                        if behind.is_some() {
                            self.pending.links.push(link);
                        }
                        self.leave(toward, side, &candidate);
                    }
                }
                None => match candidate.seen {
                    // Read for the drift of records that are linked.
                    Seen::Live(_) if self.watches(side, &candidate) => self.counts.toward(toward).skipped += 1,
                    // Read before its record got another key: who has this one now?
                    Seen::Live(_) if candidate.counted && self.left[side].contains(&candidate.key) => {
                        self.counts.toward(toward).unchanged += 1;
                        self.again[side].entry(candidate.key).or_insert(0);
                    }
                    Seen::Live(_) => new.push(candidate),
                    _ => {
                        if candidate.counted {
                            self.counts.toward(toward).skipped += 1;
                        }
                        self.clear_owed(side, &candidate.key);
                    }
                },
            }
        }
        let mut work = Vec::with_capacity(linked.len() + new.len());
        let taken = self.pair_linked(side, linked, &mut work).await?;
        let (taken, new): (Vec<_>, Vec<_>) = new.into_iter().partition(|candidate| taken.contains(&candidate.key));
        for candidate in taken {
            self.leave(toward, side, &candidate);
        }
        self.pair_new(side, new, &mut work).await?;
        self.apply(work).await
    }

    /// Nothing is to be done for a record.
    fn leave(&mut self, toward: Side, side: Side, candidate: &Candidate) {
        if candidate.counted {
            if candidate.seen == Seen::Outside {
                self.counts.toward(toward).skipped += 1;
            } else {
                let mut keys = Both::default();
                keys[side] = Some(candidate.key.clone());
                self.count_unchanged(toward, &keys);
            }
        }
        self.clear_owed(side, &candidate.key);
    }

    /// A record that is owed nothing any more is taken off the list.
    pub(super) fn clear_owed(&mut self, side: Side, key: &Key) {
        if self.owed.is_empty() {
            return;
        }
        let place = (side, key.clone());
        if !self.in_doubt.contains(&place) && self.owed.remove(&place).is_some() {
            // What this very run had parked, and has brought over since, is not parked: should it be parked once more, that
            // is told anew. A plan brings nothing over.
            if !self.options.dry {
                self.tried.remove(&place);
                let is_it = |parked: &Parked| parked.keys[side].as_ref() == Some(key);
                if let Some(told) = self.parked.iter().position(is_it) {
                    let parked = self.parked.remove(told);
                    self.counts.toward(parked.side).parked -= 1;
                }
            }
            self.pending.unpark.push(place);
        }
    }

    /// True where a linked record differs from its base, or something waits
    /// for it.
    fn needs_a_look(&self, side: Side, candidate: &Candidate, link: &Link) -> bool {
        if self.in_conflict.contains(&link.id)
            || !self.owed.is_empty() && self.owed.contains_key(&(side, candidate.key.clone()))
        {
            return true;
        }
        match (&candidate.seen, link.status) {
            (Seen::Live(record), LinkStatus::Linked) => link.outside || self.has_changed(side, candidate, record, link),
            // The other side's record may be back, which that side need not tell.
            (Seen::Live(record), LinkStatus::Severed { gone }) => {
                gone == side || link.outside || self.has_changed(side, candidate, record, link)
            }
            (Seen::Gone | Seen::Marked | Seen::Nobody, LinkStatus::Linked) => true,
            (Seen::Gone | Seen::Marked | Seen::Nobody, LinkStatus::Severed { gone }) => gone != side,
            (Seen::Outside, _) => false,
        }
    }

    /// True for a record in a listing of a side from which nothing flows: all
    /// that is looked for there are edits that are not to be kept.
    fn watches(&self, side: Side, candidate: &Candidate) -> bool {
        candidate.counted && !self.options.is_partial() && !self.program.writes(side.other())
    }

    fn has_changed(&self, side: Side, candidate: &Candidate, record: &Record, link: &Link) -> bool {
        let watching = self.watches(side, candidate);
        let changed = |(index, field): (usize, &FieldProgram)| {
            if field.create_only || !(field.writes(Side::Source) || field.writes(Side::Target)) {
                return false;
            }
            match &link.bases {
                Bases::Values(values) => match &values[index] {
                    Some(base) => !stands(field, base, side, &record.fields[index]),
                    None => true,
                },
                Bases::Digests(_) => {
                    let written = if field.writes(Side::Target) { Side::Target } else { Side::Source };
                    if written == side {
                        return !watching
                            || field.drift != Drift::Keep && !link.bases.holds(index, &record.fields[index]);
                    }
                    match field.convert(written, &record.fields[index]) {
                        Ok(value) => !link.bases.holds(index, &value),
                        Err(_) => true,
                    }
                }
            }
        };
        self.program.fields.iter().enumerate().any(changed)
    }

    /// Where the engine itself made a record's last change, people's stamp
    /// counts.
    pub(super) fn restamp(side: Side, link: &Link, seen: &mut Seen) {
        if let (Seen::Live(record), Some(own)) = (seen, &link.own_stamps[side])
            && record.stamp == Some(own.shown)
            && own.shows.is_none_or(|shows| shows == short_digest_of(&record.fields))
        {
            record.stamp = Some(own.people);
        }
    }

    /// Linked records get their counterparts, read now. Answers with the keys
    /// of this side that links have taken for those of records that are gone.
    async fn pair_linked(
        &mut self,
        side: Side,
        linked: Vec<Paired>,
        work: &mut Vec<Work>,
    ) -> Result<BTreeSet<Key>, Trouble> {
        if linked.is_empty() {
            return Ok(BTreeSet::new());
        }
        let other = side.other();
        let keys: Vec<Key> = linked.iter().map(|one| one.link.keys[other].clone()).collect();
        let mut others = self.look(other, &keys).await?;
        // A reading may show a record as it stood before this run wrote it, which would look like somebody's
        // change back. And a soft-deleted row does not mean the record is gone where a live row has its key.
        let read: Vec<Key> =
            linked.iter().filter(|one| one.candidate.counted).map(|one| one.candidate.key.clone()).collect();
        let mut own = if read.is_empty() { BTreeMap::new() } else { self.look(side, &read).await? };
        for Paired { mut candidate, link, behind } in linked {
            if candidate.counted {
                match own.remove(&candidate.key) {
                    Some(Ok(seen)) => candidate.seen = seen,
                    Some(Err(rejection)) => {
                        self.park_rejected(other, side, &candidate.key, &rejection);
                        continue;
                    }
                    None => candidate.seen = Seen::Gone,
                }
                Self::restamp(side, &link, &mut candidate.seen);
            }
            let mut seen = match others.remove(&link.keys[other]) {
                None => Seen::Gone,
                Some(Ok(seen)) => seen,
                Some(Err(rejection)) => {
                    self.park_rejected(side, other, &link.keys[other].clone(), &rejection);
                    continue;
                }
            };
            Self::restamp(other, &link, &mut seen);
            let mut pair = Both::new(Seen::Nobody, Seen::Nobody);
            pair[side] = candidate.seen;
            pair[other] = seen;
            work.push(Work {
                link: Some(link),
                behind,
                keys: Both::default(),
                seen: pair,
                read: candidate.counted.then_some(side),
                from: side,
            });
        }
        let taken = Both::new(self.follow(Side::Source, work).await?, self.follow(Side::Target, work).await?);
        Ok(match side {
            Side::Source => taken.source,
            Side::Target => taken.target,
        })
    }

    /// Looks at records of one side again, by key: those that moved while they
    /// were written, that are owed, or that a person has decided about.
    pub(super) async fn revisit(&mut self, side: Side, keys: Vec<Key>) -> Result<(), Trouble> {
        self.visit(side, keys, false).await
    }

    /// Looks at records of one side by key. What is `asked` for counts as read.
    pub(super) async fn visit(&mut self, side: Side, keys: Vec<Key>, asked: bool) -> Result<(), Trouble> {
        for page in keys.chunks(1000) {
            let mut seen = self.look(side, page).await?;
            let mut candidates = Vec::with_capacity(page.len());
            for key in page {
                let seen = seen.remove(key);
                let counted = asked && seen.is_some();
                self.counts.toward(side.other()).read += u64::from(counted);
                match seen {
                    Some(Ok(seen)) => candidates.push(Candidate { key: key.clone(), seen, counted }),
                    Some(Err(rejection)) => self.park_rejected(side.other(), side, key, &rejection),
                    None => candidates.push(Candidate { key: key.clone(), seen: Seen::Gone, counted }),
                }
            }
            self.candidates(side, candidates).await?;
            self.land().await?;
            self.flush().await?;
        }
        Ok(())
    }

    /// A record the side itself could not read is parked under its key.
    fn park_malformed(&mut self, side: Side, key: &Key, why: &str) {
        let rejection = self.malformed(why);
        self.park_rejected(side.other(), side, key, &rejection);
    }
}
