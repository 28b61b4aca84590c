//! The options of the command line.

use std::ffi::OsString;
use std::path::PathBuf;

use super::expect;
use super::kind::Kind;

/// What the task prints with `--help`.
pub(crate) const HELP: &str = "\
cargo xtask nat [KIND KIND ..] [--all] [--mib 16] [--json] [--binary PATH]

Real nodes behind routers, in network namespaces: three with public addresses, `a` and `b` behind a
router of each KIND. Prints what reaches what. Needs root (or user namespaces), ip (iproute2), nft
(nftables), unshare and mount (util-linux); where they are refused it says so and exits with 0.

  KIND KIND ..    pairs of kinds: none,open,home,strict,cgn,blocked,leaky (default: the pairs in
                  which every cell must succeed, and some of the others)
  --all           every pair
  --mib N         size of each file that is fetched, 1 to 1024 (default 16)
  --json          one JSON object instead of tables
  --binary PATH   the program to run (default: builds target/release/potluck)

Exit code 0: every cell that must succeed did, or it was skipped; 1: one did not; 2: it could not run.
";

/// The parsed options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) pairs: Vec<(Kind, Kind)>,
    pub(super) mib: usize,
    pub(super) json: bool,
    pub(super) program: Option<PathBuf>,
}

impl Options {
    pub(super) fn parse(args: &[OsString]) -> Result<Self, String> {
        let mut options = Self { pairs: Vec::new(), mib: 16, json: false, program: None };
        let mut kinds = Vec::new();
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let name = arg.to_string_lossy();
            let mut value = || args.next().ok_or_else(|| format!("{name} needs a value\n\n{HELP}"));
            match &*name {
                "--all" => options.pairs = every_pair(),
                "--json" => options.json = true,
                "--mib" => options.mib = mib(value()?)?,
                "--binary" | "--program" => options.program = Some(value()?.into()),
                flag if flag.starts_with('-') => {
                    return Err(format!("nat does not know `{flag}`\n\n{HELP}"));
                }
                name => kinds.push(Kind::parse(name).ok_or_else(|| unknown(name))?),
            }
        }
        if kinds.len() % 2 == 1 {
            return Err("kinds come in pairs: one for `a` and one for `b`".to_owned());
        }
        options.pairs.extend(kinds.chunks(2).map(|pair| (pair[0], pair[1])));
        if options.pairs.is_empty() {
            options.pairs = expect::PAIRS.to_vec();
        }
        Ok(options)
    }
}

fn unknown(name: &str) -> String {
    let known = Kind::ALL.map(Kind::name).join(", ");
    format!("there is no kind `{name}`; there are {known}")
}

fn mib(value: &OsString) -> Result<usize, String> {
    let number = value.to_str().and_then(|text| text.parse().ok());
    number
        .filter(|mib| (1..=1024).contains(mib))
        .ok_or_else(|| "--mib is a number from 1 to 1024".to_owned())
}

/// Each kind with itself and with every other one.
fn every_pair() -> Vec<(Kind, Kind)> {
    let firsts = Kind::ALL.into_iter().enumerate();
    firsts.flat_map(|(index, one)| Kind::ALL[index..].iter().map(move |two| (one, *two))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &str) -> Result<Options, String> {
        let args: Vec<OsString> = words.split_whitespace().map(OsString::from).collect();
        Options::parse(&args)
    }

    #[test]
    fn kinds_come_in_pairs() {
        let options = parse("home strict cgn cgn --json --mib 4 --binary /p").expect("two pairs");
        assert_eq!(options.pairs, [(Kind::Home, Kind::Strict), (Kind::Cgn, Kind::Cgn)]);
        assert_eq!((options.mib, options.json, options.program), (4, true, Some("/p".into())));
        assert!(parse("home").expect_err("one kind").contains("pairs"));
    }

    #[test]
    fn without_kinds_the_table_says_which_pairs() {
        assert_eq!(parse("").expect("no arguments").pairs, expect::PAIRS);
        assert_eq!(parse("--all").expect("all").pairs.len(), 28);
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_what_does() {
        for (words, said) in [
            ("cone home", "there is no kind `cone`; there are none, open, home"),
            ("--mib 0", "from 1 to 1024"),
            ("--mib", "--mib needs a value"),
            ("--speed", "does not know `--speed`"),
        ] {
            let error = parse(words).expect_err(words);
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn the_help_names_every_kind() {
        assert!(HELP.contains(&Kind::ALL.map(Kind::name).join(",")));
    }
}
