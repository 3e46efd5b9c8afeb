//! Numbers as protobuf's JSON writes them: as numbers, or as texts.

use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serializer};

struct NumberOrText;

impl Visitor<'_> for NumberOrText {
    type Value = Number;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("a number, or a number in a text")
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Number, E> {
        Ok(Number::Int(value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Number, E> {
        i64::try_from(value).map(Number::Int).map_err(E::custom)
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Number, E> {
        Ok(Number::Float(value))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Number, E> {
        match value.parse::<i64>() {
            Ok(int) => Ok(Number::Int(int)),
            Err(_) => value.parse::<f64>().map(Number::Float).map_err(E::custom),
        }
    }
}

enum Number {
    Int(i64),
    Float(f64),
}

impl Number {
    fn into_i64<E: de::Error>(self) -> Result<i64, E> {
        match self {
            Self::Int(value) => Ok(value),
            Self::Float(value) => Err(E::custom(format!("{value} is not a whole number"))),
        }
    }
}

pub(crate) fn number_or_text_i64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    deserializer.deserialize_any(NumberOrText)?.into_i64()
}

pub(crate) fn optional_number_or_text_i64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    #[derive(Deserialize)]
    struct Whole(#[serde(deserialize_with = "number_or_text_i64")] i64);
    Ok(Option::<Whole>::deserialize(deserializer)?.map(|whole| whole.0))
}

pub(crate) fn number_or_text_u64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let value = number_or_text_i64(deserializer)?;
    u64::try_from(value).map_err(de::Error::custom)
}

pub(crate) fn number_or_text_f64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    match deserializer.deserialize_any(NumberOrText)? {
        #[expect(clippy::cast_precision_loss, reason = "a metric without a fraction, as JSON writers print it")]
        Number::Int(value) => Ok(value as f64),
        Number::Float(value) => Ok(value),
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
pub(crate) fn text_unless_finite<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    if value.is_finite() {
        serializer.serialize_f64(*value)
    } else if value.is_nan() {
        serializer.serialize_str("NaN")
    } else {
        serializer.serialize_str(if *value > 0.0 { "Infinity" } else { "-Infinity" })
    }
}
