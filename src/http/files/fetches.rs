//! `/v1/fetches`: bringing files and folders to this machine.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use potluck::{FetchJob, FetchOptions, FileLink, Files};
use tokio::time::{sleep, timeout};

use super::jobs::{Job, Order};
use super::stream::{Pieces, stream};
use super::{REQUEST_BYTES_MAX, created};
use crate::api::{FetchRequest, Job as JobView, JobState, Jobs, ProblemBody};
use crate::http::app::App;
use crate::http::extract::{Named, json_body};
use crate::http::problem::Problem;
use crate::http::reply::json;
use crate::http::sse;

/// Least time between two events.
const EVENT_PAUSE: Duration = Duration::from_millis(500);

/// Begin to fetch a file or folder into a folder of this machine. If the same fetch is in progress already,
/// it is the answer.
#[utoipa::path(post, path = "/v1/fetches",
    request_body = FetchRequest,
    responses(
        (status = 202, body = JobView),
        (status = 400, body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json", description = "outside of [files] paths, or not writable"),
        (status = 503, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(in crate::http) async fn begin(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    content: Body,
) -> Result<Response, Problem> {
    let hint = r#"send {"link":"potluck:..","to":"/a/folder"}"#;
    let request: FetchRequest = json_body(&headers, content, REQUEST_BYTES_MAX, hint).await?;
    let link: FileLink = request.link.parse().map_err(|error| Problem::bad("badLink", error))?;
    let to = app.places().to_write(&request.to).await?;
    let files = app.node().files();
    let options = FetchOptions { update: request.update, force: request.force };
    let order = Order { link, to, options };
    let job = app.jobs().begin(order.clone(), || start(&files, &order))?;
    app.jobs().save().await;
    Ok(created(StatusCode::ACCEPTED, &job.view()))
}

fn start(files: &Files, order: &Order) -> potluck::Result<FetchJob> {
    let Order { link, to, options } = order;
    files.fetch(link).to_real(to).update(options.update).force(options.force).start()
}

/// Goes on with the fetches of earlier runs that had not ended.
pub(crate) async fn go_on(app: Arc<App>) {
    let table = Arc::clone(app.jobs());
    let Ok(interrupted) = tokio::task::spawn_blocking(move || table.restore()).await else {
        return;
    };
    for one in interrupted {
        let files = app.node().files();
        // The configuration may allow other folders than in the earlier run.
        let started = match app.places().to_write(&one.order.to.to_string_lossy()).await {
            Ok(_) => start(&files, &one.order).map_err(Problem::from),
            Err(problem) => Err(problem),
        };
        app.jobs().go_on(one, started);
    }
    app.jobs().save().await;
}

/// The fetches of this node.
#[utoipa::path(get, path = "/v1/fetches", responses((status = 200, body = Jobs)))]
pub(in crate::http) async fn list(State(app): State<Arc<App>>) -> Response {
    json(&Jobs { fetches: app.jobs().views() })
}

/// The progress of a fetch.
#[utoipa::path(get, path = "/v1/fetches/{job}",
    params(("job" = String, Path, description = "its id")),
    responses(
        (status = 200, body = JobView),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(in crate::http) async fn one(
    State(app): State<Arc<App>>,
    Named(job): Named,
) -> Result<Response, Problem> {
    Ok(json(&app.jobs().find(&job)?.view()))
}

/// Cancel a fetch. The received bytes are kept, and the same fetch continues from there.
#[utoipa::path(delete, path = "/v1/fetches/{job}",
    params(("job" = String, Path, description = "its id")),
    responses(
        (status = 200, body = JobView),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(in crate::http) async fn cancel(
    State(app): State<Arc<App>>,
    Named(job): Named,
) -> Result<Response, Problem> {
    let job = app.jobs().find(&job)?;
    job.cancel();
    app.jobs().save().await;
    Ok(json(&job.view()))
}

/// The progress of a fetch as events: `progress` at most twice a second, at last `done`, `failed` or
/// `cancelled`. The data of each event is the fetch.
#[utoipa::path(get, path = "/v1/fetches/{job}/events",
    params(("job" = String, Path, description = "its id")),
    responses(
        (status = 200, body = String, content_type = "text/event-stream"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(in crate::http) async fn events(
    State(app): State<Arc<App>>,
    Named(job): Named,
) -> Result<Response, Problem> {
    let job = app.jobs().find(&job)?;
    let (pieces, body) = stream();
    tokio::spawn(async move {
        tokio::select! {
            () = pieces.closed() => {}
            () = tell(job, &pieces) => {}
        }
    });
    Ok(sse::respond(body))
}

/// Sends the progress of a fetch until it has ended or the client is gone.
async fn tell(job: Job, pieces: &Pieces) {
    let Some(mut fetch) = job.running() else {
        sse::send(pieces, event(&job.view())).await;
        return;
    };
    let mut over = fetch.clone();
    loop {
        let view = job.view();
        let ended = view.state != JobState::Running;
        if !sse::send(pieces, event(&view)).await || ended {
            return;
        }
        let news = async {
            fetch.changed().await;
            sleep(EVENT_PAUSE).await;
        };
        let next = async {
            tokio::select! {
                () = news => {}
                _ = over.wait() => {}
            }
        };
        let silent = timeout(sse::SILENCE_MAX, next).await.is_err();
        if silent && !sse::send(pieces, sse::HEARTBEAT.to_owned()).await {
            return;
        }
    }
}

/// One server-sent event.
fn event(view: &JobView) -> String {
    let name = match view.state {
        JobState::Running => "progress",
        JobState::Done => "done",
        JobState::Failed => "failed",
        JobState::Cancelled => "cancelled",
    };
    let mut text = String::new();
    // A fetch can always be written as JSON, and JSON has no unescaped line breaks.
    sse::append(&mut text, Some(name), None, &serde_json::to_string(view).unwrap_or_default());
    text
}
