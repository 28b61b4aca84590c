//! A response body that is produced while it is sent.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use hyper::body::Frame;
use tokio::sync::mpsc;

/// Pieces that are produced before they are sent.
const AHEAD: usize = 4;

/// Takes the pieces of a body; an error cuts the answer off.
pub(in crate::http) type Pieces = mpsc::Sender<io::Result<Bytes>>;

/// A body and the sender of its pieces. The body ends when the sender is dropped.
pub(in crate::http) fn stream() -> (Pieces, Body) {
    let (sender, receiver) = mpsc::channel(AHEAD);
    (sender, Body::new(Stream(receiver)))
}

struct Stream(mpsc::Receiver<io::Result<Bytes>>);

impl hyper::body::Body for Stream {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.0.poll_recv(context).map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test]
    async fn pieces_come_out_in_order_and_the_body_ends_with_them() {
        let (pieces, body) = stream();
        tokio::spawn(async move {
            for number in 0..20u8 {
                pieces.send(Ok(vec![number].into())).await.expect("the other end reads");
            }
        });
        let all = body.collect().await.expect("whole").to_bytes();
        assert_eq!(all.to_vec(), (0..20).collect::<Vec<u8>>());
    }
}
