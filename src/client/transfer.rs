//! Request and response bodies as large as files.

use std::io::{self, Read, Write};

use ureq::SendBody;

use super::{Answer, Client, wrong};
use crate::failure::{Exit, Failure};

/// Bytes that are read at once.
const PIECE: usize = 256 * 1024;

impl Client {
    /// A POST of a JSON object without the usual time limit, for requests about large files.
    ///
    /// # Errors
    /// As [`request`](Self::request). The answer may be an error.
    pub(crate) fn post_patiently(&self, path: &str, body: &[u8]) -> Result<Answer, Failure> {
        let request = self.head("POST", path, &[("content-type", "application/json")]);
        self.answer(self.patient.run(request.body(body).map_err(wrong)?))
    }

    /// A POST of bytes as they are read, with their number if it is known; `passed` is called for every
    /// piece.
    ///
    /// # Errors
    /// As [`request`](Self::request), the problem that the node reports, or why the bytes cannot be read.
    pub(crate) fn upload(
        &self,
        path: &str,
        from: impl Read,
        length: Option<u64>,
        passed: impl FnMut(u64),
    ) -> Result<Answer, Failure> {
        let length = length.map(|length| length.to_string());
        let mut headers = vec![
            ("content-type", "application/octet-stream"),
            // A node that refuses the upload can say so before it is sent.
            ("expect", "100-continue"),
        ];
        headers.extend(length.as_deref().map(|length| ("content-length", length)));
        let mut body = Counted { inner: from, passed, failed: None };
        let request = self.head("POST", path, &headers);
        let request = request.body(SendBody::from_reader(&mut body)).map_err(wrong)?;
        let answer = self.patient.run(request);
        match body.failed {
            Some(why) => Err(Failure::new(Exit::Usage, "unreadable", why)
                .hint("nothing was shared; try again when it is not being changed")),
            None => self.answer(answer)?.good(),
        }
    }

    /// A GET whose body is written to `to`; `passed` is called for every piece.
    ///
    /// # Errors
    /// As [`request`](Self::request), the problem that the node reports, or why the bytes cannot be written.
    pub(crate) fn download(
        &self,
        path: &str,
        mut to: impl Write,
        mut passed: impl FnMut(u64, Option<u64>),
    ) -> Result<u64, Failure> {
        let request = self.head("GET", path, &[]).body(()).map_err(wrong)?;
        let response = self.patient.run(request).map_err(|error| self.unreachable(&error))?;
        if !response.status().is_success() {
            return Err(self.answer(Ok(response))?.failure());
        }
        let total = response.body().content_length();
        let mut from = response.into_body().into_with_config().limit(u64::MAX).reader();
        let mut buffer = vec![0; PIECE];
        let mut bytes = 0;
        loop {
            let read = match from.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(broke_off(&error)),
            };
            to.write_all(&buffer[..read]).map_err(|error| not_written(&error))?;
            bytes += read as u64;
            passed(read as u64, total);
        }
        to.flush().map_err(|error| not_written(&error))?;
        Ok(bytes)
    }
}

fn broke_off(error: &io::Error) -> Failure {
    let message = format!("the node broke off in the middle of the file: {error}");
    Failure::new(Exit::Unavailable, "brokeOff", message).hint("try again")
}

/// The failure for a file that cannot be written.
pub(crate) fn not_written(error: &io::Error) -> Failure {
    let (exit, code) = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => (Exit::NoSpace, "noSpace"),
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            (Exit::Refused, "unwritable")
        }
        io::ErrorKind::AlreadyExists => (Exit::Refused, "exists"),
        _ => (Exit::Failed, "failed"),
    };
    Failure::new(exit, code, format!("cannot write the file: {error}"))
}

/// A reader that reports how much was read, and keeps its read error.
struct Counted<R, F> {
    inner: R,
    passed: F,
    failed: Option<String>,
}

impl<R: Read, F: FnMut(u64)> Read for Counted<R, F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.inner.read(buffer) {
            Ok(read) => {
                (self.passed)(read as u64);
                Ok(read)
            }
            Err(error) => {
                if error.kind() != io::ErrorKind::Interrupted {
                    self.failed = Some(error.to_string());
                }
                Err(error)
            }
        }
    }
}
