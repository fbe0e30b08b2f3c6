//! `engine explain`: the paragraph behind a code, and a mapping as it was
//! understood.

use serde_json::{Value as Json, json};

use super::loaded::load;
use super::render::{Cell, Grid, Page, Tone};
use super::{Context, Done, Exit, Failure, ProjectPath};
use crate::compile::{DeletePolicy, DeletedWhen, FieldProgram, Limit, Program, Reading, compile};
use crate::config::model::{Duration, Mapping};
use crate::diagnostic::{Code, Diagnostics};
use crate::record::{Both, Side};

/// Say more about a code, or show a mapping as it was understood.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  engine explain E0402
  engine explain mappings/ customers")]
pub(super) struct ExplainArguments {
    /// A diagnostic's code, or the project.
    #[arg(value_name = "CODE|PATH")]
    what: String,
    /// The mapping, where a project is named.
    mapping: Option<String>,
}

pub(super) fn explain(arguments: &ExplainArguments, context: Context<'_>) -> Done {
    let path = ProjectPath::from(&arguments.what);
    match (&arguments.mapping, Code::find(&arguments.what)) {
        (None, Some(code)) => {
            context.screen.answer(
                || json!({ "code": code, "title": code.title(), "paragraph": code.paragraph() }),
                || {
                    let mut page = Page::new();
                    page.spans([(Tone::Strong, format!("{code}: {}", code.title()))]);
                    page.gap();
                    for line in wrapped(code.paragraph(), 80) {
                        page.line(line);
                    }
                    page
                },
            );
            Ok(Exit::Well)
        }
        (None, None) if path.exists() => {
            let loaded = load(&path, context.env());
            let names: Vec<&str> = loaded.project.mappings.iter().map(|mapping| mapping.full_name.as_str()).collect();
            let help = match names.as_slice() {
                [] => format!("there is none in `{}`", path.display()),
                names => format!("there are {}", crate::diagnostic::quoted(names)),
            };
            Err(Failure::wrong("which mapping? none is named").help(help))
        }
        (None, None) => {
            let what = arguments.what.as_str();
            let is_numbered = |rest: &str| rest.len() > 1 && rest.bytes().all(|byte| byte.is_ascii_digit());
            let message = match what.strip_prefix(['E', 'e']).filter(|rest| is_numbered(rest)) {
                Some(_) => format!("there is no code `{what}`"),
                None => format!("`{what}` is neither a diagnostic's code nor a project"),
            };
            let help = "a code stands in brackets behind `error`, as in `E0101`; a project is a folder or a file";
            Err(Failure::wrong(message).help(help))
        }
        (Some(name), _) => program(&path, name, context),
    }
}

fn program(path: &std::path::Path, name: &str, context: Context<'_>) -> Done {
    let loaded = load(path, context.env());
    if loaded.diagnostics.has_errors() {
        context.screen.wrong(&loaded.sorted(), &loaded.project);
        return Ok(Exit::Wrong);
    }
    let mapping = loaded.one(name)?;
    let mut diagnostics = Diagnostics::new();
    let Some(compiled) = compile(mapping, Both::new(None, None), &mut diagnostics) else {
        context.screen.wrong(&diagnostics.into_sorted(), &loaded.project);
        return Ok(Exit::Wrong);
    };
    let program = &compiled.program;
    context.screen.answer(|| program_json(mapping, program), || page(mapping, program));
    Ok(Exit::Well)
}

fn key(program: &Program, side: Side) -> Vec<String> {
    let access = &program.sides[side].access;
    access.key.iter().map(|slot| access.shape.fields[*slot].name.to_string()).collect()
}

fn slot(program: &Program, side: Side, slot: usize) -> &str {
    &program.sides[side].access.shape.fields[slot].name
}

/// What stands on a side of a field: its slot, or what is computed there.
fn stands(program: &Program, field: &FieldProgram, side: Side) -> String {
    if let Some(way) = &field.toward[side] {
        return slot(program, side, way.slot).to_owned();
    }
    match &field.read[side] {
        Reading::Nothing => "-".to_owned(),
        Reading::Slot(at) | Reading::Computed { slot: Some(at), .. } => slot(program, side, *at).to_owned(),
        Reading::Constant(value) => format!("the value {}", value.to_json()),
        Reading::Template(template) => format!("template {}", template.text()),
        Reading::Computed { slot: None, .. } => "computed".to_owned(),
    }
}

/// What happens on the way towards a side; `None` where nothing goes there.
fn way(field: &FieldProgram, side: Side) -> Option<String> {
    let way = field.toward[side].as_ref()?;
    let computed = match &field.read[side.other()] {
        Reading::Computed { rules, .. } => rules.describe(),
        _ => String::new(),
    };
    let steps = [computed, way.rules.describe()];
    let steps: Vec<&str> = steps.iter().map(String::as_str).filter(|steps| !steps.is_empty()).collect();
    Some(if steps.is_empty() { "as it is".to_owned() } else { steps.join(", then ") })
}

fn direction(field: &FieldProgram) -> &'static str {
    match (field.writes(Side::Source), field.writes(Side::Target)) {
        (true, true) => "<->",
        (true, false) => "<-",
        _ => "->",
    }
}

fn deleted(program: &Program, side: Side) -> String {
    match &program.sides[side].deleted {
        DeletedWhen::Unknown if program.sides[side].access.cursor.is_none() => {
            "it is missing from the full listing".to_owned()
        }
        DeletedWhen::Unknown => "not noticed".to_owned(),
        DeletedWhen::Mark { slot: at, equals } => format!("{} = {}", slot(program, side, *at), equals.to_json()),
        DeletedWhen::When(_) => "an expression".to_owned(),
        DeletedWhen::Sweep(every) => format!("by a sweep every {}", Duration(*every)),
    }
}

fn deletes(program: &Program, side: Side) -> String {
    match &program.sides[side].deletes {
        DeletePolicy::Ignore => "left alone".to_owned(),
        DeletePolicy::Propagate => "deleted".to_owned(),
        DeletePolicy::Set(values) => {
            let set = values.iter().map(|(at, value)| format!("{} = {}", slot(program, side, *at), value.to_json()));
            format!("set to {}", set.collect::<Vec<_>>().join(", "))
        }
    }
}

fn limit(limit: Option<Limit>, default: &str) -> String {
    match limit {
        None => default.to_owned(),
        Some(Limit::Count(count)) => count.to_string(),
        Some(Limit::Percent(percent)) => format!("{percent} % of the links"),
    }
}

fn page(mapping: &Mapping, program: &Program) -> Page {
    let mut page = Page::new();
    page.toned(Tone::Strong, program.name.to_string());
    if let Some(description) = &mapping.description {
        page.line(description.value.clone());
    }
    page.gap();
    let mut sides = Grid::new(&["", "source", "target"]);
    let mut row = |what: &str, tell: &dyn Fn(Side) -> String| {
        sides.row(vec![
            Cell::text(what).tone(Tone::Faint),
            Cell::text(tell(Side::Source)),
            Cell::text(tell(Side::Target)),
        ]);
    };
    row("connection", &|side| program.sides[side].connection.clone());
    row("object", &|side| program.sides[side].access.object.clone());
    row("key", &|side| {
        let key = key(program, side);
        if key.is_empty() { "the primary key".to_owned() } else { key.join(", ") }
    });
    row("read", &|side| {
        let own = &program.sides[side];
        match (own.read, own.access.cursor) {
            (false, _) => "not for changes".to_owned(),
            (true, None) => "as a whole, each run".to_owned(),
            (true, Some(at)) => {
                format!("by {}, {} before the last", slot(program, side, at), Duration(own.overlap))
            }
        }
    });
    row("where", &|side| program.sides[side].access.filter.clone().unwrap_or_else(|| "-".to_owned()));
    row("deleted when", &|side| deleted(program, side));
    row("written", &|side| {
        let own = &program.sides[side];
        let may = [(own.may_create, "create"), (own.may_update, "update")];
        let may: Vec<&str> = may.iter().filter(|(may, _)| *may).map(|(_, word)| *word).collect();
        if may.is_empty() { "never".to_owned() } else { may.join(", ") }
    });
    row("when deleted there", &|side| deletes(program, side));
    page.grid(sides).gap();
    let mut fields = Grid::new(&["source", "", "target", "to the target", "to the source", "in conflict"]);
    for field in &program.fields {
        let two_way = field.is_two_way();
        fields.row(vec![
            Cell::text(stands(program, field, Side::Source)),
            Cell::text(direction(field)),
            Cell::text(stands(program, field, Side::Target)),
            Cell::text(way(field, Side::Target).unwrap_or_else(|| "-".to_owned())),
            Cell::text(way(field, Side::Source).unwrap_or_else(|| "-".to_owned())),
            Cell::text(if two_way { field.policy.as_str() } else { "-" }),
        ]);
    }
    page.grid(fields).gap();
    page.line(format!("records without a link: {}", matching(program)));
    if let Some(first) = program.first {
        page.line(format!("where they differ when they first meet: {}", first.as_str()));
    }
    page.line(format!(
        "limits: deletes {}, updates {}, creates {}",
        limit(program.limits.delete, "5 % of the links and at least 10, in a day"),
        limit(program.limits.update, "none"),
        limit(program.limits.create, "none"),
    ));
    if let Some(schedule) = &mapping.schedule {
        page.line(format!("schedule: {}", super::status::in_words(schedule)));
    }
    page
}

fn matching(program: &Program) -> String {
    let set = |fields: &Vec<usize>| {
        fields.iter().map(|field| program.fields[*field].name.as_str()).collect::<Vec<_>>().join(" and ")
    };
    match program.matching.as_slice() {
        [] => "matched by their key where it is mapped, else new".to_owned(),
        sets => format!("matched by {}", sets.iter().map(set).collect::<Vec<_>>().join(", else ")),
    }
}

fn program_json(mapping: &Mapping, program: &Program) -> Json {
    let side = |side: Side| {
        let own = &program.sides[side];
        json!({
            "connection": own.connection,
            "object": own.access.object,
            "key": key(program, side),
            "cursor": own.access.cursor.map(|at| slot(program, side, at)),
            "where": own.access.filter,
            "read": own.read,
            "deleted": deleted(program, side),
            "may_create": own.may_create,
            "may_update": own.may_update,
            "deletes": deletes(program, side),
        })
    };
    let field = |field: &FieldProgram| {
        json!({
            "field": field.name,
            "source": stands(program, field, Side::Source),
            "target": stands(program, field, Side::Target),
            "to_target": way(field, Side::Target),
            "to_source": way(field, Side::Source),
            "equal": field.equal.describe(),
            "policy": field.is_two_way().then(|| field.policy.as_str()),
            "required": field.required,
            "line": field.place.line(),
        })
    };
    json!({
        "mapping": &*program.name,
        "description": mapping.description.as_ref().map(|text| &text.value),
        "source": side(Side::Source),
        "target": side(Side::Target),
        "match": program.matching.iter().map(|set| set.iter().map(|field| program.fields[*field].name.clone()).collect::<Vec<_>>()).collect::<Vec<_>>(),
        "fields": program.fields.iter().map(field).collect::<Vec<_>>(),
    })
}

/// Words in lines of at most `width` characters.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}
