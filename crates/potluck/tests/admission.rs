//! `invite` networks on real sockets: tickets let in, strangers get no byte, a member that was put out is out.

mod common;

use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::time::Duration;

use potluck::{
    Admission, Builder, CommandError, Contact, Error, InviteTerms, MembershipError, Node, Read,
    StartError,
};

/// The result, which must come in time.
async fn bounded<T>(future: impl IntoFuture<Output = T>) -> T {
    common::bounded(future.into_future()).await
}

/// Asks again and again until it holds.
async fn until(mut condition: impl AsyncFnMut() -> bool) {
    common::until(async || condition().await.then_some(())).await;
}

fn loopback() -> SocketAddr {
    ([127, 0, 0, 1], 0).into()
}

/// A node that is not in any network yet.
fn fresh() -> Builder {
    Node::builder().in_memory().listen(loopback())
}

fn in_folder(folder: &Path) -> Builder {
    Node::builder().data_dir(folder).listen(loopback()).sync(false)
}

/// A new network called `name`.
async fn founder(name: &str) -> Node {
    bounded(fresh().network(name).start()).await.expect("it works")
}

async fn joined(founder: &Node) -> Node {
    let ticket = founder.invite(InviteTerms::default()).await.expect("it works");
    let node = bounded(fresh().ticket(ticket).start()).await.expect("it works");
    bounded(node.ready()).await.expect("it works");
    node
}

async fn peers(node: &Node) -> usize {
    node.status().await.expect("it works").view.peers
}

/// A value that does not fit in a datagram, so that it goes over QUIC.
fn large() -> Vec<u8> {
    (0..30_000_u32).map(|index| index as u8).collect()
}

#[tokio::test]
async fn a_ticket_lets_in_and_records_go_across_by_datagrams_and_by_calls() {
    let first = founder("home").await;
    let second = joined(&first).await;
    assert_eq!(second.network(), first.network());
    assert_eq!(second.network().admission, Admission::Invite);
    until(async || peers(&first).await == 1).await;
    bounded(second.kv().put("small", "one")).await.unwrap();
    bounded(first.kv().put("large", large())).await.unwrap();
    assert!(matches!(bounded(first.kv().get("small")).await, Ok(Read::Value(_))));
    let Ok(Read::Value(value)) = bounded(second.kv().get("large")).await else { panic!("absent") };
    assert_eq!(value.bytes()[..], large()[..]);
    let calls = first.stats().await.unwrap().transport.dialed
        + second.stats().await.unwrap().transport.dialed;
    assert!(calls > 0, "the large value went over a connection");
    // A third one, and all know each other.
    let third = joined(&first).await;
    until(async || peers(&third).await == 2).await;
    let Ok(Read::Value(value)) = bounded(third.kv().get("large")).await else { panic!("absent") };
    assert_eq!(value.bytes().len(), 30_000);
}

#[tokio::test]
async fn a_ticket_of_one_use_lets_one_node_in_and_that_one_again() {
    let first = founder("home").await;
    let folder = tempfile::tempdir().unwrap();
    let ticket = first.invite(InviteTerms::default()).await.unwrap();
    let node = bounded(in_folder(folder.path()).ticket(ticket.clone()).start()).await.unwrap();
    let key = node.public_key();
    node.stop().await.unwrap();
    // The certificate is lost, say: the same node gets it again.
    std::fs::remove_file(folder.path().join("certificate")).unwrap();
    let again = bounded(in_folder(folder.path()).ticket(ticket.clone()).start()).await.unwrap();
    assert_eq!(again.public_key(), key);
    let other = bounded(fresh().ticket(ticket).start()).await;
    assert!(matches!(other, Err(Error::Start(StartError::TicketVoid))), "{other:?}");
    let tickets = first.membership().unwrap().tickets().await.unwrap();
    assert_eq!((tickets.len(), tickets[0].used), (1, 1));
    // From now on it needs no ticket, and remembers the way in.
    again.stop().await.unwrap();
    let plain = bounded(in_folder(folder.path()).start()).await.unwrap();
    bounded(plain.ready()).await.unwrap();
    assert_eq!((plain.public_key(), peers(&plain).await), (key, 1));
}

#[tokio::test]
async fn two_networks_of_one_name_never_mix() {
    let (here, there) = (founder("home").await, founder("home").await);
    assert_ne!(here.network().id, there.network().id);
    let (a, b) = (joined(&here).await, joined(&there).await);
    // They learn of each other's addresses and contacts.
    for (node, other) in [(&a, &b), (&b, &a), (&here, &there), (&there, &here)] {
        for entry in [other.contact().to_string(), other.contact().address.to_string()] {
            let point = potluck::parse_entry_point(&entry).unwrap();
            node.ask(potluck::ask::Join { point }).await.unwrap();
        }
    }
    bounded(a.kv().put("mine", "here")).await.unwrap();
    bounded(b.kv().put("mine", "there")).await.unwrap();
    let other_network = async || here.stats().await.unwrap().node.link.dropped_other_network > 3;
    until(other_network).await;
    assert_eq!((peers(&a).await, peers(&b).await, peers(&here).await), (1, 1, 1));
    let Ok(Read::Value(value)) = bounded(here.kv().get("mine")).await else { panic!("absent") };
    assert_eq!(value.text().unwrap(), "here");
}

/// Sends datagrams to a node and says whether anything came back before a member's question that
/// was asked behind them all was answered.
async fn answers(node: &Node, member: &Node, datagrams: &[Vec<u8>]) -> usize {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("it works");
    socket.set_nonblocking(true).expect("it works");
    let before = node.stats().await.expect("it works");
    for datagram in datagrams {
        socket.send_to(datagram, node.contact().address).expect("it works");
    }
    let seen = async || {
        let now = node.stats().await.expect("it works");
        let control = now.node.link.datagrams_in - before.node.link.datagrams_in;
        let quic = now.transport.strangers - before.transport.strangers;
        control + quic >= datagrams.len() as u64
    };
    until(seen).await;
    // Whatever would be sent because of them has been sent by then.
    bounded(member.kv().put("after", large())).await.expect("it works");
    let mut buffer = [0; 2048];
    std::iter::from_fn(|| socket.recv(&mut buffer).ok()).count()
}

/// A QUIC version 1 Initial as far as the header, of full size; or one of another version, to which
/// a server that answers strangers would answer with a list of its own.
fn initial(version: u32) -> Vec<u8> {
    let mut packet = vec![0x5a; 1200];
    packet[0] = 0xc3;
    packet[1..5].copy_from_slice(&version.to_be_bytes());
    packet[5] = 8;
    packet[14] = 8;
    packet
}

#[tokio::test]
async fn a_stranger_gets_no_byte_back_by_datagram_or_quic() {
    let first = founder("home").await;
    let second = joined(&first).await;
    let tag = first.network().id.tag();
    let mut hello = vec![0; 128];
    hello[..2].copy_from_slice(&[2, 1]);
    hello[2..10].copy_from_slice(&tag);
    let mut sealed = vec![7; 600];
    sealed[..2].copy_from_slice(&[1, 1]);
    sealed[2..10].copy_from_slice(&tag);
    sealed[66] = 0;
    let datagrams: Vec<Vec<u8>> =
        vec![hello, sealed, initial(1), initial(1), initial(0x0a0a_0a0a), vec![0x41; 64]];
    assert_eq!(answers(&first, &second, &datagrams).await, 0);
    // The same in a network that admits every node: there the list of versions comes back.
    let lab = |builder: Builder| builder.network("open").admission(Admission::Lab);
    let open = bounded(lab(fresh()).start()).await.unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    socket.send_to(&initial(0x0a0a_0a0a), open.contact().address).unwrap();
    let received = tokio::task::spawn_blocking(move || socket.recv(&mut [0; 2048]));
    assert!(bounded(received).await.unwrap().is_ok(), "so the test can tell");
}

fn is_put_out<T>(outcome: potluck::Result<T>) -> bool {
    matches!(outcome, Err(Error::Command(CommandError::PutOut)))
}

#[tokio::test]
async fn who_is_put_out_is_out_and_cannot_come_back_by_its_ticket() {
    let first = founder("home").await;
    let folder = tempfile::tempdir().unwrap();
    let ticket = first.invite(InviteTerms { uses: None, ..InviteTerms::default() }).await.unwrap();
    let second = bounded(in_folder(folder.path()).ticket(ticket.clone()).start()).await.unwrap();
    bounded(second.ready()).await.unwrap();
    bounded(second.kv().put("before", large())).await.unwrap();
    let calls = first.stats().await.unwrap().transport.connections;
    assert!(calls > 0, "they have a connection");

    let id = second.node_id().to_string();
    assert_eq!(first.revoke(&id[..10]).await.unwrap(), second.public_key());
    until(async || peers(&first).await == 0).await;
    until(async || first.stats().await.unwrap().transport.connections == 0).await;
    let served = first.stats().await.unwrap().transport.incoming;
    // It was told so, and says that nothing of it is taken any more.
    until(async || is_put_out(second.kv().put("after", "out").await)).await;
    assert!(is_put_out(bounded(second.kv().put("after, large", large())).await));
    assert!(is_put_out(bounded(second.kv().get("before")).await));
    assert!(matches!(bounded(first.kv().get("after")).await, Ok(Read::Absent)));
    // What it sends all the same is not heard.
    until(async || first.stats().await.unwrap().node.link.dropped_not_admitted > 0).await;
    let stats = first.stats().await.unwrap();
    assert_eq!(stats.transport.incoming, served, "no call of it was taken");

    // Neither its certificate nor the ticket, which others may still use, let it in again.
    second.stop().await.unwrap();
    std::fs::remove_file(folder.path().join("certificate")).unwrap();
    let again = tokio::time::timeout(
        Duration::from_secs(3),
        in_folder(folder.path()).ticket(ticket.clone()).start(),
    );
    assert!(again.await.is_err(), "nobody answers it");
    let other = bounded(fresh().ticket(ticket).start()).await.unwrap();
    bounded(other.ready()).await.unwrap();
    // Under a new identity it is welcome, and the records that it held are there.
    let fresh_ticket = first.invite(InviteTerms::default()).await.unwrap();
    let back = in_folder(folder.path()).ticket(fresh_ticket).new_identity(true);
    let back = bounded(back.start()).await.unwrap();
    assert!(back.former_identity().is_some());
    bounded(back.ready()).await.unwrap();
}

#[tokio::test]
async fn who_is_on_the_members_list_only_can_be_put_out() {
    let (home, away) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let first = bounded(in_folder(home.path()).network("home").start()).await.unwrap();
    let ticket = first.invite(InviteTerms::default()).await.unwrap();
    let second = bounded(in_folder(away.path()).ticket(ticket).start()).await.unwrap();
    let file = home.path().join("copy");
    first.membership().unwrap().export_key(&file).await.unwrap();
    second.membership().unwrap().import_key(&file).await.unwrap();
    // The third was let in by the second: the first has no certificate of it in its book.
    let third = joined(&second).await;
    let listed = async || {
        let members = first.members().await.unwrap().members;
        members.iter().any(|member| member.peer.contact.public_key == third.public_key())
    };
    until(listed).await;
    // It crashes and is no node's neighbour any more; the list keeps it.
    let (id, key) = (third.node_id(), third.public_key());
    third.stop().await.unwrap();
    let in_table = async || {
        let table = first.ask(potluck::ask::Table {}).await.unwrap();
        table.contacts.iter().any(|view| view.peer.id == id)
    };
    until(async || !in_table().await).await;
    let nobody = first.revoke("0000000000").await;
    assert!(matches!(nobody, Err(Error::Membership(MembershipError::Unknown(_)))), "{nobody:?}");
    let short = first.revoke(&id.to_string()[..7]).await;
    assert!(matches!(short, Err(Error::Membership(MembershipError::TooShort(_)))), "{short:?}");
    assert_eq!(first.revoke(&id.to_string()[..8]).await.unwrap(), key);
    until(async || !listed().await).await;
}

#[tokio::test]
async fn a_ticket_that_is_cancelled_where_it_was_made_is_void_wherever_the_authority_key_is() {
    let (home, away) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let first = bounded(in_folder(home.path()).network("home").start()).await.unwrap();
    let ticket = first.invite(InviteTerms { uses: None, ..InviteTerms::default() }).await.unwrap();
    let second = bounded(in_folder(away.path()).ticket(ticket).start()).await.unwrap();
    bounded(second.ready()).await.unwrap();
    let file = home.path().join("copy");
    first.membership().unwrap().export_key(&file).await.unwrap();
    second.membership().unwrap().import_key(&file).await.unwrap();
    // A ticket that leads to both issuers, the first one first.
    let terms = InviteTerms { uses: None, ..InviteTerms::default() };
    let ticket = second.invite(terms).await.unwrap();
    assert_eq!(ticket.entry_points, [second.contact().into(), first.contact().into()]);
    let id = ticket.grant().unwrap().ticket.to_string();
    let elsewhere = first.cancel_ticket(&id).await;
    let unknown = matches!(elsewhere, Err(Error::Membership(MembershipError::UnknownTicket(_))));
    assert!(unknown, "it was not made there: {elsewhere:?}");
    assert_eq!(second.cancel_ticket(&id[..8]).await.unwrap().to_string(), id);
    let issued = second.stats().await.unwrap().issued.unwrap();
    assert_eq!((issued.tickets, issued.tickets_cancelled), (1, 1));
    let as_member = second.revoke(&id).await;
    assert!(as_member.is_err(), "{as_member:?}");
    until(async || first.stats().await.unwrap().node.link.revocations == 1).await;
    second.stop().await.unwrap();
    let newcomer = bounded(fresh().ticket(ticket).start()).await;
    assert!(matches!(newcomer, Err(Error::Start(StartError::TicketVoid))), "{newcomer:?}");
}

#[tokio::test]
async fn a_revocation_outlives_a_restart() {
    let (home, away) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let first = bounded(in_folder(home.path()).start()).await.unwrap();
    let ticket = first.invite(InviteTerms::default()).await.unwrap();
    let second = bounded(in_folder(away.path()).ticket(ticket).start()).await.unwrap();
    bounded(second.ready()).await.unwrap();
    first.revoke(&second.public_key().to_string()).await.unwrap();
    let file = home.path().join("revoked");
    until(async || file.exists()).await;
    let Contact { address, .. } = first.contact();
    first.stop().await.unwrap();
    let again = Node::builder().data_dir(home.path()).listen(address);
    let again = bounded(again.start()).await.unwrap();
    assert_eq!(again.network().name, first.network().name, "and so does the network");
    // The other one keeps trying, and gets nothing.
    let refused = async || again.stats().await.unwrap().node.link.dropped_not_admitted > 0;
    until(refused).await;
    assert_eq!(peers(&again).await, 0);
    assert_eq!(again.stats().await.unwrap().node.link.revocations, 1);
}

#[tokio::test]
async fn the_authority_key_can_be_carried_to_another_node_and_does_not_leave_by_accident() {
    let (home, away) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let first = bounded(in_folder(home.path()).network("home").start()).await.unwrap();
    let ticket = first.invite(InviteTerms::default()).await.unwrap();
    let second = bounded(in_folder(away.path()).ticket(ticket).start()).await.unwrap();
    let refused = second.invite(InviteTerms::default()).await;
    assert!(matches!(refused, Err(Error::Membership(MembershipError::NotIssuer))), "{refused:?}");

    let file = home.path().join("copy");
    first.membership().unwrap().export_key(&file).await.unwrap();
    assert!(first.membership().unwrap().export_key(&file).await.is_err(), "not written over");
    second.membership().unwrap().import_key(&file).await.unwrap();
    bounded(first.stop()).await.unwrap();
    let third = joined(&second).await;
    assert_eq!(third.network().id, second.network().id);

    let other = founder("home").await;
    assert!(other.membership().unwrap().import_key(&file).await.is_err(), "another network's");
}

#[tokio::test]
async fn a_newcomer_tries_until_its_network_is_there() {
    let home = tempfile::tempdir().unwrap();
    let first = bounded(in_folder(home.path()).start()).await.unwrap();
    let Contact { address, .. } = first.contact();
    let ticket = first.invite(InviteTerms::default()).await.unwrap();
    first.stop().await.unwrap();
    let newcomer = tokio::spawn(fresh().ticket(ticket).start());
    let again = Node::builder().data_dir(home.path()).listen(address);
    let again = bounded(again.start()).await.unwrap();
    let newcomer = bounded(newcomer).await.unwrap().unwrap();
    bounded(newcomer.ready()).await.unwrap();
    until(async || peers(&again).await == 1).await;
}

#[tokio::test]
async fn lab_networks_have_no_tickets() {
    let node = bounded(fresh().network("t").admission(Admission::Lab).start()).await.unwrap();
    let refused = node.invite(InviteTerms::default()).await;
    assert!(matches!(refused, Err(Error::Membership(MembershipError::NotInvite))), "{refused:?}");
    assert!(node.revoke("0123456789").await.is_err());
}

#[tokio::test]
async fn files_go_across_and_calls_find_their_way_again_when_either_side_restarts() {
    let (home, away) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let first = bounded(in_folder(home.path()).start()).await.unwrap();
    let ticket = first.invite(InviteTerms::default()).await.unwrap();
    let second = bounded(in_folder(away.path()).ticket(ticket).start()).await.unwrap();
    bounded(second.ready()).await.unwrap();
    let files = [home.path(), away.path()].map(|folder| folder.join("files"));
    files.iter().for_each(|files| std::fs::create_dir_all(files).unwrap());
    let source = files[0].join("source");
    std::fs::write(&source, vec![7; 300_000]).unwrap();
    let link = bounded(first.files().share(&source)).await.unwrap();
    let got = bounded(second.files().fetch(&link).to(files[1].join("got"))).await.unwrap();
    assert_eq!(std::fs::read(&got.path).unwrap(), vec![7; 300_000]);
    bounded(second.kv().put("one", large())).await.unwrap();

    // The first forgets all members; the second still thinks that it is known there.
    let Contact { address, .. } = first.contact();
    first.stop().await.unwrap();
    let again = Node::builder().data_dir(home.path()).listen(address).sync(false);
    let again = bounded(again.start()).await.unwrap();
    until(async || bounded(second.kv().put("two", large()).quorum(2)).await.is_ok()).await;
    // And the other way round.
    let Contact { address, .. } = second.contact();
    second.stop().await.unwrap();
    let back = Node::builder().data_dir(away.path()).listen(address).sync(false);
    let back = bounded(back.start()).await.unwrap();
    bounded(back.ready()).await.unwrap();
    until(async || bounded(again.kv().put("three", large()).quorum(2)).await.is_ok()).await;
    assert!(matches!(bounded(back.kv().get("two")).await, Ok(Read::Value(_))));
}
