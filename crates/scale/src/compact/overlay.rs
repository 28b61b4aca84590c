//! The differences of the overlays: distance, rows of a table, and neighbours.

/// An overlay with its parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overlay {
    /// Kademlia (Maymounkov and Mazieres, IPTPS 2002).
    Kademlia {
        /// Contacts in a bucket, and the number of closest nodes that a lookup asks.
        k: u32,
        /// Requests in flight at once.
        alpha: u32,
        /// The closest nodes, which a node knows besides its buckets.
        close_group: u32,
        /// Contacts in an answer.
        answer: u32,
    },
    /// Chord (Stoica et al., SIGCOMM 2001) with iterative lookups by the asking node.
    Chord {
        /// Successors that a node knows.
        successors: u32,
        /// Requests in flight at once.
        alpha: u32,
        /// Contacts in an answer.
        answer: u32,
    },
    /// Pastry (Rowstron and Druschel, Middleware 2001) with digits of four bits, also with iterative lookups.
    Pastry {
        /// Leaves: half of them on each side.
        leaves: u32,
        /// Requests in flight at once.
        alpha: u32,
        /// Contacts in an answer.
        answer: u32,
    },
}

/// Bits of a digit in Pastry.
pub(super) const DIGIT: u32 = 4;

impl Overlay {
    /// Kademlia with the parameters of the product.
    #[must_use]
    pub const fn product() -> Self {
        Self::Kademlia { k: 16, alpha: 3, close_group: 48, answer: 16 }
    }

    /// Chord with the usual redundancy: 16 successors, answers of 4 contacts.
    #[must_use]
    pub const fn chord() -> Self {
        Self::Chord { successors: 16, alpha: 1, answer: 4 }
    }

    /// Pastry with the parameters of its paper: 16 leaves.
    #[must_use]
    pub const fn pastry() -> Self {
        Self::Pastry { leaves: 16, alpha: 1, answer: 4 }
    }

    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Kademlia { .. } => "Kademlia",
            Self::Chord { .. } => "Chord",
            Self::Pastry { .. } => "Pastry",
        }
    }

    /// Requests in flight at once.
    pub(super) const fn alpha(&self) -> usize {
        match self {
            Self::Kademlia { alpha, .. }
            | Self::Chord { alpha, .. }
            | Self::Pastry { alpha, .. } => *alpha as usize,
        }
    }

    /// Contacts in an answer.
    pub(super) const fn answer(&self) -> usize {
        match self {
            Self::Kademlia { answer, .. }
            | Self::Chord { answer, .. }
            | Self::Pastry { answer, .. } => *answer as usize,
        }
    }

    /// The number of closest nodes that must have answered at the end of a lookup.
    pub(super) const fn wanted(&self) -> usize {
        match self {
            Self::Kademlia { k, .. } => *k as usize,
            Self::Chord { .. } | Self::Pastry { .. } => 1,
        }
    }

    /// The neighbours that a node knows besides its table.
    pub(super) const fn neighbours(&self) -> usize {
        match self {
            Self::Kademlia { close_group, .. } => *close_group as usize,
            Self::Chord { successors, .. } => *successors as usize,
            Self::Pastry { leaves, .. } => *leaves as usize,
        }
    }

    /// Rows of a table. The neighbours cover the rows beyond them.
    pub(super) fn rows(&self, nodes: usize) -> usize {
        let farther = (nodes / self.neighbours().max(1)).max(1).ilog2() as usize;
        match self {
            Self::Kademlia { .. } | Self::Chord { .. } => farther + 1,
            Self::Pastry { .. } => farther / DIGIT as usize + 1,
        }
    }

    /// Contacts in a row.
    pub(super) const fn columns(&self) -> usize {
        match self {
            Self::Kademlia { k, .. } => *k as usize,
            Self::Chord { .. } => 1,
            Self::Pastry { .. } => 1 << DIGIT,
        }
    }

    /// Contacts of a table that are checked. Rows of Pastry have none for the digit of the node itself.
    pub(super) fn far_contacts(&self, nodes: usize) -> usize {
        let columns = match self {
            Self::Kademlia { .. } | Self::Chord { .. } => self.columns(),
            Self::Pastry { .. } => self.columns() - 1,
        };
        self.rows(nodes) * columns
    }

    /// The quantity that a lookup minimises: the XOR, the distance from the node forward to the target, or
    /// the distance on either side.
    pub(super) const fn distance(&self, id: u64, target: u64) -> u64 {
        match self {
            Self::Kademlia { .. } => id ^ target,
            Self::Chord { .. } => target.wrapping_sub(id),
            Self::Pastry { .. } => {
                let (there, back) = (target.wrapping_sub(id), id.wrapping_sub(target));
                if there < back { there } else { back }
            }
        }
    }

    /// The distance within which a node knows all others, in a network of this size.
    pub(super) fn radius(&self, nodes: usize) -> u64 {
        let span = match self {
            Self::Kademlia { .. } | Self::Chord { .. } => self.neighbours(),
            Self::Pastry { .. } => self.neighbours() / 2,
        };
        let share = span as f64 / nodes.max(1) as f64;
        if share >= 1.0 { u64::MAX } else { (share * 2f64.powi(64)) as u64 }
    }

    /// Requests that a node sends to join. Kademlia looks up its own id, which brings contacts of all
    /// buckets on the way, and an id of another bucket, as the product does; Chord looks up its fingers;
    /// Pastry asks the nodes on one route and its leaves.
    pub(super) fn join_requests(&self, nodes: usize, lookup: f64) -> f64 {
        match self {
            Self::Kademlia { .. } => 2.0 * lookup,
            Self::Chord { .. } => lookup * (1 + self.rows(nodes)) as f64,
            Self::Pastry { leaves, .. } => lookup + f64::from(*leaves),
        }
    }

    /// Requests to replace a contact that a check found dead: Kademlia takes a new one from its traffic,
    /// Chord looks up the finger, Pastry asks another node of the row.
    pub(super) const fn replace_requests(&self, lookup: f64) -> f64 {
        match self {
            Self::Kademlia { .. } => 0.0,
            Self::Chord { .. } => lookup,
            Self::Pastry { .. } => 1.0,
        }
    }
}
