//! `verify`: checks the data folder of a stopped node.

use std::collections::BTreeMap;

use potluck_host::{VerifiedFolder, VerifyError, VerifyPart, verify_folder};
use potluck_store::{Finding, Wrong};
use serde_json::{Value, json};

use super::progress::Progress;
use super::table::bytes;
use crate::cli::{Global, VerifyArgs};
use crate::failure::{Exit, Failure};
use crate::out::Out;
use crate::text::{count, quoted};

/// Findings that are listed for people; programs get a hundred.
const LISTED_MAX: usize = 10;

/// Runs the command.
pub(crate) fn run(global: &Global, args: &VerifyArgs) -> Result<(), Failure> {
    let out = global.out();
    let shown = [Progress::new(out, "records"), Progress::new(out, "files")];
    let verified = verify_folder(&args.folder, args.quick, &mut |part, at| {
        let line = match part {
            VerifyPart::Records => &shown[0],
            VerifyPart::Files => &shown[1],
        };
        line.at(at.done, Some(at.total), "");
    });
    shown.iter().for_each(Progress::end);
    let verified = verified.map_err(refused)?;
    if out.json {
        out.object(&object(&verified))?;
    } else {
        print(out, &verified, args.quick)?;
    }
    match verified.findings() {
        0 => Ok(()),
        findings => Err(Failure::new(
            Exit::Verification,
            "damaged",
            format_args!("{} in {}", count(findings, "damaged place"), args.folder.display()),
        )
        .hint(format_args!(
            "start the node: it asks the other nodes for what it lost; if damage comes back, \
             look after the disk (keep a copy first: cp -a {} BACKUP)",
            quoted(&args.folder.display().to_string())
        ))),
    }
}

fn refused(error: VerifyError) -> Failure {
    let message = error.to_string();
    match error {
        VerifyError::Missing(_) => Failure::usage(message).hint("name the data folder of a node"),
        VerifyError::NotOurs(_) => Failure::usage(message)
            .hint("potluck up --print-config shows where a node keeps its data: [node] data_dir"),
        VerifyError::Running(_) => Failure::new(Exit::Refused, "inUse", message)
            .hint("stop it first (potluck leave, or Ctrl-C where it runs), or verify a copy"),
        VerifyError::Records(potluck_store::OpenError::Damaged { .. }) => {
            Failure::new(Exit::Verification, "damaged", message)
        }
        VerifyError::Folder(_) | VerifyError::Records(_) | VerifyError::Files(_) => {
            Failure::failed(message)
        }
    }
}

fn print(out: Out, verified: &VerifiedFolder, quick: bool) -> Result<(), Failure> {
    let VerifiedFolder { network, records, blobs } = verified;
    match network {
        Some(network) => out.line(format_args!("the folder belongs to network {network}"))?,
        None => out.line("the folder belongs to no network yet")?,
    }
    out.line(format_args!(
        "records: {} with {}, {} of this node's own, {} read, {}",
        count(records.keys, "name"),
        count(records.envelopes, "envelope"),
        records.own,
        bytes(records.bytes),
        match quick {
            true => "no signatures checked (--quick)".to_owned(),
            false => format!("{} checked", count(records.signatures, "signature")),
        }
    ))?;
    out.line(format_args!(
        "files: {} whole, {} in part, {}",
        blobs.blobs,
        blobs.partial,
        match quick {
            true => "no bytes read (--quick)".to_owned(),
            false => format!("{} compared with their hashes", bytes(blobs.bytes)),
        }
    ))?;
    if blobs.changed > 0 {
        out.line(format_args!(
            "{} of them changed or moved away since they were shared; share them again",
            count(blobs.changed, "file")
        ))?;
    }
    if verified.findings() == 0 {
        return out.line("all of it is as it was written");
    }
    let mut kinds: BTreeMap<Wrong, Vec<&Finding>> = BTreeMap::new();
    for finding in records.findings.first().iter().chain(blobs.findings.first()) {
        kinds.entry(finding.wrong).or_default().push(finding);
    }
    for (wrong, findings) in kinds {
        out.line(format_args!("damaged: {} ({})", what(wrong), count(findings.len(), "place")))?;
        for finding in findings.iter().take(LISTED_MAX) {
            out.line(format_args!("  {}", finding.place))?;
        }
        out.line(format_args!("  {}", then(wrong)))?;
    }
    Ok(())
}

/// The name of the damage.
const fn what(wrong: Wrong) -> &'static str {
    match wrong {
        Wrong::Unreadable => "pages that cannot be read",
        Wrong::Envelope => "records that cannot be read",
        Wrong::Signature => "records with a signature that is not their writer's",
        Wrong::Own => "this node's own copies of what it wrote",
        Wrong::Summary => "summaries of keys",
        Wrong::Expiry => "the index of expiry times",
        Wrong::Counters => "the counters",
        Wrong::Blob => "files",
    }
}

/// Its consequence.
const fn then(wrong: Wrong) -> &'static str {
    match wrong {
        Wrong::Unreadable => {
            "at the next start the node writes its store anew without them and asks the other \
             nodes for what was on them"
        }
        Wrong::Envelope => "the node never serves them and gets them from the other nodes again",
        Wrong::Signature => "readers refuse them; a newer envelope of the writer replaces them",
        Wrong::Own => {
            "the node writes nothing under these keys until their envelopes expire, since it would \
             not go on from what it wrote last"
        }
        Wrong::Summary | Wrong::Expiry | Wrong::Counters => {
            "the node makes them anew from the records when it meets the damage"
        }
        Wrong::Blob => "the node does not serve them; fetch or share them again",
    }
}

fn object(verified: &VerifiedFolder) -> Value {
    let VerifiedFolder { network, records, blobs } = verified;
    let findings = records.findings.first().iter().chain(blobs.findings.first());
    let findings: Vec<Value> = findings
        .map(|finding| json!({"wrong": name(finding.wrong), "place": finding.place}))
        .collect();
    json!({
        "ok": verified.findings() == 0,
        "network": network,
        "records": {
            "keys": records.keys,
            "envelopes": records.envelopes,
            "own": records.own,
            "bytes": records.bytes,
            "signatures": records.signatures,
        },
        "files": {
            "whole": blobs.blobs,
            "partial": blobs.partial,
            "changed": blobs.changed,
            "bytes": blobs.bytes,
        },
        "damaged": verified.findings(),
        "findings": findings,
    })
}

const fn name(wrong: Wrong) -> &'static str {
    match wrong {
        Wrong::Unreadable => "unreadable",
        Wrong::Envelope => "envelope",
        Wrong::Signature => "signature",
        Wrong::Own => "own",
        Wrong::Summary => "summary",
        Wrong::Expiry => "expiry",
        Wrong::Counters => "counters",
        Wrong::Blob => "file",
    }
}
