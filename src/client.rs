//! The HTTP client of the command line: blocking, one request at a time.

mod stream;
mod transfer;
mod url;

use std::path::Path;
use std::time::Duration;

use serde::de::DeserializeOwned;
use ureq::http::{HeaderMap, Request, Response, request};
use ureq::{Agent, Body};

use crate::api::{PROBLEM, ProblemBody};
use crate::cli::Global;
use crate::failure::{Exit, Failure};
use crate::{nodes, place};

pub(crate) use stream::ServerEvent;
pub(crate) use transfer::not_written;
pub(crate) use url::{base_url, file_path, is_loopback, kv_path, topic_path, with_query};

use url::address_of;

/// Longer than any answer of a node takes.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Longer than it takes to read or send the largest files that are shared.
const LONG_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Larger than any answer of a node.
const ANSWER_BYTES_MAX: u64 = 64 << 20;

/// The code of a failure after which it is unknown whether the node carried out the request.
pub(crate) const BROKE_OFF: &str = "brokeOff";

/// A client of one node.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    agent: Agent,
    /// For requests whose duration depends on the size of files.
    patient: Agent,
    base: String,
    authorization: Option<String>,
}

/// The answer of a node.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Client {
    /// The node that the user means.
    ///
    /// # Errors
    /// Wrong usage: an invalid URL or token file.
    pub(crate) fn of(global: &Global) -> Result<Self, Failure> {
        let default = || place::local_url().unwrap_or_else(|| "http://127.0.0.1:8080".to_owned());
        let base = base_url(&global.node.clone().unwrap_or_else(default))?;
        let token = match &global.token_file {
            Some(file) => Some(read_token(file)?),
            None => token_of(&base),
        };
        Ok(Self::new(base, token.as_deref()))
    }

    /// A node at a URL as [`base_url`] makes it.
    pub(crate) fn new(base: String, token: Option<&str>) -> Self {
        let authorization = token.map(|token| format!("Bearer {token}"));
        Self { agent: agent(TIMEOUT), patient: agent(LONG_TIMEOUT), base, authorization }
    }

    /// The same with another time limit for requests.
    pub(crate) fn within(mut self, limit: Duration) -> Self {
        self.agent = agent(limit);
        self
    }

    /// The URL of the node.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// Sends one request and returns the answer, also if it is an error.
    ///
    /// # Errors
    /// There is no node, or it did not answer in time.
    pub(crate) fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&[u8]>,
    ) -> Result<Answer, Failure> {
        let request = self.head(method, path, headers);
        let response = match body {
            Some(body) => self.agent.run(request.body(body).map_err(wrong)?),
            // A length of zero: a POST without a length would be sent in chunks.
            None if method == "POST" => self.agent.run(request.body(&[][..]).map_err(wrong)?),
            None => self.agent.run(request.body(()).map_err(wrong)?),
        };
        self.answer(response)
    }

    /// The head of a request.
    fn head(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> request::Builder {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(authorization) = &self.authorization {
            request = request.header("authorization", authorization);
        }
        request
    }

    /// A whole answer.
    fn answer(&self, response: Result<Response<Body>, ureq::Error>) -> Result<Answer, Failure> {
        let mut response = response.map_err(|error| self.unreachable(&error))?;
        let body = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec();
        Ok(Answer {
            status: response.status().as_u16(),
            body: body.map_err(|error| self.unreachable(&error))?,
            headers: response.headers().clone(),
        })
    }

    /// A GET that fails unless the answer is a success.
    ///
    /// # Errors
    /// As [`request`](Self::request), or the problem that the node reports.
    pub(crate) fn get(&self, path: &str) -> Result<Answer, Failure> {
        self.request("GET", path, &[], None)?.good()
    }

    /// A GET of a JSON object.
    ///
    /// # Errors
    /// As [`get`](Self::get), or an answer in another form.
    pub(crate) fn get_json<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.get(path)?.json()
    }

    /// A POST of a JSON object.
    ///
    /// # Errors
    /// As [`request`](Self::request), or the problem that the node reports.
    pub(crate) fn post(&self, path: &str, body: Option<&[u8]>) -> Result<Answer, Failure> {
        let headers = [("content-type", "application/json")];
        self.request("POST", path, body.map_or(&[], |_| &headers), body)?.good()
    }

    fn unreachable(&self, error: &ureq::Error) -> Failure {
        use std::io::ErrorKind as Io;
        let base = &self.base;
        match error {
            ureq::Error::Timeout(ureq::Timeout::Connect | ureq::Timeout::Resolve) => {}
            ureq::Error::Timeout(_) => {
                let message = format!("the node at {base} did not answer in time");
                return Failure::new(Exit::Unavailable, "timeout", message).hint("try again");
            }
            // The node was reached: whether it carried out the request is unknown.
            ureq::Error::Io(error)
                if matches!(
                    error.kind(),
                    Io::ConnectionReset
                        | Io::ConnectionAborted
                        | Io::BrokenPipe
                        | Io::UnexpectedEof
                ) =>
            {
                let message = format!("the node at {base} broke off before it had answered");
                return Failure::new(Exit::Unavailable, BROKE_OFF, message)
                    .hint("see with potluck status whether it runs, and try again");
            }
            ureq::Error::Protocol(_) | ureq::Error::BodyExceedsLimit(_) => return not_a_node(),
            _ => {}
        }
        Failure::new(Exit::NoNode, "noNode", format!("no node answers at {base}"))
            .hint("start one with potluck up, or name one with --node URL")
    }
}

impl Answer {
    /// The answer if it is a success, else the problem that the node reports.
    pub(crate) fn good(self) -> Result<Self, Failure> {
        if (200..300).contains(&self.status) { Ok(self) } else { Err(self.failure()) }
    }

    /// The text of a header; empty if there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The body as an object.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_slice(&self.body).map_err(|_| not_a_node())
    }

    /// The reported problem, if there is one.
    pub(crate) fn problem(&self) -> Option<ProblemBody> {
        self.header("content-type").starts_with(PROBLEM).then(|| self.json().ok()).flatten()
    }

    /// The reported problem as a failure.
    pub(crate) fn failure(&self) -> Failure {
        self.problem().map_or_else(not_a_node, Failure::from)
    }
}

fn agent(timeout: Duration) -> Agent {
    let config = Agent::config_builder()
        .http_status_as_error(false)
        // Requests to the local node must not go through a proxy.
        .proxy(None)
        .max_redirects(0)
        .timeout_connect(Some(CONNECT_TIMEOUT))
        .timeout_global(Some(timeout))
        .build();
    Agent::from(config)
}

/// The entry of the node at this URL, if this user runs that node.
pub(crate) fn listed_at(base: &str) -> Option<nodes::Entry> {
    address_of(base).and_then(nodes::find)
}

/// The token of the node at this URL, if this user runs that node. If it cannot be read, the node answers
/// that it is needed.
fn token_of(base: &str) -> Option<String> {
    let listed = address_of(base).and_then(nodes::find);
    let file = match listed {
        Some(entry) => entry.token_file?,
        // The URL in the data folder is the same, although the node is not listed.
        None if place::local_url().as_deref() == Some(base) => {
            place::token_file(&place::client_data_dir()?)
        }
        None => return None,
    };
    read_token(&file).ok()
}

fn wrong(error: ureq::http::Error) -> Failure {
    Failure::usage(format!("this cannot be asked for: {error}"))
}

fn not_a_node() -> Failure {
    Failure::new(
        Exit::Failed,
        "notPotluck",
        "what answers there is no Potluck node of this version",
    )
    .hint("check the URL in --node or POTLUCK_NODE")
}

/// The token in a file.
///
/// # Errors
/// Wrong usage: no such file, or one without a token.
pub(crate) fn read_token(path: &Path) -> Result<String, Failure> {
    let wrong = |why: &str| {
        Failure::new(Exit::Usage, "tokenFile", format!("token file {}: {why}", path.display()))
    };
    let text = std::fs::read_to_string(path).map_err(|error| wrong(&error.to_string()))?;
    let token = text.trim();
    let is_token = |byte: u8| byte.is_ascii_graphic();
    if token.is_empty() || token.len() > 4096 || !token.bytes().all(is_token) {
        return Err(wrong("it must hold one word of printable ASCII"));
    }
    Ok(token.to_owned())
}
