//! The machine that the figures are of.

use std::thread::available_parallelism;

/// Cores that this process may use.
pub(crate) fn cores() -> usize {
    available_parallelism().map_or(1, usize::from)
}

/// One line: cores, their model and memory.
pub(crate) fn describe() -> String {
    let model = field("/proc/cpuinfo", "model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    let memory = field("/proc/meminfo", "MemTotal").and_then(|text| text.split(' ').next()?.parse::<f64>().ok());
    let memory = memory.map_or_else(String::new, |kib| format!(", {:.0} GB of memory", kib * 1024.0 / 1e9));
    format!(
        "Measured on {} cores ({model}){memory}; service, PostgreSQL, load generator and peers share them.",
        cores()
    )
}

/// The value of the first line `name: value` of a file below `/proc`.
pub(crate) fn field(path: &str, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    line.split_once(':').map(|(_, value)| value.trim().to_owned())
}

/// Processor time since the system's start, in ticks: in use by anybody here, and taken by the hypervisor for others.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ticks {
    used: f64,
    stolen: f64,
}

impl Ticks {
    /// Until now.
    pub(crate) fn now() -> Option<Self> {
        let text = std::fs::read_to_string("/proc/stat").ok()?;
        let ticks: Vec<f64> = text.lines().next()?.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        let [user, nice, system, _idle, _iowait, irq, softirq, stolen, ..] = *ticks.as_slice() else { return None };
        Some(Self { used: user + nice + system + irq + softirq, stolen })
    }

    /// Percent of the processor time wanted since `earlier` that was taken by the hypervisor.
    pub(crate) fn stolen_since(self, earlier: Self) -> f64 {
        let (used, stolen) = (self.used - earlier.used, self.stolen - earlier.stolen);
        stolen / (used + stolen).max(1.0) * 100.0
    }
}
