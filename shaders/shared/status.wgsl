// Bits of the status of a step: a gradient was not finite; a weight would not have been.
const BAD_GRADIENT: u32 = 1u;
const BAD_WEIGHT: u32 = 2u;
