//! Mann and Whitney's U test: are the values of one sample as often above those of the other as below?

use std::fmt::Write as _;

use super::sampling::{Class, Expected};

/// Below that, chance is no explanation. A machine that is busy otherwise must not fail a test, nor luck pass the control.
const ALPHA: f64 = 1e-6;

/// Checks that each class takes as long as the first, or not, as is expected of it.
#[track_caller]
pub(super) fn expect_no_difference(classes: &[Class], samples: &[Vec<f64>]) {
    let comparisons = of(classes.len() - 1);
    for (class, sample) in classes.iter().zip(samples).skip(1) {
        // Bonferroni: the more comparisons, the sooner one looks like a difference.
        let p = u_test(&samples[0], sample) * comparisons;
        let is_expected = match class.expected {
            Expected::Alike => p >= ALPHA,
            Expected::Apart => p < ALPHA,
            Expected::Shown => true,
        };
        let Class { name, expected, .. } = class;
        assert!(is_expected, "{name} is not {expected:?}: p = {p:.1e}\n{}", table(classes, samples));
    }
}

/// What the samples are: quartiles and tail in microseconds, the medians' distance from the first class's, and U's p, not
/// corrected for the number of comparisons.
pub(super) fn table(classes: &[Class], samples: &[Vec<f64>]) -> String {
    let mut text = String::from(
        "| class | n | p25, µs | p50, µs | p75, µs | p99, µs | p50 from the first's, µs | p |\n|---|---|---|---|---|---|---|---|\n",
    );
    let base = quantile(&samples[0], 50);
    for (at, (class, sample)) in classes.iter().zip(samples).enumerate() {
        let [p25, p50, p75, p99] = [25, 50, 75, 99].map(|percent| quantile(sample, percent));
        let (name, count) = (class.name, sample.len());
        write!(text, "| {name} | {count} | {p25:.0} | {p50:.0} | {p75:.0} | {p99:.0} ").unwrap();
        if at == 0 {
            text.push_str("| | |\n");
        } else {
            let (shift, p) = (p50 - base, u_test(&samples[0], sample));
            let p = if p < 0.001 { format!("{p:.0e}") } else { format!("{p:.3}") };
            writeln!(text, "| {shift:+.0} | {p} |").unwrap();
        }
    }
    text
}

fn quantile(sample: &[f64], percent: usize) -> f64 {
    let mut sorted = sample.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[(sorted.len() - 1) * percent / 100]
}

/// The probability of a U at least as far from the middle if both samples are of one distribution: by the normal
/// approximation, with the corrections for ties and for continuity.
fn u_test(a: &[f64], b: &[f64]) -> f64 {
    let mut all: Vec<_> = a.iter().map(|value| (*value, true)).chain(b.iter().map(|value| (*value, false))).collect();
    all.sort_by(|one, other| one.0.total_cmp(&other.0));
    let (mut ranks_of_a, mut ties, mut before) = (0.0, 0.0, 0);
    for alike in all.chunk_by(|one, other| one.0.total_cmp(&other.0).is_eq()) {
        let count = of(alike.len());
        // Equal values share the mean of their ranks.
        let rank = of(before) + f64::midpoint(count, 1.0);
        ranks_of_a += rank * of(alike.iter().filter(|(_, is_of_a)| *is_of_a).count());
        ties += count.powi(3) - count;
        before += alike.len();
    }
    let (m, n) = (of(a.len()), of(b.len()));
    let u_of_a = ranks_of_a - m * (m + 1.0) / 2.0;
    let variance = m * n / 12.0 * (m + n + 1.0 - ties / ((m + n) * (m + n - 1.0)));
    if variance <= 0.0 {
        return 1.0;
    }
    let deviations = ((u_of_a - m * n / 2.0).abs() - 0.5).max(0.0) / variance.sqrt();
    erfc(deviations / std::f64::consts::SQRT_2)
}

/// The complementary error function for x ≥ 0, within 1.5e-7: Abramowitz and Stegun, 7.1.26, where its terms are positive;
/// beyond 3, where that is too coarse, the first terms of its continued fraction (7.1.14).
fn erfc(x: f64) -> f64 {
    let scale = (-x * x).exp();
    if x < 3.0 {
        let t = 1.0 / (1.0 + 0.327_591_1 * x);
        let terms = [1.061_405_429, -1.453_152_027, 1.421_413_741, -0.284_496_736, 0.254_829_592];
        return scale * terms.iter().fold(0.0, |sum, term| (sum + term) * t);
    }
    let fraction = (1..=20).rev().fold(x, |rest, k| x + f64::from(k) / 2.0 / rest);
    scale / (fraction * std::f64::consts::PI.sqrt())
}

/// Counts of samples are far below 2^53, up to where a float is exact.
#[allow(clippy::cast_precision_loss, reason = "as above")]
fn of(count: usize) -> f64 {
    count as f64
}

#[test]
fn the_u_test_agrees_with_other_implementations() {
    // R: wilcox.test(x, y, exact = FALSE)$p.value
    let cases: [(&[f64], &[f64], f64); 4] = [
        (&[1.0, 2.0, 3.0, 4.0, 5.0], &[6.0, 7.0, 8.0, 9.0, 10.0], 0.012_186),
        (&[1.0, 2.0, 2.0, 3.0], &[2.0, 3.0, 4.0, 5.0], 0.136_669),
        (&[1.0, 2.0, 3.0], &[1.0, 2.0, 3.0], 1.0),
        (&[7.0; 5], &[7.0; 5], 1.0),
    ];
    for (a, b, p) in cases {
        assert!((u_test(a, b) - p).abs() < 1e-4, "{a:?} and {b:?}: {} for {p}", u_test(a, b));
        assert!((u_test(b, a) - p).abs() < 1e-4, "{b:?} and {a:?}: {} for {p}", u_test(b, a));
    }
    for (x, tail) in [(0.5, 0.479_500_122), (2.9, 4.109_787_8e-5), (3.1, 1.164_865_7e-5), (5.0, 1.537_459_8e-12)] {
        assert!((erfc(x) / tail - 1.0).abs() < 1e-2, "erfc({x}) = {:e}", erfc(x));
    }
}
