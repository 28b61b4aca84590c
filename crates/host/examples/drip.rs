//! A member of a `lab` network that shares a file and drips: of each granule that is asked of it, it sends
//! 2,500 bytes a second.
//!
//! `drip NETWORK ENTRY FILE [GRANULES [right]]`: joins NETWORK at the address ENTRY, shares FILE, and prints
//! its contact. Its key comes first in the order of keys. It sends GRANULES granules as it should first (0 if not said). With `right` each frame has
//! its right length; otherwise each claims four MiB. It ends with its standard input.

use std::error::Error;

use potluck_base::{Admission, Identity};
use potluck_host::files::ShareOptions;
use potluck_host::files::lies::Drip;
use potluck_host::{
    ByteRates, Keep, Settings, StoreSettings, WantedNetwork, parse_entry_point, random_secret,
    start,
};
use potluck_node::Config;

/// An identity whose key begins with a zero byte, so that it comes before most others in the order of keys.
fn first_in_order() -> Result<Identity, Box<dyn Error>> {
    loop {
        let identity = Identity::from_seed(random_secret()?);
        if identity.public_key().as_bytes()[0] == 0 {
            return Ok(identity);
        }
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [network, entry, file, rest @ ..] = &arguments[..] else {
        return Err("drip NETWORK ENTRY FILE [GRANULES [right]]".into());
    };
    let granules = rest.first().map_or(Ok(0), |number| number.parse())?;
    let how =
        if rest.get(1).is_some_and(|word| word == "right") { Drip::Right } else { Drip::Long };
    let folder = std::env::temp_dir().join(format!("potluck-drip-{}", std::process::id()));
    let settings = Settings {
        keep: Keep::Folder(folder.clone()),
        network: WantedNetwork {
            name: Some(network.clone()),
            admission: Some(Admission::Lab),
            ..WantedNetwork::default()
        },
        listen: vec![([127, 0, 0, 1], 0).into()],
        advertise: None,
        entry_points: vec![parse_entry_point(entry)?],
        finding: potluck_host::Finding::default(),
        labels: Vec::new(),
        config: Config {
            link: potluck_link::LinkConfig { lab: true, ..Default::default() },
            ..Config::default()
        },
        identity: Some(first_in_order()?),
        puzzle_progress: potluck_host::PuzzleProgress::default(),
        new_identity: false,
        store: StoreSettings {
            memory_bytes: None,
            disk_bytes: None,
            quotas: potluck_store::Quotas::default(),
            sync: true,
            cache_bytes: potluck_host::files::CACHE_BYTES_DEFAULT,
        },
        rates: ByteRates { upload: None, download: None },
    };
    let node = start(settings).await?;
    let files = node.files().map_err(|_| "the node shares no files")?;
    let shared = files.share(file.into(), ShareOptions::default()).await?;
    files.drip_after(granules, how);
    println!("{} shares {}", node.info().contact, shared.link);
    // Ends with whatever runs it.
    let mut line = String::new();
    tokio::task::spawn_blocking(move || std::io::stdin().read_line(&mut line)).await??;
    drop(node);
    std::fs::remove_dir_all(folder)?;
    Ok(())
}
