//! Key pairs: generation, and the public key of a private one.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use super::{Algorithm, Jwk};
use crate::crypto::encryption::EncryptionError;

/// Bytes of an Ed25519 key, and of a coordinate on P-256.
const WIDTH: usize = 32;

/// A new key: the public part, and the private one as PKCS #8.
pub(super) fn generate(algorithm: Algorithm) -> Result<(Jwk, Zeroizing<Vec<u8>>), EncryptionError> {
    let random = SystemRandom::new();
    let document = match algorithm {
        Algorithm::EdDsa => Ed25519KeyPair::generate_pkcs8(&random),
        Algorithm::Es256 => EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random),
    };
    let document = document.map_err(|_| EncryptionError::Failed)?;
    let private = Zeroizing::new(document.as_ref().to_vec());
    let jwk = public(algorithm, &private).ok_or(EncryptionError::Failed)?;
    Ok((jwk, private))
}

/// The public key that belongs to a private one.
pub(super) fn public(algorithm: Algorithm, pkcs8: &[u8]) -> Option<Jwk> {
    match algorithm {
        Algorithm::EdDsa => {
            let pair = Ed25519KeyPair::from_pkcs8(pkcs8).ok()?;
            Some(jwk(algorithm, URL_SAFE_NO_PAD.encode(pair.public_key()), None))
        }
        Algorithm::Es256 => {
            let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8).ok()?;
            // An uncompressed point: 4, then both coordinates.
            let (x, y) = pair.public_key().as_ref().strip_prefix(&[4])?.split_at_checked(WIDTH)?;
            Some(jwk(algorithm, URL_SAFE_NO_PAD.encode(x), Some(URL_SAFE_NO_PAD.encode(y))))
        }
    }
}

/// Whether all members of `jwk` follow from this algorithm and its coordinates.
pub(super) fn is_sound(algorithm: Algorithm, jwk: &Jwk) -> bool {
    let is_coordinate = |text: &str| URL_SAFE_NO_PAD.decode(text).is_ok_and(|bytes| bytes.len() == WIDTH);
    let has_its_coordinates = jwk.y.is_some() == (algorithm == Algorithm::Es256);
    has_its_coordinates
        && [Some(&jwk.x), jwk.y.as_ref()].into_iter().flatten().all(|text| is_coordinate(text))
        && self::jwk(algorithm, jwk.x.clone(), jwk.y.clone()) == *jwk
}

fn jwk(algorithm: Algorithm, x: String, y: Option<String>) -> Jwk {
    let (kty, crv) = match algorithm {
        Algorithm::EdDsa => ("OKP", "Ed25519"),
        Algorithm::Es256 => ("EC", "P-256"),
    };
    // The required members in alphabetical order, without white space (RFC 7638, section 3).
    let last = y.as_ref().map(|y| format!(r#","y":"{y}""#)).unwrap_or_default();
    let members = format!(r#"{{"crv":"{crv}","kty":"{kty}","x":"{x}"{last}}}"#);
    let kid = URL_SAFE_NO_PAD.encode(digest(&SHA256, members.as_bytes()));
    let (kty, crv, alg, usage) = (kty.to_owned(), crv.to_owned(), algorithm.name().to_owned(), "sig".to_owned());
    Jwk { kty, crv, x, y, kid, alg, usage }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_key_is_its_thumbprint() {
        // The key and the thumbprint of RFC 8037, appendices A.2 and A.3.
        let jwk = jwk(Algorithm::EdDsa, "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo".to_owned(), None);
        assert_eq!(jwk.kid, "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }

    #[test]
    fn a_made_key_is_sound_and_no_other_algorithms() {
        for (algorithm, other) in [(Algorithm::EdDsa, Algorithm::Es256), (Algorithm::Es256, Algorithm::EdDsa)] {
            let (jwk, private) = generate(algorithm).unwrap();
            assert!(is_sound(algorithm, &jwk) && !is_sound(other, &jwk));
            assert_eq!(public(algorithm, &private), Some(jwk));
            assert_eq!(public(other, &private), None);
        }
    }

    #[test]
    fn a_public_key_under_another_name_is_not_sound() {
        let (one, _) = generate(Algorithm::Es256).unwrap();
        let (other, _) = generate(Algorithm::Es256).unwrap();
        assert!(!is_sound(Algorithm::Es256, &Jwk { kid: other.kid.clone(), ..one.clone() }));
        assert!(!is_sound(Algorithm::Es256, &Jwk { x: other.x, ..one.clone() }));
        assert!(!is_sound(Algorithm::Es256, &Jwk { y: None, ..one.clone() }));
        assert!(!is_sound(Algorithm::Es256, &Jwk { alg: "HS256".to_owned(), ..one }));
    }
}
