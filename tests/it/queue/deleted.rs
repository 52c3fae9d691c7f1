//! What becomes of a queue that somebody deletes.

use std::time::Duration;

use anyhow::Context;
use rollcall_queue::{Consumer, Health, PublishError, QueueError, Settlement, declare};
use rollcall_tests::{eventually, shared};

use super::bed::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_queue_comes_back_by_itself() -> anyhow::Result<()> {
    let bed = Bed::rabbitmq().await?;
    let publisher = bed.publisher().await?;
    let mut consumer = bed.consumer_with(EVENTS, 64, publisher.clone()).await?;
    publish(&publisher, &event_key(), &["a"]).await?;
    assert_eq!(receive_all(&mut consumer, 1).await?, ["a"]);
    drop(consumer);
    let broker = shared::broker().await?;
    let vhost = bed.vhost();
    broker.rabbitmqctl(&["-p", &vhost, "delete_queue", REVOCATIONS.name()]).await?;
    let refused = publisher.publish(&revoke_key(), &envelope("b", "")).await;
    assert!(matches!(refused, Err(PublishError::Unroutable)), "{refused:?}");
    assert!(matches!(publisher.health(), Health::NotReady(_)));
    eventually(SOON, async || Ok(publisher.publish(&revoke_key(), &envelope("b", "")).await?)).await?;
    assert_eq!(publisher.health(), Health::Ready);
    let mut consumer = bed.consumer_with(REVOCATIONS, 64, publisher).await?;
    assert_eq!(receive_all(&mut consumer, 1).await?, ["b"]);
    // While it is being consumed, too.
    broker.rabbitmqctl(&["-p", &vhost, "delete_queue", REVOCATIONS.name()]).await?;
    let lost = tokio::time::timeout(SOON, consumer.receive(1, LINGER)).await?;
    assert!(matches!(lost, Err(QueueError::Ended(_))), "{lost:?}");
    let publisher = bed.publisher().await?;
    publish(&publisher, &revoke_key(), &["c"]).await?;
    assert_eq!(receive_all(&mut consumer, 1).await?, ["c"]);
    Ok(())
}

/// Deletes the queue of events within the node.
const DELETE: &str = r#"
    {ok, Queue} = rabbit_amqqueue:lookup({resource, <<"VHOST">>, queue, <<"rollcall.events">>}),
    {ok, _} = rabbit_amqqueue:delete(Queue, false, false, <<"test">>)"#;

/// Declares it again, as it was.
const AGAIN: &str = r#"
    {new, _} = rabbit_amqqueue:declare(amqqueue:get_name(Queue), true, false,
        amqqueue:get_arguments(Queue), none, <<"test">>)"#;

/// What is published the moment a queue is gone finds no queue. If it were declared again at once, the broker would
/// take the old queue's consumer along, and send it nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_consumer_of_a_deleted_queue_is_told_although_publishing_goes_on() -> anyhow::Result<()> {
    let bed = Bed::rabbitmq().await?;
    let publisher = bed.publisher().await?;
    let mut consumer = bed.consumer_with(EVENTS, 64, publisher.clone()).await?;
    let before: Vec<String> = (0..300).map(|number| format!("before-{number}")).collect();
    publish(&publisher, &event_key(), &before.iter().map(String::as_str).collect::<Vec<_>>()).await?;
    receive_all(&mut consumer, before.len()).await?;
    let publishing = tokio::spawn({
        let publisher = publisher.clone();
        async move {
            let mut number = 0;
            let mut gone = false;
            loop {
                let id = format!("after-{number}");
                match publisher.publish(&event_key(), &envelope(&id, "")).await {
                    Ok(_) if gone => return id,
                    Ok(_) => number += 1,
                    // No queue, or the broker fails over its end.
                    Err(_) => gone = true,
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
    });
    let broker = shared::broker().await?;
    broker.eval(&format!("{}.", DELETE.replace("VHOST", &bed.vhost()))).await?;
    let last = tokio::time::timeout(SOON, publishing).await??;
    received(&mut consumer, &last).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_that_others_declare_again_at_once_is_consumed_before_long() -> anyhow::Result<()> {
    let bed = Bed::rabbitmq().await?.with(|options| options.renewal = Duration::from_secs(2));
    let publisher = bed.publisher().await?;
    let mut consumer = bed.consumer_with(EVENTS, 64, publisher.clone()).await?;
    publish(&publisher, &event_key(), &["a", "b", "c"]).await?;
    assert_eq!(receive_all(&mut consumer, 3).await?, ["a", "b", "c"]);
    let broker = shared::broker().await?;
    broker.eval(&format!("{DELETE}, {AGAIN}.").replace("VHOST", &bed.vhost())).await?;
    // Its binding, too.
    declare(&bed.url, &bed.options).await?;
    publish(&publisher, &event_key(), &["d"]).await?;
    received(&mut consumer, "d").await
}

/// Receives until this message comes; the connection may be lost on the way.
async fn received(consumer: &mut Consumer, wanted: &str) -> anyhow::Result<()> {
    tokio::time::timeout(SOON, async {
        loop {
            let Ok(batch) = consumer.receive(64, LINGER).await else { continue };
            let found = batch.iter().any(|message| id(message) == wanted);
            settle(consumer, batch, &Settlement::Done).await?;
            if found {
                return Ok(());
            }
        }
    })
    .await
    .with_context(|| format!("{wanted} did not come"))?
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_exchange_costs_a_connection_and_comes_back() -> anyhow::Result<()> {
    let bed = Bed::rabbitmq().await?;
    let publisher = bed.publisher().await?;
    publish(&publisher, &event_key(), &["a"]).await?;
    let delete =
        "rabbit_exchange:delete(rabbit_misc:r(<<\"VHOST\">>, exchange, <<\"rollcall\">>), false, <<\"t\">>).";
    shared::broker().await?.eval(&delete.replace("VHOST", &bed.vhost())).await?;
    let refused = publisher.publish(&event_key(), &envelope("b", "")).await;
    assert!(matches!(refused, Err(PublishError::Disconnected(_))), "{refused:?}");
    eventually(SOON, async || Ok(publisher.publish(&event_key(), &envelope("b", "")).await?)).await?;
    assert_eq!(bed.depth(EVENTS).await?.ready, 2);
    Ok(())
}
