//! The store on real databases: every test runs on a SQLite file and on PostgreSQL.

mod access;
mod bed;
mod budget;
mod dead_letters;
mod errors;
mod export;
mod held;
mod inbox;
mod migrations;
mod model;
mod ordering;
mod racing;
mod said;
mod tombstones;
mod verify;

/// Makes two tests of one body: `<name>::on_sqlite` and `<name>::on_postgres`.
macro_rules! on_both {
    ($($(#[$meta:meta])* async fn $name:ident($bed:ident: $type:ty) $body:block)*) => {$(
        $(#[$meta])*
        mod $name {
            use super::*;

            async fn check($bed: $type) -> anyhow::Result<()> $body

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_sqlite() -> anyhow::Result<()> {
                check(<$type>::sqlite().await?).await
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_postgres() -> anyhow::Result<()> {
                check(<$type>::postgres().await?).await
            }
        }
    )*};
}
use on_both;
