//! Options for choosing tokens and ending a reply.

use bantam::text::SamplingOptions;
use rand::TryRngCore;
use rand::rngs::OsRng;

use super::{Result, print};

#[derive(clap::Args)]
pub struct SamplingArgs {
    /// Sampling temperature; 0, the default of `run`, always takes the likeliest token. In a chat, this and
    /// the options below default to the model's generation_config.json
    #[arg(long, value_name = "T", allow_negative_numbers = true)]
    temperature: Option<f32>,
    /// Consider only the likeliest tokens that together have this probability
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    top_p: Option<f32>,
    /// Consider only the K likeliest tokens; 0 for all
    #[arg(long, value_name = "K")]
    top_k: Option<usize>,
    /// Consider only tokens at least this much as probable as the likeliest
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    min_p: Option<f32>,
    /// Make tokens that the text already contains less likely; above 1, the text repeats itself less
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    repetition_penalty: Option<f32>,
    /// Seed of the random choice; by default a new one each time, which is printed
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Stop string: end the text before it. Can be given several times
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true, value_parser = not_empty)]
    pub stop: Vec<String>,
}

fn not_empty(text: &str) -> std::result::Result<String, String> {
    match text {
        "" => Err("an empty stop string would end every text at once".into()),
        _ => Ok(text.into()),
    }
}

impl SamplingArgs {
    /// The options that the arguments set; those of `usual` for the rest.
    pub fn options(&self, usual: SamplingOptions) -> Result<SamplingOptions> {
        let options = SamplingOptions::default()
            .with_temperature(self.temperature.unwrap_or(usual.temperature))
            .with_top_k(self.top_k.unwrap_or(usual.top_k))
            .with_top_p(self.top_p.unwrap_or(usual.top_p))
            .with_min_p(self.min_p.unwrap_or(usual.min_p))
            .with_repetition_penalty(self.repetition_penalty.unwrap_or(usual.repetition_penalty))
            .with_seed(usual.seed);
        options.check()?;
        if options.temperature == 0.0 {
            self.warn_of_what_is_in_vain();
            return Ok(options);
        }
        // 32 bits are easy to write down, and exact in any JSON reader.
        let random = || Ok::<_, Box<dyn std::error::Error + Send + Sync>>(OsRng.try_next_u32()?.into());
        Ok(options.with_seed(self.seed.map_or_else(random, Ok)?))
    }

    fn warn_of_what_is_in_vain(&self) {
        let given = [
            ("--top-p", self.top_p.is_some()),
            ("--top-k", self.top_k.is_some()),
            ("--min-p", self.min_p.is_some()),
            ("--seed", self.seed.is_some()),
        ];
        for (name, _) in given.iter().filter(|(_, is_given)| *is_given) {
            print::warning(format_args!(
                "{name} has no effect: at temperature 0 the likeliest token is always taken (see --temperature)"
            ));
        }
    }
}

/// The seed, if the text depends on it.
pub fn seed_of(options: &SamplingOptions) -> Option<u64> {
    (options.temperature > 0.0).then_some(options.seed)
}
