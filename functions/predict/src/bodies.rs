//! Bodies of every protocol, read into rows of a model. Pure: this is what the fuzz targets feed.

use regrove_host::Problem;

use crate::frame;
use crate::json::Scanner;
use crate::protocol::{events, oip, scoring};
use crate::rows::Rows;
use crate::signature::Signature;

/// The body of `POST /predict`.
///
/// # Errors
/// What is wrong with it, and where.
pub fn features(body: &[u8], signature: &Signature) -> Result<Rows, Problem> {
    let text = frame::text(body)?;
    let mut scanner = Scanner::new(text);
    let rows = frame::object(&mut scanner, signature, "", "features").or_else(|problem| {
        // Whether it is JSON at all comes before what is wrong with its rows.
        let mut whole = Scanner::new(text);
        whole.skip()?;
        whole.end()?;
        Err(problem)
    })?;
    scanner.end()?;
    Ok(rows)
}

/// A JSON body of `POST /invocations`.
///
/// # Errors
/// What is wrong with it, and where.
pub fn invocation(body: &[u8], signature: &Signature) -> Result<Rows, Problem> {
    scoring::parse(frame::text(body)?, signature)
}

/// A CSV body of `POST /invocations`.
///
/// # Errors
/// What is wrong with it, and where.
pub fn csv(body: &[u8], signature: &Signature) -> Result<Rows, Problem> {
    frame::text(body)?;
    frame::csv(body, signature)
}

/// A body of the Open Inference Protocol: its JSON part and the bytes behind it.
///
/// # Errors
/// What is wrong with it, and where.
pub fn inference(json: &[u8], binary: &[u8], signature: &Signature) -> Result<Rows, Problem> {
    oip::read(frame::text(json)?, binary, signature).map(|(_, rows)| rows)
}

/// The data of a `predict-requested` with inline rows.
///
/// # Errors
/// What is wrong with it, and where.
pub fn requested(data: &[u8], signature: &Signature) -> Result<Rows, Problem> {
    events::rows(data, signature)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows of a few bytes each must not become rows of many columns: the memory would be a thousand times the body.
    #[test]
    fn rows_times_columns_are_bounded_by_the_body() {
        let names: Vec<String> = (0..4_000).map(|column| format!("c{column}")).collect();
        let signature = Signature::new(&names);
        let many = |row: &str| vec![row; 50_000].join(",");
        let tensors: Vec<String> = names
            .iter()
            .map(|name| format!(r#"{{"name":"{name}","shape":[50000],"datatype":"UINT8","parameters":{{"binary_data_size":50000}}}}"#))
            .collect();
        let one = vec![0; 50_000];
        let answers = [
            features(format!(r#"{{"features":[{}]}}"#, many("[]")).as_bytes(), &signature),
            features(format!(r#"{{"features":[{}]}}"#, many("{}")).as_bytes(), &signature),
            features(format!(r#"{{"features":[{}]}}"#, many("1")).as_bytes(), &signature),
            invocation(format!(r#"{{"inputs":{{"c0":[{}]}}}}"#, many("1")).as_bytes(), &signature),
            invocation(format!(r#"{{"instances":[{}]}}"#, many("[1]")).as_bytes(), &signature),
        ];
        for answer in answers {
            let problem = answer.unwrap_err();
            assert_eq!((problem.kind, problem.status.as_u16()), ("too-many-rows", 413), "{}", problem.detail);
            assert!(problem.detail.contains("rows of 4000 columns"), "{}", problem.detail);
        }
        // The sizes lie: only the first column is there.
        let request = format!(r#"{{"inputs":[{}]}}"#, tensors.join(","));
        let problem = inference(request.as_bytes(), &one, &signature).unwrap_err();
        assert_eq!(problem.kind, "wrong-tensor", "{}", problem.detail);
        // A whole body of so many columns is read.
        let row = format!("[{}]", vec!["1"; 4_000].join(","));
        let rows =
            features(format!(r#"{{"features":[{}]}}"#, vec![row; 300].join(",")).as_bytes(), &signature).unwrap();
        assert_eq!((rows.n_rows, rows.values.len()), (300, 1_200_000));
    }

    /// What fuzzing found worth keeping is read whenever the tests run.
    #[test]
    fn the_kept_corpus_gives_rows_or_problems() {
        type Read = fn(&[u8], &Signature) -> Result<Rows, Problem>;
        let tensors: Read = |input, signature| {
            let (length, body) = input.split_first_chunk::<2>().unwrap_or((&[0, 0], &[]));
            let (json, binary) = body.split_at_checked(u16::from_le_bytes(*length).into()).unwrap_or_default();
            inference(json, binary, signature)
        };
        let readers: [(&str, Read); 4] =
            [("features", features), ("invocation", invocation), ("csv", csv), ("inference", tensors)];
        let signature = Signature::new(&["a".to_owned(), "b".to_owned(), "c".to_owned()]);
        let corpus = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
        for (target, read) in readers {
            let mut answered = 0;
            for entry in corpus.join(target).read_dir().unwrap() {
                let path = entry.unwrap().path();
                if let Ok(rows) = read(&std::fs::read(&path).unwrap(), &signature) {
                    answered += 1;
                    assert!(rows.n_rows > 0 && rows.values.len() == rows.n_rows * 3, "{}", path.display());
                    assert!(rows.values.iter().all(|value| !value.is_infinite()), "{}", path.display());
                }
            }
            assert!(answered > 0, "none of {target} is a body");
        }
    }

    /// What is wrong is told sixteen times; looking at the rest costs no more than reading it.
    #[test]
    fn a_shape_goes_before_values_however_many() {
        let signature = Signature::new(&["a".to_owned()]);
        let values = vec!["[1e39]"; 40].join(",");
        let problem = features(format!(r#"{{"features":[{values},["x"],["y"]]}}"#).as_bytes(), &signature).unwrap_err();
        assert_eq!((problem.status.as_u16(), problem.members["row"].as_u64()), (422, Some(40)), "{}", problem.detail);
        assert_eq!(problem.members["errors"].as_array().unwrap().len(), 17);
    }
}
