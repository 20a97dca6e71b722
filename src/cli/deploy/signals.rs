//! Ctrl-C, SIGTERM and SIGHUP, as the runner hears them: each asks it to take back what it did.

use crate::cli::failure::Failure;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

#[derive(Debug, Clone)]
pub(super) struct Signals {
    asked: watch::Receiver<Option<&'static str>>,
}

impl Signals {
    /// From now on none of them ends the process.
    pub(super) fn listen() -> Result<Self, Failure> {
        let mut interrupt = signal(SignalKind::interrupt()).map_err(Failure::Output)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(Failure::Output)?;
        let mut hang_up = signal(SignalKind::hangup()).map_err(Failure::Output)?;
        let (tell, asked) = watch::channel(None);
        tokio::spawn(async move {
            loop {
                let name = tokio::select! {
                    _ = interrupt.recv() => "Ctrl-C",
                    _ = terminate.recv() => "SIGTERM",
                    _ = hang_up.recv() => "SIGHUP",
                };
                // Nobody hears it any more once it is being taken back.
                let _ = tell.send(Some(name));
            }
        });
        Ok(Self { asked })
    }

    /// Waits until somebody asks to stop; says how. Cancel safe.
    pub(super) async fn stop(mut self) -> String {
        match self.asked.wait_for(Option::is_some).await {
            Ok(name) => format!("stopped by {}", name.unwrap_or_default()),
            Err(_) => std::future::pending().await,
        }
    }
}
