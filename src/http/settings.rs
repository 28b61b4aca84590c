//! `/v1/network/settings`: the settings of the whole network.
//!
//! A change needs the node's token; nothing in `[http] open` opens it.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use potluck::{Config, SettingChange, SettingsView};

use super::app::App;
use super::extract::json_body;
use super::problem::Problem;
use super::reply::json;
use crate::api::{NetworkSettings, ProblemBody, Setting, SettingRequest};
use crate::config::{nearest, shown};
use crate::text::whole_span;

/// Largest body: enough for any request here.
const BODY_BYTES_MAX: usize = 4 * 1024;
/// The keys that can be set.
const KEYS: [&str; 4] = ["replication", "default_ttl", "republish_interval", "gossip_interval"];
/// The value that leaves a setting to each node's configuration.
const DEFAULT: &str = "default";

/// The change that a key and a value ask for.
fn change(key: &str, value: &str) -> Result<SettingChange, Problem> {
    let (key, value) = (key.trim(), value.trim());
    let set = value != DEFAULT;
    let span = || -> Result<Option<Duration>, Problem> {
        if !set {
            return Ok(None);
        }
        let span = humantime::parse_duration(value).ok().filter(|span| !span.is_zero());
        span.map(Some).ok_or_else(|| {
            let detail = format!(
                "{key} is a span of time such as 30s, 5m or 30d, or the word default, not '{}'",
                shown(value)
            );
            Problem::bad("badSetting", detail)
        })
    };
    match key {
        "replication" if !set => Ok(SettingChange::Replication(None)),
        "replication" => {
            value.parse().map(|it| SettingChange::Replication(Some(it))).map_err(|_| {
                let detail = format!(
                    "replication is a whole number from 1 to 16, or the word default, not '{}'",
                    shown(value)
                );
                Problem::bad("badSetting", detail)
            })
        }
        "default_ttl" => Ok(SettingChange::DefaultTtl(span()?)),
        "republish_interval" => Ok(SettingChange::RepublishInterval(span()?)),
        "gossip_interval" => Ok(SettingChange::GossipInterval(span()?)),
        unknown => {
            let nearest = nearest(unknown, KEYS.iter().map(ToString::to_string));
            let detail = format!(
                "there is no setting '{}' of the network; there are {}",
                shown(unknown),
                KEYS.join(", ")
            );
            Err(Problem::bad("unknownSetting", detail)
                .hint(format!("the nearest is {}", nearest.unwrap_or_default())))
        }
    }
}

/// The settings as the API shows them.
pub(super) fn view(settings: &SettingsView) -> NetworkSettings {
    let (network, own, now) = (settings.network, settings.configured, settings.effective);
    let usual = Config::default();
    let setting = |key: &str, value: String, set: bool, default: bool| Setting {
        key: key.to_owned(),
        value,
        source: match (set, default) {
            (true, _) => "network",
            (false, false) => "configuration",
            (false, true) => "default",
        }
        .to_owned(),
    };
    let republish = now.republish_interval.map_or_else(|| "off".to_owned(), whole_span);
    NetworkSettings {
        sequence: network.sequence,
        settings: vec![
            setting(
                KEYS[0],
                now.replication.to_string(),
                network.replication.is_some(),
                own.replication == usual.kv.replication,
            ),
            setting(
                KEYS[1],
                whole_span(now.life_default),
                network.lease_ms.is_some(),
                own.life_default == usual.kv.life_default,
            ),
            setting(
                KEYS[2],
                republish,
                network.republish_ms.is_some(),
                own.republish_interval == usual.kv.republish_interval,
            ),
            setting(
                KEYS[3],
                whole_span(now.gossip_interval),
                network.gossip_interval_ms.is_some(),
                own.gossip_interval == usual.members.interval,
            ),
        ],
        members: settings.members,
        running: settings.running,
    }
}

/// The settings of the network in force at this node.
#[utoipa::path(get, path = "/v1/network/settings",
    responses((status = 200, body = NetworkSettings)))]
pub(super) async fn show(State(app): State<Arc<App>>) -> Result<Response, Problem> {
    Ok(json(&view(&app.node().network_settings().await?)))
}

/// Change one setting of the whole network, on a node that holds the authority key.
#[utoipa::path(put, path = "/v1/network/settings",
    request_body = SettingRequest,
    responses(
        (status = 200, body = NetworkSettings),
        (status = 400, body = ProblemBody, content_type = "application/problem+json", description = "no such setting, or it contradicts another"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json", description = "the authority key is elsewhere"),
    ))]
pub(super) async fn set(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    content: Body,
) -> Result<Response, Problem> {
    let hint = r#"send {"key":"replication","value":"5"}"#;
    let request: SettingRequest = json_body(&headers, content, BODY_BYTES_MAX, hint).await?;
    let change = change(&request.key, &request.value)?;
    let settings = app.node().set_network(change).await.map_err(super::admission::problem)?;
    Ok(json(&view(&settings)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_and_wrong_ones_named() {
        let ok = |key, value| change(key, value).ok();
        assert_eq!(ok("replication", "5"), Some(SettingChange::Replication(Some(5))));
        assert_eq!(ok("replication", "default"), Some(SettingChange::Replication(None)));
        let half = Duration::from_secs(30);
        assert_eq!(
            ok("republish_interval", "30s"),
            Some(SettingChange::RepublishInterval(Some(half)))
        );
        let detail = |key, value| change(key, value).expect_err("wrong").into_body();
        for wrong in ["", "-1", "300", "many", "5.5"] {
            assert!(detail("replication", wrong).detail.contains("whole number"), "{wrong}");
        }
        for wrong in ["", "0s", "30", "soon"] {
            assert!(detail("default_ttl", wrong).detail.contains("span of time"), "{wrong}");
        }
        let unknown = detail("replicas", "5");
        assert!(unknown.hint.is_some_and(|hint| hint.contains("replication")));
        assert!(unknown.detail.contains("gossip_interval"));
    }
}
