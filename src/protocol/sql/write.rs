//! How a batch of changes is cut into statements, the same in every dialect.

use std::collections::HashSet;

use indexmap::IndexMap;

use crate::connector::{Action, Change};
use crate::record::{Key, Value};

/// Cuts a batch into rounds in which no key occurs twice, so that the changes
/// of one round can be made in any order. Nearly always there is one round.
pub(super) fn rounds(changes: &[Change]) -> Vec<Vec<usize>> {
    let mut rounds: Vec<(HashSet<Key>, Vec<usize>)> = Vec::new();
    for (index, change) in changes.iter().enumerate() {
        let key = Key::new(&change.key);
        // Everything that follows the last round with the same key keeps its order.
        let free = key
            .as_ref()
            .map_or(0, |key| rounds.iter().rposition(|(seen, _)| seen.contains(key)).map_or(0, |last| last + 1));
        if free == rounds.len() {
            rounds.push((HashSet::with_capacity(changes.len() - index), Vec::new()));
        }
        let (seen, members) = &mut rounds[free];
        seen.extend(key);
        members.push(index);
    }
    rounds.into_iter().map(|(_, members)| members).collect()
}

/// Changes that one statement can make: the same action on the same columns.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Form {
    pub(super) action: Action,
    /// Whether every key slot has a value.
    pub(super) keyed: bool,
    /// Which key slots have one.
    pub(super) key: Vec<bool>,
    pub(super) set: Vec<usize>,
    pub(super) expect: Vec<usize>,
}

impl Form {
    pub(super) fn of(change: &Change) -> Form {
        let key: Vec<bool> = change.key.iter().map(|value| !matches!(value, Value::Missing)).collect();
        Form {
            action: change.action,
            keyed: !key.is_empty() && key.iter().all(|there| *there),
            key,
            set: change.set.iter().map(|(slot, _)| *slot).collect(),
            expect: change.expect.iter().map(|(slot, _)| *slot).collect(),
        }
    }

    /// Whether the change is of this form.
    fn fits(&self, change: &Change) -> bool {
        let there = change.key.iter().map(|value| !matches!(value, Value::Missing));
        self.action == change.action
            && self.key.iter().copied().eq(there)
            && self.set.iter().eq(change.set.iter().map(|(slot, _)| slot))
            && self.expect.iter().eq(change.expect.iter().map(|(slot, _)| slot))
    }
}

/// Groups the members of a round by form: deletes first, since they free what
/// is unique, then updates, then creates.
pub(super) fn forms(changes: &[Change], members: &[usize]) -> Vec<(Form, Vec<usize>)> {
    let mut groups: IndexMap<Form, Vec<usize>> = IndexMap::new();
    let mut last = 0;
    for index in members {
        let change = &changes[*index];
        // Most changes have the form of the one before them.
        if let Some((form, members)) = groups.get_index_mut(last)
            && form.fits(change)
        {
            members.push(*index);
            continue;
        }
        let entry = groups.entry(Form::of(change));
        last = entry.index();
        entry.or_default().push(*index);
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_by_key(|(form, _)| match form.action {
        Action::Delete => 0,
        Action::Update => 1,
        Action::Create => 2,
    });
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(action: Action, key: i64, set: &[usize]) -> Change {
        Change {
            action,
            key: vec![Value::Integer(key)],
            set: set.iter().map(|slot| (*slot, Value::Null)).collect(),
            expect: Vec::new(),
        }
    }

    #[test]
    fn a_key_occurs_once_in_a_round() {
        let changes = [
            change(Action::Delete, 1, &[]),
            change(Action::Create, 2, &[]),
            change(Action::Create, 1, &[]),
            change(Action::Update, 1, &[1]),
        ];
        assert_eq!(rounds(&changes), vec![vec![0, 1], vec![2], vec![3]]);
    }

    #[test]
    fn changes_are_grouped_by_what_they_touch() {
        let changes = [
            change(Action::Create, 1, &[1, 2]),
            change(Action::Update, 2, &[1]),
            change(Action::Update, 3, &[2]),
            change(Action::Create, 4, &[1, 2]),
            change(Action::Delete, 5, &[]),
        ];
        let groups: Vec<Vec<usize>> =
            forms(&changes, &[0, 1, 2, 3, 4]).into_iter().map(|(_, members)| members).collect();
        assert_eq!(groups, vec![vec![4], vec![1], vec![2], vec![0, 3]]);
    }
}
