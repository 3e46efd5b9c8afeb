//! Data sets in buckets: each cloud's own protocol, spoken by moto, fake-gcs-server and azurite.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use hmac::{Hmac, KeyInit as _, Mac as _};
use regrove_data::{Format, ResultColumn, ResultWriter};
use regrove_events::JobState;
use regrove_test_support::programs::workspace;
use regrove_test_support::{AzuriteServer, GcsServer, MotoServer};
use serde_json::json;
use sha2::Sha256;

use crate::regrove;
use crate::up::{Up, UpOptions};

const BUCKET: &str = "training";

/// Makes an object of S3, or with an empty name the bucket itself.
async fn put_s3(moto: &MotoServer, name: &str, content: Vec<u8>) {
    let address = format!("{}/{BUCKET}/{name}", moto.endpoint().trim_end_matches('/'));
    let made = reqwest::Client::new().put(address.trim_end_matches('/')).body(content).send().await.unwrap();
    assert!(made.status().is_success(), "{}", made.text().await.unwrap());
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut out = GzEncoder::new(Vec::new(), Compression::fast());
    out.write_all(content).unwrap();
    out.finish().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn data_sets_are_read_from_s3() {
    let moto = MotoServer::start().unwrap();
    put_s3(&moto, "", Vec::new()).await;
    for (name, content) in data_sets() {
        put_s3(&moto, name, content).await;
    }
    let here = [
        ("AWS_ENDPOINT_URL", moto.endpoint().trim_end_matches('/')),
        ("AWS_ALLOW_HTTP", "true"),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
    ];
    is_read("s3://training", &here).await;
    refused("s3://nobody/cancer.csv", &here, "no such object").await;
    columns_are_fetched_from_s3(&moto, &here).await;
}

/// Three columns of numbers that nothing makes smaller.
fn wide(salt: u64) -> Vec<u8> {
    const ROWS: u64 = 60_000;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wide.parquet");
    let mut writer = ResultWriter::create(&path, Format::Parquet, &["a", "b", "c"].map(str::to_owned)).unwrap();
    #[expect(clippy::cast_precision_loss, reason = "any numbers do")]
    let column = |seed: u64| -> Vec<f64> {
        (1..=ROWS)
            .map(|row| row.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(17).wrapping_mul(seed) as f64)
            .collect()
    };
    let [a, b, c] = [1, 3, 5].map(|seed| column(salt + seed));
    writer.write(&[&a, &b, &c].map(|column| ResultColumn::Numbers(column))).unwrap();
    writer.finish().unwrap();
    std::fs::read(&path).unwrap()
}

/// Of a Parquet object only the wanted columns are fetched, and never pieces of two objects.
async fn columns_are_fetched_from_s3(moto: &MotoServer, here: &[(&str, &str)]) {
    let content = wide(2);
    let whole = content.len() as u64;
    put_s3(moto, "wide.parquet", content).await;
    let folder = tempfile::tempdir().unwrap();
    let inspect = |endpoint: &str| {
        let mut command = regrove::command(folder.path());
        command.args(["data", "inspect", "s3://training/wide.parquet", "--drop", "a", "--drop", "c", "--json"]);
        command.envs(here.iter().copied()).env("AWS_ENDPOINT_URL", endpoint);
        regrove::run(command)
    };
    let endpoint = moto.endpoint().trim_end_matches('/');
    let seen = inspect(endpoint).await.ok().json();
    let bytes = seen["bytes"].as_u64().unwrap();
    assert!(bytes > whole / 4 && bytes < whole * 2 / 3, "{bytes} of {whole} bytes were fetched");
    inspect(&replacing(endpoint).await).await.fails(1, &["was replaced while it was read"]);
}

/// A way to the bucket on which the object is replaced after two pieces of it have been read.
async fn replacing(endpoint: &str) -> String {
    let (endpoint, pieces) = (endpoint.to_owned(), Arc::new(AtomicUsize::new(0)));
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let pass = move |request: axum::extract::Request| {
        let (endpoint, pieces, client) = (endpoint.clone(), Arc::clone(&pieces), client.clone());
        async move {
            let address = format!("{endpoint}{}", request.uri());
            let mut headers = request.headers().clone();
            headers.remove(http::header::HOST);
            if request.method() == http::Method::GET && pieces.fetch_add(1, Ordering::SeqCst) == 2 {
                // Whoever overwrites an object has to say who it is; moto believes anybody.
                let who = headers[http::header::AUTHORIZATION].clone();
                let put = client.put(&address).header(http::header::AUTHORIZATION, who).body(wide(20));
                let put = put.send().await.unwrap();
                assert!(put.status().is_success(), "{}", put.status());
            }
            let passed = client.request(request.method().clone(), address).headers(headers);
            let answer = passed.send().await.unwrap();
            let (status, headers) = (answer.status(), answer.headers().clone());
            let mut response = http::Response::new(axum::body::Body::from(answer.bytes().await.unwrap()));
            *response.status_mut() = status;
            *response.headers_mut() = headers;
            response
        }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, axum::Router::new().fallback(pass)).await.unwrap() });
    address
}

/// Azure's account in every emulator, and its published key.
const AZURE_ACCOUNT: &str = "devstoreaccount1";
const AZURE_KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// Puts a container (with an empty name) or a blob, signed as "Authorize with Shared Key" of Azure's REST reference says.
async fn put_azure(azurite: &AzuriteServer, name: &str, content: Vec<u8>) {
    let (what, query) = if name.is_empty() { ("", "restype:container") } else { ("x-ms-blob-type:BlockBlob\n", "") };
    let path = format!("/{AZURE_ACCOUNT}/{BUCKET}/{name}");
    let path = path.trim_end_matches('/');
    let length = if content.is_empty() { String::new() } else { content.len().to_string() };
    let date = jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&regrove_host::now()).unwrap();
    let resource = format!("/{AZURE_ACCOUNT}{path}{}{query}", if query.is_empty() { "" } else { "\n" });
    let signed =
        format!("PUT\n\n\n{length}\n\n\n\n\n\n\n\n\n{what}x-ms-date:{date}\nx-ms-version:2021-12-02\n{resource}");
    let mut key = Hmac::<Sha256>::new_from_slice(&STANDARD.decode(AZURE_KEY).unwrap()).unwrap();
    key.update(signed.as_bytes());
    let signature = STANDARD.encode(key.finalize().into_bytes());
    let mut request = reqwest::Client::new()
        .put(format!("{}{path}{}", azurite.endpoint(), if name.is_empty() { "?restype=container" } else { "" }))
        .header("x-ms-date", date)
        .header("x-ms-version", "2021-12-02")
        .header("authorization", format!("SharedKey {AZURE_ACCOUNT}:{signature}"))
        .body(content);
    if !name.is_empty() {
        request = request.header("x-ms-blob-type", "BlockBlob");
    }
    let made = request.send().await.unwrap();
    assert!(made.status().is_success(), "{}", made.text().await.unwrap());
}

/// Puts a bucket (with an empty name) or an object over the JSON API, as Google's own clients do.
async fn put_gcs(gcs: &GcsServer, name: &str, content: Vec<u8>) {
    let client = reqwest::Client::new();
    let request = if name.is_empty() {
        client.post(format!("{}/storage/v1/b", gcs.endpoint())).json(&json!({"name": BUCKET}))
    } else {
        let address = format!("{}/upload/storage/v1/b/{BUCKET}/o?uploadType=media&name={name}", gcs.endpoint());
        client.post(address).body(content)
    };
    let made = request.send().await.unwrap();
    assert!(made.status().is_success(), "{}", made.text().await.unwrap());
}

/// What the bucket at `base` with [`data_sets`] in it must be able to do, whoever's it is; `environment` leads there.
async fn is_read(base: &str, environment: &[(&str, &str)]) {
    let environment: Vec<(String, String)> =
        environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let folder = tempfile::tempdir().unwrap();
    let inspect = async |uri: &str, more: &[&str]| {
        let mut command = regrove::command(folder.path());
        command.args(["data", "inspect", uri]).args(more).envs(environment.clone());
        regrove::run(command).await
    };
    let of_cancer = ["--target", "target", "--json"];
    let plain = inspect(&format!("{base}/cancer.csv"), &of_cancer).await.ok().json();
    assert_eq!(plain["n_rows"], 569);
    let packed_uri = format!("{base}/raw/cancer.csv.gz");
    let packed = inspect(&packed_uri, &of_cancer).await.ok().json();
    assert_eq!((&packed["columns"], &packed["n_rows"]), (&plain["columns"], &plain["n_rows"]));
    let here = workspace().join("infra/data/testdata/flat.parquet");
    let near = inspect(here.to_str().unwrap(), &["--json"]).await.ok().json();
    let far = inspect(&format!("{base}/flat.parquet"), &["--json"]).await.ok().json();
    assert_eq!((&far["columns"], &far["n_rows"]), (&near["columns"], &near["n_rows"]));
    let nothing = format!("{base}/nothing.csv");
    inspect(&nothing, &[]).await.fails(2, &[&nothing, "no such object"]);

    // The functions read it as the command does.
    let up = Up::start(UpOptions { env: environment.clone(), ..UpOptions::default() });
    let train = async |data: &str, id: &str| {
        let settings = ["--target", "target", "--set", "n_estimators=8", "--set", "random_state=1", "--id", id];
        let said = up.regrove(&[&["train", "--data", data, "--wait", "--json"], &settings[..]].concat()).await;
        (said, up.job(id).await.unwrap())
    };
    let (said, far) = train(&packed_uri, "far").await;
    said.ok();
    let (said, near) = train(workspace().join("examples/breast_cancer.csv").to_str().unwrap(), "near").await;
    said.ok();
    assert_eq!(far.model.unwrap().model, near.model.unwrap().model, "the same bytes from a bucket");
    let (said, missing) = train(&nothing, "missing").await;
    said.fails(1, &["no such object"]);
    assert_eq!((missing.state, missing.failure.unwrap().problem.as_str()), (JobState::Failed, "dataset-not-found"));
    let shown = up.regrove(&["job", "show", "far", "--json"]).await.ok().json();
    assert_eq!(shown["data"]["uri"], json!(packed_uri));
}

/// What the command says of an object when these are the settings.
async fn refused(uri: &str, environment: &[(&str, &str)], reason: &str) {
    let folder = tempfile::tempdir().unwrap();
    let mut command = regrove::command(folder.path());
    command.args(["data", "inspect", uri]).envs(environment.iter().copied());
    regrove::run(command).await.fails(2, &[uri, reason]);
}

fn data_sets() -> [(&'static str, Vec<u8>); 3] {
    let read = |path: &str| std::fs::read(workspace().join(path)).unwrap();
    let csv = read("examples/breast_cancer.csv");
    [("raw/cancer.csv.gz", gzip(&csv)), ("cancer.csv", csv), ("flat.parquet", read("infra/data/testdata/flat.parquet"))]
}

#[tokio::test(flavor = "multi_thread")]
async fn data_sets_are_read_from_google_cloud_storage() {
    let gcs = GcsServer::start().unwrap();
    put_gcs(&gcs, "", Vec::new()).await;
    for (name, content) in data_sets() {
        put_gcs(&gcs, name, content).await;
    }
    let here = ("GOOGLE_BASE_URL", gcs.endpoint());
    is_read("gs://training", &[here, ("GOOGLE_SKIP_SIGNATURE", "true")]).await;
    let uri = "gs://training/flat.parquet";
    refused(uri, &[here, ("GOOGLE_SERVICE_ACCOUNT_KEY", "{}")], "missing field `private_key`").await;
    let nowhere = [here, ("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere/key.json")];
    refused(uri, &nowhere, "the environment's settings for this bucket cannot be used").await;
    // fake-gcs-server lets everybody in: the refusal is played.
    let nobody = axum::Router::new().fallback(async || axum::http::StatusCode::FORBIDDEN);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, nobody).await.unwrap() });
    let closed = [("GOOGLE_BASE_URL", address.as_str()), ("GOOGLE_SKIP_SIGNATURE", "true")];
    refused(uri, &closed, "access is denied; check the credentials").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn data_sets_are_read_from_azure() {
    let azurite = AzuriteServer::start().unwrap();
    put_azure(&azurite, "", Vec::new()).await;
    for (name, content) in data_sets() {
        put_azure(&azurite, name, content).await;
    }
    let here = [("AZURE_STORAGE_USE_EMULATOR", "true"), ("AZURITE_BLOB_STORAGE_URL", azurite.endpoint())];
    is_read("az://training", &here).await;
    let with = |key| [here[0], here[1], ("AZURE_STORAGE_ACCOUNT_KEY", key)];
    let uri = "az://training/flat.parquet";
    refused(uri, &with("d3Jvbmc="), "access is denied; check the credentials").await;
    refused(uri, &with("no base 64"), "Invalid Access Key").await;
    refused(uri, &[], "settings for this bucket cannot be used: Account must be specified").await;
}
