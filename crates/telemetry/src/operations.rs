//! Holds the files in `ops/` to the names that the instruments really have.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::Metrics;

const ALERTS: &str = include_str!("../../../ops/prometheus-alerts.yml");
const DASHBOARD: &str = include_str!("../../../ops/grafana-dashboard.json");
const RUNBOOK: &str = include_str!("../../../ops/README.md");

/// All words of `text` that begin with `prefix`.
fn words<'a>(text: &'a str, prefix: &'a str) -> BTreeSet<&'a str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| word.starts_with(prefix) && word.len() > prefix.len())
        .collect()
}

/// Everything that follows `key: ` on a line of its own, without quotes.
fn values<'a>(text: &'a str, key: &str) -> Vec<&'a str> {
    text.lines()
        .filter_map(|line| line.trim().trim_start_matches("- ").strip_prefix(key)?.strip_prefix(": "))
        .map(|value| value.trim_matches('"'))
        .collect()
}

fn all_used() -> String {
    let (metrics, n) = (Metrics::detached(), [("x".to_owned(), 1)]);
    metrics.delivery("x", "x");
    metrics.publish_seconds(Duration::ZERO);
    metrics.event("x", "x", 1);
    metrics.apply_seconds(Duration::ZERO);
    metrics.event_lag("x", Duration::ZERO);
    metrics.retry("x");
    metrics.set_dead_letters(&n);
    metrics.set_held(&n);
    metrics.set_queue_depth(&n);
    metrics.set_drift(&[("x".to_owned(), "x".to_owned(), 1)]);
    metrics.set_unmapped_groups(&n);
    metrics.render()
}

#[test]
fn alerts_dashboard_and_runbook_name_only_metrics_that_exist() {
    let text = all_used();
    let known = words(&text, "rollcall_");
    for (file, text) in [("alerts", ALERTS), ("dashboard", DASHBOARD), ("runbook", RUNBOOK)] {
        let named = words(text, "rollcall_");
        assert!(named.len() > 5, "{file}");
        let unknown: Vec<_> = named.difference(&known).collect();
        assert!(unknown.is_empty(), "{file}: {unknown:?}");
    }
}

#[test]
fn every_metric_is_described_in_the_runbook() {
    let text = all_used();
    let families = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    for family in families {
        assert!(RUNBOOK.contains(&format!("| `{family}")), "{family}");
    }
}

#[test]
fn every_alert_leads_to_a_heading_of_the_runbook() {
    let alerts = values(ALERTS, "alert");
    let headings = values(ALERTS, "runbook");
    assert!(!alerts.is_empty() && alerts.len() == headings.len());
    for heading in headings {
        assert!(RUNBOOK.lines().any(|line| line == format!("## {heading}")), "{heading}");
    }
    for alert in alerts {
        assert!(RUNBOOK.contains(&format!("`{alert}`")), "{alert}");
    }
}
