//! The secret that tokens are signed with. Where none is configured, it is made once and kept beside the private
//! cluster.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read, Write as _};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use secrecy::{ExposeSecret as _, SecretString};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::config::{Config, SECRET_MIN_BYTES};
use crate::crypto::pseudonym::Pseudonyms;

/// How many different bytes a kept secret has at least: 64 hexadecimal digits have nearly all 16.
const DIFFERENT_MIN: usize = 8;

/// Why there is no secret.
#[derive(Debug, Error)]
pub enum SecretError {
    /// None is configured, and the database is not the private cluster.
    #[error(
        "tokens.secret (JWT_SECRET) is not set; it is needed with database.url, make one with `openssl rand -hex 32`"
    )]
    Missing,
    /// The kept one can't be read, or a new one can't be written.
    #[error("the JWT secret in {path} cannot be used: {cause}; mend the file, or set JWT_SECRET", path = .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        cause: io::Error,
    },
}

/// Checks that there is a secret, or that one can be made.
///
/// # Errors
/// [`SecretError::Missing`].
pub fn check(config: &Config) -> Result<(), SecretError> {
    if config.database.url.is_some() && config.tokens.secret.is_none() {
        return Err(SecretError::Missing);
    }
    Ok(())
}

/// Makes pseudonyms with the secret, which all replicas share.
pub(super) fn pseudonyms(config: &Config, secret: &SecretString) -> Pseudonyms {
    Pseudonyms::new(secret.expose_secret().as_bytes(), config.audit.emails, config.audit.addresses)
}

/// The secret that tokens are signed with: the configured one, or else one that is kept beside the private cluster.
///
/// # Errors
/// [`SecretError`].
pub fn signing(config: &Config, is_private: bool) -> Result<SecretString, SecretError> {
    match &config.tokens.secret {
        Some(secret) => Ok(secret.clone()),
        None if is_private => keep(&config.data_dir),
        None => Err(SecretError::Missing),
    }
}

/// Keeps this process's memory out of core dumps. Programs that it starts may raise their own limit again.
pub(super) fn keep_out_of_core_dumps() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Core);
    // A limit may always be lowered.
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum });
}

/// The kept secret; a new one where there is none yet.
pub(super) fn keep(data_dir: &Path) -> Result<SecretString, SecretError> {
    let path = data_dir.join("jwt_secret");
    let kept = match File::options().write(true).create_new(true).mode(0o600).open(&path) {
        Ok(file) => make(file),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => read(&path),
        Err(error) => Err(error),
    };
    kept.map_err(|cause| SecretError::File { path, cause })
}

/// The secret as [`signing`] gives it, or one for this process alone where it would make one: nothing is written.
///
/// # Errors
/// [`SecretError`].
pub fn preview(config: &Config, is_private: bool) -> Result<SecretString, SecretError> {
    let path = config.data_dir.join("jwt_secret");
    if config.tokens.secret.is_some() || !is_private || path.exists() {
        return signing(config, is_private);
    }
    let text = random().map_err(|cause| SecretError::File { path, cause })?;
    Ok(SecretString::from(text.as_str()))
}

fn random() -> io::Result<Zeroizing<String>> {
    let mut random = Zeroizing::new([0_u8; SECRET_MIN_BYTES]);
    getrandom::fill(random.as_mut()).map_err(io::Error::other)?;
    Ok(Zeroizing::new(hex::encode(random.as_slice())))
}

fn make(mut file: File) -> io::Result<SecretString> {
    let text = random()?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    Ok(SecretString::from(text.as_str()))
}

fn read(path: &Path) -> io::Result<SecretString> {
    let mut text = Zeroizing::new(String::new());
    let mut file = File::open(path)?;
    let about = file.metadata()?;
    if about.uid() != rustix::process::geteuid().as_raw() {
        return Err(io::Error::other(format!("it belongs to user {}, who may know it (chown)", about.uid())));
    }
    if about.permissions().mode() & 0o077 != 0 {
        return Err(io::Error::other("others than its owner may read it (chmod 600)"));
    }
    file.read_to_string(&mut text)?;
    let secret = text.trim();
    if secret.len() < SECRET_MIN_BYTES {
        return Err(io::Error::other(format!("it is shorter than {SECRET_MIN_BYTES} bytes")));
    }
    // A cause is a lost or zeroed disk, and not chance: a random secret has more.
    if secret.bytes().collect::<HashSet<_>>().len() < DIFFERENT_MIN {
        return Err(io::Error::other("it can be guessed: it repeats a few characters"));
    }
    Ok(SecretString::from(secret))
}
