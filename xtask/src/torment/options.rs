//! The options of the command line.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::nemesis::Nemesis;
use crate::run;

/// What the task prints with `--help`.
pub(crate) const HELP: &str = "\
cargo xtask torment [--minutes 10] [--nodes 9] [--seed N] [--nemesis LIST] [--program PATH]

Real node processes in network namespaces under faults, with clients whose history is judged.
Needs root (or user namespaces), ip and tc (iproute2), nft (nftables), unshare and mount
(util-linux); clocks are stepped only where faketime is installed.

  --minutes N     how long clients work (default 10)
  --nodes N       3 to 32 nodes (default 9)
  --seed N        draws the same faults again (default 1)
  --nemesis LIST  only these faults, comma-separated (default: all):
                  kill,kill-all,pause,restart,halves,one-way,bridge,loss,clock,jumps,full,slow
  --program PATH  the program to run (default: builds target/release/potluck)

Exit code 0: no violation; 1: violations, and the file with the history; 2: it could not run.
";

/// The parsed options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) minutes: u64,
    pub(super) nodes: usize,
    pub(super) seed: u64,
    pub(super) nemeses: Vec<Nemesis>,
    pub(super) program: Option<PathBuf>,
}

impl Options {
    pub(super) fn parse(args: &[OsString]) -> Result<Self, String> {
        let mut options =
            Self { minutes: 10, nodes: 9, seed: 1, nemeses: Nemesis::ALL.to_vec(), program: None };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let name = arg.to_string_lossy();
            let mut value = || args.next().ok_or_else(|| format!("{name} needs a value\n\n{HELP}"));
            match &*name {
                "--minutes" => options.minutes = number(&name, value()?, 1, 24 * 60)?,
                "--nodes" => options.nodes = number(&name, value()?, 3, 32)? as usize,
                "--seed" => options.seed = number(&name, value()?, 0, u64::MAX)?,
                "--nemesis" => options.nemeses = nemeses(&value()?.to_string_lossy())?,
                "--program" => options.program = Some(value()?.into()),
                _ => return Err(format!("torment does not know `{name}`\n\n{HELP}")),
            }
        }
        Ok(options)
    }

    /// The program to run, built if none was named.
    pub(super) fn program(&self, root: &Path) -> Result<PathBuf, String> {
        run::program(root, self.program.as_deref())
    }
}

fn number(name: &str, value: &OsString, least: u64, most: u64) -> Result<u64, String> {
    let number = value.to_str().and_then(|text| text.parse().ok());
    number
        .filter(|number| (least..=most).contains(number))
        .ok_or_else(|| format!("{name} is a number from {least} to {most}"))
}

fn nemeses(list: &str) -> Result<Vec<Nemesis>, String> {
    let known = || Nemesis::ALL.map(Nemesis::name).join(",");
    list.split(',')
        .map(|name| {
            let found = Nemesis::ALL.into_iter().find(|nemesis| nemesis.name() == name.trim());
            found.ok_or_else(|| format!("there is no nemesis `{name}`; there are {}", known()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &str) -> Result<Options, String> {
        let args: Vec<OsString> = words.split_whitespace().map(OsString::from).collect();
        Options::parse(&args)
    }

    #[test]
    fn without_arguments_nine_nodes_meet_every_nemesis_for_ten_minutes() {
        let options = parse("").expect("no arguments");
        assert_eq!((options.minutes, options.nodes, options.seed), (10, 9, 1));
        assert_eq!(options.nemeses, Nemesis::ALL);
    }

    #[test]
    fn everything_can_be_chosen() {
        let options = parse("--minutes 2 --nodes 5 --seed 7 --nemesis kill,full --program /p");
        let options = options.expect("arguments");
        assert_eq!((options.minutes, options.nodes, options.seed), (2, 5, 7));
        assert_eq!(options.nemeses, [Nemesis::Kill, Nemesis::Full]);
        assert_eq!(options.program, Some("/p".into()));
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_what_does() {
        for (words, said) in [
            ("--nemesis flood", "there is no nemesis `flood`"),
            ("--nodes 2", "from 3 to 32"),
            ("--minutes", "--minutes needs a value"),
            ("--speed 9", "does not know `--speed`"),
        ] {
            let error = parse(words).expect_err(words);
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn the_help_names_every_nemesis() {
        assert!(HELP.contains(&Nemesis::ALL.map(Nemesis::name).join(",")));
    }
}
