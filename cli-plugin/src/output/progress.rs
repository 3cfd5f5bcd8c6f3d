//! A sign of life on stderr while something takes time.

use std::io::{self, IsTerminal, Write};
use std::time::Instant;

/// One step that may take a while. On a terminal a line is kept up to date; elsewhere each change is a line of a log.
pub struct Progress {
    started: Instant,
    terminal: bool,
    shown: String,
    quiet: bool,
}

impl Progress {
    /// Starts the clock and shows the first step.
    pub fn start(step: &str) -> Self {
        let mut progress = Self {
            started: Instant::now(),
            terminal: io::stderr().is_terminal(),
            shown: String::new(),
            quiet: false,
        };
        progress.step(step);
        progress
    }

    /// Shows what is being waited for now, with the time since the start.
    pub fn step(&mut self, step: &str) {
        if self.quiet {
            return;
        }
        let mut stderr = io::stderr().lock();
        // Progress that cannot be shown is no reason to stop the work.
        let written = if self.terminal {
            write!(stderr, "\r\u{1b}[K{step} ({:.1} s)", self.started.elapsed().as_secs_f32())
        } else if step == self.shown {
            Ok(())
        } else {
            writeln!(stderr, "{step}")
        };
        self.quiet = written.and_then(|()| stderr.flush()).is_err();
        step.clone_into(&mut self.shown);
    }

    /// Clears the line, so that what is printed next stands alone.
    pub fn finish(self) {
        drop(self);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.terminal && !self.quiet {
            let mut stderr = io::stderr().lock();
            let _cosmetic = write!(stderr, "\r\u{1b}[K").and_then(|()| stderr.flush());
        }
    }
}

/// Says something on stderr that is not the command's data.
pub fn note(text: &str) {
    let _cosmetic = writeln!(io::stderr().lock(), "{text}");
}

/// Warns on stderr.
pub fn warn(text: &str) {
    note(&format!("{} {text}", super::style::warning_word()));
}
