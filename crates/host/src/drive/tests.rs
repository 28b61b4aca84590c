use potluck_base::{Admission, Identity, NetworkId};
use potluck_node::{Config, Start};

use super::*;
use crate::folder::NetworkInfo;
use crate::handle::{Handle, NodeInfo};
use crate::transport::TransportConfig;

/// Far longer than anything here takes; a test that waits for it has failed.
const BOUND: Duration = Duration::from_secs(60);

/// A node that keeps everything in memory on `disk`, and the way to it.
fn node(disk: Disk) -> (Handle, Drive) {
    let identity = Identity::from_seed([1; 32]);
    let id = NetworkId::new("drive tests", Admission::Lab, None);
    let network = NetworkInfo {
        name: "drive tests".into(),
        admission: Admission::Lab,
        authority: None,
        difficulty: None,
        id,
    };
    let socket = Arc::new(Sockets::bind(&[([127, 0, 0, 1], 0).into()]).unwrap());
    let address = socket.local_addr();
    let contact = Contact::new(identity.public_key(), address);
    let transport = Transport::new(&identity, &id, Arc::clone(&socket), TransportConfig::default());
    let (watch, whereabouts) = (Watch::new(vec![address], None), Whereabouts::new(contact));
    let node = Node::new(Start {
        identity,
        network: id,
        address,
        incarnation: 1,
        labels: Vec::new(),
        config: Config::default(),
        seed: [1; 32],
    })
    .unwrap();
    let clock = Clock::start();
    let info = NodeInfo {
        contact,
        id: contact.in_network(&id).id,
        network,
        local_addresses: vec![address],
        folder: None,
        former: None,
    };
    let (handle, ends) =
        Handle::new(info, clock, whereabouts.clone(), transport.downgrade(), |_| (None, None));
    let drive = Drive::new(Parts {
        node,
        clock,
        socket,
        transport,
        disk,
        folder: None,
        ends,
        watch,
        whereabouts,
        remembered: Vec::new(),
        entry_points: Vec::new(),
        dns_fallback: Vec::new(),
        files: None,
        membership: None,
        puzzles: None,
    });
    (handle, drive)
}

#[tokio::test]
async fn a_node_says_how_it_is_while_its_disk_stands_still() {
    let (disk, _still) = Disk::standing_still();
    let held = disk.last_view();
    assert!(disk.is_full() && held.stats.records > 0);
    let (handle, drive) = node(disk);
    let driving = tokio::spawn(drive.run());
    let stats = tokio::time::timeout(BOUND, handle.stats()).await.expect("in time");
    assert_eq!(stats.unwrap().store, held, "what its last batch left");
    for look in [Command::Stats, Command::Status, Command::Members, Command::Table] {
        let reply = tokio::time::timeout(BOUND, handle.command(look.clone())).await;
        let reply = reply.unwrap_or_else(|_| panic!("{look:?} waits for the disk"));
        assert!(!matches!(reply, Ok(Reply::Failed(_)) | Err(_)), "{look:?}: {reply:?}");
    }
    driving.abort();
}
