//! The search: inputs are made, fed and judged, and those that lead to something new are kept.
//!
//! **Invariant:** the same seed and corpus give the same inputs.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant};

use potluck_base::Rng;

use crate::clock;
use crate::mutate;
use crate::outcome::{MARKS, Seen};
use crate::target::{Feed, Memory, Target};

/// Kept inputs at most; a further one takes the place of a random one. Raising it makes room for rarer
/// inputs, and each is mutated less often.
const POOL_MAX: usize = 4000;
/// Processor time that one input may take. A guess: the slowest one seen takes a tenth of it.
const TIME_MAX: Duration = Duration::from_millis(if cfg!(debug_assertions) { 4000 } else { 1000 });

/// What a run saw.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Inputs fed.
    pub rounds: u64,
    /// Of them, those that were taken for well-formed.
    pub accepted: u64,
    /// Different marks.
    pub marks: usize,
    /// How long it all took.
    pub took: Duration,
    /// Processor time of the slowest input.
    pub slowest: Duration,
    /// Bytes allocated at once by the measured step that allocated most for a byte of its input, and the
    /// length of that input.
    pub hungriest: (u64, usize),
    /// The inputs that made new marks.
    pub found: Vec<Vec<u8>>,
}

/// A target with what it needs to go on.
pub(crate) struct Run<'a> {
    target: &'a Target,
    feed: Box<Feed>,
    seen: Seen,
    known: Vec<bool>,
    pub(crate) report: Report,
}

impl<'a> Run<'a> {
    pub(crate) fn new(target: &'a Target) -> Self {
        Self {
            target,
            feed: (target.start)(),
            seen: Seen::default(),
            known: vec![false; MARKS],
            report: Report::default(),
        }
    }

    /// Feeds one input; true if it led to something new.
    ///
    /// # Panics
    /// If the target does, or if the input took more time or memory than it may.
    pub(crate) fn feed(&mut self, input: &[u8]) -> bool {
        self.seen.clear();
        let begin = clock::now();
        (self.feed)(input, &mut self.seen);
        let took = clock::now().saturating_sub(begin);
        self.report.slowest = self.report.slowest.max(took);
        assert!(took < TIME_MAX, "{took:?} for {} bytes", input.len());
        self.judge_memory(input.len());
        self.report.rounds += 1;
        self.report.accepted += u64::from(self.seen.is_accepted());
        let mut new = 0;
        for mark in self.seen.marks() {
            let known = &mut self.known[usize::from(*mark)];
            new += usize::from(!*known);
            *known = true;
        }
        self.report.marks += new;
        new > 0
    }

    fn judge_memory(&mut self, length: usize) {
        let allocated = self.seen.allocated;
        let (most, of) = self.report.hungriest;
        // What a short input costs at least says nothing of a long one.
        if allocated * (of as u64 + 64) > most * (length as u64 + 64) {
            self.report.hungriest = (allocated, length);
        }
        if let Memory::Limited { for_byte, beside } = self.target.memory {
            let limit = for_byte * length as u64 + beside;
            assert!(allocated <= limit, "{allocated} bytes at once for an input of {length}");
        }
    }
}

/// Feeds `rounds` inputs, or as many as fit in `time`, made from `seed`, the target's samples and
/// `corpus`.
///
/// # Panics
/// If an input breaks a rule; `on_failure` is given the input first.
pub fn run(
    target: &Target,
    plan: Plan,
    corpus: &[Vec<u8>],
    on_failure: &mut dyn FnMut(&[u8]),
) -> Report {
    let begin = Instant::now();
    let mut rng = Rng::from_number(plan.seed).fork(target.name);
    let mut run = Run::new(target);
    let mut pool = (target.samples)();
    pool.extend_from_slice(corpus);
    for input in pool.clone() {
        guarded(&mut run, &input, on_failure);
    }
    run.report.rounds = 0;
    run.report.accepted = 0;
    while run.report.rounds < plan.rounds
        && (!run.report.rounds.is_multiple_of(1024) || begin.elapsed() < plan.time)
    {
        let input = mutate::input(&mut rng, target.form, &pool);
        if !guarded(&mut run, &input, on_failure) {
            continue;
        }
        run.report.found.push(input.clone());
        if pool.len() < POOL_MAX {
            pool.push(input);
        } else {
            let place = rng.below(pool.len() as u64) as usize;
            pool[place] = input;
        }
    }
    run.report.took = begin.elapsed();
    run.report
}

/// How long to search.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Where the randomness begins.
    pub seed: u64,
    /// Inputs at most.
    pub rounds: u64,
    /// Time at most.
    pub time: Duration,
}

fn guarded(run: &mut Run<'_>, input: &[u8], on_failure: &mut dyn FnMut(&[u8])) -> bool {
    match catch_unwind(AssertUnwindSafe(|| run.feed(input))) {
        Ok(new) => new,
        Err(panic) => {
            on_failure(input);
            resume_unwind(panic)
        }
    }
}

/// Feeds each of these inputs once. A target with memory of its own begins anew with each, as it does in
/// a replay of one file.
///
/// # Panics
/// If an input breaks a rule; `on_failure` is given the input first.
pub fn replay<'a>(
    target: &Target,
    inputs: impl IntoIterator<Item = &'a [u8]>,
    on_failure: &mut dyn FnMut(&[u8]),
) -> Report {
    let begin = Instant::now();
    let mut run = Run::new(target);
    for input in inputs {
        guarded(&mut run, input, on_failure);
    }
    run.report.took = begin.elapsed();
    run.report
}

/// Of these inputs, the few that together lead to all that all of them lead to: short ones first, each
/// only if it makes a mark that none before it made. At most `bytes_max` bytes in all.
#[must_use]
pub fn minimised(target: &Target, mut inputs: Vec<Vec<u8>>, bytes_max: usize) -> Vec<Vec<u8>> {
    inputs.sort_by(|a, b| a.len().cmp(&b.len()).then_with(|| a.cmp(b)));
    inputs.dedup();
    let mut run = Run::new(target);
    let mut bytes = 0;
    inputs.retain(|input| {
        let fits = bytes + input.len() <= bytes_max;
        let kept = fits && run.feed(input);
        bytes += if kept { input.len() } else { 0 };
        kept
    });
    inputs
}
