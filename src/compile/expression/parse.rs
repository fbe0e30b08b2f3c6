//! From text to [`Node`]s, by minijinja's parser.

use minijinja::machinery::ast::{self, BinOpKind, CompareOpKind, Expr, Stmt, UnaryOpKind};
use minijinja::machinery::{self, Span};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::ValueKind;

use super::arithmetic::{Comparison, Operator};
use super::node::{Node, Test};
use super::position::Source;
use super::template::Part;
use super::{Input, Resolve};
use crate::compile::rule::{RuleSpec, Step, find};
use crate::config::tree::{At, Content, Node as Tree, Scalar, Style};
use crate::diagnostic::{Code, Diagnostic, Diagnostics, Place, nearest, quoted};
use crate::record::{Value, parse_number};

/// The parser goes down with each operand: what is longer may be too deep.
const LONGEST: usize = 10_000;

fn is_too_long(source: Source<'_>, diagnostics: &mut Diagnostics) -> bool {
    let is_too_long = source.text.len() > LONGEST;
    if is_too_long {
        let message = format!("an expression or template of {} characters", source.text.chars().count());
        let help = format!("the longest that is taken has {LONGEST}; several fields or a `map` say it in less");
        let place = source.at(0, source.text.len().min(1));
        diagnostics.push(Diagnostic::error(Code::EXPRESSION_SYNTAX, &place, message).help(help));
    }
    is_too_long
}

pub(super) fn expression(source: Source<'_>, resolve: &mut dyn Resolve, diagnostics: &mut Diagnostics) -> Option<Node> {
    if is_too_long(source, diagnostics) {
        return None;
    }
    match machinery::parse_expr(source.text) {
        Ok(expr) => Compiler { source, resolve, diagnostics }.node(&expr),
        Err(error) => {
            refuse(source, &error, diagnostics);
            None
        }
    }
}

pub(super) fn template(
    source: Source<'_>,
    resolve: &mut dyn Resolve,
    diagnostics: &mut Diagnostics,
) -> Option<Vec<Part>> {
    if is_too_long(source, diagnostics) {
        return None;
    }
    match machinery::parse(source.text, "template", SyntaxConfig::default()) {
        Ok(Stmt::Template(template)) => Compiler { source, resolve, diagnostics }.parts(&template.children),
        Ok(_) => unreachable!("the parser gives a template"),
        Err(error) => {
            refuse(source, &error, diagnostics);
            None
        }
    }
}

fn refuse(source: Source<'_>, error: &minijinja::Error, diagnostics: &mut Diagnostics) {
    let range = error.range().unwrap_or(0..source.text.len());
    let reason = error.detail().unwrap_or("not an expression");
    let diagnostic = Diagnostic::error(
        Code::EXPRESSION_SYNTAX,
        &source.at(range.start, range.end),
        format!("`{}` does not parse: {reason}", source.text.trim_end()),
    );
    diagnostics
        .push(diagnostic.help("the language is Jinja's: `name`, `'text'`, `a ~ b`, `a | trim`, `x if c else y`"));
}

struct Compiler<'a, 'b> {
    source: Source<'a>,
    resolve: &'b mut dyn Resolve,
    diagnostics: &'b mut Diagnostics,
}

impl Compiler<'_, '_> {
    fn place(&self, span: Span) -> Place {
        self.source.at(span.start_offset as usize, span.end_offset as usize)
    }

    fn text(&self, span: Span) -> &str {
        self.source.text.get(span.start_offset as usize..span.end_offset as usize).unwrap_or_default()
    }

    fn error<T>(&mut self, code: Code, span: Span, message: impl Into<String>, help: Option<&str>) -> Option<T> {
        let mut diagnostic = Diagnostic::error(code, &self.place(span), message);
        diagnostic.help = help.map(str::to_owned);
        self.diagnostics.push(diagnostic);
        None
    }

    fn not_yet<T>(&mut self, span: Span, what: &str, help: Option<&str>) -> Option<T> {
        self.error(Code::NOT_YET, span, format!("{what} cannot be used in expressions and templates"), help)
    }

    fn parts(&mut self, statements: &[Stmt<'_>]) -> Option<Vec<Part>> {
        // Every part is compiled, so that all problems are told at once.
        let parts: Vec<Option<Part>> = statements.iter().map(|statement| self.part(statement)).collect();
        parts.into_iter().collect()
    }

    fn part(&mut self, statement: &Stmt<'_>) -> Option<Part> {
        match statement {
            Stmt::EmitRaw(raw) => Some(Part::Text(raw.raw.into())),
            Stmt::EmitExpr(emit) => self.node(&emit.expr).map(Part::Print),
            Stmt::IfCond(branch) => {
                let condition = self.node(&branch.expr);
                let then = self.parts(&branch.true_body);
                let otherwise = self.parts(&branch.false_body);
                Some(Part::If { condition: condition?, then: then?, otherwise: otherwise? })
            }
            Stmt::ForLoop(node) => self.not_yet(node.span(), "`{% for %}`", None),
            Stmt::Set(node) => self.not_yet(node.span(), "`{% set %}`", None),
            Stmt::SetBlock(node) => self.not_yet(node.span(), "`{% set %}`", None),
            Stmt::WithBlock(node) => self.not_yet(node.span(), "`{% with %}`", None),
            Stmt::FilterBlock(node) => self.not_yet(node.span(), "`{% filter %}`", Some("write `{{ value | rule }}`")),
            Stmt::AutoEscape(node) => self.not_yet(node.span(), "`{% autoescape %}`", None),
            Stmt::Macro(node) => self.not_yet(node.span(), "`{% macro %}`", None),
            Stmt::CallBlock(node) => self.not_yet(node.span(), "`{% call %}`", None),
            Stmt::Do(node) => self.not_yet(node.span(), "`{% do %}`", None),
            Stmt::Template(_) => unreachable!("a template holds no template"),
        }
    }

    fn node(&mut self, expr: &Expr<'_>) -> Option<Node> {
        let node = match expr {
            Expr::Const(constant) => self.constant(constant).map(Node::Constant)?,
            Expr::Var(var) if var.id == "value" && self.resolve.has_value() => Node::Own,
            Expr::Var(var) if matches!(var.id, "record" | "parent" | "now" | "loop") => {
                return match var.id {
                    "record" => self.not_yet(
                        var.span(),
                        "the whole `record`",
                        Some("name a field of it: `record.NAME` or `record[\"A NAME\"]`"),
                    ),
                    name => {
                        self.not_yet(var.span(), &format!("`{name}`"), Some("a field of that name is `record.NAME`"))
                    }
                };
            }
            Expr::Var(var) => self.slot(var.id, var.span())?,
            Expr::GetAttr(get) if is_record(&get.expr) => self.slot(get.name, get.span())?,
            Expr::GetItem(get) if is_record(&get.expr) => match &get.subscript_expr {
                Expr::Const(constant) if constant.value.as_str().is_some() => {
                    let name = constant.value.as_str().unwrap_or_default().to_owned();
                    self.slot(&name, constant.span())?
                }
                other => {
                    return self.not_yet(other.span(), "a computed field name", Some("write the name in quotes"));
                }
            },
            Expr::GetAttr(get) => Node::Attribute(Box::new(self.node(&get.expr)?), get.name.into()),
            Expr::GetItem(get) => {
                let (whole, index) = self.pair(&get.expr, &get.subscript_expr)?;
                Node::Item(whole, index)
            }
            Expr::UnaryOp(unary) => {
                let operand = Box::new(self.node(&unary.expr)?);
                match unary.op {
                    UnaryOpKind::Not => Node::Not(operand),
                    UnaryOpKind::Neg => Node::Negate(operand),
                }
            }
            Expr::BinOp(binary) => self.binary(binary)?,
            Expr::Compare(compare) => {
                let first = self.node(&compare.expr);
                let others: Vec<_> =
                    compare.ops.iter().map(|op| self.node(&op.expr).map(|node| (comparison(op.op), node))).collect();
                Node::Compare(Box::new(first?), others.into_iter().collect::<Option<Vec<_>>>()?)
            }
            Expr::IfExpr(choice) => {
                let condition = self.node(&choice.test_expr);
                let then = self.node(&choice.true_expr);
                let otherwise = match &choice.false_expr {
                    Some(expr) => self.node(expr),
                    None => Some(Node::Constant(Value::Null)),
                };
                Node::Choose { condition: Box::new(condition?), then: Box::new(then?), otherwise: Box::new(otherwise?) }
            }
            Expr::Filter(filter) => self.filter(filter, filter.span())?,
            Expr::Test(test) => self.test(test, test.span())?,
            Expr::List(list) => Node::List(self.nodes(&list.items)?),
            Expr::Tuple(tuple) => Node::List(self.nodes(&tuple.items)?),
            Expr::Slice(node) => return self.not_yet(node.span(), "a slice `[from:to]`", None),
            Expr::Map(node) => {
                return self.not_yet(node.span(), "a mapping `{…}`", Some("it can be the argument of a rule"));
            }
            Expr::Call(call) => {
                let help = match &call.expr {
                    Expr::GetAttr(get) => format!("write `… | {}` if that is the rule you mean", get.name),
                    _ => "rules are applied with `|`: `name | trim`".to_owned(),
                };
                return self.not_yet(call.span(), "a call", Some(&help));
            }
        };
        self.fold(node, expr.span())
    }

    fn nodes(&mut self, exprs: &[Expr<'_>]) -> Option<Vec<Node>> {
        let nodes: Vec<Option<Node>> = exprs.iter().map(|expr| self.node(expr)).collect();
        nodes.into_iter().collect()
    }

    fn pair(&mut self, left: &Expr<'_>, right: &Expr<'_>) -> Option<(Box<Node>, Box<Node>)> {
        let (left, right) = (self.node(left), self.node(right));
        Some((Box::new(left?), Box::new(right?)))
    }

    /// A node of constants becomes the constant it makes.
    fn fold(&mut self, node: Node, span: Span) -> Option<Node> {
        let constant = |node: &Node| matches!(node, Node::Constant(_));
        let foldable = match &node {
            Node::Not(a) | Node::Negate(a) | Node::Is(a, _) | Node::Attribute(a, _) => constant(a),
            Node::Compute(_, a, b) | Node::And(a, b) | Node::Or(a, b) | Node::Item(a, b) => constant(a) && constant(b),
            Node::Compare(first, others) => constant(first) && others.iter().all(|(_, node)| constant(node)),
            Node::Join(parts) | Node::List(parts) => parts.iter().all(constant),
            _ => false,
        };
        if !foldable {
            return Some(node);
        }
        match node.eval(Input::new(&[])) {
            Ok(value) => Some(Node::Constant(value.into_owned())),
            Err(trouble) => self.error(trouble.code, span, trouble.message, None),
        }
    }

    fn slot(&mut self, name: &str, span: Span) -> Option<Node> {
        match self.resolve.slot(name) {
            Ok(slot) => Some(Node::Slot(slot)),
            Err(nearest) => {
                let help = nearest.map(|name| format!("did you mean `{name}`?"));
                self.error(
                    Code::UNKNOWN_FIELD_NAME,
                    span,
                    format!("the record that is read has no field `{name}`"),
                    help.as_deref(),
                )
            }
        }
    }

    fn constant(&mut self, constant: &ast::Spanned<ast::Const>) -> Option<Value> {
        match constant.value.kind() {
            ValueKind::Bool => Some(Value::Boolean(constant.value.is_true())),
            ValueKind::String => Some(Value::text(constant.value.as_str().unwrap_or_default())),
            ValueKind::Number => {
                // The parser has read it as a double: the digits are in the text.
                let written = self.text(constant.span()).replace('_', "");
                match parse_number(&written) {
                    Some(number) => Some(number.into()),
                    None => self.error(
                        Code::EXPRESSION_SYNTAX,
                        constant.span(),
                        format!("`{written}` is not a number in plain notation"),
                        Some("write digits with a point: `1200`, `0.05`"),
                    ),
                }
            }
            _ => Some(Value::Null),
        }
    }

    fn binary(&mut self, binary: &ast::Spanned<ast::BinOp<'_>>) -> Option<Node> {
        let (left, right) = self.pair(&binary.left, &binary.right)?;
        let compute = |operator, left, right| Some(Node::Compute(operator, left, right));
        let compare = |comparison, left, right: Box<Node>| Some(Node::Compare(left, vec![(comparison, *right)]));
        match binary.op {
            BinOpKind::ScAnd => Some(Node::And(left, right)),
            BinOpKind::ScOr => Some(Node::Or(left, right)),
            BinOpKind::Add => compute(Operator::Add, left, right),
            BinOpKind::Sub => compute(Operator::Subtract, left, right),
            BinOpKind::Mul => compute(Operator::Multiply, left, right),
            BinOpKind::Div => compute(Operator::Divide, left, right),
            BinOpKind::FloorDiv => compute(Operator::FloorDivide, left, right),
            BinOpKind::Rem => compute(Operator::Modulo, left, right),
            BinOpKind::Pow => self.not_yet(binary.span(), "the power `**`", None),
            BinOpKind::Concat => {
                let mut parts = match *left {
                    Node::Join(parts) => parts,
                    other => vec![other],
                };
                parts.push(*right);
                Some(Node::Join(parts))
            }
            BinOpKind::Eq => compare(Comparison::Equal, left, right),
            BinOpKind::Ne => compare(Comparison::NotEqual, left, right),
            BinOpKind::Lt => compare(Comparison::Less, left, right),
            BinOpKind::Lte => compare(Comparison::LessOrEqual, left, right),
            BinOpKind::Gt => compare(Comparison::Greater, left, right),
            BinOpKind::Gte => compare(Comparison::GreaterOrEqual, left, right),
            BinOpKind::In => compare(Comparison::In, left, right),
        }
    }

    fn test(&mut self, test: &ast::Test<'_>, span: Span) -> Option<Node> {
        let node = self.node(&test.expr);
        let Some((_, kind)) = Test::ALL.iter().find(|(name, _)| *name == test.name) else {
            let help = nearest(test.name, Test::ALL.iter().map(|(name, _)| *name))
                .map(|name| format!("did you mean `is {name}`?"));
            return self.error(
                Code::UNKNOWN_NAME,
                span,
                format!("there is no test `is {}`", test.name),
                help.as_deref(),
            );
        };
        if !test.args.is_empty() {
            return self.error(
                Code::EXPRESSION_SYNTAX,
                span,
                format!("`is {}` takes no argument", test.name),
                Some(&format!("write `is {}`", test.name)),
            );
        }
        Some(Node::Is(Box::new(node?), *kind))
    }

    /// A filter is the rule of its name: `x | pad_left(2, with="0")` is
    /// `{ pad_left: 2, with: "0" }`.
    fn filter(&mut self, filter: &ast::Filter<'_>, span: Span) -> Option<Node> {
        let node = filter.expr.as_ref().and_then(|expr| self.node(expr));
        let place = self.filter_place(filter.name, span);
        let mut spec = RuleSpec {
            name: At::new(filter.name.to_owned(), place.clone()),
            argument: None,
            options: Vec::new(),
            place,
        };
        for argument in &filter.args {
            match argument {
                ast::CallArg::Pos(expr) if spec.argument.is_none() => spec.argument = Some(self.literal(expr)?),
                ast::CallArg::Kwarg(name, expr) => {
                    let literal = self.literal(expr)?;
                    spec.options.push((At::new((*name).to_owned(), literal.place.clone()), literal));
                }
                ast::CallArg::Pos(expr) => {
                    let help = self.named(filter.name, expr.span());
                    return self.error(
                        Code::EXPRESSION_SYNTAX,
                        expr.span(),
                        format!("`{}` takes one argument and named options", filter.name),
                        Some(&help),
                    );
                }
                ast::CallArg::PosSplat(expr) | ast::CallArg::KwargSplat(expr) => {
                    return self.not_yet(expr.span(), "`*` before an argument", None);
                }
            }
        }
        let step = Step::compile(&spec, self.resolve, self.diagnostics);
        Some(Node::Filter(Box::new(node?), Box::new(step?)))
    }

    /// How an argument after the first one is written.
    fn named(&self, rule: &str, argument: Span) -> String {
        let parameters = find(rule).map(|definition| definition.parameters).unwrap_or_default();
        let options: Vec<&str> =
            parameters.iter().map(|parameter| parameter.name).filter(|name| !name.is_empty()).collect();
        match options.as_slice() {
            [] => format!("`{rule}` has no options: leave it out"),
            [only] => format!("write `{rule}(…, {only}={})`", self.text(argument)),
            several => {
                format!("write `{rule}(…, OPTION={})`, where OPTION is one of {}", self.text(argument), quoted(several))
            }
        }
    }

    /// The parser's span of a filter may begin with what is filtered; the name
    /// is what a message should point at.
    fn filter_place(&self, name: &str, span: Span) -> Place {
        let from = span.start_offset as usize;
        let within = self.text(span).find(name).map_or(from, |offset| from + offset);
        self.source.at(within, within + name.len())
    }

    /// An argument of a rule, as the YAML of the same rule would have it.
    fn literal(&mut self, expr: &Expr<'_>) -> Option<Tree> {
        let place = self.place(expr.span());
        let scalar = |text: String, style| Content::Scalar(Scalar { text, style });
        let content = match expr {
            Expr::Const(constant) => match constant.value.kind() {
                ValueKind::String => scalar(constant.value.as_str().unwrap_or_default().to_owned(), Style::Quoted),
                ValueKind::None | ValueKind::Undefined => scalar("null".to_owned(), Style::Plain),
                ValueKind::Bool => scalar(constant.value.is_true().to_string(), Style::Plain),
                _ => scalar(self.text(constant.span()).to_owned(), Style::Plain),
            },
            Expr::UnaryOp(unary) if matches!((&unary.op, &unary.expr), (UnaryOpKind::Neg, Expr::Const(_))) => {
                scalar(format!("-{}", self.text(unary.expr.span())), Style::Plain)
            }
            Expr::List(list) => {
                let items: Vec<Option<Tree>> = list.items.iter().map(|item| self.literal(item)).collect();
                Content::List(items.into_iter().collect::<Option<_>>()?)
            }
            Expr::Map(map) => {
                let entries: Vec<Option<(Tree, Tree)>> = map
                    .keys
                    .iter()
                    .zip(&map.values)
                    .map(|(key, value)| Some((self.literal(key)?, self.literal(value)?)))
                    .collect();
                Content::Map(entries.into_iter().collect::<Option<_>>()?)
            }
            other => return self.not_yet(other.span(), "a computed argument of a rule", Some("write a literal")),
        };
        Some(Tree { content, place })
    }
}

fn is_record(expr: &Expr<'_>) -> bool {
    matches!(expr, Expr::Var(var) if var.id == "record")
}

fn comparison(kind: CompareOpKind) -> Comparison {
    match kind {
        CompareOpKind::Eq => Comparison::Equal,
        CompareOpKind::Ne => Comparison::NotEqual,
        CompareOpKind::Lt => Comparison::Less,
        CompareOpKind::Lte => Comparison::LessOrEqual,
        CompareOpKind::Gt => Comparison::Greater,
        CompareOpKind::Gte => Comparison::GreaterOrEqual,
        CompareOpKind::In => Comparison::In,
        CompareOpKind::NotIn => Comparison::NotIn,
    }
}
