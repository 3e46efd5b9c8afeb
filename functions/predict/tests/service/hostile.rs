//! Bodies that no client means, refused alike by every protocol.

use std::io::Write as _;

use axum::body::Body;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::Request;

use crate::stage::{BODY_BYTES_MAX, Kind, NAME, Reply, Stage};

/// How a protocol says no.
struct Protocol {
    path: String,
    content_type: &'static str,
    /// A good body but for its member `extra`, whose value stands for `EXTRA`.
    body: &'static str,
    /// The status and the kind of what cannot be read, where the protocol reads it itself.
    malformed: (u16, &'static str),
    not_utf8: (u16, &'static str),
    /// Whether our own scanner reads the body, rather than the type of an event's data.
    scanned: bool,
}

fn protocols() -> [Protocol; 4] {
    let json = |path: &str, body, malformed| Protocol {
        path: path.to_owned(),
        content_type: "application/json",
        body,
        malformed: (malformed, "invalid-request"),
        not_utf8: (400, "not-utf-8"),
        scanned: true,
    };
    [
        json("/predict", r#"{"extra": EXTRA, "features": [[1, 2, 3]]}"#, 422),
        json("/invocations", r#"{"extra": EXTRA, "instances": [[1, 2, 3]]}"#, 400),
        json(
            &format!("/v2/models/{NAME}/infer"),
            r#"{"extra": EXTRA, "inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3]}]}"#,
            400,
        ),
        // An event's data have no members that are ignored.
        Protocol {
            malformed: (422, "invalid-event-data"),
            not_utf8: (422, "invalid-event-data"),
            scanned: false,
            ..json("/", r#"{"features": [[1, 2, 3]], "columns": EXTRA}"#, 422)
        },
    ]
}

impl Protocol {
    fn with(&self, extra: &str) -> Vec<u8> {
        self.body.replace("EXTRA", extra).into_bytes()
    }

    async fn post(&self, stage: &Stage, encoding: Option<&str>, body: Vec<u8>) -> Reply {
        let mut request = Request::post(&self.path).header("content-type", self.content_type);
        if self.path == "/" {
            request = request.header("ce-specversion", "1.0").header("ce-id", "1").header("ce-source", "/me");
            request = request.header("ce-type", "io.regrove.predict-requested").header("ce-subject", NAME);
        }
        if let Some(encoding) = encoding {
            request = request.header("content-encoding", encoding);
        }
        stage.ask(request.body(Body::from(body)).unwrap()).await
    }

    async fn refuses(&self, stage: &Stage, body: Vec<u8>, (status, kind): (u16, &str), says: &str) {
        let problem = self.post(stage, None, body).await.is_problem(status, kind, says);
        let pointer = problem["pointer"].as_str().unwrap();
        // An event's data are read with their path; elsewhere a body that is no JSON has no place in it.
        let fits = if self.scanned { pointer.is_empty() } else { pointer.starts_with("/data") };
        assert!(fits, "{}: {problem}", self.path);
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn what_no_client_means_is_refused_by_every_protocol() {
    let (stage, _) = Stage::of(Kind::Numbers).await;
    let deep = format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000));
    let deep_objects = format!("{}1{}", "{\"a\":".repeat(10_000), "}".repeat(10_000));
    let unclosed = "[".repeat(10_000);
    let bomb = gzip(&vec![b' '; 16 * BODY_BYTES_MAX]);
    let small_bomb = gzip(&vec![b' '; BODY_BYTES_MAX + 1]);
    for protocol in protocols() {
        let good = protocol.with("null");
        assert_eq!(protocol.post(&stage, None, good.clone()).await.status, 200, "{}", protocol.path);
        assert_eq!(protocol.post(&stage, Some("gzip"), gzip(&good)).await.status, 200, "{}", protocol.path);

        let too_deep = if protocol.scanned { "nested deeper than 128" } else { "" };
        for extra in [&deep, &deep_objects, &unclosed] {
            protocol.refuses(&stage, protocol.with(extra), protocol.malformed, too_deep).await;
        }
        protocol.refuses(&stage, deep.clone().into(), protocol.malformed, "").await;
        let twice = String::from_utf8(good.clone()).unwrap().replacen('{', "{\"extra\": 1, ", 1);
        let (twice, says) = if protocol.scanned {
            (twice, "the member `extra` comes twice")
        } else {
            (r#"{"features": [], "features": []}"#.to_owned(), "duplicate field `features`")
        };
        protocol.refuses(&stage, twice.into(), protocol.malformed, says).await;
        if protocol.scanned {
            let ignored = protocol.with(r#"[{"x": {"a": 1, "b": {}, "a": 2}}]"#);
            protocol.refuses(&stage, ignored, protocol.malformed, "the member `a` comes twice").await;
        }
        let not_utf8 = protocol.with("\"?\"").iter().map(|byte| if *byte == b'?' { 0xff } else { *byte }).collect();
        protocol.refuses(&stage, not_utf8, protocol.not_utf8, "").await;

        let (mut flipped, cut) = (gzip(&good), gzip(&good)[..20].to_vec());
        let last = flipped.len() - 1;
        flipped[last - 4] ^= 1;
        for (encoding, body, status, kind) in [
            (Some("gzip"), bomb.clone(), 413, "body-too-large"),
            (Some("gzip"), small_bomb.clone(), 413, "body-too-large"),
            (None, vec![b' '; BODY_BYTES_MAX + 1], 413, "body-too-large"),
            (Some("gzip"), cut, 400, "body-unreadable"),
            (Some("gzip"), flipped, 400, "body-unreadable"),
            (Some("gzip"), good.clone(), 400, "body-unreadable"),
        ] {
            protocol.post(&stage, encoding, body).await.is_problem(status, kind, "");
        }
    }
}

#[tokio::test]
async fn csv_is_utf_8_in_its_header_and_its_rows() {
    let (stage, _) = Stage::of(Kind::Numbers).await;
    for (body, says) in [(&b"a,b,\xff\n1,2,3\n"[..], "at byte 4"), (b"a,b,c\n1,2,3\n1,\xe9,3\n", "at byte 14")] {
        let problem = stage.post("/invocations", "text/csv", body).await.is_problem(400, "not-utf-8", says);
        assert_eq!((&problem["pointer"], &problem["error_code"]), (&"".into(), &"BAD_REQUEST".into()));
    }
}
