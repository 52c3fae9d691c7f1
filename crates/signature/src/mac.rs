//! The primitive: HMAC-SHA256 over the three signed parts.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Bytes in a full tag.
pub(crate) const TAG_BYTES: usize = 32;

/// A fed MAC; clone it to compare it with several tags.
pub(crate) type Fed = Hmac<Sha256>;

/// What the sender signs: id, full stop, timestamp, full stop, body.
pub(crate) fn over_delivery(key: &[u8], id: &[u8], timestamp: &[u8], body: &[u8]) -> Fed {
    over_parts(key, &[id, b".", timestamp, b".", body])
}

/// The MAC over the parts one after another; keys of any length.
pub(crate) fn over_parts(key: &[u8], parts: &[&[u8]]) -> Fed {
    let mut mac = Fed::new_from_slice(key).expect("HMAC is defined for keys of every length");
    for part in parts {
        mac.update(part);
    }
    mac
}

/// Whether `tag` is the whole tag, compared in constant time. Any other length is a mismatch.
pub(crate) fn matches(fed: &Fed, tag: &[u8]) -> bool {
    fed.clone().verify_slice(tag).is_ok()
}

/// The whole tag.
pub(crate) fn tag(fed: Fed) -> [u8; TAG_BYTES] {
    fed.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unhex(text: &str) -> Vec<u8> {
        let digits = if text == "-" { "" } else { text };
        (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
    }

    #[test]
    fn every_wycheproof_case_gets_the_verdict_its_authors_give_it() {
        let vectors = include_str!("../vectors/wycheproof-hmac-sha256.txt");
        let mut seen = (0, 0);
        for line in vectors.lines().filter(|line| !line.starts_with('#')) {
            let fields: Vec<&str> = line.split(' ').collect();
            let [number, key, message, expected, verdict] = fields[..] else { panic!("five fields: {line}") };
            let (message, expected) = (unhex(message), unhex(expected));
            let fed = over_parts(&unhex(key), &[&message]);
            let accepted = if expected.len() == TAG_BYTES {
                matches(&fed, &expected)
            } else {
                // Half a tag is never enough at the door, yet it shows that the primitive is right.
                assert!(!matches(&fed, &expected), "case {number}: a short tag passes as a whole one");
                tag(fed)[..expected.len()] == expected[..]
            };
            assert_eq!(accepted, verdict == "valid", "case {number}");
            if accepted { seen.0 += 1 } else { seen.1 += 1 }
        }
        assert_eq!(seen, (66, 108), "all 174 cases, none skipped");
    }

    #[test]
    fn parts_are_signed_as_if_they_were_one_text() {
        assert_eq!(
            tag(over_delivery(b"key", b"id", b"17", b"body")),
            tag(over_parts(b"key", &[b"id.17.body"]))
        );
    }

    #[test]
    fn the_rfc_4231_cases_hold() {
        let cases: [(&[u8], &[u8], &str); 4] = [
            (&[0x0b; 20], b"Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
            (
                b"Jefe",
                b"what do ya want for nothing?",
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            ),
            (&[0xaa; 20], &[0xdd; 50], "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"),
            (
                &[0xaa; 131],
                b"Test Using Larger Than Block-Size Key - Hash Key First",
                "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
            ),
        ];
        for (key, message, expected) in cases {
            assert_eq!(tag(over_parts(key, &[message])).as_slice(), unhex(expected));
        }
    }
}
