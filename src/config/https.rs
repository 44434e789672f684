//! The keys of `[server]` for HTTPS: the certificate, the redirect and HSTS.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::ConfigError;
use super::layers::Layers;

/// Longest `max-age` of HSTS in seconds: two years, the usual value.
const HSTS_MAX_AGE_S: u64 = 63_072_000;

/// HTTPS.
#[derive(Debug, Clone)]
pub struct Https {
    /// Where the certificate comes from; `None`: plain HTTP.
    pub certificate: Option<Source>,
    /// Interval of checks whether the certificate's files have changed.
    pub watch: Duration,
    /// Timeout for a TLS handshake.
    pub handshake_timeout: Duration,
    /// The `max-age` of HSTS; `None`: the header is not sent.
    pub hsts_max_age: Option<Duration>,
    /// Address of the listener that redirects plain HTTP to HTTPS; `None`: there is none.
    pub redirect_addr: Option<SocketAddr>,
    /// The HTTPS port that clients use; `None`: the port of the listener.
    pub redirect_port: Option<u16>,
}

/// Where a certificate comes from.
#[derive(Debug, Clone)]
pub enum Source {
    /// Files, which may change.
    Files(Files),
    /// An authority that speaks ACME.
    Acme(Acme),
}

/// A certificate and its key in PEM form.
#[derive(Debug, Clone)]
pub struct Files {
    /// The certificate and its chain.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// How certificates are ordered from an ACME authority.
#[derive(Debug, Clone)]
pub struct Acme {
    /// Names to certify.
    pub domains: Vec<String>,
    /// Email address that the authority may write to.
    pub contact: Option<String>,
    /// The authority's directory.
    pub directory_url: String,
    /// Authorities that may sign the certificate of the ACME server; `None`: those that the system trusts.
    pub ca_file: Option<PathBuf>,
    /// How the names are validated.
    pub challenge: Challenge,
}

/// How an ACME authority validates a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Challenge {
    /// By a handshake on port 443 (RFC 8737).
    TlsAlpn01,
    /// By a request on port 80 (RFC 8555, section 8.3), which the redirecting listener answers.
    Http01,
}

impl Https {
    pub(super) fn read(layers: &Layers) -> Result<Self, ConfigError> {
        let certificate = source(layers)?;
        let redirect_addr = layers.address("server.redirect_addr", "0.0.0.0:80")?;
        if redirect_addr.is_some() && certificate.is_none() {
            let mend = "needs HTTPS to redirect to; set server.tls_cert_file or server.acme_domains, or make it off";
            return Err(layers.refuse("server.redirect_addr", mend.into()));
        }
        if let (Some(Source::Acme(Acme { challenge: Challenge::Http01, .. })), None) = (&certificate, redirect_addr) {
            let mend = "asks for http-01, which server.redirect_addr answers; set that, or tls-alpn-01 here";
            return Err(layers.refuse("server.acme_challenge", mend.into()));
        }
        Ok(Self {
            certificate,
            watch: layers.millis("server.tls_watch_ms")?,
            handshake_timeout: layers.millis("server.handshake_timeout_ms")?,
            hsts_max_age: Some(layers.number("server.hsts_max_age_s", 0..=HSTS_MAX_AGE_S)?)
                .filter(|seconds| *seconds > 0)
                .map(Duration::from_secs),
            redirect_addr,
            redirect_port: Some(layers.number("server.redirect_port", 0..=65_535)?).filter(|port| *port > 0),
        })
    }
}

fn source(layers: &Layers) -> Result<Option<Source>, ConfigError> {
    let files = match (layers.path("server.tls_cert_file")?, layers.path("server.tls_key_file")?) {
        (None, None) => None,
        (Some(certificate), Some(key)) => Some(Files { certificate, key }),
        (Some(_), None) => {
            let mend = "is missing; server.tls_cert_file needs the file of its private key beside it";
            return Err(layers.refuse("server.tls_key_file", mend.into()));
        }
        (None, Some(_)) => {
            let mend = "is missing; server.tls_key_file needs the file of its certificate beside it";
            return Err(layers.refuse("server.tls_cert_file", mend.into()));
        }
    };
    match (files, acme(layers)?) {
        (Some(_), Some(_)) => {
            let mend = "asks for certificates although server.tls_cert_file names one; empty one of the two";
            Err(layers.refuse("server.acme_domains", mend.into()))
        }
        (Some(files), None) => Ok(Some(Source::Files(files))),
        (None, acme) => Ok(acme.map(Source::Acme)),
    }
}

fn acme(layers: &Layers) -> Result<Option<Acme>, ConfigError> {
    let domains: Vec<_> = layers.list("server.acme_domains")?.into_iter().map(str::to_ascii_lowercase).collect();
    if !domains.iter().all(|domain| is_domain(domain)) {
        let mend = "must be host names such as login.example.com, separated by commas; no addresses, no wildcards";
        return Err(layers.refuse("server.acme_domains", mend.into()));
    }
    let directory_url = layers.text("server.acme_directory_url")?.to_owned();
    if !directory_url.starts_with("https://") {
        return Err(layers.refuse("server.acme_directory_url", "must begin with https://".into()));
    }
    let contact = Some(layers.text("server.acme_contact")?.to_owned()).filter(|contact| !contact.is_empty());
    if contact.as_deref().is_some_and(|contact| !contact.contains('@') || contact.contains(':')) {
        return Err(layers.refuse("server.acme_contact", "must be an email address, or empty".into()));
    }
    let challenge = layers
        .choice("server.acme_challenge", &[("tls-alpn-01", Challenge::TlsAlpn01), ("http-01", Challenge::Http01)])?;
    let ca_file = layers.path("server.acme_ca_file")?;
    Ok(Some(Acme { domains, contact, directory_url, ca_file, challenge }).filter(|acme| !acme.domains.is_empty()))
}

/// A host name of letters, digits and hyphens; the last label tells it from an IPv4 address (RFC 1123, section 2.1).
fn is_domain(name: &str) -> bool {
    let is_label = |label: &str| {
        let plain = label.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-');
        (1..=63).contains(&label.len()) && plain && !label.starts_with('-') && !label.ends_with('-')
    };
    let is_numeric = |label: &str| label.bytes().all(|c| c.is_ascii_digit());
    name.len() <= 253 && name.split('.').all(is_label) && !name.rsplit('.').next().is_some_and(is_numeric)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_is_a_host_name() {
        for name in ["localhost", "login.example.com", "xn--bcher-kva.example", "3.example"] {
            assert!(is_domain(name), "{name}");
        }
        for name in ["", "*.example.com", "192.0.2.1", "::1", "-a.example", "a..b", "a.example.", "a b", "a_b.example"]
        {
            assert!(!is_domain(name), "{name}");
        }
    }
}
