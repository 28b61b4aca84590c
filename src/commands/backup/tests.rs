use super::*;

const HEAD: &str = r#"{"potluckExport":1,"network":"t","node":"ab","at":"2026-11-29T00:00:00Z","space":"commons","prefix":""}"#;
const RECORD: &str = r#"{"name":"a/ü","space":"commons","values":[{"kind":"siblings","valueBase64":"AP8=","version":"7","node":"ab","expiresAt":"2027-11-29T00:00:00Z"}]}"#;
const END: &str = r#"{"end":{"records":1,"complete":true}}"#;

/// The names of the records, or the error.
fn read(lines: &[&str]) -> Result<Vec<String>, String> {
    let text = lines.join("\n");
    let mut lines = Lines::new(text.as_bytes());
    let mut names = Vec::new();
    while let Some(record) = lines.next().map_err(|failure| {
        assert_eq!(failure.exit, Exit::Verification);
        failure.message
    })? {
        names.push(record.name);
    }
    Ok(names)
}

#[test]
fn a_whole_backup_is_read_and_unknown_fields_are_skipped() {
    assert_eq!(read(&[HEAD, RECORD, END]), Ok(vec!["a/ü".to_owned()]));
    let newer = RECORD.replace(r#""space""#, r#""later":[1],"space""#);
    assert_eq!(read(&[HEAD, &newer, END]).map(|names| names.len()), Ok(1));
    // An unknown kind of a newer version does not stop other records: it fails when it is written.
    let kind = RECORD.replace("\"siblings\"", "\"tree\"");
    assert_eq!(read(&[HEAD, &kind, END]).map(|names| names.len()), Ok(1));
    let mut lines = Lines::new(RECORD.as_bytes());
    let Ok(Some(Line::Record(record))) = lines.line() else { panic!("a record") };
    assert_eq!(record.values[0].bytes(), Some(vec![0, 0xff]));
    assert_eq!(lines.bytes(), RECORD.len() as u64);
}

#[test]
fn a_line_that_is_wrong_is_named_by_its_number() {
    let wrong = |line: &str| read(&[HEAD, RECORD, line]).expect_err("it is wrong");
    for (line, why) in [
        ("", "line 3: no JSON object"),
        ("{", "line 3: no JSON object"),
        (r#"{"name":"a"}"#, "line 3: missing field"),
        (HEAD, "line 3: a second head"),
        (&RECORD.replace("a/ü", ""), "line 3: a name has at least one byte"),
        (&RECORD.replace("commons", "own/ab"), "line 3: own/ab is no space"),
        (&RECORD.replace("AP8=", "AP8"), "line 3: valueBase64"),
        (&RECORD.replace("2027-11-29T00:00:00Z", "soon"), "line 3: expiresAt"),
    ] {
        let line = if line.is_empty() { "\n" } else { line };
        let told = wrong(line);
        assert!(told.starts_with(why), "{told}");
    }
    let values = r#"{"name":"a","space":"commons","values":[]}"#;
    assert_eq!(wrong(values), "line 3: a record has a value");
    let large = RECORD.replace("AP8=", &BASE64.encode(&vec![0; VALUE_BYTES_MAX + 1]));
    assert!(wrong(&large).contains("at most 65536 bytes"));
    let long = format!("{}\n", "x".repeat(LINE_BYTES_MAX as usize));
    assert!(wrong(&long).contains("over 8388608 bytes"));
    assert!(read(&[RECORD, END]).expect_err("no head").starts_with("line 1: a backup begins"));
    let newer = HEAD.replace(":1,", ":2,");
    assert!(read(&[&newer]).expect_err("newer").contains("format 2"));
}

#[test]
fn a_backup_that_was_cut_off_is_noticed() {
    let cut = read(&[HEAD, RECORD]).expect_err("no end");
    assert_eq!(cut, "the backup was cut off: there is no end line behind line 2");
    assert!(read(&[]).is_err());
    assert!(read(&[HEAD, &RECORD[..20]]).expect_err("half a line").starts_with("line 2:"));
    let missing = read(&[HEAD, END]).expect_err("a record is missing");
    assert_eq!(missing, "the end line counts 1 records, and there are 0");
    assert!(read(&[HEAD, RECORD, END, RECORD]).expect_err("behind").contains("behind the end"));
}
