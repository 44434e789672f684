//! Certificate authorities whose servers are trusted.

use std::path::Path;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

/// Why there are no authorities.
#[derive(Debug)]
pub enum NoAuthorities {
    /// The system trusts none.
    System,
    /// The file has none, for this reason.
    File(String),
}

/// The authorities of a PEM file, or those that the system trusts.
///
/// # Errors
/// [`NoAuthorities`].
pub fn load(file: Option<&Path>) -> Result<RootCertStore, NoAuthorities> {
    let mut store = RootCertStore::empty();
    let Some(path) = file else {
        let (added, _) = store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        return if added == 0 { Err(NoAuthorities::System) } else { Ok(store) };
    };
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| NoAuthorities::File(error.to_string()))? {
        let certificate = certificate.map_err(|error| NoAuthorities::File(error.to_string()))?;
        store.add(certificate).map_err(|error| NoAuthorities::File(error.to_string()))?;
    }
    if store.is_empty() { Err(NoAuthorities::File("it is empty".to_owned())) } else { Ok(store) }
}
