//! Signing keys as the vendor hands them out: `whsec_` and base64.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

const PREFIX: &str = "whsec_";

/// Decoded key sizes: the vendor's engine makes 24 bytes and takes up to 75.
const BYTES: std::ops::RangeInclusive<usize> = 24..=75;

/// Most keys at once. Each costs a pass over every body; a rotation needs two.
const MOST_KEYS: usize = 16;

/// One signing key, 24 to 75 bytes. Its `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Key(Vec<u8>);

/// Why a text is no key. Never holds a part of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKey {
    /// Another prefix, or none.
    #[error("does not begin with `whsec_`")]
    Prefix,
    /// The url-safe alphabet, missing padding, blanks and stray bits included.
    #[error("is not standard base64 with padding after `whsec_`")]
    Base64,
    /// Outside 24 to 75 bytes, the empty key included.
    #[error("decodes to {0} bytes, and a key has 24 to 75")]
    Length(usize),
}

impl Key {
    /// Reads `whsec_` and standard base64 (alphabet with `+` and `/`, padded, unused bits zero).
    pub fn parse(text: &str) -> Result<Self, InvalidKey> {
        let encoded = text.strip_prefix(PREFIX).ok_or(InvalidKey::Prefix)?;
        let bytes = STANDARD.decode(encoded).map_err(|_| InvalidKey::Base64)?;
        if BYTES.contains(&bytes.len()) { Ok(Self(bytes)) } else { Err(InvalidKey::Length(bytes.len())) }
    }

    /// A key made of `random`, which must come from a generator fit for secrets.
    pub fn generate(random: [u8; 32]) -> Self {
        Self(random.to_vec())
    }

    /// The key as text, `whsec_…`: for a file that only its owner reads, never for a log.
    pub fn reveal(&self) -> String {
        format!("{PREFIX}{}", STANDARD.encode(&self.0))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl FromStr for Key {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        Self::parse(text)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(***)")
    }
}

/// One key or several, so that a rotation has no gap: any of them is enough. Never empty, at most 16.
#[derive(Debug, Clone)]
pub struct Keys(Vec<Key>);

/// Why a text holds no usable keys. Never holds a part of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKeys {
    /// Nothing but separators.
    #[error("holds no key")]
    Empty,
    /// More than any rotation needs.
    #[error("holds {0} keys, and at most {MOST_KEYS} are taken")]
    TooMany(usize),
    /// One of them is wrong; one wrong key refuses all, so that a typing error is not found out weeks
    /// later when the other key is withdrawn.
    #[error("key {position}: {why}")]
    Key {
        /// Which one, from 1.
        position: usize,
        /// What is wrong with it.
        why: InvalidKey,
    },
}

impl FromStr for Keys {
    type Err = InvalidKeys;

    /// Reads keys separated by white space or commas, in any number.
    fn from_str(text: &str) -> Result<Self, InvalidKeys> {
        let parts: Vec<&str> =
            text.split(|c: char| c.is_whitespace() || c == ',').filter(|part| !part.is_empty()).collect();
        match parts.len() {
            0 => return Err(InvalidKeys::Empty),
            many if many > MOST_KEYS => return Err(InvalidKeys::TooMany(many)),
            _ => {}
        }
        let read = |(at, part): (usize, &&str)| {
            Key::parse(part).map_err(|why| InvalidKeys::Key { position: at + 1, why })
        };
        parts.iter().enumerate().map(read).collect::<Result<_, _>>().map(Self)
    }
}

impl From<Key> for Keys {
    fn from(key: Key) -> Self {
        Self(vec![key])
    }
}

impl Keys {
    /// The keys in the order they were given; there is at least one.
    pub fn iter(&self) -> impl Iterator<Item = &Key> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUBLISHED: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    fn of(bytes: usize) -> String {
        format!("whsec_{}", STANDARD.encode(vec![0xfb; bytes]))
    }

    #[test]
    fn a_key_has_24_to_75_bytes() {
        assert!(Key::parse(PUBLISHED).is_ok());
        for bytes in [24, 25, 32, 64, 75] {
            assert!(Key::parse(&of(bytes)).is_ok(), "{bytes}");
        }
        for bytes in [0, 1, 23, 76, 200] {
            assert_eq!(Key::parse(&of(bytes)), Err(InvalidKey::Length(bytes)), "{bytes}");
        }
    }

    #[test]
    fn a_key_is_never_guessed_at() {
        for (text, why) in [
            ("", InvalidKey::Prefix),
            ("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", InvalidKey::Prefix),
            ("WHSEC_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", InvalidKey::Prefix),
            ("v1,whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", InvalidKey::Prefix),
            (" whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", InvalidKey::Prefix),
            ("whsec_", InvalidKey::Length(0)),
            ("whsec_ MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", InvalidKey::Base64),
            ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS", InvalidKey::Base64),
            ("whsec_not base64 at all, is it", InvalidKey::Base64),
            // The url-safe alphabet: never cut at the `_`, never translated.
            ("whsec_MfKQ9r8GKYqrTwjU_D8ILPZIo2LaLaSw", InvalidKey::Base64),
            ("whsec_MfKQ9r8GKYqrTwjU-D8ILPZIo2LaLaSw", InvalidKey::Base64),
            // 25 bytes with one of the unused bits set.
            ("whsec_+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+x==", InvalidKey::Base64),
        ] {
            assert_eq!(Key::parse(text), Err(why), "{text}");
        }
    }

    #[test]
    fn several_keys_stand_between_white_space_and_commas() {
        let other = of(32);
        for text in [
            format!("{PUBLISHED} {other}"),
            format!("{PUBLISHED},{other}"),
            format!(" {PUBLISHED},\n\t{other} ,"),
        ] {
            assert_eq!(text.parse::<Keys>().unwrap().iter().count(), 2, "{text:?}");
        }
        assert_eq!("".parse::<Keys>().unwrap_err(), InvalidKeys::Empty);
        assert_eq!(" , \n".parse::<Keys>().unwrap_err(), InvalidKeys::Empty);
        assert_eq!([PUBLISHED; 16].join(",").parse::<Keys>().unwrap().iter().count(), 16);
        assert_eq!([PUBLISHED; 17].join(",").parse::<Keys>().unwrap_err(), InvalidKeys::TooMany(17));
    }

    #[test]
    fn one_wrong_key_refuses_all_and_is_named_by_its_place_only() {
        let error = format!("{PUBLISHED} whsec_c2VjcmV0").parse::<Keys>().unwrap_err();
        assert_eq!(error.to_string(), "key 2: decodes to 6 bytes, and a key has 24 to 75");
    }

    #[test]
    fn a_key_shows_itself_only_when_asked() {
        let key = Key::generate([7; 32]);
        assert_eq!(Key::parse(&key.reveal()), Ok(key.clone()));
        assert_eq!(format!("{key:?} {:?}", Keys::from(key.clone())), "Key(***) Keys([Key(***)])");
    }
}
