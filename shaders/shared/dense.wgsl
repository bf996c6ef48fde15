// Reader of weights in dense tiles: a stream of symbols a lane, and raw planes, interleaved by lane,
// for the other bits of each unit.

#import stream
#import planes

fn open_tile(lane: u32, row_block: u32, col_tile: u32) {
    open_stream(lane, row_block, col_tile);
    open_planes(lane, row_block, col_tile);
}

fn next_chunk() {
    next_raw_chunk();
}

// The units of columns 4 i .. 4 i + 3 of the chunk, each from bit 31 down.
fn four_units(i: u32) -> vec4<u32> {
    return four_symbols() | four_raw(i);
}

fn four_bits(i: u32) -> vec4<u32> {
    let units = four_units(i);
#ifdef WEIGHT_F16
    // As the reader of uncompressed weights widens them.
    let a = unpack2x16float((units.x >> 16u) | units.y);
    let b = unpack2x16float((units.z >> 16u) | units.w);
    return bitcast<vec4<u32>>(vec4<f32>(a, b));
#else
    return units;
#endif
}
