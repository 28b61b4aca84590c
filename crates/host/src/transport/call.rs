//! Our own calls: finding or making a connection, one stream, one failover.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use noq::{ConnectionError, ReadError, ReadToEndError, WriteError};
use potluck_base::{Contact, PublicKey};
use potluck_wire::Purpose;
use potluck_wire::version::{after_refused_bytes, in_version};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::config::{FETCH_BYTE, MESSAGE_BYTES_MAX};
use super::error::{CallError, CloseCode};
use super::incoming::Caller;
use super::paths::race;
use super::pool::{DialResult, Found, Lease};
use super::stream::Outgoing;
use super::{Inner, tls};

/// Why an exchange on one connection has no answer.
pub(super) enum Failure {
    /// The connection is dead: another one may work.
    Lost(CallError),
    /// The call is over.
    Over(CallError),
}

impl Failure {
    pub(super) fn error(self) -> CallError {
        match self {
            Self::Lost(error) | Self::Over(error) => error,
        }
    }
}

impl From<ConnectionError> for Failure {
    fn from(error: ConnectionError) -> Self {
        Self::Lost(CallError::of_lost(&error))
    }
}

impl From<WriteError> for Failure {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::ConnectionLost(error) => error.into(),
            WriteError::Stopped(code) => Self::Over(CallError::of_stream_code(code)),
            WriteError::ClosedStream | WriteError::ZeroRttRejected => Self::Over(CallError::Reset),
        }
    }
}

impl From<ReadToEndError> for Failure {
    fn from(error: ReadToEndError) -> Self {
        match error {
            ReadToEndError::TooLong => Self::Over(CallError::TooLarge),
            ReadToEndError::Read(ReadError::ConnectionLost(error)) => error.into(),
            ReadToEndError::Read(ReadError::Reset(code)) => {
                Self::Over(CallError::of_stream_code(code))
            }
            ReadToEndError::Read(ReadError::ClosedStream | ReadError::ZeroRttRejected) => {
                Self::Over(CallError::Reset)
            }
        }
    }
}

impl Inner {
    /// One call, within the call timeout.
    pub(super) async fn call(
        self: &Arc<Self>,
        peer: &Contact,
        request: Bytes,
    ) -> Result<Bytes, CallError> {
        let address = peer.address;
        if request.len() > MESSAGE_BYTES_MAX {
            return Err(CallError::TooLarge);
        }
        debug_assert_ne!(request.first(), Some(&FETCH_BYTE), "it would pass for a fetch");
        if self.paths.ways(peer, self.socket.families()).is_empty() {
            return Err(CallError::Address(address));
        }
        let (sent, purpose) = (request.len(), Purpose::of_request(&request));
        let attempts = async {
            let answer = self.attempts(peer, request.clone()).await?;
            // The peer may not know the version yet. Calls are few, so it is asked twice each time.
            match after_refused_bytes(&request, &answer) {
                Some(version) => self.attempts(peer, in_version(request, version)).await,
                None => Ok(answer),
            }
        };
        let answer =
            timeout(self.config.call_timeout, attempts).await.unwrap_or(Err(CallError::Timeout))?;
        self.desk.counters.sent(purpose, sent);
        self.desk.counters.received(purpose, answer.len());
        Ok(answer)
    }

    pub(super) async fn attempts(
        self: &Arc<Self>,
        peer: &Contact,
        request: Bytes,
    ) -> Result<Bytes, CallError> {
        let start = Instant::now();
        let lease = self.connection_to(peer, None).await?;
        if lease.established() >= start {
            return self.exchange(&lease, request).await.map_err(Failure::error);
        }
        // The connection is an old one: the peer may have lost it without a notice.
        let failure = tokio::select! {
            answer = self.exchange(&lease, request.clone()) => match answer {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            },
            () = silence(lease.connection(), self.config.silence) => Failure::Lost(CallError::Timeout),
        };
        let Failure::Lost(_) = failure else { return Err(failure.error()) };
        self.desk.counters.failovers.count();
        self.pool.retire(lease.id());
        drop(lease);
        let lease = self.connection_to(peer, Some(start)).await?;
        self.exchange(&lease, request).await.map_err(Failure::error)
    }

    async fn exchange(&self, lease: &Lease, request: Bytes) -> Result<Bytes, Failure> {
        let (send, mut recv) = lease.connection().open_bi().await?;
        let mut stream = Outgoing::new(send);
        match stream.send(request).await {
            // A peer that stops us may still say why, or even answer.
            Ok(()) | Err(WriteError::Stopped(_)) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(recv.read_to_end(MESSAGE_BYTES_MAX).await?.into())
    }

    /// A connection to `peer`, from the pool if there is one from after `since`.
    pub(super) async fn connection_to(
        self: &Arc<Self>,
        peer: &Contact,
        since: Option<Instant>,
    ) -> Result<Lease, CallError> {
        let mut result = match self.pool.find_or_dial(peer, since) {
            Found::Open(lease) => return Ok(lease),
            Found::Dialing(result) => result,
            Found::Crowded => return Err(CallError::Busy),
            Found::Dial(report, result) => {
                // A task of its own, since others may wait for it when this caller has gone.
                tokio::spawn(Arc::clone(self).dial(*peer, report));
                result
            }
        };
        let dialed = result.wait_for(Option::is_some).await.map_err(|_| CallError::Closed)?;
        match dialed.as_ref() {
            Some(Ok(lease)) => lease.again().ok_or(CallError::Reset),
            Some(Err(error)) => Err(error.clone()),
            None => Err(CallError::Closed),
        }
    }

    async fn dial(self: Arc<Self>, peer: Contact, report: watch::Sender<DialResult>) {
        let result = self.dial_fastest(&peer).await;
        match &result {
            Ok(_) => self.desk.counters.dialed.count(),
            Err(_) => self.desk.counters.dials_failed.count(),
        }
        self.pool.dialed(&peer);
        // The receiver may be gone.
        let _ = report.send(Some(result.map(Arc::new)));
    }

    async fn dial_fastest(self: &Arc<Self>, peer: &Contact) -> Result<Lease, CallError> {
        let ways = self.paths.ways(peer, self.socket.families());
        let dial = |way: Contact| {
            let this = Arc::clone(self);
            async move { this.dial_once(&way).await }
        };
        let (way, lease) = race(ways, peer.address, dial).await?;
        self.paths.worked(&way);
        Ok(lease)
    }

    async fn dial_once(self: &Arc<Self>, peer: &Contact) -> Result<Lease, CallError> {
        // A peer that does not know us, or has forgotten us, would not answer a packet.
        if let Some(filter) = self.filter.get()
            && !timeout(self.config.dial_timeout, filter.introduce(peer)).await.unwrap_or(false)
        {
            return Err(CallError::DialTimeout);
        }
        let place = timeout(self.config.dial_timeout, self.pool.reserve_soon())
            .await
            .map_err(|_| CallError::Busy)?;
        let endpoint = self.endpoint().ok_or(CallError::Closed)?;
        let (config, other_key) = self.client_config(peer);
        let connecting = endpoint
            .connect_with(config, peer.address, tls::SERVER_NAME)
            .map_err(|error| connect_error(&error, peer))?;
        let connection = match timeout(self.config.dial_timeout, connecting).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(error)) => return Err(dial_error(&error, &other_key)),
            Err(_) => return Err(CallError::DialTimeout),
        };
        if tls::peer_key(&connection) != Some(peer.public_key) {
            connection.close(CloseCode::NoKey.into(), b"");
            return Err(CallError::Refused);
        }
        let lease = place.fill(peer.public_key, connection.clone(), true);
        let caller = Caller { key: peer.public_key, address: peer.address };
        tokio::spawn(Arc::clone(self).serve(connection, lease.id(), caller));
        Ok(lease)
    }
}

/// Checks for a silence within its length.
const SILENCE_TICKS: u32 = 4;

/// Ends when something of ours has waited for an acknowledgement for `limit` without a packet from
/// the peer. A peer that only thinks for long has acknowledged the request within milliseconds, and
/// nothing is under way while it does.
pub(super) async fn silence(connection: &noq::Connection, limit: Duration) {
    let Some(mut before) = connection.path_stats(noq::PathId::ZERO) else {
        // Closed: the call hears it from its stream.
        return std::future::pending().await;
    };
    let mut unanswered = 0;
    while unanswered < SILENCE_TICKS {
        sleep(limit / SILENCE_TICKS).await;
        let Some(now) = connection.path_stats(noq::PathId::ZERO) else {
            return std::future::pending().await;
        };
        // Acknowledgements have no counted bytes and get no answer; probes for larger packets may
        // get none on a good path.
        let asked = now.sent_bytes > before.sent_bytes
            && now.sent_packets - before.sent_packets
                > now.sent_plpmtud_probes - before.sent_plpmtud_probes;
        if now.udp_rx.datagrams > before.udp_rx.datagrams {
            unanswered = 0;
        } else if asked || unanswered > 0 {
            unanswered += 1;
        }
        before = now;
    }
}

fn connect_error(error: &noq::ConnectError, peer: &Contact) -> CallError {
    match error {
        noq::ConnectError::InvalidRemoteAddress(_) => CallError::Address(peer.address),
        noq::ConnectError::CidsExhausted => CallError::Busy,
        _ => CallError::Closed,
    }
}

fn dial_error(error: &ConnectionError, other_key: &OnceLock<PublicKey>) -> CallError {
    match (other_key.get(), error) {
        (Some(found), _) => CallError::WrongKey { found: *found },
        (None, ConnectionError::TimedOut) => CallError::DialTimeout,
        (None, error) => CallError::of_lost(error),
    }
}
