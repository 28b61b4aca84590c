//! The transport on real sockets on loopback, each node with a drive task like a real one's.

mod calls;
mod failures;
mod fetch_limits;
mod fetches;
mod limits;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use potluck_base::{Admission, Contact, Identity, NetworkId};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::*;
use crate::socket::{DatagramKind, ReceiveBatch};

/// Far longer than anything here takes; a test that waits for it has failed.
const BOUND: Duration = Duration::from_secs(30);

async fn bounded<T>(future: impl Future<Output = T>) -> T {
    timeout(BOUND, future).await.expect("in time")
}

/// Lets the other tasks run until `condition` holds.
async fn until(condition: impl Fn() -> bool) {
    bounded(async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// A node's shell, as far as the transport needs one.
struct Node {
    contact: Contact,
    transport: Transport,
    socket: Arc<Sockets>,
    controls: mpsc::UnboundedReceiver<(SocketAddr, Vec<u8>)>,
    _tasks: JoinSet<()>,
}

fn network() -> NetworkId {
    NetworkId::new("test", Admission::Lab, None)
}

impl Node {
    fn new(seed: u8) -> Self {
        Self::with(seed, TransportConfig::default())
    }

    fn with(seed: u8, config: TransportConfig) -> Self {
        let socket = Sockets::bind(&["127.0.0.1:0".parse().unwrap()]).unwrap();
        Self::on(socket, seed, &network(), config)
    }

    fn on(socket: Sockets, seed: u8, network: &NetworkId, config: TransportConfig) -> Self {
        let identity = Identity::from_seed([seed; 32]);
        let socket = Arc::new(socket);
        let transport = Transport::new(&identity, network, Arc::clone(&socket), config);
        let (sender, controls) = mpsc::unbounded_channel();
        let mut tasks = JoinSet::new();
        tasks.spawn(drive(Arc::clone(&socket), transport.clone(), sender));
        let contact = Contact::new(identity.public_key(), socket.local_addr());
        Self { contact, transport, socket, controls, _tasks: tasks }
    }

    /// Answers every request with itself.
    fn echo(mut self) -> Self {
        let transport = self.transport.clone();
        self._tasks.spawn(async move {
            while let Some(call) = transport.next_incoming().await {
                call.responder.answer(call.request).unwrap();
            }
        });
        self
    }

    async fn call(&self, peer: &Self, request: impl Into<Bytes>) -> Result<Bytes, CallError> {
        bounded(self.transport.call(&peer.contact, request.into())).await
    }

    async fn incoming(&self) -> IncomingCall {
        bounded(self.transport.next_incoming()).await.expect("open")
    }

    async fn fetch(
        &self,
        peer: &Self,
        request: impl Into<Bytes>,
    ) -> Result<FetchStream, CallError> {
        bounded(self.transport.fetch(&peer.contact, request.into())).await
    }

    async fn incoming_fetch(&self) -> IncomingFetch {
        bounded(self.transport.next_incoming_fetch()).await.expect("open")
    }

    /// Opens a fetch and gives both ends of it.
    async fn fetch_both(&self, peer: &Self) -> (FetchStream, FrameSender) {
        let (stream, fetch) = tokio::join!(self.fetch(peer, "some"), peer.incoming_fetch());
        (stream.unwrap(), fetch.sender)
    }

    /// Serves every fetch with `frames` frames of `length` bytes each.
    fn serve(mut self, frames: usize, length: usize) -> Self {
        let transport = self.transport.clone();
        let frame = Bytes::from(vec![5; length]);
        self._tasks.spawn(async move {
            let mut servings = JoinSet::new();
            while let Some(mut fetch) = transport.next_incoming_fetch().await {
                let frame = frame.clone();
                servings.spawn(async move {
                    for _ in 0..frames {
                        if fetch.sender.send(frame.clone()).await.is_err() {
                            return;
                        }
                    }
                    fetch.sender.finish();
                });
            }
        });
        self
    }

    fn stats(&self) -> TransportStats {
        self.transport.stats()
    }

    fn inner(&self) -> &Arc<Inner> {
        &self.transport.handle.inner
    }
}

/// The only receiver of a port.
async fn drive(
    socket: Arc<Sockets>,
    transport: Transport,
    controls: mpsc::UnboundedSender<(SocketAddr, Vec<u8>)>,
) {
    let mut batch = ReceiveBatch::new();
    while socket.recv(&mut batch).await.is_ok() {
        for segment in batch.segments() {
            match segment.kind {
                DatagramKind::Quic => transport.on_quic(&segment),
                DatagramKind::Control => {
                    let _ = controls.send((segment.from, segment.bytes.to_vec()));
                }
            }
        }
    }
}

/// Reads to the end; how many frames and bytes there were.
async fn read_all(stream: &mut FetchStream) -> Result<(usize, usize), FetchError> {
    let (mut frames, mut bytes) = (0, 0);
    while let Some(frame) = bounded(stream.next()).await? {
        frames += 1;
        bytes += frame.len();
    }
    Ok((frames, bytes))
}
