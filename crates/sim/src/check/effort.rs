//! What honest operations cost all nodes together, in signature checks.

use crate::check::Check;
use crate::world::World;

/// Signature checks of all nodes up to a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Effort(u64);

impl Effort {
    /// Up to now.
    #[must_use]
    pub fn begin(world: &World) -> Self {
        Self(world.all().map(|node| world.node(node).signature_checks()).sum())
    }

    /// How many checks there were since.
    #[must_use]
    pub fn since(self, world: &World) -> u64 {
        Self::begin(world).0 - self.0
    }

    /// Whether these operations took at most `most` signature checks each. All checks since then count.
    #[must_use]
    pub fn check(self, world: &World, operations: usize, most: f64) -> Check {
        let checks = self.since(world);
        let each = checks as f64 / operations.max(1) as f64;
        let detail = format!("{each:.1} each over {operations} operations, {most} at most");
        let passed = operations > 0 && each <= most;
        Check::new("an honest operation costs few signature checks", passed, detail)
    }
}
