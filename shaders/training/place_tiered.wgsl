// Where the rows of a piece in the tiered layout go, once they were measured: sums of what comes before each.
//
// There is one workgroup. An invocation adds up a run of rows.
//
// If they need more room than there is, nothing is written but what they need, so that the weights that are there
// can still be read.
//
// Bindings:
//   1  room        rows, and where in the table is what
//   2  measured    what measure_tiered.wgsl wrote
//   3  tiers       the table of shared/tiered.wgsl
//   4  row_places  as transcode_tiered.wgsl reads them
//   5  needs       [pieces]: exceptions, words of streams, the most exceptions of a row, 0
//
// Workgroups: (1, 1).

struct TieredRoom {
    rows: u32,
    spans: u32,
    // 1 where the last code stands for the exponent 0.
    zeros: u32,
    // Which of `needs` is this piece's.
    piece: u32,
    // The words that row blocks' first exceptions, all exceptions and streams begin with.
    firsts: u32,
    exceptions: u32,
    streams: u32,
    // The word behind the last stream.
    end: u32,
    // Most exceptions that a row may have.
    most_of_row: u32,
    unused0: u32,
    unused1: u32,
    unused2: u32,
}

struct RowPlaces {
    table: u32,
    exceptions: u32,
    streams: u32,
    is_too_large: u32,
    rows: array<vec2<u32>>,
}

@group(0) @binding(1) var<uniform> room: TieredRoom;
@group(0) @binding(2) var<storage, read> measured: array<u32>;
@group(0) @binding(3) var<storage, read_write> tiers: array<u32>;
@group(0) @binding(4) var<storage, read_write> row_places: RowPlaces;
@group(0) @binding(5) var<storage, read_write> needs: array<vec4<u32>>;

// Of each invocation: words of streams, exceptions, and the most exceptions of a row.
var<workgroup> sums: array<vec3<u32>, 256>;

// Base, bits and exceptions.
fn measured_of(row: u32) -> vec3<u32> {
    let at = 6u * row + 3u * room.zeros;
    return vec3<u32>(measured[at], measured[at + 1u], measured[at + 2u]);
}

fn after(sum: vec3<u32>, of_row: vec3<u32>) -> vec3<u32> {
    return vec3<u32>(sum.x + ((of_row.y + 31u) >> 5u), sum.y + of_row.z, max(sum.z, of_row.z));
}

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) lane: u32) {
    let each = (room.rows + 255u) / 256u;
    let start = min(lane * each, room.rows);
    let end = min(start + each, room.rows);
    var own = vec3<u32>(0u);
    for (var row = start; row < end; row++) {
        own = after(own, measured_of(row));
    }
    sums[lane] = own;
    workgroupBarrier();
    var before = vec3<u32>(0u);
    var all = vec3<u32>(0u);
    for (var i = 0u; i < 256u; i++) {
        if i == lane {
            before = all;
        }
        all = vec3<u32>(all.xy + sums[i].xy, max(all.z, sums[i].z));
    }
    let fits = all.x <= room.end - room.streams && all.y <= room.streams - room.exceptions && all.z <= room.most_of_row;
    if lane == 0u {
        needs[room.piece] = vec4<u32>(all.y, all.x, all.z, 0u);
        row_places.table = 0u;
        row_places.exceptions = room.exceptions;
        row_places.streams = room.streams;
        row_places.is_too_large = select(1u, 0u, fits);
        if fits {
            tiers[room.firsts + (room.rows + 63u) / 64u] = all.y;
        }
    }
    if !fits {
        return;
    }
    for (var row = start; row < end; row++) {
        let of_row = measured_of(row);
        let stream = (of_row.x << 24u) | before.x;
        row_places.rows[row] = vec2<u32>(stream, before.y);
        tiers[(row >> 6u) * room.spans * 64u + (row & 63u)] = stream;
        if (row & 63u) == 0u {
            tiers[room.firsts + (row >> 6u)] = before.y;
        }
        before = after(before, of_row);
    }
}
