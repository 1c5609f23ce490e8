// Rows of activations times a matrix that was packed in panels of 32 outputs: y[t][n] = sum over k of x[t][k] w[n][k].
//
// T rows (tokens), N outputs, K inputs.  A panel is read once, from its start to its end, for a few rows at a
// time; one row alone (decoding) streams the weights at the speed of memory.
//   fp32, bf16   [N/32][K][32]
//   int8         [N/32][K/4][32][4] bytes, value + 128;  int4: the same, outputs 0-15 in the low nibbles and 16-31 in
//                the high ones, value + 8;  scale [N/32][K/64][32] in bf16
// Integer formats meet activations rounded to 7 bits with one scale a row and group of 64 inputs.
// Every output is summed over k in one fixed order, so it does not depend on T, on the other rows, or on the threads.

#pragma once
#include "simd.h"

constexpr int PANEL = 32, HALF = PANEL / 2, VECTORS = PANEL / LANES, GROUP = 64, ACTIVATION_MAX = 63;
constexpr int AHEAD = 4096;  // bytes

enum Format : int32_t { FP32, BF16, INT8, INT4 };
enum Ending : int32_t { STORE, ADD, SWIGLU };  // SWIGLU: a panel is 16 gates and the 16 values they gate

struct Matrix {
    const void *data;
    const uint16_t *scale;  // integer formats only
    int32_t format, n, k;   // n outputs wanted (the last panel may hold more), k padded inputs
    int n_panels() const { return (n + PANEL - 1) / PANEL; }
    bool is_integer() const { return format >= INT8; }
};

// Activations as a matrix wants them.
struct Rows {
    float *value;                // [T][stride]
    int8_t *code;                // [T][stride]
    float *scale;                // [T][stride / GROUP]
    int32_t *code_sum;           // [T][stride / GROUP]
    int stride;
};

INLINE void quantise_row(const Rows &rows, int t, int k) {
    const int n_groups = rows.stride / GROUP;
    for (int g = 0; g < k / GROUP; g++) {
        const float *x = rows.value + (size_t)t * rows.stride + g * GROUP;
        I32 bits{};  // of |x|: as integers they order like the numbers, and a NaN is above all of them
        for (int i = 0; i < GROUP; i += LANES) {
            const I32 b = load<I32>(x + i) & 0x7fffffff;
            bits = b > bits ? b : bits;
        }
        int32_t most = 0;
        for (int i = 0; i < LANES; i++) most = bits[i] > most ? bits[i] : most;
        float peak;
        memcpy(&peak, &most, sizeof peak);
        const float inverse = peak < 1e-30f ? 0.0f : ACTIVATION_MAX / peak;
        const F32 magic = splat(12582912.0f);
        I32 total{};
        for (int i = 0; i < GROUP; i += LANES) {
            const I32 code = (I32)(load<F32>(x + i) * inverse + magic) - (I32)magic;  // to nearest, ties to even
            total += code;
            store(rows.code + (size_t)t * rows.stride + g * GROUP + i, __builtin_convertvector(code, Q8));
        }
        int32_t code_sum = 0;
        for (int i = 0; i < LANES; i++) code_sum += total[i];
        rows.scale[t * n_groups + g] = peak / ACTIVATION_MAX;
        rows.code_sum[t * n_groups + g] = code_sum;
    }
}

template <Format F> struct Weights;
template <> struct Weights<FP32> {
    static constexpr int BYTES = 4 * PANEL;  // of one step through k
    INLINE void read(const uint8_t *p, F32 *w) {
        for (int v = 0; v < VECTORS; v++) w[v] = load<F32>(p + v * sizeof(F32));
    }
};
template <> struct Weights<BF16> {
    static constexpr int BYTES = 2 * PANEL;
    INLINE void read(const uint8_t *p, F32 *w) {
        for (int v = 0; v < VECTORS; v++) w[v] = from_bf16((const uint16_t *)p + v * LANES);
    }
};
template <> struct Weights<INT8> {
    static constexpr int BYTES = 4 * PANEL, ZERO = 128;  // four inputs a step
    using Sum = WideSum;
    INLINE void read(const uint8_t *p, U8 *w) {
        for (int v = 0; v < VECTORS; v++) w[v] = load<U8>(p + v * sizeof(U8));
    }
};
template <> struct Weights<INT4> {
    static constexpr int BYTES = 2 * PANEL, ZERO = 8;
    using Sum = NarrowSum;
    INLINE void read(const uint8_t *p, U8 *w) {
        for (int v = 0; v < VECTORS / 2; v++) {
            const U8 both = load<U8>(p + v * sizeof(U8));
            w[v] = both & 15, w[v + VECTORS / 2] = (U8)((I16)both >> 4) & 15;
        }
    }
};

// Weights are asked for long before they are used: the processor's own guess stops at the end of each 4 KiB.
template <int BYTES> INLINE void fetch(const uint8_t *p) {
    for (int i = 0; i < BYTES; i += 64) __builtin_prefetch(p + AHEAD + i);
}

using Sums = F32[VECTORS];  // one row's outputs of a panel

// One panel for R rows.
template <Format F, int R>
INLINE void multiply_floats(const Matrix &m, int panel, const Rows &x, int t, Sums *sum) {
    const uint8_t *p = (const uint8_t *)m.data + (size_t)panel * m.k * Weights<F>::BYTES;
    const float *row = x.value + (size_t)t * x.stride;
    for (int r = 0; r < R; r++)
        for (int v = 0; v < VECTORS; v++) sum[r][v] = F32{};
    for (int k = 0; k < m.k; k++, p += Weights<F>::BYTES) {
        F32 w[VECTORS];
        fetch<Weights<F>::BYTES>(p);
        Weights<F>::read(p, w);
        for (int r = 0; r < R; r++) {
            const F32 a = splat(row[(size_t)r * x.stride + k]);
            for (int v = 0; v < VECTORS; v++) sum[r][v] = fma(w[v], a, sum[r][v]);
        }
    }
}

template <Format F, int R>
INLINE void multiply_codes(const Matrix &m, int panel, const Rows &x, int t, Sums *sum) {
    using W = Weights<F>;
    const int n_groups = m.k / GROUP, row_groups = x.stride / GROUP;
    const uint8_t *p = (const uint8_t *)m.data + (size_t)panel * (m.k / 4) * W::BYTES;
    const uint16_t *scale = m.scale + (size_t)panel * n_groups * PANEL;
    for (int r = 0; r < R; r++)
        for (int v = 0; v < VECTORS; v++) sum[r][v] = F32{};
    for (int g = 0; g < n_groups; g++, scale += PANEL) {
        typename W::Sum part[R][VECTORS];
        const int8_t *code = x.code + (size_t)t * x.stride + g * GROUP;
        for (int k = 0; k < GROUP; k += 4, p += W::BYTES) {
            U8 w[VECTORS];
            fetch<W::BYTES>(p);
            W::read(p, w);
            for (int r = 0; r < R; r++) {
                int32_t four;
                memcpy(&four, code + (size_t)r * x.stride + k, 4);
                for (int v = 0; v < VECTORS; v++) part[r][v].add(w[v], splat_int(four));
            }
        }
        F32 s[VECTORS];
        for (int v = 0; v < VECTORS; v++) s[v] = from_bf16(scale + v * LANES);
        for (int r = 0; r < R; r++) {
            const int at = (t + r) * row_groups + g;
            const int32_t offset = W::ZERO * x.code_sum[at];
            for (int v = 0; v < VECTORS; v++) {
                const F32 whole = __builtin_convertvector(part[r][v].total() - offset, F32);  // below 2^24: exact
                sum[r][v] = fma(whole, s[v] * x.scale[at], sum[r][v]);
            }
        }
    }
}

template <int R> INLINE void finish(const Matrix &m, int panel, Sums *sum, Ending ending, float *y, int stride) {
    for (int r = 0; r < R; r++, y += stride) {
        float *at = y + panel * (ending == SWIGLU ? HALF : PANEL);
        const int n_left = m.n - panel * PANEL;  // a row of logits ends where the vocabulary ends
        if (ending == SWIGLU) {
            for (int v = 0; v < VECTORS / 2; v++) store(at + v * LANES, silu(sum[r][v]) * sum[r][v + VECTORS / 2]);
        } else if (ending == ADD) {
            for (int v = 0; v < VECTORS; v++) store(at + v * LANES, load<F32>(at + v * LANES) + sum[r][v]);
        } else if (n_left >= PANEL) {
            for (int v = 0; v < VECTORS; v++) store(at + v * LANES, sum[r][v]);
        } else {
            memcpy(at, sum[r], n_left * sizeof(float));
        }
    }
}

// Not inlined: with several tiles in one function the compiler runs out of registers (fp32, 8 rows: 20 GMAC/s, so 49).
template <Format F, int R>
__attribute__((noinline)) static void multiply_tile(const Matrix &m, int panel, const Rows &x, int t, Ending ending,
                                                    float *y, int stride) {
    Sums sum[R];
    if constexpr (F == FP32 || F == BF16) multiply_floats<F, R>(m, panel, x, t, sum);
    else multiply_codes<F, R>(m, panel, x, t, sum);
    finish<R>(m, panel, sum, ending, y + (size_t)t * stride, stride);
}

// Rows t to end of one panel: as many full tiles as there are, then halves of them.
template <Format F, int ROWS>
static void multiply_panel(const Matrix &m, int panel, const Rows &x, int t, int end, Ending ending, float *y,
                           int stride) {
    for (; t + ROWS <= end; t += ROWS) multiply_tile<F, ROWS>(m, panel, x, t, ending, y, stride);
    if constexpr (ROWS > 1) {
        if (t < end) multiply_panel<F, ROWS / 2>(m, panel, x, t, end, ending, y, stride);
    }
}

// Rows of a full tile: as many as leave their sums in registers.
#if defined(__AVX512BW__)
constexpr int FLOAT_ROWS = 8, CODE_ROWS = 4;
#else
constexpr int FLOAT_ROWS = 2, CODE_ROWS = 2;
#endif
constexpr int TASK_ROWS = 64;  // with more rows a panel is several tasks, so that many threads share few panels

// This thread's share of y (+)= x w.  Tasks of one panel follow each other: it stays in the cache between them.
static void multiply(const Matrix &m, const Rows &x, int n_rows, Ending ending, float *y, int stride, int thread,
                     int n_threads) {
    const int per_panel = (n_rows + TASK_ROWS - 1) / TASK_ROWS;
    const int64_t n_tasks = (int64_t)m.n_panels() * per_panel;
    for (int64_t task = n_tasks * thread / n_threads; task < n_tasks * (thread + 1) / n_threads; task++) {
        const int panel = task / per_panel, t = task % per_panel * TASK_ROWS;
        const int end = t + TASK_ROWS < n_rows ? t + TASK_ROWS : n_rows;
        switch (m.format) {
        case FP32: multiply_panel<FP32, FLOAT_ROWS>(m, panel, x, t, end, ending, y, stride); break;
        case BF16: multiply_panel<BF16, FLOAT_ROWS>(m, panel, x, t, end, ending, y, stride); break;
        case INT8: multiply_panel<INT8, CODE_ROWS>(m, panel, x, t, end, ending, y, stride); break;
        case INT4: multiply_panel<INT4, CODE_ROWS>(m, panel, x, t, end, ending, y, stride); break;
        }
    }
}

// One row of an embedding that is packed like every matrix.
static void read_row(const Matrix &m, int64_t id, float *out) {
    const int64_t panel = id / PANEL, lane = id % PANEL;
    const uint8_t *bytes = (const uint8_t *)m.data;
    for (int k = 0; k < m.k; k++) {
        const size_t at = ((size_t)panel * m.k + k) * PANEL + lane;
        const size_t quad = (size_t)panel * (m.k / 4) + k / 4, group = (size_t)panel * (m.k / GROUP) + k / GROUP;
        if (m.format == FP32) out[k] = ((const float *)m.data)[at];
        else if (m.format == BF16) {
            const uint32_t bits = (uint32_t)((const uint16_t *)m.data)[at] << 16;
            memcpy(out + k, &bits, 4);
        } else {
            int code;
            if (m.format == INT8) code = bytes[(quad * PANEL + lane) * 4 + k % 4] - 128;
            else code = (bytes[(quad * HALF + lane % HALF) * 4 + k % 4] >> (lane < HALF ? 0 : 4) & 15) - 8;
            const uint32_t bits = (uint32_t)m.scale[group * PANEL + lane] << 16;
            float scale;
            memcpy(&scale, &bits, 4);
            out[k] = code * scale;
        }
    }
}
