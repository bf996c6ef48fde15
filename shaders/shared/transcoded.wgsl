// Where the transcoded weights go: vectors of four words, in a buffer or in a texture.

#ifdef TO_TEXTURE
// In rows of as many vectors as TO_ROW_BITS bits count.
@group(0) @binding(5) var transcoded: texture_storage_2d<rgba32uint, write>;

fn put_vector(i: u32, vector: vec4<u32>) {
    textureStore(transcoded, vec2<u32>(i & ((1u << TO_ROW_BITS) - 1u), i >> TO_ROW_BITS), vector);
}
#else
@group(0) @binding(5) var<storage, read_write> transcoded: array<vec4<u32>>;

fn put_vector(i: u32, vector: vec4<u32>) {
    transcoded[i] = vector;
}
#endif
