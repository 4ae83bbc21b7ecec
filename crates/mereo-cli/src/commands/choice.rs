//! Parameters of the library as flags: fields travel through serde, and so do the words of an enum and its default, so that they can't drift apart.

use crate::failure::{Failure, Result};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use serde::de::value::StrDeserializer;
use serde::de::{DeserializeOwned, Error as _, IntoDeserializer, Visitor};
use serde::{Deserializer, Serialize, forward_to_deserialize_any};
use serde_json::Value;
use std::fmt;

/// Parameters from flags of the same names.
pub fn typed<M: DeserializeOwned>(flags: &impl Serialize) -> Result<M> {
    let typed = serde_json::to_value(flags).and_then(serde_json::from_value);
    typed.map_err(|e| Failure::usage(e.to_string()))
}

/// Fields and defaults of the flags of a command are those of the library, and every one has its name and is documented; so have `files`.
#[cfg(test)]
pub fn agree(name: &str, command: &clap::Command, typed: &Value, ours: &Value, files: &[&str]) {
    assert_eq!(typed, ours, "{name}: a default differs");
    let fields = ours.as_object().expect("a struct").keys().map(String::as_str);
    for field in fields.chain(files.iter().copied()) {
        let flag = command.get_arguments().find(|a| a.get_id() == field);
        let flag = flag.unwrap_or_else(|| panic!("{name}: the parameter `{field}` has no flag"));
        assert_eq!(flag.get_long().expect("long"), field.replace('_', "-"), "{name}: {field}");
        assert!(flag.get_help().is_some(), "{name}: {field} is not documented");
    }
}

/// One variant of an enum.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(transparent)]
pub struct Choice<E>(pub E);

impl<E: Serialize> fmt::Display for Choice<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match serde_json::to_value(&self.0) {
            Ok(Value::String(word)) => f.write_str(&word),
            _ => Err(fmt::Error),
        }
    }
}

/// Takes the words of an enum, and nothing else.
pub fn words<E: DeserializeOwned + Clone + Send + Sync + 'static>() -> impl TypedValueParser<Value = Choice<E>> {
    PossibleValuesParser::new(variants::<E>()).try_map(|word| {
        let word: StrDeserializer<serde::de::value::Error> = word.as_str().into_deserializer();
        E::deserialize(word).map(Choice)
    })
}

/// The names of an enum's variants, as serde writes them.
fn variants<E: DeserializeOwned>() -> &'static [&'static str] {
    let mut found: &[&str] = &[];
    // It always fails: all that is wanted is what the enum asks for.
    let _ = E::deserialize(Ask(&mut found));
    found
}

/// A deserializer that only hears which variants it is asked for.
struct Ask<'a>(&'a mut &'static [&'static str]);

impl<'de> Deserializer<'de> for Ask<'_> {
    type Error = serde::de::value::Error;

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        _: V,
    ) -> std::result::Result<V::Value, Self::Error> {
        *self.0 = variants;
        Err(Self::Error::custom("asked"))
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> std::result::Result<V::Value, Self::Error> {
        Err(Self::Error::custom("no enum"))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit unit_struct newtype_struct seq tuple
        tuple_struct map struct identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mereo::{PcaSolver, VqMetric};

    #[test]
    fn the_words_are_those_of_serde() {
        assert_eq!(variants::<PcaSolver>(), ["auto", "covariance", "randomized"]);
        assert_eq!(Choice(VqMetric::Spherical).to_string(), "spherical");
    }
}
