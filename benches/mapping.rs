//! Records through the mapping of `benches/project`, without any IO, on one
//! core: `cargo bench`. Reports records a second.

use std::path::Path;
use std::sync::Arc;

use divan::counter::ItemsCount;
use engine::compile::{Program, compile};
use engine::config::Project;
use engine::connector::Description;
use engine::diagnostic::Diagnostics;
use engine::record::{Batch, Both, Field, Kind, Mark, Shape, Side, Value};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROWS: usize = 10_000;

fn main() {
    divan::main();
}

/// Rows of the source become rows of the target: read, ruled, fitted.
#[divan::bench]
fn ten_fields(bencher: divan::Bencher) {
    let program = program();
    let rows = rows(&program);
    let mut out = vec![Value::Missing; program.sides.target.access.shape.len()];
    bencher.counter(ItemsCount::new(ROWS)).bench_local(|| {
        for (_, row) in rows.rows() {
            program.map(Side::Source, row, &mut out).expect("every row maps");
        }
        divan::black_box(&mut out);
    });
}

fn program() -> Program {
    let mut diagnostics = Diagnostics::new();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/project");
    let project = Project::load(&folder, None, &mut diagnostics);
    let [mapping] = project.mappings.as_slice() else { panic!("one mapping: {diagnostics:?}") };
    let (source, target) = (description(&source()), description(&target()));
    let compiled = compile(mapping, Both::new(Some(&source), Some(&target)), &mut diagnostics);
    compiled.unwrap_or_else(|| panic!("it compiles: {diagnostics:?}")).program
}

fn text(name: &'static str, max: u32, padded: bool) -> (&'static str, Kind) {
    (name, Kind::Text { max: Some(max), padded })
}

/// The source's columns, as PostgreSQL would tell them, as far as the mapping needs them.
fn source() -> Vec<(&'static str, Kind)> {
    vec![
        text("code", 10, true),
        text("first_name", 20, true),
        text("last_name", 30, true),
        ("email", Kind::Text { max: None, padded: false }),
        text("phone", 16, true),
        text("city", 30, true),
        text("state", 2, true),
        text("credit", 16, false),
        text("born_on", 8, true),
        text("status", 1, true),
        ("visits", Kind::Integer { bits: 32 }),
        ("updated_at", Kind::Instant { digits: 6 }),
    ]
}

fn target() -> Vec<(&'static str, Kind)> {
    let any = || Kind::Text { max: None, padded: false };
    vec![
        ("code", any()),
        ("name", any()),
        ("email", any()),
        ("phone", any()),
        ("city", any()),
        ("state", any()),
        ("credit", Kind::Decimal { precision: Some(14), scale: Some(2) }),
        ("born_on", Kind::Date),
        ("active", Kind::Boolean),
        ("visits", Kind::Integer { bits: 32 }),
        ("updated_at", Kind::Instant { digits: 6 }),
    ]
}

fn description(columns: &[(&'static str, Kind)]) -> Description {
    Description {
        name: "public.customers".into(),
        identity: "bench".into(),
        shape: Shape { fields: columns.iter().map(|(name, kind)| Field::new(name, kind.clone())).collect() },
        key: vec!["code".into()],
        unique: vec![vec!["code".into()]],
        indexed: None,
        can_read: true,
        can_create: true,
        can_update: true,
        can_delete: true,
        sees_open_transactions: true,
        grains_nanos: vec![1000; columns.len()],
        timezone: chrono_tz::Tz::UTC,
        notes: Vec::new(),
    }
}

/// The rows of `benches/run`, in the slots the program reads.
fn rows(program: &Program) -> Batch {
    const FIRST: [&str; 8] = ["Ana", "José", "Maria", "Antônio", "João", "Luíza", "Carlos", "Patrícia"];
    const LAST: [&str; 7] = ["Silva", "Santos", "Oliveira", "Conceição", "Gonçalves", "Guimarães", "Sá"];
    const CITY: [(&str, &str); 5] =
        [("São Paulo", "SP"), ("Campinas", "SP"), ("Curitiba", "PR"), ("Belém", "PA"), ("Vitória", "ES")];
    let shape = Arc::new(program.sides.source.access.shape.as_ref().clone());
    let mut batch = Batch::with_capacity(shape.clone(), ROWS);
    for n in 0..ROWS {
        let value = |field: &Field| match field.name.as_str() {
            "code" => Value::text(format!("C{n:09}")),
            "first_name" => Value::text(FIRST[n % 8]),
            "last_name" => Value::text(format!("{} {}", LAST[n % 7], n % 9973)),
            "email" => Value::text(format!("customer{n}@example.com")),
            "phone" => Value::text(format!("(11) 9{:04}-{:04}", n * 37 % 10_000, n * 91 % 10_000)),
            "city" => Value::text(CITY[n % 5].0),
            "state" => Value::text(CITY[n % 5].1),
            "credit" => Value::text(format!("{},{:02}", n * 7919 % 10_000, n % 100)),
            "born_on" => Value::text(format!("{}{:02}{:02}", 1945 + n % 60, 1 + n % 12, 1 + n % 28)),
            "status" => Value::text(if n % 50 == 13 { "1" } else { "2" }),
            "visits" => Value::Integer((n % 1000).try_into().expect("a thousand fits")),
            "updated_at" => Value::Instant(chrono::DateTime::UNIX_EPOCH),
            other => panic!("no such column: {other}"),
        };
        let row: Vec<Value> = shape.fields.iter().map(value).collect();
        batch.push(Mark::Live, row);
    }
    batch
}
