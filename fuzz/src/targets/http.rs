//! Requests to the HTTP API of a node that runs.

use potluck_cli::fuzzing::Api;

use super::stored::saying;
use crate::target::Feed;

/// Inputs after which a node begins anew, so that what they left behind does not slow it down.
const ROUNDS_MAX: u64 = 20_000;

/// Any request.
pub(super) fn http() -> Box<Feed> {
    let mut api = Api::start();
    let mut number = 0_u64;
    Box::new(move |bytes, seen| {
        number += 1;
        if number.is_multiple_of(ROUNDS_MAX) {
            api = Api::start();
        }
        api.request(bytes, &mut saying(seen));
    })
}

/// Samples: each path once.
pub(super) fn samples() -> Vec<Vec<u8>> {
    let json = "content-type: application/json";
    let id = "07".repeat(32);
    let lines = [
        "GET /v1/status".to_owned(),
        "PUT /v1/kv/config/db?space=own&w=1&ttl=1h\n\nvalue".to_owned(),
        "PUT /v1/kv/a%2Fb%20c?kind=lww\nX-Potluck-Context: none\n\nvalue".to_owned(),
        "GET /v1/kv/config/db?space=own&siblings=all&r=1".to_owned(),
        "DELETE /v1/kv/config/db?space=own".to_owned(),
        format!("POST /v1/kv/visits\n{json}\n\n{{\"op\":\"incr\",\"by\":\"2\"}}"),
        format!("POST /v1/kv/tags\n{json}\n\n{{\"op\":\"add\",\"elements\":[\"a\",\"b\"]}}"),
        format!(
            "POST /v1/kv/map\n{json}\n\n{{\"op\":\"set\",\"field\":\"f\",\"valueBase64\":\"dg==\"}}"
        ),
        "GET /v1/keys?prefix=config&limit=10".to_owned(),
        "POST /v1/files?name=a.txt\n\nbytes".to_owned(),
        format!("GET /v1/files/{id}\nRange: bytes=0-4"),
        format!("GET /v1/files/{id}/a/b%20c"),
        "GET /v1/files?limit=3".to_owned(),
        "GET /v1/shares?limit=3".to_owned(),
        format!("POST /v1/shares\n{json}\n\n{{\"path\":\"a\",\"name\":\"b\"}}"),
        format!("POST /v1/fetches\n{json}\n\n{{\"link\":\"potluck://{id}\",\"to\":\"x\"}}"),
        "GET /v1/fetches".to_owned(),
        format!("PUT /v1/pins/{id}"),
        "POST /v1/gc?dryRun=true".to_owned(),
        "GET /v1/peers".to_owned(),
        "GET /v1/members".to_owned(),
        "POST /v1/topics/news\n\nhello".to_owned(),
        "GET /v1/search?q=a%20b".to_owned(),
        format!("GET /v1/lookup/{id}"),
        "GET /v1/lookup/config%2Fdb?space=own".to_owned(),
        "GET /v1/config".to_owned(),
        "GET /v1/doctor".to_owned(),
        "GET /v1/overview".to_owned(),
        "GET /v1/overview/history?minutes=5".to_owned(),
        "GET /v1/network/tickets".to_owned(),
        format!("POST /v1/network/tickets\n{json}\n\n{{\"uses\":1,\"ttl\":\"1h\"}}"),
        format!("POST /v1/network/revocations\n{json}\n\n{{\"id\":\"{id}\"}}"),
        "GET /v1/network".to_owned(),
        "GET /v1/network/settings".to_owned(),
        format!("PUT /v1/network/settings\n{json}\n\n{{\"replication\":3}}"),
        format!("POST /v1/teams\n{json}\n\n{{\"name\":\"builders\"}}"),
        format!("GET /v1/teams/{id}"),
        format!("PUT /v1/teams/{id}/writers/{id}"),
        format!("POST /v1/join\n{json}\n\n{{\"entry\":\"127.0.0.1:9\"}}"),
        "GET /v1/debug/routing-table".to_owned(),
        "GET /v1/debug/version".to_owned(),
        "GET /v1/debug/lookups".to_owned(),
        "GET /v1/gossip".to_owned(),
        "GET /metrics".to_owned(),
        "GET /healthz".to_owned(),
        "GET /readyz".to_owned(),
        "GET /openapi.json".to_owned(),
    ];
    lines.into_iter().map(String::into_bytes).collect()
}
