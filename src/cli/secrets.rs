//! `engine secrets`: what `${secret:NAME}` reads.

use std::io::Read;
use std::path::PathBuf;

use serde_json::json;

use super::home::refuse_unknown_environment;
use super::render::{Cell, Grid, Page};
use super::{Context, Done, Exit, Failure, ProjectPath};
use crate::config::secrets::{Key, Secrets, SecretsError};
use crate::config::{Environment, project_root};
use crate::diagnostic::Diagnostics;
use crate::run::{SystemWorld, World};

/// Keep passwords and tokens encrypted beside the state: `${secret:NAME}` reads them.
///
/// They are encrypted with a key that is not stored: `ENGINE_SECRETS_KEY` holds it, or `ENGINE_SECRETS_KEY_FILE` names
/// the file that does. Each environment (`--env`) has secrets of its own.
#[derive(Debug, clap::Subcommand)]
pub(super) enum SecretsCommand {
    Set(SetArguments),
    List(ListArguments),
    Remove(RemoveArguments),
    Rotate(RotateArguments),
    Key(KeyArguments),
}

/// Store a secret, which is read from standard input, or typed unseen.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  export ENGINE_SECRETS_KEY=\"$(engine secrets key)\"
  engine secrets set mappings/ crm_password
  engine secrets set mappings/ crm_password < password.txt

In a connection: password: \"${secret:crm_password}\"")]
pub(super) struct SetArguments {
    /// The project.
    path: ProjectPath,
    /// The secret's name: letters, digits, `_`, `-` and `.`.
    name: String,
}

/// List the names of the secrets, and when each was set. Needs no key.
#[derive(Debug, clap::Args)]
pub(super) struct ListArguments {
    /// The project.
    path: ProjectPath,
}

/// Remove a secret.
#[derive(Debug, clap::Args)]
pub(super) struct RemoveArguments {
    /// The project.
    path: ProjectPath,
    /// The secret's name.
    name: String,
}

/// Encrypt all secrets with another key.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  engine secrets key > new.key
  engine secrets rotate mappings/ --to new.key
  export ENGINE_SECRETS_KEY_FILE=new.key")]
pub(super) struct RotateArguments {
    /// The project.
    path: ProjectPath,
    /// The file that holds the new key.
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
}

/// Print a fresh key.
#[derive(Debug, clap::Args)]
pub(super) struct KeyArguments {}

pub(super) fn secrets(command: &SecretsCommand, context: Context<'_>) -> Done {
    match command {
        SecretsCommand::Set(arguments) => set(arguments, context),
        SecretsCommand::List(arguments) => list(arguments, context),
        SecretsCommand::Remove(arguments) => remove(arguments, context),
        SecretsCommand::Rotate(arguments) => rotate(arguments, context),
        SecretsCommand::Key(KeyArguments {}) => {
            let key = Key::make()?;
            context.screen.answer(|| json!({ "key": key }), || one_line(&key));
            Ok(Exit::Well)
        }
    }
}

/// Where the secrets of a project lie.
fn place(path: &ProjectPath, context: Context<'_>) -> Result<PathBuf, Failure> {
    if !path.exists() {
        return Err(Failure::wrong(format!("there is no folder or file `{}`", path.display())));
    }
    let root = project_root(path);
    refuse_unknown_environment(context.common, &root)?;
    Ok(Secrets::path(&root, context.env()))
}

/// The key that secrets are encrypted with now.
fn key(path: &ProjectPath, context: Context<'_>) -> Result<Key, Failure> {
    let mut diagnostics = Diagnostics::new();
    let environment = Environment::load(&project_root(path), context.env(), &mut diagnostics);
    Ok(Key::of(&environment)?)
}

fn set(SetArguments { path, name }: &SetArguments, context: Context<'_>) -> Done {
    if !Secrets::is_name(name) {
        let help = "use letters, digits, `_`, `-` and `.`";
        return Err(Failure::wrong(format!("`{name}` cannot be the name of a secret")).help(help));
    }
    let (place, key) = (place(path, context)?, key(path, context)?);
    let value = typed(name)?;
    if value.is_empty() {
        let help = "write it on standard input, or type it when it is asked for";
        return Err(Failure::wrong("the secret is empty").help(help));
    }
    Secrets::open_to_change(&place)?.set(name, &value, &key, SystemWorld.now())?;
    context.screen.answer(
        || json!({ "set": name, "file": place }),
        || one_line(&format!("`{name}` is stored: `${{secret:{name}}}` reads it")),
    );
    Ok(Exit::Well)
}

/// What stands on standard input, less the line end at its end.
fn typed(name: &str) -> Result<String, Failure> {
    let unread = |error: std::io::Error| Failure::wrong(format!("the secret cannot be read: {error}"));
    let terminal = console::Term::stderr();
    if std::io::IsTerminal::is_terminal(&std::io::stdin()) && terminal.is_term() {
        terminal.write_str(&format!("{name}: ")).map_err(unread)?;
        return terminal.read_secure_line().map_err(unread);
    }
    let mut value = String::new();
    std::io::stdin().read_to_string(&mut value).map_err(unread)?;
    value.truncate(value.trim_end_matches(['\r', '\n']).len());
    Ok(value)
}

fn list(ListArguments { path }: &ListArguments, context: Context<'_>) -> Done {
    let secrets = Secrets::open(&place(path, context)?)?;
    context.screen.answer(
        || {
            let secret = |(name, at)| json!({ "name": name, "changed_at": at });
            json!({ "secrets": secrets.names().map(secret).collect::<Vec<_>>() })
        },
        || {
            let mut grid = Grid::new(&["secret", "set at"]);
            for (name, at) in secrets.names() {
                grid.row(vec![Cell::text(name), Cell::text(at.format("%Y-%m-%d %H:%M:%S UTC").to_string())]);
            }
            let mut page = Page::new();
            match secrets.names().next() {
                None => page.line("there are no secrets"),
                Some(_) => page.grid(grid),
            };
            page
        },
    );
    Ok(Exit::Well)
}

fn remove(RemoveArguments { path, name }: &RemoveArguments, context: Context<'_>) -> Done {
    Secrets::open_to_change(&place(path, context)?)?.remove(name)?;
    context.screen.answer(|| json!({ "removed": name }), || one_line(&format!("`{name}` is removed")));
    Ok(Exit::Well)
}

fn rotate(RotateArguments { path, to }: &RotateArguments, context: Context<'_>) -> Done {
    let (place, key) = (place(path, context)?, key(path, context)?);
    let count = Secrets::open_to_change(&place)?.rotate(&key, &Key::read(to)?)?;
    context.screen.answer(
        || json!({ "rotated": count }),
        || one_line(&format!("encrypted with the new key: {}", super::render::plural(count as u64, "secret"))),
    );
    Ok(Exit::Well)
}

fn one_line(text: &str) -> Page {
    let mut page = Page::new();
    page.line(text);
    page
}

impl From<SecretsError> for Failure {
    fn from(error: SecretsError) -> Failure {
        Failure::wrong(error.to_string()).help(error.help())
    }
}
