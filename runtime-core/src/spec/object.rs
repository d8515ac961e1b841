//! Reading and writing one JSON object as one Rust struct.
//!
//! The rules are those of the programs that write these files (Go's `encoding/json`): a key is
//! matched exactly first and otherwise without regard to ASCII case, unknown keys are ignored,
//! `null` is the same as an absent key, and of two equal keys the later wins. A value of the wrong
//! type is refused, and so is a required key that is absent.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, Visitor};

/// Reads a key and answers the canonical spelling of the field it names, if it names one.
pub(crate) struct Key(pub(crate) &'static [&'static str]);

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Option<&'static str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key {
    type Value = Option<&'static str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Self::Value, E> {
        let exact = self.0.iter().find(|name| **name == key);
        let found = exact.or_else(|| self.0.iter().find(|name| name.eq_ignore_ascii_case(key)));
        Ok(found.copied())
    }
}

/// Defines structs that are read from and written to JSON objects; each field names its key, and
/// `required` marks those that must be present, `shown` those that are written even as the default.
macro_rules! object {
    ($(
        $(#[$meta:meta])*
        $vis:vis struct $name:ident {
            $($(#[$field_meta:meta])* $field_vis:vis $field:ident : $ty:ty = $($mode:ident)? $key:literal),*
            $(,)?
        }
    )*) => {$(
        $(#[$meta])*
        $vis struct $name {
            $($(#[$field_meta])* $field_vis $field: $ty,)*
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Object;
                impl<'de> serde::de::Visitor<'de> for Object {
                    type Value = $name;

                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str("an object")
                    }

                    fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<$name, A::Error> {
                        $(let mut $field: Option<$ty> = None;)*
                        while let Some(key) = map.next_key_seed($crate::spec::object::Key(&[$($key),*]))? {
                            match key {
                                $(Some($key) => $field = map.next_value()?,)*
                                _ => { map.next_value::<serde::de::IgnoredAny>()?; }
                            }
                        }
                        Ok($name { $($field: $crate::spec::object::object!(@take $field $key $($mode)?),)* })
                    }
                }
                deserializer.deserialize_map(Object)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let mut map = serializer.serialize_map(None)?;
                $($crate::spec::object::object!(@put map self.$field; $ty; $key $($mode)?);)*
                serde::ser::SerializeMap::end(map)
            }
        }
    )*};
    (@take $field:ident $key:literal required) => {
        $field.ok_or_else(|| serde::de::Error::missing_field($key))?
    };
    (@take $field:ident $key:literal shown) => { $field.unwrap_or_default() };
    (@take $field:ident $key:literal) => { $field.unwrap_or_default() };
    (@put $map:ident $this:ident.$field:ident; $ty:ty; $key:literal shown) => {
        serde::ser::SerializeMap::serialize_entry(&mut $map, $key, &$this.$field)?
    };
    (@put $map:ident $this:ident.$field:ident; $ty:ty; $key:literal required) => {
        serde::ser::SerializeMap::serialize_entry(&mut $map, $key, &$this.$field)?
    };
    (@put $map:ident $this:ident.$field:ident; $ty:ty; $key:literal) => {
        if $this.$field != <$ty>::default() {
            serde::ser::SerializeMap::serialize_entry(&mut $map, $key, &$this.$field)?;
        }
    };
}
pub(crate) use object;

/// Defines an enum whose variants are written as fixed strings, such as `"pid"`; `what` names the
/// kind of thing in the error for an unknown one.
macro_rules! names {
    ($(
        $(#[$meta:meta])*
        $vis:vis enum $name:ident, $what:literal {
            $($(#[$variant_meta:meta])* $variant:ident = $text:literal),* $(,)?
        }
    )*) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        $vis enum $name {
            $($(#[$variant_meta])* $variant,)*
        }

        impl $name {
            /// Every one of them, in the order of their definition.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The spelling in the configuration.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// The one with this exact spelling.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($text => Some(Self::$variant),)* _ => None }
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Name;
                impl serde::de::Visitor<'_> for Name {
                    type Value = $name;

                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str(concat!("a ", $what))
                    }

                    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<$name, E> {
                        $name::from_name(name).ok_or_else(|| {
                            E::custom(format_args!(
                                "unknown {} {name:?}, expected one of {}",
                                $what,
                                [$($text),*].join(", ")
                            ))
                        })
                    }
                }
                deserializer.deserialize_str(Name)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.name())
            }
        }
    )*};
}
pub(crate) use names;
