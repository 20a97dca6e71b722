//! How far a process is on its way out.

use tokio::sync::watch;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    Serving,
    /// SIGTERM: what is under way is finished.
    Draining,
    /// A second SIGTERM: it is cut.
    Cut,
    /// SIGKILL, as far as it goes beyond.
    Killed,
}

/// Waits until that stage is reached, or passed.
pub(super) async fn until(stage: &mut watch::Receiver<Stage>, wanted: Stage) {
    // Without a sender the whole double is gone, and this task with it.
    stage.wait_for(|now| *now >= wanted).await.ok();
}
