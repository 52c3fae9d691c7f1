//! What a figure is: our side, the limit beside it, and what was wanted.

use serde::Serialize;

use crate::cpu::Shares;

/// The middle and the ends of several rounds.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// Of at least one value.
    pub(crate) fn of(values: &[f64]) -> Self {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at = |place: usize| sorted.get(place).copied().unwrap_or(f64::NAN);
        let half = sorted.len() / 2;
        let median =
            if sorted.len() % 2 == 1 { at(half) } else { f64::midpoint(at(half.wrapping_sub(1)), at(half)) };
        Self { median, min: at(0), max: at(sorted.len().wrapping_sub(1)) }
    }
}

/// What was wanted, and of what.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Wanted {
    /// Our side is at least so many times the limit.
    RatioAtLeast(f64),
    /// Our side is at most so many times the limit.
    RatioAtMost(f64),
    /// Our side is at least that.
    AtLeast(f64),
    /// Our side is at most that.
    AtMost(f64),
    /// It is printed to judge the others by.
    Nothing,
}

/// One line of the table.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Figure {
    pub(crate) figure: &'static str,
    pub(crate) what: String,
    pub(crate) unit: &'static str,
    pub(crate) ours: Spread,
    /// What it is compared with, measured in the same rounds.
    pub(crate) limit: Option<(String, Spread)>,
    /// The median over the rounds of ours by the limit.
    pub(crate) ratio: Option<f64>,
    pub(crate) wanted: Wanted,
    /// `None` where nothing was wanted.
    pub(crate) reached: Option<bool>,
    /// Who used the processor, and whatever else must be known.
    pub(crate) notes: Vec<String>,
}

impl Figure {
    /// A figure that stands alone.
    pub(crate) fn alone(
        figure: &'static str,
        what: impl Into<String>,
        unit: &'static str,
        ours: &[f64],
        wanted: Wanted,
    ) -> Self {
        Self::new(figure, what.into(), unit, ours, None, wanted)
    }

    /// A figure beside its limit: as many rounds of each.
    pub(crate) fn beside(
        figure: &'static str,
        what: impl Into<String>,
        unit: &'static str,
        ours: &[f64],
        limit: (&str, &[f64]),
        wanted: Wanted,
    ) -> Self {
        Self::new(figure, what.into(), unit, ours, Some(limit), wanted)
    }

    fn new(
        figure: &'static str,
        what: String,
        unit: &'static str,
        ours: &[f64],
        limit: Option<(&str, &[f64])>,
        wanted: Wanted,
    ) -> Self {
        let ratio = limit.map(|(_, limits)| {
            let ratios: Vec<f64> = ours.iter().zip(limits).map(|(ours, limit)| ours / limit).collect();
            Spread::of(&ratios).median
        });
        let ours = Spread::of(ours);
        let reached = match (wanted, ratio) {
            (Wanted::RatioAtLeast(least), Some(ratio)) => Some(ratio >= least),
            (Wanted::RatioAtMost(most), Some(ratio)) => Some(ratio <= most),
            (Wanted::AtLeast(least), _) => Some(ours.median >= least),
            (Wanted::AtMost(most), _) => Some(ours.median <= most),
            (Wanted::RatioAtLeast(_) | Wanted::RatioAtMost(_), None) | (Wanted::Nothing, _) => None,
        };
        let limit = limit.map(|(name, limits)| (name.to_owned(), Spread::of(limits)));
        Self { figure, what, unit, ours, limit, ratio, wanted, reached, notes: Vec::new() }
    }

    /// With a remark.
    pub(crate) fn noting(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    /// With what each side does with one core to itself: what is left of a comparison where others used the
    /// processor, too. Of the last round.
    pub(crate) fn per_core(self, ours: (&[f64], &Shares), limit: (&[f64], &Shares)) -> Self {
        let each = |(rates, shares): (&[f64], &Shares)| {
            rates.last().copied().unwrap_or(0.0) / shares.watched().max(0.01)
        };
        let (ours, limit) = (each(ours), each(limit));
        self.noting(format!("by core used: {ours:.0}/s, limit {limit:.0}/s, ratio {:.2}", ours / limit))
    }

    /// With who used the processor, and a warning where somebody else did.
    pub(crate) fn using(mut self, side: &str, shares: &Shares) -> Self {
        let disturbed = if shares.others() > 0.25 { "  (DISTURBED by others)" } else { "" };
        self.notes.push(format!("cores, {side}: {shares}{disturbed}"));
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_the_median_over_rounds_not_of_medians() {
        let wanted = Wanted::RatioAtLeast(0.6);
        let figure =
            Figure::beside("f", "w", "/s", &[10.0, 50.0, 90.0], ("limit", &[10.0, 100.0, 100.0]), wanted);
        assert_eq!((figure.ratio, figure.reached), (Some(0.9), Some(true)));
        assert_eq!((figure.ours.median, figure.ours.min, figure.ours.max), (50.0, 10.0, 90.0));
        assert_eq!(Spread::of(&[1.0, 2.0]).median, 1.5);
        assert_eq!(Figure::alone("f", "w", "ms", &[5.0], Wanted::AtMost(4.0)).reached, Some(false));
    }
}
