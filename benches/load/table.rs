//! Goals, what was measured against them, and the table of both.

use std::fmt;
use std::time::Instant;

use super::Outcome;
use super::machine::Ticks;
use super::options::Options;

/// What a row is to show.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Goal {
    pub(crate) what: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) target: Target,
}

/// When a goal is met.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Target {
    AtLeast(f64),
    AtMost(f64),
}

/// What was measured.
#[derive(Debug)]
pub(crate) struct Figure {
    value: Value,
    /// How it came about, such as the two rates of a ratio.
    note: String,
}

#[derive(Debug)]
enum Value {
    Measured(f64),
    /// There is nothing to compare with on this machine.
    Absent(&'static str),
    Failed(String),
}

impl Figure {
    pub(crate) fn new(value: f64, note: impl Into<String>) -> Self {
        Self { value: Value::Measured(value), note: note.into() }
    }

    /// With more words about it.
    pub(crate) fn with(mut self, words: &str) -> Self {
        self.note.push_str(words);
        self
    }

    pub(crate) fn absent(reason: &'static str) -> Self {
        Self { value: Value::Absent(reason), note: String::new() }
    }
}

/// The rows so far.
#[derive(Debug)]
pub(crate) struct Table {
    options: Options,
    /// With the percentage of the processor time that was stolen meanwhile.
    rows: Vec<(Goal, Figure, f64)>,
}

impl Table {
    pub(crate) fn new(options: &Options) -> Self {
        Self { options: options.clone(), rows: Vec::new() }
    }

    /// Makes one measurement, if it is wanted, which gives a figure for each of `goals`.
    pub(crate) async fn measure<const N: usize>(
        &mut self,
        name: &str,
        goals: [Goal; N],
        measure: impl AsyncFnOnce() -> Outcome<[Figure; N]>,
    ) {
        if !self.options.wants(name) {
            return;
        }
        let (started, ticks) = (Instant::now(), Ticks::now());
        let figures = measure().await.unwrap_or_else(|error| {
            let words = error.to_string().replace(['\n', '|'], " ");
            std::array::from_fn(|_| Figure { value: Value::Failed(words.clone()), note: String::new() })
        });
        let stolen = ticks.zip(Ticks::now()).map_or(0.0, |(before, after)| after.stolen_since(before));
        eprintln!("{name} ({:.0} s, {stolen:.0} % of the processor stolen)", started.elapsed().as_secs_f64());
        for (goal, figure) in goals.into_iter().zip(figures) {
            eprintln!("    {}: {}", goal.what, measured(&goal, &figure));
            self.rows.push((goal, figure, stolen));
        }
    }

    pub(crate) fn has_failures(&self) -> bool {
        self.rows.iter().any(|(_, figure, _)| matches!(figure.value, Value::Failed(_)))
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| what | measured | target | met | stolen |\n|---|---|---|---|--:|")?;
        for (goal, figure, stolen) in &self.rows {
            let (measured, target, met) = (measured(goal, figure), target(goal), met(goal, figure));
            writeln!(f, "| {} | {measured} | {target} | {met} | {stolen:.0} % |", goal.what)?;
        }
        Ok(())
    }
}

fn measured(goal: &Goal, figure: &Figure) -> String {
    let value = match &figure.value {
        Value::Measured(value) if value.is_infinite() => "no answer".to_owned(),
        Value::Measured(value) => format!("{}{}", digits(*value), goal.unit),
        Value::Absent(reason) => (*reason).to_owned(),
        Value::Failed(words) => format!("failed: {words}"),
    };
    if figure.note.is_empty() { value } else { format!("{value} ({})", figure.note) }
}

fn target(goal: &Goal) -> String {
    match goal.target {
        Target::AtLeast(bound) => format!("≥ {}{}", bare(bound), goal.unit),
        Target::AtMost(bound) => format!("≤ {}{}", bare(bound), goal.unit),
    }
}

fn met(goal: &Goal, figure: &Figure) -> &'static str {
    let Value::Measured(value) = figure.value else { return "-" };
    let met = match goal.target {
        Target::AtLeast(bound) => value.is_finite() && value >= bound,
        Target::AtMost(bound) => value <= bound,
    };
    if met { "yes" } else { "**no**" }
}

/// Three digits that count.
pub(crate) fn digits(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// As few digits as it takes.
fn bare(bound: f64) -> String {
    if bound.fract() == 0.0 { format!("{bound:.0}") } else { format!("{bound}") }
}

/// The median of the rounds' ratios, with the medians of both sides for a note.
pub(crate) fn compare(ours: &[f64], theirs: &[f64], unit: &str) -> Figure {
    let ratio = median(ours.iter().zip(theirs).map(|(a, b)| a / b).collect());
    let of = |values: &[f64]| digits(median(values.to_vec()));
    Figure::new(ratio, format!("{}{unit} to {}{unit}", of(ours), of(theirs)))
}

/// The middle of `values`, or the mean of the middle two.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { at(middle) } else { f64::midpoint(at(middle.wrapping_sub(1)), at(middle)) }
}
