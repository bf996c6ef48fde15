//! How many instructions a weight a device has time for while it reads the weight from its memory.

use super::subject;

/// A device, by its public specification.
pub struct Device {
    pub name: &'static str,
    /// What Mesa calls a GPU of this kind.
    pub family: Option<&'static str>,
    /// Of memory.
    pub gigabytes_per_second: f64,
    /// That compute at a time. Instructions that are issued in pairs are not reckoned with.
    pub lanes: f64,
    pub gigahertz: f64,
}

const fn device(
    name: &'static str,
    family: Option<&'static str>,
    gigabytes_per_second: f64,
    lanes: f64,
    gigahertz: f64,
) -> Device {
    Device { name, family, gigabytes_per_second, lanes, gigahertz }
}

pub const DEVICES: [Device; 10] = [
    device("Radeon 780M, DDR5-5600", Some("gfx1103_r1"), 89.6, 768.0, 2.7),
    device("Radeon 890M, LPDDR5X-7500", None, 120.0, 1024.0, 2.9),
    device("Radeon 8060S", None, 256.0, 2560.0, 2.9),
    device("Radeon RX 7900 XTX", Some("gfx1100"), 960.0, 6144.0, 2.5),
    device("Radeon RX 6900 XT", Some("navi21"), 512.0, 5120.0, 2.25),
    device("Radeon RX Vega 64", Some("vega10"), 483.8, 4096.0, 1.546),
    device("Apple M1, 8 cores", None, 68.25, 1024.0, 1.278),
    device("Apple M4 Max, 40 cores", None, 546.0, 5120.0, 1.58),
    device("GeForce RTX 4070", None, 504.2, 5888.0, 2.475),
    device("H200", None, 4800.0, 16896.0, 1.98),
];

impl Device {
    pub fn of_family(family: &str) -> Option<&'static Self> {
        DEVICES.iter().find(|device| device.family == Some(family))
    }

    /// Instructions of a lane in the time in which memory gives it a weight of so many bits.
    pub fn room(&self, bits: f64) -> f64 {
        let weights = self.gigabytes_per_second * 8.0 / bits;
        self.lanes * self.gigahertz / weights
    }
}

/// The room of all devices, for weights of as many bits as each layout has.
pub fn table() -> String {
    let bits = [16.0, subject::FAST_BITS, subject::TIERED_BITS, subject::DENSE_BITS];
    let columns: String = bits.iter().map(|bits| format!(" {bits} bits |")).collect();
    let mut text = format!("| device | GB/s | lanes | GHz |{columns}\n|---|---|---|---|---|---|---|---|\n");
    for device in &DEVICES {
        let Device { name, gigabytes_per_second, lanes, gigahertz, .. } = device;
        let rooms: String = bits.iter().map(|&bits| format!(" {:.0} |", device.room(bits))).collect();
        text += &format!("| {name} | {gigabytes_per_second} | {lanes} | {gigahertz} |{rooms}\n");
    }
    text
}
