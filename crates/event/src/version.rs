//! Which of two events is newer.

use std::fmt;

use chrono::{DateTime, Datelike, SecondsFormat, TimeDelta, Utc};

use crate::{BodyHash, EventId};

/// When the vendor says the change happened, in whole nanoseconds, UTC.
///
/// RFC 3339 with any number of fraction digits (digits past the ninth are cut off) and any offset;
/// `:60` is kept as the leap second it is. Years 0000 to 9999.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OccurredAt(DateTime<Utc>);

/// How far ahead of the receipt an event may claim to be: clocks differ by minutes, not hours.
const AHEAD: TimeDelta = TimeDelta::minutes(5);

impl OccurredAt {
    /// Reads RFC 3339; `None` for anything else, `infinity` and 30 February included.
    pub fn parse(text: &str) -> Option<Self> {
        let at = DateTime::parse_from_rfc3339(text).ok()?.with_timezone(&Utc);
        (0..=9999).contains(&at.year()).then_some(Self(at))
    }

    /// Whether this lies more than five minutes after the receipt. Such an event would outrank every
    /// later change of the same person until that day.
    pub fn is_in_future_of(self, received_at: DateTime<Utc>) -> bool {
        self.0 > received_at + AHEAD
    }

    /// As a time; a leap second keeps its nanoseconds above one thousand million.
    pub fn time(self) -> DateTime<Utc> {
        self.0
    }
}

impl fmt::Display for OccurredAt {
    /// Always 30 characters, so that text order is time order.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // chrono writes a leap second as `:60`, which sorts where it belongs.
        f.write_str(&self.0.to_rfc3339_opts(SecondsFormat::Nanos, true))
    }
}

/// An event's place in the one order all workers agree on: (`occurred_at`, 1 if it takes access away
/// else 0, event id, hash of the body).
///
/// The hash only decides between two bodies under one id and one time, which the vendor's own samples
/// show: without it the one that came first would win, and order would matter after all.
///
/// Written as `2026-09-01T08:00:00.123456000Z 1 evt_… 61441eec3c8eefba`, whose bytewise order is the
/// version order on PostgreSQL (`COLLATE "C"`) and SQLite (`BINARY`) alike. The empty text means "never
/// written" and is lower than every version.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(String);

impl Version {
    /// The version of the event `id` with this body, which happened at `at` and does or does not take
    /// access away.
    pub fn new(at: OccurredAt, takes_access_away: bool, id: &EventId, body: &BodyHash) -> Self {
        Self(format!("{at} {} {id} {}", u8::from(takes_access_away), &body.to_string()[..16]))
    }

    /// As stored.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// As stored, given away.
    pub fn into_string(self) -> String {
        self.0
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(at: &str, takes_access_away: bool, id: &str) -> Version {
        let body = BodyHash::of(b"{}");
        Version::new(OccurredAt::parse(at).unwrap(), takes_access_away, &EventId::parse(id).unwrap(), &body)
    }

    #[test]
    fn nanoseconds_decide_then_a_removal_then_the_id() {
        let ordered = [
            version("0001-01-01T00:00:00Z", true, "evt_9"),
            version("2026-09-01T08:00:00.80286Z", false, "evt_9"),
            version("2026-09-01T08:00:00.802860101Z", false, "evt_9"),
            version("2026-09-01T08:00:00.802860294Z", false, "evt_1"),
            version("2026-09-01T08:00:00.802860294Z", false, "evt_2"),
            version("2026-09-01T08:00:00.802860294Z", true, "evt_1"),
            version("2026-09-01T08:00:00.8028609Z", false, "evt_1"),
            version("2026-12-31T23:59:59.999999999Z", false, "evt_1"),
            version("2026-12-31T23:59:60Z", false, "evt_1"),
            version("2026-12-31T23:59:60.5Z", false, "evt_1"),
            version("2027-01-01T00:00:00Z", false, "evt_1"),
            version("9999-12-31T23:59:59Z", false, "evt_1"),
        ];
        for pair in ordered.windows(2) {
            assert!(pair[0] < pair[1], "{} must be lower than {}", pair[0], pair[1]);
            assert!(pair[0].as_str().as_bytes() < pair[1].as_str().as_bytes());
        }
    }

    #[test]
    fn two_bodies_under_one_id_and_time_are_told_apart() {
        let (at, id) = (OccurredAt::parse("2026-09-01T08:00:00Z").unwrap(), EventId::parse("evt_1").unwrap());
        let versions = [b"a", b"b"].map(|body| Version::new(at, false, &id, &BodyHash::of(body)));
        assert_ne!(versions[0], versions[1]);
        assert!(versions.iter().all(|version| *version < Version::new(at, true, &id, &BodyHash::of(b"a"))));
    }

    #[test]
    fn three_six_and_nine_digits_and_offsets_name_one_instant() {
        let expected = version("2026-09-01T08:00:00.100000000Z", false, "e");
        for same in ["2026-09-01T08:00:00.1Z", "2026-09-01T08:00:00.100Z", "2026-09-01T13:30:00.100000+05:30"]
        {
            assert_eq!(version(same, false, "e"), expected);
        }
    }

    #[test]
    fn digits_past_the_ninth_are_cut_not_rounded() {
        assert_eq!(
            version("2026-09-01T08:00:00.1234567899Z", false, "e"),
            version("2026-09-01T08:00:00.123456789Z", false, "e")
        );
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for bad in
            ["", "infinity", "2026-02-30T00:00:00Z", "300000-01-01T00:00:00Z", "2026-09-01", "1788250000"]
        {
            assert!(OccurredAt::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn five_minutes_ahead_is_a_clock_and_more_is_the_future() {
        let received = OccurredAt::parse("2026-09-01T08:00:00Z").unwrap().time();
        assert!(!OccurredAt::parse("2026-09-01T08:05:00Z").unwrap().is_in_future_of(received));
        assert!(OccurredAt::parse("2026-09-01T08:05:00.000000001Z").unwrap().is_in_future_of(received));
        assert!(!OccurredAt::parse("0001-01-01T00:00:00Z").unwrap().is_in_future_of(received));
    }
}
