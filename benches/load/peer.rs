//! The Python service that Rollcall replaces, from the directory that `PEER` names.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::connection::Connection;
use super::postgres::{self, Postgres};
use super::process::{Process, command, output};
use super::requests::Requests;
use super::service::{PROGRAM, free_addr};
use super::users::{COST, JWT_SECRET, Users};
use super::{Outcome, closed};

/// For making the virtual environment and installing into it.
const INSTALL_TIMEOUT: Duration = Duration::from_mins(10);
const START_TIMEOUT: Duration = Duration::from_mins(1);
const SETTLE_TIMEOUT: Duration = Duration::from_mins(1);
/// A login with few others beside it: twice what one takes alone, and more.
const FAST_LOGIN: Duration = Duration::from_secs(1);
const WARM_UP: Duration = Duration::from_secs(2);
const WARM_CONNECTIONS: usize = 16;
/// Between two looks at whether it answers.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A running Python service.
#[derive(Debug)]
pub(crate) struct Peer {
    process: Process,
    pub(crate) addr: SocketAddr,
}

impl Peer {
    /// Installs what it requires, once, makes its tables and starts it with two workers, as its README has it.
    pub(crate) async fn start(source: &Path, dir: &Path, server: &Postgres, users: &Users) -> Outcome<Self> {
        let bin = install(source).await?;
        let client = server.connect(postgres::PEER).await?;
        client.batch_execute(&std::fs::read_to_string(source.join("schema.sql"))?).await?;
        users.insert(&client).await?;
        let addr = free_addr()?;
        let mut uvicorn = command(bin.join("uvicorn"));
        uvicorn.args(["app:app", "--workers", "2", "--log-level", "warning", "--host", "127.0.0.1"]);
        uvicorn.args(["--port", &addr.port().to_string()]).current_dir(source);
        uvicorn.env("DATABASE_URL", server.url("postgresql+psycopg2", postgres::PEER)).env("JWT_SECRET", JWT_SECRET);
        uvicorn.env("BCRYPT_COST", COST.to_string()).env("PYTHONDONTWRITEBYTECODE", "1");
        let peer = Self { process: Process::start(uvicorn, &dir.join("peer.log"))?, addr };
        peer.wait_until_ready().await?;
        // Its workers connect to the database when they first need it.
        closed::run(&Requests::profiles(addr, &users.tokens), WARM_CONNECTIONS, Duration::ZERO, WARM_UP).await?;
        Ok(peer)
    }

    /// Waits until it has done what clients that left had asked for: its threads go on with every login that they have begun,
    /// all at the same time, so that one more is fast only when they are done.
    pub(crate) async fn settle(&self, logins: &Requests) -> Outcome<()> {
        let deadline = Instant::now() + SETTLE_TIMEOUT;
        let mut connection = Connection::open(self.addr).await?;
        while Instant::now() < deadline {
            let started = Instant::now();
            connection.exchange(logins.next()).await?;
            if started.elapsed() < FAST_LOGIN {
                return Ok(());
            }
        }
        Err("the Python service does not come to rest".into())
    }

    pub(crate) async fn stop(self) {
        // Killed when dropped, if it does not.
        let _ = self.process.stop().await;
    }

    async fn wait_until_ready(&self) -> Outcome<()> {
        let deadline = Instant::now() + START_TIMEOUT;
        while Instant::now() < deadline {
            if let Ok(mut connection) = Connection::open(self.addr).await {
                connection.exchange(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await?;
                return Ok(());
            }
            sleep(LOOK_EVERY).await;
        }
        Err("the Python service does not get ready".into())
    }
}

/// Makes `bench-peer` beside the build's profiles, unless it has what is required already.
async fn install(source: &Path) -> Outcome<PathBuf> {
    let target = Path::new(PROGRAM).ancestors().nth(2).ok_or("the program lies in no target directory")?;
    let (venv, required) = (target.join("bench-peer"), source.join("requirements.txt"));
    let (bin, installed) = (venv.join("bin"), venv.join("requirements.txt"));
    let wanted = std::fs::read(&required)?;
    if std::fs::read(&installed).is_ok_and(|text| text == wanted) {
        return Ok(bin);
    }
    eprintln!("installing the Python service's requirements");
    output(inherited("python3").args(["-m", "venv"]).arg(&venv), INSTALL_TIMEOUT).await?;
    output(inherited(bin.join("pip")).args(["install", "-q", "-r"]).arg(&required), INSTALL_TIMEOUT).await?;
    std::fs::write(installed, wanted)?;
    Ok(bin)
}

/// With this process's environment: pip has its settings there.
fn inherited(program: impl AsRef<std::ffi::OsStr>) -> tokio::process::Command {
    tokio::process::Command::new(program)
}
