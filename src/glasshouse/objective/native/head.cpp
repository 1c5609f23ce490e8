// A linear head and its softmax, without keeping the logits: log-probabilities of targets, entropies, and gradients.
//
// M tokens, D model, V vocabulary; x = hidden head' / temperature, p = softmax(x).
//   log-probability of the target  l = x[target] - ln sum e^x        dl / dx = (one at the target) - p
//   entropy                        H = ln sum e^x - sum p x          dH / dx = -p (ln p + H)
// A chunk of tokens at a time: threads share its tiles for logits and the hidden states' gradient, then meet, and share
// the head's gradient by pieces.  The order of every sum depends on the shapes alone.
// In bf16 the factors of the three products are rounded; logits, softmax and all sums stay fp32.

#include <omp.h>
#include "tiles.h"

struct Head {
    int64_t n_tokens, d_model, n_vocab, is_bf16;
    const float *hidden;    // [M][D]
    float *weight;          // [V][D]
    const int64_t *target;  // [M]
    float temperature;
    const float *d_logp, *d_entropy;  // [M]; both null: no gradients
    float *logp, *entropy;            // [M]
    float *d_hidden, *d_weight;
};

namespace {

constexpr int64_t BLOCK = 4;                            // tiles whose logits stay in the cache
constexpr int64_t CHUNK_BYTES = 8 << 20, FEWEST = 16;   // of a chunk's logits; tiles

struct Pass {
    const Head &h;
    const int n_threads;
    const int64_t d, v, n_tiles, chunk;
    Matrix weight, gradient;
    float *across, *natural, *x, *error, *dx, *rounded;

    Pass(const Head &h, int n_threads)
        : h(h), n_threads(n_threads), d(panels(h.d_model)), v(panels(h.n_vocab)), n_tiles(tiles(h.n_tokens)),
          chunk(chunk_of(v, n_tiles)), weight{{}, h.d_model}, gradient{{}, h.d_model} {
        weight.add_rows(h.weight, h.n_vocab), weight.pad();
        if (h.d_logp) gradient.add_rows(h.d_weight, h.n_vocab), gradient.pad();
    }

    static int64_t chunk_of(int64_t v, int64_t n_tiles) {
        const int64_t fitting = CHUNK_BYTES / (v * PIECE * (int64_t)sizeof(float));
        const int64_t chosen = fitting > FEWEST ? fitting : FEWEST;
        return chosen < n_tiles ? chosen : n_tiles;
    }

    int64_t rounded_size() const { return h.is_bf16 ? BLOCK * PIECE / 2 * (d > v ? d : v) : 0; }  // of a thread
    int64_t room() const {
        return 2 * weight.size() + chunk * PIECE * (2 * d + v) + n_threads * rounded_size() + 256;
    }

    // Logits of n tiles, and the largest of each row.
    template <bool PAIRS> void logits(const float *x, float *to, int64_t n, float *peak) const {
        F32 most[BLOCK * TILE];
        for (int64_t r = 0; r < n * TILE; r++) most[r] = splat(-INFINITY);
        for (int64_t p = 0; p < v; p++)
            for (int64_t i = 0; i < n; i++) {
                float *piece = to + (i * v + p) * PIECE;
                times_panel<false, PAIRS>(x + i * d * (PIECE / HALVED<PAIRS>),
                                          across + p * d * (PANEL * PANEL / HALVED<PAIRS>), piece, d);
                for (int64_t f = h.n_vocab - p * PANEL; f < PANEL; f++)
                    for (int r = 0; r < TILE; r++) piece[r * PANEL + f] = -INFINITY;  // beyond the vocabulary
                for (int r = 0; r < TILE; r++) {
                    const F32 a = load<F32>(piece + r * PANEL), b = load<F32>(piece + r * PANEL + LANES);
                    F32 &m = most[i * TILE + r];
                    m = a > m ? a : m, m = b > m ? b : m;
                }
            }
        for (int64_t r = 0; r < n * TILE; r++) peak[r] = peak_of(most[r]);
    }

    // One tile, of tokens from `first` on: log-probabilities and entropies; logits become, but for a factor for each
    // row, the gradient by the logits.  Returned in `factor`, so that the division by a row's sum costs no pass.
    void soften(float *x, const float *peak, int64_t first, float *factor) const {
        const int64_t n = h.n_tokens - first < TILE ? h.n_tokens - first : TILE;
        for (int64_t r = 0; r < TILE; r++) {
            factor[r] = 0.0f;
            if (r >= n) continue;
            const int64_t target = h.target[first + r];
            float &at_target = x[target / PANEL * PIECE + r * PANEL + target % PANEL];
            const float below_target = at_target - peak[r], e_target = expf(below_target);
            const bool keeps_logits = h.d_entropy;
            at_target = -INFINITY;  // summed apart: 1 - p is then exact to rounding however near p is to 1
            F32 total{}, mean{};
            for (int64_t p = 0; p < v; p++)
                for (int i = 0; i < PANEL; i += LANES) {
                    float *at = x + p * PIECE + r * PANEL + i;
                    const F32 below = load<F32>(at) - peak[r], e = exponential(below);
                    total += e;
                    if (h.entropy) mean += below > splat(-INFINITY) ? e * below : F32{};
                    if (!keeps_logits) store(at, e);
                }
            const float others = sum(total), all = others + e_target, log_all = logf(all);
            const float logp_target = e_target > 0.5f ? -log1pf(others / e_target) : below_target - log_all;
            h.logp[first + r] = logp_target;
            const float entropy = h.entropy ? log_all - (sum(mean) + e_target * below_target) / all : 0.0f;
            if (h.entropy) h.entropy[first + r] = entropy;
            if (!h.d_logp) continue;
            const float a = h.d_logp[first + r];
            if (!keeps_logits) {
                at_target = -others;
                factor[r] = -a / all;
                continue;
            }
            const float b = h.d_entropy[first + r];
            for (int64_t p = 0; p < v; p++)
                for (int i = 0; i < PANEL; i += LANES) {
                    float *at = x + p * PIECE + r * PANEL + i;
                    const F32 logp = load<F32>(at) - peak[r] - log_all;
                    const F32 spread = logp > splat(-INFINITY) ? logp + entropy : F32{};
                    store(at, -(a + b * spread) * exponential(logp));
                }
            at_target = (a * others - b * e_target * (logp_target + entropy)) / all;
            factor[r] = 1.0f;
        }
    }

    // Rows of a tile times a factor each.
    void scale(float *tile, const float *factor) const {
        for (int64_t p = 0; p < d; p++)
            for (int r = 0; r < TILE; r++)
                for (int i = 0; i < PANEL; i += LANES) {
                    float *at = tile + p * PIECE + r * PANEL + i;
                    store(at, load<F32>(at) * factor[r]);
                }
    }

    // Up to BLOCK tiles from number `begin` + i on; i counts those of the chunk.
    template <bool PAIRS> void tiles_of(int64_t begin, int64_t i, int64_t n, float *rounded) const {
        float peak[BLOCK * TILE], factor[BLOCK * TILE], cooling[TILE];
        float *own = x + i * d * PIECE, *logit = error + i * v * PIECE, *back = dx + i * d * PIECE;
        const int64_t first = (begin + i) * TILE;
        const auto factors = [&](const float *m, int64_t n_panels) -> const float * {
            if (!PAIRS) return m;
            pair_columns(m, n * n_panels * PIECE, rounded);
            return rounded;
        };
        for (float &c : cooling) c = 1.0f / h.temperature;
        memset(own, 0, n * d * PIECE * sizeof(float));
        for (int64_t t = 0; t < n * TILE && first + t < h.n_tokens; t++)
            write_features(own, d, t, 0, h.d_model, h.hidden + (first + t) * h.d_model);
        if (h.temperature != 1.0f)
            for (int64_t j = 0; j < n; j++) scale(own + j * d * PIECE, cooling);
        logits<PAIRS>(factors(own, d), logit, n, peak);
        for (int64_t j = 0; j < n; j++)
            soften(logit + j * v * PIECE, peak + j * TILE, first + j * TILE, factor + j * TILE);
        if (!h.d_logp) return;
        multiply<false, PAIRS>(factors(logit, v), v, natural, d, back, n);
        for (int64_t j = 0; j < n; j++) {
            scale(own + j * d * PIECE, factor + j * TILE), scale(back + j * d * PIECE, factor + j * TILE);
            if (h.temperature != 1.0f) scale(back + j * d * PIECE, cooling);
        }
        for (int64_t t = 0; t < n * TILE && first + t < h.n_tokens; t++)
            read_features(back, d, t, 0, h.d_model, h.d_hidden + (first + t) * h.d_model);
        for (int64_t j = 0; PAIRS && j < n; j++) {
            pair_tokens(own + j * d * PIECE, d, own + j * d * PIECE);
            pair_tokens(logit + j * v * PIECE, v, logit + j * v * PIECE);
        }
    }

    // Panels of the head, the tokens chunk by chunk, within a parallel region.
    template <bool PAIRS> void go_on(int thread) const {
        const Range out = share(v, thread, n_threads), in = share(d, thread, n_threads);
        for (int64_t p = out.begin; p < out.end; p++) weight.pack_outputs<PAIRS>(p, across);
        for (int64_t p = in.begin; p < in.end && h.d_logp; p++) weight.pack_inputs<PAIRS>(p, natural);
#pragma omp barrier
        for (int64_t begin = 0; begin < n_tiles; begin += chunk) {
            const int64_t n = n_tiles - begin < chunk ? n_tiles - begin : chunk;
            const Range mine = share(n, thread, n_threads);
            for (int64_t i = mine.begin; i < mine.end; i += BLOCK)
                tiles_of<PAIRS>(begin, i, mine.end - i < BLOCK ? mine.end - i : BLOCK, rounded + thread * rounded_size());
#pragma omp barrier  // a thread's share of the next chunk may be what another still works on
            if (!h.d_logp) continue;
            const WeightGradient product{error, v, x, d, n, gradient};
            product.compute<PAIRS>(share(product.units(), thread, n_threads), begin > 0);
#pragma omp barrier
        }
    }

    void go(float *scratch) {
        Room room{scratch};
        across = room.take(weight.size()), natural = room.take(weight.size());
        x = room.take(chunk * d * PIECE), dx = room.take(chunk * d * PIECE), error = room.take(chunk * v * PIECE);
        rounded = room.take(n_threads * rounded_size());
#pragma omp parallel num_threads(n_threads)
        {
            flush_denormals();
            if (h.is_bf16) go_on<true>(omp_get_thread_num());
            else go_on<false>(omp_get_thread_num());
        }
    }
};

}  // namespace

// The Python side checks every pointer, size and target.
extern "C" {
int64_t head_room(const Head *head, int32_t n_threads) { return Pass(*head, n_threads).room(); }  // in floats
void head(const Head *head, float *room, int32_t n_threads) { Pass(*head, n_threads).go(room); }
}
