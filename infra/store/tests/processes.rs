//! Several operating system processes on one SQLite file, and the death of some of them.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};
use regrove_events::CloudEvent;
use regrove_events::log::{Error, EventLog};
use regrove_store::Control;

/// The name of a writer, how often it writes and the home directory: set in processes that this test starts from itself.
const WRITER: &str = "REGROVE_TEST_WRITER";

const STREAMS: [&str; 2] = ["job/a", "job/b"];
const WRITERS: usize = 4;
const EVENTS: usize = 300;

fn event(id: &str) -> Result<CloudEvent> {
    Ok(CloudEvent::builder(id, "/test", "io.regrove.test").build()?)
}

/// Starts this test binary again, to run [`writer_process`] alone.
fn start_writer(home: &Path, name: &str, events: usize) -> Result<Child> {
    Command::new(std::env::current_exe()?)
        .args(["--exact", "writer_process", "--nocapture"])
        .env(WRITER, format!("{name}={events}={}", home.display()))
        .stdout(Stdio::null())
        .spawn()
        .context("start a writer")
}

/// Not a test: the other processes' part. Does nothing when the test runner calls it.
#[tokio::test]
async fn writer_process() -> Result<()> {
    let Some(setting) = std::env::var_os(WRITER) else { return Ok(()) };
    let setting = setting.into_string().unwrap();
    let (name, rest) = setting.split_once('=').context("name=events=home")?;
    let (events, home) = rest.split_once('=').context("name=events=home")?;
    let log = Control::embedded(Path::new(home)).log;
    for number in 0..events.parse::<usize>()? {
        for stream in STREAMS {
            append(&*log, stream, &format!("{name}/{number}")).await?;
        }
    }
    Ok(())
}

async fn append(log: &dyn EventLog, stream: &str, id: &str) -> Result<()> {
    let mut version = 0;
    loop {
        match log.append(stream, version, &[event(&format!("{id}.0"))?, event(&format!("{id}.1"))?]).await {
            Ok(_) => return Ok(()),
            Err(Error::Conflict { actual, .. }) => version = actual,
            Err(error) => return Err(error.into()),
        }
    }
}

/// How many events each writer has in a stream; each of them must be in order, in whole pairs, and there once.
async fn written(log: &dyn EventLog, stream: &str) -> Result<BTreeMap<String, usize>> {
    let mut counts = BTreeMap::<String, usize>::new();
    for event in log.read(stream, 0).await? {
        let (name, place) = event.id().split_once('/').context("an id")?;
        let count = counts.entry(name.to_owned()).or_default();
        assert_eq!(place, format!("{}.{}", *count / 2, *count % 2), "writer {name} in {stream}");
        *count += 1;
    }
    assert!(counts.values().all(|count| count % 2 == 0), "half a batch: {counts:?}");
    Ok(counts)
}

async fn assert_order(log: &dyn EventLog) -> Result<()> {
    let mut versions = BTreeMap::<String, u64>::new();
    for (index, entry) in log.tail(0, usize::MAX).await?.into_iter().enumerate() {
        assert_eq!(entry.position, index as u64 + 1);
        let version = versions.entry(entry.stream).or_default();
        *version += 1;
        assert_eq!(entry.version, *version);
    }
    Ok(())
}

#[tokio::test]
async fn processes_share_a_file_and_one_dies() -> Result<()> {
    let home = tempfile::tempdir()?;
    // The first one goes on until it dies, however long the others have to wait for the file.
    let events = |number| if number == 0 { usize::MAX } else { EVENTS };
    let mut writers = (0..WRITERS)
        .map(|number| start_writer(home.path(), &format!("w{number}"), events(number)))
        .collect::<Result<Vec<_>>>()?;
    let log = Control::embedded(home.path()).log;
    // In the middle: everybody has written something.
    while written(&*log, STREAMS[1]).await?.len() < WRITERS {
        let head = log.head().await?;
        assert!(log.wait(head, Duration::from_mins(1)).await?, "nobody writes");
    }
    writers[0].kill()?;
    for (number, writer) in writers.iter_mut().enumerate() {
        let status = writer.wait()?;
        assert_eq!(status.success(), number > 0, "writer {number}: {status}");
    }
    for stream in STREAMS {
        let counts = written(&*log, stream).await?;
        for number in 1..WRITERS {
            assert_eq!(counts[&format!("w{number}")], EVENTS * 2);
        }
        assert!(counts["w0"] > 0, "{counts:?}");
    }
    assert_order(&*log).await
}

#[tokio::test]
async fn the_file_survives_the_death_of_all() -> Result<()> {
    let home = tempfile::tempdir()?;
    for round in 0..5 {
        let mut writers = (0..2)
            .map(|number| start_writer(home.path(), &format!("r{round}w{number}"), EVENTS))
            .collect::<Result<Vec<_>>>()?;
        let seen = {
            let log = Control::embedded(home.path()).log;
            let start = log.head().await?;
            while log.head().await? < start + 20 * (round + 1) {
                assert!(log.wait(log.head().await?, Duration::from_mins(1)).await?, "nobody writes");
            }
            log.head().await?
        };
        for writer in &mut writers {
            writer.kill()?;
            writer.wait()?;
        }
        let log = Control::embedded(home.path()).log;
        assert!(log.head().await? >= seen, "what was seen is gone");
        for stream in STREAMS {
            written(&*log, stream).await?;
        }
        assert_order(&*log).await?;
    }
    Ok(())
}

#[tokio::test]
async fn processes_that_start_together_agree_on_the_schema() -> Result<()> {
    let home = tempfile::tempdir()?;
    let opened = (0..8).map(|number| {
        let control = Control::embedded(&home.path().join("new"));
        tokio::spawn(async move { append(&*control.log, "job/a", &format!("{number}/0")).await })
    });
    for opened in opened.collect::<Vec<_>>() {
        opened.await??;
    }
    assert_eq!(Control::embedded(&home.path().join("new")).log.head().await?, 16);
    Ok(())
}
