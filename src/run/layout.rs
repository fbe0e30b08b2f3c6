//! Bases of links that were stored before the mapping was edited.

use std::collections::BTreeMap;

use crate::compile::BaseKind;
use crate::plan::{Bases, Link};
use crate::record::{Both, Side, Value, short_digest};
use crate::state::{Layout, LayoutField, MappingState};

/// How the bases of each stored layout become bases of the program's.
#[derive(Debug, Default)]
pub(super) struct Layouts {
    /// The number of the program's own layout.
    pub current: i64,
    fields: usize,
    moves: BTreeMap<i64, Move>,
    /// Every stored layout, the program's own among them.
    known: Vec<Layout>,
}

#[derive(Debug)]
struct Move {
    /// For each field of the program, its position in the old layout.
    from: Vec<Option<usize>>,
    /// For each field of the program, whether its rules are others now.
    stale: Vec<bool>,
}

impl Layouts {
    /// Finds the program's layout among the stored ones, or adds it, and puts
    /// it last.
    pub(super) fn enter(state: &mut MappingState, layout: &Layout) -> Layouts {
        let known = state.layouts.iter().position(|known| known.fields == layout.fields);
        let is_last = known.is_none_or(|position| position + 1 == state.layouts.len());
        let mut entered = match known {
            Some(position) => state.layouts.remove(position),
            None => {
                let id = state.layouts.iter().map(|known| known.id).max().unwrap_or(0) + 1;
                Layout { id, fields: layout.fields.clone(), settled: false }
            }
        };
        entered.settled = entered.settled && is_last || state.layouts.is_empty();
        let current = entered.id;
        state.layouts.push(entered);
        let moves = state
            .layouts
            .iter()
            .filter(|known| known.id != current)
            .map(|known| {
                let position = |id: &str| found(&known.fields, id);
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
        Layouts { current, fields: layout.fields.len(), moves, known: state.layouts.clone() }
    }

    /// For each field whether its rules changed since the bases of a link, as
    /// it is stored, were; empty where none did.
    pub(super) fn stale(&self, stored: &Link) -> &[bool] {
        let stale = self.moves.get(&stored.layout).map(|known| known.stale.as_slice());
        stale.filter(|stale| stale.contains(&true)).unwrap_or_default()
    }

    /// A stored link whose fields have other rules now.
    pub(super) fn held<'a>(&self, stored: Option<&'a Link>) -> Option<&'a Link> {
        stored.filter(|stored| !self.stale(stored).is_empty())
    }

    /// A stored link to which fields have come, or whose bases are of another
    /// kind by now (one way became two), while no rule has changed.
    pub(super) fn to_be_filled<'a>(&self, stored: Option<&'a Link>, digests: bool) -> Option<&'a Link> {
        stored.filter(|stored| self.stale(stored).is_empty() && !self.means_the_same(stored, digests))
    }

    /// True where fields only went, or stand in another order: nothing has to
    /// be looked at for that.
    pub(super) fn means_the_same(&self, stored: &Link, digests: bool) -> bool {
        let fits = |known: &Move| known.from.iter().all(Option::is_some) && !known.stale.contains(&true);
        self.moves.get(&stored.layout).is_some_and(fits) && matches!(stored.bases, Bases::Digests(_)) == digests
    }

    /// True for a link as an earlier edit of the mapping has stored it.
    pub(super) fn is_behind(&self, link: &Link, kind: BaseKind) -> bool {
        link.layout != self.current || matches!(link.bases, Bases::Values(_)) != (kind == BaseKind::Values)
    }

    /// Brings a link's bases into the program's layout, and into the kind that
    /// it keeps.
    pub(super) fn bring(&self, link: &mut Link, kind: BaseKind) {
        if !self.is_behind(link, kind) {
            return;
        }
        let is_newest = link.layout == self.current;
        let known = self.moves.get(&link.layout);
        link.layout = self.current;
        match (kind, &link.bases) {
            (BaseKind::Values, Bases::Values(_)) | (BaseKind::Digests { .. }, Bases::Digests(_)) => {}
            (BaseKind::Digests { written }, Bases::Values(values)) => {
                let digest = |base: &Option<Both<Value>>| base.as_ref().map(|base| short_digest(&base[written]));
                link.bases = Bases::Digests(values.iter().map(digest).collect());
                link.contests.clear();
            }
            (BaseKind::Values, Bases::Digests(_)) => {
                // What they stand for is to be seen in the records, where those still show it (`still_one_way`).
                link.bases = Bases::none(self.fields, false);
                link.contests.clear();
                forget_guessed(link);
                return;
            }
        }
        forget_guessed(link);
        match known {
            Some(known) => rearrange(link, &known.from),
            None if is_newest => {}
            None => link.bases = Bases::none(self.fields, kind != BaseKind::Values),
        }
    }

    /// The fields that are what they were when a link of digests was stored, one
    /// way with the same rules: where each stands, and where it stood.
    pub(super) fn still_one_way(&self, stored: &Link) -> Vec<(usize, usize)> {
        let of = |id: i64| self.known.iter().find(|known| known.id == id).map(|known| known.fields.as_slice());
        let (Some(now), Some(then)) = (of(self.current), of(stored.layout)) else { return Vec::new() };
        let stood =
            |(position, field): (usize, &LayoutField)| Some((position, then.iter().position(|one| one == field)?));
        now.iter().enumerate().filter_map(stood).collect()
    }

    /// Where the program has the field that stands at this position in a stored
    /// layout; `None` where it has it no more.
    pub(super) fn position(&self, layout: i64, field: usize) -> Option<usize> {
        match self.moves.get(&layout) {
            Some(known) => known.from.iter().position(|from| *from == Some(field)),
            None => Some(field).filter(|field| *field < self.fields),
        }
    }

    /// Brings a link's bases into the layout of what was sent for it: whether
    /// rules have changed since is still to be seen.
    pub(super) fn bring_to(&self, layout: i64, link: &mut Link, kind: BaseKind) {
        let of = |id: i64| self.known.iter().find(|known| known.id == id);
        let Some(wanted) = of(layout).filter(|_| layout != self.current) else { return self.bring(link, kind) };
        let Some(stored) = of(link.layout).filter(|stored| stored.id != layout) else { return };
        let position = |id: &str| found(&stored.fields, id);
        let from: Vec<_> = wanted.fields.iter().map(|field| position(&field.id)).collect();
        rearrange(link, &from);
        link.layout = layout;
        forget_guessed(link);
    }
}

/// Where a layout has a field. One that goes one way by now goes on with the
/// bases of both; one that has come to go both ways meets anew what the other
/// side has made of it meanwhile.
fn found(fields: &[LayoutField], id: &str) -> Option<usize> {
    let position = |id: &str| fields.iter().position(|field| field.id == id);
    position(id).or_else(|| id.contains(" - ").then(|| position(&id.replacen(" - ", " <-> ", 1))).flatten())
}

/// What a record showed was told in other fields.
fn forget_guessed(link: &mut Link) {
    for side in Side::BOTH {
        link.own_stamps[side].take_if(|own| own.shows.is_some());
    }
}

/// Puts bases, and what else goes by the position of a field, in another order:
/// for each field its position before.
fn rearrange(link: &mut Link, from: &[Option<usize>]) {
    link.bases = match &mut link.bases {
        Bases::Values(old) => Bases::Values(from.iter().map(|from| from.and_then(|from| old[from].take())).collect()),
        Bases::Digests(old) => Bases::Digests(from.iter().map(|from| from.and_then(|from| old[from])).collect()),
    };
    link.contests.retain_mut(|contest| {
        let now = from.iter().position(|from| from.and_then(|from| u32::try_from(from).ok()) == Some(contest.field));
        contest.field = now.and_then(|now| u32::try_from(now).ok()).unwrap_or(contest.field);
        now.is_some()
    });
}
