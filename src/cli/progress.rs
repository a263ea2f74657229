//! A line on the terminal for work that takes a while.

use std::io::{IsTerminal, Write, stderr};

/// A progress line. It is written to standard error if that is a terminal, and erased at the end.
#[derive(Debug)]
pub(super) struct ProgressLine(bool);

impl ProgressLine {
    pub(super) fn new() -> Self {
        Self(stderr().is_terminal())
    }

    /// Replaces the line by this text.
    pub(super) fn show(&self, text: &str) {
        if self.0 {
            let _ = write!(stderr(), "{ERASE}{text}");
        }
    }
}

impl Drop for ProgressLine {
    fn drop(&mut self) {
        self.show("");
    }
}

/// Returns to the beginning of the line and erases it.
const ERASE: &str = "\r\x1b[K";
