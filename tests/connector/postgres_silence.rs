//! A network that goes silent: nothing is refused and nothing is answered.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use engine::connector::{Applied, FaultKind, Scope, unrecorded};
use engine::protocol::sql::{SqlSettings, connect_postgres};
use engine::record::Value;

use super::object::{create, int, open, update};
use crate::support::postgres::Database;

/// A way to a server that swallows what comes, once it has seen the words or
/// is told to.
struct Way {
    port: u16,
    silent: Arc<AtomicBool>,
}

impl Way {
    /// Answers are swallowed from the moment that `words` pass by.
    fn to(server: String, words: &'static [u8]) -> Way {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let silent = Arc::new(AtomicBool::new(false));
        let hears = silent.clone();
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (Ok(client), Ok(server)) = (client, TcpStream::connect(&server)) else { return };
                let (back, forth) = (server.try_clone().unwrap(), client.try_clone().unwrap());
                let (one, other) = (hears.clone(), hears.clone());
                std::thread::spawn(move || pass(client, server, words, &one));
                std::thread::spawn(move || pass(back, forth, b"", &other));
            }
        });
        Way { port, silent }
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, words: &[u8], silent: &AtomicBool) {
    let mut bytes = [0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        if silent.load(Ordering::SeqCst) {
            continue;
        }
        if !words.is_empty() && bytes[..count].windows(words.len()).any(|window| window == words) {
            silent.store(true, Ordering::SeqCst);
        }
        if to.write_all(&bytes[..count]).is_err() {
            return;
        }
    }
}

const TIMEOUT: Duration = Duration::from_millis(700);

/// Issue 2: a write whose network went silent was waited for without end.
#[tokio::test]
async fn a_silent_network_is_given_up() {
    let database = Database::fresh().await;
    database.run("CREATE TABLE t (id int PRIMARY KEY, name text); INSERT INTO t VALUES (1, 'x')").await;
    let server = database.url.split(['@', '/']).find(|part| part.contains("127.0.0.1")).unwrap().to_owned();
    let behind = |words| {
        let way = Way::to(server.clone(), words);
        let url = database.url.replace(&server, &format!("127.0.0.1:{}", way.port));
        let settings = SqlSettings { url: Some(url), timeout: TIMEOUT, ..SqlSettings::default() };
        (way, connect_postgres(&settings).unwrap())
    };
    let told = |fault: &engine::connector::Fault, applied: Applied| {
        assert_eq!((fault.kind, fault.applied), (FaultKind::External, applied), "{fault}");
        assert!(fault.message.contains("`timeout` of the connection"), "{fault}");
    };
    let at_commit = async {
        let (_way, connector) = behind(b"COMMIT\0");
        let object = open(&*connector, "t", &["id"], None).await;
        let change = create(vec![int(2)], vec![(1, Value::text("y"))]);
        let fault = object.begin(0).await.unwrap().write(&[change], unrecorded()).await.unwrap_err();
        // Nobody knows, though here it came about.
        told(&fault, Applied::Maybe);
    };
    let at_a_change = async {
        let (_way, connector) = behind(b"UPDATE ");
        let object = open(&*connector, "t", &["id"], None).await;
        let change = update(1, vec![(1, Value::text("y"))], vec![]);
        told(&object.begin(0).await.unwrap().write(&[change], unrecorded()).await.unwrap_err(), Applied::No);
    };
    let at_a_copy = async {
        let (_way, connector) = behind(b"COPY ");
        let object = open(&*connector, "t", &["id"], None).await;
        let change = create(vec![int(3)], vec![(1, Value::text("y"))]);
        told(&object.begin(0).await.unwrap().write(&[change], unrecorded()).await.unwrap_err(), Applied::No);
    };
    let at_other_calls = async {
        let (way, connector) = behind(b"");
        let object = open(&*connector, "t", &["id"], None).await;
        let writing = object.begin(0).await.unwrap();
        way.silent.store(true, Ordering::SeqCst);
        told(&writing.write(&[update(1, vec![], vec![])], unrecorded()).await.unwrap_err(), Applied::No);
        told(&object.fetch(&[0], &[vec![int(1)]], Scope::Everything).await.unwrap_err(), Applied::No);
        told(&object.horizon().await.unwrap_err(), Applied::No);
    };
    futures::join!(at_commit, at_a_change, at_a_copy, at_other_calls);
}
