//! A record is copied into another MLflow: everything arrives, once, however often it is copied and wherever it broke off.

use regrove_mlflow::push::{Pushed, RUN_TAG, push};
use regrove_mlflow::record::{JOB_TAG, SHA256_TAG};
use regrove_mlflow::{Client, Content, Error, Metric, NewRun, Run, RunStatus, RunsQuery, Selector, Tag};

use crate::embedded::Embedded;
use crate::fixture::{client, job, record, request};
use crate::proxy::{Proxy, Rule};

async fn pushed(from: &str, to: &str) -> Result<Pushed, Error> {
    push(&client(from), &client(to), &|_| {}).await
}

/// Three jobs of one model, of which the second version is deleted; a run below another; a run that goes on.
async fn fill(uri: &str, name: &str) {
    let record = record(uri);
    let mut first = String::new();
    for number in 1..=3 {
        let of_job = format!("{name} {number}");
        let mut wanted = job(&of_job);
        wanted.experiment = format!("experiment of {name}");
        if number == 2 {
            wanted.tags.push(Tag::new("mlflow.parentRunId", &first));
        }
        let run_id = record.ensure_run(&wanted).await.unwrap();
        let curve = [Metric::new("accuracy", 0.5, 10, 1), Metric::new("accuracy", 0.25, 20, 2)];
        record.log_metrics(&run_id, &curve).await.unwrap();
        let mut version = request(&of_job, &run_id);
        version.registered_name = format!("Model {name}");
        version.alias = (number == 3).then(|| "champion".to_owned());
        record.ensure_model_version(&version).await.unwrap();
        record.finish_run(&run_id, RunStatus::Finished, 1_700_000_005_000).await.unwrap();
        if number == 1 {
            let root = record.client().run(&run_id).await.unwrap().info.artifact_uri;
            for (name, text) in [("note.txt", "hello"), ("deep/er/note.txt", "hello below")] {
                record.client().put_artifact(&root, name, &Content::Bytes(text.into())).await.unwrap();
            }
            first = run_id;
        }
    }
    record.client().delete_model_version(&format!("Model {name}"), 2).await.unwrap();
    let experiment_id = record.client().run(&first).await.unwrap().info.experiment_id;
    let open = NewRun { experiment_id, run_name: "goes on".to_owned(), start_time: 7, ..NewRun::default() };
    record.client().create_run(&open).await.unwrap();
}

async fn runs(client: &Client, experiment: &str) -> Vec<Run> {
    let experiment = client.experiment_by_name(experiment).await.unwrap();
    let query = RunsQuery {
        experiment_ids: vec![experiment.experiment_id],
        filter: String::new(),
        order_by: vec!["attributes.start_time ASC".to_owned()],
        max_results: 1000,
        page_token: None,
    };
    client.search_runs(&query).await.unwrap().runs
}

/// Everything of [`fill`] is there, once.
async fn assert_arrived(from: &str, to: &str, name: &str) {
    let (from, to) = (record(from), record(to));
    let experiment = format!("experiment of {name}");
    let (theirs, ours) = (runs(from.client(), &experiment).await, runs(to.client(), &experiment).await);
    assert_eq!(ours.len(), 4, "{name}: {ours:#?}");
    for source in &theirs {
        let found: Vec<&Run> =
            ours.iter().filter(|run| run.tag(RUN_TAG) == Some(source.info.run_id.as_str())).collect();
        let [copy] = found.as_slice() else { panic!("{name}: {} copies of a run", found.len()) };
        let told = |run: &Run| {
            let info = &run.info;
            (info.status, info.start_time, info.end_time, info.run_name.clone(), info.user_id.clone())
        };
        assert_eq!(told(copy), told(source));
        let sorted = |run: &Run| {
            let mut params = run.data.params.clone();
            params.sort();
            params
        };
        assert_eq!((sorted(copy), copy.tag(JOB_TAG)), (sorted(source), source.tag(JOB_TAG)));
        assert_eq!(copy.inputs.dataset_inputs.len(), source.inputs.dataset_inputs.len());
        assert_eq!(copy.outputs.model_outputs.len(), source.outputs.model_outputs.len());
        let curve = async |record: &regrove_mlflow::Record, run: &Run| {
            let points = record.client().metric_history(&run.info.run_id, "accuracy").await.unwrap();
            points.into_iter().map(|point| (point.step, point.timestamp, point.value)).collect::<Vec<_>>()
        };
        assert_eq!(curve(&to, copy).await, curve(&from, source).await);
    }
    let of_job = |number: u32| {
        let job = format!("job-{name} {number}");
        ours.iter().find(|run| run.tag(JOB_TAG) == Some(job.as_str())).unwrap()
    };
    let (parent, child) = (of_job(1), of_job(2));
    assert_eq!(child.tag("mlflow.parentRunId"), Some(parent.info.run_id.as_str()), "runs name the copies of runs");
    let below = to.client().artifact(&parent.info.artifact_uri, "deep/er/note.txt").await.unwrap();
    assert_eq!(below, "hello below");

    let model = format!("Model {name}");
    let versions = to.client().all_model_versions(&format!("name = '{model}'")).await.unwrap();
    let told: Vec<_> = versions.iter().map(|version| (version.version, version.tag(JOB_TAG).unwrap())).collect();
    let (first, third) = (format!("job-{name} 1"), format!("job-{name} 3"));
    assert_eq!(told, [(1, first.as_str()), (2, third.as_str())], "the deleted one left no gap");
    let champion = to.resolve(&model, &Selector::Alias("champion".to_owned())).await.unwrap();
    let theirs = from.resolve(&model, &Selector::Alias("champion".to_owned())).await.unwrap();
    assert_eq!((champion.version, champion.tag(SHA256_TAG)), (2, theirs.tag(SHA256_TAG)));
    assert_eq!((&champion.description, &champion.run_id), (&theirs.description, &of_job(3).info.run_id));
    assert_eq!(to.download(&champion, "model.rgf").await.unwrap(), "native bytes");
    let description = to.download(&champion, "MLmodel").await.unwrap();
    let description = String::from_utf8(description.to_vec()).unwrap();
    assert!(description.contains(champion.model_id().unwrap()), "{description}");
    assert!(description.contains(&champion.run_id) && !description.contains(&theirs.run_id), "{description}");
}

/// Copies a record to `to`, twice.
pub(crate) async fn arrives_once(to: &str, name: &str) {
    let from = Embedded::start().await;
    fill(from.uri(), name).await;
    let first = pushed(from.uri(), to).await.unwrap();
    assert_eq!((first.runs, first.runs_new, first.models, first.models_new), (4, 4, 3, 3));
    let numbers: Vec<_> = first.versions.iter().map(|one| (one.version, one.pushed_version, one.new)).collect();
    assert_eq!(numbers, [(1, 1, true), (3, 2, true)]);
    assert!(first.files > 20 && first.bytes > 1000, "{first:?}");
    assert_arrived(from.uri(), to, name).await;

    let again = pushed(from.uri(), to).await.unwrap();
    assert_eq!((again.runs, again.runs_new, again.models_new, again.files), (4, 0, 0, 0));
    assert!(again.versions.iter().all(|one| !one.new), "{again:?}");
    assert_eq!(again.run_ids, first.run_ids);
    assert_arrived(from.uri(), to, name).await;

    // What is new since then follows; the alias goes forward only.
    let later = record(from.uri());
    let run_id = later.ensure_run(&job(&format!("{name} later"))).await.unwrap();
    later.log_metrics(&run_id, &[Metric::new("accuracy", 1.0, 1, 1)]).await.unwrap();
    later.client().set_alias(&format!("Model {name}"), "champion", 1).await.unwrap();
    let more = pushed(from.uri(), to).await.unwrap();
    assert_eq!((more.runs, more.runs_new), (5, 1));
    let champion = record(to).resolve(&format!("Model {name}"), &Selector::Alias("champion".to_owned())).await.unwrap();
    assert_eq!(champion.version, 2, "not back to an older one");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_that_breaks_off_anywhere_is_finished_by_the_next_one() {
    let from = Embedded::start().await;
    fill(from.uri(), "broken").await;
    let to = Embedded::start().await;
    let open = Proxy::start(to.uri(), Rule::Open).await;
    pushed(from.uri(), open.uri()).await.unwrap();
    assert_arrived(from.uri(), to.uri(), "broken").await;
    let calls = open.seen();
    assert!(calls > 60, "{calls}");
    // One target that loses the push at every call in turn, before it and after it.
    let unlucky = Embedded::start().await;
    for k in 0..calls {
        for rule in [Rule::DeadFrom(k), Rule::DeafFrom(k)] {
            let broken = Proxy::start(unlucky.uri(), rule).await;
            // The later ones have less to do than there are calls.
            let _ = pushed(from.uri(), broken.uri()).await;
        }
    }
    pushed(from.uri(), unlucky.uri()).await.unwrap();
    assert_arrived(from.uri(), unlucky.uri(), "broken").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_job_has_made_in_both_is_one() {
    let (from, to) = (Embedded::start().await, Embedded::start().await);
    fill(from.uri(), "both").await;
    fill(to.uri(), "both").await;
    let told = pushed(from.uri(), to.uri()).await.unwrap();
    assert_eq!((told.runs_new, told.models_new), (1, 0), "only the run that no job made is new");
    assert!(told.versions.iter().all(|one| !one.new && one.version == one.pushed_version), "{told:?}");
    assert_eq!(runs(&client(to.uri()), "experiment of both").await.len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_is_not_pushed_into_itself() {
    let here = Embedded::start().await;
    let refused = pushed(here.uri(), &format!("{}/", here.uri())).await.unwrap_err().to_string();
    assert!(refused.contains("--to") && refused.contains(here.uri()), "{refused}");
}
