//! Measures how much longer the first call of a kernel takes than the second: the time to compile it.

use std::time::Instant;

use serde::Serialize;

use super::Bench;
use super::contender::{Contender, Copies};
use super::error::BenchError;
use super::form::{Form, Original};
use super::products::{Kernel, Operands};
use super::weights;
use crate::codec::{Payload, encode};
use crate::gpu::Uploader;
use crate::tensor::{Dtype, Matrix};

/// A matrix that is small enough for any device.
const SHAPE: [usize; 2] = [576, 576];

/// A batch that is small enough for any device.
const TOKENS: usize = 16;

/// The times of a kernel's first two calls.
#[derive(Debug, Clone, Serialize)]
pub struct FirstCall {
    /// The kernel.
    pub kernel: &'static str,
    /// The form of the weights.
    pub form: &'static str,
    /// Time from requesting the kernel to the end of its first run. The driver may have cached compiled
    /// kernels in an earlier process.
    pub seconds: f64,
    /// Time of the second run.
    pub second_seconds: f64,
}

impl Bench<'_> {
    /// Calls each product for the first time. Run this before other sections: a device compiles each kernel
    /// once.
    pub async fn first_calls(&mut self) -> Result<Vec<FirstCall>, BenchError> {
        let [rows, cols] = SHAPE;
        let bytes = weights::gaussian(Dtype::BF16, rows * cols, 1);
        let payload = encode(Dtype::BF16, &SHAPE, &bytes)?;
        let payload = Payload::parse(&payload)?;
        let matrix = Matrix { rows, cols };
        let original = Original { dtype: Dtype::BF16, matrix, bytes: &bytes, payload: &payload };
        let mut uploader = Uploader::new(&self.gpu)?;
        let mut all = Vec::new();
        for form in Form::ALL {
            let copies = Copies::upload(&self.gpu, &mut uploader, form, &original, 1).await?;
            let Some(copies) = copies else { continue };
            for kernel in [Kernel::Matvec, Kernel::Matmul(TOKENS)] {
                self.check()?;
                all.push(self.first_call(&copies, kernel).await?);
            }
        }
        Ok(all)
    }

    async fn first_call(&mut self, copies: &Copies, kernel: Kernel) -> Result<FirstCall, BenchError> {
        let operands = Operands::new(&self.gpu, SHAPE, TOKENS)?;
        let bind = |weights: &_| operands.dispatches(&self.gpu, kernel, weights);
        let mut seconds = [0.0; 2];
        for seconds in &mut seconds {
            let began = Instant::now();
            let mut contender = Contender::new(copies, self.effort.pass, bind)?;
            contender.run(&mut self.clock, TOKENS).await?;
            *seconds = began.elapsed().as_secs_f64();
        }
        let [seconds, second_seconds] = seconds;
        Ok(FirstCall { kernel: kernel.name(), form: copies.form.name(), seconds, second_seconds })
    }
}
