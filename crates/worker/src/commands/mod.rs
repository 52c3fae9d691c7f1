//! One module per noun an operator types.

pub(crate) mod dead_letters;
pub(crate) mod groups;
pub(crate) mod held;
pub(crate) mod organizations;
pub(crate) mod queues;
pub(crate) mod test_event;
pub(crate) mod users;
pub(crate) mod verify;

use std::str::FromStr;

use chrono::{DateTime, Utc};

/// Rows read at a time.
pub(crate) const PAGE: u32 = 1_000;

/// `--since` and `--until`: a time, or how long ago.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment(pub(crate) DateTime<Utc>);

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(time) = DateTime::parse_from_rfc3339(text) {
            return Ok(Self(time.with_timezone(&Utc)));
        }
        let ago = rollcall_settings::duration::parse(text).ok();
        let moment = ago.and_then(|ago| {
            rollcall_event::clock::now().checked_sub_signed(chrono::TimeDelta::from_std(ago).ok()?)
        });
        moment.map(Self).ok_or_else(|| {
            format!("{text:?} is neither a time such as 2026-09-01T08:00:00Z nor an age such as 2h")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_time_or_an_age() {
        assert_eq!(
            "2026-09-01T08:00:00+02:00".parse::<Moment>().unwrap().0.to_rfc3339(),
            "2026-09-01T06:00:00+00:00"
        );
        let hour_ago = "1h".parse::<Moment>().unwrap().0;
        let age = rollcall_event::clock::now() - hour_ago;
        assert!((3600..3660).contains(&age.num_seconds()));
        assert!("yesterday".parse::<Moment>().unwrap_err().contains("2h"));
    }
}
