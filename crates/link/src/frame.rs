//! The four datagrams, byte by byte. Numbers are big-endian. The first byte has its two highest
//! bits clear, so that QUIC, whose packets have at least one of them set, can share the port.
//!
//! ```text
//! SEALED   [0x01] [version 2] [network tag 8] [sender public key 32] [boot id 16] [counter 8]
//!          [flags 1: bit 0 = cookie present] [cookie 16, if flagged] [ciphertext] [tag 16]
//!   inside [kind 1: 1 request, 2 response; +16 with certificate] [request id 8]
//!          [cookie length 1: 0 or 16] [cookie] ([certificate length 2] [certificate])
//!          (of a response: [asker's address: length 1, 6 or 18] [wall clock 8])
//!          [message length 2] [message] [zero padding]
//! HELLO    [0x02] [version 2] [network tag 8] [nonce 16] [mark 16] [oldest 1, newest 1: message
//!          versions that the sender speaks] [padding to at least 192 in all]
//! WELCOME  [0x03] [version 2] [network tag 8] [nonce 16, echoed] [oldest 1, newest 1] [public key 32]
//!          [salt length 1: 0 or 8] [salt] [addresses 1: 0 to 4] [each: length 1, 6 or 18]
//! RETRY    [0x04] [version 2] [network tag 8] [boot id 16] [counter 8] [cookie 16]
//! ```
//!
//! SEALED is `XChaCha20-Poly1305` with everything before the ciphertext as associated data and
//! `boot id || counter` as nonce. RETRY echoes boot id and counter of the datagram it refuses. For
//! the marks in boot ids and HELLO see `marks`.
//!
//! **Invariant:** reading never panics and never allocates; a WELCOME is shorter than any HELLO and
//! a RETRY shorter than any SEALED, so neither can amplify.

use std::net::SocketAddr;

use potluck_base::id::SALT_BYTES;
use potluck_base::{ADDRESSES_MAX, PublicKey, Salt, UnixMillis};
use potluck_wire::contact::{socket_bytes, socket_of};
use potluck_wire::limits::{CERTIFICATE_BYTES_MAX, DATAGRAM_BYTES_MAX, VERSION, VERSION_MIN};

/// The version of the datagram format. The messages inside have a version of their own.
pub(crate) const FRAME_VERSION: u8 = 2;

const SEALED: u8 = 1;
const HELLO: u8 = 2;
const WELCOME: u8 = 3;
const RETRY: u8 = 4;

const REQUEST: u8 = 1;
const RESPONSE: u8 = 2;
/// Added to the kind where a certificate is shown.
const WITH_CERTIFICATE: u8 = 16;
const FLAG_COOKIE: u8 = 1;

/// Bytes of the seal's authentication tag.
pub(crate) const SEAL_TAG_BYTES: usize = 16;
/// Bytes of a cookie.
pub(crate) const COOKIE_BYTES: usize = 16;
/// Bytes of the mark in a HELLO.
pub(crate) const HELLO_MARK_BYTES: usize = 16;
/// Bytes of a boot id.
pub(crate) const BOOT_BYTES: usize = 16;
/// Type, version and network tag.
const PREFIX_BYTES: usize = 10;
/// A sealed header without cookie.
const HEADER_BYTES: usize = PREFIX_BYTES + 32 + BOOT_BYTES + 8 + 1;
/// What surrounds a message inside the seal, without cookie.
const INNER_BYTES: usize = 1 + 8 + 1 + 2;
/// An address inside a datagram at its longest: a length, an IPv6 address and a port.
const ADDRESS_BYTES_MAX: usize = 1 + 18;
/// What a response tells its asker, at its longest: its address, and the time.
const ECHO_BYTES_MAX: usize = ADDRESS_BYTES_MAX + 8;
/// What a response with a cookie adds to its message, at most.
pub(crate) const ANSWER_OVERHEAD: usize =
    HEADER_BYTES + INNER_BYTES + ECHO_BYTES_MAX + COOKIE_BYTES + SEAL_TAG_BYTES;
/// What a certificate of this length adds to a datagram.
pub(crate) const fn certificate_overhead(length: usize) -> usize {
    2 + length
}
/// Shortest request: room for the answer "prove your address", with a cookie.
pub(crate) const ASKING_BYTES_MIN: usize = ANSWER_OVERHEAD + 10;
/// Shortest HELLO: no WELCOME is longer.
pub(crate) const HELLO_BYTES_MIN: usize = 192;
const WELCOME_BYTES_MAX: usize =
    PREFIX_BYTES + 16 + 2 + 32 + 1 + SALT_BYTES + 1 + ADDRESSES_MAX * ADDRESS_BYTES_MAX;
const _: () = assert!(WELCOME_BYTES_MAX <= HELLO_BYTES_MIN);

/// The proof that a sender receives at its address.
pub(crate) type Cookie = [u8; COOKIE_BYTES];

/// The proof that the sender of a HELLO knows the network.
pub(crate) type HelloMark = [u8; HELLO_MARK_BYTES];

/// Boot id and counter: what makes a datagram of one sender unique.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Serial {
    /// Random, drawn when the sender started.
    pub(crate) boot: [u8; BOOT_BYTES],
    /// One up with every datagram it sealed since.
    pub(crate) counter: u64,
}

impl Serial {
    /// As it stands in headers, which is also the seal's nonce.
    pub(crate) fn to_bytes(self) -> [u8; BOOT_BYTES + 8] {
        let mut bytes = [0; BOOT_BYTES + 8];
        bytes[..BOOT_BYTES].copy_from_slice(&self.boot);
        bytes[BOOT_BYTES..].copy_from_slice(&self.counter.to_be_bytes());
        bytes
    }
}

/// A datagram, taken apart as far as possible without a key.
#[derive(Debug, PartialEq)]
pub(crate) enum Frame<'a> {
    /// A request or response.
    Sealed(Sealed<'a>),
    /// Who are you?
    Hello { nonce: [u8; 16], mark: HelloMark, padding: &'a [u8] },
    /// I am this one.
    Welcome { nonce: [u8; 16], greeter: Greeter },
    /// Send that again with this cookie.
    Retry { serial: Serial, cookie: Cookie },
}

/// What a WELCOME says of its sender. Not authenticated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Greeter {
    pub(crate) public_key: PublicKey,
    pub(crate) salt: Option<Salt>,
    /// Its addresses, at most [`ADDRESSES_MAX`].
    pub(crate) addresses: Vec<SocketAddr>,
}

/// What a response tells its asker besides the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Echo {
    /// Where the request came from.
    pub(crate) asker: SocketAddr,
    /// What the answerer's wall clock shows; zero if it does not know.
    pub(crate) clock: UnixMillis,
}

/// A sealed datagram before its seal was checked.
#[derive(Debug, PartialEq)]
pub(crate) struct Sealed<'a> {
    /// Who claims to have sent it.
    pub(crate) sender: PublicKey,
    pub(crate) serial: Serial,
    pub(crate) cookie: Option<Cookie>,
    /// The associated data.
    pub(crate) header: &'a [u8],
    /// Ciphertext and tag.
    pub(crate) body: &'a [u8],
}

/// Why bytes are no datagram for this link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FrameError {
    Malformed,
    Version,
    OtherNetwork,
}

/// Takes the first `N` bytes off.
fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (first, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*first)
}

/// Takes a length, and that number of bytes, off.
fn take_bytes<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::from(u16::from_be_bytes(take(bytes)?));
    let (taken, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(taken)
}

/// Takes an address with its length off.
fn take_address(bytes: &mut &[u8]) -> Option<SocketAddr> {
    let [length] = take(bytes)?;
    let (address, rest) = bytes.split_at_checked(usize::from(length))?;
    *bytes = rest;
    socket_of(address)
}

fn write_address(bytes: &mut Vec<u8>, address: SocketAddr) {
    let address = socket_bytes(address);
    bytes.push(address.len() as u8);
    bytes.extend_from_slice(&address);
}

fn take_serial(bytes: &mut &[u8]) -> Option<Serial> {
    Some(Serial { boot: take(bytes)?, counter: u64::from_be_bytes(take(bytes)?) })
}

/// Takes a datagram apart.
pub(crate) fn parse<'a>(bytes: &'a [u8], tag: &[u8; 8]) -> Result<Frame<'a>, FrameError> {
    if bytes.len() > DATAGRAM_BYTES_MAX {
        return Err(FrameError::Malformed);
    }
    let mut rest = bytes;
    let [kind, version] = take(&mut rest).ok_or(FrameError::Malformed)?;
    if !(SEALED..=RETRY).contains(&kind) {
        return Err(FrameError::Malformed);
    }
    if version != FRAME_VERSION {
        return Err(FrameError::Version);
    }
    if take(&mut rest).ok_or(FrameError::Malformed)? != *tag {
        return Err(FrameError::OtherNetwork);
    }
    parse_kind(kind, bytes, rest).ok_or(FrameError::Malformed)
}

fn parse_kind<'a>(kind: u8, bytes: &'a [u8], mut rest: &'a [u8]) -> Option<Frame<'a>> {
    let rest = &mut rest;
    let frame = match kind {
        SEALED => return parse_sealed(bytes, rest).map(Frame::Sealed),
        HELLO if bytes.len() >= HELLO_BYTES_MIN => {
            let (nonce, mark) = (take(rest)?, take(rest)?);
            return Some(Frame::Hello { nonce, mark, padding: rest });
        }
        WELCOME => Frame::Welcome { nonce: take(rest)?, greeter: take_greeter(rest)? },
        RETRY => Frame::Retry { serial: take_serial(rest)?, cookie: take(rest)? },
        _ => return None,
    };
    rest.is_empty().then_some(frame)
}

fn take_greeter(rest: &mut &[u8]) -> Option<Greeter> {
    let [_oldest, _newest] = take(rest)?;
    let public_key = PublicKey::from_bytes(take(rest)?);
    let salt = match take(rest)? {
        [0] => None,
        [length] if usize::from(length) == SALT_BYTES => Some(Salt::from_bytes(take(rest)?)),
        _ => return None,
    };
    let [count] = take(rest)?;
    if usize::from(count) > ADDRESSES_MAX {
        return None;
    }
    let addresses = (0..count).map(|_| take_address(rest)).collect::<Option<_>>()?;
    Some(Greeter { public_key, salt, addresses })
}

#[expect(clippy::indexing_slicing, reason = "the body is the end of these bytes")]
fn parse_sealed<'a>(bytes: &'a [u8], rest: &mut &'a [u8]) -> Option<Sealed<'a>> {
    let sender = PublicKey::from_bytes(take(rest)?);
    let serial = take_serial(rest)?;
    let cookie = match take(rest)? {
        [0] => None,
        [FLAG_COOKIE] => Some(take(rest)?),
        _ => return None,
    };
    let body = *rest;
    let header = &bytes[..bytes.len() - body.len()];
    (body.len() >= INNER_BYTES + SEAL_TAG_BYTES).then_some(Sealed {
        sender,
        serial,
        cookie,
        header,
        body,
    })
}

/// Whether a message asks or answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Request,
    Response,
}

/// What a seal encloses.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Inner<'a> {
    pub(crate) kind: Kind,
    pub(crate) request_id: u64,
    pub(crate) cookie: Option<Cookie>,
    /// The sender's, if it shows it.
    pub(crate) certificate: Option<&'a [u8]>,
    /// In a response, and only there.
    pub(crate) echo: Option<Echo>,
    pub(crate) message: &'a [u8],
}

/// Takes an opened seal apart. Padding is skipped.
pub(crate) fn parse_inner(mut plain: &[u8]) -> Option<Inner<'_>> {
    let rest = &mut plain;
    let [kind] = take(rest)?;
    let with_certificate = kind & WITH_CERTIFICATE != 0;
    let kind = match kind & !WITH_CERTIFICATE {
        REQUEST => Kind::Request,
        RESPONSE => Kind::Response,
        _ => return None,
    };
    let request_id = u64::from_be_bytes(take(rest)?);
    let cookie = match take(rest)? {
        [0] => None,
        [length] if usize::from(length) == COOKIE_BYTES => Some(take(rest)?),
        _ => return None,
    };
    let certificate = if with_certificate {
        let certificate = take_bytes(rest)?;
        (certificate.len() <= CERTIFICATE_BYTES_MAX).then_some(certificate)?;
        Some(certificate)
    } else {
        None
    };
    let echo = match kind {
        Kind::Request => None,
        Kind::Response => {
            let asker = take_address(rest)?;
            Some(Echo { asker, clock: UnixMillis(u64::from_be_bytes(take(rest)?)) })
        }
    };
    let message = take_bytes(rest)?;
    Some(Inner { kind, request_id, cookie, certificate, echo, message })
}

/// A sealed datagram to be written.
pub(crate) struct Draft<'a> {
    pub(crate) tag: [u8; 8],
    pub(crate) sender: PublicKey,
    pub(crate) serial: Serial,
    /// In the clear header: proves our address.
    pub(crate) header_cookie: Option<Cookie>,
    pub(crate) inner: Inner<'a>,
    /// Padded to this length in all.
    pub(crate) bytes_min: usize,
}

impl Draft<'_> {
    /// How long the datagram will be, before padding.
    pub(crate) fn bytes(&self) -> usize {
        let cookies = [&self.header_cookie, &self.inner.cookie].into_iter().flatten().count();
        let certificate =
            self.inner.certificate.map_or(0, |shown| certificate_overhead(shown.len()));
        let echo =
            self.inner.echo.map_or(0, |echo| 1 + if echo.asker.is_ipv4() { 6 } else { 18 } + 8);
        HEADER_BYTES
            + INNER_BYTES
            + echo
            + SEAL_TAG_BYTES
            + cookies * COOKIE_BYTES
            + certificate
            + self.inner.message.len()
    }

    /// The datagram with its body still in the clear and a zero tag, and where the body begins.
    pub(crate) fn write(&self) -> (Vec<u8>, usize) {
        let message = self.inner.message;
        let length = self.bytes().max(self.bytes_min);
        let mut bytes = Vec::with_capacity(length);
        write_prefix(&mut bytes, SEALED, &self.tag);
        bytes.extend_from_slice(self.sender.as_bytes());
        bytes.extend_from_slice(&self.serial.to_bytes());
        bytes.push(if self.header_cookie.is_some() { FLAG_COOKIE } else { 0 });
        bytes.extend_from_slice(self.header_cookie.as_ref().map_or(&[], |cookie| cookie));
        let body = bytes.len();
        let kind = match self.inner.kind {
            Kind::Request => REQUEST,
            Kind::Response => RESPONSE,
        };
        bytes.push(kind | self.inner.certificate.map_or(0, |_| WITH_CERTIFICATE));
        bytes.extend_from_slice(&self.inner.request_id.to_be_bytes());
        let cookie: &[u8] = self.inner.cookie.as_ref().map_or(&[], |cookie| cookie);
        bytes.push(cookie.len() as u8);
        bytes.extend_from_slice(cookie);
        let with_length = |bytes: &mut Vec<u8>, part: &[u8]| {
            bytes.extend_from_slice(&(part.len() as u16).to_be_bytes());
            bytes.extend_from_slice(part);
        };
        if let Some(certificate) = self.inner.certificate {
            with_length(&mut bytes, certificate);
        }
        if let Some(echo) = self.inner.echo {
            write_address(&mut bytes, echo.asker);
            bytes.extend_from_slice(&echo.clock.0.to_be_bytes());
        }
        with_length(&mut bytes, message);
        bytes.resize(length, 0);
        (bytes, body)
    }
}

fn write_prefix(bytes: &mut Vec<u8>, kind: u8, tag: &[u8; 8]) {
    bytes.extend_from_slice(&[kind, FRAME_VERSION]);
    bytes.extend_from_slice(tag);
}

/// What follows the mark in our HELLOs: the message versions that we speak, then zeros.
pub(crate) const HELLO_PADDING: &[u8] = &{
    let mut padding = [0; HELLO_BYTES_MIN - PREFIX_BYTES - 16 - HELLO_MARK_BYTES];
    padding[0] = VERSION_MIN;
    padding[1] = VERSION;
    padding
};

/// A HELLO, padded with [`HELLO_PADDING`].
pub(crate) fn write_hello(tag: &[u8; 8], nonce: &[u8; 16], mark: &HelloMark) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HELLO_BYTES_MIN);
    write_prefix(&mut bytes, HELLO, tag);
    bytes.extend_from_slice(nonce);
    bytes.extend_from_slice(mark);
    bytes.extend_from_slice(HELLO_PADDING);
    bytes
}

/// The answer to a HELLO.
#[expect(clippy::indexing_slicing, reason = "cut to their number")]
pub(crate) fn write_welcome(tag: &[u8; 8], nonce: &[u8; 16], greeter: &Greeter) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(WELCOME_BYTES_MAX);
    write_prefix(&mut bytes, WELCOME, tag);
    bytes.extend_from_slice(nonce);
    bytes.extend_from_slice(&[VERSION_MIN, VERSION]);
    bytes.extend_from_slice(greeter.public_key.as_bytes());
    let salt = greeter.salt.as_ref().map_or(&[][..], |salt| salt.as_bytes());
    bytes.push(salt.len() as u8);
    bytes.extend_from_slice(salt);
    let addresses = &greeter.addresses[..greeter.addresses.len().min(ADDRESSES_MAX)];
    bytes.push(addresses.len() as u8);
    addresses.iter().for_each(|address| write_address(&mut bytes, *address));
    bytes
}

/// The demand for a cookie.
pub(crate) fn write_retry(tag: &[u8; 8], serial: Serial, cookie: &Cookie) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(PREFIX_BYTES + BOOT_BYTES + 8 + COOKIE_BYTES);
    write_prefix(&mut bytes, RETRY, tag);
    bytes.extend_from_slice(&serial.to_bytes());
    bytes.extend_from_slice(cookie);
    bytes
}

#[cfg(test)]
mod tests;
