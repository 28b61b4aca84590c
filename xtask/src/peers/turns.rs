//! The rounds: Potluck and the other systems take turns, each time another one first.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::measures::{Kind, Side};
use super::obtain::Obtained;
use super::options::{Options, System, Work};
use super::play::{Figures, Running, capture, play, same};
use super::report::Outcome;
use super::tell;

/// Longer than one turn takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(300);
/// The sizes of a turn's files: what is given, what the giver may copy, what arrives, twice.
const FILES: u64 = 4;
/// Where files are kept in memory, so that no disk decides.
const MEMORY: &str = "/dev/shm";

/// Runs all rounds. A system that fails is left out from then on.
pub(super) fn run(obtained: &Obtained, options: &Options) -> Result<Outcome, String> {
    let mut outcome = Outcome { files: base(options.work.mib), ..Outcome::default() };
    let mut turns: Vec<(Kind, Vec<Side>)> = Vec::new();
    for kind in Kind::ALL {
        let mut others = Vec::new();
        for system in kind.systems().iter().filter(|system| options.wants(**system)) {
            match available(obtained, *system) {
                Ok(()) => others.push(Side::Other(*system)),
                Err(reason) => outcome.missing.push(format!("{}: {reason}", system.name())),
            }
        }
        if !others.is_empty() {
            let ours: &[Side] = match kind {
                Kind::Values => &[Side::Ours, Side::OursEight],
                Kind::File => &[Side::Ours],
                // One program measures both.
                Kind::Members => &[],
            };
            turns.push((kind, ours.iter().copied().chain(others).collect()));
        }
    }
    let folder = Scratch::new(&outcome.files)?;
    for round in 0..options.work.rounds {
        for (kind, sides) in &mut turns {
            let places = usize::from(round > 0).min(sides.len());
            sides.rotate_left(places);
            let mut failed = Vec::new();
            for side in sides.iter().copied() {
                tell(&format!("round {} of {}: {}", round + 1, options.work.rounds, side.name()));
                match turn(obtained, &options.work, *kind, side, &folder.0) {
                    Ok(figures) => note(&mut outcome, side, figures),
                    Err(reason) => {
                        tell(&format!("  {reason}"));
                        let (name, round) = (side.name(), round + 1);
                        outcome.missing.push(format!("{name} from round {round} on: {reason}"));
                        failed.push(side);
                    }
                }
            }
            sides.retain(|side| !failed.contains(side));
        }
    }
    Ok(outcome)
}

/// Whether there is a program for it.
fn available(obtained: &Obtained, system: System) -> Result<(), String> {
    match system {
        System::Mainline | System::Kad | System::IrohBlobs => obtained.crates.as_ref().err(),
        System::OpenDht => obtained.opendht.as_ref().err(),
        System::Libtorrent => obtained.libtorrent.as_ref().err(),
        System::Serf => obtained.serf.as_ref().err().or(obtained.program.as_ref().err()),
    }
    .map_or(Ok(()), |reason| Err(reason.clone()))
}

/// Adds the figures of a turn. Names with the prefix `potluck.` are Potluck's own.
fn note(outcome: &mut Outcome, side: Side, figures: Figures) {
    for (name, number) in figures {
        let (side, name) = match name.strip_prefix("potluck.") {
            Some(rest) => (Side::Ours, format!("members.{rest}")),
            None => (side, name),
        };
        outcome.figures.entry((side, name)).or_default().push(number);
    }
}

fn turn(
    obtained: &Obtained,
    work: &Work,
    kind: Kind,
    side: Side,
    folder: &Path,
) -> Result<Figures, String> {
    match kind {
        Kind::Values => play(values(obtained, work, side)?, PATIENCE),
        Kind::File => file(obtained, work, side, folder),
        Kind::Members => members(obtained, work),
    }
}

fn values(obtained: &Obtained, work: &Work, side: Side) -> Result<Command, String> {
    let ours = |replicas: &str| {
        let mut command = Command::new(&obtained.bench);
        // Others keep values in memory.
        command.args(["dht", "--store", "memory", "--replication", replicas]);
        command
    };
    let mut command = match side {
        Side::Ours => ours("16"),
        Side::OursEight => ours("8"),
        Side::Other(System::OpenDht) => {
            let mut python = obtained.opendht.clone()?.python();
            python.arg(obtained.root.join("bench/peers/python/nodes.py"));
            python
        }
        Side::Other(system) => {
            let mut command = Command::new(obtained.crates.as_ref()?);
            command.arg(system.typed());
            command
        }
    };
    command.arg("--nodes").arg(work.nodes.to_string());
    command.arg("--seconds").arg(work.seconds.to_string());
    command.args(["--operations", "2000", "--concurrency", "32", "--value-bytes", "200"]);
    Ok(command)
}

/// One file from a process that gives it to one that takes it.
fn file(obtained: &Obtained, work: &Work, side: Side, folder: &Path) -> Result<Figures, String> {
    let program = || -> Result<Command, String> {
        let (program, words) = match side {
            Side::Other(System::Libtorrent) => (
                obtained.libtorrent.as_ref()?,
                vec![obtained.root.join("bench/peers/python/torrent.py")],
            ),
            Side::Other(system) => (obtained.crates.as_ref()?, vec![system.typed().into()]),
            Side::Ours | Side::OursEight => (&obtained.bench, vec!["pair".into()]),
        };
        let mut command = Command::new(program);
        command.args(words);
        Ok(command)
    };
    let given = folder.join("given");
    let bytes = work.mib << 20;
    if !given.exists() {
        noise(&given, bytes)?;
    }
    let turn = Scratch::new(folder)?;
    let (to, giving, taking) = (turn.0.join("got"), turn.0.join("giver"), turn.0.join("taker"));
    let mut giver = program()?;
    giver.arg("give").arg(&given).arg(giving);
    let mut giver = Running::start(giver, PATIENCE)?;
    let ticket = giver.word("ticket")?;
    let mut taker = program()?;
    taker.arg("take").arg(ticket).arg(&to).arg(taking);
    let taken = play(taker, PATIENCE)?;
    let given_figures = giver.finish()?;
    same(&given, &to)?;
    let of = |figures: &Figures, name: &str| {
        figures.get(name).copied().ok_or_else(|| format!("it told no figure `{name}`"))
    };
    let gib = work.mib as f64 / 1024.0;
    let cpu = of(&given_figures, "cpu")? + of(&taken, "cpu")?;
    Ok(Figures::from([
        ("file.rate".to_owned(), bytes as f64 / 1e6 / of(&taken, "seconds")?),
        ("file.cpu".to_owned(), cpu / gib),
        ("file.import".to_owned(), of(&given_figures, "import")? / gib),
    ]))
}

/// Potluck and Serf, one behind the other, in a network namespace where the kernel counts nothing
/// else.
fn members(obtained: &Obtained, work: &Work) -> Result<Figures, String> {
    let alone = obtained.root.join("bench/alone.sh");
    capture(Command::new(&alone).arg("true"))
        .map_err(|error| format!("it needs a network namespace of its own: {error}"))?;
    let mut command = Command::new(alone);
    command.arg(&obtained.bench).args(["members", "--figures", "--rounds", "1"]);
    command.arg("--program").arg(obtained.program.as_ref()?);
    command.arg("--serf").arg(obtained.serf.as_ref()?);
    command.arg("--nodes").arg(work.members.to_string());
    command.arg("--settle").arg(work.settle.to_string());
    command.arg("--idle").arg(work.idle.to_string());
    let figures = play(command, PATIENCE)?;
    let name = |name: String| match name.strip_prefix("serf.") {
        Some(rest) => format!("members.{rest}"),
        None => name,
    };
    Ok(figures.into_iter().map(|(figure, number)| (name(figure), number)).collect())
}

/// A file of noise, which nothing on the way can compress.
fn noise(path: &Path, bytes: u64) -> Result<(), String> {
    use std::io::Read as _;
    let make = || -> std::io::Result<()> {
        let mut noise = std::fs::File::open("/dev/urandom")?.take(bytes);
        std::io::copy(&mut noise, &mut std::fs::File::create(path)?)?;
        Ok(())
    };
    make().map_err(|error| format!("{}: {error}", path.display()))
}

/// Memory if it holds the files of a turn, else the folder for temporary files.
fn base(mib: u64) -> PathBuf {
    let output = capture(Command::new("df").args(["--output=avail", "--block-size=1M", MEMORY]));
    let room = output.ok().and_then(|text| text.lines().last()?.trim().parse::<u64>().ok());
    match room {
        Some(room) if room >= mib * FILES => PathBuf::from(MEMORY),
        _ => std::env::temp_dir(),
    }
}

/// A folder that goes when this is dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new(base: &Path) -> Result<Self, String> {
        let path = base.join(format!("potluck-peers-{}", std::process::id()));
        std::fs::create_dir_all(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left lies in the folder for temporary files.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_program_tells_the_figures_of_both_that_watch() {
        let mut outcome = Outcome::default();
        let figures = Figures::from([
            ("potluck.noticed".to_owned(), 3.0),
            ("members.noticed".to_owned(), 9.0),
        ]);
        note(&mut outcome, Side::Other(System::Serf), figures);
        let of = |side| outcome.figures.get(&(side, "members.noticed".to_owned()));
        assert_eq!(of(Side::Ours), Some(&vec![3.0]));
        assert_eq!(of(Side::Other(System::Serf)), Some(&vec![9.0]));
    }

    #[test]
    fn a_scratch_folder_goes_with_its_files() {
        let outer = Scratch::new(&std::env::temp_dir()).expect("a folder");
        let inner = Scratch::new(&outer.0).expect("a folder within");
        std::fs::write(inner.0.join("file"), "x").expect("written");
        let path = inner.0.clone();
        drop(inner);
        assert!(!path.exists() && outer.0.exists());
    }
}
