//! Who may ask: the rules that every request passes before anything else looks at it.
//!
//! - `Host` must be an IP literal, `localhost` or a configured name, so that a page whose DNS name
//!   was pointed at this machine (DNS rebinding) gets nothing.
//! - A page of another site gets nothing: a foreign `Origin` or `Sec-Fetch-Site: cross-site`.
//! - Changing requests need a content type that no HTML form can send.
//! - With a token file, the token, but for the parts that are configured as open. Without one, which
//!   is possible on loopback only, every user of this machine may do everything, tickets, revocations
//!   and files included: that is meant so, and the configuration says it.

use std::net::IpAddr;

use axum::http::{HeaderMap, Method, StatusCode, header};
use potluck_record::Space;
use subtle::ConstantTimeEq as _;

use super::problem::Problem;
use crate::config::{HttpPart, OpenPart};
use crate::failure::Exit;

/// The rules of one node.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    hosts: Vec<String>,
    open: Vec<OpenPart>,
    /// The token as a hash, so that comparing takes the same time for every length.
    token: Option<[u8; 32]>,
}

/// BLAKE3, as content keys are made.
fn hash(token: &str) -> [u8; 32] {
    *Space::content_key(token.as_bytes()).as_bytes()
}

impl Rules {
    /// The rules of this configuration with the token of its token file.
    pub(crate) fn new(config: &HttpPart, token: Option<&str>) -> Self {
        Self {
            hosts: config.hosts.iter().map(|host| host.to_ascii_lowercase()).collect(),
            open: config.open.clone(),
            token: token.map(hash),
        }
    }

    /// Lets a request pass or says why not.
    pub(super) fn check(
        &self,
        method: &Method,
        path: &str,
        headers: &HeaderMap,
    ) -> Result<(), Problem> {
        let host = self.check_host(headers)?;
        check_origin(headers, host)?;
        self.check_token(path, headers)?;
        if is_changing(method) { check_content_type(method, headers) } else { Ok(()) }
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

    fn check_token(&self, path: &str, headers: &HeaderMap) -> Result<(), Problem> {
        let Some(token) = &self.token else { return Ok(()) };
        if part_of(path).is_some_and(|part| self.open.contains(&part)) {
            return Ok(());
        }
        let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let given = given.and_then(|value| {
            let (scheme, token) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| hash(token.trim()))
        });
        if given.is_some_and(|given| bool::from(given.ct_eq(token))) {
            return Ok(());
        }
        let detail = "this node wants its token";
        Err(Problem::new(StatusCode::UNAUTHORIZED, Exit::Refused, "tokenNeeded", detail)
            .hint("name the token file with --token-file or POTLUCK_TOKEN_FILE"))
    }
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
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// A form can only POST, and one without a body changes nothing by what it says; a PUT of another
/// site is asked for by its browser first, and refused.
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

/// The part of the API that a path belongs to, if it can be open.
fn part_of(path: &str) -> Option<OpenPart> {
    match path {
        "/healthz" | "/readyz" => Some(OpenPart::Health),
        "/metrics" => Some(OpenPart::Metrics),
        _ => path.starts_with("/debug/").then_some(OpenPart::Debug),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};
    use axum::response::IntoResponse as _;

    use super::*;

    fn rules(token: Option<&str>) -> Rules {
        let config = HttpPart {
            listen: None,
            token_file: None,
            open: vec![OpenPart::Health],
            hosts: vec!["Node.Example".into()],
        };
        Rules::new(&config, token)
    }

    fn status(rules: &Rules, method: Method, path: &str, headers: &[(&str, &str)]) -> u16 {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("name");
            map.append(name, HeaderValue::from_str(value).expect("value"));
        }
        match rules.check(&method, path, &map) {
            Ok(()) => 200,
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
        assert_eq!(ask("/healthz/../v1/status", &[]), 401);
    }
}
