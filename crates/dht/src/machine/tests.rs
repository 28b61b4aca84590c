use std::collections::BTreeMap;

use potluck_base::machine::{check_timer_contract, drain};

use super::*;
use crate::testing::{closest, dht, network, peers};

mod entries;
mod newcomers;
mod refusals;

fn pings(outputs: &[Output]) -> Vec<(QueryId, Contact)> {
    outputs
        .iter()
        .filter_map(|output| match output {
            Output::Query { query, to, purpose: Purpose::Ping, .. } => Some((*query, *to)),
            _ => None,
        })
        .collect()
}

fn answer(query: QueryId, from: Contact, contacts: Vec<Contact>) -> Input {
    Input::Answered { query, from, contacts, rtt: Duration::from_millis(20) }
}

/// Machines that exchange questions and answers at once, in virtual time.
struct Mesh {
    now: Instant,
    nodes: BTreeMap<SocketAddr, Dht>,
    dead: Vec<SocketAddr>,
    finished: Vec<(SocketAddr, LookupId, Vec<Peer>)>,
}

impl Mesh {
    fn new(all: &[Peer]) -> Self {
        let nodes = all
            .iter()
            .enumerate()
            .map(|(seed, peer)| (peer.contact.address, dht(*peer, seed as u64)))
            .collect();
        Self { now: Instant::ZERO, nodes, dead: Vec::new(), finished: Vec::new() }
    }

    fn input(&mut self, at: SocketAddr, input: Input) {
        let now = self.now;
        self.nodes.get_mut(&at).expect("a node of the mesh").handle(now, input);
        self.settle();
    }

    fn settle(&mut self) {
        loop {
            let produced: Vec<(SocketAddr, Output)> = self
                .nodes
                .iter_mut()
                .flat_map(|(at, node)| drain(node).into_iter().map(|output| (*at, output)))
                .collect();
            if produced.is_empty() {
                return;
            }
            for (at, output) in produced {
                self.carry_out(at, output);
            }
        }
    }

    fn carry_out(&mut self, at: SocketAddr, output: Output) {
        let now = self.now;
        let me = self.nodes[&at].me().contact;
        match output {
            Output::Query { query, to, purpose, .. } => {
                let reply = if self.dead.contains(&to.address) {
                    Input::Failed(query)
                } else {
                    let asked = self.nodes.get_mut(&to.address).expect("a node of the mesh");
                    asked.handle(now, Input::Heard(me));
                    let contacts = match purpose {
                        Purpose::Ping => Vec::new(),
                        Purpose::Find { target, count, .. } => asked
                            .named(
                                now,
                                &target,
                                usize::from(count),
                                &me.public_key.node_id(&network()),
                            )
                            .iter()
                            .map(|peer| peer.contact)
                            .collect(),
                    };
                    answer(query, to, contacts)
                };
                self.nodes.get_mut(&at).expect("a node of the mesh").handle(now, reply);
            }
            Output::Finished { lookup, closest, .. } => self.finished.push((at, lookup, closest)),
            _ => {}
        }
    }

    fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        loop {
            let next = self
                .nodes
                .iter()
                .filter(|(at, _)| !self.dead.contains(at))
                .filter_map(|(at, node)| node.poll_timeout().map(|deadline| (deadline.at, *at)))
                .min();
            let Some((when, at)) = next.filter(|(when, _)| *when <= end) else { break };
            self.now = when.max(self.now);
            self.input(at, Input::Timeout);
        }
        self.now = end;
    }
}

fn joined_mesh(count: usize) -> (Vec<Peer>, Mesh) {
    let all = peers(21, count);
    let mut mesh = Mesh::new(&all);
    for peer in &all[1..] {
        mesh.input(peer.contact.address, Input::Join(EntryPoint::Contact(all[0].contact)));
        mesh.run(Duration::from_millis(50));
    }
    mesh.run(Duration::from_secs(70));
    (all, mesh)
}

#[test]
fn lookups_in_a_joined_network_find_the_true_closest() {
    let (all, mut mesh) = joined_mesh(80);
    let mut rng = Rng::from_number(5);
    for number in 0..40 {
        let target = Key::from_bytes(rng.bytes());
        let from = all[rng.below(80) as usize];
        let others: Vec<Peer> = all.iter().filter(|peer| **peer != from).copied().collect();
        let id = LookupId::records(number);
        let input = Input::Lookup {
            id,
            target,
            want: Want::Nothing,
            goal: 16,
            why: "test",
            waits: true,
            doubt: false,
        };
        mesh.input(from.contact.address, input);
        let (_, _, found) = mesh.finished.pop().expect("it ends at once");
        assert_eq!(found[..16], closest(&others, &target, 16)[..]);
    }
}

#[test]
fn the_dead_are_noticed_within_the_heartbeats_and_leave_the_table() {
    let (all, mut mesh) = joined_mesh(40);
    let victim = all[7];
    mesh.dead.push(victim.contact.address);
    mesh.run(Config::default().heartbeat_interval * 2);
    for (at, node) in &mesh.nodes {
        let knows = node.close_group().any(|peer| *peer == victim);
        assert!(!knows || *at == victim.contact.address, "{at} still counts the dead one in");
    }
}

#[test]
fn deadlines_keep_the_timer_contract() {
    let all = peers(1, 30);
    let mut node = dht(all[0], 1);
    for peer in &all[1..] {
        node.handle(Instant::ZERO, Input::Join(EntryPoint::Contact(peer.contact)));
    }
    let mut now = Instant::ZERO;
    for _ in 0..500 {
        let (woken, outputs) =
            check_timer_contract(&mut node, now, || Input::Timeout).expect("always a deadline");
        now = woken;
        // Every second ping is answered, so that contacts, lookups and failures all take part.
        for (query, to) in pings(&outputs) {
            let input =
                if query.0 % 2 == 0 { answer(query, to, Vec::new()) } else { Input::Failed(query) };
            node.handle(now, input);
        }
        for output in drain(&mut node) {
            if let Output::Query { query, to, .. } = output
                && query.0 % 3 == 0
            {
                node.handle(now, answer(query, to, vec![all[9].contact]));
            }
        }
        drain(&mut node);
    }
}

#[test]
fn entry_points_are_tried_for_ever_with_growing_pauses() {
    let all = peers(2, 2);
    let mut node = dht(all[0], 1);
    node.handle(Instant::ZERO, Input::Join(EntryPoint::Contact(all[1].contact)));
    let (mut now, mut tried) = (Instant::ZERO, Vec::new());
    while now < Instant::ZERO + Duration::from_secs(3600) {
        now = now.max(node.poll_timeout().expect("armed").at);
        node.handle(now, Input::Timeout);
        for (query, to) in pings(&drain(&mut node)) {
            assert_eq!(to, all[1].contact);
            tried.push(now);
            node.handle(now, Input::Failed(query));
        }
    }
    let longest = Config::default().entry_backoff_max.mul_f64(1.3);
    assert!(tried.len() > 90, "tried {} times in an hour", tried.len());
    assert!(tried.windows(2).all(|pair| pair[1].since(pair[0]) <= longest));
}

#[test]
fn what_an_answer_names_is_no_contact_before_it_answered_itself() {
    let all = peers(3, 3);
    let mut node = dht(all[0], 1);
    node.handle(Instant::ZERO, Input::Join(EntryPoint::Contact(all[1].contact)));
    node.handle(Instant::ZERO, Input::Timeout);
    let (query, to) = pings(&drain(&mut node))[0];
    node.handle(Instant::ZERO, answer(query, to, Vec::new()));
    let find = drain(&mut node)
        .into_iter()
        .find_map(|output| match output {
            Output::Query { query, purpose: Purpose::Find { .. }, .. } => Some(query),
            _ => None,
        })
        .expect("the neighbourhood is looked up");
    node.handle(Instant::ZERO, answer(find, all[1].contact, vec![all[2].contact]));
    assert_eq!(node.members_known(), 2, "only the one that answered");
    let asked: Vec<Contact> = drain(&mut node)
        .into_iter()
        .filter_map(|output| match output {
            Output::Query { to, .. } => Some(to),
            _ => None,
        })
        .collect();
    assert_eq!(asked, [all[2].contact]);
}

#[test]
fn a_stranger_that_calls_is_pinged_first() {
    let all = peers(4, 2);
    let mut node = dht(all[0], 1);
    node.handle(Instant::ZERO, Input::Heard(all[1].contact));
    let (query, to) = pings(&drain(&mut node))[0];
    assert_eq!((to, node.members_known()), (all[1].contact, 1));
    node.handle(Instant::ZERO, answer(query, to, Vec::new()));
    assert_eq!(node.members_known(), 2);
}

#[test]
fn a_node_that_hears_nobody_drops_nobody_at_once() {
    let all = peers(5, 10);
    let mut node = dht(all[0], 1);
    for peer in &all[1..] {
        node.handle(Instant::ZERO, Input::Heard(peer.contact));
    }
    for (query, to) in pings(&drain(&mut node)) {
        node.handle(Instant::ZERO, answer(query, to, Vec::new()));
    }
    drain(&mut node);
    assert_eq!(node.members_known(), 10);
    // The cable is out: nothing is answered any more.
    let later = Instant::ZERO + Duration::from_secs(40);
    node.handle(later, Input::Timeout);
    for (query, _) in pings(&drain(&mut node)) {
        node.handle(later, Input::Failed(query));
    }
    assert_eq!(node.members_known(), 10);
    assert!(node.is_offline(later));
}

#[test]
fn what_this_node_could_not_send_is_nobodys_silence() {
    let all = peers(8, 2);
    let mut node = dht(all[0], 1);
    node.handle(Instant::ZERO, Input::Heard(all[1].contact));
    let (query, to) = pings(&drain(&mut node))[0];
    node.handle(Instant::ZERO, answer(query, to, Vec::new()));
    drain(&mut node);
    let mut now = Instant::ZERO;
    let mut unsent = 0;
    while unsent < 20 {
        now = now.max(node.poll_timeout().expect("armed").at);
        node.handle(now, Input::Timeout);
        for output in drain(&mut node) {
            if let Output::Query { query, .. } = output {
                node.handle(now, Input::Unsent(query));
                unsent += 1;
            }
        }
    }
    assert_eq!(node.members_known(), 2);
    assert!(!node.is_suspect(&all[1].id));
}

#[test]
fn private_addresses_are_refused_outside_a_lab() {
    let all = peers(6, 3);
    let config = Config { private_addresses: false, ..Config::default() };
    let mut node = Dht::new(network(), all[0].contact, config, Rng::from_number(1));
    node.handle(Instant::ZERO, Input::Heard(all[1].contact));
    assert!(pings(&drain(&mut node)).is_empty());
}

#[test]
fn too_many_lookups_are_refused_not_queued() {
    let all = peers(7, 2);
    let config = Config { lookups_max: 2, ..Config::default() };
    let mut node = Dht::new(network(), all[0].contact, config, Rng::from_number(1));
    node.handle(Instant::ZERO, Input::Heard(all[1].contact));
    let (query, to) = pings(&drain(&mut node))[0];
    node.handle(Instant::ZERO, answer(query, to, Vec::new()));
    for number in 0..3 {
        let target = Key::from_bytes([number; 32]);
        let id = LookupId::records(u64::from(number));
        node.handle(
            Instant::ZERO,
            Input::Lookup {
                id,
                target,
                want: Want::Nothing,
                goal: 3,
                why: "test",
                waits: true,
                doubt: false,
            },
        );
    }
    assert!(drain(&mut node).contains(&Output::Refused(LookupId::records(2))));
}

#[test]
fn a_contact_is_checked_the_more_seldom_the_longer_it_is_known() {
    let all = peers(4, 2);
    let mut node = dht(all[0], 1);
    node.watched = true;
    let start = Instant::ZERO + Duration::from_secs(10);
    node.admit(start, all[1], None);
    let pauses = [0, 60, 400, 3_000].map(|age| {
        let now = start + Duration::from_secs(age);
        node.schedule_check(now, &all[1].id);
        node.table.entry(&all[1].id).expect("admitted").check_at().since(now).as_secs()
    });
    // Within a quarter of 120, 120, 400 and at most 600 seconds.
    let expected = [90..=150, 90..=150, 300..=500, 450..=750];
    for (pause, range) in pauses.iter().zip(expected) {
        assert!(range.contains(pause), "{pauses:?}");
    }
}

#[test]
fn only_the_nearest_that_come_or_go_have_the_neighbourhood_looked_up_sooner() {
    let mut all = peers(4, 60);
    let me = all.remove(0);
    all.sort_by_key(|peer| me.id.distance(&peer.id.into()));
    let mut node = dht(me, 1);
    let last = all.remove(40);
    let near = all.remove(15);
    let pause = node.config.refresh_interval * contacts::QUIET_FACTOR;
    let mut waits = |act: &mut dyn FnMut(&mut Dht)| {
        node.refresh_pause = pause;
        node.refresh_at = Instant::ZERO + pause;
        act(&mut node);
        node.refresh_at.since(Instant::ZERO) == pause
    };
    for peer in &all {
        waits(&mut |node| node.admit(Instant::ZERO, *peer, None));
    }
    assert!(waits(&mut |node| node.admit(Instant::ZERO, last, None)));
    assert!(waits(&mut |node| node.drop_contact(Instant::ZERO, &last.id)));
    assert!(!waits(&mut |node| node.admit(Instant::ZERO, near, None)));
    assert!(!waits(&mut |node| node.drop_contact(Instant::ZERO, &all[0].id)));
}

#[test]
fn a_quiet_neighbourhood_is_looked_up_every_other_time() {
    let all = peers(4, 2);
    let mut node = dht(all[0], 1);
    node.admit(Instant::ZERO, all[1], None);
    let mut refresh = || {
        let before = node.next_own_lookup;
        node.refresh(Instant::ZERO);
        (node.next_own_lookup - before, node.refresh_self)
    };
    // The first finds members of the close group that are new; then a bucket and the neighbourhood
    // take turns.
    let lookups = [(); 5].map(|()| refresh());
    assert_eq!(lookups, [(2, true), (1, false), (1, true), (1, false), (1, true)]);
    node.refresh_soon(Instant::ZERO);
    let before = node.next_own_lookup;
    node.refresh(Instant::ZERO);
    assert_eq!(node.next_own_lookup - before, 2, "the close group changed");
}

#[test]
fn an_entry_point_of_the_last_run_is_tried_for_ever_if_it_is_named_and_awaited_for_a_while() {
    let all = peers(9, 6);
    let mut node = dht(all[0], 1);
    let contact = |index: usize| all[index].contact;
    node.handle(Instant::ZERO, Input::Remembered(vec![contact(1), contact(2)]));
    assert_eq!((node.remembered(), node.entry_points().len()), (2, 0));
    node.handle(Instant::ZERO, Input::Join(EntryPoint::Contact(contact(1))));
    let named = node.entry_points();
    assert_eq!((node.remembered(), named.len(), named[0].awaited), (2, 1, false));
    let later = Instant::ZERO + REMEMBERED_TIMEOUT;
    assert!(node.expects_others(Instant::ZERO) && !node.expects_others(later));
    // With three others only the one that is named is tried again.
    for other in 3..6 {
        node.handle(Instant::ZERO, Input::Heard(contact(other)));
    }
    for (query, to) in pings(&drain(&mut node)) {
        node.handle(Instant::ZERO, answer(query, to, Vec::new()));
    }
    drain(&mut node);
    node.handle(later, Input::Timeout);
    let asked: Vec<Contact> = pings(&drain(&mut node)).into_iter().map(|(_, to)| to).collect();
    assert!(asked.contains(&contact(1)) && !asked.contains(&contact(2)), "{asked:?}");
}

#[test]
fn it_is_known_which_entry_points_were_tried_and_which_have_answered() {
    let all = peers(10, 3);
    let mut node = dht(all[0], 1);
    let (silent, named) = (all[1].contact, all[2].contact);
    let name = "seed.example:7";
    for point in [EntryPoint::Contact(silent), EntryPoint::Name(name.into())] {
        node.handle(Instant::ZERO, Input::Join(point));
    }
    let seen = |node: &Dht| -> Vec<(u32, bool)> {
        node.entry_points().iter().map(|entry| (entry.tries, entry.answered)).collect()
    };
    assert_eq!(seen(&node), [(0, false), (0, false)]);
    node.handle(Instant::ZERO, Input::Timeout);
    assert_eq!(seen(&node), [(1, false), (1, false)]);
    let addresses = vec![named.address];
    node.handle(
        Instant::ZERO,
        Input::Resolved { name: name.into(), addresses: vec![addresses.clone()] },
    );
    assert_eq!(node.entry_points()[1].addresses, addresses);
    node.handle(Instant::ZERO, Input::Greeted { address: named.address, contact: named });
    assert_eq!(seen(&node), [(1, false), (1, true)]);
    // What is in the table needs no try.
    let (query, to) =
        pings(&drain(&mut node)).into_iter().find(|(_, to)| *to == silent).expect("asked");
    node.handle(Instant::ZERO, answer(query, to, Vec::new()));
    assert_eq!(seen(&node), [(1, true), (1, true)]);
}
