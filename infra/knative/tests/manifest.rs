//! Reading manifests: what is right, what is wrong, and what is doubtful.

#![expect(clippy::unwrap_used, reason = "a manifest that cannot be read fails the test")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use proptest::prelude::*;
use regrove_knative::manifest::{
    Application, Destination, Metadata, PingData, PortProtocol, ProbeAction, Problems, Reference, RevisionChoice,
    Source,
};
use serde_json::{Map, Value as Json, json};

fn testdata(path: &str) -> String {
    std::fs::read_to_string(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata").join(path)).unwrap()
}

fn parse(text: &str) -> Result<Application, Problems> {
    Application::parse(&[Source { name: "test.yaml", text }])
}

fn application() -> Application {
    parse(&testdata("manifests/application.yaml")).unwrap()
}

#[test]
fn a_service_is_read_in_full() {
    let application = application();
    let service = &application.services[0];
    assert_eq!(service.host("localhost"), "orders.shop.localhost");
    assert_eq!(service.tag_host("old", "localhost"), "old-orders.shop.localhost");
    assert_eq!(service.revision_name(2), "orders-00002");
    assert_eq!(service.rollout, Duration::from_mins(2));
    assert!(service.cluster_local);
    let template = &service.template;
    assert_eq!(template.container_concurrency, 20);
    assert_eq!(template.timeout, Duration::from_mins(1));
    assert_eq!(template.response_start_timeout, Some(Duration::from_secs(10)));
    assert_eq!(template.idle_timeout, Some(Duration::from_secs(5)));
    assert!((template.autoscaling.target - 7.0).abs() < 1e-9);
    assert_eq!((template.autoscaling.min_scale, template.autoscaling.max_scale), (1, 5));
    assert_eq!(template.autoscaling.stable_window, Duration::from_secs(30), "from config-autoscaler");
    let container = &template.container;
    assert_eq!((container.port, container.protocol), (9000, PortProtocol::H2c));
    assert_eq!((container.command[0].as_str(), container.args[0].as_str()), ("/orders", "--verbose"));
    let action = ProbeAction::Http { path: "/healthz".to_owned(), port: 9000, headers: vec![] };
    assert_eq!(container.readiness.action, action);
    assert_eq!((container.readiness.timeout, container.readiness.failure_threshold), (Duration::from_secs(1), 3));
    let traffic: Vec<_> = service.traffic.iter().map(|target| (&target.revision, target.percent)).collect();
    let old = RevisionChoice::Named("orders-00001".to_owned());
    assert_eq!(traffic, [(&RevisionChoice::Latest, 90), (&old, 10)]);
    let plain = &application.services[1];
    assert!(plain.template.container.readiness.is_aggressive());
    assert_eq!((plain.traffic.len(), plain.template.timeout), (1, Duration::from_mins(5)));
}

#[test]
fn other_kinds_are_read_or_passed_over() {
    let application = application();
    assert_eq!(application.triggers[0].filter.filters.len(), 2);
    assert_eq!(application.triggers[0].delivery_policy(&application.brokers[0]).retry, 3);
    assert_eq!(application.ping_sources[0].data, PingData::Text("{\"job\": \"nightly\"}".to_owned()));
    assert_eq!(application.ping_sources[0].event_source(), "/apis/v1/namespaces/shop/pingsources/nightly");
    assert_eq!(application.sequences[0].steps.len(), 2);
    assert_eq!(application.parallels[0].branches.len(), 2);
    let bindings: Vec<_> = application.sink_bindings_of(&application.services[0]).collect();
    assert_eq!(bindings[0].overrides_json(), r#"{"extensions":{"team":"shop"}}"#);
    assert_eq!(application.sink_bindings_of(&application.services[1]).count(), 0);
    let passed: Vec<_> = application.passed_over.iter().map(|(kind, name)| format!("{kind}/{name}")).collect();
    assert_eq!(passed, ["Namespace/shop", "StatefulSet/redis"]);
    assert_eq!(application.warnings, []);
    assert!(!format!("{application:?}").contains("s3cret"), "secrets do not show");
}

#[test]
fn the_environment_is_resolved() {
    let application = application();
    let known = BTreeMap::from([("USER_NAME".to_owned(), "ann".to_owned())]);
    let variables = application.environment(&application.services[0], &known).unwrap();
    let expected = [
        ("CFG_GREETING", "hello"),
        ("CFG_block", "--- not a separator: it is indented\ntext\n"),
        ("CFG_level", "debug"),
        ("LEVEL", "debug"),
        ("SENTENCE", "hello, ann; $(LEVEL) costs $5 $(UNKNOWN)"),
        ("TOKEN", "s3cret"),
    ];
    let variables: Vec<_> = variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(variables, expected);
}

#[test]
fn missing_variables_are_all_named() {
    let mut application = application();
    application.config_maps.clear();
    application.secrets.clear();
    let missing = application.environment(&application.services[0], &BTreeMap::new()).unwrap_err();
    let paths: Vec<_> = missing.iter().map(|missing| missing.path.replace("spec.template.spec.", "")).collect();
    assert_eq!(paths, ["containers[0].envFrom[0]", "containers[0].env[0]", "containers[0].env[1]"]);
}

#[test]
fn every_fault_is_found_in_one_go() {
    let problems = parse(&testdata("manifests/wrong.yaml")).unwrap_err();
    let found: BTreeSet<(usize, String)> =
        problems.0.iter().map(|problem| (problem.document, problem.path.clone())).collect();
    let annotation = |key: &str| format!("spec.template.metadata.annotations[autoscaling.knative.dev/{key}]");
    let container = |path: &str| format!("spec.template.spec.containers[0].{path}");
    let mut expected: BTreeSet<(usize, String)> = BTreeSet::new();
    let keys = [
        "target",
        "window",
        "metric",
        "max-scale",
        "activation-scale",
        "initial-scale",
        "panic-threshold-percentage",
        "target-burst-capacity",
        "target-utilization-percentage",
    ];
    expected.extend(keys.map(|key| (1, annotation(key))));
    let members = [
        "image",
        "ports[0].containerPort",
        "ports[0].name",
        "ports[0].protocol",
        "env[0].name",
        "env[1].value",
        "env[2].valueFrom",
        "env[2].valueFrom.fieldRef",
        "readinessProbe",
        "readinessProbe.timeoutSeconds",
    ];
    expected.extend(members.map(|path| (1, container(path))));
    let others = [
        (1, "metadata.name"),
        (1, "metadata.annotations[autoscaling.knative.dev/min-scale]"),
        (1, "spec.template.metadata.name"),
        (1, "spec.template.spec.containerConcurency"),
        (1, "spec.template.spec.containerConcurrency"),
        (1, "spec.template.spec.timeoutSeconds"),
        (1, "spec.template.spec.responseStartTimeoutSeconds"),
        (1, "spec.traffic"),
        (1, "spec.traffic[1]"),
        (2, "spec.broker"),
        (2, "spec.filters[0]"),
        (2, "spec.subscriber.uri"),
        (2, "spec.delivery.retry"),
        (2, "spec.delivery.backoffDelay"),
        (2, "spec.delivery.backoffPolicy"),
        (2, "spec.delivery.retries"),
        (2, "spec.delivery.retryAfterMax"),
        (3, ""),
        (5, "metadata.name"),
        (6, "apiVersion"),
        (7, "spec.schedule"),
        (7, "spec.data"),
        (7, "spec.sink.ref.name"),
        (8, "spec.subject"),
        (8, "spec.sink.ref, spec.sink.uri"),
        (8, "spec.ceOverrides.extensions[Team-Name]"),
        (9, "data[password]"),
        (10, "spec.steps"),
        (11, "apiVersion"),
    ];
    expected.extend(others.map(|(document, path)| (document, path.to_owned())));
    let unexpected: Vec<_> = found.difference(&expected).collect();
    let missed: Vec<_> = expected.difference(&found).collect();
    assert!(unexpected.is_empty() && missed.is_empty(), "unexpected {unexpected:#?}\nmissed {missed:#?}\n{problems}");
}

#[test]
fn messages_say_where_and_what_to_do() {
    let problems = parse(&testdata("manifests/wrong.yaml")).unwrap_err();
    let text = problems.to_string();
    for line in [
        "test.yaml:1: document 1, Service/Orders: spec.template.spec.containerConcurency: unknown field; did you mean \
         `containerConcurrency`?",
        "test.yaml:1: document 1, Service/Orders: spec.template.spec.containers[0].env[1].value: must be a string, got a \
         number; quote it: \"8080\"",
        "test.yaml:1: document 1, Service/Orders: spec.traffic: Traffic targets sum to 120, want 100",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    assert!(!text.contains("not base64!"), "values of secrets do not show");
}

#[test]
fn doubts_are_warnings() {
    let application = parse(
        "{apiVersion: eventing.knative.dev/v1, kind: Broker, metadata: {name: b}, spec: {delivery: {deadLetterSink: \
         {uri: 'http://d'}}}}\n--- # second\n{apiVersion: eventing.knative.dev/v1, kind: Trigger, metadata: {name: t}, \
         spec: {broker: b, filter: {attributes: {type: a}}, filters: [{exact: {type: ''}}], delivery: {retry: 1}, \
         subscriber: {ref: {apiVersion: serving.knative.dev/v1, kind: Service, name: nobody}}}}\n---\n{apiVersion: \
         eventing.knative.dev/v1, kind: Trigger, metadata: {name: u}, spec: {broker: c, subscriber: {uri: \
         'http://s'}}}\n",
    )
    .unwrap();
    let paths: BTreeSet<_> = application.warnings.iter().map(|doubt| (doubt.line, doubt.path.as_str())).collect();
    let expected = [
        (2, "spec.delivery"),
        (2, "spec.filter"),
        (2, "spec.filters[0].exact[type]"),
        (2, "spec.subscriber"),
        (4, "spec.broker"),
    ];
    assert_eq!(paths, BTreeSet::from(expected));
}

#[test]
fn annotations_are_admitted_as_by_the_cluster() {
    let admit = |annotations: &str| {
        let text = format!(
            "{{apiVersion: serving.knative.dev/v1, kind: Service, metadata: {{name: s}}, spec: {{template: {{metadata: \
             {{annotations: {annotations}}}, spec: {{containers: [{{image: i}}]}}}}}}}}"
        );
        let text = text.replace('@', "autoscaling.knative.dev/");
        parse(&text).map(|application| application.warnings.len()).map_err(|problems| problems.0.len())
    };
    assert_eq!(admit("{'@class': hpa.autoscaling.knative.dev, '@metric': cpu}"), Ok(1));
    assert_eq!(admit("{'@class': their.example/class, '@metric': anything}"), Ok(1));
    assert_eq!(admit("{'@class': xpa.autoscaling.knative.dev}"), Err(1));
    assert_eq!(admit("{'@class': kpa.autoscaling.knative.dev, '@metric': cpu}"), Err(1));
    assert_eq!(admit("{'@metric-aggregation-algorithm': median}"), Ok(1));
    assert_eq!(admit("{'@class': kpa.autoscaling.knative.dev, '@metric-aggregation-algorithm': median}"), Err(1));
    assert_eq!(admit("{'@scale-to-zero-pod-retention-period': 1.5s, '@metricAggregationAlgorithm': linear}"), Ok(0));
    assert_eq!(admit("{'@scale-down-delay': 1.5s}"), Err(1));
    assert_eq!(admit("{'@minimum-scale': '1'}"), Ok(1));
    assert_eq!(admit("{'@min-scale': '3', '@activation-scale': '2'}"), Err(1));
}

#[test]
fn destinations_resolve_relative_to_their_reference() {
    let reference = || Reference {
        api_version: "v1".to_owned(),
        kind: "Service".to_owned(),
        name: "s".to_owned(),
        namespace: None,
    };
    let resolve = |uri: Option<&str>, with: bool, address: Option<&str>| {
        let destination = Destination { reference: with.then(reference), uri: uri.map(str::to_owned) };
        destination.resolve(address)
    };
    let address = Some("http://s.default.localhost:8000/base/");
    assert_eq!(resolve(None, true, address).as_deref(), address);
    assert_eq!(resolve(Some("/x?y=1"), true, address).as_deref(), Some("http://s.default.localhost:8000/x?y=1"));
    assert_eq!(resolve(Some("x"), true, address).as_deref(), Some("http://s.default.localhost:8000/base/x"));
    assert_eq!(resolve(Some("http://d/p"), false, None).as_deref(), Some("http://d/p"));
    assert_eq!(resolve(None, true, None), None);
}

#[test]
fn lists_blank_documents_and_json_are_read() {
    let text = "# only a comment\n---\n---\n{\"apiVersion\": \"v1\", \"kind\": \"List\", \"items\": [{\"apiVersion\": \
                \"v1\", \"kind\": \"ConfigMap\", \"metadata\": {\"name\": \"a\"}, \"data\": {\"k\": \"v\"}}, \
                {\"apiVersion\": \"v1\", \"kind\": \"Namespace\", \"metadata\": {\"name\": \"n\"}}]}\n...\n";
    let application = parse(text).unwrap();
    let metadata = Metadata { name: "a".to_owned(), namespace: "default".to_owned(), ..Metadata::default() };
    assert_eq!(application.config_maps[0].metadata, metadata);
    assert_eq!(application.passed_over, [("Namespace".to_owned(), "n".to_owned())]);
    assert_eq!(parse("").unwrap(), Application::default());
    assert!(parse("kind: A\nkind: A\n").is_err(), "duplicate keys");
    assert_eq!(parse("replicas: 1\n").unwrap().warnings.len(), 1, "Helm values are no manifest");
    assert!(parse("just text").is_err());
}

#[test]
fn settings_of_the_cluster_come_along() {
    let map = |name: &str, data: &str| {
        format!(
            "{{apiVersion: v1, kind: ConfigMap, metadata: {{name: {name}, namespace: knative-serving}}, data: {data}}}\n---\n"
        )
    };
    let service = "{apiVersion: serving.knative.dev/v1, kind: Service, metadata: {name: s}, spec: {template: {spec: \
                   {timeoutSeconds: 700, containers: [{image: i}]}}}}";
    let defaults =
        r#"{max-revision-timeout-seconds: "900", container-concurrency: "7", revision-idle-timeout-seconds: "9"}"#;
    let right = map("config-defaults", defaults) + &map("config-deployment", "{progress-deadline: 120s}") + service;
    let application = parse(&right).unwrap();
    let template = &application.services[0].template;
    assert_eq!((template.timeout.as_secs(), template.container_concurrency), (700, 7));
    assert_eq!(template.idle_timeout, Some(Duration::from_secs(9)));
    assert_eq!(template.autoscaling.progress_deadline, Duration::from_mins(2));
    assert!((template.autoscaling.total - 7.0).abs() < 1e-9);
    let autoscaler =
        r#"{stable-window: 5s, max-scale-up-rate: "1", initial-scale: "0", enable-scale-to-zero: "maybe"}"#;
    let wrong = map("config-autoscaler", autoscaler) + &map("config-features", "{delivery-timeout: sometimes}");
    let problems = parse(&wrong).unwrap_err();
    let paths: BTreeSet<&str> = problems.0.iter().map(|problem| problem.path.as_str()).collect();
    let expected = ["stable-window", "max-scale-up-rate", "initial-scale", "enable-scale-to-zero", "delivery-timeout"];
    let expected: Vec<String> = expected.iter().map(|key| format!("data[{key}]")).collect();
    assert_eq!(paths, expected.iter().map(String::as_str).collect());
}

/// The first byte of an answer has a time of its own, which counts where the whole answer may take longer.
#[test]
fn an_answer_has_to_begin_within_the_default_timeout() {
    let start = |defaults: &str, timeouts: &str| {
        let text = format!(
            "{{apiVersion: v1, kind: ConfigMap, metadata: {{name: config-defaults, namespace: knative-serving}}, data: \
             {{{defaults}}}}}\n---\n{{apiVersion: serving.knative.dev/v1, kind: Service, metadata: {{name: s}}, spec: \
             {{template: {{spec: {{{timeouts} containers: [{{image: i}}]}}}}}}}}"
        );
        let template = parse(&text).map(|application| application.services[0].template.clone());
        template.map(|template| template.response_start_timeout.map(|timeout| timeout.as_secs()))
    };
    assert_eq!(start("", "timeoutSeconds: 600,"), Ok(Some(300)));
    assert_eq!(start("", "timeoutSeconds: 600, responseStartTimeoutSeconds: 600,"), Ok(None), "as long as the whole");
    assert_eq!(start("", "timeoutSeconds: 300,"), Ok(None));
    assert_eq!(start("", ""), Ok(None));
    assert_eq!(
        start("revision-timeout-seconds: '120'", "timeoutSeconds: 300,"),
        Ok(Some(120)),
        "it follows the default"
    );
    let own = "revision-response-start-timeout-seconds";
    assert_eq!(start(&format!("{own}: '60'"), ""), Ok(Some(60)));
    assert_eq!(start(&format!("{own}: '0'"), "timeoutSeconds: 600,"), Ok(None));
    assert!(start(&format!("{own}: '301'"), "").is_err(), "longer than the whole request's default");
}

#[test]
fn hostile_yaml_is_refused() {
    let deep = "[".repeat(100_000);
    let bomb = (1..30).fold("a0: &a0 [x, x]\n".to_owned(), |text, level| {
        format!("{text}a{level}: &a{level} [*a{}, *a{}]\n", level - 1, level - 1)
    });
    for text in [deep.clone(), format!("a: {deep}"), "a:\n".repeat(50_000), "{a: ".repeat(50_000), bomb] {
        assert!(parse(&text).is_err(), "{}", &text[..10]);
    }
}

#[test]
fn faults_of_the_syntax_have_their_line() {
    let problems = parse("kind: A\n---\nkind: B\nkey: [1\nother: 2\n").unwrap_err();
    let fault = problems.0.iter().find(|problem| problem.document == 2).unwrap();
    assert_eq!(fault.to_string(), "test.yaml:5: document 2: column 6: illegal placement of ':' indicator");
}

/// The schemas of the kinds that are run, by kind.
fn schemas() -> BTreeMap<String, Json> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata/schemas");
    std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
            let schema: Json = serde_json::from_str(&text).unwrap();
            let kind = schema["title"].as_str().unwrap().split(' ').next().unwrap().to_owned();
            (kind, schema)
        })
        .collect()
}

#[test]
fn the_right_manifests_satisfy_the_schemas_of_the_cluster() {
    let schemas = schemas();
    assert_eq!(schemas.len(), 7);
    let mut checked = BTreeSet::new();
    for chunk in testdata("manifests/application.yaml").split("\n---\n") {
        let object: Json = serde_saphyr::from_str(chunk).unwrap();
        let kind = object["kind"].as_str().unwrap();
        if let Some(schema) = schemas.get(kind) {
            let validator = jsonschema::draft7::new(schema).unwrap();
            let faults: Vec<String> = validator.iter_errors(&object).map(|fault| fault.to_string()).collect();
            assert!(faults.is_empty(), "{kind}: {faults:?}");
            checked.insert(kind.to_owned());
        }
    }
    assert_eq!(checked, schemas.into_keys().collect());
}

/// An object with every property that a schema lists.
fn full(schema: &Json) -> Json {
    match schema["type"].as_str() {
        Some("object") => {
            let properties = schema["properties"].as_object().cloned().unwrap_or_default();
            Json::Object(
                properties.iter().map(|(name, property)| (name.clone(), full(property))).collect::<Map<_, _>>(),
            )
        }
        Some("array") => json!([full(&schema["items"])]),
        Some("integer" | "number") => json!(1),
        Some("boolean") => json!(true),
        _ => json!("x"),
    }
}

#[test]
fn no_field_that_the_cluster_knows_is_unknown_here() {
    for (kind, schema) in schemas() {
        let mut object = full(&schema);
        let version = &schema["properties"]["apiVersion"];
        object["apiVersion"] = version["const"].as_str().or(version["enum"][0].as_str()).unwrap().into();
        object["kind"] = json!(kind);
        object["metadata"] = json!({"name": "x"});
        let problems = parse(&object.to_string()).err().map(|problems| problems.0).unwrap_or_default();
        let unknown: Vec<String> = problems
            .iter()
            .filter(|problem| problem.reason.starts_with("unknown field"))
            .map(ToString::to_string)
            .collect();
        assert!(unknown.is_empty(), "{unknown:#?}");
    }
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in any::<String>()) {
        let _ = parse(&text);
    }

    #[test]
    fn a_manifest_with_any_line_replaced_is_read_or_refused(line in 0..190_usize, text in "[ -~]{0,24}") {
        let mut lines: Vec<String> =
            testdata("manifests/application.yaml").lines().map(str::to_owned).collect();
        if let Some(place) = lines.get_mut(line) {
            *place = text;
        }
        let _ = parse(&lines.join("\n"));
    }
}

#[test]
fn a_service_takes_the_template_of_an_earlier_revision() {
    let yaml = |value: &str| {
        format!(
            "apiVersion: serving.knative.dev/v1\nkind: Service\nmetadata: {{name: hello}}\nspec:\n  template:\n    spec:\n      \
             containers: [{{image: hello, env: [{{name: A, value: {value}}}]}}]\n"
        )
    };
    let read = |text: &str| {
        let mut application = Application::parse(&[Source { name: "a.yaml", text }]).unwrap();
        (application.services.remove(0), application.settings)
    };
    let (first, _) = read(&yaml("one"));
    let (second, settings) = read(&yaml("two"));
    assert_ne!(first.template.document, second.template.document);
    assert_eq!(second.with_template(&first.template.document, &settings).unwrap(), first);
    let broken = serde_json::json!({"spec": {"containers": []}});
    assert!(second.with_template(&broken, &settings).unwrap_err().to_string().contains("containers"));
}
