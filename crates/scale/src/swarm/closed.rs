//! A flash crowd: all readers join at once and stay. In a round each node sends one piece to one neighbour
//! (the seed several), so a round is the time of one piece on a reader's uplink.

use crate::draw::Stream;

/// The rule by which a sender chooses a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// The piece that the fewest neighbours of the receiver have (Cohen, BitTorrent 2003).
    Rarest,
    /// A random piece that the receiver lacks.
    Random,
}

/// A crowd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed {
    /// Readers.
    pub readers: usize,
    /// Pieces of the file, at most 1,024.
    pub pieces: usize,
    /// Neighbours that each node chooses. Other nodes choose it too.
    pub neighbours: usize,
    /// Pieces that a reader can receive in a round.
    pub down: u8,
    /// Pieces that the seed sends in a round.
    pub seed_sends: usize,
    /// The choice of pieces.
    pub policy: Policy,
    /// The same seed gives the same run.
    pub seed: u64,
}

/// The rounds after which readers had all pieces.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Finish {
    /// Half of them.
    pub half: usize,
    /// The last one; 0 if the run was given up.
    pub last: usize,
    /// Pieces that were sent.
    pub sent: u64,
}

/// Neighbours of which a sender takes the one with the fewest pieces.
const LOOKED_AT: usize = 6;

struct Crowd {
    setting: Closed,
    words: usize,
    neighbours: Vec<Vec<u32>>,
    /// Bits of the pieces of each node, including those in transfer to it.
    have: Vec<u64>,
    coming: Vec<u64>,
    counts: Vec<u32>,
    got: Vec<u8>,
    /// The number of neighbours of each node that have each piece.
    availability: Vec<u16>,
    /// The number of times that the seed has sent each piece.
    seeded: Vec<u32>,
    draws: Stream,
}

/// Runs a crowd until the last reader is complete.
#[must_use]
pub fn finish(setting: &Closed) -> Finish {
    let mut crowd = Crowd::new(*setting);
    let mut order: Vec<u32> = (0..=setting.readers as u32).collect();
    let (mut result, mut complete) = (Finish::default(), 0);
    let rounds_max = 40 * setting.pieces.max(1) + 40 * setting.readers / setting.seed_sends.max(1);
    let mut sent = Vec::with_capacity(setting.readers);
    for round in 1..=rounds_max {
        crowd.draws.shuffle(&mut order);
        sent.clear();
        for sender in &order {
            let times = if *sender == 0 { setting.seed_sends.max(1) } else { 1 };
            for _ in 0..times {
                sent.extend(crowd.send(*sender as usize));
            }
        }
        result.sent += sent.len() as u64;
        for (receiver, piece) in &sent {
            if crowd.receive(*receiver, *piece) {
                complete += 1;
                if complete * 2 >= setting.readers && result.half == 0 {
                    result.half = round;
                }
            }
        }
        crowd.got.fill(0);
        if complete == setting.readers {
            result.last = round;
            break;
        }
    }
    result
}

impl Crowd {
    fn new(setting: Closed) -> Self {
        let all = setting.readers + 1;
        let words = setting.pieces.div_ceil(64).clamp(1, 16);
        let mut draws = Stream::new(setting.seed, 61);
        let mut neighbours: Vec<Vec<u32>> = vec![Vec::new(); all];
        let degree = setting.neighbours.min(setting.readers);
        for node in 0..all {
            // In a small crowd the other nodes may have all their neighbours, so a node may have fewer.
            for _ in 0..8 * degree {
                if neighbours[node].len() >= degree {
                    break;
                }
                let other = draws.below(all);
                let fits = other != node && neighbours[other].len() < 2 * degree;
                if fits && !neighbours[node].contains(&(other as u32)) {
                    neighbours[node].push(other as u32);
                    neighbours[other].push(node as u32);
                }
            }
        }
        let mut crowd = Self {
            setting,
            words,
            neighbours,
            have: vec![0; all * words],
            coming: vec![0; all * words],
            counts: vec![0; all],
            got: vec![0; all],
            availability: vec![0; all * setting.pieces],
            seeded: vec![0; setting.pieces],
            draws,
        };
        for piece in 0..setting.pieces {
            crowd.receive(0, piece);
        }
        crowd
    }

    fn bits(&self, set: &[u64], node: usize) -> [u64; 16] {
        let mut bits = [0; 16];
        bits[..self.words].copy_from_slice(&set[node * self.words..(node + 1) * self.words]);
        bits
    }

    /// The pieces that one node has and another neither has nor receives in this round.
    fn useful(&self, sender: usize, receiver: usize) -> [u64; 16] {
        let mut useful = self.bits(&self.have, sender);
        let (have, coming) = (self.bits(&self.have, receiver), self.bits(&self.coming, receiver));
        for word in 0..self.words {
            useful[word] &= !(have[word] | coming[word]);
        }
        useful
    }

    /// Chooses a receiver and a piece. `None` if no neighbour needs a piece.
    fn send(&mut self, sender: usize) -> Option<(usize, usize)> {
        if self.counts[sender] == 0 {
            return None;
        }
        let degree = self.neighbours[sender].len();
        let first = self.draws.below(degree);
        let (mut best, mut seen) = (None, 0);
        for step in 0..degree {
            let other = self.neighbours[sender][(first + step) % degree] as usize;
            let full = self.got[other] >= self.setting.down
                || self.counts[other] as usize >= self.setting.pieces;
            if full || self.useful(sender, other).iter().all(|word| *word == 0) {
                continue;
            }
            seen += 1;
            if best.is_none_or(|best: usize| self.counts[other] < self.counts[best]) {
                best = Some(other);
            }
            if seen >= LOOKED_AT {
                break;
            }
        }
        let receiver = best?;
        let piece = self.choose(sender, receiver)?;
        self.coming[receiver * self.words + piece / 64] |= 1 << (piece % 64);
        self.got[receiver] += 1;
        if sender == 0 {
            self.seeded[piece] += 1;
        }
        Some((receiver, piece))
    }

    fn choose(&mut self, sender: usize, receiver: usize) -> Option<usize> {
        let useful = self.useful(sender, receiver);
        let count: u32 = useful.iter().map(|word| word.count_ones()).sum();
        if count == 0 {
            return None;
        }
        // The first of equal ones, starting at a random position.
        let skip = self.draws.below(count as usize);
        let rank = |piece: usize| match self.setting.policy {
            // The seed sends the piece that it has sent least often.
            _ if sender == 0 => self.seeded[piece],
            Policy::Rarest => u32::from(self.availability[receiver * self.setting.pieces + piece]),
            Policy::Random => 0,
        };
        let pieces = pieces_of(&useful[..self.words]).skip(skip);
        let pieces = pieces.chain(pieces_of(&useful[..self.words]).take(skip));
        if sender != 0 && self.setting.policy == Policy::Random {
            return pieces.into_iter().next();
        }
        pieces.min_by_key(|piece| rank(*piece))
    }

    /// A piece arrives. Returns whether the node is then complete.
    fn receive(&mut self, node: usize, piece: usize) -> bool {
        let (word, bit) = (node * self.words + piece / 64, 1 << (piece % 64));
        self.have[word] |= bit;
        self.coming[word] &= !bit;
        self.counts[node] += 1;
        for other in &self.neighbours[node] {
            self.availability[*other as usize * self.setting.pieces + piece] += 1;
        }
        self.counts[node] as usize == self.setting.pieces
    }
}

fn pieces_of(words: &[u64]) -> impl Iterator<Item = usize> {
    words.iter().enumerate().flat_map(|(at, word)| {
        let mut rest = *word;
        std::iter::from_fn(move || {
            let bit = (rest != 0).then(|| rest.trailing_zeros() as usize)?;
            rest &= rest - 1;
            Some(at * 64 + bit)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model;

    fn crowd(readers: usize, policy: Policy) -> Closed {
        Closed { readers, pieces: 128, neighbours: 16, down: 4, seed_sends: 1, policy, seed: 1 }
    }

    #[test]
    fn rarest_first_ends_near_the_optimum_and_random_later() {
        let rarest = finish(&crowd(200, Policy::Rarest));
        let random = finish(&crowd(200, Policy::Random));
        let optimum = model::swarm_rounds(128, 200) as usize;
        assert!(
            rarest.last >= optimum && rarest.last * 100 < optimum * 108,
            "{rarest:?} {optimum}"
        );
        assert!(random.last > rarest.last && rarest.half <= rarest.last);
        assert_eq!(rarest.sent, 200 * 128, "no piece comes twice");
        assert_eq!(finish(&crowd(200, Policy::Rarest)), rarest);
    }

    #[test]
    fn a_stronger_seed_does_not_end_later_than_a_server_alone() {
        let one = finish(&Closed { seed_sends: 50, ..crowd(100, Policy::Rarest) });
        assert!(one.last > 0 && one.last <= 128 + 7 + 20, "{one:?}");
        let tiny = finish(&crowd(1, Policy::Rarest));
        assert_eq!(tiny.last, 128);
    }
}
