// Choosing one of joined matrices. Their row blocks follow each other, and a workgroup has one of them.

// Sets `matrix` to the member that has row block `block` of all, and returns the block's place in that member. A
// matrix that is alone has all row blocks.
fn choose_member(block: u32) -> u32 {
#ifdef JOINED
    var member = 0u;
#unroll m MEMBERS
    if block >= members[$m].first_block {
        member = $mu;
    }
#end
    matrix = members[member];
    return block - matrix.first_block;
#else
    return block;
#endif
}
