//! Standard Webhooks signatures (standardwebhooks.com, spec 1.0): HMAC-SHA256 over `id.timestamp.body`.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use hmac::Mac;
use zeroize::Zeroizing;

use crate::clock::Millis;
use crate::secrets::keyring::HmacSha256;

/// How far a timestamp may be from now, in either direction, in seconds.
pub const TOLERANCE_S: i64 = 300;
/// Ids, in bytes.
const ID_LIMIT: usize = 256;
/// Signatures looked at in one header.
const SIGNATURES_LIMIT: usize = 8;

/// Why a request is not from the media server, or not from now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsigned {
    /// A header is missing or is not text.
    #[error("webhook-id, webhook-timestamp and webhook-signature are needed")]
    Headers,
    /// The timestamp is too far from now: a replay, or a clock that is off.
    #[error("the timestamp is more than 5 minutes from this server's clock")]
    Timestamp,
    /// No signature fits.
    #[error("no signature fits the request")]
    Signature,
}

/// A secret that is no `whsec_` and base64 of 24 to 64 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a webhook secret is `whsec_` and 24 to 64 bytes in base64")]
pub struct InvalidSecret;

/// The secrets in force: one, or during a rotation the old and the new.
#[derive(Clone)]
pub struct Secrets(Vec<Zeroizing<Vec<u8>>>);

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secrets(redacted)")
    }
}

impl Secrets {
    /// From text with one secret or several, separated by white space.
    pub fn parse(text: &str) -> Result<Self, InvalidSecret> {
        let decode = |word: &str| {
            let bytes = BASE64.decode(word.strip_prefix("whsec_")?).ok().map(Zeroizing::new)?;
            (24..=64).contains(&bytes.len()).then_some(bytes)
        };
        let secrets: Option<Vec<_>> = text.split_whitespace().map(decode).collect();
        secrets.filter(|list| !list.is_empty()).map(Self).ok_or(InvalidSecret)
    }

    /// A new secret as text.
    pub fn generate() -> Zeroizing<String> {
        let mut bytes = Zeroizing::new([0_u8; 32]);
        rand::RngCore::fill_bytes(&mut rand::rng(), &mut *bytes);
        Zeroizing::new(format!("whsec_{}", BASE64.encode(*bytes)))
    }

    /// Checks a request's three headers and its raw body. Comparison takes the same time for every wrong signature.
    pub fn verify(&self, headers: Headers<'_>, body: &[u8], now: Millis) -> Result<(), Unsigned> {
        let at: i64 = headers.timestamp.parse().map_err(|_| Unsigned::Headers)?;
        if headers.id.is_empty() || headers.id.len() > ID_LIMIT {
            return Err(Unsigned::Headers);
        }
        if now.div_euclid(1000).abs_diff(at) > TOLERANCE_S.unsigned_abs() {
            return Err(Unsigned::Timestamp);
        }
        let presented = headers
            .signatures
            .split(' ')
            .take(SIGNATURES_LIMIT)
            .filter_map(|word| BASE64.decode(word.strip_prefix("v1,")?).ok());
        for signature in presented {
            for secret in &self.0 {
                if mac(secret, headers, body).verify_slice(&signature).is_ok() {
                    return Ok(());
                }
            }
        }
        Err(Unsigned::Signature)
    }

    /// The signature header for a request: one signature for each secret in force.
    pub fn sign(&self, id: &str, timestamp: &str, body: &[u8]) -> String {
        let headers = Headers { id, timestamp, signatures: "" };
        let sign = |secret: &Zeroizing<Vec<u8>>| {
            format!("v1,{}", BASE64.encode(mac(secret, headers, body).finalize().into_bytes()))
        };
        self.0.iter().map(sign).collect::<Vec<_>>().join(" ")
    }
}

/// The three headers.
#[derive(Clone, Copy, Debug)]
pub struct Headers<'a> {
    /// `webhook-id`
    pub id: &'a str,
    /// `webhook-timestamp`: seconds since the Unix epoch.
    pub timestamp: &'a str,
    /// `webhook-signature`: `v1,BASE64`, several separated by spaces.
    pub signatures: &'a str,
}

fn mac(secret: &[u8], headers: Headers<'_>, body: &[u8]) -> HmacSha256 {
    // HMAC takes keys of every length (RFC 2104 2), so the second arm is never taken.
    let mut mac = <HmacSha256 as Mac>::new_from_slice(secret)
        .unwrap_or_else(|_| <HmacSha256 as Mac>::new(&[0; 64].into()));
    for piece in [headers.id.as_bytes(), b".", headers.timestamp.as_bytes(), b".", body] {
        mac.update(piece);
    }
    mac
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification's reference libraries.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const AT: &str = "1614265330";
    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    fn verify(secrets: &str, signatures: &str, body: &[u8], skew_s: i64) -> Result<(), Unsigned> {
        let now = (1_614_265_330 + skew_s) * 1000;
        Secrets::parse(secrets).unwrap().verify(Headers { id: ID, timestamp: AT, signatures }, body, now)
    }

    #[test]
    fn the_reference_example_verifies_and_is_what_we_would_sign() {
        assert_eq!(verify(SECRET, SIGNATURE, BODY, 0), Ok(()));
        assert_eq!(Secrets::parse(SECRET).unwrap().sign(ID, AT, BODY), SIGNATURE);
    }

    #[test]
    fn during_a_rotation_either_secret_fits_and_one_signature_of_several_is_enough() {
        let both = format!("{}\n{SECRET}\n", Secrets::generate().as_str());
        let list = format!("v1a,ed25519 v1,AAAA {SIGNATURE}");
        assert_eq!(verify(&both, &list, BODY, 0), Ok(()));
    }

    #[test]
    fn a_changed_byte_or_a_wrong_secret_does_not_pass() {
        assert_eq!(verify(SECRET, SIGNATURE, br#"{"test": 2432232315}"#, 0), Err(Unsigned::Signature));
        assert_eq!(verify(&Secrets::generate(), SIGNATURE, BODY, 0), Err(Unsigned::Signature));
        for broken in ["", "v1", "v1,", "v1,***", "v2,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="] {
            assert_eq!(verify(SECRET, broken, BODY, 0), Err(Unsigned::Signature), "{broken}");
        }
    }

    #[test]
    fn an_old_or_future_timestamp_does_not_pass() {
        assert_eq!(verify(SECRET, SIGNATURE, BODY, 300), Ok(()));
        assert_eq!(verify(SECRET, SIGNATURE, BODY, 301), Err(Unsigned::Timestamp));
        assert_eq!(verify(SECRET, SIGNATURE, BODY, -301), Err(Unsigned::Timestamp));
        let headers = Headers { id: ID, timestamp: "-9223372036854775808", signatures: SIGNATURE };
        let secrets = Secrets::parse(SECRET).unwrap();
        assert_eq!(secrets.verify(headers, BODY, i64::MAX), Err(Unsigned::Timestamp));
    }

    #[test]
    fn short_or_unmarked_secrets_are_refused() {
        for wrong in ["", "whsec_", "whsec_c2hvcnQ=", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_!"] {
            assert!(Secrets::parse(wrong).is_err(), "{wrong}");
        }
    }
}
