//! Our account at the certificate authority: made once, found again at each start.

use super::error::AcmeError;
use super::files::Files;
use crate::config::Acme;
use bytes::Bytes;
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client;
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
    // The config takes http:// for an authority on this machine only.
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_or_http()
        .enable_http1()
        .build();
    let client: Client<_, BodyWrapper<Bytes>> =
        Client::builder(TokioExecutor::new()).build(connector);
    Ok(Box::new(client))
}
