//! `demo`: runs a network of node processes on this machine and prints each step.
//!
//! The nodes are child processes that run `potluck up`; the demo drives them over HTTP like any other
//! client. The figures printed at the end were measured in that run.
//!
//! **Invariant:** however the demo ends, its processes and its folder are gone: [`Processes`] kills
//! and removes on every exit path. If the demo itself is killed, the stdin of its nodes closes, and
//! they stop and remove their folders by themselves.

mod clients;
mod detection;
mod figures;
mod files;
mod node;
mod plan;
mod printer;
mod processes;
mod records;
mod scenario;

use std::io::{IsTerminal as _, stdout};
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;

use crate::cli::DemoArgs;
use crate::failure::{Exit, Failure};
use crate::out::Out;
use crate::up::on_first_signal;
pub(crate) use processes::FOLDER_PREFIX;

use plan::Plan;
use printer::Printer;
use processes::Processes;
use scenario::Scenario;

/// The event that ends the demo.
enum End {
    /// The scenario ended or failed; `true` if it showed everything.
    Over(Result<bool, Failure>),
    /// The user pressed Ctrl-C.
    Interrupted,
}

/// Runs the command.
pub(crate) fn run(out: Out, args: &DemoArgs) -> Result<(), Failure> {
    let plan = Plan::of(args)?;
    let printer = Printer::new(out);
    printer.opening(&plan);
    printer.check_written()?;
    let records = records::of(&plan, &printer)?;
    let (ended, end) = mpsc::channel();
    let interrupted = ended.clone();
    on_first_signal(move || {
        // The receiver is gone if the demo is over.
        let _ = interrupted.send(End::Interrupted);
    })?;
    let processes = Processes::open()?;
    let stays = !args.exit && stdout().is_terminal();
    let scenario = Scenario::new(plan, records, printer.clone(), Arc::clone(&processes), stays);
    let spawned = thread::Builder::new().name("demo".into()).spawn(move || {
        // The receiver is gone if the demo was interrupted.
        let _ = ended.send(End::Over(scenario.run()));
    });
    spawned.map_err(|error| Failure::failed(format!("cannot start a thread: {error}")))?;
    // Both senders live as long as the process.
    let result = match end.recv() {
        Ok(End::Over(Ok(true))) => {
            if stays {
                // Until Ctrl-C; an error would mean the same.
                let _ = end.recv();
            }
            Ok(())
        }
        Ok(End::Over(Ok(false))) => {
            Err(Failure::new(Exit::Failed, "demoFailed", "the demo did not show what it should")
                .hint("the lines above say what was missing"))
        }
        Ok(End::Over(Err(failure))) => Err(failure),
        Ok(End::Interrupted) | Err(_) => {
            Err(Failure::new(Exit::Failed, "interrupted", "the demo was interrupted"))
        }
    };
    processes.close();
    result.and_then(|()| printer.check_written())
}
