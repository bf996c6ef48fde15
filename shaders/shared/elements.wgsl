// One invocation for each element, in workgroups that are numbered in two dimensions.
struct Length {
    elements: u32,
    unused0: u32,
    unused1: u32,
    unused2: u32,
}

@group(0) @binding(1) var<uniform> length: Length;

fn element(group: vec3<u32>, lane: u32) -> u32 {
    return (group.x * 256u + group.y) * 64u + lane;
}
