//! Assembly is read as Mesa prints it.

use super::reading::assembly::{Class, Instruction, Listing};

const NESTED: &str = "
BB0:
s_mov_b32 s0, 0                                             ; be800380
BB1:
v_mov_b32_e32 v1, 0                                         ; 7e020280
BB2:
buffer_load_b128 v[0:3], v4, s[0:3], 0 offen                ; e05c0000 80400004
s_cbranch_scc1 BB3                                          ; bf850001
v_fmac_f32_e32 v1, v2, v3                                   ; 56020702
s_branch BB2                                                ; bf82fff0
BB3:
v_dual_fmac_f32 v1, v2, v3 :: v_dual_mov_b32 v4, 0          ; c8400702 01040080
s_cbranch_vccnz BB1                                         ; bf86fff0
buffer_store_b64 v[0:1], v4, s[0:3], 0 offen                ; e06c0000 80400004
s_endpgm                                                    ; bf810000
";

#[test]
fn loops_are_from_a_label_to_the_branch_back() {
    let listing = Listing::parse(NESTED);
    assert_eq!(listing.instructions.len(), 10);
    assert_eq!(listing.loops(), [1..8, 2..6]);
    assert_eq!(listing.around(&(2..6)), Some(&(1..8)));
    assert_eq!(listing.around(&(1..8)), None);
    let own: Vec<Class> = listing.own(&(1..8)).map(|i| i.class).collect();
    assert_eq!(own, [Class::Vector, Class::Vector, Class::Scalar]);
}

#[test]
fn a_loop_with_several_branches_back_is_one() {
    let listing = Listing::parse("BB1:\n s_cbranch_vccz BB1\n v_nop\n s_branch BB1\n");
    assert_eq!(listing.loops(), std::slice::from_ref(&(0..3)));
    assert!(Listing::parse("s_branch BB1\nBB1:\n s_endpgm\n").loops().is_empty());
}

#[test]
fn loops_that_cross_are_not_understood() {
    let crossed = "BB1:\n v_nop\nBB2:\n s_branch BB1\n s_branch BB2\n";
    assert!(Listing::parse(crossed).loops().is_empty());
}

#[test]
fn names_tell_what_an_instruction_does() {
    let of = |line| Instruction::of(line).map(|i| (i.class, i.fused, i.stored_bits));
    for (line, wanted) in [
        ("v_fma_f32 v0, v1, v2, v3", (Class::Vector, 1, 0)),
        ("v_mac_f32_e32 v0, v1, v2", (Class::Vector, 1, 0)),
        ("v_fma_mix_f32 v0, v1, v2, v3", (Class::Vector, 1, 0)),
        ("v_mad_u32_u24 v0, v1, v2, v3", (Class::Vector, 0, 0)),
        ("v_dual_fmac_f32 v0, v1, v2 :: v_dual_fmac_f32 v3, v4, v5", (Class::Vector, 2, 0)),
        ("global_load_dwordx4 v[0:3], v[4:5], off", (Class::Load, 0, 0)),
        ("image_load v[0:3], v[4:5], s[0:7]", (Class::Load, 0, 0)),
        ("buffer_store_dwordx3 v[0:2], v4, s[0:3], 0 offen", (Class::Store, 0, 96)),
        ("buffer_store_short v0, v4, s[0:3], 0 offen", (Class::Store, 0, 16)),
        ("ds_read_b32 v0, v1", (Class::Workgroup, 0, 0)),
        ("s_buffer_load_dwordx4 s[0:3], s[4:7], 0x0", (Class::Scalar, 0, 0)),
    ] {
        assert_eq!(of(line), Some(wanted), "{line}");
    }
    assert!(of("BB3:").is_none() && of("").is_none() && of("Compute Shader").is_none());
}
