//! Tensors of the Open Inference Protocol: as JSON, or as bytes behind it.

use crate::json::{Kind, Read, Scanner};
use crate::refusal::Fault;

/// Most dimensions that a tensor may have here: rows and columns.
const DIMENSIONS_MAX: usize = 2;

/// What a tensor holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Datatype {
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
    const ALL: [(&'static str, Self); 11] = [
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
    pub(super) fn names() -> String {
        Self::ALL.map(|(name, _)| name).join(", ")
    }

    /// Bytes of one element.
    fn width(self) -> usize {
        match self {
            Self::Uint8 | Self::Int8 => 1,
            Self::Uint16 | Self::Int16 | Self::Fp16 => 2,
            Self::Uint32 | Self::Int32 | Self::Fp32 => 4,
            Self::Uint64 | Self::Int64 | Self::Fp64 => 8,
        }
    }

    /// The range of whole numbers that it holds; none for fractions.
    #[expect(clippy::cast_precision_loss, reason = "the next float64 beyond the range is refused too")]
    fn range(self) -> Option<(f64, f64)> {
        Some(match self {
            Self::Uint8 => (0.0, f64::from(u8::MAX)),
            Self::Uint16 => (0.0, f64::from(u16::MAX)),
            Self::Uint32 => (0.0, f64::from(u32::MAX)),
            Self::Uint64 => (0.0, u64::MAX as f64),
            Self::Int8 => (f64::from(i8::MIN), f64::from(i8::MAX)),
            Self::Int16 => (f64::from(i16::MIN), f64::from(i16::MAX)),
            Self::Int32 => (f64::from(i32::MIN), f64::from(i32::MAX)),
            Self::Int64 => (i64::MIN as f64, i64::MAX as f64),
            Self::Fp16 | Self::Fp32 | Self::Fp64 => return None,
        })
    }

    /// One element of little-endian bytes, `width` of them.
    #[expect(clippy::cast_precision_loss, reason = "rounded as the model's float32 is in the end")]
    fn decode(self, bytes: &[u8]) -> f64 {
        fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
            bytes.try_into().unwrap_or([0; N])
        }
        match self {
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
    /// Little-endian, behind it.
    Binary(&'a [u8]),
}

/// An input.
#[derive(Debug)]
pub(super) struct Tensor<'a> {
    pub(super) name: String,
    pub(super) shape: Vec<usize>,
    pub(super) datatype: Datatype,
    pub(super) data: Data<'a>,
    /// Where it stands in the body.
    pub(super) pointer: String,
}

impl Tensor<'_> {
    /// Number of elements; the caller has made sure that it is no more than fits.
    pub(super) fn count(&self) -> Option<usize> {
        self.shape.iter().try_fold(1_usize, |count, size| count.checked_mul(*size))
    }

    /// The elements in order, `None` for a missing one. There are `count` of them.
    pub(super) fn elements(mut self, count: usize) -> Read<Vec<Option<f64>>> {
        let wrong = |got: usize| {
            let detail = format!("`{}` has {got} elements, its shape {:?} has {count}", self.pointer, self.shape);
            Fault::value("wrong-tensor", self.pointer.clone(), detail, format!("{count} elements"))
        };
        match &mut self.data {
            Data::Binary(bytes) => {
                let width = self.datatype.width();
                if Some(bytes.len()) != count.checked_mul(width) {
                    let expected = count.saturating_mul(width);
                    let (place, shape) = (&self.pointer, &self.shape);
                    let detail = format!("`{place}` has {} bytes, its shape {shape:?} takes {expected}", bytes.len());
                    return Err(Fault::value("wrong-tensor", place.clone(), detail, format!("{expected} bytes")).into());
                }
                Ok(bytes.chunks_exact(width).map(|element| Some(self.datatype.decode(element))).collect())
            }
            Data::Json(scanner) => {
                let mut elements = Vec::with_capacity(count.min(1 << 20));
                let place = format!("{}/data", self.pointer);
                flatten(scanner, self.datatype, &place, count, DIMENSIONS_MAX, &mut elements)?;
                if elements.len() == count { Ok(elements) } else { Err(wrong(elements.len()).into()) }
            }
        }
    }
}

/// Nested or flat lists of numbers, in order. Stops to keep what is more than `count`.
fn flatten(
    scanner: &mut Scanner<'_>,
    datatype: Datatype,
    pointer: &str,
    count: usize,
    depth: usize,
    elements: &mut Vec<Option<f64>>,
) -> Read<()> {
    scanner
        .array(|scanner, at| {
            let place = || format!("{pointer}/{at}");
            let element = match scanner.kind()? {
                Kind::Number => Some(scanner.number()?),
                Kind::Null => {
                    scanner.null()?;
                    None
                }
                Kind::Array if depth > 1 => {
                    return flatten(scanner, datatype, &place(), count, depth - 1, elements);
                }
                other => return Err(Fault::shape(place(), "a number or null", other.name()).into()),
            };
            if let (Some(value), Some((low, high))) = (element, datatype.range())
                && (value.fract() != 0.0 || value < low || value > high)
            {
                let expected = format!("a whole number of type {datatype:?}");
                return Err(Fault::shape(place(), expected, &value.to_string()).into());
            }
            elements.push(element);
            if elements.len() > count {
                let detail = format!("`{pointer}` has more elements than the {count} of its shape");
                return Err(
                    Fault::value("wrong-tensor", pointer.to_owned(), detail, format!("{count} elements")).into()
                );
            }
            Ok(())
        })
        .map(drop)
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
    fn every_type_is_decoded_at_its_width() {
        for (name, datatype) in Datatype::ALL {
            assert_eq!(Datatype::parse(name), Some(datatype));
            let mut bytes = vec![0; datatype.width()];
            assert!(datatype.decode(&bytes).abs() < f64::MIN_POSITIVE, "{name}");
            bytes[0] = 1;
            assert!(datatype.decode(&bytes) > 0.0, "{name}");
        }
        assert!((Datatype::Int16.decode(&[0xfe, 0xff]) + 2.0).abs() < f64::EPSILON);
        assert_eq!(Datatype::parse("BYTES"), None);
    }
}
