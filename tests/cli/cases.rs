//! `engine test`: mappings try themselves on the cases they carry.

use serde_json::{Value as Json, json};

use super::project::Project;

const CONNECTIONS: &str = "connections:
  erp: { connector: sqlite, url: 'sqlite://erp.db' }
  crm: { connector: postgres, url: '${NOT_SET_ANYWHERE}' }
";

const CUSTOMERS: &str = r#"mapping: customers
source: { connection: erp, object: SA1, key: [A1_COD, A1_LOJA], modified: S_T_A_M_P_, deleted: { field: D_E_L_E_T_, equals: "*" } }
target: { connection: crm, object: customers, key: [id], modified: updated_at }
direction: bidirectional
when: "A1_NOME != 'NOBODY'"
deletes: { to_target: { set: { active: false } } }
fields:
  - { source: A1_NOME, target: name, rules: [trim, title_case], reverse: [upper_case, { pad_right: 40 }] }
  - { source: A1_CGC, target: tax_id, equal: [digits], required: true }
  - { source: A1_LC, target: credit_limit, rules: [{ multiply: "1.1", scale: 2 }], conflict: target }
  - { source: A1_QTD, target: quantity, conflict: sum_deltas }
  - { source: A1_MSBLQL, target: active, rules: [{ map: { "2": true, "1": false }, default: true }], direction: source_to_target }
  - { source: A1_DTNASC, target: born_on, rules: [{ date: "%Y%m%d" }] }
  - { target: address, template: "{{ A1_END | trim }}, {{ A1_MUN | trim }}" }
  - { target: origin, value: protheus, write: create }
  - { source: A1_NOTA, target: notes, conflict: newest }
"#;

const GOOD: &str = r#"tests:
  - name: blocked customers become inactive
    now: 2026-03-01T12:00:00Z
    source: { A1_COD: "000001", A1_LOJA: "01", A1_NOME: "ana  ", A1_MSBLQL: "1" }
    expect: { name: Ana, active: false, origin: protheus }
    expect_outcome: created
  - name: both edited the limit
    base: { source: { A1_LC: "10.00" }, target: { credit_limit: "11.00" } }
    source: { A1_LC: "20.00" }
    target: { credit_limit: "99.00" }
    expect_conflicts: [credit_limit]
    expect_source: { A1_LC: 90 }
  - name: both sold some
    base: { source: { A1_QTD: 10 } }
    source: { A1_QTD: 7 }
    target: { quantity: 8 }
    expect: { quantity: 5 }
    expect_source: { A1_QTD: 5 }
    expect_conflicts: [quantity]
  - name: the same number in other words is no conflict
    base: { source: { A1_CGC: "12.345" } }
    source: { A1_CGC: "9-9" }
    target: { tax_id: "99" }
    expect_conflicts: []
    expect_outcome: unchanged
  - name: an edit of the target goes back
    base: { source: { A1_NOME: ANA, A1_DTNASC: "20200131" } }
    target: { name: Maria, born_on: 2020-02-01 }
    expect_source: { A1_NOME: "MARIA                                   ", A1_DTNASC: "20200201" }
    expect_outcome: updated
  - name: nobody is skipped
    source: { A1_NOME: NOBODY }
    expect_outcome: skipped
    expect: null
  - name: a customer without a number waits
    source: { A1_NOME: ana, A1_CGC: " " }
    expect_outcome: parked
  - name: what is marked is switched off
    base: { source: { A1_MSBLQL: "2" } }
    source: { D_E_L_E_T_: "*" }
    expect: { active: false }
    expect_outcome: deleted
  - name: what is gone is switched off
    base: { source: { A1_MSBLQL: "2" } }
    source: null
    expect: { active: false }
    expect_source: null
  - name: the later note wins
    base: { source: { A1_NOTA: old } }
    source: { A1_NOTA: earlier, S_T_A_M_P_: 2026-03-01 10:00:00 }
    target: { notes: later, updated_at: "2026-03-01T12:00:00Z" }
    expect_source: { A1_NOTA: later }
    expect: { notes: later, address: null }
  - name: an address of two parts
    source: { A1_END: "Rua A ", A1_MUN: Natal }
    expect: { address: "Rua A, Natal" }
"#;

fn project(tests: &str) -> Project {
    Project::new(&[("connections.yaml", CONNECTIONS), ("customers.yaml", &format!("{CUSTOMERS}{tests}"))])
}

#[test]
fn cases_that_hold_pass_without_any_system() {
    let project = project(GOOD);
    let answer = project.engine("test . --format json").ends(0).json();
    assert_eq!(
        (&answer["status"], &answer["passed"], &answer["failed"]),
        (&json!("passed"), &json!(11), &json!(0)),
        "{answer:#}"
    );
    assert!(project.engine("test . customers").ends(0).out.ends_with("11 tests passed\n"));
    assert!(!project.path(".engine").exists(), "a test touches no state");
}

/// What a case says is not so, each with its place.
#[test]
fn a_case_that_does_not_hold_shows_what_is_instead() {
    let project = project(
        r#"tests:
  - name: fails in all ways
    base: { source: { A1_LC: "10.00", A1_NOME: ana } }
    source: { A1_LC: "20.00" }
    target: { credit_limit: "99.00", name: McDonald }
    expect: { credit_limit: 98, name: McDonald }
    expect_source: null
    expect_conflicts: []
    expect_outcome: unchanged
  - name: holds
    source: { A1_LC: 1 }
    expect: { credit_limit: 1.1 }
"#,
    );
    let answer = project.engine("test . --format json").ends(1).json();
    assert_eq!((&answer["passed"], &answer["failed"]), (&json!(1), &json!(1)), "{answer:#}");
    let failures = answer["tests"][0]["failures"].as_array().unwrap();
    let told: Vec<(&Json, &Json, &Json, &Json)> =
        failures.iter().map(|one| (&one["what"], &one["expected"], &one["actual"], &one["line"])).collect();
    let expected = [
        (json!("target.credit_limit"), json!(98), json!(99), json!(22)),
        (json!("source"), json!("no record"), json!("a record"), json!(23)),
        (json!("conflicts"), json!([]), json!(["credit_limit"]), json!(18)),
        (json!("outcome"), json!("unchanged"), json!("updated"), json!(25)),
        (json!("target.name"), json!("McDonald"), json!("Mcdonald"), json!(8)),
    ];
    let expected: Vec<_> =
        expected.iter().map(|(what, expected, actual, line)| (what, expected, actual, line)).collect();
    assert_eq!(told, expected, "{answer:#}");
    let page = project.engine("test .").ends(1).out;
    assert!(page.contains("FAILED  customers: fails in all ways\n"), "{page}");
    assert!(
        page.contains("        target.credit_limit  (customers.yaml:22:29)\n          - 98\n          + 99\n"),
        "{page}"
    );
    assert!(page.contains("1 test passed, 1 failed\n"), "{page}");
}

#[test]
fn a_case_that_can_show_nothing_is_refused() {
    let project = project(
        r"tests:
  - name: expects nothing
    source: { A1_NOME: ana }
  - { name: gives nothing, expect_outcome: skipped }
  - { name: misspelt, source: { A1_NOMI: ana }, expect: { nane: Ana }, expect_conflicts: [limit], expect_outcom: parked }
  - { name: misspelt too, source: { A1_NOMI: ana }, expect: { nane: Ana }, expect_conflicts: [credit], expect_outcome: gone }
  - { name: twice, source: { A1_NOMI: ana }, expect: { nane: Ana }, expect_conflicts: [credit_limits] }
  - { name: no time, now: noon, source: { A1_NOME: ana }, expect_outcome: created }
  - { name: later, lookups: {}, source: { A1_NOME: ana }, expect_outcome: created }
",
    );
    let said = project.engine("test . --format json").ends(2).said();
    let expected = [
        "customers.yaml:18:5 E0113 a test that expects nothing",
        "customers.yaml:20:5 E0113 a test without a record",
        "customers.yaml:21:99 E0103 a test has no setting `expect_outcom`",
        "customers.yaml:22:120 E0106 `gone` is not an outcome",
        "customers.yaml:23:30 E0103 the mapping names no field `A1_NOMI` of the source",
        "customers.yaml:23:56 E0103 the mapping names no field `nane` of the target",
        "customers.yaml:23:88 E0103 the mapping has no field `credit_limits` that could be in conflict",
        "customers.yaml:24:27 E0106 `noon` is not a point in time",
        "customers.yaml:25:20 E0107 `lookups` comes in a later version",
    ];
    assert_eq!(said, expected);
    assert_eq!(project.engine("validate . --format json").ends(2).said(), expected);
}

#[test]
fn a_project_without_cases_says_so() {
    let out = project("").engine("test .").ends(0).out;
    assert_eq!(out, "no mapping has tests: they stand under `tests:`\n");
}
