//! Durations as an operator writes them: `10ms`, `1s`, `2m`, `1h`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::SettingError;

const ACCEPTED: &str = "a whole number and its unit, such as 10ms, 1s, 2m or 1h";
const ACCEPTED_LIST: &str = "delays of 1ms to 168h separated by commas, such as 1s,5s,30s";

/// A message's time to live on the broker is counted in 32 bits of milliseconds; a week is well below
/// that and longer than anybody waits for a retry.
const LONGEST_STEP: Duration = Duration::from_secs(7 * 24 * 3600);

/// The units, longest first, in milliseconds.
const UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Reads one duration: digits and one of `ms`, `s`, `m`, `h`. White space around it is ignored.
///
/// # Errors
///
/// [`SettingError::Unreadable`] for anything else: no unit, a fraction, a sign, a number too large.
pub fn parse(text: &str) -> Result<Duration, SettingError> {
    let trimmed = text.trim();
    let digits = trimmed.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = trimmed.split_at(digits);
    let millis = UNITS
        .iter()
        .find(|(name, _)| *name == unit)
        .and_then(|(_, scale)| number.parse::<u64>().ok()?.checked_mul(*scale));
    millis.map(Duration::from_millis).ok_or_else(|| SettingError::unreadable(text, ACCEPTED))
}

/// Writes a duration in the largest unit that needs no fraction: `90s`, `2m`, `10ms`.
///
/// [`parse`] reads it back, except for what is finer than a millisecond (`1.5ms`), which is for reading only.
pub fn human(duration: Duration) -> String {
    if !duration.subsec_nanos().is_multiple_of(1_000_000) {
        return format!("{duration:?}");
    }
    let millis = duration.as_millis();
    if millis == 0 {
        return "0s".to_owned();
    }
    let fits = |scale: u64| millis.is_multiple_of(u128::from(scale));
    UNITS
        .iter()
        .find(|(_, scale)| fits(*scale))
        .map(|(unit, scale)| format!("{}{unit}", millis / u128::from(*scale)))
        .unwrap_or_else(|| format!("{millis}ms"))
}

/// A list of delays, in the order they are used: `1s,5s,30s`. Never empty; each from 1 ms to 168 h.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Steps(Vec<Duration>);

impl Steps {
    /// The delays in order.
    pub fn as_slice(&self) -> &[Duration] {
        &self.0
    }

    /// The delays in order.
    pub fn into_vec(self) -> Vec<Duration> {
        self.0
    }
}

impl FromStr for Steps {
    type Err = SettingError;

    fn from_str(text: &str) -> Result<Self, SettingError> {
        let refused = || SettingError::unreadable(text, ACCEPTED_LIST);
        let steps = text.split(',').map(parse).collect::<Result<Vec<_>, _>>().map_err(|_| refused())?;
        let usable = |step: &Duration| !step.is_zero() && *step <= LONGEST_STEP;
        if steps.iter().all(usable) { Ok(Self(steps)) } else { Err(refused()) }
    }
}

impl fmt::Display for Steps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, step) in self.0.iter().enumerate() {
            write!(f, "{}{}", if index == 0 { "" } else { "," }, human(*step))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_a_whole_number_and_a_unit() {
        assert_eq!(parse("10ms").unwrap(), Duration::from_millis(10));
        assert_eq!(parse(" 1s ").unwrap(), Duration::from_secs(1));
        assert_eq!(parse("2m").unwrap(), Duration::from_secs(120));
        assert_eq!(parse("1h").unwrap(), Duration::from_secs(3600));
        assert_eq!(parse("0s").unwrap(), Duration::ZERO);
    }

    #[test]
    fn anything_else_is_refused_and_shown_with_what_is_accepted() {
        for text in [
            "",
            "10",
            "s",
            "-1s",
            "+1s",
            "1.5s",
            "1 s",
            "1S",
            "1d",
            "1s2",
            "99999999999999999999s",
            "9999999999999999999h",
        ] {
            let message = parse(text).unwrap_err().to_string();
            assert!(message.contains(&format!("{text:?}")) && message.contains("10ms"), "{message}");
        }
    }

    #[test]
    fn what_is_written_can_be_read_back() {
        for text in ["10ms", "1s", "90s", "2m", "1h", "25h", "1001ms", "0s"] {
            assert_eq!(human(parse(text).unwrap()), text);
        }
        assert_eq!(human(Duration::from_micros(1500)), "1.5ms");
    }

    #[test]
    fn the_default_retry_steps_survive_a_round_trip() {
        let text = "1s,5s,30s,2m,10m,30m,1h,2h";
        let steps: Steps = text.parse().unwrap();
        assert_eq!(steps.as_slice().len(), 8);
        assert_eq!(steps.to_string(), text);
        assert_eq!("1s, 5s".parse::<Steps>().unwrap().into_vec().len(), 2);
    }

    #[test]
    fn a_list_with_a_hole_a_zero_or_a_month_in_it_is_refused_whole() {
        for text in ["", ",", "1s,", "1s,,2s", "0ms", "1s,0s", "169h", "1s;2s"] {
            assert!(text.parse::<Steps>().is_err(), "{text}");
        }
    }
}
