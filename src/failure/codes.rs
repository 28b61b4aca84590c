//! Every code that an error carries: in problem JSON, in `--json` output and in the log. `potluck doctor
//! --explain CODE` and `docs/errors.md` print this table.
//! **Invariant:** the table has every code that the program uses, and no other: `cargo xtask tidy` compares
//! them. A code never changes its meaning.

/// An error or a line of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ErrorCode {
    pub(crate) code: &'static str,
    /// When the error occurs, and whether anything changed.
    pub(crate) when: &'static str,
    /// What to do, in a sentence.
    pub(crate) action: &'static str,
}

/// The error with this code.
pub(crate) fn find(code: &str) -> Option<&'static ErrorCode> {
    ERRORS.iter().chain(LINES).find(|known| known.code == code)
}

macro_rules! table {
    ($name:ident: $about:literal; $($code:literal: $when:literal; $action:literal;)*) => {
        #[doc = $about]
        pub(crate) const $name: &[ErrorCode] =
            &[$(ErrorCode { code: $code, when: $when, action: $action },)*];
    };
}

table! {
    ERRORS: "Codes of errors: `code` in problem JSON and in the error line of `--json`.";
    "absent": "There is no such record, file, topic or search result. Enough nodes said so. Nothing changed."; "check its name and space";
    "authorityKey": "The file of the authority key cannot be used. Nothing changed."; "name the file that potluck network key export wrote";
    "badBackup": "A line of the backup is none. The lines before it were imported."; "export again, or take the line out";
    "badBody": "The body of the request is not what the route takes. Nothing changed."; "see /openapi.json for what it takes";
    "badCondition": "A condition was sent to something that never changes. Nothing changed."; "leave If-Match out";
    "badContact": "What was given is no contact, address or DNS name. Nothing changed."; "give KEY@IP:PORT as potluck status prints it, IP:PORT, or a DNS name";
    "badContext": "The context is damaged or of another record. Nothing was written."; "read the record again and send the context of that answer";
    "badFile": "A name or path in the list of an upload cannot be that of a file. Nothing was shared."; "rename it, and upload again";
    "badId": "What was given is no id. Nothing changed."; "give 64 hexadecimal digits, as the lists print them";
    "badInvitation": "What was given is no invitation to an open network, or a damaged one. The node did not start."; "copy the whole invitation, as the node that made the network printed it";
    "badKind": "There is no kind of this name. Nothing was written."; "use siblings, lww, perwriter, counter, set or map";
    "badLevels": "The levels of the log cannot be understood. The old ones stay."; "write them as info or as potluck_kv=debug,warn";
    "badLink": "What was given is no link. Nothing was fetched."; "give the whole link, as potluck share prints it";
    "badList": "The list of a folder's files cannot be understood. Nothing was shared."; "see /openapi.json for the list";
    "badMember": "What was given names no member, or several. Nothing changed."; "give more digits of its id; see potluck members";
    "badName": "The name is empty, too long, or not allowed in this space. Nothing changed."; "a name has 1 to 512 bytes of UTF-8; in space content it is -";
    "badOperation": "The operation does not fit the value. Nothing was written."; "see potluck get NAME --all for what is there";
    "badPath": "The path is not absolute, or names no file. Nothing changed."; "give the whole path";
    "badQuery": "A parameter of the query is unknown or has a value that it cannot have. Nothing changed."; "see /openapi.json for the parameters";
    "badRange": "The file ends before the range begins."; "ask for a range inside the length that Content-Range names";
    "badSearch": "The search has no word that a name could be found by."; "give a word of letters or digits";
    "badSetting": "The setting cannot have this value. It stays as it was."; "see potluck network show for its unit and bounds";
    "badSpace": "There is no such space, or it does not have what was asked for. Nothing changed."; "use commons, own, team/ID or content";
    "badTeam": "The name or id of a team cannot be understood. Nothing changed."; "see potluck team show";
    "badTerms": "The terms of an invitation contradict each other. No ticket was made."; "choose either a number of uses or reusable";
    "badTicket": "What was given is no ticket, or one of another network. Nothing changed."; "copy the whole ticket, as potluck invite prints it";
    "badTopic": "A topic cannot have this name. Nothing was published."; "choose another name";
    "badTtl": "The lifetime cannot be understood, or is under a second or over the limit. Nothing was written."; "give a span such as 1h or 30d";
    "badValue": "A value of the backup is not what its kind says. It was not imported."; "export again";
    "brokeOff": "The node ended while it answered. What it did of the request is unknown."; "start it again with potluck up, then look and try again";
    "busy": "The node has as much under way as it may. Nothing was begun."; "try again after the seconds that Retry-After names";
    "changed": "The file changed since it was shared, so its bytes are not those of the link. Nothing was sent."; "share it again";
    "clock": "The clock of this machine is wrong, so what it dates would be refused. Nothing was written."; "set the clock, and let it be kept by NTP";
    "config": "The configuration cannot be used. Nothing changed; a running node goes on as before."; "mend the key that the error names";
    "conflict": "The record has several values that were written at the same time. Nothing was written."; "write a merged value with the context of this answer, or use potluck merge";
    "contentType": "The request has a body of another type than the route takes. Nothing changed."; "send application/octet-stream or application/json";
    "damaged": "What is on the disk is not what was written. It is not used."; "run potluck verify DIR; other nodes have copies of records";
    "demoFailed": "The demo did not show what it should."; "the lines above say what was missing";
    "exists": "A file of that name is there. It was not replaced."; "move it away, or choose another place with -o";
    "failed": "Something failed that has no code of its own; the message says what."; "read the message, and the log with potluck up -v";
    "filesLeft": "Some files could not be written. The others are there."; "--update replaces what an earlier fetch brought, --force replaces every file";
    "folderInUse": "Another process uses the data folder. The node did not start."; "end that process, or name another folder with --data";
    "foreignOrigin": "A page of another site sent the request. Nothing changed."; "call the API from a program, or from its own page";
    "full": "A list on the disk has as many entries as it may. Nothing was added."; "remove some that are not needed";
    "healing": "The store is being written anew after damage on the disk. Nothing was written."; "try again in a minute, or ask another node";
    "hostRefused": "The request came under a host name that is not of this node, as after DNS rebinding. Nothing changed."; "call it by IP address, or add the name to [http] hosts";
    "identityExposed": "Other users can read the identity of the node. It did not start."; "chmod 600 the file that the error names";
    "inUse": "A node runs with the folder that was to be checked."; "stop it first, or verify a copy";
    "incomplete": "Some members did not answer, so the backup lacks records. What was read is in it."; "export again when all members are there";
    "internal": "The node found a fault of its own. Whether anything changed is unknown."; "report this as a bug, with potluck doctor --bundle FILE";
    "interrupted": "A signal ended the command. What was done by then stays."; "run it again; a fetch goes on where it was";
    "keyFile": "The file cannot take the authority key, or holds none. Nothing changed."; "name a new file, or the one that export wrote";
    "layout": "Settings of the data folder or the addresses contradict each other. The node did not start."; "mend what the error names";
    "leaving": "The node is leaving the network. Nothing was begun."; "wait until it has left, then start it again";
    "lostOwn": "Another machine runs with this identity, or the folder is an old copy. Nothing is written under it any more."; "start one of the two with potluck up --new-identity";
    "mixedKinds": "The values of one name in the backup are of several kinds. They were not imported."; "import them one by one";
    "networkNeeded": "A new open network has no name. The node did not start."; "name it with --network, or paste the line that a node of an existing one printed";
    "newerSettings": "A node set the network's settings at the same time. Yours were not taken."; "look with potluck network show, and set them again";
    "noCommons": "An open network of this kind has no space commons: all could write over each other there. Nothing was written."; "write in your own space: --space own, or in a team's";
    "noFolder": "The folder that a file should be written to does not exist, or is none. Nothing was written."; "choose another folder";
    "noNode": "No node answers at the URL. Nothing changed."; "start one with potluck up, or name one with --node URL";
    "noSpace": "The disk or the store has no room. Nothing was written."; "make room on the disk, or raise [store] disk_bytes";
    "noSuchFile": "There is no file at that path."; "check the path";
    "noSuchMethod": "The route does not take this method. Nothing changed."; "see /openapi.json";
    "noSuchPath": "There is no such route."; "see /openapi.json";
    "notAdmitted": "No node of the network gave this one a certificate. It did not start."; "ask for a new ticket with potluck invite";
    "notInvite": "The network is not of the kind that needs invitations, or this node has no settings to sign. Nothing changed."; "see potluck network show";
    "notIssuer": "Only a node with the authority key does this. Nothing changed."; "run it on a node that has the key; see potluck network show";
    "notJoined": "The node has not entered its network yet. Nothing was written."; "wait, give it another entry point with potluck join, or see potluck status";
    "notMember": "The replicas no longer take this node's records: it was put out, or its certificate ended. Nothing was written."; "see potluck status, and get a new ticket";
    "notOwner": "Only the owner writes in that space or changes that team. Nothing changed."; "run it at the owner's node";
    "notPlain": "What is at the path is a pipe, a device or a socket, which has no end. Nothing was shared."; "pipe it: potluck share - --name NAME";
    "notPotluck": "Another program answers at the URL, or a node of a version that this program does not know."; "check the URL in --node or POTLUCK_NODE";
    "notWriter": "This node is not on the list of the team's writers. Nothing was written."; "ask the owner to add it with potluck team add";
    "otherKind": "The record is of another kind than the operation. Nothing was written."; "use a name of its own for each kind";
    "otherNode": "The data folder, key or ticket is of another network or identity. The node did not start."; "name another folder with --data";
    "outOfReach": "The node may not write to that folder, and the fetch needs it to. Nothing was written."; "add the folder to [files] paths";
    "output": "The output could not be written. What was asked for was done, or read."; "make room where it goes, or send it elsewhere";
    "outsidePaths": "The path is outside the folders that the node may touch. Nothing changed."; "add its place to [files] paths";
    "ownFolder": "The path is inside the node's own data folder. Nothing was shared or written."; "share something else; files/ in it may be used";
    "partial": "Some files were left out of the share. The link is of the rest."; "see the lines above for which and why";
    "portInUse": "Another program has the port. The node did not start."; "choose another with --http or --listen, or port 0";
    "preconditionFailed": "What is there is not what the condition names. Nothing was written."; "read it again, and send the ETag of that answer";
    "putOut": "This node was put out of the network. Nothing is written under its key any more."; "get a new ticket: potluck up --new-identity TICKET";
    "quota": "This writer has as many records or bytes as a replica keeps for one. Nothing was written there."; "delete some, or raise member_records or member_bytes in [store] on the nodes that keep them";
    "randomness": "The system gave no randomness. No ticket or key was made."; "look at the system's log; a container may lack /dev/urandom";
    "refused": "The replicas refused the record, for a reason that the message names. It may be at none of them."; "check this machine's clock and the limits of the network";
    "rule": "The kind of the record does not allow this write. Nothing was written."; "see potluck put --help for the kinds";
    "shareFull": "This node's part of a counter, set or map has no room. Nothing was written."; "remove some of it from this node, or use further names";
    "start": "The node could not start, for a reason that the message names."; "mend what it names, and start it again";
    "stillIn": "The member was put out here, and not all nodes know it yet. It goes on."; "wait a moment, and look with potluck members";
    "stopped": "The node has stopped. Nothing was begun."; "start it again with potluck up";
    "storeStopped": "The store stopped after a disk error. Nothing was written, and nothing is until a restart."; "look after the disk, then restart the node";
    "teamFull": "The team has as many writers as it may. Nothing changed."; "remove a writer, or create a second team";
    "teamOwner": "The owner of a team cannot be added or removed. Nothing changed."; "create a team at another node";
    "ticketNeeded": "The network lets in with a ticket only. The node did not start."; "ask for one: potluck invite";
    "ticketVoid": "The ticket has ended, was used up, or was cancelled. The node was not let in."; "ask for a new one: potluck invite";
    "timeout": "No answer came in time. A write may have happened."; "try again; read first whether it was done";
    "tokenExposed": "Other users can read the file with the token. The node did not start."; "chmod 600 the file that the error names";
    "tokenFile": "The file with the token cannot be read or holds none."; "name the token file of the node: DATA/token";
    "tokenNeeded": "The request needs the token of the node, or HTTP beyond this machine needs one set. Nothing changed."; "run it as the node's user, or name the file with --token-file";
    "tooFewAcks": "Fewer replicas acknowledged than asked for. The value may still spread."; "write it again, or ask for fewer with -w";
    "tooFewAnswers": "Fewer replicas answered than needed, so it cannot be told what is there. Nothing was written."; "try again; potluck members shows which nodes are there";
    "tooLarge": "The body, value or message is over its limit. Nothing was written."; "share it as a file: potluck share FILE --as NAME";
    "tooLong": "The lifetime is longer than the network allows. Nothing was written."; "give a shorter one, and let the writer renew it";
    "tooManyTopics": "The node has as many topics as it may. This one was not begun."; "end another subscription";
    "tooManyValues": "The record would have more values than it may. Nothing was written."; "merge what is there: potluck merge NAME";
    "tooManyWatches": "The node watches as many records as it may. This watch was not begun."; "end another watch";
    "tooManyWriters": "As many nodes as may have written under this name. Nothing was written."; "see what is there with potluck get NAME --all, and merge it";
    "unavailable": "The node cannot do this now, for a reason that the message names. Nothing was begun."; "try again, and see potluck status";
    "unknown": "Whether the write happened is unknown: it was sent, and the answer is lost."; "read the record, then write again if it is not there";
    "unknownKey": "There is no such section or key in a configuration. Nothing changed."; "use the nearest one, which the error names";
    "unknownSetting": "There is no such setting of a network. Nothing changed."; "use the nearest one, which the error names";
    "unreadable": "The node's user may not read the file, or it changed while it was read. Nothing was shared."; "give the user of the node the right to read it";
    "unshared": "The file is no longer shared here. Nothing was sent."; "share it again, or ask another node";
    "unwritable": "The node's user may not write there. Nothing was written."; "choose another folder";
    "usage": "The command line is wrong. Nothing was done."; "see potluck COMMAND --help";
}

table! {
    LINES: "Codes of lines of the log that are not those of an error or of a finding of `doctor`.";
    "address.changed": "Others reach this node at another address now: its router or its network changed."; "nothing; name an address that stays with --advertise if there is one";
    "admission.admitted": "This node signed a certificate for a new member."; "nothing";
    "admission.refused": "A node of the network refused the certificate that this one asked for. It goes on asking others."; "ask for a new ticket if it stays";
    "admission.silent": "No node of the ticket answers yet. The node tries for ever."; "start one of them, or check the way to them";
    "certificate.none": "A new certificate was asked for and none came. The node goes on asking."; "start a node that holds the authority key";
    "certificate.renew": "This node could not renew its own certificate."; "look at the error; the old one holds until it ends";
    "certificate.renewed": "The certificate was renewed."; "nothing";
    "certificate.save": "The new certificate could not be written. It is used until the node ends."; "make room, or mend the rights of the data folder";
    "clock.leapt": "The clocks leapt: this machine slept or was stopped."; "nothing, if that was meant";
    "entry.dnsFallback": "No entry point answers, so DNS is asked for the names in [network] dns_fallback."; "check the entry points: potluck doctor";
    "entry.tooManyNames": "The list [network] dns_fallback has more names than are used."; "take some out";
    "fetches.read": "The list of the last run's fetches cannot be read. They do not go on by themselves."; "begin them again: potluck fetch LINK";
    "fetches.write": "The list of fetches cannot be written. After a restart they do not go on by themselves."; "make room, or mend the rights of the data folder";
    "files.announce": "What is shared cannot be read to be announced. Other nodes may not find it."; "run potluck verify DIR";
    "files.cache": "The cache of files could not be brought to its size."; "look at the error and at the disk";
    "files.falseData": "A node sent bytes that are not those of the link. They were thrown away, and others are asked."; "nothing; if one peer does it often, look at its disk";
    "files.falseTree": "A node sent a false hash tree. It was thrown away, and others are asked."; "nothing; if one peer does it often, look at its disk";
    "files.names": "The names of what is shared cannot be read, so searches do not find it here."; "run potluck verify DIR";
    "files.unreadable": "A shared file cannot be read. It is not sent."; "give the node's user the right to read it, or unshare it";
    "files.watch": "The shared files could not be compared with the disk."; "look at the error and at the disk";
    "files.wrongLength": "A node sent a piece of a wrong length. It was thrown away, and others are asked."; "nothing";
    "folder.authority": "The file of the authority key had bytes behind the key. It was made whole."; "nothing";
    "folder.authorityCut": "The file of the authority key was cut off. It was set aside, and the node goes on without the key."; "import the key again: potluck network key import FILE";
    "folder.identity": "The file of the identity had bytes behind the key. It was made whole."; "nothing";
    "folder.network": "The file of the network was cut off at its end. It was made whole."; "nothing";
    "folder.peers": "The peers of the last run cannot be read. The node goes on with its entry points."; "nothing, if it joins";
    "folder.peersDamaged": "Lines of the last run's peers are damaged. They were left out."; "nothing, if it joins";
    "folder.proofs": "The proofs of double identities cannot be read."; "run potluck verify DIR";
    "internal.command": "A command failed in a way that it should not."; "report this as a bug, with potluck doctor --bundle FILE";
    "internal.output": "A part of the node gave an answer that nothing asked for."; "report this as a bug, with potluck doctor --bundle FILE";
    "internal.question": "A part of the node asked the wrong one."; "report this as a bug, with potluck doctor --bundle FILE";
    "issuer.book": "The book of admitted members cannot be written. A ticket may let in once more than it should."; "make room, or mend the rights of the data folder";
    "issuer.bookCut": "The last line of the book of admitted members was cut off. It was dropped."; "nothing";
    "issuer.bookDamaged": "Lines of the book of admitted members are damaged. Tickets that they told of may let in once more."; "cancel open tickets: potluck invite --list, potluck revoke ID";
    "lan.beacon": "A local network cannot be searched by the beacon."; "name an entry point, or let UDP broadcasts through";
    "lan.dnssd": "Multicast DNS does not work here; local networks are searched by the beacon only."; "nothing, if nodes are found";
    "lan.dnssdFlooded": "Multicast DNS is flooded; local networks are searched by the beacon only from now on."; "find what floods the network";
    "listen.family": "This machine lacks an address family. The node goes on with the other."; "nothing, if that was meant";
    "listen.noAddress": "This machine has no address of a family, so it is not reached by it."; "nothing, if that was meant";
    "listen.publicLab": "The machine has a public address, at which a lab network would be open to all. It is not used."; "name a private address with --listen";
    "panic": "The program stopped at a fault of its own."; "report this as a bug, with the lines around it";
    "peer.ignored": "Several requests of a node carried bad signatures. It is ignored for a while."; "look at that machine";
    "peers.save": "The peers for the next start cannot be written."; "make room, or mend the rights of the data folder";
    "puzzle.solved": "This node solved the puzzle of its open network."; "nothing to do";
    "puzzle.unsolved": "This node has no accepted solution of the puzzle of its open network."; "wait while it goes on; if it stays, set this machine's clock";
    "revocations.save": "The list of members that were put out cannot be written. After a restart it is learnt again from others."; "make room, or mend the rights of the data folder";
    "settings.save": "The settings of the network cannot be written. After a restart they are learnt again from others."; "make room, or mend the rights of the data folder";
    "socket.receive": "The socket gave an error. The node goes on."; "look at the error and at the network of the machine";
    "store.damaged": "There is damage on the disk. The store writes its rows anew without it, and asks others for what was lost."; "look after the disk: smartctl -a, dmesg";
    "store.healed": "The store is whole again."; "look after the disk, which had damage";
    "system.randomness": "The system gives no randomness after a sleep. The node stops sending, since numbers could repeat."; "look at the system's log, and restart the node";
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::doctor::codes;

    #[test]
    fn a_code_is_in_one_table_and_in_its_order() {
        for table in [ERRORS, LINES] {
            assert!(table.is_sorted_by_key(|it| it.code));
            let all: BTreeSet<&str> = table.iter().map(|it| it.code).collect();
            assert_eq!(all.len(), table.len());
        }
        for finding in codes::ALL {
            assert_eq!(find(finding.code), None, "{} is in two tables", finding.code);
        }
    }

    #[test]
    fn a_text_is_whole_sentences_and_its_action_a_clause() {
        for ErrorCode { code, when, action } in ERRORS.iter().chain(LINES) {
            assert!(when.ends_with('.') && when.starts_with(char::is_uppercase), "{code}: {when}");
            let clause = !action.ends_with('.') && !action.starts_with(char::is_uppercase);
            assert!(clause && action.len() > 6, "{code}: {action}");
        }
    }
}
