//! Compiling variants for one GPU, for a table of them or to compare them with one.

use std::collections::HashSet;
use std::process::ExitCode;

use bantam::gpu::kernels;
use bantam::gpu::{Target, Variant};

use super::null_device::{Compiled, NullDevice};
use super::reading::assembly::Listing;
use super::reading::cost::Cost;
use super::reading::table::{self, Kept, Row};
use super::room::Device;
use super::translation::{Kernel, Vulkan};
use super::{key, subject};

/// Nothing was compared.
const LEFT_OUT: u8 = 77;

/// The compiler for one GPU.
pub struct Compiler<'a> {
    family: &'a str,
    device: NullDevice,
    /// A device with this GPU.
    whole: Option<&'static Device>,
}

/// What a GPU is given. Several rows an invocation are only timed there.
pub fn given() -> Vec<Variant> {
    let mut all = kernels::offered(Target::Gpu);
    let mut labels = HashSet::new();
    // Some are there twice, for two numbers of invocations that are one where no row is shared.
    all.retain(|variant| !variant.label().contains("rows=") && labels.insert(variant.label()));
    all
}

impl<'a> Compiler<'a> {
    /// That of the GPU that RADV calls `family`, to which `RADV_FORCE_FAMILY` is set.
    pub fn open(family: &'a str) -> Self {
        let device = NullDevice::open().expect("RADV_FORCE_FAMILY is set, and RADV gives no device");
        Self { family, device, whole: Device::of_family(family) }
    }

    /// A table of some variants.
    pub fn table(&self, variants: &[Variant]) -> String {
        let rows: Vec<Row> = variants.iter().map(|variant| self.row(variant)).collect();
        table::write(self.family, self.device.driver(), self.whole.map(|device| device.name), &rows)
    }

    /// The assembly of the variant whose label is `kernel`.
    pub fn assembly(&self, kernel: &str) -> String {
        let mut variants = key::variants().into_iter().chain(kernels::variants());
        let variant = variants.find(|variant| variant.label() == kernel);
        self.compile(&Kernel::of(&variant.unwrap_or_else(|| panic!("{kernel} is no kernel")))).assembly
    }

    fn compile(&self, kernel: &Kernel) -> Compiled {
        self.device.compile(&kernel.spirv(Vulkan::RADV), &kernel.bindings())
    }

    fn row(&self, variant: &Variant) -> Row {
        let kernel = Kernel::of(variant);
        let compiled = self.compile(&kernel);
        let loop_of = subject::mark(variant).zip(subject::chunk(variant));
        let cost =
            loop_of.and_then(|(mark, chunk)| Cost::of(&Listing::parse(&compiled.assembly), mark, chunk));
        Row {
            kernel: kernel.label,
            registers: compiled.vector_registers,
            subgroups: compiled.subgroups,
            code_bytes: compiled.code_bytes,
            instructions: compiled.instructions,
            cost,
            room: self.whole.zip(subject::bits(variant)).map(|(device, bits)| device.room(bits)),
        }
    }

    /// Compares with the table that `page` has for this GPU, and says what is worse.
    pub fn check(&self, page: &str) -> ExitCode {
        let text = std::fs::read_to_string(page).unwrap_or_else(|e| panic!("{page}: {e}"));
        let (family, driver) = (self.family, self.device.driver());
        let Some(kept) = Kept::read(&text, family) else {
            println!("{page} has no table of {family}; run benches/isa/run --keep");
            return ExitCode::FAILURE;
        };
        if !kept.is_of(driver) {
            println!("{family}: not compared: kept of {}, and here is {driver}", kept.driver);
            return ExitCode::from(LEFT_OUT);
        }
        let worse = self.worse(&kept);
        worse.iter().for_each(|worse| println!("{family}: {worse}"));
        println!("{family}: {} kernels, {} worse", kept.rows.len(), worse.len());
        if worse.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    fn worse(&self, kept: &Kept) -> Vec<String> {
        let variants: Vec<Variant> = key::variants().into_iter().chain(given()).collect();
        let worse = kept.rows.iter().filter_map(|before| {
            let Some(variant) = variants.iter().find(|variant| variant.label() == before.kernel) else {
                return Some(format!("{}: no such kernel; run benches/isa/run --keep", before.kernel));
            };
            before.worse(&self.row(variant))
        });
        worse.collect()
    }
}
