//! The settings of the network that are in force, and how they reach nodes that lack them.
//!
//! The authority's node announces the settings to all members over the broadcast tree. A node that was away
//! gets them from each new neighbour, and a node sends them again to neighbours whose record names older
//! ones. Every node names the sequence of its settings in its own record.

use std::time::Duration;

use bytes::Bytes;
use potluck_base::{Contact, Deadline, Instant};
use potluck_wire::{MemberRecord, MemberRequest};

use super::Members;
use super::outbox::{AskOptions, Purpose};

/// When the settings change, the records of all members change. Each member announces its record after a
/// random part of this time per member. Raising it makes fewer announcements at a time, and members show
/// later that they have the settings.
const TELL_DELAY_PER_MEMBER: Duration = Duration::from_millis(20);
/// The shortest such time. It lets the members of a small fleet share announcements.
const TELL_DELAY: Duration = Duration::from_millis(200);
/// Neighbours to which the settings are sent again at a time. Raising it costs traffic if many neighbours
/// have old settings.
const TOLD_AGAIN: usize = 8;

/// The newest settings that this node has.
#[derive(Debug, Default)]
pub(super) struct InForce {
    current: Option<(u64, Bytes)>,
    /// The time at which this node's record names them.
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

    /// When its turn has come, renews this node's record, which names the settings in force.
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

    /// The number of living members that name settings of this sequence or a later one, and the number of all
    /// living members, as far as this node knows and including itself.
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
