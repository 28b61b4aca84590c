//! `/`: the dashboard, three files in the program. It reads and changes nothing.
//!
//! **Invariants:** nothing is loaded from elsewhere, and the page contains no script: its policy forbids
//! both. Text of other nodes is inserted as text, never as markup. The files contain no secret, so they need
//! no token; the requests for the data do.

use axum::http::header;
use axum::response::{IntoResponse as _, Response};

const PAGE: &str = include_str!("dashboard/index.html");
const STYLE: &str = include_str!("dashboard/app.css");
const SCRIPT: &str = include_str!("dashboard/app.js");

/// Scripts, styles and requests of this node only; no frame, no form, no base.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

fn file(kind: &'static str, body: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (header::HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    (headers, body).into_response()
}

/// The dashboard: a page for browsers, which reads `/v1/overview` once a second.
#[utoipa::path(get, path = "/",
    responses((status = 200, body = String, content_type = "text/html")))]
pub(super) async fn page() -> Response {
    file("text/html; charset=utf-8", PAGE)
}

/// The dashboard's style.
#[utoipa::path(get, path = "/dashboard/app.css",
    responses((status = 200, body = String, content_type = "text/css")))]
pub(super) async fn style() -> Response {
    file("text/css; charset=utf-8", STYLE)
}

/// The dashboard's script.
#[utoipa::path(get, path = "/dashboard/app.js",
    responses((status = 200, body = String, content_type = "text/javascript")))]
pub(super) async fn script() -> Response {
    file("text/javascript; charset=utf-8", SCRIPT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_needs_nothing_but_its_node_and_is_small() {
        for (name, text) in [("page", PAGE), ("style", STYLE), ("script", SCRIPT)] {
            for wrong in [
                "http://",
                "https://",
                "//cdn",
                "innerHTML",
                "outerHTML",
                "eval(",
                "document.write",
            ] {
                // The one URL that is no address: the SVG namespace.
                let text = text.replace("http://www.w3.org/2000/svg", "");
                assert!(!text.contains(wrong), "{name}: {wrong}");
            }
        }
        for wrong in [" style=", " onclick", " onload", "<style", "javascript:"] {
            assert!(!PAGE.contains(wrong), "{wrong}");
        }
        assert!(PAGE.len() + STYLE.len() + SCRIPT.len() < 100_000);
    }
}
