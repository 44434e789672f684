//! Actors that die, and queues that are full: whoever waits is told so, and nobody hangs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::json;

use crate::harness::api::john;
use crate::harness::{Answer, Api, EMAIL, NAME, PASSWORD, TestApp, join_all, soon, until};
use crate::metrics::sample;

/// Clients that register, log in and ask for themselves, round after round, until told to stop.
struct Load {
    answered: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    clients: tokio::task::JoinSet<Vec<Answer>>,
}

impl Load {
    fn start(api: &Api) -> Self {
        let (answered, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let mut clients = tokio::task::JoinSet::new();
        for client in 0..8 {
            let (api, answered, stop) = (api.clone(), Arc::clone(&answered), Arc::clone(&stop));
            clients.spawn(async move {
                let mut answers = Vec::new();
                for round in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    answers.extend(one_user(&api, &format!("user{client}.{round}@example.com"), &answered).await);
                }
                answers
            });
        }
        Self { answered, stop, clients }
    }

    /// Waits until clients have had `count` more answers.
    async fn goes_on(&self, count: usize) {
        let before = self.answered.load(Ordering::Relaxed);
        until("more answers", async || self.answered.load(Ordering::Relaxed) >= before + count).await;
    }

    /// All answers; each is a success or a 503 that says when to come back.
    async fn end(self) -> Vec<Answer> {
        self.stop.store(true, Ordering::Relaxed);
        let answers: Vec<_> = soon("the clients' ends", self.clients.join_all()).await.concat();
        for answer in &answers {
            if !answer.status.is_success() {
                let code = answer.json()["error"]["code"].as_str().unwrap().to_owned();
                assert!(["unavailable", "overloaded"].contains(&code.as_str()), "{answer:?}");
                answer.expect_refusal(503, &code);
            }
        }
        answers
    }
}

/// What one client does, as far as it gets.
async fn one_user(api: &Api, email: &str, answered: &AtomicUsize) -> Vec<Answer> {
    let mut answers = Vec::new();
    let mut note = |answer: Answer| {
        answered.fetch_add(1, Ordering::Relaxed);
        answers.push(answer.clone());
        answer.status.is_success().then_some(answer)
    };
    if note(api.register_email(email).await).is_some()
        && let Some(login) = note(api.login(email, PASSWORD).await)
    {
        note(api.me(login.json()["data"]["token"].as_str().unwrap()).await);
    }
    answers
}

async fn serves_fully(app: &TestApp) {
    let email = "afterwards@example.com";
    app.register_email(email).await.expect_json(201);
    let login = app.login(email, PASSWORD).await.expect_json(200);
    app.me(login["data"]["token"].as_str().unwrap()).await.expect_json(200);
    app.login(email, "WrongPass123").await.expect_refusal(401, "invalid_credentials");
}

/// Kills one of the actors five times under load.
macro_rules! killed {
    ($test:ident, $actor:ident, $name:literal) => {
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $test() {
            let app = TestApp::start().await;
            let load = Load::start(&app);
            for _ in 0..5 {
                load.goes_on(20).await;
                let dying = app.app.handles().$actor.cell().unwrap();
                dying.kill();
                let successor =
                    async || app.app.handles().$actor.cell().is_some_and(|cell| cell.get_id() != dying.get_id());
                until("a successor", successor).await;
            }
            load.goes_on(20).await;
            let answers = load.end().await;
            assert!(answers.iter().any(|answer| answer.status == 200), "some got through");
            serves_fully(&app).await;
            let line = format!("rollcall_restarts_total{{part=\"{}\"}} 5\n", $name);
            let metrics = app.admin().get("/metrics").await.text();
            assert!(metrics.contains(&line), "{metrics}");
        }
    };
}

killed!(a_user_actor_that_dies_is_replaced_and_no_request_hangs, users, "user");
killed!(an_attempts_actor_that_dies_is_replaced_and_no_request_hangs, attempts, "attempts");
killed!(a_hasher_pool_that_dies_is_replaced_and_no_request_hangs, hasher, "hasher");
killed!(a_token_actor_that_dies_is_replaced_and_no_request_hangs, tokens, "token");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_actors_may_die_at_once() {
    let app = TestApp::start().await;
    let load = Load::start(&app);
    load.goes_on(20).await;
    let handles = app.app.handles();
    let dying = [handles.users.cell(), handles.attempts.cell(), handles.hasher.cell(), handles.tokens.cell()];
    let dying = dying.map(Option::unwrap);
    for cell in &dying {
        cell.kill();
    }
    until("all successors", async || {
        let successors = [handles.users.cell(), handles.attempts.cell(), handles.hasher.cell(), handles.tokens.cell()];
        successors.iter().zip(&dying).all(|(new, old)| new.as_ref().is_some_and(|new| new.get_id() != old.get_id()))
    })
    .await;
    load.goes_on(40).await;
    load.end().await;
    serves_fully(&app).await;
}

#[tokio::test]
async fn a_token_outlives_the_actor_that_signed_it() {
    let app = TestApp::start().await;
    app.register_john().await;
    let token = app.token().await;
    let dying = app.app.handles().tokens.cell().unwrap();
    dying.kill();
    until("a successor", async || app.app.handles().tokens.cell().unwrap().get_id() != dying.get_id()).await;
    app.me(&token).await.expect_json(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_the_database_breaks_are_replaced() {
    let app = TestApp::start().await;
    let load = Load::start(&app);
    for _ in 0..5 {
        load.goes_on(20).await;
        app.db.interrupt().await;
    }
    load.goes_on(40).await;
    load.end().await;
    serves_fully(&app).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_of_the_database_is_503_and_ends_with_it() {
    let app = TestApp::with(&[("database.timeout_ms", "2000")]).await;
    app.register_john().await;
    let token = app.token().await;
    app.db.fail().await;
    for answer in [
        app.me(&token).await,
        app.login(EMAIL, PASSWORD).await,
        app.login("jane@example.com", PASSWORD).await,
        app.register_email("jane@example.com").await,
    ] {
        answer.expect_refusal(503, "unavailable");
    }
    app.get("/").await.expect_json(200);
    app.me("bad").await.expect_refusal(401, "invalid_token");
    app.register(&json!({})).await.expect_refusal(422, "validation_failed");
    app.db.recover().await;
    app.me(&token).await.expect_json(200);
    serves_fully(&app).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_is_locked_costs_its_own_request_only() {
    let app = TestApp::with(&[("database.timeout_ms", "2000")]).await;
    let (holder, connection) =
        app.db.url().parse::<tokio_postgres::Config>().unwrap().connect(tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    // A registration of the same address that is not committed: the UNIQUE constraint has to wait for its outcome.
    let insert = format!("BEGIN; INSERT INTO users (name, email, password_hash) VALUES ('Held', '{EMAIL}', '')");
    holder.batch_execute(&insert).await.unwrap();
    let john = john();
    let (held, other) = tokio::join!(app.register(&john), async {
        app.get("/").await.expect_json(200);
        app.login("jane@example.com", PASSWORD).await
    });
    held.expect_refusal(503, "unavailable");
    other.expect_refusal(401, "invalid_credentials");
    // The statement ends with its caller's patience, so what was refused does not come about later.
    let waiting =
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    until("the end of the wait", async || app.db.value::<i64>(waiting, &[]).await == 0).await;
    holder.batch_execute("ROLLBACK").await.unwrap();
    app.register(&john).await.expect_json(201);
}

/// For storms of one account's logins.
const NO_LIMITS: (&str, &str) = ("limits.enabled", "false");

/// Logins that share nothing, each worth one computation.
async fn storm(app: &TestApp, count: usize) -> Vec<Answer> {
    let logins = (0..count).map(|n| async move { app.login(EMAIL, &format!("WrongPass{n}")).await });
    soon("the storm's end", join_all(logins)).await
}

/// Checks that each was refused for its password or for the crowd; gives the numbers of both.
#[track_caller]
fn tally(answers: &[Answer]) -> (usize, usize) {
    let (busy, checked): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 503);
    for answer in &checked {
        answer.expect_refusal(401, "invalid_credentials");
    }
    for answer in &busy {
        answer.expect_refusal(503, "overloaded");
    }
    (checked.len(), busy.len())
}

/// How many were checked in as many storms as it takes until six were refused: on a busy machine, logins may come one by one.
async fn tally_of_storms(app: &TestApp) -> usize {
    let (mut checked, mut refused) = (0, 0);
    while refused < 6 {
        let (of_storm, busy) = tally(&storm(app, 12).await);
        checked += of_storm;
        refused += busy;
    }
    checked
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_of_password_checks_is_503_with_retry_after() {
    let app =
        TestApp::with(&[("hashing.cost", "9"), ("hashing.lanes", "1"), ("hashing.queue_max", "1"), NO_LIMITS]).await;
    app.register_john().await;
    let checked = tally_of_storms(&app).await;
    assert!(checked >= 2, "one at work and one waiting: {checked}");
    app.token().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn password_checks_that_would_wait_for_too_long_are_503_with_retry_after() {
    let app =
        TestApp::with(&[("hashing.cost", "9"), ("hashing.lanes", "1"), ("hashing.max_wait_ms", "1"), NO_LIMITS]).await;
    app.register_john().await;
    let checked = tally_of_storms(&app).await;
    assert!(checked >= 1, "{checked}");
    app.token().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_that_would_wait_for_too_long_costs_the_database_nothing() {
    let settings =
        [("hashing.cost", "15"), ("hashing.engines", "1"), ("hashing.lanes", "1"), ("hashing.max_wait_ms", "1")];
    let app = TestApp::with(&settings).await;
    let admin = app.admin();
    // Unknown, and checked against a decoy.
    let (checked, refused) = tokio::join!(app.login("jane@example.com", PASSWORD), async {
        until("a check that takes long", async || admin.get("/readyz/logins").await.status == 503).await;
        // Everything but logins is served.
        assert_eq!(admin.get("/readyz").await.status, 200);
        app.db.fail().await;
        app.login(EMAIL, PASSWORD).await
    });
    refused.expect_refusal(503, "overloaded");
    // Its check could not be counted any more.
    checked.expect_refusal(503, "unavailable");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_logins_leaves_other_requests_alone() {
    const PROFILES: usize = 40;
    let app = TestApp::with(&[
        ("hashing.cost", "11"),
        ("hashing.lanes", "1"),
        // All wait for their turn, however slow the machine is.
        ("hashing.max_wait_ms", "600000"),
        NO_LIMITS,
    ])
    .await;
    app.register_john().await;
    let token = app.token().await;
    let checked = AtomicUsize::new(0);
    // So many that the queue does not run empty where answers are slow to be read.
    let logins = (0..64).map(async |client| {
        for round in 0.. {
            let answer = app.login(EMAIL, &format!("WrongPass{client}.{round}")).await;
            answer.expect_refusal(401, "invalid_credentials");
            checked.fetch_add(1, Ordering::Relaxed);
        }
    });
    let admin = app.admin();
    let queue = async || sample(&admin, "rollcall_hash_queue_depth").await;
    let profiles = async {
        until("a queue", async || queue().await > 0).await;
        let before = checked.load(Ordering::Relaxed);
        for _ in 0..PROFILES {
            app.me(&token).await.expect_json(200);
            assert!(queue().await > 0, "the pool has more to do than it can");
        }
        checked.load(Ordering::Relaxed) - before
    };
    let meanwhile = soon("the profiles", async {
        tokio::select! {
            _ = join_all(logins) => unreachable!("they never end"),
            meanwhile = profiles => meanwhile,
        }
    });
    let meanwhile = Box::pin(meanwhile).await;
    // Had each profile waited for one check, as many would have been done.
    assert!(meanwhile < PROFILES, "{meanwhile} checks during {PROFILES} profiles");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn equal_logins_at_once_all_get_in() {
    let app = TestApp::start().await;
    app.register(&json!({"name": NAME, "email": EMAIL, "password": PASSWORD})).await.expect_json(201);
    for answer in soon("all", join_all((0..24).map(|_| app.login(EMAIL, PASSWORD)))).await {
        answer.expect_json(200);
    }
}
