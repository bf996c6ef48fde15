//! candle's training of a model on the CPU: `candle_training FOLDER TOKENS STEPS` prints a JSON object with the losses and
//! the median of the steps' seconds. `benches/peers/training` compares it with bantam.

use std::path::Path;
use std::time::Instant;

#[path = "../../tests/fixtures/candle_training/mod.rs"]
mod candle_training;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let [folder, tokens, steps] = &arguments[..] else {
        return println!("benches/peers/training compares bantam with candle");
    };
    let tokens: u32 = tokens.parse().expect("a number of tokens");
    let steps: usize = steps.parse().expect("a number of steps");
    let trainer = candle_training::CandleTrainer::open(Path::new(folder));
    // What is computed does not depend on which tokens they are.
    let ids: Vec<u32> = (0..tokens).map(|i| i * 7 % 1000).collect();
    let targets: Vec<u32> = ids.iter().skip(1).copied().chain([0]).collect();
    let (mut losses, mut seconds) = (Vec::new(), Vec::new());
    for _ in 0..steps {
        let began = Instant::now();
        losses.push(trainer.step(&ids, &targets, ids.len(), 1e-4).expect("a step"));
        seconds.push(began.elapsed().as_secs_f64());
    }
    seconds.sort_by(f64::total_cmp);
    let median = seconds.get(steps / 2).copied();
    println!("{}", serde_json::json!({"losses": losses, "seconds": median}));
}
