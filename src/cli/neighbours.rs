//! Which mappings of a project share objects: what each flows between, as its
//! systems tell.
//!
//! Asks nothing of any system where the names of objects alone show that a
//! mapping meets no other.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::keys::fingerprint;
use super::wire::{Loaded, Systems, Unready};
use crate::compile::{Program, compile};
use crate::config::model::{Connection, Mapping};
use crate::diagnostic::Diagnostics;
use crate::record::{Both, Side};
use crate::run::{Flow, Neighbours};
use crate::state::Store;

impl Systems<'_> {
    /// What a mapping has to do with the others of its project that are
    /// switched on.
    pub(super) async fn neighbours(
        &mut self,
        mapping: &Mapping,
        program: &Program,
        fingerprints: &Both<String>,
        store: &dyn Store,
    ) -> Neighbours {
        let loaded = self.loaded;
        if !meets_another(mapping, loaded) {
            return Neighbours::default();
        }
        let known = self.shared.flows.lock().expect("nothing panics while it notes").clone();
        let flows = match known {
            Some(flows) => flows,
            None => self.flows(store).await,
        };
        Neighbours::of(&flow(program, fingerprints.clone()), &flows)
    }

    /// What all mappings flow between. Where a system did not answer, or a mapping
    /// cannot be compiled yet, that is asked anew by the next run.
    async fn flows(&mut self, store: &dyn Store) -> Arc<[Flow]> {
        let (mut flows, mut away) = (Vec::new(), BTreeSet::new());
        for other in on(self.loaded) {
            flows.extend(self.flow(other, store, &mut away).await);
        }
        let flows: Arc<[Flow]> = flows.into();
        if away.is_empty() && flows.len() == on(self.loaded).count() {
            *self.shared.flows.lock().expect("nothing panics while it notes") = Some(flows.clone());
        }
        flows
    }

    /// A mapping's flow: as its systems tell, else between the objects its
    /// links belong to. `away` are the connections that did not answer.
    async fn flow(&mut self, mapping: &Mapping, store: &dyn Store, away: &mut BTreeSet<String>) -> Option<Flow> {
        // What is wrong with another mapping is said where that one runs.
        let mut unsaid = Diagnostics::new();
        let connections = Both::from_fn(|side| self.loaded.connection(mapping, side).map(Connection::full_name));
        let is_away = |side: &Side| connections[*side].as_ref().is_some_and(|name| away.contains(name));
        if !Side::BOTH.iter().any(is_away) {
            match self.describe(mapping, None, &mut unsaid).await {
                Ok(systems) => {
                    let described = systems.as_ref().map(|(_, description)| Some(description));
                    let program = compile(mapping, described, &mut unsaid)?.program;
                    let fingerprints = Both::from_fn(|side| {
                        let description = &systems[side].1;
                        fingerprint(&program, side, &description.identity, &description.name)
                    });
                    return Some(flow(&program, fingerprints));
                }
                Err(Unready::Wrong) => return None,
                Err(Unready::Fault(side, _)) => away.extend(connections[side].clone()),
            }
        }
        let stored = store.mapping(&mapping.full_name).await.ok().flatten()?;
        let program = compile(mapping, Both::new(None, None), &mut unsaid)?.program;
        Some(flow(&program, stored.fingerprints))
    }
}

fn flow(program: &Program, fingerprints: Both<String>) -> Flow {
    let target = &program.sides.target;
    let of_key = target.access.key.iter().copied();
    let of_match = program
        .matching
        .iter()
        .flatten()
        .filter_map(|field| program.fields[*field].toward.target.as_ref().map(|way| way.slot));
    Flow {
        mapping: program.name.to_string(),
        fingerprints,
        fills: Both::from_fn(|side| fills(program, side)),
        identifying: of_key.chain(of_match).map(|slot| target.access.shape.fields[slot].name.to_string()).collect(),
    }
}

/// The fields that a mapping writes on a side.
fn fills(program: &Program, side: Side) -> BTreeSet<String> {
    let ways = program.fields.iter().filter_map(|field| field.toward[side].as_ref());
    ways.map(|way| program.sides[side].access.shape.fields[way.slot].name.to_string()).collect()
}

fn on(loaded: &Loaded) -> impl Iterator<Item = &Mapping> {
    loaded.project.mappings.iter().filter(|mapping| loaded.switched_off(mapping).is_none())
}

/// False where the objects' names show that no other mapping writes what this
/// one reads and reads what it writes, and none writes to its target.
fn meets_another(mapping: &Mapping, loaded: &Loaded) -> bool {
    let others: Vec<&Mapping> = on(loaded).filter(|other| other.full_name != mapping.full_name).collect();
    let touches = |other: &&Mapping, side: Side| {
        Side::BOTH.iter().any(|of| object_name(other, *of) == object_name(mapping, side))
    };
    let in_ring = Side::BOTH.into_iter().all(|side| others.iter().any(|other| touches(other, side)));
    in_ring || others.iter().any(|other| object_name(other, Side::Target) == object_name(mapping, Side::Target))
}

/// The last part of an object's name, as it is written, in small letters.
pub(super) fn object_name(mapping: &Mapping, side: Side) -> String {
    let object = &mapping.side(side).object.value;
    object.rsplit('.').next().unwrap_or(object).trim_matches('"').to_lowercase()
}
