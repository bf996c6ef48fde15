//! Writes a compressed model of the Llama family with random weights, of any size, in little memory.
//!
//! `cargo run --release --example large_model -- FOLDER LAYERS`
//!
//! Layers and vocabulary are as large as those of Llama-3.1-8B, so that 37 layers take 12 GB. The tokenizer is
//! the demo model's: it knows the first 1024 tokens, and what is generated is noise.

use std::path::{Path, PathBuf};

use bantam::bench::Size;

type Error = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Error> {
    let mut args = std::env::args().skip(1);
    let (Some(folder), Some(layers)) = (args.next(), args.next()) else {
        return Err("usage: large_model FOLDER LAYERS".into());
    };
    let folder = PathBuf::from(folder);
    std::fs::create_dir(&folder)?;
    let size = Size { layers: layers.parse()?, ..*Size::named("8B").ok_or("no such size")? };
    size.write_compressed(&folder, &())?;
    for name in ["tokenizer.json", "tokenizer_config.json"] {
        std::fs::copy(Path::new("assets/demo").join(name), folder.join(name))?;
    }
    Ok(())
}
