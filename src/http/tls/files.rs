//! A certificate from files: read at the start, and again when they change.
//!
//! A renewal writes two files, one after the other, so that for a moment they do not belong together. A broken pair is
//! therefore logged only when a second check finds it broken; the certificate in service stays.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use thiserror::Error;
use time::OffsetDateTime;
use tokio::sync::Notify;
use tokio::task::JoinError;
use tokio::time::{Duration, interval};
use zeroize::Zeroizing;

use super::certificate::{Certificate, Flaw};
use super::served::Served;
use crate::config::https::Files;

/// Why a pair of files can't be used: the configuration key of the file, the file, and what is wrong with it.
#[derive(Debug, Error)]
#[error("{key} {path} {flaw}", path = .path.display())]
pub struct PairError {
    key: &'static str,
    path: PathBuf,
    flaw: Flaw,
}

/// Fingerprints of both files; `None` for a missing one.
type Stamps = [Option<Stamp>; 2];

/// Fingerprint of a file: times in seconds and nanoseconds, size in bytes, inode.
#[derive(Debug, PartialEq, Eq)]
struct Stamp {
    modified: [i64; 2],
    changed: [i64; 2],
    size: u64,
    inode: u64,
}

/// The result of the last check.
#[derive(Debug, PartialEq, Eq)]
enum Doubt {
    None,
    /// Seen once: the files may be half written.
    Seen(String),
    /// Seen again, and logged.
    Logged(String),
}

/// A pair of files.
#[derive(Debug)]
pub(super) struct Pair {
    files: Files,
    /// Of the pair in service.
    stamps: Stamps,
    doubt: Doubt,
}

impl Pair {
    /// Reads the pair.
    ///
    /// # Errors
    /// [`PairError`], also where the certificate does not hold now.
    pub(super) fn open(files: &Files) -> Result<(Self, Certificate), PairError> {
        // Taken before reading: what changes meanwhile is seen at the next look.
        let stamps = stamps(files);
        let certificate = read(files, OffsetDateTime::now_utc())?;
        Ok((Self { files: files.clone(), stamps, doubt: Doubt::None }, certificate))
    }

    /// Checks the files every `pause`, and at once when `at_once` is notified, until dropped.
    pub(super) async fn watch(pair: &Arc<Mutex<Self>>, pause: Duration, served: &Arc<Served>, at_once: &Notify) {
        let mut looks = interval(pause);
        loop {
            let is_requested = tokio::select! {
                _ = looks.tick() => false,
                () = at_once.notified() => true,
            };
            let (pair, served) = (Arc::clone(pair), Arc::clone(served));
            // Reads may block for long: files may lie on a remote disk.
            let looked = tokio::task::spawn_blocking(move || {
                pair.lock().unwrap_or_else(PoisonError::into_inner).look(&served, is_requested);
            });
            if let Err(error) = looked.await.map_err(JoinError::try_into_panic) {
                match error {
                    // The loop panics, too, so that it is counted and started again.
                    Ok(panic) => resume_unwind(panic),
                    // The runtime is ending.
                    Err(_) => return,
                }
            }
        }
    }

    fn look(&mut self, served: &Served, is_requested: bool) {
        served.log_expiry(OffsetDateTime::now_utc());
        let stamps = stamps(&self.files);
        if stamps == self.stamps && !is_requested {
            self.doubt = Doubt::None;
            return;
        }
        match read(&self.files, OffsetDateTime::now_utc()) {
            Ok(certificate) => {
                served.put(certificate);
                self.stamps = stamps;
                self.doubt = Doubt::None;
            }
            Err(error) => self.doubt(served, error.to_string(), is_requested),
        }
    }

    fn doubt(&mut self, served: &Served, error: String, is_requested: bool) {
        let is_again = matches!(&self.doubt, Doubt::Seen(seen) if *seen == error);
        let is_logged = matches!(&self.doubt, Doubt::Logged(logged) if *logged == error);
        if is_requested || is_again {
            served.count_failure();
            tracing::warn!("the certificate in service stays: {error}");
        }
        self.doubt = if is_requested || is_again || is_logged { Doubt::Logged(error) } else { Doubt::Seen(error) };
    }
}

fn read(files: &Files, now: OffsetDateTime) -> Result<Certificate, PairError> {
    let of_certificate = |flaw| PairError { key: "server.tls_cert_file", path: files.certificate.clone(), flaw };
    let of_key = |flaw| PairError { key: "server.tls_key_file", path: files.key.clone(), flaw };
    let chain = fs::read(&files.certificate).map_err(|cause| of_certificate(Flaw::Unreadable(cause)))?;
    let key = read_secret(&files.key).map_err(of_key)?;
    let certificate = Certificate::parse(&chain, &key)
        .map_err(|flaw| if flaw.is_of_key() { of_key(flaw) } else { of_certificate(flaw) })?;
    certificate.check(now).map_err(of_certificate)?;
    Ok(certificate)
}

fn read_secret(path: &Path) -> Result<Zeroizing<Vec<u8>>, Flaw> {
    let text = Zeroizing::new(fs::read(path).map_err(Flaw::Unreadable)?);
    if text.iter().all(u8::is_ascii_whitespace) { Err(Flaw::Empty) } else { Ok(text) }
}

fn stamps(files: &Files) -> Stamps {
    let stamp = |metadata: Metadata| Stamp {
        modified: [metadata.mtime(), metadata.mtime_nsec()],
        changed: [metadata.ctime(), metadata.ctime_nsec()],
        size: metadata.size(),
        inode: metadata.ino(),
    };
    [&files.certificate, &files.key].map(|path| fs::metadata(path).ok().map(stamp))
}
