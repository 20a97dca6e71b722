//! The websocket port: one process, any number of connections, kept without limit.

use super::answer::Dialect;
use super::answer::End;
use super::exchange::Manner;
use super::record::Member;
use super::running::Stage;
use super::running::until;
use super::site::Site;
use super::socket::NoHead;
use super::socket::Socket;
use super::websocket;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Until a signal: then every connection ends at once with a FIN, websockets without a close frame.
pub(super) async fn run(site: Arc<Site>, listener: TcpListener, stage: watch::Receiver<Stage>) {
    let manner = Manner {
        member: Member::Websocket,
        dialect: Dialect::Gevent,
        site,
    };
    let mut stopping = stage.clone();
    // Dropped with this task, and all connections with it.
    let mut connections = JoinSet::new();
    loop {
        let stream = tokio::select! {
            biased;
            () = until(&mut stopping, Stage::Draining) => return,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(_) => return,
            },
        };
        connections.spawn(serve(manner.clone(), stream, stage.clone()));
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(manner: Manner, stream: TcpStream, stage: watch::Receiver<Stage>) {
    let mut socket = Socket::new(stream, None);
    let connection = manner.site.record.connected();
    loop {
        let head = match socket.head(manner.limits()).await {
            Ok(head) => head,
            Err(NoHead::Refused(status)) => {
                manner.refuse(&mut socket, status).await.ok();
                return socket.finish();
            }
            Err(_) => return,
        };
        if websocket::is_asked_for(&head) {
            return websocket::serve(&manner, socket, &head, stage).await;
        }
        // One process for all connections.
        let mut is_cold = !manner.site.gevent_is_warm.swap(true, Ordering::SeqCst);
        manner.warm(&head, &mut is_cold).await;
        manner.site.gevent_is_warm.store(!is_cold, Ordering::SeqCst);
        match manner.exchange(&mut socket, &head, connection).await {
            Ok(None) => {}
            Ok(Some(End::Reset)) => return socket.reset(),
            Ok(Some(End::Fin)) => return socket.finish(),
            Err(_) => return,
        }
    }
}
