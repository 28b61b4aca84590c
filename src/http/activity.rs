//! The state of a connection: whether it waits for its client, and since when.
//!
//! A connection waits for its client while no request is in progress, while the body of a request is sent,
//! and while the client takes a piece of an answer. In each case the client has a limited time to make
//! progress; a byte now and then is not progress.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, HttpBody};
use axum::response::Response;
use bytes::Bytes;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use parking_lot::Mutex;

use super::app::takes_its_time;

/// Bytes of a body that a client has to send in each limited time: 16 KiB in 5 s is a slow modem line.
/// Raising it drops slower clients.
const STEP_BYTES: usize = 16 * 1024;

/// What a connection waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waits {
    /// The client's next request, for this time so far.
    Request(Duration),
    /// The rest of a body, or that the client takes a piece of an answer, for this time so far.
    Client(Duration),
    /// The node.
    Node,
}

/// The state of a connection, and the time of its last answer or of the last progress of its client.
#[derive(Debug)]
pub(super) struct Activity {
    requests: AtomicUsize,
    /// The number of bodies that are being received and pieces of answers that are being sent.
    client: AtomicUsize,
    since: Mutex<Instant>,
}

impl Default for Activity {
    fn default() -> Self {
        let since = Mutex::new(Instant::now());
        Self { requests: AtomicUsize::new(0), client: AtomicUsize::new(0), since }
    }
}

impl Activity {
    /// What the connection waits for.
    pub(super) fn waits(&self) -> Waits {
        let since = self.since.lock().elapsed();
        if self.requests.load(Ordering::Acquire) == 0 {
            return Waits::Request(since);
        }
        if self.client.load(Ordering::Acquire) > 0 { Waits::Client(since) } else { Waits::Node }
    }

    fn goes_on(&self) {
        *self.since.lock() = Instant::now();
    }

    /// A request is in progress until the guard is dropped.
    fn begin(self: &Arc<Self>) -> UnderWay {
        self.requests.fetch_add(1, Ordering::AcqRel);
        UnderWay(Arc::clone(self))
    }

    /// The connection waits for the client until the guard is dropped.
    fn client(self: &Arc<Self>) -> Turn {
        self.goes_on();
        self.client.fetch_add(1, Ordering::AcqRel);
        Turn(Arc::clone(self))
    }
}

/// A request, or an answer that is being sent.
struct UnderWay(Arc<Activity>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.goes_on();
        self.0.requests.fetch_sub(1, Ordering::AcqRel);
    }
}

/// An action of the client that the connection waits for.
struct Turn(Arc<Activity>);

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.goes_on();
        self.0.client.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The API with a record of what each connection does.
pub(super) struct Noting {
    pub(super) inner: TowerToHyperService<Router>,
    pub(super) activity: Arc<Activity>,
}

impl Service<hyper::Request<Incoming>> for Noting {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn call(&self, request: hyper::Request<Incoming>) -> Self::Future {
        let under_way = self.activity.begin();
        let streams = takes_its_time(request.method(), request.uri());
        let turn = (!streams && !request.body().is_end_stream()).then(|| self.activity.client());
        let request = request.map(|body| Body::new(Arriving { body, turn, bytes: 0 }));
        let answer = self.inner.call(request);
        Box::pin(async move {
            let response = answer.await?;
            let noted = |body| Noted { body, turn: None, under_way };
            Ok(response.map(|body| Body::new(noted(body))))
        })
    }
}

/// The body of a request: the connection waits for the client until its end.
struct Arriving<B> {
    body: B,
    /// `None` at the end, and for a body without a time limit.
    turn: Option<Turn>,
    /// Bytes since the last progress of the client.
    bytes: usize,
}

impl<B: HttpBody<Data = Bytes> + Unpin> HttpBody for Arriving<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        match &frame {
            Poll::Ready(Some(Ok(frame))) => {
                self.bytes += frame.data_ref().map_or(0, Bytes::len);
                if self.bytes >= STEP_BYTES
                    && let Some(turn) = &self.turn
                {
                    turn.0.goes_on();
                    self.bytes = 0;
                }
            }
            Poll::Ready(Some(Err(_)) | None) => self.turn = None,
            Poll::Pending => {}
        }
        if self.body.is_end_stream() {
            self.turn = None;
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The body of an answer: the connection waits for the client from each piece until the next one is
/// requested.
struct Noted {
    body: Body,
    turn: Option<Turn>,
    under_way: UnderWay,
}

impl HttpBody for Noted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.turn = None;
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if matches!(frame, Poll::Ready(Some(_))) {
            self.turn = Some(self.under_way.0.client());
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt as _, Full};

    use super::*;
    use crate::http::files::stream::stream;

    #[tokio::test]
    async fn a_connection_waits_for_a_request_for_its_body_or_for_the_node() {
        let activity = Arc::new(Activity::default());
        assert!(matches!(activity.waits(), Waits::Request(_)));
        let under_way = activity.begin();
        assert_eq!(activity.waits(), Waits::Node);
        let turn = Some(activity.client());
        let body = Full::new(Bytes::from_static(b"some"));
        let mut arriving = Arriving { body, turn, bytes: 0 };
        assert!(matches!(activity.waits(), Waits::Client(_)), "its body is not here yet");
        arriving.frame().await.expect("a frame").expect("read");
        assert_eq!(activity.waits(), Waits::Node, "its body is here");
        drop(under_way);
        assert!(matches!(activity.waits(), Waits::Request(_)));
    }

    #[tokio::test]
    async fn a_client_that_takes_no_more_of_an_answer_is_waited_for_and_a_quiet_stream_is_not() {
        let activity = Arc::new(Activity::default());
        let (sender, body) = stream();
        let under_way = activity.begin();
        let mut noted = Noted { body, turn: None, under_way };
        let waker = std::task::Waker::noop();
        let mut cx = Context::from_waker(waker);
        let mut poll = |noted: &mut Noted| Pin::new(noted).poll_frame(&mut cx).is_ready();
        assert!(!poll(&mut noted));
        assert_eq!(activity.waits(), Waits::Node, "there is nothing to take");
        sender.send(Ok(Bytes::from_static(b"piece"))).await.expect("open");
        assert!(poll(&mut noted));
        assert!(matches!(activity.waits(), Waits::Client(_)), "it is being taken");
        assert!(!poll(&mut noted));
        assert_eq!(activity.waits(), Waits::Node, "it was");
        drop(noted);
        assert!(matches!(activity.waits(), Waits::Request(_)));
    }
}
