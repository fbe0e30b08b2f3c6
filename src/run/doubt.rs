//! Records in doubt: nobody knows whether they were created, or under which key.
//! Nothing else is written for them.

use std::collections::BTreeMap;

use super::batch::Candidate;
use super::matching::Match;
use super::report::Trouble;
use super::session::Session;
use crate::diagnostic::Code;
use crate::plan::{Link, Record, Seen};
use crate::record::{Both, Key, Side};
use crate::state::{Agreed, Parked, Reason};

impl Session<'_> {
    /// Parks a record of which nobody can tell whether its creation on `side`
    /// is in effect, or under which key.
    pub(super) fn park_in_doubt(&mut self, side: Side, from: &Key, message: &str, agreed: Option<Agreed>) {
        let mut keys = Both::default();
        keys[side.other()] = Some(from.clone());
        self.agreed.extend(agreed.clone().map(|agreed| ((side.other(), from.clone()), agreed)));
        let parked = self.aside(side, keys, Reason::InDoubt, None, Code::IN_DOUBT, message);
        self.put_aside(Parked { agreed, ..parked });
    }

    /// The link of a pair of which one was in doubt, as it would have been: what
    /// was edited since is seen as an edit. Where the other may be another than
    /// the one that was to be created, only what it shows as it was sent has
    /// agreed.
    pub(super) fn agreed_link(&self, keys: &Both<Option<Key>>, records: Both<&Record>) -> Option<Link> {
        let of = |side: Side| Some((side, self.agreed.get(&(side, keys[side].clone()?))?));
        let (from, agreed) = Side::BOTH.into_iter().find_map(of)?;
        let mut link = Link { layout: agreed.layout, bases: agreed.bases.clone(), ..self.new_link(keys) };
        self.layouts.bring(&mut link, self.program.bases);
        if agreed.certain {
            return Some(link);
        }
        let on = from.other();
        for (index, (field, shown)) in self.program.fields.iter().zip(&records[on].fields).enumerate() {
            let stands = match link.bases.values(index) {
                Some(base) => field.same(on, &base[on], shown),
                None => link.bases.holds(index, shown),
            };
            if !stands {
                link.bases.clear(index);
            }
        }
        Some(link)
    }

    /// The last write of a record is in doubt.
    pub(super) fn is_in_doubt(&self, keys: &Both<Option<Key>>) -> bool {
        !self.in_doubt.is_empty()
            && Side::BOTH
                .into_iter()
                .any(|side| keys[side].as_ref().is_some_and(|key| self.in_doubt.contains(&(side, key.clone()))))
    }

    /// A new record may be the very one whose creation is in doubt, and would go
    /// back to where it came from: any, where nothing says which records are the
    /// same, else one that matches a record in doubt that `where` or `when`
    /// hides by now.
    pub(super) async fn leave_in_doubt(
        &self,
        side: Side,
        new: &[Candidate],
        found: &mut [Match],
    ) -> Result<(), Trouble> {
        let other = side.other();
        let doubted: Vec<Key> =
            self.in_doubt.iter().filter(|(of, _)| *of == other).map(|(_, key)| key.clone()).collect();
        let is_new = |found: &Match| matches!(found, Match::New);
        if doubted.is_empty() || !self.program.sides[other].may_create || !found.iter().any(is_new) {
            return Ok(());
        }
        let alternatives = self.program.alternatives(other);
        let digest = |side: Side, seen: &Seen, fields: &[usize]| {
            let probe = seen.live().map(|record| self.probe(side, 0, record, fields))?;
            probe.ok().flatten().map(|probe| probe.digest)
        };
        let mut hidden: BTreeMap<(usize, u128), &Key> = BTreeMap::new();
        if !alternatives.is_empty() {
            let there = self.look_at_all(other, &doubted, true).await?;
            for (key, seen) in doubted.iter().filter_map(|key| Some((key, there.get(key)?.as_ref().ok()?))) {
                for (alternative, fields) in alternatives.iter().enumerate() {
                    hidden.extend(digest(other, seen, fields).map(|digest| ((alternative, digest), key)));
                }
            }
        }
        for (candidate, found) in new.iter().zip(found).filter(|(_, found)| is_new(found)) {
            let of = |(alternative, fields): (usize, &Vec<usize>)| {
                hidden.get(&(alternative, digest(side, &candidate.seen, fields)?)).copied()
            };
            let doubt =
                if alternatives.is_empty() { doubted.first() } else { alternatives.iter().enumerate().find_map(of) };
            if let Some(key) = doubt {
                *found = Match::Ambiguous(format!(
                    "it may be what became of the {other} record with key {key}, which is in doubt: settle that first"
                ));
            }
        }
        Ok(())
    }
}
