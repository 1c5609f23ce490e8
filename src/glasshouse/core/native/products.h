// The two products that training is made of, in fp32 or of pairs of bf16.
//
// A matrix (tokens, W) is kept as [tile][W / PANEL][TILE][PANEL]: what a kernel reads and what it writes are each one
// stretch of memory, so that nothing is packed between two products.
//   times_panel   C = A B, B a panel [K][PANEL]: activations by weights.  28 sums and 2 inputs fill 32 registers.
//   add_outer     C += A' B over tokens: gradients of weights.
// PAIRS: the factors are bf16, two that are summed over in the place of a float; sums stay fp32.  Where the processor
// multiplies pairs (AVX512_BF16), half the instructions; elsewhere the pairs are taken apart, and it takes longer.  A
// product of two bf16 numbers is exact in fp32; in which order two of them are added is the processor's affair.
// Every sum runs in one fixed order: results do not depend on the number of threads.

#pragma once
#include "simd.h"

constexpr int PANEL = 2 * LANES, TILE = LANES == 16 ? 14 : 6, PIECE = TILE * PANEL;
constexpr int OUTER = PANEL / 4;  // outputs of one pass of add_outer: 2 OUTER sums
template <bool PAIRS> constexpr int HALVED = PAIRS ? 2 : 1;  // numbers that lie in a float

#if defined(__AVX512BF16__) && defined(__AVX512BW__)
constexpr bool MULTIPLIES_PAIRS = true;
INLINE F32 add_pairs(F32 a, F32 b, F32 sum) {
    return (F32)_mm512_dpbf16_ps((__m512)sum, (__m512bh)(__m512)a, (__m512bh)(__m512)b);
}
#else
constexpr bool MULTIPLIES_PAIRS = false;
INLINE F32 add_pairs(F32 a, F32 b, F32 sum) {
    const I32 upper = splat_int((int32_t)0xffff0000), x = (I32)a, y = (I32)b;
    return fma((F32)(x & upper), (F32)(y & upper), fma((F32)(x << 16), (F32)(y << 16), sum));
}
#endif

template <bool PAIRS> INLINE F32 spread(const float *a) {
    if constexpr (PAIRS) return (F32)splat_int(load<int32_t>(a));
    else return splat(*a);
}
template <bool PAIRS> INLINE F32 times_add(F32 a, F32 b, F32 sum) {
    if constexpr (PAIRS) return add_pairs(a, b, sum);
    else return fma(a, b, sum);
}

// c[PIECE] = (c or 0) + a b: a tile of n_panels pieces, a_step apart; b [n_panels * PANEL][PANEL].  Pairs lie along the
// rows of a and the columns of b.
template <bool ADDS, bool PAIRS = false>
__attribute__((noinline)) static void times_panel(const float *a, const float *b, float *c, int64_t n_panels,
                                                  int64_t a_step = PIECE / HALVED<PAIRS>) {
    constexpr int WIDTH = PANEL / HALVED<PAIRS>;
    F32 sum[TILE][2];
    for (int r = 0; r < TILE; r++)
        for (int v = 0; v < 2; v++) sum[r][v] = ADDS ? load<F32>(c + r * PANEL + v * LANES) : F32{};
    for (int64_t p = 0; p < n_panels; p++, a += a_step)
        for (int k = 0; k < WIDTH; k++, b += PANEL) {
            const F32 b0 = load<F32>(b), b1 = load<F32>(b + LANES);
            for (int r = 0; r < TILE; r++) {
                const F32 x = spread<PAIRS>(a + r * WIDTH + k);
                sum[r][0] = times_add<PAIRS>(x, b0, sum[r][0]), sum[r][1] = times_add<PAIRS>(x, b1, sum[r][1]);
            }
        }
    for (int r = 0; r < TILE; r++)
        for (int v = 0; v < 2; v++) store(c + r * PANEL + v * LANES, sum[r][v]);
}

// c[OUTER][PANEL] += a' b over the tokens of n tiles, whose pieces lie a_step and b_step apart.  Pairs lie along tokens.
template <bool PAIRS = false>
__attribute__((noinline)) static void add_outer(const float *a, int64_t a_step, const float *b, int64_t b_step,
                                                int64_t n, float *c) {
    constexpr int AHEAD = 3 * HALVED<PAIRS>;  // tiles
    F32 sum[OUTER][2];
    for (int r = 0; r < OUTER; r++)
        for (int v = 0; v < 2; v++) sum[r][v] = load<F32>(c + r * PANEL + v * LANES);
    for (int64_t i = 0; i < n; i++, a += a_step, b += b_step)
        for (int t = 0; t < TILE / HALVED<PAIRS>; t++) {
            const F32 b0 = load<F32>(b + t * PANEL), b1 = load<F32>(b + t * PANEL + LANES);
            __builtin_prefetch(a + AHEAD * a_step + t * PANEL);  // too far away for the processor to guess
            __builtin_prefetch(b + AHEAD * b_step + t * PANEL);
            __builtin_prefetch(b + AHEAD * b_step + t * PANEL + LANES);
            for (int r = 0; r < OUTER; r++) {
                const F32 x = spread<PAIRS>(a + t * PANEL + r);
                sum[r][0] = times_add<PAIRS>(x, b0, sum[r][0]), sum[r][1] = times_add<PAIRS>(x, b1, sum[r][1]);
            }
        }
    for (int r = 0; r < OUTER; r++)
        for (int v = 0; v < 2; v++) store(c + r * PANEL + v * LANES, sum[r][v]);
}

// Rounded to bf16 in the upper half: to nearest, ties to even; NaN stays NaN.
INLINE I32 rounded(F32 x) {
    const I32 bits = (I32)x, up = bits + 0x7fff + ((bits >> 16) & 1);
    return x == x ? up : bits | 0x400000;
}

// Neighbours along a row, n numbers (whole vectors of them) in the place of n / 2.
INLINE void pair_columns(const float *from, int64_t n, float *to) {
    for (int64_t i = 0; i < n; i += LANES)
        store((uint16_t *)to + i, __builtin_convertvector(rounded(load<F32>(from + i)) >> 16, H16));
}
// Neighbours along a column of rows of PANEL: n_rows become half as many, which may begin where they did.
INLINE void pair_rows(const float *from, int64_t n_rows, float *to) {
    for (; n_rows > 0; n_rows -= 2, from += 2 * PANEL, to += PANEL)
        for (int v = 0; v < PANEL; v += LANES) {
            const I32 first = rounded(load<F32>(from + v)), second = rounded(load<F32>(from + PANEL + v));
            store(to + v, ((first >> 16) & 0xffff) | (second & (int32_t)0xffff0000));
        }
}
