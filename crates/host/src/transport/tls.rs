//! Authentication of peers: TLS 1.3 with raw Ed25519 public keys (RFC 7250).
//!
//! Both sides present the node's own key, wrapped as a SubjectPublicKeyInfo (RFC 8410), and sign the
//! handshake with it; there are no certificates and no names. Signing and checking go through
//! [`Identity`] and [`PublicKey`], so that one definition of a valid signature holds in the whole program
//! (strict, small-order keys refused) and the secret key is in one place. The protocol name (ALPN)
//! contains the network's tag: nodes of two networks have none in common, so the handshake fails in the
//! first flight.

use std::sync::{Arc, OnceLock};

use noq::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use potluck_base::{Identity, NetworkId, PublicKey, Signature};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{AlwaysResolvesClientRawPublicKeys, Resumption};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::AlwaysResolvesServerRawPublicKeys;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::{CertifiedKey, Signer, SigningKey};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, PeerIncompatible,
    SignatureAlgorithm, SignatureScheme,
};

/// The server name that TLS requires. It is neither sent nor checked; the key is checked.
pub(super) const SERVER_NAME: &str = "potluck";

/// The DER of `SEQUENCE { SEQUENCE { OID id-Ed25519 }, BIT STRING (32 bytes) }` before the key.
const SPKI_HEAD: [u8; 12] =
    [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

fn spki_of_key(key: &PublicKey) -> Vec<u8> {
    [&SPKI_HEAD[..], key.as_bytes()].concat()
}

/// The key in such a structure. DER has exactly one encoding of it.
fn key_of_spki(der: &[u8]) -> Option<PublicKey> {
    let key = der.strip_prefix(&SPKI_HEAD[..])?;
    key.try_into().ok().map(PublicKey::from_bytes)
}

/// The key that the other end of `connection` proved in the handshake.
pub(super) fn peer_key(connection: &noq::Connection) -> Option<PublicKey> {
    let identity = connection.peer_identity()?;
    let chain = identity.downcast_ref::<Vec<CertificateDer<'static>>>()?;
    key_of_spki(chain.first()?)
}

/// The TLS configurations of a node.
pub(super) struct Tls {
    client: rustls::ClientConfig,
    server: Arc<QuicServerConfig>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls(..)")
    }
}

impl Tls {
    pub(super) fn new(identity: &Identity, network: &NetworkId) -> Self {
        let provider = Arc::new(provider());
        let protocol = protocol_name(network);
        let spki = CertificateDer::from(spki_of_key(&identity.public_key()));
        let key = Arc::new(CertifiedKey::new(vec![spki], Arc::new(NodeKey::new(identity))));

        let mut server = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("the provider has TLS 1.3 suites")
            .with_client_cert_verifier(Arc::new(AnyNode))
            .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(Arc::clone(&key))));
        server.alpn_protocols = vec![protocol.clone()];
        // No resumption: both sides prove their keys on every connection, and keep no state for it.
        server.send_tls13_tickets = 0;
        server.max_early_data_size = 0;

        let mut client = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("the provider has TLS 1.3 suites")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(ThisNode::expecting(identity.public_key())))
            .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(key)));
        client.alpn_protocols = vec![protocol];
        client.resumption = Resumption::disabled();
        client.enable_sni = false;

        let server = QuicServerConfig::try_from(server).expect("the provider has AES-128-GCM");
        Self { client, server: Arc::new(server) }
    }

    pub(super) fn server(&self) -> Arc<QuicServerConfig> {
        Arc::clone(&self.server)
    }

    /// A client configuration that accepts only `expected`, and the cell that receives the key of
    /// another peer.
    pub(super) fn client(
        &self,
        expected: PublicKey,
    ) -> (Arc<QuicClientConfig>, Arc<OnceLock<PublicKey>>) {
        let verifier = ThisNode::expecting(expected);
        let other = Arc::clone(&verifier.other);
        let mut config = self.client.clone();
        config.dangerous().set_certificate_verifier(Arc::new(verifier));
        let config = QuicClientConfig::try_from(config).expect("the provider has AES-128-GCM");
        (Arc::new(config), other)
    }
}

/// One key exchange group: all nodes run this program.
fn provider() -> CryptoProvider {
    CryptoProvider {
        kx_groups: vec![rustls::crypto::ring::kx_group::X25519],
        ..rustls::crypto::ring::default_provider()
    }
}

fn protocol_name(network: &NetworkId) -> Vec<u8> {
    format!("potluck/2/{}", data_encoding::HEXLOWER.encode(&network.tag())).into_bytes()
}

/// The node's own key for TLS.
#[derive(Debug, Clone)]
struct NodeKey(Arc<Identity>);

impl NodeKey {
    fn new(identity: &Identity) -> Self {
        Self(Arc::new(identity.clone()))
    }
}

impl SigningKey for NodeKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        offered
            .contains(&SignatureScheme::ED25519)
            .then(|| Box::new(self.clone()) as Box<dyn Signer>)
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ED25519
    }
}

impl Signer for NodeKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        Ok(self.0.sign(message).as_bytes().to_vec())
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::ED25519
    }
}

fn presented_key(
    end_entity: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
) -> Result<PublicKey, Error> {
    if !intermediates.is_empty() {
        return Err(CertificateError::BadEncoding.into());
    }
    key_of_spki(end_entity).ok_or_else(|| CertificateError::BadEncoding.into())
}

fn verify_proof(
    message: &[u8],
    cert: &CertificateDer<'_>,
    proof: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, Error> {
    let bad = || Error::from(CertificateError::BadSignature);
    if proof.scheme != SignatureScheme::ED25519 {
        return Err(bad());
    }
    let signature = Signature::from_bytes(proof.signature().try_into().map_err(|_| bad())?);
    let key = presented_key(cert, &[])?;
    key.verify(message, &signature).map_err(|_| bad())?;
    Ok(HandshakeSignatureValid::assertion())
}

fn refuse_tls12() -> Result<HandshakeSignatureValid, Error> {
    Err(PeerIncompatible::ServerDoesNotSupportTls12Or13.into())
}

/// Accepts a server with one key.
#[derive(Debug)]
struct ThisNode {
    expected: PublicKey,
    other: Arc<OnceLock<PublicKey>>,
}

impl ThisNode {
    fn expecting(expected: PublicKey) -> Self {
        Self { expected, other: Arc::default() }
    }
}

impl ServerCertVerifier for ThisNode {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let key = presented_key(end_entity, intermediates)?;
        if key != self.expected {
            self.other.get_or_init(|| key);
            return Err(CertificateError::ApplicationVerificationFailure.into());
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        refuse_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_proof(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

/// Accepts every client that proves a key. The transport decides what the holder of the key may do.
#[derive(Debug)]
struct AnyNode;

impl ClientCertVerifier for AnyNode {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        presented_key(end_entity, intermediates)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        refuse_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_proof(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use potluck_base::Admission;

    use super::*;

    #[test]
    fn a_wrapped_key_comes_back_and_nothing_else_is_taken_for_one() {
        let key = Identity::from_seed([1; 32]).public_key();
        let der = spki_of_key(&key);
        assert_eq!(key_of_spki(&der), Some(key));
        assert_eq!(key_of_spki(&der[..43]), None);
        assert_eq!(key_of_spki(&[&der[..], &[0]].concat()), None);
        for bit in 0..SPKI_HEAD.len() * 8 {
            let mut other = der.clone();
            other[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(key_of_spki(&other), None, "bit {bit}");
        }
    }

    #[test]
    fn the_protocol_name_differs_by_network() {
        let name = |network| protocol_name(&NetworkId::new(network, Admission::Lab, None));
        assert_ne!(name("a"), name("b"));
        assert!(name("a").starts_with(b"potluck/2/"));
        assert_eq!(name("a").len(), 10 + 16);
    }

    #[test]
    fn the_server_check_takes_the_expected_key_only_and_remembers_the_other() {
        let keys = [1, 2].map(|seed| Identity::from_seed([seed; 32]).public_key());
        let verifier = ThisNode::expecting(keys[0]);
        let check = |key| {
            verifier.verify_server_cert(
                &CertificateDer::from(spki_of_key(key)),
                &[],
                &ServerName::try_from(SERVER_NAME).unwrap(),
                &[],
                UnixTime::since_unix_epoch(std::time::Duration::ZERO),
            )
        };
        assert!(check(&keys[0]).is_ok());
        assert_eq!(verifier.other.get(), None);
        assert!(check(&keys[1]).is_err());
        assert_eq!(verifier.other.get(), Some(&keys[1]));
    }
}
