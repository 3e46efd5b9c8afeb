//! Rows of float32 as the kernel takes them, or the places where they are wrong.

use http::StatusCode;
use regrove_events::json::step;
use regrove_host::Problem;

use crate::json::{Kind, Read, Scanner};
use crate::refusal::{Fault, Faults, Stop, Weight};
use crate::signature::{Codes, Signature};

/// Characters of a text that a message repeats.
pub(crate) const TEXT_CHARS_SHOWN: usize = 40;
/// Most rows in one request.
pub const ROWS_MAX: usize = 100_000;
/// Cells that every body may have. Beyond them a cell takes at least a byte of the body: whoever leaves cells out must not make
/// rows of many columns from a few bytes each.
const CELLS_ALWAYS: usize = 1 << 20;

/// Rows as the kernel takes them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Rows {
    /// Row-major, `(n_rows, n_features)`; NaN for a missing value.
    pub values: Vec<f32>,
    /// How many rows.
    pub n_rows: usize,
}

/// How the cells of a row become columns of the model.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Order<'a> {
    /// In the model's order.
    Model,
    /// Each where it goes; `None` is left out.
    Mapped(&'a [Option<usize>]),
}

/// Reads rows for a model and keeps what is wrong with them.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    signature: &'a Signature,
    rows: Rows,
    cells_max: usize,
    faults: Faults,
}

impl<'a> Reader<'a> {
    /// For a body of so many bytes.
    pub(crate) fn new(signature: &'a Signature, bytes: usize) -> Self {
        let cells_max = bytes.max(CELLS_ALWAYS);
        Self { signature, rows: Rows::default(), cells_max, faults: Faults::default() }
    }

    /// Forgets what was read.
    pub(crate) fn restart(&mut self) {
        self.rows.values.clear();
        self.rows.n_rows = 0;
        self.faults = Faults::default();
    }

    /// The rows, if nothing is wrong with them. `pointer` is where they stand.
    ///
    /// # Errors
    /// The faults; 400 for no row at all.
    pub(crate) fn finish(mut self, pointer: &str) -> Result<Rows, Problem> {
        if self.rows.n_rows == 0 && self.faults.is_empty() {
            let detail = "there are no rows".to_owned();
            self.faults.push(Fault::value("no-rows", pointer.to_owned(), detail, "at least one row"));
        }
        self.faults.check()?;
        Ok(self.rows)
    }

    /// Notes a fault; reading goes on for the others.
    pub(crate) fn fault(&mut self, weight: Weight, fault: impl FnOnce() -> Fault) {
        if self.faults.takes(weight) {
            self.faults.push(fault());
        }
    }

    fn begin_row(&mut self, pointer: &str) -> Read<usize> {
        if self.rows.n_rows == ROWS_MAX {
            return Err(too_many_rows(pointer).into());
        }
        let n_rows = self.rows.n_rows + 1;
        if n_rows.saturating_mul(self.signature.len()) > self.cells_max {
            return Err(too_many_cells(pointer, n_rows, self.signature.len()).into());
        }
        let start = self.rows.values.len();
        self.rows.n_rows += 1;
        Ok(start)
    }

    /// A list of rows: each a list of numbers, or an object with a number for each column.
    pub(crate) fn matrix(&mut self, scanner: &mut Scanner<'_>, pointer: &str, order: Order<'_>) -> Read<()> {
        if let Some(fault) = not(scanner, Kind::Array, pointer, "a list of rows")? {
            self.fault(Weight::Shape, || fault);
            return scanner.skip();
        }
        scanner
            .array(|scanner, _| match scanner.kind()? {
                Kind::Array => self.list(scanner, pointer, order),
                Kind::Object => self.record(scanner, pointer),
                other => {
                    let row = self.rows.n_rows;
                    self.fault(Weight::Shape, || {
                        Fault::shape(format!("{pointer}/{row}"), "a list of numbers", other.name()).at(row, None)
                    });
                    self.begin_row(pointer)?;
                    scanner.skip()
                }
            })
            .map(drop)
    }

    /// One row as a list of numbers.
    fn list(&mut self, scanner: &mut Scanner<'_>, pointer: &str, order: Order<'_>) -> Read<()> {
        let start = self.begin_row(pointer)?;
        let row = self.rows.n_rows - 1;
        let n_features = self.signature.len();
        let width = self.width(order);
        if let Order::Mapped(_) = order {
            self.rows.values.resize(start + n_features, f32::NAN);
        }
        let count = scanner.array(|scanner, at| {
            let position = match order {
                _ if at >= width => None,
                Order::Model => Some(at),
                Order::Mapped(map) => map[at],
            };
            let Some(position) = position else { return scanner.skip() };
            let value = self.cell(scanner, row, position, || format!("{pointer}/{row}/{at}"))?;
            match order {
                Order::Model => self.rows.values.push(value),
                Order::Mapped(_) => self.rows.values[start + position] = value,
            }
            Ok(())
        })?;
        if count != width {
            self.rows.values.resize(start + n_features, f32::NAN);
        }
        self.check_width(count, row, pointer, order);
        Ok(())
    }

    /// One row as an object. Members that are no columns of the model are left out, as they are from a data frame.
    fn record(&mut self, scanner: &mut Scanner<'_>, pointer: &str) -> Read<()> {
        let row = self.blank_row(pointer)?;
        let n_features = self.signature.len();
        let (mut guess, mut found) = (0, 0);
        let mut seen = vec![false; n_features];
        scanner.object(|scanner, name| {
            let Some(position) = self.signature.position(name, guess) else { return scanner.skip() };
            guess = position + 1;
            found += 1;
            seen[position] = true;
            let value = self.cell(scanner, row, position, || format!("{pointer}/{row}{}", step(name)))?;
            self.set(row, position, value);
            Ok(())
        })?;
        if found != n_features {
            let signature = self.signature;
            self.fault(Weight::Value, || {
                let all = signature.names().iter().zip(&seen);
                let missing: Vec<String> = all.filter(|(_, seen)| !**seen).map(|(name, _)| name.clone()).collect();
                let names = crate::signature::shortened(&missing);
                let detail = format!("row {row} lacks the columns {names}");
                let place = format!("{pointer}/{row}");
                Fault::value("wrong-columns", place, detail, format!("the columns {names}")).at(row, None)
            });
        }
        Ok(())
    }

    /// A column: a list with one number per row, at `position` of the model. The first column says how many rows there
    /// are.
    pub(crate) fn column(
        &mut self,
        scanner: &mut Scanner<'_>,
        pointer: &str,
        position: usize,
        first: bool,
    ) -> Read<()> {
        if let Some(fault) = not(scanner, Kind::Array, pointer, "a list of numbers")? {
            self.fault(Weight::Shape, || fault);
            return scanner.skip();
        }
        let count = scanner.array(|scanner, row| {
            if first {
                self.blank_row(pointer)?;
            }
            if row >= self.rows.n_rows {
                return scanner.skip();
            }
            let value = self.cell(scanner, row, position, || format!("{pointer}/{row}"))?;
            self.set(row, position, value);
            Ok(())
        })?;
        let n_rows = self.rows.n_rows;
        if count != n_rows {
            self.fault(Weight::Value, || {
                let detail = format!("`{pointer}` has {count} numbers, the columns before it have {n_rows}");
                Fault::value("ragged-columns", pointer.to_owned(), detail, format!("{n_rows} numbers"))
            });
        }
        Ok(())
    }

    /// A number for a column, or the code of a text; NaN for `null`.
    fn cell(
        &mut self,
        scanner: &mut Scanner<'_>,
        row: usize,
        position: usize,
        pointer: impl Fn() -> String,
    ) -> Read<f32> {
        match scanner.kind()? {
            Kind::Number => {
                let value = scanner.number()?;
                return Ok(self.checked(Some(value), row, position, pointer));
            }
            Kind::String if self.signature.codes(position).is_some() => {
                let text = scanner.string()?;
                return Ok(self.category(&text, row, position, pointer));
            }
            Kind::Null => scanner.null()?,
            other => {
                self.not_a_number(other, row, position, pointer);
                scanner.skip()?;
            }
        }
        Ok(f32::NAN)
    }

    /// Rows that came as numbers, `(n_rows, n_features)` row-major in the model's order; `place` says where each stands.
    pub(crate) fn numbers(
        &mut self,
        values: impl IntoIterator<Item = Option<f64>>,
        pointer: &str,
        place: impl Fn(usize) -> String,
    ) -> Read<()> {
        let n_features = self.signature.len();
        for (at, value) in values.into_iter().enumerate() {
            let (row, position) = (at / n_features, at % n_features);
            if position == 0 {
                self.begin_row(pointer)?;
            }
            let cell = self.checked(value, row, position, || place(at));
            self.rows.values.push(cell);
        }
        Ok(())
    }

    /// Begins a row whose values are all missing as yet, and gives its number.
    pub(crate) fn blank_row(&mut self, pointer: &str) -> Read<usize> {
        let start = self.begin_row(pointer)?;
        self.rows.values.resize(start + self.signature.len(), f32::NAN);
        Ok(self.rows.n_rows - 1)
    }

    /// A value in a row that has begun.
    pub(crate) fn set(&mut self, row: usize, position: usize, value: f32) {
        if let Some(place) = self.rows.values.get_mut(row * self.signature.len() + position) {
            *place = value;
        }
    }

    /// How many cells a row has.
    fn width(&self, order: Order<'_>) -> usize {
        match order {
            Order::Model => self.signature.len(),
            Order::Mapped(map) => map.len(),
        }
    }

    fn check_width(&mut self, count: usize, row: usize, pointer: &str, order: Order<'_>) {
        let expected = self.width(order);
        if count == expected {
            return;
        }
        let whose = match order {
            Order::Model => "the model expects",
            Order::Mapped(_) => "`columns` names",
        };
        self.fault(Weight::Value, || {
            let detail = format!("row {row} has {count} features, {whose} {expected}");
            let place = format!("{pointer}/{row}");
            Fault::value("wrong-feature-count", place, detail, format!("{expected} numbers")).at(row, None)
        });
    }

    /// One column of numbers, at `position` of the model; `place` says where each stands. The first column says how many
    /// rows there are.
    pub(crate) fn number_column(
        &mut self,
        values: impl IntoIterator<Item = Option<f64>>,
        pointer: &str,
        place: impl Fn(usize) -> String,
        position: usize,
        first: bool,
    ) -> Read<()> {
        for (row, value) in values.into_iter().enumerate() {
            if first {
                self.blank_row(pointer)?;
            }
            let cell = self.checked(value, row, position, || place(row));
            self.set(row, position, cell);
        }
        Ok(())
    }

    /// The same with texts.
    pub(crate) fn text_column(
        &mut self,
        texts: impl IntoIterator<Item = Option<String>>,
        pointer: &str,
        place: impl Fn(usize) -> String,
        position: usize,
        first: bool,
    ) -> Read<()> {
        for (row, text) in texts.into_iter().enumerate() {
            if first {
                self.blank_row(pointer)?;
            }
            let cell = text.map_or(f32::NAN, |text| self.category(&text, row, position, || place(row)));
            self.set(row, position, cell);
        }
        Ok(())
    }

    /// The code of a text in the column at `position`.
    pub(crate) fn category(&mut self, text: &str, row: usize, position: usize, pointer: impl Fn() -> String) -> f32 {
        let Some(codes) = self.signature.codes(position) else {
            self.not_a_number(Kind::String, row, position, pointer);
            return f32::NAN;
        };
        codes.of(text).unwrap_or_else(|| {
            let shown = || format!("`{}`", text.chars().take(TEXT_CHARS_SHOWN).collect::<String>());
            self.unknown_category(codes, shown, row, position, pointer);
            f32::NAN
        })
    }

    fn not_a_number(&mut self, kind: Kind, row: usize, position: usize, pointer: impl Fn() -> String) {
        let column = self.signature.names().get(position);
        self.fault(Weight::Shape, || {
            Fault::shape(pointer(), "a number or null", kind.name()).at(row, column.map(String::as_str))
        });
    }

    fn unknown_category(
        &mut self,
        codes: &Codes,
        given: impl Fn() -> String,
        row: usize,
        position: usize,
        pointer: impl Fn() -> String,
    ) {
        let column = self.signature.names().get(position).map(String::as_str).unwrap_or_default();
        self.fault(Weight::Value, || {
            let (given, known) = (given(), codes.shown());
            let detail = format!("row {row}, column `{column}`: {given} is no category that the model knows: {known}");
            let expected = format!("one of {known}, its code, or null");
            Fault::value("unknown-category", pointer(), detail, expected).at(row, Some(column))
        });
    }

    /// A number as the model takes it; NaN, and a fault, for one that it does not take.
    pub(crate) fn checked(
        &mut self,
        value: Option<f64>,
        row: usize,
        position: usize,
        pointer: impl Fn() -> String,
    ) -> f32 {
        let Some(value) = value.filter(|value| !value.is_nan()) else { return f32::NAN };
        let Some(narrow) = narrow(value) else {
            let column = self.signature.names().get(position).map(String::as_str).unwrap_or_default();
            self.fault(Weight::Value, || {
                let detail = format!("row {row}, column `{column}`: {value:e} is beyond float32");
                let expected = "a finite number within ±3.4e38";
                Fault::value("number-too-large", pointer(), detail, expected).at(row, Some(column))
            });
            return f32::NAN;
        };
        if let Some(codes) = self.signature.codes(position).filter(|codes| !codes.has(narrow)) {
            self.unknown_category(codes, || format!("code {value}"), row, position, pointer);
            return f32::NAN;
        }
        narrow
    }
}

/// A number as the model takes it: trained on float32, as scikit-learn trains. `None` if it is infinite there.
#[expect(clippy::cast_possible_truncation, reason = "the model is trained on float32: so does scikit-learn")]
fn narrow(value: f64) -> Option<f32> {
    let narrow = value as f32;
    narrow.is_finite().then_some(narrow)
}

/// The fault if the next value is of another kind.
pub(crate) fn not(
    scanner: &mut Scanner<'_>,
    wanted: Kind,
    pointer: &str,
    expected: &str,
) -> Result<Option<Fault>, Stop> {
    let kind = scanner.kind()?;
    Ok((kind != wanted).then(|| Fault::shape(pointer.to_owned(), expected, kind.name())))
}

pub(crate) fn too_many_rows(pointer: &str) -> Problem {
    let detail = format!("there are more rows than the {ROWS_MAX} that are answered at once");
    Problem::new("too-many-rows", StatusCode::PAYLOAD_TOO_LARGE, detail).with("pointer", pointer)
}

fn too_many_cells(pointer: &str, n_rows: usize, n_features: usize) -> Problem {
    let detail = format!(
        "{n_rows} rows of {n_features} columns or more, and fewer bytes than cells: the rows are shorter than the model's, or left \
         empty (at most {ROWS_MAX} rows are answered at once)"
    );
    Problem::new("too-many-rows", StatusCode::PAYLOAD_TOO_LARGE, detail).with("pointer", pointer)
}
