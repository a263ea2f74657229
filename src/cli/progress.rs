//! A line on the terminal for work that takes a while.

use std::io::{IsTerminal, Write, stderr};

/// Writes to standard error if that is a terminal, and leaves nothing behind.
#[derive(Debug)]
pub(super) struct ProgressLine(bool);

impl ProgressLine {
    pub(super) fn new() -> Self {
        Self(stderr().is_terminal())
    }

    /// Puts this in the place of what was said before.
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

/// To the beginning of the line, and nothing after it.
const ERASE: &str = "\r\x1b[K";
