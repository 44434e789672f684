//! A database that can't be used: one clear line at a start, and 503 for what needs it while the service runs.

use tokio::net::TcpListener;

use crate::harness::scratch::free_port;
use crate::harness::{EMAIL, Home, PASSWORD, Server, serve_at, serve_on, until};

#[tokio::test]
async fn a_start_without_a_database_says_what_is_wrong_with_each_host() {
    let home = Home::new();
    let (one, two) = (free_port(), free_port());
    let url = format!("postgresql://rollcall:topsecret@127.0.0.1:{one},127.0.0.1:{two}/rollcall");
    let exit = serve_at(&home, &url).run().await;
    let hosts = [format!("127.0.0.1:{one}: Connection refused"), format!("127.0.0.1:{two}: Connection refused")];
    exit.expect_failure(&[&hosts[0], &hosts[1], "database.url"]);
    assert!(!exit.stderr.contains("topsecret"), "{exit:?}");

    let unknown = serve_at(&home, "postgresql://rollcall@no-such-host.invalid/rollcall").run().await;
    unknown.expect_failure(&["no-such-host.invalid", "database.url"]);

    // Somebody who listens, and never says a word.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let start = serve_at(&home, &Server::url_of(silent.local_addr().unwrap()));
    let exit = start.env("ROLLCALL__DATABASE__CONNECT_TIMEOUT_MS", "300").run().await;
    exit.expect_failure(&["no answer within 300 ms", "database.url"]);
}

#[tokio::test]
async fn a_start_that_is_not_let_in_says_so_and_no_password() {
    let (home, server) = (Home::new(), Server::start("").await);
    server.demand_password("rightsecret").await;
    let url = |password: &str, database: &str| format!("postgresql://rollcall:{password}@{}/{database}", server.addr());
    let wrong = serve_at(&home, &url("wrongsecret", "rollcall")).run().await;
    wrong.expect_failure(&["password authentication failed", "database.url"]);
    let elsewhere = serve_at(&home, &url("rightsecret", "elsewhere")).run().await;
    elsewhere.expect_failure(&["\"elsewhere\" does not exist", "database.url"]);
    for exit in [wrong, elsewhere] {
        assert!(!exit.stderr.contains("secret"), "{exit:?}");
    }
    let service = serve_at(&home, &url("rightsecret", "rollcall")).ready().await;
    service.register_john().await;
}

#[tokio::test]
async fn a_database_that_takes_no_writes_is_told_and_refuses_registrations_alone() {
    let (home, server) = (Home::new(), Server::start("").await);
    let read_only = async |how: &str| {
        let admin = server.admin().await;
        admin.batch_execute("SET default_transaction_read_only = off").await.unwrap();
        let sql = format!("ALTER DATABASE rollcall SET default_transaction_read_only = {how}");
        admin.batch_execute(&sql).await.unwrap();
    };
    read_only("on").await;
    serve_on(&home, &server).run().await.expect_failure(&["migration", "read-only"]);
    read_only("off").await;
    let service = serve_on(&home, &server).ready().await;
    let john = service.register_john().await;
    let token = service.token().await;

    read_only("on").await;
    let service = serve_on(&home, &server).ready().await;
    let check = serve_on(&home, &server).arg("check").run().await;
    assert_eq!(check.code, Some(0), "{check:?}");
    assert!(check.stdout.contains("it takes no writes"), "{check:?}");
    service.register_email("jane@example.com").await.expect_refusal(503, "unavailable");
    assert_eq!(service.me(&token).await.expect_json(200)["data"], john);

    read_only("off").await;
    // The connection at hand was made while it took none, which one refusal shows; another is made then.
    service.register_email("jane@example.com").await.expect_refusal(503, "unavailable");
    service.register_email("jane@example.com").await.expect_json(201);
}

#[tokio::test]
async fn without_its_table_the_service_is_503_and_goes_on_when_it_is_back() {
    let (home, server) = (Home::new(), Server::start("").await);
    let service = serve_on(&home, &server).ready().await;
    let john = service.register_john().await;
    let token = service.token().await;
    let admin = server.admin().await;
    admin.batch_execute("ALTER TABLE users RENAME TO away").await.unwrap();
    service.me(&token).await.expect_refusal(503, "unavailable");
    service.login(EMAIL, PASSWORD).await.expect_refusal(503, "unavailable");
    service.register_email("jane@example.com").await.expect_refusal(503, "unavailable");
    for command in ["check", "serve"] {
        let exit = serve_on(&home, &server).arg(command).run().await;
        assert_eq!(exit.code, Some(1), "{exit:?}");
        assert!(exit.stderr.contains("the table users is missing"), "{exit:?}");
    }
    admin.batch_execute("ALTER TABLE away RENAME TO users").await.unwrap();
    assert_eq!(service.me(&token).await.expect_json(200)["data"], john);
    service.token().await;
    service.register_email("jane@example.com").await.expect_json(201);
    let both = async || server.emails().await.len() == 2;
    until("both users", both).await;
}
