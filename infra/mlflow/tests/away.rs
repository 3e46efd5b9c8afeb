//! A server that is away, slow, guarded, or something else: what the client says about it.

#![expect(clippy::unwrap_used, reason = "the whole crate is a test; a panic is how it fails")]

use regrove_mlflow::{Client, Error, MlflowArgs, Secret};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A server that gives the same bytes to every request; the second part holds the requests as they came.
async fn answering(answer: &'static str) -> (String, tokio::sync::mpsc::UnboundedReceiver<String>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("http://{}", listener.local_addr().unwrap());
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut buffer = vec![0; 64 * 1024];
            let length = stream.read(&mut buffer).await.unwrap_or(0);
            let _ = sender.send(String::from_utf8_lossy(&buffer[..length]).into_owned());
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    (uri, receiver)
}

fn client(uri: &str) -> Client {
    Client::new(&MlflowArgs::for_uri(uri)).unwrap()
}

async fn error_for(answer: &'static str) -> Error {
    let (uri, _requests) = answering(answer).await;
    client(&uri).run("r").await.unwrap_err()
}

#[tokio::test]
async fn nobody_listening_is_unreachable_and_retryable() {
    // It has a port, and does not listen.
    let nobody = tokio::net::TcpSocket::new_v4().unwrap();
    nobody.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let error = client(&format!("http://{}", nobody.local_addr().unwrap())).run("r").await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }) && error.is_retryable(), "{error}");
    assert!(error.to_string().contains("GET runs/get"), "{error}");
}

#[tokio::test]
async fn a_silent_server_times_out_and_is_retryable() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("http://{}", listener.local_addr().unwrap());
    let impatient = Client::new(&MlflowArgs { timeout_seconds: 1, ..MlflowArgs::for_uri(&uri) }).unwrap();
    let error = impatient.run("r").await.unwrap_err();
    assert!(matches!(error, Error::Timeout { .. }) && error.is_retryable(), "{error}");
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_retryable() {
    let error = error_for("HTTP/1.1 200 OK\r\ncontent-length: 100\r\nconnection: close\r\n\r\n{\"run\":").await;
    assert!(matches!(error, Error::Unreachable { .. }) && error.is_retryable(), "{error}");
}

#[tokio::test]
async fn overload_and_outage_are_retryable() {
    for answer in [
        "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
        "HTTP/1.1 429 Too Many Requests\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
        "HTTP/1.1 502 Bad Gateway\r\ncontent-length: 6\r\nconnection: close\r\n\r\n<html>",
    ] {
        let error = error_for(answer).await;
        assert!(matches!(error, Error::Unavailable { .. }) && error.is_retryable(), "{error}");
    }
}

#[tokio::test]
async fn a_web_page_or_another_service_is_not_mlflow() {
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 6\r\nconnection: close\r\n\r\n<html>",
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 8\r\nconnection: close\r\n\r\n{\"a\": 1}",
        "HTTP/1.1 302 Found\r\nlocation: /login\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
    ] {
        let error = error_for(answer).await;
        assert!(matches!(error, Error::NotMlflow { .. }) && !error.is_retryable(), "{error}");
        assert!(error.to_string().contains("check MLFLOW_TRACKING_URI"), "{error}");
    }
}

#[tokio::test]
async fn an_answer_beyond_the_limit_is_not_read() {
    let error = error_for("HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\nconnection: close\r\n\r\n{").await;
    assert!(matches!(error, Error::TooLarge { .. }), "{error}");
}

#[tokio::test]
async fn a_login_is_sent_and_a_refused_one_names_the_settings_but_not_the_secret() {
    let (uri, mut requests) =
        answering("HTTP/1.1 401 Unauthorized\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno").await;
    let mut args = MlflowArgs::for_uri(uri);
    args.username = Some("ann".to_owned());
    args.password = Some(Secret::from("hush".to_owned()));
    args.token = Some(Secret::from("unused".to_owned()));
    let error = Client::new(&args).unwrap().run("r").await.unwrap_err();
    assert!(matches!(error, Error::Unauthorized { status: 401, .. }), "{error}");
    assert!(error.to_string().contains("MLFLOW_TRACKING_PASSWORD"), "{error}");
    assert!(!error.to_string().contains("hush"), "{error}");
    let request = requests.recv().await.unwrap();
    assert!(request.to_lowercase().contains("authorization: basic yw5uomh1c2g="), "{request}");
    assert!(request.starts_with("GET /api/2.0/mlflow/runs/get?run_id=r HTTP/1.1"), "{request}");
}
