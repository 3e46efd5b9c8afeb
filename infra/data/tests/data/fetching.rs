//! Places as events name them: what is fetched, and what is not.

use std::path::PathBuf;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use regrove_data::{Columns, Error, Limits, Local, Location, Policy, fetch};

use crate::Folder;

const CSV: &str = "a,y\n1,0\n2,1\n";

/// A web server on a free port of this machine.
async fn server() -> String {
    let to =
        |place: &'static str| move || async move { (StatusCode::FOUND, [(header::LOCATION, place)]).into_response() };
    let routes = Router::new()
        .route("/data.csv", get(|| async { CSV }))
        .route("/once", get(to("/data.csv")))
        .route("/file", get(to("file:///etc/passwd")))
        .route("/metadata", get(to("http://169.254.169.254/latest/meta-data/")))
        .route("/loopback", get(to("http://localhost:1/data.csv")))
        .route("/round", get(to("/round")))
        .route("/closed", get(|| async { StatusCode::FORBIDDEN }))
        .route("/busy", get(|| async { StatusCode::SERVICE_UNAVAILABLE }))
        .route("/cut", get(cut));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
    format!("http://{address}")
}

/// Says that more will come than does.
async fn cut() -> Response {
    let body = axum::body::Body::from_stream(futures_util::stream::iter([
        Ok(axum::body::Bytes::from_static(b"a,y\n1,0\n")),
        Err(std::io::Error::other("gone")),
    ]));
    ([(header::CONTENT_LENGTH, "1000")], body).into_response()
}

async fn fetched(uri: &str, policy: &Policy) -> Result<(Local, Folder), Error> {
    let spool = Folder::new();
    let location = Location::parse(uri)?;
    Ok((fetch(&location, policy, &Limits::default(), spool.dir.path(), &Columns::All, &()).await?, spool))
}

fn policy(list: &str) -> Policy {
    Policy::for_events(Some(list), None).unwrap()
}

#[tokio::test]
async fn web_servers_that_are_named_are_read() {
    let server = server().await;
    let named = policy(&server);
    for path in ["/data.csv", "/once"] {
        let (local, spool) = fetched(&format!("{server}{path}"), &named).await.unwrap();
        assert_eq!(std::fs::read_to_string(local.path()).unwrap(), CSV);
        assert_eq!(local.bytes(), CSV.len() as u64);
        drop(local);
        assert_eq!(spool.dir.path().read_dir().unwrap().count(), 0, "what was fetched is gone afterwards");
    }
}

#[tokio::test]
async fn a_redirect_leads_nowhere_that_an_event_may_not_name() {
    let server = server().await;
    let named = policy(&format!("{server},https:"));
    for (path, says) in [
        ("/file", "file:///etc/passwd"),
        ("/metadata", "169.254.169.254"),
        ("/loopback", "localhost"),
        ("/round", "redirects"),
    ] {
        let refused = fetched(&format!("{server}{path}"), &named).await.unwrap_err();
        assert_eq!(refused.kind(), "dataset-not-allowed", "{path}: {refused}");
        assert!(refused.to_string().contains(says), "{path}: {refused}");
        assert!(!refused.is_retryable());
    }
}

#[tokio::test]
async fn what_is_not_allowed_is_not_asked() {
    let server = server().await;
    let usual = Policy::for_events(None, None).unwrap();
    let http = policy("http:,https:");
    let port = server.rsplit(':').next().unwrap();
    for (uri, policy, says) in [
        ("file:///etc/passwd".to_owned(), &usual, "`file:` is not among what REGROVE_DATA_ALLOW allows"),
        (format!("{server}/data.csv"), &usual, "not among"),
        (format!("{server}/data.csv"), &http, "127.0.0.1"),
        (format!("http://localhost:{port}/data.csv"), &http, "no public address"),
        (format!("http://[::1]:{port}/data.csv"), &http, "no public address"),
        (format!("http://[::ffff:127.0.0.1]:{port}/data.csv"), &http, "no public address"),
        (format!("http://2130706433:{port}/data.csv"), &http, "no public address"),
        (format!("http://10.0.0.8:{port}/data.csv"), &http, "no public address"),
        ("s3://other/data.csv".to_owned(), &policy("s3://training"), "s3://training"),
        ("s3://training/raw/x.csv".to_owned(), &policy("s3://training/clean"), "s3://training/clean"),
        ("https://example.org/x.csv".to_owned(), &policy("https://*.example.com"), "not among"),
    ] {
        let refused = fetched(&uri, policy).await.unwrap_err();
        assert_eq!(refused.kind(), "dataset-not-allowed", "{uri}: {refused}");
        assert!(refused.to_string().contains(says), "{uri}: {refused}");
    }
}

#[tokio::test]
async fn what_fails_for_a_moment_is_told_from_what_is_not_there() {
    let server = server().await;
    let named = policy(&server);
    for (path, kind, retryable) in [
        ("/nothing", "dataset-not-found", false),
        ("/closed", "dataset-access", false),
        ("/busy", "dataset-unavailable", true),
        ("/cut", "dataset-unavailable", true),
    ] {
        let failed = fetched(&format!("{server}{path}"), &named).await.unwrap_err();
        assert_eq!((failed.kind(), failed.is_retryable()), (kind, retryable), "{failed}");
    }
    let gone = policy("http://127.0.0.1:1");
    assert!(fetched("http://127.0.0.1:1/x", &gone).await.unwrap_err().is_retryable());
}

#[tokio::test]
async fn too_much_is_not_fetched() {
    let server = server().await;
    let location = Location::parse(&format!("{server}/data.csv")).unwrap();
    let spool = Folder::new();
    let limits = Limits { bytes_max: 5, ..Limits::default() };
    let refused = fetch(&location, &policy(&server), &limits, spool.dir.path(), &Columns::All, &()).await.unwrap_err();
    assert_eq!(refused.kind(), "dataset-too-large");
    assert!(refused.to_string().contains("REGROVE_DATA_BYTES_MAX"), "{refused}");
    assert_eq!(spool.dir.path().read_dir().unwrap().count(), 0);
}

#[tokio::test]
async fn files_are_read_below_the_folder_that_is_allowed() {
    let folder = Folder::new();
    std::fs::create_dir(folder.dir.path().join("in")).unwrap();
    let inside = folder.write("in/d.csv", CSV);
    let outside = folder.write("secret.csv", CSV);
    std::os::unix::fs::symlink(&outside, folder.dir.path().join("in/link.csv")).unwrap();
    let root = Policy::for_events(None, Some(&folder.dir.path().join("in"))).unwrap();
    let uri = |path: PathBuf| format!("file://{}", path.display());
    fetched(&uri(inside), &root).await.unwrap();
    for path in [outside, folder.dir.path().join("in/link.csv"), folder.dir.path().join("in/../secret.csv")] {
        let refused = fetched(&uri(path), &root).await.unwrap_err();
        assert!(refused.to_string().contains("REGROVE_DATA_ROOT"), "{refused}");
    }
    let nothing = fetched(&uri(folder.dir.path().join("in/none.csv")), &root).await.unwrap_err();
    assert_eq!(nothing.kind(), "dataset-not-found");
    assert_eq!(
        fetched(&uri(folder.dir.path().to_owned()), &Policy::anything()).await.unwrap_err().kind(),
        "dataset-not-found"
    );
}

#[test]
fn uris_are_read_strictly() {
    for (uri, says) in [
        ("nonsense", "not supported"),
        ("ftp://example.org/x.csv", "scheme `ftp`"),
        ("https://user:secret@example.org/x.csv", "password"),
        ("https://token@example.org/x.csv", "password"),
    ] {
        let refused = Location::parse(uri).unwrap_err();
        assert_eq!(refused.kind(), "dataset-unsupported");
        let said = refused.to_string();
        assert!(said.contains(says) && !said.contains("secret") && !said.contains("token@"), "{said}");
    }
    for list in ["https", "nonsense:", "https://", "ftp:"] {
        let refused = Policy::for_events(Some(list), None).unwrap_err();
        assert!(refused.to_string().contains("REGROVE_DATA_ALLOW") && refused.to_string().contains(list), "{refused}");
    }
}
