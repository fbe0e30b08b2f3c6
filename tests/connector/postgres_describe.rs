//! What PostgreSQL says of its objects: names, rights, types.

use std::sync::Arc;

use engine::connector::{Access, Applied, FaultKind, Listing, Outcome, unrecorded};
use engine::protocol::sql::{SqlSettings, connect_postgres};
use engine::record::{Kind, Value};
use futures::StreamExt;

use super::object::{create, int, rows, write};
use super::postgres::{Postgres, with_types};
use crate::support::postgres::Database;

#[tokio::test]
async fn names_lead_where_they_say() {
    let postgres = Postgres::new().await;
    postgres
        .run(
            "CREATE TABLE users (id int PRIMARY KEY, here int); CREATE TABLE \"Users\" (id int PRIMARY KEY, capital int); \
             CREATE TABLE \"Orders\" (id int PRIMARY KEY); \
             CREATE SCHEMA \"Sales.Dept\"; CREATE TABLE \"Sales.Dept\".users (id int PRIMARY KEY, there int); \
             CREATE TABLE \"Sales.Dept\".only_there (id int PRIMARY KEY)",
        )
        .await;
    let second = async |name: &str| {
        let described = postgres.connector.describe(name).await.unwrap();
        described.map(|described| described.shape.fields.last().unwrap().name.to_string())
    };
    assert_eq!(second("users").await.as_deref(), Some("here"));
    assert_eq!(second("Users").await.as_deref(), Some("capital"));
    assert_eq!(second("USERS").await, None, "a name that fits several is none");
    assert_eq!(second("orders").await.as_deref(), Some("id"), "the only one in another case is meant");
    assert_eq!(second("public.users").await.as_deref(), Some("here"));
    assert_eq!(second("\"Sales.Dept\".users").await.as_deref(), Some("there"));
    assert_eq!(second("\"sales.dept\".USERS").await.as_deref(), Some("there"));
    assert_eq!(second("only_there").await, None, "a schema off the search path is named");
    let access = Access {
        object: "USERS".into(),
        shape: Arc::default(),
        key: vec![],
        cursor: None,
        filter: None,
        start: None,
        marked: None,
        batch: 1,
    };
    let fault = postgres.connector.open(access).await.err().unwrap();
    assert!(fault.message.contains("users") && fault.message.contains("Users"), "{fault}");
    let listed: Vec<String> =
        postgres.connector.objects().await.unwrap().into_iter().map(|object| object.name).collect();
    assert_eq!(listed, ["Orders", "Users", "users", "\"Sales.Dept\".only_there", "\"Sales.Dept\".users"]);
}

#[tokio::test]
async fn rights_are_told() {
    let postgres = Postgres::new().await;
    let role = format!("{}_clerk", postgres.database.url.rsplit('/').next().unwrap());
    postgres
        .run(&format!(
            "CREATE TABLE t (id int PRIMARY KEY, stamp timestamp); CREATE TABLE hidden (id int PRIMARY KEY); \
             CREATE ROLE {role} LOGIN PASSWORD 'geheim'; GRANT SELECT, UPDATE ON t TO {role}; \
             CREATE TABLE policed (id int PRIMARY KEY, owner text); ALTER TABLE policed ENABLE ROW LEVEL SECURITY; \
             INSERT INTO policed VALUES (1, 'clerk'), (2, 'boss'); GRANT ALL ON policed TO {role}; \
             CREATE POLICY own ON policed USING (owner = 'clerk')"
        ))
        .await;
    let settings = SqlSettings {
        url: Some(postgres.database.url.clone()),
        username: Some(role.clone()),
        password: Some("geheim".into()),
        ..SqlSettings::default()
    };
    assert!(!format!("{settings:?}").contains("geheim"));
    let clerk = Postgres { connector: connect_postgres(&settings).unwrap(), database: Database { url: String::new() } };
    let described = clerk.connector.describe("t").await.unwrap().unwrap();
    assert!(!described.can_create && described.can_update && !described.can_delete);
    assert!(!described.sees_open_transactions);
    assert!(described.notes.iter().any(|note| note.contains("pg_read_all_stats")), "{:?}", described.notes);
    assert!(!described.identity.is_empty());
    let object = clerk.open("t", &["id"], Some("stamp")).await;
    assert!(object.horizon().await.unwrap().clock.is_some());
    let fault = object.begin(0).await.unwrap().write(&[create(vec![int(1)], vec![])], unrecorded()).await.unwrap_err();
    assert_eq!((fault.kind, fault.applied, fault.native.as_str()), (FaultKind::User, Applied::No, "42501"));
    let hidden = clerk.open("hidden", &["id"], None).await;
    let fault = hidden.read(Listing::Full).next().await.unwrap().unwrap_err();
    assert_eq!(fault.kind, FaultKind::User, "{fault}");
    let policed = clerk.open("policed", &["id"], None).await;
    assert_eq!(rows(&*policed, Listing::Full).await.len(), 1);
    let fault = policed.read(Listing::Keys).next().await.unwrap().unwrap_err();
    assert_eq!(fault.kind, FaultKind::User, "a listing with hidden rows is not complete: {fault}");
    let owned = |id: i64, owner: &str| create(vec![int(id)], vec![(1, Value::text(owner))]);
    let outcomes = write(&*policed, &[owned(3, "clerk"), owned(4, "boss")]).await;
    assert!(matches!(outcomes[0], Outcome::Done { .. }), "{outcomes:?}");
    assert!(matches!(&outcomes[1], Outcome::Refused(refusal) if refusal.native == "42501"), "{outcomes:?}");
    postgres.run(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await;
}

#[tokio::test]
async fn what_the_engine_does_not_know_is_noted() {
    let postgres = with_types().await;
    postgres
        .run(
            "CREATE TABLE t (id int PRIMARY KEY, net inet, price money_amount, mood mood, code char(6), \
             total numeric(10,2) GENERATED ALWAYS AS (1.5) STORED, names varchar(10)[], stamp timestamp(3), grid int[][])",
        )
        .await;
    let described = postgres.connector.describe("t").await.unwrap().unwrap();
    let kind = |name: &str| described.shape.fields[described.shape.slot(name).unwrap()].kind.clone();
    assert_eq!(kind("net"), Kind::Other("inet".into()));
    assert_eq!(kind("price"), Kind::Decimal { precision: Some(10), scale: Some(2) });
    assert_eq!(kind("mood"), Kind::Enum { labels: vec!["happy".into(), "sad".into()] });
    assert_eq!(kind("code"), Kind::Text { max: Some(6), padded: true });
    assert_eq!(kind("names"), Kind::List(Box::new(Kind::Text { max: Some(10), padded: false })));
    assert_eq!(kind("stamp"), Kind::LocalTime { digits: 3 });
    let total = &described.shape.fields[described.shape.slot("total").unwrap()];
    assert!(total.read_only && total.generated);
    assert_eq!(
        described.notes,
        ["`net` is of type `inet`", "`grid` is of type `integer[]`"].map(|field| {
            format!("{field}: carried as text, and what is written has to be as the server prints it")
        })
    );
    // A view gives the keys that the table beneath it gives.
    postgres
        .run("CREATE TABLE given (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text); CREATE VIEW shown AS SELECT id, name FROM given")
        .await;
    let fields = postgres.connector.describe("shown").await.unwrap().unwrap().shape.fields;
    assert_eq!(fields.iter().map(|field| field.generated).collect::<Vec<_>>(), [true, false]);
}
