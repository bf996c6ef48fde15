// Units of 16 bits at the most, of four columns: two side by side in a word, or each in a word from bit 31 down; and which
// of the columns are the tile's.

// Columns of the chunk that are the tile's, and perhaps more.
var<private> chunk_valid: u32;

fn begin_chunk(valid: u32) {
    chunk_valid = valid;
}

// Whether columns 4 i .. 4 i + 3 of the chunk are the tile's.
fn are_valid(i: u32) -> vec4<bool> {
    let valid = max(chunk_valid, 4u * i) - 4u * i;
    return vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(valid);
}

// Zeros for columns that are not the tile's.
fn valid_of(halves: vec2<u32>, i: u32) -> vec2<u32> {
    return halves & halves_of_units(select(vec4<u32>(0u), vec4<u32>(0xffff0000u), are_valid(i)));
}

fn units_of(halves: vec2<u32>) -> vec4<u32> {
    return vec4<u32>(halves.x << 16u, halves.x & 0xffff0000u, halves.y << 16u, halves.y & 0xffff0000u);
}

fn halves_of_units(units: vec4<u32>) -> vec2<u32> {
    return vec2<u32>((units.x >> 16u) | units.y, (units.z >> 16u) | units.w);
}
