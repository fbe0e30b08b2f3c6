//! Mappings on their schedules: what `engine run` does without `--once`.
//!
//! Owns which mappings these are, how they follow what is edited, and what is
//! said of their runs. When they run is for `work`.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use chrono::{DateTime, SecondsFormat, Utc};
use futures::future::BoxFuture;
use serde_json::json;

use super::home::open_for_run;
use super::log::Teller;
use super::neighbours::object_name;
use super::render::{Page, Screen, Tone, plural};
use super::report::{Told, line};
use super::round::{How, chosen, nothing_there, one};
use super::wire::{Loaded, Shared, Surroundings, Systems, load};
use super::{Context, Exit, Failure};
use crate::config::model::{Connection, Mapping, System};
use crate::config::{FileStamp, stamps};
use crate::record::{Both, Side};
use crate::run::World;
use crate::state::{RunStatus, Store};
use crate::work::{History, Job, REMEMBERED, Runner, Timetable, idle};

/// What is asked for.
pub(super) struct Service<'a> {
    pub path: &'a Path,
    /// Only these mappings; all that are switched on where it is empty.
    pub mappings: &'a [String],
    /// So many at once.
    pub parallel: u16,
    pub world: Arc<dyn World>,
}

/// Runs mappings on their schedules until the world is stopped.
pub(super) async fn serve(asked: Service<'_>, context: Context<'_>) -> Result<Exit, Failure> {
    let seen = stamps(asked.path);
    let loaded = load(asked.path);
    let diagnostics = loaded.sorted();
    if loaded.diagnostics.has_errors() {
        context.screen.wrong(&diagnostics, &loaded.project);
        return Ok(Exit::Wrong);
    }
    if loaded.project.mappings.is_empty() {
        return Err(nothing_there(asked.path));
    }
    chosen(&loaded, asked.mappings)?;
    context.screen.aside(&diagnostics, &loaded.project);
    let store = open_for_run(context, &loaded.project.root).await?;
    let jobs = jobs(&loaded, asked.mappings, &*store).await?;
    if idle(&jobs).len() == jobs.len() {
        let help = "`--once` runs each mapping once; `schedule: { every: 5m }` in a mapping has it run by itself";
        return Err(Failure::wrong("no mapping here has a `schedule`: nothing would run by itself").help(help));
    }
    greet(&jobs, context.screen);
    let teller = Arc::new(Teller::new(context.screen));
    let surroundings = Surroundings { store, world: asked.world.clone(), observer: teller.clone() };
    let keeper = Keeper {
        path: asked.path.to_owned(),
        wanted: asked.mappings.to_vec(),
        screen: context.screen.clone(),
        surroundings: Arc::new(surroundings),
        teller,
        current: Mutex::new(Arc::new(Current { loaded, shared: Shared::default() })),
        seen: Mutex::new(Seen { taken: seen.clone(), last: seen }),
    };
    crate::work::serve(&keeper, &*asked.world, jobs, asked.parallel.into()).await;
    Ok(Exit::Well)
}

/// What runs mappings on their schedules.
struct Keeper {
    path: PathBuf,
    wanted: Vec<String>,
    screen: Screen,
    surroundings: Arc<Surroundings>,
    teller: Arc<Teller>,
    /// What was last read without an error; runs that are under way go on with
    /// what they began with.
    current: Mutex<Arc<Current>>,
    seen: Mutex<Seen>,
}

struct Current {
    loaded: Loaded,
    shared: Shared,
}

/// The project's files: as they were read, and as they were last looked at.
struct Seen {
    taken: Vec<FileStamp>,
    last: Vec<FileStamp>,
}

/// What came of a run.
struct Outcome {
    mapping: String,
    /// `None` where the engine was stopped before it could begin.
    told: Result<Option<Told>, Failure>,
}

impl Runner for Keeper {
    type Report = Outcome;

    fn run(&self, mapping: &str) -> BoxFuture<'static, Outcome> {
        let current = self.current.lock().expect("nothing panics while it looks").clone();
        let (surroundings, teller, name) = (self.surroundings.clone(), self.teller.clone(), mapping.to_owned());
        Box::pin(async move {
            let told = run(&current, &surroundings, &teller, &name).await;
            teller.done(&name);
            Outcome { mapping: name, told }
        })
    }

    fn status(report: &Outcome) -> RunStatus {
        match &report.told {
            Ok(Some(told)) => told.report.status,
            Ok(None) => RunStatus::Interrupted,
            Err(_) => RunStatus::Failure,
        }
    }

    fn ended(&self, Outcome { mapping, told }: Outcome, next: Option<DateTime<Utc>>, failures: u32) {
        let next_run_at = next.map(|next| next.to_rfc3339_opts(SecondsFormat::Millis, true));
        match told {
            Ok(None) => {}
            Ok(Some(told)) => self.screen.answer(
                || {
                    let mut run = told.json();
                    run["failures"] = failures.into();
                    run["next_run_at"] = next_run_at.into();
                    run
                },
                || {
                    let mut page = Page::new();
                    line(&told, self.surroundings.world.now(), &self.path.display().to_string(), &mut page);
                    if failures > 1 {
                        page.toned(Tone::Warn, again(failures, next));
                    }
                    page
                },
            ),
            Err(failure) => self.screen.answer(
                || {
                    let error = json!({ "code": failure.code, "message": failure.message, "help": failure.help });
                    json!({
                        "mapping": mapping, "status": RunStatus::Failure, "error": error,
                        "failures": failures, "next_run_at": next_run_at,
                    })
                },
                || {
                    let mut page = Page::new();
                    page.spans([(Tone::Strong, format!("{mapping}: ")), (Tone::Bad, failure.message.clone())]);
                    if failures > 1 {
                        page.toned(Tone::Warn, again(failures, next));
                    }
                    page
                },
            ),
        }
    }

    fn broke_off(&self, mapping: &str, why: &str) {
        let mut page = Page::new();
        page.toned(Tone::Bad, format!("{mapping}: the run broke off by a fault of the engine: {why}"));
        self.screen.note(&page);
    }

    fn changes(&self) -> BoxFuture<'_, Option<Vec<Job>>> {
        Box::pin(async move {
            let path = self.path.clone();
            let now = tokio::task::spawn_blocking(move || stamps(&path)).await.ok()?;
            if !self.is_new(&now) {
                return None;
            }
            let path = self.path.clone();
            let loaded = tokio::task::spawn_blocking(move || load(&path)).await.ok()?;
            match self.take_over(loaded).await {
                Ok(jobs) => {
                    self.seen.lock().expect("nothing panics while it looks").taken = now;
                    jobs
                }
                // The next look tries again.
                Err(failure) => {
                    self.screen.refuse(&failure);
                    self.keeps_on();
                    None
                }
            }
        })
    }
}

impl Keeper {
    /// True where the files are others than those that were read, and nobody is
    /// at it any more.
    fn is_new(&self, now: &[FileStamp]) -> bool {
        let mut seen = self.seen.lock().expect("nothing panics while it looks");
        let is_new = now != seen.taken && now == seen.last;
        seen.last = now.to_vec();
        is_new
    }

    async fn take_over(&self, loaded: Loaded) -> Result<Option<Vec<Job>>, Failure> {
        self.screen.aside(&loaded.sorted(), &loaded.project);
        if loaded.diagnostics.has_errors() {
            self.keeps_on();
            return Ok(None);
        }
        let jobs = jobs(&loaded, &self.wanted, &*self.surroundings.store).await?;
        let mut page = Page::new();
        page.line(format!("the files have changed: {} from now on", plural(jobs.len() as u64, "mapping")));
        self.screen.note(&page);
        *self.current.lock().expect("nothing panics while it looks") =
            Arc::new(Current { loaded, shared: Shared::default() });
        Ok(Some(jobs))
    }

    fn keeps_on(&self) {
        let mut page = Page::new();
        page.toned(Tone::Warn, "the edited files are not taken over: the mappings go on as they were");
        self.screen.note(&page);
    }
}

async fn run(
    Current { loaded, shared }: &Current,
    surroundings: &Surroundings,
    teller: &Teller,
    name: &str,
) -> Result<Option<Told>, Failure> {
    let Some(mapping) = loaded.project.mapping(name) else {
        return Err(Failure::unknown("mapping", name, []));
    };
    let mut systems = Systems::sharing(loaded, shared);
    systems.remember(mapping, &*surroundings.store).await?;
    one(mapping, &mut systems, surroundings, teller, &How::default()).await
}

/// The mappings that are to run, each with what is known of its runs.
async fn jobs(loaded: &Loaded, wanted: &[String], store: &dyn Store) -> Result<Vec<Job>, Failure> {
    let mappings = chosen(loaded, wanted)?;
    let mut jobs = Vec::with_capacity(mappings.len());
    for mapping in mappings {
        let after = mapping.schedule.iter().flat_map(|schedule| &schedule.after);
        let runs = store.runs(Some(&mapping.full_name), REMEMBERED).await?;
        jobs.push(Job {
            mapping: mapping.full_name.clone(),
            timetable: mapping.schedule.as_ref().and_then(Timetable::of),
            after: after.filter_map(|name| loaded.project.seen_from(&mapping.namespace, name)).collect(),
            objects: Both::from_fn(|side| object(loaded, mapping, side)),
            connections: Both::from_fn(|side| {
                loaded.connection(mapping, side).map(Connection::full_name).unwrap_or_default()
            }),
            history: History::of(&runs),
        });
    }
    Ok(jobs)
}

/// An object of a mapping's side: the last part of its name in small letters, and
/// where it lies as far as that can be told without asking. What is written in
/// two ways is one object rather than two.
fn object(loaded: &Loaded, mapping: &Mapping, side: Side) -> String {
    let place = loaded.connection(mapping, side).map(|connection| match &connection.system {
        System::Sqlite(sqlite) => sqlite.url.value.clone(),
        System::Postgres(_) => loaded.lead(connection).server.unwrap_or_else(|| connection.full_name()),
    });
    format!("{} {}", place.unwrap_or_default(), object_name(mapping, side))
}

/// What is said before the first run.
fn greet(jobs: &[Job], screen: &Screen) {
    let others = idle(jobs);
    let mut page = Page::new();
    page.line(format!("{} on schedule; Ctrl-C stops", plural((jobs.len() - others.len()) as u64, "mapping")));
    if !others.is_empty() {
        let named = others.iter().take(10).copied().collect::<Vec<_>>().join(", ");
        let more = if others.len() > 10 { format!(" and {} more", others.len() - 10) } else { String::new() };
        let why = "without a `schedule`, or only after such, and run with `--once` only";
        page.toned(Tone::Faint, format!("{why}: {named}{more}"));
    }
    screen.note(&page);
}

/// What is said of a mapping that fails again and again.
fn again(failures: u32, next: Option<DateTime<Utc>>) -> String {
    match next {
        Some(next) => {
            format!("  failed {failures} times in a row; tried again at {}", next.format("%Y-%m-%d %H:%M:%S UTC"))
        }
        None => format!("  failed {failures} times in a row"),
    }
}
