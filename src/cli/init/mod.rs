//! `engine init`: a project that runs at once.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::json;
use url::Url;

use super::discover::Look;
use super::loaded::load;
use super::render::Page;
use super::scaffold::{Half, scaffold, scalar};
use super::{Context, Done, Exit, Failure};
use crate::record::{Both, Side};

/// Begin a project: its connections and a first mapping, which runs as it is.
///
/// With two addresses the mapping pairs the fields that are most alike, and is to be read before it runs. Without any
/// it is an example of two small SQLite databases. On a terminal, what is not given is asked for.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  engine init
  engine init sync/ --source postgres://me@erp.example/erp --source-object customers --target sqlite:///var/lib/shop.db
  engine init sync/ --example

A password in an address is not written down: the file reads it from the environment.")]
pub(super) struct InitArguments {
    /// The folder, made where it is missing.
    #[arg(default_value = ".")]
    folder: PathBuf,
    /// Where records come from: `postgres://user@host:5432/database`, or an SQLite file.
    #[arg(long, value_name = "ADDRESS", requires = "target")]
    source: Option<String>,
    /// The table or view there.
    #[arg(long, value_name = "OBJECT", requires = "source")]
    source_object: Option<String>,
    /// Where they go.
    #[arg(long, value_name = "ADDRESS", requires = "source")]
    target: Option<String>,
    /// The table there. Default: the one that is most alike.
    #[arg(long, value_name = "OBJECT", requires = "target")]
    target_object: Option<String>,
    /// The example, without being asked.
    #[arg(long, conflicts_with = "source")]
    example: bool,
}

/// A file of the project, and what stands in it.
type Written = (&'static str, &'static str);

const EXAMPLE: [Written; 4] = [
    ("connections.yaml", include_str!("example-connections.yaml")),
    ("products.yaml", include_str!("example-products.yaml")),
    ("office.sql", include_str!("example-office.sql")),
    ("shop.sql", include_str!("example-shop.sql")),
];

pub(super) async fn init(arguments: &InitArguments, context: Context<'_>) -> Done {
    let mut files = Files::begin(&arguments.folder)?;
    let asked = Both::new(&arguments.source, &arguments.target);
    let addresses = if asked.source.is_some() || arguments.example {
        asked.map(Clone::clone)
    } else {
        let of = |side: Side| {
            let question =
                format!("address of the {side} (postgres://… or an SQLite file), or nothing for an example:");
            context.screen.ask(&question).filter(|address| !address.is_empty())
        };
        let source = of(Side::Source);
        let target = source.as_ref().and_then(|_| of(Side::Target));
        Both::new(source, target)
    };
    match (addresses.source, addresses.target) {
        (Some(source), Some(target)) => {
            let objects = Both::new(arguments.source_object.clone(), arguments.target_object.clone());
            between(&Both::new(source, target), objects, &mut files, context).await?;
        }
        _ => {
            for (name, text) in EXAMPLE {
                files.write(name, text)?;
            }
        }
    }
    let written = files.keep();
    let folder = arguments.folder.display();
    context.screen.answer(
        || json!({ "folder": folder.to_string(), "files": written }),
        || {
            let mut page = Page::new();
            page.line(format!("written: {}", written.join(", ")));
            page.line(format!(
                "next: `engine plan {folder}` shows what a run would do, `engine run {folder} --once` does it"
            ));
            page
        },
    );
    Ok(Exit::Well)
}

/// Writes connections and a mapping between two systems.
async fn between(
    addresses: &Both<String>,
    objects: Both<Option<String>>,
    files: &mut Files,
    context: Context<'_>,
) -> Result<(), Failure> {
    let mut named = Both { source: name(&addresses.source), target: name(&addresses.target) };
    if named.source == named.target {
        named = Both::new(format!("{}_source", named.source), format!("{}_target", named.target));
    }
    let mut text = String::from("# The systems. `engine check` reaches each of them.\nconnections:\n");
    for side in Side::BOTH {
        let (settings, variable) = settings(&addresses[side], &named[side])?;
        let _ = writeln!(text, "  {}: {settings}", scalar(&named[side]));
        if let Some(variable) = variable.filter(|variable| std::env::var_os(variable).is_none()) {
            let help = format!(
                "`export {variable}=…` as it stands in the address, then the same again: the file reads it from there"
            );
            return Err(Failure::wrong("a password in an address is not written down").help(help));
        }
    }
    files.write("connections.yaml", &text)?;
    let loaded = load(&files.folder, context.env());
    let mut look = Look::new(&files.folder, &loaded, context);
    let source = look.connection(&named.source)?;
    let Some(system) = look.connect(source)? else { return Err(Failure::wrong("the source cannot be set up")) };
    let object = match objects.source {
        Some(object) => object,
        None => {
            let known: Vec<String> =
                look.objects(source, &*system).await?.into_iter().map(|object| object.name).collect();
            let asked = || context.screen.ask(&format!("which object of the source ({})?", known.join(", ")));
            match known.as_slice() {
                [one] => one.clone(),
                _ => asked().ok_or_else(|| {
                    Failure::wrong("which object of the source is meant?")
                        .help(format!("name it with `--source-object`; there are: {}", known.join(", ")))
                })?,
            }
        }
    };
    let description = look.describe(source, &*system, &object).await?;
    let to: Vec<String> = [Some(named.target.clone()), objects.target].into_iter().flatten().collect();
    let Some((_, other_object, its)) = look.counterpart(source, &description, &to).await? else {
        return Err(Failure::wrong("the target cannot be set up"));
    };
    let halves = Both::new(
        Half { connection: &named.source, object: &object, description: &description },
        Half { connection: &named.target, object: &other_object, description: &its },
    );
    let Some(mapping) = scaffold(&halves) else {
        let message = format!("no field of `{object}` is like one of `{other_object}`");
        return Err(Failure::wrong(message).help("name the other side with `--target-object`"));
    };
    files.write("mapping.yaml", &mapping)
}

/// The settings of a connection in YAML, and the variable that has to be set
/// for it.
fn settings(address: &str, name: &str) -> Result<(String, Option<String>), Failure> {
    if !address.starts_with("postgres://") && !address.starts_with("postgresql://") {
        let file = address.strip_prefix("sqlite://").unwrap_or(address);
        if file.contains("://") {
            let help = "`postgres://user@host:5432/database` or an SQLite file; other systems are written by hand";
            return Err(Failure::wrong(format!("`{address}` is no address that is known here")).help(help));
        }
        let file = std::path::absolute(file).map_err(|error| Failure::wrong(format!("`{file}`: {error}")))?;
        if !file.is_file() {
            return Err(Failure::wrong(format!("there is no file `{}`", file.display())));
        }
        return Ok((
            format!("{{ connector: sqlite, url: {} }}", scalar(&format!("sqlite://{}", file.display()))),
            None,
        ));
    }
    let mut url = Url::parse(address)
        .map_err(|problem| Failure::wrong(format!("an address of PostgreSQL cannot be read: {problem}")))?;
    if url.password().is_none() {
        return Ok((format!("{{ connector: postgres, url: {} }}", scalar(address)), None));
    }
    let variable = format!("{}_PASSWORD", name.to_uppercase().replace(['-', '.'], "_"));
    // An address that has a password takes another one.
    let _replaced = url.set_password(Some("PASSWORD"));
    let address = url.as_str().replacen(":PASSWORD@", &format!(":${{{variable}}}@"), 1);
    Ok((format!("{{ connector: postgres, url: {} }}", scalar(&address)), Some(variable)))
}

/// What a connection is called: as the database, or the file.
fn name(address: &str) -> String {
    let path = address.split(['?', '#']).next().unwrap_or_default();
    let last = path.rsplit('/').next().unwrap_or_default();
    let stem = Path::new(last).file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let plain: String = stem.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
    let starts = plain.starts_with(|c: char| c.is_ascii_alphabetic());
    if starts { plain.to_lowercase() } else { format!("system{}", plain.to_lowercase()) }
}

/// The files that are written; gone again unless they are kept.
struct Files {
    folder: PathBuf,
    made_folder: bool,
    written: Vec<String>,
}

impl Files {
    fn begin(folder: &Path) -> Result<Files, Failure> {
        let refused = |error: std::io::Error| Failure::wrong(format!("`{}`: {error}", folder.display()));
        let made_folder = !folder.exists();
        std::fs::create_dir_all(folder).map_err(refused)?;
        let is_yaml = |entry: &std::fs::DirEntry| {
            entry.path().extension().is_some_and(|ending| ending == "yaml" || ending == "yml")
        };
        if let Some(there) = std::fs::read_dir(folder).map_err(refused)?.flatten().find(is_yaml) {
            let message = format!("`{}` has `{}` already", folder.display(), there.file_name().display());
            return Err(Failure::wrong(message).help("a project is begun in a folder of its own"));
        }
        Ok(Files { folder: folder.to_owned(), made_folder, written: Vec::new() })
    }

    /// Writes a file that is not there yet.
    fn write(&mut self, name: &str, text: &str) -> Result<(), Failure> {
        let path = self.folder.join(name);
        let made = std::fs::File::create_new(&path);
        let mut file = made.map_err(|error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => Failure::wrong(format!("`{}` is there already", path.display()))
                .help("a project is begun in a folder of its own"),
            _ => Failure::wrong(format!("`{}`: {error}", path.display())),
        })?;
        self.written.push(name.to_owned());
        let done = std::io::Write::write_all(&mut file, text.as_bytes());
        done.map_err(|error| Failure::wrong(format!("`{}`: {error}", path.display())))
    }

    /// What was written, to stay.
    fn keep(mut self) -> Vec<String> {
        self.made_folder = false;
        std::mem::take(&mut self.written)
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        for name in &self.written {
            let _gone = std::fs::remove_file(self.folder.join(name));
        }
        if self.made_folder {
            let _gone = std::fs::remove_dir(&self.folder);
        }
    }
}
