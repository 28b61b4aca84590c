//! Listing the names of records.

use std::pin::Pin;

use potluck_kv::NamesListed;
use potluck_node::ask::Names;
use potluck_record::{NAMES_PAGE_MAX, NamesQuery, Space};

use crate::{Kv, Node, Result};

impl Kv {
    /// Lists one page of the names that begin with `prefix`, in their order as bytes; await it to carry it
    /// out.
    ///
    /// If this node knows all members, it asks them, and the answer names those without an answer; otherwise
    /// the answer has the names of this node's own records. Continue with [`NamesRequest::after`] and the
    /// answer's `next`; a page may be empty and still have a `next`.
    pub fn names(&self, prefix: impl Into<String>) -> NamesRequest {
        let query = NamesQuery {
            space: Space::Commons,
            prefix: prefix.into(),
            after: None,
            until: None,
            limit: NAMES_PAGE_MAX,
        };
        NamesRequest { node: self.node().clone(), query }
    }
}

/// A request for a page of names. It is carried out when awaited.
#[derive(Debug, Clone)]
#[must_use = "a listing does nothing until it is awaited"]
pub struct NamesRequest {
    node: Node,
    query: NamesQuery,
}

impl NamesRequest {
    /// Where the records live. Default: [`Space::Commons`]. Records in [`Space::Content`] have no names.
    pub fn space(mut self, space: Space) -> Self {
        self.query.space = space;
        self
    }

    /// Only names after this one.
    pub fn after(mut self, name: impl Into<String>) -> Self {
        self.query.after = Some(name.into());
        self
    }

    /// Most names of the page, at most [`NAMES_PAGE_MAX`], which is the default.
    pub fn limit(mut self, names: u32) -> Self {
        self.query.limit = names;
        self
    }
}

impl IntoFuture for NamesRequest {
    type Output = Result<NamesListed>;
    type IntoFuture = Pin<Box<dyn Future<Output = Result<NamesListed>> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { self.node.ask(Names { query: self.query }).await })
    }
}
