//! Connections to the web: to whom an operator's URL leads, with TLS always verified.

use super::PROVIDER;
use super::roots::Roots;
use super::words;
use crate::net::Dial;
use crate::net::EndpointAddr;
use crate::net::Stream;
use crate::net::connect_tcp;
use http::Uri;
use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio_rustls::TlsConnector;

/// Connects to the host of `url`, and shakes hands where it says https. Cancel safe.
///
/// `within` is the caller's own deadline.
/// `ca` is whom to trust; none means the roots of this machine.
///
/// # Errors
/// The operating system's; or, in words, what is wrong with the certificate or the TLS of the host.
pub async fn connect_web(url: &Uri, ca: Option<&Path>, within: Duration) -> io::Result<Stream> {
    let is_tls = url.scheme_str() == Some("https");
    let host = url.host().unwrap_or_default();
    let host = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    let port = url.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
    let address = match host.parse() {
        Ok(address) => EndpointAddr::Tcp(SocketAddr::new(address, port)),
        Err(_) => EndpointAddr::Named {
            host: host.to_owned(),
            port,
        },
    };
    let socket = connect_tcp(&address, Dial::within(within)).await?;
    if !is_tls {
        return Ok(socket.into());
    }
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    let stream = TlsConnector::from(config(ca)?).connect(name.clone(), socket);
    Ok(stream
        .await
        .map_err(|error| words::in_words(error, &name))?
        .into())
}

/// Made for each connection: they are few, and a file that was renewed is trusted at once.
fn config(ca: Option<&Path>) -> io::Result<Arc<ClientConfig>> {
    let roots = match ca {
        Some(ca) => Roots::load(ca),
        None => Roots::of_system(Path::new("ca")),
    };
    let roots = roots.map_err(|problem| io::Error::other(problem.what))?;
    let mut config = ClientConfig::builder_with_provider(Arc::clone(&PROVIDER))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots.store)
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
