//! The private cluster: nothing configured, and still a database that keeps what it is given.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::process::{Signal, kill_process};

use crate::harness::scratch::postmaster;
use crate::harness::{Home, until};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

async fn setting(home: &Home, name: &str) -> String {
    let mut settings = tokio_postgres::Config::new();
    settings.host_path(home.data().join("run")).user("rollcall").dbname("postgres");
    let (client, connection) = settings.connect(tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client.query_one(&format!("SHOW {name}"), &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn users_and_tokens_survive_a_restart() {
    let home = Home::new();
    let service = home.serve().ready().await;
    let user = service.register_john().await;
    let token = service.token().await;
    assert_eq!(setting(&home, "listen_addresses").await, "", "no TCP");
    let exit = service.stop().await;
    assert_eq!(exit.code, Some(0), "{exit:?}");
    assert!(postmaster(&home.data()).is_none(), "the server stops with the service");
    let secret = home.data().join("jwt_secret");
    assert_eq!(mode(&secret), 0o600);
    assert_eq!(mode(&home.data().join("postgres")), 0o700);
    assert_eq!(mode(&home.data()) & 0o066, 0, "others may pass through at most");
    let kept = fs::read_to_string(&secret).unwrap();
    assert!(kept.trim().len() >= 64);

    let service = home.serve().ready().await;
    assert_eq!(service.me(&token).await.expect_json(200)["data"], user);
    service.token().await;
    assert_eq!(fs::read_to_string(&secret).unwrap(), kept);
    service.stop().await;

    fs::set_permissions(&secret, fs::Permissions::from_mode(0o644)).unwrap();
    let exit = home.serve().run().await;
    exit.expect_failure(&["JWT secret", "jwt_secret", "chmod 600"]);
    assert!(!exit.stderr.contains(kept.trim()));
    assert!(postmaster(&home.data()).is_none(), "a failed start leaves no server running");
}

#[tokio::test]
async fn a_killed_services_cluster_is_taken_over() {
    let home = Home::new();
    let service = home.serve().ready().await;
    let user = service.register_john().await;
    let token = service.token().await;
    service.kill().await;
    let left = postmaster(&home.data()).expect("the server outlives a killed service");

    let service = home.serve().ready().await;
    assert_eq!(service.me(&token).await.expect_json(200)["data"], user);
    assert_eq!(postmaster(&home.data()), Some(left), "the same server");
    // The machine loses power: service and server are gone, the server's files are as they were.
    service.kill().await;
    kill_process(left, Signal::KILL).unwrap();
    until("the server's end", async || postmaster(&home.data()).is_none()).await;

    let service = home.serve().ready().await;
    assert_eq!(service.me(&token).await.expect_json(200)["data"], user);
    assert_ne!(postmaster(&home.data()), Some(left));
    assert_eq!(service.stop().await.code, Some(0));
    assert!(postmaster(&home.data()).is_none());
}

#[tokio::test]
async fn other_commands_beside_a_service_leave_its_cluster_running() {
    let home = Home::new();
    let service = home.serve().ready().await;
    let server = postmaster(&home.data()).unwrap();
    let check = home.serve().arg("check").run().await;
    assert_eq!(check.code, Some(0), "{check:?}");
    for words in ["configuration: good", "database: good (private cluster", "hash kernel: good", "hashes/s at cost 4"] {
        assert!(check.stdout.contains(words), "{words} in {check:?}");
    }
    let migrate = home.serve().arg("migrate").run().await;
    assert_eq!(migrate.code, Some(0), "{migrate:?}");
    assert_eq!(postmaster(&home.data()), Some(server));
    service.register_john().await;
    service.token().await;
}

#[tokio::test]
async fn check_makes_a_cluster_where_there_is_none_and_stops_it() {
    let home = Home::new();
    let check = home.serve().arg("check").run().await;
    assert_eq!(check.code, Some(0), "{check:?}");
    assert!(postmaster(&home.data()).is_none());
    assert!(home.data().join("postgres/PG_VERSION").exists());
}
