//! Default names of new networks. They need not be unique, since a network's
//! id has its authority's key in it; they are to be told apart by people.

const FIRST: [&str; 32] = [
    "amber", "apple", "basil", "brown", "candied", "cherry", "chilled", "cinnamon", "clover",
    "copper", "crisp", "fresh", "ginger", "golden", "green", "hearty", "honey", "lemon", "maple",
    "mellow", "olive", "orange", "pepper", "plum", "ripe", "roasted", "rustic", "saffron",
    "smoked", "sweet", "toasted", "warm",
];
const SECOND: [&str; 32] = [
    "bagel",
    "basket",
    "bean",
    "biscuit",
    "bowl",
    "bread",
    "broth",
    "cake",
    "casserole",
    "chili",
    "chutney",
    "cobbler",
    "crumble",
    "curry",
    "dumpling",
    "feast",
    "gumbo",
    "kettle",
    "ladle",
    "lasagna",
    "loaf",
    "noodle",
    "oven",
    "pancake",
    "pie",
    "pudding",
    "ragout",
    "salad",
    "skillet",
    "stew",
    "table",
    "tart",
];

/// Two words, chosen by `random`.
pub(super) fn name(random: [u8; 32]) -> String {
    let [first, second, ..] = random.map(|byte| usize::from(byte) % 32);
    format!("{}-{}", FIRST[first], SECOND[second])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_randomness_gives_two_words() {
        for byte in 0..=255 {
            let name = name([byte; 32]);
            assert_eq!(name.split('-').count(), 2, "{name}");
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{name}");
        }
    }
}
