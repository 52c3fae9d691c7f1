use super::*;
use crate::{HeaderFamily, Key, sign, signed_headers};

const NOW: i64 = 1_788_250_000;
const ID: &str = "msg_own0000000000000000000001";
const BODY: &str = r#"{"spec_version":"1","id":"evt_90000000000000001","type":"organization.directory.user_deleted","occurred_at":"2026-09-01T08:00:00.123456Z","environment_id":"env_90000000000000001","organization_id":"org_90000000000000001","object":"DirectoryUser","data":{"id":"diruser_90000000000000001","organization_id":"org_90000000000000001","dp_id":"00uExample01","email":"ada@northwind.example"}}"#;

/// A delivery as header values, to be bent out of shape.
struct Delivery {
    id: Vec<u8>,
    timestamp: Vec<u8>,
    signature: Vec<u8>,
    body: Vec<u8>,
}

fn key(encoded: &str) -> Key {
    Key::parse(&format!("whsec_{encoded}")).unwrap()
}

fn ours() -> Key {
    key("AAECAwQFBgcICQoLDA0ODxAREhMUFRYX")
}

fn rotated() -> Key {
    key("GBkaGxwdHh8gISIjJCUmJygpKissLS4v")
}

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).unwrap()
}

impl Delivery {
    /// Rightly signed by our key, id and timestamp as given.
    fn signed(id: &str, timestamp: &str) -> Self {
        let fed = mac::over_delivery(ours().bytes(), id.as_bytes(), timestamp.as_bytes(), BODY.as_bytes());
        let signature = format!("v1,{}", STANDARD.encode(mac::tag(fed)));
        Self { id: id.into(), timestamp: timestamp.into(), signature: signature.into(), body: BODY.into() }
    }

    fn good() -> Self {
        Self::signed(ID, &NOW.to_string())
    }

    fn with_signature(signature: impl Into<Vec<u8>>) -> Self {
        Self { signature: signature.into(), ..Self::good() }
    }

    fn entry(&self) -> String {
        String::from_utf8(self.signature.clone()).unwrap()
    }

    fn verify_with(&self, keys: &[Key], now: DateTime<Utc>) -> Result<Verified, VerifyError> {
        let keys: Vec<String> = keys.iter().map(Key::reveal).collect();
        let [id, timestamp, signature] = HeaderFamily::Webhook.names();
        let headers = [
            ("content-type", b"application/json".as_slice()),
            (id, &self.id),
            (timestamp, &self.timestamp),
            (signature, &self.signature),
        ];
        Verifier::new(keys.join(" ").parse().unwrap()).verify(headers, self.body.clone().into(), now)
    }

    fn verify(&self) -> Result<(), VerifyError> {
        self.verify_with(&[ours()], at(NOW)).map(drop)
    }
}

fn verify_headers(headers: &[(&str, &str)]) -> Result<(), VerifyError> {
    let verifier = Verifier::new(ours().into());
    let headers = headers.iter().map(|(name, value)| (*name, value.as_bytes()));
    verifier.verify(headers, Bytes::from_static(BODY.as_bytes()), at(NOW)).map(drop)
}

#[test]
fn published_vectors_pass_at_their_time() {
    for (encoded, id, timestamp, body, signature) in [
        (
            "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            r#"{"test": 2432232314}"#,
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        ),
        (
            "C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
            "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk",
            1_649_367_553,
            r#"{"email":"test@example.com","username":"test_user"}"#,
            "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=",
        ),
        (
            "AAECAwQFBgcICQoLDA0ODxAREhMUFRYX",
            ID,
            NOW,
            BODY,
            "v1,3GykZdNK6a/TvknP/pkYgGCf+WnV+kXG/kPUnD0zuHE=",
        ),
        (
            "GBkaGxwdHh8gISIjJCUmJygpKissLS4v",
            ID,
            NOW,
            BODY,
            "v1,J4gR+w1oCN91v0nappCqkNKNhZrVNMmOyrEm4C2zfx4=",
        ),
    ] {
        let delivery = Delivery {
            id: id.into(),
            timestamp: timestamp.to_string().into(),
            signature: signature.into(),
            body: body.into(),
        };
        let verified = delivery.verify_with(&[key(encoded)], at(timestamp)).unwrap();
        assert_eq!(verified.delivery_id.as_str(), id);
        assert_eq!(verified.timestamp, at(timestamp));
        assert_eq!(verified.body, body.as_bytes());
        assert_eq!(sign(&key(encoded), id, timestamp, body.as_bytes()), signature);
    }
}

#[test]
fn each_header_must_be_there_and_say_something() {
    let good = Delivery::good();
    let all = [("webhook-id", ID), ("webhook-timestamp", "1788250000"), ("webhook-signature", &good.entry())];
    assert_eq!(verify_headers(&all), Ok(()));
    for left_out in 0..3 {
        let mut some = all.to_vec();
        some.remove(left_out);
        assert_eq!(verify_headers(&some), Err(VerifyError::MissingHeader));
        let mut empty = all;
        empty[left_out].1 = "";
        assert!(verify_headers(&empty).is_err());
    }
    assert_eq!(verify_headers(&[]), Err(VerifyError::MissingHeader));
}

#[test]
fn another_key_is_refused() {
    assert_eq!(Delivery::good().verify_with(&[rotated()], at(NOW)).unwrap_err(), VerifyError::WrongSignature);
}

#[test]
fn every_flipped_bit_is_refused() {
    for field in 0..4 {
        let length = [ID.len(), 10, Delivery::good().signature.len(), BODY.len()][field];
        for bit in 0..length * 8 {
            let mut bent = Delivery::good();
            let bytes = [&mut bent.id, &mut bent.timestamp, &mut bent.signature, &mut bent.body];
            bytes.into_iter().nth(field).unwrap()[bit / 8] ^= 1 << (bit % 8);
            assert!(bent.verify().is_err(), "field {field}, bit {bit}");
        }
    }
}

#[test]
fn a_cut_signature_is_refused() {
    let whole = Delivery::good().entry();
    for end in 0..whole.len() {
        assert_eq!(Delivery::with_signature(&whole[..end]).verify(), Err(VerifyError::NoSignature), "{end}");
    }
    for bad in ["v1,", "v1", ",", "v1,AAAA", ""] {
        assert_eq!(Delivery::with_signature(bad).verify(), Err(VerifyError::NoSignature), "{bad}");
    }
}

#[test]
fn extra_bytes_in_an_entry_are_refused() {
    let whole = Delivery::good().entry();
    let encoded = &whole[3..];
    for bad in [
        format!("{whole}AAAA"),
        format!("{whole}{encoded}"),
        format!("{whole},{encoded}"),
        format!("{whole}="),
    ] {
        assert_eq!(Delivery::with_signature(bad.as_str()).verify(), Err(VerifyError::NoSignature), "{bad}");
    }
}

#[test]
fn other_versions_do_not_count() {
    let encoded = Delivery::good().entry()[3..].to_owned();
    for version in ["V1", "v2", "v0", "v1a", "", "v 1", "v1,v1"] {
        let bad = format!("{version},{encoded}");
        assert_eq!(Delivery::with_signature(bad).verify(), Err(VerifyError::NoSignature), "{version}");
    }
}

#[test]
fn hex_and_prefixed_digests_are_refused() {
    let tag = STANDARD.decode(&Delivery::good().entry()[3..]).unwrap();
    let hex: String = tag.iter().map(|byte| format!("{byte:02x}")).collect();
    for bad in [format!("v1,{hex}"), hex.clone(), format!("sha256={hex}"), format!("t={NOW},v1={hex}")] {
        assert_eq!(Delivery::with_signature(bad.as_str()).verify(), Err(VerifyError::NoSignature), "{bad}");
    }
}

#[test]
fn only_strict_standard_base64_is_read() {
    // This body's signature holds `+` and `/`, so that the url-safe form differs.
    let whole = Delivery::good().entry();
    assert!(whole.contains('+') && whole.contains('/') && whole.ends_with("HE="));
    let bent = [
        whole.replace('+', "-").replace('/', "_"),
        whole.trim_end_matches('=').to_owned(),
        whole.replacen('G', "\tG", 1),
        whole.replacen('G', "\t", 1),
        whole.replacen('G', "-", 1),
        // `E` is 000100: the last two bits belong to no byte.
        whole.replace("HE=", "HF="),
        whole.replace("HE=", "HG="),
        whole.replace("HE=", "HH="),
    ];
    for bad in bent {
        assert_eq!(Delivery::with_signature(bad.as_str()).verify(), Err(VerifyError::NoSignature), "{bad:?}");
    }
}

#[test]
fn one_valid_entry_among_others_is_enough() {
    let whole = Delivery::good().entry();
    for list in [
        format!("garbage {whole}"),
        format!("v1,AAAA {whole}"),
        format!("{whole}  v2,x"),
        format!("v1,  {whole}"),
        format!("v1a,{} {whole} v1,", &whole[3..]),
        format!("{}{whole}", "v1,AAAA ".repeat(15)),
        // Bytes that are no text at all.
        format!("\u{80}\u{ff} {whole}"),
    ] {
        assert_eq!(Delivery::with_signature(list.as_str()).verify(), Ok(()), "{list:?}");
    }
}

#[test]
fn a_list_has_bounds() {
    let whole = Delivery::good().entry();
    let seventeen = format!("{}{whole}", "v1,AAAA ".repeat(16));
    assert_eq!(Delivery::with_signature(seventeen).verify(), Err(VerifyError::SignatureHeaderTooLong));
    let fits = format!("{whole} {}", "x".repeat(4096 - whole.len() - 1));
    assert_eq!(fits.len(), 4096);
    assert_eq!(Delivery::with_signature(fits.as_str()).verify(), Ok(()));
    assert_eq!(Delivery::with_signature(fits + "x").verify(), Err(VerifyError::SignatureHeaderTooLong));
}

#[test]
fn repeated_headers_are_refused_even_when_equal() {
    let entry = Delivery::good().entry();
    let all = [("webhook-id", ID), ("webhook-timestamp", "1788250000"), ("webhook-signature", &entry)];
    for twice in 0..3 {
        for name in [all[twice].0.to_owned(), all[twice].0.to_uppercase()] {
            let mut repeated = all.to_vec();
            repeated.push((&name, all[twice].1));
            assert_eq!(verify_headers(&repeated), Err(VerifyError::RepeatedHeader), "{name}");
        }
    }
}

#[test]
fn either_family_passes_whole_and_none_passes_mixed() {
    let sets = [HeaderFamily::Webhook, HeaderFamily::Svix]
        .map(|family| signed_headers(&ours(), family, ID, at(NOW), BODY.as_bytes()));
    let [webhook, svix] =
        sets.each_ref().map(|set| set.each_ref().map(|(name, value)| (*name, value.as_str())));
    assert_eq!(verify_headers(&webhook), Ok(()));
    assert_eq!(verify_headers(&svix), Ok(()));
    for mask in 1..7 {
        let mixed: Vec<_> =
            (0..3).map(|at| if mask >> at & 1 == 1 { webhook[at] } else { svix[at] }).collect();
        assert_eq!(verify_headers(&mixed), Err(VerifyError::MixedFamilies), "{mask}");
    }
    let both: Vec<_> = webhook.iter().chain(&svix).copied().collect();
    assert_eq!(verify_headers(&both), Err(VerifyError::MixedFamilies));
    let one_more: Vec<_> = webhook.iter().copied().chain([("svix-id", "")]).collect();
    assert_eq!(verify_headers(&one_more), Err(VerifyError::MixedFamilies));
    let foreign = webhook.map(|(name, value)| (name.replace("webhook", "interceptor"), value));
    assert_eq!(
        verify_headers(&foreign.each_ref().map(|(name, value)| (name.as_str(), *value))),
        Err(VerifyError::MissingHeader)
    );
}

#[test]
fn a_timestamp_is_plain_digits() {
    for bad in [
        "+1788250000",
        " 1788250000",
        "01788250000",
        "1788250000.9",
        "1.78825e9",
        "1e9",
        "0x6a96c010",
        "١٧٨٨٢٥٠٠٠٠",
        "1788250000junk",
        "-1788250000",
        "-0",
        "00",
        "",
        "-9223372036854775808",
        "9223372036854775808",
        "18446744073709551616",
        "99999999999999999999999999999999",
    ] {
        assert_eq!(Delivery::signed(ID, bad).verify(), Err(VerifyError::InvalidTimestamp), "{bad}");
    }
    // Well-formed, rightly signed, and far off; the largest would overflow a subtraction.
    assert_eq!(Delivery::signed(ID, "0").verify(), Err(VerifyError::TooOld));
    assert_eq!(Delivery::signed(ID, "1788250000000").verify(), Err(VerifyError::TooNew));
    let largest = Delivery::signed(ID, &i64::MAX.to_string());
    assert_eq!(largest.verify(), Err(VerifyError::TooNew));
    for now in [DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC] {
        assert!(largest.verify_with(&[ours()], now).is_err());
    }
}

#[test]
fn three_hundred_seconds_pass_in_either_direction_and_one_more_does_not() {
    for (age, expected) in
        [(300, Ok(())), (301, Err(VerifyError::TooOld)), (-300, Ok(())), (-301, Err(VerifyError::TooNew))]
    {
        let delivery = Delivery::good();
        assert_eq!(delivery.verify_with(&[ours()], at(NOW + age)).map(drop), expected, "{age}");
        assert_eq!(expected.is_err(), expected.is_err_and(VerifyError::is_clock));
    }
    let just_before_the_next_second = at(NOW + 300) + chrono::TimeDelta::milliseconds(999);
    assert!(Delivery::good().verify_with(&[ours()], just_before_the_next_second).is_ok());
}

#[test]
fn only_a_right_signature_can_be_too_old() {
    let mut forged = Delivery::signed(ID, "1");
    forged.body.push(b' ');
    assert_eq!(forged.verify(), Err(VerifyError::WrongSignature));
}

#[test]
fn an_id_is_plain_and_short() {
    let longest = "x".repeat(128);
    for good in ["m", "msg_2-Ab", &longest] {
        assert_eq!(Delivery::signed(good, "1788250000").verify(), Ok(()), "{good}");
    }
    let too_long = "x".repeat(129);
    for bad in ["", "msg.1", "msg 1", "msg/1", "msg_é", "msg\u{202e}", "a\u{1b}[31m", "a\n", &too_long] {
        assert_eq!(Delivery::signed(bad, "1788250000").verify(), Err(VerifyError::InvalidId), "{bad:?}");
    }
}

#[test]
fn a_full_stop_cannot_move_between_id_and_body() {
    // Both spell `a.1788250000.1788250000.rest`, so both have one and the same signature.
    let plain = Delivery { body: b"1788250000.rest".to_vec(), ..Delivery::signed("a", "1788250000") };
    let entry = sign(&ours(), "a", NOW, &plain.body);
    assert_eq!(entry, sign(&ours(), "a.1788250000", NOW, b"rest"));
    let plain = Delivery { signature: entry.clone().into(), ..plain };
    assert_eq!(plain.verify(), Ok(()));
    let shifted = Delivery { body: b"rest".to_vec(), id: b"a.1788250000".to_vec(), ..plain };
    assert_eq!(shifted.verify(), Err(VerifyError::InvalidId));
}

#[test]
fn a_body_written_anew_is_refused_and_an_odd_one_passes_untouched() {
    let odd = b"{ \"z\" : \"\\u0061\\/\",\n\t\"a\":1.0e0 }";
    let delivery =
        Delivery { body: odd.to_vec(), signature: sign(&ours(), ID, NOW, odd).into(), ..Delivery::good() };
    assert_eq!(delivery.verify_with(&[ours()], at(NOW)).unwrap().body, odd.as_slice());
    let anew = Delivery { body: br#"{"a":1.0,"z":"a/"}"#.to_vec(), ..delivery };
    assert_eq!(anew.verify(), Err(VerifyError::WrongSignature));
}

#[test]
fn bodies_are_bytes_not_text() {
    for body in [b"".as_slice(), b"\xff\xfe\x00", b"\xef\xbb\xbf{}", b"{"] {
        let delivery = Delivery {
            body: body.to_vec(),
            signature: sign(&ours(), ID, NOW, body).into(),
            ..Delivery::good()
        };
        assert_eq!(delivery.verify(), Ok(()), "{body:?}");
    }
}

#[test]
fn a_rotation_has_no_gap() {
    let old = Delivery::good();
    let new = Delivery::with_signature(sign(&rotated(), ID, NOW, BODY.as_bytes()));
    let both = Delivery::with_signature(format!("{} {}", new.entry(), old.entry()));
    for keys in [[ours(), rotated()], [rotated(), ours()]] {
        for delivery in [&old, &new, &both] {
            assert!(delivery.verify_with(&keys, at(NOW)).is_ok());
        }
    }
    assert!(both.verify_with(&[rotated()], at(NOW)).is_ok());
    assert_eq!(old.verify_with(&[rotated()], at(NOW)).unwrap_err(), VerifyError::WrongSignature);
}

#[test]
fn every_cause_has_a_name_of_its_own_and_only_ages_speak_of_clocks() {
    use VerifyError as E;
    let causes = [
        (E::MissingHeader, "missing_header"),
        (E::RepeatedHeader, "repeated_header"),
        (E::MixedFamilies, "mixed_families"),
        (E::InvalidId, "invalid_id"),
        (E::InvalidTimestamp, "invalid_timestamp"),
        (E::SignatureHeaderTooLong, "signature_header_too_long"),
        (E::NoSignature, "no_signature"),
        (E::WrongSignature, "wrong_signature"),
        (E::TooOld, "too_old"),
        (E::TooNew, "too_new"),
    ];
    for (cause, name) in causes {
        assert_eq!(cause.as_str(), name);
        assert_eq!(cause.is_clock(), name.starts_with("too_"), "{name}");
    }
}
