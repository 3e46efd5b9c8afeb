//! MLflow's scoring protocol.

use http::StatusCode;
use serde_json::{Value, json};

use crate::stage::{Kind, Stage, outputs};

#[tokio::test]
async fn all_five_forms_say_the_same() {
    let (stage, model) = Stage::of(Kind::Texts).await;
    let row = outputs(&model, &[[1.5, f32::NAN, 3.25]]);
    let record = json!({"label": model.label(&row), "probability_no": row[0], "probability_so \"so\"": row[1], "probability_yes": row[2]});
    let expected = json!({"predictions": [record]});
    for body in [
        json!({"dataframe_split": {"columns": ["c", "a", "b"], "data": [[3.25, 1.5, null]], "index": [0]}}),
        json!({"dataframe_records": [{"b": null, "c": 3.25, "a": 1.5, "z": "left out"}], "params": {"x": 1}}),
        json!({"instances": [[1.5, null, 3.25]]}),
        json!({"inputs": {"a": [1.5], "b": [null], "c": [3.25], "z": ["left out"]}}),
        json!({"inputs": [[1.5, null, 3.25]]}),
    ] {
        let reply = stage.json("/invocations", &body).await;
        assert_eq!((reply.status, reply.json()), (StatusCode::OK, expected.clone()), "{body}");
    }
    let csv = stage.post("/invocations", "text/csv; charset=UTF-8", "c,z,a,b\n3.25,left out,1.5,\n").await;
    assert_eq!(csv.json(), expected);
    assert_eq!(stage.get("/ping").await.status, StatusCode::OK);
    assert_eq!(stage.get("/health").await.status, StatusCode::OK);
    assert_eq!(stage.get("/version").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_regressor_has_one_column() {
    let (stage, model) = Stage::of(Kind::Regressor).await;
    let value = outputs(&model, &[[1.5, 2.0, 3.25]])[0];
    let reply = stage.json("/invocations", &json!({"instances": [[1.5, 2.0, 3.25]]})).await;
    assert_eq!(reply.json(), json!({"predictions": [{"prediction": value}]}));
}

#[tokio::test]
async fn what_the_scoring_server_refuses_is_refused() {
    let (stage, _) = Stage::of(Kind::Numbers).await;
    let check = |problem: Value, code: &str| {
        assert_eq!((&problem["error_code"], &problem["message"]), (&json!(code), &problem["detail"]));
    };
    for (content_type, says) in [
        ("text/plain", "expected application/json or text/csv"),
        ("", "expected application/json or text/csv"),
        ("application/json; charset=latin-1", "charset=latin-1"),
        ("application/json; format=pandas", "format=pandas"),
    ] {
        let reply = stage.post("/invocations", content_type, "{\"instances\": [[1, 2, 3]]}").await;
        let problem = reply.is_problem(415, "unsupported-media-type", says);
        assert_eq!(problem["header"], "content-type");
        check(problem, "BAD_REQUEST");
    }
    for (body, kind, says) in [
        ("{\"instances\": [[1,2,3]], \"inputs\": [[1,2,3]]}", "invalid-request", "exactly one of"),
        ("{\"columns\": [\"a\"], \"data\": [[1]]}", "invalid-request", "exactly one of"),
        ("[[1,2,3]]", "invalid-request", "exactly one of"),
        ("{\"instances\": [[1,2]]}", "wrong-feature-count", "row 0 has 2"),
        (
            "{\"dataframe_split\": {\"columns\": [\"a\", \"b\"], \"data\": [[1, 2]]}}",
            "wrong-columns",
            "`c` are missing",
        ),
        (
            "{\"dataframe_split\": {\"columns\": [\"a\", \"b\", \"c\"]}}",
            "invalid-request",
            "`data` of `/dataframe_split` is missing",
        ),
        ("{\"inputs\": {\"a\": [1, 2], \"b\": [1], \"c\": [1, 2]}}", "ragged-columns", "has 1 numbers"),
        ("{\"inputs\": {\"a\": [1], \"b\": [1]}}", "wrong-columns", "`c` are missing"),
        ("{\"inputs\": {\"a\": 1, \"b\": [1], \"c\": [1]}}", "invalid-request", "expected a list of numbers"),
        ("{", "invalid-request", "not JSON"),
    ] {
        check(stage.post("/invocations", "application/json", body).await.is_problem(400, kind, says), "BAD_REQUEST");
    }
    for (body, kind, says) in [
        ("", "wrong-columns", "the model's columns `a`, `b`, `c` are missing: none are named"),
        ("\n", "wrong-columns", "none are named"),
        ("a,b,c\n", "no-rows", "no rows"),
        ("a,b,c\n1,2\n", "wrong-feature-count", "row 0 has 2 cells, the header names 3"),
        ("a,b,c\n1,x,3\n", "invalid-request", "row 0, column `b`: `x` is not a number"),
        ("a,b,c\n1,1e40,3\n", "number-too-large", "row 0, column `b`"),
        ("a,b,c\n1,inf,3\n", "number-too-large", "beyond float32"),
    ] {
        let problem = stage.post("/invocations", "text/csv", body).await.is_problem(400, kind, says);
        assert_eq!(problem["pointer"], "", "there are no places in CSV but rows and columns: {problem}");
    }
    let several = stage.post("/invocations", "text/csv", "b,a,c\n1,2,3\nx,2,1e40\n1,2,y\n").await;
    let several = several.is_problem(400, "invalid-request", "row 1, column `b`");
    let places: Vec<_> =
        several["errors"].as_array().unwrap().iter().map(|e| json!([e["pointer"], e["row"], e["column"]])).collect();
    assert_eq!(places, [json!(["", 1, "b"]), json!(["", 2, "c"]), json!(["", 1, "c"])]);
}
