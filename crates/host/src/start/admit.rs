//! Becoming a member of an `invite` network: the certificate, and the labels that it sets.

use std::collections::BTreeMap;

use bytes::Bytes;
use potluck_base::{Addresses, Contact};
use potluck_wire::Certificate;
use potluck_wire::limits::LABELS_MAX;

use super::open::{Credentials, Kept};
use crate::clock::Clock;
use crate::error::StartError;
use crate::folder::{DataFolder, NetworkInfo};
use crate::membership::{self, Admitted, Enrolment};
use crate::settings::Settings;
use crate::socket::Sockets;

/// Gets the certificate of the node: the stored one, one that this node signs itself as an issuer, or one
/// that an issuer signs for the ticket.
pub(super) async fn admit(
    kept: &Kept,
    credentials: Credentials,
    socket: &Sockets,
    folder: Option<&DataFolder>,
    settings: &Settings,
) -> Result<Admitted, StartError> {
    let Credentials { certificate, revocations, mut issuers, mut authority } = credentials;
    let own = kept.identity.public_key();
    let now = Clock::start().wall();
    let good = |certificate: &Bytes| membership::holds(certificate, &own, &kept.network, now);
    let certificate = match (certificate.filter(good), &mut authority, &settings.network.ticket) {
        (Some(certificate), _, _) => certificate,
        (None, Some(authority), _) => keep(folder, authority.certify_own(now, own)?)?,
        (None, None, Some(ticket)) => {
            let (identity, network) = (&kept.identity, &kept.network);
            let points: Vec<Contact> =
                ticket.entry_points.iter().flat_map(Addresses::contacts).collect();
            let certificate = Enrolment { socket, identity, network, ticket }.run().await?;
            if let Some(folder) = folder {
                let saved = folder.save_issuers(&points);
                saved.map_err(|source| file_error(folder, source))?;
            }
            issuers = points;
            keep(folder, certificate)?
        }
        (None, None, None) => {
            return Err(StartError::NoCertificate { network: kept.network.name.clone() });
        }
    };
    Ok(Admitted { certificate, revocations, issuers, authority })
}

/// Stores a certificate.
fn keep(folder: Option<&DataFolder>, certificate: Bytes) -> Result<Bytes, StartError> {
    if let Some(folder) = folder {
        folder.save_certificate(&certificate).map_err(|source| file_error(folder, source))?;
    }
    Ok(certificate)
}

pub(super) fn file_error(folder: &DataFolder, source: std::io::Error) -> StartError {
    StartError::File { path: folder.path().to_owned(), source }
}

/// The labels of the node. Those in the certificate take precedence.
pub(super) fn certified(
    own: Vec<(String, String)>,
    network: &NetworkInfo,
    admitted: Option<&Admitted>,
) -> Vec<(String, String)> {
    let given = admitted.zip(network.authority.as_ref()).and_then(|(admitted, authority)| {
        Certificate::read(&admitted.certificate, authority, &network.id).ok()
    });
    let given = given.map(|certificate| certificate.labels).unwrap_or_default();
    let mut labels: BTreeMap<String, String> = own.into_iter().collect();
    labels.extend(given);
    labels.into_iter().take(LABELS_MAX).collect()
}
