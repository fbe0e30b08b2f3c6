//! `engine validate`: checks everything that was written.

use super::home::open;
use super::loaded::{Loaded, load};
use super::render::{Page, plural};
use super::report::ungranted;
use super::wire::{Systems, Unready, understood};
use super::{Context, Done, Exit, ProjectPath};
use crate::compile::{DeletePolicy, Program, Reading, Survey, survey};
use crate::config::environments;
use crate::config::model::Mapping;
use crate::connector::{Access, Connector, Description, Fault};
use crate::diagnostic::{Code, Diagnostic, Diagnostics, Place, Severity, quoted};
use crate::record::Side;
use std::sync::Arc;

/// Check everything you wrote: offline and without secrets, unless `--online`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  engine validate mappings/
  engine validate mappings/customers.yaml --format json
  engine validate mappings/ --online")]
pub(super) struct ValidateArguments {
    /// The project: a folder of YAML files, or one file.
    path: ProjectPath,
    /// Also ask the systems: whether objects and fields are there, what types they have, what we may do.
    #[arg(long)]
    online: bool,
}

pub(super) async fn validate(arguments: &ValidateArguments, context: Context<'_>) -> Done {
    let mut loaded = load(&arguments.path, context.env());
    let mut diagnostics = Diagnostics::new();
    diagnostics.extend(loaded.diagnostics.iter().cloned());
    if context.env().is_none() && loaded.project.root == arguments.path {
        in_environments(&mut loaded, &mut diagnostics);
    }
    if loaded.project.mappings.is_empty() && !diagnostics.has_errors() {
        diagnostics.push(no_mapping(&arguments.path));
    }
    if !diagnostics.has_errors() && loaded.project.root == arguments.path {
        left_behind(&loaded, context, &mut diagnostics).await;
    }
    let mut unreachable = false;
    if arguments.online {
        let mut systems = Systems::for_looking(&loaded);
        let on = loaded.project.in_order().into_iter().filter(|mapping| loaded.switched_off(mapping).is_none());
        let (sound, unsound): (Vec<_>, Vec<_>) = on.partition(|mapping| is_sound(mapping, &loaded));
        for mapping in unsound {
            let mut page = Page::new();
            let name = &mapping.full_name;
            page.line(format!(
                "note: the systems were not asked about `{name}`: mend first what is wrong with it here"
            ));
            context.screen.note(&page);
        }
        for mapping in sound {
            let mut found = Diagnostics::new();
            unreachable |= !online(mapping, &loaded, &mut systems, &mut found).await;
            let told = |known: &Diagnostic, new: &Diagnostic| known.code == new.code && known.place == new.place;
            let new = found.iter().filter(|new| !loaded.diagnostics.iter().any(|known| told(known, new)));
            diagnostics.extend(new.cloned());
        }
        for name in systems.drafted() {
            let mut page = Page::new();
            page.line(format!(
                "note: the database of `{name}` does not exist yet; looked at is what its `create_from` makes"
            ));
            context.screen.note(&page);
        }
    }
    let wrong = diagnostics.has_errors();
    context.screen.verdict(&diagnostics.into_sorted(), &loaded.project);
    Ok(match (unreachable, wrong) {
        (true, _) => Exit::Unreachable,
        (false, true) => Exit::Wrong,
        (false, false) => Exit::Well,
    })
}

/// What is wrong with the project in one of its environments only.
fn in_environments(loaded: &mut Loaded, diagnostics: &mut Diagnostics) {
    for env in environments(&loaded.project.root) {
        let there = load(&loaded.project.path, Some(&env));
        let told: Vec<Diagnostic> = diagnostics.iter().cloned().collect();
        diagnostics.extend(there.diagnostics.iter().filter(|diagnostic| !told.contains(diagnostic)).cloned());
        loaded.project.add_sources(there.project);
    }
}

/// Links whose mapping no file has any more. A state that cannot be looked at
/// says nothing about what was written.
async fn left_behind(loaded: &Loaded, context: Context<'_>, diagnostics: &mut Diagnostics) {
    let Ok(store) = open(context, &loaded.project.root).await else { return };
    let Ok(known) = store.mappings().await else { return };
    let is_former = |name: &String| loaded.project.mappings.iter().any(|one| one.former_name().as_ref() == Some(name));
    for name in known.iter().filter(|name| loaded.project.mapping(name).is_none() && !is_former(name)) {
        let Ok(links @ 1..) = store.count_links(name).await else { continue };
        let message =
            format!("the state has {} of `{name}`, and no file has that mapping any more", plural(links, "link"));
        let help = format!(
            "was it renamed? under another name it begins anew, unless that one says `was: {name}`; or forget the \
             links with `engine reset {} {name} --links`",
            loaded.project.root.display()
        );
        let left = Diagnostic::nowhere(Code::LEFT_BEHIND, message).help(help);
        diagnostics.push(Diagnostic { severity: Severity::Warning, ..left });
    }
}

/// Nothing is wrong with what is written of a mapping and its connections that
/// keeps its systems from being asked: a policy that cannot apply does not.
fn is_sound(mapping: &Mapping, loaded: &Loaded) -> bool {
    let wrong_in = |whole: &Place| {
        let errors = loaded
            .diagnostics
            .iter()
            .filter(|diagnostic| diagnostic.severity == Severity::Error && diagnostic.code != Code::IDLE_POLICY);
        errors.filter_map(|error| error.place.as_ref()).any(|place| {
            place.file == whole.file && whole.span.start <= place.span.start && place.span.start <= whole.span.end
        })
    };
    let connection_is_sound =
        |side| loaded.connection(mapping, side).is_some_and(|connection| !wrong_in(&connection.place));
    !wrong_in(&mapping.place) && Side::BOTH.into_iter().all(connection_is_sound)
}

/// Connections alone may be a beginning; nothing runs with them.
fn no_mapping(path: &std::path::Path) -> Diagnostic {
    let message = format!("there is no mapping in `{}`", path.display());
    let help = "a mapping is a document that begins with `mapping: NAME`";
    Diagnostic { severity: Severity::Warning, ..Diagnostic::nowhere(Code::NOTHING_THERE, message).help(help) }
}

/// Checks a mapping against what its systems tell; false where one of them
/// could not be asked.
async fn online(mapping: &Mapping, loaded: &Loaded, systems: &mut Systems<'_>, diagnostics: &mut Diagnostics) -> bool {
    let looked = systems.look(mapping, None, diagnostics).await;
    // A side that tells nothing is taken as it is written, so that all is said of the other.
    let descriptions = looked.as_ref().map(|looked| looked.as_ref().ok().map(|(_, description)| description));
    let survey = survey(mapping, descriptions, diagnostics);
    let mut reached = true;
    for side in Side::BOTH {
        let understood = match &looked[side] {
            Ok((connector, description)) => {
                one_side(mapping, &survey, side, description, diagnostics);
                filter(mapping, &survey.program, side, &**connector, description, diagnostics).await
            }
            Err(Unready::Fault(side, fault)) => Err(Unready::Fault(*side, fault.clone())),
            Err(Unready::Wrong) => Err(Unready::Wrong),
        };
        if let Err(Unready::Fault(side, fault)) = understood {
            reached &= unreached(mapping, loaded, side, &fault, diagnostics);
        }
    }
    reached
}

/// Whether the system understands the side's `where`.
async fn filter(
    mapping: &Mapping,
    program: &Program,
    side: Side,
    connector: &dyn Connector,
    description: &Description,
    diagnostics: &mut Diagnostics,
) -> Result<(), Unready> {
    let own = &program.sides[side].access;
    if own.filter.is_none() {
        return Ok(());
    }
    // Of what is read only the fields that are there: the others have been told.
    let mut shape = (*own.shape).clone();
    shape.fields.retain(|field| description.shape.slot(&field.name).is_some());
    if shape.fields.is_empty() {
        shape = description.shape.clone();
    }
    let access = Access { shape: Arc::new(shape), key: Vec::new(), cursor: None, start: None, ..own.clone() };
    let object = connector.open(access).await.map_err(|fault| Unready::Fault(side, fault))?;
    understood(object.understand().await, mapping.side(side), side, diagnostics)
}

/// A system that could not be asked, at the connection that leads to it.
fn unreached(mapping: &Mapping, loaded: &Loaded, side: Side, fault: &Fault, diagnostics: &mut Diagnostics) -> bool {
    let lead = loaded.connection(mapping, side).map(|connection| loaded.lead(connection));
    let place = lead.as_ref().map_or(&mapping.place, |lead| &lead.place);
    let words = lead.as_ref().map_or_else(|| fault.to_string(), |lead| lead.words(fault));
    let error = Diagnostic::error(Code::SYSTEM_FAILED, place, words);
    diagnostics.push(match &fault.lacks {
        Some(lacks) => error.help(ungranted(lacks)),
        None => error.help("`engine check` looks at every connection"),
    });
    false
}

/// What the mapping needs of a side, and what a user should know of it.
fn one_side(mapping: &Mapping, survey: &Survey, side: Side, description: &Description, diagnostics: &mut Diagnostics) {
    let program = &survey.program;
    let place = &mapping.side(side).object.place;
    let object = &description.name;
    let own = &program.sides[side];
    let creates = own.may_create && program.writes(side);
    let updates = own.may_update && program.writes(side) || matches!(own.deletes, DeletePolicy::Set(_));
    let needs = [
        (true, description.can_read, "read", "read"),
        (creates, description.can_create, "create records in", "create"),
        (updates, description.can_update, "update records of", "update"),
        (matches!(own.deletes, DeletePolicy::Propagate), description.can_delete, "delete records of", "delete"),
    ];
    for (needed, may, what, word) in needs {
        if needed && !may {
            let message = format!("we may not {what} `{object}`, and the mapping does");
            let help = format!(
                "grant the right to {word}, or take it from the mapping with `allow`, `deletes` or `direction`"
            );
            diagnostics.push(Diagnostic::error(Code::NO_RIGHT, place, message).help(help));
        }
    }
    keys(mapping, survey, side, description, diagnostics);
    indexes(mapping, program, side, description, diagnostics);
    if own.access.cursor.is_some() && own.read && !description.sees_open_transactions {
        let overlap = crate::config::model::Duration(own.overlap);
        let message = format!(
            "`{object}` does not tell of transactions that are still open: a change that is committed later than the overlap of `{overlap}` after its stamp is not seen"
        );
        let place = mapping.side(side).cursor.as_ref().map_or(place, |cursor| &cursor.place);
        let note = Diagnostic::note(Code::SYSTEM_NOTE, place, message);
        diagnostics.push(note.help("give the cursor an `overlap` longer than the longest transaction"));
    }
    for note in &description.notes {
        diagnostics.push(Diagnostic::note(Code::SYSTEM_NOTE, place, format!("`{object}`: {note}")));
    }
}

/// What is looked up on a side is looked for by an index, or in all of it.
fn indexes(mapping: &Mapping, program: &Program, side: Side, description: &Description, diagnostics: &mut Diagnostics) {
    let Some(indexed) = &description.indexed else { return };
    let own = &program.sides[side];
    let name = |slot: usize| own.access.shape.fields[slot].name.as_str();
    // Of a field that is not there that has been said.
    let has_index =
        |slot: usize| description.shape.slot(name(slot)).is_none() || indexed.iter().any(|known| known == name(slot));
    let object = &description.name;
    if let (Some(slot), Some(cursor), true) = (own.access.cursor, &mapping.side(side).cursor, own.read)
        && !has_index(slot)
    {
        let message = format!(
            "no index of `{object}` begins with the cursor `{}`: each run reads all of it to find what changed",
            name(slot)
        );
        let help = format!("create an index on `{}` of the {side}", name(slot));
        diagnostics.push(Diagnostic::warning(Code::NOT_INDEXED, &cursor.place, message).help(help));
    }
    for (fields, names) in program.matching.iter().zip(&mapping.match_on) {
        // Where the side cannot be asked by a field, it is read once instead.
        let slots = fields.iter().map(|field| match &program.fields[*field] {
            field if !field.equal.is_empty() => None,
            field => match field.read[side] {
                Reading::Slot(slot) => Some((slot, field.writes(side))),
                _ => None,
            },
        });
        let Some(slots) = slots.collect::<Option<Vec<_>>>().filter(|slots| !slots.is_empty()) else { continue };
        let asked = own.read || program.sides[side.other()].read && slots.iter().all(|(_, written)| *written);
        if !asked || slots.iter().any(|(slot, _)| has_index(*slot)) {
            continue;
        }
        let names_here: Vec<&str> = slots.iter().map(|(slot, _)| name(*slot)).collect();
        let message = format!(
            "no index of `{object}` begins with {}: records are looked for there by reading all of it",
            quoted(&names_here)
        );
        let place = names.first().map_or(&mapping.place, |name| &name.place);
        let help = format!("create an index on {} of the {side}", quoted(&names_here));
        diagnostics.push(Diagnostic::warning(Code::NOT_INDEXED, place, message).help(help));
    }
}

/// Keys have to tell records apart, and those of new records have to come from
/// somewhere.
fn keys(mapping: &Mapping, survey: &Survey, side: Side, description: &Description, diagnostics: &mut Diagnostics) {
    let Survey { program, is_whole } = survey;
    let own = &program.sides[side];
    let written = mapping.side(side);
    let fields: Vec<_> = own.access.key.iter().map(|slot| &own.access.shape.fields[*slot]).collect();
    let names: Vec<&str> = fields.iter().map(|field| field.name.as_str()).collect();
    let creates = own.may_create && program.writes(side) && *is_whole;
    if creates {
        not_filled(program, side, description, &written.object.place, diagnostics);
    }
    // Of a key that is not there, or of an object without one, that has been said.
    if names.is_empty() || names.iter().any(|name| description.shape.slot(name).is_none()) {
        return;
    }
    let place = written.key.first().map_or(&written.object.place, |name| &name.place);
    let unique = description.unique.iter().any(|set| set.iter().all(|name| names.contains(&name.as_str())));
    if !unique && (description.can_create || !description.unique.is_empty()) {
        let message = format!("nothing in `{}` keeps {} unique", description.name, quoted(&names));
        let help = "two records of one key cannot be told apart; choose another `key`, or give it a unique index";
        diagnostics.push(Diagnostic::warning(Code::KEY_NOT_UNIQUE, place, message).help(help));
    }
    if creates {
        for (field, filled) in fields.iter().zip(&own.key_fields) {
            if filled.is_none() && !field.generated {
                let message = format!("nothing fills the key field `{}` of records created on the {side}", field.name);
                let help = "the system does not give it to us: map the field, grant the right on its sequence where E0608 names one, or allow only updates with `allow`";
                diagnostics.push(Diagnostic::error(Code::KEY_NOT_FILLED, place, message).help(help));
            }
        }
    }
}

/// Fields that a record cannot be created without, and nothing gives it.
fn not_filled(program: &Program, side: Side, description: &Description, place: &Place, diagnostics: &mut Diagnostics) {
    let own = &program.sides[side].access;
    let ways = program.fields.iter().filter_map(|field| field.toward[side].as_ref());
    let filled: Vec<usize> = ways.map(|way| way.slot).chain(own.key.iter().copied()).collect();
    let names: Vec<&str> = filled.iter().map(|slot| own.shape.fields[*slot].name.as_str()).collect();
    for field in &description.shape.fields {
        if field.nullable || field.generated || field.read_only || names.contains(&field.name.as_str()) {
            continue;
        }
        let message = format!(
            "nothing fills `{}` of records created on the {side}, and `{}` takes no null there",
            field.name, description.name
        );
        let help = "map the field, give it a default in the system, or allow only updates with `allow`";
        diagnostics.push(Diagnostic::warning(Code::FIELD_NOT_FILLED, place, message).help(help));
    }
}
