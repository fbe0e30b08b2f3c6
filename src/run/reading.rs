//! A side is read from its first page to its last, and its cursor moved there.

use super::pages::{Page, Pages};
use super::report::Trouble;
use super::session::Session;
use crate::connector::{Horizon, Listing};
use crate::record::Side;
use crate::state::SideCounts;

impl Session<'_> {
    /// Reads one side to its end, and moves its cursor there.
    pub(super) async fn read_side(&mut self, side: Side, horizon: Option<&Horizon>) -> Result<(), Trouble> {
        let setup = self.setup;
        let mut horizon = horizon.cloned();
        let mut listing = self.listing(side);
        if horizon.is_some() && self.wrote_to(side) {
            // What this run wrote here lies before the next one's start, and what it created need not be read.
            horizon = Some(setup.call(side, || setup.objects[side].horizon()).await?);
            if let Listing::Changes { but_created, .. } = &mut listing {
                *but_created = self.program.creates_whole(side);
            }
        }
        let complete = listing == Listing::Full;
        let everything = complete || matches!(listing, Listing::Changes { from: None, known: None, .. });
        let sweeping = complete && self.sweeps_by_listing(side);
        if sweeping {
            self.sweep_begin(side).await?;
        }
        let (before, mut written_before) = (*self.counts.toward(side.other()), 0);
        let mut pages = Pages::new(setup, side, listing);
        let mut next = pages.next().await?;
        while let Some(page) = next {
            self.go_on()?;
            next = match page {
                Page::Rows(batch) => {
                    // The next batch is fetched while this one is dealt with.
                    let (following, done) = futures::join!(pages.next(), self.batch(side, &batch, sweeping));
                    done?;
                    setup.observer.progress(&self.program.name, &self.counts);
                    following?
                }
                Page::Anew => {
                    if sweeping {
                        self.sweep_begin(side).await?;
                    }
                    self.land().await?;
                    self.flush().await?;
                    written_before = self.count_anew(side.other(), &before);
                    pages.next().await?
                }
            };
        }
        self.land().await?;
        let counts = self.counts.toward(side.other());
        counts.unchanged = counts.unchanged.saturating_sub(written_before);
        // Records that are put off lie in memory alone: the cursor passes none of them.
        self.look_again().await?;
        self.bring_all_into_effect().await?;
        if everything {
            self.forget_rows(side).await?;
        }
        if let Some(horizon) = &horizon {
            self.move_cursor(side, horizon);
        }
        if sweeping {
            self.sweep_end(side).await?;
        }
        self.pending.mapping = Some(self.state.clone());
        self.flush().await
    }

    /// A listing starts once more, and what it shows is counted once. Answers
    /// with how many records of it have been written by now: they will show up
    /// as unchanged.
    fn count_anew(&mut self, toward: Side, before: &SideCounts) -> u64 {
        let counts = self.counts.toward(toward);
        let SideCounts { read, unchanged, skipped, .. } = *before;
        *counts = SideCounts { read, unchanged, skipped, ..*counts };
        (counts.created + counts.updated).saturating_sub(before.created + before.updated)
    }

    /// This run has changed records of a side.
    fn wrote_to(&self, side: Side) -> bool {
        let counts = if side == Side::Target { &self.counts.to_target } else { &self.counts.to_source };
        counts.created + counts.updated + counts.deleted > 0
    }
}
