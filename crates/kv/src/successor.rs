//! The envelope that a write signs: the versions that it supersedes, the values that it keeps, and its
//! expiry.
//!
//! Pure functions of the write, of what this node has read, and of the clock: no request is sent here.

use std::collections::BTreeSet;

use bytes::Bytes;
use potluck_base::{Identity, Key, NetworkId, PublicKey, UnixMillis};
use potluck_record::limits::{CLOCK_AHEAD_MAX, PROVIDER_LIFE};
use potluck_record::{
    CertificateHash, Context, Dot, Draft, DraftError, Envelope, Kind, SignedHead, Space, State,
};

use crate::admissible::is_admissible;
use crate::apply::fit_context;
use crate::command::{CommandError, Put, WriteContext};
use crate::config::Config;
use crate::own_values::OwnValues;
use crate::renewal::life::{fixed, renewable};

/// The node that writes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Writer<'a> {
    pub(crate) identity: &'a Identity,
    pub(crate) network: &'a NetworkId,
    /// Names its certificate, where the network needs one.
    pub(crate) certificate: Option<CertificateHash>,
    pub(crate) config: &'a Config,
}

/// What a node has read of a record when it writes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Basis<'a> {
    /// The merged heads of the replicas and of this node's stores.
    pub(crate) heads: &'a State<SignedHead>,
    pub(crate) own: OwnValues<'a>,
}

/// What a write does to the state that was read.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Edit {
    /// The versions that it supersedes.
    pub(crate) context: Context,
    /// How readers merge its value with concurrent ones.
    pub(crate) kind: Kind,
}

/// Why the state that was read rules a write out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RuledOut {
    /// It has siblings that the write names no context for.
    Conflict,
    /// There is nothing to delete.
    Absent,
    /// It is a record of this kind, which is changed by operations.
    Kind(Kind),
}

/// Checks a write before any request is sent, and returns its key.
pub(crate) fn check(
    me: &PublicKey,
    config: &Config,
    put: &Put,
    wall: UnixMillis,
) -> Result<Key, CommandError> {
    if let Some(value) = &put.value
        && value.len() > config.value_bytes_max
    {
        return Err(DraftError::ValueTooLarge(value.len()).into());
    }
    if let Some(ttl) = put.ttl
        && ttl > config.life_max
    {
        return Err(CommandError::TooLong(config.life_max));
    }
    if let WriteContext::Given(context) = &put.context
        && names_future_versions(me, context, wall)
    {
        return Err(CommandError::BadContext);
    }
    if let Some(kind) = put.kind.filter(|kind| put.value.is_some() && kind.is_shared()) {
        let rule = kind.how_to_change().unwrap_or("records of this kind are changed by operations");
        return Err(DraftError::Rule(rule).into());
    }
    if !put.space.admits(me) {
        return Err(DraftError::Rule("only its owner writes to an own space").into());
    }
    match (&put.name, &put.value) {
        (Some(name), _) => put.space.key(name),
        (None, Some(value)) if put.space == Space::Content => Some(Space::content_key(value)),
        (None, _) => None,
    }
    .ok_or_else(|| DraftError::Rule("content has a value and no name, all else a name").into())
}

/// Whether a context names versions of other writers that lie in the future. Own versions do not
/// count: a node that wrote while its clock ran ahead reads such versions of its own.
fn names_future_versions(me: &PublicKey, context: &Context, wall: UnixMillis) -> bool {
    let latest = wall.plus(CLOCK_AHEAD_MAX);
    let others = context.iter().filter(|(writer, _)| *writer != me).map(|(_, dot)| dot);
    others.chain([context.floor()]).any(|dot| dot.millis() > latest)
}

/// Whether a write supersedes only the writer's own values: so do content and provider records.
pub(crate) fn is_unconditional(put: &Put) -> bool {
    matches!(put.space, Space::Content | Space::Provider)
}

impl Edit {
    /// What `put` does to the record that consists of `heads`.
    pub(crate) fn of(
        put: &Put,
        heads: &State<SignedHead>,
        wall: UnixMillis,
    ) -> Result<Self, RuledOut> {
        let live = heads.live(wall);
        let kind_of = |writer| heads.of(writer).map(SignedHead::kind);
        let kinds: Vec<Kind> = live.iter().filter_map(|live| kind_of(&live.writer)).collect();
        let replaces = put.value.is_some() && put.kind.is_none();
        if replaces && !kinds.is_empty() && kinds.iter().all(|kind| kind.is_shared()) {
            return Err(RuledOut::Kind(kinds[0]));
        }
        let context = match &put.context {
            WriteContext::Given(context) => context.clone(),
            WriteContext::Blind => Context::new(),
            WriteContext::Read if is_unconditional(put) => Context::new(),
            WriteContext::Read => {
                if values_read(&kinds) > 1 {
                    return Err(RuledOut::Conflict);
                }
                if put.value.is_none() && live.is_empty() {
                    return Err(RuledOut::Absent);
                }
                heads.context()
            }
        };
        let deletes = put.value.is_none() && put.context != WriteContext::Read;
        if deletes && !live.iter().any(|live| context.covers(&live.writer, live.dot)) {
            // The deletion would report success and change nothing.
            return Err(if live.is_empty() { RuledOut::Absent } else { RuledOut::Conflict });
        }
        let kind = match put.space {
            Space::Provider => Kind::PerWriter,
            Space::Content => Kind::Lww,
            Space::Own(_) | Space::Commons | Space::Team(_) | Space::Writers(_) => {
                let existing = live.first().and_then(|live| kind_of(&live.writer));
                // A deletion is of the kind that it deletes, so that it has that kind's places for writers.
                let existing = existing.filter(|kind| {
                    matches!(kind, Kind::Siblings | Kind::Lww)
                        || put.value.is_none() && kind.is_shared()
                });
                put.kind.or(existing).unwrap_or_default()
            }
        };
        Ok(Self { context, kind })
    }
}

/// The number of values that a reader sees of live values of these kinds: the last one of `lww`, and one
/// of all shares of a counter, set or map.
fn values_read(kinds: &[Kind]) -> usize {
    let folds = |kind: &Kind| *kind == Kind::Lww || kind.is_shared();
    let folded: BTreeSet<&Kind> = kinds.iter().filter(|kind| folds(kind)).collect();
    kinds.iter().filter(|kind| !folds(kind)).count() + folded.len()
}

/// The envelope that follows the writer's last one.
pub(crate) fn successor(
    writer: &Writer<'_>,
    basis: &Basis<'_>,
    put: &Put,
    edit: &Edit,
    wall: UnixMillis,
) -> Result<Envelope, CommandError> {
    let draft = draft(writer, basis, put, edit, wall)?;
    let envelope = Envelope::sign(writer.identity, writer.network, draft)?;
    // An envelope that every replica would refuse must not become this writer's own state.
    if is_admissible(writer.config, envelope.head(), wall) {
        Ok(envelope)
    } else {
        Err(CommandError::Clock)
    }
}

fn draft(
    writer: &Writer<'_>,
    basis: &Basis<'_>,
    put: &Put,
    edit: &Edit,
    wall: UnixMillis,
) -> Result<Draft, CommandError> {
    let me = writer.identity.public_key();
    let own = basis.own;
    // Replicas may hold newer dots of this writer than its own store, whose envelope expired.
    let told = basis.heads.of(&me).map(SignedHead::dot).unwrap_or_default();
    let seen = basis.heads.context().dot_of(&me);
    let last = own.last_dot().max(told).max(seen);
    let mut context = superseded(&me, writer.config, edit, last, wall);
    if own.envelope.is_some() && put.space != Space::Content {
        context.join(&own.context(&me, wall));
        if put.space == Space::Provider {
            context.cover(me, last);
        }
    }
    let mut dot = Dot::next(last, wall);
    let mut values = Vec::new();
    for (held, expires, bytes) in kept(&me, own, put, edit, &context, wall) {
        if own.taken_back {
            values.push((dot, expires.min(wall.plus(writer.config.life_max)), bytes));
            dot = Dot::next(dot, wall);
        } else {
            values.push((held, expires, bytes));
        }
    }
    let kind = edit.kind;
    if own.head().is_some_and(|own| own.kind() != kind) && !values.is_empty() {
        let rule = "one writer's unmerged values are of one kind; merge them first";
        return Err(DraftError::Rule(rule).into());
    }
    let life = put.ttl.unwrap_or(match put.space {
        Space::Provider => PROVIDER_LIFE,
        Space::Content | Space::Own(_) | Space::Commons | Space::Team(_) | Space::Writers(_) => {
            writer.config.life_default
        }
    });
    let end = match put.ttl {
        Some(_) => fixed(wall, life),
        None if put.space == Space::Provider => wall.plus(life),
        None => renewable(wall, life),
    };
    values.extend(put.value.clone().map(|value| (dot, end, value)));
    let expires = values
        .iter()
        .map(|(_, expires, _)| *expires)
        .chain([end, superseded_until(writer.config, basis.heads, &context, wall)])
        .chain(own.expires().filter(|_| !is_unconditional(put)))
        .max()
        .unwrap_or(end);
    let (space, name) = (put.space, put.name.clone());
    let certificate = writer.certificate;
    fit_context(&mut context, &me, writer.config.context_entries_max);
    Ok(Draft { space, name, kind, values, dot, context, expires, certificate })
}

/// The writer's own values that live on beside the new one: those that `context` does not cover.
fn kept(
    me: &PublicKey,
    own: OwnValues<'_>,
    put: &Put,
    edit: &Edit,
    context: &Context,
    wall: UnixMillis,
) -> Vec<(Dot, UnixMillis, Bytes)> {
    let envelope = own.envelope.filter(|_| put.space != Space::Content);
    let asked_away = |dot| own.taken_back && edit.context.covers(me, dot);
    envelope
        .iter()
        .flat_map(|envelope| envelope.values())
        .filter(|(entry, _)| {
            let covered = context.covers(me, entry.dot()) || asked_away(entry.dot());
            entry.expires() > wall && !covered
        })
        .map(|(entry, bytes)| (entry.dot(), entry.expires(), bytes))
        .collect()
}

/// The context that the write supersedes. Its entry for this writer is limited to dots that exist.
/// Entries too old to cover any unexpired value are dropped.
fn superseded(
    me: &PublicKey,
    config: &Config,
    edit: &Edit,
    last: Dot,
    wall: UnixMillis,
) -> Context {
    let forgotten = config.life_max + CLOCK_AHEAD_MAX * 2;
    let mut context: Context = edit
        .context
        .iter()
        .map(|(writer, seen)| (*writer, if writer == me { seen.min(last) } else { seen }))
        .filter(|(_, seen)| seen.millis().plus(forgotten) > wall)
        .collect();
    if edit.context.floor().millis().plus(forgotten) > wall {
        context.raise_floor(edit.context.floor());
    }
    context
}

/// The latest expiry of a superseded value. The new envelope must live as long, or the superseded
/// value would reappear.
fn superseded_until(
    config: &Config,
    heads: &State<SignedHead>,
    context: &Context,
    wall: UnixMillis,
) -> UnixMillis {
    if context.is_empty() {
        return UnixMillis(0);
    }
    let all_read = context.iter().all(|(writer, dot)| {
        heads.of(writer).is_some_and(|head| dot <= head.dot())
            || heads.context().covers(writer, dot)
    });
    let read = heads.last_expiry();
    if all_read { read } else { read.max(wall.plus(config.life_max)) }
}

#[cfg(test)]
mod tests;
