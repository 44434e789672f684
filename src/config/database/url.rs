//! URLs of PostgreSQL servers as they are handed out: what the driver does not understand is read here, and what often goes
//! wrong is told in words. No error shows a part of a URL, which has a password in it.

use std::path::PathBuf;

use secrecy::{ExposeSecret, SecretString};

use crate::config::ConfigError;
use crate::config::layers::Layers;

/// A URL for the driver, and what it said of certificates.
pub(super) struct ServerUrl {
    pub(super) url: SecretString,
    /// Whether the server's certificate is to be checked.
    pub(super) verifies: bool,
    /// Who may vouch for it.
    pub(super) authorities: Option<PathBuf>,
}

impl ServerUrl {
    /// The URL at `key`, where there is one.
    pub(super) fn read(layers: &Layers, key: &'static str) -> Result<Option<Self>, ConfigError> {
        let Some(text) = layers.secret(key)? else { return Ok(None) };
        let refuse = |mend: &str| Err(layers.refuse(key, mend.to_owned()));
        let text = text.expose_secret();
        let Some((scheme, rest)) = text.split_once("://") else {
            // `host=… user=…`, as libpq has it too.
            return if text.contains('=') {
                Ok(Some(Self { url: SecretString::from(text), verifies: false, authorities: None }))
            } else {
                refuse("must look like postgresql://user:password@host:5432/name")
            };
        };
        // SQLAlchemy names its driver behind a plus.
        if !matches!(scheme.split('+').next(), Some("postgresql" | "postgres")) {
            return refuse("must begin with postgresql:// (or postgres://)");
        }
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let authority = place.split('/').next().unwrap_or_default();
        if place.matches('@').count() > 1 || (place.contains('@') && !authority.contains('@')) {
            return refuse(
                "has an @ or / too many: percent-encode @ : / ? # in user and password (@ is %40, / is %2F)",
            );
        }
        let (mut verifies, mut authorities, mut others) = (false, None, Vec::new());
        let encrypts = query.split('&').any(|parameter| parameter == "sslmode=require");
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            match parameter.split_once('=') {
                // The name is checked with the certificate, which is more than verify-ca asks for.
                Some(("sslmode", "verify-full" | "verify-ca")) => {
                    verifies = true;
                    others.push("sslmode=require");
                }
                // As libpq has it: these authorities are there to be asked.
                Some(("sslrootcert", "system")) => verifies = true,
                Some(("sslrootcert", path)) => {
                    verifies |= encrypts;
                    authorities = Some(PathBuf::from(path.replace("%2F", "/").replace("%2f", "/")));
                }
                Some(("sslcert" | "sslkey", _)) => {
                    return refuse(
                        "asks for a client certificate (sslcert, sslkey), which cannot be used; use a password",
                    );
                }
                _ => others.push(parameter),
            }
        }
        let query = if others.is_empty() { String::new() } else { format!("?{}", others.join("&")) };
        Ok(Some(Self { url: SecretString::from(format!("postgresql://{place}{query}")), verifies, authorities }))
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, Tls};

    #[test]
    fn certificates_are_checked_where_libpq_checks_them() {
        for (query, checks) in [
            ("", false),
            ("?sslmode=require", false),
            ("?sslmode=verify-full", true),
            ("?sslmode=verify-ca&sslrootcert=/ca.pem", true),
            ("?sslmode=require&sslrootcert=/ca.pem", true),
            ("?sslrootcert=/ca.pem&sslmode=require", true),
            ("?sslrootcert=/ca.pem", false),
            ("?sslrootcert=system", true),
        ] {
            let url = format!("postgresql://u@h/d{query}");
            let database = Config::with(&[("database.url", url.as_str())]).unwrap().database;
            assert_eq!(database.tls == Tls::VerifyFull, checks, "{query}");
        }
    }
}
