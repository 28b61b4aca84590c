//! The price of what peers make this node do: one budget a peer, in microseconds of processor time, over
//! datagrams, calls and topic messages alike.
//!
//! Only work that a peer causes unasked has a price: answers to this node's own requests have none, so a
//! repair that pulls is not slowed. A request over the budget is refused as busy, before it is read. A
//! peer whose requests carry bad signatures is ignored for a while. Both need proof of the peer's key and
//! address, so that no forger can use up the budget of another node.
//!
//! **Invariant:** at most [`PEERS_MAX`] accounts; the one unused for longest is forgotten.

use std::time::Duration;

use potluck_base::{Instant, LruMap, PublicKey, Rate, TokenBucket};
use potluck_wire::{MemberRequest, Request, TopicRequest, WatchRequest};

/// Accounts of peers. Only many members together can displace others. Raising it costs 120 bytes each.
const PEERS_MAX: usize = 4096;
/// Microseconds of processor time that one peer may use, a second and at once: a quarter of a core.
/// Raising it lets one peer take more from the others; lowering it slows peers that do much at once. A
/// guess; an honest peer of the busiest measured network used a twentieth of it.
const BUDGET: Rate = Rate::new(250_000, 500_000);

/// Reading a datagram, finding its addressee and sealing the answer, in microseconds. Measured with
/// `cargo bench -p potluck-link`: opening 2 to 5, sealing 2 to 5; the rest is the way through the node.
const DATAGRAM: u32 = 15;
/// A call: its stream, its task and its answer, in microseconds. A guess from the measured processor time
/// of calls on loopback.
const CALL: u32 = 100;
/// Bytes of a call that cost one microsecond: decryption and copies. A guess from the same measurement.
const CALL_BYTES_A_MICROSECOND: usize = 500;
/// One check of a signature, in microseconds: 25 to 40 as measured.
pub(crate) const SIGNATURE: u32 = 30;
/// One operation of the store, in microseconds, measured as a share of a `get`.
const STORAGE: u32 = 10;
/// One key of an offer, in microseconds: it is looked up in the store.
const OFFERED_KEY: u32 = 5;
/// Work on a topic message apart from its signature, in microseconds.
pub(crate) const TOPIC_MESSAGE: u32 = 10;

/// Bad requests within [`STRIKE_LIFE`] after which a peer is ignored. One or two may come of a fault that
/// is not the peer's own, such as a copy that was damaged elsewhere.
const STRIKES: u8 = 3;
/// Time after which bad requests are forgotten.
const STRIKE_LIFE: Duration = Duration::from_secs(60);
/// How long a peer is ignored. A guess: long enough that three bad requests a minute cost nothing.
pub(crate) const IGNORED_FOR: Duration = Duration::from_secs(60);

/// The shortest time for which the answer to a refused call is held back. The call keeps its stream for this
/// time, so a connection with `s` streams causes at most `4 s` refusals a second. Without it a flood of
/// calls that are refused at once took half of the machine from others (docs/measurements.md). Raising it
/// makes an honest peer that had a busy second wait longer before it asks another node.
const HOLD_MIN: Duration = Duration::from_millis(250);
/// The longest time for which the answer to a refused call is held back: until the peer's budget is there
/// again, but no longer than it would wait.
const HOLD_MAX: Duration = Duration::from_secs(1);

potluck_base::statistics! {
    /// Counters and gauges of the budgets of peers.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct PriceStats in "price" {
        /// Peers with an account.
        gauge accounts: usize,
        /// Peers that are ignored now.
        gauge ignored: usize,
        /// Processor time that peers were charged, in microseconds.
        counter(Microseconds) charged: Duration as "price_charged_microseconds",
        /// Requests refused because the budget of their sender was used up.
        counter over_budget: u64,
        /// Requests with a bad signature.
        counter bad_requests: u64,
        /// Times that a peer was ignored, since too many of its requests were bad.
        counter peers_ignored: u64,
        /// Requests of ignored peers, dropped.
        counter dropped_ignored: u64,
    }
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ruling {
    /// It is served.
    Serve,
    /// It is refused as busy; a call may be answered after this time.
    Busy(Duration),
    /// It is dropped.
    Drop,
}

#[derive(Debug, Clone, Copy)]
struct Account {
    budget: TokenBucket,
    strikes: u8,
    struck_at: Instant,
    ignored_until: Instant,
}

impl Account {
    fn new() -> Self {
        Self {
            budget: BUDGET.bucket(),
            strikes: 0,
            struck_at: Instant::ZERO,
            ignored_until: Instant::ZERO,
        }
    }
}

/// The accounts of all peers.
#[derive(Debug)]
pub(crate) struct Prices {
    on: bool,
    accounts: LruMap<PublicKey, Account>,
    /// The time of the last request, for the gauge.
    last: Instant,
    stats: PriceStats,
}

impl Prices {
    /// Without any account. `on` is false only in tests that show what the budgets are for.
    pub(crate) fn new(on: bool) -> Self {
        Self {
            on,
            accounts: LruMap::new(PEERS_MAX),
            last: Instant::ZERO,
            stats: PriceStats::default(),
        }
    }

    fn account(&mut self, peer: &PublicKey) -> &mut Account {
        if self.accounts.peek(peer).is_none() {
            self.accounts.insert(*peer, Account::new());
        }
        self.accounts.get_mut(peer).expect("it was there or just put there")
    }

    /// A call of this length came in: before it is read.
    pub(crate) fn admit_call(&mut self, now: Instant, peer: &PublicKey, bytes: usize) -> Ruling {
        let longer = u32::try_from(bytes / CALL_BYTES_A_MICROSECOND).unwrap_or(u32::MAX);
        let price = CALL.saturating_add(longer);
        let ruling = self.rule(now, peer, price);
        if ruling != Ruling::Serve {
            // It cost this much although it was refused.
            self.charge(now, peer, price);
        }
        ruling
    }

    /// A request came in a datagram.
    pub(crate) fn admit_datagram(
        &mut self,
        now: Instant,
        peer: &PublicKey,
        request: &Request,
    ) -> Ruling {
        self.charge(now, peer, DATAGRAM);
        self.admit_request(now, peer, request)
    }

    /// Whether what a request asks for is within the budget; then it is charged. Questions about members
    /// are on credit: their own rates bound them, and a busy peer must not seem dead.
    pub(crate) fn admit_request(
        &mut self,
        now: Instant,
        peer: &PublicKey,
        request: &Request,
    ) -> Ruling {
        let price = price_of(request);
        if is_on_credit(request) && !self.ignores(now, peer) {
            self.charge(now, peer, price);
            return Ruling::Serve;
        }
        self.rule(now, peer, price)
    }

    fn rule(&mut self, now: Instant, peer: &PublicKey, price: u32) -> Ruling {
        if !self.on {
            return Ruling::Serve;
        }
        self.last = now;
        let account = self.account(peer);
        if now < account.ignored_until {
            self.stats.dropped_ignored += 1;
            return Ruling::Drop;
        }
        let wait = account.budget.wait(now, price);
        if wait.is_zero() {
            self.charge(now, peer, price);
            return Ruling::Serve;
        }
        self.stats.over_budget += 1;
        Ruling::Busy(wait.clamp(HOLD_MIN, HOLD_MAX))
    }

    /// Work that a peer's earlier request turned out to cost. What is not there is owed.
    pub(crate) fn charge(&mut self, now: Instant, peer: &PublicKey, price: u32) {
        if !self.on {
            return;
        }
        self.account(peer).budget.charge(now, price);
        self.stats.charged += Duration::from_micros(price.into());
    }

    /// Until when a peer owes; `None` if it does not.
    pub(crate) fn owes_until(&self, now: Instant, peer: &PublicKey) -> Option<Instant> {
        let wait = self.accounts.peek(peer)?.budget.wait(now, 0);
        (self.on && !wait.is_zero()).then(|| now + wait)
    }

    /// A request of `peer` carried a bad signature. Whether the peer is ignored from now on.
    pub(crate) fn strike(&mut self, now: Instant, peer: &PublicKey) -> bool {
        self.stats.bad_requests += 1;
        if !self.on {
            return false;
        }
        let account = self.account(peer);
        if now.since(account.struck_at) >= STRIKE_LIFE {
            account.strikes = 0;
        }
        account.struck_at = now;
        account.strikes = account.strikes.saturating_add(1);
        let ignored = account.strikes >= STRIKES && now >= account.ignored_until;
        if ignored {
            account.ignored_until = now + IGNORED_FOR;
            account.strikes = 0;
            self.stats.peers_ignored += 1;
        }
        ignored
    }

    /// Whether requests of `peer` are dropped.
    pub(crate) fn ignores(&self, now: Instant, peer: &PublicKey) -> bool {
        self.accounts.peek(peer).is_some_and(|account| now < account.ignored_until)
    }

    pub(crate) fn stats(&self) -> PriceStats {
        let last = self.last;
        let ignored = self.accounts.iter().filter(|(_, account)| last < account.ignored_until);
        PriceStats { accounts: self.accounts.len(), ignored: ignored.count(), ..self.stats }
    }
}

/// Whether a request is served although the budget of its sender is used up.
fn is_on_credit(request: &Request) -> bool {
    matches!(
        request,
        Request::Member(
            MemberRequest::Ping { .. }
                | MemberRequest::PingReq { .. }
                | MemberRequest::Prove { .. }
        )
    )
}

/// What a request costs beyond the way that it came, apart from signatures that are charged when they are
/// checked.
fn price_of(request: &Request) -> u32 {
    let of =
        |count: usize, each: u32| u32::try_from(count).unwrap_or(u32::MAX).saturating_mul(each);
    match request {
        Request::Ping | Request::Leave { .. } => 0,
        Request::FindNode { .. } | Request::Have { .. } => STORAGE,
        Request::Store { envelopes, .. } => of(envelopes.len(), STORAGE),
        Request::Offer { entries } => of(entries.len(), OFFERED_KEY),
        Request::Load(load) => of(load.keys.len(), STORAGE),
        // These read many keys.
        Request::Names(_) | Request::Fingerprints(_) | Request::Changes(_) => 10 * STORAGE,
        // This node reads, signs and writes.
        Request::Apply(_) => 10 * STORAGE + SIGNATURE,
        Request::Watch(WatchRequest::Lease { .. } | WatchRequest::Changed(_)) => 2 * STORAGE,
        Request::Member(request) => match request {
            MemberRequest::Ping { .. } | MemberRequest::Load { .. } => 0,
            MemberRequest::PingReq { .. } | MemberRequest::Prove { .. } => SIGNATURE,
            MemberRequest::Suspect { suspects } => of(suspects.len(), 1),
            MemberRequest::Tell { records } => of(records.len(), SIGNATURE),
            // Those that are known already cost no check.
            MemberRequest::Revoke { revocations } => of(revocations.len(), 1),
            MemberRequest::Settings { .. } => SIGNATURE,
            MemberRequest::Compare { .. } | MemberRequest::Page { .. } => 10 * STORAGE,
        },
        Request::Topic(request) => match &request.body {
            TopicRequest::Gossip { messages } => of(messages.len(), TOPIC_MESSAGE),
            TopicRequest::IHave { ranges } | TopicRequest::Graft { ranges, .. } => {
                of(ranges.len(), 2)
            }
            TopicRequest::Neighbour { .. }
            | TopicRequest::Disconnect { .. }
            | TopicRequest::ForwardJoin { .. }
            | TopicRequest::Shuffle { .. }
            | TopicRequest::ShuffleReply { .. }
            | TopicRequest::Probe => TOPIC_MESSAGE,
        },
        Request::Search(_) => 5 * STORAGE,
        Request::Enroll(_) => 2 * SIGNATURE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(number: u8) -> PublicKey {
        PublicKey::from_bytes([number; 32])
    }

    #[test]
    fn one_budget_covers_datagrams_and_calls_and_others_have_their_own() {
        let (mut prices, now) = (Prices::new(true), Instant::from_micros(1_000_000));
        let mut served = 0;
        while prices.admit_call(now, &peer(1), 262_144) == Ruling::Serve {
            served += 1;
        }
        assert_eq!(served, BUDGET.burst / (CALL + 524));
        assert!(matches!(prices.admit_datagram(now, &peer(1), &Request::Ping), Ruling::Busy(_)));
        assert_eq!(prices.admit_datagram(now, &peer(2), &Request::Ping), Ruling::Serve);
        assert_eq!(prices.stats().accounts, 2);
        prices.charge(now, &peer(1), 10_000);
        assert!(prices.owes_until(now, &peer(1)).is_some());
        let later = now + Duration::from_secs(10);
        assert_eq!(prices.admit_datagram(later, &peer(1), &Request::Ping), Ruling::Serve);
        assert_eq!(prices.owes_until(later, &peer(1)), None);
    }

    #[test]
    fn a_second_of_a_flood_costs_a_quarter_of_a_second() {
        let mut prices = Prices::new(true);
        let start = Instant::from_micros(1_000_000);
        let (mut served, until) = (0_u64, 20_000_u64);
        for tick in 0..until {
            let now = start + Duration::from_millis(tick);
            let ruling = prices.admit_call(now, &peer(1), 183_000);
            served += u64::from(ruling == Ruling::Serve);
        }
        let cost = served * u64::from(CALL + 366);
        let allowed = u64::from(BUDGET.burst) + until / 1000 * u64::from(BUDGET.per_second);
        assert!(cost <= allowed + 1000, "{cost} us of {allowed}");
    }

    #[test]
    fn a_refused_call_keeps_its_stream_for_a_while() {
        let (mut prices, now) = (Prices::new(true), Instant::from_micros(1_000_000));
        while prices.admit_call(now, &peer(1), 1000) == Ruling::Serve {}
        assert_eq!(prices.admit_call(now, &peer(1), 1000), Ruling::Busy(HOLD_MIN));
        prices.charge(now, &peer(1), u32::MAX);
        assert_eq!(prices.admit_call(now, &peer(1), 1000), Ruling::Busy(HOLD_MAX));
    }

    #[test]
    fn the_third_bad_request_of_a_minute_ends_the_hearing_for_a_minute() {
        let mut prices = Prices::new(true);
        let mut now = Instant::from_micros(1_000_000);
        for _ in 0..20 {
            now += STRIKE_LIFE;
            assert!(!prices.strike(now, &peer(1)), "one a minute is forgotten");
        }
        assert!(!prices.strike(now, &peer(1)) && prices.strike(now, &peer(1)));
        assert_eq!(prices.admit_call(now, &peer(1), 1), Ruling::Drop);
        assert_eq!((prices.stats().ignored, prices.stats().peers_ignored), (1, 1));
        let later = now + IGNORED_FOR;
        assert_eq!(prices.admit_call(later, &peer(1), 1), Ruling::Serve);
        assert!(!prices.ignores(later, &peer(1)));
    }

    #[test]
    fn a_peer_over_its_budget_still_shows_that_it_lives() {
        let (mut prices, now) = (Prices::new(true), Instant::from_micros(1_000_000));
        prices.charge(now, &peer(1), u32::MAX);
        let prove = Request::Member(MemberRequest::Prove { asker: peer(2), nonce: 1 });
        assert_eq!(prices.admit_request(now, &peer(1), &prove), Ruling::Serve);
        assert!(matches!(prices.admit_request(now, &peer(1), &Request::Ping), Ruling::Busy(_)));
    }

    #[test]
    fn without_the_defence_all_is_free() {
        let (mut prices, now) = (Prices::new(false), Instant::from_micros(1_000_000));
        prices.charge(now, &peer(1), u32::MAX);
        (0..9).for_each(|_| assert!(!prices.strike(now, &peer(1))));
        assert_eq!(prices.admit_call(now, &peer(1), 1), Ruling::Serve);
    }
}
