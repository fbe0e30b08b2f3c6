//! `engine run`: runs mappings.

use std::sync::Arc;

use serde_json::json;

use super::wire::{Surroundings, Systems, Unready, load};
use super::{Common, Exit, ProjectPath};
use crate::diagnostic::Diagnostics;
use crate::run::{Options, RunReport, Silent, SystemWorld};
use crate::state::MemoryStore;
use crate::work::run_once;

/// Run mappings on their schedules until stopped, or each once.
#[derive(Debug, clap::Args)]
pub(super) struct RunArguments {
    /// The project: a folder of YAML files, or one file.
    path: ProjectPath,
    /// Only these mappings.
    mappings: Vec<String>,
    /// Run each mapping once, in the order of their dependencies, then exit.
    #[arg(long)]
    once: bool,
}

pub(super) async fn run(arguments: &RunArguments, _common: &Common) -> Exit {
    let loaded = load(&arguments.path);
    for diagnostic in loaded.diagnostics.iter() {
        eprintln!("{diagnostic:?}");
    }
    if loaded.diagnostics.has_errors() {
        return Exit::Wrong;
    }
    let surroundings = Surroundings {
        store: Arc::new(MemoryStore::default()),
        world: Arc::new(SystemWorld),
        observer: Arc::new(Silent),
    };
    let mut systems = Systems::new(&loaded);
    let mut diagnostics = Diagnostics::new();
    for _ in 0..2 {
        for mapping in loaded.project.in_order() {
            match systems.prepare(mapping, &surroundings, &mut diagnostics).await {
                Ok(setup) => {
                    let report: RunReport = run_once(setup, Options::default()).await;
                    println!(
                        "{}",
                        json!({"mapping": report.mapping, "status": report.status, "counts": report.counts, "ms": report.duration_ms, "troubles": report.troubles.iter().map(ToString::to_string).collect::<Vec<_>>() })
                    );
                    for p in report.parked.iter().take(8) {
                        println!("  {p:?}");
                    }
                }
                Err(Unready::Wrong) => println!("wrong"),
                Err(Unready::Fault(_, fault)) => println!("{fault}"),
            }
        }
    }
    for diagnostic in diagnostics.iter() {
        eprintln!("{diagnostic:?}");
    }
    Exit::Well
}
