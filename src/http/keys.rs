//! `/v1/keys`: the names of records.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::response::Response;
use potluck::{NamesListed, NodeId};
use potluck_record::limits::NAME_BYTES_MAX;
use potluck_record::{NAMES_PAGE_MAX, NamedState, Space};
use serde::Deserialize;

use super::app::App;
use super::extract::{Asked, Target};
use super::problem::Problem;
use super::reply::json;
use crate::api::{NameEntry, Names, ProblemBody, rfc3339};

/// Names of one answer, if the request does not say.
const LIMIT_DEFAULT: usize = 1000;
/// Most names of one answer. Raising it lets one answer take more memory.
const LIMIT_MAX: usize = 10_000;
/// Time after which an answer ends with the names that it has, before the request's time limit is over.
const TIME_MAX: Duration = Duration::from_secs(15);
/// Most ids of members without an answer in a response.
const SILENT_MAX: usize = 64;

/// The query of a listing.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NamesQuery {
    #[serde(default)]
    prefix: String,
    space: Option<String>,
    after: Option<String>,
    limit: Option<usize>,
}

/// The names of records that have a live value, in their order as bytes.
#[utoipa::path(get, path = "/v1/keys",
    params(
        ("prefix" = Option<String>, Query, description = "only names that begin so"),
        ("space" = Option<String>, Query, description = "commons (default), own, own/<node id>, team/<id>"),
        ("after" = Option<String>, Query, description = "only names behind this one: `next` of the page before"),
        ("limit" = Option<usize>, Query, description = "most names, 1 to 10000, by default 1000; a page may hold fewer and have a next one"),
    ),
    responses(
        (status = 200, body = Names),
        (status = 400, body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, body = ProblemBody, content_type = "application/problem+json", description = "no member could be asked"),
    ))]
pub(super) async fn list(
    State(app): State<Arc<App>>,
    Asked(query): Asked<NamesQuery>,
) -> Result<Response, Problem> {
    let NamesQuery { prefix, space, after, limit } = query;
    let limit = limit.unwrap_or(LIMIT_DEFAULT);
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(Problem::bad("badQuery", format!("limit is 1 to {LIMIT_MAX}")));
    }
    let long = |text: &str| text.len() > NAME_BYTES_MAX;
    if long(&prefix) || after.as_deref().is_some_and(long) {
        return Err(Problem::bad("badQuery", format!("a name has at most {NAME_BYTES_MAX} bytes")));
    }
    let space = Target::of(app.node(), "-", space.as_deref()).await?.space;
    if space == Space::Content {
        return Err(Problem::bad("badSpace", "records in space content have keys and no names")
            .hint("list commons or own"));
    }
    let began = Instant::now();
    let mut listing = Listing { space, ..Listing::default() };
    listing.next = after;
    loop {
        let left = limit - listing.names.len();
        let page = left.min(NAMES_PAGE_MAX as usize) as u32;
        let mut request = app.node().kv().names(prefix.clone()).space(space).limit(page);
        if let Some(after) = listing.next.take() {
            request = request.after(after);
        }
        listing.take(request.await?);
        let full = listing.names.len() >= limit || began.elapsed() >= TIME_MAX;
        if full || listing.next.is_none() {
            return Ok(json(&listing.answer()));
        }
    }
}

/// Several pages of a listing as one.
struct Listing {
    space: Space,
    names: Vec<NamedState>,
    next: Option<String>,
    all_members: bool,
    asked: usize,
    /// Fewest answers to one page.
    answered: Option<usize>,
    silent: BTreeMap<NodeId, ()>,
}

impl Default for Listing {
    fn default() -> Self {
        Self {
            space: Space::Commons,
            names: Vec::new(),
            next: None,
            all_members: false,
            asked: 0,
            answered: None,
            silent: BTreeMap::new(),
        }
    }
}

impl Listing {
    fn take(&mut self, page: NamesListed) {
        self.names.extend(page.names);
        self.next = page.next;
        self.all_members = page.all_members;
        // Members come and go: the page with the fewest answers says how complete the list is.
        let missing = |asked: usize, answered: usize| asked.saturating_sub(answered);
        let before = self.answered.map(|answered| missing(self.asked, answered));
        if before.is_none_or(|before| missing(page.asked, page.answered) >= before) {
            (self.asked, self.answered) = (page.asked, Some(page.answered));
        }
        for peer in page.silent {
            if self.silent.len() < SILENT_MAX {
                self.silent.insert(peer.id, ());
            }
        }
    }

    fn answer(self) -> Names {
        let space = self.space;
        let answered = self.answered.unwrap_or_default();
        let mode = if self.all_members { potluck::Mode::Fleet } else { potluck::Mode::Open };
        Names {
            names: self.names.into_iter().map(|state| entry(&space, &state)).collect(),
            complete: self.all_members && answered == self.asked,
            mode: mode.as_str().to_owned(),
            members_asked: self.asked,
            members_answered: answered,
            members_silent: self.silent.keys().map(ToString::to_string).collect(),
            next: self.next,
        }
    }
}

fn entry(space: &Space, state: &NamedState) -> NameEntry {
    let key = space.key(&state.name).map(|key| key.to_string());
    NameEntry {
        name: state.name.to_string(),
        key: key.unwrap_or_default(),
        kind: state.kind.to_string(),
        bytes: state.bytes,
        siblings: state.values,
        expires_at: rfc3339(state.expires.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(asked: usize, answered: usize, next: Option<&str>) -> NamesListed {
        let next = next.map(str::to_owned);
        NamesListed { names: Vec::new(), next, all_members: true, asked, answered, silent: vec![] }
    }

    #[test]
    fn a_list_is_as_complete_as_its_least_complete_page() {
        let mut listing = Listing::default();
        for (asked, answered) in [(5, 5), (5, 4), (4, 4)] {
            listing.take(page(asked, answered, Some("n")));
        }
        let answer = listing.answer();
        assert!(!answer.complete);
        assert_eq!((answer.members_asked, answer.members_answered), (5, 4));
        let mut listing = Listing::default();
        listing.take(page(1, 1, None));
        assert!(listing.answer().complete);
        let mut listing = Listing::default();
        listing.take(NamesListed { all_members: false, ..page(1, 1, None) });
        let answer = listing.answer();
        assert!(!answer.complete && answer.mode == "open");
    }
}
