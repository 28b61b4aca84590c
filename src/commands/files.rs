//! `files`, `unshare`, `pin`, `unpin`, `gc`: the files of this node and why it keeps them.

use potluck::{BlobId, FileLink};
use serde_json::Value;

use super::table::{bytes, short, table};
use crate::api::{FileEntry, Files, Gc};
use crate::cli::{FileArgs, FilesArgs, GcArgs, Global};
use crate::client::{Client, with_query};
use crate::failure::{Exit, Failure};
use crate::out::Out;
use crate::text::printable;

/// Least digits of an id prefix. With fewer, a prefix matches several files by chance.
const DIGITS_MIN: usize = 6;

/// Files in one request.
const PAGE: u64 = 1000;

/// Runs `files`: page by page, so that neither the node nor the program holds the whole list.
pub(crate) fn list(global: &Global, args: &FilesArgs) -> Result<(), Failure> {
    let (out, client) = (global.out(), Client::of(global)?);
    let after = args.after.as_deref().map(|typed| id_of(&client, typed)).transpose()?;
    let mut after = after.map(|id| id.to_string());
    let mut left = if args.all { u64::MAX } else { args.limit };
    let mut first = true;
    loop {
        let answer = client.get(&page_of(after.as_deref(), left.min(PAGE)))?;
        let object: Value = answer.json()?;
        let page: Files = serde_json::from_value(object.clone()).map_err(Failure::failed)?;
        if out.json {
            out.object(&object)?;
        } else if page.files.is_empty() && first {
            out.note("this node has no files yet; offer one with potluck share PATH");
        } else {
            let heading = ["id", "bytes", "state", "why", "name", "path"].map(str::to_owned);
            let mut rows: Vec<[String; 6]> = first.then_some(heading).into_iter().collect();
            rows.extend(page.files.iter().map(row));
            out.bytes(table(&rows).as_bytes())?;
        }
        left = left.saturating_sub(page.files.len() as u64);
        first = false;
        let Some(next) = page.next else { return Ok(()) };
        if left == 0 {
            let more = format!("there are more: potluck files --after {}", short(&next));
            out.note(more);
            return Ok(());
        }
        after = Some(next);
    }
}

fn page_of(after: Option<&str>, limit: u64) -> String {
    let after = after.map(|id| format!("&after={id}")).unwrap_or_default();
    format!("/v1/files?limit={limit}{after}")
}

fn row(file: &FileEntry) -> [String; 6] {
    let state = match (file.state.as_str(), file.bytes) {
        ("partial", 1..) => {
            format!("{:.0} %", file.have_bytes as f64 / file.bytes as f64 * 100.0)
        }
        (state, _) => state.to_owned(),
    };
    let why = [(file.shared, "shared"), (file.pinned, "pinned"), (file.in_use, "in use")];
    let why: Vec<&str> = why.iter().filter(|(is, _)| *is).map(|(_, word)| *word).collect();
    [
        short(&file.id).to_owned(),
        bytes(file.bytes),
        state,
        if why.is_empty() { "cached".to_owned() } else { why.join(", ") },
        printable(&file.name),
        file.path.as_deref().map_or_else(|| "-".to_owned(), printable),
    ]
}

/// Runs `unshare`.
pub(crate) fn unshare(global: &Global, args: &FileArgs) -> Result<(), Failure> {
    let client = Client::of(global)?;
    let id = id_of(&client, &args.id)?;
    // A link has the name under which it was shared, perhaps one of several.
    let name = args.id.parse::<FileLink>().ok().and_then(|link| link.name().map(str::to_owned));
    let path = with_query(&format!("/v1/files/{id}"), &[("name", name)]);
    let answer = client.request("DELETE", &path, &[], None)?.good()?;
    let object: Value = answer.json()?;
    if object["shared"] == true {
        let message = "the same bytes are still offered under another name; see potluck files";
        global.out().note(message);
    }
    say(global.out(), &object, "no longer offered: ", &id)
}

/// Runs `pin` and `unpin`.
pub(crate) fn pin(global: &Global, args: &FileArgs, pinned: bool) -> Result<(), Failure> {
    let client = Client::of(global)?;
    let id = id_of(&client, &args.id)?;
    let headers = [("content-type", "application/json")];
    let path = format!("/v1/pins/{id}");
    let answer = if pinned {
        client.request("PUT", &path, &headers, Some(b""))?
    } else {
        client.request("DELETE", &path, &[], None)?
    };
    say(global.out(), &answer.good()?.json()?, if pinned { "pinned: " } else { "unpinned: " }, &id)
}

fn say(out: Out, object: &Value, done: &str, id: &BlobId) -> Result<(), Failure> {
    if out.json { out.object(object) } else { out.line(format_args!("{done}{id}")) }
}

/// The file that is meant: by its id, by its link, or by a prefix of the id of a file that the node has.
fn id_of(client: &Client, typed: &str) -> Result<BlobId, Failure> {
    if let Ok(id) = typed.parse() {
        return Ok(id);
    }
    if typed.starts_with("potluck:") {
        let link = typed.parse::<FileLink>();
        return link
            .map(|link| link.id)
            .map_err(|error| Failure::new(Exit::Usage, "badLink", error));
    }
    let digits = typed.len() >= DIGITS_MIN && typed.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !digits {
        let message = "an id is 64 hexadecimal digits, or at least 6 of its first ones";
        return Err(Failure::new(Exit::Usage, "badId", message).hint("see potluck files"));
    }
    let typed = typed.to_ascii_lowercase();
    // The list is in the order of the ids.
    let page = page_of(before(&typed).as_deref(), 2);
    let Files { files, .. } = client.get_json(&page)?;
    let mut matching = files.iter().filter(|file| file.id.starts_with(&typed));
    match (matching.next(), matching.next()) {
        (Some(only), None) => {
            only.id.parse().map_err(|_| Failure::failed("the node sent an id that is none"))
        }
        (None, _) => {
            let message = format!("this node has no file whose id begins with {typed}");
            Err(Failure::new(Exit::Absent, "absent", message).hint("see potluck files"))
        }
        (Some(_), Some(_)) => {
            let message = format!("several files have ids that begin with {typed}");
            Err(Failure::new(Exit::Usage, "badId", message).hint("give more of its digits"))
        }
    }
}

/// The last id before all that begin with these hexadecimal digits; `None` if there is none.
fn before(digits: &str) -> Option<String> {
    let mut id: Vec<u8> = format!("{digits:0<64}").into_bytes();
    let last = id.iter().rposition(|digit| *digit != b'0')?;
    id[last + 1..].fill(b'f');
    id[last] = match id[last] {
        b'a' => b'9',
        digit => digit - 1,
    };
    String::from_utf8(id).ok()
}

/// Runs `gc`.
pub(crate) fn gc(global: &Global, args: &GcArgs) -> Result<(), Failure> {
    let out = global.out();
    let path = format!("/v1/gc?dryRun={}", args.dry_run);
    let answer = Client::of(global)?.post(&path, None)?;
    if out.json {
        return out.object(&answer.json::<Value>()?);
    }
    let gc: Gc = answer.json()?;
    let mut rows = vec![["id", "bytes", "what", "why"].map(str::to_owned)];
    let goes = if gc.dry_run { "would go" } else { "removed" };
    for (what, entries) in [(goes, &gc.removed), ("stays", &gc.kept)] {
        rows.extend(entries.iter().map(|entry| {
            [
                short(&entry.id).to_owned(),
                bytes(entry.bytes),
                what.to_owned(),
                printable(&entry.reason),
            ]
        }));
    }
    if rows.len() > 1 {
        out.bytes(table(&rows).as_bytes())?;
    }
    out.line(format!(
        "{} {} ({}); {} stay in the cache",
        gc.removed_count,
        goes,
        bytes(gc.freed_bytes),
        bytes(gc.cached_bytes)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> FileEntry {
        FileEntry {
            id: "ab".repeat(32),
            link: None,
            name: "a\x1b[2J".into(),
            bytes: 200,
            have_bytes: 50,
            files: None,
            path: None,
            state: "partial".into(),
            shared: false,
            pinned: false,
            in_use: false,
        }
    }

    #[test]
    fn a_file_says_how_far_it_is_and_why_it_is_here() {
        let cells = row(&entry());
        assert_eq!(cells, ["abababababab", "200 bytes", "25 %", "cached", "a?[2J", "-"]);
        let kept = FileEntry { shared: true, pinned: true, state: "complete".into(), ..entry() };
        assert_eq!(row(&kept)[2..4], ["complete", "shared, pinned"]);
    }

    #[test]
    fn the_id_before_a_beginning_is_right_before_the_first_that_has_it() {
        let all = |digit: &str, count| digit.repeat(count);
        assert_eq!(before("000000"), None);
        assert_eq!(before("abcdef"), Some(format!("abcdee{}", all("f", 58))));
        assert_eq!(before("12a000"), Some(format!("129{}", all("f", 61))));
        assert_eq!(before("100000"), Some(format!("0{}", all("f", 63))));
    }

    #[test]
    fn what_is_neither_id_nor_link_is_refused_before_anybody_is_asked() {
        let nobody = Client::new("http://127.0.0.1:1".into(), None);
        for wrong in ["", "abc", "not-hex-at-all", "potluck:nonsense"] {
            assert_eq!(id_of(&nobody, wrong).expect_err(wrong).exit, Exit::Usage);
        }
        let id = id_of(&nobody, &"ab".repeat(32)).expect("an id");
        assert_eq!(id.to_string(), "ab".repeat(32));
    }
}
