//! What the functions say of themselves is what others read: OpenAPI 3.1.

use std::fs;
use std::process::Command;

use regrove_events::SCHEMAS;
use regrove_test_support::programs::platform_program;
use serde_json::Value;

/// The document of each function that has one.
fn documents() -> [(&'static str, Value); 3] {
    [
        ("console", regrove_console::openapi()),
        ("load-model", regrove_load_model::openapi()),
        ("predict", regrove_predict::openapi()),
    ]
    .map(|(name, document)| (name, serde_json::to_value(document).unwrap()))
}

#[test]
fn every_document_is_valid_openapi() {
    let folder = tempfile::tempdir().unwrap();
    let files = documents().map(|(name, document)| {
        let file = folder.path().join(format!("{name}.json"));
        fs::write(&file, document.to_string()).unwrap();
        file
    });
    let output = Command::new(platform_program("openapi-spec-validator").unwrap())
        .args(["--schema", "3.1", "--validation-errors", "all"])
        .args(&files)
        .output()
        .unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.matches(": OK").count() == files.len(), "{said}");
}

/// Reading a schema into a document must lose nothing of it.
#[test]
fn the_data_of_events_are_described_as_their_schemas_have_them() {
    let documents = documents();
    let mut compared = Vec::new();
    for (name, schema) in SCHEMAS {
        let mut schema: Value = serde_json::from_str(schema).unwrap();
        let members = schema.as_object_mut().unwrap();
        members.retain(|member, value| {
            !member.starts_with('$') && (member != "required" || *value != Value::Array(Vec::new()))
        });
        let component: String = name.split('-').map(|word| word[..1].to_uppercase() + &word[1..]).collect();
        for (function, document) in &documents {
            if let Some(described) = document["components"]["schemas"].get(&component) {
                assert_eq!(described, &schema, "{function}: {name}");
                compared.push(name);
            }
        }
    }
    assert_eq!(compared, ["model-registered", "predict-requested", "predict-completed"]);
}
