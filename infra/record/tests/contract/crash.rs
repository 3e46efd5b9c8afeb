//! A process that dies at any call, before or after the server did its part, and another one that starts over.

use regrove_mlflow::{Error, Record};

use crate::cases::{assert_one_logged_model, assert_one_of_each};
use crate::fixture::{job, record, request};
use crate::proxy::{Proxy, Rule};

async fn everything(record: &Record, name: &str) -> Result<u64, Error> {
    let run_id = record.ensure_run(&job(name)).await?;
    Ok(record.ensure_model_version(&request(name, &run_id)).await?.version)
}

pub(crate) async fn every_crash_point_ends_in_one_run_and_one_version(uri: String) {
    let open = Proxy::start(&uri, Rule::Open).await;
    everything(&record(open.uri()), "undisturbed").await.unwrap();
    let calls = open.seen();
    assert!(calls > 20, "the whole job takes {calls} calls");
    assert_one_of_each(&uri, "undisturbed").await;
    for k in 0..calls {
        for (kind, rule) in [("dead", Rule::DeadFrom(k)), ("deaf", Rule::DeafFrom(k))] {
            let name = format!("{kind} {k}");
            let broken = Proxy::start(&uri, rule).await;
            let error = everything(&record(broken.uri()), &name).await.unwrap_err();
            assert!(error.is_retryable(), "{name}: {error}");
            assert_eq!(everything(&record(&uri), &name).await.unwrap(), 1, "{name}");
            assert_one_of_each(&uri, &name).await;
            assert_one_logged_model(&uri, &name).await;
        }
    }
    // The worst of luck: one job that dies at every call in turn.
    for k in 0..calls {
        let broken = Proxy::start(&uri, Rule::DeafFrom(k)).await;
        let _ = everything(&record(broken.uri()), "unlucky").await;
    }
    assert_eq!(everything(&record(&uri), "unlucky").await.unwrap(), 1);
    assert_one_of_each(&uri, "unlucky").await;
    assert_one_logged_model(&uri, "unlucky").await;
}
