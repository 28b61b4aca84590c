//! `[http]`.

use super::{Key, list, text, unset, unset_list};
use crate::config::{OpenPart, TokenRule};

pub(super) const HTTP: &[Key] = &[
    key!(
        "http",
        "listen",
        "HTTP address; not set: 127.0.0.1:8080, or the next free port up to 8099.",
        |s, i| i.parsed("an address of the form ip:port").map(|it| s.http.listen = Some(it)),
        |s| s.http.listen.map_or_else(|| unset("127.0.0.1:8080"), text),
    ),
    key!(
        "http",
        "token",
        "Where the token (bearer) comes from if no token_file is named: own (made at the first start, DATA/token), or none (loopback only): any user of this machine may do anything.",
        |s, i| {
            s.http.token = match i.text()?.as_str() {
                "own" => TokenRule::Own,
                "none" => TokenRule::None,
                _ => {
                    return Err("must be own or none; a token of yours goes into token_file".into());
                }
            };
            Ok(())
        },
        |s| text(match s.http.token {
            TokenRule::Own => "own",
            TokenRule::None => "none",
        }),
    ),
    key!(
        "http",
        "token_file",
        "File with the token that requests need; only its owner may have access to it.",
        |s, i| i.text().map(|it| s.http.token_file = (!it.is_empty()).then(|| it.into())),
        |s| {
            s.http
                .token_file
                .as_ref()
                .map_or_else(|| unset("/etc/potluck/token"), |it| text(it.display()))
        },
    ),
    key!(
        "http",
        "open",
        "What needs no token: health, metrics, debug, data (records, messages, search); not set: all of them on loopback, else health.",
        |s, i| {
            let part = |word: String| match word.as_str() {
                "health" => Ok(OpenPart::Health),
                "metrics" => Ok(OpenPart::Metrics),
                "debug" => Ok(OpenPart::Debug),
                "data" => Ok(OpenPart::Data),
                _ => Err("must be of health, metrics, debug, data".to_owned()),
            };
            s.http.open = Some(i.list()?.into_iter().map(part).collect::<Result<_, _>>()?);
            Ok(())
        },
        |s| {
            let words = s.http_open().into_iter().map(|part| match part {
                OpenPart::Health => "health".to_owned(),
                OpenPart::Metrics => "metrics".to_owned(),
                OpenPart::Debug => "debug".to_owned(),
                OpenPart::Data => "data".to_owned(),
            });
            if s.http.open.is_some() { list(words) } else { unset_list(words) }
        },
    ),
    key!(
        "http",
        "hosts",
        "Names under which this API may be called, beside IP addresses and localhost.",
        |s, i| i.list().map(|it| s.http.hosts = it),
        |s| list(s.http.hosts.iter().cloned()),
    ),
];
