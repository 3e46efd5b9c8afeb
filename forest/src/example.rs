//! Whether a model still says of a row what it said when it was made.

use crate::{Error, Model};

/// Why a model does not bear out a recorded example.
#[derive(Debug, thiserror::Error)]
pub enum ExampleError {
    /// The row is none that the model takes, or the answer is none that it gives.
    #[error("the recorded example does not fit the model: {0}")]
    Unfit(#[from] Error),
    /// It says something else.
    #[error("the model says {said} of the recorded example as {what}, at training it said {recorded}")]
    Differs {
        /// Which number: the value, or the probability of a class.
        what: String,
        /// What the model says now.
        said: f64,
        /// What it said when the example was recorded.
        recorded: f64,
    },
}

impl Model {
    /// Whether the model says of `input`, `(n_features,)` float32 values, what was recorded as `output`, `(n_outputs,)`: to
    /// the last bit.
    ///
    /// # Errors
    ///
    /// The first number that is another one; lengths that do not fit, an infinite value.
    pub fn check_example(&self, input: &[f64], output: &[f64]) -> Result<(), ExampleError> {
        if output.len() != self.n_outputs() {
            let (got, expected) = (output.len(), self.n_outputs());
            return Err(Error::Shape { what: "output", got, expected }.into());
        }
        #[expect(clippy::cast_possible_truncation, reason = "the example is a row of float32 data")]
        let row: Vec<f32> = input.iter().map(|value| *value as f32).collect();
        let mut said = vec![0.0; self.n_outputs()];
        self.predict_proba_rows(&row, 1, &mut said)?;
        let differs = said.iter().zip(output).position(|(said, recorded)| said.to_bits() != recorded.to_bits());
        differs.map_or(Ok(()), |at| {
            let what =
                self.classes().get(at).map_or("its value".to_owned(), |class| format!("probability of `{class}`"));
            Err(ExampleError::Differs { what, said: said[at], recorded: output[at] })
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::datasets::Synthetic;
    use crate::{RandomForestParams, fit};

    #[test]
    fn a_model_that_says_something_else_fails_its_check() {
        let uri = "make_classification?n_samples=60&n_features=4&n_informative=2&n_redundant=0&random_state=1";
        let frame = Synthetic::parse(uri).unwrap().frame().unwrap();
        let params = RandomForestParams { n_estimators: 5, ..RandomForestParams::default() };
        let model = Model::from_bytes(Arc::new(fit(&frame, &params).unwrap().to_bytes().unwrap())).unwrap();
        let row = &frame.rows()[..4];
        let input: Vec<f64> = row.iter().copied().map(f64::from).collect();
        let mut output = vec![0.0; 2];
        model.predict_proba_rows(row, 1, &mut output).unwrap();
        model.check_example(&input, &output).unwrap();
        for (input, says) in [(&input[..3], "rows has length 3, expected 4"), (&[1e39; 4], "too large for float32")] {
            let error = model.check_example(input, &output).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
        let error = model.check_example(&input, &output[..1]).unwrap_err().to_string();
        assert!(error.contains("output has length 1, expected 2"), "{error}");
        let recorded = output[1] + f64::EPSILON;
        let error = model.check_example(&input, &[output[0], recorded]).unwrap_err().to_string();
        let expected = format!(
            "the model says {} of the recorded example as probability of `1`, at training it said {recorded}",
            output[1]
        );
        assert_eq!(error, expected);
    }
}
