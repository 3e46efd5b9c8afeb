//! The container images, built from the Dockerfile and run by Docker as the manifests say: not as root, on a read-only file
//! system, without capabilities, in so much memory. The whole loop goes through them once, with Redis and MLflow beside them.
//!
//! Docker's daemon belongs to the test, in network and mount namespaces of its own, so that it touches nothing of this
//! machine; that needs root. Nothing is pulled: the images are made of what `cargo xtask` laid out, in CI the programs that
//! all tests run. `REGROVE_TEST_IMAGES=target/image` names those that are shipped instead.

mod docker;
mod pod;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use regrove_events::JobState;
use regrove_events::event::DatasetRequest;
use regrove_mlflow::RunStatus;
use regrove_test_support::programs::{platform_program, workspace};
use regrove_test_support::{MlflowServer, Port, RedisServer};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::jobs::{DEFAULT_MODEL, REFERENCE_PROBABILITIES, one_to_twenty, reference, small};
use crate::operations::run;
use crate::polling::{DEADLINE, until};
use crate::record;
use crate::up::{Foreign, Up, UpOptions};
use docker::Docker;

/// Set inside the namespaces, to the folder of Docker's daemon.
const INSIDE: &str = "REGROVE_TEST_INSIDE";
/// Names the folder with a root for each image.
const IMAGES: &str = "REGROVE_TEST_IMAGES";
/// Names of the functions that are images.
const FUNCTIONS: [&str; 6] = ["aggregate", "train-shard", "register", "load-model", "predict", "console"];
/// What the console asks for.
const TOKEN: &str = "sixteen-characters-or-more";
/// An operator's setting of the functions that read data sets.
const ALLOW: &str = "REGROVE_DATA_ALLOW";
/// libc, libm, `libgcc_s` and the loader.
const LIBRARIES_MAX: usize = 4;
/// Rows of the data set that comes over HTTP.
const ROWS: usize = 100;

#[test]
fn the_loop_runs_through_the_containers() {
    if let Some(folder) = std::env::var_os(INSIDE) {
        tokio::runtime::Runtime::new().unwrap().block_on(inside(Path::new(&folder)));
        return;
    }
    // Out here, where nothing is mounted in it, so that it can be removed.
    let folder = tempfile::Builder::new().prefix("regrove-docker-").tempdir().unwrap();
    // This very test again, with no network but its own.
    let status = Command::new("unshare")
        .args(["--net", "--mount", "--"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "images::the_loop_runs_through_the_containers", "--nocapture"])
        .env(INSIDE, folder.path())
        .status()
        .expect("unshare is part of util-linux");
    assert!(status.success(), "inside the namespaces: {status}; they need root");
}

async fn inside(folder: &Path) {
    run(Command::new("ip").args(["link", "set", "lo", "up"]));
    let docker = Docker::start(&images(), folder);
    let pods = pod::all();
    for pod in &pods {
        docker.build(&pod.name, &[]);
        is_as_promised(&docker, &pod.name);
    }
    // One is enough: they are built alike, and each build costs a second or two.
    is_the_same_again(&docker, "register");
    let (redis, mlflow) = (RedisServer::start().unwrap(), MlflowServer::start().unwrap());
    // Held until the end: containers are told theirs one after the other.
    let reserved: Vec<_> = FUNCTIONS.iter().map(|name| (*name, Port::reserve().unwrap())).collect();
    let ports: BTreeMap<&str, u16> = reserved.iter().map(|(name, port)| (*name, port.number())).collect();
    let (_folder, up) = broker(&ports, &redis, &mlflow);
    let (allowed, data) = data_set().await;
    let settings: BTreeMap<&str, String> = [
        (ALLOW, allowed),
        ("K_SINK", up.broker()),
        ("REDIS_URL", redis.url()),
        ("MLFLOW_TRACKING_URI", mlflow.uri()),
        ("REGROVE_TOKEN", TOKEN.to_owned()),
    ]
    .into();
    let client = reqwest::Client::builder().no_proxy().timeout(DEADLINE).build().unwrap();
    for pod in &pods {
        let port = ports[pod.name.as_str()];
        docker.run(pod, port, &settings);
        let health = format!("http://127.0.0.1:{port}{}", pod.probe);
        until(&format!("{} is ready", pod.name), async || {
            client.get(&health).send().await.ok()?.status().is_success().then_some(())
        })
        .await;
        docker.is_confined(&pod.name);
    }
    loop_once(&docker, &up, &mlflow, &client, &ports).await;
    spooled(&docker, &up, &client, ports["predict"], &data).await;
    for name in FUNCTIONS {
        docker.stops(name);
    }
}

/// From `train-requested` to a prediction and the console's list of jobs.
async fn loop_once(
    docker: &Docker,
    up: &Up,
    mlflow: &MlflowServer,
    client: &reqwest::Client,
    ports: &BTreeMap<&str, u16>,
) {
    up.request("contained", &reference(DEFAULT_MODEL)).await;
    let job = up.job_end("contained").await;
    assert_eq!(job.state, JobState::Succeeded, "{:?}\n{}", job.failure, docker.logs());
    let runs = record::runs(&mlflow.uri(), "contained").await;
    assert_eq!((runs.len(), runs[0].info.status), (1, RunStatus::Finished));
    let predict = format!("http://127.0.0.1:{}/predict", ports["predict"]);
    let answer: Value = until("the model is served", async || {
        let answer = client.post(&predict).json(&json!({"features": [one_to_twenty()]})).send().await.ok()?;
        if answer.status().is_success() { answer.json().await.ok() } else { None }
    })
    .await;
    assert_eq!(answer["probabilities"], json!([REFERENCE_PROBABILITIES]), "{answer}");
    let jobs = format!("http://127.0.0.1:{}/api/jobs", ports["console"]);
    let jobs: Value = client.get(jobs).bearer_auth(TOKEN).send().await.unwrap().json().await.unwrap();
    assert_eq!(jobs["jobs"][0]["id"], "contained", "{jobs}");
}

/// A data set from elsewhere goes through a file: `aggregate` and `predict` can write where the manifests mount a volume.
async fn spooled(docker: &Docker, up: &Up, client: &reqwest::Client, predict: u16, data: &str) {
    let mut wish = small("Spooled", 1);
    wish.dataset = DatasetRequest::new(data, "target");
    up.request("spooled", &wish).await;
    let job = up.job_end("spooled").await;
    assert_eq!(job.state, JobState::Succeeded, "{:?}\n{}", job.failure, docker.logs());
    let ask = client.post(format!("http://127.0.0.1:{predict}/")).json(&json!({"dataset": {"uri": data}}));
    let ask = [
        ("specversion", "1.0"),
        ("id", "1"),
        ("source", "/e2e"),
        ("type", "io.regrove.predict-requested"),
        ("subject", "Spooled"),
    ]
    .into_iter()
    .fold(ask, |ask, (name, value)| ask.header(format!("ce-{name}"), value));
    let completed: Value = until("the data set is answered", async || {
        let answer = ask.try_clone()?.send().await.ok()?;
        if answer.status() == http::StatusCode::OK { answer.json().await.ok() } else { None }
    })
    .await;
    assert_eq!(completed["predictions"].as_array().map(Vec::len), Some(ROWS), "{completed}\n{}", docker.logs());
}

/// The first rows of an example over HTTP; returns the address of the server, and that of the data set.
async fn data_set() -> (String, String) {
    let text = fs::read_to_string(workspace().join("examples/breast_cancer.csv")).unwrap();
    let rows: String = text.lines().take(ROWS + 1).flat_map(|line| [line, "\n"]).collect();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = format!("http://{}", listener.local_addr().unwrap());
    let router = axum::Router::new().route("/rows.csv", axum::routing::get(async || rows));
    tokio::spawn(async { axum::serve(listener, router).await });
    (server.clone(), format!("{server}/rows.csv"))
}

/// `regrove up` without functions of its own: Redis, MLflow and a broker whose triggers lead to the containers.
fn broker(ports: &BTreeMap<&str, u16>, redis: &RedisServer, mlflow: &MlflowServer) -> (TempDir, Up) {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("all.yaml"), pod::triggers_to(ports)).unwrap();
    let up = Up::start(UpOptions {
        redis: Some(redis.url()),
        mlflow: Some(mlflow.uri()),
        application: Some(Foreign { manifests: folder.path().to_owned(), exec: Vec::new() }),
        ..UpOptions::default()
    });
    (folder, up)
}

/// Built anew, an image is the same but for the time of the build, which newer builders take from `SOURCE_DATE_EPOCH`.
fn is_the_same_again(docker: &Docker, name: &str) {
    let about = docker.inspect(name);
    docker.build(name, &["--no-cache"]);
    let again = docker.inspect(name);
    for part in ["RootFS", "Config", "Architecture", "Os", "Size"] {
        assert_eq!(again[part], about[part], "{name}: {part}");
    }
}

/// What an image is: labelled, not root's, without a shell or anything else.
fn is_as_promised(docker: &Docker, name: &str) {
    let about = docker.inspect(name);
    assert_eq!(about["Config"]["User"], "65532:65532", "{name}");
    assert_eq!(about["Config"]["Entrypoint"], json!([format!("/{name}")]));
    let labels = &about["Config"]["Labels"];
    assert_eq!(labels["org.opencontainers.image.title"], format!("regrove-{name}"));
    assert_eq!(labels["org.opencontainers.image.revision"], docker::REVISION);
    assert_eq!(about["RootFS"]["Layers"].as_array().unwrap().len(), 1, "{name}");
    let wanted = [name, "etc/ssl/certs/ca-certificates.crt", "sbom.cdx.json"].map(str::to_owned);
    // Only those that CI tests have any: what is shipped is static.
    let is_library = |file: &String| file.starts_with("lib") && file.contains(".so");
    let (libraries, files): (BTreeSet<_>, BTreeSet<_>) = docker.files(name).into_iter().partition(is_library);
    assert_eq!(files, wanted.into(), "{name}");
    assert!(libraries.len() <= LIBRARIES_MAX, "{name}: {libraries:?}");
    parts_are_valid(&images().join(name).join("sbom.cdx.json"));
}

/// The list of parts keeps the schema of `CycloneDX` and names what is known to be inside.
fn parts_are_valid(file: &Path) {
    let check = "import sys\n\
                 from cyclonedx.schema import SchemaVersion\n\
                 from cyclonedx.validation.json import JsonStrictValidator\n\
                 error = JsonStrictValidator(SchemaVersion.V1_5).validate_str(open(sys.argv[1]).read())\n\
                 sys.exit(str(error) if error else 0)";
    run(Command::new(platform_program("python").unwrap()).args(["-c", check]).arg(file));
    let parts: Value = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    let names: Vec<_> =
        parts["components"].as_array().unwrap().iter().map(|part| part["name"].as_str().unwrap()).collect();
    assert!(names.len() > 50 && names.contains(&"tokio") && names.contains(&"regrove-host"), "{names:?}");
}

/// The folder with a root for each image.
fn images() -> PathBuf {
    let folder = std::env::var_os(IMAGES).map_or_else(|| workspace().join("target/image-tested"), PathBuf::from);
    let folder = workspace().join(folder);
    assert!(folder.join("predict/predict").is_file(), "{} is empty: `cargo xtask test` fills it", folder.display());
    folder
}
