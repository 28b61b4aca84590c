//! Many messages through the commands: none lost, none twice, even if a subscriber reads slowly.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdout, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use crate::http::get;
use crate::process::{Node, PATIENCE, program, wait_until};

/// A running `sub`.
struct Subscriber {
    child: Child,
    stdout: Option<BufReader<ChildStdout>>,
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        // It may have ended by itself, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Subscriber {
    fn start(node: &Node, count: usize) -> Self {
        let mut child = program()
            .args(["--node", &node.url, "sub", "news", "--count", &count.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let stdout = child.stdout.take().map(BufReader::new);
        Self { child, stdout }
    }

    /// Begins to read; all its lines, once it has ended.
    fn read(&mut self) -> Receiver<Vec<String>> {
        let stdout = self.stdout.take().expect("nobody reads yet");
        let (sender, heard) = channel();
        thread::spawn(move || {
            sender.send(stdout.lines().map_while(Result::ok).collect::<Vec<_>>())
        });
        heard
    }
}

pub(crate) fn metric(node: &Node, name: &str) -> f64 {
    let text = get(node, "/metrics").body_mut().read_to_string().expect("text");
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    value.unwrap_or_else(|| panic!("no {name}"))
}

/// Whether a node has this number of subscriptions, and links for their topic.
fn is_subscribed(node: &Node, subscriptions: f64) -> bool {
    metric(node, "potluck_topics_subscriptions ") == subscriptions
        && metric(node, "potluck_topics_active ") > metric(node, "potluck_topics_system_active ")
}

#[test]
fn two_thousand_lines_come_once_to_everybody_and_the_slow_one_gets_them_later() {
    const LINES: usize = 2000;
    let mut nodes = vec![Node::start(&[])];
    while nodes.len() < 4 {
        nodes.push(Node::start(&[&nodes[0].contact]));
    }
    let mut subscribers: Vec<_> = nodes.iter().map(|node| Subscriber::start(node, LINES)).collect();
    let readers: Vec<_> = subscribers.iter_mut().map(Subscriber::read).collect();
    // Of this one nothing is read until the others have ended, and a pipe does not hold it all.
    let mut slow = Subscriber::start(&nodes[3], LINES);
    wait_until("all are subscribed", || {
        nodes.iter().zip([1.0, 1.0, 1.0, 2.0]).all(|(node, count)| is_subscribed(node, count))
    });
    let padding = "x".repeat(90);
    let mut lines: Vec<String> = (0..LINES).map(|number| format!("{number} {padding}")).collect();
    let run = nodes[1].run_with(&["pub", "news", "-"], (lines.join("\n") + "\n").as_bytes());
    assert_eq!(run.code, 0, "{}", run.stderr);
    lines.sort_unstable();
    let check = |heard: &Receiver<Vec<String>>| {
        let mut heard = heard.recv_timeout(PATIENCE).expect("it ends after as many");
        heard.sort_unstable();
        assert!(heard == lines, "{} lines came, not each once", heard.len());
    };
    readers.iter().for_each(check);
    assert!(slow.child.try_wait().expect("it can be asked").is_none(), "a pipe held it all");
    check(&slow.read());
}

#[test]
fn a_client_hears_and_is_heard_and_is_no_member() {
    let server = Node::start(&[]);
    let client = Node::start(&["--client", &server.contact]);
    let mut subscribers: Vec<_> =
        [&server, &client].into_iter().map(|node| Subscriber::start(node, 2)).collect();
    let readers: Vec<_> = subscribers.iter_mut().map(Subscriber::read).collect();
    wait_until("both are subscribed", || [&server, &client].iter().all(|n| is_subscribed(n, 1.0)));
    server.good(&["pub", "news", "from a member"]);
    client.good(&["pub", "news", "from a client"]);
    for heard in readers {
        let mut heard = heard.recv_timeout(PATIENCE).expect("it ends after two");
        heard.sort_unstable();
        assert_eq!(heard, ["from a client", "from a member"]);
    }
    let listed = client.good(&["members", "--json"]);
    assert_eq!(listed.matches("\"alive\"").count(), 1, "{listed}");
}
