//! From zero, and back to zero.

use http::StatusCode;
use regrove_events::JobState;
use serde_json::json;

use crate::jobs::{one_to_twenty, small};
use crate::polling::until;
use crate::up::{Up, UpOptions};

#[tokio::test(flavor = "multi_thread")]
async fn functions_start_when_needed_and_end_when_idle() {
    let up = Up::start(UpOptions { fast_time: Some(60.0), ..UpOptions::default() });
    let row = json!([one_to_twenty()]);
    up.request("first", &small("Scaled", 1)).await;
    assert_eq!(up.job_end("first").await.state, JobState::Succeeded);
    up.served("Scaled", "1").await;
    let expected = up.predict(Some("Scaled"), &row).await.json["probabilities"].clone();

    for round in 1..=3 {
        until("all functions end", async || up.functions().is_empty().then_some(())).await;
        let starts = up.reported("replica-starting", Some("predict")).len();
        let answer = up.predict(Some("Scaled"), &row).await;
        assert_eq!(answer.status, StatusCode::OK, "round {round}: {answer:?}");
        assert_eq!(answer.json["probabilities"], expected, "round {round}");
        assert!(up.functions().iter().any(|process| process.name == "predict"), "round {round}");
        until("the start is reported", async || {
            (up.reported("replica-starting", Some("predict")).len() == starts + 1).then_some(())
        })
        .await;
    }
    // Several at once while nothing runs: all are held, none is refused.
    until("all functions end", async || up.functions().is_empty().then_some(())).await;
    let (one, two, three) = tokio::join!(
        up.predict(Some("Scaled"), &row),
        up.predict(Some("Scaled"), &row),
        up.predict(Some("Scaled"), &row)
    );
    for answer in [one, two, three] {
        assert_eq!(answer.json["probabilities"], expected, "{answer:?}");
    }
    // The next event wakes what it needs.
    until("all functions end", async || up.functions().is_empty().then_some(())).await;
    up.request("second", &small("Scaled", 2)).await;
    assert_eq!(up.job_end("second").await.state, JobState::Succeeded);
    up.served("Scaled", "2").await;
    let crashed = up.reported("replica-crashed", None);
    assert!(crashed.is_empty(), "{crashed:?}");
}

/// Events that nobody could deliver yet survive the runtime, and so does the served version.
#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_runtime_goes_on_where_it_was() {
    let mut up = Up::start(UpOptions::default());
    up.request("before", &small("Kept", 1)).await;
    assert_eq!(up.job_end("before").await.state, JobState::Succeeded);
    up.served("Kept", "1").await;
    up.request("during", &small("Kept", 2)).await;
    up.kill();
    // The log can be read while nothing runs.
    let listed = up.regrove(&["job", "list", "--json"]).await.ok().json();
    assert!(
        listed.as_array().unwrap().iter().any(|job| job["id"] == "before" && job["state"] == "succeeded"),
        "{listed}"
    );
    up.run();
    let answer = up.predict(Some("Kept"), &json!([one_to_twenty()])).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    assert_eq!(up.job_end("during").await.state, JobState::Succeeded);
    up.served("Kept", "2").await;
}
