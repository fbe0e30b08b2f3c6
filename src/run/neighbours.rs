//! What a mapping has to do with the others of its project: rings that lead
//! through it, and rivals that write the same target.
//!
//! Pure: the flows of all mappings in, one mapping's [`Neighbours`] out. Knows
//! objects by their texts alone.

use std::collections::{BTreeMap, BTreeSet};

use crate::record::{Both, Side};

/// A mapping as a flow of fields between two objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flow {
    pub mapping: String,
    /// Each side's identity, object and key, as text: `identity object (key)`.
    pub fingerprints: Both<String>,
    /// The fields it writes on each side.
    pub fills: Both<BTreeSet<String>>,
    /// The fields of the target by which its records are told apart: of its key
    /// and of `match`.
    pub identifying: BTreeSet<String>,
}

impl Flow {
    fn object(&self, side: Side) -> &str {
        let text = &self.fingerprints[side];
        text.strip_suffix(')').and_then(|text| text.rsplit_once(" (")).map_or(text.as_str(), |(object, _)| object)
    }

    fn writes(&self, side: Side) -> bool {
        !self.fills[side].is_empty()
    }

    /// Both write a field of the same target, other than those by which both
    /// find its records: these hold the same either way.
    fn contests(&self, other: &Flow) -> bool {
        let identify = |field: &String| self.identifying.contains(field) && other.identifying.contains(field);
        self.fingerprints.target == other.fingerprints.target
            && self.fills.target.intersection(&other.fills.target).any(|field| !identify(field))
    }
}

/// What one mapping has to do with the others of its project.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Neighbours {
    /// Whether what is written to a side can come back from there to the other
    /// one through other mappings.
    pub in_ring: Both<bool>,
    /// The mappings that write some of the same fields of the same target, by
    /// name. A record of the target belongs to the one that linked it first.
    pub rivals: Vec<String>,
}

impl Neighbours {
    /// Those of `own` among all flows of the project. Rivals that know the
    /// target's records by another key cannot be asked for them, and are none.
    pub fn of(own: &Flow, flows: &[Flow]) -> Neighbours {
        let others: Vec<&Flow> = flows.iter().filter(|flow| flow.mapping != own.mapping).collect();
        let in_ring = Both::from_fn(|to: Side| {
            let (from, to) = (own.object(to.other()), if own.writes(to) { own.object(to) } else { return false });
            from != to && reaches(&others, to, from)
        });
        let rivals = others.iter().filter(|flow| own.contests(flow)).map(|flow| flow.mapping.clone()).collect();
        Neighbours { in_ring, rivals }
    }

    /// True where anything of this mapping's may come back to it.
    pub fn any_ring(&self) -> bool {
        self.in_ring.source || self.in_ring.target
    }
}

/// True where values get from one object to another.
fn reaches(flows: &[&Flow], from: &str, to: &str) -> bool {
    let mut next: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for flow in flows {
        for side in Side::BOTH.into_iter().filter(|side| flow.writes(*side)) {
            next.entry(flow.object(side.other())).or_default().push(flow.object(side));
        }
    }
    let mut reached = BTreeSet::from([from]);
    let mut open = vec![from];
    while let Some(object) = open.pop() {
        open.extend(next.get(object).into_iter().flatten().filter(|object| reached.insert(object)));
    }
    from == to || reached.contains(to)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `name: a -> b`, or `a <-> b`, that writes these fields.
    fn flow(text: &str, fields: &[&str]) -> Flow {
        let (mapping, objects) = text.split_once(": ").unwrap();
        let fields: BTreeSet<String> = fields.iter().map(|field| (*field).to_owned()).collect();
        let (way, back) = match objects.split_once(" <-> ") {
            Some(way) => (way, fields.clone()),
            None => (objects.split_once(" -> ").unwrap(), BTreeSet::new()),
        };
        let object = |name: &str| format!("sqlite:/{name}.db {name} (id)");
        Flow {
            mapping: mapping.to_owned(),
            fingerprints: Both::new(object(way.0), object(way.1)),
            fills: Both::new(back, fields),
            identifying: ["sku".to_owned()].into(),
        }
    }

    fn rings(flows: &[Flow]) -> Vec<(bool, bool)> {
        let of = |own| Neighbours::of(own, flows).in_ring;
        flows.iter().map(|own| (of(own).source, of(own).target)).collect()
    }

    #[test]
    fn a_ring_takes_two_mappings() {
        let f = |text| flow(text, &["name"]);
        assert_eq!(rings(&[f("m: a <-> b")]), [(false, false)]);
        assert_eq!(rings(&[f("m: a -> b"), f("n: b -> a")]), [(false, true); 2]);
        assert_eq!(rings(&[f("m: a -> b"), f("n: b -> c"), f("o: c -> a")]), [(false, true); 3]);
        assert_eq!(rings(&[f("m: a -> b"), f("n: b -> c"), f("o: a -> c")]), [(false, false); 3]);
        assert_eq!(rings(&[f("m: a <-> b"), f("n: b <-> c")]), [(false, false); 2], "a chain of two ways is none");
        assert_eq!(rings(&[f("m: a <-> b"), f("n: b <-> c"), f("o: c <-> a")]), [(true, true); 3]);
        assert_eq!(
            rings(&[f("m: a <-> b"), f("n: b -> a"), f("o: c -> a")]),
            [(false, true), (false, true), (false, false)]
        );
    }

    #[test]
    fn rivals_write_the_same_field_of_one_target() {
        let flows = [
            flow("m: a -> b", &["sku", "name", "price"]),
            flow("n: c -> b", &["sku", "price"]),
            flow("o: d -> b", &["sku", "stock"]),
            flow("p: b -> e", &["name"]),
        ];
        let rivals: Vec<Vec<String>> = flows.iter().map(|own| Neighbours::of(own, &flows).rivals).collect();
        assert_eq!(rivals, [vec!["n".to_owned()], vec!["m".to_owned()], vec![], vec![]]);
    }
}
