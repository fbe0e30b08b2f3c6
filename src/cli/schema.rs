//! `engine schema`: JSON Schemas of what one writes.

use super::{Context, Exit};
use crate::compile::rule;
use crate::config::schema as schemas;

/// Print the JSON Schema of a document, with which an editor completes and explains.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  engine schema mapping > schema/mapping.schema.json
  engine schema connections > schema/connections.schema.json

In a file: # yaml-language-server: $schema=../schema/mapping.schema.json")]
pub(super) struct SchemaArguments {
    /// Which document.
    #[arg(value_enum, default_value_t = Document::Mapping)]
    document: Document,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Document {
    Mapping,
    Connections,
}

pub(super) fn schema(arguments: &SchemaArguments, context: Context<'_>) -> Exit {
    let schema = match arguments.document {
        Document::Mapping => schemas::mapping(rule::schema()),
        Document::Connections => schemas::connections(),
    };
    context.screen.raw(&format!("{schema:#}\n"));
    Exit::Well
}
