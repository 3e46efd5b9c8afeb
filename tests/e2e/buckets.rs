//! Data sets in buckets: S3's own protocol, spoken by moto.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use regrove_events::JobState;
use regrove_test_support::MotoServer;
use regrove_test_support::programs::workspace;
use serde_json::json;

use crate::regrove::{self, Said};
use crate::up::{Up, UpOptions};

const BUCKET: &str = "training";

/// A bucket with data sets in it.
struct Bucket {
    moto: MotoServer,
    folder: tempfile::TempDir,
}

impl Bucket {
    async fn new() -> Self {
        let bucket = Self { moto: MotoServer::start().unwrap(), folder: tempfile::tempdir().unwrap() };
        bucket.put("", Vec::new()).await;
        bucket
    }

    fn endpoint(&self) -> &str {
        self.moto.endpoint().trim_end_matches('/')
    }

    /// Makes an object, or with an empty name the bucket itself.
    async fn put(&self, name: &str, content: Vec<u8>) {
        let address = format!("{}/{BUCKET}/{name}", self.endpoint());
        let made = reqwest::Client::new().put(address.trim_end_matches('/')).body(content).send().await.unwrap();
        assert!(made.status().is_success(), "{}", made.text().await.unwrap());
    }

    /// What tells a client of S3 where it is and who it is.
    fn environment(&self) -> Vec<(String, String)> {
        [
            ("AWS_ENDPOINT_URL", self.endpoint()),
            ("AWS_ALLOW_HTTP", "true"),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", "test"),
            ("AWS_SECRET_ACCESS_KEY", "test"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec()
    }

    async fn inspect(&self, uri: &str, more: &[&str]) -> Said {
        let mut command = regrove::command(self.folder.path());
        command.args(["data", "inspect", uri]).args(more).envs(self.environment());
        regrove::run(command).await
    }
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut out = GzEncoder::new(Vec::new(), Compression::fast());
    out.write_all(content).unwrap();
    out.finish().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn data_sets_are_read_from_s3() {
    let bucket = Bucket::new().await;
    let csv = std::fs::read(workspace().join("examples/breast_cancer.csv")).unwrap();
    bucket.put("cancer.csv", csv.clone()).await;
    bucket.put("raw/cancer.csv.gz", gzip(&csv)).await;
    bucket.put("flat.parquet", std::fs::read(workspace().join("infra/data/testdata/flat.parquet")).unwrap()).await;
    let plain = bucket.inspect("s3://training/cancer.csv", &["--target", "target", "--json"]).await.ok().json();
    assert_eq!(plain["n_rows"], 569);
    let packed = bucket.inspect("s3://training/raw/cancer.csv.gz", &["--target", "target", "--json"]).await.ok().json();
    assert_eq!(packed["columns"], plain["columns"]);
    let here = workspace().join("infra/data/testdata/flat.parquet");
    let near = bucket.inspect(here.to_str().unwrap(), &["--json"]).await.ok().json();
    let far = bucket.inspect("s3://training/flat.parquet", &["--json"]).await.ok().json();
    assert_eq!((&far["columns"], &far["n_rows"]), (&near["columns"], &near["n_rows"]));
    bucket.inspect("s3://training/nothing.csv", &[]).await.fails(2, &["s3://training/nothing.csv", "no such object"]);
    bucket.inspect("s3://nobody/cancer.csv", &[]).await.fails(2, &["s3://nobody/cancer.csv"]);

    // The functions read it as the command does.
    let up = Up::start(UpOptions { env: bucket.environment(), ..UpOptions::default() });
    let train =
        ["train", "--target", "target", "--set", "n_estimators=8", "--set", "random_state=1", "--wait", "--json"];
    let from = async |uri: &str, id: &str| {
        let said = up.regrove(&[&train[..], &["--data", uri, "--id", id]].concat()).await;
        (said, up.job(id).await.unwrap())
    };
    let (said, packed) = from("s3://training/raw/cancer.csv.gz", "packed").await;
    said.ok();
    let (said, file) = from(workspace().join("examples/breast_cancer.csv").to_str().unwrap(), "file").await;
    said.ok();
    assert_eq!(packed.model.unwrap().model, file.model.unwrap().model, "the same bytes from a bucket");
    let (said, missing) = from("s3://training/nothing.csv", "missing").await;
    said.fails(1, &["no such object"]);
    assert_eq!((missing.state, missing.failure.unwrap().problem.as_str()), (JobState::Failed, "dataset-not-found"));
    let shown = up.regrove(&["job", "show", "packed", "--json"]).await.ok().json();
    assert_eq!(shown["data"]["uri"], json!("s3://training/raw/cancer.csv.gz"));
}
