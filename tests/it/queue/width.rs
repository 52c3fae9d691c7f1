//! How much one consumer holds at once.

use std::time::Duration;

use rollcall_queue::{Consumer, Message, Settlement};
use tokio::time::timeout;

use super::bed::*;

/// What may be handed out comes within milliseconds.
const NOTHING: Duration = Duration::from_millis(400);

async fn gets_nothing(consumer: &mut Consumer) -> anyhow::Result<()> {
    if let Ok(batch) = timeout(NOTHING, consumer.receive(10, LINGER)).await {
        let ids: Vec<String> = batch?.iter().map(id).collect();
        anyhow::bail!("{ids:?} although something was to be settled first");
    }
    Ok(())
}

async fn receive_unsettled(consumer: &mut Consumer, count: usize) -> anyhow::Result<Vec<Message>> {
    let mut held = Vec::new();
    while held.len() < count {
        held.extend(receive(consumer, 2).await?);
    }
    Ok(held)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_is_held_than_the_prefetch() -> anyhow::Result<()> {
    let bed = Bed::rabbitmq().await?;
    let publisher = bed.publisher().await?;
    for prefetch in [1, 2, 3, 4] {
        publish(&publisher, &event_key(), &["1", "2", "3", "4", "5", "6", "7"]).await?;
        let mut consumer = bed.consumer_with(EVENTS, prefetch, publisher.clone()).await?;
        let held = receive_unsettled(&mut consumer, prefetch.into()).await?;
        gets_nothing(&mut consumer).await?;
        settle(&mut consumer, held, &Settlement::Done).await?;
        receive_all(&mut consumer, 7 - usize::from(prefetch)).await?;
        consumer.close(SOON).await;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_held_beside_a_message_that_was_handed_out_before() -> anyhow::Result<()> {
    let bed = Bed::rabbitmq().await?;
    let publisher = bed.publisher().await?;
    let mut crashing = bed.consumer_with(EVENTS, 1, publisher.clone()).await?;
    publish(&publisher, &event_key(), &["suspect"]).await?;
    receive_one(&mut crashing).await?;
    let mut consumer = bed.consumer_with(EVENTS, 10, publisher.clone()).await?;
    publish(&publisher, &event_key(), &["before"]).await?;
    let before = receive_one(&mut consumer).await?;
    drop(crashing);
    gets_nothing(&mut consumer).await?;
    settle(&mut consumer, vec![before], &Settlement::Done).await?;
    let suspect = receive_one(&mut consumer).await?;
    assert_eq!((id(&suspect).as_str(), suspect.deliveries), ("suspect", 1));
    publish(&publisher, &event_key(), &["after"]).await?;
    gets_nothing(&mut consumer).await?;
    settle(&mut consumer, vec![suspect], &Settlement::Done).await?;
    assert_eq!(receive_all(&mut consumer, 1).await?, ["after"]);
    Ok(())
}
