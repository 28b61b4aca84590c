//! A file over one stream of the QUIC library alone: what the protocol and the disk allow.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use noq::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::server::AlwaysResolvesServerRawPublicKeys;
use rustls::sign::CertifiedKey;
use rustls::{DigitallySignedStruct, Error, SignatureScheme};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Bytes read from and written to files at once.
const PIECE_BYTES: usize = 1024 * 1024;
/// Written bytes after which the file is synced, as a fetch does.
const COMMIT_BYTES: usize = 64 * 1024 * 1024;
/// Longest datagram, as between nodes: four of them fill what one system call carries.
const DATAGRAM_BYTES: u16 = 16_376;
const WINDOW_BYTES: u32 = 8 * 1024 * 1024;
const LOCAL: &str = "127.0.0.1:0";

/// Copies a file over loopback and syncs it.
pub async fn copy(from: PathBuf, to: PathBuf) -> Result<(), Failure> {
    let (server, client) = configs()?;
    let server = endpoint(Some(server))?;
    let address = server.local_addr()?;
    let serve = tokio::spawn(async move {
        let connection = server.accept().await.ok_or("closed")?.await?;
        let (mut send, mut request) = connection.accept_bi().await?;
        request.read_to_end(100).await?;
        let mut file = Some(std::fs::File::open(from)?);
        loop {
            let mut reading = file.take().ok_or("no file")?;
            let (back, piece) = tokio::task::spawn_blocking(move || {
                let mut piece = Vec::with_capacity(PIECE_BYTES);
                let limited = std::io::Read::take(&mut reading, PIECE_BYTES as u64);
                let mut limited = limited;
                std::io::Read::read_to_end(&mut limited, &mut piece)?;
                Ok::<_, std::io::Error>((reading, piece))
            })
            .await??;
            file = Some(back);
            if piece.is_empty() {
                break;
            }
            send.write_chunk(Bytes::from(piece)).await?;
        }
        send.finish()?;
        connection.closed().await;
        Ok::<_, Failure>(())
    });
    let endpoint = endpoint(None)?;
    let connection = endpoint.connect_with(client, address, "bare")?.await?;
    let (mut send, mut stream) = connection.open_bi().await?;
    send.write_all(b"go").await?;
    send.finish()?;
    let mut file = Some(std::fs::File::create(to)?);
    let (mut piece, mut unsynced) = (Vec::with_capacity(2 * PIECE_BYTES), 0);
    loop {
        let chunk = stream.read_chunk(PIECE_BYTES).await?;
        let over = chunk.is_none();
        piece.extend_from_slice(&chunk.unwrap_or_default());
        if piece.len() < PIECE_BYTES && !over {
            continue;
        }
        unsynced += piece.len();
        let sync = over || unsynced >= COMMIT_BYTES;
        if sync {
            unsynced = 0;
        }
        let (mut writing, bytes) = (
            file.take().ok_or("no file")?,
            std::mem::replace(&mut piece, Vec::with_capacity(2 * PIECE_BYTES)),
        );
        file = Some(
            tokio::task::spawn_blocking(move || {
                std::io::Write::write_all(&mut writing, &bytes)?;
                if sync {
                    writing.sync_data()?;
                }
                Ok::<_, std::io::Error>(writing)
            })
            .await??,
        );
        if over {
            break;
        }
    }
    connection.close(0u32.into(), b"");
    tokio::time::timeout(Duration::from_secs(5), serve).await???;
    Ok(())
}

fn endpoint(server: Option<noq::ServerConfig>) -> Result<noq::Endpoint, Failure> {
    let mut config = noq::EndpointConfig::default();
    config.max_udp_payload_size(DATAGRAM_BYTES)?;
    let socket = std::net::UdpSocket::bind(LOCAL)?;
    Ok(noq::Endpoint::new(config, server, socket, Arc::new(noq::TokioRuntime))?)
}

fn configs() -> Result<(noq::ServerConfig, noq::ClientConfig), Failure> {
    let mut quic = noq::TransportConfig::default();
    quic.stream_receive_window(WINDOW_BYTES.into()).send_window(2 * u64::from(WINDOW_BYTES));
    let mut discovery = noq::MtuDiscoveryConfig::default();
    discovery.upper_bound(DATAGRAM_BYTES);
    quic.mtu_discovery_config(Some(discovery));
    // The library sends runs that one system call cannot carry if nothing cuts them.
    quic.enable_segmentation_offload(u32::from(DATAGRAM_BYTES) * 10 < 65_507);
    let quic = Arc::new(quic);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    // A raw public key, as between nodes: PKCS 8 is a head and the seed, SPKI a head and the key.
    let identity = potluck::Identity::from_seed([3; 32]);
    let pkcs8 = [&PKCS8_HEAD[..], &identity.seed()].concat();
    let spki = [&SPKI_HEAD[..], identity.public_key().as_bytes()].concat();
    let key = rustls::crypto::ring::sign::any_eddsa_type(&PrivatePkcs8KeyDer::from(pkcs8))?;
    let key = Arc::new(CertifiedKey::new(vec![CertificateDer::from(spki)], key));
    let server = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(key)));
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody))
        .with_no_client_auth();
    let mut server = noq::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(server)?));
    server.transport_config(Arc::clone(&quic));
    let mut client = noq::ClientConfig::new(Arc::new(QuicClientConfig::try_from(client)?));
    client.transport_config(quic);
    Ok((server, client))
}

const PKCS8_HEAD: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];
const SPKI_HEAD: [u8; 12] =
    [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// Accepts any server: this one is ours.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.3 only".into()))
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}
