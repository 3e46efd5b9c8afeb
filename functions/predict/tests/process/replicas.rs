//! Every replica follows what the log says.

use std::net::SocketAddr;
use std::time::Instant;

use regrove_events::event::ModelLoaded;
use regrove_events::log::serving_stream;
use regrove_events::{Event, serving};
use regrove_store::Control;

use crate::{DEADLINE, PAUSE, connect, home, predict, start, terminate};

/// Asks until the replica answers from the version.
pub(crate) fn until_version(address: SocketAddr, version: &str) {
    let begun = Instant::now();
    let mut stream = connect(address);
    let wanted = format!("\"model_version\":\"{version}\"");
    loop {
        let (status, _, body) = predict(&mut stream).unwrap();
        assert_eq!(status, 200, "{body}");
        if body.contains(&wanted) {
            return;
        }
        assert!(begun.elapsed() < DEADLINE, "{address} does not follow: {body}");
        std::thread::sleep(PAUSE);
    }
}

#[tokio::test]
async fn every_replica_follows_the_same_event() {
    let home = home().await;
    let mut replicas: Vec<_> = (0..3).map(|_| start(home.path(), &[])).collect();
    for (_, address) in &replicas {
        until_version(*address, "1");
    }
    let control = Control::embedded(home.path());
    let stream = serving_stream("Drained");
    let history = control.log.read(&stream, 0).await.unwrap();
    let loaded = ModelLoaded { version: "2".to_owned(), ..serving::replay(&history).current.unwrap() };
    let event =
        Event::ModelLoaded(loaded).first("2", "/test", "Drained", "2026-11-27T08:00:01Z".parse().unwrap()).unwrap();
    control.log.append(&stream, 1, &[event]).await.unwrap();
    for (_, address) in &replicas {
        until_version(*address, "2");
    }
    for (process, _) in &mut replicas {
        terminate(process);
        assert!(process.wait().unwrap().success());
    }
}
