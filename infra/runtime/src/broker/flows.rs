//! `Sequence` and `Parallel` as channels and subscriptions to them.
//!
//! A channel is a broker with a derived name, so an event between two steps is in the journal like any other and survives
//! the runtime. A subscription is a trigger without a filter whose replies go to the next channel, or to the flow's
//! `reply`; if that does not take one, the whole delivery is made again, as the specification asks.

use regrove_knative::delivery::DeliverySpec;
use regrove_knative::manifest::{Application, Branch, Destination, Metadata, Parallel, Sequence, Step};

/// Where the replies of a subscriber go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ReplyTo<'a> {
    /// Into this channel, in the same namespace.
    Channel(String),
    /// To the flow's `reply`, and where that stands in the manifest.
    Destination(&'a Destination, String),
}

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
    /// They are dropped without one.
    pub(crate) replies: Option<ReplyTo<'a>>,
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

fn of_sequence<'a>(sequence: &'a Sequence) -> Vec<Subscription<'a>> {
    let metadata = &sequence.metadata;
    let name = &metadata.name;
    let after = |index: usize| {
        let next = (index + 1 < sequence.steps.len()).then(|| ReplyTo::Channel(step_channel(name, index + 1)));
        next.or_else(|| Some(ReplyTo::Destination(sequence.reply.as_ref()?, "spec.reply".to_owned())))
    };
    let step = |(index, step): (usize, &'a Step)| Subscription {
        kind: "Sequence",
        metadata,
        name: format!("sequence:{name}:{index}"),
        field: format!("spec.steps[{index}]"),
        channel: step_channel(name, index),
        subscriber: &step.destination,
        delivery: step.delivery.as_ref(),
        replies: after(index),
    };
    sequence.steps.iter().enumerate().map(step).collect()
}

fn of_branch<'a>(parallel: &'a Parallel, index: usize, branch: &'a Branch) -> Vec<Subscription<'a>> {
    let metadata = &parallel.metadata;
    let name = &metadata.name;
    let ingress = parallel_channel(name);
    let filtered = format!("{ingress}-{index}");
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
            let passed = Some(ReplyTo::Channel(filtered.clone()));
            all.push(subscription(":filter", path("filter"), &ingress, filter, passed));
            &filtered
        }
        None => &ingress,
    };
    let reply = match &branch.reply {
        Some(own) => Some(ReplyTo::Destination(own, path("reply"))),
        None => parallel.reply.as_ref().map(|common| ReplyTo::Destination(common, "spec.reply".to_owned())),
    };
    all.push(subscription("", path("subscriber"), channel, &branch.subscriber, reply));
    all
}

#[cfg(test)]
mod tests {
    use regrove_knative::manifest::Source;

    use super::*;

    /// (name, channel, subscriber, where replies go).
    fn routes(text: &str) -> Vec<[String; 4]> {
        let application = Application::parse(&[Source { name: "flow.yaml", text }]).unwrap();
        let route = |it: Subscription<'_>| {
            let replies = match it.replies {
                None => String::new(),
                Some(ReplyTo::Channel(channel)) => channel,
                Some(ReplyTo::Destination(destination, field)) => {
                    format!("{} of {field}", destination.uri.clone().unwrap())
                }
            };
            [it.name, it.channel, it.subscriber.uri.clone().unwrap(), replies]
        };
        subscriptions(&application).into_iter().map(route).collect()
    }

    #[test]
    fn each_step_replies_to_the_next_and_the_last_to_the_reply() {
        let sequence = "apiVersion: flows.knative.dev/v1\nkind: Sequence\nmetadata: {name: s}\nspec:\n  steps: [{uri: \
                        'http://a'}, {uri: 'http://b'}]\n";
        assert_eq!(
            routes(sequence),
            [
                ["sequence:s:0", "s-kn-sequence-0", "http://a", "s-kn-sequence-1"],
                ["sequence:s:1", "s-kn-sequence-1", "http://b", ""],
            ]
        );
        assert_eq!(
            routes(&format!("{sequence}  reply: {{uri: 'http://r'}}\n"))[1..],
            [["sequence:s:1", "s-kn-sequence-1", "http://b", "http://r of spec.reply"]]
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
                ["parallel:p:0", "p-kn-parallel", "http://a", "http://own of spec.branches[0].reply"],
                ["parallel:p:1:filter", "p-kn-parallel", "http://f", "p-kn-parallel-1"],
                ["parallel:p:1", "p-kn-parallel-1", "http://b", "http://common of spec.reply"],
            ]
        );
    }
}
