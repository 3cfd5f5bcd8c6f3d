//! What a person or a script gets to read: aligned tables, JSON or YAML on stdout; progress on stderr.

pub mod progress;
pub mod style;
mod table;

use std::io::{self, Write};

use clap::ValueEnum;
use serde::Serialize;

use crate::failure::{Failure, OrFail};
pub use table::Table;

/// The form of a command's data on stdout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// Aligned columns for a person.
    Table,
    /// Stable JSON for a program.
    Json,
    /// The same document as YAML.
    Yaml,
}

/// Prints data in the form that was asked for; the table is only made when it is wanted.
pub fn show<T: Serialize + ?Sized>(
    form: Form,
    data: &T,
    table: impl FnOnce(&T) -> Table,
) -> Result<(), Failure> {
    print(&render(form, data, table)?)
}

fn render<T: Serialize + ?Sized>(
    form: Form,
    data: &T,
    table: impl FnOnce(&T) -> Table,
) -> Result<String, Failure> {
    match form {
        Form::Table => Ok(table(data).render()),
        Form::Json => {
            let mut text = serde_json::to_string_pretty(data).or_fail("the answer has no JSON form")?;
            text.push('\n');
            Ok(text)
        }
        Form::Yaml => serde_yaml_ng::to_string(data).or_fail("the answer has no YAML form"),
    }
}

/// Writes text to stdout at once.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
        .map_err(|error| Failure::from_output(&error))
}

/// Writes one line to stdout.
pub fn line(text: &str) -> Result<(), Failure> {
    print(&format!("{text}\n"))
}

/// Bytes as a person reads them: `1.5 MB`.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let mut value = count as f64;
    let mut unit = 0;
    while value >= 999.95 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 { format!("{count} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Row {
        name: &'static str,
        spus: u32,
    }

    fn rendered(form: Form) -> String {
        let rows = [Row { name: "main", spus: 1 }, Row { name: "a-longer-name", spus: 12 }];
        let table = |rows: &[Row; 2]| {
            let mut table = Table::new(&["NAME", "SPUS"]);
            for row in rows {
                table.row([row.name.to_owned(), row.spus.to_string()]);
            }
            table
        };
        render(form, &rows, table).unwrap()
    }

    #[test]
    fn the_three_forms_say_the_same() {
        assert_eq!(rendered(Form::Table), "NAME           SPUS\nmain           1\na-longer-name  12\n");
        assert_eq!(
            rendered(Form::Json),
            "[\n  {\n    \"name\": \"main\",\n    \"spus\": 1\n  },\n  {\n    \"name\": \"a-longer-name\",\n    \"spus\": 12\n  }\n]\n"
        );
        assert_eq!(rendered(Form::Yaml), "- name: main\n  spus: 1\n- name: a-longer-name\n  spus: 12\n");
    }

    #[test]
    fn sizes_carry_the_unit_that_keeps_them_short() {
        let cases = [
            (0, "0 B"),
            (999, "999 B"),
            (1_000, "1.0 kB"),
            (999_999, "1.0 MB"),
            (107_374_182_400, "107.4 GB"),
        ];
        for (count, text) in cases {
            assert_eq!(bytes(count), text);
        }
    }
}
