//! Lists of files that a hostile node makes: what it costs to read them, and to find which of their paths
//! would meet on a file system that ignores case.
//!
//! `hostile_manifest alike|deep N`: N files whose names differ in case only, or N files in N times 63
//! folders. Prints the time, the result, and the resident memory (on Linux).
#![allow(clippy::print_stdout, reason = "telling figures is what it is for")]

use std::time::Instant;

use potluck_base::BlobId;
use potluck_swarm::path::kept_apart;
use potluck_swarm::{Manifest, ManifestFile};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [kind, number] = &arguments[..] else { return Err("alike|deep N".into()) };
    let number: usize = number.parse()?;
    let path = |index: usize| match kind.as_str() {
        "deep" => format!("{index:07}/{}x", "abcdefghijklmn/".repeat(62)),
        _ => (0..24).map(|bit| if index >> bit & 1 == 1 { 'A' } else { 'a' }).collect(),
    };
    let file = |index| ManifestFile { path: path(index), bytes: 0, executable: false, mtime: None };
    let begun = Instant::now();
    match Manifest::new(BlobId::of(b""), (0..number).map(file).collect()) {
        Err(error) => println!("refused after {:.1} s: {error}", begun.elapsed().as_secs_f64()),
        Ok(manifest) => {
            let bytes = manifest.to_bytes();
            let begun = Instant::now();
            let read = Manifest::from_bytes(&bytes)?;
            println!("{} bytes read in {:.2} s", bytes.len(), begun.elapsed().as_secs_f64());
            let begun = Instant::now();
            let renamed = kept_apart(read.files().iter().map(|file| file.path.as_str()));
            println!("{} renamed in {:.2} s", renamed.len(), begun.elapsed().as_secs_f64());
        }
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().filter(|line| line.starts_with("VmHWM")).for_each(|line| println!("{line}"));
    Ok(())
}
