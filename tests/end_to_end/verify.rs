//! `potluck verify` on the folder of a node that stopped, that runs, and of none.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::process::{Node, Run, program, run};

fn verify(folder: &Path, options: &[&str]) -> Run {
    run(program().arg("verify").arg(folder).args(options), b"")
}

#[test]
fn a_stopped_nodes_folder_is_checked_and_a_running_ones_is_refused() {
    let folder = tempfile::tempdir().expect("folder");
    let mut node = Node::start_in(folder.path(), &[]);
    for number in 0..20 {
        node.good(&["put", &format!("name {number}"), "value"]);
    }
    let said = verify(folder.path(), &[]);
    assert_eq!((said.code, said.stdout.as_str()), (6, ""), "{}", said.stderr);
    assert!(said.stderr.contains("running") && said.stderr.contains("stop it"), "{}", said.stderr);
    node.close_stdin();
    node.ended();

    let said = verify(folder.path(), &["--json"]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    let object: Value = serde_json::from_str(&said.stdout).expect("JSON");
    assert_eq!((&object["ok"], &object["damaged"]), (&true.into(), &0.into()), "{object}");
    assert_eq!(object["records"]["own"], 20, "{object}");
    assert_eq!(object["records"]["signatures"], 40, "{object}");
    let said = verify(folder.path(), &["--quick"]);
    assert_eq!((said.code, said.stderr.as_str()), (0, ""));
    assert!(said.stdout.contains("all of it is as it was written"), "{}", said.stdout);

    fs::remove_file(folder.path().join("records/version")).expect("there was one");
    let said = verify(folder.path(), &[]);
    assert_eq!((said.code, said.stdout.as_str()), (7, ""), "{}", said.stderr);
    assert!(said.stderr.contains("damaged"), "{}", said.stderr);
}

#[test]
fn what_is_no_data_folder_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().expect("folder");
    let missing = folder.path().join("missing");
    for path in [folder.path(), &missing] {
        let said = verify(path, &[]);
        assert_eq!((said.code, said.stdout.as_str()), (2, ""), "{}", said.stderr);
        assert_eq!(said.stderr.lines().count(), 1, "{}", said.stderr);
    }
    assert_eq!(fs::read_dir(folder.path()).expect("reads").count(), 0);
    let file = folder.path().join("file");
    fs::write(&file, "").expect("written");
    assert_eq!(verify(&file, &[]).code, 2);
}
