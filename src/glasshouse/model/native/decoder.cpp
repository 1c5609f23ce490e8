// A transformer's hidden states and, from their gradient, the gradient of every weight.  Sources: model/transformer.py.
//
// Tokens are taken in groups of whole rows, so that what lies between two steps stays in the last-level cache; within a
// group threads share tiles, rows and pieces of gradients, and meet at barriers.  Every number is summed in an order
// that depends on the shapes alone: the same bits on any number of threads.
// In bf16 the factors of every product with weights are rounded; the residual stream, norms, attention, all sums and all
// gradients stay fp32.
// Kept for the backward pass: for each layer its input, raw q k v, the heads' answers, the middle of the residual
// stream, gates and values.  Norms, SwiGLU and softmax are made again: that is cheaper than to keep them.
// The Python side (function.py) checks every pointer, size and id: here nothing is.

#include <omp.h>
#include "attention.h"

struct Layer {
    float *input_norm, *q, *k, *v, *q_norm, *k_norm, *o, *post_norm, *gate, *up, *down;  // or their gradients
};

struct Decoder {
    int64_t n_layers, d_model, n_heads, n_kv_heads, d_head, d_ff, n_vocab, is_bf16;
    float *embedding, *final_norm;
    const Layer *layers;
    const float *cos, *sin;  // [position][d_head], sin with the sign of the half turn
    float eps;
};

struct Rows {
    int64_t n_rows, n_time;
    const int64_t *id;     // [n_rows][n_time]
    const int32_t *start;  // the same: first position each may read; null: 0
};

namespace {

constexpr int64_t GROUP_TOKENS = 2048;  // a group is at least one row
constexpr int64_t BLOCK = 8;            // tiles that meet a panel of weights before the next one does

struct Widths {
    int64_t d, qkv, heads, ff;  // in panels; gates and values alternate in 2 ff panels
    explicit Widths(const Decoder &m)
        : d(panels(m.d_model)), qkv(panels((m.n_heads + 2 * m.n_kv_heads) * m.d_head)),
          heads(panels(m.n_heads * m.d_head)), ff(panels(m.d_ff)) {}
};

struct Sizes : Widths {
    int64_t group_rows, n_groups;
    Sizes(const Decoder &m, const Rows &rows) : Widths(m) {
        group_rows = GROUP_TOKENS / rows.n_time > 1 ? GROUP_TOKENS / rows.n_time : 1;
        n_groups = (rows.n_rows + group_rows - 1) / group_rows;
    }
    int64_t kept_in_layer() const { return 2 * d + qkv + heads + 2 * ff; }  // in pieces, of one tile
    int64_t kept(const Decoder &m) const { return m.n_layers * kept_in_layer() + d; }
};

struct Matrices {
    Matrix qkv, o, gate_up, down;

    Matrices(const Decoder &m, const Layer &l, const Widths &w) {
        const int64_t q = m.n_heads * m.d_head, kv = m.n_kv_heads * m.d_head;
        qkv = joined({{l.q, q}, {l.k, kv}, {l.v, kv}}, m.d_model);
        o = joined({{l.o, m.d_model}}, q);
        down = joined({{l.down, m.d_model}}, m.d_ff);
        gate_up = {std::vector<float *>(2 * w.ff * PANEL, nullptr), m.d_model};
        for (int64_t f = 0; f < m.d_ff; f++) {
            const int64_t at = f / PANEL * 2 * PANEL + f % PANEL;
            gate_up.row[at] = l.gate + f * m.d_model, gate_up.row[at + PANEL] = l.up + f * m.d_model;
        }
    }

    struct Part {
        float *weight;
        int64_t n;
    };
    static Matrix joined(std::initializer_list<Part> parts, int64_t n_inputs) {
        Matrix m{{}, n_inputs};
        for (const Part &part : parts) m.add_rows(part.weight, part.n);
        m.pad();
        return m;
    }

    int64_t size() const { return qkv.size() + o.size() + gate_up.size() + down.size(); }
};

struct Packed {
    float *qkv, *o, *gate_up, *down;
};

// What is kept of one group and layer.
struct Kept {
    float *x, *qkv, *answers, *middle, *gate_up;
};

// silu(g) = g s with s = 1 / (1 + e^-g), of each pair of pieces of gates and values.
struct SwiGLU {
    const float *gate_up;
    float *act;
    int64_t ff;

    void fetch(int64_t, int64_t) const {}
    void finish(int64_t tile, int64_t panel) const {
        if (panel % 2 == 0) return;  // the values' piece follows
        const float *from = gate_up + (tile * 2 * ff + panel - 1) * PIECE;
        float *to = act + (tile * ff + panel / 2) * PIECE;
        for (int i = 0; i < PIECE; i += LANES)
            store(to + i, silu(load<F32>(from + i)) * load<F32>(from + PIECE + i));
    }
};

// d_act becomes act; d_gate_up is written.
struct SwiGLUBackward {
    const float *gate_up;
    float *act, *d_gate_up;
    int64_t ff;

    const float *from(int64_t tile, int64_t panel) const { return gate_up + (tile * ff + panel) * 2 * PIECE; }

    void fetch(int64_t tile, int64_t panel) const {
        for (int i = 0; i < 2 * PIECE; i += 16) __builtin_prefetch(from(tile, panel) + i);
    }
    void finish(int64_t tile, int64_t panel) const {
        const float *gate = from(tile, panel), *value = gate + PIECE;
        float *at = act + (tile * ff + panel) * PIECE, *d_gate = d_gate_up + (tile * ff + panel) * 2 * PIECE;
        for (int i = 0; i < PIECE; i += LANES) {
            const F32 g = load<F32>(gate + i), u = load<F32>(value + i), d = load<F32>(at + i);
            const F32 s = 1.0f / (1.0f + exponential(-g)), gated = g * s;
            store(at + i, gated * u);
            store(d_gate + i, d * u * (s + gated * (1.0f - s)));
            store(d_gate + PIECE + i, d * gated);
        }
    }
};

struct Pass {
    const Decoder &m;
    const Rows &rows;
    const Sizes w;
    const int n_threads;
    std::vector<Matrices> weights;
    std::vector<Packed> packed;
    Heads heads;
    std::vector<float> norms;  // padded copies: of each layer its two, then the last one

    Pass(const Decoder &m, const Rows &rows, int n_threads)
        : m(m), rows(rows), w(m, rows), n_threads(n_threads),
          heads{m.n_heads, m.n_kv_heads, m.d_head, rows.n_time, nullptr, nullptr, m.cos, m.sin, m.eps, w.qkv, w.heads},
          norms((2 * m.n_layers + 1) * w.d * PANEL, 0.0f) {
        for (int64_t l = 0; l < m.n_layers; l++) {
            weights.emplace_back(m, m.layers[l], w);
            memcpy(&norms[2 * l * w.d * PANEL], m.layers[l].input_norm, m.d_model * sizeof(float));
            memcpy(&norms[(2 * l + 1) * w.d * PANEL], m.layers[l].post_norm, m.d_model * sizeof(float));
        }
        memcpy(&norms[2 * m.n_layers * w.d * PANEL], m.final_norm, m.d_model * sizeof(float));
    }

    const float *norm(int64_t number) const { return &norms[number * w.d * PANEL]; }

    Heads heads_of(int64_t l) const {
        Heads h = heads;
        h.q_norm = m.layers[l].q_norm, h.k_norm = m.layers[l].k_norm;
        return h;
    }

    void reserve(Room &room) {
        for (const Matrices &of : weights) {
            Packed to;
            to.qkv = room.take(of.qkv.size()), to.o = room.take(of.o.size());
            to.gate_up = room.take(of.gate_up.size()), to.down = room.take(of.down.size());
            packed.push_back(to);
        }
    }

    // Panels of all weights, shared by the threads; a barrier is the caller's.
    template <bool IS_BACKWARD> void pack(int thread) const {
        int64_t number = 0;
        const auto part = [&](const Matrix &from, float *to) {
            for (int64_t p = 0; p < (IS_BACKWARD ? from.in() : from.out()); p++)
                if (number++ % n_threads == thread) {
                    if (IS_BACKWARD) m.is_bf16 ? from.pack_inputs<true>(p, to) : from.pack_inputs(p, to);
                    else m.is_bf16 ? from.pack_outputs<true>(p, to) : from.pack_outputs(p, to);
                }
        };
        for (size_t l = 0; l < weights.size(); l++) {
            part(weights[l].qkv, packed[l].qkv), part(weights[l].o, packed[l].o);
            part(weights[l].gate_up, packed[l].gate_up), part(weights[l].down, packed[l].down);
        }
    }

    struct Group {
        int64_t first_row, n_rows, n_tokens, n_tiles;
        float *kept;
    };
    Group group(int64_t g, float *kept) const {
        Group of;
        of.first_row = g * w.group_rows;
        of.n_rows = rows.n_rows - of.first_row < w.group_rows ? rows.n_rows - of.first_row : w.group_rows;
        of.n_tokens = of.n_rows * rows.n_time, of.n_tiles = tiles(of.n_tokens);
        of.kept = kept + g * tiles(w.group_rows * rows.n_time) * w.kept(m) * PIECE;
        return of;
    }
    Kept kept(const Group &g, int64_t l) const {
        const int64_t n = g.n_tiles * PIECE;
        float *at = g.kept + l * n * w.kept_in_layer();
        return {at, at + n * w.d, at + n * (w.d + w.qkv), at + n * (w.d + w.qkv + w.heads),
                at + n * (2 * w.d + w.qkv + w.heads)};
    }
    float *last(const Group &g) const { return g.kept + m.n_layers * g.n_tiles * PIECE * w.kept_in_layer(); }

    // c (=, +=) a b for up to BLOCK tiles; `room` is for a, rounded.
    template <bool ADDS, class Then = Nothing>
    void times(const float *a, int64_t a_panels, const float *packed, int64_t n_out, float *c, int64_t n, float *room,
               const Then &then = {}) const {
        if (!m.is_bf16) return multiply<ADDS>(a, a_panels, packed, n_out, c, n, then);
        pair_columns(a, n * a_panels * PIECE, room);
        multiply<ADDS, true>(room, a_panels, packed, n_out, c, n, then);
    }
    int64_t rounded_size() const {
        int64_t widest = 0;
        for (int64_t width : {w.d, w.qkv, w.heads, 2 * w.ff}) widest = width > widest ? width : widest;
        return m.is_bf16 ? BLOCK * PIECE / 2 * widest : 0;
    }

    int64_t room_of_thread(bool is_backward) const {
        const int64_t forward = BLOCK * PIECE * (w.d + w.ff) + rounded_size();
        const int64_t attention = is_backward ? attention_backward_room(heads) : attention_room(heads);
        return (forward > attention ? forward : attention) + 1024;
    }

    template <class Work> void each_block(Range tiles, Work work) const {
        for (int64_t i = tiles.begin; i < tiles.end; i += BLOCK)
            work(i, tiles.end - i < BLOCK ? tiles.end - i : BLOCK);
    }

    Reader reader(const Heads &h, const Group &g, const float *qkv, int64_t task, Room &room) const {
        const int64_t row = task / m.n_kv_heads;
        float *one = room.take(h.head());
        clear(one, h.head());
        const int64_t first = (g.first_row + row) * rows.n_time;
        return {h, rows.start ? rows.start + first : nullptr, qkv, row * rows.n_time, task % m.n_kv_heads, one};
    }
};

// Tiles that heads write token by token: what lies beside is 0.
void clear_padding(float *at, int64_t n_panels, int64_t width, Range tiles, int64_t n_tokens) {
    for (int64_t i = tiles.begin; i < tiles.end; i++)
        if (width % PANEL || (i + 1) * TILE > n_tokens) clear(at + i * n_panels * PIECE, n_panels * PIECE);
}

struct Forward : Pass {
    using Pass::Pass;

    int64_t room() const {
        int64_t n = n_threads * room_of_thread(false) + 1024;
        for (const Matrices &of : weights) n += of.size() + 256;
        return n;
    }

    void embed(const Group &g, Range tiles, float *x) const {
        for (int64_t i = tiles.begin; i < tiles.end; i++) clear(x + i * w.d * PIECE, w.d * PIECE);
        const int64_t *id = rows.id + g.first_row * rows.n_time;
        for (int64_t t = tiles.begin * TILE; t < tiles.end * TILE && t < g.n_tokens; t++)
            write_features(x, w.d, t, 0, m.d_model, m.embedding + id[t] * m.d_model);
    }

    void project_qkv(const Group &g, Range tiles, int64_t l, float *normal, float *rounded) const {
        const Kept k = kept(g, l);
        each_block(tiles, [&](int64_t i, int64_t n) {
            for (int64_t j = 0; j < n; j++)
                normalise(k.x + (i + j) * w.d * PIECE, norm(2 * l), normal + j * w.d * PIECE, w.d, m.d_model, m.eps);
            times<false>(normal, w.d, packed[l].qkv, w.qkv, k.qkv + i * w.qkv * PIECE, n, rounded);
        });
        clear_padding(k.answers, w.heads, m.n_heads * m.d_head, tiles, g.n_tokens);
    }

    void feed_forward(const Group &g, Range tiles, int64_t l, float *normal, float *act, float *rounded,
                      float *next) const {
        const Kept k = kept(g, l);
        each_block(tiles, [&](int64_t i, int64_t n) {
            float *middle = k.middle + i * w.d * PIECE, *gate_up = k.gate_up + i * 2 * w.ff * PIECE;
            memcpy(middle, k.x + i * w.d * PIECE, n * w.d * PIECE * sizeof(float));
            times<true>(k.answers + i * w.heads * PIECE, w.heads, packed[l].o, w.d, middle, n, rounded);
            for (int64_t j = 0; j < n; j++)
                normalise(middle + j * w.d * PIECE, norm(2 * l + 1), normal + j * w.d * PIECE, w.d, m.d_model, m.eps);
            times<false>(normal, w.d, packed[l].gate_up, 2 * w.ff, gate_up, n, rounded, SwiGLU{gate_up, act, w.ff});
            memcpy(next + i * w.d * PIECE, middle, n * w.d * PIECE * sizeof(float));
            times<true>(act, w.ff, packed[l].down, w.d, next + i * w.d * PIECE, n, rounded);
        });
    }

    void finish(const Group &g, Range tiles, float *normal, float *hidden) const {
        for (int64_t i = tiles.begin; i < tiles.end; i++) {
            normalise(last(g) + i * w.d * PIECE, norm(2 * m.n_layers), normal, w.d, m.d_model, m.eps);
            for (int64_t t = 0; t < TILE && i * TILE + t < g.n_tokens; t++)
                read_features(normal, w.d, t, 0, m.d_model,
                              hidden + (g.first_row * rows.n_time + i * TILE + t) * m.d_model);
        }
    }

    void go(float *saved, float *scratch, float *hidden) {
        Room shared{scratch};
        reserve(shared);
#pragma omp parallel num_threads(n_threads)
        {
            const int thread = omp_get_thread_num();
            const Room own{shared.at + thread * room_of_thread(false)};
            flush_denormals();
            pack<false>(thread);
#pragma omp barrier
            for (int64_t number = 0; number < w.n_groups; number++) {
                const Group g = group(number, saved);
                const Range mine = share(g.n_tiles, thread, n_threads);
                Room room = own;
                float *normal = room.take(BLOCK * w.d * PIECE), *act = room.take(BLOCK * w.ff * PIECE);
                float *rounded = room.take(rounded_size());
                embed(g, mine, m.n_layers ? kept(g, 0).x : last(g));
                for (int64_t l = 0; l < m.n_layers; l++) {
                    const Heads h = heads_of(l);
                    project_qkv(g, mine, l, normal, rounded);
#pragma omp barrier
#pragma omp for schedule(dynamic)
                    for (int64_t task = 0; task < g.n_rows * m.n_kv_heads; task++) {
                        Room room = own;
                        const Reader one = reader(h, g, kept(g, l).qkv, task, room);
                        attend(one, kept(g, l).answers, room);
                    }
                    feed_forward(g, mine, l, normal, act, rounded, l + 1 < m.n_layers ? kept(g, l + 1).x : last(g));
                }
                finish(g, mine, normal, hidden);
            }
        }
    }
};

struct Backward : Pass {
    std::vector<Matrices> gradients;
    const Decoder &d;  // gradients, in the places of the weights

    Backward(const Decoder &m, const Decoder &gradient, const Rows &rows, int n_threads)
        : Pass(m, rows, n_threads), d(gradient) {
        for (int64_t l = 0; l < m.n_layers; l++) gradients.emplace_back(d, d.layers[l], w);
    }

    // Of one group, all tokens: what the gradients of the weights are made of.
    struct Between {
        float *dx[3], *d_answers, *d_qkv, *d_gate_up, *act, *normal_1, *normal_2, *dw_input, *dw_post, *dw_heads;
    };

    int64_t group_tiles() const {
        const int64_t n = w.group_rows < rows.n_rows ? w.group_rows : rows.n_rows;
        return tiles(n * rows.n_time);
    }
    int64_t head_parts() const { return w.group_rows * m.n_kv_heads * 2 * heads.head(); }

    int64_t room() const {
        int64_t n = n_threads * room_of_thread(true) + head_parts() + 4096;
        n += group_tiles() * (PIECE * (5 * w.d + w.heads + w.qkv + 3 * w.ff) + 2 * w.d * PANEL);
        for (const Matrices &of : weights) n += of.size() + 256;
        return n;
    }

    Between between(Room &room) const {
        const int64_t n = group_tiles() * PIECE, partial = group_tiles() * w.d * PANEL;
        Between b;
        for (float *&dx : b.dx) dx = room.take(n * w.d);
        b.normal_1 = room.take(n * w.d), b.normal_2 = room.take(n * w.d), b.d_answers = room.take(n * w.heads);
        b.d_qkv = room.take(n * w.qkv), b.d_gate_up = room.take(n * 2 * w.ff), b.act = room.take(n * w.ff);
        b.dw_input = room.take(partial), b.dw_post = room.take(partial), b.dw_heads = room.take(head_parts());
        return b;
    }

    void begin(const Group &g, Range tiles, const float *d_hidden, float *gradient, const Between &b) const {
        for (int64_t i = tiles.begin; i < tiles.end; i++) {
            clear(gradient, w.d * PIECE);
            for (int64_t t = 0; t < TILE && i * TILE + t < g.n_tokens; t++)
                write_features(gradient, w.d, t, 0, m.d_model,
                               d_hidden + (g.first_row * rows.n_time + i * TILE + t) * m.d_model);
            normalise_backward(last(g) + i * w.d * PIECE, norm(2 * m.n_layers), gradient, nullptr,
                               b.dx[0] + i * w.d * PIECE, nullptr, b.dw_input + i * w.d * PANEL, w.d, m.d_model, m.eps);
        }
    }

    // From dx[0], of a layer's output, to dx[1], of its middle.
    void feed_forward(const Group &g, Range tiles, int64_t l, float *gradient, float *rounded, const Between &b) const {
        const Kept k = kept(g, l);
        each_block(tiles, [&](int64_t i, int64_t n) {
            float *act = b.act + i * w.ff * PIECE, *d_gate_up = b.d_gate_up + i * 2 * w.ff * PIECE;
            times<false>(b.dx[0] + i * w.d * PIECE, w.d, packed[l].down, w.ff, act, n, rounded,
                         SwiGLUBackward{k.gate_up + i * 2 * w.ff * PIECE, act, d_gate_up, w.ff});
            times<false>(d_gate_up, 2 * w.ff, packed[l].gate_up, w.d, gradient, n, rounded);
            for (int64_t j = 0; j < n; j++) {
                const int64_t at = (i + j) * w.d * PIECE;
                normalise_backward(k.middle + at, norm(2 * l + 1), gradient + j * w.d * PIECE, b.dx[0] + at,
                                   b.dx[1] + at, b.normal_2 + at, b.dw_post + (i + j) * w.d * PANEL, w.d, m.d_model,
                                   m.eps);
            }
            times<false>(b.dx[1] + i * w.d * PIECE, w.d, packed[l].o, w.heads, b.d_answers + i * w.heads * PIECE, n,
                         rounded);
        });
        clear_padding(b.d_qkv, w.qkv, (m.n_heads + 2 * m.n_kv_heads) * m.d_head, tiles, g.n_tokens);
    }

    // From dx[1] to dx[2], of the layer's input.
    void project_qkv(const Group &g, Range tiles, int64_t l, float *gradient, float *rounded, const Between &b) const {
        const Kept k = kept(g, l);
        each_block(tiles, [&](int64_t i, int64_t n) {
            times<false>(b.d_qkv + i * w.qkv * PIECE, w.qkv, packed[l].qkv, w.d, gradient, n, rounded);
            for (int64_t j = 0; j < n; j++) {
                const int64_t at = (i + j) * w.d * PIECE;
                normalise_backward(k.x + at, norm(2 * l), gradient + j * w.d * PIECE, b.dx[1] + at, b.dx[2] + at,
                                   b.normal_1 + at, b.dw_input + (i + j) * w.d * PANEL, w.d, m.d_model, m.eps);
            }
        });
    }

    // In bf16: what gradients of weights are made of, in pairs of tokens.  Nothing else is made of it any more, so each
    // takes its own place; the heads' answers are kept, and take that of their gradient.
    void pair(const Group &g, Range tiles, int64_t l, const Between &b) const {
        const auto each = [&](const float *from, int64_t n_panels, float *to) {
            for (int64_t i = tiles.begin; i < tiles.end; i++)
                pair_tokens(from + i * n_panels * PIECE, n_panels, to + i * n_panels * PIECE);
        };
        each(b.d_qkv, w.qkv, b.d_qkv), each(b.normal_1, w.d, b.normal_1);
        each(b.dx[1], w.d, b.dx[1]), each(kept(g, l).answers, w.heads, b.d_answers);
        each(b.d_gate_up, 2 * w.ff, b.d_gate_up), each(b.normal_2, w.d, b.normal_2);
        each(b.dx[0], w.d, b.dx[0]), each(b.act, w.ff, b.act);
    }

    // This thread's share of a layer's four matrices.
    void weight_gradients(const Group &g, int64_t l, int thread, bool adds, const Between &b) const {
        const WeightGradient products[] = {
            {b.d_qkv, w.qkv, b.normal_1, w.d, g.n_tiles, gradients[l].qkv},
            {b.dx[1], w.d, m.is_bf16 ? b.d_answers : kept(g, l).answers, w.heads, g.n_tiles, gradients[l].o},
            {b.d_gate_up, 2 * w.ff, b.normal_2, w.d, g.n_tiles, gradients[l].gate_up},
            {b.dx[0], w.d, b.act, w.ff, g.n_tiles, gradients[l].down},
        };
        int64_t all = 0, before = 0;
        for (const WeightGradient &p : products) all += p.units();
        const Range mine = share(all, thread, n_threads);
        for (const WeightGradient &p : products) {
            const int64_t begin = mine.begin - before, end = mine.end - before;
            const Range units{begin > 0 ? begin : 0, end < p.units() ? end : p.units()};
            m.is_bf16 ? p.compute<true>(units, adds) : p.compute(units, adds);
            before += p.units();
        }
    }

    // Sum of n partial gradients of a norm, in their order; panels are shared by the threads.
    void norm_gradient(const float *partial, int64_t step, int64_t n, int64_t width, float *to, bool adds,
                       Range mine) const {
        for (int64_t i = mine.begin * PANEL; i < mine.end * PANEL && i < width; i++) {
            float total = adds ? to[i] : 0.0f;
            for (int64_t j = 0; j < n; j++) total += partial[j * step + i];
            to[i] = total;
        }
    }

    // Columns are shared by the threads, for two tokens may be of one id.
    void embedding_gradient(const Group &g, const float *dx, Range mine) const {
        const int64_t *id = rows.id + g.first_row * rows.n_time;
        for (int64_t t = 0; t < g.n_tokens; t++)
            for (int64_t p = mine.begin; p < mine.end; p++) {
                const int64_t width = m.d_model - p * PANEL < PANEL ? m.d_model - p * PANEL : PANEL;
                float *to = d.embedding + id[t] * m.d_model + p * PANEL;
                const float *from = dx + place(t, p * PANEL, w.d);
                for (int64_t i = 0; i < width; i++) to[i] += from[i];
            }
    }

    void go(float *saved, float *scratch, const float *d_hidden) {
        Room shared{scratch};
        reserve(shared);
        const Between all = between(shared);
#pragma omp parallel num_threads(n_threads)
        {
            const int thread = omp_get_thread_num();
            const Room own{shared.at + thread * room_of_thread(true)};
            const Range columns = share(w.d, thread, n_threads);
            flush_denormals();
            pack<true>(thread);
            const Range words = share(m.n_vocab, thread, n_threads);
            clear(d.embedding + words.begin * m.d_model, (words.end - words.begin) * m.d_model);
#pragma omp barrier
            for (int64_t number = 0; number < w.n_groups; number++) {
                const Group g = group(number, saved);
                const Range mine = share(g.n_tiles, thread, n_threads);
                const bool adds = number > 0;
                Between b = all;
                Room room = own;
                float *gradient = room.take(BLOCK * w.d * PIECE), *rounded = room.take(rounded_size());
                begin(g, mine, d_hidden, gradient, b);
#pragma omp barrier
                norm_gradient(b.dw_input, w.d * PANEL, g.n_tiles, m.d_model, d.final_norm, adds, columns);
                for (int64_t l = m.n_layers; l-- > 0;) {
                    const Heads h = heads_of(l);
                    feed_forward(g, mine, l, gradient, rounded, b);
#pragma omp barrier
#pragma omp for schedule(dynamic)
                    for (int64_t task = 0; task < g.n_rows * m.n_kv_heads; task++) {
                        Room room = own;
                        const Reader one = reader(h, g, kept(g, l).qkv, task, room);
                        attend_backward(one, b.d_answers, b.d_qkv, b.dw_heads + task * 2 * h.head(), room);
                    }
                    project_qkv(g, mine, l, gradient, rounded, b);
                    if (m.is_bf16) pair(g, mine, l, b);
#pragma omp barrier
                    weight_gradients(g, l, thread, adds, b);
                    const Layer &to = d.layers[l];
                    norm_gradient(b.dw_input, w.d * PANEL, g.n_tiles, m.d_model, to.input_norm, adds, columns);
                    norm_gradient(b.dw_post, w.d * PANEL, g.n_tiles, m.d_model, to.post_norm, adds, columns);
                    if (to.q_norm && thread == n_threads - 1) {
                        const int64_t tasks = g.n_rows * m.n_kv_heads, step = 2 * h.head();
                        const Range whole{0, h.head_panels()};
                        norm_gradient(b.dw_heads, step, tasks, m.d_head, to.q_norm, adds, whole);
                        norm_gradient(b.dw_heads + h.head(), step, tasks, m.d_head, to.k_norm, adds, whole);
                    }
#pragma omp barrier
                    std::swap(b.dx[0], b.dx[2]);
                }
                embedding_gradient(g, b.dx[0], columns);
#pragma omp barrier
            }
        }
    }
};

}  // namespace

// Sizes are in floats.  `keeps` is what `forward` fills and `backward` reads.
extern "C" {
int32_t multiplies_pairs() { return MULTIPLIES_PAIRS; }
int64_t kept_size(const Decoder *model, const Rows *rows) {
    const Sizes sizes(*model, *rows);
    return sizes.n_groups * tiles(sizes.group_rows * rows->n_time) * sizes.kept(*model) * PIECE;
}
int64_t forward_room(const Decoder *model, const Rows *rows, int32_t n_threads) {
    return Forward(*model, *rows, n_threads).room();
}
int64_t backward_room(const Decoder *model, const Rows *rows, int32_t n_threads) {
    return Backward(*model, *model, *rows, n_threads).room();
}
void forward(const Decoder *model, const Rows *rows, float *keeps, float *room, float *hidden, int32_t n_threads) {
    Forward(*model, *rows, n_threads).go(keeps, room, hidden);
}
void backward(const Decoder *model, const Decoder *gradient, const Rows *rows, float *keeps, float *room,
              const float *d_hidden, int32_t n_threads) {
    Backward(*model, *gradient, *rows, n_threads).go(keeps, room, d_hidden);
}
}
