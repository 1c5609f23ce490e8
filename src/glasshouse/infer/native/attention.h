// Attention over pages: exact softmax, every row by itself in the order of its positions.
//
// A page holds `page` consecutive positions (a multiple of 16) of one sequence, for each layer and kv head:
//   keys [head][page]: neighbouring positions are one vector, so scores need no sums across lanes
//   values [page][head]
// Rows are pairs (token, query head) that read the same kv head; up to ROWS of them share each key and value read.

#pragma once
#include "gemm.h"

constexpr int ATTENTION_ROWS = 8;

struct Pages {
    const float *keys, *values;  // of one layer and kv head; `step` floats from one block to the next
    const int32_t *table;        // blocks of the sequence
    int64_t step;
    int page, head, head_stride;  // head_stride: head rounded up to vectors
};

struct Query {
    float *q;        // the answer takes its place
    int64_t n_keys;  // positions it may read: its own and all before
};

INLINE I32 lanes() {
    I32 number;
    for (int i = 0; i < LANES; i++) number[i] = i;
    return number;
}

// score[r][position], in the order of positions, one vector of them at a time.
template <int R>
INLINE void score_rows(const Pages &p, const Query *row, int64_t n_keys, float scale, float *score, int64_t stride) {
    for (int64_t s = 0; s < n_keys; s += LANES) {
        const float *key = p.keys + p.table[s / p.page] * p.step + s % p.page;
        F32 dot[R] = {};
        for (int h = 0; h < p.head; h++) {
            const F32 k = load<F32>(key + (size_t)h * p.page);
            for (int r = 0; r < R; r++) dot[r] = fma(k, splat(row[r].q[h]), dot[r]);
        }
        for (int r = 0; r < R; r++) store(score + r * stride + s, dot[r] * scale);
    }
}

// Scores to weights that are not yet divided by their sum, which is returned; 0 beyond the row's own position.
INLINE float soften(float *score, int64_t n_own, int64_t n_keys) {
    F32 most = splat(-INFINITY), total{};
    for (int64_t s = 0; s < n_own; s += LANES) {
        const I32 is_own = lanes() < splat_int((int32_t)(n_own - s));
        const F32 x = is_own ? load<F32>(score + s) : splat(-INFINITY);
        most = x > most ? x : most;
    }
    const float peak = largest(most);
    for (int64_t s = 0; s < n_keys; s += LANES) {
        const I32 is_own = lanes() < splat_int((int32_t)(n_own - s < LANES ? n_own - s : LANES));
        const F32 weight = is_own ? exponential(load<F32>(score + s) - peak) : F32{};
        total += weight;
        store(score + s, weight);
    }
    return sum(total);
}

// The answer of each row: values weighted, divided by the weights' sum.
template <int R>
INLINE void mix_values(const Pages &p, const Query *row, int64_t n_keys, const float *weight, int64_t stride,
                       const float *total) {
    for (int h = 0; h < p.head_stride; h += 2 * LANES) {
        F32 out[R][2] = {};
        for (int64_t s = 0; s < n_keys; s += p.page) {
            const float *value = p.values + p.table[s / p.page] * p.step + h;
            const int n = n_keys - s < p.page ? n_keys - s : p.page;
            for (int i = 0; i < n; i++, value += p.head_stride) {
                const F32 v0 = load<F32>(value), v1 = load<F32>(value + LANES);
                for (int r = 0; r < R; r++) {
                    const F32 w = splat(weight[r * stride + s + i]);
                    out[r][0] = fma(v0, w, out[r][0]), out[r][1] = fma(v1, w, out[r][1]);
                }
            }
        }
        for (int r = 0; r < R; r++)
            store(row[r].q + h, out[r][0] / total[r]), store(row[r].q + h + LANES, out[r][1] / total[r]);
    }
}

template <int R> static void attend(const Pages &p, const Query *row, float *score, int64_t stride) {
    int64_t n_keys = 0;
    float total[R];
    for (int r = 0; r < R; r++) n_keys = row[r].n_keys > n_keys ? row[r].n_keys : n_keys;
    score_rows<R>(p, row, n_keys, 1.0f / sqrtf((float)p.head), score, stride);
    for (int r = 0; r < R; r++) total[r] = soften(score + r * stride, row[r].n_keys, n_keys);
    mix_values<R>(p, row, n_keys, score, stride, total);
}

static void attend_all(const Pages &p, const Query *row, int n, float *score, int64_t stride) {
    using Kernel = void (*)(const Pages &, const Query *, float *, int64_t);
    static const Kernel kernels[] = {attend<1>, attend<2>, attend<3>, attend<4>,
                                     attend<5>, attend<6>, attend<7>, attend<8>};
    for (; n > 0; row += ATTENTION_ROWS, n -= ATTENTION_ROWS)
        kernels[(n < ATTENTION_ROWS ? n : ATTENTION_ROWS) - 1](p, row, score, stride);
}
