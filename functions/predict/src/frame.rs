//! Rows that come as a data frame: with names, in any order of the members.

use regrove_data::{is_missing, text_feature};
use regrove_events::json::step;
use regrove_host::Problem;

use crate::json::{Kind, Read, Scanner};
use crate::refusal::{Fault, Weight};
use crate::rows::{Order, Reader, Rows, TEXT_CHARS_SHOWN, not};
use crate::signature::Signature;

/// The text of a body.
///
/// # Errors
/// 400 when it is no UTF-8.
pub(crate) fn text(body: &[u8]) -> Result<&str, Problem> {
    std::str::from_utf8(body).map_err(|error| {
        let detail = format!("the body is not UTF-8 at byte {}", error.valid_up_to());
        Fault::value("not-utf-8", String::new(), detail, "UTF-8").into()
    })
}

/// Reads a list of names.
pub(crate) fn names(scanner: &mut Scanner<'_>, pointer: &str) -> Read<Vec<String>> {
    if let Some(fault) = not(scanner, Kind::Array, pointer, "a list of column names")? {
        return Err(fault.into());
    }
    let mut names = Vec::new();
    scanner.array(|scanner, at| {
        if let Some(fault) = not(scanner, Kind::String, &format!("{pointer}/{at}"), "a column's name")? {
            return Err(fault.into());
        }
        names.push(scanner.string()?.into_owned());
        Ok(())
    })?;
    Ok(names)
}

/// Rows in member `rows` of the object that comes next, their columns named in member `columns` or in the model's order.
/// Other members are ignored.
///
/// # Errors
/// Where the object is another one.
pub(crate) fn object(
    scanner: &mut Scanner<'_>,
    signature: &Signature,
    pointer: &str,
    member: &'static str,
) -> Result<Rows, Problem> {
    if let Some(fault) = not(scanner, Kind::Object, pointer, &format!("{{\"{member}\": [[number, …], …]}}"))? {
        return Err(fault.into());
    }
    let place = format!("{pointer}{}", step(member));
    let mut reader = Reader::new(signature, scanner.bytes());
    let mut map: Option<Vec<Option<usize>>> = None;
    // Where the rows stand, if they came before the names.
    let mut early: Option<Scanner<'_>> = None;
    let mut found = false;
    scanner.object(|scanner, name| {
        if name == member {
            found = true;
            early = map.is_none().then(|| scanner.at(scanner.position()));
            let order = map.as_deref().map_or(Order::Model, Order::Mapped);
            reader.matrix(scanner, &place, order)
        } else if name == "columns" && scanner.kind()? != Kind::Null {
            let columns = format!("{pointer}/columns");
            let given = names(scanner, &columns)?;
            map = Some(signature.map(&given, &columns)?);
            Ok(())
        } else {
            scanner.skip()
        }
    })?;
    if !found {
        return Err(Fault::missing(pointer, member, "a list of rows").into());
    }
    if let (Some(map), Some(mut early)) = (&map, early) {
        // Read in the wrong order; the names say the right one.
        reader.restart();
        reader.matrix(&mut early, &place, Order::Mapped(map))?;
    }
    reader.finish(&place)
}

/// Columns by name: `{"a": [1, 2], "b": [3, 4]}`.
///
/// # Errors
/// Where the object is another one.
pub(crate) fn columns(scanner: &mut Scanner<'_>, signature: &Signature, pointer: &str) -> Result<Rows, Problem> {
    let mut reader = Reader::new(signature, scanner.bytes());
    let mut given = Vec::new();
    scanner.object(|scanner, name| {
        let Some(position) = signature.position(name, given.len()) else { return scanner.skip() };
        reader.column(scanner, &format!("{pointer}{}", step(name)), position, given.is_empty())?;
        given.push(name.to_owned());
        Ok(())
    })?;
    signature.map(&given, pointer)?;
    reader.finish(pointer)
}

/// Rows as text with a header: columns by name, categories and truth values as texts, missing values as data sets have them.
/// Faults have a row and a column and no pointer: it could only point to the body as a whole.
///
/// # Errors
/// Where the text is no CSV, or the columns or cells are wrong.
pub(crate) fn csv(body: &[u8], signature: &Signature) -> Result<Rows, Problem> {
    let broken = |error: &csv::Error| -> Problem {
        Fault::shape(String::new(), "CSV with a header", &format!("not CSV: {error}")).into()
    };
    let mut csv = csv::ReaderBuilder::new().flexible(true).from_reader(body);
    let header: Vec<String> = csv.headers().map_err(|error| broken(&error))?.iter().map(str::to_owned).collect();
    let map = signature.map(&header, "")?;
    let mut reader = Reader::new(signature, body.len());
    let mut record = csv::StringRecord::new();
    while csv.read_record(&mut record).map_err(|error| broken(&error))? {
        let row = reader.blank_row("")?;
        if record.len() != header.len() {
            reader.fault(Weight::Value, || ragged(row, record.len(), header.len()));
            continue;
        }
        for ((cell, position), name) in record.iter().zip(&map).zip(&header) {
            let Some(position) = *position else { continue };
            let value = csv_cell(&mut reader, signature, cell.trim(), (row, position, name));
            reader.set(row, position, value);
        }
    }
    reader.finish("")
}

/// A cell as the model takes it, by the rules by which data sets are read.
fn csv_cell(
    reader: &mut Reader<'_>,
    signature: &Signature,
    text: &str,
    (row, position, name): (usize, usize, &str),
) -> f32 {
    let code = signature.codes(position).map(|codes| codes.of(text));
    if let Some(Some(known)) = code {
        return known;
    }
    if is_missing(text) {
        return f32::NAN;
    }
    if code.is_some() {
        return reader.category(text, row, position, String::new);
    }
    let value = text_feature(text);
    if value.is_none() {
        reader.fault(Weight::Shape, || not_a_number(text, row, name));
    }
    reader.checked(value, row, position, String::new)
}

fn ragged(row: usize, cells: usize, expected: usize) -> Fault {
    let detail = format!("row {row} has {cells} cells, the header names {expected}");
    Fault::value("wrong-feature-count", String::new(), detail, format!("{expected} cells")).at(row, None)
}

fn not_a_number(text: &str, row: usize, column: &str) -> Fault {
    let shown: String = text.chars().take(TEXT_CHARS_SHOWN).collect();
    let detail = format!("row {row}, column `{column}`: `{shown}` is not a number");
    Fault::shape(String::new(), "a number", "text").saying(detail).at(row, Some(column))
}
