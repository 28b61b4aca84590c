//! `merge`: settles a conflict with a value that supersedes all siblings it has read.

use std::io::Write as _;
use std::process::{Command, Stdio};

use super::table::bytes;
use super::{get, put, siblings, value};
use crate::api::Siblings;
use crate::cli::{Global, MergeArgs};
use crate::client::{Client, kv_path};
use crate::failure::Failure;
use crate::out::Out;
use crate::text::count;

/// Runs the command.
pub(crate) fn run(global: &Global, args: &MergeArgs) -> Result<(), Failure> {
    let name = &args.record.name;
    let space = ("space", args.record.space.clone());
    let read_path = kv_path("/v1/kv", name, &[space.clone(), ("siblings", Some("all".into()))])?;
    let typed = args.value.as_deref().map(|text| value::read(name, text)).transpose()?;
    let client = Client::of(global)?;
    let read: Siblings = client.get_json(&read_path)?;
    if read.siblings.is_empty() {
        return Err(get::absent(name));
    }
    let merged = match (typed, args.pick, &args.with) {
        (Some(typed), _, _) => typed,
        (None, Some(index), _) => {
            let picked = read.siblings.get(index).ok_or_else(|| {
                Failure::usage(format!("there is no sibling {index}"))
                    .hint(format!("pick 0 to {}", read.siblings.len() - 1))
            })?;
            siblings::value_of(picked)?
        }
        (None, None, Some(command)) => run_command(global.out(), command, &read)?,
        (None, None, None) => return Err(Failure::usage("merge needs a value, --pick or --with")),
    };
    value::check(name, "FILE", &merged)?;
    let path = kv_path("/v1/kv", name, &[space])?;
    let answer = put::write(&client, "PUT", &path, Some(&read.context), Some(&merged))?;
    let written = put::written(global.out(), name, &answer, put::merge_hint)?;
    put::say(global.out(), &written, false)
}

/// Lets a command of the user merge: it gets one file for each sibling and prints the value.
fn run_command(out: Out, command: &str, read: &Siblings) -> Result<Vec<u8>, Failure> {
    let io = |error: std::io::Error| Failure::failed(format!("cannot run {command}: {error}"));
    let folder = tempfile::tempdir().map_err(io)?;
    let mut files = Vec::new();
    for (index, sibling) in read.siblings.iter().enumerate() {
        let path = folder.path().join(format!("sibling-{index}"));
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&path).map_err(io)?;
        file.write_all(&siblings::value_of(sibling)?).map_err(io)?;
        files.push(path);
    }
    let mut process = if cfg!(windows) {
        let mut process = Command::new("cmd");
        process.arg("/C").arg(command);
        process
    } else {
        let mut process = Command::new("sh");
        process.arg("-c").arg(format!("{command} \"$@\"")).arg("sh");
        process
    };
    let output =
        process.args(&files).stdin(Stdio::null()).stderr(Stdio::inherit()).output().map_err(io)?;
    if !output.status.success() {
        return Err(Failure::failed(format!("{command} ended with {}", output.status))
            .hint("nothing was written"));
    }
    let (made, of) = (bytes(output.stdout.len() as u64), count(files.len() as u64, "sibling"));
    out.detail(format!("{command} made {made} of {of}"));
    Ok(output.stdout)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use crate::api::Sibling;

    fn siblings(values: &[&str]) -> Siblings {
        let sibling = |value: &&str| Sibling {
            value_base64: data_encoding::BASE64.encode(value.as_bytes()),
            version: "1".into(),
            writer: "00".into(),
            node: "00".into(),
            at: String::new(),
            kind: "siblings".into(),
            expires_at: String::new(),
        };
        Siblings { context: "c".into(), siblings: values.iter().map(sibling).collect() }
    }

    #[test]
    fn a_command_gets_one_file_a_sibling_and_its_output_is_the_value() {
        let read = siblings(&["b\na\n", "c\na\n"]);
        assert_eq!(run_command(Out::default(), "sort -u", &read).expect("runs"), b"a\nb\nc\n");
    }

    #[test]
    fn a_command_that_fails_writes_nothing() {
        let failure = run_command(Out::default(), "false", &siblings(&["a"])).expect_err("fails");
        assert_eq!(failure.hint.as_deref(), Some("nothing was written"));
    }
}
