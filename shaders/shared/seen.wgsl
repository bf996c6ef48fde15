// Which keys a query of a sequence sees, and where a matrix of queries and keys has its elements.
struct Seen {
    // Queries, and keys, of a sequence.
    length: u32,
    // Elements from one query to the next, and from one matrix to the next.
    row: u32,
    product: u32,
    // How many positions back a query sees, itself included.
    window: u32,
    // What scores are multiplied by.
    scale: f32,
    unused0: u32,
    unused1: u32,
    unused2: u32,
}

@group(0) @binding(1) var<uniform> seen: Seen;

// The first key that a query sees.
fn first_seen(query: u32) -> u32 {
    return query + 1u - min(query + 1u, seen.window);
}
