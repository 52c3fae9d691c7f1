//! What becomes of a queue behind a bad link to its broker.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::ensure;
use rollcall_queue::{Health, PublishError, Settlement, declare};
use rollcall_tests::proxy::Proxy;
use rollcall_tests::{eventually, shared};

use super::bed::*;

/// Bytes go by, so no heartbeat is missed; a broker that answers nothing looks alike.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_confirms_nothing_is_given_up() -> anyhow::Result<()> {
    let broker = shared::broker().await?;
    let direct = Bed::rabbitmq().await?;
    declare(&direct.url, &direct.options).await?;
    let proxy = Proxy::start(broker.address()).await?;
    let mut through = Bed::at(&proxy.url(&broker.url_of(&direct.vhost()))?)?;
    through.options.confirm_timeout = Duration::from_millis(500);
    let publisher = through.publisher().await?;
    publish(&publisher, &event_key(), &["a"]).await?;
    let opened = proxy.opened();
    proxy.throttle(20);
    let trickled = publisher.publish(&event_key(), &envelope("b", "{}")).await;
    assert!(matches!(trickled, Err(PublishError::TimedOut)), "{trickled:?}");
    eventually(SOON, async || {
        ensure!(proxy.opened() > opened, "it still waits for the confirm");
        Ok(())
    })
    .await?;
    assert!(matches!(publisher.health(), Health::NotReady(_)));
    proxy.restore();
    eventually(SOON, async || Ok(publisher.publish(&event_key(), &envelope("c", "{}")).await?)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_cut_at_any_byte_loses_nothing_accepted() -> anyhow::Result<()> {
    let broker = shared::broker().await?;
    let direct = Bed::rabbitmq().await?;
    declare(&direct.url, &direct.options).await?;
    let proxy = Proxy::start(broker.address()).await?;
    let through = Bed::at(&proxy.url(&broker.url_of(&direct.vhost()))?)?;
    let (mut accepted, mut failed) = (BTreeSet::new(), 0);
    // From within the greeting to well within the publishing.
    for bytes in (100..=12_000).step_by(350) {
        proxy.cut_after(bytes);
        let publisher = through.publisher().await?;
        for number in 0..20 {
            let id = format!("{bytes}-{number}");
            match publisher.publish(&event_key(), &envelope(&id, "{}")).await {
                Ok(()) => drop(accepted.insert(id)),
                Err(_) => failed += 1,
            }
        }
    }
    ensure!(!accepted.is_empty() && failed > 100, "{} accepted, {failed} failed", accepted.len());
    proxy.restore();
    publish(&through.publisher().await?, &event_key(), &["last"]).await?;
    accepted.insert("last".to_owned());
    let mut consumer = direct.consumer(EVENTS).await?;
    let mut stored = BTreeSet::new();
    while !accepted.is_subset(&stored) {
        let batch = receive(&mut consumer, 64).await?;
        stored.extend(batch.iter().map(id));
        settle(&mut consumer, batch, &Settlement::Done).await?;
    }
    Ok(())
}
