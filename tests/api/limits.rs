//! Rate limits: counted by network and kind of request, told in headers, bounded in memory, shared by Redis.

use http_body_util::Full;
use serde_json::json;

use crate::harness::program::{Service, Start};
use crate::harness::redis::Redis;
use crate::harness::{Answer, Api, EMAIL, Home, PASSWORD, SECRET, TestApp, TestDatabase, Wire, join_all, soon, until};
use crate::metrics::sample;

const LOGIN: &str = "/api/users/login";
const ME: &str = "/api/users/me";

/// Nothing comes back within a test.
const SLOW: (&str, &str) = ("limits.login_per_minute", "1");

/// A service that lets so many logins of a network pass.
async fn limited(burst: &str, more: &[(&str, &str)]) -> TestApp {
    let mut keys = vec![SLOW, ("limits.login_burst", burst)];
    keys.extend_from_slice(more);
    TestApp::with(&keys).await
}

/// A login that costs no hash, as a client at `addr` would send it through a trusted proxy.
async fn login_from(api: &Api, addr: &str) -> Answer {
    let request = api.request("POST", LOGIN).header("content-type", "application/json");
    api.send(request.header("x-forwarded-for", addr).body(Full::from("{}")).unwrap()).await
}

async fn login(api: &Api) -> Answer {
    api.post_bytes(LOGIN, "{}").await
}

#[track_caller]
fn expect_limit(answer: &Answer, limit: &str, policy: &str) {
    assert_eq!(answer.header("ratelimit"), Some(limit), "{answer:?}");
    assert_eq!(answer.header("ratelimit-policy"), Some(policy), "{answer:?}");
}

#[tokio::test]
async fn a_burst_passes_and_the_next_is_429_and_both_say_what_is_left() {
    let app = limited("3", &[]).await;
    for remaining in [2, 1, 0] {
        let answer = login(&app).await;
        answer.expect_refusal(400, "missing_credentials");
        expect_limit(&answer, &format!("\"login\";r={remaining};t=60"), "\"login\";q=3;w=180");
    }
    let answer = login(&app).await;
    answer.expect_refusal(429, "rate_limited");
    let wait = answer.header("retry-after").unwrap();
    assert!((1..=60).contains(&wait.parse::<u64>().unwrap()), "{wait}");
    expect_limit(&answer, &format!("\"login\";r=0;t={wait}"), "\"login\";q=3;w=180");
}

#[tokio::test]
async fn tokens_come_back_one_by_one() {
    let app = TestApp::with(&[("limits.login_per_minute", "120"), ("limits.login_burst", "1")]).await;
    for _ in 0..2 {
        until("a refusal", async || login(&app).await.status == 429).await;
        until("a token", async || login(&app).await.status == 400).await;
    }
}

#[tokio::test]
async fn parallel_requests_share_one_burst_exactly() {
    let app = limited("10", &[]).await;
    let answers = join_all((0..60).map(|_| login(&app))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status != 429).count(), 10);
}

#[tokio::test]
async fn kinds_of_requests_are_limited_apart() {
    let app = limited("1", &[("limits.profile_burst", "2000")]).await;
    login(&app).await;
    login(&app).await.expect_refusal(429, "rate_limited");
    app.register_john().await;
    let me = app.get(ME).await;
    me.expect_refusal(403, "not_authenticated");
    expect_limit(&me, "\"profile\";r=1999;t=1", "\"profile\";q=2000;w=2");
    for (method, path) in [("GET", "/"), ("GET", "/nowhere"), ("OPTIONS", LOGIN), ("PUT", LOGIN)] {
        let answer = app.send(app.request(method, path).body(Full::default()).unwrap()).await;
        assert_ne!(answer.status, 429, "{method} {path}");
        assert!(answer.header("ratelimit").unwrap().starts_with("\"other\";r="), "{answer:?}");
    }
}

#[tokio::test]
async fn a_refusal_waits_for_no_body_and_asks_no_part() {
    let app = limited("1", &[]).await;
    login(&app).await;
    // Without its database the service could answer nothing else.
    app.db.fail().await;
    let mut wire = Wire::open(app.addr).await;
    let head = format!("POST {LOGIN} HTTP/1.1\r\nhost: test\r\ncontent-type: application/json\r\ncontent-length: 20");
    wire.send(format!("{head}\r\n\r\n")).await;
    let answer = wire.answer().await;
    assert_eq!(answer.status, 429, "{answer:?}");
    assert_eq!(answer.json()["error"]["code"], "rate_limited");
}

#[tokio::test]
async fn problem_details_tell_of_a_limit_too() {
    let app = limited("1", &[]).await;
    login(&app).await;
    let request = app.request("POST", LOGIN).header("accept", "application/problem+json");
    let answer = app.send(request.body(Full::default()).unwrap()).await;
    assert_eq!((answer.status.as_u16(), answer.header("content-type")), (429, Some("application/problem+json")));
    assert_eq!(answer.json()["code"], "rate_limited");
}

#[tokio::test]
async fn limits_can_be_turned_off_one_by_one_and_all() {
    for keys in [&[("limits.login_per_minute", "0")][..], &[("limits.enabled", "false"), SLOW]] {
        let app = TestApp::with(&[keys, &[("limits.login_burst", "1")]].concat()).await;
        for _ in 0..20 {
            let answer = login(&app).await;
            answer.expect_refusal(400, "missing_credentials");
            assert_eq!((answer.header("ratelimit"), answer.header("ratelimit-policy")), (None, None));
        }
        let others = app.get("/").await;
        assert_eq!(others.header("ratelimit").is_none(), keys.len() == 2, "{others:?}");
    }
}

#[tokio::test]
async fn an_ipv6_client_counts_by_its_64_bits() {
    let app = limited("1", &[("server.trusted_proxies", "127.0.0.1")]).await;
    assert_eq!(login_from(&app, "2001:db8:1:2::1").await.status, 400);
    assert_eq!(login_from(&app, "2001:db8:1:2:ffff::9").await.status, 429);
    assert_eq!(login_from(&app, "2001:db8:1:3::1").await.status, 400);
}

#[tokio::test]
async fn addresses_without_end_take_bounded_memory() {
    let app = limited("1", &[("server.trusted_proxies", "127.0.0.1"), ("limits.keys_max", "20")]).await;
    let admin = app.admin();
    let mut passed = 0;
    for n in 0..200 {
        passed += i32::from(login_from(&app, &format!("198.51.100.{n}")).await.status == 400);
    }
    assert_eq!(sample(&admin, "rollcall_limit_keys{class=\"login\"}").await, 20);
    assert!(sample(&admin, "rollcall_limit_overflows_total").await >= 180);
    assert!(passed > 20, "newcomers still pass, in shared buckets: {passed}");
    for n in 0..20 {
        assert_eq!(login_from(&app, &format!("198.51.100.{n}")).await.status, 429, "those who came first are known");
    }
}

#[tokio::test]
async fn networks_that_are_forgotten_make_room() {
    let app = TestApp::with(&[("server.trusted_proxies", "127.0.0.1"), ("limits.keys_max", "2")]).await;
    let admin = app.admin();
    for n in 0..4 {
        login_from(&app, &format!("198.51.100.{n}")).await;
    }
    until("empty", async || sample(&admin, "rollcall_limit_keys{class=\"login\"}").await == 0).await;
    let before = sample(&admin, "rollcall_limit_overflows_total").await;
    assert_eq!(before, 2);
    login_from(&app, "198.51.100.9").await;
    assert_eq!(sample(&admin, "rollcall_limit_overflows_total").await, before, "a bucket of its own");
}

#[tokio::test]
async fn decisions_are_counted() {
    let app = limited("2", &[]).await;
    for _ in 0..5 {
        login(&app).await;
    }
    let admin = app.admin();
    for (outcome, count) in [("allowed", 2), ("refused", 3)] {
        let name = format!("rollcall_limit_decisions_total{{class=\"login\",outcome=\"{outcome}\"}}");
        assert_eq!(sample(&admin, &name).await, count, "{name}");
    }
}

// Redis

/// A service that counts in `redis` and waits for it as long as a slow machine may take.
async fn sharing(redis: &str, burst: &str) -> TestApp {
    patient(redis, burst, "20000").await
}

async fn patient(redis: &str, burst: &str, timeout_ms: &str) -> TestApp {
    limited(burst, &[("limits.redis_url", redis), ("limits.redis_timeout_ms", timeout_ms)]).await
}

async fn is_up(app: &TestApp) -> bool {
    sample(&app.admin(), "rollcall_limit_redis_up").await == 1
}

async fn fallbacks(app: &TestApp) -> u64 {
    sample(&app.admin(), "rollcall_limit_redis_fallbacks_total").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_share_one_burst_exactly() {
    let redis = Redis::start().await;
    let (one, other) = (sharing(&redis.url(), "10").await, sharing(&redis.tcp_url().await, "10").await);
    let answers = join_all((0..60).map(|n| login(if n % 2 == 0 { &one } else { &other }))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status != 429).count(), 10);
    let refused = login(&other).await;
    refused.expect_refusal(429, "rate_limited");
    assert!(refused.header("ratelimit").unwrap().starts_with("\"login\";r=0;t="), "{refused:?}");
    assert_eq!(fallbacks(&one).await + fallbacks(&other).await, 0);
}

#[tokio::test]
async fn redis_counts_what_is_left_and_gives_tokens_back() {
    let redis = Redis::start().await;
    let app = sharing(&redis.url(), "2").await;
    expect_limit(&login(&app).await, "\"login\";r=1;t=60", "\"login\";q=2;w=120");
    expect_limit(&login(&app).await, "\"login\";r=0;t=60", "\"login\";q=2;w=120");
    let quick = [("limits.redis_url", redis.url()), ("limits.register_per_minute", "120".to_owned())];
    let quick: Vec<_> = quick.iter().map(|(key, value)| (*key, value.as_str())).collect();
    let app = TestApp::with(&[&quick[..], &[("limits.register_burst", "1")]].concat()).await;
    for _ in 0..2 {
        until("a refusal", async || app.register(&json!({})).await.status == 429).await;
        until("a token", async || app.register(&json!({})).await.status == 422).await;
    }
}

#[tokio::test]
async fn redis_is_told_no_address_and_forgets_by_itself() {
    let redis = Redis::start().await;
    let app = sharing(&redis.url(), "2").await;
    login(&app).await;
    let keys: Vec<String> = redis.ask(&["KEYS", "*login*"]).await;
    assert_eq!(keys.len(), 1, "{keys:?}");
    assert!(keys[0].starts_with("rollcall:limit:login:") && !keys[0].contains("127"), "{keys:?}");
    let expiry: i64 = redis.ask(&["PTTL", &keys[0]]).await;
    assert!((1..=60_000).contains(&expiry), "{expiry}");
    // Something of another type or kind in its place is written over.
    for spoil in [&["RPUSH", &keys[0], "x"][..], &["SET", &keys[0], "nonsense"], &["SET", &keys[0], "nan"]] {
        redis.ask::<i64>(&["DEL", &keys[0]]).await;
        redis.ask::<redis::Value>(spoil).await;
        expect_limit(&login(&app).await, "\"login\";r=1;t=60", "\"login\";q=2;w=120");
    }
    redis.ask::<String>(&["SET", &keys[0], "9e15"]).await;
    login(&app).await.expect_refusal(429, "rate_limited");
    let expiry: i64 = redis.ask(&["PTTL", &keys[0]]).await;
    assert!((1..=120_000).contains(&expiry), "no later than an empty bucket is full again: {expiry}");
    assert_eq!(fallbacks(&app).await, 0);
}

#[tokio::test]
async fn a_script_that_redis_forgot_is_sent_again() {
    let redis = Redis::start().await;
    let app = sharing(&redis.url(), "9").await;
    login(&app).await;
    redis.ask::<String>(&["SCRIPT", "FLUSH"]).await;
    expect_limit(&login(&app).await, "\"login\";r=7;t=60", "\"login\";q=9;w=540");
    assert_eq!(fallbacks(&app).await, 0);
}

#[tokio::test]
async fn a_redis_that_dies_is_done_without_until_it_is_back() {
    let mut redis = Redis::start().await;
    let app = sharing(&redis.url(), "3").await;
    assert!(is_up(&app).await);
    for status in [400, 400, 400, 429] {
        assert_eq!(login(&app).await.status, status);
    }
    redis.kill();
    until("lost", async || !is_up(&app).await).await;
    let statuses =
        [login(&app).await.status, login(&app).await.status, login(&app).await.status, login(&app).await.status];
    assert_eq!(statuses.map(|status| status.as_u16()), [400, 400, 400, 429], "this replica's own buckets");
    assert_eq!(fallbacks(&app).await, 4);
    redis.run().await;
    until("back", async || is_up(&app).await).await;
    expect_limit(&login(&app).await, "\"login\";r=2;t=60", "\"login\";q=3;w=180");
    assert_eq!(fallbacks(&app).await, 4);
}

#[tokio::test]
async fn a_request_meets_the_loss_itself_and_is_answered() {
    let mut redis = Redis::start().await;
    let app = sharing(&redis.url(), "9").await;
    redis.kill();
    assert_eq!(login(&app).await.status, 400);
    assert_eq!(fallbacks(&app).await, 1);
}

#[tokio::test]
async fn a_frozen_redis_costs_one_timeout_and_not_one_each() {
    let redis = Redis::start().await;
    let app = patient(&redis.url(), "1000", "2000").await;
    redis.freeze();
    // At two seconds each they would take ten minutes.
    soon("three hundred answers", async {
        for _ in 0..300 {
            assert_eq!(login(&app).await.status, 400);
        }
    })
    .await;
    assert!(fallbacks(&app).await >= 290, "{}", fallbacks(&app).await);
    redis.thaw();
    until("back", async || is_up(&app).await).await;
    let before = fallbacks(&app).await;
    login(&app).await;
    assert_eq!(fallbacks(&app).await, before);
}

#[tokio::test]
async fn a_redis_that_is_slow_or_takes_no_writes_is_as_good_as_none() {
    let redis = Redis::start().await;
    let app = patient(&redis.url(), "1000", "300").await;
    until("there", async || is_up(&app).await).await;
    redis.ask::<String>(&["CLIENT", "PAUSE", "600000", "WRITE"]).await;
    until("slow", async || !is_up(&app).await).await;
    assert_eq!(login(&app).await.status, 400);
    redis.ask::<String>(&["CLIENT", "UNPAUSE"]).await;
    until("quick again", async || is_up(&app).await).await;
    redis.ask::<String>(&["CONFIG", "SET", "min-replicas-to-write", "3"]).await;
    until("no writes", async || !is_up(&app).await).await;
    assert_eq!(login(&app).await.status, 400);
    redis.ask::<String>(&["CONFIG", "SET", "min-replicas-to-write", "0"]).await;
    until("writes", async || is_up(&app).await).await;
}

#[tokio::test]
async fn what_is_no_redis_is_as_good_as_none() {
    let web = TestApp::start().await;
    let app = sharing(&format!("redis://{}", web.addr), "2").await;
    assert!(!is_up(&app).await);
    for status in [400, 400, 429] {
        assert_eq!(login(&app).await.status, status);
    }
}

async fn serve(home: &Home, db: &TestDatabase, redis_url: &str) -> Service {
    let start = home.serve_on(db).env("ROLLCALL__LIMITS__REDIS_URL", redis_url);
    start.env("ROLLCALL__LIMITS__REDIS_TIMEOUT_MS", "20000").ready().await
}

#[tokio::test]
async fn each_change_is_logged_once() {
    let (home, db, mut redis) = (Home::new(), TestDatabase::migrated().await, Redis::start().await);
    let url = redis.url();
    redis.kill();
    let mut service = serve(&home, &db, &url).await;
    service.program.logged("Redis is lost").await;
    redis.run().await;
    service.program.logged("Redis answers").await;
    redis.kill();
    for _ in 0..20 {
        service.login(EMAIL, PASSWORD).await;
    }
    redis.run().await;
    until("both told twice", async || service.program.stderr().matches("Redis answers").count() == 2).await;
    let exit = service.stop().await;
    assert_eq!(exit.stderr.matches("Redis is lost").count(), 2, "{}", exit.stderr);
    assert_eq!(exit.stderr.matches("Redis answers").count(), 2, "{}", exit.stderr);
    assert_eq!(exit.code, Some(0));
}

#[tokio::test]
async fn a_url_that_leads_to_no_redis_is_an_error() {
    let home = Home::new();
    for url in ["not a url", "http://127.0.0.1:6379", "redis://user:very-secret@host:port", "/var/run/redis.sock"] {
        let exit = home.serve().env("ROLLCALL__LIMITS__REDIS_URL", url).run().await;
        exit.expect_failure(&[
            "limits.redis_url",
            "ROLLCALL__LIMITS__REDIS_URL in the environment",
            "redis://",
            "rediss://",
        ]);
        assert!(!exit.stderr.contains("very-secret"), "{}", exit.stderr);
    }
}

fn check(home: &Home, db: &TestDatabase, redis_url: &str) -> Start {
    let start = home.program(&["check"]).env("API_PORT", "0").env("ROLLCALL__TELEMETRY__ADMIN_ADDR", "off");
    let start = start.env("DATABASE_URL", &db.url()).env("JWT_SECRET", SECRET);
    let start = start.env("ROLLCALL__HASHING__COST", "4").env("ROLLCALL__HASHING__LANES", "1");
    start.env("ROLLCALL__LIMITS__REDIS_URL", redis_url).env("ROLLCALL__LIMITS__REDIS_TIMEOUT_MS", "20000")
}

#[tokio::test]
async fn check_says_whether_redis_answers() {
    let (home, db, mut redis) = (Home::new(), TestDatabase::migrated().await, Redis::start().await);
    let check = |url: &str| check(&home, &db, url).run();
    let exit = check(&redis.url()).await;
    assert_eq!(exit.code, Some(0), "{exit:?}");
    assert!(exit.stdout.contains("redis: good"), "{exit:?}");
    redis.kill();
    let exit = check(&redis.url()).await;
    assert_eq!(exit.code, Some(1), "{exit:?}");
    assert!(exit.stderr.contains("Redis does not answer") && exit.stderr.contains("limits.redis_url"), "{exit:?}");
}

#[tokio::test]
async fn a_network_over_its_limit_is_told_of_once_and_without_its_address() {
    let (home, db) = (Home::new(), TestDatabase::migrated().await);
    let start = home.serve_on(&db).env("ROLLCALL__LIMITS__LOGIN_PER_MINUTE", "1");
    let start = start.env("ROLLCALL__LIMITS__LOGIN_BURST", "1");
    let mut service = start.env("ROLLCALL__SERVER__TRUSTED_PROXIES", "127.0.0.1").ready().await;
    for _ in 0..10 {
        login_from(&service, "198.51.100.77").await;
    }
    service.program.logged("over its rate limit").await;
    let exit = service.stop().await;
    assert_eq!(exit.stderr.matches("over its rate limit").count(), 1, "{}", exit.stderr);
    assert!(!exit.stderr.contains("198.51.100.77"), "{}", exit.stderr);
}

#[tokio::test]
async fn redis_may_want_tls_and_a_password() {
    let (home, db) = (Home::new(), TestDatabase::migrated().await);
    let (redis, place) = Redis::with_tls("very-secret").await;
    let certificate = redis.certificate();
    let trusting = |url: &str| check(&home, &db, url).env("SSL_CERT_FILE", certificate.to_str().unwrap());
    let exit = trusting(&format!("rediss://:very-secret@{place}")).run().await;
    assert!(exit.code == Some(0) && exit.stdout.contains("redis: good"), "{exit:?}");
    for start in [
        trusting(&format!("rediss://:very-wrong@{place}")),
        trusting(&format!("redis://:very-secret@{place}")),
        check(&home, &db, &format!("rediss://:very-secret@{place}")),
    ] {
        let exit = start.run().await;
        assert_eq!(exit.code, Some(1), "{exit:?}");
        assert!(exit.stderr.contains("Redis does not answer") && !exit.stderr.contains("very-"), "{exit:?}");
    }
}

#[tokio::test]
async fn a_flood_of_refusals_is_counted_and_not_logged_and_its_connection_closed() {
    let (home, db) = (Home::new(), TestDatabase::migrated().await);
    let start =
        home.serve_on(&db).env("ROLLCALL__LIMITS__OTHER_PER_SECOND", "1").env("ROLLCALL__LIMITS__OTHER_BURST", "1");
    let service = start.ready().await;
    let mut wire = Wire::open(service.addr).await;
    let mut refused = 0;
    loop {
        wire.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n").await;
        let answer = wire.answer().await;
        refused += u32::from(answer.status == 429);
        if answer.header("connection") == Some("close") {
            break;
        }
    }
    assert!((200..=210).contains(&refused), "{refused}");
    assert_eq!(wire.closed().await, b"");
    for _ in 0..50 {
        let mut wire = Wire::open(service.addr).await;
        wire.send("rubbish\r\n\r\n").await;
        wire.answer().await;
    }
    let exit = service.stop().await;
    let lines = exit.stderr.lines().filter(|line| line.contains("request") || line.contains("rate limit")).count();
    assert!((2..40).contains(&lines), "{lines} lines: {}", exit.stderr);
}

#[tokio::test]
async fn a_site_has_no_more_than_a_few_networks_worth() {
    let proxies = ("server.trusted_proxies", "127.0.0.1");
    let app = limited("2", &[proxies]).await;
    let mut allowed = 0;
    for network in 0..100 {
        // Each a /56 of its own in one /48.
        let answer = login_from(&app, &format!("2001:db8:1:{network:x}00::1")).await;
        allowed += u32::from(answer.status == 400);
        if answer.status != 400 {
            answer.expect_refusal(429, "rate_limited");
        }
    }
    // A few come back meanwhile: one in 3.75 s.
    assert!((32..64).contains(&allowed), "16 times the burst of a network: {allowed}");
    let mut allowed = 0;
    for network in 0..50 {
        let answer = login_from(&app, &format!("2001:db8:2:{network:x}::1")).await;
        allowed += u32::from(answer.status == 400);
    }
    assert!((8..32).contains(&allowed), "4 times, in one /56: {allowed}");
    assert_eq!(login_from(&app, "2001:db8:3::1").await.status, 400, "other sites are not concerned");
    for addr in ["64:ff9b::c000:201", "192.0.2.1", "64:ff9b::c000:201"] {
        login_from(&app, addr).await;
    }
    login_from(&app, "192.0.2.1").await.expect_refusal(429, "rate_limited");
    assert_eq!(
        login_from(&app, "64:ff9b::c000:202").await.status,
        400,
        "behind a translator, each address is one network"
    );
}
