//! Reads a shared file as a stream of bytes.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use potluck_host::files::{FilesError, Reader};
use potluck_swarm::FileLink;
use tokio::io::{AsyncRead, ReadBuf};

/// Most bytes of one read.
const PIECE_BYTES: u64 = 256 * 1024;

type Piece = Pin<Box<dyn Future<Output = (Reader, Result<Bytes, FilesError>)> + Send>>;

/// Reads a shared file from its beginning to its end, while the node fetches it if needed. Each byte is
/// verified before it is returned. Made by [`Files::read`](crate::Files::read).
pub struct FileReader {
    name: String,
    bytes: u64,
    position: u64,
    /// Bytes that were read and not returned yet.
    left: Bytes,
    state: State,
}

enum State {
    Idle(Reader),
    Reading(Piece),
    /// A read failed, or one is being started.
    Gone,
}

impl fmt::Debug for FileReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("FileReader");
        shown.field("name", &self.name).field("position", &self.position).finish_non_exhaustive()
    }
}

impl FileReader {
    /// `link` names the file; the reader's own name is only used for links without a name.
    pub(crate) fn new(reader: Reader, link: &FileLink) -> Self {
        let hint = Some(reader.name()).filter(|name| !name.is_empty());
        let (name, bytes) = (link.file_name_with(hint), reader.bytes());
        Self { name, bytes, position: 0, left: Bytes::new(), state: State::Idle(reader) }
    }

    /// The name of the file.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Bytes in the file.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl AsyncRead for FileReader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.left.is_empty() {
            match std::mem::replace(&mut self.state, State::Gone) {
                State::Idle(reader) if self.position >= self.bytes => {
                    self.state = State::Idle(reader);
                    return Poll::Ready(Ok(()));
                }
                State::Idle(mut reader) => {
                    let range = self.position..self.position.saturating_add(PIECE_BYTES);
                    self.state = State::Reading(Box::pin(async move {
                        let piece = reader.read(range).await;
                        (reader, piece)
                    }));
                }
                State::Reading(mut piece) => {
                    let Poll::Ready((reader, read)) = piece.as_mut().poll(context) else {
                        self.state = State::Reading(piece);
                        return Poll::Pending;
                    };
                    self.state = State::Idle(reader);
                    self.left = read.map_err(io::Error::other)?;
                    self.position += self.left.len() as u64;
                }
                State::Gone => return Poll::Ready(Err(io::Error::other("an earlier read failed"))),
            }
        }
        let given = self.left.len().min(buffer.remaining());
        buffer.put_slice(&self.left.split_to(given));
        Poll::Ready(Ok(()))
    }
}
