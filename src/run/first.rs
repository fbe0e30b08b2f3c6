//! Before a first sync: whether it is safe, and what need not be looked for.

use super::pages::{Page, Pages};
use super::report::Trouble;
use super::session::Session;
use crate::connector::Listing;
use crate::diagnostic::Code;
use crate::record::{Key, Mark, Side, Value};

impl Session<'_> {
    /// Without `match` and without a fully mapped key, a first sync into a side
    /// that holds records would double them.
    pub(super) async fn refuse_unsafe_first_sync(&mut self) -> Result<(), Trouble> {
        let own = self.links_at_start > 0 || !self.in_doubt.is_empty();
        if self.state.first_sync_done || self.state.first_sync_begun && own {
            return Ok(());
        }
        for side in Side::BOTH {
            let program = &self.program.sides[side];
            if !program.may_create {
                continue;
            }
            let told_apart = !self.program.matching.is_empty() || program.key_is_mapped();
            let (empty, strangers) = self.look_over(side, told_apart).await?;
            self.empty[side] = empty;
            if strangers && !told_apart {
                return Err(Trouble::Refused {
                    code: Code::UNSAFE_FIRST,
                    side: Some(side),
                    message: format!(
                        "the {side} of `{}` already holds records, and nothing says which of them are the same as those of \
                         the {}: add `match`, or map every key field",
                        self.program.name,
                        side.other()
                    ),
                });
            }
        }
        // On record before anything is written.
        self.state.first_sync_begun = true;
        self.pending.mapping = Some(self.state.clone());
        self.flush().await
    }

    /// Whether a side is empty, and whether it holds records without a link.
    /// The second is not looked for where records are told apart.
    async fn look_over(&self, side: Side, told_apart: bool) -> Result<(bool, bool), Trouble> {
        let mut empty = true;
        let mut pages = Pages::new(self.setup, side, Listing::Full);
        while let Some(page) = pages.next().await? {
            let Page::Rows(batch) = page else { continue };
            empty &= batch.is_empty();
            if told_apart && !empty {
                break;
            }
            let stands = |(mark, row): &(&Mark, &[Value])| {
                **mark != Mark::Deleted && !self.see(side, row, true).is_ok_and(|seen| seen.is_gone())
            };
            let keys: Vec<Key> =
                batch.rows().filter(stands).filter_map(|(_, row)| self.program.sides[side].key(row)).collect();
            let links = self.setup.store.links(&self.program.name, side, &keys).await?;
            if links.iter().any(Option::is_none) {
                return Ok((empty, true));
            }
        }
        Ok((empty, false))
    }
}
