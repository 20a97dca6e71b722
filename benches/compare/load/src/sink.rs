//! A server that reads whatever body comes and answers when it has all of it.

use memchr::memmem;
use std::io;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::net::TcpStream;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n";

pub async fn serve() -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        // A connection that breaks is seen by the load.
        tokio::task::spawn_local(read(stream));
    }
}

async fn read(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(256 * 1024);
    loop {
        let end = loop {
            if let Some(at) = memmem::find(&buffer, b"\r\n\r\n") {
                break at + 4;
            }
            if stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        };
        let mut missing = length(&buffer[..end]) as usize;
        let here = missing.min(buffer.len() - end);
        buffer.drain(..end + here);
        missing -= here;
        while missing > 0 {
            buffer.clear();
            let read = stream.read_buf(&mut buffer).await?;
            if read == 0 {
                return Ok(());
            }
            let taken = read.min(missing);
            missing -= taken;
            buffer.drain(..taken);
        }
        stream.write_all(ANSWER).await?;
    }
}

fn length(head: &[u8]) -> u64 {
    let text = String::from_utf8_lossy(head).to_ascii_lowercase();
    text.split("\r\n")
        .find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok())
        .unwrap_or(0)
}
