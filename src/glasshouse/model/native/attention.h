// Causal attention of one row of tokens and one kv head, within documents, with its gradient.
//
// Queries come in tiles, keys and values in panels of positions: scores of a tile over all it may read are at most
// T x TILE numbers, so the softmax is exact and plain, and what a tile may not read is not computed.
// The turned and normalised queries and keys are made again in the backward pass: cheaper than keeping them.

#pragma once
#include "norm.h"

struct Heads {
    int64_t n_heads, n_kv_heads, d_head, n_time;
    const float *q_norm, *k_norm, *cos, *sin;  // cos and sin [position][d_head]
    float eps;
    int64_t qkv_panels, out_panels;

    int64_t group() const { return n_heads / n_kv_heads; }
    int64_t head_panels() const { return panels(d_head); }
    int64_t head() const { return head_panels() * PANEL; }
    int64_t query_size() const { return tiles(n_time) * TILE * head(); }   // of one head
    int64_t key_size() const { return panels(n_time) * PANEL * head(); }
    int64_t score_size() const { return panels(n_time) * PIECE; }
    Turn turn(const float *weight, int64_t t) const {
        return {weight, cos + t * d_head, sin + t * d_head, d_head, eps};
    }
};

// One row's keys or values: [position][head] for products over positions, [head][position] for scores.
INLINE void place_natural(float *to, const Heads &h, int64_t s, const float *row) {
    const int64_t positions = panels(h.n_time) * PANEL;
    for (int64_t p = 0; p < h.head_panels(); p++)
        memcpy(to + (p * positions + s) * PANEL, row + p * PANEL, PANEL * sizeof(float));
}
INLINE void place_across(float *to, const Heads &h, int64_t s, const float *row) {
    float *at = to + s / PANEL * h.head() * PANEL + s % PANEL;
    for (int64_t i = 0; i < h.head(); i++) at[i * PANEL] = row[i];
}
INLINE void place_tile(float *to, const Heads &h, int64_t t, const float *row) {
    write_features(to, h.head_panels(), t, 0, h.head(), row);
}

// What the forward and the backward pass of one (row, kv head) need alike.
struct Reader {
    const Heads &h;
    const int32_t *start;  // first position each one may read; null: 0
    const float *qkv;
    int64_t first, kv;  // the row's first token among all; the kv head
    float *row;         // one head of one token

    int64_t from(int64_t t) const { return start ? start[t] : 0; }
    void raw(int64_t t, int64_t head) const {  // heads in the order q, k, v
        read_features(qkv, h.qkv_panels, first + t, head * h.d_head, h.d_head, row);
    }
    float scale() const { return 1.0f / sqrtf((float)h.d_head); }
    int64_t k_head() const { return h.n_heads + kv; }
    int64_t v_head() const { return h.n_heads + h.n_kv_heads + kv; }

    void queries(int64_t head, float *q) const {
        if (h.n_time % TILE) memset(q + h.query_size() - TILE * h.head(), 0, TILE * h.head() * sizeof(float));
        for (int64_t t = 0; t < h.n_time; t++) {
            raw(t, head);
            h.turn(h.q_norm, t).forward(row, scale());
            place_tile(q, h, t, row);
        }
    }

    // Weights of one tile in score, over panels [begin, end) of positions; rows are divided by their sum here or,
    // where `inverse` is given, by whoever uses them.
    void weights(const float *q, const float *keys_across, int64_t i, float *score, int64_t &begin, int64_t &end,
                 float *inverse) const {
        const int64_t t0 = i * TILE, last = t0 + TILE < h.n_time ? t0 + TILE : h.n_time;
        begin = from(t0) / PANEL, end = panels(last);
        for (int64_t p = begin; p < end; p++)
            times_panel<false>(q + i * TILE * h.head(), keys_across + p * h.head() * PANEL, score + (p - begin) * PIECE,
                               h.head_panels());
        for (int r = 0; r < TILE; r++) {
            const int64_t t = t0 + r;
            if (t >= h.n_time) {
                for (int64_t p = 0; p < end - begin; p++)
                    for (int v = 0; v < PANEL; v += LANES) store(score + p * PIECE + r * PANEL + v, F32{});
                if (inverse) inverse[r] = 0.0f;
                continue;
            }
            soften(score + r * PANEL, from(t), t, begin, end, inverse ? inverse + r : nullptr);
        }
    }

  private:
    // One row: softmax over positions low to high; 0 at all others.
    static void soften(float *score, int64_t low, int64_t high, int64_t begin, int64_t end, float *inverse) {
        I32 number;
        for (int i = 0; i < LANES; i++) number[i] = i;
        const F32 nothing = splat(-INFINITY);
        F32 most = nothing, total{};
        for (int64_t p = begin; p < end; p++)
            for (int v = 0; v < PANEL; v += LANES) {
                const I32 s = number + splat_int((int32_t)(p * PANEL + v));
                float *at = score + (p - begin) * PIECE + v;
                F32 x = load<F32>(at);
                if (p * PANEL + v < low || p * PANEL + v + LANES > high + 1) {
                    x = (s >= splat_int((int32_t)low)) & (s <= splat_int((int32_t)high)) ? x : nothing;
                    store(at, x);
                }
                most = x > most ? x : most;
            }
        const float peak = peak_of(most);
        for (int64_t p = begin; p < end; p++)
            for (int v = 0; v < PANEL; v += LANES) {
                float *at = score + (p - begin) * PIECE + v;
                const F32 weight = exponential(load<F32>(at) - peak);  // e^-inf is 0
                total += weight;
                store(at, weight);
            }
        const float one_over = 1.0f / sum(total);
        if (inverse) {
            *inverse = one_over;
            return;
        }
        for (int64_t p = begin; p < end; p++)
            for (int v = 0; v < PANEL; v += LANES) {
                float *at = score + (p - begin) * PIECE + v;
                store(at, load<F32>(at) * one_over);
            }
    }
};

INLINE void clear(float *at, int64_t n) { memset(at, 0, n * sizeof(float)); }

// ---- forward: the heads' answers into out, beside each other ------------------------------------------------------

INLINE int64_t attention_room(const Heads &h) {
    return 2 * h.head() + h.query_size() + 2 * h.key_size() + h.score_size() + TILE * h.head() + 256;
}

static void attend(const Reader &reader, float *out, Room room) {
    const Heads &h = reader.h;
    float *q = room.take(h.query_size()), *keys = room.take(h.key_size()), *values = room.take(h.key_size());
    float *score = room.take(h.score_size()), *answer = room.take(TILE * h.head()), *row = reader.row;
    clear(keys, h.key_size()), clear(values, h.key_size());
    for (int64_t s = 0; s < h.n_time; s++) {
        reader.raw(s, reader.k_head());
        h.turn(h.k_norm, s).forward(row, 1.0f);
        place_across(keys, h, s, row);
        reader.raw(s, reader.v_head());
        place_natural(values, h, s, row);
    }
    for (int64_t head = reader.kv * h.group(); head < (reader.kv + 1) * h.group(); head++) {
        reader.queries(head, q);
        for (int64_t i = 0; i < tiles(h.n_time); i++) {
            int64_t begin, end;
            float inverse[TILE];
            reader.weights(q, keys, i, score, begin, end, inverse);
            for (int64_t p = 0; p < h.head_panels(); p++)
                times_panel<false>(score, values + (p * panels(h.n_time) + begin) * PANEL * PANEL, answer + p * PIECE,
                                   end - begin);
            for (int64_t r = 0; r < TILE && i * TILE + r < h.n_time; r++) {
                for (int64_t p = 0; p < h.head_panels(); p++)
                    for (int v = 0; v < PANEL; v += LANES)
                        store(row + p * PANEL + v, load<F32>(answer + p * PIECE + r * PANEL + v) * inverse[r]);
                write_features(out, h.out_panels, reader.first + i * TILE + r, head * h.d_head, h.d_head, row);
            }
        }
    }
}

// ---- backward: from d_out to d_qkv; dw[2][head] takes the part of q_norm's and k_norm's gradient ------------------

INLINE int64_t attention_backward_room(const Heads &h) {
    return 4 * h.head() + 2 * h.query_size() + 5 * h.key_size() + 2 * h.score_size() + TILE * h.head() + 512;
}

static void attend_backward(const Reader &reader, const float *d_out, float *d_qkv, float *dw, Room room) {
    const Heads &h = reader.h;
    const int64_t positions = panels(h.n_time) * PANEL, hp = h.head_panels();
    float *q = room.take(h.query_size()), *dy = room.take(h.query_size());
    float *keys = room.take(h.key_size()), *keys_across = room.take(h.key_size());
    float *values_across = room.take(h.key_size()), *dk = room.take(h.key_size()), *dv = room.take(h.key_size());
    float *weight = room.take(h.score_size()), *ds = room.take(h.score_size()), *dq = room.take(TILE * h.head());
    float *row = reader.row, *g = room.take(h.head()), *dx = room.take(h.head());
    clear(keys, h.key_size()), clear(keys_across, h.key_size()), clear(values_across, h.key_size());
    clear(dk, h.key_size()), clear(dv, h.key_size()), clear(dw, 2 * h.head());
    for (int64_t s = 0; s < h.n_time; s++) {
        reader.raw(s, reader.k_head());
        h.turn(h.k_norm, s).forward(row, 1.0f);
        place_natural(keys, h, s, row), place_across(keys_across, h, s, row);
        reader.raw(s, reader.v_head());
        place_across(values_across, h, s, row);
    }
    for (int64_t head = reader.kv * h.group(); head < (reader.kv + 1) * h.group(); head++) {
        reader.queries(head, q);
        if (h.n_time % TILE) clear(dy + h.query_size() - TILE * h.head(), TILE * h.head());
        for (int64_t t = 0; t < h.n_time; t++) {
            read_features(d_out, h.out_panels, reader.first + t, head * h.d_head, h.d_head, row);
            place_tile(dy, h, t, row);
        }
        for (int64_t i = 0; i < tiles(h.n_time); i++) {
            int64_t begin, end;
            const float *q_tile = q + i * TILE * h.head(), *dy_tile = dy + i * TILE * h.head();
            reader.weights(q, keys_across, i, weight, begin, end, nullptr);
            const int64_t n = end - begin;
            for (int64_t p = 0; p < n; p++)
                times_panel<false>(dy_tile, values_across + (begin + p) * h.head() * PANEL, ds + p * PIECE, hp);
            for (int r = 0; r < TILE; r++) {  // ds = w (dw - sum of w dw)
                F32 products{};
                for (int64_t p = 0; p < n; p++)
                    for (int v = 0; v < PANEL; v += LANES) {
                        const int64_t at = p * PIECE + r * PANEL + v;
                        products = fma(load<F32>(weight + at), load<F32>(ds + at), products);
                    }
                const float all = sum(products);
                for (int64_t p = 0; p < n; p++)
                    for (int v = 0; v < PANEL; v += LANES) {
                        const int64_t at = p * PIECE + r * PANEL + v;
                        store(ds + at, load<F32>(weight + at) * (load<F32>(ds + at) - all));
                    }
            }
            for (int64_t p = 0; p < n; p++)
                for (int64_t k = 0; k < hp; k++)
                    for (int o = 0; o < PANEL; o += OUTER) {
                        const int64_t to = (k * positions + (begin + p) * PANEL + o) * PANEL;
                        add_outer(ds + p * PIECE + o, 0, q_tile + k * PIECE, 0, 1, dk + to);
                        add_outer(weight + p * PIECE + o, 0, dy_tile + k * PIECE, 0, 1, dv + to);
                    }
            for (int64_t k = 0; k < hp; k++)
                times_panel<false>(ds, keys + (k * positions + begin * PANEL) * PANEL, dq + k * PIECE, n);
            for (int64_t r = 0; r < TILE && i * TILE + r < h.n_time; r++) {
                const int64_t t = i * TILE + r;
                read_features(dq, hp, r, 0, h.head(), g);
                reader.raw(t, head);
                h.turn(h.q_norm, t).backward(row, g, dx, dw, reader.scale());
                write_features(d_qkv, h.qkv_panels, reader.first + t, head * h.d_head, h.d_head, dx);
            }
        }
    }
    for (int64_t s = 0; s < h.n_time; s++) {
        for (int64_t k = 0; k < hp; k++) memcpy(g + k * PANEL, dk + (k * positions + s) * PANEL, PANEL * sizeof(float));
        reader.raw(s, reader.k_head());
        h.turn(h.k_norm, s).backward(row, g, dx, dw + h.head(), 1.0f);
        write_features(d_qkv, h.qkv_panels, reader.first + s, reader.k_head() * h.d_head, h.d_head, dx);
        for (int64_t k = 0; k < hp; k++) memcpy(g + k * PANEL, dv + (k * positions + s) * PANEL, PANEL * sizeof(float));
        write_features(d_qkv, h.qkv_panels, reader.first + s, reader.v_head() * h.d_head, h.d_head, g);
    }
}
