//! Why a command cannot do what was asked.

use super::Exit;
use super::loaded::Lead;
use super::render::Screen;
use super::report::ungranted;
use crate::connector::{Fault, FaultKind};
use crate::diagnostic::{Code, Place, nearest};
use crate::run::Trouble;
use crate::state::StoreError;

/// What the user is told, and how the command ends.
#[derive(Debug)]
pub(super) struct Failure {
    pub exit: Exit,
    pub code: Option<Code>,
    pub message: String,
    pub help: Option<String>,
    /// Where in the YAML stands what it is about.
    pub place: Option<Place>,
}

impl Failure {
    /// What was asked for is wrong.
    pub(super) fn wrong(message: impl Into<String>) -> Failure {
        Failure { exit: Exit::Wrong, code: None, message: message.into(), help: None, place: None }
    }

    /// It belongs to the language and is not built yet.
    pub(super) fn not_yet(what: &str, help: &str) -> Failure {
        let message = format!("{what} is not built yet");
        Failure { code: Some(Code::NOT_YET), ..Failure::wrong(message).help(help) }
    }

    /// A name that is none of those there are.
    pub(super) fn unknown<'a>(what: &str, name: &str, known: impl IntoIterator<Item = &'a str>) -> Failure {
        let known: Vec<&str> = known.into_iter().collect();
        let failure = Failure::wrong(format!("there is no {what} `{name}`"));
        match (nearest(name, known.iter().copied()), known.as_slice()) {
            (Some(near), _) => failure.help(format!("did you mean `{near}`?")),
            (None, []) => failure,
            (None, known) => {
                let more = if known.len() > 12 { format!(" and {} more", known.len() - 12) } else { String::new() };
                failure.help(format!("there are {}{more}", crate::diagnostic::quoted(&known[..known.len().min(12)])))
            }
        }
    }

    /// A system failed us, at the connection that leads to it.
    pub(super) fn of_system(fault: Fault, lead: &Lead) -> Failure {
        let message = lead.words(&fault);
        Failure { message, place: Some(lead.place.clone()), ..Failure::from(fault) }
    }

    pub(super) fn help(self, help: impl Into<String>) -> Failure {
        Failure { help: Some(help.into()), ..self }
    }

    pub(super) fn show(&self, screen: &Screen) -> Exit {
        screen.refuse(self);
        self.exit
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Failure {
        let help = match &error {
            StoreError::Held(_) => Some("wait until it is done, or stop it".to_owned()),
            StoreError::Leased { .. } => Some(
                "wait until it is done, or stop it; the lease of an engine that died runs out by itself".to_owned(),
            ),
            StoreError::Unreachable(_) | StoreError::Unanswered(_) => {
                Some("is the server of the state up, and let in what `--state` or `ENGINE_STATE` names?".to_owned())
            }
            StoreError::Fenced => Some("another engine runs this mapping now; look with `engine status`".to_owned()),
            _ => None,
        };
        Failure {
            exit: Exit::Unreachable,
            code: Some(Code::STATE_FAILED),
            message: error.to_string(),
            help,
            place: None,
        }
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Failure {
        let exit = if fault.kind == FaultKind::Internal { Exit::Partial } else { Exit::Unreachable };
        let help = fault.lacks.as_deref().map(ungranted);
        Failure { exit, code: Some(Code::SYSTEM_FAILED), message: fault.to_string(), help, place: None }
    }
}

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Failure {
        match trouble {
            Trouble::Side(side, fault) => {
                let failure = Failure::from(fault);
                Failure { message: format!("{side}: {}", failure.message), ..failure }
            }
            Trouble::State(error) => error.into(),
            Trouble::Refused { code, message, .. } => {
                Failure { exit: refused(code), code: Some(code), message, help: None, place: None }
            }
            Trouble::Stopped => Failure::wrong("the engine was stopped"),
        }
    }
}

/// How a command ends where a run refused to go on: a mapping that lacks
/// something is what the user wrote, the rest is for the user to look at.
fn refused(code: Code) -> Exit {
    if code == Code::UNSAFE_FIRST { Exit::Wrong } else { Exit::Partial }
}

/// How a command ends for this trouble of a run.
pub(super) fn exit_of(trouble: &Trouble) -> Exit {
    match trouble {
        Trouble::Side(..) if trouble.is_unreachable() => Exit::Unreachable,
        Trouble::Side(..) => Exit::Partial,
        Trouble::State(_) => Exit::Unreachable,
        Trouble::Stopped => Exit::Partial,
        Trouble::Refused { code, .. } => refused(*code),
    }
}
