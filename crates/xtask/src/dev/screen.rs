//! What the viewer sees: a table redrawn in place on a terminal, lines elsewhere.

use std::collections::{BTreeMap, VecDeque};
use std::io::{IsTerminal, Write, stdout};

use rollcall_tests::simulator::Exported;

use super::counters::Counters;

/// Lines of the log kept on the screen.
const LINES: usize = 10;

pub(super) struct Screen {
    in_place: bool,
    log: VecDeque<String>,
    shown: BTreeMap<String, String>,
}

/// Everything there is to see at one moment.
pub(super) struct Sight<'a> {
    pub(super) caption: &'a str,
    pub(super) people: &'a BTreeMap<String, Exported>,
    pub(super) groups: &'a BTreeMap<String, String>,
    pub(super) counters: &'a Counters,
}

impl Screen {
    /// Draws in place where there is a terminal and `lines` is not asked for.
    pub(super) fn new(lines: bool) -> Self {
        Self { in_place: !lines && stdout().is_terminal(), log: VecDeque::new(), shown: BTreeMap::new() }
    }

    pub(super) fn is_in_place(&self) -> bool {
        self.in_place
    }

    /// A scene begins.
    pub(super) fn caption(&mut self, caption: &str) {
        if !self.in_place {
            println!("\n# {caption}");
        }
    }

    /// Something happened.
    pub(super) fn say(&mut self, line: String) {
        if !self.in_place {
            println!("  {line}");
        }
        self.log.push_back(line);
        if self.log.len() > LINES {
            self.log.pop_front();
        }
    }

    /// Shows this moment: all of it in place, or the people who changed as lines.
    pub(super) fn draw(&mut self, sight: &Sight<'_>) {
        if self.in_place {
            let log: Vec<_> = self.log.iter().map(String::as_str).collect();
            let page = format!(
                "\x1b[H\x1b[Jrollcall: {}\n\n{}\n{}\n\n{}\n",
                sight.caption,
                table(sight, true),
                sight.counters.line(),
                log.join("\n")
            );
            // A terminal that has gone needs no picture.
            let _ = stdout().write_all(page.as_bytes()).and_then(|()| stdout().flush());
            return;
        }
        for (id, person) in sight.people {
            let row = row(person, sight.groups).join("  ");
            if self.shown.get(id) != Some(&row) {
                println!("  -> {row}");
                self.shown.insert(id.clone(), row);
            }
        }
    }

    /// The last picture, whatever the mode.
    pub(super) fn finish(&mut self, sight: &Sight<'_>) {
        if self.in_place {
            self.draw(sight);
        } else {
            println!("\n{}\n{}", table(sight, false), sight.counters.line());
        }
    }
}

fn row(person: &Exported, groups: &BTreeMap<String, String>) -> [String; 5] {
    let names = person.groups.iter().map(|id| groups.get(id).unwrap_or(id).as_str());
    let or_dash = |text: String| if text.is_empty() { "-".to_owned() } else { text };
    [
        person.name.clone().unwrap_or_else(|| person.id.clone()),
        person.email.clone().unwrap_or_default(),
        person.access.clone(),
        or_dash(names.collect::<Vec<_>>().join(", ")),
        or_dash(person.roles.join(", ")),
    ]
}

/// In colour, whoever has no access stands out.
fn table(sight: &Sight<'_>, colour: bool) -> String {
    let head = ["NAME", "E-MAIL", "ACCESS", "GROUPS", "ROLES"].map(str::to_owned);
    let rows: Vec<[String; 5]> =
        std::iter::once(head).chain(sight.people.values().map(|person| row(person, sight.groups))).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..5).map(width).collect();
    let lines = rows.iter().enumerate().map(|(n, row)| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        let line = cells.collect::<Vec<_>>().join("  ").trim_end().to_owned();
        match colour && n > 0 && row[2] != "active" {
            true => format!("\x1b[31m{line}\x1b[0m\n"),
            false => line + "\n",
        }
    });
    lines.collect()
}
