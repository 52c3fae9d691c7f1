//! Reading Prometheus text.

use std::collections::BTreeMap;

/// The samples of one look at `/metrics`.
#[derive(Debug, Clone, Default)]
pub struct Samples(Vec<Sample>);

#[derive(Debug, Clone)]
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

impl Samples {
    /// Reads a page; lines that are no samples are passed over.
    pub fn parse(text: &str) -> Self {
        Self(text.lines().filter(|line| !line.starts_with('#')).filter_map(sample).collect())
    }

    /// The sum of all samples of that name that carry all these labels; 0 where there are none.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let carries = |sample: &&Sample| {
            labels.iter().all(|(label, value)| sample.labels.get(*label).is_some_and(|found| found == value))
        };
        let carrying = self.0.iter().filter(|sample| sample.name == name).filter(carries);
        // `sum` of nothing would be -0.
        carrying.fold(0.0, |sum, sample| sum + sample.value)
    }

    /// The sums by the value of one label.
    pub fn by(&self, name: &str, label: &str) -> BTreeMap<String, f64> {
        let mut sums = BTreeMap::new();
        for sample in self.0.iter().filter(|sample| sample.name == name) {
            let value = sample.labels.get(label).cloned().unwrap_or_default();
            *sums.entry(value).or_default() += sample.value;
        }
        sums
    }

    /// The names there are samples of.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|sample| sample.name.as_str())
    }
}

fn sample(line: &str) -> Option<Sample> {
    let (front, value) = line.rsplit_once(' ')?;
    let (name, labels) = match front.split_once('{') {
        Some((name, labels)) => (name, labels.strip_suffix('}')?),
        None => (front, ""),
    };
    let mut found = BTreeMap::new();
    let mut rest = labels;
    while let Some((label, after)) = rest.split_once("=\"") {
        let end = closing_quote(after)?;
        let text = after[..end].replace("\\\"", "\"").replace("\\n", "\n").replace("\\\\", "\\");
        found.insert(label.trim_start_matches(',').trim().to_owned(), text);
        rest = &after[end + 1..];
    }
    Some(Sample { name: name.to_owned(), labels: found, value: value.parse().ok()? })
}

fn closing_quote(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.char_indices().find_map(|(at, letter)| {
        let closes = letter == '"' && !escaped;
        escaped = letter == '\\' && !escaped;
        closes.then_some(at)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_go_over_all_samples_with_the_labels_asked_for() {
        let samples = Samples::parse(
            "# HELP a_total A.\n# TYPE a_total counter\n\
             a_total{source=\"scalekit\",outcome=\"accepted\"} 3\n\
             a_total{source=\"scalekit\",outcome=\"a \\\"b\\\", c=\\\"d\"} 4\n\
             b 1.5\n",
        );
        assert_eq!(samples.sum("a_total", &[]), 7.0);
        assert_eq!(samples.sum("a_total", &[("outcome", "accepted")]), 3.0);
        assert_eq!(samples.sum("a_total", &[("outcome", "a \"b\", c=\"d")]), 4.0);
        assert_eq!(samples.sum("b", &[]), 1.5);
        assert_eq!(samples.sum("c", &[]), 0.0);
        assert_eq!(samples.by("a_total", "source")["scalekit"], 7.0);
    }
}
