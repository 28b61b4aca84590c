//! The events that ask a running program to stop.

use std::io;
#[cfg(unix)]
use std::task::Poll;
use std::thread;

use crate::failure::Failure;

/// Completes when the system asks the program to stop.
#[derive(Debug)]
pub(crate) struct Signals {
    #[cfg(unix)]
    streams: Vec<tokio::signal::unix::Signal>,
}

/// Completes when a service asks the program to read its configuration again.
#[derive(Debug)]
pub(super) struct Hangups {
    #[cfg(unix)]
    stream: Option<tokio::signal::unix::Signal>,
}

impl Hangups {
    /// The next request.
    pub(super) async fn next(&mut self) {
        #[cfg(unix)]
        if let Some(stream) = &mut self.stream
            && stream.recv().await.is_some()
        {
            return;
        }
        std::future::pending::<()>().await;
    }
}

impl Signals {
    /// Handles signals from now on.
    ///
    /// # Errors
    /// The system does not allow it.
    #[cfg(unix)]
    pub(crate) fn take() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let streams = vec![
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
            signal(SignalKind::hangup())?,
        ];
        Ok(Self { streams })
    }

    /// Handles signals from now on. SIGHUP is a request to read the configuration again; but if the program
    /// runs on a terminal, it means that the terminal is gone, and the node stops as with SIGTERM.
    ///
    /// # Errors
    /// The system does not allow it.
    #[cfg(unix)]
    pub(super) fn of_a_node() -> io::Result<(Self, Hangups)> {
        use std::io::IsTerminal as _;
        let mut signals = Self::take()?;
        let on_terminal = io::stdin().is_terminal() || io::stderr().is_terminal();
        let stream = if on_terminal { None } else { signals.streams.pop() };
        Ok((signals, Hangups { stream }))
    }

    /// Handles signals from now on.
    ///
    /// # Errors
    /// Never here.
    #[cfg(not(unix))]
    pub(super) fn of_a_node() -> io::Result<(Self, Hangups)> {
        Ok((Self {}, Hangups {}))
    }

    /// Handles signals from now on.
    ///
    /// # Errors
    /// Never here.
    #[cfg(not(unix))]
    pub(crate) fn take() -> io::Result<Self> {
        Ok(Self {})
    }

    /// The next request to stop.
    #[cfg(unix)]
    pub(crate) async fn next(&mut self) {
        std::future::poll_fn(|context| {
            let asked = self.streams.iter_mut().any(|it| it.poll_recv(context).is_ready());
            if asked { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// The next request to stop.
    #[cfg(not(unix))]
    pub(crate) async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Calls `tell` at the first signal from now on, from a thread of its own.
///
/// # Errors
/// The system does not allow it.
pub(crate) fn on_first_signal(tell: impl FnOnce() + Send + 'static) -> Result<(), Failure> {
    let cannot = |error: io::Error| Failure::failed(format!("cannot take signals: {error}"));
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(cannot)?;
    let mut signals = {
        let _entered = runtime.enter();
        Signals::take().map_err(cannot)?
    };
    let watch = move || {
        runtime.block_on(signals.next());
        tell();
    };
    thread::Builder::new().name("signals".into()).spawn(watch).map_err(cannot)?;
    Ok(())
}

/// Completes when stdin is closed because the process at its other end is gone.
pub(crate) async fn stdin_closed() {
    use tokio::io::AsyncReadExt as _;
    let mut stdin = tokio::io::stdin();
    let mut ignored = [0; 64];
    while matches!(stdin.read(&mut ignored).await, Ok(1..)) {}
}
