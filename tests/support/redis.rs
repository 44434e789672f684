//! A Redis of a test's own, which it can kill, freeze and bring back.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use redis::FromRedisValue;
use rustix::process::{Pid, Signal, kill_process};
use tokio::net::{TcpListener, UnixStream};

use super::scratch::{self, Remembered};
use super::{soon, until};

/// A `redis-server` on a unix socket. Killed when dropped.
pub struct Redis {
    dir: PathBuf,
    server: Option<(Child, Remembered)>,
}

impl Redis {
    /// Starts a Redis.
    pub async fn start() -> Self {
        let mut redis = Self { dir: scratch::dir(), server: None };
        redis.run().await;
        redis
    }

    /// Starts a Redis that speaks TLS at `localhost`; returns it with its address.
    pub async fn with_tls(password: &str) -> (Self, String) {
        let mut redis = Self { dir: scratch::dir(), server: None };
        let cert = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        fs::write(redis.certificate(), cert.cert.pem()).unwrap();
        fs::write(redis.dir.join("key.pem"), cert.signing_key.serialize_pem()).unwrap();
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let words = format!(
            "--bind 127.0.0.1 --tls-port {port} --tls-cert-file server.pem --tls-key-file key.pem --tls-auth-clients no"
        );
        redis.spawn(&words.split(' ').chain(["--requirepass", password]).collect::<Vec<_>>());
        until("Redis", async || UnixStream::connect(redis.socket()).await.is_ok()).await;
        (redis, format!("localhost:{port}"))
    }

    /// The certificate that clients must trust for TLS.
    pub fn certificate(&self) -> PathBuf {
        self.dir.join("server.pem")
    }

    /// Starts it, or another in its place, and waits until it answers.
    pub async fn run(&mut self) {
        self.spawn(&[]);
        until("Redis", async || self.try_ask::<String>(&["PING"]).await.is_ok()).await;
    }

    fn spawn(&mut self, words: &[&str]) {
        let child = Command::new("redis-server")
            .args(["--port", "0", "--save", "", "--appendonly", "no", "--unixsocket"])
            .arg(self.socket())
            .args(words)
            .current_dir(&self.dir)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("redis-server, which .ci/install installs");
        let remembered = scratch::remember(child.id());
        self.server = Some((child, remembered));
    }

    pub fn socket(&self) -> PathBuf {
        self.dir.join("redis.sock")
    }

    pub fn url(&self) -> String {
        url(&self.socket())
    }

    /// A URL of it over TCP, which most deployments use, until the test ends.
    pub async fn tcp_url(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let socket = self.socket();
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let socket = socket.clone();
                tokio::spawn(async move {
                    if let Ok(mut server) = UnixStream::connect(socket).await {
                        let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                    }
                });
            }
        });
        format!("redis://{addr}/0")
    }

    /// Kills it, as a crash would, and waits for its end.
    pub fn kill(&mut self) {
        if let Some((mut child, _)) = self.server.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Freezes it, without closing its connections.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let (child, _) = self.server.as_ref().expect("it runs");
        kill_process(Pid::from_child(child), signal).unwrap();
    }

    pub async fn ask<T: FromRedisValue>(&self, words: &[&str]) -> T {
        soon("Redis", self.try_ask(words)).await.unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    async fn try_ask<T: FromRedisValue>(&self, words: &[&str]) -> redis::RedisResult<T> {
        let client = redis::Client::open(self.url())?;
        let mut connection = client.get_multiplexed_async_connection().await?;
        let mut command = redis::Cmd::new();
        for word in words {
            command.arg(*word);
        }
        command.query_async(&mut connection).await
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}

fn url(socket: &Path) -> String {
    format!("redis+unix://{}", socket.display())
}
