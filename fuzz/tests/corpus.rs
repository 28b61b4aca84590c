//! The samples and the committed corpus are fed to their targets: what was found once is not lost again.

use potluck_fuzz::{TARGETS, corpus, replay};

/// Bytes of all inputs together. Raising it keeps more of them in the repository.
const CORPUS_BYTES_MAX: usize = 1 << 20;

#[test]
fn no_input_of_the_corpus_breaks_a_rule() {
    let folder = corpus::committed();
    let mut bytes = 0;
    for target in TARGETS {
        let inputs = corpus::read(&folder, target).expect("the corpus can be read");
        bytes += inputs.iter().map(Vec::len).sum::<usize>();
        let samples = (target.samples)();
        let all = samples.iter().chain(&inputs).map(Vec::as_slice);
        let mut failed = |input: &[u8]| panic!("{}: {input:?}", target.name);
        let report = replay(target, all, &mut failed);
        assert!(report.accepted > 0, "{}: no input is taken for well-formed", target.name);
    }
    assert!(bytes <= CORPUS_BYTES_MAX, "{bytes} bytes: `cargo xtask fuzz --keep` keeps fewer");
}

#[test]
fn every_folder_of_the_corpus_is_of_a_target() {
    for entry in std::fs::read_dir(corpus::committed()).expect("the corpus") {
        let name = entry.expect("a folder").file_name();
        assert!(potluck_fuzz::find(&name.to_string_lossy()).is_some(), "{name:?}");
    }
}
