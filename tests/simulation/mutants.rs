//! One promise broken at a time, at the seams: the simulation has to notice
//! each of them.

use engine::plan::{Bases, Link};
use engine::record::{Key, Side, Value};
use engine::state::{Commit, ConflictStatus};
use futures::future::BoxFuture;

use super::play;
use super::scenario::{CODE, EDITED, Scenario};
use super::store::SimStore;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mutant {
    /// The base of what was written stays as it was.
    NoEchoSuppression,
    /// What a dead engine had sent is not asked about.
    IntentsForgotten,
    /// A batch that is still under way counts as not in effect.
    NoWait,
    /// Stamps closer than the clocks' grain are told apart.
    NoTieBreak,
    OverlapZero,
    /// Rows that have come since at the stamp where a reading starts are left
    /// out.
    NewestLeftOut,
    /// Nothing has to stand any more for a write to be made.
    Unconditional,
    /// What else the answer to a write shows counts as agreed.
    AnswerAsBase,
    /// A listing that broke off counts as complete, and nobody looks again.
    IncompleteListing,
    LimitsOff,
    /// One acknowledgement moves the bases of all fields.
    AllBases,
    /// A conflict that is none any more stays open.
    ConflictStays,
    /// No promise is broken: every record has moved when it is to be changed.
    NeverStill,
}

/// Changes a commit on its way to the store.
pub(super) trait Tamper {
    fn tamper<'a>(&'a self, mutant: Mutant, mapping: &'a str, commit: &'a Commit) -> BoxFuture<'a, Option<Commit>>;
}

impl Tamper for SimStore {
    fn tamper<'a>(&'a self, mutant: Mutant, mapping: &'a str, commit: &'a Commit) -> BoxFuture<'a, Option<Commit>> {
        Box::pin(async move {
            let mut commit = commit.clone();
            match mutant {
                Mutant::NoEchoSuppression | Mutant::AllBases => {
                    let known = self.inner.links_after(mapping, 0, usize::MAX).await.ok()?;
                    for link in &mut commit.links {
                        let Some(before) = known.iter().find(|known| known.id == link.id) else { continue };
                        if mutant == Mutant::AllBases && before.bases != link.bases {
                            for side in Side::BOTH {
                                self.take_shown(side, link, None);
                            }
                        }
                        if let (true, Bases::Values(old), Bases::Values(new)) =
                            (mutant == Mutant::NoEchoSuppression, &before.bases, &mut link.bases)
                        {
                            for (old, new) in old.iter().zip(new) {
                                if let (Some(old), Some(new)) = (old, new) {
                                    new.target = old.target.clone();
                                }
                            }
                        }
                    }
                }
                Mutant::AnswerAsBase => {
                    let answers = self.stage.lock().answers.clone();
                    for link in &mut commit.links {
                        for side in Side::BOTH {
                            let slot = self.stage.lock().scenario.key(side);
                            let answer = answers[side].values().find(|row| key(row, slot) == link.keys[side]);
                            if let Some(row) = answer {
                                self.take_shown(side, link, Some(row));
                            }
                        }
                    }
                    self.stage.lock().answers = engine::record::Both::default();
                }
                Mutant::ConflictStays => commit.conflicts.retain(|one| one.status != ConflictStatus::Closed),
                _ => return None,
            }
            Some(commit)
        })
    }
}

fn key(row: &[Value], slot: usize) -> Key {
    Key::new([&row[slot]]).expect("a row has a key")
}

impl SimStore {
    /// Takes what a side shows as the base of every field.
    fn take_shown(&self, side: Side, link: &mut Link, row: Option<&[Value]>) {
        let stage = self.stage.lock();
        let shown = stage.at(side, &link.keys[side]).map(|id| stage.systems[side].rows[&id].as_slice());
        let Some(row) = row.or(shown) else { return };
        if let Bases::Values(bases) = &mut link.bases {
            let slots = [CODE].into_iter().chain(EDITED);
            for (base, slot) in bases.iter_mut().zip(slots) {
                if let Some(base) = base {
                    base[side] = row[slot].clone();
                }
            }
        }
    }
}

/// Plays seeds until the broken promise shows, in a seed that is well without
/// it.
fn caught(mutant: Mutant, seeds: u64) {
    let found = (0..seeds).find(|seed| {
        let scenario = Scenario::draw(*seed);
        !play::play(&scenario, Some(mutant)).broken.is_empty() && play::play(&scenario, None).broken.is_empty()
    });
    assert!(found.is_some(), "{mutant:?} goes unnoticed in {seeds} seeds");
}

/// One test for each mutant, so that they run at once and fail by name.
macro_rules! caught {
    ($($name:ident: $mutant:ident;)*) => {
        $(#[test]
        fn $name() {
            caught(Mutant::$mutant, 4_000);
        })*
    };
}

caught! {
    no_echo_suppression_is_noticed: NoEchoSuppression;
    forgotten_intents_are_noticed: IntentsForgotten;
    not_waiting_for_a_running_statement_is_noticed: NoWait;
    a_dropped_tie_break_is_noticed: NoTieBreak;
    no_overlap_is_noticed: OverlapZero;
    rows_of_the_newest_stamp_left_out_are_noticed: NewestLeftOut;
    unconditional_writes_are_noticed: Unconditional;
    an_answer_taken_as_base_is_noticed: AnswerAsBase;
    an_incomplete_listing_is_noticed: IncompleteListing;
    no_limits_are_noticed: LimitsOff;
    bases_all_moved_are_noticed: AllBases;
    a_conflict_that_stays_is_noticed: ConflictStays;
}
