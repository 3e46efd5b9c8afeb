//! The Open Inference Protocol.

use axum::body::Body;
use http::{Request, StatusCode};
use serde_json::{Value, json};

use crate::stage::{Kind, NAME, Reply, Stage, outputs};

const ROWS: [[f32; 3]; 2] = [[1.5, -2.0, 3.25], [0.0, 4.0, 9.0]];

fn path() -> String {
    format!("/v2/models/{NAME}/infer")
}

async fn binary(stage: &Stage, header: &Value, tail: &[u8]) -> Reply {
    let header = header.to_string();
    let body = [header.as_bytes(), tail].concat();
    let request = Request::post(path()).header("inference-header-content-length", header.len());
    stage.ask(request.body(Body::from(body)).unwrap()).await
}

fn input(extra: &Value) -> Value {
    let mut input = json!({"name": "input-0", "shape": [2, 3], "datatype": "FP32"});
    input.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    json!({"id": "42", "inputs": [input]})
}

#[tokio::test]
async fn tensors_flat_nested_by_column_and_binary_say_the_same() {
    let (stage, model) = Stage::of(Kind::Numbers).await;
    let expected = outputs(&model, &ROWS);
    let flat = ROWS.as_flattened();
    let bytes: Vec<u8> = flat.iter().flat_map(|value| value.to_le_bytes()).collect();
    let column = |at: usize| json!([ROWS[0][at], ROWS[1][at]]);
    let by_column = |name: &str, at: usize, shape: Value| json!({"data": column(at), "shape": shape, "name": name, "datatype": "FP64"});
    let columns = json!({"inputs": [by_column("c", 2, json!([2])), by_column("a", 0, json!([2, 1])), by_column("b", 1, json!([2]))]});
    let size = json!({"parameters": {"binary_data_size": bytes.len()}});
    let replies = [
        stage.json(&path(), &input(&json!({"data": flat}))).await,
        stage.json(&path(), &input(&json!({"data": ROWS}))).await,
        stage.json(&path(), &columns).await,
        stage.json(&format!("/v2/models/{NAME}/versions/1/infer"), &input(&json!({"data": flat}))).await,
        binary(&stage, &input(&size), &bytes).await,
    ];
    for reply in replies {
        let json = reply.json();
        assert_eq!(
            (reply.status, &json["model_name"], &json["model_version"]),
            (StatusCode::OK, &json!(NAME), &json!("1")),
            "{json}"
        );
        assert_eq!(json["outputs"][1]["data"], json!(expected));
        assert_eq!(json["outputs"][1]["shape"], json!([2, 3]));
        assert_eq!(
            (&json["outputs"][0]["name"], &json["outputs"][0]["datatype"]),
            (&json!("predict"), &json!("INT64"))
        );
    }
    assert_eq!(stage.json(&path(), &input(&json!({"data": flat}))).await.json()["id"], "42");
}

async fn raw(stage: &Stage, bytes: &[u8]) -> Reply {
    let request = Request::post(path()).header("inference-header-content-length", 0);
    let request = request.header("content-type", "application/octet-stream");
    stage.ask(request.body(Body::from(bytes.to_vec())).unwrap()).await
}

#[tokio::test]
async fn a_tensor_alone_is_answered_in_bytes() {
    let (stage, model) = Stage::of(Kind::Numbers).await;
    let bytes: Vec<u8> = ROWS.as_flattened().iter().flat_map(|value| value.to_le_bytes()).collect();
    let reply = raw(&stage, &bytes).await;
    let header: usize = reply.headers["inference-header-content-length"].to_str().unwrap().parse().unwrap();
    let json: Value = serde_json::from_slice(&reply.body[..header]).unwrap();
    assert_eq!(json["outputs"][1]["shape"], json!([2, 3]));
    let probabilities = reply.body[reply.body.len() - 6 * 8..].as_chunks().0;
    let probabilities: Vec<f64> = probabilities.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect();
    assert_eq!(probabilities, outputs(&model, &ROWS));
    for wrong in [&bytes[..23], &bytes[..4]] {
        raw(&stage, wrong).await.is_problem(400, "wrong-tensor", "rows of 3 float32 have 12 each");
    }
    raw(&stage, &[]).await.is_problem(400, "invalid-request", "not JSON");
    raw(&stage, &vec![0; 12 * 100_001]).await.is_problem(413, "too-many-rows", "100000");
}

#[tokio::test]
async fn truth_values_are_one_and_zero() {
    let (stage, _) = Stage::of(Kind::Numbers).await;
    let of = |datatype: &str, data: Value| json!({"inputs": [{"name": "x", "shape": [2, 3], "datatype": datatype, "data": data}]});
    let expected = stage.json(&path(), &of("FP32", json!([1, 0, 1, 0, 0, 1]))).await.json();
    for data in [json!([true, false, true, false, false, true]), json!([[1, 0, 1], [false, 0, true]])] {
        assert_eq!(stage.json(&path(), &of("BOOL", data)).await.json(), expected);
    }
    let header =
        json!({"inputs": [{"name": "x", "shape": [2, 3], "datatype": "BOOL", "parameters": {"binary_data_size": 6}}]});
    assert_eq!(binary(&stage, &header, &[1, 0, 1, 0, 0, 255]).await.json(), expected);
    let two = of("BOOL", json!([2, 0, 1, 0, 0, 1]));
    stage.json(&path(), &two).await.is_problem(400, "invalid-request", "true, false, 1 or 0");
    let truth = of("FP32", json!([true, 0, 1, 0, 0, 1]));
    stage.json(&path(), &truth).await.is_problem(400, "invalid-request", "`/inputs/0/data/0` is a boolean");
}

/// A client that asked for class names, or put its rows elsewhere, must not take something else for the answer.
#[tokio::test]
async fn extensions_that_are_not_there_are_refused_by_name() {
    let (stage, _) = Stage::of(Kind::Numbers).await;
    let flat = ROWS.as_flattened();
    for (member, value) in [("classification", json!(2)), ("shared_memory_region", json!("region"))] {
        let mut body = input(&json!({"data": flat}));
        body["outputs"] = json!([{"name": "predict_proba", "parameters": {member: value}}]);
        let refused = stage.json(&path(), &body).await.is_problem(400, "wrong-tensor", member);
        assert_eq!(refused["pointer"], format!("/outputs/0/parameters/{member}"));
    }
    let shared = input(&json!({"parameters": {"shared_memory_region": "r"}}));
    let refused = stage.json(&path(), &shared).await.is_problem(400, "wrong-tensor", "shared_memory_region");
    assert_eq!(refused["pointer"], "/inputs/0/parameters/shared_memory_region");
}

#[tokio::test]
async fn outputs_come_as_bytes_when_asked_for() {
    for (kind, first_type) in [(Kind::Numbers, "INT64"), (Kind::Texts, "BYTES"), (Kind::Regressor, "FP64")] {
        let (stage, model) = Stage::of(kind).await;
        let mut request = input(&json!({"data": ROWS}));
        request["parameters"] = json!({"binary_data_output": true});
        let reply = stage.json(&path(), &request).await;
        let length: usize = reply.headers["inference-header-content-length"].to_str().unwrap().parse().unwrap();
        assert_eq!(reply.headers["content-type"], "application/octet-stream");
        let (header, tail) = reply.body.split_at(length);
        let header: Value = serde_json::from_slice(header).unwrap();
        let sizes: Vec<usize> = header["outputs"]
            .as_array()
            .unwrap()
            .iter()
            .map(|o| serde_json::from_value(o["parameters"]["binary_data_size"].clone()).unwrap())
            .collect();
        assert_eq!(sizes.iter().sum::<usize>(), tail.len());
        assert_eq!(header["outputs"][0]["datatype"], first_type);
        let expected = outputs(&model, &ROWS);
        let doubles: Vec<u8> = expected.iter().flat_map(|value| value.to_le_bytes()).collect();
        if kind == Kind::Regressor {
            assert_eq!(tail, doubles);
            continue;
        }
        assert_eq!(&tail[sizes[0]..], doubles);
        let labels: Vec<u8> = expected
            .chunks(3)
            .flat_map(|row| match model.label(row) {
                regrove_forest::Label::Int(number) => number.to_le_bytes().to_vec(),
                label => {
                    let text = label.to_string();
                    [&u32::try_from(text.len()).unwrap().to_le_bytes(), text.as_bytes()].concat()
                }
            })
            .collect();
        assert_eq!(&tail[..sizes[0]], labels);
        // One as bytes, named; the other not wanted.
        request["outputs"] = json!([{"name": "predict_proba", "parameters": {"binary_data": false}}]);
        let only = stage.json(&path(), &request).await.json();
        assert_eq!(only["outputs"].as_array().unwrap().len(), 1);
        assert_eq!(only["outputs"][0]["data"], json!(expected));
    }
}

#[tokio::test]
async fn the_server_and_its_models_describe_themselves() {
    let (stage, _) = Stage::of(Kind::Texts).await;
    assert_eq!(stage.get("/v2").await.json()["extensions"], json!(["binary_tensor_data"]));
    assert_eq!(stage.get("/v2/health/ready").await.json(), json!({"ready": true}));
    let model = stage.get(&format!("/v2/models/{NAME}")).await.json();
    assert_eq!((&model["versions"], &model["inputs"][0]["shape"]), (&json!(["1"]), &json!([-1, 3])));
    assert_eq!(model["inputs"][0]["parameters"]["columns"], json!(["a", "b", "c"]));
    assert_eq!(
        model["outputs"],
        json!([{"name": "predict", "datatype": "BYTES", "shape": [-1]}, {"name": "predict_proba", "datatype": "FP64", "shape": [-1, 3]}])
    );
    assert_eq!(stage.get(&format!("/v2/models/{NAME}/versions/1")).await.json(), model);
    assert_eq!(stage.get(&format!("/v2/models/{NAME}/ready")).await.json()["ready"], true);
    stage.get(&format!("/v2/models/{NAME}/versions/9/ready")).await.is_problem(
        404,
        "version-not-loaded",
        "never loaded",
    );
    assert_eq!(stage.post("/v2/repository/index", "application/json", "{}").await.json()[0]["name"], NAME);
}

/// A pointer points to what is there: lists as they are nested, and no member where the numbers came as bytes.
#[tokio::test]
async fn a_fault_points_to_the_element_as_it_was_sent() {
    let (stage, _) = Stage::of(Kind::Numbers).await;
    let mut values = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]];
    values[1][0] = 1e39;
    let flat: Vec<f64> = values.concat();
    let bytes: Vec<u8> = flat.iter().flat_map(|value| value.to_le_bytes()).collect();
    let size = json!({"datatype": "FP64", "parameters": {"binary_data_size": bytes.len()}});
    let column = |name: &str, at: usize, nested: bool| {
        let [first, second] = [values[0][at], values[1][at]];
        let data = if nested { json!([[first], [second]]) } else { json!([first, second]) };
        json!({"name": name, "shape": if nested { json!([2, 1]) } else { json!([2]) }, "datatype": "FP64", "data": data})
    };
    let columns = |nested| json!({"inputs": [column("c", 2, nested), column("a", 0, nested), column("b", 1, nested)]});
    let replies = [
        (stage.json(&path(), &input(&json!({"data": values}))).await, "/inputs/0/data/1/0"),
        (stage.json(&path(), &input(&json!({"data": flat}))).await, "/inputs/0/data/3"),
        (stage.json(&path(), &columns(true)).await, "/inputs/1/data/1/0"),
        (stage.json(&path(), &columns(false)).await, "/inputs/1/data/1"),
        (binary(&stage, &input(&size), &bytes).await, "/inputs/0"),
    ];
    for (reply, pointer) in replies {
        let problem = reply.is_problem(400, "number-too-large", "row 1, column `a`");
        assert_eq!((&problem["pointer"], &problem["row"]), (&json!(pointer), &json!(1)), "{problem}");
    }
}

#[tokio::test]
async fn tensors_that_lie_are_refused() {
    let (stage, _) = Stage::of(Kind::Numbers).await;
    let with = |member: &str, value: Value| {
        let mut request = input(&json!({"data": ROWS}));
        request["inputs"][0][member] = value;
        request
    };
    let mut two = input(&json!({"data": ROWS}));
    two["outputs"] = json!([{"name": "nothing"}]);
    let huge = json!([4_000_000_000_u64, 4_000_000_000_u64]);
    let cases = [
        (with("shape", json!([2, 4])), "wrong-feature-count", "[2, 4]"),
        (with("shape", json!([3, 3])), "wrong-tensor", "6 elements"),
        (with("shape", json!([1, 3])), "wrong-tensor", "more elements than the 3"),
        (with("shape", json!([-1, 3])), "invalid-request", "-1"),
        (with("shape", json!([1e18, 3])), "invalid-request", "expected a whole number from 0 to 9007199254740992"),
        (with("shape", json!([1.5, 3])), "invalid-request", "1.5"),
        (with("shape", json!([6])), "wrong-columns", "missing"),
        (with("shape", huge), "too-many-rows", "100000"),
        (with("shape", json!([99_999, 1e15])), "wrong-feature-count", "shape"),
        (with("datatype", json!("BYTES")), "invalid-request", "`BYTES`, expected one of"),
        (
            with("datatype", json!("UINT8")),
            "invalid-request",
            "is 1.5, expected a whole number of type UINT8, 0 to 255",
        ),
        (with("data", json!([[[1, 2, 3]]])), "invalid-request", "is a list"),
        (with("data", json!("abc")), "invalid-request", "is a string"),
        (with("data", json!([[1, 2, "3"], [1, 2, 3]])), "invalid-request", "`/inputs/0/data/0/2` is a string"),
        (with("data", json!([[1, 2, 1e39], [1, 2, 3]])), "number-too-large", "row 0, column `c`"),
        (
            with("data", json!([[1, 2, 3, 1], [2, 3]])),
            "wrong-tensor",
            "`/inputs/0/data/0` has 4 elements, the shape says 3",
        ),
        (with("data", json!([[1, 2, 3], 1, 2, 3])), "invalid-request", "`/inputs/0/data/1` is a number"),
        (with("data", json!([1, [1, 2, 3], 2, 3])), "invalid-request", "`/inputs/0/data/1` is a list"),
        (with("parameters", json!({"binary_data_size": 4})), "wrong-tensor", "has both `data`"),
        (json!({"inputs": []}), "wrong-columns", "missing"),
        (json!({"id": "1"}), "invalid-request", "`inputs` is missing"),
        (
            json!({"inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP32"}]}),
            "invalid-request",
            "`data` of `/inputs/0` is missing",
        ),
        (two, "wrong-tensor", "no output `nothing`"),
    ];
    for (request, kind, says) in cases {
        let reply = stage.json(&path(), &request).await;
        let status = if kind == "too-many-rows" { 413 } else { 400 };
        let problem = reply.is_problem(status, kind, says);
        assert_eq!(problem["error"], problem["detail"], "clients of this protocol read `error`");
    }
    let size = |size: Value| input(&json!({"parameters": {"binary_data_size": size}}));
    for (header, tail, says) in [
        (size(json!(24)), 23, "23 bytes are left"),
        (size(json!(20)), 20, "takes 24"),
        (size(json!(24)), 25, "1 bytes follow"),
        (size(json!(1e15)), 24, "24 bytes are left"),
    ] {
        binary(&stage, &header, &vec![0; tail]).await.is_problem(400, "wrong-tensor", says);
    }
    let infinite = f32::INFINITY.to_le_bytes().repeat(6);
    binary(&stage, &size(json!(24)), &infinite).await.is_problem(400, "number-too-large", "beyond float32");
    for length in ["9999", "-1", "x"] {
        let request =
            Request::post(path()).header("inference-header-content-length", length).body(Body::from("{}")).unwrap();
        let problem = stage.ask(request).await.is_problem(400, "wrong-tensor", "within the body");
        assert_eq!(problem["header"], "inference-header-content-length");
    }
    for (datatype, number) in [("INT64", "9223372036854775808"), ("FP16", "1e10")] {
        let tensor = r#"{"name": "x", "shape": [1, 3], "datatype": "TYPE", "data": [1, 2, NUMBER]}"#;
        let body = format!("{{\"inputs\": [{}]}}", tensor.replace("TYPE", datatype).replace("NUMBER", number));
        let problem = stage.post(&path(), "application/json", body).await.is_problem(400, "invalid-request", number);
        assert_eq!(problem["pointer"], "/inputs/0/data/2");
    }
    let text = stage.post(&path(), "text/plain", "{}").await;
    assert_eq!(text.is_problem(415, "unsupported-media-type", "text/plain")["header"], "content-type");
}
