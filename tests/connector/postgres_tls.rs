//! PostgreSQL: the way to the server is encrypted as its address says.

use std::path::Path;

use engine::connector::{Fault, FaultKind, Retry};
use engine::protocol::sql::{SqlSettings, connect_postgres};

use super::postgres::Postgres;
use crate::support::postgres::{TlsServer, tls_server};

/// Reaches a server, its files named from a folder.
async fn check(url: &str, folder: &Path) -> Result<String, Fault> {
    let settings = SqlSettings { url: Some(url.to_owned()), folder: folder.into(), ..SqlSettings::default() };
    connect_postgres(&settings)?.check().await
}

/// Issue 2: `sslmode=require` was refused, and `prefer` never encrypted.
#[tokio::test]
async fn a_server_that_asks_for_tls_is_reached() {
    let server = tls_server();
    let folder = server.authority.parent().unwrap();
    let at = |host: &str, parameters: &str| format!("postgres://postgres@{host}:{}/postgres{parameters}", server.port);
    for (host, parameters) in [
        ("127.0.0.1", ""),
        ("127.0.0.1", "?sslmode=prefer"),
        ("127.0.0.1", "?sslmode=require"),
        ("127.0.0.2", "?sslmode=require&sslrootcert=authority.pem"),
        ("127.0.0.2", "?sslmode=verify-ca&sslrootcert=authority.pem"),
        ("127.0.0.1", "?sslmode=verify-full&sslrootcert=authority.pem"),
    ] {
        let answered = check(&at(host, parameters), folder).await;
        assert!(answered.as_ref().is_ok_and(|told| told.starts_with("PostgreSQL")), "{parameters}: {answered:?}");
    }
    let plain = check(&at("127.0.0.1", "?sslmode=disable"), folder).await.unwrap_err();
    assert!(plain.message.contains("no encryption"), "the server speaks TLS only: {plain}");
}

#[tokio::test]
async fn a_server_of_another_authority_is_refused() {
    let server = tls_server();
    let folder = server.stranger.parent().unwrap();
    for (host, parameters, says) in [
        ("127.0.0.1", "sslmode=verify-full&sslrootcert=stranger.pem", "UnknownIssuer"),
        ("127.0.0.1", "sslmode=require&sslrootcert=stranger.pem", "UnknownIssuer"),
        ("127.0.0.1", "sslmode=verify-full", "UnknownIssuer"),
        ("127.0.0.2", "sslmode=verify-full&sslrootcert=authority.pem", "not valid for name"),
    ] {
        let url = format!("postgres://postgres@{host}:{}/postgres?{parameters}", server.port);
        let fault = check(&url, folder).await.unwrap_err();
        assert_eq!((fault.kind, fault.retry), (FaultKind::User, Retry::Never), "{fault}");
        let expected = ["the server's certificate is not accepted", says, "`sslrootcert=`"];
        assert!(expected.iter().all(|words| fault.message.contains(words)), "{parameters}: {fault}");
    }
}

/// As the first recipe of PostgreSQL's manual makes it.
#[tokio::test]
async fn a_server_that_signed_for_itself_is_told_what_to_do() {
    let server = TlsServer::start("authority");
    let folder = server.authority.parent().unwrap();
    let url = |parameters: &str| format!("postgres://postgres@127.0.0.1:{}/postgres?{parameters}", server.port);
    let fault = check(&url("sslmode=verify-ca&sslrootcert=authority.pem"), folder).await.unwrap_err();
    assert_eq!((fault.kind, fault.retry), (FaultKind::User, Retry::Never));
    assert!(fault.message.contains("the server needs one that the authority has signed"), "{fault}");
    assert!(check(&url("sslmode=require"), folder).await.is_ok());
}

#[tokio::test]
async fn a_server_without_tls_is_refused_where_it_is_asked_for() {
    let postgres = Postgres::new().await;
    let url = format!("{}?sslmode=require", postgres.database.url);
    let fault = check(&url, Path::new("")).await.unwrap_err();
    assert_eq!((fault.kind, fault.retry), (FaultKind::User, Retry::Never));
    assert!(fault.message.contains("no TLS with the server"), "{fault}");
}
