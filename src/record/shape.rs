//! The shapes of OTLP's messages: which field is called what in JSON, and how it is written.

#[cfg(feature = "file")]
use crate::record::wire;

/// A message type: the field with number `n` is `fields[n - 1]`.
pub(super) struct Shape {
    pub(super) fields: &'static [Field],
    pub(super) form: Form,
}

#[derive(PartialEq)]
pub(super) enum Form {
    Message,
    /// All fields are members of one `oneof`.
    OneOf,
}

pub(super) struct Field {
    /// The JSON name, quoted, with its colon.
    pub(super) label: &'static str,
    pub(super) kind: Kind,
    #[cfg(feature = "file")]
    pub(super) wire_type: u32,
}

/// What a field holds, and so how it is written.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    /// An id: bytes as lower-case hexadecimal digits.
    Hex,
    /// Any other bytes.
    Base64,
    Text,
    Texts,
    Bool,
    /// Also enums, which OTLP/JSON writes as numbers.
    Int32,
    Uint32,
    Fixed32,
    Int64,
    Fixed64,
    Double,
    Message(&'static Shape),
    Messages(&'static Shape),
    /// A number that no field has.
    Reserved,
}

#[cfg(feature = "file")]
impl Kind {
    const fn wire_type(self) -> u32 {
        match self {
            Self::Bool | Self::Int32 | Self::Uint32 | Self::Int64 => wire::VARINT,
            Self::Fixed32 => wire::FIXED32,
            Self::Fixed64 | Self::Double => wire::FIXED64,
            Self::Hex | Self::Base64 | Self::Text | Self::Texts => wire::LENGTH,
            Self::Message(_) | Self::Messages(_) => wire::LENGTH,
            // Not one of the wire types.
            Self::Reserved => u32::MAX,
        }
    }
}

/// Declares message types. An entry is the JSON name of a field and its [`Kind`].
macro_rules! shapes {
    ($($form:ident $shape:ident { $($name:literal: $kind:ident $((&$of:ident))?,)* })*) => {
        $(pub(super) static $shape: Shape = Shape {
            form: Form::$form,
            fields: &[$(Field {
                label: concat!('"', $name, "\":"),
                kind: Kind::$kind $((&$of))?,
                #[cfg(feature = "file")]
                wire_type: Kind::$kind $((&$of))?.wire_type(),
            }),*],
        };)*
    };
}

shapes! {
    Message TRACES {
        "resourceSpans": Messages(&RESOURCE_SPANS),
    }
    Message RESOURCE_SPANS {
        "resource": Message(&RESOURCE),
        "scopeSpans": Messages(&SCOPE_SPANS),
        "schemaUrl": Text,
    }
    Message RESOURCE {
        "attributes": Messages(&KEY_VALUE),
        "droppedAttributesCount": Uint32,
        "entityRefs": Messages(&ENTITY_REF),
    }
    Message ENTITY_REF {
        "schemaUrl": Text,
        "type": Text,
        "idKeys": Texts,
        "descriptionKeys": Texts,
    }
    Message SCOPE_SPANS {
        "scope": Message(&SCOPE),
        "spans": Messages(&SPAN),
        "schemaUrl": Text,
    }
    Message SCOPE {
        "name": Text,
        "version": Text,
        "attributes": Messages(&KEY_VALUE),
        "droppedAttributesCount": Uint32,
    }
    Message SPAN {
        "traceId": Hex,
        "spanId": Hex,
        "traceState": Text,
        "parentSpanId": Hex,
        "name": Text,
        "kind": Int32,
        "startTimeUnixNano": Fixed64,
        "endTimeUnixNano": Fixed64,
        "attributes": Messages(&KEY_VALUE),
        "droppedAttributesCount": Uint32,
        "events": Messages(&EVENT),
        "droppedEventsCount": Uint32,
        "links": Messages(&LINK),
        "droppedLinksCount": Uint32,
        "status": Message(&STATUS),
        "flags": Fixed32,
    }
    Message EVENT {
        "timeUnixNano": Fixed64,
        "name": Text,
        "attributes": Messages(&KEY_VALUE),
        "droppedAttributesCount": Uint32,
    }
    Message LINK {
        "traceId": Hex,
        "spanId": Hex,
        "traceState": Text,
        "attributes": Messages(&KEY_VALUE),
        "droppedAttributesCount": Uint32,
        "flags": Fixed32,
    }
    Message STATUS {
        "": Reserved,
        "message": Text,
        "code": Int32,
    }
    Message KEY_VALUE {
        "key": Text,
        "value": Message(&ANY_VALUE),
        "keyStrindex": Int32,
    }
    OneOf ANY_VALUE {
        "stringValue": Text,
        "boolValue": Bool,
        "intValue": Int64,
        "doubleValue": Double,
        "arrayValue": Message(&ARRAY_VALUE),
        "kvlistValue": Message(&KEY_VALUE_LIST),
        "bytesValue": Base64,
        "stringValueStrindex": Int32,
    }
    Message ARRAY_VALUE {
        "values": Messages(&ANY_VALUE),
    }
    Message KEY_VALUE_LIST {
        "values": Messages(&KEY_VALUE),
    }
}
