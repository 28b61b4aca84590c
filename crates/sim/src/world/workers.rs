//! The threads of a world with several shards. Each shard runs on its own, at most the lookahead of the
//! network ahead of the others.
//!
//! The rule is that of conservative parallel simulation (Chandy and Misra 1979, Bryant 1977): an event that a
//! shard sends to another at instant `t` arrives at `t + lookahead` or later. So a shard may handle all
//! events before `min(clocks of the others) + lookahead`. The window moves with the clocks, instead of
//! beginning and ending for all shards together, so that a shard with few events can run ahead of one with
//! many.
//!
//! **Invariant:** the speed of threads has no effect on results: a shard handles an event only when all
//! earlier ones are in its queue, and the queue orders them by [`crate::queue::When`].

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use potluck_base::Instant;
use potluck_base::signature_memo::SignatureMemo;

use crate::world::shard::{Local, Post, Shard};
use crate::world::shared::Shared;

/// Reads of the other clocks before a shard yields its processor.
const SPINS: u32 = 200;
/// Yields before it sleeps.
const YIELDS: u32 = 200;
/// Duration of a sleep between two reads of the clocks. A guess: the others run ahead for about 0.1 ms
/// anyway.
const NAP: Duration = Duration::from_micros(50);

/// The progress of the shards, and the events for each other.
struct Pace {
    /// For each shard: the time before which it handles no more events, in microseconds.
    clocks: Vec<AtomicU64>,
    /// The events for each shard.
    mail: Vec<Mutex<Vec<Post>>>,
    /// Whether a thread has panicked.
    broken: AtomicBool,
}

impl Pace {
    /// Sets `broken` if the thread panics.
    fn watch(&self) -> Watch<'_> {
        Watch(self)
    }

    /// The lowest clock of the other shards.
    fn others(&self, number: usize) -> u64 {
        let others = self.clocks.iter().enumerate().filter(|(other, _)| *other != number);
        others.map(|(_, clock)| clock.load(Ordering::Acquire)).min().unwrap_or(u64::MAX)
    }
}

struct Watch<'a>(&'a Pace);

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.broken.store(true, Ordering::Release);
        }
    }
}

/// One run of one shard.
struct Job {
    shared: Arc<Shared>,
    shard: Shard,
    end: Instant,
}

/// A thread and its channels.
struct Worker {
    jobs: Sender<Job>,
    done: Receiver<Shard>,
    thread: JoinHandle<()>,
}

/// The threads of all shards except the first, which runs on the thread of the scenario.
pub(crate) struct Workers {
    pace: Arc<Pace>,
    workers: Vec<Worker>,
}

impl Workers {
    pub(crate) fn new(shards: usize) -> Self {
        let pace = Arc::new(Pace {
            clocks: (0..shards).map(|_| AtomicU64::new(0)).collect(),
            mail: (0..shards).map(|_| Mutex::new(Vec::new())).collect(),
            broken: AtomicBool::new(false),
        });
        let workers = (1..shards).map(|number| Worker::new(number, &pace)).collect();
        Self { pace, workers }
    }

    /// Runs all shards through the period `times`.
    ///
    /// # Panics
    /// If one of the threads panicked.
    pub(crate) fn run(
        &mut self,
        shared: &Arc<Shared>,
        shards: &mut Vec<Shard>,
        times: std::ops::Range<Instant>,
    ) {
        let std::ops::Range { start, end } = times;
        for clock in &self.pace.clocks {
            clock.store(start.as_micros(), Ordering::Release);
        }
        for (worker, shard) in self.workers.iter().zip(shards.drain(1..)) {
            // Fails only if the thread has ended, which is detected below.
            let _ = worker.jobs.send(Job { shared: shared.clone(), shard, end });
        }
        run_shard(&self.pace, shared, &mut shards[0], end);
        for number in 0..self.workers.len() {
            match self.workers[number].done.recv() {
                Ok(shard) => shards.push(shard),
                Err(_) => self.resume_panic(number),
            }
        }
        for (number, mail) in self.pace.mail.iter().enumerate() {
            let mut mail = mail.lock().unwrap_or_else(PoisonError::into_inner);
            mail.drain(..).for_each(|post| shards[number].queue.push(post.when, post.event));
        }
    }

    /// A thread has ended: its panic continues here.
    fn resume_panic(&mut self, number: usize) -> ! {
        match self.workers.remove(number).thread.join() {
            Err(panic) => std::panic::resume_unwind(panic),
            Ok(()) => panic!("the thread of a shard ended before its run did"),
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        for Worker { jobs, done, thread } in self.workers.drain(..) {
            drop((jobs, done));
            // Its panic, if there was one, was continued in `run`, or another one was.
            let _ = thread.join();
        }
    }
}

impl Worker {
    fn new(number: usize, pace: &Arc<Pace>) -> Self {
        let ((jobs, received), (give, done)) = (channel::<Job>(), channel());
        let pace = pace.clone();
        let work = move || {
            let _memo = SignatureMemo::on_this_thread();
            for Job { shared, mut shard, end } in received {
                run_shard(&pace, &shared, &mut shard, end);
                // The scenario changes the shared state after all threads have released it.
                drop(shared);
                if give.send(shard).is_err() {
                    return;
                }
            }
        };
        let thread = thread::Builder::new().name(format!("partition {number}")).spawn(work);
        let thread = thread.expect("the system has room for a thread");
        Self { jobs, done, thread }
    }
}

/// Runs one shard until `end`, in parallel with the others.
fn run_shard(pace: &Pace, shared: &Shared, shard: &mut Shard, end: Instant) {
    let _watch = pace.watch();
    let (number, after) = (shard.number, end + Duration::from_micros(1));
    let lookahead = shared.network.lookahead();
    let clock = &pace.clocks[number];
    let mut idle = 0;
    loop {
        // The clocks are read before the mail: events posted after this read arrive at the bound or later.
        let bound = Instant::from_micros(pace.others(number)) + lookahead;
        take_mail(pace, shard);
        let bound = bound.min(after);
        let next = shard.queue.next_at();
        if next.is_none_or(|next| next >= bound) {
            // The shard has no event before the bound, and none can arrive that is due before it.
            clock.fetch_max(bound.as_micros(), Ordering::AcqRel);
            if bound == after {
                return;
            }
            idle = wait(pace, idle);
            continue;
        }
        idle = 0;
        let mut local = Local { shared, shard };
        while local.step_before(bound) {
            send_mail(pace, local.shard);
            let next = local.shard.queue.next_at().map_or(bound, |next| next.min(bound));
            clock.fetch_max(next.as_micros(), Ordering::AcqRel);
        }
    }
}

fn take_mail(pace: &Pace, shard: &mut Shard) {
    let mut mail = pace.mail[shard.number].lock().unwrap_or_else(PoisonError::into_inner);
    mail.drain(..).for_each(|post| shard.queue.push(post.when, post.event));
}

/// Sends the posted events before the clock of the shard advances, so that the others find everything that
/// may be due for them.
fn send_mail(pace: &Pace, shard: &mut Shard) {
    for post in shard.posts.drain(..) {
        let mut mail = pace.mail[post.to].lock().unwrap_or_else(PoisonError::into_inner);
        mail.push(post);
    }
}

/// Waits a moment for the clocks of the others, longer after several waits.
fn wait(pace: &Pace, idle: u32) -> u32 {
    assert!(!pace.broken.load(Ordering::Acquire), "the thread of another shard has panicked");
    if idle < SPINS {
        std::hint::spin_loop();
    } else if idle < SPINS + YIELDS {
        thread::yield_now();
    } else {
        thread::sleep(NAP);
    }
    idle.saturating_add(1)
}
