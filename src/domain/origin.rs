//! Web origins, as browsers name them (RFC 6454, section 6.2).
//!
//! The url crate is no replacement: it takes `*` as a host, knows no origin of schemes such as `capacitor`, and
//! silently rewrites what has to be refused with its reason.

use std::fmt;
use std::net::Ipv6Addr;

use thiserror::Error;

/// An origin in the one spelling that browsers send, so that two of them are equal where their bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin(String);

/// Why no browser would ever send a text as an origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum OriginError {
    /// No `scheme://`.
    #[error("has no scheme such as https://")]
    Scheme,
    /// A path, a query, or a slash at the end.
    #[error("must end after its host and port, without a slash")]
    Path,
    /// A capital letter.
    #[error("must be in lower case")]
    Case,
    /// No host, or one that is no name or address.
    #[error("has no valid host")]
    Host,
    /// A port that is no number.
    #[error("has no valid port")]
    Port,
    /// The scheme's own port, which browsers leave out.
    #[error("must leave out the port that its scheme has by default")]
    DefaultPort,
}

impl Origin {
    /// Parses `scheme://host` or `scheme://host:port`.
    ///
    /// # Errors
    /// [`OriginError`].
    pub fn parse(text: &str) -> Result<Self, OriginError> {
        let (scheme, rest) = text.split_once("://").ok_or(OriginError::Scheme)?;
        if text.bytes().any(|c| c.is_ascii_uppercase()) {
            return Err(OriginError::Case);
        }
        let is_scheme = scheme.starts_with(|c: char| c.is_ascii_lowercase())
            && scheme.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || b"+-.".contains(&c));
        if !is_scheme {
            return Err(OriginError::Scheme);
        }
        if rest.contains(['/', '?', '#']) {
            return Err(OriginError::Path);
        }
        let (host, port) = match rest.rfind(':').filter(|at| !rest.get(*at..).is_some_and(|tail| tail.ends_with(']'))) {
            Some(at) => (rest.get(..at).unwrap_or_default(), rest.get(at + 1..)),
            None => (rest, None),
        };
        if !is_host(host) {
            return Err(OriginError::Host);
        }
        if let Some(port) = port {
            // Without leading zeros, which the number would not have.
            let number = port.parse::<u16>().ok().filter(|number| number.to_string() == port);
            match (scheme, number.ok_or(OriginError::Port)?) {
                ("http", 80) | ("https", 443) => return Err(OriginError::DefaultPort),
                _ => {}
            }
        }
        Ok(Self(text.to_owned()))
    }

    /// The origin as browsers send it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A name of letters, digits, dots and hyphens (others are sent in their ASCII form), an address, or an IPv6 one in brackets.
fn is_host(host: &str) -> bool {
    match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(inner) => inner.parse::<Ipv6Addr>().is_ok_and(|addr| addr.to_string() == inner),
        None => !host.is_empty() && host.bytes().all(|c| c.is_ascii_alphanumeric() || b"-._".contains(&c)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_browsers_send_is_an_origin() {
        for text in [
            "https://example.com",
            "http://localhost:3000",
            "https://xn--bcher-kva.example",
            "http://192.0.2.1:8080",
            "http://[2001:db8::1]",
            "http://[2001:db8::1]:8080",
            "http://example.com:443",
            "capacitor://localhost",
        ] {
            assert_eq!(Origin::parse(text).map(|origin| origin.to_string()).as_deref(), Ok(text));
        }
    }

    #[test]
    fn what_no_browser_sends_is_told_why_not() {
        for (text, error) in [
            ("", OriginError::Scheme),
            ("null", OriginError::Scheme),
            ("example.com", OriginError::Scheme),
            ("://example.com", OriginError::Scheme),
            ("1a://example.com", OriginError::Scheme),
            ("https://Example.com", OriginError::Case),
            ("https://example.com/", OriginError::Path),
            ("https://example.com/app", OriginError::Path),
            ("https://example.com?x", OriginError::Path),
            ("https://", OriginError::Host),
            ("https://*.example.com", OriginError::Host),
            ("https://user@example.com", OriginError::Host),
            ("https://bücher.example", OriginError::Host),
            ("https://[2001:db8::0:1]", OriginError::Host),
            ("https://exam ple.com", OriginError::Host),
            ("https://example.com:", OriginError::Port),
            ("https://example.com:0080", OriginError::Port),
            ("https://example.com:65536", OriginError::Port),
            ("https://example.com:443", OriginError::DefaultPort),
            ("http://example.com:80", OriginError::DefaultPort),
        ] {
            assert_eq!(Origin::parse(text), Err(error), "{text}");
        }
    }
}
