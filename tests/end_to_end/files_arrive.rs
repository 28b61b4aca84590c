//! What arrives is what was shared: names, times, rights and holes, from any of several places, and the rest
//! of a folder when one file of it is bad.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::files::{fetch, file_of, json, share, two};
use crate::process::{Node, noise, wait_until};

/// A moment in 2001, in seconds since 1970.
const BEFORE: u64 = 981_173_106;

fn mtime(path: &Path) -> u64 {
    let at = fs::metadata(path).expect("it is there").modified().expect("a time");
    at.duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

fn dated(path: &Path) {
    let file = File::options().write(true).open(path).expect("opens");
    let at: SystemTime = UNIX_EPOCH + Duration::from_secs(BEFORE);
    file.set_modified(at).expect("set");
}

fn got(node: &Node, name: &str) -> PathBuf {
    node.data.join("files/got").join(name)
}

#[test]
fn names_of_any_letters_and_length_arrive_as_they_were_and_never_meet() {
    let (first, second) = two();
    let a200 = format!("{}.txt", "a".repeat(196));
    let b200 = format!("{}b.txt", "a".repeat(195));
    let names = [
        "größe 🍲.txt".to_owned(),
        "gr__e __.txt".to_owned(),
        "文档".to_owned(),
        "文".repeat(66) + ".tx",
        a200,
        b200,
        "x".repeat(255),
        "~tilde~ & 'quotes'".to_owned(),
        "é".to_owned(),
        "e\u{301}".to_owned(),
        "Case".to_owned(),
        "case".to_owned(),
    ];
    for (number, name) in names.iter().enumerate() {
        let path = file_of(&first, name, format!("content {number}").as_bytes());
        dated(&path);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = if number % 2 == 0 { 0o755 } else { 0o644 };
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("allowed");
        }
        let link = share(&first, &path);
        assert!(link.len() <= 160, "{link}");
        let plain = |c: char| c.is_ascii_alphanumeric() || ":/._~-".contains(c);
        assert!(link.chars().all(plain), "{link}");
        let fetched = fetch(&second, &[&link]);
        assert_eq!(fetched.code, 0, "{name}: {}", fetched.stderr);
        let landed = got(&second, name);
        assert_eq!(fetched.stdout.trim_end(), landed.to_string_lossy());
        assert_eq!(fs::read(&landed).expect(name), format!("content {number}").as_bytes());
        assert_eq!(mtime(&landed), BEFORE, "{name}");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = fs::metadata(&landed).expect("it is there").permissions().mode();
            assert_eq!(mode & 0o100 != 0, number % 2 == 0, "{name}");
        }
    }
    let there = fs::read_dir(second.data.join("files/got")).expect("a folder").count();
    assert_eq!(there, names.len());
    // A link without a name gets that of its holder; a name that is no file's is cleaned, and that is said.
    let path = file_of(&first, "größe 2.txt", b"named by its holder");
    let bare = share(&first, &path);
    let bare = &bare[..60];
    assert_eq!(fetch(&second, &[bare]).code, 0);
    assert!(got(&second, "größe 2.txt").exists());
    let odd = first.run(&["share", "--name", "../new\nline", &path.to_string_lossy()]);
    assert!(odd.stdout.trim_end().ends_with("/.._new_line"), "{}", odd.stdout);
    assert!(odd.stderr.contains("others get it as .._new_line"), "{}", odd.stderr);
}

#[test]
fn a_node_offers_what_it_streams_under_its_name_and_type() {
    let (first, second) = two();
    let path = file_of(&first, "größe.txt", b"soup");
    let shared = json(&first.good(&["share", "--json", &path.to_string_lossy()]));
    let url = format!("{}/v1/files/{}", second.url, shared["id"].as_str().expect("an id"));
    let token = crate::process::token(&second.url).expect("a token");
    let answer = ureq::get(&url).header("authorization", format!("Bearer {token}")).call();
    let answer = answer.expect("an answer");
    let header = |name: &str| answer.headers()[name].to_str().expect("text").to_owned();
    assert_eq!(header("content-type"), "text/plain; charset=utf-8");
    let disposition = header("content-disposition");
    assert!(disposition.contains("filename*=UTF-8''gr%C3%B6%C3%9Fe.txt"), "{disposition}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_folder_arrives_with_its_times_empty_folders_look_alikes_and_holes() {
    use std::os::unix::fs::MetadataExt as _;
    let (first, second) = two();
    for (name, bytes) in [("Read.me", "1"), ("read.me", "2"), ("sub/x", "3")] {
        dated(&file_of(&first, &format!("dish/{name}"), bytes.as_bytes()));
    }
    let source = first.data.join("files/mine/dish");
    fs::create_dir_all(source.join("empty/deep")).expect("made");
    let sparse = File::create(source.join("sparse")).expect("made");
    sparse.set_len(64 << 20).expect("set");
    drop(sparse);
    let link = share(&first, &source);
    let fetched = fetch(&second, &[&link]);
    assert_eq!(fetched.code, 0, "{}", fetched.stderr);
    let landed = got(&second, "dish");
    for (name, bytes) in [("Read.me", "1"), ("read.me", "2"), ("sub/x", "3")] {
        assert_eq!(fs::read_to_string(landed.join(name)).expect(name), bytes);
        assert_eq!(mtime(&landed.join(name)), BEFORE, "{name}");
    }
    assert!(landed.join("empty/deep").is_dir());
    let about = fs::metadata(landed.join("sparse")).expect("it is there");
    assert_eq!(about.len(), 64 << 20);
    assert!(about.blocks() * 512 <= 1 << 20, "{} blocks", about.blocks());
    // The same from here, copied out of the blob.
    let to = second.data.join("files/copy");
    second.good(&["fetch", "-o", &to.to_string_lossy(), &link]);
    let copied = to.join("dish");
    assert_eq!(mtime(&copied.join("sub/x")), BEFORE);
    assert!(copied.join("empty/deep").is_dir());
    assert!(fs::metadata(copied.join("sparse")).expect("there").blocks() * 512 <= 1 << 20);
}

#[test]
fn of_two_files_of_equal_bytes_either_serves_alone() {
    let (first, second) = two();
    let bytes = noise(3, 200_000);
    let paths = ["one", "two", "three"].map(|name| file_of(&first, name, &bytes));
    let links = paths.each_ref().map(|path| share(&first, path));
    fs::remove_file(&paths[0]).expect("removed");
    let fetched = fetch(&second, &[&links[0]]);
    assert_eq!(fetched.code, 0, "{}", fetched.stderr);
    assert_eq!(fs::read(got(&second, "one")).expect("it is there"), bytes);
    second.good(&["unshare", &links[0]]);
    fs::remove_file(got(&second, "one")).expect("removed");
    // What is known to be gone gives up nothing else; what is there is given up alone.
    for link in &links[..2] {
        let unshared = first.run(&["unshare", link]);
        let still = unshared.stderr.contains("still offered under another name");
        assert!(unshared.code == 0 && still, "{link}: {}", unshared.stderr);
    }
    assert_eq!(fetch(&second, &[&links[2]]).code, 0);
    // A folder of one file has the bytes of that file; giving up one keeps the other.
    let path = file_of(&first, "folder/lone", b"lone");
    let (file, folder) = (share(&first, &path), share(&first, path.parent().expect("a folder")));
    assert!(first.good(&["files"]).contains("lone"));
    first.good(&["unshare", &folder]);
    assert_eq!(fetch(&second, &[&file]).code, 0);
    // A copy is kept of what is known by reference.
    let path = file_of(&first, "kept", b"keep me");
    share(&first, &path);
    let kept = first.good(&["share", "--copy", &path.to_string_lossy()]);
    fs::remove_file(&path).expect("removed");
    assert_eq!(fetch(&second, &[kept.trim_end()]).code, 0);
}

#[test]
fn one_link_into_three_folders_at_once_arrives_in_all_that_are_not_called_off() {
    let first = Node::start(&[]);
    // Not in the folder of another node, which is that node's own.
    let apart = tempfile::tempdir().expect("a folder");
    let slow = apart.path().join("slow");
    let mut command = crate::process::up(&slow);
    let second = Node::start_as(
        &slow,
        command.arg(&first.contact).env("POTLUCK_FILES_DOWNLOAD_RATE", "6000000"),
    );
    let bytes = noise(4, 12_000_000);
    let link = share(&first, &file_of(&first, "big", &bytes));
    let token = crate::process::token(&second.url).expect("a token");
    let ask = |method: &str, path: &str, body: Option<serde_json::Value>| {
        let request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", second.url))
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", "application/json");
        let body = body.map_or_else(String::new, |body| body.to_string());
        let answer = ureq::run(request.body(body).expect("a request")).expect("an answer");
        json(&answer.into_body().read_to_string().expect("text"))
    };
    let begin = |number: usize| {
        let to = second.data.join(format!("files/to{number}"));
        let job = ask("POST", "/v1/fetches", Some(serde_json::json!({"link": link, "to": to})));
        job["id"].as_str().expect("a job").to_owned()
    };
    let jobs: Vec<String> = (0..3).map(begin).collect();
    let look = |job: &str| ask("GET", &format!("/v1/fetches/{job}"), None);
    wait_until("it is under way", || look(&jobs[1])["bytes"].as_u64() > Some(0));
    // The one who began it.
    ask("DELETE", &format!("/v1/fetches/{}", jobs[0]), None);
    for job in &jobs[1..] {
        wait_until("the others end", || look(job)["state"] != "running");
        assert_eq!(look(job)["state"], "done", "{}", look(job));
    }
    for number in 1..3 {
        let folder = second.data.join(format!("files/to{number}"));
        assert_eq!(fs::read(folder.join("big")).expect("it is there"), bytes);
        assert_eq!(fs::read_dir(folder).expect("a folder").count(), 1);
    }
    let left = fs::read_dir(second.data.join("files/to0")).expect("a folder").count();
    assert_eq!(left, 0, "nothing is left where it was called off");
}

#[cfg(unix)]
#[test]
fn one_bad_file_of_a_folder_does_not_keep_the_others() {
    let (first, second) = two();
    for name in ["good", "aux.txt", "new\nline", "sub/also good"] {
        file_of(&first, &format!("dish/{name}"), name.as_bytes());
    }
    let source = first.data.join("files/mine/dish");
    let text = source.to_string_lossy().into_owned();
    let shared = first.run(&["-q", "share", &text]);
    assert_eq!(shared.code, 1, "{}", shared.stderr);
    for said in ["failed aux.txt: it names a device", "new", "2 files are not shared"] {
        assert!(shared.stderr.contains(said), "{said}: {}", shared.stderr);
    }
    let object = first.run(&["--json", "share", &text]);
    assert_eq!(object.code, 1);
    let error = json(&object.stderr);
    assert_eq!((&error["error"]["code"], &error["error"]["exit"]), (&"partial".into(), &1.into()));
    let object = json(&object.stdout);
    assert_eq!(object["failed"].as_array().map(Vec::len), Some(2), "{object}");
    let fetched = fetch(&second, &[shared.stdout.trim_end()]);
    assert_eq!(fetched.code, 0, "{}", fetched.stderr);
    for name in ["good", "sub/also good"] {
        assert_eq!(fs::read(got(&second, "dish").join(name)).expect(name), name.as_bytes());
    }
}

/// How many roots a node has announced since its start.
fn announced(node: &Node) -> u64 {
    let answer = ureq::get(format!("{}/metrics", node.url)).call().expect("an answer");
    let text = answer.into_body().read_to_string().expect("text");
    let counted = |line: &str| line.strip_prefix("potluck_files_announced_total ")?.parse().ok();
    text.lines().find_map(counted).expect("a counter of announcements")
}

#[test]
fn a_source_that_changed_or_stopped_sharing_is_named_at_once() {
    let (first, second) = two();
    let path = file_of(&first, "soup", b"today's");
    let link = share(&first, &path);
    wait_until("it is announced", || announced(&first) >= 1);
    fs::write(&path, b"tomorrow's").expect("written");
    let start = Instant::now();
    let fetched = fetch(&second, &[&link]);
    assert_eq!(fetched.code, 5, "{}", fetched.stderr);
    assert!(fetched.stderr.contains("changed at its source"), "{}", fetched.stderr);
    let link = share(&first, &file_of(&first, "salad", b"salad"));
    // Content that was not announced is unknown.
    wait_until("both are announced", || announced(&first) >= 2);
    first.good(&["unshare", &link]);
    let fetched = fetch(&second, &[&link]);
    assert_eq!(fetched.code, 5, "{}", fetched.stderr);
    assert!(fetched.stderr.contains("does not share it any more"), "{}", fetched.stderr);
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
}

#[test]
fn the_rest_of_a_folder_arrives_when_a_file_of_it_changed_since() {
    let (first, second) = two();
    for number in 1..=6_u64 {
        file_of(&first, &format!("menu/{number}"), &noise(number, 200_000));
    }
    let source = first.data.join("files/mine/menu");
    let link = share(&first, &source);
    fs::write(source.join("3"), b"another").expect("written");
    let start = Instant::now();
    let fetched = fetch(&second, &["--json", &link]);
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    assert_eq!(fetched.code, 1, "{}", fetched.stderr);
    assert_eq!(json(&fetched.stderr)["error"]["code"], "partial");
    let object = json(&fetched.stdout);
    let failed: Vec<&str> = object["failed"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| one["path"].as_str().expect("text"))
        .collect();
    // And those that share a granule with it.
    assert_eq!(failed, ["2", "3", "4"], "{object}");
    assert!(
        object["failed"][0]["reason"].as_str().expect("text").contains("changed at its source")
    );
    let landed = got(&second, "menu");
    for number in [1, 5, 6] {
        let read = fs::read(landed.join(number.to_string())).expect("it is there");
        assert_eq!(read, noise(number, 200_000));
    }
    let beside = fs::read_dir(second.data.join("files/got")).expect("a folder").count();
    assert_eq!(beside, 1, "nothing else is left");
}
