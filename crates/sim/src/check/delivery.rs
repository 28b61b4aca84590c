//! Messages of topics are delivered at most once.

use std::collections::BTreeSet;

use crate::check::Check;
use crate::world::World;

/// Whether no node delivered a message to its subscribers twice. A node that restarted is left out, because
/// it has forgotten its earlier deliveries.
#[must_use]
pub fn check(world: &World) -> Check {
    let (mut delivered, mut twice) = (0, Vec::new());
    for node in world.all().filter(|node| world.node(*node).starts() <= 1) {
        let mut seen = BTreeSet::new();
        for (at, message) in world.messages(node) {
            delivered += 1;
            if !seen.insert(message.id) {
                twice.push(format!("{node} got {} again at {at:?}", message.id));
            }
        }
    }
    Check::none_of_any("no message is delivered twice at a node", delivered, &twice)
}
