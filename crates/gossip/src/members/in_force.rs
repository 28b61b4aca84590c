//! The settings of the network that are in force, and how they reach nodes that lack them.
//!
//! The authority's node announces them to all members over the broadcast tree. A node that was away gets
//! them from each node that it becomes a neighbour of, and a neighbour whose record names older ones is
//! told again. Every node names the sequence that it runs in its own record.

use std::time::Duration;

use bytes::Bytes;
use potluck_base::{Contact, Deadline, Instant};
use potluck_wire::{MemberRecord, MemberRequest};

use super::Members;
use super::outbox::{AskOptions, Purpose};

/// The records of all members change with the settings; each is announced after a random part of this
/// time a member.
const TELL_DELAY_PER_MEMBER: Duration = Duration::from_millis(20);
/// Shortest such time, so that a small fleet shares announcements.
const TELL_DELAY: Duration = Duration::from_millis(200);
/// Neighbours told again at a time. Raising it costs traffic when many are behind.
const TOLD_AGAIN: usize = 8;

/// The newest settings that this node has.
#[derive(Debug, Default)]
pub(super) struct InForce {
    current: Option<(u64, Bytes)>,
    /// When this node's record names them.
    tell_at: Option<Instant>,
}

impl InForce {
    pub(super) fn deadline(&self) -> Option<Deadline> {
        self.tell_at.map(|at| Deadline::new(at, "settings"))
    }
}

impl Members {
    /// Settings are in force from now on.
    pub(super) fn on_settings(&mut self, now: Instant, sequence: u64, bytes: Bytes, spread: bool) {
        if spread {
            self.broadcasts.set_settings(bytes.clone());
        }
        self.in_force.current = Some((sequence, bytes));
        let unannounced = !self.own.known && now == Instant::ZERO;
        self.own.set_settings(sequence, unannounced);
        if !unannounced {
            let spread = TELL_DELAY + TELL_DELAY_PER_MEMBER * self.table.here() as u32;
            self.in_force.tell_at = Some(now + spread.mul_f64(self.rng.fraction()));
        }
    }

    /// This node's record names the settings in force when its turn has come.
    pub(super) fn tell_settings_due(&mut self, now: Instant) {
        if self.in_force.tell_at.take_if(|at| *at <= now).is_some() && !self.own.is_leaving() {
            self.renew_record(now);
        }
    }

    /// Sends the settings to a new neighbour, unless its record names them.
    pub(super) fn send_settings(&mut self, to: Contact) {
        let Some((sequence, bytes)) = self.in_force.current.clone() else { return };
        let record =
            self.table.get(&to.public_key).map(|member| MemberRecord::read(&member.record));
        if matches!(record, Some(Ok(record)) if record.settings >= sequence) {
            return;
        }
        let request = MemberRequest::Settings { settings: bytes };
        self.ask(to, request, Purpose::Notify, AskOptions::tries(3));
    }

    /// Sends the settings to the neighbours whose records name older ones.
    pub(super) fn send_settings_to_neighbours(&mut self) {
        if self.in_force.current.is_none() {
            return;
        }
        let neighbours: Vec<Contact> = self
            .watched
            .neighbours()
            .iter()
            .filter_map(|key| self.table.get(key))
            .filter(|member| member.is_here() && !member.record.is_empty())
            .map(|member| member.peer.contact)
            .take(TOLD_AGAIN)
            .collect();
        neighbours.into_iter().for_each(|contact| self.send_settings(contact));
    }

    /// How many of the living members that this node knows, itself included, name settings of this
    /// sequence or a later one, and how many there are.
    #[must_use]
    pub fn running_settings(&self, sequence: u64) -> (usize, usize) {
        let here = self.table.iter().filter(|member| member.is_here());
        let own = usize::from(self.own.record.settings >= sequence);
        here.fold((own, 1), |(with, all), member| {
            let record = MemberRecord::read(&member.record);
            let has = record.is_ok_and(|record| record.settings >= sequence);
            (with + usize::from(has), all + 1)
        })
    }
}
