//! What a link wants done, and the queue it waits in.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use potluck_base::{BoundedQueue, Contact, PublicKey, UnixMillis};
use potluck_wire::{Request, Response};

use crate::hellos::HELLOS_MAX;
use crate::link::{ReplyTo, RequestToken};

/// What a link wants done, or has to tell.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Send this datagram.
    Transmit {
        /// Where to.
        to: SocketAddr,
        /// All of it.
        bytes: Bytes,
    },
    /// A request came. The seal held: the request is from the holder of the key.
    Incoming {
        /// Who asks, and from where.
        from: Contact,
        /// To be given to [`Link::respond`](crate::Link::respond), once.
        reply_to: ReplyTo,
        /// What.
        request: Request,
        /// Whether the sender surely receives at that address.
        proven: bool,
        /// Longest encoded response that may be sent.
        budget: usize,
    },
    /// A request was answered.
    Answered {
        /// Which request.
        token: RequestToken,
        /// By whom: the contact that was asked.
        from: Contact,
        /// What.
        response: Response,
        /// How long it took, from the try that was answered.
        rtt: Duration,
        /// From where the peer saw the request come.
        seen_at: Option<SocketAddr>,
    },
    /// A request ran out of tries.
    Failed {
        /// Which request.
        token: RequestToken,
        /// Who was asked.
        to: Contact,
    },
    /// In an `invite` network: this peer showed its certificate and surely is at that address. Said
    /// again when the address or the certificate is another. In an `open` network the same of its proof.
    Admitted {
        /// Who, and where.
        contact: Contact,
        /// When its certificate expires.
        until: UnixMillis,
        /// The ticket that let it in; `None` if the authority did without one.
        ticket: Option<PublicKey>,
    },
    /// A greeting was answered.
    Greeted {
        /// The address that was greeted.
        address: SocketAddr,
        /// Who claims to be there. Not authenticated.
        contact: Contact,
    },
    /// A greeting was not answered, or there were too many at once.
    NoWelcome {
        /// The address that was greeted.
        address: SocketAddr,
    },
}

/// The outputs in their order. What may get lost in a network anyway is refused when `outputs_max`
/// wait; what was promised has room besides, since a request or greeting is only begun if its end
/// will have.
#[derive(Debug)]
pub(crate) struct Outputs {
    /// Each with whether it was promised.
    queue: BoundedQueue<(Output, bool)>,
    outputs_max: usize,
    promises_max: usize,
    promised: usize,
}

impl Outputs {
    pub(crate) fn new(outputs_max: usize, requests_max: usize) -> Self {
        let promises_max = requests_max + HELLOS_MAX;
        let queue = BoundedQueue::new(outputs_max + promises_max);
        Self { queue, outputs_max, promises_max, promised: 0 }
    }

    /// Whether what may get lost would be refused now.
    pub(crate) fn is_full(&self) -> bool {
        self.queue.len() - self.promised >= self.outputs_max
    }

    /// Whether one more may be promised when `open` promises are not yet kept.
    pub(crate) fn may_promise(&self, open: usize) -> bool {
        open + self.promised < self.promises_max
    }

    /// How many promised outputs wait.
    pub(crate) fn promised(&self) -> usize {
        self.promised
    }

    /// Puts in what may get lost; false if there is no room.
    pub(crate) fn push(&mut self, output: Output) -> bool {
        !self.is_full() && self.queue.push((output, false)).is_ok()
    }

    /// Puts in what was promised; false if there is no room, which `may_promise` rules out.
    pub(crate) fn keep_promise(&mut self, output: Output) -> bool {
        let kept = self.queue.push((output, true)).is_ok();
        self.promised += usize::from(kept);
        kept
    }

    /// The next output.
    pub(crate) fn pop(&mut self) -> Option<Output> {
        let (output, promised) = self.queue.pop()?;
        self.promised -= usize::from(promised);
        Some(output)
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }
}
