use std::fmt;
use std::marker::PhantomData;

#[cfg(feature = "yaml")]
use serde::de::IntoDeserializer;
#[cfg(feature = "yaml")]
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::error::{Position, quote};

/// A value of the document and its place.
///
/// The section is read into this tree first, because a deserializer stops at the first value of
/// a wrong type, and an operator wants to see all of them.
#[derive(Debug)]
pub(super) struct Node {
    /// Where the value is written; for an alias or a merged key, where its anchor is, because
    /// that is the text to correct. `None` when the format does not tell.
    pub(super) position: Option<Position>,
    pub(super) value: Value,
}

impl Node {
    pub(super) fn as_text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Says what should stand here instead.
    pub(super) fn must_be(&self, expected: &str) -> String {
        format!("must be {expected}, not {}", self.value.describe())
    }
}

/// What self-describing formats have in common.
#[derive(Debug)]
pub(super) enum Value {
    Null,
    Bool(bool),
    /// Holds every `i64` and every `u64`.
    Int(i128),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    /// In the order of the document; not every format refuses a repeated key.
    Mapping(Vec<(Node, Node)>),
}

impl Value {
    /// What stands here, to go after "not": the value itself if it is a scalar.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Null => "nothing".to_owned(),
            Self::Bool(value) => value.to_string(),
            Self::Int(value) => value.to_string(),
            // With `.0`: 10000 would not say what is wrong with 1e4.
            Self::Float(value) => format!("{value:?}"),
            Self::Text(text) => quote(text),
            Self::List(_) => "a list".to_owned(),
            Self::Mapping(_) => "a mapping".to_owned(),
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    /// Reads as deep as a section can go: keys, lists, mappings such as key pairs and rules, what is
    /// in them. What is deeper is wrong anyway, and a tree of any depth could overflow the stack.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        type Section = Tree<Tree<Tree<Tree<IgnoredAny>>>>;
        Section::deserialize(deserializer).map(|tree| tree.node)
    }
}

/// Reads a [`Node`], and its children as `C`.
struct Tree<C> {
    node: Node,
    children: PhantomData<C>,
}

trait Child<'de>: Deserialize<'de> {
    fn into_node(self) -> Option<Node>;
}

impl<'de, C: Child<'de>> Child<'de> for Tree<C> {
    fn into_node(self) -> Option<Node> {
        Some(self.node)
    }
}

impl<'de> Child<'de> for IgnoredAny {
    fn into_node(self) -> Option<Node> {
        None
    }
}

impl<'de, C: Child<'de>> Deserialize<'de> for Tree<C> {
    #[cfg(feature = "yaml")]
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde_saphyr::{Location, Spanned};

        let spanned: Spanned<Contents<C>> = Spanned::deserialize(NewtypeAware(deserializer))?;
        let place = spanned.defined;
        let position = (place != Location::UNKNOWN)
            .then(|| Position { line: place.line(), column: place.column() });
        Ok(spanned.value.at(position))
    }

    #[cfg(not(feature = "yaml"))]
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Contents::deserialize(deserializer).map(|contents| contents.at(None))
    }
}

/// A [`Tree`] without its place.
struct Contents<C> {
    value: Value,
    children: PhantomData<C>,
}

impl<C> Contents<C> {
    fn at(self, position: Option<Position>) -> Tree<C> {
        let Self { value, children } = self;
        Tree { node: Node { position, value }, children }
    }
}

impl<'de, C: Child<'de>> Deserialize<'de> for Contents<C> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let children = PhantomData;
        let value = deserializer.deserialize_any(ValueVisitor { children })?;
        Ok(Self { value, children })
    }
}

struct ValueVisitor<C> {
    children: PhantomData<C>,
}

impl<'de, C: Child<'de>> Visitor<'de> for ValueVisitor<C> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<Value, D::Error> {
        inner.deserialize_any(self)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<Value, D::Error> {
        inner.deserialize_any(self)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Int(value.into()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Int(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element::<C>()? {
            list.extend(item.into_node());
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut mapping = Vec::new();
        while let Some((key, value)) = entries.next_entry::<Tree<IgnoredAny>, C>()? {
            mapping.extend(value.into_node().map(|value| (key.node, value)));
        }
        Ok(Value::Mapping(mapping))
    }
}

/// Presents every value as a newtype struct.
///
/// `Spanned` asks for one and understands no other answer, while deserializers such as those of
/// `serde::de::value` answer with the plain value.
#[cfg(feature = "yaml")]
struct NewtypeAware<T>(T);

#[cfg(feature = "yaml")]
impl<'de, D: Deserializer<'de>> Deserializer<'de> for NewtypeAware<D> {
    type Error = D::Error;

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_newtype_struct(name, NewtypeAware(visitor))
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_any(visitor)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

#[cfg(feature = "yaml")]
impl<'de, V: Visitor<'de>> Visitor<'de> for NewtypeAware<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        self.0.visit_newtype_struct(inner)
    }

    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        self.0.visit_newtype_struct(inner)
    }

    fn visit_none<E: Error>(self) -> Result<V::Value, E> {
        self.visit_unit()
    }

    fn visit_unit<E: Error>(self) -> Result<V::Value, E> {
        self.0.visit_newtype_struct(().into_deserializer())
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<V::Value, E> {
        self.0.visit_newtype_struct(value.into_deserializer())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<V::Value, E> {
        self.0.visit_newtype_struct(value.into_deserializer())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<V::Value, E> {
        self.0.visit_newtype_struct(value.into_deserializer())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<V::Value, E> {
        self.0.visit_newtype_struct(value.into_deserializer())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<V::Value, E> {
        self.0.visit_newtype_struct(value.into_deserializer())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<V::Value, A::Error> {
        self.0.visit_newtype_struct(SeqAccessDeserializer::new(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<V::Value, A::Error> {
        self.0.visit_newtype_struct(MapAccessDeserializer::new(entries))
    }
}
