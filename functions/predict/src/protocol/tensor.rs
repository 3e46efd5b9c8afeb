//! Tensors of the Open Inference Protocol: as JSON, or as bytes behind it.

use std::ops::RangeInclusive;

use crate::json::{Kind, Read, Scanner};
use crate::refusal::Fault;
use crate::rows::{TEXT_CHARS_SHOWN, not};

/// Numbers from here on are infinite in FP16: half a step beyond its last, 65504.
const HALF_END: f64 = 65520.0;
/// Below it float64 holds every whole number: 2^53.
const WHOLE_EXACT: f64 = 9_007_199_254_740_992.0;

/// What a tensor holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Datatype {
    Bool,
    Uint8,
    Uint16,
    Uint32,
    Uint64,
    Int8,
    Int16,
    Int32,
    Int64,
    Fp16,
    Fp32,
    Fp64,
}

impl Datatype {
    const ALL: [(&'static str, Self); 12] = [
        ("BOOL", Self::Bool),
        ("UINT8", Self::Uint8),
        ("UINT16", Self::Uint16),
        ("UINT32", Self::Uint32),
        ("UINT64", Self::Uint64),
        ("INT8", Self::Int8),
        ("INT16", Self::Int16),
        ("INT32", Self::Int32),
        ("INT64", Self::Int64),
        ("FP16", Self::Fp16),
        ("FP32", Self::Fp32),
        ("FP64", Self::Fp64),
    ];

    pub(super) fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, datatype)| *datatype)
    }

    /// All names, for people.
    fn names() -> String {
        Self::ALL.map(|(name, _)| name).join(", ")
    }

    /// Bytes of one element.
    fn width(self) -> usize {
        match self {
            Self::Bool | Self::Uint8 | Self::Int8 => 1,
            Self::Uint16 | Self::Int16 | Self::Fp16 => 2,
            Self::Uint32 | Self::Int32 | Self::Fp32 => 4,
            Self::Uint64 | Self::Int64 | Self::Fp64 => 8,
        }
    }

    fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, datatype)| *datatype == self).map_or("", |(name, _)| name)
    }

    /// The whole numbers that it holds; none for a type with fractions.
    fn whole(self) -> Option<RangeInclusive<i128>> {
        Some(match self {
            Self::Bool => 0..=1,
            Self::Uint8 => 0..=u8::MAX.into(),
            Self::Uint16 => 0..=u16::MAX.into(),
            Self::Uint32 => 0..=u32::MAX.into(),
            Self::Uint64 => 0..=u64::MAX.into(),
            Self::Int8 => i8::MIN.into()..=i8::MAX.into(),
            Self::Int16 => i16::MIN.into()..=i16::MAX.into(),
            Self::Int32 => i32::MIN.into()..=i32::MAX.into(),
            Self::Int64 => i64::MIN.into()..=i64::MAX.into(),
            Self::Fp16 | Self::Fp32 | Self::Fp64 => return None,
        })
    }

    /// Whether it holds a number, which stands in the body as `text`. What is beyond float32 is told elsewhere, with its row.
    #[expect(clippy::cast_precision_loss, reason = "the ends are powers of two, and exact one beyond the range")]
    fn holds(self, value: f64, text: &str) -> bool {
        let Some(range) = self.whole() else { return self != Self::Fp16 || value.abs() < HALF_END };
        if value.abs() < WHOLE_EXACT {
            return value.fract() == 0.0 && value >= *range.start() as f64 && value <= *range.end() as f64;
        }
        // float64 cannot tell the last number of 64 bits from the one after it.
        match text.parse::<i128>() {
            Ok(whole) => range.contains(&whole),
            Err(_) => value >= *range.start() as f64 && value < (*range.end() + 1) as f64,
        }
    }

    /// What it holds, for people.
    fn expected(self) -> String {
        let name = self.name();
        match self.whole() {
            Some(_) if self == Self::Bool => "true, false, 1 or 0".to_owned(),
            Some(range) => format!("a whole number of type {name}, {} to {}", range.start(), range.end()),
            None => format!("a number of type {name}, within ±65504"),
        }
    }

    /// One element of little-endian bytes, `width` of them.
    #[expect(clippy::cast_precision_loss, reason = "rounded as the model's float32 is in the end")]
    fn decode(self, bytes: &[u8]) -> f64 {
        fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
            bytes.try_into().unwrap_or([0; N])
        }
        match self {
            Self::Bool => f64::from(u8::from(u8::from_le_bytes(array(bytes)) != 0)),
            Self::Uint8 => f64::from(u8::from_le_bytes(array(bytes))),
            Self::Uint16 => f64::from(u16::from_le_bytes(array(bytes))),
            Self::Uint32 => f64::from(u32::from_le_bytes(array(bytes))),
            Self::Uint64 => u64::from_le_bytes(array(bytes)) as f64,
            Self::Int8 => f64::from(i8::from_le_bytes(array(bytes))),
            Self::Int16 => f64::from(i16::from_le_bytes(array(bytes))),
            Self::Int32 => f64::from(i32::from_le_bytes(array(bytes))),
            Self::Int64 => i64::from_le_bytes(array(bytes)) as f64,
            Self::Fp16 => half(u16::from_le_bytes(array(bytes))),
            Self::Fp32 => f64::from(f32::from_le_bytes(array(bytes))),
            Self::Fp64 => f64::from_le_bytes(array(bytes)),
        }
    }
}

/// What a tensor's elements are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Elements {
    /// Numbers of a type.
    Numbers(Datatype),
    /// Texts in UTF-8: `BYTES`.
    Texts,
}

impl Elements {
    const TEXTS: &'static str = "BYTES";

    pub(super) fn parse(name: &str) -> Option<Self> {
        if name == Self::TEXTS { Some(Self::Texts) } else { Datatype::parse(name).map(Self::Numbers) }
    }

    /// All names.
    pub(crate) fn all() -> impl Iterator<Item = &'static str> {
        Datatype::ALL.into_iter().map(|(name, _)| name).chain([Self::TEXTS])
    }

    /// All names, for people.
    pub(super) fn names() -> String {
        Self::all().collect::<Vec<_>>().join(", ")
    }
}

/// IEEE 754 binary16.
fn half(bits: u16) -> f64 {
    let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
    let exponent = i32::from(bits >> 10 & 0x1f);
    let fraction = f64::from(bits & 0x3ff);
    match exponent {
        0 => sign * fraction * 2_f64.powi(-24),
        31 if fraction > 0.0 => f64::NAN,
        31 => sign * f64::INFINITY,
        _ => sign * (1.0 + fraction / 1024.0) * 2_f64.powi(exponent - 15),
    }
}

/// Where a tensor's elements are.
#[derive(Debug)]
pub(super) enum Data<'a> {
    /// In the JSON text.
    Json(Scanner<'a>),
    /// Behind it: little-endian numbers, or texts each after its length in 4 bytes.
    Binary(&'a [u8]),
}

/// How a tensor's elements stand in the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// One list.
    Flat,
    /// Lists of so many elements each.
    Nested(usize),
    /// As bytes, which no pointer reaches.
    Binary,
}

impl Layout {
    /// Where an element of the tensor at `pointer` stands.
    pub(super) fn place(self, pointer: &str, at: usize) -> String {
        match self {
            Self::Flat => format!("{pointer}/data/{at}"),
            Self::Nested(width) => format!("{pointer}/data/{}/{}", at / width.max(1), at % width.max(1)),
            Self::Binary => pointer.to_owned(),
        }
    }
}

/// An input.
#[derive(Debug)]
pub(super) struct Tensor<'a> {
    pub(super) name: String,
    pub(super) shape: Vec<usize>,
    pub(super) elements: Elements,
    pub(super) data: Data<'a>,
    /// Where it stands in the body.
    pub(super) pointer: String,
}

impl Tensor<'_> {
    /// Number of elements; the caller has made sure that it is no more than fits.
    pub(super) fn count(&self) -> Option<usize> {
        self.shape.iter().try_fold(1_usize, |count, size| count.checked_mul(*size))
    }

    /// The numbers in order, `None` for a missing one, and how they stand in the body. There are `count` of them.
    pub(super) fn numbers(mut self, count: usize) -> Read<(Vec<Option<f64>>, Layout)> {
        let Elements::Numbers(datatype) = self.elements else {
            let place = format!("{}/datatype", self.pointer);
            return Err(Fault::shape(place, format!("one of {}", Datatype::names()), "`BYTES`").into());
        };
        let width = self.row_width();
        match &mut self.data {
            Data::Binary(bytes) => {
                let width = datatype.width();
                if Some(bytes.len()) != count.checked_mul(width) {
                    let expected = count.saturating_mul(width);
                    let (place, shape) = (&self.pointer, &self.shape);
                    let detail = format!("`{place}` has {} bytes, its shape {shape:?} takes {expected}", bytes.len());
                    return Err(Fault::value("wrong-tensor", place.clone(), detail, format!("{expected} bytes")).into());
                }
                let numbers = bytes.chunks_exact(width).map(|element| Some(datatype.decode(element))).collect();
                Ok((numbers, Layout::Binary))
            }
            Data::Json(scanner) => {
                let place = format!("{}/data", self.pointer);
                let mut read = |scanner: &mut Scanner<'_>, place: &dyn Fn() -> String| number(scanner, datatype, place);
                let elements = elements(scanner, &place, (count, width), &mut read)?;
                self.complete(elements, count)
            }
        }
    }

    /// The texts in order, `None` for a missing one, and how they stand in the body. There are `count` of them.
    pub(super) fn texts(mut self, count: usize) -> Read<(Vec<Option<String>>, Layout)> {
        let width = self.row_width();
        match &mut self.data {
            Data::Binary(bytes) => {
                let texts = texts(bytes).filter(|texts| texts.len() == count);
                let texts = texts.ok_or_else(|| {
                    let detail = format!("the {} bytes of `{}` are not {count} texts", bytes.len(), self.pointer);
                    let expected = "each text's length in 4 bytes, little-endian, and its bytes in UTF-8";
                    Fault::value("wrong-tensor", self.pointer.clone(), detail, expected)
                })?;
                Ok((texts.into_iter().map(Some).collect(), Layout::Binary))
            }
            Data::Json(scanner) => {
                let place = format!("{}/data", self.pointer);
                let elements = elements(scanner, &place, (count, width), &mut text)?;
                self.complete(elements, count)
            }
        }
    }

    /// Elements of one row: nested data have a list of so many for each.
    fn row_width(&self) -> usize {
        self.shape.get(1).copied().unwrap_or(1)
    }

    fn complete<T>(&self, read: (Vec<T>, Layout), count: usize) -> Read<(Vec<T>, Layout)> {
        let got = read.0.len();
        if got == count {
            return Ok(read);
        }
        let detail = format!("`{}` has {got} elements, its shape {:?} has {count}", self.pointer, self.shape);
        Err(Fault::value("wrong-tensor", self.pointer.clone(), detail, format!("{count} elements")).into())
    }
}

/// Texts, each after its length in 4 bytes; `None` if the bytes are others.
fn texts(mut bytes: &[u8]) -> Option<Vec<String>> {
    let mut texts = Vec::new();
    while let Some((length, behind)) = bytes.split_first_chunk::<4>() {
        let (text, rest) = behind.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
        texts.push(std::str::from_utf8(text).ok()?.to_owned());
        bytes = rest;
    }
    bytes.is_empty().then_some(texts)
}

/// Reads one element.
type ReadElement<'r, T> = dyn FnMut(&mut Scanner<'_>, &dyn Fn() -> String) -> Read<T> + 'r;

/// A number of a type, or null.
fn number(scanner: &mut Scanner<'_>, datatype: Datatype, place: &dyn Fn() -> String) -> Read<Option<f64>> {
    let kind = scanner.kind()?;
    let start = scanner.position();
    let value = match kind {
        Kind::Number => scanner.number()?,
        Kind::Null => return scanner.null().map(|()| None),
        Kind::Boolean if datatype == Datatype::Bool => {
            return scanner.boolean().map(|value| Some(f64::from(u8::from(value))));
        }
        other => return Err(Fault::shape(place(), "a number or null", other.name()).into()),
    };
    let text = scanner.since(start);
    if !datatype.holds(value, text) {
        let shown: String = text.chars().take(TEXT_CHARS_SHOWN).collect();
        return Err(Fault::shape(place(), datatype.expected(), &shown).into());
    }
    Ok(Some(value))
}

/// A text, or null.
fn text(scanner: &mut Scanner<'_>, place: &dyn Fn() -> String) -> Read<Option<String>> {
    match scanner.kind()? {
        Kind::String => scanner.string().map(|text| Some(text.into_owned())),
        Kind::Null => scanner.null().map(|()| None),
        other => Err(Fault::shape(place(), "a text or null", other.name()).into()),
    }
}

/// The elements of one list, or of a list of lists of `width` elements each, in order. Stops to keep what is more than
/// `count`.
fn elements<T>(
    scanner: &mut Scanner<'_>,
    pointer: &str,
    (count, width): (usize, usize),
    read: &mut ReadElement<'_, T>,
) -> Read<(Vec<T>, Layout)> {
    let mut elements = Vec::with_capacity(count.min(1 << 20));
    let mut layout = None;
    scanner.array(|scanner, at| {
        let place = || format!("{pointer}/{at}");
        let nested = *layout.get_or_insert(scanner.kind()? == Kind::Array);
        if !nested {
            return element(scanner, &place, pointer, count, &mut elements, read);
        }
        if let Some(fault) = not(scanner, Kind::Array, &place(), "a list like the first")? {
            return Err(fault.into());
        }
        let got = scanner.array(|scanner, inner| {
            element(scanner, &|| format!("{pointer}/{at}/{inner}"), pointer, count, &mut elements, read)
        })?;
        if got == width {
            return Ok(());
        }
        let detail = format!("`{}` has {got} elements, the shape says {width}", place());
        Err(Fault::value("wrong-tensor", place(), detail, format!("{width} elements")).into())
    })?;
    Ok((elements, if layout == Some(true) { Layout::Nested(width) } else { Layout::Flat }))
}

fn element<T>(
    scanner: &mut Scanner<'_>,
    place: &dyn Fn() -> String,
    pointer: &str,
    count: usize,
    elements: &mut Vec<T>,
    read: &mut ReadElement<'_, T>,
) -> Read<()> {
    elements.push(read(scanner, place)?);
    if elements.len() > count {
        let detail = format!("`{pointer}` has more elements than the {count} of its shape");
        return Err(Fault::value("wrong-tensor", pointer.to_owned(), detail, format!("{count} elements")).into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_read_as_ieee_754_has_them() {
        for (bits, value) in
            [(0x3c00, 1.0), (0xc000, -2.0), (0x7bff, 65504.0), (0x0001, 2_f64.powi(-24)), (0x3555, 0.333_251_953_125)]
        {
            assert!((half(bits) - value).abs() < 1e-12, "{bits:#x}");
        }
        assert!(half(0x7c00).is_infinite() && half(0x7e00).is_nan());
    }

    #[test]
    fn a_type_holds_its_last_number_and_not_the_next() {
        for (datatype, last, next) in [
            (Datatype::Uint8, "255", "256"),
            (Datatype::Uint8, "0", "-1"),
            (Datatype::Int8, "-128", "-129"),
            (Datatype::Int16, "3.2767e4", "32768"),
            (Datatype::Uint32, "4294967295.0", "4294967296"),
            (Datatype::Int64, "9223372036854775807", "9223372036854775808"),
            (Datatype::Int64, "-9223372036854775808", "-9223372036854775809"),
            (Datatype::Int64, "9.223372036854774e18", "9.223372036854775808e18"),
            (Datatype::Uint64, "18446744073709551615", "18446744073709551616"),
            (Datatype::Uint64, "1.8e19", "1.9e19"),
            (Datatype::Uint64, "1", "1.5"),
            (Datatype::Fp16, "65504", "65520"),
            (Datatype::Fp16, "-65519.9", "1e10"),
            (Datatype::Fp16, "0.1", "-1e300"),
        ] {
            let holds = |text: &str| datatype.holds(text.parse().unwrap(), text);
            assert!(holds(last), "{datatype:?} {last}");
            assert!(!holds(next), "{datatype:?} {next}");
        }
        assert!(Datatype::Fp64.holds(1e300, "1e300"));
    }

    #[test]
    fn texts_follow_their_lengths() {
        let bytes = |texts: &[&str]| -> Vec<u8> {
            let lengths = texts.iter().map(|text| u32::try_from(text.len()).unwrap().to_le_bytes());
            lengths.zip(texts).flat_map(|(length, text)| [&length[..], text.as_bytes()].concat()).collect()
        };
        assert_eq!(
            texts(&bytes(&["north", "", "süd"])),
            Some(vec!["north".to_owned(), String::new(), "süd".to_owned()])
        );
        assert_eq!(texts(&[]), Some(Vec::new()));
        let whole = bytes(&["north"]);
        for end in 1..whole.len() {
            assert_eq!(texts(&whole[..end]), None, "cut at {end}");
        }
        assert_eq!(texts(&[1, 0, 0, 0, 0xff]), None, "no UTF-8");
    }

    #[test]
    fn every_type_is_decoded_at_its_width() {
        for (name, datatype) in Datatype::ALL {
            assert_eq!(Datatype::parse(name), Some(datatype));
            let mut bytes = vec![0; datatype.width()];
            assert!(datatype.decode(&bytes).abs() < f64::MIN_POSITIVE, "{name}");
            bytes[0] = 1;
            assert!(datatype.decode(&bytes) > 0.0, "{name}");
        }
        assert!((Datatype::Int16.decode(&[0xfe, 0xff]) + 2.0).abs() < f64::EPSILON);
        assert_eq!(Elements::parse("BYTES"), Some(Elements::Texts));
        assert_eq!((Datatype::parse("BYTES"), Elements::parse("TEXT")), (None, None));
    }
}
