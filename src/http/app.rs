//! The API as a whole: the state that handlers share, and the routes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{Method, StatusCode, Uri, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use potluck::{BlobId, FileState, Node, layout};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::timeout;
#[cfg(test)]
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::begin_of_body;
use super::files::{self, JobTable, Places};
use super::gossip::Rates;
use super::guard::{Pass, token_needed};
use super::kept::Kept;
use super::live::{self, Configuration, Fresh, Live, Read};
use super::metrics::HttpCounters;
use super::overview::Watch;
use super::problem::Problem;
use super::{
    admin, admission, dashboard, debug, doctor, events, gossip, health, inspect, keys, kinds, kv,
    members, metrics, openapi, overview, reload, reply, search, settings, teams, topics, watches,
};
use crate::api::Reloaded;
use crate::config::OnTerm;
use crate::failure::{Exit, Failure};

/// Longer than any command of the core takes, and shorter than a client's timeout.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Least limit for bodies that are read before their request takes a place: enough for the longest list.
const WHOLE_BODY_BYTES: usize = 64 * 1024;
/// Share of the connections that may be streams, in percent: the other places are for short requests.
const STREAMS_SHARE: usize = 75;

/// Why a running node is asked to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StopReason {
    /// The node has already left, on request over HTTP.
    Left,
}

/// What the handlers share.
#[derive(Debug)]
pub(crate) struct App {
    node: Node,
    configuration: Configuration,
    jobs: Arc<JobTable>,
    rates: Rates,
    watch: Watch,
    /// Places for short requests.
    permits: Arc<Semaphore>,
    /// Places for long requests, and for streams.
    streams: Arc<Semaphore>,
    stop: watch::Sender<Option<StopReason>>,
    counters: HttpCounters,
}

impl App {
    /// The API of `node`. A value in `stop` ends the program.
    pub(crate) fn new(
        node: Node,
        fresh: Fresh,
        read: Read,
        stop: watch::Sender<Option<StopReason>>,
    ) -> Self {
        let limits = &fresh.settings.limits;
        let permits = Arc::new(Semaphore::new(limits.http_requests));
        let streams = (limits.http_connections * STREAMS_SHARE).div_ceil(100);
        let streams = Arc::new(Semaphore::new(streams));
        let configuration = Configuration::new(Live::new(fresh, node.data_dir()), read);
        let jobs = Arc::new(JobTable::kept_in(node.data_dir().join(layout::FETCHES)));
        let counters = HttpCounters::default();
        let (rates, watch) = (Rates::default(), Watch::default());
        Self { node, configuration, jobs, rates, watch, permits, streams, stop, counters }
    }

    pub(super) fn node(&self) -> &Node {
        &self.node
    }

    /// The configuration in force.
    pub(super) fn live(&self) -> Arc<Live> {
        self.configuration.live()
    }

    pub(super) fn places(&self) -> Places {
        self.live().places.clone()
    }

    /// The keys of the configuration that wait for a restart.
    pub(super) fn waiting(&self) -> Vec<String> {
        self.configuration.waiting()
    }

    /// What the node does when it is asked to stop.
    pub(crate) fn on_term(&self) -> OnTerm {
        self.live().settings.node.on_term
    }

    /// Reads the configuration again, and applies it as a whole or not at all.
    ///
    /// # Errors
    /// The error in the configuration.
    pub(crate) async fn reload(self: &Arc<Self>) -> Result<Reloaded, Failure> {
        let app = Arc::clone(self);
        // It reads files.
        let read = tokio::task::spawn_blocking(move || app.configuration.reload(&app.node)).await;
        let (reloaded, entries) = read.map_err(Failure::failed)??;
        live::enter(&self.node, &entries).await;
        Ok(reloaded)
    }

    pub(super) fn jobs(&self) -> &Arc<JobTable> {
        &self.jobs
    }

    pub(super) fn rates(&self) -> &Rates {
        &self.rates
    }

    pub(super) fn watch(&self) -> &Watch {
        &self.watch
    }

    pub(super) fn counters(&self) -> &HttpCounters {
        &self.counters
    }

    pub(super) fn value_bytes_max(&self) -> usize {
        self.live().settings.protocol.kv.value_bytes_max
    }

    pub(super) fn tell_to_stop(&self) {
        self.stop.send_replace(Some(StopReason::Left));
    }
}

/// All routes, each with its description.
fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(kv::get, kv::put, kv::delete, kinds::post))
        .routes(routes!(keys::list))
        .routes(routes!(files::list, files::upload::upload))
        .routes(routes!(files::content::get, files::unshare))
        .routes(routes!(files::content::get_inside))
        .routes(routes!(files::list_shares, files::share))
        .routes(routes!(files::pin, files::unpin))
        .routes(routes!(files::gc))
        .routes(routes!(files::fetches::list, files::fetches::begin))
        .routes(routes!(files::fetches::one, files::fetches::cancel))
        .routes(routes!(files::fetches::events))
        .routes(routes!(inspect::status))
        .routes(routes!(dashboard::page))
        .routes(routes!(dashboard::style))
        .routes(routes!(dashboard::script))
        .routes(routes!(doctor::doctor))
        .routes(routes!(overview::overview))
        .routes(routes!(overview::history))
        .routes(routes!(inspect::peers))
        .routes(routes!(members::members))
        .routes(routes!(topics::subscribe, topics::publish))
        .routes(routes!(search::search))
        .routes(routes!(watches::watch))
        .routes(routes!(events::events))
        .routes(routes!(inspect::lookup))
        .routes(routes!(inspect::config))
        .routes(routes!(reload::reload))
        .routes(routes!(reload::view, reload::set_levels))
        .routes(routes!(admission::list, admission::invite))
        .routes(routes!(admission::cancel))
        .routes(routes!(admission::revoke))
        .routes(routes!(admission::network))
        .routes(routes!(settings::show, settings::set))
        .routes(routes!(teams::create))
        .routes(routes!(teams::show))
        .routes(routes!(teams::add, teams::remove))
        .routes(routes!(admission::export_key))
        .routes(routes!(admission::import_key))
        .routes(routes!(admin::join))
        .routes(routes!(admin::leave))
        .routes(routes!(debug::routing_table))
        .routes(routes!(debug::data))
        .routes(routes!(debug::version))
        .routes(routes!(debug::lookups))
        .routes(routes!(gossip::stats))
        .routes(routes!(metrics::metrics))
        .routes(routes!(health::healthz))
        .routes(routes!(health::readyz))
}

/// The description of all routes, made from their handlers.
#[cfg(test)]
pub(super) fn description() -> OpenApi {
    routes().split_for_parts().1
}

/// All routes, and their description.
pub(super) fn router(app: Arc<App>) -> Router {
    let (router, api) = routes().split_for_parts();
    let document = openapi::document(&api);
    router
        .route("/openapi.json", axum::routing::get(async move || reply::json(&document)))
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .layer(from_fn_with_state(Arc::clone(&app), pass))
        .with_state(app)
}

/// The routes for connections beside the usual ones: health only.
pub(super) fn health_only(app: Arc<App>) -> Router {
    Router::new()
        .route("/healthz", axum::routing::get(health::healthz))
        .route("/readyz", axum::routing::get(health::readyz))
        .fallback(no_place)
        .layer(from_fn_with_state(Arc::clone(&app), pass))
        .with_state(app)
}

async fn no_place() -> Problem {
    let detail = "all connections are taken";
    Problem::unavailable("busy", detail).hint("close some, or raise [limits] http_connections")
}

async fn no_such_path() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, Exit::Usage, "noSuchPath", "there is nothing at this path")
        .hint("see /openapi.json")
}

async fn no_such_method() -> Problem {
    let detail = "this path has no such method";
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, Exit::Usage, "noSuchMethod", detail)
        .hint("see /openapi.json")
}

/// The steps of every request: the rules, its body, a place, and a time limit.
async fn pass(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let (begin, method) = (Instant::now(), request.method().clone());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let response = match pass_all(&app, request, next).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    };
    let response = health::explained(&app.node, response).await;
    let (counters, route) = (&app.counters, route.as_ref().map(MatchedPath::as_str));
    counters.count(response.status());
    counters.timing.observe(&method, route, response.status(), begin.elapsed());
    finished(response)
}

async fn pass_all(app: &App, request: Request, next: Next) -> Result<Response, Problem> {
    let only_here = check(app, &request)?;
    let streams = takes_its_time(request.method(), request.uri());
    let request = if streams { request } else { arrived(app, request).await? };
    let permit = admit(app, &request, streams)?;
    if let Some(id) = only_here
        && !is_here(app, id).await
    {
        return Err(token_needed());
    }
    if streams {
        // No time limit: files may be large, and messages arrive at any time. Progress is checked elsewhere.
        return Ok(next.run(request).await);
    }
    let answer = timeout(REQUEST_TIMEOUT, next.run(request)).await;
    let response = answer.map_err(|_| {
        Problem::unavailable("timeout", "the node did not answer in time").hint("try again")
    })?;
    drop(permit);
    kept(app, response)
}

/// Whether the request sends or shares whole files, or publishes lines without a limit.
pub(super) fn takes_its_time(method: &Method, uri: &Uri) -> bool {
    let path = uri.path();
    let lines = || uri.query().is_some_and(|query| query.split('&').any(|it| it == "lines=true"));
    method == Method::POST
        && (matches!(path, "/v1/files" | "/v1/shares")
            || (path.starts_with("/v1/topics/") && lines()))
}

/// The request with its body received, so that it takes no place while its client sends it. If it announces
/// more than any handler accepts, the handler refuses it with advice.
async fn arrived(app: &App, request: Request) -> Result<Request, Problem> {
    let most = app.value_bytes_max().max(WHOLE_BODY_BYTES);
    let (parts, content) = request.into_parts();
    let read = timeout(REQUEST_TIMEOUT, begin_of_body(&parts.headers, content, most)).await;
    let slow =
        |_| Problem::unavailable("timeout", "the body did not come in time").hint("try again");
    Ok(Request::from_parts(parts, read.map_err(slow)??))
}

/// A stream keeps its place until it is over.
fn kept(app: &App, response: Response) -> Result<Response, Problem> {
    let kind = response.headers().get(header::CONTENT_TYPE);
    if kind.is_none_or(|kind| kind != "text/event-stream") {
        return Ok(response);
    }
    let permit = stream_permit(app)?;
    Ok(response.map(|body| Body::new(Kept { body, _permit: permit })))
}

fn stream_permit(app: &App) -> Result<OwnedSemaphorePermit, Problem> {
    Arc::clone(&app.streams).try_acquire_owned().map_err(|_| {
        let detail = "too many streams are open";
        Problem::unavailable("busy", detail).hint("close some, or raise [limits] http_connections")
    })
}

/// Checks a request against the rules; returns the id of the file that this node must have, if the request
/// may only read such a file.
fn check(app: &App, request: &Request) -> Result<Option<Option<BlobId>>, Problem> {
    let route = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    let headers = request.headers();
    let pass = app.live().rules.check(request.method(), route, headers)?;
    // A target with a host of its own is a request to a proxy.
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    if request.uri().authority().is_some_and(|target| Some(target.as_str()) != host) {
        let detail = "the host in the target of the request is not that of the Host header";
        return Err(Problem::forbidden("hostRefused", detail));
    }
    Ok((pass == Pass::FilesThatAreHere).then(|| file_in(request.uri().path())))
}

/// A place among the requests in progress; health needs none.
fn admit(
    app: &App,
    request: &Request,
    streams: bool,
) -> Result<Option<OwnedSemaphorePermit>, Problem> {
    if request.method() == Method::GET && matches!(request.uri().path(), "/healthz" | "/readyz") {
        return Ok(None);
    }
    if streams {
        return stream_permit(app).map(Some);
    }
    let full =
        |_| Problem::unavailable("busy", "too many requests are under way").hint("try again");
    Ok(Some(Arc::clone(&app.permits).try_acquire_owned().map_err(full)?))
}

/// The id in a path below `/v1/files/`.
fn file_in(path: &str) -> Option<BlobId> {
    path.strip_prefix("/v1/files/")?.split('/').next()?.parse().ok()
}

/// Whether this node has all bytes of a file.
async fn is_here(app: &App, id: Option<BlobId>) -> bool {
    let Some(id) = id else { return false };
    let found = app.node.files().find(id).await.ok().flatten();
    found.is_some_and(|file| file.state == FileState::Complete)
}

/// Sets the headers of every answer: it is no document, and may not be cached without validation.
fn finished(mut response: Response) -> Response {
    use axum::http::{HeaderValue, header};
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-cache"));
    response
}
