//! Pseudonyms of email addresses and client networks, for counters and records that do not need the address itself.

use std::fmt;

use aws_lc_rs::hmac;

use crate::domain::network::Network;

/// How a record shows an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disclosure {
    /// The address itself.
    Plain,
    /// A keyed hash of it. Equal addresses have equal hashes; without the key, guesses cannot be checked.
    Hashed,
    /// Nothing.
    Nothing,
}

/// Makes pseudonyms. Replicas with the same secret make the same ones.
pub struct Pseudonyms {
    key: hmac::Key,
    emails: Disclosure,
    networks: Disclosure,
}

impl fmt::Debug for Pseudonyms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pseudonyms(…)")
    }
}

impl Pseudonyms {
    /// Derives the key from `secret`, so that a leak of the pseudonyms' key does not allow to sign tokens.
    #[must_use]
    pub fn new(secret: &[u8], emails: Disclosure, networks: Disclosure) -> Self {
        let derived = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), b"rollcall pseudonyms, version 1");
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref()), emails, networks }
    }

    /// The counter key of an email, registered or not. Addresses that differ in case only have the same.
    #[must_use]
    pub fn subject(&self, email: &str) -> [u8; 32] {
        self.sign("email", &email.to_lowercase())
    }

    /// The counter key of a network.
    #[must_use]
    pub fn source(&self, network: Network) -> [u8; 16] {
        let mut source = [0; 16];
        // 128 bits exclude collisions, as in `disclose`.
        for (byte, from) in source.iter_mut().zip(self.sign("source", &network.to_string())) {
            *byte = from;
        }
        source
    }

    /// [`Pseudonyms::source`] as hexadecimal text.
    #[must_use]
    pub fn source_text(&self, network: Network) -> String {
        hex::encode(self.source(network))
    }

    /// An email as records show it.
    #[must_use]
    pub fn email(&self, email: &str) -> Option<String> {
        self.disclose(self.emails, "email", &email.to_lowercase())
    }

    /// A network as records show it.
    #[must_use]
    pub fn network(&self, network: Network) -> Option<String> {
        self.disclose(self.networks, "network", &network.to_string())
    }

    fn disclose(&self, disclosure: Disclosure, kind: &str, address: &str) -> Option<String> {
        match disclosure {
            Disclosure::Plain => Some(address.to_owned()),
            // With 128 bits, collisions do not occur in practice.
            Disclosure::Hashed => Some(hex::encode(self.sign(kind, address).get(..16)?)),
            Disclosure::Nothing => None,
        }
    }

    fn sign(&self, kind: &str, address: &str) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.key);
        for part in [kind.as_bytes(), &[0], address.as_bytes()] {
            context.update(part);
        }
        let mut signed = [0; 32];
        for (byte, from) in signed.iter_mut().zip(context.sign().as_ref()) {
            *byte = *from;
        }
        signed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMAIL: &str = "john.doe@example.com";

    fn pseudonyms(secret: &[u8], disclosure: Disclosure) -> Pseudonyms {
        Pseudonyms::new(secret, disclosure, disclosure)
    }

    #[test]
    fn equal_addresses_have_equal_pseudonyms_under_one_secret_only() {
        let (one, other) = (pseudonyms(b"one", Disclosure::Hashed), pseudonyms(b"other", Disclosure::Hashed));
        assert_eq!(one.subject(EMAIL), one.subject("John.Doe@EXAMPLE.com"));
        assert_ne!(one.subject(EMAIL), one.subject("jane.doe@example.com"));
        assert_ne!(one.subject(EMAIL), other.subject(EMAIL));
        assert_eq!(one.email(EMAIL).unwrap().len(), 32);
        assert_ne!(one.email(EMAIL), other.email(EMAIL));
    }

    #[test]
    fn a_record_tells_what_the_operator_chose() {
        let network = Network::of("192.0.2.1".parse().unwrap());
        let plain = pseudonyms(b"secret", Disclosure::Plain);
        assert_eq!(
            (plain.email(EMAIL).as_deref(), plain.network(network).as_deref()),
            (Some(EMAIL), Some("192.0.2.1"))
        );
        let nothing = pseudonyms(b"secret", Disclosure::Nothing);
        assert_eq!((nothing.email(EMAIL), nothing.network(network)), (None, None));
    }
}
