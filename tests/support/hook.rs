//! A server that takes messages over HTTP, written after RFC 9112: one request
//! for each connection.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// What it was sent.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    /// Names in small letters.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.body))
    }
}

#[derive(Default)]
struct Taken {
    requests: Mutex<Vec<Request>>,
    changed: Condvar,
}

/// What the server does, by the requests it has had.
pub(crate) struct Hook {
    port: u16,
    taken: Arc<Taken>,
}

/// So long a test waits for a message.
const PATIENCE: Duration = Duration::from_secs(30);

impl Hook {
    /// A server that answers the request of this number (from 0) with a status
    /// and headers.
    pub(crate) fn start(answer: impl Fn(usize, &Hook) -> &'static str + Send + Sync + 'static) -> Hook {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (taken, answer) = (Arc::new(Taken::default()), Arc::new(answer));
        let hook = Hook { port, taken: taken.clone() };
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (hook, answer) = (Hook { port, taken: taken.clone() }, answer.clone());
                std::thread::spawn(move || hook.serve(stream, &*answer));
            }
        });
        hook
    }

    /// A server that takes everything.
    pub(crate) fn taking_all() -> Hook {
        Hook::start(|_, _| "204 No Content")
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}/{path}", self.port)
    }

    /// What it has had so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.taken.requests.lock().unwrap().clone()
    }

    /// Waits until it has had so many requests. False where they do not come.
    pub(crate) fn has(&self, count: usize) -> bool {
        let requests = self.taken.requests.lock().unwrap();
        let waited = self.taken.changed.wait_timeout_while(requests, PATIENCE, |requests| requests.len() < count);
        !waited.unwrap().1.timed_out()
    }

    fn serve(&self, stream: TcpStream, answer: &(dyn Fn(usize, &Hook) -> &'static str + Send + Sync)) {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        let mut words = line.split(' ').map(str::to_owned);
        let (method, path) = (words.next().unwrap(), words.next().unwrap());
        let mut headers = Vec::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            headers.push((name.to_lowercase(), value.trim().to_owned()));
        }
        let mut request = Request { method, path, headers, body: String::new() };
        let length = request.header("content-length").parse().unwrap_or(0);
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        request.body = String::from_utf8(body).unwrap();
        let number = {
            let mut requests = self.taken.requests.lock().unwrap();
            requests.push(request);
            self.taken.changed.notify_all();
            requests.len() - 1
        };
        let answer = answer(number, self);
        let mut stream = stream;
        // Who asked may have gone away.
        let _ = write!(stream, "HTTP/1.1 {answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    }
}
