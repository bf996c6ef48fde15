//! Loads a model folder, compressed or not, and goes on from a prompt.
//!
//! `cargo run --release --example generate -- assets/demo "The little rooster"`

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use bantam::archive::ModelFiles;
use bantam::gpu::{Gpu, GpuOptions};
use bantam::model::{LoadOptions, Model, Outputs, Session};
use bantam::text::{Sampler, SamplingOptions, Tokenizer, generate};
use futures::StreamExt;

type Error = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Error> {
    let mut args = std::env::args().skip(1);
    let folder = args.next().unwrap_or("assets/demo".into());
    let prompt = args.next().unwrap_or("The little rooster".into());
    pollster::block_on(run(Path::new(&folder), &prompt))
}

async fn run(folder: &Path, prompt: &str) -> Result<(), Error> {
    let gpu = Gpu::open(&GpuOptions::default()).await?;
    let files = ModelFiles::open(folder)?;
    let tokenizer = Tokenizer::open(files.folder())?;
    let model = Arc::new(Model::load(&gpu, &files, &LoadOptions::default(), &()).await?);
    let mut session = Session::new(&model, 512, Outputs::Last)?;

    let tokens = tokenizer.encode(prompt, true)?;
    let sampler = Sampler::new(SamplingOptions { temperature: 0.7, top_p: 0.9, ..Default::default() })?;
    let mut pieces = std::pin::pin!(generate(&mut session, &tokenizer, &tokens, sampler, 100));
    print!("{prompt}");
    while let Some(piece) = pieces.next().await {
        print!("{}", piece?.text);
        std::io::stdout().flush()?;
    }
    println!();
    Ok(())
}
