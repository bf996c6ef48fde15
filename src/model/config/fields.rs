//! Reads fields of a JSON object as Python code does: null means missing, whole numbers may be written
//! `512.0`, and `false` means nothing if another type is expected. Errors name the field.

use serde_json::{Map, Value};

/// The largest whole number that every number type can represent.
const MOST: f64 = (1u64 << 53) as f64;

/// Maximum characters of a wrong value that an error quotes.
const QUOTED: usize = 60;

/// A JSON object, and its name in errors.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fields<'a> {
    object: &'a Map<String, Value>,
    /// The prefix of field names in errors: `rope_scaling.` for that object.
    prefix: &'a str,
}

impl<'a> Fields<'a> {
    /// The fields of a whole file.
    pub fn new(object: &'a Map<String, Value>) -> Self {
        Self { object, prefix: "" }
    }

    /// The fields of an object inside the file. Errors put `prefix` before their names.
    pub fn within(object: &'a Map<String, Value>, prefix: &'a str) -> Self {
        Self { object, prefix }
    }

    /// Whether the field exists, even if it is null.
    pub fn has(&self, name: &str) -> bool {
        self.object.contains_key(name)
    }

    /// The field's value, unless it is null or false.
    pub fn get(&self, name: &str) -> Option<&'a Value> {
        self.object.get(name).filter(|value| !matches!(value, Value::Null | Value::Bool(false)))
    }

    /// A whole number.
    pub fn count(&self, name: &str) -> Result<Option<usize>, String> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let number = value.as_f64().filter(|n| (0.0..=MOST).contains(n) && n.fract() == 0.0);
        number.map(|n| Some(n as usize)).ok_or_else(|| self.wrong(name, "a whole number"))
    }

    /// A required whole number.
    pub fn required_count(&self, name: &str) -> Result<usize, String> {
        self.count(name)?
            .ok_or_else(|| format!("{}{name} is missing; it must be a whole number", self.prefix))
    }

    /// A whole number; `default` if the field is missing. `None` only if the field is null or false.
    pub fn count_or(&self, name: &str, default: Option<usize>) -> Result<Option<usize>, String> {
        if self.has(name) { self.count(name) } else { Ok(default) }
    }

    /// A number.
    pub fn number(&self, name: &str) -> Result<Option<f64>, String> {
        let Some(value) = self.get(name) else { return Ok(None) };
        value.as_f64().map(Some).ok_or_else(|| self.wrong(name, "a number"))
    }

    /// True or false; false if the field is missing.
    pub fn flag(&self, name: &str) -> Result<bool, String> {
        match self.get(name) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            // Python treats 0 as false.
            Some(value) if value.as_f64() == Some(0.0) => Ok(false),
            Some(value) if value.as_f64() == Some(1.0) => Ok(true),
            Some(_) => Err(self.wrong(name, "true or false")),
        }
    }

    /// A string.
    pub fn text(&self, name: &str) -> Result<Option<&'a str>, String> {
        let Some(value) = self.get(name) else { return Ok(None) };
        value.as_str().map(Some).ok_or_else(|| self.wrong(name, "a string"))
    }

    /// A list of strings.
    pub fn texts(&self, name: &str) -> Result<Option<Vec<&'a str>>, String> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let texts = value.as_array().and_then(|values| values.iter().map(Value::as_str).collect());
        texts.map(Some).ok_or_else(|| self.wrong(name, "a list of strings"))
    }

    /// An object; `None` if it is empty.
    pub fn object(&self, name: &str) -> Result<Option<&'a Map<String, Value>>, String> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let object = value.as_object().ok_or_else(|| self.wrong(name, "an object"))?;
        Ok(Some(object).filter(|object| !object.is_empty()))
    }

    /// The error that a field is not `wanted`.
    pub fn wrong(&self, name: &str, wanted: &str) -> String {
        let value = self.object.get(name).unwrap_or(&Value::Null).to_string();
        let end = value.char_indices().nth(QUOTED).map_or(value.len(), |(at, _)| at);
        let more = if end < value.len() { "…" } else { "" };
        format!("{}{name} is {}{more}, but must be {wanted}", self.prefix, &value[..end])
    }
}
