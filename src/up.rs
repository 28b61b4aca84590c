//! `up`: runs a node in the foreground.
//!
//! **Invariant:** each line on stdout (`contact ..`, `http ..`, `ready`) is printed once, in this order, when
//! it is true; however the program ends, the data folder is left complete.

mod host;
pub(crate) mod invitation;
mod notify;
mod page;
mod run;
mod signals;
mod source;
mod start;
pub(crate) mod ticket;
mod token;
mod waiting;

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use potluck::Ticket;
use potluck_base::Admission;

use crate::cli::{Global, UpArgs};
use crate::commands::network::check_entries;
use crate::config::{self, Flag, Input, Settings};
use crate::failure::{Exit, Failure};
use crate::log;
use crate::place::DATA_DIR_VARIABLE;

pub(crate) use signals::on_first_signal;

use source::Source;

/// Runs the command.
pub(crate) fn run(global: &Global, args: &UpArgs) -> Result<(), Failure> {
    let out = global.out();
    let settings = settings(args, global.token_file.as_deref())?;
    if args.print_config {
        return out.bytes(config::to_toml(&settings).as_bytes());
    }
    let entering = Entering {
        ticket: ticket::of(args, start::is_new(&settings))?,
        new_identity: args.new_identity,
    };
    refuse(&settings, entering.ticket.is_some())?;
    let token = token::given(&settings)?;
    ticket::scrub(args);
    let with_parent = WithParent { exits: args.exit_with_stdin, scrap: args.scrap.clone() };
    log::start(args.log, global.verbose, env::var(log::LEVELS_VARIABLE).ok().as_deref())?;
    let source = Source::new(args, global.token_file.as_deref());
    let configured = Configured { settings, token, source };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("cannot start: {error}")))?;
    let result = runtime.block_on(run::run(out, configured, entering, &with_parent));
    // A thread may still wait for a line on stdin that never comes.
    runtime.shutdown_background();
    result
}

/// Refuses settings with which no node can run, before any file is touched.
fn refuse(settings: &Settings, has_ticket: bool) -> Result<(), Failure> {
    let network = &settings.network;
    let without_ticket = matches!(network.admission, Some(Admission::Lab | Admission::Open));
    let is_new = start::is_new(settings);
    if is_new && network.admission == Some(Admission::Open) && network.name.is_none() {
        let message = "an open network needs a name, so that others can tell it from the next";
        return Err(Failure::new(Exit::Usage, "networkNeeded", message).hint(
            "add --network NAME to make one, or paste the line that a node of an existing one printed",
        ));
    }
    if is_new && network.difficulty.is_some() && network.admission != Some(Admission::Open) {
        return Err(Failure::new(Exit::Usage, "config", potluck::StartError::DifficultyOfOpen));
    }
    let exists = !network.entry.is_empty() || network.authority.is_some();
    if is_new && !has_ticket && !without_ticket && exists {
        let error = potluck::StartError::NoTicket;
        return Err(Failure::new(Exit::Usage, "ticketNeeded", error));
    }
    Ok(())
}

/// The identity and network with which a node starts.
#[derive(Debug)]
struct Entering {
    ticket: Option<Ticket>,
    /// Under a new identity.
    new_identity: bool,
}

/// The settings and their origin.
#[derive(Debug)]
struct Configured {
    settings: Settings,
    token: token::Given,
    /// The sources of both, to read them again.
    source: Source,
}

/// The behaviour of a node when the process that started it is gone.
#[derive(Debug)]
struct WithParent {
    /// Whether it ends.
    exits: bool,
    /// The folder that it then removes, if it is a demo's.
    scrap: Option<PathBuf>,
}

/// The settings that flags, environment and file make together.
fn settings(args: &UpArgs, token_file: Option<&Path>) -> Result<Settings, Failure> {
    let token_file = token_file.map(|path| path.to_string_lossy().into_owned());
    let mut flags = Vec::new();
    let mut text = |flag, key, value: Option<&'_ String>| {
        if let Some(value) = value {
            flags.push((flag, key, vec![value.clone()]));
        }
    };
    text("--advertise", ("node", "advertise"), args.advertise.as_ref());
    text("--http", ("http", "listen"), args.http.as_ref());
    text("--token-file", ("http", "token_file"), token_file.as_ref());
    let invitation = invitation::of(args)?;
    let invited = invitation.as_ref();
    let name = invited.map(|it| it.network.clone()).or_else(|| args.network.clone());
    let admission = invited.map(|_| Admission::Open.to_string()).or_else(|| args.admission.clone());
    let difficulty =
        invited.map(|it| it.difficulty.to_string()).or_else(|| args.difficulty.clone());
    text("--network", ("network", "name"), name.as_ref());
    text("--admission", ("network", "admission"), admission.as_ref());
    text("--difficulty", ("network", "difficulty"), difficulty.as_ref());
    text("--on-term", ("node", "on_term"), args.on_term.as_ref());
    text("--client", ("node", "client"), args.client.then(|| "true".to_owned()).as_ref());
    if !args.listen.is_empty() {
        flags.push(("--listen", ("node", "listen"), args.listen.clone()));
    }
    if !args.label.is_empty() {
        flags.push(("--label", ("node", "labels"), args.label.clone()));
    }
    let typed = |entry: &&String| !ticket::is_ticket(entry) && !invitation::is_invitation(entry);
    let mut entry: Vec<String> = args.entry.iter().filter(typed).cloned().collect();
    entry.extend(invited.map(invitation::contacts).unwrap_or_default());
    if !entry.is_empty() {
        check_entries(&entry)?;
        flags.push(("the entry points", ("network", "entry"), entry));
    }
    let flags: Vec<Flag<'_>> = flags
        .iter()
        .map(|(flag, key, values)| Flag { flag, key: *key, input: Input::Texts(values) })
        .collect();
    let Variables { texts, data_dir } = variables(env::vars_os())?;
    let mut settings = config::load(args.config.as_deref(), texts, &flags)?;
    // A path may be any bytes that the system allows, text or not.
    if let Some(path) = args.data.clone().or(data_dir) {
        if path.as_os_str().is_empty() {
            return Err(Failure::new(Exit::Usage, "config", "--data must not be empty"));
        }
        settings.node.data_dir = path;
    }
    if settings.node.data_dir.as_os_str().is_empty() {
        let message =
            "it cannot be told where this user is at home, so there is no place for the data";
        return Err(Failure::new(Exit::Usage, "config", message).hint("name one with --data DIR"));
    }
    Ok(settings)
}

/// The variables of this program in the environment.
#[derive(Debug, PartialEq, Eq)]
struct Variables {
    texts: Vec<(String, String)>,
    /// The data folder, if its path is no text.
    data_dir: Option<PathBuf>,
}

/// Separates this program's variables from the environment.
fn variables(all: impl Iterator<Item = (OsString, OsString)>) -> Result<Variables, Failure> {
    let (mut texts, mut data_dir) = (Vec::new(), None);
    for (name, value) in all {
        let Ok(name) = name.into_string() else { continue };
        match value.into_string() {
            Ok(value) => texts.push((name, value)),
            Err(value) if name == DATA_DIR_VARIABLE => data_dir = Some(value.into()),
            Err(_) if name.starts_with("POTLUCK_") => {
                let message = format!("the environment variable {name} is no UTF-8");
                return Err(Failure::new(Exit::Usage, "config", message));
            }
            Err(_) => {}
        }
    }
    Ok(Variables { texts, data_dir })
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::ffi::OsStringExt as _;

    use super::*;

    #[test]
    fn a_variable_that_is_no_text_is_the_data_folder_or_refused() {
        let odd = || OsString::from_vec(b"/d\xff".to_vec());
        let of = |name: &str| variables([(OsString::from(name), odd())].into_iter());
        assert_eq!(of(DATA_DIR_VARIABLE).expect("a path").data_dir, Some(odd().into()));
        assert_eq!(of("POTLUCK_NETWORK_NAME").expect_err("no text").exit, Exit::Usage);
        assert_eq!(of("LS_COLORS").expect("not ours"), Variables { texts: vec![], data_dir: None });
    }
}
