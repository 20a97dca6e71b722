//! Both ends of a websocket.

use super::DEADLINE;
use super::message::Head;
use super::wire::Wire;
use futures_util::SinkExt;
use futures_util::StreamExt;
use std::io;
use std::net::SocketAddr;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

/// A client of a backend's `/ws`.
pub(crate) struct Websocket(WebSocketStream<TcpStream>);

impl Websocket {
    pub(crate) async fn connect(to: SocketAddr, path: &str) -> Result<Self, Error> {
        let stream = TcpStream::connect(to).await?;
        let asked = tokio_tungstenite::client_async(format!("ws://app.test{path}"), stream);
        let (socket, _) = timeout(DEADLINE, asked)
            .await
            .map_err(|_| Error::ConnectionClosed)??;
        Ok(Self(socket))
    }

    /// With these cookies.
    pub(crate) async fn connect_with(
        to: SocketAddr,
        path: &str,
        cookies: &str,
    ) -> Result<Self, Error> {
        let stream = TcpStream::connect(to).await?;
        let mut request = format!("ws://app.test{path}").into_client_request()?;
        request
            .headers_mut()
            .insert("cookie", cookies.parse().unwrap());
        let asked = tokio_tungstenite::client_async(request, stream);
        let (socket, _) = timeout(DEADLINE, asked)
            .await
            .map_err(|_| Error::ConnectionClosed)??;
        Ok(Self(socket))
    }

    pub(crate) async fn send(&mut self, text: &str) -> Result<(), Error> {
        self.0.send(Message::text(text)).await
    }

    /// The next text; an error when the connection ends instead.
    pub(crate) async fn receive(&mut self) -> Result<String, Error> {
        let next = timeout(DEADLINE, self.0.next()).await;
        match next.expect("the websocket says something, or ends") {
            Some(Ok(message)) if message.is_text() => Ok(message.to_text()?.to_owned()),
            Some(Err(error)) => Err(error),
            _ => Err(Error::ConnectionClosed),
        }
    }

    /// Says `text` and gives the name of the backend that said it back.
    pub(crate) async fn talk(&mut self, text: &str) -> Result<String, Error> {
        self.send(text).await?;
        let answer = self.receive().await?;
        let (name, said) = answer.split_once(' ').unwrap_or_default();
        assert_eq!(said, text, "a websocket's text changed on its way");
        Ok(name.to_owned())
    }

    /// Closes in order and waits for the other side to agree.
    pub(crate) async fn close(mut self) -> Result<(), Error> {
        self.0.close(None).await?;
        while let Ok(Some(message)) = timeout(DEADLINE, self.0.next()).await {
            match message {
                Ok(_) => {}
                Err(Error::ConnectionClosed) => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// The upstream's end; see [`super::Step::Websocket`].
pub(crate) async fn serve(mut wire: Wire, head: &Head, name: &str) -> io::Result<()> {
    let Some(key) = head.get("sec-websocket-key") else {
        return wire
            .try_send("HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\n\r\n")
            .await;
    };
    let accept = derive_accept_key(key.as_bytes());
    wire.try_send(format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\nX-Backend: {name}\r\n\r\n"
    ))
    .await?;
    let (stream, unread) = wire.into_parts();
    let mut socket = WebSocketStream::from_partially_read(stream, unread, Role::Server, None).await;
    while let Some(Ok(message)) = socket.next().await {
        if let (true, Ok(text)) = (message.is_text(), message.to_text()) {
            let answer = Message::text(format!("{name} {text}"));
            if socket.send(answer).await.is_err() {
                break;
            }
        }
    }
    Ok(())
}
