//! The cases. Each uses names of its own, so all share one server.

use std::future::Future;
use std::pin::Pin;

use regrove_mlflow::record::{ALIASED_TAG, JOB_TAG, SHA256_TAG};
use regrove_mlflow::{
    Content, Error, LoggedModelStatus, Metric, NewLoggedModel, NewModelVersion, NewRun, RunStatus, RunsQuery, Selector,
    Tag, filter,
};

use crate::fixture::{client, job, model, record, request};
use crate::proxy::{Proxy, Rule};

type Case = fn(String) -> Pin<Box<dyn Future<Output = ()> + Send>>;

macro_rules! cases {
    ($($name:path),* $(,)?) => {
        /// All cases by name.
        pub(crate) const ALL: &[(&str, Case)] = &[$((stringify!($name), |uri| Box::pin($name(uri)))),*];
    };
}

cases!(
    a_job_goes_through_from_run_to_prediction_files,
    repeating_everything_changes_nothing,
    a_changed_parameter_is_refused,
    metrics_are_cut_into_batches_and_kept_once,
    unknown_things_are_not_found,
    refusals_say_why,
    an_alias_moves_forward_and_only_once,
    a_deleted_version_number_is_not_given_again,
    parallel_versions_get_distinct_numbers,
    another_content_for_the_same_job_is_a_conflict,
    racing_processes_settle_on_one_run_and_one_version,
    versions_that_nobody_remembers_are_deleted,
    an_older_mlflow_gets_the_files_below_the_run,
    artifact_paths_cannot_leave_the_root,
    big_artifacts_are_streamed_both_ways,
    searches_find_by_every_filter_that_we_use,
    writing_to_a_deleted_run_is_told_apart,
    crate::crash::every_crash_point_ends_in_one_run_and_one_version,
);

/// Runs every case; fails with the names of all that failed.
pub(crate) async fn run_all(uri: &str) {
    let mut failed = Vec::new();
    for (name, case) in ALL {
        if tokio::spawn(case(uri.to_owned())).await.is_err() {
            failed.push(*name);
        }
    }
    assert!(failed.is_empty(), "failed against {uri}: {failed:#?}");
}

async fn a_job_goes_through_from_run_to_prediction_files(uri: String) {
    let record = record(&uri);
    let run_id = record.ensure_run(&job("whole")).await.unwrap();
    record
        .log_metrics(&run_id, &[Metric::new("accuracy", 0.9, 10, 0), Metric::new("accuracy", 0.95, 20, 1)])
        .await
        .unwrap();
    let version = record.ensure_model_version(&request("whole", &run_id)).await.unwrap();
    record.finish_run(&run_id, RunStatus::Finished, 1_700_000_005_000).await.unwrap();

    let run = record.client().run(&run_id).await.unwrap();
    assert_eq!((run.info.status, run.info.end_time), (RunStatus::Finished, Some(1_700_000_005_000)));
    assert_eq!((run.info.run_name.as_str(), run.info.user_id.as_str()), ("whole", "ann"));
    assert_eq!(run.data.params.len(), 150, "more than one batch");
    assert_eq!((run.param("p149"), run.tag(JOB_TAG)), (Some("149"), Some("job-whole")));
    assert_eq!(run.metric("accuracy"), Some(0.95));
    let input = run.inputs.dataset_inputs.first().unwrap();
    assert_eq!((input.dataset.name.as_str(), input.tags.first().unwrap().value.as_str()), ("iris", "training"));
    assert_eq!(input.dataset.profile.as_deref(), Some(r#"{"num_elements":750,"num_rows":150}"#));
    assert_eq!(run.outputs.model_outputs.len(), 1);

    assert_eq!(
        (version.version, version.run_id.as_str(), version.current_stage.as_str()),
        (1, run_id.as_str(), "None")
    );
    assert_eq!((version.description.as_str(), version.tag(JOB_TAG)), ("a forest", Some("job-whole")));
    assert_eq!(version.tag(SHA256_TAG).map(str::len), Some(64));
    assert!(version.creation_timestamp > 0);
    let logged = record.client().logged_model(version.model_id().unwrap()).await.unwrap();
    assert_eq!((logged.status, logged.source_run_id), (LoggedModelStatus::Ready, run_id));

    for selector in [Selector::Latest, Selector::Version(1), Selector::Alias("champion".to_owned())] {
        let found = record.resolve("Model whole", &selector).await.unwrap();
        assert_eq!((found.version, found.source), (1, version.source.clone()), "{selector:?}");
    }
    let mut files: Vec<String> = record.files(&version, "").await.unwrap().into_iter().map(|file| file.path).collect();
    files.sort();
    let expected = [
        "MLmodel",
        "conda.yaml",
        "input_example.json",
        "model.onnx",
        "model.rgf",
        "python_env.yaml",
        "requirements.txt",
        "serving_input_example.json",
    ];
    assert_eq!(files, expected);
    assert_eq!(record.download(&version, "model.rgf").await.unwrap(), "native bytes");
    let missing = record.download(&version, "nothing").await.unwrap_err();
    assert!(missing.is_not_found(), "{missing}");
}

async fn repeating_everything_changes_nothing(uri: String) {
    let record = record(&uri);
    let mut seen = Vec::new();
    for _ in 0..3 {
        let run_id = record.ensure_run(&job("repeat")).await.unwrap();
        record.log_metrics(&run_id, &[Metric::new("loss", 0.5, 10, 3)]).await.unwrap();
        let version = record.ensure_model_version(&request("repeat", &run_id)).await.unwrap();
        record.finish_run(&run_id, RunStatus::Finished, 99).await.unwrap();
        seen.push((run_id, version.version, version.source));
    }
    seen.dedup();
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert_eq!(record.client().metric_history(&seen[0].0, "loss").await.unwrap().len(), 1);
    assert_one_of_each(&uri, "repeat").await;
}

async fn a_changed_parameter_is_refused(uri: String) {
    let record = record(&uri);
    let mut job = job("params");
    record.ensure_run(&job).await.unwrap();
    job.params[7] = Tag::new("p7", "other");
    let error = record.ensure_run(&job).await.unwrap_err();
    assert!(matches!(error, Error::Refused { .. }) && !error.is_retryable(), "{error}");
}

async fn metrics_are_cut_into_batches_and_kept_once(uri: String) {
    let record = record(&uri);
    let run_id = record.ensure_run(&job("metrics")).await.unwrap();
    let points: Vec<Metric> =
        (0..2500_i32).map(|step| Metric::new("curve", f64::from(step), i64::from(step), i64::from(step))).collect();
    record.log_metrics(&run_id, &points).await.unwrap();
    record.log_metrics(&run_id, &points[..10]).await.unwrap();
    record.log_metrics(&run_id, &[Metric::new("odd", f64::NAN, 1, 0)]).await.unwrap();
    let history = record.client().metric_history(&run_id, "curve").await.unwrap();
    assert_eq!(history.len(), 2500);
    let run = record.client().run(&run_id).await.unwrap();
    assert_eq!(run.metric("curve"), Some(2499.0));
    assert!(run.metric("odd").unwrap().is_nan());
    let too_many = record.client().log_batch(&run_id, &points[..1001], &[], &[]).await.unwrap_err();
    assert!(too_many.to_string().contains("at most 1000"), "{too_many}");
}

async fn unknown_things_are_not_found(uri: String) {
    let record = record(&uri);
    let client = record.client();
    assert!(client.run(&"f".repeat(32)).await.unwrap_err().is_not_found());
    assert!(client.experiment_by_name("no such experiment").await.unwrap_err().is_not_found());
    assert!(client.logged_model("m-nothing").await.unwrap_err().is_not_found());
    assert!(client.registered_model("no such model").await.unwrap_err().is_not_found());
    for selector in [Selector::Latest, Selector::Version(1), Selector::Alias("a".to_owned())] {
        let error = record.resolve("no such model", &selector).await.unwrap_err();
        assert!(error.is_not_found(), "{selector:?}: {error}");
    }
    client.create_registered_model("Empty", &[], "").await.unwrap();
    for selector in [Selector::Latest, Selector::Version(1), Selector::Alias("a".to_owned())] {
        let error = record.resolve("Empty", &selector).await.unwrap_err();
        assert!(error.is_not_found(), "{selector:?}: {error}");
    }
}

async fn refusals_say_why(uri: String) {
    let client = client(&uri);
    client.create_experiment("taken", &[]).await.unwrap();
    assert!(matches!(client.create_experiment("taken", &[]).await, Err(Error::AlreadyExists { .. })));
    client.create_registered_model("Taken", &[], "").await.unwrap();
    assert!(matches!(client.create_registered_model("Taken", &[], "").await, Err(Error::AlreadyExists { .. })));
    let refused = |error: Error| match error {
        Error::Refused { status: 400, error_code, .. } => assert_eq!(error_code, "INVALID_PARAMETER_VALUE"),
        other => panic!("{other}"),
    };
    refused(client.create_registered_model("a/b", &[], "").await.unwrap_err());
    refused(client.set_alias("Taken", "latest", 1).await.unwrap_err());
    refused(client.set_alias("Taken", "v7", 1).await.unwrap_err());
    refused(client.search_registered_models("bogus ===").await.unwrap_err());
    let experiment_id = client.experiment_by_name("taken").await.unwrap().experiment_id;
    let run = client.create_run(&NewRun { experiment_id, ..NewRun::default() }).await.unwrap();
    let run_id = run.info.run_id;
    refused(client.log_batch(&run_id, &[Metric::new("bad*name", 1.0, 1, 0)], &[], &[]).await.unwrap_err());
    let twice = [Tag::new("p", "1"), Tag::new("p", "2")];
    refused(client.log_batch(&run_id, &[], &twice, &[]).await.unwrap_err());
    for source in ["models:/m-other", "mlflow-artifacts:/1/other", "/etc"] {
        let version = NewModelVersion {
            name: "Taken".to_owned(),
            source: source.to_owned(),
            run_id: run_id.clone(),
            ..NewModelVersion::default()
        };
        refused(client.create_model_version(&version).await.unwrap_err());
    }
}

async fn an_alias_moves_forward_and_only_once(uri: String) {
    let record = record(&uri);
    let mut versions = Vec::new();
    for name in ["alias one", "alias two"] {
        let run_id = record.ensure_run(&job(name)).await.unwrap();
        let request =
            regrove_mlflow::ModelVersionRequest { registered_name: "Model alias".to_owned(), ..request(name, &run_id) };
        versions.push((record.ensure_model_version(&request).await.unwrap().version, request));
    }
    let named = || async { record.client().version_by_alias("Model alias", "champion").await.unwrap() };
    assert_eq!(named().await.version, versions[1].0);
    assert_eq!(named().await.tag(ALIASED_TAG), Some("champion"));
    record.ensure_model_version(&versions[0].1).await.unwrap();
    assert_eq!(named().await.version, versions[1].0, "a late repetition does not move it back");
    record.client().set_alias("Model alias", "champion", versions[0].0).await.unwrap();
    record.ensure_model_version(&versions[1].1).await.unwrap();
    assert_eq!(named().await.version, versions[0].0, "what a person decided stays");
    record.client().delete_alias("Model alias", "champion").await.unwrap();
    assert!(record.client().version_by_alias("Model alias", "champion").await.unwrap_err().is_not_found());
}

async fn logged_model(uri: &str, name: &str) -> NewModelVersion {
    let client = client(uri);
    let experiment_id = client.create_experiment(name, &[]).await.unwrap();
    let run = client.create_run(&NewRun { experiment_id: experiment_id.clone(), ..NewRun::default() }).await.unwrap();
    let new = NewLoggedModel {
        experiment_id,
        name: "model".to_owned(),
        source_run_id: run.info.run_id.clone(),
        ..NewLoggedModel::default()
    };
    let logged = client.create_logged_model(&new).await.unwrap();
    client.create_registered_model(name, &[], "").await.unwrap();
    NewModelVersion {
        name: name.to_owned(),
        source: format!("models:/{}", logged.model_id),
        model_id: Some(logged.model_id),
        run_id: run.info.run_id,
        ..NewModelVersion::default()
    }
}

async fn a_deleted_version_number_is_not_given_again(uri: String) {
    let new = logged_model(&uri, "Numbers").await;
    let client = client(&uri);
    for expected in 1..=2 {
        assert_eq!(client.create_model_version(&new).await.unwrap().version, expected);
    }
    client.delete_model_version("Numbers", 1).await.unwrap();
    assert_eq!(client.create_model_version(&new).await.unwrap().version, 3);
    assert!(client.model_version("Numbers", 1).await.unwrap_err().is_not_found());
    assert!(client.delete_model_version("Numbers", 1).await.unwrap_err().is_not_found());
}

async fn parallel_versions_get_distinct_numbers(uri: String) {
    let new = logged_model(&uri, "Parallel").await;
    let client = client(&uri);
    let creating = (0..16).map(|_| client.create_model_version(&new));
    let mut numbers: Vec<u64> =
        futures_util::future::join_all(creating).await.into_iter().map(|created| created.unwrap().version).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=16).collect::<Vec<u64>>());
}

async fn another_content_for_the_same_job_is_a_conflict(uri: String) {
    let record = record(&uri);
    let run_id = record.ensure_run(&job("conflict")).await.unwrap();
    let mut request = request("conflict", &run_id);
    record.ensure_model_version(&request).await.unwrap();
    request.model = model("other bytes");
    let error = record.ensure_model_version(&request).await.unwrap_err();
    assert!(matches!(error, Error::Conflicting { .. }) && !error.is_retryable(), "{error}");
    assert_one_of_each(&uri, "conflict").await;
}

async fn racing_processes_settle_on_one_run_and_one_version(uri: String) {
    let once = || async {
        let record = record(&uri);
        // As a broker does: what may be tried again is tried again.
        for _ in 0..20 {
            let run_id = match record.ensure_run(&job("race")).await {
                Err(error) if error.is_retryable() => continue,
                run_id => run_id.unwrap(),
            };
            match record.ensure_model_version(&request("race", &run_id)).await {
                Ok(version) => return version.version,
                Err(error) => assert!(error.is_retryable(), "{error}"),
            }
        }
        panic!("it did not settle");
    };
    let versions = futures_util::future::join_all((0..6).map(|_| once())).await;
    let record = record(&uri);
    let run_id = record.ensure_run(&job("race")).await.unwrap();
    let version = record.ensure_model_version(&request("race", &run_id)).await.unwrap().version;
    assert!(versions.iter().all(|settled| *settled == version), "{versions:?} {version}");
    assert_one_of_each(&uri, "race").await;
}

/// What is left when the answer to "create" was lost in a race: the process that starts over finds the winner at once.
async fn versions_that_nobody_remembers_are_deleted(uri: String) {
    let record = record(&uri);
    let run_id = record.ensure_run(&job("forgotten")).await.unwrap();
    let winner = record.ensure_model_version(&request("forgotten", &run_id)).await.unwrap();
    let client = record.client();
    let own_model = client
        .create_logged_model(&NewLoggedModel {
            experiment_id: client.run(&run_id).await.unwrap().info.experiment_id,
            name: "model".to_owned(),
            source_run_id: run_id.clone(),
            ..NewLoggedModel::default()
        })
        .await
        .unwrap();
    for model_id in [winner.model_id().unwrap(), &own_model.model_id] {
        let forgotten = NewModelVersion {
            name: winner.name.clone(),
            source: format!("models:/{model_id}"),
            model_id: Some(model_id.to_owned()),
            run_id: run_id.clone(),
            tags: winner.tags.clone(),
            ..NewModelVersion::default()
        };
        client.create_model_version(&forgotten).await.unwrap();
    }
    let again = record.ensure_model_version(&request("forgotten", &run_id)).await.unwrap();
    assert_eq!(again.version, winner.version);
    assert_one_of_each(&uri, "forgotten").await;
    assert_one_logged_model(&uri, "forgotten").await;
}

async fn an_older_mlflow_gets_the_files_below_the_run(uri: String) {
    let proxy = Proxy::start(&uri, Rule::WithoutLoggedModels).await;
    let older = record(proxy.uri());
    let run_id = older.ensure_run(&job("older")).await.unwrap();
    for _ in 0..2 {
        let version = older.ensure_model_version(&request("older", &run_id)).await.unwrap();
        assert_eq!((version.version, version.model_id()), (1, None));
        assert!(version.source.ends_with("/artifacts/model"), "{}", version.source);
        assert_eq!(older.download(&version, "model.rgf").await.unwrap(), "native bytes");
    }
    let run = older.client().run(&run_id).await.unwrap();
    let history: serde_json::Value = serde_json::from_str(run.tag("mlflow.log-model.history").unwrap()).unwrap();
    assert_eq!(history.as_array().unwrap().len(), 1);
    assert_eq!(history[0]["artifact_path"], "model");
}

async fn artifact_paths_cannot_leave_the_root(uri: String) {
    let http = reqwest::Client::new();
    for path in ["1/%2e%2e/%2e%2e/x", "%2e%2e%2fx", "a/..%2f..%2fx"] {
        let url = format!("{uri}/api/2.0/mlflow-artifacts/artifacts/{path}");
        for request in [http.put(&url).body("x"), http.get(&url)] {
            let status = request.send().await.unwrap().status().as_u16();
            assert!(matches!(status, 400 | 404), "{url}: {status}");
        }
    }
    let listing = format!("{uri}/api/2.0/mlflow-artifacts/artifacts?path=../..");
    assert_eq!(http.get(listing).send().await.unwrap().status().as_u16(), 400);
}

async fn big_artifacts_are_streamed_both_ways(uri: String) {
    let record = record(&uri);
    let run_id = record.ensure_run(&job("big")).await.unwrap();
    let root = record.client().run(&run_id).await.unwrap().info.artifact_uri;
    let folder = tempfile::tempdir().unwrap();
    let (up, down) = (folder.path().join("up"), folder.path().join("down"));
    let bytes: Vec<u8> = (0..20_000_000_u32).map(|place| place.to_le_bytes()[place as usize % 3]).collect();
    std::fs::write(&up, &bytes).unwrap();
    record.client().put_artifact(&root, "deep/er/big.bin", &Content::Path(up.clone())).await.unwrap();
    let size = record.client().artifact_to_file(&root, "deep/er/big.bin", &down).await.unwrap();
    assert_eq!(size, 20_000_000);
    assert!(std::fs::read(&down).unwrap() == bytes);
    let listed = record.client().artifacts(&root, "deep/er").await.unwrap();
    assert_eq!((listed[0].path.as_str(), listed[0].file_size), ("big.bin", Some(20_000_000)));
    std::fs::write(&up, b"").unwrap();
    record.client().put_artifact(&root, "empty", &Content::Path(up)).await.unwrap();
    assert!(record.client().artifact(&root, "empty").await.unwrap().is_empty());
}

async fn searches_find_by_every_filter_that_we_use(uri: String) {
    let record = record(&uri);
    let client = record.client();
    let run_id = record.ensure_run(&job("search")).await.unwrap();
    record.log_metrics(&run_id, &[Metric::new("m", 0.5, 1, 0)]).await.unwrap();
    let version = record.ensure_model_version(&request("search", &run_id)).await.unwrap();
    let experiment = client.experiment_by_name("experiment of search").await.unwrap();
    let runs = |filter: &str| RunsQuery {
        experiment_ids: vec![experiment.experiment_id.clone()],
        filter: filter.to_owned(),
        order_by: vec!["attributes.start_time DESC".to_owned()],
        max_results: 10,
        page_token: None,
    };
    for (filter, expected) in [
        ("tags.`regrove.job` = 'job-search'", 1),
        ("tags.`regrove.job` != 'job-search'", 0),
        ("tags.absent != 'x'", 0),
        ("attributes.status = 'RUNNING' AND params.p3 = '3'", 1),
        ("metrics.m > 0.4", 1),
        ("metrics.m > 0.5", 0),
        ("run_name LIKE 'sea%'", 1),
        ("run_name LIKE 'SEA%'", 0),
        ("run_name ILIKE 'SEA%'", 1),
        ("start_time >= 1700000000000", 1),
        ("attributes.run_id IN ('x', 'y')", 0),
    ] {
        let page = client.search_runs(&runs(filter)).await.unwrap();
        assert_eq!(page.runs.len(), expected, "{filter}");
    }
    let source = filter::literal("source", &version.source).unwrap();
    for (filter, expected) in [
        ("name = 'Model search' AND tags.`regrove.job` = 'job-search'".to_owned(), 1),
        ("name = 'Model search' AND tags.`regrove.job` = 'other'".to_owned(), 0),
        (format!("run_id = '{run_id}'"), 1),
        (format!("source_path = {source}"), 1),
        ("name LIKE 'Model sea%'".to_owned(), 1),
    ] {
        let found = client.search_model_versions(&filter, "version_number DESC", 10).await.unwrap();
        assert_eq!(found.len(), expected, "{filter}");
    }
    let by_run = format!("source_run_id = '{run_id}'");
    assert_eq!(client.search_logged_models(&experiment.experiment_id, &by_run).await.unwrap().len(), 1);
    assert_eq!(client.search_registered_models("name = 'Model search'").await.unwrap().len(), 1);
    assert_eq!(client.search_experiments("name = 'experiment of search'").await.unwrap().len(), 1);
}

async fn writing_to_a_deleted_run_is_told_apart(uri: String) {
    let record = record(&uri);
    let run_id = record.ensure_run(&job("deleted")).await.unwrap();
    record.client().delete_run(&run_id).await.unwrap();
    let error = record.log_metrics(&run_id, &[Metric::new("m", 1.0, 1, 0)]).await.unwrap_err();
    assert!(matches!(error, Error::RunDeleted { .. }) && error.is_retryable(), "{error}");
    let error = record.finish_run(&run_id, RunStatus::Failed, 1).await.unwrap_err();
    assert!(matches!(error, Error::RunDeleted { .. }), "{error}");
    let other = record.ensure_run(&job("deleted")).await.unwrap();
    assert_ne!(other, run_id);
}

/// One active run and one version for the job of the case, and the version's logged model is ready and the run's output.
pub(crate) async fn assert_one_of_each(uri: &str, name: &str) {
    let client = client(uri);
    let experiment = client.experiment_by_name(&format!("experiment of {name}")).await.unwrap();
    let query = RunsQuery {
        experiment_ids: vec![experiment.experiment_id.clone()],
        filter: String::new(),
        order_by: Vec::new(),
        max_results: 10,
        page_token: None,
    };
    let runs = client.search_runs(&query).await.unwrap().runs;
    assert_eq!(runs.len(), 1, "{name}: runs");
    let filter = format!("name = 'Model {name}'");
    let versions = client.search_model_versions(&filter, "", 10).await.unwrap();
    assert_eq!(versions.len(), 1, "{name}: versions");
    let model_id = versions[0].model_id().unwrap();
    assert_eq!(client.logged_model(model_id).await.unwrap().status, LoggedModelStatus::Ready);
    let alias = client.version_by_alias(&versions[0].name, "champion").await.unwrap();
    assert_eq!(alias.version, versions[0].version, "{name}: alias");
}

/// Without a race there is no second logged model, not even an unused one.
pub(crate) async fn assert_one_logged_model(uri: &str, name: &str) {
    let client = client(uri);
    let experiment = client.experiment_by_name(&format!("experiment of {name}")).await.unwrap();
    let models = client.search_logged_models(&experiment.experiment_id, "").await.unwrap();
    assert_eq!(models.len(), 1, "{name}: logged models");
}
