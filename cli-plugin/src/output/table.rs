//! Columns without borders.

use comfy_table::presets::NOTHING;
use comfy_table::{ContentArrangement, Table as Grid};

/// A table of text: headings, then rows.
pub struct Table {
    grid: Grid,
}

impl Table {
    /// A table with these headings and no rows yet.
    pub fn new(headings: &[&str]) -> Self {
        let mut grid = Grid::new();
        // Never folded to the terminal's width: a line stays a line for grep and awk.
        grid.load_style(NOTHING).set_content_arrangement(ContentArrangement::Disabled).set_header(headings);
        Self { grid }
    }

    /// A table of names and values, for one thing rather than a list of things.
    pub fn of_pairs<const N: usize>(pairs: [(&str, String); N]) -> Self {
        let mut grid = Grid::new();
        grid.load_style(NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        for (name, value) in pairs {
            grid.add_row([name.to_owned(), value]);
        }
        Self { grid }
    }

    /// Adds a row; control characters in a cell could move the cursor, so they are shown as escapes.
    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.grid.add_row(cells.map(|cell| if cell.is_empty() { "-".to_owned() } else { visible(&cell) }));
    }

    /// The text, with no spaces at the ends of its lines.
    pub fn render(mut self) -> String {
        let columns = self.grid.column_count();
        for (index, column) in self.grid.column_iter_mut().enumerate() {
            let gap = if index + 1 == columns { 0 } else { 2 };
            column.set_padding((0, gap));
        }
        self.grid.lines().map(|line| format!("{}\n", line.trim_end())).collect()
    }
}

fn visible(cell: &str) -> String {
    if cell.chars().any(char::is_control) { cell.escape_debug().to_string() } else { cell.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_cannot_move_the_cursor_and_an_empty_one_is_a_dash() {
        let mut table = Table::new(&["NAME", "NOTE"]);
        table.row(["a\u{1b}[2J".to_owned(), String::new()]);
        assert_eq!(table.render(), "NAME        NOTE\na\\u{1b}[2J  -\n");
    }

    #[test]
    fn pairs_line_up_without_headings() {
        let table = Table::of_pairs([("endpoint", "h:1".to_owned()), ("id", "7".to_owned())]);
        assert_eq!(table.render(), "endpoint  h:1\nid        7\n");
    }
}
