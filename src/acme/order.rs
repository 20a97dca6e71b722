//! One order: a name, its proof, its certificate.

use super::error::AcmeError;
use crate::config::AcmeChallenge;
use crate::tls::Challenges;
use crate::tls::Offer;
use instant_acme::Account;
use instant_acme::AuthorizationStatus;
use instant_acme::ChallengeHandle;
use instant_acme::ChallengeType;
use instant_acme::Identifier;
use instant_acme::NewOrder;
use instant_acme::Order;
use instant_acme::OrderStatus;
use instant_acme::RetryPolicy;
use rcgen::CertificateParams;
use rcgen::CustomExtension;
use rcgen::KeyPair;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::sign::CertifiedKey;
use std::sync::Arc;
use std::time::Duration;

/// How long an authority may take over a proof, and over the certificate.
const PATIENCE: Duration = Duration::from_mins(1);

/// Orders a certificate for `host`; the chain and the key as PEM, in one text.
pub(super) async fn obtain(
    account: &Account,
    host: &str,
    kind: AcmeChallenge,
    challenges: &Arc<Challenges>,
) -> Result<String, AcmeError> {
    let names = [Identifier::Dns(host.to_owned())];
    let mut order = account.new_order(&NewOrder::new(&names)).await?;
    // Shown until the order is through.
    let offers = prove(&mut order, host, kind, challenges).await?;
    let retries = RetryPolicy::default().timeout(PATIENCE);
    let status = order.poll_ready(&retries).await?;
    drop(offers);
    if !matches!(status, OrderStatus::Ready | OrderStatus::Valid) {
        return Err(AcmeError::NotProved(why(&mut order).await));
    }
    let key = order.finalize().await?;
    let chain = order.poll_certificate(&retries).await?;
    Ok(format!("{key}\n{chain}"))
}

async fn prove(
    order: &mut Order,
    host: &str,
    kind: AcmeChallenge,
    challenges: &Arc<Challenges>,
) -> Result<Vec<Offer>, AcmeError> {
    let mut offers = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        if authorization.status == AuthorizationStatus::Valid {
            continue;
        }
        let (wanted, name) = match kind {
            AcmeChallenge::Http => (ChallengeType::Http01, "http-01"),
            AcmeChallenge::TlsAlpn => (ChallengeType::TlsAlpn01, "tls-alpn-01"),
        };
        let mut challenge = authorization
            .challenge(wanted)
            .ok_or(AcmeError::NoChallenge(name))?;
        offers.push(offer(&challenge, host, kind, challenges)?);
        challenge.set_ready().await?;
    }
    Ok(offers)
}

fn offer(
    challenge: &ChallengeHandle<'_>,
    host: &str,
    kind: AcmeChallenge,
    challenges: &Arc<Challenges>,
) -> Result<Offer, AcmeError> {
    let authorization = challenge.key_authorization();
    match kind {
        AcmeChallenge::Http => {
            Ok(challenges.offer_answer(&challenge.token, authorization.as_str()))
        }
        AcmeChallenge::TlsAlpn => {
            let proof = proof(host, authorization.digest().as_ref())
                .map_err(|error| AcmeError::Proof(error.to_string()))?;
            Ok(challenges.offer_certificate(host, &Arc::new(proof)))
        }
    }
}

/// The certificate that a handshake of the challenge protocol is shown (RFC 8737, section 3).
fn proof(host: &str, digest: &[u8]) -> Result<CertifiedKey, Box<dyn std::error::Error>> {
    let mut params = CertificateParams::new(vec![host.to_owned()])?;
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    Ok(CertifiedKey::new(
        vec![certificate.der().clone()],
        any_supported_type(&key)?,
    ))
}

/// What the authority says of a proof that it did not accept.
async fn why(order: &mut Order) -> String {
    let mut told = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(Ok(authorization)) = authorizations.next().await {
        let errors = authorization.challenges.iter();
        told.extend(
            errors.filter_map(|challenge| challenge.error.as_ref().map(ToString::to_string)),
        );
    }
    if told.is_empty() {
        return "it gave no reason".to_owned();
    }
    told.join("; ")
}
