//! Checks that every crate uses the lints of the workspace.

use super::Finding;
use super::workspace::Package;

/// The packages whose manifest lacks `[lints] workspace = true`.
pub(crate) fn check(packages: &[Package]) -> Vec<Finding> {
    packages
        .iter()
        .filter(|package| !takes_workspace_lints(&package.manifest_text))
        .map(|package| {
            let message = "the lints of the workspace are missing: add `[lints]` with \
                           `workspace = true`";
            Finding::new(&package.manifest, 1, message)
        })
        .collect()
}

fn takes_workspace_lints(manifest: &str) -> bool {
    let mut section = "";
    for line in manifest.lines().map(|line| line.split('#').next().unwrap_or_default().trim()) {
        if line.starts_with('[') {
            section = line;
        } else {
            let entry: String = line.chars().filter(|c| !c.is_whitespace()).collect();
            if (section == "[lints]" && entry == "workspace=true")
                || (section.is_empty() && entry == "lints.workspace=true")
            {
                return true;
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crate_with_the_lints_passes() {
        assert!(takes_workspace_lints("[package]\nname = \"a\"\n\n[lints]\nworkspace = true\n"));
        assert!(takes_workspace_lints("lints.workspace = true\n[package]\nname = \"a\"\n"));
    }

    #[test]
    fn a_crate_without_them_is_found() {
        for manifest in [
            "[package]\nname = \"a\"\n",
            "[lints]\nworkspace = false\n",
            "[lints]\n# workspace = true\n",
            "[dependencies]\nworkspace = true\n",
            "[lints]\n[dependencies]\nworkspace = true\n",
        ] {
            let package = Package { manifest_text: manifest.into(), ..Package::default() };
            assert_eq!(check(&[package]).len(), 1, "{manifest}");
        }
    }
}
