//! Sizes in bytes as an operator writes them: `1MiB`, `512KiB`, `1048576`.

use crate::SettingError;

const ACCEPTED: &str = "a whole number of bytes, or one with KiB, MiB or GiB, such as 1MiB";

/// Reads one size: digits and nothing (bytes), `KiB`, `MiB` or `GiB`. White space around it is ignored.
///
/// Decimal units are refused rather than guessed at: `1MB` is a million bytes to some and 1 MiB to others.
///
/// # Errors
///
/// [`SettingError::Unreadable`] for anything else, and for zero.
pub fn parse(text: &str) -> Result<usize, SettingError> {
    let trimmed = text.trim();
    let digits = trimmed.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = trimmed.split_at(digits);
    let scale: Option<usize> = match unit {
        "" => Some(1),
        "KiB" => Some(1 << 10),
        "MiB" => Some(1 << 20),
        "GiB" => Some(1 << 30),
        _ => None,
    };
    scale
        .and_then(|scale| number.parse::<usize>().ok()?.checked_mul(scale))
        .filter(|size| *size > 0)
        .ok_or_else(|| SettingError::unreadable(text, ACCEPTED))
}

/// Writes a size in the largest unit that needs no fraction; [`parse`] reads it back.
pub fn human(bytes: usize) -> String {
    for (unit, scale) in [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)] {
        if bytes > 0 && bytes.is_multiple_of(scale) {
            return format!("{}{unit}", bytes / scale);
        }
    }
    bytes.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_bytes_or_a_binary_unit() {
        assert_eq!(parse("1MiB").unwrap(), 1 << 20);
        assert_eq!(parse(" 512KiB ").unwrap(), 512 << 10);
        assert_eq!(parse("2GiB").unwrap(), 2 << 30);
        assert_eq!(parse("1048577").unwrap(), 1_048_577);
    }

    #[test]
    fn decimal_units_fractions_signs_and_zero_are_refused() {
        for text in [
            "",
            "MiB",
            "1MB",
            "1mib",
            "1.5MiB",
            "-1",
            "+1",
            "0",
            "0KiB",
            "1 MiB",
            "99999999999999999999",
            "99999999999GiB",
        ] {
            let message = parse(text).unwrap_err().to_string();
            assert!(message.contains(&format!("{text:?}")) && message.contains("1MiB"), "{message}");
        }
    }

    #[test]
    fn what_is_written_can_be_read_back() {
        for text in ["1MiB", "512KiB", "3GiB", "1048577", "1025KiB"] {
            assert_eq!(human(parse(text).unwrap()), text);
        }
    }
}
