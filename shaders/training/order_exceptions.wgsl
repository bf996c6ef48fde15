// Exceptions of the fast layout, found row by row, in the order of the table: each goes where as many of its row
// block's belong before it. The first one of a span says where the span's begin, and where those of the spans before it
// do that have none.
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
    // The words that the first exceptions of row blocks' spans, and exceptions, begin with.
    starts: u32,
    entries: u32,
    // Spans of a row, and chunks of 32 columns that a span has.
    spans: u32,
    span_chunks: u32,
    unused0: u32,
    unused1: u32,
    unused2: u32,
}

@group(0) @binding(1) var<uniform> room: Ordering;
@group(0) @binding(2) var<storage, read> found: array<u32>;
@group(0) @binding(3) var<storage, read_write> exceptions: array<u32>;

// The exceptions of the first to the last of these spans of a row block begin with number `at`.
fn put_starts(row_block: u32, spans: vec2<u32>, at: u32) {
    for (var span = spans.x; span <= spans.y; span++) {
        exceptions[room.starts + row_block * room.spans + span] = at;
    }
}

// The span that an exception is in.
fn span_of(entry: u32) -> u32 {
    return (entry >> 19u) / room.span_chunks;
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    if found[room.rows] == 0xffffffffu {
        return;
    }
    let first = found[group.x * 64u];
    let end = found[min(group.x * 64u + 64u, room.rows)];
    let entries = room.rows + 1u;
    if first == end && lane == 0u {
        put_starts(group.x, vec2<u32>(0u, room.spans - 1u), first);
    }
    for (var i = first + lane; i < end; i += 64u) {
        let entry = found[entries + i];
        var at = first;
        // The one before it.
        var before = 0u;
        for (var other = first; other < end; other++) {
            let is_before = found[entries + other] < entry;
            at += select(0u, 1u, is_before);
            before = max(before, select(0u, found[entries + other], is_before));
        }
        exceptions[room.entries + at] = entry;
        let first_span = select(span_of(before) + 1u, 0u, at == first);
        put_starts(group.x, vec2<u32>(first_span, span_of(entry)), at);
        if at + 1u == end {
            put_starts(group.x, vec2<u32>(span_of(entry) + 1u, room.spans - 1u), end);
        }
    }
}
