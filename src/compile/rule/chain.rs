//! The rules of one field, one after the other.

use std::sync::Arc;

use super::arguments::{Arguments, Reported};
use super::{Back, LATER, RULES, Rule, RuleSpec, find};
use crate::compile::Trouble;
use crate::compile::expression::Resolve;
use crate::diagnostic::{Code, Diagnostic, Diagnostics, Place, nearest};
use crate::record::{Kind, Misfit, Value};

/// A built rule and where it came from.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    rule: Arc<dyn Rule>,
    name: &'static str,
    place: Place,
    sees_null: bool,
    /// What it keeps of a text, where it does no more than cut.
    slicer: Option<fn(&str) -> &str>,
}

impl Step {
    /// Builds the rule that is written. `None` where it is wrong, which is then
    /// said in `diagnostics`.
    pub(crate) fn compile(spec: &RuleSpec, resolve: &mut dyn Resolve, diagnostics: &mut Diagnostics) -> Option<Step> {
        let turned = turned(spec);
        let spec = turned.as_ref().unwrap_or(spec);
        let Some(definition) = find(&spec.name) else {
            diagnostics.push(unknown(spec));
            return None;
        };
        let mut arguments = Arguments { spec, resolve, diagnostics };
        let rule = arguments.build(definition);
        match rule {
            Ok(rule) => Some(Step::of(rule, definition.name, spec.place.clone())),
            Err(Reported) => None,
        }
    }

    fn of(rule: Arc<dyn Rule>, name: &'static str, place: Place) -> Step {
        Step { sees_null: rule.sees_null(), slicer: rule.slicer(), rule, name, place }
    }

    pub(crate) fn apply(&self, value: Value, row: &[Value]) -> Result<Value, Box<Trouble>> {
        self.rule.apply(value, row).map_err(|mut trouble| {
            trouble.rule.get_or_insert(self.name);
            trouble.place.get_or_insert_with(|| self.place.clone());
            trouble
        })
    }

    pub(crate) fn sees_null(&self) -> bool {
        self.sees_null
    }

    pub(crate) fn slicer(&self) -> Option<fn(&str) -> &str> {
        self.slicer
    }
}

/// A rule whose name stands behind one of its options, put in order: the entries
/// of a mapping have none. `None` where it is in order, or where nothing tells.
fn turned(spec: &RuleSpec) -> Option<RuleSpec> {
    let argument = spec.argument.as_ref()?;
    let names = || std::iter::once(&spec.name).chain(spec.options.iter().map(|(name, _)| name));
    let is_rule = |name: &str| {
        let takes = |option: &str| find(name).is_some_and(|rule| rule.parameters.iter().any(|one| one.name == option));
        find(name).is_some() && names().all(|other| other.value == name || takes(&other.value))
    };
    let mut fit = spec.options.iter().enumerate().filter(|(_, (name, _))| is_rule(&name.value)).map(|(index, _)| index);
    let (Some(index), None, false) = (fit.next(), fit.next(), is_rule(&spec.name.value)) else { return None };
    let mut turned = spec.clone();
    let (name, value) = turned.options.remove(index);
    turned.options.insert(0, (spec.name.clone(), argument.clone()));
    Some(RuleSpec { name, argument: Some(value), ..turned })
}

fn unknown(spec: &RuleSpec) -> Diagnostic {
    let name = spec.name.value.as_str();
    if LATER.contains(&name) {
        return Diagnostic::error(Code::NOT_YET, &spec.name.place, format!("the rule `{name}` is not built yet"));
    }
    let error = Diagnostic::error(Code::UNKNOWN_RULE, &spec.name.place, format!("there is no rule `{name}`"));
    match nearest(name, RULES.iter().map(|rule| rule.name).chain(LATER.iter().copied())) {
        Some(near) => error.help(format!("did you mean `{near}`?")),
        None => error.help("`engine schema mapping` lists the rules"),
    }
}

/// A rule that has no way back, and what it loses.
#[derive(Debug, Clone, PartialEq)]
pub struct Lossy {
    pub rule: &'static str,
    pub place: Place,
    /// To be read after `it loses`.
    pub what: String,
    /// Places that show it, such as the two entries of a map.
    pub related: Vec<(Place, String)>,
}

impl Lossy {
    /// The diagnostic of a two-way field that has this rule and no `reverse`.
    pub fn diagnostic(&self) -> Diagnostic {
        let code = if self.related.is_empty() { Code::LOSSY_RULE } else { Code::AMBIGUOUS_MAP };
        let message = format!("`{}` has no way back: it loses {}", self.rule, self.what);
        let mut error = Diagnostic::error(code, &self.place, message)
            .help("give the field a `reverse` with the rules of the way back, or a `direction`");
        error.related.clone_from(&self.related);
        error
    }
}

/// The rules of a field, built.
#[derive(Debug, Clone, Default)]
pub struct Chain {
    steps: Vec<Step>,
}

impl Chain {
    /// Builds the rules in the order written. All problems are reported;
    /// `None` where there was one.
    pub fn compile(specs: &[RuleSpec], resolve: &mut dyn Resolve, diagnostics: &mut Diagnostics) -> Option<Chain> {
        let steps: Vec<Option<Step>> = specs.iter().map(|spec| Step::compile(spec, resolve, diagnostics)).collect();
        Some(Chain { steps: steps.into_iter().collect::<Option<_>>()? })
    }

    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Carries a value through all rules. `row` is what [`Resolve`] gave slots
    /// of; rules that know no other field do not look at it.
    ///
    /// # Errors
    /// Where a rule does not take the value.
    pub fn apply(&self, value: &Value, row: &[Value]) -> Result<Value, Box<Trouble>> {
        let mut steps = self.steps.as_slice();
        let mut value = match (value, steps.split_first()) {
            // What a text is cut to is copied, not the whole of it.
            (Value::Text(text), Some((Step { slicer: Some(slice), .. }, others))) => {
                steps = others;
                Value::text(slice(text))
            }
            // Rules know one null.
            (Value::JsonNull, Some(_)) => Value::Null,
            _ => value.clone(),
        };
        for step in steps {
            if step.sees_null || !value.is_null() {
                value = step.apply(value, row)?;
            }
        }
        Ok(value)
    }

    /// The way back.
    ///
    /// # Errors
    /// Every rule that has none.
    pub fn invert(&self) -> Result<Chain, Vec<Lossy>> {
        let (mut steps, mut lossy) = (Vec::new(), Vec::new());
        for step in self.steps.iter().rev() {
            match step.rule.back() {
                Back::Rule(rule) => steps.push(Step::of(rule, step.name, step.place.clone())),
                Back::Itself => {}
                Back::Lost(what, related) => {
                    lossy.push(Lossy { rule: step.name, place: step.place.clone(), what, related });
                }
            }
        }
        lossy.reverse();
        if lossy.is_empty() { Ok(Chain { steps }) } else { Err(lossy) }
    }

    /// A `reverse` as it is meant: a rule that reads a text on the way there
    /// writes it on the way back.
    #[must_use]
    pub(crate) fn turned(self, ahead: &Chain) -> Chain {
        let reads = |step: &Step| {
            step.rule.reads_text() && ahead.steps.iter().any(|other| other.name == step.name && other.rule.reads_text())
        };
        let turn = |step: Step| match step.rule.back() {
            Back::Rule(rule) if reads(&step) => Step::of(rule, step.name, step.place),
            _ => step,
        };
        Chain { steps: self.steps.into_iter().map(turn).collect() }
    }

    /// The normalising rules at the beginning: values are compared after them
    /// and before all others.
    pub fn normalising_prefix(&self) -> Chain {
        let normalising = |step: &&Step| matches!(step.rule.back(), Back::Itself);
        Chain { steps: self.steps.iter().take_while(normalising).cloned().collect() }
    }

    /// The kind that comes out where `input` goes in. A rule that does not take
    /// what arrives is reported; what it would give is then not known.
    pub fn output_kind(&self, input: &Kind, diagnostics: &mut Diagnostics) -> Kind {
        let mut kind = input.clone();
        for step in &self.steps {
            kind = match step.rule.gives(&kind) {
                Ok(kind) => kind,
                Err(takes) => {
                    let message = format!("`{}` takes {takes}, and what arrives is {}", step.name, kind.name());
                    diagnostics.push(Diagnostic::error(Code::KINDS_DO_NOT_MEET, &step.place, message));
                    Kind::Any
                }
            };
        }
        kind
    }

    /// The values written down in the last rule that do not fit where they
    /// arrive, with their places.
    pub fn misfits(&self, arrives_at: &Kind) -> Vec<(Place, Misfit)> {
        let Some(last) = self.steps.last() else { return Vec::new() };
        let misfit =
            |(value, place): (&Value, &Place)| Some((place.clone(), arrives_at.fit(Value::clone(value)).err()?));
        last.rule.writes().into_iter().filter_map(misfit).collect()
    }

    /// The steps in words, for `engine explain`; nothing for an empty chain.
    pub fn describe(&self) -> String {
        let steps: Vec<String> = self.steps.iter().map(|step| step.rule.describe()).collect();
        steps.join(", then ")
    }
}
