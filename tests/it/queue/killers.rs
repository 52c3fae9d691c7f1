//! Messages that kill whoever takes them.

use std::collections::BTreeSet;

use anyhow::ensure;
use rollcall_event::ReasonCode;
use rollcall_queue::{ConsumedQueue, Publisher, Settlement};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::bed::*;

const KILLER: &str = "killer";

pub(super) async fn a_message_that_was_handed_out_before_comes_alone(bed: &Bed) -> anyhow::Result<()> {
    let publisher = bed.publisher().await?;
    publish(&publisher, &event_key(), &["a", "b", "c", "d"]).await?;
    let mut crashing = bed.consumer_with(EVENTS, 64, publisher.clone()).await?;
    let mut held = 0;
    while held < 4 {
        held += receive(&mut crashing, 4).await?.len();
    }
    drop(crashing);
    let mut consumer = bed.consumer_with(EVENTS, 64, publisher.clone()).await?;
    let mut ids = BTreeSet::new();
    for _ in 0..4 {
        let message = receive_one(&mut consumer).await?;
        assert_eq!((message.deliveries, message.envelope.as_ref().unwrap().attempt), (1, 1));
        ids.insert(id(&message));
        settle(&mut consumer, vec![message], &Settlement::Done).await?;
    }
    assert_eq!(ids.len(), 4);
    // And what nobody had before comes in batches again.
    publish(&publisher, &event_key(), &["e", "f", "g"]).await?;
    assert_eq!(receive_all(&mut consumer, 3).await?, ["e", "f", "g"]);
    Ok(())
}

pub(super) async fn a_killer_ends_among_the_dead_and_its_neighbours_live(bed: &Bed) -> anyhow::Result<()> {
    let publisher = bed.publisher().await?;
    publish(&publisher, &event_key(), &["1", "2", "3", KILLER, "4", "5", "6", "7", "8", "9"]).await?;
    let mut crashes = 0;
    let mut done = BTreeSet::new();
    let mut graveyard = bed.consumer_with(ConsumedQueue::Dead, 64, publisher.clone()).await?;
    let mut consumer = bed.consumer_with(EVENTS, 10, publisher.clone()).await?;
    let dead = loop {
        tokio::select! {
            dead = receive(&mut graveyard, 10) => break dead?,
            batch = receive(&mut consumer, 10) => {
                let batch = batch?;
                if batch.iter().any(|message| id(message) == KILLER) {
                    crashes += 1;
                    drop(consumer);
                    consumer = bed.consumer_with(EVENTS, 10, publisher.clone()).await?;
                } else {
                    done.extend(batch.iter().map(id));
                    settle(&mut consumer, batch, &Settlement::Done).await?;
                }
            }
        }
    };
    done.extend(receive_rest(&mut consumer, 9 - done.len()).await?);
    // The limit allows three deliveries more after the first.
    assert_eq!(crashes, 4, "crashes; done: {done:?}");
    assert_eq!(done.len(), 9, "{done:?}");
    ensure!(dead.len() == 1, "{dead:?}");
    assert_eq!(id(&dead[0]), KILLER);
    let info = dead[0].dead.as_ref().unwrap();
    assert_eq!((info.reason, info.routing_key.as_str()), (ReasonCode::DeliveryLimit, event_key().as_str()));
    settle(&mut graveyard, dead, &Settlement::Done).await?;
    bed.drained(ConsumedQueue::Dead).await
}

async fn receive_rest(consumer: &mut rollcall_queue::Consumer, count: usize) -> anyhow::Result<Vec<String>> {
    if count == 0 { Ok(Vec::new()) } else { receive_all(consumer, count).await }
}

/// What the workers of a test say.
enum Said {
    Done(Vec<String>),
    Crashed,
}

pub(super) async fn a_consumer_beside_the_killed_one_takes_no_neighbours_along(
    bed: &Bed,
) -> anyhow::Result<()> {
    const NEIGHBOURS: usize = 80;
    let publisher = bed.publisher().await?;
    for number in 0..NEIGHBOURS {
        let id = number.to_string();
        let ids: &[&str] = if number == 20 { &[KILLER, &id] } else { &[&id] };
        publish(&publisher, &event_key(), ids).await?;
    }
    let (say, mut said) = mpsc::unbounded_channel();
    let mut workers = JoinSet::new();
    for _ in 0..2 {
        let bed = bed.with(|_| ());
        workers.spawn(work(bed, publisher.clone(), say.clone()));
    }
    let mut graveyard = bed.consumer_with(ConsumedQueue::Dead, 64, publisher).await?;
    let dead = receive_one(&mut graveyard).await?;
    assert_eq!(id(&dead), KILLER);
    let (mut done, mut crashes) = (BTreeSet::new(), 0);
    while done.len() < NEIGHBOURS {
        match tokio::time::timeout(SOON, said.recv()).await?.unwrap() {
            Said::Done(ids) => done.extend(ids),
            Said::Crashed => crashes += 1,
        }
    }
    // Each crash was said before the killer was dead.
    while let Ok(late) = said.try_recv() {
        crashes += u32::from(matches!(late, Said::Crashed));
    }
    // Sent round again once, as a neighbour of another suspect, it starts its count anew.
    assert!((4..=8).contains(&crashes), "{crashes} crashes");
    assert_eq!(bed.depth(ConsumedQueue::Dead).await?.ready, 0);
    Ok(())
}

async fn work(bed: Bed, publisher: Publisher, say: mpsc::UnboundedSender<Said>) -> anyhow::Result<()> {
    loop {
        let mut consumer = bed.consumer_with(EVENTS, 10, publisher.clone()).await?;
        loop {
            let batch = consumer.receive(10, LINGER).await?;
            if batch.iter().any(|message| id(message) == KILLER) {
                say.send(Said::Crashed)?;
                break;
            }
            let ids = batch.iter().map(id).collect();
            settle(&mut consumer, batch, &Settlement::Done).await?;
            say.send(Said::Done(ids))?;
        }
    }
}
