// Products of numbers rounded to bf16, two in the place of a float, with sums in fp32.
//
// Where the processor multiplies pairs (AVX512_BF16) this takes half the instructions of `times_panel`; elsewhere the
// pairs are taken apart, and it takes longer.  A product of two bf16 numbers is exact in fp32; how two of them are added
// to a sum is the processor's affair: last bits differ between the two.

#pragma once
#include "tiles.h"

// The upper halves of floats, rounded to nearest, ties to even; NaN stays NaN.
INLINE I32 rounded(F32 x) {
    const I32 bits = (I32)x, up = bits + 0x7fff + ((bits >> 16) & 1);
    return x == x ? up : bits;
}
INLINE H16 to_bf16(F32 x) { return __builtin_convertvector(rounded(x) >> 16, H16); }
// Of each lane: `first` in the lower half.
INLINE F32 paired(F32 first, F32 second) {
    return (F32)(((rounded(first) >> 16) & 0xffff) | (rounded(second) & (int32_t)0xffff0000));
}

// sum + a b of both halves.
INLINE F32 add_pairs(F32 sum, F32 a, F32 b) {
#if defined(__AVX512BF16__) && defined(__AVX512BW__)
    return (F32)_mm512_dpbf16_ps((__m512)sum, (__m512bh)(__m512)a, (__m512bh)(__m512)b);
#else
    const I32 upper = splat_int((int32_t)0xffff0000), x = (I32)a, y = (I32)b;
    return fma((F32)(x & upper), (F32)(y & upper), fma((F32)(x << 16), (F32)(y << 16), sum));
#endif
}

// c[PIECE] = a b, as `times_panel`: a is [n_panels][TILE][PANEL / 2] pairs, a_step apart, b [n_panels * PANEL / 2][PANEL].
__attribute__((noinline)) static void times_pairs(const float *a, const float *b, float *c, int64_t n_panels,
                                                  int64_t a_step) {
    F32 sum[TILE][2];
    for (int r = 0; r < TILE; r++)
        for (int v = 0; v < 2; v++) sum[r][v] = F32{};
    for (int64_t p = 0; p < n_panels; p++, a += a_step)
        for (int k = 0; k < PANEL / 2; k++, b += PANEL) {
            const F32 b0 = load<F32>(b), b1 = load<F32>(b + LANES);
            for (int r = 0; r < TILE; r++) {
                const F32 x = (F32)splat_int(load<int32_t>(a + r * PANEL / 2 + k));
                sum[r][0] = add_pairs(sum[r][0], x, b0), sum[r][1] = add_pairs(sum[r][1], x, b1);
            }
        }
    for (int r = 0; r < TILE; r++)
        for (int v = 0; v < 2; v++) store(c + r * PANEL + v * LANES, sum[r][v]);
}
