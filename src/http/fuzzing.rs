//! For fuzz targets: the HTTP API of a node that runs, fed with any request, and parts of it alone.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use potluck::{Admission, Node};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::time::timeout;

use super::app::{App, StopReason, router};
use super::{files, kv, metrics};
use crate::config::Settings;
use crate::fuzzing::Say;
use crate::http::Fresh;

/// How long an answer may take. Longer than any command of one node alone.
const PATIENCE: Duration = Duration::from_secs(40);

/// The API of a node of its own, which knows no other.
pub struct Api {
    runtime: Runtime,
    router: TowerToHyperService<axum::Router>,
    _node: Node,
    _folder: tempfile::TempDir,
    _stop: watch::Receiver<Option<StopReason>>,
}

impl Api {
    /// Starts the node.
    ///
    /// # Panics
    /// If it does not start.
    #[must_use]
    pub fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime of one thread");
        let folder = tempfile::tempdir().expect("a folder");
        let node = runtime.block_on(async {
            let node = Node::builder().network("fuzz").admission(Admission::Lab);
            let node = node.listen(([127, 0, 0, 1], 0).into()).sync(false);
            node.data_dir(folder.path()).start().await.expect("a node that starts")
        });
        let (stop, stopped) = watch::channel(None);
        let read = |running: &Settings| Ok(Fresh { settings: running.clone(), token: None });
        let mut settings = Settings::default();
        settings.node.data_dir = folder.path().to_owned();
        // Nothing of the machine is shared or written over.
        settings.files.paths = Some(vec![folder.path().join("files")]);
        let fresh = Fresh { settings, token: None };
        let app = Arc::new(App::new(node.clone(), fresh, Box::new(read), stop));
        let router = TowerToHyperService::new(router(app));
        Self { runtime, router, _node: node, _folder: folder, _stop: stopped }
    }

    /// Sends a request: a line with method and target, lines of headers, an empty line, the body.
    ///
    /// # Panics
    /// If the answer is an inner error, says that it is JSON and is not, or does not come.
    pub fn request(&self, bytes: &[u8], say: &mut Say<'_>) {
        let Some(request) = request_of(bytes) else { return say("request", false, &"none") };
        // A node that leaves answers nothing any more.
        if request.uri().path().contains("leave") {
            return;
        }
        let target = (request.method().clone(), request.uri().clone());
        let (status, headers, body) = self.runtime.block_on(async {
            let answer = timeout(PATIENCE, self.router.call(request)).await;
            let answer = answer.expect("an answer in time").unwrap_or_else(|never| match never {});
            let (parts, body) = answer.into_parts();
            let endless =
                parts.headers.get(CONTENT_TYPE).is_some_and(|it| it == "text/event-stream");
            let body = if endless { None } else { body.collect().await.ok() };
            (parts.status, parts.headers, body.map(http_body_util::Collected::to_bytes))
        });
        assert!(status != StatusCode::INTERNAL_SERVER_ERROR, "{target:?}: {status} {body:?}");
        let kind =
            headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let json = (kind.ends_with("json")).then(|| {
            let body = body.unwrap_or_default();
            let json = serde_json::from_slice::<serde_json::Value>(&body);
            json.unwrap_or_else(|error| panic!("{target:?}: {error} in {body:?}"))
        });
        let code = json.as_ref().and_then(|json| json.get("code"));
        say("answer", status.is_success(), &(target.0, status, code));
    }
}

fn request_of(bytes: &[u8]) -> Option<Request<Body>> {
    let split = bytes.windows(2).position(|two| two == b"\n\n");
    let (head, body) = split.map_or((bytes, &[][..]), |at| (&bytes[..at], &bytes[at + 2..]));
    let head = String::from_utf8_lossy(head);
    let mut lines = head.split('\n');
    let (method, target) = lines.next()?.split_once(' ')?;
    let mut request = Request::builder().method(Method::from_bytes(method.as_bytes()).ok()?);
    request = request.uri(target).header("host", "127.0.0.1");
    for line in lines {
        let (name, value) = line.split_once(": ")?;
        request = request.header(name, HeaderValue::from_bytes(value.as_bytes()).ok()?);
    }
    request.body(Body::from(body.to_vec())).ok()
}

/// Headers and names that are read by functions of ours.
///
/// # Panics
/// If a range leads out of its file, a header is made that is none, or lines are lost.
pub fn parts(text: &str, say: &mut Say<'_>) {
    let (first, rest) = text.split_once('\n').unwrap_or((text, ""));
    let mut headers = HeaderMap::new();
    for name in ["range", "if-range", "x-potluck-context", "if-match", "if-none-match"] {
        if let Ok(value) = HeaderValue::from_str(first) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    for bytes in [0, 1, 500, u64::MAX] {
        headers.remove("if-range");
        files::check_range(&headers, bytes, say);
    }
    kv::check_context(&headers, say);
    files::check_names(first, say);
    metrics::check_classic(rest, say);
}
