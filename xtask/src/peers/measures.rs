//! What is compared: the figures that programs print, what they are called, which way is better.

use super::options::System;

/// One of those that take turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Side {
    /// Potluck with its default of 16 replicas of a value.
    Ours,
    /// Potluck with 8 replicas of a value, as many as OpenDHT keeps.
    OursEight,
    Other(System),
}

impl Side {
    /// As it is called above a column and in progress.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ours => "Potluck",
            Self::OursEight => "Potluck, r = 8",
            Self::Other(system) => system.name(),
        }
    }
}

/// What all systems of a kind do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Values,
    File,
    Members,
}

impl Kind {
    pub(super) const ALL: [Self; 3] = [Self::Values, Self::File, Self::Members];

    /// The systems beside Potluck.
    pub(super) fn systems(self) -> &'static [System] {
        match self {
            Self::Values => &[System::Mainline, System::Kad, System::OpenDht],
            Self::File => &[System::IrohBlobs, System::Libtorrent],
            Self::Members => &[System::Serf],
        }
    }
}

/// The setting of Potluck that a system is compared with: the one that keeps about as many replicas
/// (mainline and libp2p-kad keep 20).
pub(super) fn opposite(system: System) -> Side {
    match system {
        System::OpenDht => Side::OursEight,
        System::Mainline | System::Kad | System::IrohBlobs | System::Libtorrent | System::Serf => {
            Side::Ours
        }
    }
}

/// Which figures are better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Better {
    Higher,
    Lower,
}

/// One figure.
#[derive(Debug, Clone, Copy)]
pub(super) struct Measure {
    pub(super) kind: Kind,
    /// Its name in what programs print, behind the prefix that [`super::turns`] gives it.
    pub(super) figure: &'static str,
    /// What it is, with its unit.
    pub(super) words: &'static str,
    pub(super) better: Better,
}

const fn higher(kind: Kind, figure: &'static str, words: &'static str) -> Measure {
    Measure { kind, figure, words, better: Better::Higher }
}

const fn lower(kind: Kind, figure: &'static str, words: &'static str) -> Measure {
    Measure { kind, figure, words, better: Better::Lower }
}

/// All of them, in the order of the table.
pub(super) const MEASURES: [Measure; 25] = [
    lower(Kind::Values, "bootstrap.seconds", "start of all nodes, s"),
    lower(Kind::Values, "bootstrap.cpu", "start of all nodes, CPU s"),
    lower(Kind::Values, "put1.p50", "put, one in flight, p50 ms"),
    lower(Kind::Values, "put1.p99", "put, one in flight, p99 ms"),
    lower(Kind::Values, "get1.p50", "get, one in flight, p50 ms"),
    lower(Kind::Values, "get1.p99", "get, one in flight, p99 ms"),
    higher(Kind::Values, "put32.rate", "put, 32 in flight, a second"),
    lower(Kind::Values, "put32.p50", "put, 32 in flight, p50 ms"),
    lower(Kind::Values, "put32.p99", "put, 32 in flight, p99 ms"),
    lower(Kind::Values, "put32.cpu", "CPU s per 1,000 puts"),
    higher(Kind::Values, "get32.rate", "get, 32 in flight, a second"),
    lower(Kind::Values, "get32.p50", "get, 32 in flight, p50 ms"),
    lower(Kind::Values, "get32.p99", "get, 32 in flight, p99 ms"),
    lower(Kind::Values, "get32.cpu", "CPU s per 1,000 gets"),
    higher(Kind::Values, "get32.right", "gets that were right, %"),
    higher(
        Kind::Values,
        "stop.right",
        "gets that were right right after 30 % of the nodes stopped, %",
    ),
    lower(Kind::Values, "stop.p99", "get right after that, p99 ms"),
    lower(Kind::Values, "memory", "memory, kB a node"),
    higher(Kind::File, "file.rate", "file, MB a second"),
    lower(Kind::File, "file.cpu", "file, CPU s per GiB, both processes"),
    lower(Kind::File, "file.import", "file, s per GiB until it can be fetched"),
    lower(Kind::Members, "members.noticed", "a death noticed by all, s"),
    lower(Kind::Members, "members.idle_bytes", "idle, B a second and process"),
    lower(Kind::Members, "members.idle_cpu", "idle, CPU ms a second and process"),
    lower(Kind::Members, "members.memory", "memory, MB a process"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_system_is_of_one_kind() {
        for system in System::ALL {
            let kinds = Kind::ALL.iter().filter(|kind| kind.systems().contains(&system));
            assert_eq!(kinds.count(), 1, "{}", system.name());
        }
    }

    #[test]
    fn no_figure_is_named_twice() {
        let mut names: Vec<&str> = MEASURES.iter().map(|measure| measure.figure).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), MEASURES.len());
    }
}
