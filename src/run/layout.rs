//! Bases of links that were stored before the mapping was edited.

use std::collections::BTreeMap;

use crate::plan::{Bases, Link};
use crate::state::{Layout, MappingState};

/// How the bases of each stored layout become bases of the program's.
#[derive(Debug, Default)]
pub(super) struct Layouts {
    /// The number of the program's own layout.
    pub current: i64,
    moves: BTreeMap<i64, Move>,
}

#[derive(Debug)]
struct Move {
    /// For each field of the program, its position in the old layout.
    from: Vec<Option<usize>>,
    /// For each field of the program, whether its rules are others now.
    stale: Vec<bool>,
}

impl Layouts {
    /// Finds the program's layout among the stored ones, or adds it as the
    /// newest.
    pub(super) fn enter(state: &mut MappingState, layout: &Layout) -> Layouts {
        let known = state.layouts.iter().find(|known| known.fields == layout.fields).map(|known| known.id);
        let current = known.unwrap_or_else(|| {
            let id = state.layouts.iter().map(|known| known.id).max().unwrap_or(0) + 1;
            state.layouts.push(Layout { id, fields: layout.fields.clone() });
            id
        });
        let moves = state
            .layouts
            .iter()
            .filter(|known| known.id != current)
            .map(|known| {
                let position = |id: &str| known.fields.iter().position(|field| field.id == id);
                let from: Vec<_> = layout.fields.iter().map(|field| position(&field.id)).collect();
                let stale = layout
                    .fields
                    .iter()
                    .zip(&from)
                    .map(|(field, from)| from.is_some_and(|from| known.fields[from].rules != field.rules))
                    .collect();
                (known.id, Move { from, stale })
            })
            .collect();
        Layouts { current, moves }
    }

    /// For each field whether its rules changed since the link's bases were
    /// stored; empty where none did.
    pub(super) fn stale(&self, link: &Link) -> &[bool] {
        self.moves.get(&link.layout).map_or(&[], |known| &known.stale)
    }

    /// Brings a link's bases into the program's layout.
    pub(super) fn bring(&self, link: &mut Link, digests: bool) {
        let kind_fits = matches!(link.bases, Bases::Digests(_)) == digests;
        if link.layout == self.current && kind_fits {
            return;
        }
        let fields = self.moves.get(&link.layout).map(|known| &known.from);
        let Some(from) = fields.filter(|_| kind_fits) else {
            // One way became two, or two ways one: nothing comparable is
            // stored, and each field agrees anew as on adoption.
            let count = fields.map_or_else(|| link.bases.len(), Vec::len);
            link.bases = Bases::none(count, digests);
            return;
        };
        link.bases = match &mut link.bases {
            Bases::Values(old) => {
                Bases::Values(from.iter().map(|from| from.and_then(|from| old[from].take())).collect())
            }
            Bases::Digests(old) => Bases::Digests(from.iter().map(|from| from.and_then(|from| old[from])).collect()),
        };
    }
}
