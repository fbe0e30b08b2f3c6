//! What is written to and fro is parked instead: a value that comes back through
//! other mappings, and a field that the engine and somebody else fight over.

use super::execute::Work;
use super::session::Session;
use crate::diagnostic::Code;
use crate::plan::{Decision, Link, RecordWrite};
use crate::record::{Key, Side};
use crate::state::{Parked, Reason};

impl Session<'_> {
    /// A value that began on this side comes back changed through other mappings.
    pub(super) fn comes_back(&self, index: usize, item: &Work) -> Option<Parked> {
        let (side, returning) = self.rings.returning(index)?;
        let field = &self.program.fields[returning.field].name;
        let message = format!(
            "the value of `{field}` began in the {side} record with key {}, and comes back changed through other mappings",
            returning.began
        );
        Some(self.aside(side, item.all_keys(), Reason::Loop, Some(returning.field), Code::LOOPING, &message))
    }

    /// A field that the engine has written again and again, each time against a
    /// change, until somebody decides.
    pub(super) fn fights(&mut self, item: &Work, decision: &Decision) -> Option<Parked> {
        let keys = item.all_keys();
        let places: Vec<(Side, Key)> = Side::BOTH.into_iter().filter_map(|of| Some((of, keys[of].clone()?))).collect();
        let writes = |side: Side| decision.writes[side].as_ref();
        let is_written = |name: Option<&str>| {
            let fields = Side::BOTH.into_iter().filter_map(writes).flat_map(|write| &write.fields);
            fields.into_iter().any(|write| Some(self.program.fields[write.field].name.as_str()) == name)
        };
        if places.iter().any(|place| self.released.contains(place)) {
            return None;
        }
        let known = places.iter().find_map(|place| self.loops.get(place));
        if let Some(known) = known.filter(|known| is_written(known.field.as_deref())) {
            return Some(known.clone());
        }
        let link = item.link.as_ref()?;
        let looping = |side: Side| Some((side, self.looping(link, writes(side)?)?));
        let (side, field) = Side::BOTH.into_iter().find_map(looping)?;
        let message = format!(
            "`{}` was written four times in ten runs, each time against a change",
            self.program.fields[field].name
        );
        let parked = self.aside(side, keys, Reason::Loop, Some(field), Code::LOOPING, &message);
        self.loops.extend(places.into_iter().map(|place| (place, parked.clone())));
        Some(parked)
    }

    /// The field of a write that the engine has written four times in ten runs,
    /// each time against a change.
    fn looping(&self, link: &Link, write: &RecordWrite) -> Option<usize> {
        let recent = self.state.runs.saturating_sub(10);
        write.fields.iter().filter(|field| field.contested()).map(|field| field.field).find(|field| {
            link.contests.iter().filter(|contest| contest.field as usize == *field && contest.run > recent).count() >= 4
        })
    }
}
