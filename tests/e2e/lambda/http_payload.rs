//! What Lambda sends for an HTTP request, and reads as an answer.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::emulator::Lambda;
use super::stack::{Stack, StackOptions, package};
use super::template::Template;
use crate::polling::until;

/// A Function URL's payload, format 2.0 (AWS Lambda Developer Guide, "Invoking Lambda function URLs").
pub(crate) fn function_url(method: &str, path: &str, body: Option<&Value>) -> Value {
    json!({
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": "",
        "headers": {"content-type": "application/json", "host": "abc.lambda-url.eu-central-1.on.aws"},
        "requestContext": {
            "accountId": "anonymous",
            "apiId": "abc",
            "domainName": "abc.lambda-url.eu-central-1.on.aws",
            "domainPrefix": "abc",
            "http": {
                "method": method,
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": "203.0.113.7",
                "userAgent": "curl/8.0"
            },
            "requestId": "4b1f6d33",
            "routeKey": "$default",
            "stage": "$default",
            "time": "27/Nov/2026:08:00:00 +0000",
            "timeEpoch": 1_795_766_400_000_u64
        },
        "body": body.map(Value::to_string),
        "isBase64Encoded": false
    })
}

/// An API Gateway REST payload, format 1.0.
fn rest(method: &str, path: &str, body: &Value) -> Value {
    json!({
        "resource": "/{proxy+}",
        "path": path,
        "httpMethod": method,
        "headers": {"Content-Type": "application/json"},
        "multiValueHeaders": {"Content-Type": ["application/json"]},
        "queryStringParameters": null,
        "multiValueQueryStringParameters": null,
        "pathParameters": {"proxy": path.trim_start_matches('/')},
        "stageVariables": null,
        "requestContext": {
            "resourceId": "abc", "apiId": "abc", "resourcePath": "/{proxy+}", "httpMethod": method,
            "requestId": "c6af9ac6", "accountId": "123456789012", "stage": "prod", "path": path,
            "identity": {"sourceIp": "203.0.113.7"}, "protocol": "HTTP/1.1"
        },
        "body": body.to_string(),
        "isBase64Encoded": false
    })
}

/// An answer's body as JSON.
#[track_caller]
pub(crate) fn body(answer: &Value) -> Value {
    assert_eq!(answer["isBase64Encoded"], false, "{answer}");
    serde_json::from_str(answer["body"].as_str().unwrap()).unwrap()
}

/// Problems keep their status, their media type and their advice, in every payload format.
#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_answers_too() {
    let stack = Stack::start(StackOptions::default()).await;
    let predict = &stack.lambdas["predict"];
    let nothing = predict.invoke(function_url("POST", "/predict", Some(&json!({"features": [[1]]})))).await.unwrap();
    assert_eq!((&nothing["statusCode"], &nothing["headers"]["retry-after"]), (&json!(503), &json!("1")), "{nothing}");
    assert_eq!(nothing["headers"]["content-type"], "application/problem+json");
    assert_eq!(body(&nothing)["type"], "urn:regrove:problem:model-not-loaded");
    until("Redis has answered", async || {
        let health = predict.invoke(function_url("GET", "/healthz", None)).await.unwrap();
        (health["statusCode"] == 200).then_some(())
    })
    .await;
    let old = predict.invoke(rest("POST", "/predict", &json!({"features": [[1]]}))).await.unwrap();
    assert_eq!(old["statusCode"], 503, "{old}");
    assert_eq!(old["multiValueHeaders"]["content-type"], json!(["application/problem+json"]), "{old}");
    // What is no payload at all is the function's error, as Lambda reports it; the function goes on.
    let error = predict.invoke(json!({"hello": "world"})).await.unwrap_err();
    assert!(error["errorMessage"].as_str().unwrap().contains("neither of a Function URL"), "{error}");
    assert_eq!(predict.invoke(function_url("GET", "/healthz", None)).await.unwrap()["statusCode"], 200);
}

/// Lambda has no readiness: a request says that Redis does not answer, and which.
#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_does_not_answer_is_named() {
    let folder = tempfile::tempdir().unwrap();
    package(&folder);
    let parameters = [("RedisUrl", "redis://:s3cret@127.0.0.1:1/0"), ("MlflowTrackingUri", "http://127.0.0.1:1")];
    let functions = Template::read(&parameters).functions();
    let asked = [("predict", "/predict", json!({"features": [[1]]})), ("load-model", "/model/load", json!({}))];
    for (name, path, wish) in asked {
        let function = functions.iter().find(|function| function.name == name).unwrap();
        let home = folder.path().join("tmp").display().to_string();
        let lambda = Lambda::start(function, folder.path(), &BTreeMap::from([("REGROVE_HOME".to_owned(), home)])).await;
        let question = function_url("POST", path, Some(&wish));
        let answer = lambda.invoke(question).await.unwrap();
        assert_eq!(answer["statusCode"], 503, "{name}: {answer}");
        let detail = body(&answer)["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains("127.0.0.1:1") && !detail.contains("s3cret"), "{name}: {detail}");
        until(&format!("{name} says what it waits for"), async || {
            let health = lambda.invoke(function_url("GET", "/healthz", None)).await.unwrap();
            assert_eq!(health["statusCode"], 503, "{name}: {health}");
            body(&health)["detail"].as_str()?.starts_with("REDIS_URL: ").then_some(())
        })
        .await;
    }
}
