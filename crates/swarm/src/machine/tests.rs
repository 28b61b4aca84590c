use std::collections::BTreeMap;
use std::time::Duration;

use potluck_base::machine::check_timer_contract;

use super::*;
mod drip;
mod gone;
use crate::command::TransferEnd;
use crate::testing::contact;

const ME: u16 = 999;
const FETCH: FetchId = FetchId(1);

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A node that has the blob, as a pipe.
#[derive(Debug, Clone)]
struct Peer {
    rate: f64,
    have: GranuleSet,
    size: u64,
    /// One of this number of granules is corrupt.
    corrupt_every: Option<u32>,
    /// From then on it is silent.
    dead_from: Option<Instant>,
    /// Its answer to the question which granules it has.
    refuses: Option<Refusal>,
    /// Its reason why it will not get the granules that it lacks.
    lost: Option<Refusal>,
    /// After this many granules it sends one byte at long intervals.
    drips_after: Option<u64>,
    /// It claims to have granules, and ends each stream without sending any.
    ends_streams: bool,
    sent: u64,
}

struct Pipe {
    from: u16,
    granules: VecDeque<u32>,
    next: Instant,
    /// When the next bytes of a granule arrive.
    drop: Instant,
}

/// A simulated network around one machine.
struct Net {
    now: Instant,
    swarm: Swarm,
    division: Division,
    peers: BTreeMap<u16, Peer>,
    pipes: BTreeMap<TransferId, Pipe>,
    /// When the line of each peer is free.
    lines: BTreeMap<u16, Instant>,
    have: GranuleSet,
    ended: Option<Result<FetchReport, FetchError>>,
    announced: usize,
    places: Vec<u64>,
    order: Vec<u32>,
    /// Streams that the machine ended before all granules arrived.
    cancelled: usize,
    /// Whether replicas report that no node has announced the blob.
    absent: bool,
    round_trip: Duration,
    /// The most streams of one peer at once, and the most bytes requested in one stream.
    most_streams: usize,
    longest_stream: u64,
    /// Granules that may be on this machine already.
    checking: Vec<u32>,
}

fn number_of(contact: &Contact) -> u16 {
    let key = contact.public_key.as_bytes();
    u16::from_be_bytes([key[0], key[1]])
}

impl Net {
    fn new(size: u64) -> Self {
        let division = Division::of(size).unwrap();
        Self {
            now: Instant::ZERO,
            swarm: Swarm::new(contact(ME).public_key, Config::default(), Rng::from_number(7)),
            division,
            peers: BTreeMap::new(),
            pipes: BTreeMap::new(),
            lines: BTreeMap::new(),
            have: GranuleSet::empty(division.count()),
            ended: None,
            announced: 0,
            places: Vec::new(),
            order: Vec::new(),
            cancelled: 0,
            absent: false,
            round_trip: ms(10),
            most_streams: 0,
            longest_stream: 0,
            checking: Vec::new(),
        }
    }

    /// Without the defences against slow sources.
    fn unpaced(size: u64) -> Self {
        let defences = potluck_base::Defences { paced_sources: false, ..Default::default() };
        let config = Config { defences, ..Config::default() };
        let swarm = Swarm::new(contact(ME).public_key, config, Rng::from_number(7));
        Self { swarm, ..Self::new(size) }
    }

    fn peer(&mut self, number: u16, rate: f64) -> &mut Peer {
        let have = GranuleSet::full(self.division.count());
        let size = self.division.size();
        let peer = Peer {
            rate,
            have,
            size,
            corrupt_every: None,
            dead_from: None,
            refuses: None,
            lost: None,
            drips_after: None,
            ends_streams: false,
            sent: 0,
        };
        self.peers.insert(number, peer);
        self.peers.get_mut(&number).unwrap()
    }

    fn begin(&mut self) {
        let blob = BlobId::of(b"blob");
        let begin = Begin { fetch: FETCH, blob, root: blob, sources: Vec::new(), size: None };
        self.input(Input::Begin(begin));
    }

    fn input(&mut self, input: Input) {
        self.swarm.handle(self.now, input);
        while let Some(output) = self.swarm.poll_output() {
            self.output(output);
        }
    }

    fn output(&mut self, output: Output) {
        match output {
            Output::FindProviders { fetch, .. } => {
                let contacts = self.peers.keys().map(|number| contact(*number)).collect();
                self.input(Input::Providers { fetch, contacts, absent: self.absent });
            }
            Output::AskHave { ask, to, .. } => {
                let peer = &self.peers[&number_of(&to)];
                if peer.dead_from.is_some_and(|at| at <= self.now) {
                    return self.input(Input::AskFailed { ask });
                }
                let granules = Some(peer.have.to_bytes());
                let (size, lost) = (peer.size, peer.lost);
                let holding = Holding { size, granules, lost, ..Holding::default() };
                let holding = peer.refuses.map_or(Ok(holding), Err);
                let round_trip = Some(self.round_trip);
                self.input(Input::Holds { ask, holding, round_trip });
            }
            Output::Open { fetch, size, .. } => {
                self.places.push(size);
                match Division::of(size).filter(|_| size < 1 << 40) {
                    Some(division) => {
                        let have = GranuleSet::empty(division.count());
                        let mut granules = have.clone();
                        self.checking.iter().for_each(|granule| {
                            granules.insert(*granule);
                        });
                        if !granules.is_empty() {
                            self.input(Input::Checking { fetch, granules });
                        }
                        self.input(Input::Opened { fetch, have });
                    }
                    None => self.input(Input::NoPlace { fetch }),
                }
            }
            Output::Transfer { transfer, from, granules, .. } => {
                let next = self.now + self.round_trip;
                let from = number_of(&from);
                let bytes = granules.iter().map(|granule| self.division.bytes(*granule));
                let bytes = bytes.map(|bytes| bytes.end - bytes.start).sum();
                self.longest_stream = self.longest_stream.max(bytes);
                let drop = next + ms(500);
                self.pipes.insert(transfer, Pipe { from, granules: granules.into(), next, drop });
                let streams = self.pipes.values().filter(|pipe| pipe.from == from).count();
                self.most_streams = self.most_streams.max(streams);
                let peer = self.peers.get_mut(&from).unwrap();
                if peer.ends_streams {
                    peer.sent += 1;
                    self.pipes.remove(&transfer);
                    self.input(Input::Ended { transfer, end: TransferEnd::NotHeld });
                }
            }
            Output::CancelTransfer { transfer } => {
                self.pipes.remove(&transfer);
                self.cancelled += usize::from(!self.have.is_full());
            }
            Output::Completed { report, .. } => self.ended = Some(Ok(report)),
            Output::Failed { error, .. } => self.ended = Some(Err(error)),
            Output::Announce { root, .. } => {
                self.announced += 1;
                self.input(Input::Announced { root, done: true });
            }
            Output::Holding { .. }
            | Output::Serve { .. }
            | Output::Refuse { .. }
            | Output::MoreRoots { .. }
            | Output::Check { .. } => {}
        }
    }

    /// The transfer whose next granule arrives first, and when.
    fn next_arrival(&self) -> Option<(Instant, TransferId)> {
        let arrival = |(id, pipe): (&TransferId, &Pipe)| {
            let peer = &self.peers[&pipe.from];
            let granule = *pipe.granules.front()?;
            let bytes = self.division.bytes(granule);
            let took = Duration::from_secs_f64((bytes.end - bytes.start) as f64 / peer.rate);
            let free = self.lines.get(&pipe.from).copied().unwrap_or(Instant::ZERO);
            let at = pipe.next.max(free) + took;
            let drips = peer.drips_after.is_some_and(|after| peer.sent >= after);
            let comes = !drips && peer.dead_from.is_none_or(|dead| at < dead);
            comes.then_some((at, *id))
        };
        self.pipes.iter().filter_map(arrival).min()
    }

    /// When the next bytes of a granule arrive, and in which transfer.
    fn next_drop(&self) -> Option<(Instant, TransferId)> {
        let lives = |pipe: &Pipe| {
            let dead_from = self.peers[&pipe.from].dead_from;
            dead_from.is_none_or(|dead| pipe.drop < dead)
        };
        let open = self.pipes.iter().filter(|(_, pipe)| lives(pipe));
        open.map(|(id, pipe)| (pipe.drop, *id)).min()
    }

    fn drop_comes(&mut self, at: Instant, transfer: TransferId) {
        self.now = at;
        if let Some(pipe) = self.pipes.get_mut(&transfer) {
            pipe.drop = at + ms(500);
            self.input(Input::Moved { transfer });
        }
    }

    fn arrive(&mut self, at: Instant, transfer: TransferId) {
        self.now = at;
        let Some(pipe) = self.pipes.get_mut(&transfer) else { return };
        let from = pipe.from;
        let Some(granule) = pipe.granules.pop_front() else { return };
        self.lines.insert(from, at);
        let over = pipe.granules.is_empty();
        let peer = self.peers.get_mut(&from).unwrap();
        peer.sent += 1;
        let lies = peer.size != self.division.size()
            || peer.corrupt_every.is_some_and(|every| peer.sent.is_multiple_of(u64::from(every)));
        if lies {
            self.pipes.remove(&transfer);
            return self.input(Input::Ended { transfer, end: TransferEnd::Corrupt });
        }
        if self.have.insert(granule) {
            self.order.push(granule);
        }
        self.input(Input::Granule { transfer, granule });
        if over && self.pipes.remove(&transfer).is_some() {
            self.input(Input::Ended { transfer, end: TransferEnd::Done });
        }
    }

    /// Runs until the fetch has ended or `limit` has passed. Returns the elapsed seconds.
    fn run(&mut self, limit: Duration) -> f64 {
        let end = self.now + limit;
        while self.ended.is_none() && self.now < end {
            let deadline = self.swarm.poll_timeout().map(|deadline| deadline.at);
            let arrival = self.next_arrival().map(|(at, _)| at);
            let first = [deadline, arrival].into_iter().flatten().min();
            if let Some((at, transfer)) = self.next_drop()
                && first.is_some_and(|first| at < first)
            {
                self.drop_comes(at, transfer);
                continue;
            }
            match (self.next_arrival(), deadline) {
                (Some((at, transfer)), deadline) if deadline.is_none_or(|due| at <= due) => {
                    self.arrive(at, transfer);
                }
                (_, Some(due)) => {
                    self.now = self.now.max(due);
                    self.input(Input::Timeout);
                }
                (_, None) => break,
            }
        }
        self.now.since(Instant::ZERO).as_secs_f64()
    }

    fn report(&self) -> &FetchReport {
        self.ended.as_ref().expect("over").as_ref().expect("completed")
    }
}

const MIB: f64 = 1024.0 * 1024.0;

#[test]
fn four_equal_sources_bring_four_times_the_rate() {
    let mut net = Net::new(256 << 20);
    (1..=4).for_each(|number| {
        net.peer(number, 12.5 * MIB);
    });
    net.begin();
    let seconds = net.run(ms(60_000));
    assert!(net.have.is_full());
    assert!(seconds < 256.0 / 50.0 * 1.05, "{seconds} s");
    let report = net.report();
    assert_eq!(report.sources.len(), 4);
    assert!(report.sources.iter().all(|(_, bytes)| *bytes > 50 << 20), "{report:?}");
    assert!(report.duplicate_bytes < 2 << 20, "{report:?}");
    assert!(net.announced >= 1, "whoever has part of it says so");
    assert_eq!(net.order[0], net.division.count() - 1, "the last granule proves the size");
}

#[test]
fn a_long_way_gets_as_many_streams_as_it_holds() {
    // A path of 1 Gbit/s and 100 ms holds 12.5 MB, six times the receive window of one stream.
    let (rate, size) = (125e6, 1 << 30);
    let mut net = Net::new(size);
    net.round_trip = ms(100);
    net.peer(1, rate);
    net.begin();
    let seconds = net.run(ms(60_000));
    assert!(net.have.is_full());
    assert!(seconds < size as f64 / rate * 1.05 + 0.5, "{seconds} s");
    assert!(net.longest_stream <= 2 << 20, "{}", net.longest_stream);
    assert!((7..=16).contains(&net.most_streams), "{}", net.most_streams);
    // A path that holds little gets few streams.
    let mut net = Net::new(16 << 20);
    net.peer(1, 125e3);
    net.begin();
    net.run(ms(10_000));
    assert!(net.most_streams <= 3, "{}", net.most_streams);
}

#[test]
fn what_a_source_has_under_way_at_first_comes_with_the_proof_of_the_size() {
    let mut net = Net::new(64 << 20);
    net.round_trip = ms(100);
    net.peer(1, 125e6);
    net.begin();
    net.run(ms(150));
    assert_eq!(net.order[0], net.division.count() - 1);
    assert!(net.order.len() >= 8, "{} granules came in one round trip", net.order.len());
}

#[test]
fn what_may_be_here_already_is_asked_of_nobody_until_that_is_known() {
    let mut net = Net::new(64 << 20);
    let count = net.division.count();
    net.checking = (0..count / 2).collect();
    net.peer(1, 20.0 * MIB);
    net.begin();
    net.run(ms(5000));
    assert!(net.ended.is_none());
    let came: Vec<u32> = net.have.iter().collect();
    assert_eq!(came, (count / 2..count).collect::<Vec<_>>(), "the rest comes meanwhile");
    assert_eq!(net.swarm.fetch_view(FETCH).unwrap().full, [contact(1)]);
    // Other nodes get the granules that were found at once.
    let found: Vec<u32> = (0..count / 4).collect();
    net.have.insert_range(0..count / 4);
    net.input(Input::Compared { fetch: FETCH, granules: found.clone(), found });
    let view = net.swarm.fetch_view(FETCH).unwrap();
    assert!(view.bytes >= net.division.size() / 4 * 3, "{view:?}");
    let granules = (count / 4..count / 2).collect();
    net.input(Input::Compared { fetch: FETCH, granules, found: Vec::new() });
    net.run(ms(60_000));
    assert_eq!(net.report().duplicate_bytes, 0);
    let bytes: u64 = net.report().sources.iter().map(|(_, bytes)| bytes).sum();
    assert_eq!(bytes, net.division.size() / 4 * 3);
}

#[test]
fn what_is_found_here_does_not_prove_a_size() {
    let mut net = Net::new(64 << 20);
    let liar = net.peer(1, 10.0 * MIB);
    liar.size = (64 << 20) + 70_000;
    liar.have = GranuleSet::full(Division::of(liar.size).unwrap().count());
    net.checking = vec![0, 1];
    net.begin();
    net.run(ms(1));
    let (granules, found) = (vec![0, 1], vec![0, 1]);
    net.input(Input::Compared { fetch: FETCH, granules, found });
    net.peer(2, 10.0 * MIB);
    net.run(ms(60_000));
    assert_eq!(net.places, [(64 << 20) + 70_000, 64 << 20]);
}

#[test]
fn slow_sources_do_not_hold_up_the_end() {
    let mut net = Net::new(1 << 30);
    net.peer(1, 100.0 * MIB);
    net.peer(2, 0.6 * MIB);
    net.peer(3, 0.6 * MIB);
    net.begin();
    let seconds = net.run(ms(60_000));
    // Each of them takes three seconds for its first two granules.
    assert!(seconds < 1024.0 / 101.2 + 0.5, "{seconds} s");
    assert!(net.report().duplicate_bytes < 8 << 20);
    assert!(net.cancelled > 0, "who has nothing more to bring is told so at once");
}

#[test]
fn a_source_that_sends_wrong_bytes_is_dropped_and_the_result_is_right() {
    let mut net = Net::new(64 << 20);
    net.peer(1, 10.0 * MIB);
    net.peer(2, 10.0 * MIB).corrupt_every = Some(100);
    net.begin();
    net.run(ms(60_000));
    assert!(net.have.is_full());
    assert_eq!(net.report().corrupt_sources, 1);
    assert_eq!(net.peers[&2].sent, 100, "nothing is asked of it any more");
}

#[test]
fn a_wrong_size_is_found_out_with_the_last_granule() {
    let mut net = Net::new(64 << 20);
    for (number, size) in [(1, (64 << 20) + 1), (2, 1 << 41), (4, (64 << 20) - 1)] {
        let peer = net.peer(number, 10.0 * MIB);
        peer.size = size;
        peer.have = GranuleSet::full(Division::of(size).unwrap().count());
    }
    // This source cannot prove its claim.
    net.peer(5, 10.0 * MIB).size = 1 << 30;
    net.peer(3, 10.0 * MIB);
    net.begin();
    net.run(ms(60_000));
    assert!(net.have.is_full() && net.places.contains(&(64 << 20)), "{:?}", net.places);
}

#[test]
fn sources_may_die_as_long_as_one_is_left() {
    let mut net = Net::new(64 << 20);
    for number in 1..=4 {
        let dead_from = Some(Instant::ZERO + ms(200 * u64::from(number)));
        net.peer(number, 5.0 * MIB).dead_from = dead_from;
    }
    net.peer(5, 5.0 * MIB);
    net.begin();
    let seconds = net.run(ms(120_000));
    assert!(net.have.is_full() && seconds < 20.0, "{seconds} s");
}

#[test]
fn the_one_living_among_many_dead_providers_is_found() {
    for living in [1, 40, 128] {
        let mut net = Net::new(1 << 20);
        for number in 1..=128 {
            let dead_from = (number != living).then_some(Instant::ZERO);
            net.peer(number, 5.0 * MIB).dead_from = dead_from;
        }
        net.begin();
        let seconds = net.run(ms(120_000));
        assert!(net.have.is_full() && seconds < 3.0, "{living}: {seconds} s");
    }
}

#[test]
fn silent_sources_at_the_start_cost_two_seconds_together() {
    let mut net = Net::new(64 << 20);
    for number in 1..=3 {
        // It answers which granules it has, and dies before it sends any.
        net.peer(number, 5.0 * MIB).dead_from = Some(Instant::ZERO + ms(1));
    }
    net.peer(4, 50.0 * MIB);
    net.begin();
    let seconds = net.run(ms(60_000));
    assert!(net.have.is_full() && seconds < 64.0 / 50.0 + 2.0, "{seconds} s");
}

#[test]
fn what_a_dead_source_was_sending_is_asked_of_others_at_once() {
    let mut net = Net::new(64 << 20);
    net.peer(1, 5.0 * MIB);
    net.peer(2, 5.0 * MIB);
    net.begin();
    net.run(ms(1000));
    let dead_from = Some(net.now);
    net.peers.get_mut(&1).unwrap().dead_from = dead_from;
    let streams = |net: &Net| net.pipes.values().filter(|pipe| pipe.from == 1).count();
    assert!(streams(&net) > 0);
    net.input(Input::PeerGone(contact(1).public_key));
    assert_eq!(streams(&net), 0, "nobody waits for them to stall");
    net.run(ms(60_000));
    assert!(net.have.is_full());
}

#[test]
fn what_nobody_has_announced_is_unknown_long_before_patience_ends() {
    let mut net = Net::new(64 << 20);
    net.absent = true;
    net.begin();
    let seconds = net.run(ms(120_000));
    assert_eq!(net.ended, Some(Err(FetchError::Unknown)));
    // A blob that was just shared is announced within this time.
    assert!((3.0..6.0).contains(&seconds), "{seconds} s");
}

#[test]
fn without_any_source_a_fetch_fails_in_its_time() {
    let mut net = Net::new(64 << 20);
    net.begin();
    let seconds = net.run(ms(120_000));
    assert_eq!(net.ended, Some(Err(FetchError::NoSource)));
    assert!((14.0..20.0).contains(&seconds), "{seconds} s");
    let mut net = Net::new(64 << 20);
    net.peer(1, 5.0 * MIB).dead_from = Some(Instant::ZERO + ms(2000));
    net.begin();
    let seconds = net.run(ms(300_000));
    assert_eq!(net.ended, Some(Err(FetchError::NoSource)));
    assert!((60.0..100.0).contains(&seconds), "{seconds} s");
}

#[test]
fn what_a_reader_waits_for_comes_first() {
    let mut net = Net::new(256 << 20);
    net.peer(1, 10.0 * MIB);
    net.begin();
    net.run(ms(1000));
    let before = net.order.len();
    net.input(Input::Wanted { fetch: FETCH, granules: 500..504 });
    net.run(ms(2000));
    let place = net.order.iter().position(|granule| *granule == 500).expect("came");
    let granules_in_flight = (16 << 20) / net.division.granule_bytes() as usize;
    assert!(place - before <= granules_in_flight, "{place} {before}");
    assert!(net.order[place..place + 4].iter().all(|granule| (500..504).contains(granule)));
}

#[test]
fn partial_sources_are_asked_again_for_what_they_have_by_then() {
    let mut net = Net::new(64 << 20);
    let count = net.division.count();
    net.peer(1, 2.0 * MIB);
    net.peer(2, 50.0 * MIB).have = GranuleSet::empty(count);
    net.begin();
    net.run(ms(2000));
    net.peers.get_mut(&2).unwrap().have = GranuleSet::full(count);
    let seconds = net.run(ms(60_000));
    assert!(seconds < 5.0, "{seconds} s");
}

#[test]
fn a_fetch_that_is_given_up_says_so_and_stops_its_streams() {
    let mut net = Net::new(64 << 20);
    net.peer(1, 2.0 * MIB);
    net.begin();
    net.run(ms(500));
    assert!(!net.pipes.is_empty());
    net.input(Input::Cancel { fetch: FETCH });
    assert_eq!(net.ended, Some(Err(FetchError::Cancelled)));
    assert!(net.pipes.is_empty() && net.swarm.transfers.is_empty());
}

#[test]
fn a_fetching_node_serves_the_parts_it_has() {
    let mut net = Net::new(64 << 20);
    net.peer(1, 5.0 * MIB);
    net.begin();
    net.run(ms(2000));
    let (blob, from) = (BlobId::of(b"blob"), contact(5));
    let (serve, budget) = (ServeId(1), 1000);
    net.swarm.handle(net.now, Input::AskedHave { serve, from, blob, budget });
    let outputs: Vec<Output> = std::iter::from_fn(|| net.swarm.poll_output()).collect();
    let asks_back = |output: &Output| matches!(output, Output::AskHave { to, .. } if *to == from);
    assert!(outputs.iter().any(asks_back), "who asks will have part of it, too");
    let answer = outputs.into_iter().find_map(|output| match output {
        Output::Holding { answer, .. } => Some(answer),
        _ => None,
    });
    let holding = answer.expect("answered").expect("held");
    let granules = GranuleSet::from_bytes(net.division.count(), &holding.granules.unwrap());
    assert_eq!(granules, Some(net.have.clone()));
    assert_eq!(holding.neighbours, [contact(1)]);
    let strange = Input::AskedHave { serve, from, blob: BlobId::of(b"other"), budget };
    net.swarm.handle(net.now, strange);
    let refused = Output::Holding { serve, answer: Err(Refusal::NotHeld) };
    assert!(std::iter::from_fn(|| net.swarm.poll_output()).any(|output| output == refused));
}

#[test]
fn a_part_of_an_earlier_run_is_announced_and_served() {
    let mut net = Net::new(64 << 20);
    let (blob, root, from) = (BlobId::of(b"data"), BlobId::of(b"list"), contact(5));
    let mut have = GranuleSet::empty(net.division.count());
    have.insert_range(3..40);
    let size = net.division.size();
    net.swarm.handle(net.now, Input::HeldPart { blob, root, size, have: have.clone() });
    let outputs: Vec<Output> = std::iter::from_fn(|| net.swarm.poll_output()).collect();
    assert_eq!(outputs, [Output::Announce { root, complete: false }]);
    let (serve, budget) = (ServeId(1), 1000);
    net.swarm.handle(net.now, Input::AskedHave { serve, from, blob, budget });
    let Some(Output::Holding { answer: Ok(holding), .. }) = net.swarm.poll_output() else {
        panic!("no answer");
    };
    assert_eq!((holding.size, holding.granules), (size, Some(have.to_bytes())));
    net.swarm.handle(net.now, Input::AskedFetch { serve, from: from.public_key, blob });
    assert_eq!(net.swarm.poll_output(), Some(Output::Serve { serve }));
    net.swarm.handle(net.now, Input::Released { blob });
    net.swarm.handle(net.now, Input::AskedHave { serve, from, blob, budget });
    let refused = Output::Holding { serve, answer: Err(Refusal::NotHeld) };
    assert_eq!(net.swarm.poll_output(), Some(refused));
    // Invalid values are ignored.
    let have = GranuleSet::full(7);
    net.swarm.handle(net.now, Input::HeldPart { blob, root, size, have });
    assert_eq!(net.swarm.poll_output(), None);
}

#[test]
fn what_came_is_served_after_the_fetch_was_given_up() {
    let mut net = Net::new(64 << 20);
    net.peer(1, 5.0 * MIB);
    net.begin();
    net.run(ms(2000));
    net.input(Input::Cancel { fetch: FETCH });
    let (serve, from, blob, budget) = (ServeId(1), contact(5), BlobId::of(b"blob"), 1000);
    net.swarm.handle(net.now, Input::AskedHave { serve, from, blob, budget });
    let answers: Vec<Output> = std::iter::from_fn(|| net.swarm.poll_output()).collect();
    let Some(Output::Holding { answer: Ok(holding), .. }) = answers.last() else {
        panic!("{answers:?}");
    };
    assert_eq!(holding.granules, Some(net.have.to_bytes()));
    // Continuing the fetch takes the part over.
    net.begin();
    net.run(ms(1));
    assert!(net.swarm.parts.is_empty());
}

#[test]
fn deadlines_keep_the_timer_contract() {
    let mut net = Net::new(64 << 20);
    net.peer(1, 1.0 * MIB).dead_from = Some(Instant::ZERO + ms(700));
    net.begin();
    net.run(ms(600));
    let mut now = net.now;
    let mut woken = 0;
    while let Some((at, did)) = check_timer_contract(&mut net.swarm, now, || Input::Timeout) {
        now = at;
        net.now = at;
        did.into_iter().for_each(|output| net.output(output));
        woken += 1;
        if net.ended.is_some() || woken > 500 {
            break;
        }
    }
    assert!(woken > 5 && net.ended.is_some(), "{woken}");
}
