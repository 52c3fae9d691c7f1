//! TLS that the door ends itself.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use rollcall_tests::process::{Settings, bin, run};
use rollcall_tests::{Folder, eventually};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::bed::{Bed, beside};
use super::delivery::Delivery;
use super::wire::Wire;

const SOON: Duration = Duration::from_secs(20);

fn certificate(name: &str) -> anyhow::Result<CertificateDer<'static>> {
    Ok(CertificateDer::from_pem_file(beside("certificates").join(name))?)
}

async fn connect(bed: &Bed, protocols: &[&[u8]]) -> anyhow::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate("ca.pem")?)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    let stream = TcpStream::connect(bed.address).await?;
    let name = ServerName::try_from("door.example")?;
    Ok(TlsConnector::from(Arc::new(config)).connect(name, stream).await?)
}

/// The leaf the door shows to a new connection.
async fn shown(bed: &Bed) -> anyhow::Result<CertificateDer<'static>> {
    let stream = connect(bed, &[]).await?;
    let leaf = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    Ok(leaf.context("a certificate")?.clone().into_owned())
}

fn exchange_files(folder: &Path, name: &str) -> anyhow::Result<()> {
    std::fs::copy(beside("certificates").join(format!("{name}.pem")), folder.join("tls.pem"))?;
    std::fs::copy(beside("certificates").join(format!("{name}.key")), folder.join("tls.key"))?;
    Ok(())
}

async fn start(folder: &Folder) -> anyhow::Result<Bed> {
    exchange_files(folder.path(), "first")?;
    let (certificate, key) =
        (folder.join("tls.pem").display().to_string(), folder.join("tls.key").display().to_string());
    Bed::start_with(&[("TLS_CERT", &certificate), ("TLS_KEY", &key), ("REQUIRE_HTTPS", "true")]).await
}

/// S39: HTTP/2 is not on offer.
#[tokio::test]
async fn deliveries_come_over_tls_and_http_1_only() -> anyhow::Result<()> {
    let folder = Folder::new("tls")?;
    let bed = start(&folder).await?;
    for protocols in [&[][..], &[b"http/1.1".as_slice()], &[b"h2", b"http/1.1"]] {
        let stream = connect(&bed, protocols).await?;
        ensure!(stream.get_ref().1.alpn_protocol() != Some(b"h2".as_slice()));
        let mut wire = Wire::over(stream);
        for _ in 0..2 {
            ensure!(wire.exchange(&Delivery::ordinary("msg_1").request()).await?.status == 201);
        }
    }
    ensure!(connect(&bed, &[b"h2"]).await.is_err(), "HTTP/2 alone was agreed on");

    let settings = Settings::from([
        ("LISTEN".to_owned(), bed.address.to_string()),
        ("OPS_LISTEN".to_owned(), bed.ops.to_string()),
        ("TLS_CERT".to_owned(), folder.join("tls.pem").display().to_string()),
    ]);
    let check = run(&bin("rollcall-ingress")?, &["healthcheck"], &settings, folder.path()).await?;
    ensure!(check.code == Some(0), "{check:?}");
    Ok(())
}

#[tokio::test]
async fn whoever_speaks_no_tls_is_shown_out() -> anyhow::Result<()> {
    let folder = Folder::new("tls")?;
    let bed = start(&folder).await?;
    let (mut silent, began) = (bed.connect().await?, Instant::now());
    let mut plain = bed.connect().await?;
    plain.send(&Delivery::ordinary("msg_1").request()).await;
    // Rustls answers with an alert, which is no HTTP.
    ensure!(plain.answer().await.is_err());
    silent.closed(Duration::from_secs(8)).await?;
    ensure!(began.elapsed() > Duration::from_secs(4), "closed after {:?}", began.elapsed());
    ensure!(bed.published().await? == 0);
    Ok(())
}

#[tokio::test]
async fn a_new_certificate_is_taken_over_and_a_broken_one_is_not() -> anyhow::Result<()> {
    let folder = Folder::new("tls")?;
    let bed = start(&folder).await?;
    let mut kept = Wire::over(connect(&bed, &[]).await?);
    ensure!(shown(&bed).await? == certificate("first.pem")?);

    exchange_files(folder.path(), "second")?;
    eventually(SOON, async || {
        ensure!(shown(&bed).await? == certificate("second.pem")?, "still the first");
        Ok(())
    })
    .await?;
    ensure!(
        kept.exchange(&Delivery::ordinary("msg_1").request()).await?.status == 201,
        "a connection made before"
    );

    std::fs::write(folder.join("tls.key"), "no key at all")?;
    bed.service.logged("keeping the old TLS certificate", SOON).await?;
    ensure!(shown(&bed).await? == certificate("second.pem")?);

    std::fs::remove_file(folder.join("tls.pem"))?;
    exchange_files(folder.path(), "first")?;
    eventually(SOON, async || {
        ensure!(shown(&bed).await? == certificate("first.pem")?, "still the second");
        Ok(())
    })
    .await
}
