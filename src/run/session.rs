//! The order of things in one run.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::ahead::{Foresight, Steps};
use super::event::{Event, Fact};
use super::flight::{Airborne, Stage};
use super::layout::Layouts;
use super::park::{Keyless, is_untold};
use super::prepared::Waiting;
use super::report::{PlanSize, Planned, RunReport, Trouble, Undecided};
use super::rings::Rings;
use super::sent::Sent;
use super::setup::{Options, Setup};
use super::world::is_stopped;
use crate::compile::{Program, Reading};
use crate::diagnostic::Code;
use crate::plan::LinkId;
use crate::record::{Both, Key, Side};
use crate::state::{
    Agreed, Commit, Conflict, ConflictFilter, Fence, IntentsId, Made, MappingState, Parked, ParkedFilter, Reason,
    RunCounts, RunStatus, Spooled, Store, StoreError,
};

/// Runs a mapping once, from the intents an earlier run left behind to the
/// deletes, and says what it did. Never fails: what goes wrong is in the
/// report.
pub async fn run_mapping(setup: &Arc<Setup>, options: &Options) -> RunReport {
    let mut session = Box::new(Session::new(setup, options));
    let mut ended = Box::pin(session.go()).await;
    loop {
        match ended {
            Ok(()) => {}
            Err(Trouble::Stopped) => session.stopped |= session.troubles.is_empty(),
            // Several batches in the air meet the same fate.
            Err(trouble) => {
                if session.troubles.iter().all(|known| known.to_string() != trouble.to_string()) {
                    session.troubles.push(trouble);
                }
            }
        }
        session.ended = true;
        if session.airborne.is_empty() {
            break;
        }
        ended = session.land().await;
    }
    session.let_go_of_prepared();
    let fence = session.fence.clone();
    let report = Box::pin((*session).finish()).await;
    if let Some(fence) = fence {
        give_back(&*setup.store, &fence).await;
    }
    report
}

/// Lets others have the mapping. What was answered stays so, whatever comes of
/// this: a lease that cannot be given back runs out.
pub(super) async fn give_back(store: &dyn Store, fence: &Fence) {
    if let Err(error) = store.release(fence).await {
        tracing::warn!("the mapping `{}` was not given back: {error}", fence.mapping);
    }
}

/// How often a parked record was tried, since when, and why it is parked.
#[derive(Debug, Clone)]
pub(super) struct Owed {
    pub attempts: u32,
    pub since: DateTime<Utc>,
    /// What it is parked for, where that was told.
    pub code: Option<Code>,
    pub causes: Vec<Cause>,
}

/// Fields that fill the other side alone, of which a new record of `side` shows
/// nothing that is anybody's edit: nothing, a constant, or what other fields
/// have filled.
fn unfilled(program: &Program, side: Side) -> Vec<usize> {
    let shape = &program.sides[side].access.shape;
    let is_known = |reading: &Reading| match reading {
        Reading::Nothing => false,
        Reading::Slot(slot) => !shape.fields[*slot].generated,
        Reading::Constant(_) | Reading::Template(_) | Reading::Computed { .. } => true,
    };
    let fields = program.fields.iter().enumerate().filter(|_| !program.keeps_digests());
    fields
        .filter(|(_, field)| !field.create_only && !field.writes(side) && field.writes(side.other()))
        .filter(|(_, field)| is_known(&field.read[side]))
        .map(|(index, _)| index)
        .collect()
}

/// Why a record is parked, as far as one cause is told from another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cause {
    pub field: Option<String>,
    pub code: Option<String>,
    /// It ends only by what ends it: a decision, another value.
    pub stays: bool,
}

impl Cause {
    pub(super) fn of(parked: &Parked) -> Cause {
        let passes = matches!(parked.reason, Reason::Rejected | Reason::Ambiguous) && parked.sent.is_none();
        Cause { field: parked.field.clone(), code: parked.code.clone(), stays: !passes }
    }
}

/// One run while it lasts.
pub(super) struct Session<'a> {
    pub setup: &'a Arc<Setup>,
    pub options: &'a Options,
    pub program: &'a Program,
    /// `None` in a dry run, which changes nothing.
    pub fence: Option<Fence>,
    pub run: String,
    pub started: DateTime<Utc>,
    pub state: MappingState,
    pub layouts: Layouts,
    pub counts: RunCounts,
    pub parked: Vec<Parked>,
    pub troubles: Vec<Trouble>,
    /// It ends before it is done, for somebody wants the engine to end.
    pub stopped: bool,
    /// Nothing is sent any more.
    pub ended: bool,
    pub planned: Vec<Planned>,
    pub planned_in_all: PlanSize,
    /// Links whose deletion a review allows.
    pub approved: BTreeSet<LinkId>,
    /// In a dry run: the conflicts that would be opened.
    pub disputed: Vec<Conflict>,
    pub unanswered: u64,
    pub held: Both<Option<(u64, u64)>>,
    /// How many of them are new, and the first of those.
    pub held_anew: u64,
    pub newly_held: Vec<Spooled>,
    /// Decisions of people that were not applied, for the values have moved.
    pub undecided: Vec<Undecided>,
    /// Links with a conflict that waits for a person.
    pub in_conflict: BTreeSet<LinkId>,
    /// What is parked under each key.
    pub owed: BTreeMap<(Side, Key), Owed>,
    /// What was tried in this run and is owed still.
    pub tried: BTreeSet<(Side, Key)>,
    /// What is owed because it moved each time, and was not told as parked yet.
    pub restless: BTreeSet<(Side, Key)>,
    /// Rows of each side that have no key and are owed, by their digest.
    pub keyless: Both<BTreeMap<String, Keyless>>,
    /// What is parked as a loop until somebody decides, under each key.
    pub loops: BTreeMap<(Side, Key), Parked>,
    /// Loops that a person wants tried again.
    pub released: BTreeSet<(Side, Key)>,
    /// Records whose last write is in doubt, by the side and key they come from.
    /// Nothing is written for them until they are linked, or a person settles it.
    pub in_doubt: BTreeSet<(Side, Key)>,
    /// Writes without an answer whose record went away before it was looked at:
    /// what goes on in its place may show them. By their link.
    pub sent: BTreeMap<LinkId, Sent>,
    /// The intents under which they are on record until the run has read
    /// everything.
    pub sent_under: Vec<IntentsId>,
    /// What was stored otherwise than it was sent, and taken back: by the side
    /// it was sent to and the key it comes from, a digest of it.
    pub taken_back: BTreeMap<(Side, Key), String>,
    /// The bases that records in doubt have with their counterparts.
    pub agreed: BTreeMap<(Side, Key), Agreed>,
    /// Records to be looked at again before the run ends, and how often they
    /// were.
    pub again: Both<BTreeMap<Key, u32>>,
    /// What goes into the next commit.
    pub pending: Commit,
    pub links_at_start: u64,
    /// Keys that records of each side had until this run found them under others,
    /// or gave them others.
    pub left: Both<HashSet<Key>>,
    pub foresight: Box<Foresight>,
    pub steps: Box<Steps>,
    /// The other side's records by their match values, where the side itself
    /// cannot be asked.
    pub indexes: Both<super::probe::Indexes>,
    /// The fields of [`unfilled`].
    pub unfilled: Box<Both<Vec<usize>>>,
    /// What is known to be empty on each side since the run began.
    pub empty: Both<bool>,
    /// Records whose write to this side was made while the side's own pages
    /// were read, by their key on the other side.
    pub early: Both<HashSet<Key>>,
    /// The pages of the sides are being read, or have been.
    pub reads: bool,
    /// So many keys the sweep under way has seen.
    pub swept: u64,
    /// A side has shown a record that cannot be read, not even its key: nobody can
    /// tell which records are gone there.
    pub unread: Both<bool>,
    /// New records of each side that are prepared there, and not to be seen yet.
    pub waiting: Both<Vec<Waiting>>,
    /// The batches that are being sent, in that order.
    pub airborne: VecDeque<Airborne>,
    /// The keys of records whose links are pending.
    pub unflushed: HashSet<Key>,
    /// Spooled deletes are being carried out.
    pub deleting: bool,
    /// Deletes held back before, by their link, and where they would be made.
    pub held_back: BTreeMap<LinkId, Side>,
    /// Those of them that this run takes back: their reason is gone.
    pub let_off: BTreeSet<LinkId>,
    pub rings: Rings,
}

impl<'a> Session<'a> {
    fn new(setup: &'a Arc<Setup>, options: &'a Options) -> Session<'a> {
        Session {
            setup,
            options,
            program: &setup.program,
            fence: None,
            run: setup.world.id(),
            started: setup.world.now(),
            state: MappingState::default(),
            layouts: Layouts::default(),
            counts: RunCounts::default(),
            parked: Vec::new(),
            troubles: Vec::new(),
            stopped: false,
            ended: false,
            planned: Vec::new(),
            planned_in_all: PlanSize::default(),
            approved: BTreeSet::new(),
            disputed: Vec::new(),
            unanswered: 0,
            held: Both::default(),
            held_anew: 0,
            newly_held: Vec::new(),
            undecided: Vec::new(),
            in_conflict: BTreeSet::new(),
            owed: BTreeMap::new(),
            tried: BTreeSet::new(),
            restless: BTreeSet::new(),
            keyless: Both::default(),
            loops: BTreeMap::new(),
            released: BTreeSet::new(),
            in_doubt: BTreeSet::new(),
            taken_back: BTreeMap::new(),
            agreed: BTreeMap::new(),
            sent: BTreeMap::new(),
            sent_under: Vec::new(),
            again: Both::default(),
            pending: Commit::default(),
            links_at_start: 0,
            left: Both::default(),
            foresight: Box::default(),
            steps: Box::default(),
            indexes: Both::default(),
            unfilled: Box::new(Both::from_fn(|side| unfilled(&setup.program, side))),
            empty: Both::default(),
            early: Both::default(),
            reads: false,
            swept: 0,
            unread: Both::default(),
            waiting: Both::default(),
            airborne: VecDeque::new(),
            unflushed: HashSet::new(),
            deleting: false,
            held_back: BTreeMap::new(),
            let_off: BTreeSet::new(),
            rings: Rings::new(setup),
        }
    }

    async fn go(&mut self) -> Result<(), Trouble> {
        self.go_on()?;
        self.open().await?;
        self.recover().await?;
        self.links_at_start = self.setup.store.count_links(&self.program.name).await?;
        self.load_owed().await?;
        self.load_held_back().await?;
        if self.options.is_partial() {
            self.refuse_unsafe_first_sync().await?;
            return match &self.options.review {
                Some(review) => self.only_reviewed(&**review).await,
                None => self.only_keys().await,
            };
        }
        let mut horizons = Both::default();
        for side in Side::BOTH {
            if self.program.sides[side].read {
                horizons[side] = Some(self.horizon(side).await?);
            }
        }
        self.refuse_unsafe_first_sync().await?;
        self.look_at_conflicts().await?;
        self.retry_owed().await?;
        self.reevaluate().await?;
        self.reads = true;
        for side in Side::BOTH {
            if self.program.sides[side].read {
                Box::pin(self.read_side(side, horizons[side].as_ref())).await?;
            }
        }
        self.look_again().await?;
        for side in Side::BOTH {
            self.sweep(side).await?;
        }
        self.flush_deletes().await?;
        self.bring_all_into_effect().await?;
        self.let_go_of_sent();
        self.state.first_sync_done = true;
        Ok(())
    }

    /// Between two batches: no other is begun once the engine is to end.
    pub(super) fn go_on(&self) -> Result<(), Trouble> {
        if is_stopped(&*self.setup.world) { Err(Trouble::Stopped) } else { Ok(()) }
    }

    /// Takes the mapping and reads what is stored of it.
    async fn open(&mut self) -> Result<(), Trouble> {
        let (setup, name) = (self.setup, &self.program.name);
        if !self.options.dry {
            self.fence = Some(setup.store.acquire(name).await?);
        }
        let stored = setup.store.mapping(name).await?;
        let refused = stored.as_ref().and_then(|stored| setup.refuse_other_sides(stored).err());
        self.state = stored.unwrap_or_default();
        self.state.runs += 1;
        if let Some(refused) = refused {
            // It counts as a run all the same.
            self.pending.mapping = Some(self.state.clone());
            self.flush().await?;
            return Err(refused);
        }
        self.state.fingerprints = setup.fingerprints.clone();
        self.layouts = Layouts::enter(&mut self.state, &setup.layout);
        let filter = ConflictFilter { mapping: Some(name.to_string()), open: true, ..ConflictFilter::default() };
        self.in_conflict = setup.store.conflicts(&filter).await?.into_iter().map(|conflict| conflict.link).collect();
        self.pending.mapping = Some(self.state.clone());
        self.flush().await?;
        setup.refuse_restored(&self.state)
    }

    async fn load_owed(&mut self) -> Result<(), Trouble> {
        let filter = ParkedFilter { mapping: Some(self.program.name.to_string()), ..ParkedFilter::default() };
        let now = self.setup.world.now();
        for parked in self.setup.store.parked(&filter).await? {
            if parked.keys.source.is_none() && parked.keys.target.is_none() {
                let due = parked.next_try.is_some_and(|next_try| next_try <= now);
                let known = Keyless { id: parked.id, attempts: parked.attempts, due, seen: false };
                self.keyless[parked.side.other()].insert(parked.row.unwrap_or_default(), known);
                continue;
            }
            // One that a person wants tried again has a next try.
            if let (Some(sent), Some(from), None) = (&parked.sent, &parked.keys[parked.side.other()], parked.next_try) {
                self.taken_back.insert((parked.side, from.clone()), sent.clone());
            }
            for side in Side::BOTH {
                if let Some(key) = &parked.keys[side] {
                    let told = parked.code.as_deref().filter(|_| !is_untold(&parked));
                    let code = told.and_then(Code::find);
                    let (attempts, since) = (parked.attempts, parked.since);
                    let found = || Owed { attempts, since, code, causes: Vec::new() };
                    let known = self.owed.entry((side, key.clone())).or_insert_with(found);
                    known.attempts = known.attempts.max(attempts);
                    known.since = known.since.min(since);
                    known.code = known.code.or(code);
                    known.causes.push(Cause::of(&parked));
                    if is_untold(&parked) {
                        self.restless.insert((side, key.clone()));
                    }
                    match (parked.reason, parked.next_try) {
                        (Reason::Loop, None) => drop(self.loops.insert((side, key.clone()), parked.clone())),
                        (Reason::Loop, Some(_)) => drop(self.released.insert((side, key.clone()))),
                        _ => {}
                    }
                    if parked.reason == Reason::InDoubt {
                        self.in_doubt.insert((side, key.clone()));
                        self.agreed.extend(parked.agreed.clone().map(|agreed| ((side, key.clone()), agreed)));
                    }
                }
            }
        }
        Ok(())
    }

    /// Only the records asked for by key.
    async fn only_keys(&mut self) -> Result<(), Trouble> {
        for side in Side::BOTH {
            let keys: Vec<Key> =
                self.options.keys.iter().filter(|(of, _)| *of == side).map(|(_, key)| key.clone()).collect();
            if !keys.is_empty() {
                self.visit(side, keys, true).await?;
            }
        }
        self.look_again().await?;
        self.flush_deletes().await?;
        self.bring_all_into_effect().await
    }

    /// Commits what is pending, if anything is.
    pub(super) async fn flush(&mut self) -> Result<(), Trouble> {
        if self.pending == Commit::default() {
            return Ok(());
        }
        // What the batches in the air take along was there before it.
        if let Some(last) = self.airborne.back_mut() {
            drop(last.stage.wait_for(|stage| *stage >= Stage::OnRecord).await);
        }
        self.unflushed.clear();
        let mut commit = std::mem::take(&mut self.pending);
        let Some(fence) = self.fence.clone() else { return Ok(()) };
        commit.run.get_or_insert_with(|| self.as_it_stands(RunStatus::Running));
        loop {
            match self.setup.store.commit(&fence, &commit).await {
                Err(StoreError::LinkedTwice { side, key }) => self.give_up(side, &key, &mut commit).await?,
                done => return Ok(done?),
            }
        }
    }

    /// Tells an event, and keeps it for the record's timeline.
    /// A dry run keeps to itself what did not happen.
    pub(super) fn tell(&mut self, keys: Both<Option<Key>>, fact: Fact) {
        if self.options.dry {
            return;
        }
        let event = Event { keys, fact };
        self.setup.observer.event(&self.program.name, &self.run, &event);
        self.pending.events.push(event.record(&self.run, self.setup.world.now()));
    }

    /// Who makes the links of creates on this side.
    pub(super) fn made(&self, side: Side) -> Made {
        Made { side, run: self.run.clone(), at: self.setup.world.now() }
    }
}
