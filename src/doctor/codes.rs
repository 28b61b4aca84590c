//! Every code of `doctor` and of the node's health, with advice and explanation: `potluck doctor --explain
//! CODE`.

use crate::failure::codes as errors;

/// A code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Code {
    pub(crate) code: &'static str,
    /// What to do, in a sentence.
    pub(crate) advice: &'static str,
    /// The command to paste.
    pub(crate) command: &'static str,
    /// Its meaning and its causes.
    pub(crate) meaning: &'static str,
}

/// The code with this name.
pub(crate) fn find(code: &str) -> Option<&'static Code> {
    ALL.iter().find(|known| known.code == code)
}

/// At most five codes that contain the typed text or differ from it by at most three letters.
pub(crate) fn near(typed: &str) -> Vec<&'static str> {
    let typed = typed.to_ascii_lowercase();
    let close = |code: &str, most: usize| {
        let code = code.to_ascii_lowercase();
        code.contains(&typed) || strsim::damerau_levenshtein(&code, &typed) <= most
    };
    let errors = errors::ERRORS.iter().chain(errors::LINES).map(|known| known.code);
    // Codes of errors are many and short, so fewer wrong letters may make one.
    let findings = ALL.iter().map(|known| known.code).filter(|code| close(code, 3));
    findings.chain(errors.filter(|code| close(code, 2))).take(5).collect()
}

macro_rules! codes {
    ($($code:literal: $advice:literal; $command:literal; $meaning:literal;)*) => {
        /// All codes.
        pub(crate) const ALL: &[Code] = &[$(
            Code { code: $code, advice: $advice, command: $command, meaning: $meaning },
        )*];
    };
}

codes! {
    "certificate.ending": "start a node that holds the authority key: it renews certificates";
        "potluck members";
        "In an invite network each node has a certificate that a node with the authority key renews at half of \
         its life. This one was not renewed for long. When it ends, no node answers this one.";
    "clock.back": "set the clock, and let it be kept by NTP";
        "timedatectl set-ntp true";
        "The data folder was last written at a time that this machine's clock has not reached. Records that \
         it wrote then are dated ahead, and other nodes refuse more than five minutes.";
    "clock.drift": "let this machine's clock be kept by NTP";
        "timedatectl set-ntp true";
        "The clock differs from the median of the other nodes' clocks by more than NTP allows. Nothing fails \
         yet. Of two values written at the same time, the one of the machine that is ahead counts as newer.";
    "clock.off": "set this machine's clock, and let it be kept by NTP";
        "timedatectl set-ntp true";
        "The clock is off by more than a minute. Records dated more than five minutes ahead are refused by \
         every replica, so this node writes nothing then.";
    "disk.room": "make room on the disk, or move the data folder";
        "potluck gc --dry-run";
        "Little is left of the disk that holds the data folder. When it is full, new records are refused and \
         fetches stop.";
    "disk.slow": "find what else uses the disk, or move the data folder to another one";
        "iostat -x 2";
        "Writes are acknowledged when they are durable, so a disk that is busy with other work slows all of \
         them, at the other nodes' users too.";
    "entry.dead": "start those nodes, or name others that run";
        "potluck join IP:PORT";
        "An entry point that was named at the start has not answered. With none that answers a new node \
         does not enter, and after a split the two parts do not find each other. 'Connection refused' \
         means a wrong port or a node that is down; silence means a firewall that drops UDP, a wrong \
         address, or a node of another network.";
    "entry.name": "check the name and this machine's DNS, or name an IP address";
        "getent hosts NAME";
        "An entry point is a DNS name and does not resolve. Names are resolved again before each try.";
    "files.cap": "raise or remove [files] download_rate";
        "potluck up --print-config | grep download_rate";
        "A fetch is as fast as this node's configuration allows.";
    "files.changed": "share the files again: the new content gets a new link";
        "potluck files";
        "A link is the hash of the content. A shared file that was changed or removed on the disk cannot be \
         given out under its old link.";
    "files.disk": "write to another disk, or wait for what else uses this one";
        "iostat -x 2";
        "A fetch waits for the disk that it writes to.";
    "files.hashing": "nothing is wrong: fetch fewer files at once, or on a machine with a quicker core";
        "potluck top";
        "Every byte of a fetch is compared with the hash in the link, on one core. That core is busy.";
    "files.network": "look at the line of this machine and of the nodes that have the file";
        "potluck peers";
        "Several nodes send, and what arrives is under a mebibyte a second. The way between, or the upload \
         rate of those nodes, sets the limit.";
    "files.noSource": "start a node that has it, or have it shared again";
        "potluck share PATH";
        "Nodes that announced the content do not answer, or none did. The fetch goes on when one comes.";
    "files.oneSource": "have it fetched on more machines: each that has it sends pieces of it";
        "potluck peers";
        "One node sends the whole file. Its upload, its [files] upload_rate or the way to it is the limit.";
    "files.waiting": "wait a moment; if it stays, look at the nodes that have it";
        "potluck members";
        "Nodes are known to have the content, and none sends now: they are busy or out of reach.";
    "folder.unusable": "give the user of the node the right to read and write the folder";
        "ls -ld DIR";
        "The data folder holds the identity and the records. Without it the node does not start.";
    "health.degraded": "let doctor name the reason";
        "potluck doctor";
        "The node works, and something is in its way. An alert on the metric potluck_health knows no more \
         than that; doctor on that machine, potluck status and GET /v1/status name the reason.";
    "identity.elsewhere": "start one of the two machines with an identity of its own";
        "potluck up --new-identity";
        "Two processes run with one key pair, as after a copied data folder or a cloned virtual machine. An \
         identity counts its writes, and two that count on their own would write different values under \
         one number. So both stop writing.";
    "load.duplicates": "raise the gossip interval from 1 s to 5 s";
        "potluck network set gossip_interval 5s";
        "Most messages of topics come more than once. Links of the overlay that are not on the shared tree \
         should carry announcements only; many copies mean that the tree is rebuilt all the time.";
    "load.gossip": "raise the gossip interval to 5 s, and find who publishes so much";
        "curl -s http://127.0.0.1:8080/debug/gossip/stats";
        "Each message of a topic goes to every node that is in it. A publisher in a loop keeps the whole \
         network busy. Each publisher has a rate, and what is over it is dropped.";
    "load.storm": "find the application that asks so much, and let it keep answers or watch the record";
        "potluck watch NAME";
        "Many reads or lookups at once. Equal reads share one lookup, and those over the limit are \
         answered busy. After a popular node left, they go on until other nodes are known.";
    "machine.slow": "find what keeps this machine busy, or give it more processor";
        "top -b -n 1 | head -15";
        "The node's own timers come late: the processor is taken by other programs, the process was stopped, \
         or the machine slept. A node that is late suspects others, and is suspected.";
    "member.expired": "check this machine's clock, and start the node that holds the authority key";
        "date -u";
        "This node's certificate has expired, so no node answers it.";
    "member.flapping": "look at that machine: its line, its load, or a laptop that sleeps";
        "potluck members";
        "A member fell silent and came back several times. Each time its records are about to be copied \
         elsewhere. Probes go by UDP with three tries and through other members, so a short loss is not \
         enough for that.";
    "member.fromAhead": "set this machine's clock, or that of the node that signed the certificate";
        "date -u";
        "The certificate is dated ahead of this machine's clock. Nodes with a right clock refuse it.";
    "member.observer": "look at this machine's line and load: as seen from here many members come and go";
        "potluck doctor --node URL-OF-ANOTHER-NODE";
        "When most of the suspicions are raised by one node, the fault is at that node.";
    "member.out": "nothing to do if it was meant; else let the machine in again with a new identity";
        "potluck invite";
        "A member was put out of the network. A revoked key stays out for ever.";
    "member.renewal": "start the node that holds the authority key";
        "potluck members";
        "This node asked for a new certificate and got none yet.";
    "member.revoked": "get a new ticket, and start with a new identity";
        "potluck up --new-identity TICKET";
        "This node was put out of the network: no node answers it any more, for ever under this key.";
    "member.silent": "look whether that machine is on and its node runs";
        "potluck members";
        "A member answers neither this node nor others that were asked to try. After some seconds it counts as \
         dead and its records are copied to the next closest nodes. It may be switched off, stopped, or cut \
         off from the network. A member that leaves (Ctrl-C, potluck leave) is not named here.";
    "member.unsolved": "wait some seconds while this node solves the puzzle; if it stays, set this machine's clock";
        "date -u";
        "An open network lets nodes in that solved its puzzle for this week. This node has no solution that \
         is accepted now.";
    "members.versions": "finish the upgrade: start the new version on the rest, one machine after the other";
        "potluck members --long";
        "Version N speaks with nodes of version N and N-1. Two nodes use the newest version that both know, so a \
         network of two versions works. With three, the oldest and the newest may not understand each other.";
    "network.alone": "start a node of the last run, or name one";
        "potluck join IP:PORT";
        "None of the nodes that this one knew in its last run answers.";
    "network.cut-off": "check this machine's network: cable, address, firewall for UDP";
        "ip -brief address; ip route";
        "No other node has been heard for a while, although some are known. Requests go out by UDP; nothing \
         comes back.";
    "network.entry": "check the addresses of the entry points, and that they run in this network";
        "potluck join IP:PORT";
        "None of the entry points lets this node in.";
    "network.fallback": "start one of the entry points, or name others";
        "potluck join IP:PORT";
        "All entry points are silent, and the names of [network] dns_fallback are asked instead.";
    "network.joining": "wait a moment";
        "potluck status";
        "The node is entering its network.";
    "network.loss": "look at the line: a full uplink, a bad Wi-Fi, a firewall that limits UDP";
        "ping -c 20 ADDRESS-OF-A-PEER";
        "Many requests had to be sent again although the members are there. Each loss costs a timeout.";
    "network.split": "check the way between the two parts; name an entry point of the other part";
        "potluck join IP:PORT";
        "Many members fell silent at about the same time: a switch, a site or a provider is down between here \
         and there, or that part lost its power. Both parts go on working; when they meet again, values \
         written in both become siblings.";
    "network.waiting": "wait, or start one of the nodes of the last run";
        "potluck members";
        "The node asks those it knew in its last run.";
    "node.down": "start it";
        "potluck up";
        "No program answers at the URL of the node.";
    "node.leaving": "wait until it has left";
        "potluck status";
        "The node hands its records to others.";
    "node.port": "name the node's URL, or end what answers there";
        "potluck --node URL doctor";
        "Another program answers where the node was looked for.";
    "node.stuck": "let the process go on, or end it and start it again";
        "potluck status";
        "The node's process is there and answers nothing: it was stopped (Ctrl-Z, SIGSTOP, a debugger), or \
         waits for a disk that does not answer.";
    "os.descriptors": "raise the limit of open files for the node";
        "ulimit -n 4096";
        "Each connection and each open file takes one descriptor. Without a free one, connections and \
         fetches fail.";
    "os.memory": "give the process more memory, or lower [store] memory_bytes";
        "potluck up --print-config | grep memory_bytes";
        "The system ends processes that go over their memory limit.";
    "port.taken": "end the other program, or let the node listen elsewhere";
        "potluck up --listen 0.0.0.0:0";
        "The UDP port that a node uses by default is taken.";
    "reach.varies": "forward one UDP port of the router to this machine, and say so";
        "potluck up --advertise PUBLIC-IP:PORT";
        "The router gives this node another port for each peer (a symmetric NAT), so most nodes cannot dial \
         it. What it begins itself works.";
    "records.absent": "look whether it was written under another name or space, deleted, or ended";
        "potluck ls";
        "The nodes closest to the key answered that they hold no value of it. A name is a key only together with its \
         space. A record ends unless its writer renews it, and a deleted one is absent.";
    "records.behind": "read the record: reading brings replicas up to date";
        "potluck get NAME";
        "Some replicas lack a version that others have. 'Behind' means merely stale; comparison between \
         neighbours and each read repair it. 'Concurrent' means that they hold a value that the others lack, \
         and a merge is needed.";
    "records.conflict": "merge the values";
        "potluck merge NAME --pick 0";
        "Two nodes wrote under one name without having seen each other's value. Both are kept until an \
         application or a person writes what holds. Counters, sets and maps merge by themselves.";
    "records.renewal": "keep this node running and connected until they are renewed";
        "potluck status";
        "A record ends unless its writer renews it at half of its life.";
    "records.replicas": "start the machines that are missing, or wait until others have copied the record";
        "potluck trace NAME";
        "A record lies on the nodes closest to its key. Fewer of them hold it than should. After a death the \
         next closest nodes take it over within seconds; if this stays, repair is stuck.";
    "records.replication": "raise replication to at least 5";
        "potluck network set replication 5";
        "With few replicas the loss of some nodes at once loses records: with 2, losing 30 % of the nodes \
         loses 9 % of the records; with 5 it loses 0.24 %.";
    "records.republish": "raise republish_interval, or the life of records";
        "potluck network set republish_interval 30m";
        "Storing this node's own records again does not keep up, or is asked for more seldom than records \
         live, so that they would end before.";
    "records.slow": "see where the time goes: one lookup, hop by hop, then the disk and the line";
        "potluck trace NAME";
        "Of the reads or writes of the last minutes one in a hundred took more than a second. A write waits \
         until a majority of the replicas has it on the disk, and a read until two replicas answered. So a \
         slow disk or a lossy line at a few nodes is seen by all.";
    "socket.buffer": "allow larger buffers";
        "sysctl -w net.core.rmem_max=8388608";
        "Datagrams that come while the node is busy wait in the receive buffer of its UDP port. Those that do \
         not fit are lost, and each loss costs a timeout.";
    "socket.send": "look at this machine's routes and firewall";
        "ip route get ADDRESS-OF-A-PEER";
        "The system refuses to send: no route, a firewall of this machine, or a full queue of its device.";
    "store.damage": "look after the disk; what was lost comes back from the other replicas";
        "potluck verify DIR";
        "Rows of the store do not have the checksum that they were written with.";
    "store.full": "make room on the disk, or raise [store] disk_bytes or records";
        "potluck gc";
        "The store has no room, so new records are refused here.";
    "store.healing": "wait; look after the disk if this comes back";
        "potluck status";
        "The store writes its records anew after damage.";
    "store.room": "raise [store] disk_bytes, or let more nodes join";
        "potluck up --print-config | grep disk_bytes";
        "The store comes close to the limit that its configuration sets.";
    "store.stamps": "make room or raise [store] disk_bytes, if this does not end by itself";
        "curl -s http://127.0.0.1:8080/metrics | grep potluck_kv_stamps";
        "Strangers store so much at this node of an open network, or its store has so little room, that each of \
         their stores needs a proof of work. Honest nodes make one by themselves, in milliseconds.";
    "store.stopped": "look after the disk, then restart the node";
        "potluck verify DIR";
        "The store met an error of the disk and stopped, so that nothing wrong is acknowledged.";
    "table.dead": "wait a minute: contacts that do not answer are dropped";
        "curl -s http://127.0.0.1:8080/debug/routingtable";
        "Many contacts of the routing table do not answer: many nodes left at once, or this node's line is \
         bad. Lookups wait for a timeout at each.";
    "table.full": "raise [dht] table_capacity if lookups take many steps";
        "curl -s http://127.0.0.1:8080/debug/routingtable";
        "The routing table is bounded, and full. New contacts take the place of old ones that do not answer.";
    "table.small": "wait a minute; if it stays, restart the node";
        "curl -s http://127.0.0.1:8080/debug/routingtable";
        "The routing table knows few of the members. Lookups start from it.";
    "lookups.slow": "do what the evidence names as the cause";
        "potluck trace NAME";
        "The slowest lookups take long. Each step waits for the answer of a node: dead contacts, a slow line, \
         or a machine that is busy make it long.";
    "lookups.timeouts": "see with doctor on other machines whether the line or the nodes are at fault";
        "potluck peers";
        "Many requests of lookups get no answer.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_stands_once_with_all_its_texts() {
        for (at, code) in ALL.iter().enumerate() {
            assert!(ALL[at + 1..].iter().all(|other| other.code != code.code), "{}", code.code);
            for text in [code.advice, code.command, code.meaning] {
                assert!(!text.is_empty(), "{}", code.code);
            }
            assert!(code.meaning.ends_with('.') && !code.advice.ends_with('.'), "{}", code.code);
        }
        assert!(find("clock.off").is_some() && find("clock").is_none());
        assert_eq!(near("clok.off"), ["clock.off"]);
        assert!(near("socket").contains(&"socket.buffer") && near("nothing").is_empty());
    }
}
