//! Hashes without HTTP: by the service's engine, and by the `bcrypt` crate.

use std::hint::black_box;
use std::time::{Duration, Instant};

use rollcall::config::Config;
use rollcall::hashing::Salt;
use rollcall::hashing::engine::{Engines, Job};
use rollcall::hashing::mcf::Cost;
use rollcall::telemetry::Counter;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::timeout_at;
use zeroize::Zeroizing;

use super::Outcome;

/// Jobs that keep one engine saturated, whatever its lanes.
const JOBS: usize = 32;
/// Until all lanes are busy and the clock of the core has settled; at least, because a first hash may take longer.
const WARMUP: Duration = Duration::from_millis(500);
/// The password, with the NUL that is part of bcrypt's key.
const KEY: &[u8] = b"Measured-2-Day\0";

/// One engine of the service's own.
#[derive(Debug, Clone)]
pub(crate) struct Engine(Engines);

impl Engine {
    /// The only place that knows how engines are started.
    pub(crate) fn start() -> Outcome<Self> {
        let config = Config::with(&[("hashing.engines", "1"), ("hashing.niceness", "0")])?;
        Ok(Self(Engines::start(&config.hashing, Counter::new("panics", "None.")?)?))
    }

    /// Computes one hash. The only place that knows how a job is put.
    async fn compute(&self, cost: u32) -> Outcome<()> {
        let password = Zeroizing::new("Measured-2-Day".to_owned());
        let cost = Cost::new(u8::try_from(cost)?)?;
        self.0.submit(Job { password, salt: Salt::default(), cost, pad_to: cost }).await?;
        Ok(())
    }

    /// Hashes per second with more jobs than it can hold.
    pub(crate) async fn rate(&self, cost: u32, window: Duration) -> Outcome<f64> {
        let from = Instant::now() + WARMUP;
        let mut jobs = JoinSet::new();
        for _ in 0..JOBS {
            let engine = self.clone();
            jobs.spawn(async move {
                let mut done = Vec::new();
                // The engine drops the jobs that nobody waits for at the end.
                while let Ok(computed) = timeout_at((from + window).into(), engine.compute(cost)).await {
                    computed?;
                    done.extend(Instant::now().checked_duration_since(from));
                }
                Outcome::Ok(done)
            });
        }
        let mut done = Vec::new();
        while let Some(one) = jobs.join_next().await {
            done.extend(one??.into_iter().map(|at| at.as_secs_f64()));
        }
        Ok(slope(done))
    }

    /// Seconds that one hash takes with nothing beside it.
    pub(crate) async fn alone(&self, cost: u32) -> Outcome<f64> {
        let started = Instant::now();
        self.compute(cost).await?;
        Ok(started.elapsed().as_secs_f64())
    }
}

/// Hashes per second of the `bcrypt` crate, one at a time on one thread.
pub(crate) async fn crate_rate(cost: u32, window: Duration) -> Outcome<f64> {
    let measure = move || {
        let (started, mut count) = (Instant::now(), 0.0);
        while started.elapsed() < window {
            hash(cost);
            count += 1.0;
        }
        count / started.elapsed().as_secs_f64()
    };
    Ok(spawn_blocking(measure).await?)
}

/// Seconds that one hash of the `bcrypt` crate takes.
pub(crate) async fn crate_alone(cost: u32) -> Outcome<f64> {
    let measure = move || {
        let started = Instant::now();
        hash(cost);
        started.elapsed().as_secs_f64()
    };
    Ok(spawn_blocking(measure).await?)
}

fn hash(cost: u32) {
    black_box(bcrypt::bcrypt(cost, black_box(Salt::default()), black_box(KEY)));
}

/// Events per second: the slope of the line through their count over time, by least squares. Lanes that started together
/// are done together, and counting such bursts between two moments would depend on where a burst falls.
fn slope(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    let (mut n, mut t, mut k, mut tt, mut tk) = (0.0, 0.0, 0.0, 0.0, 0.0);
    for time in times {
        t += time;
        k += n;
        tt += time * time;
        tk += time * n;
        n += 1.0;
    }
    (n * tk - t * k) / (n * tt - t * t)
}
