//! The layers of the workspace: which crate may depend on which, and which may use I/O libraries.
//!
//! **Invariant:** dependencies point down only. A new crate, or a new dependency between crates, needs a row
//! in [`HOUSE`] first, so that the decision shows in the diff.

use super::Finding;
use super::workspace::{Dependency, Package};

/// A crate and its allowed dependencies in this workspace.
#[derive(Debug)]
struct Room {
    floor: u8,
    package: &'static str,
    /// It may use every crate on the floors up to this one (and below its own),
    floors: Option<u8>,
    /// these crates,
    crates: &'static [&'static str],
    /// and these only behind a feature.
    optional: &'static [&'static str],
    /// Whether the crate performs no I/O: no clock, socket, file, thread or global randomness.
    pure: bool,
}

const fn room(floor: u8, package: &'static str, crates: &'static [&'static str]) -> Room {
    Room { floor, package, floors: None, crates, optional: &[], pure: false }
}

impl Room {
    const fn floors(self, up_to: u8) -> Self {
        Self { floors: Some(up_to), ..self }
    }

    const fn optional(self, optional: &'static [&'static str]) -> Self {
        Self { optional, ..self }
    }

    const fn pure(self) -> Self {
        Self { pure: true, ..self }
    }
}

/// Tools are outside of the layers: no crate may depend on them.
const BESIDE: u8 = u8::MAX;

/// Layer, crate, allowed dependencies. `CONTRIBUTING.md` describes the crates.
const HOUSE: [Room; 17] = [
    room(0, "potluck-base", &[]).pure(),
    room(0, "potluck-record", &["potluck-base"]).pure(),
    room(0, "potluck-wire", &["potluck-base", "potluck-record"]).pure(),
    room(1, "potluck-link", &["potluck-base", "potluck-wire"]).pure(),
    room(1, "potluck-dht", &["potluck-base", "potluck-wire"]).pure(),
    room(1, "potluck-gossip", &["potluck-base", "potluck-wire"]).pure(),
    room(1, "potluck-kv", &["potluck-base", "potluck-record", "potluck-wire"]).pure(),
    room(1, "potluck-swarm", &["potluck-base", "potluck-wire"]).pure(),
    room(2, "potluck-node", &[]).floors(1).pure(),
    room(2, "potluck-store", &["potluck-base", "potluck-record"]),
    room(3, "potluck-sim", &[]).floors(2).pure(),
    room(3, "potluck-scale", &["potluck-base"]).pure(),
    room(3, "potluck-host", &[]).floors(2),
    room(4, "potluck", &["potluck-host"]).floors(2).optional(&["potluck-sim"]),
    room(5, "potluck-cli", &[]).floors(4),
    room(BESIDE, "potluck-fuzz", &[]).floors(5),
    room(BESIDE, "xtask", &["potluck-base", "potluck-record", "potluck-sim"]),
];

/// Runtimes, sockets, HTTP and command lines: not allowed in pure crates.
const ACTING: [&str; 9] =
    ["tokio", "noq", "quinn", "axum", "clap", "hyper", "ureq", "reqwest", "mio"];

fn room_of(package: &str) -> Option<&'static Room> {
    HOUSE.iter().find(|room| room.package == package)
}

/// Whether a package must be free of clocks, sockets, files, threads and global randomness.
pub(crate) fn is_pure(package: &str) -> bool {
    room_of(package).is_some_and(|room| room.pure)
}

/// Whether a package consists of protocol machines: the pure crates of floors 1 and 2.
pub(crate) fn is_machine(package: &str) -> bool {
    room_of(package).is_some_and(|room| room.pure && (1..=2).contains(&room.floor))
}

/// Every dependency between crates that the table does not allow.
pub(crate) fn check(packages: &[Package]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in packages {
        let Some(room) = room_of(&package.name) else {
            let message = format!(
                "crate `{}` has no floor: add it to the table in xtask/src/tidy/layers.rs and \
                 to CONTRIBUTING.md",
                package.name
            );
            findings.push(Finding::new(&package.manifest, package.line_naming("name"), message));
            continue;
        };
        for dependency in &package.dependencies {
            let ours = packages.iter().any(|other| other.name == dependency.name);
            if let Some(message) = objection(room, dependency, ours) {
                let line = package.line_naming(&dependency.name);
                findings.push(Finding::new(&package.manifest, line, message));
            }
        }
    }
    findings
}

/// Why `room` may not have this dependency.
fn objection(room: &Room, dependency: &Dependency, ours: bool) -> Option<String> {
    let (user, used) = (room.package, dependency.name.as_str());
    if !ours {
        return (room.pure && ACTING.contains(&used)).then(|| {
            format!("`{user}` may not use `{used}`: it decides, the shell acts; move this to a crate of the shell")
        });
    }
    if room.optional.contains(&used) {
        return (!dependency.optional && !dependency.dev).then(|| {
            format!("`{user}` may use `{used}` only behind a feature: make it `optional = true`")
        });
    }
    let allowed = user == used
        || room.crates.contains(&used)
        || room_of(used).is_some_and(|other| room.floors.is_some_and(|up_to| other.floor <= up_to));
    (!allowed).then(|| {
        format!(
            "`{user}` may not use `{used}`: the table in xtask/src/tidy/layers.rs has no such \
             arrow; let a crate above both translate"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, dependencies: &[&str]) -> Package {
        let dependencies = dependencies
            .iter()
            .map(|name| Dependency { name: (*name).into(), optional: false, dev: false })
            .collect();
        let manifest = format!("crates/{name}/Cargo.toml").into();
        Package { name: name.into(), manifest, dependencies, ..Package::default() }
    }

    /// The findings about one package that depends on other crates of the workspace.
    fn findings(name: &str, dependencies: &[&str]) -> Vec<String> {
        let mut packages = vec![package(name, dependencies)];
        packages.extend(
            HOUSE.iter().filter(|room| room.package != name).map(|room| package(room.package, &[])),
        );
        check(&packages).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn no_row_of_the_table_points_up() {
        for room in &HOUSE {
            assert!(room.floors.is_none_or(|up_to| up_to < room.floor), "{}", room.package);
            for used in room.crates.iter().chain(room.optional) {
                let other = room_of(used).unwrap_or_else(|| panic!("{used} has no row"));
                assert!(other.floor < room.floor || room.floor == 0, "{} {used}", room.package);
            }
        }
    }

    #[test]
    fn arrows_of_the_table_pass() {
        for (user, used) in [
            ("potluck-wire", "potluck-record"),
            ("potluck-kv", "potluck-record"),
            ("potluck-node", "potluck-swarm"),
            ("potluck-host", "potluck-store"),
            ("potluck", "potluck-host"),
            ("potluck-cli", "potluck-sim"),
            ("potluck-cli", "potluck-scale"),
            ("potluck-fuzz", "potluck-wire"),
        ] {
            assert_eq!(findings(user, &[used]), Vec::<String>::new(), "{user} -> {used}");
        }
    }

    #[test]
    fn any_other_arrow_is_found() {
        for (user, used) in [
            ("potluck-base", "potluck-wire"),
            ("potluck-dht", "potluck-kv"),
            ("potluck-dht", "potluck-record"),
            ("potluck-node", "potluck-store"),
            ("potluck-sim", "potluck-host"),
            ("potluck-sim", "potluck-scale"),
            ("potluck-scale", "potluck-sim"),
            ("potluck-scale", "potluck-dht"),
            ("potluck-host", "potluck-sim"),
            ("potluck-store", "potluck-wire"),
            ("potluck-cli", "xtask"),
        ] {
            let found = findings(user, &[used]);
            assert_eq!(found.len(), 1, "{user} -> {used}");
            assert!(found[0].starts_with(&format!("crates/{user}/Cargo.toml:1: `{user}`")));
        }
    }

    #[test]
    fn a_dev_dependency_is_an_arrow_too() {
        let mut user = package("potluck-dht", &["potluck-kv"]);
        user.dependencies[0].dev = true;
        assert_eq!(check(&[user, package("potluck-kv", &[])]).len(), 1);
    }

    #[test]
    fn the_facade_uses_the_simulator_only_behind_a_feature() {
        let arrow = |optional, dev| Dependency { name: "potluck-sim".into(), optional, dev };
        let facade = room_of("potluck").unwrap();
        assert!(objection(facade, &arrow(false, false), true).is_some());
        assert!(objection(facade, &arrow(true, false), true).is_none());
        assert!(objection(facade, &arrow(false, true), true).is_none());
    }

    #[test]
    fn a_crate_without_a_floor_is_found() {
        assert!(findings("potluck-attic", &[])[0].contains("has no floor"));
    }

    #[test]
    fn a_runtime_on_a_pure_floor_is_found_and_above_it_is_not() {
        assert_eq!(findings("potluck-link", &["tokio"]).len(), 1);
        assert_eq!(findings("potluck-sim", &["clap"]).len(), 1);
        assert_eq!(findings("potluck-link", &["bytes"]).len(), 0);
        assert_eq!(findings("potluck-store", &["tokio"]).len(), 0);
        assert_eq!(findings("potluck-host", &["tokio"]).len(), 0);
    }

    #[test]
    fn the_pure_crates_are_floors_0_to_2_without_the_store_and_the_simulators() {
        for room in &HOUSE {
            let expected = (room.floor <= 2 && room.package != "potluck-store")
                || ["potluck-sim", "potluck-scale"].contains(&room.package);
            assert_eq!(is_pure(room.package), expected, "{}", room.package);
        }
    }
}
