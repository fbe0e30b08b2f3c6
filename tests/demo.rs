//! Holds the demo's databases to what the README says of them: makes both from
//! their SQL text and counts. What the engine does with them is tested elsewhere.

use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, Connection, Row};

/// A database in memory, made from one of the demo's SQL texts.
async fn database(name: &str) -> SqliteConnection {
    let file = format!("{}/mappings/{name}.sql", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(file).unwrap();
    let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(text)).execute(&mut connection).await.unwrap();
    connection
}

async fn count(connection: &mut SqliteConnection, what: &'static str) -> i64 {
    sqlx::query_scalar(what).fetch_one(connection).await.unwrap()
}

/// The tax numbers of a table, digits only, test digits left out.
async fn tax_numbers(connection: &mut SqliteConnection, what: &'static str) -> Vec<String> {
    let rows = sqlx::query(what).fetch_all(connection).await.unwrap();
    let digits =
        rows.iter().map(|row| row.get::<String, _>(0).chars().filter(char::is_ascii_digit).collect::<String>());
    digits.filter(|digits| !digits.is_empty() && digits != "00000000000").collect()
}

#[tokio::test]
async fn the_erp_is_padded_and_full_of_odd_cases() {
    let mut erp = database("erp").await;
    assert_eq!(count(&mut erp, "SELECT count(*) FROM SA1 WHERE D_E_L_E_T_ = ' '").await, 3000);
    assert_eq!(count(&mut erp, "SELECT count(*) FROM SA1 WHERE D_E_L_E_T_ = '*'").await, 40);
    let padded = "SELECT count(*) FROM SA1 WHERE length(A1_COD) = 6 AND length(A1_NOME) = 40 AND length(A1_CGC) = 14
      AND length(A1_EMAIL) = 60 AND length(A1_TEL) = 15 AND length(A1_MUN) = 30 AND length(A1_DTNASC) = 8";
    assert_eq!(count(&mut erp, padded).await, 3040);
    let reused =
        "SELECT count(*) FROM SA1 d JOIN SA1 l USING (A1_COD, A1_LOJA) WHERE d.D_E_L_E_T_ = '*' AND l.D_E_L_E_T_ = ' '";
    assert_eq!(count(&mut erp, reused).await, 10);
    assert_eq!(count(&mut erp, "SELECT count(*) FROM SA1 WHERE trim(A1_CGC) = '' AND D_E_L_E_T_ = ' '").await, 75);
    assert_eq!(count(&mut erp, "SELECT count(*) FROM SB1 WHERE B1_TIPO = 'PA'").await, 200);
    // Money that floating point has frayed would come out with more digits.
    assert_eq!(count(&mut erp, "SELECT count(*) FROM SA1 WHERE A1_LC <> round(A1_LC, 2)").await, 0);
}

#[tokio::test]
async fn an_edit_moves_the_stamp() {
    let mut erp = database("erp").await;
    for edit in
        ["UPDATE SA1 SET A1_TEL = '' WHERE A1_COD = '000004'", "UPDATE SB1 SET B1_PRV1 = 1 WHERE R_E_C_N_O_ = 4"]
    {
        assert_eq!(sqlx::query(edit).execute(&mut erp).await.unwrap().rows_affected(), 1);
    }
    let moved = "SELECT (SELECT count(*) FROM SA1 WHERE S_T_A_M_P_ > '2025-12-31') + (SELECT count(*) FROM SB1 WHERE S_T_A_M_P_ > '2025-12-31')";
    assert_eq!(count(&mut erp, moved).await, 2);
}

#[tokio::test]
async fn the_shop_knows_800_of_the_customers() {
    let (mut erp, mut shop) = (database("erp").await, database("shop").await);
    let known = tax_numbers(&mut shop, "SELECT tax_id FROM customers WHERE tax_id IS NOT NULL").await;
    let mut known_once = known.clone();
    known_once.sort_unstable();
    known_once.dedup();
    let customers = tax_numbers(&mut erp, "SELECT A1_CGC FROM SA1 WHERE D_E_L_E_T_ = ' '").await;
    let shared: Vec<&String> = customers.iter().filter(|tax| known_once.binary_search(tax).is_ok()).collect();
    // Three numbers stand twice in the ERP, and one of those shared stands twice in the shop.
    assert_eq!(shared.len(), 803);
    assert_eq!(known.iter().filter(|tax| customers.contains(tax)).count(), 801);
}
