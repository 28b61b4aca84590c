//! All targets.

mod commands;
mod files;
mod http;
mod machines;
mod record;
mod recovery;
mod stored;
mod text;
mod wire;

use crate::mutate::Form;
use crate::outcome::Seen;
use crate::samples::{self, admission};
use crate::target::{Feed, Memory, Target};

/// A decoder may allocate this at once for each byte of its input. The most that the fuzzer found is 47, for
/// the stack on which nested items that are skipped are counted.
const FOR_BYTE: u64 = 64;
/// And this beside, for buffers of a fixed size.
const BESIDE: u64 = 16 * 1024;
const DECODER: Memory = Memory::Limited { for_byte: FOR_BYTE, beside: BESIDE };

macro_rules! targets {
    ($($name:literal $form:expr, $samples:expr, $memory:expr, $start:expr;)*) => {
        /// All targets, in the order in which they are run.
        pub const TARGETS: &[Target] = &[$(
            Target {
                name: $name, form: $form, samples: || $samples, memory: $memory, start: $start,
            }
        ),*];
    };
}

/// A target without memory.
fn plain(feed: fn(&[u8], &mut Seen)) -> Box<Feed> {
    Box::new(feed)
}

const WORDS: Form =
    Form::Text(&["commons", "own/", "team/", "content", "@", ".", "[::1]:9", ":0", "ff"]);
const LINK: Form = Form::Text(&["potluck://", "?name=", "/", "%", "file", "folder"]);
const CONFIG: Form = Form::Text(&[
    "[node]\n",
    "[kv]\n",
    "[http]\n",
    "= 1\n",
    "= \"\"\n",
    "= [",
    "\"1h\"",
    "1KiB",
    "true",
    "\"\"\"",
    "-1",
    "1e9",
    "99999999999",
    "0x7fffffffffffffff",
    "2026-11-29",
]);
const JSON: Form = Form::Text(&[
    "null",
    "true",
    "-1",
    "1e400",
    "{}",
    "[]",
    "\"\\ud800\"",
    "\"\"",
    "\n",
    "{\"",
    "\":",
]);
const HTTP: Form = Form::Text(&[
    "GET ",
    "PUT ",
    "POST ",
    "DELETE ",
    "/v1/kv/",
    "/v1/files/",
    "?space=",
    "&w=",
    "%2F",
    "%ff",
    "..",
    "\n\n",
    "\nRange: bytes=",
    "own",
    "content",
    "null",
    "{",
    "[",
    "/v1/",
    "W/\"",
    "*",
]);

targets! {
    "request" Form::Cbor, samples::requests(), DECODER, || plain(wire::request);
    "response" Form::Cbor, samples::responses(), DECODER, || plain(wire::response);
    "envelope" Form::Cbor, samples::envelopes(), DECODER, || plain(record::envelope);
    "share" Form::Cbor, samples::shares(), DECODER, || plain(record::share);
    "team" Form::Cbor, record::team_samples(), DECODER, || plain(record::team);
    "signed" Form::Cbor, admission::all(), DECODER, || plain(wire::signed);
    "announcement" Form::Cbor, admission::all(), DECODER, || plain(wire::announcement);
    "sources" Form::Cbor, wire::source_samples(), DECODER, || plain(wire::sources);
    "manifest" Form::Cbor, samples::manifests(), DECODER, || plain(files::manifest);
    "granules" Form::Bytes, files::granule_samples(), DECODER, || plain(files::granules);
    "granule" Form::Bytes, stored::granule_samples(), Memory::Own, || plain(stored::granule);
    "link" LINK, samples::links(), DECODER, || plain(files::link);
    "name" WORDS, files::name_samples(), DECODER, || plain(files::name);
    "words" WORDS, text::word_samples(), DECODER, || plain(text::words);
    "ticket" Form::Cbor, text::ticket_samples(), DECODER, || plain(text::ticket);
    "config" CONFIG, text::configuration_samples(), Memory::Own, || plain(text::configuration);
    "values" CONFIG, text::word_samples(), Memory::Own, || plain(text::values);
    "backup" JSON, text::backup_samples(), Memory::Own, || plain(text::backup);
    "http-parts" HTTP, text::http_part_samples(), Memory::Own, || plain(text::http_parts);
    "folder" WORDS, folder_samples(), Memory::Own, || plain(stored::folder);
    "rows" Form::Cbor, stored::row_samples(), DECODER, || plain(stored::rows);
    "spoiled" Form::Bytes, stored::spoiled_samples(), Memory::Own, stored::spoiled;
    "recovery" Form::Bytes, recovery::samples(), Memory::Own, recovery::recovery;
    "datagram" Form::Bytes, samples::datagrams(), Memory::Own, machines::datagram;
    "sealed" Form::Cbor, machines::sealed_samples(), Memory::Own, machines::sealed;
    "call" Form::Cbor, samples::requests(), Memory::Own, machines::call;
    "answer" Form::Cbor, machines::answer_samples(), Memory::Own, machines::answer;
    "commands" Form::Bytes, commands::samples(), Memory::Own, || plain(commands::commands);
    "http" HTTP, http::samples(), Memory::Own, http::http;
}

fn folder_samples() -> Vec<Vec<u8>> {
    potluck_host::fuzzing::samples().into_iter().map(String::into_bytes).collect()
}

#[cfg(test)]
mod tests;
