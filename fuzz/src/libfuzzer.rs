//! The same targets for engines that bring their own search: see `fuzz/cargo-fuzz`.

use std::cell::RefCell;
use std::collections::BTreeMap;

use crate::engine::Run;
use crate::find;

thread_local! {
    static RUNS: RefCell<BTreeMap<&'static str, Run<'static>>> = const { RefCell::new(BTreeMap::new()) };
}

/// Feeds one input to the target of this name, which is started with the first.
///
/// # Panics
/// If there is no such target, or the input breaks a rule.
pub fn feed(name: &'static str, input: &[u8]) {
    RUNS.with_borrow_mut(|runs| {
        let run = runs.entry(name).or_insert_with(|| Run::new(find(name).expect("a target")));
        run.feed(input);
    });
}
