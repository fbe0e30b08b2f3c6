//! Mappings on their schedules: what `engine run` does without `--once`.
//!
//! Owns which mappings these are, how they follow what is edited, and what is
//! said of their runs. When they run is for `work`.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use futures::future::{BoxFuture, Either, select};
use serde_json::{Value as Json, json};

use super::home::open_for_run;
use super::loaded::{Loaded, load};
use super::log::Teller;
use super::neighbours::object_name;
use super::notices::{Happened, Notices};
use super::render::{Page, Screen, Tone, plural};
use super::report::{Told, line};
use super::round::{How, chosen, forget_history, nothing_there, one};
use super::stale::Watch;
use super::wire::{Shared, Surroundings, Systems};
use super::{Context, Exit, Failure};
use crate::config::model::{Connection, Mapping};
use crate::config::{FileStamp, stamps};
use crate::diagnostic::Code;
use crate::record::{Both, Side};
use crate::run::{Trouble, World, unless_stopped};
use crate::state::{RunStatus, Store, StoreError};
use crate::work::{History, Job, Place, REMEMBERED, Runner, Timetable, broke_off, idle};

/// What is asked for.
pub(super) struct Service<'a> {
    pub path: &'a Path,
    /// Only these mappings; all that are switched on where it is empty.
    pub mappings: &'a [String],
    /// So many at once.
    pub parallel: u16,
    /// How long the history is kept.
    pub history: TimeDelta,
    pub world: Arc<dyn World>,
}

/// What is too old is forgotten so often.
const FORGETS: Duration = Duration::from_hours(1);

/// Runs mappings on their schedules until the world is stopped.
pub(super) async fn serve(asked: Service<'_>, context: Context<'_>) -> Result<Exit, Failure> {
    let seen = stamps(asked.path, context.env());
    let loaded = load(asked.path, context.env());
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
    let world = asked.world.clone();
    let surroundings = Surroundings::new(context, &loaded.project.root, store.clone(), world, teller.clone());
    let keeper = Keeper {
        path: asked.path.to_owned(),
        env: context.env().map(str::to_owned),
        wanted: asked.mappings.to_vec(),
        screen: context.screen.clone(),
        surroundings: Arc::new(surroundings),
        teller,
        current: Mutex::new(Arc::new(Current { loaded, shared: Shared::default() })),
        seen: Mutex::new(Seen { taken: seen.clone(), last: seen }),
        notices: Notices::new(asked.world.clone()),
    };
    let forgets = async {
        loop {
            forget_history(&*store, &*asked.world, asked.history).await;
            if unless_stopped(&*asked.world, asked.world.sleep(FORGETS)).await.is_none() {
                break;
            }
        }
    };
    let beside = futures::future::join(forgets, keeper.tells_of_stale(&*asked.world));
    let serves = crate::work::serve(&keeper, &*asked.world, jobs, asked.parallel.into());
    match select(Box::pin(serves), Box::pin(beside)).await {
        Either::Left(_) => {}
        Either::Right((_, serves)) => serves.await,
    }
    keeper.notices.finish().await;
    Ok(Exit::Well)
}

/// What runs mappings on their schedules.
struct Keeper {
    path: PathBuf,
    env: Option<String>,
    wanted: Vec<String>,
    screen: Screen,
    surroundings: Arc<Surroundings>,
    teller: Arc<Teller>,
    /// What was last read without an error; runs that are under way go on with
    /// what they began with.
    current: Mutex<Arc<Current>>,
    seen: Mutex<Seen>,
    notices: Notices,
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

/// What came of a run; `None` where the engine was stopped before it could
/// begin.
type Outcome = Result<Option<Told>, Failure>;

/// Nothing was run, as another engine has the mapping's lease.
fn is_another_engines(told: &Told) -> bool {
    let is_leased = |trouble: &Trouble| matches!(trouble, Trouble::State(StoreError::Leased { .. }));
    told.report.troubles.iter().any(is_leased)
}

impl Runner for Keeper {
    type Report = Outcome;

    fn run(&self, mapping: &str) -> BoxFuture<'static, Outcome> {
        let current = self.current();
        let (surroundings, teller, name) = (self.surroundings.clone(), self.teller.clone(), mapping.to_owned());
        Box::pin(async move {
            let told = run(&current, &surroundings, &teller, &name).await;
            teller.done(&name);
            told
        })
    }

    fn status(report: &Outcome) -> RunStatus {
        match report {
            Ok(Some(told)) if is_another_engines(told) => RunStatus::Interrupted,
            Ok(Some(told)) => told.report.status,
            Ok(None) => RunStatus::Interrupted,
            Err(_) => RunStatus::Failure,
        }
    }

    fn ended(&self, mapping: &str, ended: Result<Outcome, String>, next: Option<DateTime<Utc>>, failures: u32) {
        let told =
            ended.unwrap_or_else(|why| Err(Failure { code: Some(Code::BROKE_OFF), ..Failure::wrong(broke_off(&why)) }));
        let json = |run: Json| {
            let Json::Object(mut run) = run else { return run };
            run.insert("failures".into(), failures.into());
            let next = next.map(|next| next.to_rfc3339_opts(SecondsFormat::Millis, true));
            run.insert("next_run_at".into(), next.into());
            Json::Object(run)
        };
        let page = |mut page: Page| {
            if failures > 1 {
                page.toned(Tone::Warn, again(failures, next));
            }
            page
        };
        self.tell(mapping, &told);
        match told {
            Ok(None) => {}
            Ok(Some(told)) if is_another_engines(&told) => {
                tracing::debug!("another engine works on {mapping}; it is tried again later");
            }
            Ok(Some(told)) => self.screen.answer(
                || json(told.json()),
                || {
                    let mut lines = Page::new();
                    line(&told, self.surroundings.world.now(), &self.path.display().to_string(), &mut lines);
                    page(lines)
                },
            ),
            Err(failure) => self.screen.answer(
                || json(unable(mapping, &failure)),
                || {
                    let mut lines = Page::new();
                    lines.spans([(Tone::Strong, format!("{mapping}: ")), (Tone::Bad, failure.message.clone())]);
                    page(lines)
                },
            ),
        }
    }

    fn changes(&self) -> BoxFuture<'_, Option<Vec<Job>>> {
        Box::pin(async move {
            let (path, env) = (self.path.clone(), self.env.clone());
            let now = tokio::task::spawn_blocking(move || stamps(&path, env.as_deref())).await.ok()?;
            if !self.is_new(&now) {
                return None;
            }
            let (path, env) = (self.path.clone(), self.env.clone());
            let loaded = tokio::task::spawn_blocking(move || load(&path, env.as_deref())).await.ok()?;
            let taken = self.take_over(loaded).await;
            // Where it was the state that failed, the next look tries again.
            if taken.is_ok() {
                self.seen.lock().expect("nothing panics while it looks").taken = now;
            }
            taken.unwrap_or_else(|failure| {
                self.screen.refuse(&failure);
                self.keeps_on();
                None
            })
        })
    }
}

impl Keeper {
    /// Tells whoever wants to be told of a run.
    fn tell(&self, name: &str, outcome: &Outcome) {
        let happened = match outcome {
            Ok(None) => return,
            Ok(Some(told)) if is_another_engines(told) => return,
            Ok(Some(told)) => Happened::ran(told),
            Err(failure) => Happened::could_not_run(name, failure),
        };
        let current = self.current();
        if let Some(mapping) = current.loaded.project.mapping(name) {
            self.notices.tell(&current.loaded, mapping, &happened);
        }
    }

    /// Tells of mappings that have had no good run for too long, until the world
    /// is stopped.
    async fn tells_of_stale(&self, world: &dyn World) {
        let mut watch = Watch::new(world);
        loop {
            let current = self.current();
            let loaded = &current.loaded;
            let mappings = match &*self.wanted {
                [] => chosen(loaded, &[]).unwrap_or_default(),
                // One that was asked for may be gone since.
                names => names.iter().flat_map(|name| chosen(loaded, std::slice::from_ref(name))).flatten().collect(),
            };
            let looked = watch.look(loaded, &mappings, &*self.surroundings.store, &self.notices, world.now()).await;
            let again = looked.unwrap_or_else(|error| {
                tracing::warn!("whether a mapping is stale could not be told: {error}");
                Watch::LATER
            });
            if unless_stopped(world, world.sleep(again)).await.is_none() {
                break;
            }
        }
    }

    fn current(&self) -> Arc<Current> {
        self.current.lock().expect("nothing panics while it looks").clone()
    }

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
        let mut page = Page::new();
        // One that was asked for by its name runs no more once it is switched off, or gone.
        let mut wanted = Vec::with_capacity(self.wanted.len());
        for name in &self.wanted {
            match chosen(&loaded, std::slice::from_ref(name)) {
                Ok(_) => wanted.push(name.clone()),
                Err(failure) => {
                    page.toned(Tone::Warn, format!("{name} does not run any more: {}", failure.message));
                }
            }
        }
        let none = wanted.is_empty() && !self.wanted.is_empty();
        let jobs = if none { Vec::new() } else { jobs(&loaded, &wanted, &*self.surroundings.store).await? };
        let running = jobs.len() - idle(&jobs).len();
        page.line(format!("the files have changed: {} on schedule from now on", plural(running as u64, "mapping")));
        self.screen.note(&page);
        let mut current = self.current.lock().expect("nothing panics while it looks");
        *current = Arc::new(Current { loaded, shared: current.shared.after_edit() });
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
    let systems = Systems::new(loaded);
    for mapping in mappings {
        let after = mapping.schedule.iter().flat_map(|schedule| &schedule.after);
        let runs = store.runs(Some(&mapping.full_name), REMEMBERED).await?;
        let fingerprints = store.mapping(&mapping.full_name).await?.unwrap_or_default().fingerprints;
        jobs.push(Job {
            mapping: mapping.full_name.clone(),
            timetable: mapping.schedule.as_ref().and_then(Timetable::of),
            after: after.flat_map(|name| loaded.project.seen_from(&mapping.namespace, name)).collect(),
            objects: Both::from_fn(|side| place(&systems, mapping, side, &fingerprints[side])),
            connections: Both::from_fn(|side| {
                loaded.connection(mapping, side).map(Connection::full_name).unwrap_or_default()
            }),
            history: History::of(&runs),
        });
    }
    Ok(jobs)
}

/// An object of a mapping's side, told without asking: by the file that it lies
/// in, or by the server that its links belong to.
fn place(systems: &Systems<'_>, mapping: &Mapping, side: Side, fingerprint: &str) -> Place {
    let connection = systems.loaded.connection(mapping, side);
    let file = connection.and_then(|connection| systems.file(connection)).map(|file| file.display().to_string());
    let server = || connection.and_then(|connection| systems.loaded.lead(connection).server);
    let number = || {
        // Where the server has not told its number, another role may be told it.
        let identity = fingerprint.split(' ').next()?;
        let number = identity.strip_prefix("postgres:")?.split(':').next()?;
        (number.len() > 12 && number.bytes().all(|digit| digit.is_ascii_digit())).then(|| identity.to_owned())
    };
    Place {
        object: object_name(systems.loaded, mapping, side),
        address: file.clone().or_else(server).unwrap_or_default(),
        system: file.or_else(number),
    }
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

/// A run that could not begin.
fn unable(mapping: &str, Failure { code, message, help, .. }: &Failure) -> Json {
    let error = json!({ "code": code, "message": message, "help": help });
    json!({ "mapping": mapping, "status": RunStatus::Failure, "error": error })
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
