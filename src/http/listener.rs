//! The HTTP port: the configured one, or the next free one.

use std::io;
use std::net::SocketAddr;

use tokio::net::TcpListener;

use crate::config::{HTTP_PORT, Settings};
use crate::failure::{Exit, Failure};

/// The last port that is tried when the usual one is taken.
const LAST_PORT: u16 = 8099;

/// Binds the HTTP port.
///
/// # Errors
/// The configured port is taken, or none of the usual ones is free.
pub(crate) async fn bind(settings: &Settings) -> Result<TcpListener, Failure> {
    let wanted = settings.http_address();
    let ports = match settings.http.listen {
        Some(address) => address.port()..=address.port(),
        None => HTTP_PORT..=LAST_PORT,
    };
    let mut last = None;
    for port in ports {
        match TcpListener::bind(SocketAddr::new(wanted.ip(), port)).await {
            Ok(listener) => return Ok(listener),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => last = Some(error),
            Err(error) => return Err(failed(wanted, &error)),
        }
    }
    Err(match (settings.http.listen, last) {
        (None, _) => Failure::new(
            Exit::Failed,
            "portInUse",
            format!("the HTTP ports {HTTP_PORT} to {LAST_PORT} are all taken"),
        )
        .hint("choose another with --http 127.0.0.1:0"),
        (Some(_), Some(error)) => failed(wanted, &error),
        (Some(_), None) => Failure::failed(format!("HTTP cannot listen on {wanted}")),
    })
}

fn failed(wanted: SocketAddr, error: &io::Error) -> Failure {
    if error.kind() == io::ErrorKind::AddrInUse {
        return Failure::new(Exit::Failed, "portInUse", format!("HTTP port {wanted} is taken"))
            .hint("choose another with --http, or leave --http out");
    }
    Failure::failed(format!("HTTP cannot listen on {wanted}: {error}"))
        .hint("choose another address with --http")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_that_was_asked_for_and_is_taken_is_an_error() {
        let mut settings = Settings::default();
        settings.http.listen = Some("127.0.0.1:0".parse().expect("address"));
        let first = bind(&settings).await.expect("a free port");
        settings.http.listen = Some(first.local_addr().expect("bound"));
        assert_eq!(bind(&settings).await.expect_err("taken").code, "portInUse");
    }
}
