//! A reading of one side, held up by no fault that passes.
//!
//! Owns when a reading is taken up again, and where. What a page means is for
//! whoever reads it.

use futures::StreamExt;
use futures::stream::BoxStream;

use super::report::Trouble;
use super::setup::Setup;
use super::world::unless_stopped;
use crate::connector::{Fault, Listing};
use crate::record::{Batch, Side};

/// What a reading comes to.
pub(super) enum Page {
    Rows(Batch),
    /// There was a fault, and the listing begins once more: what it has shown
    /// so far says nothing about what it did not show.
    Anew,
}

/// A reading under way.
pub(super) struct Pages<'a> {
    setup: &'a Setup,
    side: Side,
    /// What is left to be read.
    listing: Listing,
    stream: Option<BoxStream<'a, Result<Batch, Fault>>>,
    attempt: u32,
}

impl<'a> Pages<'a> {
    pub(super) fn new(setup: &'a Setup, side: Side, listing: Listing) -> Pages<'a> {
        Pages { setup, side, listing, stream: None, attempt: 1 }
    }

    /// The next page, after as many attempts as the side is given; `None` at
    /// the end. Changes are read on from the last page, silently.
    pub(super) async fn next(&mut self) -> Result<Option<Page>, Trouble> {
        loop {
            let (setup, side) = (self.setup, self.side);
            let stream = self.stream.get_or_insert_with(|| setup.objects[side].read(self.listing.clone()));
            match unless_stopped(&*setup.world, stream.next()).await.ok_or(Trouble::Stopped)? {
                None => return Ok(None),
                Some(Ok(batch)) => {
                    if let (Listing::Changes { from, .. }, Some(reached)) = (&mut self.listing, &batch.reached) {
                        *from = Some(reached.clone());
                        self.attempt = 1;
                    }
                    return Ok(Some(Page::Rows(batch)));
                }
                Some(Err(fault)) => {
                    self.stream = None;
                    setup.wait(side, &mut self.attempt, fault).await?;
                    if !matches!(self.listing, Listing::Changes { .. }) {
                        return Ok(Some(Page::Anew));
                    }
                }
            }
        }
    }
}
