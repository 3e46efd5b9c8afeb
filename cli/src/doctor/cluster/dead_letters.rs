//! Dead letters of a cluster. Its broker keeps no list of them: they go to the aggregate, whose log names each one.

use std::collections::BTreeMap;

use regrove_aggregate::DeadLetterLine;

use crate::doctor::Finding;

/// The function that is the dead letter sink of every trigger.
pub(super) const HEARD_BY: &str = "aggregate";
/// How far back the log is read.
pub(super) const SINCE: &str = "24h";
/// What is looked at.
pub(super) const WHAT: &str = "the cluster's dead letters";

/// The dead letters in a log, counted by type and status.
pub(super) fn in_log(log: &str) -> Finding {
    let mut counts: BTreeMap<(String, String), usize> = BTreeMap::new();
    let mut newest = None;
    for letter in log.lines().filter_map(DeadLetterLine::read) {
        *counts.entry((letter.ty, letter.code.unwrap_or_else(|| "?".to_owned()))).or_default() += 1;
        newest = Some(letter.id);
    }
    let Some(newest) = newest else {
        return Finding::well(WHAT, format!("none in the aggregate's log of the last {SINCE}"));
    };
    let total: usize = counts.values().sum();
    let each: Vec<String> =
        counts.iter().map(|((ty, code), count)| format!("{count} × {ty} (status {code})")).collect();
    let detail = format!("{total} in the last {SINCE}: {}; the newest is event `{newest}`", each.join(", "));
    let mend = "`regrove job show` of the event's job says what was answered; `regrove job replay JOB --emit` says it again \
                before the tick does, `regrove job retry` what ended its job";
    Finding::doubt(WHAT, detail, mend)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Verdict;

    #[test]
    fn dead_letters_are_counted_by_type_and_status() {
        let line = |id: &str, code: &str| {
            format!(
                r#"{{"level":"WARN","message":"dead letter","id":"{id}","ty":"io.regrove.shard-requested","code":"{code}"}}"#
            )
        };
        let other = r#"{"level":"INFO","message":"emitted","id":"dead letter"}"#;
        let log = [&*line("a", "422"), other, "no JSON", &line("b", "503"), &line("c", "422")].join("\n");
        let found = in_log(&log);
        assert_eq!(found.verdict, Verdict::Doubt);
        let expected = "3 in the last 24h: 2 × io.regrove.shard-requested (status 422), \
                        1 × io.regrove.shard-requested (status 503); the newest is event `c`";
        assert_eq!(found.detail, expected);
        assert_eq!(in_log(other).verdict, Verdict::Well);
    }
}
