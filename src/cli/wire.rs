//! What was written becomes what runs: connections are opened, mappings are
//! compiled against what their systems tell.
//!
//! The one place that knows both the protocols and the rest. Nothing here
//! decides anything about records.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::drafts::Drafts;
use super::keys::fingerprint;
use super::loaded::Loaded;
use super::names::Names;
use super::neighbours::Flows;
use super::settings::{Settings, retry_policy, settings};
use super::{Context, Failure};
use crate::compile::{Compiled, compile};
use crate::config::model::{Connection, Mapping, SideSpec};
use crate::connector::{Connector, Description, Fault, FaultKind, Object};
use crate::diagnostic::{Code, Diagnostic, Diagnostics, Severity};
use crate::protocol::files::connect_files;
use crate::protocol::sql::{connect_postgres, connect_sqlite, sqlite_file};
use crate::record::{Both, Side};
use crate::run::{Connected, Observer, RetryPolicy, Setup, Trouble, World};
use crate::state::{FileIdentity, Layout, LayoutField, Store, StoreError, file_identity};

/// An object as its system tells of it, and the way there.
pub(super) type Described = (Arc<dyn Connector>, Description);

/// Why a mapping cannot run.
pub(super) enum Unready {
    /// What the user wrote is wrong; it was said.
    Wrong,
    /// A system failed us.
    Fault(Side, Fault),
}

/// What the runs of one project have in common, also where they run at once.
#[derive(Clone, Default)]
pub(super) struct Shared {
    /// The connections that are open, by their full name.
    open: Arc<Mutex<BTreeMap<String, Opened>>>,
    /// The connections whose records the state knows: a database of theirs
    /// that is not there is missing, and not yet to be made.
    remembered: Arc<Mutex<BTreeSet<String>>>,
    /// What mappings flow between, as their systems told, and which systems did
    /// not answer.
    pub(super) flows: Arc<Mutex<Flows>>,
}

impl Shared {
    /// After an edit: what is open goes on, as far as it leads where it did.
    pub(super) fn after_edit(&self) -> Shared {
        Shared { flows: Arc::default(), ..self.clone() }
    }
}

/// A connection that is open.
struct Opened {
    settings: Settings,
    connector: Arc<dyn Connector>,
    /// Of a database in a file: where it lies, and which file it was there.
    file: Option<(PathBuf, Option<FileIdentity>)>,
}

impl Opened {
    /// False where another file lies there by now: what would be written goes
    /// nowhere, and closing the former takes the log of the new one away.
    fn still_stands(&mut self) -> bool {
        let Some((file, known)) = &mut self.file else { return true };
        let now = file_identity(file);
        let stands = known.is_none() || *known == now;
        // A database that is made with its first use has no file before.
        *known = known.or(now);
        stands
    }
}

/// The systems of a project, each connected once.
pub(super) struct Systems<'a> {
    pub(super) loaded: &'a Loaded,
    pub(super) shared: Shared,
    /// Where only looking is allowed: the copies that stand in for databases
    /// that a run would make.
    drafts: Option<Drafts>,
    /// Where only looking is allowed: systems that did not answer, which are
    /// not waited for once more.
    away: BTreeMap<String, Fault>,
    /// The names that the state knows renamed mappings by.
    pub(super) names: Names,
}

impl<'a> Systems<'a> {
    pub(super) fn new(loaded: &'a Loaded) -> Systems<'a> {
        Systems::sharing(loaded, &Shared::default())
    }

    /// The systems for one of several runs.
    pub(super) fn sharing(loaded: &'a Loaded, shared: &Shared) -> Systems<'a> {
        Systems { loaded, shared: shared.clone(), drafts: None, away: BTreeMap::new(), names: Names::default() }
    }

    /// The same systems, where those that the state has links with are not
    /// made anew.
    pub(super) async fn remembered_by(mut self, store: &dyn Store) -> Result<Systems<'a>, StoreError> {
        self.names = Names::look(&self.loaded.project, store).await?;
        for mapping in &self.loaded.project.mappings {
            self.note(mapping, store).await?;
        }
        Ok(self)
    }

    /// The same for one mapping of them.
    pub(super) async fn remember(&mut self, mapping: &Mapping, store: &dyn Store) -> Result<(), StoreError> {
        self.names = Names::look(&self.loaded.project, store).await?;
        self.note(mapping, store).await
    }

    /// Notes the systems that the state has links of a mapping with.
    async fn note(&self, mapping: &Mapping, store: &dyn Store) -> Result<(), StoreError> {
        let Some(stored) = store.mapping(self.names.of(&mapping.full_name)).await? else { return Ok(()) };
        let known = Side::BOTH.into_iter().filter(|side| !stored.fingerprints[*side].is_empty());
        let connections = known.filter_map(|side| self.loaded.connection(mapping, side));
        let mut remembered = self.shared.remembered.lock().expect("nothing panics while it notes");
        remembered.extend(connections.map(Connection::full_name));
        Ok(())
    }

    /// Systems that are looked at and not changed: a database that a run would
    /// make with `create_from` is made in a passing folder instead.
    pub(super) fn for_looking(loaded: &'a Loaded) -> Systems<'a> {
        Systems { drafts: Some(Drafts::default()), ..Systems::new(loaded) }
    }

    /// The connections that a passing copy stood in for.
    pub(super) fn drafted(&self) -> &[String] {
        self.drafts.as_ref().map_or(&[], Drafts::names)
    }

    /// The connector of a connection; `None` where its settings are wrong,
    /// which is then said.
    ///
    /// # Errors
    /// Where the system cannot be set up.
    pub(super) fn connect(
        &mut self,
        connection: &Connection,
        diagnostics: &mut Diagnostics,
    ) -> Result<Option<Arc<dyn Connector>>, Fault> {
        let name = connection.full_name();
        // Opening waits for nobody: the first call to the system does.
        let Some(mut settings) = settings(connection, &self.loaded.environment, diagnostics) else { return Ok(None) };
        let written = settings.clone();
        let opened = self.shared.open.clone();
        let mut opened = opened.lock().expect("nothing panics while it opens");
        if let Some(open) = opened.get_mut(&name).filter(|open| open.settings == written) {
            if open.still_stands() {
                return Ok(Some(open.connector.clone()));
            }
            let message = "another file has taken the place of its database while that was open: stop the engine, look \
                           that the right file is there, and start it again";
            return Err(Fault::user(format!("opening `{name}`"), "", message));
        }
        if let Settings::Sqlite(settings) = &mut settings
            && settings.create_from.is_some()
        {
            let file = sqlite_file(settings)?;
            let is_remembered =
                || self.shared.remembered.lock().expect("nothing panics while it notes").contains(&name);
            if !file.exists() && is_remembered() {
                let message = format!(
                    "there is no database file `{}` any more, and the state has links with its records: put it back, \
                     or forget them with `engine reset --links`, and the next run makes it anew from `create_from`",
                    file.display()
                );
                return Err(Fault::user(format!("opening `{name}`"), "", message));
            }
            if let Some(drafts) = &mut self.drafts
                && !file.exists()
            {
                drafts.divert(&name, settings)?;
            }
        }
        let connector = match &settings {
            Settings::Sqlite(settings) => connect_sqlite(settings)?,
            Settings::Files(settings) => connect_files(settings),
            Settings::Postgres(settings) => match connect_postgres(settings) {
                Ok(connector) => connector,
                // Nothing was asked of a server yet: it is the address that is wrong.
                Err(fault) => {
                    let place = self.loaded.lead(connection).place;
                    diagnostics.push(Diagnostic::error(Code::BAD_VALUE, &place, fault.message));
                    return Ok(None);
                }
            },
        };
        let file = match &settings {
            Settings::Sqlite(settings) => Some(sqlite_file(settings)?),
            Settings::Postgres(_) | Settings::Files(_) => None,
        };
        let file = file.map(|file| (file.clone(), file_identity(&file)));
        opened.insert(name, Opened { settings: written, connector: connector.clone(), file });
        Ok(Some(connector))
    }

    /// The file of a connection whose database lies in one, or the folder of its
    /// files.
    pub(super) fn file(&self, connection: &Connection) -> Option<PathBuf> {
        let file = match settings(connection, &self.loaded.environment, &mut Diagnostics::new())? {
            Settings::Sqlite(settings) => sqlite_file(&settings).ok()?,
            Settings::Files(settings) => settings.folder,
            Settings::Postgres(_) => return None,
        };
        Some(std::fs::canonicalize(&file).unwrap_or(file))
    }

    /// What both systems tell of a mapping's objects. With a clock, a system
    /// that fails in passing is asked again.
    ///
    /// # Errors
    /// A system that failed us, before what the user wrote wrongly; of the two
    /// sides everything that is wrong has been said.
    pub(super) async fn describe(
        &mut self,
        mapping: &Mapping,
        world: Option<&dyn World>,
        diagnostics: &mut Diagnostics,
    ) -> Result<Both<Described>, Unready> {
        let Both { source, target } = self.look(mapping, world, diagnostics).await;
        match (source, target) {
            (Ok(source), Ok(target)) => Ok(Both::new(source, target)),
            (Err(Unready::Wrong) | Ok(_), Err(other)) | (Err(other), _) => Err(other),
        }
    }

    /// The same, each side for itself.
    pub(super) async fn look(
        &mut self,
        mapping: &Mapping,
        world: Option<&dyn World>,
        diagnostics: &mut Diagnostics,
    ) -> Both<Result<Described, Unready>> {
        let connectors = Both::from_fn(|side| {
            let connection = self.loaded.connection(mapping, side).ok_or(Unready::Wrong)?;
            if let (None, Some(fault)) = (world, self.away.get(&connection.full_name())) {
                return Err(Unready::Fault(side, fault.clone()));
            }
            let connector = self.connect(connection, diagnostics).map_err(|fault| Unready::Fault(side, fault))?;
            Ok((connection, connector.ok_or(Unready::Wrong)?))
        });
        let ask = async |side: Side| {
            let (connection, connector) = connectors[side].as_ref().ok()?;
            let object = &mapping.side(side).object;
            Some(match world {
                Some(world) => {
                    retry_policy(connection)
                        .call(world, Connected(&connection.full_name()), || connector.describe(object))
                        .await
                }
                None => connector.describe(object).await,
            })
        };
        let (source, target) = futures::join!(ask(Side::Source), ask(Side::Target));
        let mut looked = Both::from_fn(|_| Err(Unready::Wrong));
        for (side, connector, described) in
            [(Side::Source, connectors.source, source), (Side::Target, connectors.target, target)]
        {
            looked[side] = match (connector, described) {
                (Ok((_, connector)), Some(Ok(Some(description)))) => Ok((connector, description)),
                (Ok((_, connector)), Some(Ok(None))) => {
                    diagnostics.push(no_object(mapping.side(side), &*connector).await);
                    Err(Unready::Wrong)
                }
                (Ok((connection, _)), Some(Err(fault))) => {
                    if fault.kind == FaultKind::External {
                        self.away.insert(connection.full_name(), fault.clone());
                    }
                    Err(Unready::Fault(side, fault))
                }
                (Ok(_), None) => Err(Unready::Wrong),
                (Err(unready), _) => Err(unready),
            };
        }
        looked
    }

    /// Everything a mapping runs on.
    pub(super) async fn prepare(
        &mut self,
        mapping: &Mapping,
        surroundings: &Surroundings,
        diagnostics: &mut Diagnostics,
    ) -> Result<Setup, Unready> {
        if let Some(refusal) = self.names.refusal(mapping) {
            diagnostics.push(refusal);
            return Err(Unready::Wrong);
        }
        let world = &*surroundings.world;
        let systems = self.describe(mapping, Some(world), diagnostics).await?;
        let described = systems.as_ref().map(|(_, description)| Some(description));
        let Some(Compiled { mut program, layout, filters }) = compile(mapping, described, diagnostics) else {
            return Err(Unready::Wrong);
        };
        let retry =
            Both::from_fn(|side| self.loaded.connection(mapping, side).map_or_else(RetryPolicy::default, retry_policy));
        let mut objects: Vec<Arc<dyn Object>> = Vec::with_capacity(2);
        let mut misunderstood = false;
        for side in Side::BOTH {
            let open = || systems[side].0.open(program.sides[side].access.clone());
            let connection = Connected(&program.sides[side].connection);
            let opened = retry[side].call(world, connection, open).await;
            let object = opened.map_err(|fault| Unready::Fault(side, fault))?;
            if program.sides[side].access.filter.is_some() {
                let asked = retry[side].call(world, connection, || object.understand()).await;
                match understood(asked, mapping.side(side), side, diagnostics) {
                    Err(Unready::Wrong) => misunderstood = true,
                    done => done?,
                }
            }
            objects.push(object);
        }
        let (Some(target), Some(source), false) = (objects.pop(), objects.pop(), misunderstood) else {
            return Err(Unready::Wrong);
        };
        let fingerprints =
            Both::from_fn(|side| fingerprint(&program, side, &systems[side].1, surroundings.home.as_deref()));
        let neighbours = self.neighbours(mapping, &program, &fingerprints, surroundings).await;
        program.name = self.names.of(&mapping.full_name).into();
        let fields = layout.into_iter().map(|(id, rules)| LayoutField { id, rules }).collect();
        Ok(Setup {
            program: Arc::new(program),
            objects: Both::new(source, target),
            fingerprints,
            layout: Layout { id: 0, fields, settled: false },
            filters,
            neighbours,
            retry,
            store: surroundings.store.clone(),
            world: surroundings.world.clone(),
            observer: surroundings.observer.clone(),
        })
    }
}

/// An object that its system does not have.
async fn no_object(written: &SideSpec, connector: &dyn Connector) -> Diagnostic {
    let message = format!("`{}` has no object `{}`", written.connection.value, written.object.value);
    let error = Diagnostic::error(Code::NO_SUCH_OBJECT, &written.object.place, message);
    let objects = connector.objects().await.unwrap_or_default();
    match crate::diagnostic::nearest(&written.object, objects.iter().map(|object| object.name.as_str())) {
        Some(near) => error.help(format!("did you mean `{near}`?")),
        None => error.help("`engine discover` lists its objects"),
    }
}

/// A `where` that the system does not understand is the user's. That the object
/// is there and may be read is known by then.
pub(super) fn understood(
    asked: Result<(), Fault>,
    written: &SideSpec,
    side: Side,
    diagnostics: &mut Diagnostics,
) -> Result<(), Unready> {
    match (asked, &written.filter) {
        (Ok(()), _) => Ok(()),
        (Err(fault), Some(filter)) if fault.kind == FaultKind::User && fault.lacks.is_none() => {
            let message = format!("`{}` does not understand this `where`: {}", written.connection.value, fault.message);
            let help = "`where` is handed over as it is written: a condition in the system's own language";
            diagnostics.push(Diagnostic::error(Code::BAD_FILTER, &filter.place, message).help(help));
            Err(Unready::Wrong)
        }
        (Err(fault), _) => Err(Unready::Fault(side, fault)),
    }
}

/// What every run of a process shares.
pub(super) struct Surroundings {
    pub store: Arc<dyn Store>,
    pub world: Arc<dyn World>,
    pub observer: Arc<dyn Observer>,
    /// The project's folder, where the state lies in it: one is moved with the
    /// other.
    pub home: Option<PathBuf>,
}

impl Surroundings {
    pub(super) fn new(
        context: Context<'_>,
        root: &Path,
        store: Arc<dyn Store>,
        world: Arc<dyn World>,
        observer: Arc<dyn Observer>,
    ) -> Surroundings {
        let is_inside = context.common.state.is_none();
        let home = is_inside.then(|| std::fs::canonicalize(root).ok()).flatten();
        Surroundings { store, world, observer, home }
    }
}

/// What one mapping runs on, for a command that is about this one only.
pub(super) async fn prepare_one(
    mapping: &Mapping,
    loaded: &Loaded,
    systems: &mut Systems<'_>,
    surroundings: &Surroundings,
    context: Context<'_>,
) -> Result<Setup, Failure> {
    let mut diagnostics = Diagnostics::new();
    systems.take_over_name(mapping, &*surroundings.store).await?;
    let setup = systems.prepare(mapping, surroundings, &mut diagnostics).await;
    let found = diagnostics.into_sorted();
    setup.map_err(|unready| match unready {
        Unready::Fault(side, fault) => {
            context.screen.aside(&found, &loaded.project);
            match loaded.connection(mapping, side).map(|own| loaded.lead(own)) {
                Some(lead) => {
                    let failure = Failure::of_system(fault, &lead);
                    Failure { message: format!("{side}: {}", failure.message), ..failure }
                }
                None => Trouble::Side(side, fault).into(),
            }
        }
        Unready::Wrong => {
            context.screen.aside(&found, &loaded.project);
            let first = found.iter().find(|diagnostic| diagnostic.severity == Severity::Error);
            let failure = match first {
                Some(Diagnostic { code, message, place, .. }) => {
                    Failure { code: Some(*code), place: place.clone(), ..Failure::wrong(message.clone()) }
                }
                None => Failure::wrong(format!("`{}` cannot be compiled", mapping.full_name)),
            };
            failure.help("`engine validate` shows everything that is wrong")
        }
    })
}
