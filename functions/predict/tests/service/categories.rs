//! Columns of categories: their texts are as good as their codes, in every protocol.

use axum::body::Body;
use http::{Request, StatusCode};
use regrove_forest::{Frame, Label, Model, RandomForestParams, Target, fit};
use serde_json::{Value, json};

use crate::events;
use crate::stage::{NAME, Reply, Stage};

/// Categories of column `zone`: `north` has the code 0.
const ZONES: [&str; 3] = ["north", "south", "süd-west"];

/// A model of `length` and `zone` whose answer depends on both.
async fn staged() -> Stage {
    let lengths = (0..60_u16).map(|row| f32::from(row % 7));
    let zones = (0..60_u16).map(|row| f32::from(row % 3));
    let indexes = (0..60_u32).map(|row| u32::from(row % 3 == 1 || row % 7 > 4)).collect();
    let target = Target::Classes { classes: vec![Label::Int(0), Label::Int(1)], indexes };
    let names = vec!["length".to_owned(), "zone".to_owned()];
    let categories = [("zone".to_owned(), ZONES.map(str::to_owned).to_vec())].into();
    let frame = Frame::new(names, lengths.chain(zones).collect(), "tip", target).unwrap();
    let frame = frame.with_categories(categories).unwrap();
    let params = RandomForestParams { n_estimators: 9, random_state: 4, ..RandomForestParams::default() };
    let stage = Stage::empty();
    let bytes = fit(&frame, &params).unwrap().to_bytes().unwrap();
    assert_eq!(Model::from_bytes(std::sync::Arc::new(bytes.clone())).unwrap().categories()["zone"], ZONES);
    stage.load(NAME, "1", bytes, None).await;
    stage
}

async fn infer(stage: &Stage, header: &Value, tail: &[u8]) -> Reply {
    let header = header.to_string();
    let request = Request::post(format!("/v2/models/{NAME}/infer"))
        .header("inference-header-content-length", header.len())
        .body(Body::from([header.as_bytes(), tail].concat()));
    stage.ask(request.unwrap()).await
}

#[tokio::test]
async fn texts_say_what_their_codes_say_in_every_protocol() {
    let stage = staged().await;
    // Every zone, then a missing one.
    let codes = json!({"features": [[5, 0], [1, 1], [1, 2], [1, null]]});
    let expected = stage.json("/predict", &codes).await.json()["probabilities"].clone();
    assert!(expected[1] != expected[2], "the zone matters: {expected}");
    for body in [
        json!({"features": [[5, "north"], [1, "south"], [1, "süd-west"], [1, null]]}),
        json!({"columns": ["zone", "length"], "features": [["north", 5], ["south", 1], ["süd-west", 1], [null, 1]]}),
        json!({"features": [{"zone": "north", "length": 5}, {"length": 1, "zone": "south"},
            {"length": 1, "zone": "süd-west"}, {"length": 1, "zone": null}]}),
        json!({"features": [[5, "north"], [1, 1], [1, "süd-west"], [1, null]]}),
    ] {
        let reply = stage.json("/predict", &body).await;
        assert_eq!((reply.status, &reply.json()["probabilities"]), (StatusCode::OK, &expected), "{body}");
        let reply = events::send(&stage, &body).await;
        assert_eq!((reply.status, &reply.json()["probabilities"]), (StatusCode::OK, &expected), "{body}");
    }
    let data = json!([["north", 5], ["south", 1], ["süd-west", 1], [null, 1]]);
    let scores = stage.json("/invocations", &json!({"instances": codes["features"]})).await.json();
    for body in [
        json!({"dataframe_split": {"columns": ["zone", "length"], "data": data}}),
        json!({"dataframe_records": data.as_array().unwrap().iter()
            .map(|row| json!({"zone": row[0], "length": row[1]})).collect::<Vec<_>>()}),
        json!({"inputs": {"length": [5, 1, 1, 1], "zone": ["north", "south", "süd-west", null]}}),
    ] {
        assert_eq!(stage.json("/invocations", &body).await.json(), scores, "{body}");
    }
    // What is missing, or true, is written in a body as in a data set.
    for (missing, one) in [("", "1"), ("NA", "true"), ("null", "True"), ("<NA>", "1.0")] {
        let csv = format!("zone,length\nnorth,5\n south ,{one}\nsüd-west,1\n{missing},1\n");
        assert_eq!(stage.post("/invocations", "text/csv", csv).await.json(), scores, "{missing} {one}");
    }

    let lengths = json!({"name": "length", "shape": [3], "datatype": "FP64", "data": [5, 1, 1]});
    let zone = |more: Value| {
        let mut tensor = json!({"name": "zone", "shape": [3], "datatype": "BYTES"});
        tensor.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"inputs": [lengths, tensor]})
    };
    let tail: Vec<u8> = ZONES
        .iter()
        .flat_map(|text| [&u32::try_from(text.len()).unwrap().to_le_bytes()[..], text.as_bytes()].concat())
        .collect();
    let flat: Vec<Value> =
        expected.as_array().unwrap()[..3].iter().flat_map(|row| row.as_array().unwrap().clone()).collect();
    let as_json = stage.json(&format!("/v2/models/{NAME}/infer"), &zone(json!({"data": ZONES}))).await;
    let as_bytes = infer(&stage, &zone(json!({"parameters": {"binary_data_size": tail.len()}})), &tail).await;
    for reply in [as_json, as_bytes] {
        assert_eq!(reply.json()["outputs"][1]["data"], json!(flat), "{}", reply.json());
    }
    infer(&stage, &zone(json!({"parameters": {"binary_data_size": tail.len() - 1}})), &tail[..tail.len() - 1])
        .await
        .is_problem(400, "wrong-tensor", "are not 3 texts");
}

#[tokio::test]
async fn a_text_that_the_model_does_not_know_is_named_with_those_that_it_does() {
    let stage = staged().await;
    let body = json!({"features": [[5, "north"], [1, "east"], [1, 3], [1, 0.5]]});
    let problem =
        stage.json("/predict", &body).await.is_problem(400, "unknown-category", "row 1, column `zone`: `east`");
    assert!(problem["detail"].as_str().unwrap().contains("`north`, `south`, `süd-west`"), "{problem}");
    assert_eq!(
        (&problem["row"], &problem["column"], &problem["pointer"]),
        (&json!(1), &json!("zone"), &json!("/features/1/1"))
    );
    let places: Vec<&Value> = problem["errors"].as_array().unwrap().iter().map(|error| &error["pointer"]).collect();
    assert_eq!(places, ["/features/1/1", "/features/2/1", "/features/3/1"], "codes that stand for nothing too");
    stage.post("/invocations", "text/csv", "zone,length\neast,1\n").await.is_problem(400, "unknown-category", "`east`");
    let tensor = json!({"inputs": [{"name": "length", "shape": [1], "datatype": "FP32", "data": [1]},
        {"name": "zone", "shape": [1], "datatype": "BYTES", "data": ["east"]}]});
    stage.json(&format!("/v2/models/{NAME}/infer"), &tensor).await.is_problem(400, "unknown-category", "`east`");
    // A column of numbers takes none.
    stage.json("/predict", &json!({"features": [["5", "north"]]})).await.is_problem(422, "invalid-request", "a string");
    let text = json!({"inputs": [{"name": "length", "shape": [1], "datatype": "BYTES", "data": ["5"]},
        {"name": "zone", "shape": [1], "datatype": "BYTES", "data": ["north"]}]});
    stage.json(&format!("/v2/models/{NAME}/infer"), &text).await.is_problem(400, "invalid-request", "a string");
}

#[tokio::test]
async fn the_model_says_its_categories() {
    let stage = staged().await;
    let expected = json!({"zone": ZONES});
    assert_eq!(stage.get("/model/info").await.json()["categories"], expected);
    let metadata = stage.get(&format!("/v2/models/{NAME}")).await.json();
    assert_eq!(metadata["inputs"][0]["parameters"]["categories"], expected);
}
