//! The way to the database is encrypted, and with `verify-full` leads to nobody but who is vouched for.

use std::path::{Path, PathBuf};

use crate::harness::scratch::free_port;
use crate::harness::{Authority, Home, Server, Start, serve_at};

/// A server that is known as `localhost`, and the file of who says so.
async fn start(home: &Home) -> (Server, PathBuf) {
    let (server, authority) = (Server::start("").await, Authority::named("the authority"));
    server.speak_tls(&authority.vouch_for("localhost")).await;
    (server, home.write("ca.pem", &authority.pem))
}

fn verify(start: Start, ca_file: &Path) -> Start {
    start.env("ROLLCALL__DATABASE__TLS", "verify-full").env("ROLLCALL__DATABASE__CA_FILE", ca_file.to_str().unwrap())
}

/// The service works, over encrypted connections alone.
async fn serves_encrypted(start: Start, server: &Server) {
    let service = start.ready().await;
    service.register_john().await;
    let token = service.token().await;
    service.me(&token).await.expect_json(200);
    let (encrypted, plain) = server.encrypted().await;
    assert!(encrypted > 0 && plain == 0, "{encrypted} and {plain}");
    assert_eq!(service.stop().await.code, Some(0));
    server.admin().await.batch_execute("TRUNCATE users").await.unwrap();
}

#[tokio::test]
async fn connections_are_encrypted_where_the_url_asks_or_the_server_can() {
    let home = Home::new();
    let (server, _) = start(&home).await;
    serves_encrypted(serve_at(&home, &server.url_by("localhost", "?sslmode=require")), &server).await;
    serves_encrypted(serve_at(&home, &server.url_by("localhost", "")), &server).await;
    // Nobody asks who it is, so any name will do.
    serves_encrypted(serve_at(&home, &server.url_by("127.0.0.1", "?sslmode=require")), &server).await;
    let plain = serve_at(&home, &server.url_by("localhost", "?sslmode=disable")).run().await;
    plain.expect_failure(&["localhost", "no encryption", "database.url"]);
}

#[tokio::test]
async fn verify_full_takes_the_server_that_is_vouched_for() {
    let home = Home::new();
    let (server, ca_file) = start(&home).await;
    let url = server.url_by("localhost", "");
    serves_encrypted(verify(serve_at(&home, &url), &ca_file), &server).await;
    let check = verify(serve_at(&home, &url), &ca_file).arg("check").run().await;
    assert_eq!(check.code, Some(0), "{check:?}");
    // Of several hosts, each is checked by its own name.
    let url = format!("postgresql://rollcall@localhost:{},localhost:{}/rollcall", free_port(), server.addr().port());
    serves_encrypted(verify(serve_at(&home, &url), &ca_file), &server).await;
}

#[tokio::test]
async fn verify_full_refuses_everybody_else() {
    let home = Home::new();
    let (server, ca_file) = start(&home).await;
    let url = server.url_by("localhost", "");
    let strangers = home.write("strangers.pem", &Authority::named("somebody else").pem);
    let unknown = verify(serve_at(&home, &url), &strangers).run().await;
    unknown.expect_failure(&["localhost", "certificate", "UnknownIssuer", "database.ca_file"]);
    let elsewhere = verify(serve_at(&home, &server.url_by("127.0.0.1", "")), &ca_file).run().await;
    elsewhere.expect_failure(&["127.0.0.1", "certificate", "not valid for", "database.ca_file"]);
    // A URL that allows plain text is overruled.
    let plain = Server::start("").await;
    for more in ["", "?sslmode=prefer", "?sslmode=disable"] {
        let refused = verify(serve_at(&home, &plain.url_by("localhost", more)), &ca_file).run().await;
        refused.expect_failure(&["localhost", "does not support TLS", "database.url"]);
    }
}

#[tokio::test]
async fn urls_of_managed_databases_are_understood() {
    let home = Home::new();
    let (server, ca_file) = start(&home).await;
    for mode in ["verify-full", "verify-ca"] {
        let query = format!("?sslmode={mode}&sslrootcert={}", ca_file.to_str().unwrap());
        serves_encrypted(serve_at(&home, &server.url_by("localhost", &query)), &server).await;
        let unknown = serve_at(&home, &server.url_by("localhost", &format!("?sslmode={mode}"))).run().await;
        unknown.expect_failure(&["localhost", "certificate", "UnknownIssuer"]);
    }
}

#[tokio::test]
async fn an_authority_that_cannot_be_read_is_refused_before_anything_is_asked() {
    let home = Home::new();
    let url = "postgresql://rollcall@localhost/rollcall";
    let missing = home.path().join("nowhere.pem");
    let garbage = "-----BEGIN CERTIFICATE-----\nZ2FyYmFnZQ==\n-----END CERTIFICATE-----\n";
    for ca_file in [missing, home.write("empty.pem", ""), home.write("garbage.pem", garbage)] {
        let name = ca_file.to_str().unwrap().to_owned();
        let refused = verify(serve_at(&home, url), &ca_file).run().await;
        refused.expect_failure(&["database.ca_file", &name, "PEM file"]);
    }
    // The names that other programs have for it.
    let refused = serve_at(&home, &format!("{url}?sslmode=verify-full&sslrootcert=/nowhere.pem")).run().await;
    refused.expect_failure(&["database.ca_file", "/nowhere.pem", "PEM file"]);
}
