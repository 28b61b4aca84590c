//! A typed value: itself, `-` for stdin, `@FILE` for a file.

use std::fs::File;
use std::io::{self, Read};

use potluck_record::limits::VALUE_BYTES_MAX;

use crate::failure::{Exit, Failure};
use crate::text::quoted;

/// The typed value of `name`.
///
/// # Errors
/// Wrong usage: a file that cannot be read, or more than a value may have.
pub(super) fn read(name: &str, text: &str) -> Result<Vec<u8>, Failure> {
    let bytes = match text.strip_prefix('@') {
        Some(path) => {
            let wrong = |error| Failure::usage(format!("cannot read {path}: {error}"));
            limited(File::open(path).map_err(wrong)?).map_err(wrong)?
        }
        None if text == "-" => limited(io::stdin().lock())
            .map_err(|error| Failure::failed(format!("cannot read stdin: {error}")))?,
        None => text.as_bytes().to_vec(),
    };
    check(name, text.strip_prefix('@').unwrap_or("FILE"), &bytes)?;
    Ok(bytes)
}

/// Refuses a value of `name`, from `file`, that no node accepts.
pub(super) fn check(name: &str, file: &str, bytes: &[u8]) -> Result<(), Failure> {
    if bytes.len() <= VALUE_BYTES_MAX {
        return Ok(());
    }
    let message = format!("a value has at most {VALUE_BYTES_MAX} bytes, and this one has more");
    let (name, file) = (quoted(name), quoted(file));
    Err(Failure::new(Exit::Usage, "tooLarge", message)
        .hint(format!("share it as a file: potluck share {file} --as {name}")))
}

/// All bytes, or one more than is allowed.
fn limited(from: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(VALUE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_itself_or_the_content_of_a_file() {
        assert_eq!(read("n", "a@b").expect("text"), b"a@b");
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("value");
        std::fs::write(&path, [0, 255]).expect("write");
        assert_eq!(read("n", &format!("@{}", path.display())).expect("file"), [0, 255]);
        std::fs::write(&path, vec![0; VALUE_BYTES_MAX + 1]).expect("write");
        let failure = read("my n", &format!("@{}", path.display())).expect_err("too large");
        assert_eq!((failure.exit, failure.code.as_str()), (Exit::Usage, "tooLarge"));
        let hint = format!("share it as a file: potluck share {} --as 'my n'", path.display());
        assert_eq!(failure.hint, Some(hint));
        assert_eq!(read("n", "@/nowhere/at/all").expect_err("no file").exit, Exit::Usage);
    }
}
