//! Rings of mappings: what the engine wrote is remembered with where it came
//! from, so that a value which comes back changed is parked and not played on.
//!
//! Only where [`super::Neighbours`] says that what is written may come back;
//! everywhere else each of these calls does nothing. What may come back is
//! told by the state: a value is the engine's own as long as it stands as it
//! was written, and people's from their first edit on.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::execute::Work;
use super::report::Trouble;
use super::session::Session;
use super::setup::Setup;
use crate::compile::{FieldProgram, Reading};
use crate::connector::{Action, Change};
use crate::plan::{Bases, Decision, Link, Record, Seen};
use crate::record::{Both, Key, Side, Value, short_digest};
use crate::state::{Cell, Intents, Written};

/// What a run knows of its place in a ring.
#[derive(Debug, Default)]
pub(super) struct Rings {
    /// Both sides, as the state calls them.
    objects: Both<Arc<str>>,
    /// Of the batch being dealt with: writes of a value that came from where it
    /// is about to go, by their work and side.
    returning: BTreeMap<(usize, Side), Returning>,
    /// Of the other writes: where the value of each field came from.
    origins: HashMap<(usize, Side), Vec<FieldOrigins>>,
    /// What an earlier run has written, as it turned out: keys, field, digest.
    recovered: Vec<(Both<Key>, usize, u64)>,
}

/// A field of a write, and where its value came from.
type FieldOrigins = (usize, Vec<Cell>);

/// A value on its way back.
#[derive(Debug, Clone)]
pub(super) struct Returning {
    pub field: usize,
    /// The key under which it began.
    pub began: Key,
}

/// A field that is read, and the digest of what it shows.
struct Read {
    cell: Cell,
    /// `None` where no field of the mapping shows it as it is stored.
    digest: Option<u64>,
}

impl Rings {
    pub(super) fn new(setup: &Setup) -> Rings {
        Rings { objects: setup.fingerprints.as_ref().map(|text| Arc::from(text.as_str())), ..Rings::default() }
    }

    /// The first value of a pair that is on its way back, and where to.
    pub(super) fn returning(&self, work: usize) -> Option<(Side, Returning)> {
        Side::BOTH.into_iter().find_map(|side| Some((side, self.returning.get(&(work, side))?.clone())))
    }
}

/// The digest of a value that a system may pad with blanks.
fn mark(value: &Value) -> u64 {
    match value {
        Value::Text(text) if text.ends_with(' ') => short_digest(&Value::text(text.trim_end_matches(' '))),
        value => short_digest(value),
    }
}

impl Session<'_> {
    fn cell(&self, side: Side, key: &Key, slot: usize) -> Cell {
        let field = &self.program.sides[side].access.shape.fields[slot].name;
        Cell { object: self.rings.objects[side].clone(), key: key.clone(), field: field.to_string() }
    }

    /// What a field is read from on a side, where `record` stands.
    fn reads(&self, side: Side, key: &Key, field: usize, record: Option<&Record>) -> Vec<Read> {
        let shows = |slot: usize| {
            let of_slot = |field: &FieldProgram| matches!(field.read[side], Reading::Slot(read) if read == slot);
            Some(mark(&record?.fields[self.program.fields.iter().position(of_slot)?]))
        };
        let read = |slot: usize| Read { cell: self.cell(side, key, slot), digest: shows(slot) };
        match &self.program.fields[field].read[side] {
            Reading::Slot(slot) | Reading::Computed { slot: Some(slot), .. } => vec![read(*slot)],
            Reading::Template(template) => template.slots().iter().map(|slot| read(*slot)).collect(),
            Reading::Computed { slot: None, .. } | Reading::Constant(_) | Reading::Nothing => Vec::new(),
        }
    }

    /// Where what is read came from before, each as long as the engine's own
    /// value stands there.
    async fn before(&mut self, reads: &[Read]) -> Result<Vec<Vec<Cell>>, Trouble> {
        let cells: Vec<Cell> = reads.iter().map(|read| read.cell.clone()).collect();
        let written = self.setup.store.written(&cells).await?;
        let mut all = Vec::with_capacity(reads.len());
        for (read, written) in reads.iter().zip(written) {
            all.push(match (written, read.digest) {
                (Some(written), Some(digest)) if written.digest == digest => written.origins,
                (Some(_), Some(_)) => {
                    self.pending.overtaken.push(read.cell.clone());
                    Vec::new()
                }
                _ => Vec::new(),
            });
        }
        Ok(all)
    }

    /// Finds out where the values of a batch of decisions come from, and which
    /// of them are on their way back there.
    pub(super) async fn trace_origins(&mut self, work: &[Work], decisions: &[Decision]) -> Result<(), Trouble> {
        self.rings.returning.clear();
        self.rings.origins.clear();
        let ring = self.setup.neighbours.in_ring;
        let mut reads = Vec::new();
        let mut of = Vec::new();
        for (index, (item, decision)) in work.iter().zip(decisions).enumerate() {
            let keys = item.all_keys();
            for to in Side::BOTH.into_iter().filter(|to| ring[*to]) {
                let from = to.other();
                let (Some(write), Some(key)) = (&decision.writes[to], &keys[from]) else { continue };
                for field in write.fields.iter().map(|write| write.field) {
                    let found = self.reads(from, key, field, item.seen[from].live());
                    of.extend(found.iter().map(|_| (index, to, field)));
                    reads.extend(found);
                }
            }
        }
        if reads.is_empty() {
            return Ok(());
        }
        let before = self.before(&reads).await?;
        for (((index, to, field), read), before) in of.into_iter().zip(reads).zip(before) {
            let item = &work[index];
            let made_anew = item.link.is_some() && is_create(&decisions[index], to);
            let there = if is_create(&decisions[index], to) { None } else { item.all_keys()[to].clone() };
            if !made_anew && let Some(began) = self.began(to, field, there.as_ref(), &before) {
                self.rings.returning.entry((index, to)).or_insert(Returning { field, began });
            }
            let fields = self.rings.origins.entry((index, to)).or_default();
            let known = fields.iter().position(|(known, _)| *known == field).unwrap_or_else(|| {
                fields.push((field, Vec::new()));
                fields.len() - 1
            });
            fields[known].1.push(read.cell);
            fields[known].1.extend(before);
        }
        Ok(())
    }

    /// The key of the record a value began in, where that is the field it is
    /// about to be written to: of the record `there`, or, where a new one is
    /// about to be made of it, of any.
    fn began(&self, to: Side, field: usize, there: Option<&Key>, origins: &[Cell]) -> Option<Key> {
        let slot = self.program.fields[field].toward[to].as_ref()?.slot;
        let name = &self.program.sides[to].access.shape.fields[slot].name;
        let is_there = |origin: &&Cell| {
            origin.object == self.rings.objects[to]
                && origin.field.as_str() == name.as_str()
                && there.is_none_or(|key| *key == origin.key)
        };
        origins.iter().find(is_there).map(|origin| origin.key.clone())
    }

    /// Notes what was written to a side, in the commit that says so.
    pub(super) fn remember(&mut self, side: Side, work: usize, key: &Key, sent: &Change, stored: Option<&[Value]>) {
        let Some(fields) = self.rings.origins.remove(&(work, side)) else { return };
        for (field, mut origins) in fields {
            origins.sort();
            origins.dedup();
            let Some(way) = &self.program.fields[field].toward[side] else { continue };
            let of_key = || self.program.sides[side].access.key.iter().position(|slot| *slot == way.slot);
            let value = match stored {
                Some(row) => Some(&row[way.slot]),
                None => sent.set.iter().find(|(slot, _)| *slot == way.slot).map(|(_, value)| value),
            };
            if let Some(value) = value.or_else(|| sent.key.get(of_key()?)) {
                let cell = self.cell(side, key, way.slot);
                self.pending.written.push(Written { cell, digest: mark(value), origins });
            }
        }
    }

    /// Keeps for [`Session::remember_recovered`] what turned out to be in
    /// effect of an earlier run's changes: each field and its value.
    pub(super) fn recovered<'v>(
        &mut self,
        side: Side,
        keys: &Both<Key>,
        fields: impl Iterator<Item = (usize, &'v Value)>,
    ) {
        if self.setup.neighbours.in_ring[side] {
            self.rings.recovered.extend(fields.map(|(field, value)| (keys.clone(), field, mark(value))));
        }
    }

    /// The same of its creates, but for those that were not made.
    pub(super) fn recovered_creates(&mut self, intents: &Intents, not_made: &[usize]) {
        let side = intents.side;
        if !self.setup.neighbours.in_ring[side] {
            return;
        }
        let not_made: BTreeSet<&usize> = not_made.iter().collect();
        let made = intents.creates.iter().enumerate().filter(|(position, _)| !not_made.contains(position));
        for (_, link) in made {
            for position in 0..link.bases.len() {
                let Some(field) = self.layouts.position(link.layout, position) else { continue };
                let digest = match &link.bases {
                    Bases::Values(values) => values[position].as_ref().map(|base| mark(&base[side])),
                    Bases::Digests(digests) => digests[position],
                };
                let digest = digest.filter(|_| self.program.fields[field].writes(side));
                self.rings.recovered.extend(digest.map(|digest| (link.keys.clone(), field, digest)));
            }
        }
    }

    /// Notes what an earlier run has written. What its sources show by now says
    /// where it came from.
    pub(super) async fn remember_recovered(&mut self, side: Side) -> Result<(), Trouble> {
        let recovered = std::mem::take(&mut self.rings.recovered);
        if recovered.is_empty() {
            return Ok(());
        }
        let from = side.other();
        let mut keys: Vec<Key> = recovered.iter().map(|(keys, ..)| keys[from].clone()).collect();
        keys.sort();
        keys.dedup();
        let seen = self.look(from, &keys).await?;
        let mut reads = Vec::new();
        let mut of = Vec::new();
        for (index, (keys, field, _)) in recovered.iter().enumerate() {
            let record = seen.get(&keys[from]).and_then(|seen| seen.as_ref().ok()).and_then(Seen::live);
            let found = self.reads(from, &keys[from], *field, record);
            of.extend(found.iter().map(|_| index));
            reads.extend(found);
        }
        let before = self.before(&reads).await?;
        let mut origins: Vec<Vec<Cell>> = vec![Vec::new(); recovered.len()];
        for ((index, read), before) in of.into_iter().zip(reads).zip(before) {
            origins[index].push(read.cell);
            origins[index].extend(before);
        }
        for ((keys, field, digest), origins) in recovered.into_iter().zip(origins) {
            if let (Some(way), false) = (&self.program.fields[field].toward[side], origins.is_empty()) {
                let cell = self.cell(side, &keys[side], way.slot);
                self.pending.written.push(Written { cell, digest, origins });
            }
        }
        Ok(())
    }

    /// Forgets a link, and what was written to the records of these sides.
    pub(super) fn forget(&mut self, link: &Link, gone: &[Side]) {
        self.pending.forget.push(link.id);
        if self.setup.neighbours.any_ring() {
            for side in gone {
                let slots = 0..self.program.sides[*side].access.shape.len();
                let cells: Vec<Cell> = slots.map(|slot| self.cell(*side, &link.keys[*side], slot)).collect();
                self.pending.overtaken.extend(cells);
            }
        }
    }
}

fn is_create(decision: &Decision, to: Side) -> bool {
    decision.writes[to].as_ref().is_some_and(|write| write.action == Action::Create)
}
