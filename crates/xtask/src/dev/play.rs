//! Playing the scenes and watching what comes of them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::ensure;
use rollcall_tests::simulator::{Exported, Report, SimEvent, differences, truth};
use rollcall_tests::{TestBed, eventually};
use serde::Deserialize;

use super::counters::Counters;
use super::screen::{Screen, Sight};
use super::story::{Act, Letter, Scene, scenes};

/// How long a scene stands when somebody watches: the whole story takes about a minute.
const WATCHED: Duration = Duration::from_millis(3_500);
const REDRAW: Duration = Duration::from_millis(700);
/// How long what was sent may take to show.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) struct Show<'a> {
    bed: &'a mut TestBed,
    pace: Duration,
    screen: Screen,
    counters: Counters,
    sent: Vec<SimEvent>,
    deliveries: usize,
    people: BTreeMap<String, Exported>,
    groups: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Group {
    id: String,
    name: Option<String>,
}

impl<'a> Show<'a> {
    pub(super) fn new(bed: &'a mut TestBed, once: bool) -> Self {
        Self {
            bed,
            pace: if once { Duration::ZERO } else { WATCHED },
            screen: Screen::new(once),
            counters: Counters::default(),
            sent: Vec::new(),
            deliveries: 0,
            people: BTreeMap::new(),
            groups: BTreeMap::new(),
        }
    }

    /// Plays everything; gives one line for each person who is not as told.
    pub(super) async fn play(&mut self) -> anyhow::Result<Vec<String>> {
        let (scenes, company) = scenes();
        for scene in scenes {
            self.stage(scene).await?;
        }
        let expected = company.truth();
        // Time-outs show as differences.
        let _ = self.bed.becomes(&expected, PATIENCE).await;
        let _ = self.all_counted().await;
        self.look().await?;
        self.screen.finish(&sight("the story is told", &self.people, &self.groups, &self.counters));
        let mut wrong = differences(&expected, &self.people);
        wrong.extend(self.dead_letters_missing().await?);
        Ok(wrong)
    }

    async fn stage(&mut self, scene: Scene) -> anyhow::Result<()> {
        self.screen.caption(&scene.caption);
        let begun = Instant::now();
        for act in scene.acts {
            self.act(act).await?;
            // One by one they can be followed.
            if self.screen.is_in_place() {
                self.look().await?;
                self.screen.draw(&sight(&scene.caption, &self.people, &self.groups, &self.counters));
            }
        }
        if !self.screen.is_in_place() {
            // Each scene's lines show what came of it, not what was there before.
            let _ = self.bed.becomes(&truth(&self.sent), PATIENCE).await;
        }
        loop {
            self.look().await?;
            self.screen.draw(&sight(&scene.caption, &self.people, &self.groups, &self.counters));
            let left = self.pace.saturating_sub(begun.elapsed());
            if left.is_zero() {
                return Ok(());
            }
            tokio::time::sleep(left.min(REDRAW)).await;
        }
    }

    async fn act(&mut self, act: Act) -> anyhow::Result<()> {
        match act {
            Act::Send(letter) => self.send(letter).await?,
            Act::SendToClosedDoor(letter) => {
                self.counters.look(self.bed).await;
                self.bed.ingress()?.sigterm().await?;
                self.counters.door_stopped();
                self.screen.say("the door is closed".to_owned());
                self.reopen_while_sending(letter).await?;
            }
            Act::StopWorker => {
                // Its last numbers, before it forgets them.
                self.counters.look(self.bed).await;
                let (_, took) = self.bed.worker()?.sigterm().await?;
                self.counters.worker_stopped();
                self.screen.say(format!("the worker has stopped, in {} ms", took.as_millis()));
            }
            Act::StartWorker => {
                self.bed.start_worker().await?;
                self.screen.say("the worker runs again".to_owned());
            }
        }
        Ok(())
    }

    async fn send(&mut self, letter: Letter) -> anyhow::Result<()> {
        let begun = Instant::now();
        let report = self.bed.sender().deliver_all(std::slice::from_ref(&letter.delivery), 1).await?;
        self.took(letter, &report, begun)
    }

    /// The door opens only after the first try was refused.
    async fn reopen_while_sending(&mut self, letter: Letter) -> anyhow::Result<()> {
        let begun = Instant::now();
        let sender = self.bed.sender().time_factor(0.1);
        let sending = sender.deliver_all(std::slice::from_ref(&letter.delivery), 1);
        let opening = async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            self.bed.start_ingress().await
        };
        let (report, opened) = tokio::join!(sending, opening);
        opened?;
        self.took(letter, &report?, begun)
    }

    fn took(&mut self, letter: Letter, report: &Report, begun: Instant) -> anyhow::Result<()> {
        let id = &letter.delivery.id;
        ensure!(report.given_up.is_empty(), "{id} was not taken: {:?}", report.answers);
        let tries: usize = report.answers.values().sum();
        self.deliveries += 1;
        self.counters.sent_again += tries - 1;
        let again = if tries > 1 { format!(" at try {tries}") } else { String::new() };
        let took = begun.elapsed().as_millis();
        self.screen.say(format!("{id:<22} taken in {took:>3} ms{again}: {}", letter.about));
        self.sent.extend(letter.event);
        Ok(())
    }

    /// While the worker is away the database may still be asked; what cannot be had stays as it was.
    async fn look(&mut self) -> anyhow::Result<()> {
        self.people = self.bed.export().await?;
        let listed = self.bed.command(&["groups", "list", "--format", "json"]).await?.success()?;
        let groups: Vec<Group> = serde_json::from_str(&listed)?;
        self.groups = groups.into_iter().filter_map(|group| Some((group.id, group.name?))).collect();
        self.counters.look(self.bed).await;
        Ok(())
    }

    /// The story has one body that nobody can read; it must lie where an operator finds it.
    async fn dead_letters_missing(&self) -> anyhow::Result<Option<String>> {
        let listed = eventually(PATIENCE, async || {
            let printed =
                self.bed.command(&["dead-letters", "list", "--format", "ndjson"]).await?.success()?;
            ensure!(printed.lines().count() == 1, "one dead letter is expected, found: {printed:?}");
            Ok(())
        });
        Ok(listed.await.err().map(|error| format!("{error:#}")))
    }

    async fn all_counted(&mut self) -> anyhow::Result<()> {
        let (bed, counters, deliveries) = (&*self.bed, &mut self.counters, self.deliveries);
        let waiting = async {
            while counters.ended() < deliveries {
                counters.look(bed).await;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        Ok(tokio::time::timeout(PATIENCE, waiting).await?)
    }
}

fn sight<'a>(
    caption: &'a str,
    people: &'a BTreeMap<String, Exported>,
    groups: &'a BTreeMap<String, String>,
    counters: &'a Counters,
) -> Sight<'a> {
    Sight { caption, people, groups, counters }
}
