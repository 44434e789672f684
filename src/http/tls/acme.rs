//! Certificates from an ACME authority (RFC 8555): ordered at the first start, kept in the data directory, renewed in
//! time.
//!
//! The library orders and renews. Its certificates come into service by way of this module's store, and its resolver
//! answers the authority's challenges. Its requests have no deadline and its retries are quick, so both are bounded
//! here.

use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use rustls::{ClientConfig, RootCertStore};
use rustls_acme::{AcmeConfig, EventError, EventOk, UseChallenge};
use thiserror::Error;
use time::OffsetDateTime;
use tokio::time::{sleep, timeout};

use super::certificate::provider;
use super::served::Served;
use crate::config::https::{Acme, Challenge};
use crate::crypto::authorities::{self, NoAuthorities};
use store::Store;

mod store;

/// Deadline of one order: authorities check within seconds, and may ask to wait.
const ORDER_TIMEOUT: Duration = Duration::from_mins(10);
/// Pause after a failed order. A public authority counts failures by the hour and refuses clients with too many.
const RETRY_FIRST: Duration = Duration::from_mins(1);
const RETRY_LAST: Duration = Duration::from_hours(6);

/// Why no authority can be asked.
#[derive(Debug, Error)]
pub enum AcmeError {
    /// A file of authorities that holds none.
    #[error("server.acme_ca_file {path} holds no certificate: {cause}; give a PEM file with the certificates that sign for the authority's server", path = .path.display())]
    Authorities {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// The system has no certificates of authorities.
    #[error(
        "the system trusts no certificate authority; set server.acme_ca_file, or install the system's CA certificates"
    )]
    NoAuthorities,
    /// Account and certificates cannot be stored.
    #[error("{path} cannot be used to keep the ACME account: {cause}; make data_dir writable", path = .path.display())]
    Store {
        /// The directory.
        path: PathBuf,
        /// The error of the system.
        cause: std::io::Error,
    },
    /// The library refuses.
    #[error("TLS to the ACME authority cannot be set up: {0}")]
    Library(#[from] rustls::Error),
}

/// An authority, and the certificates ordered from it.
#[derive(Debug)]
pub(super) struct Orders {
    config: Acme,
    client: Arc<ClientConfig>,
    served: Arc<Served>,
    store: Store,
}

impl Orders {
    /// Prepares everything without a request. A stored certificate comes into service when [`Orders::keep`] begins.
    ///
    /// # Errors
    /// [`AcmeError`].
    pub(super) fn open(config: &Acme, data_dir: &Path, served: Arc<Served>) -> Result<Self, AcmeError> {
        let client = ClientConfig::builder_with_provider(Arc::new(provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(authorities(config)?)
            .with_no_client_auth();
        let path = data_dir.join("acme");
        let store = Store::open(path.clone(), Arc::clone(&served)).map_err(|cause| AcmeError::Store { path, cause })?;
        Ok(Self { config: config.clone(), client: Arc::new(client), served, store })
    }

    /// Gets certificates and renews them, until dropped.
    pub(super) async fn keep(&self) {
        let mut pause = RETRY_FIRST;
        loop {
            let had = self.served.current().map(|certificate| certificate.not_after);
            let cause = self.order_until_failure().await;
            self.served.log_expiry(OffsetDateTime::now_utc());
            self.served.count_failure();
            let has_renewed = self.served.current().map(|certificate| certificate.not_after) != had;
            pause = if has_renewed { RETRY_FIRST } else { pause };
            tracing::warn!(
                "no new certificate from {}: {cause}; next try in {} s",
                self.config.directory_url,
                pause.as_secs()
            );
            sleep(pause).await;
            pause = (pause * 2).min(RETRY_LAST);
        }
    }

    /// Follows the library through orders and renewals until one fails; returns the cause.
    async fn order_until_failure(&self) -> String {
        let challenge = match self.config.challenge {
            Challenge::TlsAlpn01 => UseChallenge::TlsAlpn01,
            Challenge::Http01 => UseChallenge::Http01,
        };
        let contact = self.config.contact.iter().map(|contact| format!("mailto:{contact}"));
        let state = AcmeConfig::new_with_client_config(&self.config.domains, Arc::clone(&self.client))
            .directory(&self.config.directory_url)
            .contact(contact)
            .challenge_type(challenge)
            .cache(self.store.clone())
            .state();
        self.served.answer_challenges_by(state.resolver());
        let mut events = pin!(state);
        loop {
            match timeout(self.patience(), events.next()).await {
                Ok(Some(Ok(event))) => log(&event),
                // The library goes on by itself, with a certificate that is not kept or with a new order.
                Ok(Some(Err(error @ (EventError::CertCacheStore(_) | EventError::CachedCertParse(_))))) => {
                    tracing::warn!(%error, "a certificate cannot be kept");
                }
                Ok(Some(Err(error))) => return error.to_string().replace('\n', " "),
                Ok(None) => return "the library has stopped".to_owned(),
                Err(_) => return format!("no answer in {} s", ORDER_TIMEOUT.as_secs()),
            }
        }
    }

    /// How long the library may be silent: until a third of the certificate's lifetime is left, when the library renews
    /// it, and for as long as an order may take.
    fn patience(&self) -> Duration {
        let due = self.served.current().map(|certificate| {
            let lifetime = certificate.not_after - certificate.not_before;
            certificate.not_after - lifetime / 3 - OffsetDateTime::now_utc()
        });
        due.and_then(|due| Duration::try_from(due).ok()).unwrap_or_default() + ORDER_TIMEOUT
    }
}

fn log(event: &EventOk) {
    match event {
        EventOk::DeployedCachedCert => tracing::info!("the certificate that was kept is used"),
        EventOk::DeployedNewCert => tracing::info!("the authority gave a certificate"),
        EventOk::CertCacheStore | EventOk::AccountCacheStore => tracing::debug!("the ACME state is kept"),
    }
}

fn authorities(config: &Acme) -> Result<RootCertStore, AcmeError> {
    let file = config.ca_file.as_deref();
    authorities::load(file).map_err(|error| match (error, file) {
        (NoAuthorities::File(cause), Some(path)) => AcmeError::Authorities { path: path.to_owned(), cause },
        _ => AcmeError::NoAuthorities,
    })
}
