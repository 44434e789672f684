//! How PostgreSQL finds the rows that requests ask for.

use std::path::Path;

use rollcall::config::Config;
use rollcall::database::Database;
use uuid::Uuid;

use crate::harness::{SECRET, TestApp, TestDatabase, until};

/// A service's connections keep the plans that they made when the tables were small. Where those read whole tables, a
/// database that grows by thousands of users a second answers ever more slowly, until its statistics are made anew.
#[tokio::test]
async fn rows_are_found_by_an_index_in_the_smallest_table_too() {
    let app = TestApp::start().await;
    app.register_john().await;
    let token = app.token().await;
    let scans = async |column: &str, table: &str| {
        let sql = format!("SELECT COALESCE({column}, 0) FROM pg_stat_user_tables WHERE relname = $1");
        app.db.value::<i64>(&sql, &[&table]).await
    };
    for table in ["users", "login_attempts"] {
        // A connection tells what it did about once a second, with its next statement.
        until(&format!("statistics of {table}"), async || {
            app.me(&token).await.expect_json(200);
            app.token().await;
            scans("idx_scan", table).await + scans("seq_scan", table).await > 0
        })
        .await;
        assert_eq!(scans("seq_scan", table).await, 0, "the whole of {table} was read");
    }
}

/// Left to itself, PostgreSQL plans a lookup of few rows each time, which costs more than to run it.
#[tokio::test]
async fn lookups_are_planned_once() {
    let db = TestDatabase::migrated().await;
    let config = Config::with(&[("database.url", db.url().as_str()), ("tokens.secret", SECRET)]).unwrap();
    let database = Database::open(&config.database, Path::new("unused")).await.unwrap();
    let client = database.pool.get().await.unwrap();
    let sql = "SELECT name FROM users WHERE user_id = ANY($1)";
    let lookup = client.prepare_cached(sql).await.unwrap();
    for count in [1, 16, 1] {
        client.query(&lookup, &[&vec![Uuid::new_v4(); count]]).await.unwrap();
    }
    let counts = "SELECT generic_plans, custom_plans FROM pg_prepared_statements WHERE statement = $1";
    let plans = client.query_one(counts, &[&sql]).await.unwrap();
    assert_eq!((plans.get::<_, i64>(0), plans.get::<_, i64>(1)), (3, 0));
}

#[tokio::test]
async fn the_server_may_decide_on_plans() {
    let db = TestDatabase::migrated().await;
    for (plans, expected) in [("generic", ["force_generic_plan", "off"]), ("auto", ["auto", "on"])] {
        let config = Config::with(&[("database.url", db.url().as_str()), ("database.plans", plans)]).unwrap();
        let database = Database::open(&config.database, Path::new("unused")).await.unwrap();
        let client = database.pool.get().await.unwrap();
        let sql = "SELECT current_setting('plan_cache_mode'), current_setting('enable_seqscan')";
        let row = client.query_one(sql, &[]).await.unwrap();
        assert_eq!([row.get::<_, &str>(0), row.get(1)], expected);
    }
    let refused = Config::with(&[("database.plans", "none")]).unwrap_err().to_string();
    assert!(refused.contains("must be generic or auto"), "{refused}");
}
