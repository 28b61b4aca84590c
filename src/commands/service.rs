//! `service print` and `man`: files for an administrator to install.

use clap_mangen::Man;

use crate::cli::{self, Global, ServiceKind};
use crate::failure::Failure;

const SYSTEMD: &str = include_str!("../../contrib/systemd/potluck.service");
const DOCKER: &str = include_str!("../../contrib/docker/Dockerfile");
const KUBERNETES: &str = include_str!("../../contrib/kubernetes/potluck.yaml");

/// Runs `service print`.
pub(crate) fn print(global: &Global, kind: ServiceKind) -> Result<(), Failure> {
    let text = match kind {
        ServiceKind::Systemd => SYSTEMD,
        ServiceKind::Docker => DOCKER,
        ServiceKind::Kubernetes => KUBERNETES,
    };
    global.out().bytes(text.as_bytes())
}

/// Runs `man`: the manual page of the program or of one command.
pub(crate) fn man(global: &Global, name: Option<&str>) -> Result<(), Failure> {
    let command = cli::command();
    match name {
        None => rendered(global, Man::new(command)),
        Some(name) => {
            let found = command.get_subcommands().find(|it| it.get_name() == name).cloned();
            let command = found.ok_or_else(|| {
                Failure::usage(format!("there is no command {name}")).hint("see potluck --help")
            })?;
            let command = command.bin_name(format!("potluck {name}"));
            rendered(global, Man::new(command).title(format!("potluck-{name}")))
        }
    }
}

fn rendered(global: &Global, page: Man) -> Result<(), Failure> {
    let mut text = Vec::new();
    page.render(&mut text).map_err(Failure::failed)?;
    global.out().bytes(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_is_closed_off_and_starts_what_exists() {
        for line in [
            "Type=notify-reload",
            "DynamicUser=yes",
            "ProtectSystem=strict",
            "NoNewPrivileges=yes",
            "SystemCallFilter=@system-service",
        ] {
            assert!(SYSTEMD.lines().any(|it| it == line), "{line}");
        }
        let start = SYSTEMD.lines().find_map(|it| it.strip_prefix("ExecStart=/usr/bin/"));
        let words = start.expect("a command").split_whitespace();
        cli::command().try_get_matches_from(words).expect("it can be typed");
        let docker = DOCKER.lines().find_map(|it| it.strip_prefix("CMD ")).expect("a command");
        let words: Vec<String> = serde_json::from_str(docker).expect("a list");
        let words = std::iter::once("potluck".to_owned()).chain(words);
        cli::command().try_get_matches_from(words).expect("it can be typed");
    }
}
