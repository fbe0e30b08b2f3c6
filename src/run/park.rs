//! A record that cannot go over is parked: why, since when, and when it is
//! tried again.

use chrono::TimeDelta;

use super::event::Fact;
use super::report::Trouble;
use super::session::{Cause, Owed, Session};
use crate::compile::{Misfitting, Rejection};
use crate::connector::Refusal;
use crate::diagnostic::Code;
use crate::record::{Both, Key, Mark, Side, Value, digest};
use crate::state::{Parked, Reason};

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

/// So many of the records that are newly parked are in the report; the events
/// name all.
const NAMED: usize = 1000;

/// Retried on every run up to this many attempts, then less and less often.
const EAGER: u32 = 10;

impl Session<'_> {
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

    /// What is on record of a parked record, or of one field of it.
    pub(super) fn aside(
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

    pub(super) fn put_aside(&mut self, mut parked: Parked) {
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
        let cause = Cause::of(&parked);
        let before: Vec<Cause> =
            places.iter().filter_map(|place| self.owed.get(place)).flat_map(|owed| owed.causes.clone()).collect();
        // Runs in which it was parked for something else are none in which it moved.
        let counted =
            known.filter(|_| parked.code.as_deref() != Some(Code::RESTLESS.as_str()) || before.contains(&cause));
        parked.attempts = (counted.map_or(0, |(attempts, _)| attempts) + u32::from(!tried)).max(1);
        parked.since = known.map_or(parked.since, |(_, since)| since);
        let waits = parked.reason == Reason::Loop && places.iter().any(|place| self.loops.contains_key(place));
        parked.next_try = if parked.reason == Reason::InDoubt || parked.sent.is_some() || waits {
            None
        } else if parked.row.is_some() && parked.attempts >= LISTED {
            // Whether it is still there is known by reading everything only.
            Some(now + TimeDelta::hours(i64::from(parked.attempts - LISTED + 1).min(24)))
        } else if parked.attempts < EAGER {
            Some(now)
        } else {
            Some(now + TimeDelta::minutes(i64::from(parked.attempts - EAGER + 1).min(60)))
        };
        // What it was parked for before may have passed, and something else keeps it now.
        let passed = !tried && places.len() == 2 && !before.contains(&cause) && before.iter().all(|known| !known.stays);
        if passed {
            self.pending.unpark.extend(places.iter().filter(|place| self.owed.contains_key(*place)).cloned());
        }
        let is_known = known.is_some() && (parked.row.is_some() || before.contains(&cause));
        let newly = !tried && !is_known || restless;
        if newly && !is_untold(&parked) {
            for place in &places {
                self.restless.remove(place);
            }
            self.counts.toward(parked.side).parked += 1;
            self.tell(parked.keys.clone(), Fact::Parked(Box::new(parked.clone())));
            if self.parked.len() < NAMED {
                self.parked.push(parked.clone());
            }
        }
        if is_untold(&parked) {
            self.restless.extend(places.iter().cloned());
        }
        for place in places {
            self.tried.insert(place.clone());
            let code = parked.code.as_deref().and_then(Code::find);
            let mut causes = if passed { Vec::new() } else { before.clone() };
            causes.retain(|known| *known != cause);
            causes.push(cause.clone());
            self.owed.insert(place, Owed { attempts: parked.attempts, since: parked.since, code, causes });
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
        let reason = if rejection.code == Code::AMBIGUOUS { Reason::Ambiguous } else { Reason::Rejected };
        Parked {
            field: (rejection.field != "*").then(|| rejection.field.clone()),
            value: rejection.value.clone(),
            file: Some(rejection.place.file.display().to_string()),
            line: Some(rejection.place.line()),
            ..self.aside(side, keys, reason, None, rejection.code, &rejection.message)
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

    pub(super) fn park_refused(&mut self, side: Side, keys: Both<Option<Key>>, refusal: &Refusal) {
        let field = refusal.slot.and_then(|slot| {
            self.program.fields.iter().position(|field| field.toward[side].as_ref().is_some_and(|way| way.slot == slot))
        });
        let message = if refusal.native.is_empty() {
            refusal.message.clone()
        } else {
            format!("{} ({})", refusal.message, refusal.native)
        };
        self.park(side, keys, Reason::Rejected, field, Code::REFUSED, &message);
    }
}
