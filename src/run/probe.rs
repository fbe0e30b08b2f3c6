//! A side is asked for records by their match values.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::pages::{Page, Pages};
use super::report::Trouble;
use super::session::Session;
use crate::compile::{FieldProgram, Reading, Rejection};
use crate::connector::{Found, Listing, Scope};
use crate::plan::{Record, Seen};
use crate::record::{Key, Mark, Side, Value, digest};

/// For each alternative of `match`: the keys of a side's records by a digest
/// of their match values.
pub(super) type Indexes = BTreeMap<usize, HashMap<u128, Vec<Key>>>;

/// Match values, each with the alternative of `match` that it belongs to.
pub(super) type Foreseen = HashSet<(usize, u128)>;

/// The values by which a record is looked for on the other side.
pub(super) struct Probe {
    /// Position in the list of records that are looked for.
    pub record: usize,
    pub values: Vec<Value>,
    /// The same values as the record's own side shows them.
    pub own: Vec<Value>,
    pub digest: u128,
}

impl Session<'_> {
    /// The values a record is looked for by, in the representation of the side
    /// that is asked; `None` where one of them is blank, for blanks never match.
    pub(super) fn probe(
        &self,
        side: Side,
        position: usize,
        record: &Record,
        fields: &[usize],
    ) -> Result<Option<Probe>, Rejection> {
        let mut values = Vec::with_capacity(fields.len());
        let mut equal = Vec::with_capacity(fields.len());
        for &index in fields {
            let field = &self.program.fields[index];
            let own = &record.fields[index];
            if own.is_blank() {
                return Ok(None);
            }
            let (value, compared) = Self::in_common(field, side, own)?;
            if compared.is_blank() {
                return Ok(None);
            }
            equal.push(compared);
            values.push(value);
        }
        let own = fields.iter().map(|field| record.fields[*field].clone()).collect();
        Ok(Some(Probe { record: position, values, own, digest: digest(&equal) }))
    }

    /// A field's value of `side` as the other side would show it (where it can
    /// be mapped there), and in the form in which both sides are compared: the
    /// target's representation (the source's where the target is not written),
    /// by `equal`.
    fn in_common(field: &FieldProgram, side: Side, own: &Value) -> Result<(Value, Value), Rejection> {
        let other = side.other();
        let mapped = if field.writes(other) { field.convert(other, own)? } else { own.clone() };
        let common = if field.writes(Side::Target) { Side::Target } else { Side::Source };
        let compared = if side == common { own.clone() } else { mapped.clone() };
        Ok((mapped, field.comparable(common, compared)))
    }

    /// Asks the whole of a side for records with these match values, each in the
    /// side's own representation (where `represented`) and as a digest.
    pub(super) async fn ask(
        &mut self,
        side: Side,
        alternative: usize,
        fields: &[usize],
        probes: &[(&[Value], u128)],
        represented: bool,
    ) -> Result<Vec<Vec<Key>>, Trouble> {
        let mut hits = vec![Vec::new(); probes.len()];
        if probes.is_empty() {
            return Ok(hits);
        }
        let Some(slots) = self.match_slots(side, fields).filter(|_| represented) else {
            self.build_index(side, alternative, fields).await?;
            let index = &self.indexes[side][&alternative];
            for ((_, digest), hits) in probes.iter().zip(&mut hits) {
                hits.extend(index.get(digest).into_iter().flatten().cloned());
            }
            return Ok(hits);
        };
        let values: Vec<Vec<Value>> = probes.iter().map(|(values, _)| values.to_vec()).collect();
        let found: Found =
            self.setup.call(side, || self.setup.objects[side].fetch(&slots, &values, Scope::Filtered)).await?;
        for (index, (mark, row)) in found.batch.rows().enumerate() {
            if *mark == Mark::Live
                && found.within[index]
                && let Ok(Seen::Live(_)) = self.see(side, row, true)
                && let Some(key) = self.program.sides[side].key(row)
            {
                hits[found.probes[index]].push(key);
            }
        }
        Ok(hits)
    }

    /// Whether a side may take different values of a field for the same.
    pub(super) fn is_loose(&self, side: Side, field: usize) -> bool {
        let way = self.program.fields[field].toward[side].as_ref();
        way.is_some_and(|way| self.program.sides[side].access.shape.fields[way.slot].loose)
    }

    /// The slots by which a side can be asked for match values, where its own
    /// equality is the one that counts.
    pub(super) fn match_slots(&self, side: Side, fields: &[usize]) -> Option<Vec<usize>> {
        let slot = |&index: &usize| {
            let field = &self.program.fields[index];
            match field.read[side] {
                Reading::Slot(slot) if field.equal.is_empty() => Some(slot),
                _ => None,
            }
        };
        fields.iter().map(slot).collect()
    }

    /// Lists a side once, where it cannot be asked by `equal` or by a field
    /// that is not written there.
    async fn build_index(&mut self, side: Side, alternative: usize, fields: &[usize]) -> Result<(), Trouble> {
        if self.indexes[side].contains_key(&alternative) {
            return Ok(());
        }
        let mut index: HashMap<u128, Vec<Key>> = HashMap::new();
        let mut pages = Pages::new(self.setup, side, Listing::Full);
        while let Some(page) = pages.next().await? {
            let Page::Rows(batch) = page else {
                index.clear();
                continue;
            };
            for (mark, row) in batch.rows() {
                if *mark == Mark::Live
                    && let Ok(Seen::Live(record)) = self.see(side, row, true)
                    && let Some(key) = self.program.sides[side].key(row)
                    && let Ok(Some(probe)) = self.probe(side, 0, &record, fields)
                {
                    index.entry(probe.digest).or_default().push(key);
                }
            }
        }
        self.indexes[side].insert(alternative, index);
        Ok(())
    }
}
