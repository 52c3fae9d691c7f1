//! One JSON object's fields, taken out by name. What is left over can be kept as it came.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::{InvalidId, Unreadable};

/// Fields by name, each as the text it came as.
pub(crate) struct Fields<'a>(BTreeMap<Cow<'a, str>, &'a RawValue>);

/// A key seen twice is refused, known or not: two readers of such an object see two objects.
const TWICE: &str = "a key stands twice: ";

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Collect;

        impl<'de> Visitor<'de> for Collect {
            type Value = BTreeMap<Cow<'de, str>, &'de RawValue>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = BTreeMap::new();
                while let Some((Key(key), value)) = map.next_entry::<Key<'de>, &RawValue>()? {
                    if fields.contains_key(&key) {
                        return Err(A::Error::custom(format_args!("{TWICE}{key}")));
                    }
                    fields.insert(key, value);
                }
                Ok(fields)
            }
        }

        from.deserialize_map(Collect).map(Self)
    }
}

#[derive(serde::Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'a> Fields<'a> {
    /// Reads one object.
    pub(crate) fn parse(text: &'a str) -> Result<Self, Unreadable> {
        serde_json::from_str(text).map_err(|error| {
            let message = error.to_string();
            match message.strip_prefix(TWICE) {
                Some(rest) => Unreadable::DuplicateKey(shown(rest.split(" at line ").next().unwrap_or(rest))),
                // serde quotes the value that is no object: a whole body, in log lines and headers.
                None if error.is_data() => Unreadable::Json(serde_json::Error::custom("not an object")),
                None => Unreadable::Json(error),
            }
        })
    }

    /// Takes a field out. A JSON null is there; an absent field is not.
    pub(crate) fn take(&mut self, name: &str) -> Option<&'a RawValue> {
        self.0.remove(name)
    }

    /// Looks at a field and leaves it.
    pub(crate) fn peek(&self, name: &str) -> Option<&'a RawValue> {
        self.0.get(name).copied()
    }

    /// Takes a text out; absent, null and empty are all "not there".
    pub(crate) fn text(&mut self, name: &'static str) -> Result<Option<String>, Unreadable> {
        text(self.take(name), name)
    }

    /// The first of two names that holds a text; both are taken out.
    pub(crate) fn text_of(
        &mut self,
        first: &'static str,
        second: &'static str,
    ) -> Result<Option<String>, Unreadable> {
        let fallback = self.take(second);
        match self.text(first)? {
            Some(found) => Ok(Some(found)),
            None => text(fallback, second),
        }
    }

    /// Takes an identifier out, if it is there.
    pub(crate) fn id<T>(
        &mut self,
        name: &'static str,
        parse: impl Fn(String) -> Result<T, InvalidId>,
    ) -> Result<Option<T>, Unreadable> {
        let found = self.text(name)?;
        found.map(parse).transpose().map_err(|error| invalid(name, error.to_string()))
    }

    /// Takes an identifier out that must be there.
    pub(crate) fn required<T>(
        &mut self,
        name: &'static str,
        parse: impl Fn(String) -> Result<T, InvalidId>,
    ) -> Result<T, Unreadable> {
        self.id(name, parse)?.ok_or(Unreadable::MissingId(name))
    }

    /// What was not taken out, as one JSON object sorted by key, values as they came.
    pub(crate) fn rest(self) -> Result<String, Unreadable> {
        serde_json::to_string(&self.0).map_err(Unreadable::Json)
    }
}

/// A key as it may stand in a log line, a terminal or a message header: its start, escaped.
fn shown(key: &str) -> String {
    const LONGEST: usize = 32;
    let start: String = key.chars().take(LONGEST).collect();
    start.escape_debug().to_string()
}

/// A text; absent, null and empty are all "not there".
pub(crate) fn text(raw: Option<&RawValue>, field: &'static str) -> Result<Option<String>, Unreadable> {
    let Some(raw) = raw else { return Ok(None) };
    let found: Option<String> = parsed(raw, field, "is no text")?;
    Ok(found.filter(|found| !found.is_empty()))
}

/// A flag: a boolean, or the text `true` or `false` in any case, as Entra ID sends it.
pub(crate) fn flag(raw: Option<&RawValue>, field: &'static str) -> Result<Option<bool>, Unreadable> {
    let Some(raw) = raw else { return Ok(None) };
    // Decoded, so that a letter written as an escape spells what it means.
    let word = match raw.get().starts_with('"') {
        true => parsed::<String>(raw, field, "is neither true nor false")?,
        false => raw.get().to_owned(),
    };
    match word.as_str() {
        "null" | "" => Ok(None),
        yes if yes.eq_ignore_ascii_case("true") => Ok(Some(true)),
        no if no.eq_ignore_ascii_case("false") => Ok(Some(false)),
        _ => Err(invalid(field, "is neither true nor false")),
    }
}

/// A value of a known shape.
pub(crate) fn parsed<'a, T: Deserialize<'a>>(
    raw: &'a RawValue,
    field: &'static str,
    problem: &str,
) -> Result<T, Unreadable> {
    serde_json::from_str(raw.get()).map_err(|_| invalid(field, problem))
}

/// A field of another shape than documented; never with its value, which may be personal.
pub(crate) fn invalid(field: &'static str, problem: impl Into<String>) -> Unreadable {
    Unreadable::Invalid { field, problem: problem.into() }
}
