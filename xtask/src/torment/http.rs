//! A client of one node's HTTP API: blocking, one request at a time.

use std::io::Read;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::Value;
use ureq::Agent;
use ureq::http::Request;

/// Longest wait for a connection; a port without a process refuses at once.
const CONNECT_MAX: Duration = Duration::from_secs(2);
/// Larger than any expected answer.
const ANSWER_BYTES_MAX: u64 = 4 << 20;

/// The address of a node, and its identity.
#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) number: usize,
    /// `http://ip:port`.
    pub(super) base: String,
    pub(super) token: Option<String>,
    /// The key with which it signs, in hex.
    pub(super) public_key: String,
    /// Its node id, in hex.
    pub(super) id: String,
    /// Grows with every start of its process.
    pub(super) life: AtomicU32,
}

impl Endpoint {
    pub(super) fn life(&self) -> u32 {
        self.life.load(Ordering::Relaxed)
    }
}

/// A request to a node.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call<'a> {
    /// The HTTP method.
    pub(super) method: &'a str,
    /// The path, with its query.
    pub(super) path: &'a str,
    /// The context that a write carries.
    pub(super) context: Option<&'a str>,
    /// The body.
    pub(super) body: Option<&'a str>,
}

impl<'a> Call<'a> {
    /// A GET of this path.
    pub(super) const fn get(path: &'a str) -> Self {
        Self { method: "GET", path, context: None, body: None }
    }
}

/// The answer of a node.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) context: Option<String>,
    pub(super) body: Vec<u8>,
}

impl Answer {
    /// The body as JSON; null if it is not JSON.
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// A client.
#[derive(Debug, Clone)]
pub(super) struct Client {
    agent: Agent,
}

impl Client {
    /// A client that waits at most `answer_max` for a whole answer; `None`: for ever, for streams.
    pub(super) fn new(answer_max: Option<Duration>) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None)
            .max_redirects(0)
            .timeout_connect(Some(CONNECT_MAX))
            .timeout_global(answer_max)
            .build();
        Self { agent: Agent::from(config) }
    }

    /// One request; `None` if there was no complete answer.
    pub(super) fn ask(&self, node: &Endpoint, call: &Call<'_>) -> Option<Answer> {
        let Call { method, path, context, body } = *call;
        let mut request = Request::builder().method(method).uri(format!("{}{path}", node.base));
        if let Some(token) = &node.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if let Some(context) = context {
            request = request.header("x-potluck-context", context);
        }
        let response = match body {
            Some(body) => {
                let request = request.header("content-type", "application/octet-stream");
                self.agent.run(request.body(body).ok()?)
            }
            None => self.agent.run(request.body(()).ok()?),
        };
        let mut response = response.ok()?;
        let header = |name: &str| {
            response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
        };
        let context = header("x-potluck-context");
        let status = response.status().as_u16();
        let read = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec();
        Some(Answer { status, context, body: read.ok()? })
    }

    /// A stream of events; `None` if the node refuses it.
    pub(super) fn stream(&self, node: &Endpoint, path: &str) -> Option<impl Read + use<>> {
        let mut request = Request::builder().uri(format!("{}{path}", node.base));
        if let Some(token) = &node.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let response = self.agent.run(request.body(()).ok()?).ok()?;
        (response.status().as_u16() == 200).then(|| response.into_body().into_reader())
    }
}
