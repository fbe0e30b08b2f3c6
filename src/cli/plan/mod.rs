//! `engine plan`: what a run would do; and the file it may be kept in.

mod file;

pub(super) use file::{Header, KeptChanges, KeptPlan, PlanWriter};

use std::sync::Arc;

use chrono::SecondsFormat;
use serde_json::{Value as Json, json};

use super::conflicts::dispute;
use super::keys::KeyNames;
use super::render::{Page, Tone};
use super::report::{Told, counts_grid, duration, emptied, overall};
use super::round::{Asked, How, Round, round};
use super::run::SideArgument;
use super::{Context, Done, Exit, Format, ProjectPath};
use crate::connector::Action;
use crate::diagnostic::Code;
use crate::record::{Side, Value};
use crate::run::{Options, Planned, RunReport, SystemWorld, World};

/// Changes shown for each mapping, unless all are asked for.
const SHOWN: usize = 20;

/// Print what a run would do, and write nothing: neither to a system nor to the state.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  engine plan mappings/
  engine plan mappings/ customers --all
  engine plan mappings/ --out plan.json
  engine plan mappings/ --format json")]
pub(super) struct PlanArguments {
    /// The project: a folder of YAML files, or one file.
    path: ProjectPath,
    /// Only these mappings. Default: all that are switched on.
    #[arg(value_name = "MAPPING")]
    mappings: Vec<String>,
    /// Show every change, not the first ones only.
    #[arg(long)]
    all: bool,
    /// Plan as if everything were read, whatever was read before.
    #[arg(long)]
    full: bool,
    /// Only the record of this key: a value, or `field=value,field=value`.
    #[arg(long, value_name = "KEY")]
    key: Vec<String>,
    /// The side that `--key` is of.
    #[arg(long, value_enum, default_value_t = SideArgument::Source, requires = "key")]
    side: SideArgument,
    /// Plan as if limits did not hold.
    #[arg(long)]
    over_limit: bool,
    /// Keep the plan in a file, a line of JSON for each change: `engine apply FILE` makes these changes and no others.
    #[arg(long, value_name = "FILE")]
    out: Option<std::path::PathBuf>,
}

pub(super) async fn plan(arguments: &PlanArguments, context: Context<'_>) -> Done {
    let header = Header {
        path: std::path::absolute(&arguments.path).unwrap_or_else(|_| arguments.path.clone()),
        env: context.env().map(str::to_owned),
        over_limit: arguments.over_limit,
    };
    let made_at = SystemWorld.now().to_rfc3339_opts(SecondsFormat::Secs, true);
    let out = arguments.out.as_ref().map(|out| PlanWriter::new(out, &header, &made_at)).transpose()?;
    let shown = if arguments.all { usize::MAX } else { SHOWN };
    // What nobody is shown is not kept in mind.
    let all = context.common.format == Format::Json && out.is_none();
    let options = Options {
        full: arguments.full,
        over_limit: arguments.over_limit,
        dry: true,
        named: (!all).then_some(shown),
        ..Options::default()
    };
    let asked = Asked {
        path: &arguments.path,
        mappings: &arguments.mappings,
        how: How {
            options,
            keys: arguments.key.iter().map(|key| (arguments.side.into(), key.clone())).collect(),
            out: out.clone(),
            ..How::default()
        },
        world: Arc::new(SystemWorld),
        history: None,
    };
    let Some(Round { told, drafted, .. }) = round(&asked, context).await? else { return Ok(Exit::Wrong) };
    for name in drafted {
        let mut page = Page::new();
        page.line(format!(
            "note: the database of `{name}` does not exist yet; the plan is for the one that `engine run` makes from its `create_from`"
        ));
        context.screen.note(&page);
    }
    let changes = out.as_ref().map(|out| out.finish()).transpose()?;
    let kept = arguments.out.as_ref().map(|out| out.display().to_string());
    context.screen.answer(
        || json!({ "status": overall(&told), "runs": told.iter().map(run_json).collect::<Vec<_>>(), "out": kept }),
        || {
            let mut page = page(&told, shown, &arguments.path.display().to_string());
            if let Some(kept) = &kept {
                page.gap();
                page.line(match changes {
                    Some(0) => format!("kept in `{kept}`: no changes"),
                    _ => format!("kept in `{kept}`; `engine apply {kept}` makes these changes, and no others"),
                });
            }
            page
        },
    );
    Ok(told.iter().map(Told::exit).max().unwrap_or(Exit::Well))
}

/// The entry of a run, with the changes it would make.
fn run_json(told: &Told) -> Json {
    let mut run = told.json();
    run["changes"] = told
        .report
        .planned
        .iter()
        .map(|planned| {
            let mut change = change_json(planned, &told.names);
            change["held"] = is_held(planned, &told.report).into();
            change
        })
        .collect();
    run["more_changes"] = (told.report.planned_in_all.changes - told.report.planned.len() as u64).into();
    run["new_conflicts"] = told.report.disputed.iter().map(|disputed| dispute(disputed, &told.names)).collect();
    run["unanswered"] = told.report.unanswered.into();
    run
}

/// A change of a mapping, as it is kept.
fn planned_json(mapping: &str, planned: &Planned, names: &KeyNames) -> Json {
    let mut line = json!({ "mapping": mapping });
    if let (Json::Object(line), Json::Object(change)) = (&mut line, change_json(planned, names)) {
        line.extend(change);
    }
    line
}

/// A change that was kept, for people.
pub(super) fn planned_line(change: &Json) -> String {
    let text = |name: &str| change[name].as_str().unwrap_or_default().to_owned();
    let key = |name: &str| {
        let parts = change[name].as_object().into_iter().flatten();
        parts
            .map(|(_, value)| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
            .collect::<Vec<_>>()
            .join(",")
    };
    let keys = [("source", key("source_key")), ("target", key("target_key"))];
    let keys = keys.iter().filter(|(_, key)| !key.is_empty()).map(|(side, key)| format!("{side} {key}"));
    let keys = keys.collect::<Vec<_>>().join(" <-> ");
    format!("{} on the {}: {keys}", text("action"), text("side"))
}

fn change_json(planned: &Planned, names: &KeyNames) -> Json {
    let fields: Vec<Json> = planned
        .fields
        .iter()
        .map(|change| {
            json!({
                "field": change.field,
                "before": change.before.as_ref().map(Value::to_json),
                "after": change.after.to_json(),
                "policy": change.policy,
            })
        })
        .collect();
    json!({
        "action": planned.action,
        "side": planned.side,
        "parked": planned.parked.map(Code::as_str),
        "source_key": names.json(Side::Source, planned.keys.source.as_ref()),
        "target_key": names.json(Side::Target, planned.keys.target.as_ref()),
        "fields": fields,
    })
}

fn page(runs: &[Told], shown: usize, path: &str) -> Page {
    let mut page = Page::new();
    for told in runs {
        page.gap();
        one_plan(told, shown, path, &mut page);
        emptied(told, path, &mut page);
    }
    if runs.is_empty() {
        page.line("no mapping to run");
    }
    page
}

fn one_plan(told: &Told, shown: usize, path: &str, page: &mut Page) {
    let report = &told.report;
    let took = (Tone::Faint, format!(" ({})", duration(report.duration_ms)));
    let count = report.planned_in_all.changes;
    let is_held_back = Side::BOTH.into_iter().any(|side| report.held[side].is_some());
    let made = count - if is_held_back { report.planned_in_all.deletes } else { 0 };
    let what = match (made, report.troubles.is_empty()) {
        (0, true) if !report.parked.is_empty() || report.counts.conflicts > 0 => "nothing to write".to_owned(),
        (0, true) => "nothing to do".to_owned(),
        (0, false) => "cannot be planned".to_owned(),
        (1, _) => "1 change".to_owned(),
        (made, _) => format!("{made} changes"),
    };
    page.spans([(Tone::Strong, report.mapping.clone()), (Tone::Plain, format!(": {what}")), took]);
    for wrong in &told.wrong {
        let place = wrong.place.as_ref().map(|place| format!("{place}: ")).unwrap_or_default();
        page.spans([(Tone::Bad, format!("  {} ", wrong.code)), (Tone::Plain, format!("{place}{}", wrong.message))]);
    }
    for trouble in told.troubles() {
        super::report::trouble(told, trouble, path, page);
    }
    if let Some(number) = told.unfinished {
        page.toned(Tone::Warn, format!("  {}", super::status::without_end(&report.mapping, number)));
        page.line("  while it is under way, what it has in hand is planned here as if nobody did it");
    }
    if report.unanswered > 0 {
        let writes = super::render::plural(report.unanswered, "write");
        page.toned(
            Tone::Warn,
            format!(
                "  {writes} of an earlier run without an answer: a run looks first what became of them, and may do less"
            ),
        );
    }
    for planned in &report.planned {
        change(planned, is_held(planned, report), page);
    }
    let left_off = count - report.planned.len() as u64;
    if left_off > 0 {
        page.toned(Tone::Faint, format!("  … and {left_off} more; `--all` shows them"));
    }
    for parked in report.parked.iter().take(shown) {
        page.spans([
            (Tone::Warn, "  ! park".to_owned()),
            (
                Tone::Plain,
                format!(" {}: {}{}", super::report::keys(&parked.keys), super::report::field(parked), parked.message),
            ),
        ]);
    }
    if report.parked.len() > shown {
        page.toned(Tone::Faint, format!("  … and {} more to park", report.parked.len() - shown));
    }
    for undecided in report.undecided.iter().take(shown) {
        let message = format!("  {} {}: {undecided}", super::report::keys(&undecided.keys), undecided.field);
        page.toned(Tone::Warn, message);
    }
    for disputed in report.disputed.iter().take(shown) {
        let keys = super::report::keys(&disputed.keys.clone().map(Some));
        let values = disputed.values.as_ref().map(show);
        page.spans([
            (Tone::Warn, "  ? conflict".to_owned()),
            (Tone::Plain, format!(" {keys} {}: source {}, target {}", disputed.field, values.source, values.target)),
        ]);
    }
    if report.disputed.len() > shown {
        page.toned(Tone::Faint, format!("  … and {} more in conflict", report.disputed.len() - shown));
    }
    if report.counts.conflicts > 0 {
        let conflicts = super::render::plural(report.counts.conflicts, "field");
        page.toned(Tone::Warn, format!("  {conflicts} would come into conflict, and wait for a person"));
    }
    if made > 0 {
        page.grid(counts_grid(&[report]));
    }
    held(report, page);
}

/// Deletes are made all or none.
fn is_held(planned: &Planned, report: &RunReport) -> bool {
    planned.action == Action::Delete && (report.held.source.is_some() || report.held.target.is_some())
}

/// Deletes that a run would hold back, though the plan lists them.
fn held(report: &RunReport, page: &mut Page) {
    for side in Side::BOTH {
        let Some((would, limit)) = report.held[side] else { continue };
        let deletes = super::render::plural(would, "delete");
        page.toned(
            Tone::Warn,
            format!(
                "  {deletes} on the {side} {} over the limit ({limit} left): a run would hold all of them back",
                if would == 1 { "is" } else { "are" }
            ),
        );
        page.line("  `--over-limit` lets them through, once");
    }
}

fn change(planned: &Planned, held: bool, page: &mut Page) {
    let (sign, word, tone) = match planned.action {
        Action::Create => ("+", "create", Tone::Good),
        Action::Update => ("~", "update", Tone::Warn),
        Action::Delete if held => ("-", "hold back the delete", Tone::Warn),
        Action::Delete => ("-", "delete", Tone::Bad),
    };
    let parked = planned.parked.map(|code| format!("  (parked before: {})", code.as_str()));
    page.spans([
        (tone, format!("  {sign} {word}")),
        (Tone::Plain, format!(" on the {}: {}", planned.side, super::report::keys(&planned.keys))),
        (Tone::Warn, parked.unwrap_or_default()),
    ]);
    for field in &planned.fields {
        let after = show(&field.after);
        let values = match &field.before {
            Some(before) if planned.action != Action::Create => format!("{} -> {after}", show(before)),
            _ => after,
        };
        let policy = field.policy.map(|policy| format!("  (in conflict: {policy})")).unwrap_or_default();
        page.spans([(Tone::Faint, format!("      {}: ", field.field)), (Tone::Plain, values), (Tone::Warn, policy)]);
    }
}

/// A value for people: as JSON, cut where it is long. The blanks that a field
/// is padded with are counted, not printed.
pub(super) fn show(value: &Value) -> String {
    const LONGEST: usize = 60;
    let (text, blanks) = match value {
        Value::Text(text) => {
            let cut = text.trim_end_matches(' ');
            let blanks = text.len() - cut.len();
            if blanks > 2 { (Value::text(cut).to_json().to_string(), blanks) } else { (value.to_json().to_string(), 0) }
        }
        other => (other.to_json().to_string(), 0),
    };
    let mut text = if text.chars().count() > LONGEST {
        format!("{}…", text.chars().take(LONGEST - 1).collect::<String>())
    } else {
        text
    };
    if blanks > 0 {
        text += " and ";
        text += &blanks.to_string();
        text += " blanks";
    }
    text
}
