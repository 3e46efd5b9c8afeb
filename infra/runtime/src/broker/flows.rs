//! `Sequence` and `Parallel` as channels and subscriptions to them.
//!
//! A channel is a broker with a derived name, so an event between two steps is in the journal like any other and survives
//! the runtime. A subscription is a trigger without a filter whose replies go to the next channel. Unlike in a cluster, a
//! reply that its destination does not take is tried again by itself: the step before it is done and stays so.

use regrove_knative::delivery::DeliverySpec;
use regrove_knative::manifest::{Application, Branch, Destination, Metadata, Parallel, Sequence};

/// What a flow needs: who gets the events of one channel, and where the replies go.
#[derive(Debug)]
pub(crate) struct Subscription<'a> {
    pub(crate) kind: &'static str,
    pub(crate) metadata: &'a Metadata,
    /// Name for records, unlike that of any trigger.
    pub(crate) name: String,
    /// Where the subscriber stands in the manifest.
    pub(crate) field: String,
    /// The channel, in the flow's namespace.
    pub(crate) channel: String,
    pub(crate) subscriber: &'a Destination,
    pub(crate) delivery: Option<&'a DeliverySpec>,
    /// Channel for the replies, in the same namespace; they are dropped without one.
    pub(crate) replies: Option<String>,
}

/// Channel that a sequence takes its events from.
pub(crate) fn sequence_channel(name: &str) -> String {
    step_channel(name, 0)
}

/// Channel that a parallel takes its events from.
pub(crate) fn parallel_channel(name: &str) -> String {
    format!("{name}-kn-parallel")
}

fn step_channel(name: &str, step: usize) -> String {
    format!("{name}-kn-sequence-{step}")
}

/// The subscriptions of all flows.
pub(crate) fn subscriptions(application: &Application) -> Vec<Subscription<'_>> {
    let sequences = application.sequences.iter().flat_map(of_sequence);
    let parallels = application.parallels.iter().flat_map(|parallel| {
        parallel.branches.iter().enumerate().flat_map(move |(index, branch)| of_branch(parallel, index, branch))
    });
    sequences.chain(parallels).collect()
}

fn of_sequence(sequence: &Sequence) -> Vec<Subscription<'_>> {
    let metadata = &sequence.metadata;
    let name = &metadata.name;
    let reply_channel = format!("{name}-kn-sequence-reply");
    let after = |index: usize| {
        let next = (index + 1 < sequence.steps.len()).then(|| step_channel(name, index + 1));
        next.or_else(|| sequence.reply.is_some().then(|| reply_channel.clone()))
    };
    let steps = sequence.steps.iter().enumerate().map(|(index, step)| Subscription {
        kind: "Sequence",
        metadata,
        name: format!("sequence:{name}:{index}"),
        field: format!("spec.steps[{index}]"),
        channel: step_channel(name, index),
        subscriber: &step.destination,
        delivery: step.delivery.as_ref(),
        replies: after(index),
    });
    let reply = sequence.reply.as_ref().map(|reply| Subscription {
        kind: "Sequence",
        metadata,
        name: format!("sequence:{name}:reply"),
        field: "spec.reply".to_owned(),
        channel: reply_channel.clone(),
        subscriber: reply,
        delivery: sequence.steps.last().and_then(|step| step.delivery.as_ref()),
        replies: None,
    });
    steps.chain(reply).collect()
}

fn of_branch<'a>(parallel: &'a Parallel, index: usize, branch: &'a Branch) -> Vec<Subscription<'a>> {
    let metadata = &parallel.metadata;
    let name = &metadata.name;
    let ingress = parallel_channel(name);
    let filtered = format!("{ingress}-{index}");
    let reply_channel = format!("{ingress}-{index}-reply");
    let subscription = |part: &str, field: String, channel: &str, subscriber, replies| Subscription {
        kind: "Parallel",
        metadata,
        name: format!("parallel:{name}:{index}{part}"),
        field,
        channel: channel.to_owned(),
        subscriber,
        delivery: branch.delivery.as_ref(),
        replies,
    };
    let path = |field: &str| format!("spec.branches[{index}].{field}");
    let mut all = Vec::new();
    let channel = match &branch.filter {
        Some(filter) => {
            all.push(subscription(":filter", path("filter"), &ingress, filter, Some(filtered.clone())));
            &filtered
        }
        None => &ingress,
    };
    let (reply, field) = match &branch.reply {
        Some(own) => (Some(own), path("reply")),
        None => (parallel.reply.as_ref(), "spec.reply".to_owned()),
    };
    let replies = reply.map(|_| reply_channel.clone());
    all.push(subscription("", path("subscriber"), channel, &branch.subscriber, replies));
    all.extend(reply.map(|reply| subscription(":reply", field, &reply_channel, reply, None)));
    all
}

#[cfg(test)]
mod tests {
    use regrove_knative::manifest::Source;

    use super::*;

    fn routes(text: &str) -> Vec<(String, String, String, Option<String>)> {
        let application = Application::parse(&[Source { name: "flow.yaml", text }]).unwrap();
        let route = |it: Subscription<'_>| (it.name, it.channel, it.subscriber.uri.clone().unwrap(), it.replies);
        subscriptions(&application).into_iter().map(route).collect()
    }

    fn route(name: &str, channel: &str, uri: &str, replies: Option<&str>) -> (String, String, String, Option<String>) {
        (name.to_owned(), channel.to_owned(), format!("http://{uri}"), replies.map(str::to_owned))
    }

    #[test]
    fn each_step_replies_to_the_next_and_the_last_to_the_reply() {
        let sequence = "apiVersion: flows.knative.dev/v1\nkind: Sequence\nmetadata: {name: s}\nspec:\n  steps: [{uri: \
                        'http://a'}, {uri: 'http://b'}]\n";
        assert_eq!(
            routes(sequence),
            [
                route("sequence:s:0", "s-kn-sequence-0", "a", Some("s-kn-sequence-1")),
                route("sequence:s:1", "s-kn-sequence-1", "b", None),
            ]
        );
        assert_eq!(
            routes(&format!("{sequence}  reply: {{uri: 'http://r'}}\n"))[1..],
            [
                route("sequence:s:1", "s-kn-sequence-1", "b", Some("s-kn-sequence-reply")),
                route("sequence:s:reply", "s-kn-sequence-reply", "r", None),
            ]
        );
    }

    #[test]
    fn a_branch_has_its_filter_before_it_and_its_own_reply_before_the_common_one() {
        let parallel = "apiVersion: flows.knative.dev/v1\nkind: Parallel\nmetadata: {name: p}\nspec:\n  branches:\n  - \
                        {subscriber: {uri: 'http://a'}, reply: {uri: 'http://own'}}\n  - {filter: {uri: 'http://f'}, \
                        subscriber: {uri: 'http://b'}}\n  reply: {uri: 'http://common'}\n";
        assert_eq!(
            routes(parallel),
            [
                route("parallel:p:0", "p-kn-parallel", "a", Some("p-kn-parallel-0-reply")),
                route("parallel:p:0:reply", "p-kn-parallel-0-reply", "own", None),
                route("parallel:p:1:filter", "p-kn-parallel", "f", Some("p-kn-parallel-1")),
                route("parallel:p:1", "p-kn-parallel-1", "b", Some("p-kn-parallel-1-reply")),
                route("parallel:p:1:reply", "p-kn-parallel-1-reply", "common", None),
            ]
        );
    }
}
