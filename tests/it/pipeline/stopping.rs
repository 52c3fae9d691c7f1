//! Being asked to stop while nothing is ready yet.

use std::fs;

use anyhow::{Context, ensure};
use rollcall_tests::TestBed;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, SqliteConnection};

use super::SOON;

/// Makes a file, and locks it for as long as the connection lives.
async fn locked(url: &str) -> anyhow::Result<SqliteConnection> {
    let options: SqliteConnectOptions = url.parse()?;
    fs::create_dir_all(options.get_filename().parent().context("no folder")?)?;
    let mut connection = options.create_if_missing(true).connect().await?;
    sqlx::query("BEGIN EXCLUSIVE").execute(&mut connection).await?;
    Ok(connection)
}

/// Neither can open its file, so neither gets any further than that.
#[tokio::test]
async fn a_stop_that_comes_while_they_start_is_obeyed() -> anyhow::Result<()> {
    let mut bed = TestBed::embedded()?;
    let _queue = locked(&bed.settings["QUEUE_URL"]).await?;
    let _database = locked(&bed.settings["DATABASE_URL"]).await?;
    bed.launch_ingress()?;
    bed.launch_worker()?;
    for service in [bed.ingress()?, bed.worker()?] {
        service.listens_to_sigterm(SOON).await?;
        let (status, _) = service.sigterm().await?;
        ensure!(status.success(), "{status}");
    }
    Ok(())
}
