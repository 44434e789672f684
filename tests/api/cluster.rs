//! The private cluster: nothing configured, and still a database that keeps what it is given.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt as _;
use std::path::Path;

use rustix::process::{Signal, kill_process};

use crate::harness::program::Start;
use crate::harness::scratch::postmaster;
use crate::harness::{Home, SECRET, TestDatabase, until};

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
async fn check_makes_nothing() {
    let home = Home::new();
    let check = home.serve().arg("check").run().await;
    assert_eq!(check.code, Some(0), "{check:?}");
    assert!(check.stdout.contains("serve makes a private cluster"), "{check:?}");
    assert!(!home.data().exists());
    let service = home.serve().env("JWT_SECRET", SECRET).ready().await;
    service.stop().await;
    let check = home.serve().arg("check").run().await;
    assert_eq!(check.code, Some(0), "{check:?}");
    assert!(check.stdout.contains("keys: good"), "{check:?}");
    assert!(!home.data().join("jwt_secret").exists(), "the secret is serve's to make");
}

#[tokio::test]
async fn check_refuses_what_serve_would_refuse() {
    let (home, db) = (Home::new(), TestDatabase::empty().await);
    let check = || home.serve_on(&db).arg("check");
    let refused = async |start: Start, words: &[&str]| {
        let exit = start.run().await;
        assert_eq!(exit.code, Some(1), "{exit:?}");
        for word in words {
            assert!(exit.stderr.contains(word), "{word} in {exit:?}");
        }
    };
    refused(check().without("JWT_SECRET"), &["JWT_SECRET"]).await;
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    refused(check().env("API_PORT", &port), &["cannot listen", "API_PORT"]).await;
    refused(check().env("ROLLCALL__TELEMETRY__ADMIN_ADDR", &format!("127.0.0.1:{port}")), &["admin_addr"]).await;
    db.run("CREATE TABLE audit_events (of_others INTEGER)").await;
    refused(check(), &["audit_events"]).await;
    db.run("DROP TABLE audit_events; CREATE TABLE users (of_others INTEGER)").await;
    refused(check(), &["users", "cannot be adopted"]).await;
    db.run("DROP TABLE users").await;
    db.run("DO $$ BEGIN CREATE ROLE checked_without_rights LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$")
        .await;
    db.run("REVOKE CREATE ON SCHEMA public FROM public").await;
    let url = db.url_of("checked_without_rights");
    refused(check().env("DATABASE_URL", &url), &["permission denied"]).await;
    let exit = check().run().await;
    assert_eq!(exit.code, Some(0), "{exit:?}");
    assert!(exit.stdout.contains("as was tried and taken back"), "{exit:?}");
    let tables: i64 = db.value("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'", &[]).await;
    assert_eq!(tables, 0, "nothing was made");
}

#[tokio::test]
async fn a_signal_during_the_first_start_leaves_nothing_running() {
    let home = Home::new();
    let program = home.serve().spawn();
    until("initdb at work", async || home.data().join("postgres.new/base").exists()).await;
    program.signal(Signal::TERM);
    let exit = program.exit().await;
    assert_eq!((exit.code, exit.stdout.as_str()), (Some(0), ""), "{exit:?}");
    assert!(postmaster(&home.data()).is_none());
    let service = home.serve().ready().await;
    service.register_john().await;
    assert_eq!(service.stop().await.code, Some(0));
}

#[tokio::test]
async fn a_hangup_ends_nothing() {
    let home = Home::new();
    let mut service = home.serve().ready().await;
    service.program.signal(Signal::HUP);
    service.program.logged("SIGHUP").await;
    service.register_john().await;
    assert_eq!(service.stop().await.code, Some(0));
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_server_knows_nothing_of_the_services_environment() {
    let home = Home::new();
    let service = home.serve().env("JWT_SECRET", SECRET).ready().await;
    let server = postmaster(&home.data()).unwrap().as_raw_nonzero();
    let environment = fs::read(format!("/proc/{server}/environ")).unwrap();
    let environment = String::from_utf8_lossy(&environment);
    let names: Vec<_> = environment.split('\0').filter_map(|entry| entry.split('=').next()).collect();
    assert!(names.contains(&"PATH") && !environment.contains(SECRET), "{names:?}");
    assert!(!names.iter().any(|name| name.starts_with("ROLLCALL") || *name == "HOME"), "{names:?}");
    drop(service);
}

/// Whoever owns the server's directory writes what he likes into it.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn no_other_process_is_signalled_for_the_server() {
    let home = Home::new();
    let mut bystander = std::process::Command::new("sleep").arg("600").process_group(0).spawn().unwrap();
    let pid = bystander.id();
    for noted in [format!("-{pid}\n"), format!("{pid}\n"), "1\n".to_owned(), "-1\n".to_owned(), "0\n".to_owned()] {
        let service = home.serve().ready().await;
        let server = postmaster(&home.data()).unwrap();
        let file = home.data().join("postgres/postmaster.pid");
        fs::write(&file, &noted).unwrap();
        let exit = service.stop().await;
        assert_eq!(exit.code, Some(0), "{noted:?} {exit:?}");
        assert!(rustix::process::test_kill_process(server).is_err(), "the server itself was stopped");
        assert!(bystander.try_wait().unwrap().is_none(), "{noted:?} ended a bystander");
        let _ = fs::remove_file(&file);
    }
    bystander.kill().unwrap();
    bystander.wait().unwrap();
}

#[tokio::test]
async fn the_log_is_written_where_no_link_of_the_server_leads() {
    let home = Home::new();
    home.serve().ready().await.stop().await;
    let precious = home.write("precious", "as it was");
    let log = home.data().join("server.log");
    let written = fs::read_to_string(&log).unwrap();
    std::os::unix::fs::symlink(&precious, home.data().join("postgres/server.log")).unwrap();
    home.serve().ready().await.stop().await;
    assert_eq!(fs::read_to_string(&precious).unwrap(), "as it was");
    let more = fs::read_to_string(&log).unwrap();
    assert!(more.starts_with(&written) && more.len() > written.len(), "what was logged before stays");
    fs::remove_file(&log).unwrap();
    std::os::unix::fs::symlink(&precious, &log).unwrap();
    home.serve().run().await.expect_failure(&["postgres failed"]);
    assert_eq!(fs::read_to_string(&precious).unwrap(), "as it was");
}

#[tokio::test]
async fn what_is_no_cluster_is_left_alone() {
    let home = Home::new();
    let precious = home.data().join("postgres/precious");
    fs::create_dir_all(precious.parent().unwrap()).unwrap();
    fs::set_permissions(home.data(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(&precious, "as it was").unwrap();
    home.serve().run().await.expect_failure(&["holds no PostgreSQL cluster", "move it away"]);
    assert_eq!(fs::read_to_string(&precious).unwrap(), "as it was");
    assert_eq!(mode(&home.data()), 0o755);
}

#[tokio::test]
async fn a_data_directory_that_others_can_write_to_is_refused() {
    let home = Home::new();
    fs::create_dir(home.data()).unwrap();
    fs::set_permissions(home.data(), fs::Permissions::from_mode(0o1777)).unwrap();
    home.serve().run().await.expect_failure(&["data_dir", "others than its owner can write"]);
    assert_eq!(fs::read_dir(home.data()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_cluster_of_another_version_is_told_as_such() {
    let home = Home::new();
    fs::create_dir_all(home.data().join("postgres")).unwrap();
    fs::write(home.data().join("postgres/PG_VERSION"), "9\n").unwrap();
    let words = ["made by PostgreSQL 9", "is installed", "install PostgreSQL 9", "pg_dumpall"];
    home.serve().run().await.expect_failure(&words);
}

#[tokio::test]
async fn the_service_managers_directory_is_used() {
    let home = Home::new();
    let state = home.path().join("state");
    fs::create_dir(&state).unwrap();
    let start = home.serve().without("ROLLCALL__DATA_DIR").env("STATE_DIRECTORY", state.to_str().unwrap());
    let service = start.ready().await;
    service.register_john().await;
    assert!(state.join("postgres/PG_VERSION").exists());
    assert_eq!(service.stop().await.code, Some(0));
}

#[tokio::test]
async fn a_kept_secret_that_can_be_guessed_is_refused() {
    let home = Home::new();
    home.serve().ready().await.stop().await;
    let secret = home.data().join("jwt_secret");
    for guessed in ["\0".repeat(64), "0".repeat(64), "0123".repeat(16)] {
        fs::write(&secret, guessed).unwrap();
        home.serve().run().await.expect_failure(&["jwt_secret", "guessed"]);
    }
}
