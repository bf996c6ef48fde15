// Where the exceptions of the rows of a piece in the fast layout go, once the rows were measured: sums of what comes
// before each.
//
// There is one workgroup. An invocation adds up a run of rows, a multiple of four.
//
// If they need more room than there is, nothing is written but what they need, so that the weights that are there
// can still be read.
//
// Bindings:
//   1  room        rows, and where in the table is what
//   2  measured    what measure.wgsl wrote
//   3  exceptions  the table of shared/fast.wgsl
//   4  found       [rows + 1]: where each row's exceptions begin, and their end, as transcode.wgsl reads them
//   5  needs       [pieces]: exceptions, 0, the most exceptions of a row block, 0
//
// Workgroups: (1, 1).

struct FastRoom {
    rows: u32,
    // 1 where code 0 stands for the exponent 0.
    zeros: u32,
    // Which of `needs` is this piece's.
    piece: u32,
    // The word that the first exceptions of row blocks' spans begin with.
    starts: u32,
    // Most exceptions that there is room for, and that a row block may have.
    most: u32,
    most_of_row_block: u32,
    // Spans of a row. order_exceptions.wgsl says where each but the first begins.
    spans: u32,
    unused0: u32,
}

@group(0) @binding(1) var<uniform> room: FastRoom;
@group(0) @binding(2) var<storage, read> measured: array<u32>;
@group(0) @binding(3) var<storage, read_write> exceptions: array<u32>;
@group(0) @binding(4) var<storage, read_write> found: array<u32>;
@group(0) @binding(5) var<storage, read_write> needs: array<vec4<u32>>;

var<workgroup> sums: array<u32, 256>;
var<workgroup> of_row_blocks: array<u32, 256>;

fn exceptions_of(row: u32) -> u32 {
    return measured[3u * row + 1u + room.zeros];
}

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) lane: u32) {
    // Whole row blocks.
    let each = (((room.rows + 63u) / 64u + 255u) / 256u) * 64u;
    let start = min(lane * each, room.rows);
    let end = min(start + each, room.rows);
    var own = 0u;
    var most = 0u;
    var first = 0u;
    for (var row = start; row < end; row++) {
        if (row & 63u) == 0u {
            first = own;
        }
        own += exceptions_of(row);
        most = max(most, own - first);
    }
    sums[lane] = own;
    of_row_blocks[lane] = most;
    workgroupBarrier();
    var before = 0u;
    var all = 0u;
    var most_of_all = 0u;
    for (var i = 0u; i < 256u; i++) {
        if i == lane {
            before = all;
        }
        all += sums[i];
        most_of_all = max(most_of_all, of_row_blocks[i]);
    }
    let fits = all <= room.most && most_of_all <= room.most_of_row_block;
    if lane == 0u {
        needs[room.piece] = vec4<u32>(all, 0u, most_of_all, 0u);
        // Without room for them, transcode.wgsl writes nothing.
        found[room.rows] = select(0xffffffffu, all, fits);
        if fits {
            exceptions[room.starts + (room.rows + 63u) / 64u * room.spans] = all;
        }
    }
    if !fits {
        return;
    }
    var lowest = 0u;
    for (var row = start; row < end; row++) {
        found[row] = before;
        if (row & 63u) == 0u {
            exceptions[room.starts + (row >> 6u) * room.spans] = before;
        }
        before += exceptions_of(row);
        lowest |= measured[3u * row] << (8u * (row & 3u));
        if (row & 3u) == 3u || row + 1u == room.rows {
            exceptions[row >> 2u] = lowest;
            lowest = 0u;
        }
    }
}
