//! Messages that kill whoever takes them.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::ensure;
use rollcall_event::ReasonCode;
use rollcall_queue::{ConsumedQueue, Consumer, Publisher, Settlement};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

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
    let mut consumer = bed.consumer_with(EVENTS, 10, publisher.clone()).await?;
    let (crashes, mut done) = kill(bed, &mut consumer, &publisher).await?;
    done.extend(receive_rest(&mut consumer, 9 - done.len()).await?);
    // The limit allows three deliveries more after the first.
    assert_eq!(crashes, 4, "crashes; done: {done:?}");
    assert_eq!(done.len(), 9, "{done:?}");
    bed.drained(ConsumedQueue::Dead).await
}

pub(super) async fn a_killer_that_was_sent_round_again_is_counted_on(bed: &Bed) -> anyhow::Result<()> {
    let publisher = bed.publisher().await?;
    let mut consumer = beside_one_that_crashed(bed, &publisher, &["1", "2", KILLER]).await?;
    let (crashes, mut done) = kill(bed, &mut consumer, &publisher).await?;
    done.extend(receive_rest(&mut consumer, 2 - done.len()).await?);
    assert_eq!(done, BTreeSet::from(["1".to_owned(), "2".to_owned()]));
    assert!((2..=4).contains(&(1 + crashes)), "{crashes} crashes more");
    bed.drained(EVENTS).await?;
    bed.drained(ConsumedQueue::Dead).await
}

pub(super) async fn suspects_are_sent_round_once_however_often_the_caller_cancels(
    bed: &Bed,
) -> anyhow::Result<()> {
    // Less than a copy takes to be stored.
    const PATIENCE: Duration = Duration::from_millis(1);
    let publisher = bed.publisher().await?;
    let expected: Vec<String> = (10..30).map(|number| number.to_string()).collect();
    let ids: Vec<&str> = expected.iter().map(String::as_str).collect();
    let mut consumer = beside_one_that_crashed(bed, &publisher, &ids).await?;
    let mut done = Vec::new();
    let all = async {
        while done.len() < expected.len() {
            if let Ok(batch) = timeout(PATIENCE, consumer.receive(10, LINGER)).await {
                let batch = batch?;
                done.extend(batch.iter().map(id));
                settle(&mut consumer, batch, &Settlement::Done).await?;
            }
        }
        anyhow::Ok(())
    };
    timeout(SOON, all).await??;
    done.sort();
    assert_eq!(done, expected);
    bed.drained(EVENTS).await
}

/// A consumer that took several at a time when the one beside it died with these in hand.
async fn beside_one_that_crashed(bed: &Bed, publisher: &Publisher, ids: &[&str]) -> anyhow::Result<Consumer> {
    publish(publisher, &event_key(), ids).await?;
    let width = u16::try_from(ids.len())?;
    let mut crashing = bed.consumer_with(EVENTS, width, publisher.clone()).await?;
    let mut held = 0;
    while held < ids.len() {
        held += receive(&mut crashing, ids.len()).await?.len();
    }
    let mut consumer = bed.consumer_with(EVENTS, 64, publisher.clone()).await?;
    publish(publisher, &event_key(), &["fresh"]).await?;
    assert_eq!(receive_all(&mut consumer, 1).await?, ["fresh"]);
    drop(crashing);
    Ok(consumer)
}

/// Crashes with the killer until it is dead and nobody's any more. Gives how often, and what was done besides.
async fn kill(
    bed: &Bed,
    consumer: &mut Consumer,
    publisher: &Publisher,
) -> anyhow::Result<(usize, BTreeSet<String>)> {
    let mut crashes = 0;
    let mut done = BTreeSet::new();
    let mut graveyard = bed.consumer_with(ConsumedQueue::Dead, 64, publisher.clone()).await?;
    let dead = loop {
        tokio::select! {
            dead = receive(&mut graveyard, 10) => break dead?,
            batch = receive(consumer, 10) => {
                let batch = batch?;
                if batch.iter().any(|message| id(message) == KILLER) {
                    crashes += 1;
                    *consumer = bed.consumer_with(EVENTS, 10, publisher.clone()).await?;
                } else {
                    done.extend(batch.iter().map(id));
                    settle(consumer, batch, &Settlement::Done).await?;
                }
            }
        }
    };
    ensure!(dead.len() == 1, "{dead:?}");
    assert_eq!(id(&dead[0]), KILLER);
    let info = dead[0].dead.as_ref().unwrap();
    assert_eq!((info.reason, info.routing_key.as_str()), (ReasonCode::DeliveryLimit, event_key().as_str()));
    settle(&mut graveyard, dead, &Settlement::Done).await?;
    Ok((crashes, done))
}

async fn receive_rest(consumer: &mut Consumer, count: usize) -> anyhow::Result<Vec<String>> {
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
        match timeout(SOON, said.recv()).await?.unwrap() {
            Said::Done(ids) => done.extend(ids),
            Said::Crashed => crashes += 1,
        }
    }
    // Each crash was said before the killer was dead.
    while let Ok(late) = said.try_recv() {
        crashes += u32::from(matches!(late, Said::Crashed));
    }
    // However often it was sent round again as a neighbour of another suspect. The broker also counts what it
    // had under way to a consumer that stopped.
    assert!((1..=4).contains(&crashes), "{crashes} crashes");
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
