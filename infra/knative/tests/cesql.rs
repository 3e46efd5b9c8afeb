//! The compatibility kit of `CloudEvents` SQL, and what it leaves out.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a case that cannot be read fails the test")]

use std::path::PathBuf;

use proptest::prelude::*;
use regrove_events::CloudEvent;
use regrove_knative::cesql::{EXPRESSION_DEPTH_MAX, EXPRESSION_LENGTH_MAX, EvaluationError, Expression, Value};
use serde_json::{Value as Json, json};

fn event(json: &Json) -> CloudEvent {
    regrove_events::json_format::from_slice(json.to_string().as_bytes()).unwrap()
}

fn any_event() -> Json {
    json!({"specversion": "1.0", "id": "1", "source": "/kit", "type": "kit"})
}

fn event_of(case: &Json) -> CloudEvent {
    let mut json = case.get("event").cloned().unwrap_or_else(any_event);
    if let Some(overrides) = case.get("eventOverrides").and_then(Json::as_object) {
        let members = json.as_object_mut().unwrap();
        members.extend(overrides.iter().map(|(key, value)| (key.clone(), value.clone())));
    }
    event(&json)
}

fn name_of(error: &EvaluationError) -> &'static str {
    match error {
        EvaluationError::Math(_) => "math",
        EvaluationError::Cast(_) => "cast",
        EvaluationError::MissingFunction(_) => "missingFunction",
        EvaluationError::Function(_) => "functionEvaluation",
        EvaluationError::MissingAttribute(_) => "missingAttribute",
    }
}

fn json_of(value: Value) -> Json {
    match value {
        Value::String(text) => json!(text),
        Value::Integer(number) => json!(number),
        Value::Boolean(truth) => json!(truth),
    }
}

/// The text of an expression that YAML took for another type.
fn text_of(expression: &Json) -> String {
    expression.as_str().map_or_else(|| expression.to_string(), str::to_owned)
}

fn check(file: &str, case: &Json) {
    let at = format!("{file}: {}", case["name"]);
    let text = text_of(&case["expression"]);
    let error = case.get("error").and_then(Json::as_str);
    let expression = match (Expression::parse(&text), error) {
        (Err(_), Some("parse")) => return,
        (Ok(_), Some("parse")) => panic!("{at}: parsed"),
        (Err(fault), _) => panic!("{at}: {fault}"),
        (Ok(expression), _) => expression,
    };
    let outcome = expression.evaluate(&event_of(case));
    let names: Vec<&str> = outcome.errors.iter().map(name_of).collect();
    assert_eq!(names, error.into_iter().collect::<Vec<_>>(), "{at}: {:?}", outcome.errors);
    if let Some(expected) = case.get("result") {
        assert_eq!(json_of(outcome.value), *expected, "{at}");
    }
}

#[test]
fn every_case_of_the_compatibility_kit_passes() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata/cesql");
    let mut cases = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let file: Json = serde_saphyr::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        for case in file["tests"].as_array().unwrap() {
            check(&path.file_name().unwrap().to_string_lossy(), case);
            cases += 1;
        }
    }
    assert_eq!(cases, 275);
}

/// Where Knative's own engine and the kit, which this one follows, are of two minds.
#[test]
fn the_go_sdk_differs_in_the_documented_cases_only() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/cesql/go-sdk-results.json");
    let rows: Vec<Json> = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let differing: Vec<&str> =
        rows.iter().filter(|row| row["agrees"] == false).map(|row| row["expression"].as_str().unwrap()).collect();
    assert_eq!((rows.len(), differing), (275, vec!["x LIKE 123", "NOT 10"]));
    assert_eq!(evaluate("NOT 10"), (json!(true), vec!["cast"]));
    assert!(Expression::parse("x LIKE 123").is_err());
}

fn evaluate(text: &str) -> (Json, Vec<&'static str>) {
    let outcome = Expression::parse(text).unwrap().evaluate(&event(&any_event()));
    (json_of(outcome.value), outcome.errors.iter().map(name_of).collect())
}

#[test]
fn operators_bind_as_the_grammar_says() {
    for (text, expected) in [
        ("NOT FALSE AND FALSE", json!(false)),
        ("TRUE OR FALSE AND FALSE", json!(true)),
        ("TRUE OR TRUE XOR TRUE", json!(true)),
        ("1 - 2 - 3", json!(-4)),
        ("8 / 4 / 2", json!(1)),
        ("1 + 2 * 3 = 7 AND NOT TRUE = FALSE", json!(true)),
        // IN binds more tightly than the product: 2 * (3 IN (3)).
        ("2 * 3 IN (3)", json!(2)),
        ("NOT EXISTS nosuch", json!(true)),
        ("-7 / 2", json!(-3)),
        ("-7 % 2", json!(-1)),
        ("7 % -2", json!(1)),
    ] {
        assert_eq!(evaluate(text), (expected, vec![]), "{text}");
    }
}

#[test]
fn errors_accumulate_and_overflow_is_a_math_error() {
    assert_eq!(evaluate("one + two"), (json!(0), vec!["missingAttribute", "missingAttribute"]));
    assert_eq!(evaluate("2147483647 + 1"), (json!(0), vec!["math"]));
    assert_eq!(evaluate("-2147483648 / -1"), (json!(0), vec!["math"]));
    assert_eq!(evaluate("-2147483648 % -1"), (json!(0), vec![]));
    assert_eq!(evaluate("-(-2147483648)"), (json!(0), vec!["math"]));
    assert_eq!(evaluate("1 IN (1, nosuch)"), (json!(true), vec![]));
    assert_eq!(evaluate("1 IN (nosuch, 1)"), (json!(false), vec!["missingAttribute"]));
    assert_eq!(evaluate("SUBSTRING('abc', 1, -1)"), (json!(""), vec!["functionEvaluation"]));
    assert_eq!(evaluate("LENGTH('čau')"), (json!(3), vec![]));
}

#[test]
fn faults_of_the_text_are_named_with_their_place() {
    for (text, at) in [
        ("", 1),
        ("type =", 7),
        ("1 2", 3),
        ("'open", 1),
        ("n < 99999999999", 5),
        ("n < 2147483648", 5),
        ("a_b = 1", 1),
        ("x LIKE 5", 8),
        ("1 IN ()", 8),
        ("EXISTS 5", 8),
        ("(1", 3),
        ("a ? b", 3),
        ("LEFT('a', )", 11),
        ("F1(2)", 1),
        ("AND", 1),
    ] {
        assert_eq!(Expression::parse(text).unwrap_err().at, at, "{text}");
    }
}

#[test]
fn length_and_depth_are_bounded() {
    let nested = |depth: usize| format!("{}1{}", "(".repeat(depth), ")".repeat(depth));
    assert!(Expression::parse(&nested(EXPRESSION_DEPTH_MAX / 2 - 1)).is_ok());
    assert!(Expression::parse(&nested(EXPRESSION_DEPTH_MAX)).is_err());
    assert!(Expression::parse(&nested(EXPRESSION_LENGTH_MAX / 2 - 1)).is_err());
    let chain = |links: usize| vec!["1"; links].join("+");
    assert!(Expression::parse(&chain(EXPRESSION_DEPTH_MAX)).is_ok());
    assert!(Expression::parse(&chain(EXPRESSION_DEPTH_MAX + 1)).is_err());
    assert!(Expression::parse(&"-".repeat(EXPRESSION_LENGTH_MAX)).is_err());
    assert!(Expression::parse(&"NOT ".repeat(EXPRESSION_LENGTH_MAX / 4)).is_err());
    assert!(Expression::parse(&" ".repeat(EXPRESSION_LENGTH_MAX + 1)).is_err());
}

proptest! {
    #[test]
    fn any_text_is_parsed_or_refused(text in any::<String>()) {
        if let Ok(expression) = Expression::parse(&text) {
            expression.evaluate(&event(&any_event()));
        }
    }

    #[test]
    fn any_row_of_words_is_parsed_or_refused(
        words in prop::collection::vec(
            prop::sample::select(vec![
                "NOT", "AND", "OR", "XOR", "LIKE", "IN", "EXISTS", "true", "type", "nosuch", "1", "2147483648", "-", "+",
                "*", "/", "%", "=", "<>", "<=", "(", ")", ",", "'a%'", "\"b\"", "LEFT", "SUBSTRING", "CONCAT_WS", "é",
            ]),
            0..24,
        ),
    ) {
        if let Ok(expression) = Expression::parse(&words.join(" ")) {
            let outcome = expression.evaluate(&event(&any_event()));
            prop_assert_eq!(
                expression.holds(&event(&any_event())),
                outcome.errors.is_empty() && outcome.value == Value::Boolean(true)
            );
        }
    }

    #[test]
    fn like_agrees_with_a_plain_recursive_matcher(text in "[ab_]{0,8}", pattern in "[ab%_]{0,8}") {
        fn matches(text: &[u8], pattern: &[u8]) -> bool {
            match pattern.split_first() {
                None => text.is_empty(),
                Some((b'%', rest)) => (0..=text.len()).any(|skip| matches(&text[skip..], rest)),
                Some((b'_', rest)) => !text.is_empty() && matches(&text[1..], rest),
                Some((literal, rest)) => text.first() == Some(literal) && matches(&text[1..], rest),
            }
        }
        let expression = Expression::parse(&format!("'{text}' LIKE '{pattern}'")).unwrap();
        prop_assert_eq!(expression.holds(&event(&any_event())), matches(text.as_bytes(), pattern.as_bytes()));
    }
}
