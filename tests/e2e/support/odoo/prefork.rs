//! The http port: worker processes that serve one connection at a time each, or the threaded server.

use super::answer::Dialect;
use super::answer::End;
use super::exchange::Manner;
use super::record::Member;
use super::record::Silent;
use super::running::Stage;
use super::running::until;
use super::site::Site;
use super::socket::NoHead;
use super::socket::Socket;
use super::websocket;
use std::sync::Arc;
use std::time::Instant;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant as Moment;
use tokio::time::sleep_until;

/// Until the process is gone.
///
/// After a SIGTERM no worker accepts any more, but the kernel does: those connections get an RST when the listener
/// goes, some time after the last request.
pub(super) async fn run(site: Arc<Site>, listener: TcpListener, stage: watch::Receiver<Stage>) {
    let manner = Manner {
        member: Member::Http,
        dialect: Dialect::Prefork,
        site: Arc::clone(&site),
    };
    let listener = Arc::new(listener);
    let mut workers = JoinSet::new();
    for _ in 0..site.behaviour.workers {
        workers.spawn(work(manner.clone(), Arc::clone(&listener), stage.clone()));
    }
    let mut stopping = stage.clone();
    until(&mut stopping, Stage::Draining).await;
    let deaf = Moment::now() + site.behaviour.deaf_time();
    while workers.join_next().await.is_some() {}
    let gone = deaf.max(Moment::now() + site.behaviour.last_sleep());
    tokio::select! {
        () = until(&mut stopping, Stage::Killed) => {}
        () = sleep_until(gone) => {}
    }
}

async fn work(manner: Manner, listener: Arc<TcpListener>, mut stage: watch::Receiver<Stage>) {
    let mut killed = stage.clone();
    let mut is_cold = true;
    loop {
        let stream = tokio::select! {
            biased;
            () = until(&mut stage, Stage::Draining) => return,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(_) => return,
            },
        };
        // From here on this worker is taken, whoever else waits.
        tokio::select! {
            () = until(&mut killed, Stage::Cut) => return,
            () = serve(&manner, stream, &mut is_cold) => {}
        }
    }
}

async fn serve(manner: &Manner, stream: TcpStream, is_cold: &mut bool) {
    let patience = manner.site.behaviour.socket_timeout();
    let mut socket = Socket::new(stream, Some(patience));
    let Some(end) = exchange(manner, &mut socket, is_cold).await else {
        return socket.finish();
    };
    match end {
        End::Fin => socket.finish(),
        End::Reset => socket.reset(),
    }
}

/// None when the connection broke, or nothing was asked.
async fn exchange(manner: &Manner, socket: &mut Socket, is_cold: &mut bool) -> Option<End> {
    let began = Instant::now();
    let connection = manner.site.record.connected();
    match socket.head(manner.limits()).await {
        Ok(head) => {
            manner.warm(&head, is_cold).await;
            manner.exchange(socket, &head, connection).await.ok()?
        }
        Err(NoHead::Refused(status)) => manner.refuse(socket, status).await.ok(),
        Err(NoHead::BrokenOff) => None,
        Err(NoHead::Silent { hung_up }) => {
            manner.site.record.stayed_silent(Silent {
                member: manner.member,
                lasted: began.elapsed(),
                hung_up,
            });
            None
        }
    }
}

/// `workers = 0`: a thread for each connection, without patience; websockets on this very port.
///
/// After a SIGTERM the port refuses at once, and any connection that is open without a request keeps the process
/// alive.
pub(super) async fn run_threaded(
    site: Arc<Site>,
    listener: TcpListener,
    stage: watch::Receiver<Stage>,
) {
    let manner = Manner {
        member: Member::Http,
        dialect: Dialect::Threaded,
        site,
    };
    let mut stopping = stage.clone();
    let mut threads = JoinSet::new();
    loop {
        let stream = tokio::select! {
            biased;
            () = until(&mut stopping, Stage::Draining) => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(_) => break,
            },
        };
        threads.spawn(serve_threaded(manner.clone(), stream, stage.clone()));
        while threads.try_join_next().is_some() {}
    }
    drop(listener);
    tokio::select! {
        () = until(&mut stopping, Stage::Cut) => {}
        () = async { while threads.join_next().await.is_some() {} } => {}
    }
}

async fn serve_threaded(manner: Manner, stream: TcpStream, stage: watch::Receiver<Stage>) {
    let mut socket = Socket::new(stream, None);
    let connection = manner.site.record.connected();
    let Ok(head) = socket.head(manner.limits()).await else {
        return;
    };
    if websocket::is_asked_for(&head) {
        return websocket::serve(&manner, socket, &head, stage).await;
    }
    match manner.exchange(&mut socket, &head, connection).await {
        Ok(Some(End::Reset)) => socket.reset(),
        _ => socket.finish(),
    }
}
