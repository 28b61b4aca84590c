//! `potluck`: the command line, the HTTP API and the demo around the facade crate.
//!
//! Commands other than `up`, `demo` and `sim` are clients of a running node and speak HTTP to it.
//!
//! **Invariant:** data goes to stdout, everything else to stderr; a command that fails prints one
//! sentence and exits with a code of `failure::Exit`.

mod api;
mod cli;
mod client;
mod commands;
mod config;
mod demo;
mod doctor;
mod failure;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod http;
mod log;
mod machine;
mod nodes;
mod out;
mod place;
mod text;
mod up;

use std::process::ExitCode;

use crate::cli::{Command, Global, OVERVIEW, ServiceCommand};
use crate::failure::Failure;
use crate::out::Out;

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let cli = match cli::parse() {
        Ok(cli) => cli,
        Err(error) => return not_parsed(&error),
    };
    let out = cli.global.out();
    ended(
        out,
        match &cli.command {
            None => out.bytes(OVERVIEW.as_bytes()),
            Some(command) => run(&cli.global, command),
        },
    )
}

/// Prints a failure, and returns the exit code.
fn ended(out: Out, result: Result<(), Failure>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // `doctor` has printed its findings on stdout: there is nothing to add.
            if !failure.message.is_empty() {
                out.failure(&failure);
            }
            ExitCode::from(failure.exit.number())
        }
    }
}

fn run(global: &Global, command: &Command) -> Result<(), Failure> {
    match command {
        Command::Up(args) => up::run(global, args),
        Command::Demo(args) => demo::run(global.out(), args),
        Command::Put(args) => commands::put::run(global, args),
        Command::Get(args) => commands::get::run(global, args),
        Command::Merge(args) => commands::merge::run(global, args),
        Command::Del(args) => commands::del::run(global, args),
        Command::Ls(args) => commands::ls::run(global, args),
        Command::Export(args) => commands::export::run(global, args),
        Command::Import(args) => commands::import::run(global, args),
        Command::Incr(args) => commands::kinds::incr(global, args),
        Command::SetAdd(args) => commands::kinds::set_add(global, args),
        Command::SetRemove(args) => commands::kinds::set_remove(global, args),
        Command::MapSet(args) => commands::kinds::map_set(global, args),
        Command::MapUnset(args) => commands::kinds::map_unset(global, args),
        Command::Share(args) => commands::share::run(global, args),
        Command::Fetch(args) => commands::fetch::run(global, args),
        Command::Files(args) => commands::files::list(global, args),
        Command::Unshare(args) => commands::files::unshare(global, args),
        Command::Pin(args) => commands::files::pin(global, args, true),
        Command::Unpin(args) => commands::files::pin(global, args, false),
        Command::Gc(args) => commands::files::gc(global, args),
        Command::Search(args) => commands::search::run(global, args),
        Command::Pub(args) => commands::publish::run(global, args),
        Command::Sub(args) => commands::subscribe::run(global, args),
        Command::Watch(args) => commands::watch::run(global, args),
        Command::Status => commands::status::status(global),
        Command::Peers => commands::status::peers(global),
        Command::Members(args) => commands::members::run(global, args),
        Command::Top(args) => commands::top::run(global, args),
        Command::Doctor(args) => commands::doctor::run(global, args),
        Command::Trace(args) => commands::trace::run(global, args),
        Command::Join(args) => commands::network::join(global, args),
        Command::Leave => commands::network::leave(global),
        Command::Invite(args) => commands::admission::invite(global, args),
        Command::Revoke(args) => commands::admission::revoke(global, args),
        Command::Network(args) => commands::admission::network(global, args),
        Command::Verify(args) => commands::verify::run(global, args),
        Command::Team(args) => commands::team::run(global, args),
        Command::Sim(args) => commands::sim::run(global, args),
        Command::Service(args) => match args.command {
            ServiceCommand::Print { kind } => commands::service::print(global, kind),
        },
        Command::Man(args) => commands::service::man(global, args.command.as_deref()),
        Command::Advise(args) => commands::advise::run(global, args),
        Command::Plan(args) => commands::sim::study::plan(global, args),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut cli::command(), "potluck", &mut script);
            global.out().bytes(&script)
        }
    }
}

/// Help and version are data; anything else is wrong usage.
fn not_parsed(error: &clap::Error) -> ExitCode {
    let typed: Vec<String> =
        std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
    let json = typed.iter().any(|word| word == "--json");
    let out = Out { json, ..Out::default() };
    ended(
        out,
        if error.use_stderr() {
            Err(cli::failure_of(error, &typed))
        } else {
            out.bytes(error.render().to_string().as_bytes())
        },
    )
}
