//! Files that are not what they should be, and how soon other processes' appends are seen.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::Result;
use regrove_events::CloudEvent;
use regrove_store::Control;

/// Generous on a busy machine: what is promised is about 10 ms.
const NOTICED_WITHIN: Duration = Duration::from_millis(500);

async fn complaint(control: &Control) -> String {
    control.check().await.err().map(|error| error.to_string()).unwrap_or_default()
}

#[tokio::test]
async fn a_file_that_is_no_database_is_named() -> Result<()> {
    let home = tempfile::tempdir()?;
    fs::write(home.path().join("control.db"), "this is not a database, however long one looks at it".repeat(100))?;
    let complaint = complaint(&Control::embedded(home.path())).await;
    assert!(complaint.contains("control.db") && complaint.contains("not a database"), "{complaint}");
    Ok(())
}

#[tokio::test]
async fn a_file_of_a_newer_program_is_left_alone() -> Result<()> {
    let home = tempfile::tempdir()?;
    Control::embedded(home.path()).check().await?;
    let file = rusqlite::Connection::open(home.path().join("control.db"))?;
    file.pragma_update(None, "user_version", 2)?;
    let complaint = complaint(&Control::embedded(home.path())).await;
    assert!(complaint.contains("newer"), "{complaint}");
    Ok(())
}

#[tokio::test]
async fn what_stands_in_the_way_is_named_and_may_go_away() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let home = directory.path().join("home");
    fs::write(&home, "a file where the directory should be")?;
    let control = Control::embedded(&home);
    let complaint = complaint(&control).await;
    assert!(complaint.contains(&home.display().to_string()), "{complaint}");
    fs::remove_file(&home)?;
    control.check().await?;
    Ok(())
}

#[tokio::test]
async fn an_append_through_another_handle_is_noticed_soon() -> Result<()> {
    let home = tempfile::tempdir()?;
    let (ours, theirs) = (Control::embedded(home.path()).log, Control::embedded(home.path()).log);
    let mut seen = Vec::new();
    for version in 0..20 {
        let waiting = tokio::spawn({
            let ours = ours.clone();
            async move { ours.wait(version, Duration::from_secs(30)).await.map(|news| (news, Instant::now())) }
        });
        tokio::task::yield_now().await;
        let event = CloudEvent::builder(version.to_string(), "/s", "t").build()?;
        theirs.append("job/a", version, &[event]).await?;
        let appended = Instant::now();
        let (news, noticed) = waiting.await??;
        assert!(news);
        seen.push(noticed.saturating_duration_since(appended));
    }
    seen.sort();
    println!("noticed after {:?} (median), {:?} (longest)", seen[seen.len() / 2], seen[seen.len() - 1]);
    assert!(seen[seen.len() / 2] < NOTICED_WITHIN, "{seen:?}");
    Ok(())
}

#[tokio::test]
async fn opening_a_file_is_quick() -> Result<()> {
    let home = tempfile::tempdir()?;
    Control::embedded(home.path()).check().await?;
    let mut taken = Vec::new();
    for _ in 0..50 {
        let since = Instant::now();
        Control::embedded(home.path()).check().await?;
        taken.push(since.elapsed());
    }
    taken.sort();
    println!("opened and asked in {:?} (least), {:?} (median)", taken[0], taken[taken.len() / 2]);
    assert!(taken[0] < Duration::from_millis(50), "{taken:?}");
    Ok(())
}
