//! Chat templates: from a conversation to the text that a model was trained to continue.
//!
//! A template is a Jinja program that comes with the model. It runs in the same surroundings that
//! Hugging Face transformers gives it: blocks trimmed, Python's string methods, `raise_exception`
//! and `strftime_now`. It can reach nothing outside, and runs for a bounded number of steps.

use std::path::{Path, PathBuf};

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Serde};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, Value};
use serde::{Deserialize, Serialize};

use super::error::TextError;
use super::json_style::{self, Style};
use super::special_tokens::{Templates, read_text, read_tokenizer_config};
use super::strftime;

/// Instructions of a template before it is stopped. Real ones take some hundreds a message.
const MAX_STEPS: u64 = 20_000_000;

/// Indentation that `tojson` accepts: the template's number must not become an allocation.
const MAX_INDENT: usize = 64;

const NAME: &str = "chat";

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Who speaks: `system`, `user` or `assistant` for nearly every model.
    pub role: String,
    /// What is said.
    pub content: String,
}

impl Message {
    /// A message of `role`.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        Self { role: role.into(), content: content.into() }
    }

    /// A message of the user.
    pub fn user(content: impl Into<String>) -> Self {
        Self::new("user", content)
    }

    /// A message of the model.
    pub fn assistant(content: impl Into<String>) -> Self {
        Self::new("assistant", content)
    }

    /// A message that says how the model should behave. Some templates refuse it.
    pub fn system(content: impl Into<String>) -> Self {
        Self::new("system", content)
    }
}

/// A model's chat template.
#[derive(Debug)]
pub struct ChatTemplate {
    path: PathBuf,
    environment: Environment<'static>,
    /// What every rendering gets: the special tokens, and `none` for what is not offered.
    variables: Vec<(&'static str, Value)>,
}

impl ChatTemplate {
    /// Reads the template of a model folder: `chat_template.jinja`, or else `chat_template` in
    /// `tokenizer_config.json`. `None` where the model has none, and is not made for chatting.
    ///
    /// Of several templates the one called `default` is taken.
    pub fn open(folder: &Path) -> Result<Option<Self>, TextError> {
        let config = read_tokenizer_config(folder)?;
        let file = folder.join("chat_template.jinja");
        let (path, source) = match (read_text(&file)?, &config.chat_template) {
            (Some(source), _) => (file, source),
            (None, Some(templates)) => {
                let path = folder.join("tokenizer_config.json");
                let source = default_template(&path, templates)?;
                (path, source)
            }
            (None, None) => return Ok(None),
        };
        let environment =
            environment(&source).map_err(|error| TextError::bad_file(&path, describe(&error)))?;
        // Templates ask `tools is not none`, which would be true of a name that is not there.
        let absent = ["tools", "documents"].map(|name| (name, Value::from(())));
        let tokens = config.token_texts().into_iter().map(|(name, text)| (name, Value::from(text)));
        let variables = absent.into_iter().chain(tokens).collect();
        Ok(Some(Self { path, environment, variables }))
    }

    /// The text of a conversation. With `add_generation_prompt` it ends with what opens the
    /// model's turn, so that the model goes on with an answer.
    ///
    /// The text has its special tokens in it: encode it with [`add_special`] off.
    ///
    /// [`add_special`]: super::Tokenizer::encode
    pub fn render(&self, messages: &[Message], add_generation_prompt: bool) -> Result<String, TextError> {
        self.render_with(messages, add_generation_prompt, &serde_json::Map::new())
    }

    /// As [`render`](Self::render), with further variables that a model's template understands,
    /// such as `enable_thinking` or `tools`.
    pub fn render_with(
        &self,
        messages: &[Message],
        add_generation_prompt: bool,
        variables: &serde_json::Map<String, serde_json::Value>,
    ) -> Result<String, TextError> {
        let own = self.variables.iter().map(|(name, value)| (name.to_string(), value.clone()));
        let given = variables.iter().map(|(name, value)| (name.clone(), Value::from(Serde(value))));
        let conversation = [
            ("messages".to_string(), Value::from(Serde(messages))),
            ("add_generation_prompt".to_string(), Value::from(add_generation_prompt)),
        ];
        let context = Value::from_pairs(own.chain(given).chain(conversation));
        let rendered = self.environment.get_template(NAME).and_then(|template| template.render(context));
        rendered.map_err(|error| TextError::Template { path: self.path.clone(), reason: describe(&error) })
    }
}

fn default_template(path: &Path, templates: &Templates) -> Result<String, TextError> {
    let named = match templates {
        Templates::One(source) => return Ok(source.clone()),
        Templates::Named(named) => named,
    };
    match (named.iter().find(|t| t.name == "default"), named.as_slice()) {
        (Some(template), _) | (None, [template]) => Ok(template.template.clone()),
        _ => {
            let names: Vec<&str> = named.iter().map(|t| t.name.as_str()).collect();
            Err(TextError::bad_file(
                path,
                format!("of the chat templates {names:?} none is called \"default\""),
            ))
        }
    }
}

fn environment(source: &str) -> Result<Environment<'static>, Error> {
    let mut environment = Environment::new();
    environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_fuel(Some(MAX_STEPS));
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.add_filter("tojson", tojson);
    environment.add_function("strftime_now", |format: &str| strftime::now(format));
    environment.add_function("raise_exception", |message: String| -> Result<Value, Error> {
        Err(Error::new(ErrorKind::InvalidOperation, message))
    });
    environment.add_template_owned(NAME, without_generation_marks(source))?;
    Ok(environment)
}

/// Replaces the engine's own filter, which escapes for HTML. Characters are never escaped, as with
/// `ensure_ascii=False`, which transformers has unless a template says otherwise.
fn tojson(value: &Value, options: Kwargs) -> Result<String, Error> {
    let indent: Option<usize> = options.get("indent")?;
    let style = Style {
        indent: indent.map(|width| width.min(MAX_INDENT)),
        separators: separators(options.get("separators")?)?,
        sort_keys: options.get::<Option<bool>>("sort_keys")?.unwrap_or_default(),
    };
    let _: Option<Value> = options.get("ensure_ascii")?;
    options.assert_all_used()?;
    json_style::to_json(value, &style)
        .map_err(|error| Error::new(ErrorKind::BadSerialization, error.to_string()))
}

/// Two strings, which Python has as a tuple.
fn separators(given: Option<Vec<String>>) -> Result<Option<(String, String)>, Error> {
    let Some(given) = given else { return Ok(None) };
    let [item, key] = <[String; 2]>::try_from(given)
        .map_err(|_| Error::new(ErrorKind::InvalidOperation, "tojson: separators are two strings"))?;
    Ok(Some((item, key)))
}

/// `{% generation %} … {% endgeneration %}` marks the assistant's text for training and is unknown
/// outside transformers. A condition that always holds stands in for it: the tags keep their
/// whitespace control, and nothing else changes.
fn without_generation_marks(source: &str) -> String {
    let mut text = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(start) = rest.find("{%") {
        let (before, tag) = rest.split_at(start + 2);
        text += before;
        let end = tag.find("%}").unwrap_or(tag.len());
        let (tag, after) = tag.split_at(end);
        text += &match tag.trim_matches(|c: char| c.is_whitespace() || c == '-' || c == '+') {
            "generation" => tag.replacen("generation", "if true", 1),
            "endgeneration" => tag.replacen("endgeneration", "endif", 1),
            _ => tag.to_string(),
        };
        rest = after;
    }
    text + rest
}

/// The error and what it was caused by, in one line.
fn describe(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(files: &[(&str, String)]) -> Result<Option<ChatTemplate>, TextError> {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        ChatTemplate::open(folder.path())
    }

    fn of_source(source: &str) -> ChatTemplate {
        let config = serde_json::json!({
            "bos_token": "<s>", "eos_token": {"content": "</s>"}, "pad_token": null, "chat_template": source,
        });
        template(&[("tokenizer_config.json", config.to_string())]).unwrap().unwrap()
    }

    fn render(source: &str) -> Result<String, TextError> {
        let turns = [Message::user(" Hi <b>&'! "), Message::assistant("Hello."), Message::user("Bye")];
        of_source(source).render(&turns, true)
    }

    #[test]
    fn the_demo_models_template() {
        let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/assets/demo"));
        let template = ChatTemplate::open(folder).unwrap().unwrap();
        let turns = [
            Message::system("ignored"),
            Message::user(" Tell me a story. "),
            Message::assistant("No."),
            Message::user("Please?"),
        ];
        let text = "<s><|user|>Tell me a story.<|assistant|>No.</s><|user|>Please?";
        assert_eq!(template.render(&turns, false).unwrap(), text);
        assert_eq!(template.render(&turns, true).unwrap(), format!("{text}<|assistant|>"));
        let tokenizer = super::super::Tokenizer::open(folder).unwrap();
        let ids = tokenizer.encode(&template.render(&turns[1..2], true).unwrap(), false).unwrap();
        assert_eq!((ids[0], ids[1], ids[ids.len() - 1]), (0, 3, 4));
    }

    #[test]
    fn blocks_are_trimmed_as_in_transformers() {
        let source = "{%- for m in messages %}\n    {% if m.role == 'user' %}\nU {{ m.content }}\n    {%- endif %}\n{% endfor %}\n{{ bos_token }}|{{ pad_token }}|{{ nothing }}|\n";
        assert_eq!(render(source).unwrap(), "U  Hi <b>&'! U Bye<s>|||");
    }

    #[test]
    fn python_methods_slices_and_loop_controls_work() {
        assert_eq!(render("{{ messages[0]['content'].strip().upper() }}").unwrap(), "HI <B>&'!");
        assert_eq!(
            render("{% for m in messages[1:] %}{{ m.content }}{% break %}{% endfor %}").unwrap(),
            "Hello."
        );
        assert_eq!(render("{{ messages[-1].content.split('y')[0] + eos_token }}").unwrap(), "B</s>");
        let namespace = "{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}";
        assert_eq!(render(namespace).unwrap(), "3");
    }

    #[test]
    fn absent_tools_are_none_and_given_variables_arrive() {
        assert_eq!(render("{% if tools is not none or documents %}tools{% endif %}").unwrap(), "");
        let template = of_source("{{ tools | tojson }}{% if not enable_thinking %} quiet{% endif %}");
        let variables = serde_json::json!({"tools": [{"name": "f", "args": {}}], "enable_thinking": false});
        let text = template.render_with(&[], false, variables.as_object().unwrap()).unwrap();
        assert_eq!(text, r#"[{"name": "f", "args": {}}] quiet"#);
    }

    #[test]
    fn json_is_pythons_and_not_escaped_for_html() {
        let json = r#"{"role": "user", "content": " Hi <b>&'! "}"#;
        assert_eq!(render("{{ messages[0] | tojson(ensure_ascii=False) }}").unwrap(), json);
        assert_eq!(render("{{ [1] | tojson(indent=2) }}").unwrap(), "[\n  1\n]");
        assert!(render("{{ [1] | tojson(indent=9999999999999) }}").unwrap().len() < 100);
    }

    #[test]
    fn generation_marks_do_nothing() {
        let source = "a\n{%- generation %}\nb {% endgeneration -%} c{% set generation = 1 %}{{ generation }}";
        assert_eq!(render(source).unwrap(), "ab c1");
        assert_eq!(without_generation_marks("{% generation"), "{% if true");
    }

    #[test]
    fn the_date_can_be_asked_for() {
        let year: u32 = render("{{ strftime_now('%Y') }}").unwrap().parse().unwrap();
        assert!(year >= 2024);
    }

    #[test]
    fn a_refusal_says_why_and_where() {
        let error = render("{{ raise_exception('roles must alternate') }}").unwrap_err();
        assert!(matches!(error, TextError::Template { .. }));
        let text = error.to_string();
        assert!(text.contains("roles must alternate") && text.contains("tokenizer_config.json"), "{text}");
        assert!(render("{{ messages[0].nothing.at_all }}").is_err());
    }

    #[test]
    fn a_template_cannot_run_forever_or_reach_files() {
        let endless = "{% for a in range(9999) %}{% for b in range(9999) %}{% for c in range(9999) %}{% endfor %}{% endfor %}{% endfor %}";
        assert!(render(endless).unwrap_err().to_string().contains("fuel"));
        assert!(render("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}").is_err());
        assert!(render("{% include 'tokenizer.json' %}").is_err());
    }

    #[test]
    fn templates_are_found_in_every_place() {
        let named = |names: &[&str]| {
            let list: Vec<_> = names
                .iter()
                .map(|n| serde_json::json!({"name": n, "template": format!("{n} {{{{ bos_token }}}}")}))
                .collect();
            (
                "tokenizer_config.json",
                serde_json::json!({"chat_template": list, "bos_token": "^"}).to_string(),
            )
        };
        let render = |files: &[(&str, String)]| template(files).unwrap().unwrap().render(&[], false).unwrap();
        assert_eq!(render(&[named(&["tool_use", "default"])]), "default ^");
        assert_eq!(render(&[named(&["rag"])]), "rag ^");
        let file = ("chat_template.jinja", "file {{ bos_token }}\n".to_string());
        assert_eq!(render(&[named(&["default"]), file.clone()]), "file ^");
        assert_eq!(render(&[file]), "file ");
        assert!(template(&[]).unwrap().is_none());
        assert!(template(&[("tokenizer_config.json", "{}".into())]).unwrap().is_none());
        let error = template(&[named(&["rag", "tool_use"])]).unwrap_err().to_string();
        assert!(error.contains("rag") && error.contains("tokenizer_config.json"), "{error}");
    }

    #[test]
    fn a_template_with_a_fault_is_refused_when_it_is_opened() {
        let error = template(&[("chat_template.jinja", "{% for %}".into())]).unwrap_err();
        assert!(error.to_string().contains("chat_template.jinja"), "{error}");
    }
}
