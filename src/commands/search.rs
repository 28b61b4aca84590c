//! `search`: shared files by the words in their names.

use serde_json::Value;

use super::table::{bytes, short, table};
use crate::api::{FoundFile, Search};
use crate::cli::{Global, SearchArgs};
use crate::client::{Client, with_query};
use crate::failure::{Exit, Failure};
use crate::http::search_words;

/// Runs the command.
pub(crate) fn run(global: &Global, args: &SearchArgs) -> Result<(), Failure> {
    let words = args.words.join(" ");
    search_words(&words).map_err(Failure::usage)?;
    let out = global.out();
    let answer = Client::of(global)?.get(&with_query("/v1/search", &[("q", Some(words))]))?;
    let search: Search = answer.json()?;
    if search.results.is_empty() {
        let message = "no shared file with these words in its name was found";
        return Err(Failure::new(Exit::Absent, "absent", message)
            .hint("try fewer words; only names of files that are shared now are found"));
    }
    if out.json {
        return out.object(&answer.json::<Value>()?);
    }
    let mut rows = vec![["link", "size", "name", "node"].map(str::to_owned)];
    rows.extend(search.results.iter().map(row));
    out.bytes(table(&rows).as_bytes())
}

fn row(file: &FoundFile) -> [String; 4] {
    let FoundFile { link, bytes: size, name, holder, .. } = file;
    [link.clone(), bytes(*size), name.clone(), short(holder).to_owned()]
}
