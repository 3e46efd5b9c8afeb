//! Bodies of every protocol, read into rows of a model. Pure: this is what the fuzz targets feed.

use regrove_host::Problem;

use crate::frame;
use crate::json::Scanner;
use crate::protocol::{oip, scoring};
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
