//! `up`: runs a node in the foreground.
//!
//! **Invariant:** each line on stdout (`contact ..`, `http ..`, `ready`) is printed once, when it
//! is true; whatever ends the program, the data folder is left as a whole.

mod run;
mod signals;
mod start;
mod ticket;

use std::env;
use std::path::PathBuf;

use potluck_base::Admission;

use crate::cli::{Global, UpArgs};
use crate::client::read_token;
use crate::commands::network::check_entries;
use crate::config::{self, Flag, Input, Settings};
use crate::failure::{Exit, Failure};

pub(crate) use signals::on_first_signal;

/// Runs the command.
pub(crate) fn run(global: &Global, args: &UpArgs) -> Result<(), Failure> {
    let out = global.out();
    let settings = settings(args)?;
    if args.print_config {
        out.bytes(config::to_toml(&settings).as_bytes());
        return Ok(());
    }
    let ticket = ticket::of(args)?;
    refuse(&settings, ticket.is_some())?;
    let token = settings.http.token_file.as_deref().map(read_token).transpose()?;
    let with_parent = WithParent { exits: args.exit_with_stdin, scrap: args.scrap.clone() };
    log(global.verbose);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("cannot start: {error}")))?;
    let result = runtime.block_on(run::run(out, settings, ticket, token, &with_parent));
    // A thread may still wait for a line on stdin that never comes.
    runtime.shutdown_background();
    result
}

/// Refuses what cannot become a node, before anything is touched.
fn refuse(settings: &Settings, has_ticket: bool) -> Result<(), Failure> {
    let network = &settings.network;
    if network.admission == Some(Admission::Open) {
        let message = "networks with admission open do not exist yet, only invite and lab";
        return Err(Failure::new(Exit::Usage, "admission", message)
            .hint("leave --admission out, or add --admission lab"));
    }
    let lab = network.admission == Some(Admission::Lab);
    let is_new = start::is_new(settings);
    let exists = !network.entry.is_empty() || network.authority.is_some();
    if is_new && !has_ticket && !lab && exists {
        let error = potluck::StartError::NoTicket;
        return Err(Failure::new(Exit::Usage, "ticketNeeded", error));
    }
    Ok(())
}

/// What a node does when whoever started it is gone.
#[derive(Debug)]
struct WithParent {
    /// It ends.
    exits: bool,
    /// And removes this folder, if it is a demo's.
    scrap: Option<PathBuf>,
}

/// The settings that flags, environment and file make together.
fn settings(args: &UpArgs) -> Result<Settings, Failure> {
    let data = args.data.as_ref().map(|path| path.to_string_lossy().into_owned());
    let mut flags = Vec::new();
    let mut text = |flag, key, value: Option<&'_ String>| {
        if let Some(value) = value {
            flags.push((flag, key, vec![value.clone()]));
        }
    };
    text("--data", ("node", "data_dir"), data.as_ref());
    text("--advertise", ("node", "advertise"), args.advertise.as_ref());
    text("--http", ("http", "listen"), args.http.as_ref());
    text("--network", ("network", "name"), args.network.as_ref());
    text("--admission", ("network", "admission"), args.admission.as_ref());
    text("--on-term", ("node", "on_term"), args.on_term.as_ref());
    text("--client", ("node", "client"), args.client.then(|| "true".to_owned()).as_ref());
    if !args.listen.is_empty() {
        flags.push(("--listen", ("node", "listen"), args.listen.clone()));
    }
    if !args.label.is_empty() {
        flags.push(("--label", ("node", "labels"), args.label.clone()));
    }
    let entry: Vec<String> =
        args.entry.iter().filter(|entry| !ticket::is_ticket(entry)).cloned().collect();
    if !entry.is_empty() {
        check_entries(&entry)?;
        flags.push(("the entry points", ("network", "entry"), entry));
    }
    let flags: Vec<Flag<'_>> = flags
        .iter()
        .map(|(flag, key, values)| Flag { flag, key: *key, input: Input::Texts(values) })
        .collect();
    let variables = env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    config::load(args.config.as_deref(), variables, &flags)
}

/// Sends what the parts log to stderr.
fn log(verbose: u8) {
    use tracing_subscriber::filter::LevelFilter;
    let level = match verbose {
        0 => LevelFilter::WARN,
        1 => LevelFilter::INFO,
        2 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .finish();
    // Only a second call could fail, and there is one.
    let _ = tracing::subscriber::set_global_default(subscriber);
}
