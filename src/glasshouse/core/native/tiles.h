// Matrix products for training: activations in tiles, weights in panels.  The kernels: products.h.
//
// A tile is TILE tokens.  Widths are padded with zeros to whole panels, tokens to whole tiles.

#pragma once
#include <utility>
#include <vector>
#include "products.h"

// The largest lane, in halves; which of them, where one is not a number, is not said.
INLINE float peak_of(F32 v) {
#if defined(__AVX512BW__)
    return _mm512_reduce_max_ps((__m512)v);
#else
    return largest(v);
#endif
}

INLINE int64_t panels(int64_t width) { return (width + PANEL - 1) / PANEL; }
INLINE int64_t tiles(int64_t tokens) { return (tokens + TILE - 1) / TILE; }

// What is done to a piece of a product besides: fetched for while it is computed, finished while it is at hand.
struct Nothing {
    void fetch(int64_t, int64_t) const {}
    void finish(int64_t, int64_t) const {}
};

// One of n_parts parts of n things, all of nearly one size.
struct Range {
    int64_t begin, end;
};
INLINE Range share(int64_t n, int64_t part, int64_t n_parts) {
    return {n * part / n_parts, n * (part + 1) / n_parts};
}

// c (=, +=) a b for n consecutive tiles; packed is [n_out][a_panels * PANEL][PANEL].  A stretch of a panel, small enough
// to stay in the cache beside the tiles' part that meets it, serves all tiles in turn.  `then` is told of each piece's
// tile and panel.
template <bool ADDS, bool PAIRS = false, class Then = Nothing>
static void multiply(const float *a, int64_t a_panels, const float *packed, int64_t n_out, float *c, int64_t n,
                     const Then &then = {}) {
    constexpr int64_t LONGEST = 20 * HALVED<PAIRS>;  // panels of inputs: 80 KiB
    const int64_t n_stretches = (a_panels + LONGEST - 1) / LONGEST;
    for (int64_t s = 0; s < n_stretches; s++) {
        const Range k = share(a_panels, s, n_stretches);
        const bool is_last = k.end == a_panels;
        for (int64_t p = 0; p < n_out; p++) {
            const float *b = packed + (p * a_panels + k.begin) * (PANEL * PANEL / HALVED<PAIRS>);
            for (int64_t i = 0; i < n; i++) {
                const float *from = a + (i * a_panels + k.begin) * (PIECE / HALVED<PAIRS>);
                float *to = c + (i * n_out + p) * PIECE;
                if (is_last) then.fetch(i, p);
                if (ADDS || s) times_panel<true, PAIRS>(from, b, to, k.end - k.begin);
                else times_panel<false, PAIRS>(from, b, to, k.end - k.begin);
                if (is_last) then.finish(i, p);
            }
        }
    }
}

// The rows of one weight matrix, or of several that read the same inputs; null where the width is padding.
// Y = X W' wants it as [outputs / PANEL][inputs][PANEL], dX = dY W as [inputs / PANEL][outputs][PANEL].
struct Matrix {
    std::vector<float *> row;  // outputs, whole panels of them
    int64_t n_inputs;

    int64_t out() const { return row.size() / PANEL; }
    int64_t in() const { return panels(n_inputs); }
    int64_t size() const { return out() * in() * PANEL * PANEL; }

    void add_rows(float *weight, int64_t n) {
        for (int64_t i = 0; i < n; i++) row.push_back(weight + i * n_inputs);
    }
    void pad() {
        while (row.size() % PANEL) row.push_back(nullptr);
    }

    // The panel of outputs number p, or of inputs; in the place for all of them.
    template <bool PAIRS = false> void pack_outputs(int64_t p, float *packed) const {
        constexpr int STEP = 16;
        alignas(64) float part[STEP * PANEL];
        float *to = packed + p * in() * (PANEL * PANEL / HALVED<PAIRS>);
        for (int64_t begin = 0; begin < in() * PANEL; begin += STEP) {
            const int64_t end = begin + STEP < n_inputs ? begin + STEP : n_inputs;
            float *at = PAIRS ? part : to + begin * PANEL;
            memset(at, 0, sizeof part);
            for (int j = 0; j < PANEL; j++)
                if (const float *from = row[p * PANEL + j])
                    for (int64_t k = begin; k < end; k++) at[(k - begin) * PANEL + j] = from[k];
            if (PAIRS) pair_rows(part, STEP, to + begin / 2 * PANEL);
        }
    }

    template <bool PAIRS = false> void pack_inputs(int64_t p, float *packed) const {
        alignas(64) float part[2 * PANEL];
        float *to = packed + p * (int64_t)row.size() * (PANEL / HALVED<PAIRS>);
        const int64_t left = n_inputs - p * PANEL, width = left < PANEL ? left : PANEL;
        for (size_t n = 0; n < row.size(); n++) {
            float *at = PAIRS ? part + n % 2 * PANEL : to + n * PANEL;
            if (!row[n] || width < PANEL) memset(at, 0, PANEL * sizeof(float));
            if (row[n]) memcpy(at, row[n] + p * PANEL, width * sizeof(float));
            if (PAIRS && n % 2) pair_rows(part, 2, to + n / 2 * PANEL);
        }
    }
};

// A tile's tokens in pairs, each piece's in the place of its upper half, one piece after the other.
INLINE void pair_tokens(const float *from, int64_t n_panels, float *to) { pair_rows(from, n_panels * TILE, to); }

// The gradient of a weight matrix, sum over tokens of dy' x, in units of PANEL outputs by PANEL inputs that threads share.
// PAIRS: both are `pair_tokens`'.
struct WeightGradient {
    const float *dy;  // [n_tiles][outputs]
    int64_t dy_panels;
    const float *x;  // [n_tiles][inputs]
    int64_t x_panels;
    int64_t n_tiles;
    const Matrix &to;

    int64_t units() const { return dy_panels * x_panels; }

    // Sixteen units at a time, four outputs by four inputs where there are as many, so that what is fetched for one
    // serves four; a chunk of tokens at a time, so that it is still there.  Stored, or added to what is there.
    template <bool PAIRS = false> void compute(Range mine, bool adds) const {
        constexpr int SIZE = PIECE / HALVED<PAIRS>;
        constexpr int64_t BATCH = 16, CHUNK = 28;
        alignas(64) static thread_local float sums[BATCH][PANEL * PANEL];
        for (int64_t first = mine.begin; first < mine.end; first += BATCH) {
            const int64_t n = mine.end - first < BATCH ? mine.end - first : BATCH;
            memset(sums, 0, n * sizeof sums[0]);
            for (int64_t i = 0; i < n_tiles; i += CHUNK)
                for (int64_t u = 0; u < n; u++) {
                    const auto [p, q] = place_of(first + u);
                    for (int r = 0; r < PANEL; r += OUTER)
                        add_outer<PAIRS>(dy + i * dy_panels * PIECE + p * SIZE + r, dy_panels * PIECE,
                                         x + i * x_panels * PIECE + q * SIZE, x_panels * PIECE,
                                         n_tiles - i < CHUNK ? n_tiles - i : CHUNK, sums[u] + r * PANEL);
                }
            for (int64_t u = 0; u < n; u++) put(first + u, sums[u], adds);
        }
    }

  private:
    static constexpr int64_t ACROSS = 4;  // inputs, in panels, before the next outputs

    std::pair<int64_t, int64_t> place_of(int64_t unit) const {
        const int64_t block = unit / (ACROSS * dy_panels) * ACROSS, rest = unit % (ACROSS * dy_panels);
        const int64_t width = x_panels - block < ACROSS ? x_panels - block : ACROSS;
        return {rest / width, block + rest % width};
    }

    void put(int64_t unit, const float *from, bool adds) const {
        const auto [p, q] = place_of(unit);
        const int64_t left = to.n_inputs - q * PANEL, width = left < PANEL ? left : PANEL;
        for (int r = 0; r < PANEL; r++, from += PANEL)
            if (float *at = to.row[p * PANEL + r]) {
                at += q * PANEL;
                for (int64_t k = 0; k < width; k++) at[k] = (adds ? at[k] : 0.0f) + from[k];
            }
    }
};

// Memory for one purpose after another; each begins on a cache line.
struct Room {
    float *at;
    float *take(int64_t n) {
        float *taken = at;
        at += (n + 15) / 16 * 16;
        return taken;
    }
};

// Where feature f of token t lies, and how many follow it in one stretch.
INLINE int64_t place(int64_t t, int64_t f, int64_t width_panels) {
    return (t / TILE * width_panels + f / PANEL) * PIECE + t % TILE * PANEL + f % PANEL;
}
template <class Copy> INLINE void each_stretch(int64_t t, int64_t f, int64_t n, int64_t width_panels, Copy copy) {
    for (int64_t i = 0; i < n;) {
        const int64_t room = PANEL - (f + i) % PANEL, length = n - i < room ? n - i : room;
        if (length == PANEL) copy(place(t, f + i, width_panels), i, PANEL);  // a known size: copied without a call
        else copy(place(t, f + i, width_panels), i, length);
        i += length;
    }
}
INLINE void read_features(const float *m, int64_t width_panels, int64_t t, int64_t f, int64_t n, float *to) {
    each_stretch(t, f, n, width_panels, [&](int64_t at, int64_t i, int64_t size) { memcpy(to + i, m + at, 4 * size); });
}
INLINE void write_features(float *m, int64_t width_panels, int64_t t, int64_t f, int64_t n, const float *from) {
    each_stretch(t, f, n, width_panels, [&](int64_t at, int64_t i, int64_t size) { memcpy(m + at, from + i, 4 * size); });
}

// Sums over numbers too small to matter cost a hundred times the others; every thread decides for itself.
INLINE void flush_denormals() {
#if defined(__x86_64__)
    _mm_setcsr(_mm_getcsr() | 0x8040);
#endif
}
