//! What these tests stand on, beside what all tests do: tools in processes of their own.

pub mod pebble;

use std::process::Output;
use std::time::Duration;

pub use crate::shared::support::program::{Home, Start};
pub use crate::shared::support::{Api, Wire, scratch, tls, until};

/// A tool's whole work: testssl.sh makes some thousand handshakes.
const TOOL_PATIENCE: Duration = Duration::from_mins(20);

/// Ports that nobody listens on, for programs that can't pick one themselves.
pub fn free_ports<const N: usize>() -> [u16; N] {
    std::array::from_fn(|_| scratch::free_port())
}

/// Runs a tool to its end.
pub async fn run(tool: &str, args: &[&str]) -> Output {
    let mut command = tokio::process::Command::new(tool);
    command.args(args).kill_on_drop(true).stdin(std::process::Stdio::null());
    let run = tokio::time::timeout(TOOL_PATIENCE, command.output()).await;
    run.unwrap_or_else(|_| panic!("{tool} does not end")).unwrap_or_else(|error| panic!("{tool}: {error}"))
}
