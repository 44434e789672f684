//! `rollcall capacity`: measures how fast this machine hashes, and advises on the cost.

mod plot;

use std::fmt::Display;
use std::fs::File;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use super::CliError;
use crate::config::Config;
use crate::hashing::COST_MAX;
use crate::hashing::blowfish::LANES_MAX;
use crate::hashing::calibration;
use crate::hashing::mcf::Cost;
use crate::terminal::print;

/// How long each combination of lanes and engines is measured.
const MEASURE: Duration = Duration::from_millis(250);

/// Targets of the advice, and the file of the plot.
#[derive(Debug, Clone, Args)]
pub(super) struct Arguments {
    /// Logins a second that the cost has to leave room for
    #[arg(long, value_name = "N", default_value = "10", value_parser = one_or_more)]
    logins_per_second: NonZeroU32,
    /// Longest that one password check may take when all lanes are busy, in milliseconds
    #[arg(long, value_name = "MS", default_value = "1000", value_parser = one_or_more)]
    latency_ms: NonZeroU32,
    /// Where to write a plot of all that was measured; without it there is none
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

fn one_or_more(text: &str) -> Result<NonZeroU32, &'static str> {
    text.parse().map_err(|_| "must be a whole number, 1 or more")
}

/// The speed of a number of engines with a number of lanes each.
#[derive(Debug, Clone, Copy)]
struct Measured {
    engines: usize,
    lanes: usize,
    rounds_per_second: f64,
}

impl Measured {
    fn hashes_per_second(&self, cost: Cost) -> f64 {
        self.rounds_per_second / f64::from(1_u32 << cost.log_rounds())
    }

    /// How long one hash takes, in milliseconds, when all lanes are busy.
    fn latency_ms(&self, cost: Cost) -> f64 {
        let at_once = u32::try_from(self.engines * self.lanes).unwrap_or(u32::MAX);
        f64::from(at_once) * 1000.0 / self.hashes_per_second(cost)
    }
}

/// Measures, prints two tables and the advice, and writes the plot if it was asked for.
pub(super) fn run(config: &Config, arguments: &Arguments) -> Result<(), CliError> {
    let refuse = |path: &Path, cause: &dyn Display| {
        CliError::Output(format!("{}: {cause}; choose another place with --svg", path.display()))
    };
    if let Some(path) = &arguments.svg {
        // Before the measurement, which takes half a minute and would be lost.
        File::create(path).map_err(|cause| refuse(path, &cause))?;
    }
    calibration::self_test().map_err(|error| CliError::Output(error.to_string()))?;
    let measured = measure(config.hashing.engines);
    let cost = config.hashing.cost;
    print(&format!("\nAt cost {}, by engines (threads) and lanes (hashes at once on each):\n", cost.log_rounds()))?;
    print("| engines | lanes | hashes/s | one hash, all lanes busy |\n|--:|--:|--:|--:|")?;
    for m in &measured {
        let (rate, latency) = (m.hashes_per_second(cost), m.latency_ms(cost));
        print(&format!("| {} | {} | {rate:.1} | {latency:.0} ms |", m.engines, m.lanes))?;
    }
    let Some(best) = measured.iter().copied().max_by(|a, b| a.rounds_per_second.total_cmp(&b.rounds_per_second)) else {
        return Ok(());
    };
    print(&format!("\nWith {} engines of {} lanes, by cost:\n", best.engines, best.lanes))?;
    print("| cost | logins/s | one login, all lanes busy |\n|--:|--:|--:|")?;
    for cost in costs() {
        let (rate, latency) = (best.hashes_per_second(cost), best.latency_ms(cost));
        print(&format!("| {} | {rate:.1} | {latency:.0} ms |", cost.log_rounds()))?;
    }
    if let Some(path) = &arguments.svg {
        plot::write(path, &measured, (best, cost), arguments).map_err(|cause| refuse(path, &cause))?;
        print(&format!("\nplot: {}", path.display()))?;
    }
    Ok(print(&format!("\n{}", advice(best, arguments)))?)
}

/// Measures all numbers of lanes, on one engine and on all.
fn measure(all_engines: usize) -> Vec<Measured> {
    let mut engines = vec![1, all_engines];
    engines.dedup();
    let cases: Vec<_> = engines.iter().flat_map(|engines| (1..=LANES_MAX).map(|lanes| (*engines, lanes))).collect();
    // It is drawn on standard error, and only on a terminal.
    let bar = ProgressBar::new(cases.len() as u64);
    if let Ok(style) = ProgressStyle::with_template("{msg:30} {bar:40} {pos}/{len} {eta}") {
        bar.set_style(style);
    }
    let measured = cases.into_iter().map(|(engines, lanes)| {
        bar.set_message(format!("{engines} engines, {lanes} lanes"));
        let rounds = thread::scope(|scope| {
            let threads: Vec<_> =
                (0..engines).map(|_| scope.spawn(move || calibration::pace(lanes, MEASURE))).collect();
            threads.into_iter().filter_map(|thread| thread.join().ok()).sum::<u64>()
        });
        bar.inc(1);
        // Rates are far below 2^32 a second on any machine.
        Measured { engines, lanes, rounds_per_second: f64::from(u32::try_from(rounds).unwrap_or(u32::MAX)) }
    });
    let measured = measured.collect();
    bar.finish_and_clear();
    measured
}

fn costs() -> impl Iterator<Item = Cost> {
    (Cost::LOWEST.log_rounds()..=COST_MAX).filter_map(|cost| Cost::new(cost).ok())
}

impl Arguments {
    /// Logins a second.
    fn rate(&self) -> f64 {
        f64::from(self.logins_per_second.get())
    }

    /// Milliseconds.
    fn latency(&self) -> f64 {
        f64::from(self.latency_ms.get())
    }

    /// The highest cost that meets both targets.
    fn best_cost(&self, best: Measured) -> Option<Cost> {
        let meets =
            |cost: &Cost| best.hashes_per_second(*cost) >= self.rate() && best.latency_ms(*cost) <= self.latency();
        costs().filter(meets).last()
    }
}

fn advice(best: Measured, arguments: &Arguments) -> String {
    let (rate, latency) = (arguments.rate(), arguments.latency());
    match arguments.best_cost(best) {
        Some(cost) => {
            let (cost, spare) = (cost.log_rounds(), best.hashes_per_second(cost) / rate);
            format!(
                "advice: hashing.cost = {cost} keeps {rate} logins/s within {latency} ms, with {spare:.1} times that rate as capacity"
            )
        }
        None => format!(
            "advice: no cost keeps {rate} logins/s within {latency} ms on this machine; add cores, or expect less"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(logins: u32, latency: u32) -> Arguments {
        Arguments {
            logins_per_second: NonZeroU32::new(logins).unwrap(),
            latency_ms: NonZeroU32::new(latency).unwrap(),
            svg: None,
        }
    }

    /// 40 hashes/s at cost 12, ten at once: a quarter of a second each.
    const BEST: Measured = Measured { engines: 2, lanes: 5, rounds_per_second: 163_840.0 };

    #[test]
    fn the_advice_is_the_highest_cost_that_meets_both_targets() {
        assert!(advice(BEST, &arguments(10, 1000)).starts_with("advice: hashing.cost = 14 keeps 10 logins/s"));
        assert!(advice(BEST, &arguments(10, 999)).starts_with("advice: hashing.cost = 13 "));
        assert!(advice(BEST, &arguments(21, 1000)).starts_with("advice: hashing.cost = 12 "));
        assert!(advice(BEST, &arguments(1_000_000, 1000)).starts_with("advice: no cost "));
    }
}
