//! `bantam chat`: a conversation.

use std::process::ExitCode;
use std::time::Duration;

use bantam::model::{Model, ModelConfig, Outputs, Session};
use bantam::text::{Limits, Sampler, SamplingOptions, StopReason, Tokenizer};

use super::context::{parse_context, room};
use super::generated::{Ended, Generated, generate_text};
use super::interrupt::{self, Manner};
use super::open::ModelArgs;
use super::sampling::{SamplingArgs, seed_of};
use super::template::{Template, TemplateArgs};
use super::{Result, failure, print, residency};

mod command;
mod conversation;
mod lines;

use command::Command;
use conversation::Conversation;
use lines::{Line, Lines};

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    pub model: ModelArgs,
    /// Maximum tokens of a reply; by default as many as fit the context
    #[arg(short, long = "tokens", value_name = "N")]
    n: Option<usize>,
    /// Context length in tokens, for all messages and replies together; by default the model's maximum, but
    /// at most 4096
    #[arg(long, value_name = "N", value_parser = parse_context)]
    context: Option<usize>,
    #[command(flatten)]
    sampling: SamplingArgs,
    #[command(flatten)]
    template: TemplateArgs,
    /// Print token counts and speeds after each reply
    #[arg(long)]
    stats: bool,
}

/// The options of a conversation.
pub struct Wanted<'a> {
    pub model: &'a ModelArgs,
    pub sampling: &'a SamplingArgs,
    pub template: &'a TemplateArgs,
    /// Maximum tokens of a reply.
    pub most: Option<usize>,
    pub context: Option<usize>,
    pub stats: bool,
}

/// The default context length in positions.
const USUAL_CONTEXT: usize = 4096;

pub fn run(args: &Args) -> Result<ExitCode> {
    converse(&Wanted {
        model: &args.model,
        sampling: &args.sampling,
        template: &args.template,
        most: args.n,
        context: args.context,
        stats: args.stats,
    })
}

/// Loads the model and converses until the user ends it.
pub fn converse(wanted: &Wanted) -> Result<ExitCode> {
    let (files, tokenizer) = wanted.model.open()?;
    let folder = files.folder();
    let template =
        Template::open(folder, wanted.template, "complete a text with `bantam run -p TEXT` instead")?;
    let sampling = wanted.sampling.options(SamplingOptions::of_model(folder)?)?;
    let config = ModelConfig::open(folder)?;
    let context = match wanted.context {
        None => config.max_positions.min(USUAL_CONTEXT),
        context => room(context, &config),
    };
    let model = wanted.model.load(&files, &config, context, Outputs::Last)?;
    let session = Session::with_cache(&model, context, Outputs::Last, wanted.model.kv_cache.into())?;
    let conversation = Conversation::new(wanted.template.system.clone());
    let mut chat = Chat {
        wanted,
        tokenizer,
        template,
        sampling,
        session,
        conversation,
        replies: 0,
        told: Duration::ZERO,
    };
    let lines = Lines::open()?;
    if lines.is_terminal() {
        chat.greet(&model);
    }
    chat.all(lines)
}

struct Chat<'a> {
    wanted: &'a Wanted<'a>,
    tokenizer: Tokenizer,
    template: Template,
    sampling: SamplingOptions,
    session: Session,
    conversation: Conversation,
    replies: u64,
    /// The part of the compile time that was already reported.
    told: Duration,
}

impl Chat<'_> {
    fn greet(&self, model: &Model) {
        let seed = seed_of(&self.sampling).map_or(String::new(), |seed| format!(", seed {seed}"));
        print::remark(format_args!(
            "{} tokens of context{seed}; {}\n/help lists the commands, Ctrl-C stops a reply, Ctrl-D ends",
            self.session.context(),
            model.gpu().name(),
        ));
    }

    /// Handles message after message.
    fn all(&mut self, mut lines: Lines) -> Result<ExitCode> {
        interrupt::set(Manner::StopReply);
        loop {
            let line = match lines.next()? {
                Line::Text(line) => line,
                Line::Cleared => {
                    print::remark("Ctrl-D, or /exit, ends the conversation");
                    continue;
                }
                Line::End => return Ok(ExitCode::SUCCESS),
            };
            // A Ctrl-C while the user typed a line was not meant for a reply.
            interrupt::forget();
            let done = match Command::parse(&line) {
                Ok(None) => continue,
                Ok(Some(Command::Say(text))) => self.answer(text, lines.is_terminal()),
                Ok(Some(Command::Exit)) => return Ok(ExitCode::SUCCESS),
                Ok(Some(command)) => self.obey(command),
                Err(why) => Err(why.into()),
            };
            match done {
                Ok(()) => {}
                // Without a user who could react, the first error ends the conversation.
                Err(error) if !lines.is_terminal() || is_fatal(&*error) => return Err(error),
                Err(error) => print::error_line(&failure::chain(&*error)),
            }
        }
    }

    fn obey(&mut self, command: Command) -> Result<()> {
        match command {
            Command::Help => print::line(command::HELP),
            Command::ShowSystem => print::line(match self.conversation.system() {
                Some(text) => format!("{text}\n(/system off removes it)"),
                None => "There is no system message; /system TEXT sets one.".into(),
            }),
            Command::System(text) => {
                if let Some(text) = &text {
                    self.template.check_system(text);
                }
                self.conversation.set_system(text);
                Ok(())
            }
            Command::Reset => {
                self.conversation.reset();
                self.session.rewind(0);
                print::remark("The conversation starts over.");
                Ok(())
            }
            Command::Save(path) => {
                self.conversation.save(&path)?;
                print::remark(format_args!("Saved in {}", path.display()));
                Ok(())
            }
            Command::Say(_) | Command::Exit => Ok(()),
        }
    }

    /// Answers a message. If no reply comes of it, the conversation forgets the message.
    fn answer(&mut self, text: String, is_terminal: bool) -> Result<()> {
        self.conversation.ask(text);
        let generated = match self.reply() {
            Ok(generated) => generated,
            Err(error) => {
                self.conversation.take_back();
                return Err(error);
            }
        };
        if generated.ended == Ended::Unread {
            interrupt::end(failure::CLOSED_PIPE);
        }
        print::part("\n")?;
        self.remark(&generated, is_terminal);
        match generated.text.is_empty() && generated.ended == Ended::Interrupted {
            true => self.conversation.take_back(),
            false => self.conversation.answered(generated.text),
        }
        interrupt::forget();
        Ok(())
    }

    fn reply(&mut self) -> Result<Generated> {
        let tokens = self.template.tokens(&self.tokenizer, &self.conversation.messages())?;
        let context = self.session.context();
        if tokens.len() > context {
            return Err(format!(
                "with this message the conversation is {} tokens, but the context holds {context}: \
                 shorten it, start over with /reset, or use a larger --context",
                tokens.len()
            )
            .into());
        }
        // Each reply has a seed of its own, so that an equal message does not always get the same reply.
        let seed = self.sampling.seed.wrapping_add(self.replies);
        self.replies += 1;
        let sampler = Sampler::new(&self.sampling.with_seed(seed))?;
        let most = self.wanted.most.unwrap_or(usize::MAX);
        let limits = Limits::default().with_max_tokens(most).with_stop(self.wanted.sampling.stop.clone());
        generate_text(&mut self.session, &self.tokenizer, &tokens, sampler, limits, print::part)
    }

    fn remark(&mut self, generated: &Generated, is_terminal: bool) {
        match generated.ended {
            Ended::Because(StopReason::Length) => print::remark("(cut off: maximum tokens reached, see -n)"),
            Ended::Because(StopReason::Context) => {
                print::warning("the reply was cut off because the context is full; /reset starts over");
            }
            Ended::Interrupted if is_terminal => print::remark("(stopped)"),
            _ => {}
        }
        if self.wanted.stats {
            let compiling = self.session.model().gpu().compile_time();
            print::remark(generated.words(compiling.saturating_sub(self.told)));
            self.told = compiling;
            print::remark(residency::stats_words(self.session.model(), generated.elapsed()));
        }
    }
}

/// Whether later messages would fail too.
fn is_fatal(error: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
    use bantam::text::GenerationError;
    error.is::<GenerationError>() || failure::is_closed_pipe(error)
}
