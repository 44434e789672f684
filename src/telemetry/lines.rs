//! The writer of log lines.
//!
//! A request only copies its line into a buffer. One thread writes the buffer [`PAUSE`] after its first line. A process
//! that is killed loses the lines of that time; one that ends by itself loses nothing. If standard error is not read,
//! lines are dropped and counted, and requests do not wait.
//!
//! tracing-appender's `non_blocking` writes line by line and costs 38 % more CPU per profile request: 30.1 instead of
//! 21.9 µs, means of six runs each.

use std::io::{self, Write, stderr};
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Short enough for a person who watches the log, long enough that a busy service writes hundreds of lines at once.
const PAUSE: Duration = Duration::from_millis(20);
/// Most bytes in the buffer: some 5,000 lines.
const WAITING_MAX: usize = 1 << 20;

/// The buffer of lines, and its state.
#[derive(Debug, Default)]
pub(super) struct Lines {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    text: Vec<u8>,
    dropped: u64,
    /// Once the writer has ended, each line is written at once.
    is_closed: bool,
}

/// The thread that writes. When it is dropped, it writes the rest of the buffer and ends.
#[derive(Debug)]
pub struct Writer {
    lines: Arc<Lines>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Starts to write `lines` to `out`.
    pub(super) fn start(lines: Arc<Lines>, out: impl Write + Send + 'static) -> io::Result<Self> {
        let shared = Arc::clone(&lines);
        let thread = thread::Builder::new().name("log".to_owned()).spawn(move || shared.write_to(out))?;
        Ok(Self { lines, thread: Some(thread) })
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.lines.lock().is_closed = true;
        self.lines.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Lines {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_to(&self, mut out: impl Write) {
        let mut text = Vec::new();
        loop {
            let idle = |state: &mut State| state.text.is_empty() && !state.is_closed;
            let state = self.changed.wait_while(self.lock(), idle).unwrap_or_else(PoisonError::into_inner);
            let gathering = |state: &mut State| !state.is_closed;
            let waited = self.changed.wait_timeout_while(state, PAUSE, gathering);
            let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
            if state.text.is_empty() {
                return;
            }
            mem::swap(&mut text, &mut state.text);
            let dropped = mem::take(&mut state.dropped);
            drop(state);
            // A failure cannot be logged.
            let _ = out.write_all(&text);
            text.clear();
            if dropped > 0 {
                tracing::warn!(dropped, "lines of this log were dropped: it was not read fast enough");
            }
        }
    }
}

impl Write for &Lines {
    /// Takes one line, whole.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut state = self.lock();
        if state.is_closed {
            return stderr().write(line);
        }
        if state.text.len() + line.len() > WAITING_MAX {
            state.dropped += 1;
            return Ok(line.len());
        }
        let is_first = state.text.is_empty();
        state.text.extend_from_slice(line);
        drop(state);
        if is_first {
            self.changed.notify_one();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Tells of every write, after it was let through.
    struct Out(mpsc::Receiver<()>, mpsc::Sender<Vec<u8>>);

    impl Write for Out {
        fn write(&mut self, text: &[u8]) -> io::Result<usize> {
            let _ = self.0.recv();
            let _ = self.1.send(text.to_vec());
            Ok(text.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn start() -> (Arc<Lines>, Writer, mpsc::Sender<()>, mpsc::Receiver<Vec<u8>>) {
        let ((go, gate), (tell, told)) = (mpsc::channel(), mpsc::channel());
        let lines = Arc::new(Lines::default());
        let writer = Writer::start(Arc::clone(&lines), Out(gate, tell)).unwrap();
        (lines, writer, go, told)
    }

    #[test]
    fn lines_that_gather_leave_as_one_write_and_in_order() {
        let (lines, writer, go, told) = start();
        lines.as_ref().write_all(b"one\n").unwrap();
        go.send(()).unwrap();
        assert_eq!(told.recv().unwrap(), b"one\n");
        lines.as_ref().write_all(b"two\n").unwrap();
        lines.as_ref().write_all(b"three\n").unwrap();
        drop(go);
        drop(writer);
        assert_eq!(told.iter().collect::<Vec<_>>().concat(), b"two\nthree\n");
    }

    #[test]
    fn nobody_waits_for_a_log_that_is_not_read() {
        let (lines, writer, go, told) = start();
        let line = [b'a'; 1 << 10];
        for _ in 0..3 * WAITING_MAX / line.len() {
            lines.as_ref().write_all(&line).unwrap();
        }
        assert!(lines.lock().text.len() <= WAITING_MAX);
        assert!(lines.lock().dropped > 0);
        drop(go);
        drop(writer);
        assert!(told.iter().map(|text| text.len()).sum::<usize>() <= 2 * WAITING_MAX);
    }
}
