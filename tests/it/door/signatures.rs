//! Whom the door believes.

use anyhow::ensure;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use rollcall_event::clock;
use rollcall_signature::{HeaderFamily, Key, sign};
use sha2::Sha256;

use super::bed::Bed;
use super::delivery::{Delivery, event, key, other_key};

/// Sends each and expects the one refusal; `first` is what all of them must look like.
async fn refuse_all(bed: &Bed, bad: Vec<(String, Delivery)>) -> anyhow::Result<()> {
    let before = bed.published().await?;
    let reference = bed.post(&Delivery::ordinary("msg_reference").with("signature", "v1,")).await?;
    ensure!(reference.status == 400, "{reference:?}");
    ensure!(reference.header("content-type") == Some("application/json"), "{reference:?}");
    for (name, delivery) in bad {
        let answer = bed.post(&delivery).await?;
        // S29: nothing in the answer tells one cause from another.
        ensure!(answer.without_date() == reference.without_date(), "{name}: {answer:?}");
    }
    ensure!(bed.published().await? == before, "something was published");
    Ok(())
}

fn named(bad: impl IntoIterator<Item = (&'static str, Delivery)>) -> Vec<(String, Delivery)> {
    bad.into_iter().map(|(name, delivery)| (name.to_owned(), delivery)).collect()
}

/// S2 to S4, S6 to S10, S12 to S18, S29: one process, one refusal.
#[tokio::test]
async fn every_broken_delivery_gets_one_and_the_same_refusal() -> anyhow::Result<()> {
    let bed = Bed::start().await?;
    let good = Delivery::ordinary("msg_1");
    let mut bad = Vec::new();
    for header in ["-id", "-timestamp", "-signature"] {
        bad.push((format!("S2 no {header}"), good.clone().without(header)));
        bad.push((format!("S3 empty {header}"), good.clone().with(header, "")));
        let again = good.value(header);
        bad.push((
            format!("S12 S13 twice {header}"),
            good.clone().plus(&format!("webhook{header}"), again.clone()),
        ));
        bad.push((format!("S13 twice {header}"), good.clone().plus(&format!("Webhook{header}"), "other")));
        bad.push((
            format!("S14 mixed {header}"),
            good.clone().without(header).plus(&format!("svix{header}"), again),
        ));
    }
    bad.extend(named(other_families_and_keys(&good)));
    bad.extend(bad_signatures(&good));
    bad.extend(bad_timestamps());
    bad.extend(bad_ids());
    bad.extend(named([
        (
            "S18 written anew",
            good.clone().with_body(String::from_utf8(good.body.clone())?.replace(',', ", ")),
        ),
        ("S16 S26 too old", Delivery::aged("msg_1", 310, "{}")),
        ("S16 too new", Delivery::aged("msg_1", -310, "{}")),
    ]));
    let count = bad.len() as u64;
    refuse_all(&bed, bad).await?;

    let log = bed.log().await?;
    let refusals = log.lines().filter(|line| line.contains("delivery refused")).count() as u64;
    ensure!(refusals == count + 1, "one log line each: {refusals} lines for {count} deliveries");
    ensure!(!log.contains(&good.value("-signature")), "a signature in the log");
    ensure!(!log.contains(&key().reveal()["whsec_".len()..]), "the key in the log");
    ensure!(bed.counted("wrong_signature").await? > 0 && bed.counted("too_old").await? == 2);
    Ok(())
}

fn other_families_and_keys(good: &Delivery) -> Vec<(&'static str, Delivery)> {
    let now = clock::now();
    let by = |family| Delivery::signed_by(&key(), family, "msg_1", now, good.body.clone());
    let mut both = by(HeaderFamily::Webhook);
    both.headers.extend(by(HeaderFamily::Svix).headers);
    let mut interceptor = by(HeaderFamily::Webhook);
    for (name, _) in &mut interceptor.headers {
        *name = name.replace("webhook", "interceptor");
    }
    let stranger = Delivery::signed_by(&other_key(), HeaderFamily::Webhook, "msg_1", now, good.body.clone());
    vec![("S4 another key", stranger), ("S14 both families", both), ("S14 interceptor", interceptor)]
}

fn bad_signatures(good: &Delivery) -> Vec<(String, Delivery)> {
    let whole = good.value("-signature");
    let encoded = &whole["v1,".len()..];
    let tag = STANDARD.decode(encoded).expect("a signature is base64");
    let hex: String = tag.iter().map(|byte| format!("{byte:02x}")).collect();
    let last_kept = encoded.as_bytes()[42] as char;
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let value = alphabet.find(last_kept).expect("base64");
    let stray_bits = &alphabet[value + 1..value + 2];
    let seventeen = format!("{}{whole}", "v1,AAAA ".repeat(16));
    let long = format!("{whole} {}", "x".repeat(4096));
    [
        ("S6", "v1,".to_owned()),
        ("S6", "v1".to_owned()),
        ("S6", ",".to_owned()),
        ("S6", format!("v1,{}", &encoded[..8])),
        ("S7", format!("{whole}AAAA")),
        ("S7", format!("{whole}{encoded}")),
        ("S8", format!("V1,{encoded}")),
        ("S8", format!("v2,{encoded}")),
        ("S8", format!("v0,{encoded}")),
        ("S8", format!("v1a,{encoded}")),
        ("S9", format!("v1,{hex}")),
        ("S9", format!("sha256={hex}")),
        ("S10 url-safe", format!("v1,{}", STANDARD.encode([0xfb; 32]).replace('+', "-").replace('/', "_"))),
        ("S10 padding", whole.trim_end_matches('=').to_owned()),
        ("S10 tab", format!("v1,\t{}", &encoded[1..])),
        ("S10 dash", format!("v1,-{}", &encoded[1..])),
        ("S10 stray bits", format!("v1,{}{stray_bits}=", &encoded[..42])),
        ("S11 seventeen", seventeen),
        ("S11 long", long),
    ]
    .into_iter()
    .map(|(row, signature)| (format!("{row} {signature}"), good.clone().with("-signature", signature)))
    .collect()
}

/// S15, each signed over exactly the text it shows.
fn bad_timestamps() -> Vec<(String, Delivery)> {
    let now = clock::now().timestamp();
    let mut texts = vec![
        format!("+{now}"),
        format!("0{now}"),
        format!("{now}.9"),
        "1e9".to_owned(),
        format!("0x{now:x}"),
        format!("{now}junk"),
        format!("-{now}"),
        format!("{now}000"),
        i64::MIN.to_string(),
        i64::MAX.to_string(),
        (1_u64 << 63).to_string(),
        "0".to_owned(),
    ];
    texts.push(
        now.to_string()
            .chars()
            .map(|digit| ['٠', '١', '٢', '٣', '٤', '٥', '٦', '٧', '٨', '٩'][digit as usize - 48])
            .collect(),
    );
    texts.into_iter().map(|text| (format!("S15 {text}"), signed_over("msg_1", &text))).collect()
}

/// S17.
fn bad_ids() -> Vec<(String, Delivery)> {
    let now = clock::now().timestamp().to_string();
    ["msg.1", "msg 1", "msg/1", "msg_é", "msg_\u{202e}1", &"x".repeat(129)]
        .into_iter()
        .map(|id| (format!("S17 {id}"), signed_over(id, &now)))
        .chain([("S17 shifted".to_owned(), shifted(&now))])
        .collect()
}

/// The second of the two deliveries that share one signature: a good one with part of its body moved into
/// its id.
fn shifted(now: &str) -> Delivery {
    let whole = signed_over("a", now).with_body(format!("{now}.rest"));
    let seconds = now.parse().expect("digits");
    let signature = sign(&key(), "a", seconds, &whole.body);
    whole.with("-signature", signature).with("-id", format!("a.{now}")).with_body("rest")
}

/// Signed over exactly these texts, whether or not they are an id and a timestamp.
fn signed_over(id: &str, timestamp: &str) -> Delivery {
    let body = "{}";
    let mut mac = Hmac::<Sha256>::new_from_slice(&[7; 32]).expect("any length will do");
    mac.update(format!("{id}.{timestamp}.{body}").as_bytes());
    let signature = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
    let headers = [("id", id), ("timestamp", timestamp), ("signature", &signature)];
    let headers = headers.map(|(name, value)| (format!("webhook-{name}"), value.as_bytes().to_vec()));
    Delivery { headers: headers.to_vec(), body: body.into() }
}

/// S5, over the wire for every bit that can travel in a header, and every bit of a short body.
#[tokio::test]
async fn every_flipped_bit_is_refused() -> anyhow::Result<()> {
    let bed = Bed::start().await?;
    let good = Delivery::signed("msg_5", r#"{"type":"role.updated","data":{"x":1}}"#);
    let mut bad = Vec::new();
    for bit in 0..good.body.len() * 8 {
        let mut body = good.body.clone();
        body[bit / 8] ^= 1 << (bit % 8);
        bad.push((format!("body bit {bit}"), good.clone().with_body(body)));
    }
    for header in ["-id", "-timestamp", "-signature"] {
        let value = good.value(header).into_bytes();
        for bit in 0..value.len() * 8 {
            let mut bent = value.clone();
            bent[bit / 8] ^= 1 << (bit % 8);
            // The others are no header at all, which `framing` tries.
            if bent[bit / 8].is_ascii_graphic() {
                bad.push((format!("{header} bit {bit}"), good.clone().with(header, bent)));
            }
        }
    }
    ensure!(bad.len() > 256 + 300, "{}", bad.len());
    refuse_all(&bed, bad).await?;
    ensure!(bed.post(&good).await?.status == 201);
    Ok(())
}

/// S11, S14, S16, S18, S25, S27.
#[tokio::test]
async fn what_is_rightly_signed_is_accepted_however_it_is_dressed() -> anyhow::Result<()> {
    let bed = Bed::start().await?;
    let good = Delivery::ordinary("msg_1");
    let whole = good.value("-signature");
    let svix =
        Delivery::signed_by(&key(), HeaderFamily::Svix, "msg_2", clock::now(), event("2", "role.updated"));
    let fine = [
        ("S11 garbage first", good.clone().with("-signature", format!("garbage {whole}"))),
        ("S11 short first", good.clone().with("-signature", format!("v1,AAAA {whole}"))),
        ("S11 double space", good.clone().with("-signature", format!("v2,x  {whole}"))),
        ("S11 sixteenth", good.clone().with("-signature", format!("{}{whole}", "v1,AAAA ".repeat(15)))),
        ("S14 svix", svix),
        ("S16 old", Delivery::aged("msg_3", 290, "{}")),
        ("S16 new", Delivery::aged("msg_4", -290, "{}")),
        ("S18 odd", Delivery::signed("msg_5", "{ \"type\" :\t\"role\\u002eupdated\" ,\n\"data\":{} }")),
        ("S25 again", good.clone()),
        ("S25 again", good.clone()),
        (
            "upper case names",
            Delivery {
                headers: good
                    .headers
                    .iter()
                    .map(|(name, value)| (name.replace("webhook", "WebHook"), value.clone()))
                    .collect(),
                ..good.clone()
            },
        ),
    ];
    for (name, delivery) in &fine {
        let answer = bed.post(delivery).await?;
        ensure!(answer.status == 201, "{name}: {answer:?}");
        let expected = format!(r#"{{"status":"accepted","id":"{}"}}"#, delivery.value("-id"));
        ensure!(answer.text() == expected, "{name}: {answer:?}");
    }
    let forged = Delivery::ordinary("msg_6").with("-signature", whole);
    ensure!(bed.post(&forged).await?.status == 400, "S27");
    ensure!(
        bed.post(&Delivery::ordinary("msg_6")).await?.status == 201,
        "S27: the real one after the forged one"
    );

    let taken = bed.take(fine.len() + 1).await?;
    for (name, delivery) in &fine {
        let id = delivery.value("-id");
        let found = taken.iter().find(|(_, envelope)| envelope.delivery_id.as_str() == id);
        ensure!(
            found.is_some_and(|(_, envelope)| envelope.body == delivery.body),
            "{name}: another body arrived"
        );
    }
    Ok(())
}

/// S23.
#[tokio::test]
async fn a_rotation_has_no_gap_and_a_removed_key_has_no_say() -> anyhow::Result<()> {
    let body = "{}";
    let by = |key: &Key| Delivery::signed_by(key, HeaderFamily::Webhook, "msg_1", clock::now(), body);
    for (old, new) in [(key(), other_key()), (other_key(), key())] {
        let secret = format!("{}, {}", old.reveal(), new.reveal());
        let bed = Bed::start_with(&[("SCALEKIT_WEBHOOK_SECRET", &secret)]).await?;
        let both = by(&new)
            .with("-signature", format!("{} {}", by(&new).value("-signature"), by(&old).value("-signature")));
        for delivery in [by(&old), by(&new), both] {
            ensure!(bed.post(&delivery).await?.status == 201);
        }
    }
    let bed = Bed::start_with(&[("SCALEKIT_WEBHOOK_SECRET", &other_key().reveal())]).await?;
    ensure!(bed.post(&by(&key())).await?.status == 400);
    ensure!(bed.post(&by(&other_key())).await?.status == 201);
    Ok(())
}
