//! What fuzzing found worth keeping of CloudEvents is read whenever the tests run. That of bodies is read beside their readers.

use std::path::Path;

#[path = "../../fuzz/checks/cloud_event.rs"]
mod check;

#[test]
fn kept_cloud_events_are_sent_on_as_the_same_or_refused() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/cloud_event");
    let (mut inputs, mut events) = (0, 0);
    for entry in corpus.read_dir().unwrap() {
        events += check::events(&std::fs::read(entry.unwrap().path()).unwrap());
        inputs += 1;
    }
    assert!(events > 0 && events < inputs, "{events} events in {inputs} inputs");
}
