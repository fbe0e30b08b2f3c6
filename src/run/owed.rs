//! What is owed: parked records, people's decisions, records to look at again.

use std::collections::BTreeSet;

use chrono::TimeDelta;

use super::event::Fact;
use super::report::Trouble;
use super::session::{Owed, Session};
use crate::compile::{BaseKind, Misfitting, Rejection};
use crate::connector::{Action, Change, Listing};
use crate::diagnostic::Code;
use crate::plan::{Link, LinkStatus, Record, RecordWrite};
use crate::record::{Both, Key, Mark, Side, Value, digest};
use crate::state::{Agreed, ConflictFilter, Parked, ParkedFilter, Reason, Store, StoreError};

/// A row without a key that is owed.
#[derive(Debug, Default)]
pub(super) struct Keyless {
    /// The number it is parked under; 0 where it is new.
    pub id: i64,
    pub attempts: u32,
    /// Its next try has come: as nothing finds it, the side is read as a whole.
    pub due: bool,
    /// It has shown up in this run.
    pub seen: bool,
}

/// So many runs in a row read a whole side for a row without a key.
const LISTED: u32 = 3;

/// In so many runs a record may move each time it is about to be written before
/// it is told as parked.
const RESTLESS_RUNS: u32 = 3;

/// True for a record that moved each time it was about to be written, though not
/// in so many runs that it is parked: the next run tries again.
pub(super) fn is_untold(parked: &Parked) -> bool {
    parked.code.as_deref() == Some(Code::RESTLESS.as_str()) && parked.attempts < RESTLESS_RUNS
}

/// Retried on every run up to this many attempts, then less and less often.
const EAGER: u32 = 10;

impl Session<'_> {
    /// Tries again what is parked and due.
    pub(super) async fn retry_owed(&mut self) -> Result<(), Trouble> {
        if self.owed.is_empty() {
            return Ok(());
        }
        // `match` may find what became of those in doubt; else nothing is done for them.
        for side in Side::BOTH {
            let doubted = self.in_doubt.iter().filter(|(of, _)| *of == side).map(|(_, key)| key.clone()).collect();
            self.revisit(side, doubted).await?;
            // What was taken back is sent again when it is something else, and owed no more when it is gone.
            let taken_back = self.taken_back.keys().filter(|(on, _)| on.other() == side);
            self.revisit(side, taken_back.map(|(_, key)| key.clone()).collect()).await?;
        }
        let mut filter = ParkedFilter {
            mapping: Some(self.program.name.to_string()),
            due: Some(self.setup.world.now()),
            limit: 1000,
            ..ParkedFilter::default()
        };
        loop {
            let page = self.setup.store.parked(&filter).await?;
            let Some(last) = page.last() else { return Ok(()) };
            filter.after = last.id;
            let mut keys: Both<Vec<Key>> = Both::default();
            for parked in page.iter().filter(|parked| parked.reason != Reason::InDoubt) {
                let from = parked.side.other();
                let side = if parked.keys[from].is_some() { from } else { parked.side };
                keys[side].extend(parked.keys[side].clone());
            }
            for side in Side::BOTH {
                let mut keys = std::mem::take(&mut keys[side]);
                keys.sort();
                keys.dedup();
                self.revisit(side, keys).await?;
            }
            self.flush().await?;
        }
    }

    /// Looks at the records that people have decided about.
    pub(super) async fn decided_by_people(&mut self) -> Result<(), Trouble> {
        let filter = ConflictFilter {
            mapping: Some(self.program.name.to_string()),
            open: true,
            decided: true,
            ..ConflictFilter::default()
        };
        let mut keys: Vec<Key> =
            self.setup.store.conflicts(&filter).await?.into_iter().map(|conflict| conflict.keys.source).collect();
        keys.sort();
        keys.dedup();
        self.revisit(Side::Source, keys).await
    }

    /// After the mapping was edited: links whose bases follow other fields or
    /// rules are looked at again, once. What is not at hand (a severed link, a
    /// record outside) keeps its old layout, and is looked at when it is back.
    pub(super) async fn reevaluate(&mut self) -> Result<(), Trouble> {
        if self.state.layouts.last().is_none_or(|current| current.settled) {
            return Ok(());
        }
        let digests = self.program.keeps_digests();
        let side = if self.program.sides.source.read { Side::Source } else { Side::Target };
        let mut after = 0;
        loop {
            let mut page = self.setup.store.links_after(&self.program.name, after, 1000).await?;
            let Some(last) = page.last() else { break };
            after = last.id;
            page.retain(|link| link.layout != self.layouts.current);
            let mut keys = Vec::new();
            for mut link in page {
                if self.layouts.means_the_same(&link, digests) {
                    self.layouts.bring(&mut link, digests);
                    self.pending.links.push(link);
                } else if link.status == LinkStatus::Linked && !link.outside {
                    keys.push(link.keys[side].clone());
                }
            }
            self.flush().await?;
            self.revisit(side, keys).await?;
        }
        self.forget_layouts().await
    }

    /// No link needs a look for its layout any more; layouts that none has are
    /// forgotten.
    async fn forget_layouts(&mut self) -> Result<(), Trouble> {
        let mut used = BTreeSet::from([self.layouts.current]);
        used.extend(self.agreed.values().map(|agreed| agreed.layout));
        let mut after = 0;
        loop {
            let page = self.setup.store.links_after(&self.program.name, after, 1000).await?;
            let Some(last) = page.last() else { break };
            after = last.id;
            used.extend(page.iter().map(|link| link.layout));
        }
        self.state.layouts.retain(|layout| used.contains(&layout.id));
        self.state.layouts.last_mut().expect("the program's layout is among them").settled = true;
        self.pending.mapping = Some(self.state.clone());
        self.flush().await
    }

    /// Records that moved while they were written, or that a merge has left
    /// half done, until nothing is left to look at.
    pub(super) async fn look_again(&mut self) -> Result<(), Trouble> {
        while !self.again.source.is_empty() || !self.again.target.is_empty() {
            // They may be paired with what is not in the state yet.
            self.flush().await?;
            for side in Side::BOTH {
                let keys: Vec<Key> = self.again[side].keys().cloned().collect();
                let rounds = self.again[side].clone();
                self.revisit(side, keys.clone()).await?;
                // What was not put on the list anew is done with.
                for key in keys {
                    if self.again[side].get(&key) == rounds.get(&key) {
                        self.again[side].remove(&key);
                    }
                }
            }
        }
        Ok(())
    }

    /// Parks a record, or one field of it.
    pub(super) fn park(
        &mut self,
        side: Side,
        keys: Both<Option<Key>>,
        reason: Reason,
        field: Option<usize>,
        code: Code,
        message: &str,
    ) {
        let parked = self.aside(side, keys, reason, field, code, message);
        self.put_aside(parked);
    }

    fn aside(
        &self,
        side: Side,
        keys: Both<Option<Key>>,
        reason: Reason,
        field: Option<usize>,
        code: Code,
        message: &str,
    ) -> Parked {
        let field = field.map(|index| &self.program.fields[index]);
        let place = field.map_or(&self.program.place, |field| &field.place);
        Parked {
            id: 0,
            mapping: self.program.name.to_string(),
            keys,
            row: None,
            side,
            reason,
            field: field.map(|field| field.name.clone()),
            value: None,
            sent: None,
            agreed: None,
            code: Some(code.as_str().to_owned()),
            message: message.to_owned(),
            file: Some(place.file.display().to_string()),
            line: Some(place.line()),
            attempts: 0,
            since: self.setup.world.now(),
            next_try: None,
        }
    }

    /// Parks a record for a field that a side stored otherwise than it was sent,
    /// which was taken back.
    pub(super) fn park_taken_back(
        &mut self,
        side: Side,
        keys: Both<Option<Key>>,
        field: usize,
        message: &str,
        sent: String,
    ) {
        if let Some(from) = &keys[side.other()] {
            self.taken_back.insert((side, from.clone()), sent.clone());
        }
        let parked = self.aside(side, keys, Reason::Rejected, Some(field), Code::STORED_OTHERWISE, message);
        self.put_aside(Parked { sent: Some(sent), ..parked });
    }

    /// The very same was sent before, and stored as something else.
    pub(super) fn was_taken_back(&self, side: Side, keys: &Both<Option<Key>>, write: &RecordWrite) -> bool {
        let Some(from) = keys[side.other()].as_ref().filter(|_| !self.taken_back.is_empty()) else { return false };
        let slots = write.fields.iter().map(|field| (self.slot(side, field), &field.value));
        self.taken_back.get(&(side, from.clone())).is_some_and(|sent| *sent == self.digest_of_slots(side, slots))
    }

    /// What a change sends of fields, as a digest.
    pub(super) fn digest_of(&self, side: Side, change: &Change) -> String {
        let program = &self.program.sides[side];
        let mapped = |(position, slot): (usize, &usize)| {
            program.key_fields.get(position).copied().flatten()?;
            Some((*slot, change.key.get(position)?))
        };
        let creates = change.action == Action::Create;
        let key = program.access.key.iter().enumerate().filter_map(mapped).filter(|_| creates);
        self.digest_of_slots(side, key.chain(change.set.iter().map(|(slot, value)| (*slot, value))))
    }

    fn digest_of_slots<'v>(&self, side: Side, slots: impl Iterator<Item = (usize, &'v Value)>) -> String {
        let shape = &self.program.sides[side].access.shape;
        let mut named: Vec<(&str, &Value)> =
            slots.map(|(slot, value)| (shape.fields[slot].name.as_str(), value)).collect();
        named.sort_by_key(|(name, _)| *name);
        let flat: Vec<Value> = named.into_iter().flat_map(|(name, value)| [Value::text(name), value.clone()]).collect();
        format!("#{:032x}", digest(&flat))
    }

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
        self.layouts.bring(&mut link, self.program.keeps_digests());
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

    fn put_aside(&mut self, mut parked: Parked) {
        if parked.reason == Reason::InDoubt {
            let keys = Side::BOTH.into_iter().filter_map(|side| Some((side, parked.keys[side].clone()?)));
            self.in_doubt.extend(keys);
        } else if self.is_in_doubt(&parked.keys) {
            // Whatever else is the matter with it: it stays in doubt.
            return;
        }
        let now = self.setup.world.now();
        let from = parked.side.other();
        let places: Vec<(Side, Key)> =
            Side::BOTH.into_iter().filter_map(|side| Some((side, parked.keys[side].clone()?))).collect();
        let known = match &parked.row {
            Some(row) => self.keyless[from].get(row).map(|known| (known.attempts, parked.since)),
            None => {
                let known = places.iter().filter_map(|place| self.owed.get(place));
                known.map(|known| (known.attempts, known.since)).max()
            }
        };
        let restless = places.iter().any(|place| self.restless.contains(place));
        // However often a run looks at it, that is one attempt.
        let tried = places.iter().any(|place| self.tried.contains(place));
        parked.attempts = (known.map_or(0, |(attempts, _)| attempts) + u32::from(!tried)).max(1);
        parked.since = known.map_or(parked.since, |(_, since)| since);
        parked.next_try = if parked.reason == Reason::InDoubt || parked.sent.is_some() {
            None
        } else if parked.row.is_some() && parked.attempts >= LISTED {
            // Whether it is still there is known by reading everything only.
            Some(now + TimeDelta::hours(i64::from(parked.attempts - LISTED + 1).min(24)))
        } else if parked.attempts < EAGER {
            Some(now)
        } else {
            Some(now + TimeDelta::minutes(i64::from(parked.attempts - EAGER + 1).min(60)))
        };
        let newly = known.is_none() && !tried || restless;
        if newly && !is_untold(&parked) {
            for place in &places {
                self.restless.remove(place);
            }
            self.counts.toward(parked.side).parked += 1;
            self.tell(parked.keys.clone(), Fact::Parked(Box::new(parked.clone())));
            self.parked.push(parked.clone());
        }
        if is_untold(&parked) {
            self.restless.extend(places.iter().cloned());
        }
        for place in places {
            self.tried.insert(place.clone());
            let code = parked.code.as_deref().and_then(Code::find);
            self.owed.insert(place, Owed { attempts: parked.attempts, since: parked.since, code });
        }
        if let Some(row) = &parked.row {
            let known = self.keyless[from].entry(row.clone()).or_default();
            (known.attempts, known.seen) = (parked.attempts, true);
        }
        self.pending.park.push(parked);
    }

    /// Parks a row that has no key: under what it shows, so that it is told from
    /// others and known again.
    pub(super) fn park_without_key(&mut self, side: Side, mark: &Mark, row: &[Value]) {
        let shown = self.summary(side, row);
        let message = match mark {
            Mark::Malformed(why) => format!("the {side} could not read a record: {why}"),
            _ => format!("a record of the {side} has no key: {shown}"),
        };
        let why = Value::text(&message);
        let digest = format!("#{:032x}", digest(row.iter().chain([&why])));
        if self.keyless[side].get(&digest).is_some_and(|known| known.seen) {
            return;
        }
        let rejection = self.malformed(&message);
        let mut parked = self.rejected(side.other(), Both::default(), &rejection);
        parked.row = Some(digest);
        self.put_aside(parked);
    }

    /// The first values of a row, for whoever looks for it.
    fn summary(&self, side: Side, row: &[Value]) -> String {
        let named = self.program.sides[side].access.shape.fields.iter().zip(row);
        let shown = named.filter(|(_, value)| !value.is_blank()).take(3);
        let shown = shown.map(|(field, value)| format!("{} {}", field.name, value.to_json()));
        shown.map(|part| part.chars().take(60).collect::<String>()).collect::<Vec<_>>().join(", ")
    }

    /// All of a side was read: rows without a key that did not show up any more
    /// are owed no longer.
    pub(super) async fn forget_rows(&mut self, side: Side) -> Result<(), Trouble> {
        let gone: Vec<i64> = self.keyless[side].values().filter(|known| !known.seen).map(|known| known.id).collect();
        self.keyless[side].retain(|_, known| known.seen);
        if !gone.is_empty() && self.fence.is_some() {
            self.setup.store.drop_parked(&gone).await?;
        }
        Ok(())
    }

    /// Parks a record of `from` for a value that does not fit on `side`.
    pub(super) fn park_rejected(&mut self, side: Side, from: Side, key: &Key, rejection: &Rejection) {
        let mut keys = Both::default();
        keys[from] = Some(key.clone());
        self.park_rejection(side, keys, rejection);
    }

    pub(super) fn park_rejection(&mut self, side: Side, keys: Both<Option<Key>>, rejection: &Rejection) {
        let parked = self.rejected(side, keys, rejection);
        self.put_aside(parked);
    }

    fn rejected(&self, side: Side, keys: Both<Option<Key>>, rejection: &Rejection) -> Parked {
        Parked {
            id: 0,
            mapping: self.program.name.to_string(),
            keys,
            row: None,
            side,
            reason: if rejection.code == Code::AMBIGUOUS { Reason::Ambiguous } else { Reason::Rejected },
            field: (rejection.field != "*").then(|| rejection.field.clone()),
            value: rejection.value.clone(),
            sent: None,
            agreed: None,
            code: Some(rejection.code.as_str().to_owned()),
            message: rejection.message.clone(),
            file: Some(rejection.place.file.display().to_string()),
            line: Some(rejection.place.line()),
            attempts: 0,
            since: self.setup.world.now(),
            next_try: None,
        }
    }

    /// A record that its own side could not read.
    pub(super) fn malformed(&self, why: &str) -> Rejection {
        self.misfit(Code::MALFORMED, why)
    }

    /// What is wrong with a record as a whole.
    pub(super) fn misfit(&self, code: Code, why: &str) -> Rejection {
        Rejection::from(Misfitting {
            code,
            field: "*".to_owned(),
            value: None,
            rule: None,
            message: why.to_owned(),
            place: self.program.place.clone(),
        })
    }

    /// True where a complete listing of a side doubles as its sweep.
    pub(super) fn sweeps_by_listing(&self, side: Side) -> bool {
        use crate::compile::DeletedWhen;
        // Under `deletes: ignore` too: what is gone is severed, or forgotten where its counterpart is gone as well.
        self.links_at_start > 0
            && matches!(self.program.sides[side].deleted, DeletedWhen::Unknown)
            && self.listing(side) == Listing::Full
            && !matches!(self.program.bases, BaseKind::Digests { written } if written == side)
    }
}

/// Everything a mapping owes: what is parked, conflicts that wait for a person,
/// and deletes that are held back.
pub(super) async fn count_owed(store: &dyn Store, mapping: &str) -> Result<u64, StoreError> {
    let parked = ParkedFilter { mapping: Some(mapping.to_owned()), ..ParkedFilter::default() };
    let open = ConflictFilter { mapping: Some(mapping.to_owned()), open: true, ..ConflictFilter::default() };
    let listed = store.parked(&parked).await?.len() + store.conflicts(&open).await?.len();
    Ok(listed as u64 + store.count_spooled(mapping).await?)
}
