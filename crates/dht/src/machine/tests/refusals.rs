//! What the machine refuses, from both sides of each rule, and what its gauges say.

use super::*;
use crate::entry_points::{EntryPoints, Origin};
use crate::probes::{Probe, Probes, Reason};
use crate::routing_table::RoutingTable;

fn moved(peer: Peer, address: &str) -> Peer {
    let address = address.parse().expect("an address");
    Contact { address, ..peer.contact }.in_network(&network())
}

#[test]
fn a_contact_is_acceptable_if_packets_can_be_sent_to_it() {
    let me = peers(9, 1)[0];
    let lab = dht(me, 1);
    let config = Config { private_addresses: false, ..Config::default() };
    let open = Dht::new(network(), me.contact, config, Rng::from_number(1));
    for (address, in_a_lab, in_public) in [
        ("203.0.113.7:4000", true, true),
        ("[2001:db8::7]:4000", true, true),
        ("203.0.113.7:0", false, false),
        ("0.0.0.0:4000", false, false),
        ("[::]:4000", false, false),
        ("224.0.0.1:4000", false, false),
        ("[ff02::1]:4000", false, false),
        ("10.0.0.1:4000", true, false),
        ("192.168.7.7:4000", true, false),
        ("127.0.0.1:4000", true, false),
        ("169.254.0.1:4000", true, false),
        ("255.255.255.255:4000", false, false),
        ("[::1]:4000", true, false),
        ("[fd00::1]:4000", true, false),
        ("[fe80::1]:4000", false, false),
        ("100.64.0.1:4000", true, false),
        ("[::ffff:10.0.0.1]:4000", true, false),
    ] {
        let contact = moved(me, address).contact;
        let found = (lab.is_acceptable(&contact), open.is_acceptable(&contact));
        assert_eq!(found, (in_a_lab, in_public), "{address}");
    }
}

#[test]
fn neither_this_node_itself_nor_a_bad_address_gets_into_the_table() {
    let all = peers(10, 2);
    let mut node = dht(all[0], 1);
    node.admit(Instant::ZERO, all[0], None);
    node.admit(Instant::ZERO, moved(all[1], "0.0.0.0:4000"), None);
    assert_eq!((node.members_known(), node.stats().contacts), (1, 0));
    node.admit(Instant::ZERO, all[1], None);
    assert_eq!((node.members_known(), node.stats().contacts), (2, 1));
}

#[test]
fn gauges_say_what_there_is() {
    let all = peers(11, 400);
    let config = Config { table_capacity: 64, ..Config::default() };
    let mut node = Dht::new(network(), all[0].contact, config.clone(), Rng::from_number(1));
    assert_eq!(node.stats(), Stats { capacity: 64, ..Stats::default() });
    for peer in &all[1..] {
        node.admit(Instant::ZERO, *peer, None);
    }
    let stats = node.stats();
    assert_eq!((stats.contacts, stats.capacity), (64, 64));
    assert_eq!(stats.siblings, config.close_group_size);
    assert!(stats.contacts_evicted > 0);
    drain(&mut node);
    let before = node.stats().lookups_active;
    let (id, target) = (LookupId::records(7), Key::from_bytes([7; 32]));
    let lookup = Input::Lookup {
        id,
        target,
        want: Want::Nothing,
        goal: 16,
        why: "test",
        waits: true,
        doubt: false,
    };
    node.handle(Instant::ZERO, lookup);
    assert_eq!(node.stats().lookups_active, before + 1);
}

#[test]
fn who_did_not_answer_is_named_to_nobody_and_checked_at_once() {
    let all = peers(12, 3);
    let mut node = dht(all[0], 1);
    for peer in &all[1..] {
        node.admit(Instant::ZERO, *peer, None);
    }
    drain(&mut node);
    let now = Instant::from_micros(10);
    assert!(!node.is_suspect(&all[1].id));
    node.suspect(now, &all[1].id);
    assert!(node.is_suspect(&all[1].id) && !node.is_suspect(&all[2].id));
    let named = node.closest(&all[1].id.into(), 2);
    assert!(!named.contains(&all[1]) && named.contains(&all[2]), "{named:?}");
    let soon = now + Duration::from_millis(1);
    assert!(node.poll_timeout().is_some_and(|deadline| deadline.at <= soon));
    node.handle(soon, Input::Timeout);
    let asked: Vec<Contact> = pings(&drain(&mut node)).into_iter().map(|(_, to)| to).collect();
    assert!(asked.contains(&all[1].contact), "{asked:?}");
}

#[test]
fn traffic_from_another_address_is_no_heartbeat_of_a_contact() {
    let all = peers(13, 2);
    let mut node = dht(all[0], 1);
    node.admit(Instant::ZERO, all[1], None);
    drain(&mut node);
    let later = Instant::from_micros(5_000_000);
    let elsewhere = moved(all[1], "203.0.113.9:4000");
    node.handle(later, Input::Heard(elsewhere.contact));
    let entry = node.table.entry(&all[1].id).expect("it is known");
    assert_eq!((entry.peer, entry.last_heard), (all[1], Instant::ZERO), "nothing is proved yet");
    let asked: Vec<Contact> = pings(&drain(&mut node)).into_iter().map(|(_, to)| to).collect();
    assert_eq!(asked, [elsewhere.contact], "it has to prove that it moved");
    node.handle(later, Input::Heard(all[1].contact));
    assert_eq!(node.table.entry(&all[1].id).map(|entry| entry.last_heard), Some(later));
}

#[test]
fn a_newcomer_stands_in_line_once() {
    let all = peers(14, 3);
    let mut probes = Probes::new();
    probes.enqueue(all[0]);
    probes.enqueue(all[0]);
    probes.enqueue(all[1]);
    let probe = Probe { peer: all[2], reason: Reason::Check, sent: Instant::ZERO };
    probes.sent(QueryId(1), probe);
    probes.enqueue(all[2]);
    let line: Vec<Peer> = std::iter::from_fn(|| probes.next_proof()).collect();
    assert_eq!(line, all[..2], "who is pinged already is not in line");
}

#[test]
fn remembered_contacts_are_tried_by_a_node_that_has_nearly_nobody() {
    let all = peers(15, 6);
    let table = |known: &[Peer]| {
        let mut table = RoutingTable::new(all[0].id, 16, 48, 1024);
        for peer in known {
            let _ = table.admit(Instant::ZERO, *peer, None);
        }
        table
    };
    let due = |remembered: bool, known: &[Peer]| {
        let (least, most) = (Duration::from_secs(1), Duration::from_secs(30));
        let mut points = EntryPoints::new(least, most, Rng::from_number(1));
        let origin = if remembered { Origin::Remembered } else { Origin::Named };
        points.add(Instant::ZERO, EntryPoint::Contact(all[5].contact), origin);
        points.due(Instant::ZERO, &network(), &table(known)).points.len()
    };
    assert_eq!([due(true, &all[1..3]), due(true, &all[1..4])], [1, 0]);
    assert_eq!([due(false, &all[1..3]), due(false, &all[1..4])], [1, 1], "named ones always");
    assert_eq!([due(true, &all[5..]), due(false, &all[5..])], [0, 0], "it is in the table");
}

#[test]
fn only_a_member_of_the_close_group_that_moved_is_a_change_of_it() {
    let all = peers(16, 120);
    let mut table = RoutingTable::new(all[0].id, 16, 48, 1024);
    for peer in &all[1..] {
        let _ = table.admit(Instant::ZERO, *peer, None);
    }
    let member = *table.close_group().next().expect("the close group has members");
    let far = all[1..]
        .iter()
        .find(|peer| table.entry(&peer.id).is_some() && !table.is_in_close_group(&peer.id))
        .copied()
        .expect("not all contacts are in the close group");
    assert!(table.admit(Instant::ZERO, member, None).is_empty(), "it is where it was");
    let elsewhere = moved(far, "203.0.113.9:4000");
    assert!(table.admit(Instant::ZERO, elsewhere, None).is_empty(), "not in the close group");
    let elsewhere = moved(member, "203.0.113.9:4000");
    let change = table.admit(Instant::ZERO, elsewhere, None);
    assert_eq!((change.joined, change.left), (vec![elsewhere], vec![member]));
}

/// Lookups in which the only contact names 17 invented nodes at one address, 100 ms apart. Gives the
/// requests to that address.
fn requests_to_a_bystander(defended: bool, lookups: u64) -> usize {
    let all = peers(9, 2);
    let (me, liar) = (all[0], all[1]);
    let mut config = Config::default();
    config.defences.capped_contacts = defended;
    let mut dht = Dht::new(network(), me.contact, config, Rng::from_number(1));
    let mut now = Instant::ZERO;
    dht.acquaint(now, &[liar.contact]);
    let bystander: SocketAddr = "93.184.216.34:9".parse().expect("an address");
    let mut invented = peers(10, 17 * lookups as usize).into_iter();
    let mut requests = 0;
    for number in 0..lookups {
        now += Duration::from_millis(100);
        let id = LookupId::records(number);
        let (target, want) = (Key::from_bytes([number as u8; 32]), Want::Nothing);
        dht.handle(
            now,
            Input::Lookup { id, target, want, goal: 16, why: "test", waits: false, doubt: false },
        );
        loop {
            let mut inputs = Vec::new();
            for output in drain(&mut dht) {
                let Output::Query { query, to, purpose, .. } = output else { continue };
                let of_liar = to.address == liar.contact.address;
                requests += usize::from(to.address == bystander);
                inputs.push(match purpose {
                    Purpose::Find { .. } if of_liar => {
                        let contacts = invented.by_ref().take(17);
                        let at_bystander =
                            contacts.map(|peer| Contact { address: bystander, ..peer.contact });
                        answer(query, to, at_bystander.collect())
                    }
                    _ if of_liar => answer(query, to, Vec::new()),
                    _ => Input::Failed(query),
                });
            }
            if inputs.is_empty() {
                break;
            }
            inputs.into_iter().for_each(|input| dht.handle(now, input));
        }
    }
    requests
}

#[test]
fn an_answer_with_many_contacts_at_one_address_causes_few_requests_to_it() {
    assert!(requests_to_a_bystander(false, 40) >= 600, "what it was without the defence");
    let requests = requests_to_a_bystander(true, 40);
    assert!((1..=3).contains(&requests), "{requests} requests in 40 lookups of four seconds");
}
