//! Functions that have nothing of ours, in Python and in Node, from manifests as Knative's documentation writes them.

use http::{Method, StatusCode};
use regrove_test_support::programs::{venv_program, workspace};
use serde_json::{Value, json};

use crate::polling::until;
use crate::up::{Foreign, Up, UpOptions};

fn functions() -> Up {
    let folder = workspace().join("examples/functions");
    let python = venv_program("python").unwrap();
    let application = Foreign {
        exec: vec![
            format!("greeter={} {}", python.display(), folder.join("greeter.py").display()),
            format!("display=node {}", folder.join("display.js").display()),
        ],
        manifests: folder,
    };
    Up::start(UpOptions { application: Some(application), fast_time: Some(60.0), ..UpOptions::default() })
}

fn wanted(id: &str) -> [(&str, &str); 5] {
    [
        ("ce-specversion", "1.0"),
        ("ce-id", id),
        ("ce-source", "/tests"),
        ("ce-type", "com.example.greeting.wanted"),
        ("content-type", "application/json"),
    ]
}

/// The events that the Node function printed.
fn displayed(up: &Up) -> Vec<Value> {
    let lines = up.reported("log", Some("display"));
    lines.iter().filter_map(|line| serde_json::from_str(line["text"].as_str()?).ok()).collect()
}

fn of_id(events: Vec<Value>, id: &str) -> Option<Value> {
    events.into_iter().find(|event| event["id"] == id)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_python_and_a_node_function_start_at_an_event_and_answer_it() {
    let up = functions();
    for round in 1..=2 {
        until("nothing runs", async || up.functions().is_empty().then_some(())).await;
        let id = format!("event %{round} ü");
        let accepted = up
            .post_event(
                &wanted(&id.replace('%', "%25").replace(' ', "%20").replace('ü', "%C3%BC")),
                "{\"name\":\"Ada\"}",
            )
            .await;
        assert_eq!(accepted.status, StatusCode::ACCEPTED, "{accepted:?}");
        // Python's reply went through the broker to Node.
        let written =
            until("Node prints what Python wrote", async || of_id(displayed(&up), &format!("{id}/greeting"))).await;
        assert_eq!(written["type"], "com.example.greeting.written");
        assert_eq!(written["source"], "/examples/greeter");
        assert_eq!(written["data"], json!({"text": "Good morning, Ada!"}));
        assert_eq!(written["knativebrokerttl"], Value::Null, "the time to live stays inside the broker");
        // Node's reply, in structured mode, came back to the broker; nobody wants it.
        let shown = until("Node's reply is taken", async || {
            of_id(up.reported("event-accepted", None), &format!("{id}/greeting/shown"))
        })
        .await;
        assert_eq!((&shown["ty"], &shown["triggers"]), (&json!("com.example.greeting.shown"), &json!(0)));
        for service in ["greeter", "display"] {
            assert_eq!(up.reported("replica-starting", Some(service)).len(), round, "{service} starts from zero");
            until("the cold start is reported", async || {
                (up.reported("cold-start", Some(service)).len() == round).then_some(())
            })
            .await;
        }
    }
    let printed = displayed(&up).len();
    let replay = ["event", "replay", "--trigger", "default/display", "--from", "1970-01-01T00:00:00Z", "--json"];
    let asked = up.regrove(&replay).await.ok().json();
    assert_eq!(asked["events"], 6, "two rounds of wanted, written and shown: {asked}");
    until("what was written is printed again", async || (displayed(&up).len() == printed + 2).then_some(())).await;
    up.regrove(&["event", "replay", "--trigger", "display", "--from", "x"]).await.fails(2, &["default/display"]);
    assert!(up.reported("event-retried", None).is_empty(), "{:?}", up.reported("event-retried", None));
    assert!(up.reported("replica-crashed", None).is_empty(), "{:?}", up.reported("replica-crashed", None));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_foreign_function_refuses_for_good_is_a_dead_letter_with_its_words() {
    let up = functions();
    let accepted = up.post_event(&wanted("nameless"), "{\"surname\":\"Lovelace\"}").await;
    assert_eq!(accepted.status, StatusCode::ACCEPTED, "{accepted:?}");
    let dead = until("the dead letter", async || of_id(up.reported("event-dead", None), "nameless")).await;
    assert_eq!(dead["trigger"], "default/greeter");
    let listed = up.regrove(&["event", "dead", "--json"]).await.ok().json();
    assert_eq!(listed[0]["code"], 400, "{listed}");
    let shown = up.regrove(&["event", "show", "nameless", "--json"]).await.ok().json();
    assert_eq!(shown[0]["attempts"].as_array().map(Vec::len), Some(1), "400 is final: {shown}");
    let number = listed[0]["id"].to_string();
    let discarded = up.regrove(&["event", "discard", &number, "--json"]).await.ok().json();
    assert_eq!(discarded, json!({"discarded": 1}));
    assert_eq!(up.regrove(&["event", "dead", "--json"]).await.ok().json(), json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_functions_answer_at_the_gateway_too() {
    let up = functions();
    let answer = up.call("display", Method::GET, "/", None).await;
    assert_eq!((answer.status, &answer.headers["allow"]), (StatusCode::METHOD_NOT_ALLOWED, &"POST".parse().unwrap()));
    let answer = up.call("greeter", Method::POST, "/", Some(&json!({"name": "Ada"}))).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST, "no event: {answer:?}");
}
