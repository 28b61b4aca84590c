//! The accept loop: a bounded number of connections, with time limits for the client of each.
//!
//! When all places are taken, connections that wait for their clients are closed soon, and until then a few
//! more connections are accepted and answered about health only: a monitor must not mistake a node with many
//! idle connections for a node that hangs.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::activity::{Activity, Noting, Waits};
use super::app::{App, health_only, router};

/// Time after which a connection without a complete request head is closed.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// The same limit while there is no place for another connection.
const HEAD_TIMEOUT_FULL: Duration = Duration::from_secs(2);
/// Time in which a client has to send 16 KiB of a body, or take a piece of an answer. Raising it lets an idle
/// client hold its place longer.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(60);
/// The same limit while there is no place for another connection.
const CLIENT_TIMEOUT_FULL: Duration = Duration::from_secs(5);
/// Connections beside the usual ones, for questions about health only.
const RESERVED: usize = 16;
/// [`HEAD_TIMEOUT`] of a connection in one of these places.
const HEAD_TIMEOUT_RESERVED: Duration = Duration::from_secs(1);
/// How often a waiting connection checks whether all places are taken.
const LOOK: Duration = Duration::from_millis(500);
/// The longest request head: enough for a name of 512 bytes, percent-encoded, and a context.
const HEAD_BYTES_MAX: usize = 32 * 1024;
const HEADERS_MAX: usize = 64;
/// How long requests in progress may go on when the server stops.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// A running server.
#[derive(Debug)]
pub(crate) struct Server {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Server {
    /// Accepts no more requests and waits a little for those in progress.
    pub(crate) async fn stop(self) {
        self.stop.send_replace(true);
        // A panic in the accept loop has nothing left to stop.
        let _ = self.task.await;
    }
}

/// Serves the API on `listener`.
pub(crate) fn serve(listener: TcpListener, app: Arc<App>, connections_max: usize) -> Server {
    let (stop, stopped) = watch::channel(false);
    let task = tokio::spawn(accept(listener, app, connections_max, stopped));
    Server { stop, task }
}

async fn accept(
    listener: TcpListener,
    app: Arc<App>,
    connections_max: usize,
    mut stopped: watch::Receiver<bool>,
) {
    let places = Arc::new(Semaphore::new(connections_max));
    let reserved = Arc::new(Semaphore::new(RESERVED));
    let service = router(Arc::clone(&app));
    let health = health_only(app);
    let watching = stopped.clone();
    let accepting = async {
        // The semaphores are never closed.
        while let Some((place, usual)) = place(&places, &reserved).await {
            match listener.accept().await {
                Ok((stream, _)) => {
                    // A permit may have become free while no client connected.
                    let free =
                        if usual { None } else { Arc::clone(&places).try_acquire_owned().ok() };
                    let usual = usual || free.is_some();
                    let place = free.unwrap_or(place);
                    let router = if usual { service.clone() } else { health.clone() };
                    let squeezed = Squeezed { places: usual.then(|| Arc::clone(&places)) };
                    tokio::spawn(connection(stream, router, squeezed, watching.clone(), place));
                }
                // Out of descriptors, or the connection is gone already: the other connections go on.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    };
    tokio::select! {
        () = accepting => {}
        _ = stopped.wait_for(|stopped| *stopped) => {}
    }
    drop(listener);
    let all = u32::try_from(connections_max).unwrap_or(u32::MAX);
    let _ = timeout(LAST_WORDS, places.acquire_many(all)).await;
}

/// A place for the next connection, and whether it is a usual one.
async fn place(
    places: &Arc<Semaphore>,
    reserved: &Arc<Semaphore>,
) -> Option<(OwnedSemaphorePermit, bool)> {
    tokio::select! {
        biased;
        place = Arc::clone(places).acquire_owned() => Some((place.ok()?, true)),
        place = Arc::clone(reserved).acquire_owned() => Some((place.ok()?, false)),
    }
}

/// How long a connection may wait for its client.
struct Squeezed {
    /// `None` for a connection in a reserved place.
    places: Option<Arc<Semaphore>>,
}

impl Squeezed {
    /// The limits for the next request head, and for the client to continue.
    fn limits(&self) -> (Duration, Duration) {
        match &self.places {
            None => (HEAD_TIMEOUT_RESERVED, HEAD_TIMEOUT_RESERVED),
            Some(places) if places.available_permits() == 0 => {
                (HEAD_TIMEOUT_FULL, CLIENT_TIMEOUT_FULL)
            }
            Some(_) => (HEAD_TIMEOUT, CLIENT_TIMEOUT),
        }
    }

    /// Whether the client of a connection has used up its time.
    fn is_over(&self, waits: Waits) -> bool {
        let (request, client) = self.limits();
        match waits {
            Waits::Request(since) => since >= request,
            Waits::Client(since) => since >= client,
            Waits::Node => false,
        }
    }
}

async fn connection(
    stream: TcpStream,
    router: Router,
    squeezed: Squeezed,
    mut stopped: watch::Receiver<bool>,
    _place: OwnedSemaphorePermit,
) {
    let _ = stream.set_nodelay(true);
    let activity = Arc::new(Activity::default());
    let noting =
        Noting { inner: TowerToHyperService::new(router), activity: Arc::clone(&activity) };
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), noting);
    tokio::pin!(connection);
    let idle = async {
        while !squeezed.is_over(activity.waits()) {
            tokio::time::sleep(LOOK).await;
        }
    };
    // An error of a connection concerns its peer only, which sees it.
    tokio::select! {
        _ = connection.as_mut() => return,
        () = idle => return,
        _ = stopped.wait_for(|stopped| *stopped) => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

#[cfg(test)]
mod tests;
