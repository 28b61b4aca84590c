//! The options of the command line.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use super::shape::Shape;

/// What the task prints with `--help`.
pub(crate) const HELP: &str = "\
cargo xtask line [--mbit 100] [--rtt-ms 100] [--buffer-ms 50] [--mtu 1500] [--loopback] [--mib 64]
                 [--runs 3] [--json] [-v] [--binary PATH ..]

One file from one node to another over a line of a rate and a delay. Needs root (or user
namespaces), ip (iproute2), unshare and mount (util-linux); where they are refused it says so and
exits with 0. Several programs run in turn and are compared with the first one.

  --mbit N        rate of the line in each direction, IP and UDP headers counted (default 100)
  --rtt-ms N      delay there and back (default 100)
  --buffer-ms N   how long a packet may wait before the line; what comes then is dropped (default 50)
  --mtu N         longest packet (default 1500)
  --loopback      no line: both nodes on loopback
  --mib N         size of the file, 1 to 4096 (default 64)
  --runs N        how often, 1 to 100 (default 3)
  --binary PATH   the program to run; may be given several times (default: builds
                  target/release/potluck)
";

/// The parsed options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Options {
    /// `None`: loopback.
    pub(super) shape: Option<Shape>,
    pub(super) mib: usize,
    pub(super) runs: u64,
    pub(super) json: bool,
    pub(super) verbose: bool,
    pub(super) programs: Vec<PathBuf>,
}

impl Options {
    pub(super) fn parse(args: &[OsString]) -> Result<Self, String> {
        let mut shape = Shape {
            bits_per_second: 100_000_000,
            rtt: Duration::from_millis(100),
            buffer: Duration::from_millis(50),
            mtu: 1500,
        };
        let mut loopback = false;
        let (mut mib, mut runs, mut json, mut verbose) = (64, 3, false, false);
        let mut programs = Vec::new();
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let name = arg.to_string_lossy();
            let mut value = || args.next().ok_or_else(|| format!("{name} needs a value\n\n{HELP}"));
            match &*name {
                "--mbit" => shape.bits_per_second = 1_000_000 * number(&name, value()?, 1, 10_000)?,
                "--rtt-ms" => shape.rtt = millis(number(&name, value()?, 0, 2_000)?),
                "--buffer-ms" => shape.buffer = millis(number(&name, value()?, 1, 2_000)?),
                // At most what a number of 16 bits holds.
                "--mtu" => shape.mtu = number(&name, value()?, 1_280, 65_000)? as u16,
                "--loopback" => loopback = true,
                "--mib" => mib = number(&name, value()?, 1, 4_096)? as usize,
                "--runs" => runs = number(&name, value()?, 1, 100)?,
                "--json" => json = true,
                "-v" => verbose = true,
                "--binary" => programs.push(value()?.into()),
                _ => return Err(format!("line does not know `{name}`\n\n{HELP}")),
            }
        }
        let shape = (!loopback).then_some(shape);
        Ok(Self { shape, mib, runs, json, verbose, programs })
    }
}

const fn millis(number: u64) -> Duration {
    Duration::from_millis(number)
}

fn number(name: &str, value: &OsString, least: u64, most: u64) -> Result<u64, String> {
    let number = value.to_str().and_then(|text| text.parse().ok());
    number
        .filter(|number| (least..=most).contains(number))
        .ok_or_else(|| format!("{name} is a number from {least} to {most}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &str) -> Result<Options, String> {
        let args: Vec<OsString> = words.split_whitespace().map(OsString::from).collect();
        Options::parse(&args)
    }

    #[test]
    fn without_arguments_the_line_has_100_megabits_and_100_milliseconds() {
        let options = parse("").expect("no arguments");
        let shape = options.shape.expect("a line");
        assert_eq!((shape.bits_per_second, shape.rtt), (100_000_000, Duration::from_millis(100)));
        assert_eq!((options.mib, options.runs), (64, 3));
    }

    #[test]
    fn everything_can_be_chosen() {
        let words =
            "--mbit 1000 --rtt-ms 20 --buffer-ms 10 --mtu 9000 --runs 5 --binary a --binary b";
        let options = parse(words).expect("arguments");
        let shape = options.shape.expect("a line");
        assert_eq!((shape.bits_per_second, shape.mtu), (1_000_000_000, 9000));
        assert_eq!(options.programs.len(), 2);
        assert_eq!(parse("--loopback").expect("loopback").shape, None);
        let error = parse("--rtt-ms never").expect_err("no number");
        assert!(error.contains("from 0 to 2000"), "{error}");
    }
}
