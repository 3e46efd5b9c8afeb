//! An error as people read it.

use std::error::Error;

/// The error and its causes in one line, outermost first, each text once: many libraries repeat a cause in their own words.
pub fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let said = inner.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Layer {
        text: &'static str,
        #[source]
        cause: Option<Box<Layer>>,
    }

    fn layers(texts: &[&'static str]) -> Layer {
        let (text, rest) = texts.split_first().unwrap();
        let cause = (!rest.is_empty()).then(|| Box::new(layers(rest)));
        Layer { text, cause }
    }

    #[test]
    fn each_cause_is_said_once() {
        for (texts, expected) in [
            (&["the store does not answer"][..], "the store does not answer"),
            (&["no answer", "connect", "refused"][..], "no answer: connect: refused"),
            (&["no answer: refused", "refused", "port 1"][..], "no answer: refused: port 1"),
        ] {
            assert_eq!(with_causes(&layers(texts)), expected);
        }
    }
}
