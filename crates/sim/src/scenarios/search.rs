//! Files are found by their names: one that a single node has, among thousands, and also while a member
//! floods the network with searches.

use std::time::Duration;

use potluck_base::BlobId;
use potluck_gossip::FoundFile;
use potluck_gossip::message::TopicName;
use potluck_node::{Command, Reply};
use potluck_wire::search::{QueryId, RINGS_MAX, STEPS_MAX, WALKERS_MAX};
use potluck_wire::{InTopic, Request, SearchRequest, TopicRequest};

use crate::batch::Batch;
use crate::check::{Check, bounds};
use crate::hostile::Replica;
use crate::report::Value;
use crate::scenario::{Run, STABILISATION, Scenario};
use crate::sim_node::NodeIndex;
use crate::world::{HostileIndex, Traffic, World};

pub(super) const SEARCH: Scenario = Scenario {
    name: "search",
    about: "each of 20 names is shared by one node; searches from elsewhere find it in 3 s",
    nodes: 300,
    nodes_min: 30,
    minutes: 1,
    must_fail: false,
    play: play_search,
};

pub(super) const SEARCH_FLOOD: Scenario = Scenario {
    name: "search-flood",
    about: "a hostile neighbour floods the network with searches; others find as before",
    nodes: 200,
    nodes_min: 30,
    minutes: 1,
    must_fail: false,
    play: play_flood,
};

/// Names that one node has each.
const RARE: usize = 20;
/// Other names that every node shares.
const PLAIN: usize = 10;
/// Longest time that a search may take.
const TIME: Duration = Duration::from_secs(3);
/// The share of the rare names that must be found: the walkers are made for nineteen of twenty.
const FOUND: f64 = 0.9;
/// Neighbours of the hostile member, and what it sends each of them in a second.
const VICTIMS: usize = 6;
const FLOOD_PER_SECOND: u32 = 100;
/// Interval at which it requests its lost links again.
const RELINK: u32 = 3;

/// The results of ordinary searches.
#[derive(Debug, Default)]
struct Searches {
    asked: usize,
    found: usize,
    times: Vec<Duration>,
    rings: [usize; 6],
    late: Vec<String>,
}

fn form(run: &mut Run) -> (World, Vec<NodeIndex>) {
    let mut world = World::new(run.config());
    let mut nodes = run.form(&mut world);
    run.rng.shuffle(&mut nodes);
    for (number, node) in nodes.iter().enumerate() {
        let mut names: Vec<FoundFile> =
            (0..PLAIN).map(|of| file(format!("holiday {} {of}.jpg", number * PLAIN))).collect();
        if number < 2 * RARE {
            names.push(file(format!("Rarity{number:03} of the archive.pdf")));
        }
        world.share_names(*node, names);
    }
    // Neighbours send each other their filters when the link is made, and every few minutes.
    world.run_for(STABILISATION);
    (world, nodes)
}

fn file(name: String) -> FoundFile {
    let root = BlobId::from_bytes(*blake3::hash(name.as_bytes()).as_bytes());
    FoundFile { name, root, bytes: 1_000, folder: false, holder: None }
}

/// Searches for the rare names from this number on, each from a node that does not share the name.
fn search(run: &mut Run, world: &mut World, nodes: &[NodeIndex], from: usize) -> Searches {
    let seekers = &nodes[2 * RARE.min(nodes.len() / 4)..];
    let mut searches = Searches::default();
    let batch = Batch { in_flight: 2, bound: RARE as u32 * 2 * TIME };
    let first = run.rng.below(seekers.len() as u64) as usize;
    let outcomes = batch.run(world, RARE, |_, number| {
        let words = vec![format!("rarity{:03}", from + number), "archive".to_owned()];
        (seekers[(first + number) % seekers.len()], Command::Search { words })
    });
    for (number, outcome) in outcomes.into_iter().enumerate() {
        searches.asked += 1;
        let Some(outcome) = outcome else {
            searches.late.push(format!("rarity{:03} was never answered", from + number));
            continue;
        };
        if outcome.took() > TIME {
            searches.late.push(format!("rarity{:03} took {:?}", from + number, outcome.took()));
        }
        searches.times.push(outcome.took());
        if let Some(Reply::Found { files, rings }) = outcome.reply {
            let holder = world.node(nodes[from + number]).peer.contact.public_key;
            searches.found += usize::from(files.iter().any(|file| file.holder == Some(holder)));
            searches.rings[usize::from(rings).min(5)] += 1;
        }
    }
    searches
}

fn report(run: &mut Run, when: &str, searches: &Searches) {
    run.figure(format!("{when}: rare names found"), Value::share(searches.found, searches.asked));
    run.figure(format!("{when}: time of a search"), Value::times(searches.times.clone()));
    for (ring, count) in searches.rings.iter().enumerate().filter(|(_, count)| **count > 0) {
        run.figure(format!("{when}: ended with ring {ring} (5: walkers)"), Value::count(*count));
    }
}

fn check(run: &mut Run, names: [&'static str; 2], searches: &Searches) {
    run.check(Check::share(names[0], searches.found, searches.asked, FOUND));
    run.check(Check::none_of(names[1], searches.asked, &searches.late));
}

fn play_search(run: &mut Run) -> World {
    let (mut world, nodes) = form(run);
    let before = messages(&mut world);
    let searches = search(run, &mut world, &nodes, 0);
    report(run, "search", &searches);
    let sent = messages(&mut world) - before;
    let each = sent as f64 / searches.asked as f64;
    run.figure("messages of a search", Value::Number(each));
    check(run, ["rare names are found", "a search ends within 3 s"], &searches);
    world
}

/// Searches, walkers and hits sent by all nodes so far.
fn messages(world: &mut World) -> u64 {
    let stats = bounds::stats(world).into_iter().map(|(_, stats)| stats.gossip.search);
    stats.map(|search| search.queries_sent + search.walks_sent + search.hits_sent).sum()
}

// --- the flood ---

fn play_flood(run: &mut Run) -> World {
    let (mut world, nodes) = form(run);
    let calm = search(run, &mut world, &nodes, 0);
    report(run, "before", &calm);

    let flooder = world.hostile();
    // It serves its neighbours as an honest node does, so that it keeps its links.
    world.hostile_manners(flooder, Replica::new());
    let seconds = run.length().as_secs() as u32;
    let (sent, took) = (messages(&mut world), traffic(&world, &nodes));
    let victims = nodes[nodes.len() - VICTIMS..].to_vec();
    flood(run, &mut world, flooder, &victims, seconds);
    let spread = messages(&mut world) - sent;
    let bytes = took.iter().zip(traffic(&world, &nodes)).map(|(before, after)| {
        let since = after.since(before);
        since.all_in() as f64 / f64::from(seconds)
    });
    let most = bytes.fold(0.0, f64::max);
    let stats = world.hostile_stats(flooder);
    run.figure("searches of the flooder", Value::count(stats.asked as usize));
    run.figure("of these, refused", Value::count(stats.refused as usize));
    run.figure("messages they caused, each", Value::Number(spread as f64 / stats.asked as f64));
    run.figure("bytes a second to the busiest node", Value::Number(most));
    let taken = stats.asked.saturating_sub(stats.refused);
    // Twice what the quota allows, because each neighbour checks it separately.
    let allowed = u64::from(2 * (10 * seconds + 40)) * VICTIMS as u64;
    let detail = format!("{taken} of {} taken, {allowed} at most", stats.asked);
    run.check(Check::new("a flood is cut off", taken <= allowed && taken > 0, detail));

    // Halfway through a second flood the others search.
    let began = world.now();
    let hot = {
        let mut searches = Searches::default();
        let mut round = 0;
        while round < 2 {
            flood(run, &mut world, flooder, &victims, 5);
            if round == 1 {
                searches = search_in_flood(run, &mut world, &nodes, flooder, &victims);
            }
            round += 1;
        }
        searches
    };
    world.note(format!("the second flood took {:?}", world.now().since(began)));
    report(run, "in the flood", &hot);
    check(run, ["others find as before", "a search in the flood ends within 3 s"], &hot);
    world
}

fn traffic(world: &World, nodes: &[NodeIndex]) -> Vec<Traffic> {
    nodes.iter().map(|node| world.traffic(*node)).collect()
}

/// The hostile member searches for names that no node has, as fast and as far as it can.
fn flood(run: &mut Run, world: &mut World, who: HostileIndex, victims: &[NodeIndex], seconds: u32) {
    for second in 0..seconds {
        if second % RELINK == 0 {
            link(world, who, victims);
        }
        for _ in 0..FLOOD_PER_SECOND {
            for victim in victims {
                let request = nonsense(run);
                world.hostile_ask(who, *victim, &request);
            }
            world.run_for(Duration::from_secs(1) / FLOOD_PER_SECOND);
        }
    }
}

fn link(world: &mut World, who: HostileIndex, victims: &[NodeIndex]) {
    for victim in victims {
        let body = TopicRequest::Neighbour { high_priority: true, age_ms: 0 };
        let topic = TopicName::system().id();
        world.hostile_ask(who, *victim, &Request::Topic(InTopic { topic, body }));
    }
}

fn nonsense(run: &mut Run) -> Request {
    let query = QueryId(run.rng.bytes());
    let words = vec![format!("nothing{}", run.rng.next_u64())];
    Request::Search(if run.rng.chance(0.5) {
        SearchRequest::Query { query, words, ring: RINGS_MAX, hops: RINGS_MAX - 1 }
    } else {
        SearchRequest::Walk { query, words, walkers: WALKERS_MAX, steps: STEPS_MAX - 1 }
    })
}

/// Honest nodes search, one at a time, during the flood.
fn search_in_flood(
    run: &mut Run,
    world: &mut World,
    nodes: &[NodeIndex],
    flooder: HostileIndex,
    victims: &[NodeIndex],
) -> Searches {
    let mut searches = Searches::default();
    for number in RARE..2 * RARE {
        let seekers = &nodes[2 * RARE..nodes.len() - victims.len()];
        // Every other search begins next to the flood, at a neighbour of the flooding member.
        let seeker = match number % 2 {
            0 => seekers[number % seekers.len()],
            _ => victims[number % victims.len()],
        };
        let words = vec![format!("rarity{number:03}"), "archive".to_owned()];
        let id = world.command(seeker, Command::Search { words });
        flood(run, world, flooder, victims, 4);
        searches.asked += 1;
        let Some(outcome) = world.outcome(id) else {
            searches.late.push(format!("rarity{number:03} was never answered"));
            continue;
        };
        if outcome.took() > TIME {
            searches.late.push(format!("rarity{number:03} took {:?}", outcome.took()));
        }
        searches.times.push(outcome.took());
        if let Some(Reply::Found { files, rings }) = outcome.reply {
            let holder = world.node(nodes[number]).peer.contact.public_key;
            searches.found += usize::from(files.iter().any(|file| file.holder == Some(holder)));
            searches.rings[usize::from(rings).min(5)] += 1;
        }
    }
    searches
}
