//! Colour: only on a terminal, and never when `NO_COLOR` is set.

use std::env;
use std::io::{self, IsTerminal};

const RED_BOLD: &str = "\u{1b}[1;31m";
const CYAN_BOLD: &str = "\u{1b}[1;36m";
const YELLOW_BOLD: &str = "\u{1b}[1;33m";
const PLAIN: &str = "\u{1b}[0m";

/// `error:` as stderr should show it.
pub fn error_word() -> String {
    coloured("error:", RED_BOLD, stderr_has_colour())
}

/// `fix:` as stderr should show it.
pub fn fix_word() -> String {
    coloured("fix:", CYAN_BOLD, stderr_has_colour())
}

/// `warning:` as stderr should show it.
pub fn warning_word() -> String {
    coloured("warning:", YELLOW_BOLD, stderr_has_colour())
}

/// Whether stderr is a terminal whose user wants colour.
pub fn stderr_has_colour() -> bool {
    wants_colour(io::stderr().is_terminal(), env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()))
}

fn wants_colour(terminal: bool, refused: bool) -> bool {
    terminal && !refused
}

fn coloured(word: &str, colour: &str, wanted: bool) -> String {
    if wanted { format!("{colour}{word}{PLAIN}") } else { word.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_willing_terminal_gets_colour() {
        for (terminal, refused, expected) in
            [(true, false, true), (true, true, false), (false, false, false), (false, true, false)]
        {
            assert_eq!(wants_colour(terminal, refused), expected);
        }
        assert_eq!(coloured("fix:", CYAN_BOLD, false), "fix:");
        assert_eq!(coloured("fix:", CYAN_BOLD, true), "\u{1b}[1;36mfix:\u{1b}[0m");
    }
}
