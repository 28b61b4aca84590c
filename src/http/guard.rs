//! Access: the rules that every request passes before any other code handles it.
//!
//! - `Host` must be an IP literal, `localhost` or a configured name, so that a page whose DNS name
//!   was pointed at this machine (DNS rebinding) gets nothing.
//! - A page of another site gets nothing: a foreign `Origin` or `Sec-Fetch-Site: cross-site`.
//! - Changing requests need a content type that no HTML form can send.
//! - The node's token, except for the open parts. On loopback the open parts are by default those that any
//!   user of this machine may use: records, messages, search, and reading the state. Admission, sharing and
//!   fetching, and the node itself are its owner's. Only `[http] token = "none"` needs no token.
//!
//! Access is decided by route, not by the beginning of a path, so a new route is closed until it is named
//! here.

use std::net::IpAddr;

use axum::http::{HeaderMap, Method, StatusCode, header};
use potluck_record::Space;
use subtle::ConstantTimeEq as _;

use super::problem::Problem;
use crate::config::{OpenPart, Settings};
use crate::failure::Exit;

/// The rules of one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rules {
    hosts: Vec<String>,
    open: Vec<OpenPart>,
    /// The hash of the token, so that a comparison takes the same time for every length.
    token: Option<[u8; 32]>,
}

/// BLAKE3, as for content keys.
fn hash(token: &str) -> [u8; 32] {
    *Space::content_key(token.as_bytes()).as_bytes()
}

impl Rules {
    /// The rules of this configuration with the node's token; `None` where no token is needed.
    pub(crate) fn new(settings: &Settings, token: Option<&str>) -> Self {
        Self {
            hosts: settings.http.hosts.iter().map(|host| host.to_ascii_lowercase()).collect(),
            open: settings.http_open(),
            token: token.map(hash),
        }
    }

    /// Lets a request pass or returns the reason for the refusal. `route` is the pattern that the path
    /// matches, `None` if it matches none.
    pub(super) fn check(
        &self,
        method: &Method,
        route: Option<&str>,
        headers: &HeaderMap,
    ) -> Result<Pass, Problem> {
        let host = self.check_host(headers)?;
        check_origin(headers, host)?;
        let pass = self.check_token(method, route, headers)?;
        if is_changing(method) {
            check_content_type(method, headers)?;
        }
        Ok(pass)
    }

    fn check_host<'h>(&self, headers: &'h HeaderMap) -> Result<&'h str, Problem> {
        let mut all = headers.get_all(header::HOST).iter();
        let host = match (all.next(), all.next()) {
            (Some(host), None) => host.to_str().unwrap_or_default(),
            _ => "",
        };
        let name = name_of(host).to_ascii_lowercase();
        let is_ip = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_ok();
        if is_ip || name == "localhost" || self.hosts.contains(&name) {
            return Ok(host);
        }
        Err(Problem::forbidden("hostRefused", "this API is not called by that host name")
            .hint("call it by IP address, or add the name to [http] hosts"))
    }

    fn check_token(
        &self,
        method: &Method,
        route: Option<&str>,
        headers: &HeaderMap,
    ) -> Result<Pass, Problem> {
        let Some(token) = &self.token else { return Ok(Pass::Whole) };
        // The files of the dashboard contain no data of this node; the requests they make need the token.
        if route.is_some_and(|route| is_of_dashboard(method, route)) {
            return Ok(Pass::Whole);
        }
        // A path without a route is answered 404, which needs no token.
        let Some(route) = route else { return Ok(Pass::Whole) };
        let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let given = given.and_then(|value| {
            let (scheme, token) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| hash(token.trim()))
        });
        if given.is_some_and(|given| bool::from(given.ct_eq(token))) {
            return Ok(Pass::Whole);
        }
        match part_of(method, route) {
            Some((part, pass)) if self.open.contains(&part) => Ok(pass),
            _ => Err(token_needed()),
        }
    }
}

/// How much a request may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pass {
    /// Everything.
    Whole,
    /// Read files that this node has already: without the token nothing is fetched.
    FilesThatAreHere,
}

/// The token is missing or wrong.
pub(super) fn token_needed() -> Problem {
    let detail = "this node wants its token";
    Problem::new(StatusCode::UNAUTHORIZED, Exit::Refused, "tokenNeeded", detail).hint(
        "run this as the user that the node runs as, or name its token file with --token-file or \
         POTLUCK_TOKEN_FILE",
    )
}

/// The host without its port.
fn name_of(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') && !port.is_empty() => name,
        _ => host,
    }
}

fn check_origin(headers: &HeaderMap, host: &str) -> Result<(), Problem> {
    let refused =
        || Problem::forbidden("foreignOrigin", "pages of other sites may not use this API");
    let site = headers.get("sec-fetch-site").and_then(|value| value.to_str().ok());
    if site == Some("cross-site") {
        return Err(refused());
    }
    match headers.get(header::ORIGIN) {
        None => Ok(()),
        Some(origin) => {
            let own = origin.to_str().ok().and_then(|origin| origin.strip_prefix("http://"));
            if own.is_some_and(|own| own.eq_ignore_ascii_case(host)) {
                Ok(())
            } else {
                Err(refused())
            }
        }
    }
}

fn is_changing(method: &Method) -> bool {
    matches!(*method, Method::PUT | Method::POST | Method::DELETE)
}

/// A form can only POST, and a POST without a body changes nothing that the form chooses; for a PUT of
/// another site the browser asks first, and is refused.
fn check_content_type(method: &Method, headers: &HeaderMap) -> Result<(), Problem> {
    if *method == Method::PUT && !headers.contains_key(header::CONTENT_TYPE) {
        return Ok(());
    }
    let has_body = headers.contains_key(header::TRANSFER_ENCODING)
        || headers.get(header::CONTENT_LENGTH).is_some_and(|length| length.as_bytes() != b"0");
    if !has_body && matches!(*method, Method::DELETE | Method::POST) {
        return Ok(());
    }
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = value.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    let accepted = ["application/json", "application/octet-stream"];
    if accepted.iter().any(|accepted| essence.eq_ignore_ascii_case(accepted)) {
        return Ok(());
    }
    let detail = "a body is application/json or application/octet-stream";
    Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, Exit::Usage, "contentType", detail)
        .hint("with curl: -H 'Content-Type: application/octet-stream' --data-binary @FILE"))
}

/// The files of the dashboard, which are the same in every program.
const DASHBOARD: [&str; 3] = ["/", "/dashboard/app.css", "/dashboard/app.js"];
/// Routes of which `[http] open` = `data` opens all methods.
const DATA: [&str; 4] =
    ["/v1/kv/{*name}", "/v1/watch/{*name}", "/v1/topics/{*topic}", "/v1/search"];
/// Routes of which it opens GET and HEAD.
const DATA_TO_READ: [&str; 10] = [
    "/openapi.json",
    "/v1/status",
    "/v1/overview",
    "/v1/overview/history",
    "/v1/peers",
    "/v1/members",
    "/v1/events",
    "/v1/keys",
    "/v1/lookup/{*name}",
    "/v1/doctor",
];
/// Routes of which it opens GET and HEAD for files that this node has already.
const DATA_IF_HERE: [&str; 2] = ["/v1/files/{id}", "/v1/files/{id}/{*path}"];

/// Whether a request needs no token on a node that listens on loopback with the default `[http]` settings.
pub(super) fn is_open_on_loopback(method: &Method, route: &str) -> bool {
    part_of(method, route).is_some() || is_of_dashboard(method, route)
}

/// Whether a request is for a file of the dashboard, which is the same in every program.
fn is_of_dashboard(method: &Method, route: &str) -> bool {
    matches!(*method, Method::GET | Method::HEAD) && DASHBOARD.contains(&route)
}

/// The part of the API that a route belongs to, if that part can be open, and how much it may do.
fn part_of(method: &Method, route: &str) -> Option<(OpenPart, Pass)> {
    let reads = matches!(*method, Method::GET | Method::HEAD);
    if DATA.contains(&route) {
        return Some((OpenPart::Data, Pass::Whole));
    }
    if !reads {
        return None;
    }
    match route {
        "/healthz" | "/readyz" => Some((OpenPart::Health, Pass::Whole)),
        "/metrics" => Some((OpenPart::Metrics, Pass::Whole)),
        route if route.starts_with("/debug/") => Some((OpenPart::Debug, Pass::Whole)),
        route if DATA_TO_READ.contains(&route) => Some((OpenPart::Data, Pass::Whole)),
        route if DATA_IF_HERE.contains(&route) => Some((OpenPart::Data, Pass::FilesThatAreHere)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};
    use axum::response::IntoResponse as _;

    use super::*;

    fn rules(token: Option<&str>) -> Rules {
        let mut settings = Settings::default();
        settings.http.open = Some(vec![OpenPart::Health]);
        settings.http.hosts = vec!["Node.Example".into()];
        Rules::new(&settings, token)
    }

    fn status(rules: &Rules, method: Method, route: &str, headers: &[(&str, &str)]) -> u16 {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("name");
            map.append(name, HeaderValue::from_str(value).expect("value"));
        }
        match rules.check(&method, Some(route), &map) {
            Ok(_) => 200,
            Err(problem) => problem.into_response().status().as_u16(),
        }
    }

    #[test]
    fn only_addresses_localhost_and_configured_names_are_hosts() {
        let ask = |host| status(&rules(None), Method::GET, "/v1/status", &[("host", host)]);
        for host in [
            "127.0.0.1:8080",
            "[::1]:8080",
            "[::1]",
            "localhost",
            "LOCALHOST:1",
            "node.example:8080",
            "10.1.2.3",
        ] {
            assert_eq!(ask(host), 200, "{host}");
        }
        for host in
            ["evil.example", "evil.example:8080", "", "localhost.evil.example", "127.0.0.1.nip.io"]
        {
            assert_eq!(ask(host), 403, "{host}");
        }
        let none = status(&rules(None), Method::GET, "/", &[]);
        let two = [("host", "localhost"), ("host", "evil.example")];
        assert_eq!((none, status(&rules(None), Method::GET, "/", &two)), (403, 403));
    }

    #[test]
    fn pages_of_other_sites_are_refused() {
        let put = |name, value| {
            let headers =
                [("host", "localhost:8080"), ("content-type", "application/json"), (name, value)];
            status(&rules(None), Method::PUT, "/v1/kv/a", &headers)
        };
        assert_eq!(put("origin", "http://localhost:8080"), 200);
        assert_eq!(put("sec-fetch-site", "same-origin"), 200);
        assert_eq!(put("sec-fetch-site", "cross-site"), 403);
        for origin in
            ["http://evil.example", "null", "https://localhost:8080", "http://localhost:3000"]
        {
            assert_eq!(put("origin", origin), 403, "{origin}");
        }
    }

    #[test]
    fn changing_requests_need_a_type_that_no_form_can_send() {
        let ask = |method, headers: &[(&str, &str)]| {
            let headers = [&[("host", "localhost")], headers].concat();
            status(&rules(None), method, "/v1/kv/a", &headers)
        };
        let with = |kind| [("content-type", kind), ("content-length", "3")];
        assert_eq!(ask(Method::PUT, &with("application/json; charset=utf-8")), 200);
        assert_eq!(ask(Method::PUT, &with("application/octet-stream")), 200);
        assert_eq!(ask(Method::PUT, &with("text/plain")), 415);
        assert_eq!(ask(Method::PUT, &[]), 200);
        assert_eq!(ask(Method::PUT, &[("content-length", "3")]), 200);
        assert_eq!(ask(Method::PUT, &with("application/x-www-form-urlencoded")), 415);
        assert_eq!(ask(Method::POST, &[("content-length", "3")]), 415);
        assert_eq!(ask(Method::DELETE, &[]), 200);
        assert_eq!(ask(Method::POST, &[("content-length", "0")]), 200);
        assert_eq!(ask(Method::POST, &[("transfer-encoding", "chunked")]), 415);
        assert_eq!(ask(Method::POST, &with("application/x-www-form-urlencoded")), 415);
    }

    #[test]
    fn the_token_opens_everything_and_open_parts_need_none() {
        let ask = |path, headers: &[(&str, &str)]| {
            let headers = [&[("host", "localhost")], headers].concat();
            status(&rules(Some("secret")), Method::GET, path, &headers)
        };
        assert_eq!(ask("/v1/status", &[]), 401);
        assert_eq!(ask("/v1/status", &[("authorization", "Bearer secret")]), 200);
        assert_eq!(ask("/v1/status", &[("authorization", "bearer secret")]), 200);
        for wrong in ["Bearer secre", "Bearer secrets", "Basic secret", "secret", "Bearer "] {
            assert_eq!(ask("/v1/status", &[("authorization", wrong)]), 401, "{wrong}");
        }
        assert_eq!(
            (ask("/healthz", &[]), ask("/metrics", &[]), ask("/debug/lookups", &[])),
            (200, 401, 401)
        );
    }

    #[test]
    fn on_loopback_any_user_may_use_the_data_and_look_and_nothing_else() {
        let rules = Rules::new(&Settings::default(), Some("secret"));
        let pass = |method: &Method, route: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("host", HeaderValue::from_static("localhost"));
            headers.insert("content-type", HeaderValue::from_static("application/json"));
            rules.check(method, Some(route), &headers).ok()
        };
        let (get, put, post) = (Method::GET, Method::PUT, Method::POST);
        for (method, route) in [
            (&get, "/v1/kv/{*name}"),
            (&put, "/v1/kv/{*name}"),
            (&post, "/v1/topics/{*topic}"),
            (&get, "/v1/status"),
            (&Method::HEAD, "/v1/members"),
            (&get, "/debug/lookups"),
            (&get, "/metrics"),
            (&get, "/readyz"),
        ] {
            assert_eq!(pass(method, route), Some(Pass::Whole), "{method} {route}");
        }
        for method in [&get, &Method::HEAD] {
            assert_eq!(pass(method, "/v1/files/{id}"), Some(Pass::FilesThatAreHere));
        }
        for (method, route) in [
            (&post, "/v1/invites"),
            (&get, "/v1/invites"),
            (&post, "/v1/revocations"),
            (&get, "/v1/network"),
            (&get, "/v1/network/settings"),
            (&Method::PUT, "/v1/network/settings"),
            (&post, "/v1/teams"),
            (&Method::PUT, "/v1/teams/{id}/members/{key}"),
            (&post, "/v1/network/key/export"),
            (&get, "/v1/files"),
            (&post, "/v1/files"),
            (&Method::DELETE, "/v1/files/{id}"),
            (&post, "/v1/shares"),
            (&get, "/v1/config"),
            (&post, "/v1/leave"),
            (&post, "/v1/join"),
            (&post, "/v1/status"),
            (&get, "/v1/anything/new"),
        ] {
            assert_eq!(pass(method, route), None, "{method} {route}");
        }
    }
}
