//! Records without a link find their counterparts.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::batch::Candidate;
use super::execute::Work;
use super::probe::Probe;
use super::report::Trouble;
use super::session::Session;
use crate::compile::Rejection;
use crate::diagnostic::Code;
use crate::plan::{Link, Record, Seen};
use crate::record::{Both, Key, Side, Value, digest};
use crate::state::Reason;

/// What a new record was found to be.
pub(super) enum Match {
    New,
    /// It may be the same as another of its batch by the system's own
    /// equality, which tells once that one stands there.
    Later,
    /// The one; with the link that it is in, brought to the new record, where
    /// the record it was linked to is gone.
    One(Key, Option<Box<Link>>),
    /// Several, or one that is taken: why.
    Ambiguous(String),
    Rejected(Box<Rejection>),
}

impl Session<'_> {
    /// New records are adopted, parked as ambiguous, or stay new.
    pub(super) async fn pair_new(
        &mut self,
        side: Side,
        new: Vec<Candidate>,
        work: &mut Vec<Work>,
    ) -> Result<(), Trouble> {
        if new.is_empty() {
            return Ok(());
        }
        let other = side.other();
        let matches = self.matches(side, &new).await?;
        let hits: Vec<Key> = matches
            .iter()
            .filter_map(|found| match found {
                Match::One(key, _) => Some(key.clone()),
                _ => None,
            })
            .collect();
        let mut moved = Vec::new();
        let mut others = if hits.is_empty() { BTreeMap::new() } else { self.look(other, &hits).await? };
        for (mut candidate, found) in new.into_iter().zip(matches) {
            let mut keys = Both::default();
            keys[side] = Some(candidate.key.clone());
            let (mut link, mut behind) = (None, None);
            let mut seen_there = match found {
                Match::New => Seen::Nobody,
                Match::Later => {
                    let rounds = self.again[side].get(&candidate.key).map_or(0, |rounds| rounds + 1);
                    self.queue(side, &keys, rounds);
                    continue;
                }
                Match::Ambiguous(why) => {
                    self.park(other, keys, Reason::Ambiguous, None, Code::AMBIGUOUS, &why);
                    continue;
                }
                Match::Rejected(rejection) => {
                    self.park_rejected(other, side, &candidate.key, &rejection);
                    continue;
                }
                Match::One(key, taken) => {
                    keys[other] = Some(key.clone());
                    link = taken.map(|taken| *taken);
                    match others.remove(&key) {
                        Some(Ok(seen)) => seen,
                        Some(Err(rejection)) => {
                            self.park_rejected(side, other, &key, &rejection);
                            continue;
                        }
                        // It went away between two looks: the next run tells.
                        None => {
                            self.again[side].entry(candidate.key).or_insert(0);
                            continue;
                        }
                    }
                }
            };
            if self.options.dry {
                for side in Side::BOTH {
                    self.foresight.claimed[side].extend(keys[side].clone());
                }
            }
            if let Some(link) = &mut link {
                self.foresight.halves.remove(&link.id);
                // Another record of this batch may have told that the old one is gone.
                work.retain(|item| item.link.as_ref().is_none_or(|other| other.id != link.id));
                Self::restamp(side, link, &mut candidate.seen);
                Self::restamp(other, link, &mut seen_there);
                let before = std::mem::replace(&mut link.keys[side], candidate.key.clone());
                self.recognise(side, link, &candidate.seen);
                moved.push((before, link.clone()));
                behind = self.layouts.is_behind(link, self.program.bases).then(|| Box::new(link.clone()));
                self.layouts.bring(link, self.program.bases);
            }
            if let (None, Some(here), Some(there)) = (&link, candidate.seen.live(), seen_there.live()) {
                let records = if side == Side::Source { Both::new(here, there) } else { Both::new(there, here) };
                link = self.agreed_link(&keys, records);
            }
            let mut seen = Both::new(Seen::Nobody, Seen::Nobody);
            seen[side] = candidate.seen;
            seen[other] = seen_there;
            work.push(Work { link, behind, keys, seen, read: candidate.counted.then_some(side), from: side });
        }
        self.rekeyed(side, moved).await
    }

    async fn matches(&mut self, side: Side, new: &[Candidate]) -> Result<Vec<Match>, Trouble> {
        let program = self.program;
        let other = side.other();
        let mut found: Vec<Option<Match>> = new.iter().map(|_| None).collect();
        let alternatives = if self.is_unasked(other) { Cow::Borrowed(&[][..]) } else { program.alternatives(other) };
        // Records that this batch has already spoken for, by what they match on.
        let mut taken: HashMap<(usize, u128), usize> = HashMap::new();
        let mut claimed: HashMap<Key, usize> = HashMap::new();
        // The same without what a loose equality may pass over.
        let mut nearly: BTreeSet<(usize, u128)> = BTreeSet::new();
        for (alternative, fields) in alternatives.iter().enumerate() {
            let mut probes = Vec::new();
            for (record, candidate) in new.iter().enumerate() {
                let (None, Seen::Live(seen)) = (&found[record], &candidate.seen) else { continue };
                match self.probe(side, record, seen, fields) {
                    Ok(probe) => probes.extend(probe),
                    Err(rejection) => found[record] = Some(Match::Rejected(Box::new(rejection))),
                }
            }
            let asked: Vec<(&[Value], u128)> =
                probes.iter().map(|probe| (probe.values.as_slice(), probe.digest)).collect();
            let mapped = fields.iter().all(|field| program.fields[*field].writes(other));
            let hits = self.ask(other, alternative, fields, &asked, mapped).await?;
            let twins = self.twins(side, alternative, fields, &probes, &hits).await?;
            let all: Vec<Key> = hits.iter().flatten().cloned().collect();
            let linked = self.setup.store.links(&program.name, other, &all).await?;
            let mut linked: BTreeMap<&Key, Link> =
                all.iter().zip(linked).filter_map(|(key, link)| Some((key, link?))).collect();
            let adrift = self.adrift(side, linked.values()).await?;
            let owners = self.owners(other, &all).await?;
            let loose = fields.iter().any(|field| self.is_loose(other, *field));
            let about_to = |names: String, rival: Option<&usize>| {
                let rival = rival.map(|record| format!(" (key {})", new[*record].key)).unwrap_or_default();
                format!("another {side} record with the same {names}{rival} is about to become its counterpart")
            };
            let names =
                || fields.iter().map(|field| program.fields[*field].name.as_str()).collect::<Vec<_>>().join(", ");
            for ((probe, mut keys), twins) in probes.iter().zip(hits).zip(twins) {
                keys.sort();
                keys.dedup();
                let verdict = match keys.as_slice() {
                    [] => {
                        // A twin earlier in this batch is about to be created there: it would be the one hit.
                        let near = || (alternative, folded(&probe.values));
                        match taken.entry((alternative, probe.digest)) {
                            _ if !program.sides[other].may_create => None,
                            std::collections::hash_map::Entry::Occupied(rival) => {
                                Some(Match::Ambiguous(about_to(names(), Some(rival.get()))))
                            }
                            _ if self.foresight.created[other].contains(&(alternative, probe.digest))
                                || loose && self.foresight.created[other].contains(&near()) =>
                            {
                                Some(Match::Ambiguous(about_to(names(), None)))
                            }
                            _ if loose && !nearly.insert(near()) => {
                                // A dry run creates nothing that could be asked for.
                                Some(if self.options.dry {
                                    Match::Ambiguous(about_to(names(), None))
                                } else {
                                    Match::Later
                                })
                            }
                            std::collections::hash_map::Entry::Vacant(free) => {
                                free.insert(probe.record);
                                None
                            }
                        }
                    }
                    [key]
                        if linked.get(key).is_some_and(|link| twins.len() > 1 || !adrift.contains(&link.id))
                            || claimed.contains_key(key)
                            || self.foresight.claimed[other].contains(key)
                                && linked.get(key).is_none_or(|link| !self.foresight.halves.contains(&link.id)) =>
                    {
                        let linked = linked.get(key).map(|link| &link.keys[side]);
                        let rival = linked.or_else(|| claimed.get(key).map(|record| &new[*record].key));
                        let rival = rival.map(|rival| format!(" (key {rival})")).unwrap_or_default();
                        Some(Match::Ambiguous(format!(
                            "the {other} record with the same {} (key {key}) is linked to another {side} record{rival}",
                            names()
                        )))
                    }
                    [key] if owners.contains_key(key) => Some(Match::Ambiguous(format!(
                        "the {other} record with the same {} (key {key}) belongs to `{}`, which has linked it",
                        names(),
                        owners[key]
                    ))),
                    [key] if twins.len() > 1 => Some(Match::Ambiguous(format!(
                        "{} {side} records have the same {} as the {other} record with key {key}: {}",
                        twins.len(),
                        names(),
                        first_keys(&twins)
                    ))),
                    [key] => {
                        claimed.insert(key.clone(), probe.record);
                        Some(Match::One(key.clone(), linked.remove(key).map(Box::new)))
                    }
                    several => Some(Match::Ambiguous(format!(
                        "{} {other} records have the same {}: {}",
                        several.len(),
                        names(),
                        first_keys(several)
                    ))),
                };
                if verdict.is_some() {
                    found[probe.record] = verdict;
                }
            }
        }
        let mut found: Vec<Match> = found.into_iter().map(|found| found.unwrap_or(Match::New)).collect();
        self.leave_to_owners(side, new, &mut found).await?;
        self.leave_in_doubt(side, new, &mut found).await?;
        Ok(found)
    }

    /// New records of a side that another mapping has linked are not linked
    /// from here as well.
    async fn leave_to_owners(&self, side: Side, new: &[Candidate], found: &mut [Match]) -> Result<(), Trouble> {
        if side != Side::Target || self.setup.neighbours.rivals.is_empty() {
            return Ok(());
        }
        let keys: Vec<Key> = new.iter().map(|candidate| candidate.key.clone()).collect();
        let owners = self.owners(side, &keys).await?;
        let may_create = self.program.sides[side.other()].may_create;
        for (key, found) in keys.iter().zip(found) {
            let claims = matches!(found, Match::One(..)) || matches!(found, Match::New) && may_create;
            if let (true, Some(owner)) = (claims, owners.get(key)) {
                let why = format!("the {side} record with key {key} belongs to `{owner}`, which has linked it");
                *found = Match::Ambiguous(why);
            }
        }
        Ok(())
    }

    /// Of these records of a side, those that another mapping which writes the
    /// same fields has linked, each with that mapping's name.
    pub(super) async fn owners(&self, side: Side, keys: &[Key]) -> Result<BTreeMap<Key, &str>, Trouble> {
        let mut owners = BTreeMap::new();
        if side == Side::Target && !keys.is_empty() {
            for rival in &self.setup.neighbours.rivals {
                let links = self.setup.store.links(rival, side, keys).await?;
                let owned = keys.iter().zip(&links).filter(|(_, link)| link.is_some());
                owners.extend(owned.map(|(key, _)| (key.clone(), rival.as_str())));
            }
        }
        Ok(owners)
    }

    /// For each probe with a hit: the records of its own side, none of
    /// them linked, that would claim that hit. One hit is not enough to pair two
    /// records where the hit has several to choose from.
    async fn twins(
        &mut self,
        side: Side,
        alternative: usize,
        fields: &[usize],
        probes: &[Probe],
        hits: &[Vec<Key>],
    ) -> Result<Vec<Vec<Key>>, Trouble> {
        let with_hit: Vec<usize> = (0..probes.len()).filter(|probe| !hits[*probe].is_empty()).collect();
        let asked: Vec<(&[Value], u128)> =
            with_hit.iter().map(|probe| (probes[*probe].own.as_slice(), probes[*probe].digest)).collect();
        let own = self.ask(side, alternative, fields, &asked, true).await?;
        let all: Vec<Key> = own.iter().flatten().cloned().collect();
        let links = self.setup.store.links(&self.program.name, side, &all).await?;
        let linked: BTreeSet<&Key> =
            all.iter().zip(&links).filter(|(_, link)| link.is_some()).map(|(key, _)| key).collect();
        let mut twins = vec![Vec::new(); probes.len()];
        for (probe, keys) in with_hit.into_iter().zip(&own) {
            let unlinked: BTreeSet<&Key> = keys.iter().filter(|key| !linked.contains(key)).collect();
            twins[probe] = unlinked.into_iter().cloned().collect();
        }
        Ok(twins)
    }
}

impl Session<'_> {
    /// In a dry run: a record would be created for this one, and be the hit of
    /// whoever comes after it.
    pub(super) fn foresee(&mut self, on: Side, record: &Record, alternatives: &[Vec<usize>]) {
        for (alternative, fields) in alternatives.iter().enumerate() {
            let Ok(Some(probe)) = self.probe(on.other(), 0, record, fields) else { continue };
            self.foresight.created[on].insert((alternative, probe.digest));
            if fields.iter().any(|field| self.is_loose(on, *field)) {
                self.foresight.created[on].insert((alternative, folded(&probe.values)));
            }
        }
    }
}

/// The first of several keys, for a message.
fn first_keys(keys: &[Key]) -> String {
    let more = if keys.len() > 5 { "; …" } else { "" };
    keys.iter().take(5).map(Key::plain).collect::<Vec<_>>().join("; ") + more
}

/// A digest of values without the case, blanks and signs that a loose equality
/// may pass over.
fn folded(values: &[Value]) -> u128 {
    let fold = |value: &Value| match value {
        Value::Text(text) => {
            Value::text(text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_uppercase).collect::<String>())
        }
        other => other.clone(),
    };
    digest(&values.iter().map(fold).collect::<Vec<_>>())
}
