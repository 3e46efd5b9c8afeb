//! Ids of derived events: the same work always has the same id, so that doing it again is noticed.

/// Id of a shard's request, `attempt` counted from 1.
pub fn shard_requested(job: &str, shard: u32, attempt: u32) -> String {
    format!("{job}/shard/{shard}/request/{attempt}")
}

/// Id of a trained shard, whichever attempt it came from.
pub fn shard_trained(job: &str, shard: u32) -> String {
    format!("{job}/shard/{shard}")
}

/// Id of a forest's score after so many trees.
pub fn round_evaluated(job: &str, trees: u32) -> String {
    format!("{job}/round/{trees}")
}

/// Id of the whole forest.
pub fn model_aggregated(job: &str) -> String {
    format!("{job}/forest")
}

/// Id of the version in MLflow.
pub fn model_registered(job: &str) -> String {
    format!("{job}/version")
}

/// Id of a move of the serving pointer because of a registered version.
pub fn model_loaded(name: &str, version: &str) -> String {
    format!("{name}/{version}/loaded")
}

/// Id of the n-th move of a serving pointer, for moves that a person asked for.
pub fn model_switched(name: &str, switch: u64) -> String {
    format!("{name}/switch/{switch}")
}

/// Id of the n-th change of what stands beside the served version.
pub fn traffic_changed(name: &str, change: u64) -> String {
    format!("{name}/traffic/{change}")
}

/// Id of the answer to a request for predictions, which has the asker's source and id.
pub fn predict_completed(source: &str, id: &str) -> String {
    format!("{source}#{id}/predictions")
}

/// Id of the note that one of those who hear an event of a job did not take it.
pub fn delivery_failed(event: &str, step: &str) -> String {
    format!("{event}/undelivered/{step}")
}

/// Id of a job's failure.
pub fn job_failed(job: &str) -> String {
    format!("{job}/failed")
}

/// Id of a trial's request.
pub fn trial_requested(job: &str) -> String {
    format!("{job}/request")
}

/// Id of a sweep's end.
pub fn sweep_completed(sweep: &str) -> String {
    format!("{sweep}/completed")
}

/// Id of a job's end by request.
pub fn job_cancelled(job: &str) -> String {
    format!("{job}/cancelled")
}
