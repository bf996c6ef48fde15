//! Turns a conversation into tokens, with the model's chat template.

use std::path::Path;

use bantam::text::{ChatTemplate, Message, Tokenizer};
use serde_json::{Map, Value};

use super::{Result, print};

#[derive(clap::Args)]
pub struct TemplateArgs {
    /// System message: instructions for the model, before the conversation
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub system: Option<String>,
    /// Set a variable of the chat template, such as enable_thinking=false; the value is JSON, or text if it is
    /// not valid JSON. Can be given several times
    #[arg(long = "template-arg", value_name = "NAME=VALUE", value_parser = parse_variable)]
    variables: Vec<(String, Value)>,
}

fn parse_variable(text: &str) -> std::result::Result<(String, Value), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE, such as enable_thinking=false")?;
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    if name.is_empty() || !name.chars().all(is_name) || name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(format!("{name:?} is not a variable name"));
    }
    let value = serde_json::from_str(value).unwrap_or_else(|_| value.into());
    Ok((name.into(), value))
}

impl TemplateArgs {
    /// Whether any of these arguments was given.
    pub fn is_given(&self) -> bool {
        self.system.is_some() || !self.variables.is_empty()
    }
}

/// A model's chat template, with the variables from the arguments.
pub struct Template {
    template: ChatTemplate,
    variables: Map<String, Value>,
}

impl Template {
    /// Opens the template of a model folder. If there is none, returns an error that ends with `otherwise`.
    pub fn open(folder: &Path, args: &TemplateArgs, otherwise: &str) -> Result<Self> {
        let template = ChatTemplate::open(folder)?
            .ok_or_else(|| format!("{} has no chat template; {otherwise}", folder.display()))?;
        for (name, _) in args.variables.iter().filter(|(name, _)| !template.uses(name)) {
            print::warning(format_args!(
                "the model's chat template has no variable {name}: it has no effect"
            ));
        }
        let this = Self { template, variables: args.variables.iter().cloned().collect() };
        if let Some(text) = &args.system {
            this.check_system(text);
        }
        Ok(this)
    }

    /// Warns if the template ignores the system message.
    pub fn check_system(&self, text: &str) {
        let user = Message::user("Hello");
        let render = |messages: &[Message]| self.template.render_with(messages, true, &self.variables);
        let without = render(std::slice::from_ref(&user));
        // A template that rejects the message returns its own error when it is rendered.
        if let (Ok(with), Ok(without)) = (render(&[Message::system(text), user]), without)
            && with == without
        {
            print::warning("the model's chat template ignores the system message: it has no effect");
        }
    }

    /// The tokens of a conversation, up to the point where the model answers.
    pub fn tokens(&self, tokenizer: &Tokenizer, messages: &[Message]) -> Result<Vec<u32>> {
        Ok(self.template.encode_with(tokenizer, messages, true, &self.variables)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_json_or_text() {
        for (text, name, value) in [
            ("enable_thinking=false", "enable_thinking", Value::from(false)),
            ("date=26 Jul 2024", "date", Value::from("26 Jul 2024")),
            ("n=3", "n", Value::from(3)),
            ("x==", "x", Value::from("=")),
            ("empty=", "empty", Value::from("")),
            ("tools=[]", "tools", Value::from(Vec::<Value>::new())),
        ] {
            assert_eq!(parse_variable(text), Ok((name.into(), value)));
        }
        for text in ["enable_thinking", "=1", "a b=1", "1a=2"] {
            assert!(parse_variable(text).is_err(), "{text}");
        }
    }
}
