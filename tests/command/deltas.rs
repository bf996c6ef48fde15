//! Models stored as the difference to another one.

use std::fs;

use crate::models::demo;
use crate::program::{command, fed, json, refusal, stderr, stdout};

#[test]
fn a_model_is_stored_as_the_difference_to_another_and_comes_back_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let [tuned, packed, restored, alone] = ["tuned", "packed", "restored", "alone"].map(at);
    fs::create_dir(&tuned).unwrap();
    for name in ["config.json", "tokenizer.json", "tokenizer_config.json"] {
        fs::copy(demo().join(name), folder.path().join("tuned").join(name)).unwrap();
    }
    // The demo model with every third weight moved by a step.
    let mut bytes = fs::read(demo().join("model.safetensors")).unwrap();
    let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    bytes[header..].chunks_exact_mut(6).for_each(|three| three[0] ^= 1);
    let weights = folder.path().join("tuned").join("model.safetensors");
    fs::write(&weights, &bytes).unwrap();
    let base = demo().display().to_string();

    let said =
        json(&command("compress", &[&tuned, "-o", &packed, "--base", &base, "--json"]).output().unwrap());
    let compressed = |said: &serde_json::Value| said["compressed_bytes"].as_u64().unwrap();
    let whole = json(&command("compress", &[&tuned, "-o", &alone, "--json"]).output().unwrap());
    assert!(compressed(&said) < compressed(&whole) / 4, "{said} {whole}");
    let said = json(&command("inspect", &[&packed, "--json"]).output().unwrap());
    assert!(said.to_string().contains(r#""kind":"delta""#), "{said}");
    let said = stdout(&command("inspect", &[&packed]).output().unwrap());
    assert!(said.contains("difference to the base's"), "{said}");

    let said = refusal(&command("decompress", &[&packed, "-o", &restored]).output().unwrap(), 1);
    assert!(said.contains("name that model with --base") && said.contains("of demo;"), "{said}");
    assert!(!folder.path().join("restored").exists());
    let said = refusal(&command("run", &[&packed, "-p", "a", "-n", "1"]).output().unwrap(), 1);
    assert!(said.contains("is stored as the difference to another one"), "{said}");
    let failed = command("verify", &[&packed]).output().unwrap();
    assert!(!failed.status.success() && stderr(&failed).contains("--base"), "{}", stderr(&failed));
    stdout(&command("verify", &[&packed, "--base", &base]).output().unwrap());
    stdout(&command("decompress", &[&packed, "-o", &restored, "--base", &base]).output().unwrap());
    assert!(fs::read(folder.path().join("restored").join("model.safetensors")).unwrap() == bytes);

    // Through pipes, too.
    let piped = fed(command("compress", &["-", "-o", "-", "--base", &base]), &bytes);
    assert!(piped.status.success(), "{}", stderr(&piped));
    let back = fed(command("decompress", &["-", "-o", "-", "--base", &base]), &piped.stdout);
    assert!(back.stdout == bytes, "{}", stderr(&back));
    // A base that is none is named, and so is an option that goes with none.
    let said =
        refusal(&command("compress", &[&tuned, "-o", &alone, "--base", "/nowhere"]).output().unwrap(), 1);
    assert!(said.contains("/nowhere"), "{said}");
    let both = ["compress", &tuned, "-o", &alone, "--base", &base, "--lossy", "k3"];
    assert_eq!(command(both[0], &both[1..]).output().unwrap().status.code(), Some(2));
}
