//! `/openapi.json`: the complete description of the API.
//!
//! Each handler describes its own parameters, bodies and answers. This module adds what is the same for all
//! of them: the token, the answers that any request may get, names of operations, and what the format
//! requires.

use axum::http::{Method, StatusCode};
use serde_json::{Map, Value, json};
use utoipa::openapi::OpenApi;

use super::guard::is_open_on_loopback;

/// The groups of operations, by the first part of their paths.
const GROUPS: &[(&str, &[&str], &str)] = &[
    ("records", &["kv", "keys", "watch", "lookup", "teams"], "Records, their names and teams."),
    ("files", &["files", "shares", "fetches", "pins", "gc"], "What is shared, fetched and kept."),
    ("messages", &["topics", "search", "events"], "Topics, search and events."),
    (
        "network",
        &["members", "peers", "network", "invites", "revocations", "join", "leave"],
        "Members and admission.",
    ),
    (
        "node",
        &[
            "status",
            "config",
            "reload",
            "log",
            "metrics",
            "healthz",
            "readyz",
            "overview",
            "doctor",
            "dashboard",
        ],
        "This node.",
    ),
    ("debug", &["debug"], "The inside of the protocols."),
];
/// Answers that any request may get.
const ANY: [(u16, &str); 4] = [
    (400, "the path, the query or the body breaks a rule"),
    (403, "the Host or Origin is not allowed, or the network refuses"),
    (405, "this path has no such method"),
    (503, "the node is busy, stopping, or found too few others"),
];
/// Further answers to a request with a body.
const WITH_BODY: [(u16, &str); 2] =
    [(413, "the body is too large"), (415, "the body has another type, or none")];
/// Answers of certain operations, beside those that their handlers name.
const MORE: &[(&str, u16, &str)] = &[
    ("/v1/kv/", 404, "there is no such record"),
    ("/v1/kv/", 507, "a disk is full; nothing was written there"),
    ("/v1/files", 404, "it is not here"),
    ("/v1/lookup/", 404, "there is no such team"),
    ("/v1/watch/", 404, "there is no such team"),
    ("/v1/keys", 404, "there is no such team"),
    ("/v1/network", 404, "this network has no tickets"),
    ("/v1/network", 409, "the file exists already"),
    ("/v1/invites", 404, "there is no such ticket"),
    ("/v1/shares", 404, "there is nothing at this path"),
    ("/v1/fetches", 409, "too many fetches are under way"),
    ("/v1/fetches", 404, "there is nothing at this path"),
    ("/v1/topics/", 429, "this client publishes too fast"),
];
/// Fields whose value is one of a few words.
const WORDS: &[(&str, &str, &[&str])] = &[
    ("Status", "health", &["ok", "degraded", "offline"]),
    ("Status", "reachability", &["unmapped", "mapped", "varies", "unknown"]),
    ("HealthView", "health", &["ok", "degraded", "offline"]),
    ("Member", "state", &["alive", "suspect", "dead", "left"]),
    ("Members", "mode", &["fleet", "open"]),
];
/// 64 hexadecimal digits: ids of files, keys of nodes, teams.
const HEX: &str = "^[0-9a-f]{64}$";
/// The schema of a parameter, by the prefix of the paths that have it, its place and its name.
fn rules() -> [(&'static str, &'static str, &'static str, Value); 18] {
    let hex = || json!({ "pattern": HEX });
    let count = |most: u32| json!({ "minimum": 1, "maximum": most });
    [
        ("/v1/files", "path", "id", hex()),
        ("/v1/pins", "path", "id", hex()),
        ("/v1/teams", "path", "id", hex()),
        ("/v1/teams", "path", "key", hex()),
        ("/v1/fetches", "path", "job", json!({ "pattern": "^[0-9]{1,18}$" })),
        ("/", "path", "name", json!({ "minLength": 1, "maxLength": 512 })),
        ("/debug", "query", "id", hex()),
        ("/v1/files", "query", "after", hex()),
        ("/v1/shares", "query", "after", hex()),
        ("/v1/kv", "header", "X-Potluck-Context", json!({ "pattern": "^(none|[A-Za-z0-9_-]+)$" })),
        ("/", "query", "key", json!({ "minLength": 1, "maxLength": 512 })),
        ("/", "query", "limit", count(10_000)),
        ("/", "query", "r", count(32)),
        ("/", "query", "w", count(32)),
        ("/", "query", "siblings", json!({ "enum": ["all"] })),
        ("/", "query", "span", json!({ "enum": ["15m", "24h"] })),
        ("/", "query", "kind", json!({ "enum": ["siblings", "lww"] })),
        (
            "/",
            "query",
            "space",
            json!({ "pattern": "^(commons|content|own|own/[0-9a-f]{64}|team/[0-9a-f]{64})$" }),
        ),
    ]
}
const PROBLEM: &str = "application/problem+json";
const METHODS: [&str; 5] = ["get", "put", "post", "delete", "head"];

/// The whole description.
pub(super) fn document(api: &OpenApi) -> Value {
    let mut whole = serde_json::to_value(api).unwrap_or_default();
    whole["info"] = json!({
        "title": "Potluck",
        "version": env!("CARGO_PKG_VERSION"),
        "summary": "The HTTP API of a Potluck node.",
        "description": "Errors are problem details (RFC 9457) with a `code` for programs. Names at the end \
                        of a path may hold slashes.",
        "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
    });
    whole["servers"] =
        json!([{ "url": "/", "description": "The node that gives this description." }]);
    whole["tags"] = GROUPS
        .iter()
        .map(|(name, _, about)| json!({ "name": name, "description": about }))
        .collect();
    whole["components"]["securitySchemes"] = json!({
        "token": {
            "type": "http",
            "scheme": "bearer",
            "description": "The text of the file DATA/token of the node, or of [http] token_file.",
        }
    });
    for (schema, field, words) in WORDS {
        let field = &mut whole["components"]["schemas"][schema]["properties"][field];
        if field.is_object() {
            field["enum"] = json!(words);
            // The default stands for a field that an older node leaves out; it is none of the words.
            field.as_object_mut().map(|field| field.remove("default"));
        }
    }
    let paths = match whole["paths"].take() {
        Value::Object(paths) => paths,
        _ => Map::new(),
    };
    let mut described = Map::new();
    for (route, mut item) in paths {
        for method in METHODS {
            if let Some(operation) = item.get_mut(method) {
                complete(operation, method, &route);
            }
        }
        described.insert(route.replace("{*", "{"), item);
    }
    whole["paths"] = Value::Object(described);
    whole
}

/// Adds to an operation the parts that all have.
fn complete(operation: &mut Value, method: &str, route: &str) {
    let group = route.trim_start_matches("/v1").split('/').nth(1).unwrap_or_default();
    let tag = GROUPS.iter().find(|(_, parts, _)| parts.contains(&group));
    operation["operationId"] = operation_id(method, route).into();
    operation["tags"] = json!([tag.map_or("node", |(name, ..)| name)]);
    let is_open = method
        .to_ascii_uppercase()
        .parse::<Method>()
        .is_ok_and(|it| is_open_on_loopback(&it, route));
    operation["security"] =
        if is_open { json!([{}, { "token": [] }]) } else { json!([{ "token": [] }]) };
    let parameters = operation.get_mut("parameters").and_then(Value::as_array_mut);
    for parameter in parameters.into_iter().flatten() {
        let is_meant = |at: &str, place: &str, name: &str| {
            route.starts_with(at) && parameter["in"] == place && parameter["name"] == name
        };
        let rules = rules();
        let rule = rules.into_iter().find(|(at, place, name, _)| is_meant(at, place, name));
        if let (Some((.., Value::Object(rule))), Some(schema)) =
            (rule, parameter["schema"].as_object_mut())
        {
            schema.extend(rule);
        }
    }
    if let Some(content) = operation.pointer_mut("/requestBody/content") {
        binary(content);
    }
    if method == "get" && matches!(route, "/v1/config" | "/v1/kv/{*name}") {
        // The keys are those of the file; counters, sets and maps are read as JSON.
        operation["responses"]["200"]["content"]["application/json"] = json!({});
    }
    let mut answers: Vec<(u16, &str)> = ANY.to_vec();
    answers.push((401, "the token is missing or wrong"));
    if method == "put" || method == "post" {
        answers.extend(WITH_BODY);
    }
    answers.extend(
        MORE.iter()
            .filter(|(at, ..)| route.starts_with(at))
            .map(|(_, code, about)| (*code, *about)),
    );
    let responses = &mut operation["responses"];
    for (status, about) in answers {
        let response = &mut responses[status.to_string()];
        if response.is_null() {
            let schema = json!({ "$ref": "#/components/schemas/ProblemBody" });
            *response =
                json!({ "description": about, "content": { PROBLEM: { "schema": schema } } });
        }
    }
    for (status, response) in responses.as_object_mut().into_iter().flatten() {
        let is_named = response["description"].as_str().is_some_and(|text| !text.is_empty());
        if !is_named {
            response["description"] = standard(status).into();
        }
        if let Some(content) = response.get_mut("content") {
            binary(content);
        }
    }
}

/// Describes a body of bytes as bytes, not as a list of numbers.
fn binary(content: &mut Value) {
    for (kind, what) in content.as_object_mut().into_iter().flatten() {
        if kind == "application/octet-stream" {
            what["schema"] = json!({ "type": "string", "contentMediaType": kind });
        }
    }
}

/// The words of RFC 9110 for a status.
fn standard(status: &str) -> String {
    let code = status.parse().ok().and_then(|code| StatusCode::from_u16(code).ok());
    let words = code.and_then(|code| code.canonical_reason()).unwrap_or("an answer");
    words.to_ascii_lowercase()
}

/// A name for an operation: `getKvName` for GET of `/v1/kv/{*name}`.
fn operation_id(method: &str, route: &str) -> String {
    let mut id = method.to_owned();
    if route == "/" {
        id.push_str("Page");
    }
    for part in route.trim_start_matches("/v1").split('/').filter(|part| !part.is_empty()) {
        let word = part.trim_matches(|letter| matches!(letter, '{' | '}' | '*'));
        let mut letters = word.chars();
        id.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        id.extend(letters.filter(char::is_ascii_alphanumeric));
    }
    id
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::app::description;
    use super::*;

    fn operations(whole: &Value) -> Vec<(String, String, &Value)> {
        let mut all = Vec::new();
        for (path, item) in whole["paths"].as_object().expect("paths") {
            for (method, operation) in item.as_object().expect("an item") {
                all.push((path.clone(), method.clone(), operation));
            }
        }
        all
    }

    /// Checks the parts of the OpenAPI 3.1 specification that this description could violate.
    #[test]
    fn the_description_is_whole() {
        let whole = document(&description());
        assert_eq!(whole["openapi"], "3.1.0");
        let groups: BTreeSet<&str> = GROUPS.iter().map(|(name, ..)| *name).collect();
        let mut ids = BTreeSet::new();
        let all = operations(&whole);
        assert!(all.len() > 50, "{}", all.len());
        for (path, method, operation) in &all {
            let at = format!("{method} {path}");
            assert!(METHODS.contains(&method.as_str()), "{at}");
            let id = operation["operationId"].as_str().expect("an id");
            assert!(ids.insert(id), "{at}: {id} twice");
            assert!(groups.contains(operation["tags"][0].as_str().expect("a tag")), "{at}");
            assert!(operation["summary"].as_str().is_some_and(|it| it.len() > 5), "{at}");
            assert!(operation["security"].as_array().is_some_and(|it| !it.is_empty()), "{at}");
            let responses = operation["responses"].as_object().expect("responses");
            assert!(responses.keys().any(|status| status.starts_with('2')), "{at}");
            for (status, response) in responses {
                assert!(response["description"].is_string(), "{at} {status}");
            }
            let named: BTreeSet<&str> = path
                .split('/')
                .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
                .collect();
            let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
            let described: BTreeSet<&str> = parameters
                .iter()
                .filter(|it| it["in"] == "path")
                .filter_map(|it| it["name"].as_str())
                .collect();
            assert_eq!(named, described, "{at}");
        }
        let text = whole.to_string();
        for part in text.split("\"$ref\":\"#").skip(1) {
            let target = part.split('"').next().unwrap_or_default();
            assert!(whole.pointer(target).is_some(), "{target} is named and not described");
        }
        for (schema, field, _) in WORDS {
            assert!(
                whole["components"]["schemas"][schema]["properties"][field]["enum"].is_array(),
                "{schema}.{field}"
            );
        }
    }

    #[test]
    fn operations_are_named_by_method_and_path() {
        assert_eq!(operation_id("get", "/v1/kv/{*name}"), "getKvName");
        assert_eq!(operation_id("get", "/debug/routingtable"), "getDebugRoutingtable");
        assert_eq!(operation_id("get", "/dashboard/app.css"), "getDashboardAppcss");
        assert_eq!(operation_id("get", "/"), "getPage");
        assert_eq!(operation_id("put", "/v1/teams/{id}/members/{key}"), "putTeamsIdMembersKey");
    }
}
