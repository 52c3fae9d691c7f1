//! `data/dev`: one secret that stays, databases that begin anew, and ports.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use rollcall_signature::Key;
use rollcall_tests::process::root;
use rollcall_tests::{TestBed, free_port};

const FOLDER: &str = "data/dev";
const SECRET: &str = "webhook-secret";
const FIRST_PORT: u16 = 8080;

/// The folder, ours alone while this lives.
pub(super) struct Place {
    folder: PathBuf,
    key: Key,
    ports: [u16; 3],
    _lock: File,
}

impl Place {
    /// Makes the folder, keeps its secret or makes one, and removes the queue, database and logs of the run before.
    pub(super) fn prepare(port: Option<u16>) -> anyhow::Result<Self> {
        let folder = root().join(FOLDER);
        fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
        let lock = File::create(folder.join("lock"))?;
        ensure!(lock.try_lock().is_ok(), "another `cargo dev` runs in {FOLDER}: stop it first");
        for leftover in fs::read_dir(&folder)?.flatten() {
            let name = leftover.file_name();
            if name != SECRET && name != "lock" && leftover.file_type()?.is_file() {
                fs::remove_file(leftover.path())?;
            }
        }
        let key = secret(&folder.join(SECRET))?;
        Ok(Self { folder, key, ports: ports(port)?, _lock: lock })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Both binaries on the embedded queue and database in this folder.
    pub(super) fn embedded(&self) -> TestBed {
        let at = |name: &str| format!("sqlite://{}", self.folder.join(name).display());
        self.on(&at("queue.db"), &at("rollcall.db"))
    }

    /// Both binaries on this queue and database.
    pub(super) fn on(&self, queue: &str, database: &str) -> TestBed {
        let bed = TestBed::kept(self.folder.clone(), self.key.clone(), self.ports, queue, database);
        // As an operator has it: this company never loses fifty people in an hour.
        bed.with("REMOVAL_BUDGET", "50,20%")
    }

    /// Says what runs where.
    pub(super) fn introduce(&self, bed: &TestBed) {
        println!("door    http://{}/webhooks/scalekit   (rollcall-ingress)", bed.door);
        println!("worker  http://{}   (rollcall-worker)", bed.admin);
        println!("logs    {FOLDER}/*.log\n");
    }

    /// Says how to go on by hand.
    pub(super) fn invite(&self, bed: &TestBed) {
        let worker = "target/debug/rollcall-worker";
        println!("\nstill running; Ctrl-C stops both");
        println!("  deliveries   http://{}/webhooks/scalekit", bed.door);
        println!("  the door     http://{}/readyz  http://{}/metrics", bed.ops, bed.ops);
        println!("  the worker   http://{}/readyz  http://{}/metrics", bed.admin, bed.admin);
        println!("  the secret   {FOLDER}/{SECRET}\n");
        println!("for a second terminal:");
        for name in ["QUEUE_URL", "DATABASE_URL"] {
            println!("  export {name}={}", bed.settings[name]);
        }
        println!("  export SCALEKIT_WEBHOOK_SECRET_FILE={FOLDER}/{SECRET}");
        println!("  {worker} send-test-event --url http://{}/webhooks/scalekit", bed.door);
        println!("  {worker} users list");
        println!("  {worker} dead-letters list");
    }
}

/// The secret in the file; a new one in a new file that only its owner reads.
fn secret(path: &Path) -> anyhow::Result<Key> {
    let created = File::options().write(true).create_new(true).mode(0o600).open(path);
    match created {
        Ok(mut file) => {
            let mut random = [0; 32];
            File::open("/dev/urandom")?.read_exact(&mut random)?;
            let key = Key::generate(random);
            writeln!(file, "{}", key.reveal())?;
            Ok(key)
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let text = fs::read_to_string(path)?;
            Key::parse(text.trim()).with_context(|| format!("{} holds no secret: remove it", path.display()))
        }
        Err(error) => Err(error).with_context(|| format!("making {}", path.display())),
    }
}

/// Door, ops and admin, as the settings' defaults are numbered.
fn ports(asked: Option<u16>) -> anyhow::Result<[u16; 3]> {
    let door = asked.unwrap_or(FIRST_PORT);
    let Some(last) = door.checked_add(2) else { bail!("--port takes the two ports after {door} too") };
    let wanted = [door, last, door + 1];
    let free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    match wanted.iter().find(|port| !free(port)) {
        None => Ok(wanted),
        Some(taken) if asked.is_some() => bail!("port {taken} is taken"),
        Some(taken) => {
            println!("port {taken} is taken: free ports instead");
            Ok([(); 3].map(|()| free_port()))
        }
    }
}
