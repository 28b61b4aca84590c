//! `/v1/search`: shared files by the words in their names.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use potluck::{FileLink, LinkKind, Node, SearchResult};
use potluck_wire::search::{WORD_CHARS_MAX, WORDS_BYTES_MAX, WORDS_MAX};
use serde::Deserialize;

use super::app::App;
use super::extract::Asked;
use super::problem::Problem;
use super::reply::json;
use crate::api::{FoundFile, ProblemBody, Search};

/// The query of a search.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SearchQuery {
    q: String,
}

/// Shared files in whose names all these words are, found from node to node.
#[utoipa::path(get, path = "/v1/search",
    params(("q" = String, Query, description = "one to eight words of at most 32 letters; from three letters on one also finds longer ones that begin so")),
    responses(
        (status = 200, body = Search),
        (status = 400, body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, body = ProblemBody, content_type = "application/problem+json", description = "too many searches; Retry-After says when the next one may begin"),
        (status = 503, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn search(
    State(app): State<Arc<App>>,
    Asked(query): Asked<SearchQuery>,
) -> Result<Response, Problem> {
    let words = words(&query.q).map_err(|wrong| Problem::bad("badSearch", wrong))?;
    let SearchResult { files, rings } = app.node().search(words.clone()).await?;
    let results = files.iter().map(|file| shown(app.node(), file)).collect();
    Ok(json(&Search { words, results, rings }))
}

/// The words of a text: the sequences of letters and digits between other characters.
///
/// # Errors
/// A sentence that says why the text cannot be searched for.
pub(crate) fn words(text: &str) -> Result<Vec<String>, String> {
    let parts = text.split(|letter: char| !letter.is_alphanumeric());
    let words: Vec<String> = parts.filter(|part| !part.is_empty()).map(str::to_owned).collect();
    if !(1..=WORDS_MAX).contains(&words.len()) {
        return Err(format!("a search has 1 to {WORDS_MAX} words of letters or digits"));
    }
    let short = words.iter().all(|word| word.chars().count() <= WORD_CHARS_MAX);
    if !short || words.iter().map(String::len).sum::<usize>() > WORDS_BYTES_MAX {
        return Err(format!(
            "a word to look for has at most {WORD_CHARS_MAX} letters, all together {WORDS_BYTES_MAX} bytes"
        ));
    }
    Ok(words)
}

fn shown(node: &Node, file: &potluck::FoundFile) -> FoundFile {
    let kind = if file.folder { LinkKind::Folder } else { LinkKind::File };
    let holder = match &file.holder {
        Some(holder) => holder.node_id(&node.network().id),
        None => node.node_id(),
    };
    FoundFile {
        link: FileLink::new(kind, file.root, &file.name).to_string(),
        id: file.root.to_string(),
        name: file.name.clone(),
        bytes: file.bytes,
        folder: file.folder,
        holder: holder.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_has_a_few_words_of_some_letters() {
        assert_eq!(words(" soup-of.éé ").expect("words"), ["soup", "of", "éé"]);
        for wrong in ["", " . ", "a b c d e f g h i", &"x".repeat(33)] {
            assert!(words(wrong).is_err(), "{wrong}");
        }
    }
}
