//! An accepted message is delivered: seconds after the faults of nodes and network have ended, all live nodes
//! have it once, in its publisher's order, or were told that they missed it.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use potluck_base::{Instant, PublicKey};
use potluck_gossip::MessageId;
use potluck_gossip::message::TopicName;
use potluck_node::{Command, CommandId, Reply};

use crate::check::Check;
use crate::check::history::faults::Effect;
use crate::check::history::members::MemberRules;
use crate::check::history::messages::MessageRules;
use crate::chronicle::Chronicle;
use crate::network::Blocks;
use crate::report::Value;
use crate::scenario::{Run, STABILISATION, Scenario};
use crate::sim_node::NodeIndex;
use crate::world::World;

pub(super) const ACCEPTED: Scenario = Scenario {
    name: "accepted",
    about: "messages while nodes stand still and parts are cut off: all arrive in 5 s, in order",
    nodes: 9,
    nodes_min: 5,
    minutes: 4,
    must_fail: false,
    play,
};

/// The number of publishers, each with one message in [`EVERY`].
const PUBLISHERS: usize = 3;
const EVERY: Duration = Duration::from_millis(250);
/// Longest time for a delivery without a fault, or after the last fault.
const TIME: Duration = Duration::from_secs(5);
/// The same rules as for real processes, with the time limits of this scenario. The clocks are right here.
const MESSAGE_RULES: MessageRules = MessageRules {
    hand_over: TIME,
    patience: TIME,
    settle: TIME,
    in_time: Duration::from_millis(400),
    clocks: Duration::from_secs(60),
};
/// No node is killed here.
const MEMBER_RULES: MemberRules =
    MemberRules { alive_within: TIME, dead_within: Duration::from_secs(3_600) };
/// Time between two faults.
const REST: Duration = Duration::from_secs(8);

/// The faults, in this order, again and again.
#[derive(Debug, Clone, Copy)]
enum Trouble {
    /// The process of a publisher, or of another node, stands still.
    Standstill { publisher: bool, seconds: u64 },
    /// One node is cut off.
    CutOff { publisher: bool, seconds: u64 },
    /// Half of the nodes are cut off from the other half.
    Halves { seconds: u64 },
}

const TROUBLES: [Trouble; 7] = [
    Trouble::Standstill { publisher: true, seconds: 7 },
    Trouble::Standstill { publisher: false, seconds: 12 },
    Trouble::CutOff { publisher: true, seconds: 9 },
    Trouble::Halves { seconds: 20 },
    Trouble::Standstill { publisher: true, seconds: 23 },
    Trouble::CutOff { publisher: false, seconds: 15 },
    Trouble::Halves { seconds: 6 },
];

/// A message.
struct Said {
    command: CommandId,
    node: NodeIndex,
    payload: Bytes,
    asked: Instant,
    /// When it was accepted, if it was.
    at: Instant,
    id: Option<MessageId>,
}

/// All messages, and the times at which faults ended.
#[derive(Default)]
struct Record {
    said: Vec<Said>,
    troubles: Vec<(Instant, Instant)>,
    chronicle: Chronicle,
}

fn play(run: &mut Run) -> World {
    let mut world = World::new(run.config());
    let mut nodes = run.form(&mut world);
    run.rng.shuffle(&mut nodes);
    let topic = TopicName::new("accepted").expect("a good name");
    for node in &nodes {
        world.command(*node, Command::Subscribe { topic: topic.clone(), after: None });
    }
    let opened = world.now();
    world.run_for(STABILISATION);
    let mut record = Record::default();
    let end = world.now() + run.length();
    let mut troubles = TROUBLES.iter().cycle();
    while world.now() < end {
        talk(&mut world, &topic, &nodes, &mut record, REST);
        let Some(trouble) = troubles.next() else { break };
        make(run, &mut world, &topic, &nodes, &mut record, *trouble);
    }
    talk(&mut world, &topic, &nodes, &mut record, REST);
    world.run_for(3 * TIME);
    history(run, &mut world, &nodes, opened, &mut record);
    judge(run, &world, &nodes, &record);
    world
}

/// The publishers publish for some time.
fn talk(
    world: &mut World,
    topic: &TopicName,
    nodes: &[NodeIndex],
    record: &mut Record,
    time: Duration,
) {
    let end = world.now() + time;
    while world.now() < end {
        for node in &nodes[..PUBLISHERS] {
            let payload = Bytes::from((record.said.len() as u64).to_le_bytes().to_vec());
            let publish = Command::Publish { topic: topic.clone(), payload: payload.clone() };
            let command = world.command(*node, publish);
            let asked = world.now();
            record.said.push(Said { command, node: *node, payload, asked, at: asked, id: None });
        }
        world.run_for(EVERY);
        record.chronicle.look(world, nodes);
    }
}

/// Causes a fault while the publishers publish, and ends it.
fn make(
    run: &mut Run,
    world: &mut World,
    topic: &TopicName,
    nodes: &[NodeIndex],
    record: &mut Record,
    trouble: Trouble,
) {
    let one = |run: &mut Run, publisher: bool| {
        let among = if publisher { &nodes[..PUBLISHERS] } else { &nodes[PUBLISHERS..] };
        among[run.rng.below(among.len() as u64) as usize]
    };
    let began = world.now();
    let (time, disturbed, partition) = match trouble {
        Trouble::Standstill { publisher, seconds } => {
            let time = Duration::from_secs(seconds);
            let node = one(run, publisher);
            world.stall(node, time);
            (time, (Effect::Late, vec![node]), None)
        }
        Trouble::CutOff { publisher, seconds } => {
            let node = one(run, publisher);
            let partition = world.isolate(node);
            (Duration::from_secs(seconds), (Effect::Cut, vec![node]), Some(partition))
        }
        Trouble::Halves { seconds } => {
            // One half has one publisher, the other half has two.
            let mut mixed = nodes.to_vec();
            mixed.rotate_left(2);
            let (first, second) = mixed.split_at(nodes.len() / 2);
            let id = world.partition(first, second, Blocks::BothWays);
            // Neither half has a majority of the nodes, so all are disturbed.
            (Duration::from_secs(seconds), (Effect::Cut, nodes.to_vec()), Some(id))
        }
    };
    talk(world, topic, nodes, record, time);
    if let Some(id) = partition {
        world.heal(id);
    }
    record.troubles.push((began, world.now()));
    record.chronicle.fault(disturbed.0, &disturbed.1, began..world.now());
}

/// Records the deliveries, and judges them by the rules of histories.
fn history(
    run: &mut Run,
    world: &mut World,
    nodes: &[NodeIndex],
    opened: Instant,
    record: &mut Record,
) {
    for said in &mut record.said {
        let Some(outcome) = world.outcome(said.command) else { continue };
        if let Some(Reply::Published(id)) = outcome.reply {
            (said.id, said.at) = (Some(id), outcome.ended);
        }
        let accepted = said.id.map(|_| said.at);
        record.chronicle.published(said.node, &said.payload, said.asked, accepted);
    }
    let messages = record.chronicle.judge_messages(world, nodes, opened, &MESSAGE_RULES);
    run.check(messages.check("the history of all subscribers keeps the rules of messages"));
    let members = record.chronicle.judge_members(&MEMBER_RULES);
    run.check(members.check("the history of all lists keeps the rules of members"));
}

fn judge(run: &mut Run, world: &World, nodes: &[NodeIndex], record: &Record) {
    let accepted: BTreeMap<MessageId, Instant> =
        record.said.iter().filter_map(|said| Some((said.id?, said.at))).collect();
    // During a fault and shortly after it, the time limit counts from its end.
    let due = |at: Instant| {
        let over =
            record.troubles.iter().filter(|(began, over)| *began <= at + TIME && at <= *over);
        over.map(|(_, over)| *over).max().unwrap_or(at).max(at) + TIME
    };
    let (mut times, mut late, mut lost) = (Vec::new(), Vec::new(), Vec::new());
    let (mut disorder, mut missed) = (Vec::new(), 0);
    for node in nodes {
        let mut got: BTreeMap<MessageId, Instant> = BTreeMap::new();
        let mut last: BTreeMap<PublicKey, MessageId> = BTreeMap::new();
        for (at, message) in world.messages(*node) {
            let before = last.insert(message.id.publisher, message.id);
            if before >= Some(message.id) {
                disorder.push(format!("{node} got {} behind a later one", message.id));
            }
            got.insert(message.id, *at);
        }
        let told = world.messages_missed(*node);
        missed += told;
        let mut lacks = 0;
        for (id, at) in &accepted {
            match got.get(id) {
                Some(came) if *came > due(*at) => {
                    let by = came.since(due(*at));
                    late.push(format!("{node} got {id} {by:?} too late"));
                }
                Some(came) => times.push(came.since(*at)),
                None => lacks += 1,
            }
        }
        if lacks != told {
            lost.push(format!("{node} lacks {lacks} and was told of {told}"));
        }
    }
    let copies = accepted.len() * nodes.len();
    run.figure("messages accepted", Value::share(accepted.len(), record.said.len()));
    run.figure("accepted until delivered", Value::times(times));
    run.figure("messages that were missed", Value::Count(missed));
    run.check(Check::none_of("each arrives 5 s after trouble at the latest", copies, &late));
    run.check(Check::none_of("each publisher's come in order and once", copies, &disorder));
    run.check(Check::none_of("what is missing was told", nodes.len(), &lost));
    let few = missed as usize * 1_000 <= copies;
    run.check(Check::new("hardly any is missed", few, format!("{missed} of {copies}")));
}
