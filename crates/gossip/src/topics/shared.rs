//! The state that all topics share.

use std::collections::VecDeque;

use bytes::Bytes;
use potluck_base::{
    Contact, Identity, Instant, LruMap, NetworkId, PublicKey, Rate, Rng, TokenBucket, UnixMillis,
};
use potluck_wire::{InTopic, SignedMessage, TopicId, TopicRequest, TopicResponse};

use super::asks::{ASKS_MAX, PendingRequest, PendingRequests, Purpose};
use super::config::{PeerLimits, TopicsConfig};
use super::door::{Door, Standing, Unproven};
use super::events::{TopicServeId, TopicsOutput};
use super::scores::Scores;
use super::stats::TopicsStats;
use crate::announcement::{AnnouncementCheck, Checked};
use crate::view::Mode;

/// This node.
#[derive(Debug, Clone)]
pub(super) struct Me {
    pub(super) identity: Identity,
    pub(super) network: NetworkId,
    pub(super) incarnation: u64,
    pub(super) contact: Contact,
}

/// Budget for requests to nodes that only other nodes named. A higher value spreads contacts faster
/// and lets neighbours direct more traffic of this node at strangers.
const RELAYS: Rate = Rate::new(20, 60);

/// Publishers remembered as over their budget. If there are more, each of the further ones is limited by its
/// rate only. To exceed its budget, a publisher must have signed thousands of messages.
const OVER_BUDGET_MAX: usize = 256;

/// The state that all topics share. A field of its own in `Topics`, so that it is borrowed beside
/// one of the topics.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) now: Instant,
    /// When the wall clock, corrected by the peers, was reported, and its value then; `None` before
    /// the first report.
    pub(super) wall: Option<(Instant, UnixMillis)>,
    pub(super) me: Me,
    pub(super) config: TopicsConfig,
    pub(super) mode: Mode,
    pub(super) rng: Rng,
    pub(super) pending: PendingRequests,
    pub(super) scores: Scores,
    pub(super) stats: TopicsStats,
    pub(super) out: VecDeque<TopicsOutput>,
    /// Budget for requests to nodes that only other nodes named.
    pub(super) relay_budget: TokenBucket,
    /// When any node was heard from last.
    pub(super) last_heard: Instant,
    /// Until then a silent neighbour is attributed to this node's own isolation.
    pub(super) isolated_until: Instant,
    /// Publishers whose budget is used up, with the time until which their messages are dropped.
    over_budget: LruMap<PublicKey, Instant>,
    /// The check whether publishers are members.
    pub(super) door: Door,
    /// Messages of unknown publishers.
    pub(super) unproven: Unproven,
    /// The check of announcements in the system topic.
    announcements: AnnouncementCheck,
    /// Missing messages of all topics; while one topic is handled, of the other topics.
    pub(super) missing: usize,
}

impl Shared {
    pub(super) fn new(me: Me, config: TopicsConfig, rng: Rng) -> Self {
        let announcements = AnnouncementCheck::new(me.network, config.verify);
        let checks_publishers = config.defences.member_publishers && config.verify;
        Self {
            door: Door::new(me.network, checks_publishers),
            unproven: Unproven::default(),
            announcements,
            over_budget: LruMap::new(OVER_BUDGET_MAX),
            now: Instant::ZERO,
            wall: None,
            me,
            mode: config.mode,
            config,
            rng,
            pending: PendingRequests::default(),
            scores: Scores::new(),
            stats: TopicsStats::default(),
            out: VecDeque::new(),
            relay_budget: RELAYS.bucket(),
            last_heard: Instant::ZERO,
            isolated_until: Instant::ZERO,
            missing: 0,
        }
    }

    /// The wall clock now; `None` before it was reported.
    pub(super) fn wall(&self) -> Option<UnixMillis> {
        self.wall.map(|(at, wall)| wall.plus(self.now.since(at)))
    }

    /// Records must carry certificates of this authority, and publishers must show one.
    pub(super) fn require_certificates(&mut self, authority: PublicKey, own: Option<Bytes>) {
        self.announcements.require(authority);
        self.door.require(authority);
        if let Some(own) = own {
            self.door.set_own(own);
        }
    }

    /// Takes the messages of a topic that waited for their publishers' certificates and need not wait any
    /// more, each with the neighbour that pushed it.
    pub(super) fn take_known(&mut self, topic: TopicId) -> Vec<(PublicKey, Bytes)> {
        self.unproven.take_known(&self.door, topic)
    }

    /// Whether the publisher of the message in `bytes` may publish.
    pub(super) fn standing(&mut self, publisher: &PublicKey, bytes: &Bytes) -> Standing {
        let wall = self.wall();
        let (standing, checks) =
            self.door.standing(wall, publisher, || SignedMessage::shown_in(bytes));
        if checks > 0 && standing != Standing::Forged {
            self.out.push_back(TopicsOutput::Checked {
                peer: *publisher,
                signatures: checks,
                bad: false,
            });
        }
        standing
    }

    /// Drops messages of this publisher until then.
    pub(super) fn hold_off(&mut self, publisher: PublicKey, until: Instant) {
        self.over_budget.insert(publisher, until);
    }

    /// Whether messages of this publisher are dropped now.
    pub(super) fn is_over_budget(&self, publisher: &PublicKey) -> bool {
        self.over_budget.peek(publisher).is_some_and(|until| self.now < *until)
    }

    /// Charges the checked signatures of a message to its publisher, which made them necessary, and to the
    /// neighbour that pushed it.
    pub(super) fn bill(&mut self, from: PublicKey, publisher: PublicKey, signatures: u32) {
        self.out.push_back(TopicsOutput::Checked { peer: publisher, signatures, bad: false });
        if from != publisher {
            self.out.push_back(TopicsOutput::Checked { peer: from, signatures, bad: false });
        }
    }

    /// Charges signatures, of which one was bad, to this peer.
    pub(super) fn bill_bad(&mut self, peer: PublicKey, signatures: u32) {
        self.out.push_back(TopicsOutput::Checked { peer, signatures, bad: true });
    }

    /// Whether an announcement may be passed on. If not, charges its publisher, which made a bad one, and the
    /// neighbour that pushed it without a check.
    pub(super) fn may_pass_on(&mut self, from: PublicKey, message: &SignedMessage) -> bool {
        if !self.config.defences.checked_announcements {
            return true;
        }
        let Checked { good, signatures } = self.announcements.check(&message.payload);
        if good {
            self.bill(from, message.publisher, signatures);
            return true;
        }
        self.stats.announcements_bad += 1;
        self.bill_bad(message.publisher, signatures);
        if from != message.publisher {
            self.bill_bad(from, signatures);
        }
        false
    }

    /// Sends a request. If too many are under way, one that is not to a neighbour is not sent.
    pub(super) fn ask(
        &mut self,
        topic: TopicId,
        to: Contact,
        purpose: Purpose,
        body: TopicRequest,
    ) -> bool {
        let droppable = matches!(purpose, Purpose::NonNeighbour | Purpose::Probe);
        if droppable && self.pending.len() >= ASKS_MAX {
            self.stats.rate_limited += 1;
            return false;
        }
        // If a contact does not answer, others are tried; a neighbour gets one more try.
        let tries = if matches!(purpose, Purpose::Link | Purpose::NonNeighbour) { 2 } else { 3 };
        let ask = self.pending.add(PendingRequest { topic, to: to.public_key, purpose });
        let request = InTopic { topic, body };
        self.out.push_back(TopicsOutput::Ask { ask, to, request, tries });
        true
    }

    pub(super) fn answer(&mut self, serve: TopicServeId, answer: TopicResponse) {
        self.out.push_back(TopicsOutput::Answer { serve, answer });
    }

    /// The number of missing messages that the handled topic may have.
    pub(super) fn missing_room(&self) -> usize {
        self.config.missing_max.saturating_sub(self.missing)
    }

    /// The limits for other nodes in the current mode.
    pub(super) fn limits(&self) -> &PeerLimits {
        self.config.limits(self.mode)
    }

    /// Whether a link to `peer` is allowed at all.
    pub(super) fn welcomes(&self, peer: &PublicKey) -> bool {
        *peer != self.me.contact.public_key && !self.scores.ignores(self.now, peer)
    }
}

/// A random one of these keys.
pub(super) fn pick(rng: &mut Rng, keys: Vec<&PublicKey>) -> Option<PublicKey> {
    keys.get(rng.below(keys.len() as u64) as usize).map(|key| **key)
}
