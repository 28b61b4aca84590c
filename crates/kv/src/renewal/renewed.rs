//! The envelope that renews the writer's last one: the same values under the same dots, with a later
//! end. It supersedes nothing but its predecessor.

use bytes::Bytes;
use potluck_base::UnixMillis;
use potluck_record::limits::CLOCK_AHEAD_MAX;
use potluck_record::{Context, Dot, Draft, Envelope, Name, SignedHead, Space, State};

use super::life::{is_renewable, renewable};
use crate::admissible::is_admissible;
use crate::command::CommandError;
use crate::successor::{Basis, Writer};

/// The renewed envelope. [`CommandError::Absent`] if there is nothing to renew: no value that is renewed
/// lives, and nothing that this envelope covers outlives it.
pub(crate) fn renewed(
    writer: &Writer<'_>,
    basis: &Basis<'_>,
    wall: UnixMillis,
) -> Result<Envelope, CommandError> {
    let own = basis.own.envelope.filter(|_| !basis.own.taken_back).ok_or(CommandError::Absent)?;
    let (head, me) = (own.head(), writer.identity.public_key());
    let mut context = own_context(writer, head, wall);
    let superseded = superseded(basis.heads, head, wall);
    if superseded > Dot::ZERO {
        context.cover(me, superseded);
    }
    let end = renewable(wall, writer.config.life_default);
    let last = basis.heads.of(&me).map(SignedHead::dot).unwrap_or_default().max(head.dot());
    let dot = Dot::next(last, wall);
    let mut lives = false;
    let mut values: Vec<(Dot, UnixMillis, Bytes)> = Vec::new();
    for (value, bytes) in own.values() {
        if value.expires() <= wall || value.dot() <= superseded {
            continue;
        }
        lives |= is_renewable(value);
        let expires = if is_renewable(value) { end.max(value.expires()) } else { value.expires() };
        // Content has one value, whose dot is that of its envelope.
        let value_dot = if head.space() == Space::Content { dot } else { value.dot() };
        values.push((value_dot, expires, bytes));
    }
    let outlived = covered_until(basis.heads, head);
    if !lives && outlived <= head.expires() {
        return Err(CommandError::Absent);
    }
    let ends = values.iter().map(|(_, expires, _)| *expires);
    let expires = ends.chain([head.expires(), outlived]).max().unwrap_or(end);
    context.fit_to(writer.config.context_entries_max);
    let draft = Draft {
        space: head.space(),
        name: name_of(head),
        kind: head.kind(),
        values,
        dot,
        context,
        expires,
        certificate: writer.certificate,
    };
    let envelope = Envelope::sign(writer.identity, writer.network, draft)?;
    match is_admissible(writer.config, envelope.head(), wall) {
        true => Ok(envelope),
        false => Err(CommandError::Clock),
    }
}

/// The name in a head, which content has none of.
pub(crate) fn name_of(head: &SignedHead) -> Option<Name> {
    (head.space() != Space::Content).then(|| Name::new(head.name()).ok()).flatten()
}

/// The context of the last envelope, without entries too old to cover any value that still lives.
fn own_context(writer: &Writer<'_>, head: &SignedHead, wall: UnixMillis) -> Context {
    let forgotten = writer.config.life_max + CLOCK_AHEAD_MAX * 2;
    let recent = |dot: Dot| dot.millis().plus(forgotten) > wall;
    let mut context: Context = head
        .context()
        .iter()
        .filter(|(_, dot)| recent(*dot))
        .map(|(writer, dot)| (*writer, dot))
        .collect();
    if recent(head.context().floor()) {
        context.raise_floor(head.context().floor());
    }
    context
}

/// The highest dot among the values of `own` that an envelope of another writer covers.
fn superseded(heads: &State<SignedHead>, own: &SignedHead, wall: UnixMillis) -> Dot {
    if own.space() == Space::Content {
        return Dot::ZERO;
    }
    let mut covered = Context::new();
    let others = heads.iter().filter(|it| it.writer() != own.writer() && it.expires() > wall);
    others.for_each(|other| covered.join(other.context()));
    let dots = own.values().iter().map(potluck_record::ValueEntry::dot);
    dots.filter(|dot| covered.covers(&own.writer(), *dot)).max().unwrap_or_default()
}

/// The latest end of the values of other writers that `own` covers: it must live as long, or they would
/// be read again.
fn covered_until(heads: &State<SignedHead>, own: &SignedHead) -> UnixMillis {
    let others = heads.iter().filter(|it| it.writer() != own.writer());
    let covered = others.flat_map(|other| {
        let covers = |dot| own.context().covers(&other.writer(), dot);
        other
            .values()
            .iter()
            .filter(move |it| covers(it.dot()))
            .map(potluck_record::ValueEntry::expires)
    });
    covered.max().unwrap_or_default()
}
