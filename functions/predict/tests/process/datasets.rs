//! Data sets that are larger than memory should be, and those in a bucket.

use std::io::{BufWriter, Write as _};
use std::net::SocketAddr;
use std::process::Child;

use regrove_test_support::MotoServer;
use serde_json::{Value, json};

use crate::{ask, connect, home, start, terminate};

/// Rows of the large data set: 9 MB of CSV, 20 MB of results were they all in memory.
const ROWS: u64 = 400_000;
/// What answering it may add to what the process held before.
const GROWTH_KIB_MAX: u64 = 12 << 10;

/// moto believes whoever says that he has signed.
const SIGNED: &str =
    "AWS4-HMAC-SHA256 Credential=test/20261127/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0";

fn wish(address: SocketAddr, data: &Value) -> (u16, Value) {
    let head = "POST / HTTP/1.1\r\nce-specversion: 1.0\r\nce-id: 1\r\nce-source: /me\r\nce-subject: Drained\r\n\
                ce-type: io.regrove.predict-requested";
    let (status, _, body) = ask(&mut connect(address), head, &data.to_string()).unwrap();
    (status, serde_json::from_str(&body).unwrap())
}

/// A line of `/proc/PID/status`, in KiB.
fn status_kib(process: &Child, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim_start_matches(':').trim().trim_end_matches(" kB").parse().unwrap()
}

fn end(mut process: Child) {
    terminate(&process);
    assert!(process.wait().unwrap().success());
}

#[tokio::test]
async fn memory_does_not_grow_with_the_data_set() {
    let home = home().await;
    let folder = tempfile::tempdir().unwrap();
    for name in ["small", "large"] {
        let mut out = BufWriter::new(std::fs::File::create(folder.path().join(format!("{name}.csv"))).unwrap());
        out.write_all(b"a,b\n").unwrap();
        for row in 0..if name == "small" { 20_000 } else { ROWS } {
            writeln!(out, "{}.25,0.{:08}", row % 20, row).unwrap();
        }
        out.into_inner().unwrap();
    }
    let root = folder.path().to_str().unwrap();
    let (process, address) = start(home.path(), &[("REGROVE_DATA_ROOT", root)]);
    let mut peaks = Vec::new();
    for (name, n_rows) in [("small", 20_000), ("large", ROWS)] {
        let (status, said) = wish(address, &json!({"dataset": {"uri": format!("file://{root}/{name}.csv")}}));
        assert_eq!((status, &said["n_rows"]), (200, &n_rows.into()), "{said}");
        let output = said["output"]["uri"].as_str().unwrap().strip_prefix("file://").unwrap();
        let written = std::fs::read_to_string(output).unwrap();
        assert_eq!(written.lines().count() as u64, n_rows + 1);
        peaks.push(status_kib(&process, "VmHWM"));
    }
    assert!(peaks[1] <= peaks[0] + GROWTH_KIB_MAX, "{peaks:?} KiB at most, after a small and after a large data set");
    end(process);
}

#[tokio::test]
async fn a_bucket_is_read_from_and_written_to() {
    let home = home().await;
    let moto = MotoServer::start().unwrap();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let object = |key: &str| format!("{}/rows/{key}", moto.endpoint());
    let put = async |url: String, body: String| {
        let answer = client.put(url).body(body).send().await.unwrap();
        assert!(answer.status().is_success(), "{answer:?}");
    };
    put(format!("{}/rows", moto.endpoint()), String::new()).await;
    let text: String =
        std::iter::once("b,a\n".to_owned()).chain((0..9000).map(|row| format!("{row},{}\n", row % 20))).collect();
    put(object("in/today.csv"), text).await;
    let settings = [
        ("AWS_ENDPOINT_URL", moto.endpoint()),
        ("AWS_ALLOW_HTTP", "true"),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
        ("AWS_REGION", "us-east-1"),
        ("REGROVE_DATA_ALLOW", "s3://rows/in"),
    ];
    let (process, address) = start(home.path(), &settings);
    let (status, said) = wish(address, &json!({"dataset": {"uri": "s3://rows/in/today.csv"}}));
    assert_eq!((status, &said["n_rows"]), (200, &9000.into()), "{said}");
    let output = said["output"]["uri"].as_str().unwrap();
    let key = output.strip_prefix("s3://rows/").unwrap();
    assert!(key.starts_with("in/today.predictions-"), "{output}");
    let written = client.get(object(key)).header("authorization", SIGNED).send().await.unwrap();
    assert!(written.status().is_success(), "{written:?}");
    let written = written.text().await.unwrap();
    let mut lines = written.lines();
    assert_eq!(lines.next(), Some("label,probability_0,probability_1"));
    assert_eq!(lines.count(), 9000);
    for (uri, kind) in [
        ("s3://rows/in/nothing.csv", "dataset-not-found"),
        ("s3://nothing/in/today.csv", "dataset-not-allowed"),
        ("s3://rows/other/today.csv", "dataset-not-allowed"),
    ] {
        let (status, said) = wish(address, &json!({"dataset": {"uri": uri}}));
        assert_eq!((status, &said["type"]), (422, &format!("urn:regrove:problem:{kind}").into()), "{uri}: {said}");
    }
    end(process);
}
