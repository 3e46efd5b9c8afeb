//! Retries, waits and dead letters against recordings of Knative's own.

#![expect(clippy::unwrap_used, reason = "a recording that cannot be read fails the test")]

use std::time::Duration;

use jiff::fmt::strtime;
use jiff::{SignedDuration, Timestamp};
use regrove_knative::delivery::{
    DEFAULT_BACKOFF_DELAY, DEFAULT_RETRY, DeadLetterAttributes, DeliveryPolicy, DeliverySpec, ERROR_DATA_LENGTH_MAX,
    Failure, is_retryable, parse_period, parse_retry_after,
};
use regrove_knative::manifest::{Application, Problem, Source};
use serde_json::{Value as Json, json};

fn vectors(name: &str) -> Vec<Json> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/eventing/delivery.json");
    let json: Json = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let vectors = json[name].as_array().unwrap().clone();
    assert!(!vectors.is_empty());
    vectors
}

/// Which delivery features are on: (timeout, retryAfterMax).
type Features = (bool, bool);

const ALL: Features = (true, true);

/// A manifest with a broker and a trigger, each perhaps with a delivery, and the features as a `ConfigMap`.
fn parse(features: Features, trigger: Option<&Json>, broker: Option<&Json>) -> Result<Application, Vec<Problem>> {
    let word = |on: bool| if on { "enabled" } else { "disabled" };
    let mut objects = [
        json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "config-features", "namespace": "knative-eventing"},
            "data": {"delivery-timeout": word(features.0), "delivery-retryafter": word(features.1)},
        }),
        json!({
            "apiVersion": "eventing.knative.dev/v1", "kind": "Broker", "metadata": {"name": "default"}, "spec": {},
        }),
        json!({
            "apiVersion": "eventing.knative.dev/v1", "kind": "Trigger", "metadata": {"name": "t"},
            "spec": {"broker": "default", "subscriber": {"uri": "http://subscriber"}},
        }),
    ];
    for (object, delivery) in objects.iter_mut().skip(1).zip([broker, trigger]) {
        if let Some(delivery) = delivery {
            object["spec"]["delivery"] = delivery.clone();
        }
    }
    let text = objects.iter().map(Json::to_string).collect::<Vec<_>>().join("\n---\n");
    Application::parse(&[Source { name: "-", text: &text }]).map_err(|problems| problems.0)
}

fn spec(features: Features, delivery: &Json) -> Result<DeliverySpec, Vec<Problem>> {
    let application = parse(features, Some(delivery), None)?;
    Ok(application.triggers.into_iter().next().unwrap().delivery.unwrap())
}

fn policy(delivery: &Json) -> DeliveryPolicy {
    DeliveryPolicy::from(&spec(ALL, delivery).unwrap())
}

/// Whether our problem is what upstream says in the form `reason: path`.
fn agrees(problem: &Problem, upstream: &str) -> bool {
    let path = problem.path.replace("spec.delivery.", "");
    if upstream.starts_with("must not set the field(s): ") {
        return problem.reason.starts_with("must not set the field(s)") && upstream.ends_with(&path);
    }
    upstream.strip_suffix(&format!(": {path}")).is_some_and(|reason| problem.reason.starts_with(reason))
}

#[test]
fn backoff_is_as_recorded() {
    for vector in vectors("backoff") {
        let policy = policy(&vector["spec"]);
        let waits = vector["wait_before_retry_ms"].as_array().cloned().unwrap_or_default();
        assert_eq!(u64::from(policy.retry), vector["retry_max"].as_u64().unwrap(), "{}", vector["spec"]);
        // Upstream's doubling overflows at the 36th retry; ours stays at the greatest wait.
        let meaningful = waits.iter().zip(1_u32..).take_while(|(_, retry)| *retry <= 36);
        for (wait, retry) in meaningful {
            let expected = Duration::from_millis(wait.as_u64().unwrap());
            assert_eq!(policy.backoff(retry), expected, "{} retry {retry}", vector["spec"]);
        }
    }
    let policy = policy(&json!({"retry": 99, "backoffPolicy": "exponential", "backoffDelay": "PT0.2S"}));
    assert!((1..99).all(|retry| policy.backoff(retry) <= policy.backoff(retry + 1)));
}

#[test]
fn the_same_statuses_are_retried() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/eventing/delivery.json");
    let json: Json = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    for (list, retried) in [("retried_ranges", true), ("not_retried_ranges", false)] {
        for range in json["status_codes"][list].as_array().unwrap() {
            let (first, last) = (range[0].as_i64().unwrap(), range[1].as_i64().unwrap());
            for status in first..=last {
                // -1 stands for no response, and so does `None`.
                assert_eq!(is_retryable(u16::try_from(status).ok()), retried, "{status}");
            }
        }
    }
}

#[test]
fn retry_after_counts_where_recorded() {
    for vector in vectors("retry_after") {
        let mut delivery = json!({"retry": 3, "backoffPolicy": vector["policy"], "backoffDelay": vector["delay"]});
        if let Some(max) = vector["retry_after_max"].as_str() {
            delivery["retryAfterMax"] = json!(max);
        }
        let policy = policy(&delivery);
        let status = u16::try_from(vector["status"].as_u64().unwrap()).ok();
        let header = vector["retry_after"].as_str().filter(|header| !header.is_empty());
        for (wait, retry) in vector["wait_ms"].as_array().unwrap().iter().zip(1_u32..) {
            let expected = Duration::from_millis(wait.as_u64().unwrap());
            assert_eq!(policy.wait(retry, status, header, Timestamp::UNIX_EPOCH), expected, "{vector} retry {retry}");
        }
    }
}

#[test]
fn all_forms_of_http_dates_are_read() {
    let now: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
    for vector in vectors("retry_after_dates") {
        let offset = vector["offset_s"].as_i64().unwrap();
        let date = now + SignedDuration::from_secs(offset);
        let format = match vector["format"].as_str().unwrap() {
            "IMF-fixdate" => "%a, %d %b %Y %H:%M:%S GMT",
            "RFC 850" => "%A, %d-%b-%y %H:%M:%S GMT",
            "asctime" => "%a %b %e %H:%M:%S %Y",
            _ => "%Y-%m-%dT%H:%M:%SZ",
        };
        let header = strtime::format(format, &date.to_zoned(jiff::tz::TimeZone::UTC)).unwrap();
        let expected = match vector["parsed_s_rounded_up"].as_i64().unwrap() {
            0 => None,
            seconds => Some(Duration::from_secs(u64::try_from(seconds).unwrap_or(0))),
        };
        assert_eq!(parse_retry_after(&header, now), expected, "{header}");
    }
}

#[test]
fn durations_are_read_as_recorded() {
    for vector in vectors("durations") {
        let text = vector["text"].as_str().unwrap();
        let parsed = parse_period(text).ok().map(|period| period.as_nanos());
        assert_eq!(parsed, vector["duration_ns"].as_i64().map(i128::from), "{text}");
        for (field, key) in
            [("backoffDelay", "as_backoffDelay"), ("timeout", "as_timeout"), ("retryAfterMax", "as_retryAfterMax")]
        {
            let admitted = spec(ALL, &json!({field: text}));
            match vector[key].as_str() {
                None => assert!(admitted.is_ok(), "{field}: {text}"),
                Some(upstream) => {
                    let problems = admitted.unwrap_err();
                    assert!(problems.len() == 1 && agrees(&problems[0], upstream), "{upstream} {problems:?}");
                }
            }
        }
    }
}

#[test]
fn delivery_specs_are_admitted_as_recorded() {
    for vector in vectors("spec_validity") {
        let features = match vector["features"].as_str().unwrap() {
            "both enabled" => (true, true),
            "both disabled" => (false, false),
            _ => (true, false),
        };
        let admitted = spec(features, &vector["spec"]);
        match vector["error"].as_str() {
            None => assert!(admitted.is_ok(), "{vector}: {admitted:?}"),
            Some(upstream) => {
                let problems = admitted.unwrap_err();
                assert!(problems.len() == 1 && agrees(&problems[0], upstream), "{upstream} {problems:?}");
            }
        }
    }
}

#[test]
fn dead_letters_carry_what_was_recorded() {
    for vector in vectors("end_to_end") {
        let headers = &vector["dead_letter_sink"]["last_request"]["headers"];
        let header = |name: &str| headers[name].as_str();
        let (Some(code), Some(data)) = (header("ce-knativeerrorcode"), header("ce-knativeerrordata")) else {
            continue;
        };
        let code: u16 = code.parse().unwrap();
        let destination = header("ce-knativeerrordest").unwrap();
        let transport = data.strip_prefix("base64(dispatch error: ").and_then(|message| message.strip_suffix(')'));
        let body = transport.map_or_else(|| decode(data), |message| format!("dispatch error: {message}").into_bytes());
        let failure = match transport {
            Some(message) => Failure::Transport { message },
            None => Failure::Response { status: code, body: &body },
        };
        let attributes = DeadLetterAttributes::new(destination, failure);
        assert_eq!(decode(&attributes.data), body, "{}", vector["name"]);
        assert_eq!((attributes.code, attributes.destination.as_str()), (code, destination), "{}", vector["name"]);
    }
}

fn decode(text: &str) -> Vec<u8> {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.decode(text).unwrap()
}

#[test]
fn long_error_bodies_are_cut() {
    for length in [768, 769, 100_000] {
        let body = vec![b'e'; length];
        let attributes = DeadLetterAttributes::new("http://d", Failure::Response { status: 500, body: &body });
        assert_eq!(attributes.data.len(), ERROR_DATA_LENGTH_MAX);
        assert_eq!(decode(&attributes.data), &body[..768]);
    }
}

#[test]
fn a_triggers_delivery_replaces_its_brokers_as_a_whole() {
    let sink = json!({"retry": 7, "deadLetterSink": {"uri": "http://sink"}});
    let in_force = |trigger: Option<&Json>, broker: Option<&Json>| {
        let application = parse(ALL, trigger, broker).unwrap();
        let (trigger, broker) = (&application.triggers[0], &application.brokers[0]);
        let policy = trigger.delivery_policy(broker);
        (policy.retry, policy.dead_letter_sink.is_some(), application.warnings.len())
    };
    assert_eq!(in_force(None, Some(&sink)), (7, true, 0));
    assert_eq!(in_force(Some(&json!({})), Some(&sink)), (7, true, 0));
    assert_eq!(in_force(Some(&json!({"retry": 1})), Some(&sink)), (1, false, 1));
    assert_eq!(in_force(Some(&sink), Some(&json!({"retry": 1}))), (7, true, 0));
    assert_eq!(in_force(None, None), (DEFAULT_RETRY, false, 0));
    let default = DeliveryPolicy::broker_default();
    assert_eq!((default.backoff(1), default.backoff(2)), (DEFAULT_BACKOFF_DELAY, DEFAULT_BACKOFF_DELAY * 2));
}
