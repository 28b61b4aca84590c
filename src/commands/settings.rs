//! `network set`, and the settings in `network show`.

use serde_json::Value;

use super::table::table;
use crate::api::{NetworkSettings, SettingRequest};
use crate::cli::Global;
use crate::client::Client;
use crate::failure::Failure;
use crate::out::Out;

/// Runs `network set`.
pub(super) fn set(global: &Global, key: &str, value: &str) -> Result<(), Failure> {
    let out = global.out();
    let request = SettingRequest { key: key.to_owned(), value: value.to_owned() };
    let body = serde_json::to_vec(&request).map_err(Failure::failed)?;
    let answer = Client::of(global)?
        .request(
            "PUT",
            "/v1/network/settings",
            &[("content-type", "application/json")],
            Some(&body),
        )?
        .good()?;
    if out.json {
        return out.object(&answer.json::<Value>()?);
    }
    let settings: NetworkSettings = answer.json()?;
    let key = key.trim();
    let now = settings.settings.iter().find(|setting| setting.key == key);
    let now = now.map_or_else(|| value.to_owned(), |setting| setting.value.clone());
    out.line(format!(
        "{key} is {now} from now on (settings {} of the network); potluck network show tells how many \
         members go by it",
        settings.sequence
    ))
}

/// Prints the settings in force.
pub(super) fn print(out: &Out, view: &NetworkSettings) -> Result<(), Failure> {
    let mut rows = vec![["setting", "value", "from"].map(str::to_owned)];
    rows.extend(view.settings.iter().map(|setting| {
        let source = match setting.source.as_str() {
            "network" => "the network",
            "configuration" => "this node's configuration",
            _ => "the default",
        };
        [setting.key.clone(), setting.value.clone(), source.to_owned()]
    }));
    out.bytes(table(&rows).as_bytes())?;
    let NetworkSettings { sequence, members, running, .. } = view;
    match sequence {
        0 => out.line("settings   none of the network; each node goes by its configuration"),
        _ => out.line(format!(
            "settings   {sequence} of the network, at {running} of {members} members"
        )),
    }
}
