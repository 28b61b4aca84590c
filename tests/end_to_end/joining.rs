//! How a node comes in, and what it says as long as it does not.

use std::io::BufReader;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use crate::http::get_url;
use crate::process::{Node, PATIENCE, program, run, up};

/// A node process that need not get ready, with all it says.
struct Joining {
    child: Child,
    stdout: Receiver<String>,
    stderr: Receiver<String>,
}

impl Joining {
    fn start(command: &mut Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let (to_stdout, stdout) = channel();
        let (to_stderr, stderr) = channel();
        read(BufReader::new(child.stdout.take().expect("piped")), to_stdout);
        read(BufReader::new(child.stderr.take().expect("piped")), to_stderr);
        Self { child, stdout, stderr }
    }

    /// The next line on stdout.
    fn line(&self) -> String {
        self.stdout.recv_timeout(PATIENCE).expect("a line in time")
    }

    /// The next line on stderr with these words.
    fn told(&self, words: &str) -> String {
        loop {
            let line = self.stderr.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|_| panic!("nothing with '{words}' in time"));
            if line.contains(words) {
                return line;
            }
        }
    }
}

impl Drop for Joining {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read(from: impl std::io::BufRead + Send + 'static, to: Sender<String>) {
    thread::spawn(move || from.lines().map_while(Result::ok).try_for_each(|line| to.send(line)));
}

/// `up` on loopback with nothing said about the network.
fn bare(data: &Path) -> Command {
    let mut command = program();
    command.args(["up", "--exit-with-stdin"]).args(crate::process::listening());
    command.arg("--data").arg(data).env("POTLUCK_STORE_SYNC", "false");
    command
}

#[cfg(target_os = "linux")]
#[test]
pub(crate) fn a_wrong_join_reports_which_entry_point_is_wrong_and_how() {
    let folder = tempfile::tempdir().expect("folder");
    let other = Node::start_as(
        &folder.path().join("other"),
        bare(&folder.path().join("other")).args(["--network", "other", "--admission", "lab"]),
    );
    let other = other.contact.rsplit_once('@').expect("a contact").1;
    let closed = {
        let gone = std::net::UdpSocket::bind(crate::process::any_port()).expect("a port");
        gone.local_addr().expect("bound").to_string()
    };
    let data = folder.path().join("node");
    let node = Joining::start(up(&data).args([&closed, "no-such-name.invalid", other]));
    assert!(node.line().starts_with("contact "));
    let url = node.line().strip_prefix("http ").expect("the URL").to_owned();
    let told = node.told("not ready yet");
    for part in [
        format!("{closed} has no node on that port"),
        "no-such-name.invalid:12345 does not resolve".to_owned(),
        format!("{other} listens and does not answer: it is in another network"),
    ] {
        assert!(told.contains(&part), "{part} is missing in: {told}");
    }
    assert_eq!(get_url(&format!("{url}/readyz")).status(), 503);
    assert!(node.stdout.try_recv().is_err(), "it is not ready");
}

#[cfg(target_os = "linux")]
#[test]
fn join_tells_at_once_that_an_entry_point_answers_and_in_time_that_one_does_not() {
    let (first, second) = (Node::start(&[]), Node::start(&[]));
    let (_, address) = first.contact.split_once('@').expect("a contact");
    assert!(second.good(&["join", address]).contains("entered by"));
    let closed = {
        let gone = std::net::UdpSocket::bind(crate::process::any_port()).expect("a port");
        gone.local_addr().expect("bound").to_string()
    };
    let wrong = second.run(&["join", &closed]);
    assert_eq!(wrong.code, 0, "{}", wrong.stderr);
    assert!(wrong.stderr.contains(&format!("{closed} has no node on that port")), "{wrong:?}");
}

#[cfg(target_os = "linux")]
#[test]
fn whoever_waits_for_admission_hears_what_came_back_from_the_nodes_of_its_ticket() {
    let folder = tempfile::tempdir().expect("folder");
    let data = folder.path().join("first");
    let mut first = Node::start_as(&data, &mut bare(&data));
    let ticket = first.good(&["invite"]).trim().to_owned();
    let address = first.contact.rsplit_once('@').expect("a contact").1.to_owned();
    first.kill();
    let data = folder.path().join("second");
    let second = Joining::start(bare(&data).env("POTLUCK_TICKET", &ticket));
    let told = second.told("not admitted to");
    assert!(told.contains(&format!("{address} has no node on that port")), "{told}");
    assert!(!told.contains(&ticket), "{told}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_typed_ticket_does_not_stay_among_the_arguments_that_everybody_can_read() {
    let folder = tempfile::tempdir().expect("folder");
    let place = |name: &str| folder.path().join(name);
    let first = Node::start_as(&place("first"), &mut bare(&place("first")));
    let ticket = first.good(&["invite"]).trim().to_owned();
    let second = Node::start_as(&place("second"), bare(&place("second")).arg(&ticket));
    let words = std::fs::read(format!("/proc/{}/cmdline", second.pid())).expect("it runs");
    let words = String::from_utf8_lossy(&words).replace('\0', " ");
    assert!(words.contains(" up ") && !words.contains("potluck-ticket"), "{words}");
    assert_eq!(second.run(&["status"]).code, 0);
}

#[test]
fn up_prints_its_lines_in_order_and_no_ticket_into_a_log() {
    let folder = tempfile::tempdir().expect("folder");
    let data = folder.path().join("first");
    let first = Joining::start(&mut bare(&data));
    let lines: Vec<String> = (0..3).map(|_| first.line()).collect();
    let begins: Vec<&str> =
        lines.iter().map(|line| line.split(' ').next().unwrap_or_default()).collect();
    assert_eq!(begins, ["contact", "http", "ready"]);
    let told = first.told("potluck invite");
    assert!(!told.contains("potluck-ticket"), "{told}");
    let list = run(program().args(["--node", &lines[1][5..], "invite", "--list"]), b"");
    assert_eq!((list.code, list.stdout.lines().count()), (0, 1), "none was made: {}", list.stdout);
}

#[test]
fn a_ticket_for_join_comes_from_a_file_or_stdin_as_well() {
    let folder = tempfile::tempdir().expect("folder");
    let place = |name: &str| folder.path().join(name);
    let first = Node::start_as(&place("first"), &mut bare(&place("first")));
    let ticket = first.good(&["invite", "--uses", "2"]).trim().to_owned();
    let second =
        Node::start_as(&place("second"), bare(&place("second")).env("POTLUCK_TICKET", &ticket));
    let file = place("ticket");
    std::fs::write(&file, format!("{ticket}\n")).expect("written");
    let joined = second.run(&["join", "--ticket-file", file.to_str().expect("text")]);
    assert_eq!(joined.code, 0, "{}", joined.stderr);
    let joined = second.run_with(&["join", "-"], ticket.as_bytes());
    assert_eq!(joined.code, 0, "{}", joined.stderr);
    assert_eq!(second.run(&["join"]).code, 2);
}
