//! The bench: that it measures everything, and that its record has the shape that it is kept in.

use std::path::Path;
use std::process::{Command, Output};

use bantam::archive::{ModelFiles, WeightSource};
use bantam::bench::{Bench, Effort, Form, Outcome};
use bantam::gpu::{Gpu, GpuOptions};
use bantam::model::{Layout, LoadOptions, Model};
use serde_json::Value;

use crate::models;

fn bantam(args: &[&str], model: Option<&Path>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bantam"));
    // Nothing is kept, nor timed for being kept.
    command.env("BANTAM_CACHE", "").arg("bench").args(args).args(model).output().unwrap()
}

/// A number above zero.
#[track_caller]
fn assert_positive(value: &Value) {
    assert!(value.as_f64().is_some_and(|v| v.is_finite() && v > 0.0), "{value}");
}

#[track_caller]
fn assert_timing(value: &Value) {
    ["seconds", "fastest", "slowest", "runs"].iter().for_each(|key| assert_positive(&value[key]));
}

fn names(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|f| f["form"].as_str().unwrap()).collect()
}

#[test]
fn a_plan_foretells_what_its_bytes_take() {
    let (_temporary, folder) = models::compressed(&models::demo());
    let files = ModelFiles::open(&folder).unwrap();
    let device = std::env::var("BANTAM_DEVICE").ok();
    let gpu = pollster::block_on(Gpu::open(&GpuOptions { device, ..GpuOptions::default() })).unwrap();
    let mut bench = Bench::new(&gpu, Effort::QUICK, &()).unwrap();
    let WeightSource::Compressed(archive) = &files.sources()[0] else { panic!("it is not compressed") };
    // A device has tables beside each matrix.
    let tables = archive.tensors().len() as f64 * 20e3;
    let (compressed, original) = (archive.compressed_len() as f64, archive.original_len() as f64);
    let [compressed, original] = [compressed, original].map(|bytes| bytes + tables);
    let layers = archive.tensors().iter().filter(|t| t.name.contains(".layers.") && t.shape.len() == 2);
    let layers = layers.map(|t| t.payload.len()).sum::<usize>() as f64;
    for (budget, layout) in [
        (u64::MAX, Layout::Fast),
        (u64::MAX, Layout::Tiered),
        (u64::MAX, Layout::Dense),
        (1_000_000, Layout::Dense),
        (1_000_000, Layout::Fast),
    ] {
        let working_set = Some(200_000);
        let options = LoadOptions::default()
            .with_budget(Some(budget))
            .with_working_set(working_set)
            .with_layout(layout);
        let plan = Model::plan(&gpu, &files, &options).unwrap().unwrap();
        assert_eq!(
            (plan.transcoded.is_some(), plan.is_resident()),
            (layout != Layout::Dense, budget == u64::MAX)
        );
        let is_decoded = gpu.is_cpu() && layout == Layout::Fast && !plan.is_resident();
        let forecast = pollster::block_on(bench.forecast(&files, &plan)).unwrap().unwrap();
        assert_eq!((plan.decodes(), forecast.decoded), (is_decoded, is_decoded));
        let rates = [forecast.read_gb_per_s, forecast.streamed_gb_per_s];
        assert!(rates.iter().all(|rate| rate.is_some() != plan.is_resident()), "{forecast:?}");
        // Seconds are those of bytes that the model has, whatever the rates were: what a token reads of weights that
        // stay is about the file, and what it streams is a part of it.
        let bytes = |seconds: f64, rate: f64| seconds * rate * 1e9;
        if plan.is_resident() {
            let read = bytes(forecast.computing_seconds, forecast.resident_gb_per_s);
            let most = if layout == Layout::Dense { compressed } else { original };
            assert!((layers..most).contains(&read), "{layers} {read} {most}: {forecast:?}");
            assert_eq!(forecast.reading_seconds, 0.0);
        } else {
            let read = bytes(forecast.reading_seconds, rates[0].unwrap());
            assert!(
                (layers / 10.0..compressed).contains(&read),
                "{layers} {read} {compressed}: {forecast:?}"
            );
            let fastest = rates[1].unwrap().max(forecast.resident_gb_per_s);
            let most = bytes(forecast.computing_seconds, fastest);
            assert!(most > layers, "{layers} {most}: {forecast:?}");
        }
        let longest = forecast.reading_seconds.max(forecast.computing_seconds);
        assert!((0.5..1.0001).contains(&(forecast.tokens_per_s * longest)), "{forecast:?}");
    }
    // What is not compressed cannot be streamed.
    let plain = ModelFiles::open(&models::demo()).unwrap();
    let options = LoadOptions::default().with_budget(Some(u64::MAX));
    let plan = Model::plan(&gpu, &plain, &options).unwrap().unwrap();
    assert!(pollster::block_on(bench.forecast(&plain, &plan)).unwrap().is_none());
}

#[test]
fn a_record_has_the_machine_and_every_section() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("record.json");
    let output = bantam(&["--quick", "-o", path.to_str().unwrap()], Some(&models::demo()));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let record: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();

    assert_eq!((&record["bantam"], &record["quick"]), (&env!("CARGO_PKG_VERSION").into(), &true.into()));
    assert_eq!(record["date"].as_str().unwrap().len(), "2026-11-21".len());
    assert!(["timestamps", "wall"].contains(&record["clock"].as_str().unwrap()));
    for key in ["adapter", "device_type", "backend", "driver", "driver_info", "os", "arch"] {
        assert!(record["machine"][key].is_string(), "{key}");
    }
    assert_positive(&record["machine"]["cpus"]);

    for call in record["first_calls"].as_array().unwrap() {
        assert_positive(&call["seconds"]);
    }
    assert_timing(&record["copy"]);
    assert_positive(&record["copy"]["gb_per_s"]);
    let types: Vec<&str> =
        record["decode"].as_array().unwrap().iter().map(|f| f["dtype"].as_str().unwrap()).collect();
    assert_eq!(types, ["BF16", "F16", "F32", "F8_E4M3", "F8_E5M2"]);
    for figure in record["decode"].as_array().unwrap() {
        assert_timing(figure);
        assert_positive(&figure["gb_per_s"]);
    }
    for section in ["matvec", "matmul"] {
        let cases = record[section].as_array().unwrap();
        assert!(!cases.is_empty());
        for case in cases {
            assert_product(case);
        }
    }
    assert_model(&record["model"]);
    // What people see has every section too.
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.matches("\n**").count(), 6, "{text}");
}

#[track_caller]
fn assert_product(case: &Value) {
    ["rows", "cols", "tokens"].iter().for_each(|key| assert_positive(&case[key]));
    assert_eq!(names(&case["measured"]), ["raw", "dense", "fast", "tiered"]);
    for figure in case["measured"].as_array().unwrap() {
        assert_timing(figure);
        ["gb_per_s", "original_gb_per_s", "gflop_per_s", "ratio"]
            .iter()
            .for_each(|k| assert_positive(&figure[k]));
    }
    let [raw, dense, fast] = [0, 1, 2].map(|i| case["measured"][i]["weight_bytes"].as_u64().unwrap());
    assert!(dense < fast && fast < raw);
    assert_eq!(case["measured"][0]["ratio"], 1.0);
}

#[track_caller]
fn assert_model(model: &Value) {
    assert_eq!((&model["name"], &model["synthetic"]), (&"demo".into(), &false.into()));
    assert_eq!(names(&model["forms"]), ["raw", "dense", "fast", "tiered"]);
    for form in model["forms"].as_array().unwrap() {
        let figure = &form["measured"];
        assert_timing(&figure["prefill"]);
        assert_timing(&figure["token"]);
        for key in ["weight_bytes", "dispatches_a_token", "tokens_per_s", "prefill_tokens_per_s", "ratio"] {
            assert_positive(&figure[key]);
        }
    }
}

#[test]
fn sections_are_measured_alone_and_a_compressed_model_is_as_good() {
    let (_folder, compressed) = models::compressed(&models::demo());
    let output = bantam(&["--quick", "--only", "copy,model", "--json"], Some(&compressed));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let record: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(record["matvec"].is_null() && record["decode"].is_null() && record["copy"].is_object());
    assert_eq!(record["model"]["forms"].as_array().unwrap().len(), Form::ALL.len());
}

#[test]
fn the_record_goes_where_it_is_wanted_and_replaces_nothing_unasked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("record.json");
    let file = path.to_str().unwrap();
    let copy = |args: &[&str]| bantam(&[&["--quick", "--only", "copy"], args].concat(), None);
    for args in [&["--json"][..], &["--json", "-"], &["-o", "-"], &["--json", "-o", file]] {
        let output = copy(args);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let record: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert!(record["copy"].is_object(), "{args:?}");
    }
    let before = std::fs::read(&path).unwrap();
    let output = copy(&["-o", file]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--force"));
    assert_eq!(std::fs::read(&path).unwrap(), before);
    assert!(copy(&["-o", file, "--force"]).status.success());
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
    // A file that follows --json is a model to measure, and stays what it is.
    let output = bantam(&["--quick", "--only", "model", "--json", file], None);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(bantam(&["-"], None).status.code(), Some(1));
}

#[test]
fn what_cannot_be_measured_is_an_error_or_left_out_with_a_reason() {
    let missing = bantam(&["--quick", "--only", "model"], Some(Path::new("no-such-model")));
    assert_eq!(missing.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&missing.stderr).contains("no-such-model"));
    let size = bantam(&["--size", "2B"], None);
    assert_eq!(size.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&size.stderr).contains("135M, 1B, 8B"));

    // A budget in which the smallest matrix fits, and the next does not.
    let device = std::env::var("BANTAM_DEVICE").ok();
    let options = GpuOptions { device, budget: Some(28 << 20), ..GpuOptions::default() };
    let gpu = pollster::block_on(Gpu::open(&options)).unwrap();
    let patient = Effort { longest_run: std::time::Duration::from_secs(3600), ..Effort::QUICK };
    let effort = Effort { matvec: &[[64, 256], [4096, 4096]], ..patient };
    let cases = pollster::block_on(Bench::new(&gpu, effort, &()).unwrap().matvec()).unwrap();
    assert!(matches!(&cases[0].outcome, Outcome::Measured(figures) if figures.len() == Form::ALL.len()));
    assert!(matches!(&cases[1].outcome, Outcome::Skipped(why) if why.contains("out of device memory")));
    // Nor what would take too long.
    let effort = Effort { longest_run: std::time::Duration::ZERO, ..Effort::QUICK };
    let cases = pollster::block_on(Bench::new(&gpu, effort, &()).unwrap().matvec()).unwrap();
    assert!(matches!(&cases[1].outcome, Outcome::Skipped(why) if why.contains("would take")));
}
