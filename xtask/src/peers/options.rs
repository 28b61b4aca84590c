//! The arguments of `bench peers`.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

/// What `--help` prints.
pub(crate) const HELP: &str = "\
cargo xtask bench peers [--only NAME].. [--quick] [--rounds N] [--seconds N] [--mib N]
                        [--program FILE]

Potluck beside other systems: the same work, in turns, in the same run. Prints a ratio a line, then one
table of medians and ranges, then what was left out and why. About 15 minutes; the first run builds and
downloads the other systems too.

  --only NAME   only this system, beside Potluck; may be given several times:
                  mainline, kad, opendht         values in a network of nodes
                  iroh-blobs, libtorrent         a file from process to process
                  serf                           processes that watch each other
  --quick       one short round of a small network: whether all of it works, no figures to keep
  --rounds N    turns of each system (default 3)
  --seconds N   length of a phase of puts or gets (default 4)
  --mib N       size of the file in MiB (default 1024)
  --program FILE  the program that watches beside serf (default: the release build, brought up to date)

mainline, libp2p-kad and iroh-blobs are crates that bench/peers builds. libtorrent comes from PyPI into
a virtual environment, OpenDHT and Serf come from Debian's archive by apt-get; all are unpacked below
the target folder, and nothing is installed on the machine.
";

/// A system beside Potluck.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum System {
    Mainline,
    Kad,
    OpenDht,
    IrohBlobs,
    Libtorrent,
    Serf,
}

impl System {
    pub(super) const ALL: [Self; 6] =
        [Self::Mainline, Self::Kad, Self::OpenDht, Self::IrohBlobs, Self::Libtorrent, Self::Serf];

    /// As it is typed.
    pub(super) fn typed(self) -> &'static str {
        match self {
            Self::Mainline => "mainline",
            Self::Kad => "kad",
            Self::OpenDht => "opendht",
            Self::IrohBlobs => "iroh-blobs",
            Self::Libtorrent => "libtorrent",
            Self::Serf => "serf",
        }
    }

    /// As it is called.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Mainline => "mainline",
            Self::Kad => "libp2p-kad",
            Self::OpenDht => "OpenDHT",
            Self::IrohBlobs => "iroh-blobs",
            Self::Libtorrent => "libtorrent",
            Self::Serf => "Serf",
        }
    }
}

/// How much each system does.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Work {
    pub(super) rounds: usize,
    /// Nodes of a network of values, all in one process.
    pub(super) nodes: usize,
    /// Seconds of a phase with many operations in flight, at most.
    pub(super) seconds: f64,
    /// Size of the file.
    pub(super) mib: u64,
    /// Processes that watch each other.
    pub(super) members: usize,
    /// Seconds until they are measured, and seconds of doing nothing that are measured.
    pub(super) settle: u64,
    pub(super) idle: u64,
}

impl Work {
    const WHOLE: Self =
        Self { rounds: 3, nodes: 100, seconds: 4.0, mib: 1024, members: 32, settle: 20, idle: 15 };
    const QUICK: Self =
        Self { rounds: 1, nodes: 20, seconds: 1.0, mib: 64, members: 8, settle: 5, idle: 5 };
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} rounds; {} nodes in one process, values of 200 bytes, phases of at most {} s (one in \
             flight: half of it) and 2,000 operations, then 30 % of the nodes stop; a file of {} MiB; {} \
             processes that watch each other, measured for {} s after {} s",
            self.rounds, self.nodes, self.seconds, self.mib, self.members, self.idle, self.settle
        )
    }
}

/// What was asked for.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Options {
    pub(super) systems: Vec<System>,
    pub(super) work: Work,
    /// The program, unless it is to be built.
    pub(super) program: Option<PathBuf>,
}

impl Options {
    pub(super) fn wants(&self, system: System) -> bool {
        self.systems.contains(&system)
    }
}

/// Reads the arguments.
pub(super) fn parse(args: &[OsString]) -> Result<Options, String> {
    let mut args = args.iter().map(|arg| arg.to_string_lossy());
    let (mut systems, mut program) = (Vec::new(), None);
    let (mut rounds, mut seconds, mut mib) = (None, None, None);
    let mut work = Work::WHOLE;
    while let Some(arg) = args.next() {
        let mut value =
            || args.next().ok_or_else(|| format!("`{arg}` needs a value (--help lists them)"));
        match &*arg {
            "--quick" => work = Work::QUICK,
            "--only" => systems.push(system(&value()?)?),
            "--program" => program = Some(PathBuf::from(&*value()?)),
            "--seconds" => seconds = Some(number(&arg, &value()?, 600)?),
            "--rounds" => rounds = Some(number(&arg, &value()?, 100)?),
            "--mib" => mib = Some(number(&arg, &value()?, 1 << 20)?),
            _ => return Err(format!("bench peers does not know `{arg}`\n\n{HELP}")),
        }
    }
    if let Some(rounds) = rounds {
        work.rounds = usize::try_from(rounds).map_err(|error| error.to_string())?;
    }
    work.seconds = seconds.map_or(work.seconds, |seconds| seconds as f64);
    work.mib = mib.unwrap_or(work.mib);
    if systems.is_empty() {
        systems = System::ALL.to_vec();
    }
    systems.sort_unstable();
    systems.dedup();
    Ok(Options { systems, work, program })
}

fn system(name: &str) -> Result<System, String> {
    System::ALL.into_iter().find(|system| system.typed() == name).ok_or_else(|| {
        let names: Vec<&str> = System::ALL.iter().map(|system| system.typed()).collect();
        format!("no system `{name}`; there are {}", names.join(", "))
    })
}

fn number(option: &str, text: &str, most: u64) -> Result<u64, String> {
    match text.parse() {
        Ok(number) if (1..=most).contains(&number) => Ok(number),
        _ => Err(format!("`{option} {text}`: give a number from 1 to {most}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(args: &[&str]) -> Result<Options, String> {
        parse(&args.iter().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn all_systems_unless_some_are_named() {
        assert_eq!(parsed(&[]).expect("no arguments").systems, System::ALL);
        let two =
            parsed(&["--only", "serf", "--only", "kad", "--only", "kad"]).expect("two systems");
        assert_eq!(two.systems, [System::Kad, System::Serf]);
    }

    #[test]
    fn what_is_given_beside_quick_holds_in_either_order() {
        for args in [["--quick", "--mib", "8"], ["--mib", "8", "--quick"]] {
            let work = parsed(&args).expect("known arguments").work;
            assert_eq!(work, Work { mib: 8, ..Work::QUICK });
        }
    }

    #[test]
    fn a_wrong_argument_is_named_with_what_there_is() {
        let error = parsed(&["--only", "ipfs"]).expect_err("no such system");
        assert!(error.contains("`ipfs`") && error.contains("iroh-blobs"), "{error}");
        assert!(parsed(&["--rounds", "0"]).is_err_and(|error| error.contains("from 1 to 100")));
        assert!(parsed(&["--mib"]).is_err_and(|error| error.contains("needs a value")));
        assert!(parsed(&["--fast"]).is_err_and(|error| error.contains("`--fast`")));
    }

    #[test]
    fn help_names_every_system() {
        for system in System::ALL {
            assert!(HELP.contains(system.typed()), "{}", system.typed());
        }
    }
}
