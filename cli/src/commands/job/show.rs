//! A job for people.

use regrove_jobs::{JobView, ShardState, ShardView};

pub(super) fn describe(job: &JobView) -> String {
    let line = &job.summary;
    let mut lines = vec![format!("{}  {}", line.id, line.state)];
    if let Some(first) = &job.first_attempt {
        lines.push(format!("attempt     {} of {first}", job.attempt));
    }
    if let Some(next) = &job.next_attempt {
        lines.push(format!("tried again as {next}"));
    }
    if let Some(request) = &job.request {
        let params: Vec<String> = request.params.iter().map(|(name, value)| format!("{name}={value}")).collect();
        lines.push(format!("parameters  {}", params.join(" ")));
        lines.push(format!("shards      {} by {}", request.shards, request.shard_by.as_str()));
    }
    if let Some(dataset) = &job.data {
        lines.push(format!(
            "data set    {}, {} rows, {} features, sha256 {}",
            dataset.name,
            dataset.n_samples,
            dataset.feature_names.len(),
            dataset.frame.sha256
        ));
    }
    lines.extend(job.shard_list.iter().map(shard));
    if !line.metrics.is_empty() {
        let metrics: Vec<String> = line.metrics.iter().map(|(key, value)| format!("{key} {value:.4}")).collect();
        lines.push(format!("metrics     {}", metrics.join(", ")));
    }
    if let Some(model) = &job.artifact {
        lines.push(format!("model       {} trees, {} bytes, sha256 {}", line.trees, model.bytes, model.sha256));
    }
    if let Some(registered) = &job.registered {
        lines.push(format!("registered  {}, run {}", registered.uri, registered.run_id));
    }
    if let Some(links) = &job.links {
        lines.push(format!("in MLflow   {}", links.run));
        lines.push(format!("            {}", links.model_version));
    }
    if let Some(failure) = &line.failure {
        lines.push(format!("failed      in {}: {}", failure.step, failure.reason));
    }
    if let Some(reason) = &line.cancel_reason {
        lines.push(format!("cancelled   {reason}"));
    }
    lines.push("timeline".to_owned());
    lines.extend(job.timeline.iter().map(|moment| {
        let after = moment.after_seconds.map_or_else(|| "–".to_owned(), |seconds| format!("{seconds:.3} s"));
        format!("{after:>12}  {:<17} {}", moment.name, moment.text)
    }));
    lines.join("\n")
}

fn shard(shard: &ShardView) -> String {
    let mut parts = vec![match shard.state {
        ShardState::Trained => {
            format!("{} nodes in {:.3} s", shard.n_nodes.unwrap_or_default(), shard.seconds.unwrap_or_default())
        }
        ShardState::Requested => "not yet trained".to_owned(),
        ShardState::Abandoned => "abandoned".to_owned(),
    }];
    parts.extend(shard.worker.as_ref().map(|worker| format!("on {worker}")));
    if shard.trees_reused > 0 {
        parts.push(format!("{} trees from earlier jobs", shard.trees_reused));
    }
    if shard.attempts.len() > 1 {
        parts.push(format!("asked for {} times", shard.attempts.len()));
    }
    format!("shard {:<5} trees {}..{}: {}", shard.shard, shard.trees.from, shard.trees.to, parts.join(", "))
}
