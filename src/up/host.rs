//! The host label: the name of this machine, visible to the members of a network.

use potluck_wire::limits::LABEL_BYTES_MAX;

/// The label of a machine whose name cannot be used.
const LABEL: &str = "host";

/// The label of a node to which its user gave none: the name of its machine.
pub(super) fn label() -> Option<(String, String)> {
    Some((LABEL.to_owned(), fit(&name()?)?))
}

#[cfg(unix)]
fn name() -> Option<String> {
    Some(rustix::system::uname().nodename().to_str().ok()?.to_owned())
}

#[cfg(not(unix))]
fn name() -> Option<String> {
    std::env::var("COMPUTERNAME").ok()
}

/// The part of a machine's name that may be a label: without the domain, which others need not know.
fn fit(name: &str) -> Option<String> {
    let short = name.split('.').next().unwrap_or_default();
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-_".contains(letter);
    let fits = !short.is_empty() && short.len() <= LABEL_BYTES_MAX - LABEL.len();
    (fits && short.chars().all(is_plain)).then(|| short.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_the_first_part_of_the_machine_name() {
        assert_eq!(fit("box-7.lab.example").as_deref(), Some("box-7"));
        assert_eq!(fit("box_7").as_deref(), Some("box_7"));
        for wrong in ["", ".example", "a b", "a\x1b[2J", &"x".repeat(64)] {
            assert_eq!(fit(wrong), None, "{wrong}");
        }
    }
}
