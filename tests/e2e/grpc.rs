//! A gRPC server that has nothing of ours behind a Service, and `grpcio` as its client at the gateway.

use std::fs;

use regrove_test_support::programs::{clients_program, workspace};
use serde_json::json;

use crate::polling::until;
use crate::python;
use crate::up::{Foreign, Up, UpOptions};

const MANIFEST: &str = "
apiVersion: serving.knative.dev/v1
kind: Service
metadata:
  name: echo
  namespace: default
spec:
  template:
    spec:
      containers:
        - image: docker.io/example/echo
          ports:
            - name: h2c
              containerPort: 8080
";

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_grpc_call_passes_the_gateway_and_starts_its_server() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("echo.yaml"), MANIFEST).unwrap();
    let server = workspace().join("tests/python/grpc_server.py");
    let application = Foreign {
        exec: vec![format!("echo={} {}", clients_program("python").unwrap().display(), server.display())],
        manifests: folder.path().to_owned(),
    };
    let up = Up::start(UpOptions { application: Some(application), fast_time: Some(20.0), ..UpOptions::default() });
    let address = up.gateway().trim_start_matches("http://").to_owned();
    for round in 1..=2 {
        until("nothing runs", async || up.functions().is_empty().then_some(())).await;
        let seen = python::run_client("grpc_client.py", &[&address, "echo.default.localhost"]).await;
        let expected = json!({
            "say": "hello",
            "said_by": "echo-00001",
            "asked_by": b"\x00\xff test",
            "large": 3_000_000,
            "count": ["1", "2", "3", "4", "5"],
            "total": 71_000,
            "talk": {"heard": ["ONE", "TWO", "THREE"], "more": [], "code": "OK"},
            "hang": ["here", "True"],
            "unknown_name": ["NOT_FOUND", "nobody of this name: ü"],
            "unknown_method": ["UNIMPLEMENTED", "Method not found!"],
        });
        assert_eq!(seen, expected, "round {round}");
        assert_eq!(up.reported("replica-starting", Some("echo")).len(), round, "from zero, and once");
    }
    assert!(up.reported("replica-crashed", None).is_empty(), "{:?}", up.reported("replica-crashed", None));
}
