//! A device is timed only where that is asked for; what is found out is kept, and a kept file is believed
//! only where it is whole and of this very device, driver and version.

use std::path::{Path, PathBuf};
use std::process::Command;

use bantam::bench::Calibration;
use bantam::gpu::{Gpu, Invocations, InvocationsByStorage, KernelChoices, Target, WidenFrom};
use bantam::model::{LoadOptions, Model};
use serde_json::{Value, json};

use crate::device;
use crate::left_out;
use crate::models;

/// Choices that no device has by itself.
fn unusual() -> KernelChoices {
    let matvec = InvocationsByStorage {
        raw: Invocations::FOUR_ROWS_EACH,
        dense: Invocations::EIGHT_ROWS_EACH,
        fast: Invocations::TWO_ROWS_EACH,
        tiered: Invocations::ONE_ROW_EACH,
    };
    KernelChoices {
        matvec,
        matmul: InvocationsByStorage::all(Invocations::FOUR_ROWS_EACH),
        fast_is_faster: false,
        joins: false,
        joins_tiles: false,
        widen_from: WidenFrom::NEVER,
        textures: false,
    }
}

#[test]
fn the_fastest_of_kernels_that_give_the_same_bits_is_chosen() {
    let gpu = device::gpu();
    let usual = *gpu.choices();
    assert_eq!(usual, KernelChoices::usual(gpu.target()));
    let calibration = pollster::block_on(Calibration::run(&gpu, &())).unwrap();
    for trial in &calibration.trials {
        println!("{trial:?}");
        assert!(trial.same_bits, "{trial:?}");
        assert!(trial.timing.seconds > 0.0);
    }
    let (choices, mut chosen) = (calibration.choices, 0);
    for (kernel, of_kernel) in [("matvec", choices.matvec), ("matmul", choices.matmul)] {
        for (form, invocations) in [
            ("raw", of_kernel.raw),
            ("dense", of_kernel.dense),
            ("fast", of_kernel.fast),
            ("tiered", of_kernel.tiered),
        ] {
            let is_it = |t: &&bantam::bench::Trial| t.kernel == kernel && t.form == form && t.chosen;
            let trials: Vec<_> = calibration.trials.iter().filter(is_it).collect();
            assert_eq!(trials.len(), 1, "{kernel} {form}");
            assert_eq!(trials[0].invocations, invocations, "{kernel} {form}");
            chosen += 1;
        }
    }
    let is_product = |t: &&bantam::bench::Trial| t.kernel != "widen";
    assert_eq!(chosen, calibration.trials.iter().filter(is_product).filter(|t| t.chosen).count());
    let WidenFrom { dense, fast, tiered } = choices.widen_from;
    for (form, from) in [("dense", dense), ("fast", fast), ("tiered", tiered)] {
        let trials: Vec<_> =
            calibration.trials.iter().filter(|t| t.kernel == "widen" && t.form == form).collect();
        if trials.is_empty() {
            // Calibration has an end: what there is no time for stays as it is.
            left_out::report(&format!("calibrating widening of {form} weights"), "this device is too slow");
            let WidenFrom { dense, fast, tiered } = usual.widen_from;
            let usual = if form == "dense" {
                dense
            } else if form == "fast" {
                fast
            } else {
                tiered
            };
            assert_eq!(from, usual, "{form}");
            continue;
        }
        assert_eq!(trials.iter().map(|t| t.tokens).collect::<Vec<_>>(), [16, 32, 64], "{form}");
        assert!(trials.iter().all(|t| t.chosen == (t.tokens >= from)), "{form} from {from}");
    }
    // The device is as it was.
    assert_eq!(*gpu.choices(), usual);
    assert_eq!(gpu.memory().used(), 0);
}

#[test]
fn nothing_is_timed_by_itself() {
    let gpu = device::gpu();
    models::load(&gpu, &models::demo(), false);
    assert_eq!(*gpu.choices(), KernelChoices::usual(gpu.target()));
    let other = gpu.with_choices(unusual());
    assert_eq!((*gpu.choices(), *other.choices()), (KernelChoices::usual(gpu.target()), unusual()));
}

#[test]
fn choices_come_back_from_their_file() {
    let (gpu, folder) = (device::gpu(), tempfile::tempdir().unwrap());
    let folder = folder.path().join("not").join("there yet");
    assert_eq!(KernelChoices::load(&gpu, &folder), None);
    for choices in Target::ALL.map(KernelChoices::usual).into_iter().chain([unusual()]) {
        let path = choices.store(&gpu, &folder).unwrap();
        assert!(path.starts_with(&folder));
        assert_eq!(KernelChoices::load(&gpu, &folder), Some(choices));
    }
    // No others are left behind.
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
}

/// `good` with the value at `pointer` changed.
fn changed(good: &Value, pointer: &str, to: Value) -> String {
    let mut value = good.clone();
    *value.pointer_mut(pointer).unwrap() = to;
    value.to_string()
}

#[test]
fn files_that_are_damaged_or_of_another_device_are_not_used() {
    let (gpu, folder) = (device::gpu(), tempfile::tempdir().unwrap());
    let path = unusual().store(&gpu, folder.path()).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    let good: Value = serde_json::from_str(&text).unwrap();
    let mut bad = vec![String::new(), "{}".into(), "[".repeat(100_000), text[..text.len() / 2].into()];
    for count in
        [json!(0), json!(4), json!(512), json!(-1), json!(u64::MAX), json!(1.5), json!("64"), json!(null)]
    {
        bad.push(changed(&good, "/choices/matvec/raw", count.clone()));
        bad.push(changed(&good, "/choices/matmul/fast", count));
    }
    bad.push(changed(&good, "/choices/fast_is_faster", json!(7)));
    bad.push(changed(&good, "/choices", json!({})));
    for name in ["adapter", "backend", "driver", "driver_info", "bantam", "shaders"] {
        bad.push(changed(&good, &format!("/subject/{name}"), json!("another")));
    }
    bad.push(changed(&good, "/subject/vendor", json!(77)));
    bad.push(text.clone() + &" ".repeat(1 << 20));
    for bad in bad {
        std::fs::write(&path, &bad).unwrap();
        let start: String = bad.chars().take(80).collect();
        assert_eq!(KernelChoices::load(&gpu, folder.path()), None, "{start}");
    }
    // Bytes that are no text, and a folder.
    std::fs::write(&path, [0xff; 100]).unwrap();
    assert_eq!(KernelChoices::load(&gpu, folder.path()), None);
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    assert_eq!(KernelChoices::load(&gpu, folder.path()), None);
    assert!(unusual().store(&gpu, folder.path()).is_err());
    std::fs::remove_dir(&path).unwrap();
    std::fs::write(&path, text).unwrap();
    assert_eq!(KernelChoices::load(&gpu, folder.path()), Some(unusual()));
}

#[test]
fn the_layout_follows_what_is_faster() {
    let (_folder, compressed) = models::compressed(&models::demo());
    let gpu = device::gpu();
    let dense = models::load(&gpu, &compressed, false).weight_bytes();
    let fast = models::load_fast(&gpu, &compressed).weight_bytes();
    assert_ne!(fast, dense);
    let auto = |gpu: &Gpu, fast_is_faster| {
        let gpu = gpu.with_choices(KernelChoices { fast_is_faster, ..*gpu.choices() });
        let files = bantam::archive::ModelFiles::open(&compressed).unwrap();
        pollster::block_on(Model::load(&gpu, &files, &LoadOptions::default(), &())).unwrap().weight_bytes()
    };
    assert_eq!(auto(&gpu, true), fast);
    assert_eq!(auto(&gpu, false), dense);
}

/// Runs the command with its files in `cache`.
#[cfg(feature = "cli")]
fn bantam(cache: &Path, args: &[&str]) -> Value {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_bantam"))
        .env("BANTAM_CACHE", cache)
        .args(args)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap_or_default()
}

/// The kernels that a bench with `args` says it has.
#[cfg(feature = "cli")]
fn kernels_of_bench(cache: &Path, args: &[&str]) -> KernelChoices {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("record.json");
    bantam(cache, &[&["bench", "--quick", "--only", "copy", "-o", path.to_str().unwrap()], args].concat());
    let record: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    serde_json::from_value(record["kernels"].clone()).unwrap()
}

#[cfg(feature = "cli")]
#[test]
fn commands_use_what_was_kept_unless_they_are_told_otherwise() {
    let (gpu, cache) = (device::gpu(), tempfile::tempdir().unwrap());
    let cache = cache.path();
    let usual = KernelChoices::usual(gpu.target());
    // Empty: nothing is read or kept.
    assert_eq!(kernels_of_bench(Path::new(""), &[]), usual);

    let result = bantam(cache, &["calibrate", "--json"]);
    let path = PathBuf::from(result["file"].as_str().unwrap());
    assert!(path.starts_with(cache) && path.exists());
    let found: KernelChoices = serde_json::from_value(result["calibration"]["choices"].clone()).unwrap();
    assert_eq!(kernels_of_bench(cache, &[]), found);
    unusual().store(&gpu, cache).unwrap();
    assert_eq!(kernels_of_bench(cache, &[]), unusual());
    assert_eq!(kernels_of_bench(cache, &["--kernel", "auto"]), unusual());
    assert_eq!(kernels_of_bench(cache, &["--kernel", "default"]), usual);
    // Others than the usual ones, that the device is offered.
    let (some, others) = match gpu.target() {
        Target::Cpu => (Invocations::TWO_A_ROW, "invocations=256"),
        Target::Gpu | Target::Llvmpipe => (Invocations::TWO_ROWS_EACH, "invocations=16"),
    };
    assert_eq!(
        kernels_of_bench(cache, &["--kernel", &format!("invocations={some}")]),
        KernelChoices {
            joins: usual.joins,
            widen_from: usual.widen_from,
            joins_tiles: usual.joins_tiles,
            textures: usual.textures,
            ..KernelChoices::with_invocations(some)
        }
    );

    let demo = models::demo();
    let run = ["run", demo.to_str().unwrap(), "-p", "The little rooster", "-n", "6", "--json"];
    let texts = [&[][..], &["--kernel", "default"], &["--kernel", others]]
        .map(|more| bantam(cache, &[&run, more].concat())["text"].clone());
    assert!(texts[0].is_string() && texts.iter().all(|text| *text == texts[0]));
    // Damage is no error. A GPU is timed again.
    std::fs::write(&path, "{").unwrap();
    assert_eq!(bantam(cache, &run)["text"], texts[0]);
    assert_eq!(KernelChoices::load(&gpu, cache).is_none(), gpu.is_cpu());
}

/// What a driver's compiler might never get done with is refused before it is compiled.
#[test]
fn kernels_of_several_rows_are_refused_where_the_compiler_is_not_known() {
    let demo = models::demo();
    for invocations in ["8", "16", "32"] {
        let kernel = format!("invocations={invocations}");
        let args =
            ["run", demo.to_str().unwrap(), "-p", "The", "-n", "1", "--as", "cpu", "--kernel", &kernel];
        let output = Command::new(env!("CARGO_BIN_EXE_bantam")).args(args).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(&kernel) && said.contains("64, 128 or 256"), "{said}");
    }
}
