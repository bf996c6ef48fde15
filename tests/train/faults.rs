//! Devices that are lost while a model is trained.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use bantam::gpu::{GpuError, Transcoded};
use bantam::train::{Optimizer, Rounding, TrainError, TrainOptions};

use crate::gradients::folder;
use crate::{batch, device, trainer, update};

#[test]
fn a_device_that_is_lost_in_a_step_is_an_error_and_another_works() {
    let folder = folder("LlamaForCausalLM", serde_json::json!({}));
    let options = || {
        TrainOptions::default()
            .with_length(8)
            .with_update(update(Optimizer::ADAM_W, Rounding::Stochastic, 1e-3))
            .with_layout(Some(Transcoded::Tiered))
    };
    let batch = batch(1, 8, 64);
    let (mut losses, mut given_up) = (Vec::new(), 0);
    // After so many waits of the second step; in the end, after all of them.
    for waits in [0, 1, 2, 5, 20, usize::MAX] {
        // Each dispatch is a submission of its own, so that there are many waits.
        let gpu = device::gpu().with_submission_work(1);
        let mut trainer = trainer(&gpu, folder.path(), options());
        losses.push(pollster::block_on(trainer.step(&batch)).unwrap().loss);
        let (lost, device) = (gpu.device().clone(), gpu.device().clone());
        let outcome = {
            let mut step = pin!(trainer.step(&batch));
            let mut context = Context::from_waker(Waker::noop());
            let mut done = None;
            for _ in 0..waits {
                if let Poll::Ready(outcome) = step.as_mut().poll(&mut context) {
                    done = Some(outcome);
                    break;
                }
                let _ = device.poll(bantam::wgpu::PollType::wait_indefinitely());
            }
            lost.destroy();
            done.unwrap_or_else(|| pollster::block_on(step))
        };
        let is_lost = |error: &TrainError| matches!(error, TrainError::Gpu(GpuError::DeviceLost(_)));
        match outcome {
            // It had ended before.
            Ok(report) => assert_eq!(report.step, 2),
            Err(error) => {
                assert!(is_lost(&error), "{waits}: {error:?}");
                given_up += 1;
            }
        }
        // Nothing more is done with it, and nothing is kept.
        let error = pollster::block_on(trainer.step(&batch)).unwrap_err();
        assert!(is_lost(&error) || matches!(error, TrainError::Torn), "{waits}: {error:?}");
        drop(trainer);
        assert_eq!(gpu.memory().used(), 0);
    }
    assert!(given_up >= 3, "{given_up}");
    assert!(losses.iter().all(|&loss| loss == losses[0]), "{losses:?}");
}
