//! Settings the process refuses to start with. Rows S21, S22.

use anyhow::ensure;
use rollcall_tests::process::{Finished, bin, run};
use rollcall_tests::{Folder, free_port};

use super::bed::{Bed, base_settings, beside, loopback};
use super::delivery::{Delivery, key};

/// Starts with these settings beside the ordinary ones and gives how it ended.
async fn refused(settings: &[(&str, &str)]) -> anyhow::Result<Finished> {
    let folder = Folder::new("start")?;
    let mut all = base_settings(&folder.join("queue.db"), loopback(free_port()), loopback(free_port()));
    all.extend(settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    let finished = run(&bin("rollcall-ingress")?, &["run"], &all, folder.path()).await?;
    ensure!(finished.code.is_some_and(|code| code != 0), "{settings:?}: {finished:?}");
    Ok(finished)
}

/// S21, S22.
#[tokio::test]
async fn a_secret_that_is_none_is_refused_by_name_and_never_shown() -> anyhow::Result<()> {
    let good = key().reveal();
    let url_safe = "whsec_MfKQ9r8GKYqrTwjU_D8ILPZIo2LaLaSw";
    for secret in [
        "",
        "   ",
        "whsec_",
        "whsec_ ",
        "whsec_c2hvcnQ=",
        "whsec_not*base64*at*all*but*long*enough",
        "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        url_safe,
        &url_safe.replace('_', "-").replace("whsec-", "whsec_"),
        &format!("{good} whsec_c2hvcnQ="),
        &good[..good.len() - 1],
    ] {
        let finished = refused(&[("SCALEKIT_WEBHOOK_SECRET", secret)]).await?;
        ensure!(finished.stderr.contains("SCALEKIT_WEBHOOK_SECRET"), "{secret:?}: {finished:?}");
        let shown =
            secret.split(['_', ' ']).filter(|part| part.len() > 6).any(|part| finished.stderr.contains(part));
        ensure!(!shown, "{secret:?} is shown: {finished:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_wrong_setting_is_named_with_what_it_was_read_as_and_what_is_accepted() -> anyhow::Result<()> {
    let certificate = beside("certificates/first.pem").display().to_string();
    let other_key = beside("certificates/second.key").display().to_string();
    for (settings, parts) in [
        (&[("SCALEKIT_WEBHOK_SECRET", "x")][..], &["SCALEKIT_WEBHOK_SECRET", "SCALEKIT_WEBHOOK_SECRET"][..]),
        (&[("ROLLCALL_MAX_BODY", "1MiB")], &["ROLLCALL_MAX_BODY"]),
        (&[("MAX_BODY", "1MB")], &["max-body", "1MB", "accepted: "]),
        (&[("MAX_IN_FLIGHT", "0")], &["max-in-flight", "0", "accepted: "]),
        (&[("ALLOWED_SOURCES", "10.0.0.1/8")], &["allowed-sources", "10.0.0.1/8", "accepted: "]),
        (&[("REQUIRE_HTTPS", "perhaps")], &["require-https", "perhaps", "accepted: "]),
        (&[("ROLLCALL_ENV", "prod")], &["rollcall-env", "prod", "accepted: "]),
        (&[("QUEUE_URL", "redis://h:1")], &["QUEUE_URL"]),
        (&[("TLS_CERT", &certificate)], &["TLS_CERT", "TLS_KEY"]),
        (&[("TLS_CERT", &certificate), ("TLS_KEY", &other_key)], &["TLS_CERT", "do not belong together"]),
        (&[("TLS_CERT", "/nonexistent.pem"), ("TLS_KEY", &other_key)], &["TLS_CERT", "/nonexistent.pem"]),
    ] {
        let finished = refused(settings).await?;
        for part in parts {
            ensure!(finished.stderr.contains(part), "{settings:?} lacks {part:?}: {finished:?}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn production_refuses_what_is_printed_in_the_documentation() -> anyhow::Result<()> {
    let production = ("ROLLCALL_ENV", "production");
    let printed = rollcall_settings::DEVELOPMENT_ONLY.iter().find(|value| value.starts_with("whsec_"));
    let printed = ("SCALEKIT_WEBHOOK_SECRET", *printed.expect("one of them is a secret"));
    let finished = refused(&[production, printed]).await?;
    ensure!(finished.stderr.contains("SCALEKIT_WEBHOOK_SECRET"), "{finished:?}");
    ensure!(!finished.stderr.contains(printed.1), "{finished:?}");
    let bed = Bed::start_with(&[production]).await?;
    ensure!(bed.post(&Delivery::ordinary("msg_1")).await?.status == 201);
    Ok(())
}

#[tokio::test]
async fn a_secret_may_come_from_a_file() -> anyhow::Result<()> {
    let folder = Folder::new("secret")?;
    let file = folder.join("secret");
    std::fs::write(&file, format!("{}\n", key().reveal()))?;
    let path = file.display().to_string();
    let bed =
        Bed::start_with(&[("SCALEKIT_WEBHOOK_SECRET", ""), ("SCALEKIT_WEBHOOK_SECRET_FILE", &path)]).await?;
    ensure!(bed.post(&Delivery::ordinary("msg_1")).await?.status == 201);
    let finished = refused(&[("SCALEKIT_WEBHOOK_SECRET_FILE", &path)]).await?;
    ensure!(finished.stderr.contains("SCALEKIT_WEBHOOK_SECRET_FILE"), "{finished:?}");
    Ok(())
}
