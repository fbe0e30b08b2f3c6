//! A simulated system as the engine meets it, faults and all.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, Utc};
use engine::connector::{
    Action, Change, Fault, Found, Horizon, Listing, Object, Outcome, Overlap, Recorded, Scope, Settled, Writing,
};
use engine::record::{Batch, Mark, Shape, Side, Value, same};
use engine::run::World;
use futures::future::BoxFuture;
use futures::stream::BoxStream;

use super::forms::number;
use super::mutants::Mutant;
use super::scenario::{ID, MODIFIED, NOTE};
use super::stage::{Shared, Stage, all_done};
use super::system::Fate;

/// A row whose note is text cannot be read.
fn mark(row: &[Value]) -> Mark {
    match &row[NOTE] {
        Value::Text(why) => Mark::Malformed(why.to_string().into()),
        _ => Mark::Live,
    }
}

pub(super) struct SimObject {
    pub(super) side: Side,
    pub(super) stage: Shared,
    pub(super) shape: Arc<Shape>,
    pub(super) batch: usize,
    pub(super) mutant: Option<Mutant>,
    /// Records as the engine created them, by their key.
    pub(super) created: Mutex<BTreeMap<i64, Vec<Value>>>,
}

/// Where a reading stands.
enum Place {
    Start,
    After(DateTime<Utc>, i64),
    Rows(Vec<Vec<Value>>),
    End,
}

fn stamp_of(row: &[Value]) -> DateTime<Utc> {
    match row[MODIFIED] {
        Value::Instant(stamp) => stamp,
        ref other => panic!("a row has a stamp, not {other:?}"),
    }
}

impl SimObject {
    async fn call(&self, doing: &str) -> Result<(), Fault> {
        self.stage.pause(doing).await;
        let mut stage = self.stage.lock();
        stage.acts_here(self.side, doing);
        if stage.fails_here(self.side, doing) || stage.fails() {
            stage.tell(&format!("{}: {doing} fails", self.side));
            return Err(Fault::external(doing, "", "the line is down"));
        }
        Ok(())
    }

    async fn page(&self, listing: &Listing, place: Place) -> Result<Option<(Batch, Place)>, Fault> {
        self.call("reading").await?;
        let stage = self.stage.lock();
        let rows = &stage.systems[self.side].rows;
        let mut batch = Batch::new(self.shape.clone());
        let next = match (listing, place) {
            (_, Place::End) => return Ok(None),
            (Listing::Changes { from, known, but_created }, place) => {
                let all = self.mutant == Some(Mutant::NewestLeftOut);
                let told = |known: &String| if all { u64::MAX } else { known.parse().expect("what the horizon told") };
                let known = known.as_ref().map(told);
                let is_known = |row: &[Value]| {
                    let newest = Some(Value::Instant(stamp_of(row))) == *from;
                    newest && known.is_some_and(|known| !stage.is_touched(self.side, row, known))
                };
                let from = match (&place, from) {
                    (Place::After(stamp, id), _) => (*stamp, *id),
                    (_, Some(Value::Instant(from))) => (*from, i64::MIN),
                    _ => (DateTime::<Utc>::MIN_UTC, i64::MIN),
                };
                let created = self.created.lock().unwrap();
                let mut due: Vec<_> = rows
                    .iter()
                    .filter(|(_, row)| stage.is_within(self.side, row))
                    .filter(|(id, row)| !but_created || created.get(id) != Some(row))
                    .filter(|(_, row)| !is_known(row))
                    .map(|(id, row)| ((stamp_of(row), *id), row))
                    .filter(|(at, _)| *at > from)
                    .collect();
                due.sort_by_key(|(at, _)| *at);
                due.truncate(self.batch);
                let Some((last, _)) = due.last() else { return Ok(None) };
                let last = *last;
                for (_, row) in due {
                    batch.push(mark(row), row.iter().cloned());
                }
                batch.reached = Some(Value::Instant(last.0));
                Place::After(last.0, last.1)
            }
            (_, place) => {
                let key = stage.scenario.key(self.side);
                // One snapshot, page by page.
                let mut rest = match place {
                    Place::Rows(rest) => rest,
                    _ => rows.values().filter(|row| stage.is_within(self.side, row)).cloned().collect(),
                };
                if rest.is_empty() {
                    return Ok(None);
                }
                let later = rest.split_off(rest.len().min(self.batch));
                for row in rest {
                    match listing {
                        Listing::Keys => {
                            let blank = row.iter().enumerate();
                            batch.push(
                                Mark::Live,
                                blank.map(|(slot, value)| if slot == key { value.clone() } else { Value::Missing }),
                            );
                        }
                        _ => batch.push(mark(&row), row),
                    }
                }
                if later.is_empty() { Place::End } else { Place::Rows(later) }
            }
        };
        Ok(Some((batch, next)))
    }

    fn find(&self, stage: &Stage, by: &[usize], probe: &[Value]) -> Vec<Vec<Value>> {
        if probe.iter().any(Value::is_null) {
            return Vec::new();
        }
        let hit = |row: &&Vec<Value>| by.iter().zip(probe).all(|(slot, value)| same(&row[*slot], value));
        let absent = |row: &&Vec<Value>| {
            by == [stage.scenario.key(self.side)] && stage.absent[self.side].contains(&number(&row[ID]))
        };
        stage.systems[self.side].rows.values().filter(hit).filter(|row| !absent(row)).cloned().collect()
    }
}

impl Object for SimObject {
    fn horizon(&self) -> BoxFuture<'_, Result<Horizon, Fault>> {
        Box::pin(async move {
            self.call("looking at the clock").await?;
            let stage = self.stage.lock();
            let open = stage.oldest_open(self.side).filter(|_| stage.scenario.tells_open[self.side]);
            Ok(Horizon {
                clock: Some(Value::Instant(stage.stamp(self.side))),
                oldest_open: open.map(Value::Instant),
                largest: stage.systems[self.side].rows.values().map(|row| stamp_of(row)).max().map(Value::Instant),
                known: stage.scenario.tells_open[self.side].then(|| stage.known().to_string()),
                timeline: None,
                open: Vec::new(),
            })
        })
    }

    fn read(&self, listing: Listing) -> BoxStream<'_, Result<Batch, Fault>> {
        Box::pin(futures::stream::unfold(Some(Place::Start), move |place| {
            let listing = listing.clone();
            async move {
                let place = place?;
                let left: Vec<i64> = match &place {
                    Place::Rows(rows) => rows.iter().map(|row| number(&row[ID])).collect(),
                    _ => Vec::new(),
                };
                match self.page(&listing, place).await {
                    Ok(Some((batch, next))) => Some((Ok(batch), Some(next))),
                    Ok(None) => None,
                    Err(_) if self.mutant == Some(Mutant::IncompleteListing) => {
                        self.stage.lock().absent[self.side].extend(left);
                        None
                    }
                    Err(fault) => Some((Err(fault), None)),
                }
            }
        }))
    }

    fn fetch<'a>(
        &'a self,
        by: &'a [usize],
        probes: &'a [Vec<Value>],
        scope: Scope,
    ) -> BoxFuture<'a, Result<Found, Fault>> {
        Box::pin(async move {
            self.call("fetching").await?;
            let stage = self.stage.lock();
            let mut found = Found { batch: Batch::new(self.shape.clone()), probes: Vec::new(), within: Vec::new() };
            for (position, probe) in probes.iter().enumerate() {
                for row in self.find(&stage, by, probe) {
                    let within = stage.is_within(self.side, &row);
                    if !within && scope != Scope::Everything {
                        continue;
                    }
                    found.batch.push(mark(&row), row);
                    found.probes.push(position);
                    found.within.push(within);
                }
            }
            Ok(found)
        })
    }

    fn begin(&self, allot: usize) -> BoxFuture<'_, Result<Box<dyn Writing + '_>, Fault>> {
        Box::pin(async move {
            self.call("opening a batch").await?;
            let mut stage = self.stage.lock();
            let token = stage.token(self.side);
            let keys = stage.allot(self.side, allot);
            Ok(Box::new(SimWriting { object: self, token, keys }) as Box<dyn Writing + '_>)
        })
    }

    fn overlap(&self) -> Overlap {
        self.stage.lock().scenario.overlap
    }

    fn settle<'a>(&'a self, token: Option<&'a str>) -> BoxFuture<'a, Result<Settled, Fault>> {
        Box::pin(async move {
            self.call("settling").await?;
            let waits = self.mutant != Some(Mutant::NoWait);
            let Some(token) = token else {
                // The lock of whoever still writes is taken before looking.
                while waits && self.stage.lock().is_landing(self.side, None) {
                    self.stage.sleep(Duration::from_millis(100)).await;
                    self.stage.lock().land();
                }
                return Ok(Settled::Look);
            };
            let stage = self.stage.lock();
            if waits && stage.is_landing(self.side, Some(token)) {
                return Ok(Settled::Running);
            }
            Ok(match stage.systems[self.side].fates.get(token) {
                Some(Fate::Applied) => Settled::Applied,
                Some(Fate::Partly) => Settled::Look,
                None => Settled::NotApplied,
            })
        })
    }
}

struct SimWriting<'a> {
    object: &'a SimObject,
    token: String,
    keys: Vec<Vec<Value>>,
}

impl Writing for SimWriting<'_> {
    fn token(&self) -> Option<String> {
        self.object.stage.lock().scenario.tokens[self.object.side].then(|| self.token.clone())
    }

    fn keys(&self) -> &[Vec<Value>] {
        &self.keys
    }

    fn write<'a>(
        self: Box<Self>,
        changes: &'a [Change],
        recorded: Recorded<'a>,
    ) -> BoxFuture<'a, Result<Vec<Outcome>, Fault>>
    where
        Self: 'a,
    {
        Box::pin(async move {
            let SimObject { side, stage: shared, mutant, .. } = self.object;
            if !recorded.await {
                return Err(Fault::not_recorded("writing".to_owned()));
            }
            let mut changes = changes.to_vec();
            if *mutant == Some(Mutant::Unconditional) {
                for change in &mut changes {
                    change.expect.clear();
                }
            }
            let lost = || Fault::external("writing", "", "the line is down");
            if shared.passes().await {
                {
                    let mut stage = shared.lock();
                    if stage.seed.percent(50) {
                        stage.cut_off(*side, &self.token, &changes);
                    }
                }
                shared.die("writing").await;
            }
            if *mutant == Some(Mutant::NeverStill) {
                return Ok(vec![Outcome::Moved; changes.len()]);
            }
            let outcomes = {
                let mut stage = shared.lock();
                let trouble = if stage.fails() { stage.seed.below(4) } else { 9 };
                match trouble {
                    _ if stage.fails_here(*side, "writing") => return Err(lost()),
                    0 => return Err(lost()),
                    1 => {
                        stage.tell(&format!("{side}: a batch and its answer are lost"));
                        stage.doubt(*side, &changes, true);
                        return Err(lost().maybe_applied());
                    }
                    2 => {
                        stage.cut_off(*side, &self.token, &changes);
                        return Err(lost().maybe_applied());
                    }
                    _ => {}
                }
                let stamp = stage.stamp(*side);
                let outcomes = stage.apply(*side, &changes, stamp);
                stage.settle_fate(*side, &self.token, &outcomes);
                stage.unacknowledged.push((*side, changes.clone(), all_done(&outcomes)));
                for outcome in &outcomes {
                    if let Outcome::Done { stored: Some(row), .. } = outcome {
                        stage.answers[*side].insert(number(&row[ID]), row.clone());
                    }
                }
                if trouble == 3 {
                    stage.tell(&format!("{side}: an answer is lost"));
                    stage.doubt(*side, &changes, all_done(&outcomes));
                    return Err(lost().maybe_applied());
                }
                outcomes
            };
            {
                let (stage, mut created) = (shared.lock(), self.object.created.lock().unwrap());
                for (change, outcome) in changes.iter().zip(&outcomes) {
                    if let (Action::Create, Outcome::Done { stored: Some(row), .. }) = (change.action, outcome) {
                        let id = number(&row[ID]);
                        created.extend(stage.systems[*side].rows.get(&id).map(|row| (id, row.clone())));
                    }
                }
            }
            if shared.passes().await || shared.lock().dies_here(*side, "written") {
                shared.lock().doubt(*side, &changes, all_done(&outcomes));
                shared.die("written").await;
            }
            Ok(outcomes)
        })
    }
}
