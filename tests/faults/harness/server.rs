//! A PostgreSQL server of one test, which the test may kill, freeze, and start again.

pub mod access;
pub mod pooler;

use std::collections::BTreeSet;
use std::fs::{self, File, Permissions};
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::Signal;
use tokio_postgres::{Client, NoTls};

use super::binaries::Binaries;
use super::owner::Owner;
use super::scratch::free_port;
use super::{processes, scratch, soon, until};

/// Who makes the cluster, and who looks into it for the tests.
const SUPERUSER: &str = "postgres";
/// Whom the service logs in as, and its database. No superuser: those have connections reserved for them.
const USER: &str = "rollcall";
/// What every server has. Nothing here loses its machine, so what is written is kept without waiting for the disk.
const SETTINGS: &str = "
fsync = off
shared_buffers = 16MB
wal_log_hints = on
wal_keep_size = 1GB
";

/// Mounts a file system that nobody else sees and that is gone with the processes that do, then becomes the server.
const ON_SMALL_DISK: &str = r#"
mount -t tmpfs -o size=16m,mode=700,uid="$1",gid="$2" tmpfs "$0" || exit
uid=$1 gid=$2
shift 2
exec setpriv --reuid "$uid" --regid "$gid" --clear-groups "$@"
"#;
/// Becomes the server, none of whose files may be larger, in blocks of 512 bytes.
const WITH_SMALL_FILES: &str = r#"ulimit -f 8192 && exec "$0" "$@""#;

/// What there is to write to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Room {
    Ample,
    /// A file system of its own for the users, of a few megabytes.
    SmallDisk,
    /// A few megabytes for each file.
    SmallFiles,
}

/// A server, running or not. Killed and removed when dropped.
pub struct Server {
    /// Holds `data/postgres`, where the scratch directory's cleaner looks for servers, and `run` for the socket.
    dir: PathBuf,
    /// On 127.0.0.1, beside the socket.
    port: u16,
    room: Room,
    postmaster: Option<Child>,
}

impl Server {
    /// One with a database for the service, and lines of postgresql.conf over those of the tests.
    pub async fn start(settings: &str) -> Self {
        Self::make(Room::Ample, settings).await
    }

    /// One whose users are on a small file system of their own, where this process may mount one.
    pub async fn on_small_disk() -> Option<Self> {
        Owner::of_server()?;
        let server = Self::make(Room::SmallDisk, "").await;
        let admin = server.admin().await;
        let place = server.small_disk();
        admin.batch_execute(&format!("CREATE TABLESPACE small LOCATION '{}'", place.display())).await.unwrap();
        admin.batch_execute(&format!("GRANT CREATE ON TABLESPACE small TO {USER}")).await.unwrap();
        admin.batch_execute(&format!("ALTER DATABASE {USER} SET default_tablespace = small")).await.unwrap();
        Some(server)
    }

    /// One whose files may not grow beyond a few megabytes. Space that is given back is not taken away by itself.
    pub async fn with_small_files() -> Self {
        Self::make(Room::SmallFiles, "autovacuum = off").await
    }

    async fn make(room: Room, settings: &str) -> Self {
        let mut server = Self::place();
        server.room = room;
        let mut initdb = server.program("initdb");
        initdb.arg("-D").arg(server.data()).args(["-U", SUPERUSER, "-A", "trust"]);
        initdb.args(["-E", "UTF8", "--locale=C.UTF-8", "--no-sync"]);
        if room == Room::SmallFiles {
            initdb.arg("--wal-segsize=1");
        }
        run(initdb).await;
        server.configure(SETTINGS);
        server.configure(settings);
        server.resume().await;
        let admin = server.connect(SUPERUSER, "postgres").await;
        admin.batch_execute(&format!("CREATE ROLE {USER} LOGIN")).await.unwrap();
        admin.batch_execute(&format!("CREATE DATABASE {USER} OWNER {USER}")).await.unwrap();
        server
    }

    /// Takes all room on the small disk, until the file is removed.
    pub fn fill_disk(&self) -> PathBuf {
        // As the server's processes see it.
        let inside = self.small_disk();
        let root = format!("/proc/{}/root", self.postmaster().id());
        let path = Path::new(&root).join(inside.strip_prefix("/").unwrap()).join("filler");
        let mut file = File::create(&path).unwrap();
        let full = std::iter::repeat_with(|| file.write_all(&[0; 4096])).find_map(Result::err).unwrap();
        assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
        path
    }

    fn small_disk(&self) -> PathBuf {
        self.dir.join("small")
    }

    /// Directories for a server that is yet to be made.
    fn place() -> Self {
        let dir = scratch::dir();
        for name in ["data", "run", "small"] {
            own_dir(&dir.join(name));
        }
        Self { dir, port: free_port(), room: Room::Ample, postmaster: None }
    }

    /// A standby of this one, streaming.
    pub async fn standby(&self) -> Self {
        let mut standby = Self::place();
        let mut copy = standby.program("pg_basebackup");
        copy.arg("-D").arg(standby.data()).args(["-d", &self.source(), "-R", "-c", "fast", "--no-sync"]);
        run(copy).await;
        standby.resume().await;
        until("a streaming standby", async || self.sees_standby("state = 'streaming'").await).await;
        standby
    }

    /// Makes every commit wait until a standby has it too.
    pub async fn replicate_synchronously(&self) {
        let admin = self.admin().await;
        admin.batch_execute("ALTER SYSTEM SET synchronous_standby_names = '*'").await.unwrap();
        admin.batch_execute("SELECT pg_reload_conf()").await.unwrap();
        until("a synchronous standby", async || self.sees_standby("sync_state = 'sync'").await).await;
    }

    /// Makes a primary of a standby.
    pub async fn promote(&self) {
        let admin = self.admin().await;
        // Nobody follows it yet, so there is nobody to wait for.
        admin.batch_execute("ALTER SYSTEM SET synchronous_standby_names = ''").await.unwrap();
        let promoted: bool = admin.query_one("SELECT pg_promote()", &[]).await.unwrap().get(0);
        assert!(promoted, "{}", self.log());
    }

    /// Brings a killed primary back as a standby of its successor.
    pub async fn follow(&mut self, primary: &Self) {
        // Until its first checkpoint, a promoted server's files say that it is on its predecessor's timeline.
        primary.admin().await.batch_execute("CHECKPOINT").await.unwrap();
        let mut rewind = self.program("pg_rewind");
        rewind.arg("-D").arg(self.data()).args(["--source-server", &primary.source(), "-R", "--no-sync"]);
        run(rewind).await;
        self.resume().await;
        until("a streaming standby", async || primary.sees_standby("state = 'streaming'").await).await;
    }

    pub async fn is_standby(&self) -> bool {
        self.admin().await.query_one("SELECT pg_is_in_recovery()", &[]).await.unwrap().get(0)
    }

    async fn sees_standby(&self, how: &str) -> bool {
        let sql = format!("SELECT 1 FROM pg_stat_replication WHERE {how}");
        self.admin().await.query_opt(&sql, &[]).await.unwrap().is_some()
    }

    /// How other servers' programs connect to it.
    fn source(&self) -> String {
        format!("host=127.0.0.1 port={} user={SUPERUSER} dbname=postgres", self.port)
    }

    /// Starts it, again or for the first time, and waits until it accepts connections.
    pub async fn resume(&mut self) {
        assert!(self.postmaster.is_none(), "it runs");
        let log = File::options().create(true).append(true).open(self.dir.join("server.log")).unwrap();
        let mut postgres = self.postgres();
        postgres.arg("-D").arg(self.data()).arg("-k").arg(self.socket_dir());
        postgres.args(["-c", "listen_addresses=127.0.0.1", "-p", &self.port.to_string()]);
        postgres.stdout(log.try_clone().unwrap()).stderr(log);
        // Its own process group: Ctrl-C in a terminal ends the tests, and they end the server.
        self.postmaster = Some(postgres.process_group(0).spawn().expect("postgres"));
        until(&format!("a server, see {}", self.dir.display()), async || self.accepts().await).await;
    }

    /// Whether it takes connections. A server that has ended never will.
    async fn accepts(&mut self) -> bool {
        let ended = self.postmaster.as_mut().is_none_or(|postmaster| postmaster.try_wait().unwrap().is_some());
        assert!(!ended, "the server ended: {}", self.log());
        self.settings(SUPERUSER, "postgres").connect(NoTls).await.is_ok()
    }

    /// Kills the postmaster and all its children.
    pub fn kill(&mut self) {
        processes::kill(&mut self.postmaster.take().expect("a running server"));
    }

    /// Stops all its processes where they are; they keep their sockets open and answer nothing.
    pub fn freeze(&self) {
        processes::signal(self.postmaster(), Signal::STOP);
    }

    /// Lets them go on.
    pub fn thaw(&self) {
        processes::signal(self.postmaster(), Signal::CONT);
    }

    fn postmaster(&self) -> &Child {
        self.postmaster.as_ref().expect("a running server")
    }

    /// How the service gets to it.
    pub fn url(&self) -> String {
        let host = self.socket_dir().to_str().unwrap().replace('/', "%2F");
        format!("postgresql://{USER}@/{USER}?host={host}&port={}", self.port)
    }

    /// How the service gets to whoever listens there.
    pub fn url_of(addr: SocketAddr) -> String {
        format!("postgresql://{USER}@{addr}/{USER}")
    }

    /// How the service gets to it by this name, with more that a URL may say.
    pub fn url_by(&self, host: &str, more: &str) -> String {
        format!("postgresql://{USER}@{host}:{}/{USER}{more}", self.port)
    }

    /// How the service gets to whichever of several servers takes writes.
    pub fn url_of_primary(addrs: &[SocketAddr]) -> String {
        let addrs = addrs.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(",");
        format!("postgresql://{USER}@{addrs}/{USER}?target_session_attrs=read-write")
    }

    pub fn addr(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }

    /// A superuser's connection to the service's database.
    pub async fn admin(&self) -> Client {
        self.connect(SUPERUSER, USER).await
    }

    /// Takes the connections from programs of this name, and all that there are for others; they are free when dropped.
    pub async fn use_up_connections(&self, application: &str) -> Vec<Client> {
        let admin = self.connect(SUPERUSER, "postgres").await;
        // Or else those who lost theirs would be the first to take them again.
        admin.batch_execute(&format!("ALTER DATABASE {USER} ALLOW_CONNECTIONS false")).await.unwrap();
        let end = "SELECT pg_terminate_backend(pid, 1000) FROM pg_stat_activity WHERE application_name = $1";
        until("an end of all", async || admin.query(end, &[&application]).await.unwrap().is_empty()).await;
        let limits =
            "SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int";
        let all: i32 = admin.query_one(limits, &[]).await.unwrap().get(0);
        // One of them is the superuser's own.
        let mut others = vec![admin];
        until("the last connection", async || {
            if let Ok((client, connection)) = self.settings(USER, "postgres").connect(NoTls).await {
                tokio::spawn(connection);
                others.push(client);
            }
            others.len() == usize::try_from(all).unwrap()
        })
        .await;
        let admin = &others[0];
        admin.batch_execute(&format!("ALTER DATABASE {USER} ALLOW_CONNECTIONS true")).await.unwrap();
        others
    }

    async fn connect(&self, user: &str, database: &str) -> Client {
        let (client, connection) = soon("a connection", self.settings(user, database).connect(NoTls)).await.unwrap();
        tokio::spawn(connection);
        client
    }

    fn settings(&self, user: &str, database: &str) -> tokio_postgres::Config {
        let mut settings = tokio_postgres::Config::new();
        settings.host_path(self.socket_dir()).port(self.port).user(user).dbname(database);
        settings
    }

    /// The addresses of all users that are stored.
    pub async fn emails(&self) -> BTreeSet<String> {
        let rows = soon("users", self.admin().await.query("SELECT email FROM users", &[])).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }

    fn data(&self) -> PathBuf {
        self.dir.join("data/postgres")
    }

    /// The file that its socket is.
    pub fn socket(&self) -> PathBuf {
        self.socket_dir().join(format!(".s.PGSQL.{}", self.port))
    }

    fn socket_dir(&self) -> PathBuf {
        self.dir.join("run")
    }

    fn configure(&self, lines: &str) {
        let path = self.data().join("postgresql.conf");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(path, format!("{text}\n{lines}\n")).unwrap();
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.join("server.log")).unwrap_or_default()
    }

    /// The server's program with the room that it has.
    fn postgres(&self) -> Command {
        let postgres = binary("postgres");
        match self.room {
            Room::Ample => self.program("postgres"),
            Room::SmallDisk => {
                let owner = Owner::of_server().expect("root");
                let mut command = self.surround(Command::new("unshare"));
                command.args(["--mount", "--propagation", "private", "sh", "-c", ON_SMALL_DISK]).arg(self.small_disk());
                command.args([owner.uid.to_string(), owner.gid.to_string()]).arg(postgres);
                command
            }
            Room::SmallFiles => {
                let mut command = as_owner(self.surround(Command::new("sh")));
                command.args(["-c", WITH_SMALL_FILES]).arg(postgres);
                command
            }
        }
    }

    /// One of PostgreSQL's programs, run as the user that it demands.
    fn program(&self, name: &str) -> Command {
        as_owner(self.surround(Command::new(binary(name))))
    }

    fn surround(&self, mut command: Command) -> Command {
        command.current_dir(&self.dir).stdin(Stdio::null()).env("LC_ALL", "C.UTF-8");
        for name in ["PGDATA", "PGHOST", "PGPORT", "PGUSER", "PGDATABASE", "PGOPTIONS"] {
            command.env_remove(name);
        }
        command
    }
}

fn binary(name: &str) -> PathBuf {
    Binaries::find().expect("an installed PostgreSQL server").postgres.with_file_name(name)
}

fn as_owner(mut command: Command) -> Command {
    if let Some(owner) = Owner::of_server() {
        command.uid(owner.uid).gid(owner.gid);
    }
    command
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut postmaster) = self.postmaster.take() {
            processes::kill(&mut postmaster);
        }
        // The log tells what the assertions can't.
        if std::thread::panicking() {
            let log = self.log();
            let end = log.lines().rev().take(20).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join("\n");
            eprintln!("the server's last words:\n{end}");
        }
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn own_dir(path: &Path) {
    fs::create_dir(path).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o700)).unwrap();
    if let Some(owner) = Owner::of_server() {
        std::os::unix::fs::chown(path, Some(owner.uid), Some(owner.gid)).unwrap();
    }
}

/// Runs a program to its good end, on a thread that may wait.
async fn run(mut command: Command) {
    let name = format!("{command:?}");
    let ended = soon(&name, tokio::task::spawn_blocking(move || command.output())).await;
    let output = ended.unwrap().unwrap();
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
}
