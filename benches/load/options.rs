//! What the command line and the environment ask for.

use std::path::PathBuf;
use std::time::Duration;

use super::Outcome;

const USAGE: &str = "usage: cargo bench --bench load -- [--quick] [--only NAME]… [--huge DIRECTORY], where NAME is a group (service, hashing, reads) \
     or a measurement's name as the progress shows it (hashing/storm, or storm alone), and DIRECTORY a data directory \
     that the populate example has put 10 million users into";

/// How long a phase takes at least, when it is quick.
const QUICK_SECONDS_MIN: u64 = 2;

/// The options.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    only: Vec<String>,
    quick: bool,
    /// Directory of the Python service.
    pub(crate) peer: Option<PathBuf>,
    /// Data directory of a private cluster with many users.
    pub(crate) huge: Option<PathBuf>,
}

impl Options {
    pub(crate) fn read() -> Outcome<Self> {
        let mut options = Self { only: Vec::new(), quick: false, peer: None, huge: None };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--quick" => options.quick = true,
                "--only" => options.only.push(arguments.next().ok_or(USAGE)?),
                "--huge" => options.huge = Some(PathBuf::from(arguments.next().ok_or(USAGE)?).canonicalize()?),
                // Cargo says so to every benchmark.
                "--bench" => {}
                _ => return Err(USAGE.into()),
            }
        }
        if let Some(dir) = std::env::var_os("PEER").filter(|dir| !dir.is_empty()) {
            let dir = PathBuf::from(dir);
            options.peer = Some(dir.canonicalize().map_err(|cause| format!("PEER={}: {cause}", dir.display()))?);
        }
        Ok(options)
    }

    /// Whether the measurement `group/name` is to be made.
    pub(crate) fn wants(&self, name: &str) -> bool {
        let (group, own) = name.split_once('/').unwrap_or((name, name));
        self.only.is_empty() || self.only.iter().any(|only| [name, group, own].contains(&only.as_str()))
    }

    /// How long a phase takes that takes `full` seconds in a full run.
    pub(crate) fn seconds(&self, full: u64) -> Duration {
        Duration::from_secs(if self.quick { (full / 4).max(QUICK_SECONDS_MIN.min(full)) } else { full })
    }

    /// How often a comparison is repeated that a full run repeats `full` times.
    pub(crate) fn rounds(&self, full: usize) -> usize {
        if self.quick { full.div_ceil(3) } else { full }
    }
}
