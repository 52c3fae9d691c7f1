//! The servers a run uses: shared ones, or its own where the fault breaks them.

use std::ops::Deref;
use std::sync::Arc;

use crate::postgres::Postgres;
use crate::rabbitmq::Broker;
use crate::shared;

/// A broker and a database server. Clones are the same servers; the last one ends what is private.
#[derive(Clone)]
pub struct Servers {
    /// The broker.
    pub(super) broker: Held<Broker>,
    /// The database server.
    pub(super) postgres: Held<Postgres>,
}

/// Somebody else's, or ours.
pub(super) enum Held<T: 'static> {
    Shared(&'static T),
    Own(Arc<T>),
}

impl<T> Clone for Held<T> {
    fn clone(&self) -> Self {
        match self {
            Self::Shared(value) => Self::Shared(value),
            Self::Own(value) => Self::Own(Arc::clone(value)),
        }
    }
}

impl<T> Deref for Held<T> {
    type Target = T;

    fn deref(&self) -> &T {
        match self {
            Self::Shared(value) => value,
            Self::Own(value) => value,
        }
    }
}

impl Servers {
    /// Those every test of this process uses: they may be asked, never stopped.
    pub async fn shared() -> anyhow::Result<Self> {
        let (broker, postgres) = tokio::try_join!(shared::broker(), shared::postgres())?;
        Ok(Self { broker: Held::Shared(broker), postgres: Held::Shared(postgres) })
    }

    /// New ones, for faults that stop and starve them; about ten seconds.
    pub async fn private() -> anyhow::Result<Self> {
        let (broker, postgres) = tokio::try_join!(Broker::start(), Postgres::start())?;
        Ok(Self { broker: Held::Own(Arc::new(broker)), postgres: Held::Own(Arc::new(postgres)) })
    }
}
