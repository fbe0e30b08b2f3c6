//! Which mappings of a project share objects: what each flows between, as its
//! systems tell.
//!
//! Asks nothing of any system where the names of objects alone show that a
//! mapping meets no other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::MutexGuard;

use chrono::{DateTime, TimeDelta, Utc};

use super::keys::fingerprint;
use super::loaded::Loaded;
use super::wire::{Surroundings, Systems, Unready};
use crate::compile::{Program, compile};
use crate::config::model::{Connection, Mapping, System};
use crate::diagnostic::Diagnostics;
use crate::record::{Both, Side};
use crate::run::{Flow, Neighbours};

/// For so long a system that did not answer is not asked again for the sake of
/// others.
const AWAY: TimeDelta = TimeDelta::minutes(5);

/// What is known of the flows of a project.
#[derive(Default)]
pub(super) struct Flows {
    /// By their mappings, as their systems told.
    told: BTreeMap<String, Flow>,
    /// Connections that did not answer, and when.
    away: BTreeMap<String, DateTime<Utc>>,
}

impl Systems<'_> {
    /// What a mapping has to do with the others of its project that are
    /// switched on.
    pub(super) async fn neighbours(
        &mut self,
        mapping: &Mapping,
        program: &Program,
        fingerprints: &Both<String>,
        surroundings: &Surroundings,
    ) -> Neighbours {
        let loaded = self.loaded;
        if !meets_another(mapping, loaded) {
            return Neighbours::default();
        }
        let own = flow(program, fingerprints.clone());
        self.known().told.insert(mapping.full_name.clone(), own.clone());
        let mut flows = Vec::new();
        for other in on(loaded) {
            let told = self.known().told.get(&other.full_name).cloned();
            flows.extend(match told {
                Some(told) => Some(told),
                None => self.flow(other, surroundings).await,
            });
        }
        let mut neighbours = Neighbours::of(&own, &flows);
        for rival in &mut neighbours.rivals {
            *rival = self.names.of(rival).to_owned();
        }
        neighbours
    }

    fn known(&self) -> MutexGuard<'_, Flows> {
        self.shared.flows.lock().expect("nothing panics while it notes")
    }

    /// A mapping's flow: as its systems tell, which is remembered; else between
    /// the objects its links belong to.
    async fn flow(&mut self, mapping: &Mapping, surroundings: &Surroundings) -> Option<Flow> {
        // What is wrong with another mapping is said where that one runs.
        let mut unsaid = Diagnostics::new();
        let connections = Both::from_fn(|side| self.loaded.connection(mapping, side).map(Connection::full_name));
        let now = surroundings.world.now();
        let is_away = |side: &Side| {
            let since = connections[*side].as_ref().and_then(|name| self.known().away.get(name).copied());
            since.is_some_and(|since| now - since < AWAY)
        };
        if !Side::BOTH.iter().any(is_away) {
            match self.describe(mapping, None, &mut unsaid).await {
                Ok(systems) => {
                    let described = systems.as_ref().map(|(_, description)| Some(description));
                    let program = compile(mapping, described, &mut unsaid)?.program;
                    let fingerprints = Both::from_fn(|side| {
                        fingerprint(&program, side, &systems[side].1, surroundings.home.as_deref())
                    });
                    let told = flow(&program, fingerprints);
                    self.known().told.insert(mapping.full_name.clone(), told.clone());
                    return Some(told);
                }
                Err(Unready::Wrong) => return None,
                Err(Unready::Fault(side, _)) => {
                    let name = connections[side].clone();
                    self.known().away.extend(name.map(|name| (name, surroundings.world.now())));
                }
            }
        }
        let stored = surroundings.store.mapping(&mapping.full_name).await.ok().flatten()?;
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
    let name = |mapping: &Mapping, side: Side| object_name(loaded, mapping, side);
    let touches = |other: &&Mapping, side: Side| Side::BOTH.iter().any(|of| name(other, *of) == name(mapping, side));
    let in_ring = Side::BOTH.into_iter().all(|side| others.iter().any(|other| touches(other, side)));
    in_ring || others.iter().any(|other| name(other, Side::Target) == name(mapping, Side::Target))
}

/// The last part of an object's name, as it is written, in small letters; of a
/// file its whole name.
pub(super) fn object_name(loaded: &Loaded, mapping: &Mapping, side: Side) -> String {
    let object = &mapping.side(side).object.value;
    let system = loaded.connection(mapping, side).map(|connection| &connection.system);
    if let Some(System::Files(files)) = system {
        let said = files.objects.iter().find(|(name, _)| name.value == *object);
        return said.and_then(|(_, said)| said.file.as_ref()).map_or(object, |file| &file.value).to_lowercase();
    }
    object.rsplit('.').next().unwrap_or(object).trim_matches('"').to_lowercase()
}
