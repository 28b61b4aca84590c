//! How fast one fetch is on loopback, beside a bare QUIC stream of the same library.
//!
//! `cargo run --release -p potluck-host --example stream -- [MiB] [longest datagram] [upload cap]`
//!
//! Two nodes' transports in one process, each with a drive task as a node has one, carry frames of
//! 1 MiB that the reader throws away. The bare streams run between two endpoints on sockets of their
//! own: with the library's defaults but for the same windows, and with the same datagrams as well.
//! The cap, in bytes a second, is for the fetch only.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use noq::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use potluck_base::{Admission, Contact, Identity, NetworkId};
use potluck_host::socket::{DatagramKind, PortSocket, ReceiveBatch};
use potluck_host::transport::{Transport, TransportConfig};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::server::AlwaysResolvesServerRawPublicKeys;
use rustls::sign::CertifiedKey;
use rustls::{DigitallySignedStruct, Error, SignatureScheme};

type Failure = Box<dyn std::error::Error + Send + Sync>;

const FRAME_BYTES: usize = 1024 * 1024;
const LOCAL: &str = "127.0.0.1:0";
const ROUNDS: usize = 3;

#[tokio::main(flavor = "multi_thread")]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let frames = arguments.next().map_or(Ok(1024), |mib| mib.parse())?;
    let default = TransportConfig::default().datagram_bytes;
    let datagram_bytes = arguments.next().map_or(Ok(default), |bytes| bytes.parse())?;
    let cap = arguments.next().map(|cap| cap.parse()).transpose()?;
    let mut best = [0.0_f64; 3];
    for _ in 0..ROUNDS {
        let rates = [
            fetch(frames, datagram_bytes, cap).await?,
            plain(frames, None).await?,
            plain(frames, Some(datagram_bytes)).await?,
        ];
        best = std::array::from_fn(|index| best[index].max(rates[index]));
    }
    let [fetch, plain, tuned] = best;
    writeln!(
        std::io::stdout(),
        "best of {ROUNDS}, MB/s: fetch {fetch:.1}, bare stream {plain:.1} ({:.2}), \
         with the same datagrams {tuned:.1} ({:.2})",
        fetch / plain,
        fetch / tuned
    )?;
    Ok(())
}

fn rate(frames: usize, since: Instant) -> f64 {
    (frames * FRAME_BYTES) as f64 / since.elapsed().as_secs_f64() / 1e6
}

/// The transport of one node, with what feeds it.
struct Node {
    transport: Transport,
    contact: Contact,
    socket: Arc<PortSocket>,
    drive: tokio::task::JoinHandle<()>,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.drive.abort();
    }
}

fn node(seed: u8, datagram_bytes: u16) -> Result<Node, Failure> {
    let identity = Identity::from_seed([seed; 32]);
    let network = NetworkId::new("stream", Admission::Lab, None);
    let socket = Arc::new(PortSocket::bind(LOCAL.parse()?)?);
    let config = TransportConfig { datagram_bytes, ..TransportConfig::default() };
    let transport = Transport::new(&identity, &network, Arc::clone(&socket), config);
    let contact = Contact { public_key: identity.public_key(), address: socket.local_addr() };
    let (port, quic) = (Arc::clone(&socket), transport.clone());
    let drive = tokio::spawn(async move {
        let mut batch = ReceiveBatch::new();
        while port.recv(&mut batch).await.is_ok() {
            for segment in batch.segments().filter(|s| s.kind == DatagramKind::Quic) {
                quic.on_quic(&segment);
            }
        }
    });
    Ok(Node { transport, contact, socket, drive })
}

async fn fetch(frames: usize, datagram_bytes: u16, cap: Option<u64>) -> Result<f64, Failure> {
    let (reader, server) = (node(1, datagram_bytes)?, node(2, datagram_bytes)?);
    server.transport.set_rates(cap, None);
    let serving = server.transport.clone();
    let serve = tokio::spawn(async move {
        let frame = Bytes::from(vec![7; FRAME_BYTES]);
        while let Some(mut fetch) = serving.next_incoming_fetch().await {
            for _ in 0..frames {
                if fetch.sender.send(frame.clone()).await.is_err() {
                    return;
                }
            }
            fetch.sender.finish();
        }
    });
    let start = Instant::now();
    let mut stream = reader.transport.fetch(&server.contact, Bytes::from_static(b"go")).await?;
    let mut count = 0;
    while let Some(frame) = stream.next().await? {
        count += frame.len() / FRAME_BYTES;
    }
    assert_eq!(count, frames);
    let rate = rate(frames, start);
    writeln!(
        std::io::stdout(),
        "  rtt {:?}, buffers {:?}, dropped in queue {}, sent {:?}, received {:?}",
        stream.rtt(),
        server.socket.buffers(),
        reader.transport.stats().queue_dropped,
        server.socket.stats(),
        reader.socket.stats(),
    )?;
    drop(stream);
    server.transport.close().await;
    serve.abort();
    Ok(rate)
}

async fn plain(frames: usize, datagram_bytes: Option<u16>) -> Result<f64, Failure> {
    let (server, client) = plain_configs(datagram_bytes)?;
    let server = plain_endpoint(Some(server), datagram_bytes)?;
    let address: SocketAddr = server.local_addr()?;
    let serve = tokio::spawn(async move {
        let frame = Bytes::from(vec![7; FRAME_BYTES]);
        let connection = server.accept().await.ok_or("closed")?.await?;
        let (mut send, mut request) = connection.accept_bi().await?;
        request.read_to_end(100).await?;
        for _ in 0..frames {
            send.write_chunk(frame.clone()).await?;
        }
        send.finish()?;
        connection.closed().await;
        Ok::<_, Failure>(())
    });
    let endpoint = plain_endpoint(None, datagram_bytes)?;
    let start = Instant::now();
    let connection = endpoint.connect_with(client, address, "plain")?.await?;
    let (mut send, mut stream) = connection.open_bi().await?;
    send.write_all(b"go").await?;
    send.finish()?;
    let mut bytes = 0;
    while let Some(chunk) = stream.read_chunk(usize::MAX).await? {
        bytes += chunk.len();
    }
    assert_eq!(bytes, frames * FRAME_BYTES);
    let rate = rate(frames, start);
    connection.close(0u32.into(), b"");
    tokio::time::timeout(Duration::from_secs(5), serve).await???;
    Ok(rate)
}

fn plain_endpoint(
    server: Option<noq::ServerConfig>,
    datagram_bytes: Option<u16>,
) -> Result<noq::Endpoint, Failure> {
    let mut config = noq::EndpointConfig::default();
    if let Some(bytes) = datagram_bytes {
        config.max_udp_payload_size(bytes)?;
    }
    let socket = std::net::UdpSocket::bind(LOCAL)?;
    Ok(noq::Endpoint::new(config, server, socket, Arc::new(noq::TokioRuntime))?)
}

fn plain_configs(
    datagram_bytes: Option<u16>,
) -> Result<(noq::ServerConfig, noq::ClientConfig), Failure> {
    let mut quic = noq::TransportConfig::default();
    let window = TransportConfig::default().fetch_window_bytes;
    quic.stream_receive_window(window.into()).send_window(2 * u64::from(window));
    if let Some(bytes) = datagram_bytes {
        let mut discovery = noq::MtuDiscoveryConfig::default();
        discovery.upper_bound(bytes);
        quic.mtu_discovery_config(Some(discovery));
        // The library sends runs that one system call cannot carry if there is nobody to cut them.
        quic.enable_segmentation_offload(u32::from(bytes) * 10 < 65_507);
    }
    let quic = Arc::new(quic);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    // A raw public key, as between nodes: PKCS 8 is a head and the seed, SPKI a head and the key.
    let identity = Identity::from_seed([3; 32]);
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
