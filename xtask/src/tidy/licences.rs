//! The licences and sources of everything that the program is made of, as `deny.toml` allows them.
//!
//! `cargo deny check` looks at more (known faults, versions that come twice), but has to be installed
//! first. This looks at each dependency of the workspace, on every system and with every feature.

use std::path::Path;

use super::Finding;
use super::workspace::External;

/// The file with the list.
pub(crate) const POLICY: &str = "deny.toml";
/// The one registry.
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Dependencies whose licence is not on the list of `policy`, or that come from elsewhere.
pub(crate) fn check(externals: &[External], policy: &str) -> Vec<Finding> {
    let allowed = allowed(policy);
    let finding = |message: String| Finding::new(Path::new(POLICY), 1, message);
    if allowed.is_empty() {
        return vec![finding(
            "[licenses] allow is missing: list the licences of dependencies".into(),
        )];
    }
    let mut findings = Vec::new();
    for External { name, version, licence, source } in externals {
        if source.as_deref().is_some_and(|source| source != REGISTRY) {
            findings.push(finding(format!(
                "{name} {version} does not come from crates.io: depend on a published version"
            )));
        }
        match licence.as_deref() {
            None => findings
                .push(finding(format!("{name} {version} names no licence: nobody may pass it on"))),
            Some(licence) if !is_allowed(licence, &allowed) => findings.push(finding(format!(
                "{name} {version} is under {licence}, which is not on the list: use another crate, \
                 or add the licence if anybody may use, change and pass on what is under it"
            ))),
            Some(_) => {}
        }
    }
    findings
}

/// The texts of the array `allow` in the section `[licenses]`.
fn allowed(policy: &str) -> Vec<&str> {
    let Some((_, section)) = policy.split_once("\n[licenses]") else { return Vec::new() };
    let section = section.split("\n[").next().unwrap_or_default();
    let list = section.split_once("\nallow = [").and_then(|(_, rest)| rest.split_once(']'));
    let list = list.map_or("", |(list, _)| list);
    let words = list.lines().flat_map(|line| line.split('#').next().unwrap_or_default().split(','));
    words.map(|word| word.trim().trim_matches('"')).filter(|word| !word.is_empty()).collect()
}

/// Whether an SPDX expression can be fulfilled with the licences of the list. `/` between two is an old
/// way to write OR.
fn is_allowed(expression: &str, allowed: &[&str]) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    either(&mut rest, allowed) == Some(true) && rest.is_empty()
}

fn either(rest: &mut &[&str], allowed: &[&str]) -> Option<bool> {
    let mut good = both(rest, allowed)?;
    while let Some(after) = rest.strip_prefix(&["OR"]) {
        *rest = after;
        good |= both(rest, allowed)?;
    }
    Some(good)
}

fn both(rest: &mut &[&str], allowed: &[&str]) -> Option<bool> {
    let mut good = one(rest, allowed)?;
    while let Some(after) = rest.strip_prefix(&["AND"]) {
        *rest = after;
        good &= one(rest, allowed)?;
    }
    Some(good)
}

fn one(rest: &mut &[&str], allowed: &[&str]) -> Option<bool> {
    let (first, after) = rest.split_first()?;
    *rest = after;
    if *first == "(" {
        let good = either(rest, allowed)?;
        *rest = rest.strip_prefix(&[")"])?;
        return Some(good);
    }
    // An exception gives more rights than the licence alone.
    if let [with, _, after @ ..] = *rest
        && *with == "WITH"
    {
        *rest = after;
    }
    Some(allowed.contains(first))
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY_TEXT: &str = "[graph]\n[licenses]\n# Why.\nallow = [\n    \"MIT\", # short\n    \
        \"Apache-2.0\",\n]\n[bans]\nallow = [\"GPL-3.0\"]\n";

    fn external(licence: Option<&str>, source: Option<&str>) -> External {
        External {
            name: "odd".into(),
            version: "1.2.3".into(),
            licence: licence.map(str::to_owned),
            source: source.map(str::to_owned),
        }
    }

    fn findings(licence: Option<&str>, source: Option<&str>) -> usize {
        check(&[external(licence, source)], POLICY_TEXT).len()
    }

    #[test]
    fn the_list_is_that_of_its_section() {
        assert_eq!(allowed(POLICY_TEXT), ["MIT", "Apache-2.0"]);
        assert_eq!(check(&[], "[bans]\n").len(), 1);
    }

    #[test]
    fn one_of_two_licences_is_enough_and_both_of_two_are_needed() {
        for good in [
            "MIT",
            "MIT OR GPL-3.0",
            "MIT/GPL-3.0",
            "(GPL-3.0 OR MIT) AND Apache-2.0",
            "Apache-2.0 WITH LLVM-exception",
        ] {
            assert_eq!(findings(Some(good), Some(REGISTRY)), 0, "{good}");
        }
        for bad in ["GPL-3.0", "MIT AND GPL-3.0", "MIT OR", "", "(MIT", "MIT Apache-2.0"] {
            assert_eq!(findings(Some(bad), Some(REGISTRY)), 1, "{bad}");
        }
        assert_eq!(findings(None, Some(REGISTRY)), 1);
    }

    #[test]
    fn other_registries_and_repositories_are_refused_and_crates_of_the_workspace_are_not() {
        assert_eq!(findings(Some("MIT"), None), 0);
        assert_eq!(findings(Some("MIT"), Some("git+https://example.org/odd")), 1);
    }
}
