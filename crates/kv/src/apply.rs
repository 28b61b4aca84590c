//! Operations on counters, sets and maps: the envelope with a writer's next share.
//!
//! Pure functions of the operation, of what this node has read, and of the clock: no request is sent here.

use potluck_base::{Key, PublicKey, UnixMillis};
use potluck_record::limits::CLOCK_AHEAD_MAX;
use potluck_record::share::Author;
use potluck_record::{
    Context, Dot, Draft, DraftError, Envelope, Kind, Share, Shares, SignedHead, Space, State,
};

use crate::admissible::is_admissible;
use crate::command::{Apply, CommandError};
use crate::config::Config;
use crate::renewal::life::renewable;
use crate::successor::{Basis, Writer};

/// Checks an operation before any request is sent, and returns its key.
pub(crate) fn check(me: &PublicKey, apply: &Apply) -> Result<Key, CommandError> {
    apply.operation.check()?;
    if !apply.space.admits(me) {
        return Err(DraftError::Rule("only its owner writes to an own space").into());
    }
    let named = match apply.space {
        Space::Own(_) | Space::Commons | Space::Team(_) => apply.space.key(&apply.name),
        Space::Content | Space::Provider | Space::Writers(_) => None,
    };
    named.ok_or_else(|| DraftError::Rule("its values cannot be changed").into())
}

/// Why the record that was read rules an operation out, if it does: it is of another kind, or there is
/// nothing to take away from.
pub(crate) fn ruled_out(
    apply: &Apply,
    heads: &State<SignedHead>,
    wall: UnixMillis,
) -> Option<CommandError> {
    let kind = apply.operation.kind();
    let live = heads.live(wall);
    let kinds = live.iter().filter_map(|live| heads.of(&live.writer)).map(SignedHead::kind);
    match kinds.clone().find(|there| *there != kind) {
        Some(there) => Some(CommandError::OtherKind { there, asked: kind }),
        None if live.is_empty() && apply.operation.takes_away() => Some(CommandError::Absent),
        None => None,
    }
}

/// The envelope with the share that follows the writer's last one. `read` has the shares of other
/// writers that were read; a counter needs none.
pub(crate) fn next_share(
    writer: &Writer<'_>,
    basis: &Basis<'_>,
    apply: &Apply,
    read: &State<Envelope>,
    wall: UnixMillis,
) -> Result<Envelope, CommandError> {
    let me = writer.identity.public_key();
    let kind = apply.operation.kind();
    let own = own_share(basis, &me, kind, wall)?;
    let told = basis.heads.of(&me).map(SignedHead::dot).unwrap_or_default();
    // A floor lies above dots of this writer that its own store does not know.
    let seen = basis.heads.context().dot_of(&me);
    let last = basis.own.last_dot().max(told).max(seen);
    let shares = Shares::of(read, kind, wall);
    let forgotten = writer.config.life_max + CLOCK_AHEAD_MAX * 2;
    let oldest = wall.0.saturating_sub(forgotten.as_millis() as u64);
    let author = Author {
        me,
        own: own.share.as_ref(),
        own_is_live: own.is_live,
        shares: &shares,
        first: Dot::next(last, wall),
        forgotten: Dot::next(Dot::ZERO, UnixMillis(oldest)),
    };
    let (share, dot) = author.next(&apply.operation)?;
    // The write supersedes this writer's own share and nothing else; what an earlier deletion of this
    // writer covered stays covered.
    let mut context = basis.own.context(&me, wall);
    if let Some(own) = basis.own.head().filter(|_| !basis.own.taken_back) {
        context.cover(me, own.dot());
    }
    fit_context(&mut context, &me, writer.config.context_entries_max);
    let others = if apply.operation.reads_others() { read.last_expiry() } else { UnixMillis(0) };
    let end = end_of_share(writer.config, others, wall);
    let covered = if context.is_empty() { UnixMillis(0) } else { basis.heads.last_expiry() };
    let expires = end.max(covered).max(basis.own.expires().unwrap_or_default());
    let draft = Draft {
        space: apply.space,
        name: Some(apply.name.clone()),
        kind,
        values: vec![(dot, end, share.encode())],
        dot,
        context,
        expires,
        certificate: writer.certificate,
    };
    let envelope = Envelope::sign(writer.identity, writer.network, draft)?;
    if is_admissible(writer.config, envelope.head(), wall) {
        Ok(envelope)
    } else {
        Err(CommandError::Clock)
    }
}

/// When a share ends: as a value whose writer named no lifetime, which its node renews; and not before
/// the additions of `others`, which its removals may name.
fn end_of_share(config: &Config, others: UnixMillis, wall: UnixMillis) -> UnixMillis {
    let end = renewable(wall, config.life_default);
    if others <= end {
        return end;
    }
    // Up to the next whole second: such an end is renewed.
    let longest = renewable(wall, config.life_max);
    UnixMillis(others.0.div_ceil(1000).saturating_mul(1000)).min(longest).max(end)
}

/// Fits a context and leaves the writer a place in it, so that the floor rises over others when it
/// deletes, and not when it writes its next share.
pub(crate) fn fit_context(context: &mut Context, me: &PublicKey, most: usize) {
    let has_me = context.iter().any(|(writer, _)| writer == me);
    context.fit_to(most - usize::from(!has_me).min(most - 1));
}

/// The writer's last share, and whether it counts.
struct OwnShare {
    share: Option<Share>,
    is_live: bool,
}

fn own_share(
    basis: &Basis<'_>,
    me: &PublicKey,
    kind: Kind,
    wall: UnixMillis,
) -> Result<OwnShare, CommandError> {
    let none = OwnShare { share: None, is_live: false };
    let Some(envelope) = basis.own.envelope else { return Ok(none) };
    let Some((entry, bytes)) = envelope.values().last() else { return Ok(none) };
    let covered = basis.heads.covered().covers(me, entry.dot());
    let is_live = entry.expires() > wall && !covered;
    let there = envelope.head().kind();
    if there != kind {
        let error = CommandError::OtherKind { there, asked: kind };
        return if is_live { Err(error) } else { Ok(none) };
    }
    Ok(OwnShare { share: Some(Share::decode(kind, &bytes)?), is_live })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_share_ends_within_its_longest_life_whatever_the_others_say() {
        let wall = UnixMillis(1_800_000_000_000);
        let life_default = Duration::from_secs(3600);
        let config = Config { life_default, ..Config::default() };
        let longest = renewable(wall, config.life_max);
        for others in [u64::MAX, u64::MAX - 999, longest.0 + 1] {
            assert_eq!(end_of_share(&config, UnixMillis(others), wall), longest);
        }
        let usual = renewable(wall, config.life_default);
        assert_eq!(end_of_share(&config, UnixMillis(0), wall), usual);
        assert_eq!(end_of_share(&config, UnixMillis(usual.0 + 1), wall).0, usual.0 + 1000);
    }
}
