//! Every file passes the schema of its kind, and the linters of those who read it.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use super::{complaints, functions, knative, knative_schema, kustomized, objects, read, root, text};

#[test]
fn knative_manifests_have_no_unknown_or_mistyped_field() {
    let mut checked = 0;
    for (file, object) in objects() {
        let (version, kind) = (text(&object, "/apiVersion"), text(&object, "/kind"));
        let Some(validator) = knative_schema(version, kind) else {
            assert!(!version.contains("knative"), "{}: no schema for {version} {kind}", file.display());
            continue;
        };
        let complaints = complaints(&validator, &object);
        assert!(complaints.is_empty(), "{} {kind}:\n{}", file.display(), complaints.join("\n"));
        checked += 1;
    }
    assert!(checked >= 15, "only {checked} Knative objects");
}

#[test]
fn the_schemas_see_a_typing_error() {
    let service = functions().remove("predict").unwrap();
    let validator = knative_schema("serving.knative.dev/v1", "Service").unwrap();
    let mut unknown = service.clone();
    unknown["spec"]["template"]["spec"]["containerConcurency"] = json!(1);
    assert_eq!(complaints(&validator, &unknown).len(), 1);
    let mut mistyped = service;
    mistyped["spec"]["template"]["metadata"]["annotations"]["regrove.io/listen-fds"] = json!(true);
    assert_eq!(complaints(&validator, &mistyped).len(), 1);
}

#[test]
fn kubernetes_own_kinds_pass_kubernetes_own_schemas() {
    let venv = std::env::var_os("REGROVE_TEST_VENV")
        .expect("REGROVE_TEST_VENV names the Python environment of the tests: run `cargo xtask test`");
    let files: BTreeSet<_> = objects()
        .into_iter()
        .filter(|(_, object)| !text(object, "/apiVersion").contains("knative"))
        .map(|(file, _)| file)
        .collect();
    assert!(files.len() >= 3, "{files:?}");
    // What kustomizations make and overlays add; of RabbitMQ's own kind there is no schema here.
    let overlaid = tempfile::tempdir().unwrap();
    for folder in ["k8s/functions", "overlays/rabbitmq", "overlays/s3"] {
        let mut objects = kustomized(folder);
        objects.retain(|object| knative(object).is_none() && object["kind"] != "RabbitmqBrokerConfig");
        assert!(!objects.is_empty(), "{folder}");
        for (number, object) in objects.iter().enumerate() {
            let file = overlaid.path().join(format!("{}-{number}.yaml", folder.replace('/', "-")));
            fs::write(file, object.to_string()).unwrap();
        }
    }
    // And what the guide has people apply.
    let guide = read(&root().join("docs/operations.md"));
    let applied: Vec<&str> = guide.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(!applied.is_empty());
    for (number, text) in applied.into_iter().enumerate() {
        fs::write(overlaid.path().join(format!("guide-{number}.yaml")), text).unwrap();
    }
    let overlaid = fs::read_dir(overlaid.path()).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
    let output = Command::new(Path::new(&venv).join("bin/kubernetes-validate"))
        .arg("--strict")
        .args(&files)
        .args(&overlaid)
        .current_dir(root())
        .output()
        .unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}");
    // It says so and succeeds when it knows no schema for a kind.
    assert!(!said.contains("WARN"), "{said}");
}

/// Both linters of AWS, as `sam deploy` would run them.
#[test]
fn the_lambda_template_is_clean() {
    let template = root().join("infra/aws/template.yaml");
    let check = |program: &str, arguments: &[&str]| {
        let output = Command::new(regrove_test_support::programs::platform_program(program).unwrap())
            .args(arguments)
            .arg(&template)
            .env("AWS_DEFAULT_REGION", "eu-central-1")
            .env("SAM_CLI_TELEMETRY", "0")
            .output()
            .unwrap();
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{program}: {said}");
        said
    };
    assert_eq!(check("cfn-lint", &["--template"]), "");
    assert!(check("sam", &["validate", "--lint", "--template"]).contains("is a valid SAM Template"));
}
