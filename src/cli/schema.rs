//! `engine schema`: JSON Schemas of what one writes, and the manual they hold.

use super::{Context, Exit};
use crate::compile::rule;
use crate::config::{reference, schema as schemas};

/// Print the JSON Schema of a document, with which an editor completes and explains.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  engine schema mapping > schema/mapping.schema.json
  engine schema connections > schema/connections.schema.json
  engine schema mapping --markdown | less

In a file: # yaml-language-server: $schema=../schema/mapping.schema.json")]
pub(super) struct SchemaArguments {
    /// Which document.
    #[arg(value_enum, default_value_t = Document::Mapping)]
    document: Document,

    /// Print it as a manual to read, with every setting and rule.
    #[arg(long, conflicts_with = "format")]
    markdown: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Document {
    Mapping,
    Connections,
}

pub(super) fn schema(arguments: &SchemaArguments, context: Context<'_>) -> Exit {
    let text = match (arguments.document, arguments.markdown) {
        (Document::Mapping, false) => format!("{:#}\n", schemas::mapping(rule::schema())),
        (Document::Mapping, true) => mapping_manual(),
        (Document::Connections, false) => format!("{:#}\n", schemas::connections()),
        (Document::Connections, true) => reference::markdown(&schemas::connections(), ""),
    };
    context.screen.raw(&text);
    Exit::Well
}

/// The rules have a manual of their own, with what each makes of values.
fn mapping_manual() -> String {
    format!("{}\n{}", reference::markdown(&schemas::mapping(rule::schema()), "Rule"), rule::manual())
}
