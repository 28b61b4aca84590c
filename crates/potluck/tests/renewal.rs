//! Certificates of running members: renewed in time, and what is said when they cannot be.
//!
//! The clocks are the real ones; the certificates are aged, signed with the network's own key.

mod common;

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, SystemTime};

use common::until;
use potluck::{Contact, Identity, InviteTerms, MemberState, Node, Read, UnixMillis};
use potluck_wire::Certificate;

/// The result, which must come in time.
async fn bounded<T>(future: impl IntoFuture<Output = T>) -> T {
    common::bounded(future.into_future()).await
}

fn now() -> UnixMillis {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    UnixMillis(u64::try_from(since.as_millis()).expect("a small number"))
}

fn in_folder(folder: &Path, listen: SocketAddr) -> potluck::Builder {
    Node::builder().data_dir(folder).listen(listen).sync(false)
}

fn loopback() -> SocketAddr {
    ([127, 0, 0, 1], 0).into()
}

/// A new network in this folder, and its authority key.
async fn founded(folder: &Path) -> (Node, Identity) {
    let node = bounded(in_folder(folder, loopback()).start()).await.expect("it works");
    let file = folder.join("copy-of-the-key");
    node.membership().expect("invite").export_key(&file).await.expect("it works");
    let text = std::fs::read_to_string(file).expect("it is there");
    let seed = text.lines().find_map(|line| line.strip_prefix("seed ")).expect("a seed");
    let byte = |at: usize| u8::from_str_radix(&seed[2 * at..2 * at + 2], 16).expect("hex");
    (node, Identity::from_seed(std::array::from_fn(byte)))
}

async fn invited(founder: &Node, folder: &Path) -> Node {
    let ticket = founder.invite(InviteTerms::default()).await.expect("it works");
    let node = in_folder(folder, loopback()).ticket(ticket).start();
    let node = bounded(node).await.expect("it works");
    bounded(node.ready()).await.expect("it works");
    node
}

/// Stops a member and puts a certificate of this age and remaining life in the place of its own.
async fn aged(node: Node, authority: &Identity, age: Duration, left: Duration) {
    let (folder, network) = (node.data_dir().to_owned(), node.network().id);
    let now = now();
    let certificate = Certificate {
        subject: node.public_key(),
        labels: Vec::new(),
        serial: 7,
        issued: UnixMillis(now.0 - age.as_millis() as u64),
        expires: UnixMillis(now.0 + left.as_millis() as u64),
        ephemeral: false,
        salt: None,
        ticket: None,
    };
    node.stop().await.expect("it works");
    let bytes = certificate.sign(authority, &network).expect("small");
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    std::fs::write(folder.join("certificate"), format!("potluck proofs 1\n{hex}\n"))
        .expect("it works");
}

fn expires(node: &Node) -> UnixMillis {
    node.membership().expect("invite").expires()
}

async fn reasons(node: &Node) -> Vec<String> {
    node.status().await.expect("it works").health.sentences()
}

#[tokio::test]
async fn a_running_member_gets_a_new_certificate_and_stays_when_the_old_one_has_expired() {
    let (home, away) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (first, authority) = founded(home.path()).await;
    let third_folder = tempfile::tempdir().unwrap();
    let third = invited(&first, third_folder.path()).await;
    let second = invited(&first, away.path()).await;
    let key = second.public_key();
    // Its half-life comes three seconds from now, while it runs.
    aged(second, &authority, Duration::from_secs(10), Duration::from_secs(16)).await;
    let second = bounded(in_folder(away.path(), loopback()).start()).await.unwrap();
    bounded(second.ready()).await.unwrap();
    let old = expires(&second);
    assert!(old.0 < now().0 + 17_000, "it is the aged one");
    bounded(second.kv().put("before", "small").quorum(3)).await.unwrap();

    until(async || (expires(&second) > old).then_some(())).await;
    assert!(expires(&second).0 > now().0 + 364 * 24 * 60 * 60 * 1000, "a year, as a new one");
    assert!(now() < old, "in time");
    // The old one runs out; no peer notices, by datagrams, calls or the members list.
    until(async || (now() > old).then_some(())).await;
    let large: Vec<u8> = (0..30_000_u32).map(|index| index as u8).collect();
    until(async || {
        let put = bounded(second.kv().put("after", large.clone()).quorum(3)).await;
        put.is_ok().then_some(())
    })
    .await;
    let read = bounded(first.kv().get("after")).await;
    assert!(matches!(read, Ok(Read::Value(value)) if value.bytes().len() == 30_000));
    let alive = async |node: &Node| {
        let members = node.members().await.unwrap().members;
        let member = members.iter().find(|member| member.peer.contact.public_key == key);
        member.is_some_and(|member| member.state == MemberState::Alive)
    };
    until(async || (alive(&first).await && alive(&third).await).then_some(())).await;
    assert_eq!(reasons(&second).await, Vec::<String>::new());

    // It was kept: no ticket is needed from now on either.
    let new = expires(&second);
    second.stop().await.unwrap();
    let again = bounded(in_folder(away.path(), loopback()).start()).await.unwrap();
    assert_eq!(expires(&again), new);
}

#[tokio::test]
async fn the_holder_of_the_authority_key_renews_its_own_certificate() {
    let home = tempfile::tempdir().unwrap();
    let (first, authority) = founded(home.path()).await;
    let day = Duration::from_secs(24 * 60 * 60);
    aged(first, &authority, 200 * day, 100 * day).await;
    let first = bounded(in_folder(home.path(), loopback()).start()).await.unwrap();
    let year = now().0 + 364 * 24 * 60 * 60 * 1000;
    until(async || (expires(&first).0 > year).then_some(())).await;
    assert_eq!(reasons(&first).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_member_says_that_its_issuer_is_away_and_is_renewed_when_it_comes_back() {
    let (home, away) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (first, authority) = founded(home.path()).await;
    let second = invited(&first, away.path()).await;
    let Contact { address, .. } = first.contact();
    first.stop().await.unwrap();
    let hour = Duration::from_secs(60 * 60);
    aged(second, &authority, 20 * hour, 4 * hour + hour / 2).await;
    let second = bounded(in_folder(away.path(), loopback()).start()).await.unwrap();
    let old = expires(&second);
    let says = async || {
        let reasons = reasons(&second).await;
        reasons.into_iter().find(|reason| reason.contains("certificate"))
    };
    let said = until(says).await;
    assert!(said.contains("expires in 4 hours") && said.contains("authority key"), "{said}");
    assert_eq!(expires(&second), old);

    let first = bounded(in_folder(home.path(), address).start()).await.unwrap();
    until(async || (expires(&second) > old).then_some(())).await;
    until(async || says().await.is_none().then_some(())).await;
    bounded(second.ready()).await.unwrap();
    bounded(first.kv().put("together", "again").quorum(2)).await.unwrap();
}
