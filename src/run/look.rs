//! Records are looked at by their keys, as the planner sees them.

use std::collections::{BTreeMap, HashMap};

use super::report::Trouble;
use super::session::Session;
use crate::compile::Rejection;
use crate::connector::{Found, Scope};
use crate::diagnostic::Code;
use crate::plan::{Record, Seen};
use crate::record::{Key, Kind, Mark, Side, Value};

impl Session<'_> {
    /// A row of a side as the planner sees it.
    pub(super) fn see(&self, side: Side, row: &[Value], within: bool) -> Result<Seen, Rejection> {
        Seen::of(self.program, side, row, within)
    }

    pub(super) fn record(&self, side: Side, row: &[Value]) -> Result<Record, Rejection> {
        Record::of(self.program, side, row)
    }

    /// Reads records by key, whatever the filters say. Of several rows with one
    /// key the live one counts.
    pub(super) async fn look(
        &self,
        side: Side,
        keys: &[Key],
    ) -> Result<BTreeMap<Key, Result<Seen, Rejection>>, Trouble> {
        self.look_at_all(side, keys, false).await
    }

    /// Reads records by key; those that are outside as if they were not, where
    /// it is asked `through` the filters.
    pub(super) async fn look_at_all(
        &self,
        side: Side,
        keys: &[Key],
        through: bool,
    ) -> Result<BTreeMap<Key, Result<Seen, Rejection>>, Trouble> {
        let found = self.fetch_keys(side, keys).await?;
        let mut seen = BTreeMap::new();
        let mut live: HashMap<usize, &[Value]> = HashMap::new();
        let access = &self.program.sides[side].access;
        let of_kind = |is_it: fn(&Kind) -> bool| access.key.iter().any(|slot| is_it(&access.shape.fields[*slot].kind));
        let has_letters = of_kind(|kind| matches!(kind, Kind::Text { .. } | Kind::Any));
        // One value of these has several texts: `P1D` and `PT24H`.
        let has_forms = of_kind(|kind| matches!(kind, Kind::Interval | Kind::Other(_)));
        for (index, (mark, row)) in found.batch.rows().enumerate() {
            let key = keys[found.probes[index]].clone();
            // The column may take letters of either case for the same; a link does not.
            let own = (has_letters || has_forms).then(|| self.program.sides[side].key(row)).flatten();
            if own.is_some_and(|own| has_letters && differs_by_case(&own, &key) || has_forms && own != key) {
                continue;
            }
            let outcome = match mark {
                Mark::Live => match self.see(side, row, found.within[index]) {
                    Ok(Seen::Outside) if through => self.record(side, row).map(Seen::Live),
                    seen => seen,
                },
                Mark::Deleted => Ok(Seen::Gone),
                Mark::Malformed(why) => Err(self.malformed(why)),
            };
            // Several live rows that have the very same key: it is none.
            if matches!(outcome, Ok(Seen::Live(_)))
                && let Some(first) = live.insert(found.probes[index], row)
                && self.program.sides[side].key(first) == self.program.sides[side].key(row)
            {
                let why = format!("several records of the {side} have the key {key}");
                seen.insert(key, Err(self.misfit(Code::AMBIGUOUS, &why)));
                continue;
            }
            match seen.get(&key) {
                Some(Ok(Seen::Live(_))) => {}
                Some(Err(_)) if live.contains_key(&found.probes[index]) => {}
                _ => {
                    seen.insert(key, outcome);
                }
            }
        }
        Ok(seen)
    }

    pub(super) async fn fetch_keys(&self, side: Side, keys: &[Key]) -> Result<Found, Trouble> {
        let access = &self.program.sides[side].access;
        let probes: Vec<Vec<Value>> = keys.iter().map(|key| self.key_values(side, key)).collect();
        self.setup.call(side, || self.setup.objects[side].fetch(&access.key, &probes, Scope::Everything)).await
    }

    /// The typed values of a stored key.
    pub(super) fn key_values(&self, side: Side, key: &Key) -> Vec<Value> {
        let access = &self.program.sides[side].access;
        let kinds: Vec<_> = access.key.iter().map(|slot| &access.shape.fields[*slot].kind).collect();
        key.values(&kinds)
    }
}

/// True for two keys that are the same but for the case of letters.
fn differs_by_case(one: &Key, other: &Key) -> bool {
    one != other && one.as_str().to_lowercase() == other.as_str().to_lowercase()
}
