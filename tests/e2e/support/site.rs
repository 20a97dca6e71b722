//! An application that keeps its data in a real `PostgreSQL`, as Odoo does: one transaction per request at
//! REPEATABLE READ, tried again after a serialization failure, and failures told with HTTP 200.

use super::postgres::{Postgres, Psql, SqlError};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;
use tokio::task::JoinSet;

/// As many transactions at a time.
const WORKERS: usize = 4;
/// As Odoo's `MAX_TRIES_ON_CONCURRENCY_FAILURE`.
const TRIES: usize = 5;
pub(crate) const ROWS: usize = 20;

/// Ends when it is dropped.
pub(crate) struct Site {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    _running: JoinSet<()>,
}

struct Shared {
    /// The column that this version of the code knows.
    column: &'static str,
    workers: Vec<Mutex<Psql>>,
    served: AtomicUsize,
}

impl Site {
    /// The table that every version works on, with the column of the first one.
    pub(crate) async fn schema(postgres: &Postgres) {
        let sql = format!(
            "CREATE TABLE partner (id int PRIMARY KEY, city text NOT NULL, visits int NOT NULL DEFAULT 0); \
             INSERT INTO partner SELECT id, 'somewhere' FROM generate_series(0, {ROWS} - 1) AS id"
        );
        postgres.run(&sql).await;
    }

    pub(crate) async fn start(postgres: &Postgres, column: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let workers = (0..WORKERS).map(|_| Mutex::new(postgres.session()));
        let shared = Arc::new(Shared {
            column,
            workers: workers.collect(),
            served: AtomicUsize::new(0),
        });
        let mut running = JoinSet::new();
        running.spawn(accept(listener, Arc::clone(&shared)));
        Self {
            address,
            shared,
            _running: running,
        }
    }

    /// Requests but the probes.
    pub(crate) fn served(&self) -> usize {
        self.shared.served.load(Ordering::SeqCst)
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        connections.spawn(answer(stream, Arc::clone(&shared)));
    }
}

async fn answer(mut stream: TcpStream, shared: Arc<Shared>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let body = if head.starts_with(b"GET /health ") {
        "pass".to_owned()
    } else {
        match shared.work().await {
            Ok(visits) => format!("{{\"result\":{visits}}}"),
            Err(error) => format!("{{\"error\":{:?}}}", format!("{error:?}")),
        }
    };
    let length = body.len();
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
    // A client that left is no matter of ours.
    stream.write_all(answer.as_bytes()).await.ok();
}

impl Shared {
    async fn work(&self) -> Result<String, SqlError> {
        let number = self.served.fetch_add(1, Ordering::SeqCst);
        let mut session = self.workers[number % WORKERS].lock().await;
        let mut last = None;
        for _ in 0..TRIES {
            match self.transaction(&mut session, number % ROWS).await {
                Ok(visits) => return Ok(visits),
                Err(error) => {
                    session.query("ROLLBACK").await.unwrap();
                    let may_retry = ["40001", "40P01"].contains(&&*error.code);
                    last = Some(error);
                    if !may_retry {
                        break;
                    }
                }
            }
        }
        Err(last.expect("it was tried"))
    }

    async fn transaction(&self, session: &mut Psql, row: usize) -> Result<String, SqlError> {
        let column = self.column;
        session
            .query("BEGIN ISOLATION LEVEL REPEATABLE READ")
            .await?;
        let read = format!("SELECT {column} FROM partner WHERE id = {row}");
        session.query(&read).await?;
        let write = format!(
            "UPDATE partner SET {column} = {column} || '', visits = visits + 1 WHERE id = {row} RETURNING visits"
        );
        let visits = session.query(&write).await?;
        session.query("COMMIT").await?;
        Ok(visits.first().cloned().unwrap_or_default())
    }
}
