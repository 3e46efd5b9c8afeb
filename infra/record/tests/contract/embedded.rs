//! The embedded record under the contract, and what only it promises.

use regrove_record::{JSON_BYTES_MAX, Store, router};

use crate::{cases, push, python};

/// An embedded record on a free port; stops when dropped.
pub(crate) struct Embedded {
    uri: String,
    task: tokio::task::JoinHandle<()>,
    _folder: tempfile::TempDir,
}

impl Embedded {
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("http://{}", listener.local_addr().unwrap());
        let task = tokio::spawn(async move { axum::serve(listener, router(store)).await.unwrap() });
        Self { uri, task, _folder: folder }
    }

    pub(crate) fn uri(&self) -> &str {
        &self.uri
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_record_keeps_the_contract() {
    let server = Embedded::start().await;
    cases::run_all(server.uri()).await;
    push::arrives_once(server.uri(), "pushed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn python_loads_and_lists_from_the_embedded_record() {
    let server = Embedded::start().await;
    python::loads_and_lists(server.uri()).await;
    python::logs_by_its_own_client(server.uri()).await;
}

#[tokio::test]
async fn paths_and_methods_answer_as_mlflow_does() {
    let server = Embedded::start().await;
    let http = reqwest::Client::new();
    let api = format!("{}/api/2.0/mlflow", server.uri());
    let status = |request: reqwest::RequestBuilder| async { request.send().await.unwrap().status().as_u16() };
    assert_eq!(status(http.get(format!("{}/nope", server.uri()))).await, 404);
    assert_eq!(status(http.get(format!("{api}/nope"))).await, 404);
    assert_eq!(status(http.get(format!("{api}/runs/create"))).await, 405);
    assert_eq!(status(http.get(format!("{}/api/3.0/mlflow/server-info", server.uri()))).await, 404);
    let version = http.get(format!("{}/version", server.uri())).send().await.unwrap().text().await.unwrap();
    assert_eq!(version, regrove_record::COMPATIBLE_MLFLOW_VERSION);
    assert_eq!(status(http.get(format!("{}/health", server.uri()))).await, 200);
    let page = http.get(format!("{api}/nope")).send().await.unwrap();
    assert!(page.headers()["content-type"].to_str().unwrap().starts_with("text/html"));
}

#[tokio::test]
async fn bodies_that_cannot_be_read_are_refused() {
    let server = Embedded::start().await;
    let http = reqwest::Client::new();
    let url = format!("{}/api/2.0/mlflow/runs/create", server.uri());
    let json = |body: Vec<u8>| http.post(&url).header("content-type", "application/json").body(body);
    let form = http.post(&url).header("content-type", "text/plain").body("{}").send().await.unwrap();
    assert_eq!(form.status().as_u16(), 400);
    assert!(form.text().await.unwrap().contains("Content-Type must be one of"));
    assert_eq!(json(b"{bad".to_vec()).send().await.unwrap().status().as_u16(), 400);
    assert_eq!(json(br#"{"start_time":"soon"}"#.to_vec()).send().await.unwrap().status().as_u16(), 400);
    assert_eq!(json(br#"{"start_time":"12","unknown":[1]}"#.to_vec()).send().await.unwrap().status().as_u16(), 200);
    let oversized = json(vec![b' '; JSON_BYTES_MAX + 1]).send().await.unwrap();
    assert_eq!(oversized.status().as_u16(), 413);
    assert!(oversized.text().await.unwrap().contains("bigger than"));
}

#[tokio::test]
async fn a_foreign_host_name_is_refused() {
    let server = Embedded::start().await;
    let http = reqwest::Client::new();
    let answer = http.get(format!("{}/health", server.uri())).header("host", "evil.example").send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 403);
    assert!(answer.text().await.unwrap().starts_with("Invalid Host header"));
}
