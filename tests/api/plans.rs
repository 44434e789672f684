//! How PostgreSQL finds the rows that requests ask for.

use crate::harness::{TestApp, until};

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
