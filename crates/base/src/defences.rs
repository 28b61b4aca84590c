//! The defences against members that deviate, each of which a test can switch off.
//!
//! A scenario in which a member attacks must fail without the defence that it is about; otherwise it shows
//! nothing. Nodes run with [`Defences::default`], which has all of them on; no setting of a user names one.

/// Which defences are on. All are, except in a test that shows what one of them is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own, in no order")]
pub struct Defences {
    /// The writer of a record is a member, at each way in; without admission it is the sender of a store.
    pub member_writers: bool,
    /// A node stores only keys that it is near to.
    pub store_only_near: bool,
    /// What one source may send in a pull is bounded in pages and bytes.
    pub pull_budget: bool,
    /// Contexts, clocks, limits and absences are believed when a quorum of the closest says so.
    pub quorum_claims: bool,
    /// One budget of processor time a peer, over datagrams, calls and topic messages.
    pub priced_peers: bool,
    /// Announcements are checked whole before they are passed on.
    pub checked_announcements: bool,
    /// New contacts of one answer are bounded an address and a subnet.
    pub capped_contacts: bool,
    /// The length of a frame is computed before the frame is read.
    pub computed_frames: bool,
    /// A source of a fetch must keep up a rate, not only send a byte now and then.
    pub paced_sources: bool,
    /// The publisher of a topic message is a member.
    pub member_publishers: bool,
    /// Lookups go along several paths that share no node.
    pub disjoint_paths: bool,
    /// In open networks nodes of one subnet have few places in tables and candidate lists.
    pub subnet_limits: bool,
    /// Nodes that are nearer than the size of the network lets expect are kept out of tables, and what one
    /// sender names is bounded.
    pub deep_buckets: bool,
    /// Identities of one ticket are not all of a replica set.
    pub spread_tickets: bool,
    /// A key whose closest nodes lie implausibly close has more replicas, and is looked up more widely.
    pub density_alarm: bool,
    /// Readers remember the newest version that they saw, and look again for it.
    pub versions_seen: bool,
    /// Nodes of an `open` network hear only those that solve its puzzles.
    pub puzzles: bool,
}

impl Defences {
    /// All of them: what nodes run with.
    pub const ALL: Self = Self {
        member_writers: true,
        store_only_near: true,
        pull_budget: true,
        quorum_claims: true,
        priced_peers: true,
        checked_announcements: true,
        capped_contacts: true,
        computed_frames: true,
        paced_sources: true,
        member_publishers: true,
        disjoint_paths: true,
        subnet_limits: true,
        deep_buckets: true,
        spread_tickets: true,
        density_alarm: true,
        versions_seen: true,
        puzzles: true,
    };
    /// None of them, as the baseline of a comparison.
    pub const NONE: Self = Self {
        member_writers: false,
        store_only_near: false,
        pull_budget: false,
        quorum_claims: false,
        priced_peers: false,
        checked_announcements: false,
        capped_contacts: false,
        computed_frames: false,
        paced_sources: false,
        member_publishers: false,
        disjoint_paths: false,
        subnet_limits: false,
        deep_buckets: false,
        spread_tickets: false,
        density_alarm: false,
        versions_seen: false,
        puzzles: false,
    };
}

impl Default for Defences {
    fn default() -> Self {
        Self::ALL
    }
}
