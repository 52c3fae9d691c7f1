//! Figures as a person reads them.

use crate::figure::{Figure, Spread, Wanted};

/// The heading of [`line`].
pub(crate) fn heading() -> String {
    format!(
        "{:<14} {:<44} {:>24} {:>24} {:>6}  {:<14} reached",
        "figure", "what", "measured [min..max]", "limit [min..max]", "ratio", "wanted"
    )
}

/// A figure's line, and its notes below it.
pub(crate) fn line(figure: &Figure) -> String {
    let limit = figure.limit.as_ref().map_or_else(|| "-".to_owned(), |(_, limit)| spread(*limit, ""));
    let ratio = figure.ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"));
    let reached = match figure.reached {
        Some(true) => "yes",
        Some(false) => "NO",
        None => "-",
    };
    let mut text = format!(
        "{:<14} {:<44} {:>24} {:>24} {:>6}  {:<14} {}",
        figure.figure,
        figure.what,
        spread(figure.ours, figure.unit),
        limit,
        ratio,
        wanted(figure.wanted, figure.unit),
        reached
    );
    if let Some((name, _)) = &figure.limit {
        text.push_str(&format!("\n{:15}limit: {name}", ""));
    }
    for note in &figure.notes {
        text.push_str(&format!("\n{:15}{note}", ""));
    }
    text
}

fn spread(spread: Spread, unit: &str) -> String {
    format!("{}{} [{}..{}]", number(spread.median), unit, number(spread.min), number(spread.max))
}

fn wanted(wanted: Wanted, unit: &str) -> String {
    match wanted {
        Wanted::RatioAtLeast(least) => format!(">= {least}x"),
        Wanted::RatioAtMost(most) => format!("<= {most}x"),
        Wanted::AtLeast(least) => format!(">= {}{unit}", number(least)),
        Wanted::AtMost(most) => format!("<= {}{unit}", number(most)),
        Wanted::Nothing => "-".to_owned(),
    }
}

/// Three digits that mean something.
fn number(value: f64) -> String {
    match value.abs() {
        big if big >= 100.0 => format!("{value:.0}"),
        middle if middle >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_was_measured_beside_what_was_wanted() {
        let figure = Figure::beside(
            "door",
            "accepted",
            "/s",
            &[8000.0],
            ("lapin", &[16000.0]),
            Wanted::RatioAtLeast(0.6),
        );
        let text = line(&figure.noting("a remark"));
        for part in ["8000/s [8000..8000]", "16000", "0.50", ">= 0.6x", "NO", "limit: lapin", "a remark"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert_eq!([number(1234.5), number(12.34), number(0.123)], ["1234", "12.3", "0.12"]);
    }
}
