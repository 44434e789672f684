//! Why hosts gave no connection, as one error of the driver's type.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::{Config, Error, NoTls};

use super::root_cause;

/// Why one address gave no connection.
#[derive(Debug)]
pub(super) enum Cause {
    /// The driver's words.
    Driver(Error),
    /// The name leads nowhere.
    Name(io::Error),
    /// It accepted, perhaps, and said nothing for so long.
    Silence(Duration),
}

impl Cause {
    /// One error for all, each with the host that it is about.
    pub(super) async fn summary(mut causes: Vec<(String, Self)>) -> Error {
        // A name's addresses often fail alike.
        causes.dedup_by(|a, b| a.0 == b.0 && a.1.words() == b.1.words());
        if causes.len() == 1 {
            return match causes.pop() {
                Some((_, Self::Driver(error))) => error,
                Some((_, cause)) => error(&cause.words()).await,
                None => error("no host is named").await,
            };
        }
        let words: Vec<_> = causes.iter().map(|(place, cause)| format!("{place}: {}", cause.words())).collect();
        error(if words.is_empty() { "no host is named".to_owned() } else { words.join("; ") }.as_str()).await
    }

    fn words(&self) -> String {
        match self {
            Self::Driver(error) => root_cause(error),
            Self::Name(error) => error.to_string(),
            Self::Silence(limit) => format!("no answer within {} ms", limit.as_millis()),
        }
    }
}

/// The driver makes its errors itself, of what it meets: here a stream that fails with these words.
async fn error(words: &str) -> Error {
    loop {
        if let Err(error) = Config::new().user("nobody").connect_raw(Broken(words.to_owned()), NoTls).await {
            return error;
        }
    }
}

struct Broken(String);

impl Broken {
    fn error<T>(&self) -> Poll<io::Result<T>> {
        Poll::Ready(Err(io::Error::other(self.0.clone())))
    }
}

impl AsyncRead for Broken {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.error()
    }
}

impl AsyncWrite for Broken {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        self.error()
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.error()
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.error()
    }
}
