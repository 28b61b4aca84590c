//! Streams and messages between two nodes: protocols of applications over the connections that nodes have.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_core::Stream;
use potluck_base::{Contact, NodeId, Peer};
use potluck_host::ServedProtocol;
use potluck_host::transport::{PeerStream, ProtocolError};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;

use crate::{Node, Result};

/// The protocol of single messages.
const MESSAGES: &str = "potluck/message/1";
/// Longest single message. Raising it lets peers take more memory: [`MESSAGES_WAITING`] times as much.
pub const MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// Messages that wait to be read; a sender is told that there is no room for more.
const MESSAGES_WAITING: usize = 64;
/// The answer to a message that was taken.
const TAKEN: u8 = 1;

/// A message of another node.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DirectMessage {
    /// The sender, as its connection proved.
    pub from: Peer,
    /// What it sent.
    pub bytes: Bytes,
}

/// The messages that other nodes send to this one, as a stream. Dropped, this node takes none any more.
pub struct Inbox {
    messages: mpsc::Receiver<DirectMessage>,
    _served: ServedProtocol,
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox").field("waiting", &self.messages.len()).finish_non_exhaustive()
    }
}

impl Inbox {
    /// The next message; `None` once the node has stopped. Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<DirectMessage> {
        self.messages.recv().await
    }
}

impl Stream for Inbox {
    type Item = DirectMessage;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<DirectMessage>> {
        self.messages.poll_recv(cx)
    }
}

impl Node {
    /// Serves a protocol of one's own until the result is dropped. `handler` gets each stream that a peer opens
    /// with [`Node::open`], with the peer as its connection proved it; the stream is an `AsyncRead` and an
    /// `AsyncWrite`, and [`PeerStream::into_split`] gives both halves. A name is 1 to 64 visible ASCII
    /// characters and holds the version, as in `chat/1`.
    ///
    /// At most 32 streams are open at a node, 16 of them opened by one peer; further ones are refused as busy.
    /// A handler that holds a clone of the node keeps the node running.
    ///
    /// # Errors
    /// [`Error::Protocol`](crate::Error::Protocol): the name is none, it is served already, or there are 64.
    pub fn protocol<Serving>(
        &self,
        name: &str,
        handler: impl Fn(Peer, PeerStream) -> Serving + Send + Sync + 'static,
    ) -> Result<ServedProtocol>
    where
        Serving: Future<Output = ()> + Send + 'static,
    {
        let network = self.network().id;
        let handler = move |stream: PeerStream| {
            let peer = Contact::new(stream.peer(), stream.address()).in_network(&network);
            Box::pin(handler(peer, stream)) as Pin<Box<dyn Future<Output = ()> + Send>>
        };
        Ok(self.handle().serve_protocol(name, Arc::new(handler))?)
    }

    /// Opens a stream of a protocol to a member of the network.
    ///
    /// # Errors
    /// [`Error::Protocol`](crate::Error::Protocol): no such member is known, it does not serve the protocol, it
    /// has no room, or it is not reached. [`Error::Stopped`](crate::Error::Stopped)
    pub async fn open(&self, peer: NodeId, name: &str) -> Result<PeerStream> {
        let contact = self.contact_of(peer).await?;
        self.open_at(&contact, name).await
    }

    /// The same to a node of which the contact is known, also where it is no known member.
    ///
    /// # Errors
    /// As [`Node::open`].
    pub async fn open_at(&self, peer: &Contact, name: &str) -> Result<PeerStream> {
        Ok(self.handle().open_protocol(peer, name).await?)
    }

    async fn contact_of(&self, peer: NodeId) -> Result<Contact> {
        let members = self.members().await?.members;
        let found = members.into_iter().find(|member| member.peer.id == peer);
        Ok(found.map(|member| member.peer.contact).ok_or(ProtocolError::NoPeer)?)
    }

    /// Takes messages that other nodes send with [`Node::send`], until the result is dropped. At most 64 wait to
    /// be read.
    ///
    /// # Errors
    /// [`Error::Protocol`](crate::Error::Protocol): there is an inbox already.
    pub fn inbox(&self) -> Result<Inbox> {
        let (sender, messages) = mpsc::channel(MESSAGES_WAITING);
        let served =
            self.protocol(MESSAGES, move |from, stream| take(from, stream, sender.clone()))?;
        Ok(Inbox { messages, _served: served })
    }

    /// Sends one message of at most 64 KiB to a member, and waits until its [`Node::inbox`] has it. Messages
    /// of one sender that are sent one after the other arrive in that order.
    ///
    /// # Errors
    /// [`Error::Protocol`](crate::Error::Protocol): as [`Node::open`]; busy if its inbox is full. After an error of the
    /// connection the message may have arrived.
    pub async fn send(&self, peer: NodeId, message: impl AsRef<[u8]>) -> Result<()> {
        let message = message.as_ref();
        if message.len() > MESSAGE_BYTES_MAX {
            return Err(ProtocolError::Call(potluck_host::transport::CallError::TooLarge).into());
        }
        let mut stream = self.open(peer, MESSAGES).await?;
        let mut taken = [0; 1];
        let sent = async {
            stream.write_all(message).await?;
            stream.shutdown().await?;
            stream.read_exact(&mut taken).await
        };
        match sent.await {
            Ok(_) if taken[0] == TAKEN => Ok(()),
            Ok(_) => Err(ProtocolError::Busy.into()),
            Err(_) => Err(ProtocolError::Call(potluck_host::transport::CallError::Reset).into()),
        }
    }
}

/// Takes one message, and tells the sender whether there was room.
async fn take(from: Peer, mut stream: PeerStream, inbox: mpsc::Sender<DirectMessage>) {
    let mut message = Vec::new();
    let most = MESSAGE_BYTES_MAX as u64 + 1;
    let read = (&mut stream).take(most).read_to_end(&mut message).await;
    if read.is_err() || message.len() > MESSAGE_BYTES_MAX {
        // The stream is reset, which the sender takes for a failure.
        return;
    }
    let taken = inbox.try_send(DirectMessage { from, bytes: message.into() }).is_ok();
    if stream.write_all(&[u8::from(taken)]).await.is_ok() {
        // A sender that is gone does not need its answer.
        let _ = stream.shutdown().await;
        // It is read until its end, so that the answer is not cut off.
        let _ = stream.read(&mut [0; 1]).await;
    }
}
