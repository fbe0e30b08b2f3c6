//! Templates: text with expressions in it.

use compact_str::CompactString;

use super::node::Node;
use super::position::Source;
use super::{Input, Resolve, parse};
use crate::compile::Trouble;
use crate::config::tree::At;
use crate::diagnostic::{Diagnostics, Place};

/// A template, compiled. A single line break at its very end is dropped.
#[derive(Debug, Clone)]
pub struct Template {
    parts: Vec<Part>,
    text: Box<str>,
    place: Place,
    slots: Vec<usize>,
}

#[derive(Debug, Clone)]
pub(super) enum Part {
    Text(Box<str>),
    Print(Node),
    If { condition: Node, then: Vec<Part>, otherwise: Vec<Part> },
}

impl Template {
    /// Compiles a template. `None` where it is wrong, which is then said in
    /// `diagnostics`.
    pub fn compile(text: &At<String>, resolve: &mut dyn Resolve, diagnostics: &mut Diagnostics) -> Option<Template> {
        let source = Source { text: &text.value, place: &text.place };
        let mut noted = Noted { resolve, slots: Vec::new() };
        let parts = parse::template(source, &mut noted, diagnostics)?;
        let mut slots = noted.slots;
        slots.sort_unstable();
        slots.dedup();
        Some(Template { parts, text: text.value.as_str().into(), place: text.place.clone(), slots })
    }

    /// The slots it looks at.
    pub fn slots(&self) -> &[usize] {
        &self.slots
    }

    /// The text over these slots.
    ///
    /// # Errors
    /// Where a value does not fit an operator or a filter.
    pub fn render(&self, input: Input<'_>) -> Result<CompactString, Box<Trouble>> {
        let mut out = CompactString::default();
        match render(&self.parts, input, &mut out) {
            Ok(()) => Ok(out),
            Err(mut trouble) => {
                trouble.place.get_or_insert_with(|| self.place.clone());
                Err(trouble)
            }
        }
    }

    /// The text as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// Notes which slots were asked for.
struct Noted<'a> {
    resolve: &'a mut dyn Resolve,
    slots: Vec<usize>,
}

impl Resolve for Noted<'_> {
    fn slot(&mut self, name: &str) -> Result<usize, Option<String>> {
        let slot = self.resolve.slot(name)?;
        self.slots.push(slot);
        Ok(slot)
    }

    fn has_value(&self) -> bool {
        self.resolve.has_value()
    }
}

fn render(parts: &[Part], input: Input<'_>, out: &mut CompactString) -> Result<(), Box<Trouble>> {
    for part in parts {
        match part {
            Part::Text(text) => out.push_str(text),
            Part::Print(node) => node.print(input, out)?,
            Part::If { condition, then, otherwise } => {
                let branch = if condition.test(input)? { then } else { otherwise };
                render(branch, input, out)?;
            }
        }
    }
    Ok(())
}
