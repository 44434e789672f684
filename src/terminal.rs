//! Output and questions of commands.

use std::io::{self, ErrorKind, IsTerminal as _, Write as _};

use thiserror::Error;

/// Why a command could not print or ask.
#[derive(Debug, Error)]
pub enum TerminalError {
    /// Standard output fails.
    #[error("the document cannot be written: {0}")]
    Output(io::Error),
    /// Standard input fails.
    #[error("the answer cannot be read: {0}")]
    Input(io::Error),
    /// The answer was no, or there is no terminal to ask on.
    #[error("nothing was done: say so with --yes, which is not asked for on a terminal")]
    Unconfirmed,
}

/// Prints a line on standard output. A reader that has gone is no error.
///
/// # Errors
/// [`TerminalError::Output`].
pub fn print(text: &str) -> Result<(), TerminalError> {
    match writeln!(io::stdout(), "{text}") {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(TerminalError::Output(error)),
        _ => Ok(()),
    }
}

/// Asks before an action that cannot be undone. Without a terminal, the answer is no.
///
/// # Errors
/// [`TerminalError::Unconfirmed`], [`TerminalError::Input`].
pub fn confirm(question: &str) -> Result<(), TerminalError> {
    if !io::stdin().is_terminal() {
        return Err(TerminalError::Unconfirmed);
    }
    eprint!("{question} [y/N] ");
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).map_err(TerminalError::Input)?;
    if matches!(answer.trim(), "y" | "Y" | "yes") { Ok(()) } else { Err(TerminalError::Unconfirmed) }
}
