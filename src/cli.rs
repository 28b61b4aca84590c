//! The command line: what can be typed, and what `--help` says about it.

mod admission;
mod advise;
mod files;
mod gossip;
mod groups;
mod kinds;
mod names;
mod seen;
mod service;
mod studies;
mod teams;
mod usage;
mod watch;

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand};
use clap_complete::Shell;

use crate::commands::sim::seeds::Seeds;
use crate::log::Form;
use crate::out::Out;

pub(crate) use admission::{InviteArgs, KeyCommand, NetworkArgs, NetworkCommand, RevokeArgs};
pub(crate) use advise::{AdviseArgs, Consistency, For};
pub(crate) use files::{FetchArgs, FileArgs, FilesArgs, GcArgs, ShareArgs};
pub(crate) use gossip::{PubArgs, SearchArgs, SubArgs};
pub(crate) use groups::{command, parse};
pub(crate) use kinds::{ElementsArgs, IncrArgs, MapSetArgs, MapUnsetArgs};
pub(crate) use names::{ExportArgs, ImportArgs, LsArgs};
pub(crate) use seen::{DoctorArgs, MembersArgs, TopArgs};
pub(crate) use service::{ManArgs, ServiceArgs, ServiceCommand, ServiceKind};
pub(crate) use studies::{LevelsArgs, PlanArgs, ReportArgs, ScaleArgs, Study};
pub(crate) use teams::{TeamArgs, TeamCommand, TeamMemberArgs};
pub(crate) use usage::{OVERVIEW, failure_of};
pub(crate) use watch::WatchArgs;

/// A network with no server: records, files, members and messages over any set of machines.
#[derive(Debug, Parser)]
#[command(
    name = "potluck",
    version,
    after_help = "Every command has --help with an example. Example: potluck demo"
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// The heading of these options in the help, after those of the command itself.
const GLOBAL: &str = "Options of every command";

/// The options of every command.
#[derive(Debug, Clone, Args)]
pub(crate) struct Global {
    /// The local node's URL [default: what the node left in its data folder, else
    /// http://127.0.0.1:8080]
    #[arg(
        long,
        global = true,
        help_heading = GLOBAL,
        env = "POTLUCK_NODE",
        value_name = "URL",
        hide_env_values = true
    )]
    pub(crate) node: Option<String>,
    /// A file with the token that the node requires; with `up`, of the node that is started
    #[arg(
        long,
        global = true,
        help_heading = GLOBAL,
        env = "POTLUCK_TOKEN_FILE",
        value_name = "FILE",
        hide_env_values = true
    )]
    pub(crate) token_file: Option<PathBuf>,
    /// Answer with one JSON object; errors are one JSON line on stderr
    #[arg(long, global = true, help_heading = GLOBAL)]
    pub(crate) json: bool,
    /// Print only data and errors
    #[arg(short, long, global = true, help_heading = GLOBAL)]
    pub(crate) quiet: bool,
    /// Print more on stderr
    #[arg(short, long, global = true, help_heading = GLOBAL, action = ArgAction::Count)]
    pub(crate) verbose: u8,
}

impl Global {
    /// The form of the output.
    pub(crate) fn out(&self) -> Out {
        Out { json: self.json, quiet: self.quiet, verbose: self.verbose > 0 }
    }
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a node in the foreground, and join a network by any of its nodes
    #[command(after_help = UP_EXAMPLES)]
    Up(Box<UpArgs>),
    /// A real network of processes on this machine, in front of your eyes
    #[command(after_help = DEMO_EXAMPLES)]
    Demo(DemoArgs),
    /// Store a value under a name
    #[command(after_help = PUT_EXAMPLES)]
    Put(PutArgs),
    /// Print the value under a name
    #[command(alias = "cat", after_help = GET_EXAMPLES)]
    Get(GetArgs),
    /// Print a record, and again after each change
    #[command(after_help = watch::WATCH_EXAMPLES)]
    Watch(WatchArgs),
    /// Settle a conflict: write a value that supersedes all siblings
    #[command(after_help = MERGE_EXAMPLES)]
    Merge(MergeArgs),
    /// Delete a record
    #[command(alias = "rm", after_help = "Example: potluck del config/greeting")]
    Del(DelArgs),
    /// List the names of records
    #[command(after_help = names::LS_EXAMPLES)]
    Ls(LsArgs),
    /// Write all records to a file: a backup
    #[command(after_help = names::EXPORT_EXAMPLES)]
    Export(ExportArgs),
    /// Write the records of a backup into this network
    #[command(after_help = names::IMPORT_EXAMPLES)]
    Import(ImportArgs),
    /// Add to a counter, which all nodes may count on at once
    #[command(after_help = kinds::INCR_EXAMPLES)]
    Incr(IncrArgs),
    /// Add elements to a set, which all nodes may change at once
    #[command(after_help = "Example: potluck set-add colors red 'light blue'")]
    SetAdd(ElementsArgs),
    /// Remove elements from a set
    #[command(after_help = "Example: potluck set-remove colors red")]
    SetRemove(ElementsArgs),
    /// Set a field of a map, which all nodes may change at once
    #[command(after_help = kinds::MAP_SET_EXAMPLES)]
    MapSet(MapSetArgs),
    /// Remove a field from a map
    #[command(after_help = "Example: potluck map-unset hosts db1")]
    MapUnset(MapUnsetArgs),
    /// Offer a file or folder to the network, and print its link
    #[command(after_help = files::SHARE_EXAMPLES)]
    Share(ShareArgs),
    /// Bring a shared file or folder here, from all nodes that have it
    #[command(after_help = files::FETCH_EXAMPLES)]
    Fetch(FetchArgs),
    /// List the files on this node, and why each is kept
    #[command(after_help = files::FILES_EXAMPLES)]
    Files(FilesArgs),
    /// Stop sharing a file
    #[command(after_help = "Example: potluck unshare 9f86d081884c")]
    Unshare(FileArgs),
    /// Keep a file until it is unpinned
    #[command(after_help = "Example: potluck pin 9f86d081884c")]
    Pin(FileArgs),
    /// Allow a pinned file to be removed when space is needed
    #[command(after_help = "Example: potluck unpin 9f86d081884c")]
    Unpin(FileArgs),
    /// Free space: remove the fetched files that were used least recently
    #[command(after_help = "Example: potluck gc --dry-run")]
    Gc(GcArgs),
    /// Find shared files by words in their names
    #[command(after_help = "Example: potluck search weights bin")]
    Search(SearchArgs),
    /// Send a message to all nodes that listen to a topic
    #[command(after_help = gossip::PUB_EXAMPLES)]
    Pub(PubArgs),
    /// Print the messages of a topic as they come
    #[command(after_help = gossip::SUB_EXAMPLES)]
    Sub(SubArgs),
    /// Show this node's condition
    #[command(after_help = "Example: potluck status --json")]
    Status,
    /// List the nodes this node talks to
    #[command(after_help = "Example: potluck peers")]
    Peers,
    /// List the members of the network, and which of them are alive
    #[command(after_help = "Examples: potluck members --long; potluck members --json")]
    Members(MembersArgs),
    /// Watch this node and its network on the full screen
    #[command(after_help = seen::TOP_EXAMPLES)]
    Top(TopArgs),
    /// Find what is wrong with this node and its network, and what to do
    #[command(after_help = seen::DOCTOR_EXAMPLES)]
    Doctor(DoctorArgs),
    /// Show one lookup, hop by hop
    #[command(after_help = "Example: potluck trace config/greeting")]
    Trace(NameArgs),
    /// Make a ticket that lets a machine into this network
    #[command(after_help = admission::INVITE_EXAMPLES)]
    Invite(InviteArgs),
    /// Put a member out of this network, or cancel a ticket
    #[command(after_help = admission::REVOKE_EXAMPLES)]
    Revoke(RevokeArgs),
    /// Show this network, and handle its authority key
    #[command(after_help = admission::NETWORK_EXAMPLES)]
    Network(NetworkArgs),
    /// Say which members may write in a team's space
    #[command(after_help = teams::TEAM_EXAMPLES)]
    Team(TeamArgs),
    /// Make the running node join by further entry points
    #[command(after_help = "Example: potluck join 192.168.1.7:12345")]
    Join(JoinArgs),
    /// Make the running node hand its records over, leave and stop
    #[command(after_help = "Example: potluck leave")]
    Leave,
    /// Check the data folder of a stopped node from end to end; nothing in it is changed
    #[command(after_help = VERIFY_EXAMPLES)]
    Verify(VerifyArgs),
    /// Play a scenario of the simulator: the same protocol code in virtual time
    #[command(after_help = "Example: potluck sim partition --nodes 60 --seed 7")]
    Sim(SimArgs),
    /// Print the file that runs a node as a service
    #[command(after_help = service::SERVICE_EXAMPLES)]
    Service(ServiceArgs),
    /// Print the manual page of the program or of a command
    #[command(after_help = "Example: potluck man put | man -l -")]
    Man(ManArgs),
    /// Say whether a network of peers is the right choice for you, and what else would be
    #[command(after_help = advise::ADVISE_EXAMPLES)]
    Advise(AdviseArgs),
    /// Say what a network for your users needs, costs and survives, or that it cannot work
    #[command(after_help = studies::PLAN_EXAMPLES)]
    Plan(PlanArgs),
    /// Print completions for a shell
    #[command(
        after_help = "Example: potluck completions bash > ~/.local/share/bash-completion/completions/potluck"
    )]
    Completions {
        /// The shell
        shell: Shell,
    },
}

const UP_EXAMPLES: &str = "\
Examples:
  potluck up
  potluck up potluck-ticket:...
  potluck up --network home --admission lab --data ./second --listen 0.0.0.0:0 192.168.1.7:12345";
const DEMO_EXAMPLES: &str = "\
Examples:
  potluck demo
  potluck demo --load src --exit";
const PUT_EXAMPLES: &str = "\
Examples:
  potluck put config/greeting hello
  potluck put config/motd @motd.txt --ttl 30d
  date | potluck put last/run -";
const GET_EXAMPLES: &str = "\
Examples:
  potluck get config/greeting
  potluck get config/greeting --all";
const MERGE_EXAMPLES: &str = "\
Examples:
  potluck merge config/greeting 'hello all'
  potluck merge config/greeting --pick 0
  potluck merge shopping-list --with 'sort -u'";

const VERIFY_EXAMPLES: &str = "\
Examples:
  potluck verify ~/.local/share/potluck
  potluck verify ./second --quick --json
Exit code 0: all is as it was written; 7: something is damaged; 6: a node is running on the folder.";

/// `verify`.
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// The data folder
    #[arg(value_name = "DIR")]
    pub(crate) folder: PathBuf,
    /// Leave out signatures and the bytes of files, which take most of the time
    #[arg(long)]
    pub(crate) quick: bool,
}

/// `up`.
#[derive(Debug, Clone, Args)]
pub(crate) struct UpArgs {
    /// A ticket of `potluck invite` (`-` reads it from stdin), an invitation that a node of an open
    /// network printed, or nodes to enter a lab or open network by: contacts, ip:port or name:port
    #[arg(value_name = "TICKET|INVITATION|CONTACT|IP:PORT|DNS:PORT")]
    pub(crate) entry: Vec<String>,
    /// A file with a ticket; POTLUCK_TICKET may hold one, too
    #[arg(long, value_name = "FILE", env = "POTLUCK_TICKET_FILE", hide_env = true)]
    pub(crate) ticket_file: Option<PathBuf>,
    /// Configuration file
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Data folder
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// UDP address to listen on; may be given up to four times, for both families 0.0.0.0:PORT and
    /// [::]:PORT; port 0 lets the system choose [default: 0.0.0.0:12345 and [::]:12345]
    #[arg(long, value_name = "IP:PORT")]
    pub(crate) listen: Vec<String>,
    /// Address under which others reach this node
    #[arg(long, value_name = "IP:PORT")]
    pub(crate) advertise: Option<String>,
    /// HTTP address to listen on [default: 127.0.0.1:8080, or the next free up to 8099]
    #[arg(long, value_name = "IP:PORT")]
    pub(crate) http: Option<String>,
    /// Name of the network
    #[arg(long, value_name = "NAME")]
    pub(crate) network: Option<String>,
    /// Which machines may join the network: `invite` (those with a ticket), `open` (any that solves the
    /// network's puzzles) or `lab` (any; for trying things)
    #[arg(long, value_name = "invite|open|lab")]
    pub(crate) admission: Option<String>,
    /// How hard the puzzles of an open network are, in bits: for the key pair, searched once, and for the
    /// weekly one; fixed for ever when the network is created [default: 16,23]
    #[arg(long, value_name = "BITS,BITS")]
    pub(crate) difficulty: Option<String>,
    /// A label of this node, visible to every member; may be given several times [default:
    /// host=<name of this machine>]
    #[arg(long, value_name = "K=V")]
    pub(crate) label: Vec<String>,
    /// Use the network without storing or serving anything for others
    #[arg(long)]
    pub(crate) client: bool,
    /// What to do when asked to stop: leave (hand over first) or pause (back soon)
    #[arg(long, value_name = "leave|pause")]
    pub(crate) on_term: Option<String>,
    /// Replace this node's identity by a new one in the same network, at each start with this option:
    /// for a copy of a data folder, or a node that was put out. Needs a ticket, except on the node
    /// with the authority key
    #[arg(long)]
    pub(crate) new_identity: bool,
    /// The form of the lines of the log on stderr
    #[arg(
        long,
        value_enum,
        value_name = "text|json",
        default_value = "text",
        hide_default_value = true,
        hide_possible_values = true
    )]
    pub(crate) log: Form,
    /// Print the effective configuration with a comment for each key, and exit
    #[arg(long)]
    pub(crate) print_config: bool,
    /// Stop when stdin is closed: a parent that dies takes this node along
    #[arg(long, hide = true)]
    pub(crate) exit_with_stdin: bool,
    /// Also remove this folder of a demo when stdin is closed
    #[arg(long, hide = true, value_name = "DIR")]
    pub(crate) scrap: Option<PathBuf>,
}

/// `demo`.
#[derive(Debug, Clone, Args)]
pub(crate) struct DemoArgs {
    /// Node processes to start
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u16).range(4..=64))]
    pub(crate) nodes: u16,
    /// Nodes to kill, the first one among them
    #[arg(long, default_value_t = 4)]
    pub(crate) kill: u16,
    /// Invented records to store
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    pub(crate) keys: u32,
    /// Store the files of this folder (up to 64 KiB each) instead of invented records
    #[arg(long, value_name = "DIR")]
    pub(crate) load: Option<PathBuf>,
    /// Share and fetch this file [default: this program]
    #[arg(long, value_name = "PATH")]
    pub(crate) file: Option<PathBuf>,
    /// End when done instead of keeping the network up until Ctrl-C
    #[arg(long)]
    pub(crate) exit: bool,
    /// Makes values and choices repeatable
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
}

/// Which record.
#[derive(Debug, Clone, Args)]
pub(crate) struct NameArgs {
    /// The record's name, 1 to 512 bytes; in space `content` its key
    pub(crate) name: String,
    /// Who may write it: commons, content, own, own/<node id>, team/<id>
    #[arg(long, value_name = "SPACE")]
    pub(crate) space: Option<String>,
}

/// The options of every write.
#[derive(Debug, Clone, Args)]
pub(crate) struct WriteArgs {
    /// Replicas that must acknowledge [default: a majority]
    #[arg(
        short,
        long = "write-quorum",
        value_name = "N",
        value_parser = clap::value_parser!(u16).range(1..)
    )]
    pub(crate) w: Option<u16>,
    /// Supersede exactly what this context of a read covers; `none`: write beside what is there
    #[arg(long, value_name = "CONTEXT|none")]
    pub(crate) context: Option<String>,
}

/// `put`.
#[derive(Debug, Args)]
pub(crate) struct PutArgs {
    /// The record's name, 1 to 512 bytes; `-` in space `content`
    pub(crate) name: String,
    /// The value; `-` reads stdin, `@FILE` a file
    #[arg(allow_negative_numbers = true)]
    pub(crate) value: String,
    /// Who may write it: commons, content, own, own/<node id>, team/<id>
    #[arg(long, value_name = "SPACE")]
    pub(crate) space: Option<String>,
    /// How concurrent values are read: siblings (all of them) or lww (the last one)
    #[arg(long, value_name = "KIND")]
    pub(crate) kind: Option<String>,
    /// How long the value lives, such as 1h or 30d
    #[arg(long, value_name = "DURATION")]
    pub(crate) ttl: Option<String>,
    #[command(flatten)]
    pub(crate) write: WriteArgs,
}

/// `get`.
#[derive(Debug, Args)]
pub(crate) struct GetArgs {
    #[command(flatten)]
    pub(crate) record: NameArgs,
    /// Print all siblings as JSON
    #[arg(long)]
    pub(crate) all: bool,
    /// Replicas that must agree
    #[arg(
        short,
        long = "read-quorum",
        value_name = "N",
        value_parser = clap::value_parser!(u16).range(1..)
    )]
    pub(crate) r: Option<u16>,
}

/// `merge`.
#[derive(Debug, Args)]
#[group(id = "how", required = true, multiple = false, args = ["value", "pick", "with"])]
pub(crate) struct MergeArgs {
    #[command(flatten)]
    pub(crate) record: NameArgs,
    /// The merged value; `-` reads stdin, `@FILE` a file
    #[arg(allow_negative_numbers = true)]
    pub(crate) value: Option<String>,
    /// Keep the sibling with this index, as `get` lists them
    #[arg(long, value_name = "INDEX")]
    pub(crate) pick: Option<usize>,
    /// A command that gets one file for each sibling and prints the merged value
    #[arg(long, value_name = "CMD")]
    pub(crate) with: Option<String>,
}

/// `del`.
#[derive(Debug, Args)]
pub(crate) struct DelArgs {
    #[command(flatten)]
    pub(crate) record: NameArgs,
    #[command(flatten)]
    pub(crate) write: WriteArgs,
}

/// `join`.
#[derive(Debug, Args)]
pub(crate) struct JoinArgs {
    /// Nodes to enter the network by: contacts, ip:port or name:port, or a ticket or an invitation with
    /// such (`-` reads a ticket from stdin)
    #[arg(
        required_unless_present = "ticket_file",
        value_name = "TICKET|INVITATION|CONTACT|IP:PORT|DNS:PORT"
    )]
    pub(crate) entry: Vec<String>,
    /// A file with a ticket
    #[arg(long, value_name = "FILE")]
    pub(crate) ticket_file: Option<PathBuf>,
}

/// Arguments of `sim`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct SimArgs {
    #[command(subcommand)]
    pub(crate) study: Option<Study>,
    /// The scenario; without one, says where to begin
    pub(crate) scenario: Option<String>,
    /// Nodes at the start
    #[arg(long, value_name = "N")]
    pub(crate) nodes: Option<usize>,
    /// The same seed gives the same run
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    /// All seeds from A to B, on all cores: one line for each seed
    #[arg(long, value_name = "A..B", conflicts_with = "seed", requires = "scenario")]
    pub(crate) seeds: Option<Seeds>,
    /// Virtual minutes of the main part
    #[arg(long, value_name = "M")]
    pub(crate) minutes: Option<u64>,
    /// Divide the nodes over N threads: faster from 1,000 nodes on if N cores are idle; same result
    #[arg(long, value_name = "N", conflicts_with = "seeds", requires = "scenario")]
    pub(crate) partitions: Option<usize>,
    /// Start with nodes that know each other, which saves the time to join
    #[arg(long, requires = "scenario")]
    pub(crate) prepared: bool,
    /// List the scenarios
    #[arg(long)]
    pub(crate) list: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_definition_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_help_has_an_example() {
        for command in Cli::command().get_subcommands() {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("potluck "), "{} has no example", command.get_name());
        }
    }

    #[test]
    fn the_overview_is_ten_lines_with_the_demo_first() {
        assert_eq!(OVERVIEW.lines().count(), 10);
        assert!(OVERVIEW.lines().all(|line| line.len() < 80), "a line is too wide");
        let demo = OVERVIEW.find("potluck demo").expect("it names the demo");
        for command in Cli::command().get_subcommands() {
            let name = command.get_name();
            if !["demo", "completions", "man", "service"].contains(&name) {
                let at = OVERVIEW.rfind(&format!(" {name}")).unwrap_or_default();
                assert!(at > demo, "{name} is missing or stands before the demo");
            }
        }
    }
}
