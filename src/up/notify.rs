//! Reports the state of a node to a service manager (`sd_notify`): ready, alive, reloading, stopping.
//!
//! **Invariant:** the watchdog is answered only while the loop of the node answers questions, so a node that
//! hangs is started again.

#[cfg(target_os = "linux")]
mod systemd {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use potluck::Node;
    use sd_notify::NotifyState;
    use tokio::time::{sleep, timeout};

    /// Time between two keep-alive messages if the manager requires none. Raising it makes the status line
    /// older.
    const STATUS_PERIOD: Duration = Duration::from_secs(10);
    /// How long one keep-alive message extends the start: a start may take without end, since entry points
    /// are retried without end.
    const EXTENSION: Duration = Duration::from_secs(60);

    fn tell(states: &[NotifyState<'_>]) {
        // Without a manager nothing is sent; if the manager cannot be reached, the node works without it.
        if let Err(error) = sd_notify::notify(states) {
            tracing::debug!(%error, "the service manager does not listen");
        }
    }

    /// Whether a service manager listens.
    fn is_heard() -> bool {
        std::env::var_os("NOTIFY_SOCKET").is_some()
    }

    /// Whether the manager was told that the node can be used.
    static READY: AtomicBool = AtomicBool::new(false);

    /// The node can be used.
    pub(in crate::up) fn ready() {
        READY.store(true, Ordering::Relaxed);
        tell(&[NotifyState::Ready]);
    }

    /// The node is stopping.
    pub(in crate::up) fn stopping() {
        tell(&[NotifyState::Stopping]);
    }

    /// The configuration is read again; [`reloaded`] must follow.
    pub(in crate::up) fn reloading() {
        if READY.load(Ordering::Relaxed)
            && let Ok(now) = NotifyState::monotonic_usec_now()
        {
            tell(&[NotifyState::Reloading, now]);
        }
    }

    /// The configuration was read again. A node that is not ready yet does not report that it is.
    pub(in crate::up) fn reloaded() {
        if READY.load(Ordering::Relaxed) {
            tell(&[NotifyState::Ready]);
        }
    }

    /// Sends keep-alive messages with the node's state as long as the node answers; never ends by itself.
    pub(in crate::up) async fn alive<T>(node: &Node) -> T {
        if !is_heard() {
            return std::future::pending().await;
        }
        let asked = sd_notify::watchdog_enabled().map(|period| period / 2);
        let period = asked.unwrap_or(STATUS_PERIOD).min(STATUS_PERIOD);
        loop {
            if let Ok(Ok(verdict)) = timeout(period, node.health()).await {
                let sentences = verdict.sentences().join("; ");
                let sentences = if sentences.is_empty() { "ok".to_owned() } else { sentences };
                let line: String = sentences.chars().filter(|it| !it.is_control()).collect();
                tell(&[NotifyState::Watchdog, NotifyState::Status(&line)]);
                if !verdict.is_ready() {
                    let micros = u32::try_from(EXTENSION.as_micros()).unwrap_or(u32::MAX);
                    tell(&[NotifyState::ExtendTimeoutUsec(micros)]);
                }
            }
            sleep(period).await;
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod systemd {
    use potluck::Node;

    pub(in crate::up) fn ready() {}
    pub(in crate::up) fn stopping() {}
    pub(in crate::up) fn reloading() {}
    pub(in crate::up) fn reloaded() {}
    pub(in crate::up) async fn alive<T>(_: &Node) -> T {
        std::future::pending().await
    }
}

pub(super) use systemd::{alive, ready, reloaded, reloading, stopping};
