//! The cost of honest operations in signature checks, over all nodes.

use crate::check::Check;
use crate::world::World;

/// The signature checks of all nodes up to a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Effort(u64);

impl Effort {
    /// The checks up to now.
    #[must_use]
    pub fn begin(world: &World) -> Self {
        Self(world.all().map(|node| world.node(node).signature_checks()).sum())
    }

    /// The number of checks since then.
    #[must_use]
    pub fn since(self, world: &World) -> u64 {
        Self::begin(world).0 - self.0
    }

    /// Whether these operations took at most `most` signature checks each. All checks since then are counted.
    #[must_use]
    pub fn check(self, world: &World, operations: usize, most: f64) -> Check {
        let checks = self.since(world);
        let each = checks as f64 / operations.max(1) as f64;
        let detail = format!("{each:.1} each over {operations} operations, {most} at most");
        let passed = operations > 0 && each <= most;
        Check::new("an honest operation costs few signature checks", passed, detail)
    }
}
