//! The device: kernels against their twins, in every variant, on whatever `BANTAM_DEVICE` names.
#![cfg(feature = "runtime")]

#[cfg(feature = "cli")]
mod calibration;
mod decode;
mod encode;
#[cfg(feature = "cli")]
mod guest;
mod isa;
mod joined;
mod kernels;
mod optimizers;
mod products;
#[cfg(target_os = "linux")]
mod radv;
mod shaders;
mod training;

#[path = "../fixtures/data/mod.rs"]
mod data;
#[path = "../fixtures/device/mod.rs"]
mod device;
#[path = "../fixtures/host/mod.rs"]
mod host;
#[path = "../fixtures/left_out/mod.rs"]
mod left_out;
#[path = "../fixtures/models/mod.rs"]
mod models;
#[cfg(target_os = "linux")]
#[path = "../fixtures/null_device/mod.rs"]
mod null_device;
#[path = "../fixtures/on_device/mod.rs"]
mod on_device;
#[path = "../fixtures/patience/mod.rs"]
mod patience;
#[path = "../fixtures/random_model/mod.rs"]
mod random_model;
#[path = "../fixtures/translation/mod.rs"]
mod translation;
#[cfg(target_os = "linux")]
#[path = "../fixtures/within_limits/mod.rs"]
mod within_limits;
