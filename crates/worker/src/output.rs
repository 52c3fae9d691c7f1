//! What commands print: a table for people, JSON for programs.

use std::io::Write;

use serde::Serialize;
use serde_json::Value;

/// `--format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Columns for people
    Table,
    /// One JSON array
    Json,
    /// One JSON object a line
    Ndjson,
}

/// Prints rows as they come, so that a long list needs no memory.
pub(crate) struct Printer<W: Write> {
    to: W,
    format: Format,
    columns: &'static [&'static str],
    /// A table is held back until its widths are known.
    held: Vec<Vec<String>>,
    printed: u64,
}

/// Rows by which a table's widths are found; later ones may stick out.
const MEASURED: usize = 500;

impl<W: Write> Printer<W> {
    /// Prints `columns` (all fields in JSON) of rows to `to`.
    pub(crate) fn new(to: W, format: Format, columns: &'static [&'static str]) -> Self {
        Self { to, format, columns, held: Vec::new(), printed: 0 }
    }

    /// Takes one row.
    pub(crate) fn row(&mut self, row: &impl Serialize) -> anyhow::Result<()> {
        match self.format {
            Format::Ndjson => {
                serde_json::to_writer(&mut self.to, row)?;
                writeln!(self.to)?;
            }
            Format::Json => {
                write!(self.to, "{}", if self.printed == 0 { "[\n  " } else { ",\n  " })?;
                serde_json::to_writer(&mut self.to, row)?;
            }
            Format::Table => {
                let fields = serde_json::to_value(row)?;
                self.held.push(self.columns.iter().map(|column| cell(&fields[*column])).collect());
                if self.held.len() >= MEASURED {
                    self.flush_table()?;
                }
            }
        }
        self.printed += 1;
        Ok(())
    }

    /// Prints what is left, and says what an empty table means.
    pub(crate) fn end(mut self) -> anyhow::Result<()> {
        match self.format {
            Format::Ndjson => {}
            Format::Json if self.printed == 0 => writeln!(self.to, "[]")?,
            Format::Json => writeln!(self.to, "\n]")?,
            Format::Table if self.printed == 0 => writeln!(self.to, "(none)")?,
            Format::Table => self.flush_table()?,
        }
        Ok(self.to.flush()?)
    }

    fn flush_table(&mut self) -> anyhow::Result<()> {
        let rows = std::mem::take(&mut self.held);
        if rows.is_empty() {
            return Ok(());
        }
        let title: Vec<String> = self.columns.iter().map(|column| column.to_uppercase()).collect();
        let all = || std::iter::once(&title).chain(&rows);
        let widths: Vec<usize> = (0..title.len())
            .map(|at| all().map(|row| row[at].chars().count()).max().unwrap_or_default())
            .collect();
        for row in all() {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
            writeln!(self.to, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
        }
        Ok(())
    }
}

/// A value in a cell. Control characters are shown, not obeyed: the text may come from a directory.
fn cell(value: &Value) -> String {
    let text = match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) if items.is_empty() => "-".to_owned(),
        Value::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    };
    let hidden = |character: char| {
        character.is_control()
            || matches!(character, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().flat_map(|it| if hidden(it) { it.escape_unicode().collect() } else { vec![it] }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Row {
        id: &'static str,
        groups: Vec<&'static str>,
        email: Option<&'static str>,
    }

    fn printed(format: Format, rows: &[Row]) -> String {
        let mut text = Vec::new();
        let mut printer = Printer::new(&mut text, format, &["id", "groups", "email"]);
        rows.iter().for_each(|row| printer.row(row).unwrap());
        printer.end().unwrap();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn a_table_lines_up_and_obeys_no_escape() {
        let rows = [
            Row { id: "a", groups: vec!["x", "y"], email: None },
            Row { id: "long\u{1b}[31m", groups: vec![], email: Some("e\u{202e}") },
        ];
        let expected = "ID                 GROUPS  EMAIL\na                  x,y     -\nlong\\u{1b}[31m     -       e\\u{202e}\n";
        assert_eq!(
            printed(Format::Table, &rows).split_whitespace().collect::<Vec<_>>(),
            expected.split_whitespace().collect::<Vec<_>>()
        );
        assert!(!printed(Format::Table, &rows).contains('\u{1b}'));
        assert_eq!(printed(Format::Table, &[]), "(none)\n");
    }

    #[test]
    fn json_is_json_whatever_the_number_of_rows() {
        for rows in [vec![], vec![Row { id: "a", groups: vec![], email: None }]] {
            let array: Vec<Value> = serde_json::from_str(&printed(Format::Json, &rows)).unwrap();
            assert_eq!(array.len(), rows.len());
            assert_eq!(printed(Format::Ndjson, &rows).lines().count(), rows.len());
        }
    }
}
