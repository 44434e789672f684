//! Files of an ACME account and its certificates, which their owner alone may read.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use aws_lc_rs::digest::{Context, SHA256};
use rustls_acme::{AccountCache, CertCache};
use zeroize::Zeroizing;

use crate::http::tls::certificate::Certificate;
use crate::http::tls::served::Served;

/// A directory of such files. A certificate that is read or written comes into service.
#[derive(Debug, Clone)]
pub(super) struct Store {
    dir: PathBuf,
    served: Arc<Served>,
}

impl Store {
    pub(super) fn open(dir: PathBuf, served: Arc<Served>) -> io::Result<Self> {
        // Others may have to pass through the data directory; this one is the service's alone.
        dir.parent().map_or(Ok(()), fs::create_dir_all)?;
        DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
        Ok(Self { dir, served })
    }

    /// The file for these names at this authority: others have files of their own.
    fn path(&self, kind: &str, asked: &[String], directory_url: &str) -> PathBuf {
        let mut hash = Context::new(&SHA256);
        for part in asked.iter().map(String::as_str).chain([directory_url]) {
            hash.update(part.as_bytes());
            hash.update(&[0]);
        }
        let mut name = hex::encode(hash.finish());
        name.truncate(16);
        self.dir.join(format!("{kind}-{name}"))
    }

    async fn read(&self, path: PathBuf) -> io::Result<Option<Vec<u8>>> {
        in_background(move || match fs::read(path) {
            Ok(content) => Ok(Some(content)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        })
        .await
    }

    async fn write(&self, path: PathBuf, content: &[u8]) -> io::Result<()> {
        let content = Zeroizing::new(content.to_owned());
        in_background(move || replace(&path, &content)).await
    }

    /// `pem` is in the library's form: key and chain, one after the other.
    fn put_into_service(&self, pem: &[u8]) {
        match Certificate::parse(pem, pem) {
            Ok(certificate) => self.served.put(certificate),
            Err(flaw) => tracing::warn!("the certificate for server.acme_domains is not used: it {flaw}"),
        }
    }
}

#[async_trait]
impl CertCache for Store {
    type EC = io::Error;

    async fn load_cert(&self, domains: &[String], directory_url: &str) -> io::Result<Option<Vec<u8>>> {
        let kept = self.read(self.path("certificate", domains, directory_url)).await?;
        if let Some(pem) = &kept {
            self.put_into_service(pem);
        }
        Ok(kept)
    }

    async fn store_cert(&self, domains: &[String], directory_url: &str, pem: &[u8]) -> io::Result<()> {
        self.put_into_service(pem);
        self.write(self.path("certificate", domains, directory_url), pem).await
    }
}

#[async_trait]
impl AccountCache for Store {
    type EA = io::Error;

    async fn load_account(&self, contact: &[String], directory_url: &str) -> io::Result<Option<Vec<u8>>> {
        self.read(self.path("account", contact, directory_url)).await
    }

    async fn store_account(&self, contact: &[String], directory_url: &str, account: &[u8]) -> io::Result<()> {
        self.write(self.path("account", contact, directory_url), account).await
    }
}

/// Replaces a file whole, or not at all.
fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(&new)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&new, path)
}

async fn in_background<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}
