//! Finds the family that a configuration names.

use serde_json::Value;

use crate::model::config::fields::Fields;
use crate::model::family::{FAMILIES, Family};

impl Family {
    /// The family that a configuration names by its architecture, or else by its model type, with a remark to
    /// log; or the name of an unknown one.
    pub fn named(fields: Fields<'_>) -> Result<Result<(&'static Self, Option<String>), String>, String> {
        let model_type = fields.text("model_type")?;
        let architecture = match fields.get("architectures") {
            Some(Value::Array(names)) => match names.first() {
                Some(name) => {
                    Some(name.as_str().ok_or_else(|| fields.wrong("architectures", "a list of strings"))?)
                }
                None => None,
            },
            Some(Value::String(name)) => Some(name.as_str()),
            Some(_) => return Err(fields.wrong("architectures", "a list of strings")),
            None => None,
        };
        let by_type = FAMILIES.iter().find(|family| Some(family.model_type) == model_type);
        let by_name = FAMILIES.iter().find(|family| Some(family.architecture) == architecture);
        match (architecture, by_name, by_type) {
            (Some(name), None, _) => Ok(Err(name.into())),
            (None, _, Some(family)) => Ok(Ok((family, None))),
            (None, _, None) => Ok(Err(match model_type {
                Some(model_type) => format!("(none named, model_type {model_type})"),
                None => "(none named)".into(),
            })),
            (_, Some(named), Some(family)) if named.architecture != family.architecture => Err(format!(
                "architectures says {}, but model_type says {}; correct the one that is wrong",
                named.architecture, family.model_type
            )),
            (_, Some(family), by_type) => {
                let unknown = model_type.filter(|_| by_type.is_none());
                let remark = unknown.map(|model_type| {
                    format!(
                        "config.json: model_type is {model_type}, which is read as {}",
                        family.architecture
                    )
                });
                Ok(Ok((family, remark)))
            }
        }
    }
}
