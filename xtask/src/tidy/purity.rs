//! Names that a pure crate may not use: the clock, sockets, files, threads, global randomness, and maps whose
//! order differs from run to run.
//!
//! A simulation can be repeated only if its code uses none of these.

use super::Finding;
use super::layers;
use super::scan;
use super::source::Source;
use super::workspace::Package;

/// A name, or a path, and its replacement.
const BANNED: [(&str, &str); 19] = [
    ("HashMap", ORDERED),
    ("HashSet", ORDERED),
    ("RandomState", ORDERED),
    ("SystemTime", CLOCK),
    ("Instant::now", CLOCK),
    ("std::time::Instant", CLOCK),
    ("thread_rng", SEEDED),
    ("OsRng", SEEDED),
    ("getrandom", SEEDED),
    ("rand::rng", SEEDED),
    ("rand::random", SEEDED),
    ("UdpSocket", SHELL),
    ("TcpStream", SHELL),
    ("TcpListener", SHELL),
    ("std::fs", SHELL),
    ("std::thread", SHELL),
    ("std::process", SHELL),
    ("std::env", SHELL),
    ("tokio", SHELL),
];
const ORDERED: &str = "its order changes from run to run; use BTreeMap, BTreeSet or LruMap";
const CLOCK: &str = "the core has no clock; take `now` (potluck_base::Instant) as an input";
const SEEDED: &str = "randomness is seeded; fork a potluck_base::Rng";
const SHELL: &str = "the shell acts; emit an output and take the answer as an input";

/// The one file of a pure crate with threads: the shards of a simulated world, whose order of events does
/// not depend on the threads (ADR 0021).
const THREADS: &str = "crates/sim/src/world/workers.rs";

/// Every use of such a name in the production code of pure crates.
pub(crate) fn check(packages: &[Package], sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in packages.iter().filter(|package| layers::is_pure(&package.name)) {
        let folder = package.folder().join("src");
        for source in sources.iter().filter(|source| source.path.starts_with(&folder)) {
            findings.extend(check_source(source));
        }
    }
    findings
}

fn check_source(source: &Source) -> Vec<Finding> {
    let code = source.code.as_str();
    let imports = imports(code);
    let mut findings = Vec::new();
    let with_threads = source.path.ends_with(THREADS);
    for (name, instead) in BANNED {
        if with_threads && name == "std::thread" {
            continue;
        }
        let named = scan::find_words(code, name);
        let imported = imports
            .iter()
            .filter(|import| is_at_or_below(&import.path, name))
            .map(|import| import.offset);
        for at in named.chain(imported).filter(|at| !source.is_test_at(*at)) {
            let message = format!("`{name}` in a pure crate: {instead}");
            findings.push(Finding::new(&source.path, source.line_of(at), message));
        }
    }
    findings.sort();
    findings.dedup();
    findings
}

fn is_at_or_below(path: &str, name: &str) -> bool {
    path.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// One name that a `use` brings in.
#[derive(Debug)]
struct Import {
    /// In full, without white space and without `as`.
    path: String,
    /// Offset of its last part.
    offset: usize,
}

/// All imports of `use` declarations, with groups expanded.
fn imports(code: &str) -> Vec<Import> {
    let mut imports = Vec::new();
    for at in scan::find_words(code, "use") {
        let start = at + "use".len();
        // `impl Trait + use<'a>` captures, it does not import.
        let Some(length) = code[start..].find(';') else { continue };
        if !code[start..].trim_start().starts_with('<') {
            expand(&code[start..start + length], start, "", &mut imports);
        }
    }
    imports
}

/// Adds the leaves of one use tree, which stands at `offset` and continues the path `prefix`.
fn expand(tree: &str, offset: usize, prefix: &str, imports: &mut Vec<Import>) {
    let Some(open) = tree.find('{') else {
        let name = tree.split(" as ").next().unwrap_or_default();
        let path: String =
            format!("{prefix}{name}").chars().filter(|c| !c.is_whitespace()).collect();
        let path = path.trim_start_matches("::").trim_end_matches("::self").to_owned();
        imports.push(Import { path, offset: scan::skip_space(tree, 0) + offset });
        return;
    };
    let prefix = format!("{prefix}{}", &tree[..open]);
    let inner = &tree[open + 1..scan::bracket_end(tree, open).max(open + 2) - 1];
    let mut start = 0;
    let mut depth = 0usize;
    for (at, c) in inner.char_indices().chain([(inner.len(), ',')]) {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                if !inner[start..at].trim().is_empty() {
                    expand(&inner[start..at], offset + open + 1 + start, &prefix, imports);
                }
                start = at + 1;
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines_found(text: &str) -> Vec<usize> {
        check_source(&Source::new("src/a.rs", text)).iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn every_banned_name_is_found_where_it_is_used() {
        for (name, _) in BANNED {
            assert_eq!(
                lines_found(&format!("fn f() {{\n    let x = {name}();\n}}")),
                [2],
                "{name}"
            );
        }
    }

    #[test]
    fn imports_are_found_in_groups_too() {
        assert_eq!(lines_found("use std::time::{Duration, Instant};"), [1]);
        assert_eq!(lines_found("use std::{\n    fmt,\n    fs::{self, File},\n};"), [3]);
        assert_eq!(lines_found("use ::std::{io, thread as t};"), [1]);
        assert_eq!(lines_found("use std::{time::{self, Instant as I}};"), [1]);
        assert_eq!(lines_found("pub use tokio::spawn;"), [1]);
    }

    #[test]
    fn one_file_may_have_threads_and_nothing_else() {
        let found = |path: &str, text: &str| check_source(&Source::new(path, text)).len();
        assert_eq!(found(THREADS, "use std::thread;"), 0);
        assert_eq!(found(THREADS, "use std::{fs, thread};"), 1);
        assert_eq!(found("crates/sim/src/world.rs", "use std::thread;"), 1);
    }

    #[test]
    fn our_own_words_and_addresses_pass() {
        let text = "use potluck_base::{Instant, Rng};\nuse std::time::Duration;\n\
                    use std::net::{IpAddr, SocketAddr};\nuse std::collections::BTreeMap;\n\
                    fn f<'a>(now: Instant) -> impl Fn() + use<'a> { env!(\"A\"); rand::rngs() }\n\
                    // HashMap, std::fs\nconst A: &str = \"SystemTime\";\n";
        assert_eq!(lines_found(text), Vec::<usize>::new());
    }

    #[test]
    fn tests_may_name_what_they_like() {
        let text = "#[cfg(test)]\nmod tests {\n    use std::{fs, thread};\n    fn t() { HashMap::new(); }\n}\n";
        assert_eq!(lines_found(text), Vec::<usize>::new());
    }

    #[test]
    fn only_the_sources_of_pure_crates_are_held_to_it() {
        let package = |name: &str| Package {
            name: format!("potluck-{name}"),
            manifest: format!("crates/{name}/Cargo.toml").into(),
            ..Package::default()
        };
        let packages = ["dht", "sim", "store", "host"].map(package);
        let sources = ["dht/src", "sim/src", "store/src", "host/src", "dht/tests", "dhtx/src"]
            .map(|folder| Source::new(format!("crates/{folder}/a.rs"), "use std::fs;"));
        let found: Vec<_> = check(&packages, &sources).into_iter().map(|f| f.path).collect();
        assert_eq!(
            found,
            ["crates/dht/src/a.rs", "crates/sim/src/a.rs"].map(std::path::PathBuf::from)
        );
    }
}
