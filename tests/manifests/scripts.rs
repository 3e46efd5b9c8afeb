//! The scripts of `k8s/cluster`, with a `kubectl` that only says what a cluster would.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

use super::root;

/// Runs a script; `answers` is the body of a shell's `case "$*"`. Its output, and the arguments of every call.
fn run(script: &str, answers: &str) -> (Output, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let program = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    };
    let calls = folder.path().join("calls");
    program("kubectl", &format!("#!/bin/sh\necho \"$*\" >> {}\ncase \"$*\" in\n{answers}\nesac\n", calls.display()));
    // Nobody waits here.
    program("sleep", "#!/bin/sh\n");
    let output = Command::new("bash")
        .args(["-c", "PATH=\"$0:$PATH\" exec bash \"$1\""])
        .arg(folder.path())
        .arg(root().join("k8s/cluster").join(script))
        .env("SKAFFOLD_KUBE_CONTEXT", "test")
        .output()
        .unwrap();
    let calls = fs::read_to_string(Path::new(&calls)).unwrap_or_default();
    (output, calls.lines().map(str::to_owned).collect())
}

const TOLD: &str = r#"printf '{\n"kind": "Service",\n"name": "K_SINK",\n"kind": "Service",\n"name": "K_SINK"\n}\n'"#;
const UNTOLD: &str = r#"printf '{\n"kind": "Service",\n"name": "K_SINK",\n"kind": "Service"\n}\n'"#;

#[test]
fn knative_is_not_installed_twice() {
    let applied = |calls: &[String]| calls.iter().filter(|call| call.contains(" apply -f https://")).count();
    let patched = |calls: &[String]| calls.iter().filter(|call| call.contains(" patch configmap ")).count();
    let (done, calls) = run("knative.sh", "*) ;;");
    assert!(done.status.success(), "{done:?}");
    assert_eq!((applied(&calls), patched(&calls)), (0, 3), "{calls:?}");
    assert!(calls.iter().filter(|call| call.contains(" wait ")).all(|call| call.contains("--timeout=0s")), "{calls:?}");
    assert!(calls[0].contains("version}=1.22.0"), "{calls:?}");

    // Of another release, or not yet ready.
    for lacking in ["*version}=*) exit 1;;", "*mt-broker-ingress*condition=Available*) exit 1;;"] {
        let (done, calls) = run("knative.sh", lacking);
        assert!(done.status.success(), "{done:?}");
        assert_eq!((applied(&calls), patched(&calls)), (7, 3), "{lacking}: {calls:?}");
    }
}

#[test]
fn functions_wait_until_they_would_be_told_of_the_broker() {
    let (done, calls) = run("bound.sh", &format!("*dry-run*) {TOLD};;"));
    assert!(done.status.success(), "{done:?}");
    assert_eq!(calls.len(), 2, "{calls:?}");
    assert!(calls[0].starts_with("--context test -n regrove wait brokers.eventing.knative.dev default "), "{calls:?}");
    assert!(calls[1].contains("apply --dry-run=server --kustomize ../functions"), "nothing is made: {calls:?}");

    // One of two is not told: it asks again, and in the end says what follows.
    let (done, calls) = run("bound.sh", &format!("*dry-run*) {UNTOLD};;"));
    assert!(done.status.success(), "{done:?}");
    assert!(calls.len() > 10, "{calls:?}");
    assert!(String::from_utf8_lossy(&done.stderr).contains("made again"), "{done:?}");

    let (done, calls) = run("bound.sh", "*wait*) exit 1;;");
    assert!(!done.status.success(), "without a broker there is nothing to be told");
    assert_eq!(calls.len(), 1, "{calls:?}");
}
