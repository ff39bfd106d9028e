/*
 * The floating-point registers to and from a struct fp_state (fp.h) at a0. The unit is switched on by the caller.
 */
    .option arch, +d
    .text
    .globl fp_store
fp_store:
    .irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
    fsd f\n, 8*\n(a0)
    .endr
    frcsr t0
    sw t0, 256(a0)
    ret

    .globl fp_fetch
fp_fetch:
    lw t0, 256(a0)
    .irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
    fld f\n, 8*\n(a0)
    .endr
    fscsr t0
    ret
