//! Clients that register, log in and ask for themselves, round after round, and note every answer.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use http_body_util::Full;
use hyper::Request;
use hyper::body::Bytes;
use serde_json::json;
use tokio::task::JoinSet;

use super::{Answer, Api, NAME, PASSWORD, Server, soon, until};

/// A client that was refused waits a little, as one that reads Retry-After would wait for longer: clients that ask again at
/// once would take the processor from the server that is being started for them.
const AFTER_REFUSAL: Duration = Duration::from_millis(20);

/// What a client asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    Register,
    Login,
    Me,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome {
    Success,
    /// 503, with Retry-After.
    Unavailable,
    /// No answer: the connection broke.
    Broken(String),
    /// An answer that is none of these.
    Wrong(String),
}

#[derive(Debug)]
struct Sight {
    step: Step,
    sent: Instant,
    took: Duration,
    outcome: Outcome,
}

#[derive(Default)]
struct Notes {
    sights: Mutex<Vec<Sight>>,
    acknowledged: Mutex<BTreeSet<String>>,
    successes: AtomicUsize,
    refusals: AtomicUsize,
    stop: AtomicBool,
}

/// Clients at work.
pub struct Load {
    notes: Arc<Notes>,
    clients: JoinSet<()>,
}

/// All that clients saw.
pub struct Report {
    sights: Vec<Sight>,
    acknowledged: BTreeSet<String>,
}

impl Load {
    /// Clients that do all three; each has an account before this returns.
    pub async fn mixed(api: &Api, count: usize) -> Self {
        let notes = Arc::new(Notes::default());
        let mut clients = Vec::new();
        for _ in 0..count {
            let mut client = Client::new(api.clone(), Arc::clone(&notes));
            client.register().await;
            client.log_in().await;
            assert!(client.token.is_some(), "a load starts on a service in order: {:?}", notes.sights.lock().unwrap());
            clients.push(client);
        }
        let clients = clients.into_iter().map(async |mut client| {
            while client.goes_on() {
                client.register().await;
                client.log_in().await;
                client.ask_for_itself().await;
            }
        });
        Self { notes, clients: clients.collect() }
    }

    /// Clients that register until the service is gone.
    pub fn registrations(api: &Api, count: usize) -> Self {
        let notes = Arc::new(Notes::default());
        let clients = (0..count).map(|_| Client::new(api.clone(), Arc::clone(&notes))).map(async |mut client| {
            while client.goes_on() && !client.is_cut_off {
                client.register().await;
            }
        });
        Self { clients: clients.collect(), notes }
    }

    /// Waits for `count` more successes.
    pub async fn succeeds(&self, count: usize) {
        let before = self.notes.successes.load(Ordering::Relaxed);
        until("more successes", async || self.notes.successes.load(Ordering::Relaxed) >= before + count).await;
    }

    /// Waits for `count` more refusals.
    pub async fn is_refused(&self, count: usize) {
        let before = self.notes.refusals.load(Ordering::Relaxed);
        until("more refusals", async || self.notes.refusals.load(Ordering::Relaxed) >= before + count).await;
    }

    /// Lets the clients finish what they have begun.
    pub async fn end(mut self) -> Report {
        self.notes.stop.store(true, Ordering::Relaxed);
        soon("the clients' ends", async {
            while let Some(ended) = self.clients.join_next().await {
                ended.unwrap();
            }
        })
        .await;
        let sights = std::mem::take(&mut *self.notes.sights.lock().unwrap());
        let acknowledged = std::mem::take(&mut *self.notes.acknowledged.lock().unwrap());
        Report { sights, acknowledged }
    }
}

impl Report {
    /// Checks that every answer is a success or a 503 that says when to come back, and came within `limit`.
    #[track_caller]
    pub fn expect_bounded(&self, limit: Duration) -> &Self {
        let bad: Vec<_> = self
            .sights
            .iter()
            .filter(|sight| !matches!(sight.outcome, Outcome::Success | Outcome::Unavailable) || sight.took > limit)
            .collect();
        let shown = &bad[..bad.len().min(5)];
        assert!(bad.is_empty(), "{} of {} answers, such as {shown:#?}", bad.len(), self.sights.len());
        self
    }

    /// Checks that some requests were refused: the fault was felt.
    #[track_caller]
    pub fn expect_refusals(&self) -> &Self {
        assert!(self.sights.iter().any(|sight| sight.outcome == Outcome::Unavailable), "no request met the fault");
        self
    }

    /// Checks that every request that was sent after `since` succeeded, and that there were some of every kind.
    #[track_caller]
    pub fn expect_service_since(&self, since: Instant) -> &Self {
        let later: Vec<_> = self.sights.iter().filter(|sight| sight.sent > since).collect();
        let failed: Vec<_> = later.iter().filter(|sight| sight.outcome != Outcome::Success).collect();
        let last = failed.last().map(|sight| sight.sent - since);
        let shown = &failed[..failed.len().min(5)];
        assert!(failed.is_empty(), "{} of {}, until {last:?} after, such as {shown:#?}", failed.len(), later.len());
        for step in [Step::Register, Step::Login, Step::Me] {
            assert!(later.iter().any(|sight| sight.step == step), "no {step:?} since");
        }
        self
    }

    /// Checks that some requests of these kinds were refused, and none of another.
    #[track_caller]
    pub fn expect_refusals_of(&self, steps: &[Step]) -> &Self {
        self.expect_no_refusals_but(steps).expect_refusals()
    }

    /// Checks that no requests of other kinds were refused.
    #[track_caller]
    pub fn expect_no_refusals_but(&self, steps: &[Step]) -> &Self {
        let others: Vec<_> = self
            .sights
            .iter()
            .filter(|sight| sight.outcome == Outcome::Unavailable && !steps.contains(&sight.step))
            .take(5)
            .collect();
        assert!(others.is_empty(), "others than {steps:?} were refused: {others:#?}");
        self
    }

    /// How many requests were refused that were sent in this time.
    pub fn refusals_between(&self, from: Instant, to: Instant) -> usize {
        let refused = |sight: &&Sight| sight.outcome == Outcome::Unavailable && (from..to).contains(&sight.sent);
        self.sights.iter().filter(refused).count()
    }

    /// Whether some requests got no answer because their connection broke.
    pub fn was_cut_off(&self) -> bool {
        self.sights.iter().any(|sight| matches!(sight.outcome, Outcome::Broken(_)))
    }

    /// Checks that nothing came but successes, refusals and broken connections.
    #[track_caller]
    pub fn expect_no_wrong_answer(&self) -> &Self {
        let wrong: Vec<_> = self.sights.iter().filter(|sight| matches!(sight.outcome, Outcome::Wrong(_))).collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
        self
    }

    /// Those whose registration was answered with 201.
    pub fn acknowledged(&self) -> &BTreeSet<String> {
        &self.acknowledged
    }

    /// Checks that everyone who was told to be registered is.
    pub async fn expect_kept_by(&self, server: &Server) {
        let stored = server.emails().await;
        let lost: Vec<_> = self.acknowledged.difference(&stored).collect();
        assert!(lost.is_empty(), "{} of {} acknowledged users are lost: {lost:?}", lost.len(), self.acknowledged.len());
    }
}

struct Client {
    api: Api,
    notes: Arc<Notes>,
    /// The last address that was acknowledged.
    email: String,
    /// A token, and the address that it was issued for.
    token: Option<(String, String)>,
    is_cut_off: bool,
}

impl Client {
    fn new(api: Api, notes: Arc<Notes>) -> Self {
        Self { api, notes, email: String::new(), token: None, is_cut_off: false }
    }

    fn goes_on(&self) -> bool {
        !self.notes.stop.load(Ordering::Relaxed)
    }

    /// Registers somebody whom no other client registers. Who was refused may be registered or not, and is left alone.
    async fn register(&mut self) {
        static REGISTERED: AtomicUsize = AtomicUsize::new(0);
        let email = format!("user{}@example.com", REGISTERED.fetch_add(1, Ordering::Relaxed));
        let body = json!({"name": NAME, "email": email, "password": PASSWORD});
        if self.ask(Step::Register, self.post("register", &body), 201, &email).await.is_some() {
            self.notes.acknowledged.lock().unwrap().insert(email.clone());
            self.email = email;
        }
    }

    /// Logs the last acknowledged user in.
    async fn log_in(&mut self) {
        let email = self.email.clone();
        let body = json!({"email": email, "password": PASSWORD});
        if let Some(answer) = self.ask(Step::Login, self.post("login", &body), 200, &email).await {
            let token = answer.json()["data"]["token"].as_str().unwrap().to_owned();
            self.token = Some((token, email));
        }
    }

    async fn ask_for_itself(&mut self) {
        let Some((token, email)) = self.token.clone() else { return };
        let request = self.api.request("GET", "/api/users/me").header("authorization", format!("Bearer {token}"));
        self.ask(Step::Me, request.body(Full::default()).unwrap(), 200, &email).await;
    }

    fn post(&self, action: &str, body: &serde_json::Value) -> Request<Full<Bytes>> {
        let request = self.api.request("POST", &format!("/api/users/{action}"));
        request.header("content-type", "application/json").body(Full::new(body.to_string().into())).unwrap()
    }

    /// Sends a request and notes what comes of it; gives the answer if it is the one wanted, about the user wanted.
    async fn ask(&mut self, step: Step, request: Request<Full<Bytes>>, status: u16, email: &str) -> Option<Answer> {
        let sent = Instant::now();
        let answer = self.api.try_send(request).await;
        let took = sent.elapsed();
        let outcome = match &answer {
            Ok(answer) if answer.status == status && email_in(answer).as_deref() == Some(email) => Outcome::Success,
            Ok(answer) if answer.status == 503 && answer.header("retry-after").is_some_and(is_positive) => {
                Outcome::Unavailable
            }
            Ok(answer) => Outcome::Wrong(format!("{answer:?} for {email}")),
            Err(error) => Outcome::Broken(format!("{error:?}")),
        };
        let succeeded = outcome == Outcome::Success;
        self.is_cut_off |= matches!(outcome, Outcome::Broken(_));
        self.notes.sights.lock().unwrap().push(Sight { step, sent, took, outcome });
        if succeeded {
            self.notes.successes.fetch_add(1, Ordering::Relaxed);
            return answer.ok();
        }
        self.notes.refusals.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(AFTER_REFUSAL).await;
        None
    }
}

/// Whom a success is about.
fn email_in(answer: &Answer) -> Option<String> {
    let data = &answer.json()["data"];
    let user = data.get("user").unwrap_or(data);
    Some(user.get("email")?.as_str()?.to_owned())
}

fn is_positive(seconds: &str) -> bool {
    seconds.parse().is_ok_and(|seconds: u32| seconds >= 1)
}
