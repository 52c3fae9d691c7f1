//! Who is asking, with and without proxies in between. Row S40.

use std::net::Ipv4Addr;

use anyhow::ensure;

use super::bed::Bed;
use super::delivery::Delivery;

const PROXY: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 7);
const STRANGER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 66);

fn bad() -> Delivery {
    Delivery::ordinary("msg_1").with("-signature", "v1,AAAA")
}

/// Fails until told to wait, each time with another forged address.
async fn failures_until_told(
    bed: &Bed,
    client: Ipv4Addr,
    forged: impl Fn(usize) -> Delivery,
) -> anyhow::Result<usize> {
    for failures in 0..500 {
        let answer = bed.post_from(client, &forged(failures)).await?;
        if answer.status == 429 {
            return Ok(failures);
        }
        ensure!(answer.status == 400, "{answer:?}");
    }
    Ok(500)
}

/// S40.
#[tokio::test]
async fn a_forged_forwarding_header_hides_nobody() -> anyhow::Result<()> {
    for settings in [&[][..], &[("TRUSTED_PROXIES", "127.0.0.7/32")]] {
        let bed = Bed::start_with(settings).await?;
        let forge = |number: usize| {
            let address = format!("203.0.113.{}", number % 250);
            bad()
                .plus("X-Forwarded-For", address.clone())
                .plus("X-Real-IP", address.clone())
                .plus("Forwarded", format!("for={address}"))
        };
        let failures = failures_until_told(&bed, STRANGER, forge).await?;
        ensure!((100..500).contains(&failures), "{failures}");
        let log = bed.log().await?;
        ensure!(log.contains("127.0.0.66") && !log.contains("203.0.113."), "the log believes the header");
    }
    Ok(())
}

#[tokio::test]
async fn a_trusted_proxy_is_believed_about_its_client_only() -> anyhow::Result<()> {
    let bed = Bed::start_with(&[("TRUSTED_PROXIES", "127.0.0.7")]).await?;
    let through = |client: &str| bad().plus("X-Forwarded-For", client);
    // What stands left of the client's address is the client's own invention.
    let failures = failures_until_told(&bed, PROXY, |number| {
        through(&format!("198.51.100.{}, 203.0.113.9", number % 250))
    })
    .await?;
    ensure!((100..500).contains(&failures), "{failures}");
    ensure!(
        bed.post_from(PROXY, &through("203.0.113.10")).await?.status == 400,
        "another client of the same proxy"
    );
    let log = bed.log().await?;
    ensure!(log.contains("203.0.113.9") && !log.contains("198.51.100."), "the log names another client");
    Ok(())
}

#[tokio::test]
async fn outside_the_allowed_sources_there_is_nothing() -> anyhow::Result<()> {
    let settings = [("ALLOWED_SOURCES", "127.0.0.66, 203.0.113.0/24"), ("TRUSTED_PROXIES", "127.0.0.7")];
    let bed = Bed::start_with(&settings).await?;
    let good = Delivery::ordinary("msg_1");
    let refused = bed.post(&good).await?;
    ensure!(refused.status == 404, "{refused:?}");
    let nowhere = bed.connect().await?.exchange(b"POST /nowhere HTTP/1.1\r\nHost: a\r\n\r\n").await?;
    ensure!(refused.without_date() == nowhere.without_date(), "it shows that there is something");

    ensure!(bed.post_from(STRANGER, &good).await?.status == 201, "an allowed address");
    let through = |client: &str| good.clone().plus("X-Forwarded-For", client);
    ensure!(
        bed.post_from(PROXY, &through("203.0.113.9")).await?.status == 201,
        "an allowed client of a proxy"
    );
    ensure!(bed.post_from(PROXY, &through("203.0.113.9, 198.51.100.1")).await?.status == 404, "a forged one");
    ensure!(bed.post(&through("203.0.113.9")).await?.status == 404, "forged without a proxy");
    ensure!(bed.published().await? == 2);
    Ok(())
}

#[tokio::test]
async fn with_https_required_plain_deliveries_are_refused() -> anyhow::Result<()> {
    let bed = Bed::start_with(&[("REQUIRE_HTTPS", "true"), ("TRUSTED_PROXIES", "127.0.0.7")]).await?;
    let good = Delivery::ordinary("msg_1");
    let said = |scheme: &str| good.clone().plus("X-Forwarded-Proto", scheme);
    let plain = bed.post(&good).await?;
    let unverified = bed.post_from(PROXY, &bad().plus("X-Forwarded-Proto", "https")).await?;
    ensure!(plain.status == 400 && plain.without_date() == unverified.without_date(), "{plain:?}");
    ensure!(bed.post(&said("https")).await?.status == 400, "a forged scheme");
    ensure!(bed.post_from(PROXY, &said("http")).await?.status == 400);
    ensure!(bed.post_from(PROXY, &said("https")).await?.status == 201);
    ensure!(bed.counted("https_required").await? == 3);
    let live = bed.connect().await?.exchange(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n").await?;
    ensure!(live.status == 200, "{live:?}");
    Ok(())
}
