//! `ls`: the names of records.

use serde_json::json;

use super::table::{bytes, short, table};
use crate::api::{NameEntry, Names};
use crate::cli::{Global, LsArgs};
use crate::client::{Client, with_query};
use crate::failure::Failure;
use crate::out::Out;
use crate::text::count;

/// Names of one request. More names take fewer requests and more memory at once.
const PAGE: usize = 1000;
/// Most names in the one object of `--json`. If there are more, `next` says where to continue.
const OBJECT_MAX: usize = 100_000;
/// Members without an answer that are named.
const SILENT_MAX: usize = 64;

/// Runs the command.
pub(crate) fn run(global: &Global, args: &LsArgs) -> Result<(), Failure> {
    let out = global.out();
    let client = Client::of(global)?;
    let mut pages = Pages::new(&client, args.space.as_deref(), &args.prefix);
    let mut object = Vec::new();
    let mut any = false;
    let mut cut = false;
    while let Some(names) = pages.next()? {
        any |= !names.is_empty();
        if out.json {
            object.extend(names);
            cut = object.len() >= OBJECT_MAX;
            if cut {
                break;
            }
        } else {
            print(out, args.long, &names)?;
        }
    }
    let told = pages.told();
    if out.json {
        let next = told.next.as_deref().filter(|_| cut);
        return out.object(&json!({
            "names": object, "complete": told.complete, "mode": told.mode,
            "membersAsked": told.members_asked, "membersAnswered": told.members_answered,
            "membersSilent": told.members_silent, "next": next,
        }));
    }
    if !any {
        out.note("no record has a name that begins so");
    }
    incomplete(out, told);
    Ok(())
}

/// Prints what may be missing from a list.
pub(super) fn incomplete(out: Out, told: &Names) {
    if told.complete {
        return;
    }
    if told.mode == "open" {
        return out.note("these are the names that this node holds; other nodes may hold more");
    }
    let silent = told.members_asked.saturating_sub(told.members_answered);
    let ids: Vec<&str> = told.members_silent.iter().map(|id| short(id)).collect();
    let of = count(told.members_asked, "member");
    out.trouble(format!(
        "the list may be incomplete: {silent} of {of} did not answer: {}",
        ids.join(", ")
    ));
}

fn print(out: Out, long: bool, names: &[NameEntry]) -> Result<(), Failure> {
    if !long {
        return names.iter().try_for_each(|entry| out.data(&entry.name));
    }
    let rows: Vec<[String; 5]> = names.iter().map(row).collect();
    if rows.is_empty() { Ok(()) } else { out.bytes(table(&rows).as_bytes()) }
}

fn row(entry: &NameEntry) -> [String; 5] {
    let siblings = match entry.siblings {
        1 => "-".to_owned(),
        more => count(more, "sibling"),
    };
    let until = entry.expires_at.get(..19).unwrap_or(&entry.expires_at);
    [entry.kind.clone(), bytes(entry.bytes), format!("{until}Z"), siblings, entry.name.clone()]
}

/// The pages of a listing, one after the other.
pub(super) struct Pages<'a> {
    client: &'a Client,
    space: Option<&'a str>,
    prefix: &'a str,
    /// The counts of all pages so far; of the names only where to continue.
    told: Option<Names>,
}

impl<'a> Pages<'a> {
    pub(super) const fn new(client: &'a Client, space: Option<&'a str>, prefix: &'a str) -> Self {
        Self { client, space, prefix, told: None }
    }

    /// The next names; `None` after the last.
    ///
    /// # Errors
    /// The problem that the node reports.
    pub(super) fn next(&mut self) -> Result<Option<Vec<NameEntry>>, Failure> {
        let after = match &self.told {
            None => None,
            Some(Names { next: None, .. }) => return Ok(None),
            Some(told) => told.next.clone(),
        };
        let query = [
            ("prefix", Some(self.prefix.to_owned())),
            ("space", self.space.map(str::to_owned)),
            ("after", after),
            ("limit", Some(PAGE.to_string())),
        ];
        let mut page: Names = self.client.get_json(&with_query("/v1/keys", &query))?;
        let names = std::mem::take(&mut page.names);
        match &mut self.told {
            None => self.told = Some(page),
            Some(told) => join(told, page),
        }
        Ok(Some(names))
    }

    /// What the pages reported about their completeness; empty before the first page.
    pub(super) fn told(&self) -> &Names {
        static NOTHING: Names = Names {
            names: Vec::new(),
            complete: false,
            mode: String::new(),
            members_asked: 0,
            members_answered: 0,
            members_silent: Vec::new(),
            next: None,
        };
        self.told.as_ref().unwrap_or(&NOTHING)
    }
}

/// Adds the counts of a further page: the whole is as complete as its least complete page.
fn join(told: &mut Names, page: Names) {
    told.next = page.next;
    let missing = |names: &Names| names.members_asked.saturating_sub(names.members_answered);
    let (asked, answered) = (page.members_asked, page.members_answered);
    if asked.saturating_sub(answered) > missing(told) {
        (told.members_asked, told.members_answered) = (asked, answered);
    }
    told.complete &= page.complete;
    for id in page.members_silent {
        if told.members_silent.len() < SILENT_MAX && !told.members_silent.contains(&id) {
            told.members_silent.push(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(asked: usize, answered: usize, silent: &[&str]) -> Names {
        Names {
            complete: asked == answered,
            mode: "fleet".to_owned(),
            members_asked: asked,
            members_answered: answered,
            members_silent: silent.iter().map(|&id| id.to_owned()).collect(),
            ..Names::default()
        }
    }

    #[test]
    fn one_page_without_a_member_makes_the_list_incomplete() {
        let mut told = page(3, 3, &[]);
        join(&mut told, page(3, 2, &["a"]));
        join(&mut told, page(3, 2, &["b"]));
        join(&mut told, page(2, 2, &[]));
        assert!(!told.complete);
        assert_eq!((told.members_asked, told.members_answered), (3, 2));
        assert_eq!(told.members_silent, ["a", "b"]);
    }

    #[test]
    fn siblings_are_marked_and_one_value_is_not() {
        let entry = |siblings| NameEntry {
            name: "n".to_owned(),
            key: String::new(),
            kind: "siblings".to_owned(),
            bytes: 2048,
            siblings,
            expires_at: "2026-11-29T00:00:00.000Z".to_owned(),
        };
        assert_eq!(row(&entry(1))[1..], ["2.0 KiB", "2026-11-29T00:00:00Z", "-", "n"]);
        assert_eq!(row(&entry(2))[3], "2 siblings");
    }
}
