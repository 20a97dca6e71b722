//! Our account at the certificate authority: made once, found again at each start.

use super::error::AcmeError;
use super::files::Files;
use crate::config::Acme;
use crate::net::NameFailure;
use crate::net::resolver;
use bytes::Bytes;
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::rt::TokioExecutor;
use instant_acme::Account;
use instant_acme::AccountCredentials;
use instant_acme::BodyWrapper;
use instant_acme::HttpClient;
use instant_acme::NewAccount;
use rustls::ClientConfig;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::Context;
use std::task::Poll;
use std::time::Duration;
use std::vec;
use tower_service::Service;

/// An order that waits longer for a name is tried again later.
const LOOK_UP: Duration = Duration::from_secs(30);

/// Names of authorities are looked up as all others are.
#[derive(Debug, Clone)]
struct Names;

impl Service<Name> for Names {
    type Response = vec::IntoIter<SocketAddr>;
    type Error = NameFailure;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, NameFailure>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), NameFailure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        Box::pin(async move {
            let addresses = resolver().name(name.as_str()).resolve(LOOK_UP).await?;
            // The port is the connector's to set.
            let addresses = addresses.into_iter().map(|address| (address, 0).into());
            Ok(addresses.collect::<Vec<_>>().into_iter())
        })
    }
}

/// Logs in, with a new account where there is none yet.
pub(super) async fn log_in(settings: &Acme, files: &Files) -> Result<Account, AcmeError> {
    let path = files.account(&settings.directory);
    let builder = Account::builder_with_http(http_client(settings)?);
    if let Some(kept) = Files::read(&path)? {
        let credentials: AccountCredentials =
            serde_json::from_slice(&kept).map_err(|cause| AcmeError::Account {
                path: path.clone(),
                cause,
            })?;
        return Ok(builder.from_credentials(credentials).await?);
    }
    let contact: Vec<String> = settings
        .email
        .iter()
        .map(|email| format!("mailto:{email}"))
        .collect();
    let contact: Vec<&str> = contact.iter().map(String::as_str).collect();
    let wanted = NewAccount {
        contact: &contact,
        terms_of_service_agreed: true,
        only_return_existing: false,
    };
    let (account, credentials) = builder
        .create(&wanted, settings.directory.clone(), None)
        .await?;
    let kept = serde_json::to_vec(&credentials).map_err(|cause| AcmeError::Account {
        path: path.clone(),
        cause,
    })?;
    files.write(&path, &kept)?;
    tracing::info!(
        directory = settings.directory,
        "account at the certificate authority made"
    );
    Ok(account)
}

/// Trusts the system's roots, or only those that the operator named.
fn http_client(settings: &Acme) -> Result<Box<dyn HttpClient>, AcmeError> {
    let mut roots = RootCertStore::empty();
    match &settings.ca {
        Some(path) => {
            let named = CertificateDer::pem_file_iter(path)
                .and_then(Iterator::collect::<Result<Vec<_>, _>>)
                .map_err(|error| AcmeError::Roots(format!("{}: {error}", path.display())))?;
            if roots.add_parsable_certificates(named).0 == 0 {
                return Err(AcmeError::Roots(format!(
                    "{} holds no certificate",
                    path.display()
                )));
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    let tls = ClientConfig::builder_with_provider(std::sync::Arc::new(
        rustls::crypto::aws_lc_rs::default_provider(),
    ))
    .with_safe_default_protocol_versions()
    .map_err(|error| AcmeError::Roots(error.to_string()))?
    .with_root_certificates(roots)
    .with_no_client_auth();
    let mut connector = HttpConnector::new_with_resolver(Names);
    connector.enforce_http(false);
    connector.set_nodelay(true);
    // The config takes http:// for an authority on this machine only.
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_or_http()
        .enable_http1()
        .wrap_connector(connector);
    let client: Client<_, BodyWrapper<Bytes>> =
        Client::builder(TokioExecutor::new()).build(connector);
    Ok(Box::new(client))
}
