// Exceptions of the fast layout, found row by row, in the order of the table: each goes where as many of its row
// block's belong before it.
//
// One workgroup orders those of a row block. One invocation has every 64th of them.
//
// Bindings:
//   1  room        rows, and where in the table is what
//   2  found       what transcode.wgsl wrote
//   3  exceptions  the table of shared/fast.wgsl
//
// Workgroups: (row blocks, 1).

struct Ordering {
    rows: u32,
    // The words that row blocks' first exceptions, and exceptions, begin with.
    starts: u32,
    entries: u32,
    unused0: u32,
}

@group(0) @binding(1) var<uniform> room: Ordering;
@group(0) @binding(2) var<storage, read> found: array<u32>;
@group(0) @binding(3) var<storage, read_write> exceptions: array<u32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    if found[room.rows] == 0xffffffffu {
        return;
    }
    let first = found[group.x * 64u];
    let end = found[min(group.x * 64u + 64u, room.rows)];
    let entries = room.rows + 1u;
    for (var i = first + lane; i < end; i += 64u) {
        let entry = found[entries + i];
        var at = first;
        for (var other = first; other < end; other++) {
            at += select(0u, 1u, found[entries + other] < entry);
        }
        exceptions[room.entries + at] = entry;
    }
}
