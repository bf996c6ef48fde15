//! Loads a model folder, compressed or not, and goes on from a prompt.
//!
//! `cargo run --release --example generate -- assets/demo "The little rooster"`

use std::io::Write;

use bantam::model::LoadOptions;
use bantam::runtime::{GenerationOptions, Runtime, RuntimeOptions, SessionOptions};
use bantam::text::SamplingOptions;
use futures::StreamExt;

type Error = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Error> {
    let mut args = std::env::args().skip(1);
    let folder = args.next().unwrap_or("assets/demo".into());
    let prompt = args.next().unwrap_or("The little rooster".into());
    pollster::block_on(run(folder, &prompt))
}

async fn run(folder: String, prompt: &str) -> Result<(), Error> {
    let runtime = Runtime::new(&RuntimeOptions::default()).await?;
    let model = runtime.load(folder, &LoadOptions::default(), ()).await?;
    let session = model.open(&SessionOptions::default()).await?;

    let sampling = SamplingOptions::default().with_temperature(0.7).with_top_p(0.9);
    let mut pieces = session
        .complete(prompt, &GenerationOptions::default().with_sampling(sampling).with_max_tokens(100))?;
    print!("{prompt}");
    while let Some(piece) = pieces.next().await {
        print!("{}", piece?.text);
        std::io::stdout().flush()?;
    }
    println!();
    Ok(())
}
