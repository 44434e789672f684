//! The PostgreSQL server of this test process, and a database in it for each test.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};

use rollcall::config::Config;
use rollcall::database::Database;
use rollcall::database::local::Cluster;
use rollcall::features::schema;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{Mutex, oneshot};
use tokio_postgres::types::{FromSql, ToSql};
use tokio_postgres::{Client, NoTls, Row};

use super::{scratch, soon};

/// A migrated database that all others are copied from.
const TEMPLATE: &str = "migrated";
const EMPTY: &str = "template0";

enum Order {
    Create { name: String, template: &'static str, done: oneshot::Sender<()> },
    Run { sql: String, done: oneshot::Sender<()> },
    Drop { name: String },
}

/// The server: one thread owns it and makes and drops databases in it.
struct Server {
    socket_dir: PathBuf,
    orders: UnboundedSender<Order>,
    made: AtomicUsize,
}

static SERVER: LazyLock<Server> = LazyLock::new(|| {
    let data = scratch::dir().join("data");
    let socket_dir = data.join("run");
    let (orders, received) = unbounded_channel();
    let (ready, started) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let admin = start(&data).await;
            ready.send(()).unwrap();
            obey(&admin, received).await;
        });
    });
    started.recv().expect("a PostgreSQL server for the tests");
    Server { socket_dir, orders, made: AtomicUsize::new(0) }
});

/// Starts the service's own kind of cluster, but one that never waits for the disk: nobody needs it after a crash.
async fn start(data: &Path) -> Client {
    let cluster = Cluster::start(data).await.unwrap();
    let admin = connect(&cluster.connection_settings()).await;
    for setting in [
        "fsync = off",
        "synchronous_commit = off",
        "full_page_writes = off",
        "max_connections = 500",
        "autovacuum = off",
    ] {
        admin.batch_execute(&format!("ALTER SYSTEM SET {setting}")).await.unwrap();
    }
    cluster.stop().await;
    let cluster = Cluster::start(data).await.unwrap();
    let admin = connect(&cluster.connection_settings()).await;
    admin.batch_execute(&format!("CREATE DATABASE {TEMPLATE} TEMPLATE {EMPTY}")).await.unwrap();
    let config = Config::with(&[("database.url", &url(&data.join("run"), TEMPLATE))]).unwrap();
    let template = Database::open(&config.database, data).await.unwrap();
    schema().run(&template.pool).await.unwrap();
    template.close().await;
    // It runs until this process ends; then the cleaner of its directory stops it.
    std::mem::forget(cluster);
    admin
}

async fn obey(admin: &Client, mut orders: UnboundedReceiver<Order>) {
    while let Some(order) = orders.recv().await {
        match order {
            Order::Create { name, template, done } => {
                // PostgreSQL waits for connections to the template that are about to close.
                admin.batch_execute(&format!("CREATE DATABASE {name} TEMPLATE {template}")).await.unwrap();
                let _ = done.send(());
            }
            Order::Run { sql, done } => {
                admin.batch_execute(&sql).await.unwrap();
                let _ = done.send(());
            }
            // `FORCE` closes the connections of services that a test left running.
            Order::Drop { name } => {
                let _ = admin.batch_execute(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await;
            }
        }
    }
}

fn url(socket_dir: &Path, name: &str) -> String {
    let host = socket_dir.to_str().unwrap().replace('/', "%2F");
    format!("postgresql://rollcall@/{name}?host={host}")
}

async fn connect(settings: &tokio_postgres::Config) -> Client {
    let (client, connection) = soon("a connection", settings.connect(NoTls)).await.unwrap();
    tokio::spawn(connection);
    client
}

/// A test's own database, dropped after.
pub struct TestDatabase {
    name: String,
    client: Mutex<Option<Arc<Client>>>,
}

type Params<'a> = &'a [&'a (dyn ToSql + Sync)];

impl TestDatabase {
    /// A database with the service's schema.
    pub async fn migrated() -> Self {
        Self::of(TEMPLATE).await
    }

    /// A database without tables.
    pub async fn empty() -> Self {
        Self::of(EMPTY).await
    }

    async fn of(template: &'static str) -> Self {
        let name = format!("t_{}", SERVER.made.fetch_add(1, Ordering::Relaxed));
        let (done, created) = oneshot::channel();
        SERVER.orders.send(Order::Create { name: name.clone(), template, done }).ok().unwrap();
        soon("a database", created).await.unwrap();
        Self { name, client: Mutex::default() }
    }

    pub fn url(&self) -> String {
        url(&SERVER.socket_dir, &self.name)
    }

    /// Another database of the same server.
    #[allow(dead_code, reason = "for tests of odd databases")]
    pub fn url_of_database(name: &str) -> String {
        url(&SERVER.socket_dir, name)
    }

    /// The same database, as another role.
    #[allow(dead_code, reason = "for tests of roles without rights")]
    pub fn url_of(&self, role: &str) -> String {
        self.url().replace("://rollcall@", &format!("://{role}@"))
    }

    async fn client(&self) -> Arc<Client> {
        let mut client = self.client.lock().await;
        if let Some(client) = client.as_ref() {
            return Arc::clone(client);
        }
        let new = Arc::new(connect(&self.url().parse().unwrap()).await);
        Arc::clone(client.insert(new))
    }

    /// Closes every connection and refuses new ones, as an outage would, until [`Self::recover`].
    pub async fn fail(&self) {
        let name = &self.name;
        self.order(format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false")).await;
        self.interrupt().await;
    }

    pub async fn recover(&self) {
        self.order(format!("ALTER DATABASE {} ALLOW_CONNECTIONS true", self.name)).await;
    }

    /// Closes every connection; clients may reconnect at once.
    pub async fn interrupt(&self) {
        // The test's own connection is closed, too.
        self.client.lock().await.take();
        let name = &self.name;
        self.order(format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")).await;
    }

    async fn order(&self, sql: String) {
        let (done, finished) = oneshot::channel();
        SERVER.orders.send(Order::Run { sql, done }).ok().unwrap();
        soon("an order", finished).await.unwrap();
    }

    /// Runs statements without parameters.
    pub async fn run(&self, sql: &str) {
        soon("SQL", self.client().await.batch_execute(sql)).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }

    pub async fn execute(&self, sql: &str, params: Params<'_>) -> u64 {
        soon("SQL", self.client().await.execute(sql, params)).await.unwrap_or_else(|e| panic!("{sql}: {e:?}"))
    }

    pub async fn rows(&self, sql: &str, params: Params<'_>) -> Vec<Row> {
        soon("SQL", self.client().await.query(sql, params)).await.unwrap_or_else(|e| panic!("{sql}: {e:?}"))
    }

    /// The first column of the only row.
    pub async fn value<T: for<'a> FromSql<'a>>(&self, sql: &str, params: Params<'_>) -> T {
        let rows = self.rows(sql, params).await;
        assert_eq!(rows.len(), 1, "rows of {sql}");
        rows[0].get(0)
    }

    pub async fn users(&self) -> i64 {
        self.value("SELECT count(*) FROM users", &[]).await
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let _ = SERVER.orders.send(Order::Drop { name: std::mem::take(&mut self.name) });
    }
}
