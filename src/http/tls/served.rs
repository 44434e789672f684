//! The certificate for new connections, and its metrics.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_acme::{ResolvesServerCertAcme, is_tls_alpn_challenge};
use time::OffsetDateTime;
use tokio::sync::watch;

use super::certificate::Certificate;
use super::metrics::TlsMetrics;
use crate::domain::timestamp::rfc3339_millis;

/// The certificate in service. Open connections keep the one that they began with.
pub(in crate::http) struct Served {
    current: watch::Sender<Option<Certificate>>,
    /// Answers an authority that checks whether a name is ours.
    challenges: watch::Sender<Option<Arc<ResolvesServerCertAcme>>>,
    is_expiry_logged: AtomicBool,
    metrics: Arc<TlsMetrics>,
}

impl Served {
    /// Nothing in service yet.
    pub(super) fn new(metrics: Arc<TlsMetrics>) -> Self {
        let (current, challenges) = (watch::Sender::new(None), watch::Sender::new(None));
        Self { current, challenges, is_expiry_logged: AtomicBool::new(false), metrics }
    }

    /// Shows `certificate` to new connections from now on.
    pub(super) fn put(&self, certificate: Certificate) {
        if self.current.borrow().as_ref().is_some_and(|current| current.is(&certificate)) {
            return;
        }
        let until = certificate.not_after;
        self.metrics.certificate_expiry.set(until.unix_timestamp());
        self.metrics.certificate_loads.with_label_values(&["loaded"]).inc();
        self.is_expiry_logged.store(false, Ordering::Relaxed);
        self.current.send_replace(Some(certificate));
        tracing::info!(until = rfc3339_millis(until), "a certificate is in service");
    }

    /// Counts a certificate that did not come into service.
    pub(super) fn count_failure(&self) {
        self.metrics.certificate_loads.with_label_values(&["failed"]).inc();
    }

    pub(super) fn answer_challenges_by(&self, resolver: Arc<ResolvesServerCertAcme>) {
        self.challenges.send_replace(Some(resolver));
    }

    /// The answer to the http-01 challenge `token`.
    pub(in crate::http) fn key_authorization(&self, token: &str) -> Option<String> {
        self.challenges.borrow().as_ref()?.get_http_01_key_auth(token)
    }

    /// Whether there is a certificate to show.
    pub(in crate::http) fn has_certificate(&self) -> bool {
        self.current().is_some()
    }

    pub(super) fn current(&self) -> Option<Certificate> {
        self.current.borrow().clone()
    }

    /// Logs once that the certificate has expired.
    pub(super) fn log_expiry(&self, now: OffsetDateTime) {
        let flaw = self.current.borrow().as_ref().and_then(|certificate| certificate.check(now).err());
        if flaw.is_some() && !self.is_expiry_logged.swap(true, Ordering::Relaxed) {
            tracing::warn!("the certificate in service has expired; clients refuse it until it is renewed");
        }
    }
}

impl ResolvesServerCert for Served {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        if is_tls_alpn_challenge(&hello) {
            let challenges = self.challenges.borrow().clone();
            return challenges?.resolve(hello);
        }
        self.current.borrow().as_ref().map(|certificate| Arc::clone(&certificate.key))
    }
}

impl fmt::Debug for Served {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Served(…)")
    }
}
