//! The secret that tokens are signed with, where nobody configured one: made once and kept beside the private cluster.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Read, Write as _};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use secrecy::SecretString;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::config::SECRET_MIN_BYTES;

/// Why there is no secret.
#[derive(Debug, Error)]
pub enum SecretError {
    /// None is configured, and the database is somebody else's.
    #[error(
        "tokens.secret (JWT_SECRET) is not set; it is needed with database.url, make one with `openssl rand -hex 32`"
    )]
    Missing,
    /// The kept one can't be read, or a new one not written.
    #[error("the JWT secret in {path} cannot be used: {cause}; mend the file, or set JWT_SECRET", path = .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
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

fn make(mut file: File) -> io::Result<SecretString> {
    let mut random = Zeroizing::new([0_u8; SECRET_MIN_BYTES]);
    getrandom::fill(random.as_mut()).map_err(io::Error::other)?;
    let mut text = Zeroizing::new(String::with_capacity(2 * SECRET_MIN_BYTES));
    for byte in random.iter() {
        // Writing to a String can't fail.
        let _ = write!(text, "{byte:02x}");
    }
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    Ok(SecretString::from(text.as_str()))
}

fn read(path: &Path) -> io::Result<SecretString> {
    let mut text = Zeroizing::new(String::new());
    File::open(path)?.read_to_string(&mut text)?;
    if fs::metadata(path)?.permissions().mode() & 0o077 != 0 {
        return Err(io::Error::other("others than its owner may read it (chmod 600)"));
    }
    if text.trim().len() < SECRET_MIN_BYTES {
        return Err(io::Error::other(format!("it is shorter than {SECRET_MIN_BYTES} bytes")));
    }
    Ok(SecretString::from(text.trim()))
}
