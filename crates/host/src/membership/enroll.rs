//! A newcomer's way in: it asks the contacts of its ticket for a certificate, one after the other
//! and for ever, before the node itself starts.
//!
//! It speaks through a link of its own, with the door in and no certificate to show, so an answer
//! counts only from a member that shows its own. What else comes in meanwhile finds no node yet.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use potluck_base::{Addresses, Contact, Identity, Machine as _, Rng};
use potluck_link::{Gatekeeper, Link, LinkConfig, Output, RequestOptions};
use potluck_wire::limits::MESSAGE_BYTES_MAX;
use potluck_wire::{Refusal, Request, Response, Ticket};
use tokio::time::timeout;

use super::holds;
use crate::StartError;
use crate::clock::Clock;
use crate::folder::{NetworkInfo, random_bytes};
use crate::socket::{DatagramKind, ReceiveBatch, Sockets};

/// Tries of each question.
const TRIES: u8 = 3;
/// How long to wait when all contacts were asked in vain; twice as long each time.
const WAIT_MIN: Duration = Duration::from_secs(1);
const WAIT_MAX: Duration = Duration::from_secs(30);
/// How long to wait for a datagram when no timer is set: there always is one while one is asked.
const PATIENCE: Duration = Duration::from_secs(5);

/// The answer of a contact.
enum Said {
    Certificate(Bytes),
    Refused(Refusal),
    Nothing,
}

/// An enrolment under way.
pub(crate) struct Enrolment<'a> {
    pub(crate) socket: &'a Sockets,
    pub(crate) identity: &'a Identity,
    pub(crate) network: &'a NetworkInfo,
    pub(crate) ticket: &'a Ticket,
}

impl Enrolment<'_> {
    /// Asks until there is a certificate.
    ///
    /// # Errors
    /// [`StartError::TicketVoid`] if the issuer said so, or the ticket has expired.
    pub(crate) async fn run(&self) -> Result<Bytes, StartError> {
        let clock = Clock::start();
        let mut link = self.link()?;
        let mut wait = WAIT_MIN;
        let mut told = false;
        loop {
            for contact in self.ticket.entry_points.iter().flat_map(Addresses::contacts) {
                let grant = self.ticket.grant().map_err(|_| StartError::TicketVoid)?;
                if grant.expires <= clock.wall() {
                    return Err(StartError::TicketVoid);
                }
                match self.ask(&mut link, &clock, contact).await {
                    Said::Certificate(certificate) => return Ok(certificate),
                    Said::Refused(Refusal::TicketVoid) => return Err(StartError::TicketVoid),
                    Said::Refused(refusal) => {
                        tracing::warn!(code = "admission.refused", %contact, %refusal, "no certificate; going on asking");
                    }
                    Said::Nothing => {}
                }
            }
            if !told {
                told = true;
                let network = &self.network.name;
                tracing::info!(code = "admission.silent", %network, "no node of the ticket answers yet; trying for ever");
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(WAIT_MAX);
        }
    }

    fn link(&self) -> Result<Link, StartError> {
        let rng = Rng::from_seed(random_bytes()?);
        let id = self.network.id;
        let gatekeeper = Gatekeeper::new(id, self.ticket.authority, None, []);
        let link = Link::new(self.identity.clone(), id, LinkConfig::default(), rng);
        Ok(link.with_gatekeeper(gatekeeper))
    }

    /// Asks one contact.
    async fn ask(&self, link: &mut Link, clock: &Clock, to: Contact) -> Said {
        link.set_wall_clock(clock.now(), clock.wall());
        let request = Request::Enroll(self.ticket.enroll(&self.identity.public_key()));
        let options = RequestOptions {
            tries: TRIES,
            answer_bytes_max: MESSAGE_BYTES_MAX,
            ..RequestOptions::default()
        };
        if link.request(clock.now(), to, &request, options).is_err() {
            return Said::Nothing;
        }
        let mut batch = ReceiveBatch::new();
        loop {
            if let Some(said) = self.carry_out(link, clock) {
                return said;
            }
            let deadline = link.poll_timeout().map(|deadline| clock.os_instant(deadline.at));
            let now = std::time::Instant::now();
            let patience = deadline.map_or(PATIENCE, |at| at.saturating_duration_since(now));
            match timeout(patience, self.receive(&mut batch)).await {
                Ok(Ok(())) => {
                    for segment in batch.segments() {
                        if segment.kind == DatagramKind::Control {
                            self.socket.note(&segment);
                            link.handle_datagram(clock.now(), segment.from, segment.bytes);
                        }
                    }
                }
                // A socket that fails is given its time, as one that hears nothing.
                Ok(Err(_)) => {
                    tokio::time::sleep(patience.min(WAIT_MIN)).await;
                    self.socket.listen_again();
                }
                Err(_) => {}
            }
            link.handle_timeout(clock.now());
        }
    }

    async fn receive(&self, batch: &mut ReceiveBatch) -> io::Result<()> {
        self.socket.recv(batch).await
    }

    /// Sends what the link wants sent; gives the end of the question, if it has come.
    fn carry_out(&self, link: &mut Link, clock: &Clock) -> Option<Said> {
        let mut said = None;
        while let Some(output) = link.poll_output() {
            match output {
                Output::Transmit { to, bytes } => {
                    // Lost like any other.
                    let _ = self.socket.try_send(to, &bytes);
                }
                Output::Answered { response, .. } => {
                    said = Some(match response {
                        Response::Enrolled { certificate } if self.is_good(&certificate, clock) => {
                            Said::Certificate(certificate)
                        }
                        Response::Refused { reason, .. } => Said::Refused(reason),
                        _ => Said::Nothing,
                    });
                }
                Output::Failed { .. } => said = Some(Said::Nothing),
                _ => {}
            }
        }
        said
    }

    fn is_good(&self, certificate: &Bytes, clock: &Clock) -> bool {
        holds(certificate, &self.identity.public_key(), self.network, clock.wall())
    }
}
