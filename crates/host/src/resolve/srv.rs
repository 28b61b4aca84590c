//! The order of SRV records (RFC 2782).

use std::collections::BTreeMap;

use potluck_base::Rng;

/// One SRV record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) priority: u16,
    pub(super) weight: u16,
    pub(super) port: u16,
    /// Its host; `.` means that there is none.
    pub(super) host: String,
}

/// The first `max` targets in groups of one priority, the lowest number first. Within a group the order is
/// random, each place given by weight among those that are left. Targets that name no host or port are
/// left out.
pub(super) fn in_order(targets: Vec<Target>, max: usize, rng: &mut Rng) -> Vec<Vec<Target>> {
    let mut by_priority: BTreeMap<u16, Vec<Target>> = BTreeMap::new();
    for target in targets {
        let group = by_priority.entry(target.priority).or_default();
        let named = !target.host.trim_end_matches('.').is_empty() && target.port > 0;
        if named && !group.contains(&target) {
            group.push(target);
        }
    }
    let mut left = max;
    let mut groups = Vec::new();
    for mut group in by_priority.into_values() {
        let mut ordered = Vec::new();
        while left > 0 && !group.is_empty() {
            ordered.push(group.swap_remove(draw(&group, rng)));
            left -= 1;
        }
        if !ordered.is_empty() {
            groups.push(ordered);
        }
    }
    groups
}

/// One of these by weight. Those of weight 0 come first in the sum, so that their chance is small and not
/// none.
fn draw(group: &[Target], rng: &mut Rng) -> usize {
    let mut indices: Vec<usize> = (0..group.len()).collect();
    indices.sort_by_key(|index| group[*index].weight > 0);
    let total: u64 = group.iter().map(|target| u64::from(target.weight)).sum();
    if total == 0 {
        return rng.below(group.len() as u64) as usize;
    }
    let at = rng.below(total + 1);
    let mut sum = 0;
    for index in &indices {
        sum += u64::from(group[*index].weight);
        if sum >= at {
            return *index;
        }
    }
    group.len() - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(priority: u16, weight: u16, host: &str) -> Target {
        Target { priority, weight, port: 7, host: host.into() }
    }

    fn hosts(groups: &[Vec<Target>]) -> Vec<Vec<&str>> {
        groups.iter().map(|group| group.iter().map(|it| it.host.as_str()).collect()).collect()
    }

    #[test]
    fn lower_numbers_of_priority_come_first() {
        let targets = vec![target(20, 0, "c"), target(0, 0, "a"), target(10, 0, "b")];
        let groups = in_order(targets, 8, &mut Rng::from_number(1));
        assert_eq!(hosts(&groups), [["a"], ["b"], ["c"]]);
    }

    #[test]
    fn weights_are_chances_of_the_first_place() {
        let mut rng = Rng::from_number(2);
        let targets = vec![target(0, 30, "a"), target(0, 10, "b"), target(0, 0, "c")];
        let mut first = BTreeMap::new();
        for _ in 0..4000 {
            let groups = in_order(targets.clone(), 8, &mut rng);
            assert_eq!(groups[0].len(), 3);
            *first.entry(groups[0][0].host.clone()).or_insert(0) += 1;
        }
        let share = |host: &str| first.get(host).copied().unwrap_or_default();
        assert!((2800..3100).contains(&share("a")), "{first:?}");
        assert!((850..1120).contains(&share("b")), "{first:?}");
        assert!((40..200).contains(&share("c")), "{first:?}");
    }

    #[test]
    fn without_weights_all_are_equal() {
        let mut rng = Rng::from_number(3);
        let targets = vec![target(0, 0, "a"), target(0, 0, "b")];
        let first = |rng: &mut Rng| in_order(targets.clone(), 8, rng)[0][0].host.clone();
        let a = (0..1000).filter(|_| first(&mut rng) == "a").count();
        assert!((400..600).contains(&a), "{a}");
    }

    #[test]
    fn of_a_hundred_targets_some_are_taken_and_a_dot_is_nobody() {
        let many: Vec<Target> = (0..100).map(|n| target(n / 50, n, &format!("h{n}"))).collect();
        let groups = in_order(many, 8, &mut Rng::from_number(4));
        assert_eq!((groups.len(), groups[0].len()), (1, 8));
        let useless =
            vec![target(0, 0, "."), target(0, 1, ""), Target { port: 0, ..target(0, 0, "a") }];
        assert!(in_order(useless, 8, &mut Rng::from_number(5)).is_empty());
        let twice = vec![target(0, 0, "a"), target(0, 0, "a")];
        assert_eq!(hosts(&in_order(twice, 8, &mut Rng::from_number(6))), [["a"]]);
    }
}
