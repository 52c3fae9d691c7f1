//! The figures, one file each.

mod apply;
mod crowds;
mod door_embedded;
mod door_rabbit;
mod end_to_end;
mod growth;
mod leaver;
mod memory;
mod start;
mod workers;

use clap::ValueEnum;

pub(crate) use apply::PEOPLE;

use crate::figure::Figure;
use crate::stage::Stage;

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Which {
    /// Deliveries accepted into RabbitMQ.
    DoorRabbit,
    /// Deliveries accepted into the embedded queue.
    DoorEmbedded,
    /// A full queue to committed rows.
    Apply,
    /// Both at once through RabbitMQ.
    EndToEnd,
    /// A leaver's way, idle and behind a backlog.
    Leaver,
    /// Several workers on one database.
    Workers,
    /// A large mirror beside a small one.
    Growth,
    /// A person in thousands of groups, the end of a huge group.
    Crowds,
    /// Memory at its highest.
    Memory,
    /// From start to ready.
    Start,
}

impl Which {
    /// Measures it.
    pub(crate) async fn measure(self, stage: &Stage) -> anyhow::Result<Vec<Figure>> {
        match self {
            Self::DoorRabbit => door_rabbit::measure(stage).await,
            Self::DoorEmbedded => door_embedded::measure(stage).await,
            Self::Apply => apply::measure(stage).await,
            Self::EndToEnd => end_to_end::measure(stage).await,
            Self::Leaver => leaver::measure(stage).await,
            Self::Workers => workers::measure(stage).await,
            Self::Growth => growth::measure(stage).await,
            Self::Crowds => crowds::measure(stage).await,
            Self::Memory => memory::measure(stage).await,
            Self::Start => start::measure(stage).await,
        }
    }
}
