//! The settings of the network: checked, applied to the parts, and passed on.
//!
//! **Invariant:** only settings that the authority signed and that are newer than those in force change
//! anything. A node whose own configuration cannot follow them goes as far as it can.

use std::time::Duration;

use bytes::Bytes;
use potluck_base::{Instant, Machine as _};
use potluck_gossip::members;
use potluck_kv::LIFE_MIN;
use potluck_wire::{NetworkSettings, SettingsError};

use super::{Node, QUIET_INTERVALS};
use crate::command::{CommandId, Reply};
use crate::config::Config;
use crate::output::Output;
use crate::settings::{Effective, SettingChange, SettingRefused, SettingsView};

/// The settings in force, and the configuration that they change.
#[derive(Debug)]
pub(super) struct InForce {
    config: Box<Config>,
    network: NetworkSettings,
    bytes: Bytes,
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl InForce {
    pub(super) fn new(config: &Config) -> Self {
        let network = NetworkSettings::default();
        Self { config: Box::new(config.clone()), network, bytes: Bytes::new() }
    }

    fn configured(&self) -> Effective {
        Effective {
            replication: self.config.kv.replication,
            life_default: self.config.kv.life_default,
            republish_interval: self.config.kv.republish_interval,
            gossip_interval: self.config.members.interval,
        }
    }

    /// Most replicas that this node's close group can hold.
    fn replication_max(&self) -> usize {
        (self.config.dht.close_group_size / 3).clamp(1, 32)
    }

    /// What this node goes by under `network`, as far as its own configuration lets it.
    fn effective(&self, network: &NetworkSettings) -> Effective {
        let own = self.configured();
        let most = self.replication_max() as u16;
        let life_default = network.lease_ms.map_or(own.life_default, |life| {
            Duration::from_millis(life).clamp(LIFE_MIN, self.config.kv.life_max)
        });
        let republish = network.republish_ms.map(Duration::from_millis);
        let republish_interval = republish
            .or(own.republish_interval)
            .map(|interval| interval.clamp(Duration::from_secs(1), life_default / 3));
        Effective {
            replication: network
                .replication
                .map_or(own.replication, |it| u16::from(it).clamp(1, most)),
            life_default,
            republish_interval,
            gossip_interval: network
                .gossip_interval_ms
                .map_or(own.gossip_interval, Duration::from_millis),
        }
    }

    /// The next settings with this change, to be signed.
    pub(super) fn propose(&self, change: SettingChange) -> Result<NetworkSettings, SettingRefused> {
        let mut next = self.network;
        next.sequence += 1;
        match change {
            SettingChange::Replication(replicas) => {
                let most = self.replication_max();
                if replicas.is_some_and(|it| !(1..=most).contains(&usize::from(it))) {
                    let siblings = self.config.dht.close_group_size;
                    return Err(SettingRefused::Replication { most, siblings });
                }
                next.replication = replicas;
            }
            SettingChange::DefaultTtl(life) => {
                if life.is_some_and(|it| it > self.config.kv.life_max) {
                    return Err(SettingRefused::Life(self.config.kv.life_max));
                }
                next.lease_ms = life.map(millis);
            }
            SettingChange::RepublishInterval(interval) => next.republish_ms = interval.map(millis),
            SettingChange::GossipInterval(interval) => {
                next.gossip_interval_ms = interval.map(millis);
            }
        }
        self.check(&next)?;
        Ok(next)
    }

    /// Checks that `next` and this node's configuration do not contradict each other.
    fn check(&self, next: &NetworkSettings) -> Result<(), SettingRefused> {
        let mut config = (*self.config).clone();
        if let Some(replicas) = next.replication {
            config.kv.replication = replicas.into();
        }
        if let Some(life) = next.lease_ms {
            config.kv.life_default = Duration::from_millis(life);
        }
        if let Some(interval) = next.republish_ms {
            config.kv.republish_interval = Some(Duration::from_millis(interval));
        }
        if let Some(interval) = next.gossip_interval_ms {
            config.members.interval = Duration::from_millis(interval);
        }
        config.validate()?;
        Ok(next.check()?)
    }
}

impl Node {
    /// The settings that this node had in its last run. For a new node, after
    /// [`with_gatekeeper`](Self::with_gatekeeper); without one there is no authority, and no settings.
    #[must_use]
    pub fn with_settings(mut self, bytes: &[u8]) -> Self {
        // Damaged ones come again from the other members.
        let _ = self.take_settings(Instant::ZERO, bytes, false);
        self.outbox.retain(|output| !matches!(output, Output::SaveSettings { .. }));
        self
    }

    /// Takes settings over, wherever they came from, if they are newer than those in force. With
    /// `spread` all members are told. Gives their sequence, or `None` if nothing changed.
    ///
    /// # Errors
    /// [`SettingsError`]
    pub fn take_settings(
        &mut self,
        now: Instant,
        bytes: &[u8],
        spread: bool,
    ) -> Result<Option<u64>, SettingsError> {
        let authority = self.link.gatekeeper().map(|gate| *gate.authority());
        let Some(authority) = authority else { return Err(SettingsError::Proof) };
        if bytes == self.settings.bytes {
            return Ok(None);
        }
        let next = NetworkSettings::read(bytes, &authority, &self.network)?;
        let (old, held) = (self.settings.network.sequence, &self.settings.bytes);
        // Two machines with the authority key may sign one sequence: all nodes choose alike.
        if (next.sequence, bytes) <= (old, &held[..]) {
            return Ok(None);
        }
        let bytes = Bytes::copy_from_slice(bytes);
        (self.settings.network, self.settings.bytes) = (next, bytes.clone());
        let effective = self.settings.effective(&next);
        self.quiet_after = effective.gossip_interval * QUIET_INTERVALS;
        self.kv.handle(
            now,
            potluck_kv::Input::Settings(potluck_kv::Settings {
                replication: effective.replication,
                life_default: effective.life_default,
                republish_interval: effective.republish_interval,
            }),
        );
        let (sequence, interval) = (next.sequence, effective.gossip_interval);
        let settings = bytes.clone();
        self.gossip
            .members
            .handle(now, members::Input::Settings { sequence, bytes, interval, spread });
        self.outbox.push_back(Output::SaveSettings { settings });
        Ok(Some(sequence))
    }

    pub(super) fn show_settings(&mut self, id: CommandId) {
        let network = self.settings.network;
        let (running, members) = self.gossip.members.running_settings(network.sequence);
        let view = SettingsView {
            network,
            configured: self.settings.configured(),
            effective: self.settings.effective(&network),
            members,
            running,
        };
        self.reply(id, Reply::Settings(Box::new(view)));
    }

    pub(super) fn on_propose(&mut self, id: CommandId, change: SettingChange) {
        let proposed = self.settings.propose(change);
        self.reply(id, Reply::Proposed(proposed));
    }

    pub(super) fn on_new_settings(&mut self, now: Instant, id: CommandId, bytes: &[u8]) {
        let taken = self.take_settings(now, bytes, true);
        self.reply(id, Reply::SettingsTaken(taken));
    }
}
