//! A service, honest clients, and room for attackers.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::task::JoinSet;

use super::attackers::Attackers;
use super::cores;
use super::honest::{Honest, Latency};
use crate::harness::program::Service;
use crate::harness::{Home, Server, serve_on, until};

/// A setting of the service, by its variable, and its value.
pub type Setting = (&'static str, &'static str);

/// Timeouts so short that a test sees several of them, for the test that each is tried in. The others are so long that a
/// client that is left in time was left by the one that should.
pub const HEADER_TIMEOUT: Setting = ("ROLLCALL__SERVER__HEADER_TIMEOUT_MS", "1000");
pub const BODY_TIMEOUT: Setting = ("ROLLCALL__SERVER__BODY_TIMEOUT_MS", "1000");
pub const WRITE_TIMEOUT: Setting = ("ROLLCALL__SERVER__WRITE_TIMEOUT_MS", "1000");
pub const DRAIN_TIMEOUT: Setting = ("ROLLCALL__SERVER__DRAIN_TIMEOUT_MS", "1000");
const LONG_MS: &str = "600000";
const DATABASE_TIMEOUT_MS: &str = "10000";
/// Files that this process and the service may each have open: 10,000 connections and what else there is.
const FILES: u64 = 12_000;
/// Within this time all attackers come, one after the other: what is tried is what they do, not that they come at once.
const ARRIVAL: Duration = Duration::from_secs(1);
/// From one round of an attacker to its next: the service has few cores here, and what is tried is not who asks most.
const PAUSE: Duration = Duration::from_millis(50);
/// Measurements for the table, before and during an attack.
const TIMES: usize = 5;
/// How many times as long honest clients may wait at p99 meanwhile, where the table is made: on an idle machine and with the
/// attackers on a core of their own. The largest of a good run is 2.
const RATIO_MAX: f64 = 3.0;
const MB: usize = 1024;

pub struct Stage {
    service: Service,
    honest: Honest,
    attackers: Attackers,
    /// The file for the table, where one is wanted: named by `HOSTILE_TABLE`.
    table: Option<OsString>,
    _server: Server,
    _home: Home,
}

/// What attackers do, and what comes of it.
pub struct Attack {
    pub name: &'static str,
    /// What each attacker gets, in the table's words; the attacker checks it.
    pub outcome: &'static str,
    pub attackers: u32,
    /// Rounds that are over before the honest clients' answers count.
    pub begun: usize,
    /// How far the service's memory may grow, in MB.
    pub memory: usize,
}

impl Stage {
    pub async fn open() -> Self {
        Self::with(&[]).await
    }

    /// One whose service has these settings over the others.
    pub async fn with(settings: &[Setting]) -> Self {
        raise_files();
        let table = std::env::var_os("HOSTILE_TABLE");
        if table.is_some() {
            cores::defend();
        }
        let (home, server) = (Home::new(), Server::start("").await);
        let mut start = serve_on(&home, &server).env("ROLLCALL__LIMITS__ENABLED", "false");
        for (name, _) in [HEADER_TIMEOUT, BODY_TIMEOUT, WRITE_TIMEOUT] {
            start = start.env(name, LONG_MS);
        }
        // Or a busy machine's database would be taken for a service that fails.
        start = start.env("ROLLCALL__DATABASE__TIMEOUT_MS", DATABASE_TIMEOUT_MS);
        for (name, value) in settings {
            start = start.env(name, value);
        }
        let service = start.ready().await;
        let honest = Honest::join(&service).await;
        // What is made at first use is made.
        honest.watch(&service, 1, || true).await;
        let attackers = Attackers::new(table.is_some());
        Self { service, honest, attackers, table, _server: server, _home: home }
    }

    pub fn addr(&self) -> SocketAddr {
        self.service.addr
    }

    /// Lets attackers go through `round` again and again, each of which ends as its attacker expects, until the honest
    /// clients have their answers. Checks that those were served and that memory stayed bounded; prints a line of the table.
    pub async fn under<F>(&self, attack: Attack, round: impl Fn(SocketAddr) -> F + Clone + Send + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let times = if self.table.is_some() { TIMES } else { 1 };
        let quiet = self.honest.watch(&self.service, times, || true).await;
        let before = self.memory_kb("VmRSS:");
        self.forget_peak();
        let rounds = Arc::new(AtomicUsize::new(0));
        let since = Instant::now();
        let addr = self.addr();
        let mut attackers = self.attackers.act((0..attack.attackers).map(|n| {
            let (round, rounds) = (round.clone(), Arc::clone(&rounds));
            let delay = ARRIVAL * n / attack.attackers;
            async move {
                tokio::time::sleep(delay).await;
                loop {
                    round(addr).await;
                    rounds.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }));
        let begun = attack.begun;
        let reached = |count: usize| rounds.load(Ordering::Relaxed) >= count;
        until(&format!("{}: rounds", attack.name), async || {
            check(&mut attackers);
            reached(begun)
        })
        .await;
        let counter = Arc::clone(&rounds);
        let enough = begun.max(attack.attackers as usize);
        let done = move || counter.load(Ordering::Relaxed) >= enough;
        let during = self.honest.watch(&self.service, times, done).await;
        check(&mut attackers);
        let rate = f64::from(u32::try_from(rounds.load(Ordering::Relaxed)).unwrap()) / since.elapsed().as_secs_f64();
        attackers.shutdown().await;
        let grown = self.memory_kb("VmHWM:").saturating_sub(before);
        let line = line(&attack, rate, &quiet, &during, (before / MB, grown / MB));
        println!("{line}");
        if let Some(path) = &self.table {
            writeln!(File::options().create(true).append(true).open(path).unwrap(), "{line}").unwrap();
            let ratio = during.p99.as_secs_f64() / quiet.p99.as_secs_f64();
            assert!(ratio <= RATIO_MAX, "{}: honest clients waited for {ratio:.1} times as long at p99", attack.name);
        }
        assert!(grown <= attack.memory * MB, "{}: memory grew by {} MB", attack.name, grown / MB);
    }

    /// The service's memory by a line of its status, in KB.
    fn memory_kb(&self, line: &str) -> usize {
        let status = fs::read_to_string(self.proc("status")).unwrap();
        let value = status.lines().find_map(|text| text.strip_prefix(line)).unwrap();
        value.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Lets the peak of its memory begin anew.
    fn forget_peak(&self) {
        fs::write(self.proc("clear_refs"), "5").unwrap();
    }

    fn proc(&self, file: &str) -> String {
        format!("/proc/{}/{file}", self.service.program.pid.as_raw_nonzero())
    }
}

/// Whether all attackers go on; one that has not got what it expected has panicked.
#[track_caller]
fn check(attackers: &mut JoinSet<()>) {
    if let Some(ended) = attackers.try_join_next() {
        ended.unwrap();
    }
}

/// A child has its parent's limit.
fn raise_files() {
    let limit = getrlimit(Resource::Nofile);
    let at_least = |value: Option<u64>| value.map(|value| value.max(FILES));
    let wanted = Rlimit { current: at_least(limit.current), maximum: at_least(limit.maximum) };
    setrlimit(Resource::Nofile, wanted).unwrap_or_else(|error| panic!("{FILES} open files are needed: {error}"));
}

/// What an attack has in the table.
fn line(attack: &Attack, rate: f64, quiet: &Latency, during: &Latency, (before, grown): (usize, usize)) -> String {
    let ms = |latency: Duration| latency.as_secs_f64() * 1000.0;
    format!(
        "| {} | {} | {rate:.0} | {:.1} / {:.1} | {:.1} / {:.1} | {:.1} | {before} + {grown} |",
        attack.name,
        attack.outcome,
        ms(quiet.p50),
        ms(quiet.p99),
        ms(during.p50),
        ms(during.p99),
        ms(during.p99) / ms(quiet.p99),
    )
}
