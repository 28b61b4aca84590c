//! Checks signatures in several threads, because they take most of the time of a check.

use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::Scope;

use potluck_base::NetworkId;
use potluck_record::{Envelope, Place};

use super::{Findings, Wrong};

/// Envelopes that are passed to a thread at once.
const CHUNK: usize = 256;
/// Chunks that wait for a thread. They are in memory; an envelope has at most 140 KB and usually 400 bytes.
const WAITING_MAX: usize = 2;
/// Most threads.
const THREADS_MAX: usize = 16;

type Chunk = Vec<(Place, Envelope)>;
type Bad = (Place, potluck_base::Key);

/// The threads and their queues.
pub(super) struct Signatures {
    chunk: Chunk,
    threads: Vec<SyncSender<Chunk>>,
    next: usize,
    bad: Receiver<Bad>,
    checked: u64,
}

impl Signatures {
    pub(super) fn start<'scope>(scope: &'scope Scope<'scope, '_>, network: NetworkId) -> Self {
        let (report, bad) = channel();
        let count = std::thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX);
        let threads = (0..count)
            .map(|_| {
                let (give, work) = sync_channel(WAITING_MAX);
                let report = report.clone();
                scope.spawn(move || run(&work, &report, &network));
                give
            })
            .collect();
        Self { chunk: Vec::new(), threads, next: 0, bad, checked: 0 }
    }

    pub(super) fn check(&mut self, place: Place, envelope: Envelope, findings: &mut Findings) {
        self.chunk.push((place, envelope));
        if self.chunk.len() == CHUNK {
            self.hand_over(findings);
        }
    }

    fn hand_over(&mut self, findings: &mut Findings) {
        self.checked += self.chunk.len() as u64;
        let chunk = std::mem::replace(&mut self.chunk, Vec::with_capacity(CHUNK));
        let thread = &self.threads[self.next % self.threads.len()];
        self.next += 1;
        // A thread ends only after this end of the channel is dropped.
        let _ = thread.send(chunk);
        while let Ok(bad) = self.bad.try_recv() {
            note(findings, bad);
        }
    }

    /// Waits for the threads. Returns the number of signatures that were checked.
    pub(super) fn end(mut self, findings: &mut Findings) -> u64 {
        self.hand_over(findings);
        self.threads.clear();
        while let Ok(bad) = self.bad.recv() {
            note(findings, bad);
        }
        self.checked
    }
}

fn note(findings: &mut Findings, (place, key): Bad) {
    let wrong = match place {
        Place::Replica => Wrong::Signature,
        Place::Own => Wrong::Own,
    };
    findings.add(wrong, || format!("key {key}"));
}

fn run(work: &Receiver<Chunk>, report: &Sender<Bad>, network: &NetworkId) {
    while let Ok(chunk) = work.recv() {
        for (place, envelope) in chunk {
            if envelope.verify(network).is_err() {
                // The receiver lives as long as the sender of the chunks.
                let _ = report.send((place, envelope.head().key()));
            }
        }
    }
}
