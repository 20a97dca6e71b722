//! Signed requests (RFC 8555, section 6.2): taken apart, and verified with the account's key.

use aws_lc_rs::digest;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use serde_json::Value;

/// A request whose signature holds.
pub(super) struct Signed {
    pub(super) nonce: String,
    pub(super) url: String,
    pub(super) payload: Value,
    /// The key itself, in the request that makes an account.
    pub(super) key: Option<Key>,
    /// The account's URL in all others.
    pub(super) account: Option<String>,
}

/// An account's public key, with its thumbprint (RFC 7638).
#[derive(Clone)]
pub(super) struct Key {
    point: Vec<u8>,
    pub(super) thumbprint: String,
}

pub(super) fn decode(text: &Value) -> Vec<u8> {
    BASE64
        .decode(text.as_str().unwrap_or_default())
        .unwrap_or_default()
}

pub(super) fn sha256(bytes: &[u8]) -> Vec<u8> {
    digest::digest(&digest::SHA256, bytes).as_ref().to_vec()
}

impl Key {
    fn of(jwk: &Value) -> Option<Self> {
        let (x, y) = (jwk["x"].as_str()?, jwk["y"].as_str()?);
        let canonical = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
        let mut point = vec![4];
        point.extend(decode(&jwk["x"]));
        point.extend(decode(&jwk["y"]));
        Some(Self {
            point,
            thumbprint: BASE64.encode(sha256(canonical.as_bytes())),
        })
    }
}

/// Verifies with the key in the request, or with the one that `known` has for its account.
pub(super) fn open(body: &[u8], known: impl Fn(&str) -> Option<Key>) -> Result<Signed, String> {
    let outer: Value = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let header: Value =
        serde_json::from_slice(&decode(&outer["protected"])).map_err(|error| error.to_string())?;
    if header["alg"] != "ES256" {
        return Err(format!("alg is {}", header["alg"]));
    }
    let key = Key::of(&header["jwk"]);
    let account = header["kid"].as_str().map(str::to_owned);
    let verifying = match (&key, &account) {
        (Some(key), None) => key.clone(),
        (None, Some(account)) => known(account).ok_or("no such account")?,
        _ => return Err("exactly one of jwk and kid".to_owned()),
    };
    let signed = format!(
        "{}.{}",
        outer["protected"].as_str().unwrap_or_default(),
        outer["payload"].as_str().unwrap_or_default()
    );
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &verifying.point)
        .verify(signed.as_bytes(), &decode(&outer["signature"]))
        .map_err(|_| "the signature does not hold".to_owned())?;
    let payload = serde_json::from_slice(&decode(&outer["payload"])).unwrap_or(Value::Null);
    Ok(Signed {
        nonce: header["nonce"].as_str().unwrap_or_default().to_owned(),
        url: header["url"].as_str().unwrap_or_default().to_owned(),
        payload,
        key,
        account,
    })
}
