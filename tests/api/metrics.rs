//! The admin listener: metrics, and whether the service lives and is ready.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};

use http_body_util::Full;

use crate::harness::{Api, EMAIL, PASSWORD, TestApp, Wire, join_all, soon, until};

/// Every sample that is a whole number, by its name with labels.
async fn samples(admin: &Api) -> HashMap<String, u64> {
    let answer = admin.get("/metrics").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let text = answer.text();
    let pairs = text.lines().filter(|line| !line.starts_with('#')).map(|line| line.rsplit_once(' ').unwrap());
    pairs.filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?))).collect()
}

pub async fn sample(admin: &Api, name: &str) -> u64 {
    samples(admin).await.get(name).copied().unwrap_or_default()
}

/// Waits until so many connections are idle.
pub async fn idle(app: &TestApp, count: u64) {
    let admin = app.admin();
    until("idle connections", async || sample(&admin, "rollcall_http_connections_idle").await == count).await;
}

/// Families whose labels nobody knows before something happens: there is no sample of them from the start.
const LATE: [&str; 9] = [
    "rollcall_admin_requests_total",
    "rollcall_db_batch_size",
    "rollcall_db_statement_duration_seconds",
    "rollcall_db_statement_failures_total",
    "rollcall_http_accept_errors_total",
    "rollcall_http_request_duration_seconds",
    "rollcall_http_requests_total",
    "rollcall_tls_certificate_loads_total",
    "rollcall_tls_handshake_failures_total",
];
/// Those of parts that may not be in use, whose zero would look like a failure.
const OF_PARTS: [&str; 2] = ["rollcall_limit_redis_up", "rollcall_tls_certificate_expiry_timestamp_seconds"];

/// The kind of every family that `/metrics` tells of, whose words are there too.
async fn families(admin: &Api) -> BTreeMap<String, String> {
    let text = admin.get("/metrics").await.text();
    let told = |what: &str| -> BTreeMap<String, String> {
        let lines = text.lines().filter_map(|line| line.strip_prefix("# ")?.strip_prefix(what));
        lines.map(|line| line.split_once(' ').unwrap()).map(|(name, rest)| (name.to_owned(), rest.to_owned())).collect()
    };
    let (kinds, words) = (told("TYPE "), told("HELP "));
    assert!(kinds.keys().eq(words.keys()), "{text}");
    for (name, words) in words {
        assert!(words.contains(' ') && words.ends_with('.'), "{name}: {words}");
    }
    kinds
}

#[tokio::test]
async fn every_metric_is_there_from_the_start() {
    let app = TestApp::start().await;
    let admin = app.admin();
    let start = families(&admin).await;
    let own: BTreeSet<_> = start.keys().filter(|name| !name.starts_with("process_")).cloned().collect();
    let exceptions: BTreeSet<_> = LATE.iter().chain(&OF_PARTS).map(|name| (*name).to_owned()).collect();
    let registered = app.app.registry().names();
    let absent: BTreeSet<_> = registered.difference(&own).cloned().collect();
    assert!(absent.is_subset(&exceptions), "{absent:?}");
    assert!(own.is_subset(&registered), "{own:?}");
    app.register_john().await;
    app.me(&app.token().await).await.expect_json(200);
    app.login(EMAIL, "WrongPass123").await.expect_refusal(401, "invalid_credentials");
    app.get("/nowhere").await.expect_refusal(404, "not_found");
    let mut garbage = Wire::open(app.addr).await;
    garbage.send("garbage\r\n\r\n").await;
    garbage.answer().await;
    app.db.fail().await;
    app.login(EMAIL, PASSWORD).await.expect_refusal(503, "unavailable");
    app.db.recover().await;
    let after = families(&admin).await;
    assert!(start.iter().all(|(name, kind)| after.get(name) == Some(kind)), "{start:?} and {after:?}");
    let later: Vec<_> = after.keys().filter(|name| !start.contains_key(*name)).collect();
    assert!(later.iter().all(|name| LATE.contains(&name.as_str())), "{later:?}");
}

#[tokio::test]
async fn names_of_metrics_tell_what_they_count_and_in_which_unit() {
    let app = TestApp::start().await;
    let families = families(&app.admin()).await;
    assert!(families.len() > 30, "{families:?}");
    for (name, kind) in &families {
        assert!(name.starts_with("rollcall_") || name.starts_with("process_"), "{name}");
        assert_eq!(name.ends_with("_total"), kind == "counter", "{name} is a {kind}");
        // What a histogram's samples are called, and units that are no base units.
        for suffix in ["_count", "_sum", "_bucket", "_ms", "_milliseconds", "_micros", "_minutes", "_kb", "_percent"] {
            assert!(!name.trim_end_matches("_total").ends_with(suffix), "{name}");
        }
        let is_measured = ["_seconds", "_bytes", "_size"].iter().any(|unit| name.ends_with(unit));
        assert!(is_measured || kind != "histogram", "{name} is of what?");
    }
}

/// Dashboards and alerts are made from what the documents say.
#[tokio::test]
async fn metrics_that_the_documents_name_are_there() {
    let app = TestApp::start().await;
    let (registered, docs) = (app.app.registry().names(), concat!(env!("CARGO_MANIFEST_DIR"), "/docs"));
    let mut seen = 0;
    for entry in std::fs::read_dir(docs).unwrap() {
        let path = entry.unwrap().path();
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        let of_database = ["rollcall_migrations", "rollcall_owner"];
        for word in text.split(|c: char| !(c.is_ascii_lowercase() || c == '_')) {
            let of_histogram = ["_bucket", "_count", "_sum"].iter().find_map(|suffix| word.strip_suffix(suffix));
            if word.starts_with("rollcall_") && word.len() > "rollcall_".len() && !of_database.contains(&word) {
                let is_there = registered.contains(word) || of_histogram.is_some_and(|name| registered.contains(name));
                assert!(is_there, "{word} in {}", path.display());
                seen += 1;
            }
        }
    }
    assert!(seen > 5, "the documents are read");
}

#[tokio::test]
async fn requests_are_counted_by_route_and_status() {
    let app = TestApp::start().await;
    let admin = app.admin();
    app.register_john().await;
    app.login(EMAIL, PASSWORD).await;
    for _ in 0..3 {
        app.login(EMAIL, "WrongPass123").await;
    }
    app.get("/some/hostile\"path").await;
    app.get("/nowhere?a=b").await;
    let mut garbage = Wire::open(app.addr).await;
    garbage.send("garbage\r\n\r\n").await;
    garbage.answer().await;
    let samples = samples(&admin).await;
    for (route, status, count) in [
        ("/api/users/register", 201, 1),
        ("/api/users/login", 200, 1),
        ("/api/users/login", 401, 3),
        ("unknown", 404, 2),
        ("unknown", 400, 1),
    ] {
        let name = format!("rollcall_http_requests_total{{route=\"{route}\",status=\"{status}\"}}");
        assert_eq!(samples.get(&name), Some(&count), "{name} in {samples:?}");
    }
    assert_eq!(samples["rollcall_http_request_duration_seconds_count{route=\"/api/users/login\"}"], 4);
    assert_eq!(samples["rollcall_hash_duration_seconds_count"], 5, "one hash each, for the unknown too");
    assert_eq!(samples["rollcall_db_batch_size_count{statement=\"insert\"}"], 1);
    assert_eq!(samples["rollcall_db_batch_size_sum{statement=\"find_by_email\"}"], 4);
    assert!(!samples.keys().any(|name| name.contains("hostile") || name.contains("nowhere")), "{samples:?}");
}

#[tokio::test]
async fn open_connections_are_counted_while_they_are_open() {
    let app = TestApp::start().await;
    let admin = app.admin();
    let mut wire = Wire::open(app.addr).await;
    wire.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n").await;
    wire.answer().await;
    assert_eq!(sample(&admin, "rollcall_http_connections").await, 1);
    drop(wire);
    until("no connection", async || sample(&admin, "rollcall_http_connections").await == 0).await;
}

#[tokio::test]
async fn who_gave_up_waiting_for_a_connection_waits_no_longer() {
    let one = ("database.pool_size", "1");
    let app = TestApp::with(&[one, ("database.timeout_ms", "1500"), ("audit.seal_ms", "5")]).await;
    app.register_john().await;
    let token = app.token().await;
    app.db.run("BEGIN; LOCK TABLE users, audit_events").await;
    for _ in 0..3 {
        let (me, login) = tokio::join!(app.me(&token), app.login(EMAIL, PASSWORD));
        assert_eq!((me.status.as_u16(), login.status.as_u16()), (503, 503));
    }
    app.db.run("COMMIT").await;
    until("nobody waits", async || sample(&app.admin(), "rollcall_db_pool_waiting").await == 0).await;
    app.me(&token).await.expect_json(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_of_password_checks_is_seen_and_passes() {
    let app = TestApp::with(&[
        ("hashing.cost", "10"),
        ("hashing.lanes", "1"),
        ("hashing.queue_max", "4"),
        ("limits.enabled", "false"),
    ])
    .await;
    let admin = app.admin();
    let is_seen = AtomicBool::new(false);
    // Each comes back until the crowd has been seen, so that it does not pass before.
    let crowd = join_all((0..12).map(async |n| {
        let mut busy = 0;
        while !is_seen.load(Ordering::Relaxed) {
            let answer = app.login(EMAIL, &format!("WrongPass{n}")).await;
            busy += u64::from(answer.status == 503);
        }
        busy
    }));
    let seen = async {
        until("a queue", async || {
            let samples = samples(&admin).await;
            samples["rollcall_hash_queue_depth"] > 0 && samples["rollcall_hash_lanes_busy"] > 0
        })
        .await;
        is_seen.store(true, Ordering::Relaxed);
    };
    let (busy, ()) = soon("the crowd", Box::pin(async { tokio::join!(crowd, seen) })).await;
    let busy: u64 = busy.iter().sum();
    until("an empty queue", async || {
        let samples = samples(&admin).await;
        samples["rollcall_hash_queue_depth"] == 0 && samples["rollcall_hash_lanes_busy"] == 0
    })
    .await;
    let samples = samples(&admin).await;
    let refused: u64 = samples
        .iter()
        .filter(|(name, _)| name.starts_with("rollcall_hash_refusals_total"))
        .map(|(_, count)| count)
        .sum();
    assert_eq!(refused, busy);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn password_checks_whose_callers_left_are_not_computed() {
    // Each takes longer than it takes all to queue up, however slow the machine is: both are slow then.
    let app = TestApp::with(&[("hashing.cost", "15"), ("hashing.lanes", "1"), ("hashing.max_wait_ms", "60000")]).await;
    let admin = app.admin();
    let mut wires = Vec::new();
    for n in 0..6 {
        let body = format!(r#"{{"email":"a@example.com","password":"WrongPass{n}"}}"#);
        let mut wire = Wire::open(app.addr).await;
        let head = "POST /api/users/login HTTP/1.1\r\nhost: test\r\ncontent-type: application/json";
        wire.send(format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len())).await;
        wires.push(wire);
    }
    until("a queue", async || sample(&admin, "rollcall_hash_queue_depth").await >= 4).await;
    drop(wires);
    until("an empty queue", async || sample(&admin, "rollcall_hash_queue_depth").await == 0).await;
    until("an idle engine", async || sample(&admin, "rollcall_hash_lanes_busy").await == 0).await;
    assert!(sample(&admin, "rollcall_hash_abandoned_total").await >= 1);
}

#[tokio::test]
async fn a_service_that_runs_is_live_and_ready() {
    let app = TestApp::start().await;
    let admin = app.admin();
    // Its database may take a second to answer.
    until("ready", async || admin.get("/readyz").await.status == 200).await;
    for path in ["/livez", "/readyz", "/readyz/logins"] {
        let answer = admin.get(path).await;
        assert_eq!((answer.status.as_u16(), answer.text().as_str()), (200, "ok"), "{path}");
        assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
    }
}

#[tokio::test]
async fn a_service_without_its_database_is_live_but_not_ready() {
    let app = TestApp::start().await;
    let admin = app.admin();
    app.db.fail().await;
    until("not ready", async || admin.get("/readyz").await.status == 503).await;
    assert_eq!(admin.get("/livez").await.status, 200);
    app.db.recover().await;
    until("ready", async || admin.get("/readyz").await.status == 200).await;
}

#[tokio::test]
async fn a_service_with_a_part_that_is_being_restarted_is_live_but_not_ready() {
    let app = TestApp::start().await;
    let admin = app.admin();
    let mut part = app.app.health().part("doomed");
    part.is_up();
    until("ready", async || admin.get("/readyz").await.status == 200).await;
    let _ = part.has_died("a test");
    let answer = admin.get("/readyz").await;
    assert_eq!((answer.status.as_u16(), answer.text().as_str()), (503, "doomed is being restarted"));
    assert_eq!(admin.get("/livez").await.status, 200);
    part.is_up();
    until("ready", async || admin.get("/readyz").await.status == 200).await;
}

#[tokio::test]
async fn a_service_with_a_loop_that_panics_again_and_again_is_not_live() {
    let app = TestApp::start().await;
    let admin = app.admin();
    let doomed = tokio::spawn(app.app.health().part("doomed").keep_running(|| async { panic!("a test") }));
    until("the end of the budget", async || admin.get("/livez").await.status == 503).await;
    assert_eq!(admin.get("/livez").await.text(), "doomed fails again and again");
    assert!(sample(&admin, "rollcall_restarts_total{part=\"doomed\"}").await > 10);
    // What still runs serves on.
    app.get("/").await.expect_json(200);
    doomed.abort();
}

#[tokio::test]
async fn a_service_without_its_supervisor_is_not_live() {
    let app = TestApp::start().await;
    let admin = app.admin();
    let supervisor = app.app.handles().users.cell().unwrap().try_get_supervisor().unwrap();
    supervisor.kill();
    until("not live", async || admin.get("/livez").await.status == 503).await;
}

/// Signing and verifying read a snapshot; the actor only keeps it fresh.
#[tokio::test]
async fn tokens_are_signed_and_verified_without_their_actor() {
    let app = TestApp::start().await;
    app.register_john().await;
    let token = app.token().await;
    let handles = app.app.handles();
    handles.users.cell().unwrap().try_get_supervisor().unwrap().kill();
    until("no token actor", async || handles.tokens.cell().is_none_or(|cell| !is_up(&cell))).await;
    let user = handles.tokens.verify(&token).unwrap().user;
    assert_eq!(app.db.value::<uuid::Uuid>("SELECT user_id FROM users", &[]).await, user);
}

fn is_up(cell: &ractor::ActorCell) -> bool {
    matches!(cell.get_status(), ractor::ActorStatus::Running | ractor::ActorStatus::Starting)
}

/// The parts that a service consists of; what is not among them may die unseen.
#[tokio::test]
async fn every_actor_and_loop_is_a_part() {
    let app = TestApp::with(&[("server.redirect_addr", "off")]).await;
    let text = app.admin().get("/metrics").await.text();
    let parts: Vec<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix("rollcall_restarts_total{part=\"")?.split('"').next())
        .collect();
    let expected = [
        "accept",
        "admin",
        "attempts",
        "audit",
        "hasher",
        "limits",
        "networks",
        "pool",
        "redis",
        "supervisor",
        "token",
        "user",
    ];
    assert_eq!(parts, expected);
}

#[tokio::test]
async fn a_service_about_to_stop_is_live_but_not_ready() {
    let app = TestApp::start().await;
    let admin = app.admin();
    // A request that is still arriving keeps the service from stopping.
    let mut wire = Wire::open(app.addr).await;
    let head = "POST /api/users/login HTTP/1.1\r\nhost: test\r\ncontent-type: application/json";
    wire.send(format!("{head}\r\ncontent-length: 2\r\nexpect: 100-continue\r\n\r\n")).await;
    assert_eq!(wire.answer().await.status, 100);
    let TestApp { app, .. } = app;
    let stopping = tokio::spawn(app.stop());
    until("not ready", async || admin.get("/readyz").await.status == 503).await;
    assert_eq!(admin.get("/readyz").await.text(), "stopping");
    assert_eq!(admin.get("/livez").await.status, 200);
    wire.send("{}").await;
    wire.answer().await.expect_refusal(400, "missing_credentials");
    soon("the stop", stopping).await.unwrap();
}

#[tokio::test]
async fn the_admin_listener_serves_nothing_else() {
    let app = TestApp::start().await;
    let admin = app.admin();
    for path in ["/", "/api/users/me", "/docs", "/metrics/", "/debug"] {
        let answer = admin.get(path).await;
        assert_eq!(answer.status, 404, "{path}");
        assert_eq!(answer.json()["error"]["code"], "not_found");
    }
    let answer = admin.send(admin.request("POST", "/metrics").body(Full::default()).unwrap()).await;
    assert_eq!((answer.status.as_u16(), answer.header("allow")), (405, Some("GET, HEAD")));
    for path in ["/metrics", "/livez", "/readyz"] {
        app.get(path).await.expect_refusal(404, "not_found");
    }
}

#[tokio::test]
async fn the_admin_listener_can_be_turned_off() {
    let app = TestApp::with(&[("telemetry.admin_addr", "off")]).await;
    assert_eq!(app.app.admin_addr(), None);
    app.get("/").await.expect_json(200);
}

#[tokio::test]
async fn the_process_and_its_build_are_told_of() {
    let app = TestApp::start().await;
    let text = app.admin().get("/metrics").await.text();
    assert!(text.contains(&format!("rollcall_build_info{{version=\"{}\"}} 1\n", env!("CARGO_PKG_VERSION"))), "{text}");
    if cfg!(target_os = "linux") {
        for name in ["resident_memory_bytes", "cpu_seconds_total", "open_fds", "max_fds", "start_time_seconds"] {
            assert!(text.contains(&format!("\nprocess_{name} ")), "{name}");
        }
    }
    until("the database in the metrics", async || sample(&app.admin(), "rollcall_database_up").await == 1).await;
    app.db.fail().await;
    until("the loss in the metrics", async || sample(&app.admin(), "rollcall_database_up").await == 0).await;
}
