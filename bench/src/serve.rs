//! The memory of a node that gives ranges of a large sparse file to many who read and discard them.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use potluck::{Admission, BlobId, Contact, Identity, NetworkId, Node};
use potluck_base::Division;
use potluck_host::socket::{DatagramKind, ReceiveBatch, Sockets};
use potluck_host::transport::{Transport, TransportConfig};
use potluck_wire::FetchRequest;

use crate::process::resident_kb;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Memory of a node that gives much to many.
#[derive(Debug, Args)]
pub struct Options {
    /// Readers.
    #[arg(long, default_value_t = 100)]
    readers: usize,
    /// Bytes of the sparse file, in GiB.
    #[arg(long, default_value_t = 10)]
    gib: u64,
    /// For how long they read, in seconds.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Run as the node that gives: data folder and file.
    #[arg(long, hide = true, num_args = 2, value_names = ["DATA", "FILE"])]
    giver: Option<Vec<String>>,
}

/// Starts the giving node as a process of its own and reads from it.
pub async fn run(options: &Options) -> Result<()> {
    if let Some([data, file]) = options.giver.as_deref() {
        return give(Path::new(data), Path::new(file)).await;
    }
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("sparse");
    let size = options.gib << 30;
    std::fs::File::create(&path)?.set_len(size)?;
    let mut giver = Command::new(std::env::current_exe()?)
        .args(["serve", "--giver"])
        .args([folder.path().join("giver"), path])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut lines =
        std::io::BufRead::lines(std::io::BufReader::new(giver.stdout.take().ok_or("no output")?));
    let mut word = || -> Result<String> { Ok(lines.next().ok_or("the giver ended")??) };
    let contact: Contact = word()?.parse()?;
    let blob: BlobId = word()?.parse()?;
    println!("before: {} kB resident", word()?);
    let bytes = read_all(options, &contact, blob, size).await?;
    // The giver reports when its input ends.
    drop(giver.stdin.take());
    let (most, after) = (word()?, word()?);
    giver.wait()?;
    println!(
        "{} readers for {} s: {:.1} GB given, {:.0} MB/s; at most {most} kB resident, {after} kB 5 s after",
        options.readers,
        options.seconds,
        bytes as f64 / 1e9,
        bytes as f64 / 1e6 / options.seconds as f64
    );
    Ok(())
}

async fn read_all(options: &Options, contact: &Contact, blob: BlobId, size: u64) -> Result<u64> {
    let bytes = Arc::new(AtomicU64::new(0));
    let end = Instant::now() + Duration::from_secs(options.seconds);
    let count = Division::of(size).ok_or("too large")?.count();
    let mut readers = Vec::new();
    for number in 0..options.readers {
        let (transport, drive) = reader(number)?;
        let (bytes, contact) = (Arc::clone(&bytes), *contact);
        readers.push(tokio::spawn(async move {
            let mut granule = number as u32 * 7919;
            while Instant::now() < end {
                granule = granule.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let wanted = [granule % count, (granule + 1) % count];
                let request = FetchRequest::new(blob, size, &wanted).to_bytes();
                let Ok(mut stream) = transport.fetch(&contact, request).await else { continue };
                while let Ok(Some(frame)) = stream.next().await {
                    bytes.fetch_add(frame.len() as u64, Ordering::Relaxed);
                }
            }
            transport.close().await;
            drive.abort();
        }));
    }
    for reader in readers {
        reader.await?;
    }
    Ok(bytes.load(Ordering::Relaxed))
}

/// A node's transport alone.
fn reader(number: usize) -> Result<(Transport, tokio::task::JoinHandle<()>)> {
    let identity = Identity::from_seed([number as u8 + 1; 32]);
    let network = NetworkId::new("bench", Admission::Lab, None);
    let socket = Arc::new(Sockets::bind(&[([127, 0, 0, 1], 0).into()])?);
    let transport =
        Transport::new(&identity, &network, Arc::clone(&socket), TransportConfig::default());
    let quic = transport.clone();
    let drive = tokio::spawn(async move {
        let mut batch = ReceiveBatch::new();
        while socket.recv(&mut batch).await.is_ok() {
            for segment in batch.segments().filter(|segment| segment.kind == DatagramKind::Quic) {
                quic.on_quic(&segment);
            }
        }
    });
    Ok((transport, drive))
}

async fn give(data: &Path, file: &Path) -> Result<()> {
    let node = Node::builder()
        .data_dir(data)
        .network("bench")
        .admission(Admission::Lab)
        .listen(([127, 0, 0, 1], 0).into());
    let node = node.start().await?;
    let shared = node.files().share(file).await?;
    println!("{}\n{}\n{}", node.contact(), shared.id, resident_kb());
    let ended = Arc::new(AtomicU64::new(0));
    let watching = Arc::clone(&ended);
    std::thread::spawn(move || {
        let mut line = String::new();
        // Ends with the input, whatever it is.
        let _ = std::io::stdin().read_line(&mut line);
        watching.store(1, Ordering::Relaxed);
    });
    let mut most = resident_kb();
    while ended.load(Ordering::Relaxed) == 0 {
        most = most.max(resident_kb());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    println!("{most}");
    tokio::time::sleep(Duration::from_secs(5)).await;
    println!("{}", resident_kb());
    node.stop().await?;
    Ok(())
}
