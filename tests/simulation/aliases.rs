//! A pointer that follows an alias.

use http::StatusCode;
use regrove_events::SwitchedBy;
use regrove_events::event::TrainRequested;
use serde_json::json;

use crate::request;
use crate::world::{Weather, World};

/// Another version, with or without the alias.
fn wish(random_state: u32, alias: Option<&str>) -> TrainRequested {
    let mut wish = request();
    wish.params.insert("random_state".to_owned(), json!(random_state));
    wish.model.alias = alias.map(str::to_owned);
    wish
}

async fn served(world: &World) -> (String, SwitchedBy) {
    let current = world.serving("Simulated").await.current.unwrap();
    (current.version, current.by)
}

#[tokio::test]
async fn a_new_version_takes_over_when_it_gets_the_followed_alias_and_only_then() {
    let mut world = World::new().await;
    world.request("job-1", &wish(1, Some("champion")));
    world.settle(Weather::Fair).await;
    let (status, answer) = world.load(&json!({"alias": "champion"})).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(served(&world).await, ("1".to_owned(), SwitchedBy::Request));
    world.request("job-2", &wish(2, None));
    world.settle(Weather::Twice).await;
    assert_eq!(served(&world).await, ("1".to_owned(), SwitchedBy::Request), "a challenger is no champion");
    world.request("job-3", &wish(3, Some("champion")));
    world.settle(Weather::Twice).await;
    assert_eq!(served(&world).await, ("3".to_owned(), SwitchedBy::Alias), "at once, without a tick");
    assert_eq!(world.serving("Simulated").await.switches, 3, "each move once");
    assert!(world.dead.is_empty(), "{:?}", world.dead);
}
