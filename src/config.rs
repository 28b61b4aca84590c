//! The configuration of a node: flags over environment over file over defaults.
//!
//! The table [`keys::KEYS`] has for every key its meaning, how it is read and how it is shown; all other code
//! uses it. So a key in the table works in the file, in the environment and in `--print-config` alike, and a
//! key that is not in the table is refused everywhere.

mod input;
mod keys;
mod live;
mod load;
mod print;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use potluck::Quotas;
use potluck_base::{Admission, Difficulty, PublicKey};

pub(crate) use input::{Input, shown};
#[cfg(feature = "fuzzing")]
pub(crate) use keys::KEYS;
pub(crate) use live::{changed, take_live};
#[cfg(feature = "fuzzing")]
pub(crate) use load::apply_text;
pub(crate) use load::{Flag, load, nearest};
pub(crate) use print::{to_json, to_toml};

use crate::failure::Failure;
use crate::place;

/// The default HTTP port of a node.
pub(crate) const HTTP_PORT: u16 = 8080;

/// The behaviour of a node when it is asked to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnTerm {
    /// Hand records over and leave the network.
    Leave,
    /// Stop at once: it will be back soon.
    Pause,
}

/// A part of the HTTP API that may need no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OpenPart {
    /// `/healthz`, `/readyz`.
    Health,
    /// `/metrics`.
    Metrics,
    /// `/debug/..`.
    Debug,
    /// Records, messages, search, and the state of the node; see `http::guard`.
    Data,
}

/// The source of the HTTP API's token, if no file is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenRule {
    /// The node's own, made at its first start and kept in its data folder.
    Own,
    /// There is no token: any user of this machine may use the whole API.
    None,
}

/// `[node]`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct NodePart {
    pub(crate) data_dir: PathBuf,
    pub(crate) listen: Vec<SocketAddr>,
    pub(crate) advertise: Option<SocketAddr>,
    pub(crate) labels: Vec<(String, String)>,
    pub(crate) client: bool,
    pub(crate) on_term: OnTerm,
}

/// `[network]`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct NetworkPart {
    /// `None`: the name in the data folder, else a new one.
    pub(crate) name: Option<String>,
    /// `None`: the admission in the data folder, else invite.
    pub(crate) admission: Option<Admission>,
    /// `None`: what the data folder says, else the default.
    pub(crate) difficulty: Option<Difficulty>,
    pub(crate) entry: Vec<String>,
    /// DNS names that are resolved while all entry points are silent.
    pub(crate) dns_fallback: Vec<String>,
    pub(crate) mdns: bool,
    /// `None`: any.
    pub(crate) authority: Option<PublicKey>,
}

/// `[reach]`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ReachPart {
    /// `None`: in invite and lab networks.
    pub(crate) lan: Option<bool>,
}

/// `[store]`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct StorePart {
    pub(crate) memory_bytes: u64,
    pub(crate) disk_bytes: Option<u64>,
    pub(crate) quotas: Quotas,
    pub(crate) sync: bool,
}

/// `[files]`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct FilesPart {
    /// `None`: see [`Settings::file_paths`].
    pub(crate) paths: Option<Vec<PathBuf>>,
    pub(crate) cache_bytes: u64,
    /// Bytes a second.
    pub(crate) upload_rate: Option<u64>,
    /// Bytes a second.
    pub(crate) download_rate: Option<u64>,
}

/// `[http]`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct HttpPart {
    /// `None`: 8080 on loopback, or the next free up to 8099.
    pub(crate) listen: Option<SocketAddr>,
    pub(crate) token: TokenRule,
    pub(crate) token_file: Option<PathBuf>,
    /// `None`: see [`Settings::http_open`].
    pub(crate) open: Option<Vec<OpenPart>>,
    pub(crate) hosts: Vec<String>,
}

/// `[limits]`, as far as they are the application's.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LimitsPart {
    pub(crate) http_connections: usize,
    pub(crate) http_requests: usize,
}

/// Everything that can be configured.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Settings {
    pub(crate) node: NodePart,
    pub(crate) network: NetworkPart,
    pub(crate) reach: ReachPart,
    /// `[dht]`, `[kv]` and the protocol's part of `[limits]`.
    pub(crate) protocol: potluck_node::Config,
    pub(crate) files: FilesPart,
    pub(crate) store: StorePart,
    pub(crate) http: HttpPart,
    pub(crate) limits: LimitsPart,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            node: NodePart {
                data_dir: place::default_data_dir(),
                listen: Vec::new(),
                advertise: None,
                labels: Vec::new(),
                client: false,
                on_term: OnTerm::Leave,
            },
            network: NetworkPart {
                name: None,
                admission: None,
                difficulty: None,
                entry: Vec::new(),
                dns_fallback: Vec::new(),
                mdns: true,
                authority: None,
            },
            reach: ReachPart { lan: None },
            protocol: potluck_node::Config::default(),
            files: FilesPart {
                paths: None,
                cache_bytes: potluck::CACHE_BYTES_DEFAULT,
                upload_rate: None,
                download_rate: None,
            },
            store: StorePart {
                memory_bytes: 256 << 20,
                disk_bytes: None,
                quotas: Quotas::default(),
                sync: true,
            },
            http: HttpPart {
                listen: None,
                token: TokenRule::Own,
                token_file: None,
                open: None,
                hosts: Vec::new(),
            },
            limits: LimitsPart { http_connections: 256, http_requests: 128 },
        }
    }
}

impl Settings {
    /// The HTTP address, unless it is the default and its port is taken.
    pub(crate) fn http_address(&self) -> SocketAddr {
        let default = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), HTTP_PORT);
        self.http.listen.unwrap_or(default)
    }

    /// The parts of the API that need no token. By default the parts for any user of this machine; if other
    /// machines can reach the API, only health.
    pub(crate) fn http_open(&self) -> Vec<OpenPart> {
        match &self.http.open {
            Some(parts) => parts.clone(),
            None if self.http_address().ip().is_loopback() => {
                vec![OpenPart::Health, OpenPart::Metrics, OpenPart::Debug, OpenPart::Data]
            }
            None => vec![OpenPart::Health],
        }
    }

    /// The folders within which callers of the API may name files and folders of this machine. By default the
    /// user's home and the data folder; none if other machines can reach the API.
    pub(crate) fn file_paths(&self) -> Vec<PathBuf> {
        match &self.files.paths {
            Some(paths) => paths.clone(),
            None if self.http_address().ip().is_loopback() => {
                let data_dir = Some(self.node.data_dir.clone());
                let data_dir = data_dir.filter(|path| !path.as_os_str().is_empty());
                place::home_dir().into_iter().chain(data_dir).collect()
            }
            None => Vec::new(),
        }
    }

    /// Refuses settings that contradict each other.
    pub(crate) fn validate(&self) -> Result<(), Failure> {
        let wrong =
            |message: String| Err(Failure::new(crate::failure::Exit::Usage, "config", message));
        if let Err(error) = self.protocol.validate() {
            return wrong(format!("the configuration contradicts itself: {error}"));
        }
        if self.limits.http_requests == 0 || self.limits.http_connections == 0 {
            return wrong("[limits] http_requests and http_connections must be at least 1".into());
        }
        if self.store.memory_bytes < 1 << 20 {
            return wrong("[store] memory_bytes must be at least 1 MiB".into());
        }
        let Quotas { records, member_records, member_bytes, .. } = self.store.quotas;
        let over = |member: Option<u64>, all: Option<u64>| {
            member.zip(all).is_some_and(|(member, all)| member > all)
        };
        if over(member_records, records) || over(member_bytes, self.store.disk_bytes) {
            return wrong(
                "[store] member_records and member_bytes must not be over records and disk_bytes"
                    .into(),
            );
        }
        let NetworkPart { authority, admission, .. } = &self.network;
        if authority.is_some() && admission.is_some_and(|it| it != Admission::Invite) {
            return wrong("[network] authority is for invite networks; others have none".into());
        }
        let NetworkPart { difficulty, .. } = &self.network;
        if difficulty.is_some() && admission.is_some_and(|it| it != Admission::Open) {
            return wrong(
                "[network] difficulty is for open networks; others have no puzzles".into(),
            );
        }
        let address = self.http_address();
        if !address.ip().is_loopback() && self.http.token_file.is_none() {
            return Err(Failure::new(
                crate::failure::Exit::Usage,
                "tokenNeeded",
                format!("HTTP on {address} can be reached from other machines"),
            )
            .hint("name a file with a secret in [http] token_file, or listen on 127.0.0.1"));
        }
        if self.http.token == TokenRule::None && self.http.token_file.is_some() {
            return wrong(
                "[http] token is none, and token_file names one: leave one of them out".into(),
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_do_not_contradict_themselves() {
        Settings::default().validate().expect("valid");
    }

    #[test]
    fn http_for_other_machines_needs_a_token() {
        let mut settings = Settings::default();
        settings.http.listen = Some("0.0.0.0:8080".parse().expect("address"));
        assert_eq!(settings.validate().expect_err("no token").code, "tokenNeeded");
        settings.http.token = TokenRule::None;
        assert_eq!(settings.validate().expect_err("none at all").code, "tokenNeeded");
        settings.http.token = TokenRule::Own;
        settings.http.token_file = Some("token".into());
        settings.validate().expect("valid with a token");
        assert_eq!(settings.http_open(), [OpenPart::Health]);
        settings.http.token = TokenRule::None;
        assert_eq!(settings.validate().expect_err("two answers").code, "config");
    }

    #[test]
    fn only_invite_networks_have_an_authority() {
        let mut settings = Settings::default();
        settings.network.authority = Some(PublicKey::from_bytes([1; 32]));
        settings.validate().expect("invite is the default");
        settings.network.admission = Some(Admission::Lab);
        let wrong = settings.validate().expect_err("lab");
        assert!(wrong.message.contains("authority"), "{wrong}");
    }

    #[test]
    fn paths_may_be_named_by_default_only_where_nobody_else_can_call() {
        let mut settings = Settings::default();
        assert!(settings.file_paths().contains(&settings.node.data_dir));
        settings.http.listen = Some("0.0.0.0:8080".parse().expect("address"));
        assert_eq!(settings.file_paths(), Vec::<PathBuf>::new());
        settings.files.paths = Some(vec!["/srv".into()]);
        assert_eq!(settings.file_paths(), [PathBuf::from("/srv")]);
    }

    #[test]
    fn holders_that_could_not_know_each_other_are_refused() {
        let mut settings = Settings::default();
        settings.protocol.kv.replication = 17;
        assert!(settings.validate().expect_err("17 * 3 > 48").message.contains("siblings"));
    }
}
