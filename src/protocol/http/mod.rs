//! HTTP: one client, and what its failures mean.
//!
//! Addresses and headers may hold secrets: of an address nothing but its host
//! is ever told.

use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Method, StatusCode};

use crate::connector::{Fault, Retry};

/// What is sent somewhere, where nothing matters of the answer but whether it
/// was taken.
#[derive(Debug, Clone)]
pub struct Message {
    /// With `http://` or `https://`.
    pub url: String,
    pub headers: Vec<(String, String)>,
    /// With its media type; `None` makes it a `GET`.
    pub body: Option<(&'static str, String)>,
}

/// A client; its connections are shared by what is cloned of it.
#[derive(Debug, Clone)]
pub struct Client(reqwest::Client);

impl Client {
    /// A client whose calls end after this long, answer or not.
    ///
    /// # Errors
    /// The certificates of this machine cannot be read.
    pub fn new(timeout: Duration) -> Result<Client, Fault> {
        // Followed, a `POST` would become a `GET`, and headers would go to whom they are not meant for.
        let client = reqwest::Client::builder().timeout(timeout).redirect(Policy::none()).user_agent(AGENT).build();
        client.map(Client).map_err(|error| Fault::internal("preparing HTTP", "", chain(&error)))
    }

    /// Sends a message; done once the other side has said that it took it.
    ///
    /// # Errors
    /// External where it is worth trying again, else a user's: an address or a
    /// header that cannot be, or an answer that refuses it.
    pub async fn send(&self, message: &Message) -> Result<(), Fault> {
        let url = reqwest::Url::parse(&message.url)
            .map_err(|error| Fault::user("sending a message", "", format!("the address cannot be read: {error}")))?;
        let doing = format!("sending a message to {}", url.host_str().unwrap_or("nobody"));
        let mut headers = HeaderMap::new();
        if let Some((media, _)) = &message.body {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(media));
        }
        for (name, value) in &message.headers {
            let read = || Some((name.parse::<HeaderName>().ok()?, HeaderValue::from_str(value).ok()?));
            let Some((header, mut value)) = read() else {
                return Err(Fault::user(doing, "", format!("the header `{name}` holds what no header can hold")));
            };
            value.set_sensitive(true);
            headers.insert(header, value);
        }
        let request = match &message.body {
            Some((_, body)) => self.0.request(Method::POST, url).body(body.clone()),
            None => self.0.request(Method::GET, url),
        };
        let answer = request.headers(headers).send().await;
        let answer = answer.map_err(|error| {
            let fault = Fault::external(&doing, "", chain(&error.without_url()));
            fault.maybe_applied()
        })?;
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        let native = status.as_u16().to_string();
        let reason = status.canonical_reason().unwrap_or("an answer without a name");
        Err(if is_passing(status) {
            let fault = Fault::external(doing, native, reason);
            Fault { retry: Retry::Later(retry_after(answer.headers())), ..fault }
        } else if status.is_redirection() {
            Fault::user(doing, native, "it has moved: write the new address")
        } else {
            Fault::user(doing, native, reason)
        })
    }
}

const AGENT: &str = concat!("engine/", env!("CARGO_PKG_VERSION"));

/// Answers after which the same call may succeed.
fn is_passing(status: StatusCode) -> bool {
    let passing = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_EARLY, StatusCode::TOO_MANY_REQUESTS];
    status.is_server_error() || passing.contains(&status)
}

/// How long the other side wants to be left alone, at most a minute.
fn retry_after(headers: &HeaderMap) -> Duration {
    let seconds = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
    Duration::from_secs(seconds.unwrap_or(0)).min(Duration::from_mins(1))
}

/// An error and what lies behind it, without the address.
fn chain(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".to_owned();
    }
    let mut words = Vec::new();
    let mut behind: Option<&dyn std::error::Error> = std::error::Error::source(error);
    while let Some(error) = behind {
        words.push(error.to_string());
        behind = error.source();
    }
    // The innermost says it best: `Connection refused (os error 111)`.
    words.pop().unwrap_or_else(|| error.to_string())
}
