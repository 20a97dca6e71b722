//! Columns that line up.

use super::style::{Paint, Style};

/// One cell. Control characters of foreign text (paths, user agents) never reach the terminal.
#[derive(Debug, Clone)]
pub(super) struct Cell {
    text: String,
    paint: Paint,
    side: Side,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Left,
    Right,
}

impl Cell {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self {
            text: printable(&text.into()),
            paint: Paint::Plain,
            side: Side::Left,
        }
    }

    /// Right-aligned.
    pub(super) fn number(text: impl Into<String>) -> Self {
        Self {
            side: Side::Right,
            ..Self::new(text)
        }
    }

    pub(super) fn painted(self, paint: Paint) -> Self {
        Self { paint, ..self }
    }
}

/// Rows with a heading; the last column is never padded.
#[derive(Debug)]
pub(super) struct Table {
    indent: &'static str,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    pub(super) fn new(indent: &'static str, headings: Vec<Cell>) -> Self {
        let headings = headings
            .into_iter()
            .map(|cell| cell.painted(Paint::Faint))
            .collect();
        Self {
            indent,
            rows: vec![headings],
        }
    }

    pub(super) fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    /// Lines, each ending with a line feed.
    pub(super) fn render(&self, style: Style) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns)
            .map(|column| {
                let cells = self.rows.iter().filter_map(|row| row.get(column));
                cells
                    .map(|cell| cell.text.chars().count())
                    .max()
                    .unwrap_or(0)
            })
            .collect();
        self.rows
            .iter()
            .map(|row| self.line(row, &widths, style))
            .collect()
    }

    fn line(&self, row: &[Cell], widths: &[usize], style: Style) -> String {
        let mut line = self.indent.to_owned();
        for (at, (cell, width)) in row.iter().zip(widths).enumerate() {
            let gap = " ".repeat(width - cell.text.chars().count());
            let text = style.paint(cell.paint, &cell.text);
            match cell.side {
                Side::Right => line.push_str(&(gap + &text)),
                Side::Left if at + 1 == row.len() => line.push_str(&text),
                Side::Left => line.push_str(&(text + &gap)),
            }
            if at + 1 < row.len() {
                line.push_str("  ");
            }
        }
        line.truncate(line.trim_end().len());
        line.push('\n');
        line
    }
}

/// Without anything that a terminal would obey.
pub(super) fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Table {
        let mut table = Table::new(
            "  ",
            vec![Cell::new("NAME"), Cell::number("SIZE"), Cell::new("X")],
        );
        table.row(vec![Cell::new("é"), Cell::number("10"), Cell::new("a")]);
        table.row(vec![
            Cell::new("longer").painted(Paint::Good),
            Cell::number("7"),
            Cell::new(""),
        ]);
        table
    }

    #[test]
    fn columns_line_up_and_lines_have_no_tail() {
        assert_eq!(
            sample().render(Style::Plain),
            "  NAME    SIZE  X\n  é         10  a\n  longer     7\n"
        );
    }

    #[test]
    fn colours_do_not_move_columns() {
        let coloured = sample().render(Style::Coloured);
        let stripped = coloured
            .replace("\x1b[2m", "")
            .replace("\x1b[32m", "")
            .replace("\x1b[0m", "");
        assert_ne!(coloured, stripped);
        assert_eq!(
            stripped.replace("7  \n", "7\n"),
            sample().render(Style::Plain)
        );
    }

    #[test]
    fn foreign_text_cannot_steer_the_terminal() {
        assert_eq!(
            printable("/a\x1b[2Jb\r\n"),
            "/a\u{fffd}[2Jb\u{fffd}\u{fffd}"
        );
    }
}
