//! The program over HTTP/2, which gateways and meshes speak to it without asking (prior knowledge).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::Version;
use serde_json::{Value, json};

use crate::{DEADLINE, PAUSE, home, start, terminate};

/// Requests under way at once, all on one connection.
const STREAMS: usize = 8;
/// Rows of the large requests, which are answered on threads of their own.
const ROWS: usize = 3000;

/// Asks for so many rows; `None` when nobody listens any more.
async fn predict(client: &reqwest::Client, url: &str, n_rows: usize) -> Option<()> {
    let body = json!({"features": vec![[1, 2]; n_rows]}).to_string();
    let answer = match client.post(url).header("content-type", "application/json").body(body).send().await {
        Ok(answer) => answer,
        Err(error) => {
            assert!(error.is_connect(), "a request broke: {error:?}");
            return None;
        }
    };
    assert_eq!((answer.status().as_u16(), answer.version()), (200, Version::HTTP_2));
    let said: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
    assert_eq!(said["predictions"].as_array().unwrap().len(), n_rows);
    Some(())
}

#[tokio::test]
async fn sigterm_breaks_no_stream_of_http_2() {
    let home = home().await;
    let (mut process, address) = start(home.path(), &[]);
    let url = format!("http://{address}/predict");
    // What breaks is told, not tried again.
    let client = reqwest::Client::builder().no_proxy().http2_prior_knowledge().retry(reqwest::retry::never());
    let client = client.timeout(DEADLINE).build().unwrap();
    // The others find its connection.
    predict(&client, &url, 1).await.unwrap();
    let answered = Arc::new(AtomicUsize::new(0));
    let streams: Vec<_> = (0..STREAMS)
        .map(|stream| {
            let (client, url, answered) = (client.clone(), url.clone(), Arc::clone(&answered));
            let n_rows = if stream % 2 == 0 { 1 } else { ROWS };
            tokio::spawn(async move {
                while predict(&client, &url, n_rows).await.is_some() {
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    while answered.load(Ordering::Relaxed) < 10 * STREAMS {
        tokio::time::sleep(PAUSE).await;
    }
    terminate(&process);
    for stream in streams {
        stream.await.unwrap();
    }
    assert!(process.wait().unwrap().success());
}
