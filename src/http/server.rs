//! The accept loop: a bounded number of connections, each with a time limit for its next request.

use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::app::{App, router};

/// A connection without a whole request head for so long is closed.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest request head: a name of 512 bytes, percent-encoded, and a context fit well.
const HEAD_BYTES_MAX: usize = 32 * 1024;
const HEADERS_MAX: usize = 64;
/// How long requests under way may go on when the server stops.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// A running server.
#[derive(Debug)]
pub(crate) struct Server {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Server {
    /// Takes no more requests and waits a little for those under way.
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
    let service = TowerToHyperService::new(router(app));
    let watching = stopped.clone();
    let accepting = async {
        // The semaphore is never closed.
        while let Ok(place) = Arc::clone(&places).acquire_owned().await {
            match listener.accept().await {
                Ok((stream, _)) => {
                    tokio::spawn(connection(stream, service.clone(), watching.clone(), place));
                }
                // Out of descriptors, or a connection that is gone already: others go on.
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

async fn connection(
    stream: TcpStream,
    service: TowerToHyperService<axum::Router>,
    mut stopped: watch::Receiver<bool>,
    _place: OwnedSemaphorePermit,
) {
    let _ = stream.set_nodelay(true);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    // An error of a connection concerns its peer only, who sees it.
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = stopped.wait_for(|stopped| *stopped) => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}
