//! `demo`: a real network of node processes on this machine, in front of your eyes.
//!
//! The nodes are child processes that run `potluck up`, driven over HTTP as any program would.
//! What is printed at the end was measured in that run.
//!
//! **Invariant:** however the demo ends, its processes and its folder are gone: [`Kitchen`] kills
//! and removes on every way out, and nodes do it by themselves when their stdin closes, which is
//! what happens when the demo is killed.

mod course;
mod crowd;
mod detection;
mod figures;
mod files;
mod guest;
mod kitchen;
mod menu;
mod plan;
mod stage;

use std::io::{IsTerminal as _, stdout};
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;

use crate::cli::DemoArgs;
use crate::failure::{Exit, Failure};
use crate::out::Out;
use crate::up::on_first_signal;
pub(crate) use kitchen::FOLDER_PREFIX;

use course::Course;
use kitchen::Kitchen;
use plan::Plan;
use stage::Stage;

/// What ends the demo.
enum End {
    /// The course is over, or broke off.
    Over(Result<bool, Failure>),
    /// Somebody pressed Ctrl-C.
    Interrupted,
}

/// Runs the command.
pub(crate) fn run(out: Out, args: &DemoArgs) -> Result<(), Failure> {
    let plan = Plan::of(args)?;
    let stage = Stage::new(out);
    stage.opening(&plan);
    stage.heard()?;
    let menu = menu::of(&plan, &stage)?;
    let (ended, end) = mpsc::channel();
    let interrupted = ended.clone();
    on_first_signal(move || {
        // Nobody listens any more if the demo is over.
        let _ = interrupted.send(End::Interrupted);
    })?;
    let kitchen = Kitchen::open()?;
    let stays = !args.exit && stdout().is_terminal();
    let course = Course::new(plan, menu, stage.clone(), Arc::clone(&kitchen), stays);
    let spawned = thread::Builder::new().name("demo".into()).spawn(move || {
        // Nobody listens any more if the demo was interrupted.
        let _ = ended.send(End::Over(course.run()));
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
    kitchen.close();
    result.and_then(|()| stage.heard())
}
