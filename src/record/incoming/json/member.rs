//! One value of the JSON, as a field.

use std::fmt;
use std::num::TryFromIntError;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::object::{frame, read_object};
use super::text::{base64, hex};
use crate::record::shape::Kind;
use crate::record::wire::{put_bytes, put_fixed32, put_fixed64, put_uint};

/// Reads one value and writes it as field `number`; of an object, its members alone. Gives `false`
/// for `null`, which writes nothing.
pub(super) struct Member<'a> {
    pub(super) kind: Kind,
    pub(super) name: &'static str,
    pub(super) number: u32,
    /// Whether a default value is written too: it counts as an element, and says which member of
    /// a oneof is set.
    pub(super) writes_default: bool,
    pub(super) otlp: &'a mut Vec<u8>,
}

impl Member<'_> {
    fn put_integer<E: Error>(self, value: i128) -> Result<bool, E> {
        let Self { kind, name, number, .. } = self;
        let out_of_range = |_: TryFromIntError| takes(kind, name);
        if value == 0 && !self.writes_default && kind_is_number(kind) {
            return Ok(true);
        }
        match kind {
            // A negative one has ten bytes in protobuf, also where its type has 32 bits.
            Kind::Int32 => {
                let value = i32::try_from(value).map_err(out_of_range)?;
                put_uint(self.otlp, number, i64::from(value) as u64);
            }
            Kind::Int64 => {
                let value = i64::try_from(value).map_err(out_of_range)?;
                put_uint(self.otlp, number, value as u64);
            }
            Kind::Uint32 => {
                let value = u32::try_from(value).map_err(out_of_range)?;
                put_uint(self.otlp, number, u64::from(value));
            }
            Kind::Fixed32 => {
                let value = u32::try_from(value).map_err(out_of_range)?;
                put_fixed32(self.otlp, number, value);
            }
            Kind::Fixed64 => {
                let value = u64::try_from(value).map_err(out_of_range)?;
                put_fixed64(self.otlp, number, value);
            }
            Kind::Double => put_fixed64(self.otlp, number, (value as f64).to_bits()),
            _ => return Err(takes(kind, name)),
        }
        Ok(true)
    }

    fn put_double<E: Error>(self, value: f64) -> Result<bool, E> {
        if let Kind::Double = self.kind {
            // All doubles are members of a oneof.
            put_fixed64(self.otlp, self.number, value.to_bits());
            return Ok(true);
        }
        // From there on a double may have been rounded, and a time would be another one.
        if value.fract() == 0.0 && value.abs() < ROUNDED {
            return self.put_integer(value as i128);
        }
        Err(takes(self.kind, self.name))
    }

    /// A number in quotes.
    fn put_quoted<E: Error>(self, text: &str) -> Result<bool, E> {
        if let Kind::Double = self.kind {
            match text {
                "NaN" => return self.put_double(f64::NAN),
                "Infinity" => return self.put_double(f64::INFINITY),
                "-Infinity" => return self.put_double(f64::NEG_INFINITY),
                _ => {}
            }
        }
        let wrong = takes(self.kind, self.name);
        // JSON would let spaces stand around it.
        if !text.starts_with(['-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9'])
            || !text.ends_with(|last: char| last.is_ascii_digit())
        {
            return Err(wrong);
        }
        match serde_json::from_str::<serde_json::Number>(text) {
            Ok(number) => match (number.as_i128(), number.as_f64()) {
                (Some(value), _) => self.put_integer(value),
                (None, Some(value)) => self.put_double(value),
                (None, None) => Err(wrong),
            },
            Err(_) => Err(wrong),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Member<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<bool, D::Error> {
        json.deserialize_any(self)
    }
}

/// Every kind of value is taken or refused here, because serde's own words for a wrong one repeat
/// it.
impl<'de> Visitor<'de> for Member<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(expected(self.kind))
    }

    fn visit_unit<E: Error>(self) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<bool, E> {
        match self.kind {
            Kind::Bool => {
                // All bools are members of a oneof.
                put_uint(self.otlp, self.number, u64::from(value));
                Ok(true)
            }
            _ => Err(takes(self.kind, self.name)),
        }
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<bool, E> {
        self.put_integer(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<bool, E> {
        self.put_integer(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<bool, E> {
        self.put_double(value)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<bool, E> {
        let Self { kind, name, number, writes_default, .. } = self;
        if kind_is_number(kind) {
            return self.put_quoted(text);
        }
        let is_left_out = text.is_empty() && !writes_default;
        match kind {
            Kind::Text | Kind::Hex | Kind::Base64 if is_left_out => {}
            Kind::Text => put_bytes(self.otlp, number, text.as_bytes()),
            Kind::Hex => hex(text, number, self.otlp).ok_or_else(|| takes(kind, name))?,
            Kind::Base64 => base64(text, number, self.otlp).ok_or_else(|| takes(kind, name))?,
            _ => return Err(takes(kind, name)),
        }
        Ok(true)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<bool, A::Error> {
        let Self { kind, name, number, otlp, .. } = self;
        let kind = match kind {
            Kind::Messages(shape) => Kind::Message(shape),
            Kind::Texts => Kind::Text,
            _ => return Err(takes(kind, name)),
        };
        loop {
            let found = frame(kind, number, otlp, |otlp| {
                array.next_element_seed(Member { kind, name, number, writes_default: true, otlp })
            })?;
            match found {
                Some(true) => {}
                Some(false) => return Err(A::Error::custom(format_args!("a null in {name}"))),
                None => return Ok(true),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<bool, A::Error> {
        match self.kind {
            Kind::Message(shape) => read_object(shape, object, self.otlp).map(|()| true),
            // Such is a number once any crate in the program has serde_json keep all its digits.
            kind if kind_is_number(kind) => {
                let wrong = |_| takes(kind, self.name);
                match object.next_entry::<String, String>().map_err(wrong)? {
                    Some((key, digits)) if key == "$serde_json::private::Number" => {
                        self.put_quoted(&digits)
                    }
                    _ => Err(takes(kind, self.name)),
                }
            }
            kind => Err(takes(kind, self.name)),
        }
    }
}

fn kind_is_number(kind: Kind) -> bool {
    use Kind::{Double, Fixed32, Fixed64, Int32, Int64, Uint32};
    matches!(kind, Int32 | Uint32 | Fixed32 | Int64 | Fixed64 | Double)
}

fn takes<E: Error>(kind: Kind, name: &str) -> E {
    E::custom(format_args!("{name} takes {}", expected(kind)))
}

fn expected(kind: Kind) -> &'static str {
    match kind {
        Kind::Hex => "hexadecimal digits, two for each byte",
        Kind::Base64 => "base64",
        Kind::Text => "a string",
        Kind::Bool => "true or false",
        Kind::Int32 => "a 32-bit integer, also for an enum",
        Kind::Uint32 | Kind::Fixed32 => "a 32-bit integer that is not negative",
        Kind::Int64 => "a 64-bit integer",
        Kind::Fixed64 => "a 64-bit integer that is not negative",
        Kind::Double => "a number",
        Kind::Message(_) => "an object",
        Kind::Messages(_) | Kind::Texts => "an array",
        Kind::Reserved => "nothing",
    }
}

/// The first double that also stands for an integer next to it.
const ROUNDED: f64 = (1_u64 << f64::MANTISSA_DIGITS) as f64;
