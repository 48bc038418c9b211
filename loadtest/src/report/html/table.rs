//! Tables: numbers to the right, names to the left, and no wider than the page.

use crate::report::markup::{Escaped, put};

/// A table in the making.
#[derive(Debug)]
pub(super) struct Table {
    label: &'static str,
    columns: Vec<Column>,
    rows: Vec<Row>,
}

/// A column.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    /// What stands above it.
    pub(super) title: &'static str,
    /// What is in it.
    pub(super) holds: Holds,
}

/// What is in a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holds {
    /// Words, to the left.
    Words,
    /// Numbers, to the right.
    Numbers,
}

#[derive(Debug)]
struct Row {
    class: &'static str,
    cells: Vec<Cell>,
}

/// What is in a cell.
#[derive(Clone, Debug)]
pub(super) enum Cell {
    /// Text as it is.
    Text(String),
    /// Markup that was made here.
    Markup(String),
    /// There is no such figure.
    Nothing,
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl<T: Into<Cell>> From<Option<T>> for Cell {
    fn from(cell: Option<T>) -> Self {
        cell.map_or(Self::Nothing, Into::into)
    }
}

/// A column of words.
pub(super) const fn words(title: &'static str) -> Column {
    Column { title, holds: Holds::Words }
}

/// A column of numbers.
pub(super) const fn numbers(title: &'static str) -> Column {
    Column { title, holds: Holds::Numbers }
}

impl Table {
    /// A table without rows; `label` names it for those who do not see it.
    pub(super) fn new(label: &'static str, columns: Vec<Column>) -> Self {
        Self { label, columns, rows: Vec::new() }
    }

    /// Adds a row; `class` is of the style sheet.
    pub(super) fn row(&mut self, class: &'static str, cells: Vec<Cell>) {
        assert_eq!(cells.len(), self.columns.len(), "a cell for each column of {}", self.label);
        self.rows.push(Row { class, cells });
    }

    /// Whether it has no rows.
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Writes it; it scrolls by itself where the page is too narrow.
    pub(super) fn write(&self, out: &mut String) {
        put!(
            out,
            "<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-label=\"{0}\">\
             <table aria-label=\"{0}\"><thead><tr>",
            Escaped(self.label),
        );
        for column in &self.columns {
            put!(out, "<th scope=\"col\"{}>{}</th>", column.class(), Escaped(column.title));
        }
        out.push_str("</tr></thead><tbody>\n");
        for row in &self.rows {
            put!(out, "<tr class=\"{}\">", row.class);
            for (place, (cell, column)) in row.cells.iter().zip(&self.columns).enumerate() {
                let (open, close) =
                    if place == 0 { ("th scope=\"row\"", "th") } else { ("td", "td") };
                put!(out, "<{open}{}>", column.class());
                match cell {
                    Cell::Text(text) => put!(out, "{}", Escaped(text)),
                    Cell::Markup(markup) => out.push_str(markup),
                    Cell::Nothing => out.push_str("<span class=\"none\">–</span>"),
                }
                put!(out, "</{close}>");
            }
            out.push_str("</tr>\n");
        }
        out.push_str("</tbody></table></div>\n");
    }
}

impl Column {
    fn class(self) -> &'static str {
        match self.holds {
            Holds::Words => "",
            Holds::Numbers => " class=\"n\"",
        }
    }
}
