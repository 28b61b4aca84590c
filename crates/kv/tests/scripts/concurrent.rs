//! Writes of one node to one key that run at once, in random orders: no acknowledged value is lost, and no
//! dot is issued twice.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use potluck_base::{Instant, Machine as _, Rng};
use potluck_kv::{AskId, Command, CommandId, Input, Kv, LookupId, Output, Reply};
use potluck_record::{
    Dot, Envelope, Merged, OpId, Place, StateDigest, StorageOp, StorageReply, state::supersedes,
};
use potluck_wire::{Refusal, Request, Response, StoreOutcome};

use crate::samples::{WALL, blind, config, identity, network, peer};

/// The writes of one run: an envelope has at most eight values.
const TEXTS: [&str; 6] = ["0", "1", "2", "3", "4", "5"];

/// Steps of one run; the longest of these takes some hundreds.
const STEPS_MAX: usize = 100_000;

/// A node, the disk that carries out its operations in order, and replicas that store or refuse.
struct Run {
    kv: Kv,
    now: Instant,
    rng: Rng,
    disk: VecDeque<(OpId, StorageOp)>,
    own: Option<Envelope>,
    lookups: Vec<LookupId>,
    asks: Vec<(AskId, Request)>,
    signed: BTreeMap<Dot, Envelope>,
    written: Vec<usize>,
    ended: usize,
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut kv = Kv::new(identity(0), network(), peer(0), false, config());
        let now = Instant::ZERO + Duration::from_secs(1);
        kv.handle(now, Input::WallClock { now: WALL, offset: 0 });
        kv.handle(now, Input::Members(9));
        Self {
            kv,
            now,
            rng: Rng::from_number(seed),
            disk: VecDeque::new(),
            own: None,
            lookups: Vec::new(),
            asks: Vec::new(),
            signed: BTreeMap::new(),
            written: Vec::new(),
            ended: 0,
        }
    }

    fn play(&mut self) {
        let (mut begun, mut steps) = (0, 0);
        while self.ended < TEXTS.len() || !self.disk.is_empty() || !self.asks.is_empty() {
            steps += 1;
            assert!(steps < STEPS_MAX, "a write does not end");
            let input = match self.rng.below(8) {
                0 if begun < TEXTS.len() => {
                    begun += 1;
                    let command = Command::Put(blind(TEXTS[begun - 1]));
                    Some(Input::Command { id: CommandId(begun as u64 - 1), command })
                }
                1 => self.end_lookup(),
                2 | 3 => self.answer(),
                4..=6 => self.carry_out(),
                _ => {
                    self.now += Duration::from_millis(1);
                    None
                }
            };
            if let Some(input) = input {
                self.kv.handle(self.now, input);
                while let Some(output) = self.kv.poll_output() {
                    self.take(output);
                }
            }
        }
    }

    fn end_lookup(&mut self) -> Option<Input> {
        let index = self.rng.below(self.lookups.len().max(1) as u64) as usize;
        (index < self.lookups.len()).then(|| {
            let lookup = self.lookups.swap_remove(index);
            Input::LookupDone { lookup, closest: (1..=3).map(peer).collect(), late: Vec::new() }
        })
    }

    /// One in three replicas refuses for good, so that some writes are taken back.
    fn answer(&mut self) -> Option<Input> {
        let index = self.rng.below(self.asks.len().max(1) as u64) as usize;
        (index < self.asks.len()).then(|| {
            let (ask, _) = self.asks.swap_remove(index);
            let outcome = match self.rng.below(3) {
                0 => StoreOutcome::Stored(StateDigest::EMPTY),
                _ => StoreOutcome::Refused(Refusal::Life),
            };
            Input::Answered { ask, response: Response::Stored { outcomes: vec![outcome] } }
        })
    }

    /// The disk carries out its oldest operation.
    fn carry_out(&mut self) -> Option<Input> {
        let (id, op) = self.disk.pop_front()?;
        let reply = match op {
            StorageOp::Load { place: Place::Own, .. } => {
                StorageReply::Loaded { envelopes: self.own.clone().into_iter().collect() }
            }
            StorageOp::Load { .. } => StorageReply::Loaded { envelopes: vec![] },
            StorageOp::Merge { envelope, .. } => {
                let newer =
                    self.own.as_ref().is_none_or(|own| supersedes(envelope.head(), own.head()));
                assert!(newer, "an own envelope follows the one before it");
                self.own = Some(envelope);
                StorageReply::Merged { outcome: Merged::Newer, digest: StateDigest::EMPTY }
            }
            StorageOp::TakeBack { envelope, previous, place: Place::Own, .. } => {
                if self.own.as_ref().is_some_and(|own| own.head().id() == envelope) {
                    self.own = previous.map(|previous| *previous);
                }
                StorageReply::Removed
            }
            _ => StorageReply::Removed,
        };
        Some(Input::Stored { id, reply })
    }

    fn take(&mut self, output: Output) {
        match output {
            Output::Lookup { id, .. } => self.lookups.push(id),
            Output::Ask { id, request, .. } => self.asks.push((id, request)),
            Output::Storage { id, op } => {
                match &op {
                    StorageOp::Merge { envelope, .. } => {
                        let twice = self.signed.insert(envelope.head().dot(), envelope.clone());
                        assert_eq!(twice, None, "a dot is issued twice");
                    }
                    // No replica has it: its dot may be issued again.
                    StorageOp::TakeBack { envelope, .. } => drop(self.signed.remove(&envelope.dot)),
                    _ => {}
                }
                self.disk.push_back((id, op));
            }
            Output::Reply { id, reply } => {
                self.ended += 1;
                if let Reply::Written(_) = reply {
                    self.written.push(id.0 as usize);
                }
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn no_acknowledged_value_is_lost_by_writes_that_run_at_once() {
    let (mut written, mut taken_back) = (0, 0);
    for seed in 0..100 {
        let mut run = Run::new(seed);
        run.play();
        let kept: Vec<_> = run.own.iter().flat_map(Envelope::values).map(|it| it.1).collect();
        for number in &run.written {
            let text = TEXTS[*number];
            assert!(kept.iter().any(|value| value == text), "seed {seed}: {text} of {kept:?}");
        }
        written += run.written.len();
        taken_back += run.kv.stats().taken_back;
    }
    assert!(written > 30 && taken_back > 30, "{written} written, {taken_back} taken back");
}
