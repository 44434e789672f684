//! Fills the database with users, to see how the service does with many: `cargo run --release --example populate -- 1000000`.
//!
//! The database is the one that the service would use: DATABASE_URL, or the private cluster while no service runs on it.
//! Users are `user1@example.com` and so on, after those that are there; their password is `Populate-2-Day`. They go in by
//! COPY, [`CHUNK`] rows a transaction, so an interrupted run leaves whole chunks behind.

use std::error::Error;
use std::fmt::Write;
use std::pin::pin;

use futures_util::SinkExt;
use hyper::body::Bytes;
use indicatif::{ProgressBar, ProgressStyle};
use rollcall::config::Config;
use rollcall::database::Database;
use rollcall::features::schema;
use tokio_postgres::Client;
use uuid::Uuid;

/// Everyone's password.
const PASSWORD: &str = "Populate-2-Day";
/// Rows of one COPY: seconds of work to lose, and no more memory than that takes.
const CHUNK: u64 = 50_000;
/// Rows of one message to the server: some 16 KB.
const MESSAGE: u64 = 128;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let count: u64 = match std::env::args().nth(1).map(|text| text.parse()) {
        Some(Ok(count)) => count,
        _ => return Err("give the number of users to add".into()),
    };
    let config = Config::load(None)?;
    let database = Database::open(&config.database, &config.data_dir).await?;
    let filled = fill(&database, count, config.hashing.cost.log_rounds()).await;
    database.close().await;
    filled
}

async fn fill(database: &Database, count: u64, cost: u8) -> Result<(), Box<dyn Error>> {
    schema().run(&database.pool).await?;
    let client = database.pool.get().await?;
    // A chunk may take longer than a statement of the service's.
    client.batch_execute("SET statement_timeout = 0").await?;
    let there: i64 = client.query_one("SELECT count(*) FROM users", &[]).await?.try_get(0)?;
    let (mut next, hash) = (u64::try_from(there)? + 1, bcrypt::hash(PASSWORD, cost.into())?);
    let end = next + count;
    let style = "{bar:40} {human_pos}/{human_len} users, {per_sec}, {eta} left";
    let bar = ProgressBar::new(count).with_style(ProgressStyle::with_template(style)?);
    while next < end {
        let until = end.min(next + CHUNK);
        copy(&client, next..until, &hash).await?;
        bar.inc(until - next);
        next = until;
    }
    client.batch_execute("VACUUM ANALYZE users").await?;
    bar.finish();
    println!("{} users; the password of those added is {PASSWORD}", end - 1);
    Ok(())
}

/// Adds the users of these numbers, all or none.
async fn copy(client: &Client, numbers: std::ops::Range<u64>, hash: &str) -> Result<(), Box<dyn Error>> {
    let sink = client.copy_in::<_, Bytes>("COPY users (user_id, name, email, password_hash) FROM STDIN").await?;
    let mut sink = pin!(sink);
    let mut rows = String::new();
    for n in numbers {
        writeln!(rows, "{}\tUser {n}\tuser{n}@example.com\t{hash}", Uuid::new_v4())?;
        if n % MESSAGE == 0 {
            sink.feed(Bytes::from(std::mem::take(&mut rows))).await?;
        }
    }
    sink.send(Bytes::from(rows)).await?;
    sink.finish().await?;
    Ok(())
}
