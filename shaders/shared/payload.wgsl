// The stored weights: words of dense tiles, and vectors of four words in the other layouts.
//
// TEXTURE: they are in a texture, in rows of as many texels as ROW_BITS bits count.

#ifdef DENSE
alias Unit = u32;
#else
alias Unit = vec4<u32>;
#endif

#ifdef TEXTURE
#ifdef DENSE
@group(0) @binding(2) var payload: texture_storage_2d<r32uint, read>;
#else
@group(0) @binding(2) var payload: texture_storage_2d<rgba32uint, read>;
#endif

fn payload_at(i: u32) -> Unit {
    let texel = textureLoad(payload, vec2<u32>(i & ((1u << ROW_BITS) - 1u), i >> ROW_BITS));
#ifdef DENSE
    return texel.x;
#else
    return texel;
#endif
}
#else
@group(0) @binding(2) var<storage, read> payload: array<Unit>;

fn payload_at(i: u32) -> Unit {
    return payload[i];
}
#endif
