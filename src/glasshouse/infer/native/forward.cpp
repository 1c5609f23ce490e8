// The whole forward pass of a Qwen3- or Llama-shaped transformer in one call.  Sources: as model/transformer.py.
//
// T tokens of R sequences, flattened; D model, N query heads, K kv heads, H head, F ffn, V vocab.  Widths are padded
// by the Python side (runner.py), which also checks every pointer, size and id: here nothing is.
// One parallel region: threads meet at barriers between the steps of a layer, and every step writes only its own part.

#include <omp.h>
#include <vector>
#include "attention.h"

struct Layer {
    const float *input_norm, *q_norm, *k_norm, *post_norm;  // q_norm and k_norm null in Llama's shape
    Matrix qkv, o, gate_up, down;
};

struct Model {
    int32_t n_layers, n_heads, n_kv_heads, d_head, head_stride, d_model, model_stride, row_stride, page, n_blocks;
    float norm_eps;
    const float *final_norm, *cos, *sin;  // cos and sin [position][H], sin with the sign of the half turn
    const Layer *layers;
    Matrix embedding, head;
    float *keys, *values;  // [L][n_blocks][K][..]: attention.h
};

struct Batch {
    int64_t n_tokens, n_rows, n_logits, max_length;  // n_rows: sequences
    const int64_t *id, *position, *sequence, *logit_row;
    const int32_t *table;  // [R][table_stride] blocks
    int64_t table_stride;
};

namespace {

// Consecutive tokens of one sequence at consecutive positions, whose queries read keys together.
struct Run {
    int64_t first, count;
};

std::vector<Run> runs(const Batch &b) {
    std::vector<Run> found;
    for (int64_t t = 0; t < b.n_tokens; t++) {
        const bool follows = t && b.sequence[t] == b.sequence[t - 1] && b.position[t] == b.position[t - 1] + 1;
        if (follows && found.back().count < ATTENTION_ROWS) found.back().count++;
        else found.push_back({t, 1});
    }
    return found;
}

struct Memory {
    std::vector<char> bytes;
    size_t used = 0;
    template <class X> X *take(size_t n) {
        X *at = (X *)(bytes.data() + (64 - (size_t)bytes.data() % 64) % 64 + used);
        used += (n * sizeof(X) + 63) / 64 * 64;
        return at;
    }
};

struct Pass {
    const Model &m;
    const Batch &b;
    std::vector<Run> run;
    int qkv_stride, n_threads;
    int64_t score_stride;
    float *x, *qkv, *score;
    Rows in, out;  // what a matrix reads, and what the step before it writes

    Pass(const Model &m, const Batch &b, int n_threads, Memory &memory)
        : m(m), b(b), run(runs(b)), n_threads(n_threads) {
        const size_t rows = b.n_tokens > b.n_logits ? b.n_tokens : b.n_logits;
        qkv_stride = (m.n_heads + 2 * m.n_kv_heads) * m.head_stride;
        score_stride = (b.max_length + LANES - 1) / LANES * LANES;
        const size_t scores = n_threads * ATTENTION_ROWS * score_stride;
        memory.used = 0;
        memory.bytes.resize(rows * (4 * (m.model_stride + qkv_stride) + 11 * m.row_stride) + 4 * scores + 64 * 16);
        x = memory.take<float>(b.n_tokens * m.model_stride);
        qkv = memory.take<float>(b.n_tokens * qkv_stride);
        score = memory.take<float>(scores);
        in = take_rows(memory, rows), out = take_rows(memory, rows);
    }

    Rows take_rows(Memory &memory, size_t n) const {
        const size_t size = n * m.row_stride, groups = size / GROUP;
        return {memory.take<float>(size), memory.take<int8_t>(size), memory.take<float>(groups),
                memory.take<int32_t>(groups), m.row_stride};
    }

    void norm(const float *from, const float *weight, float *to, int width, int stride) const {
        F32 squares{};
        for (int i = 0; i < stride; i += LANES) squares = fma(load<F32>(from + i), load<F32>(from + i), squares);
        const float r = 1.0f / sqrtf(sum(squares) / width + m.norm_eps);
        for (int i = 0; i < stride; i += LANES) store(to + i, load<F32>(from + i) * r * load<F32>(weight + i));
    }

    void prepare(const Rows &rows, int64_t t, const Matrix &next) const {
        if (next.is_integer()) quantise_row(rows, t, next.k);
    }

    void normalise(int64_t t, int64_t from, const float *weight, const Matrix &next) const {
        norm(x + from * m.model_stride, weight, in.value + t * in.stride, m.d_model, m.model_stride);
        prepare(in, t, next);
    }

    void turn(float *v, const float *weight, int64_t position) const {
        if (weight) norm(v, weight, v, m.d_head, m.head_stride);
        const float *cos = m.cos + position * m.d_head, *sin = m.sin + position * m.d_head;
        const int half = m.d_head / 2;
        for (int i = 0; i < half; i++) {
            const float a = v[i], c = v[i + half];
            v[i] = a * cos[i] + c * sin[i], v[i + half] = c * cos[i + half] + a * sin[i + half];
        }
    }

    size_t page_size() const { return (size_t)m.page * m.head_stride; }
    size_t layer_size() const { return page_size() * m.n_kv_heads * m.n_blocks; }

    // Queries and keys of one token: normalised, turned; keys and values into their page.
    void place(int64_t t, int l) const {
        const Layer &layer = m.layers[l];
        const int64_t position = b.position[t], slot = position % m.page;
        const int64_t block = b.table[b.sequence[t] * b.table_stride + position / m.page];
        float *q = qkv + t * qkv_stride, *k = q + m.n_heads * m.head_stride, *v = k + m.n_kv_heads * m.head_stride;
        for (int n = 0; n < m.n_heads; n++) turn(q + n * m.head_stride, layer.q_norm, position);
        for (int n = 0; n < m.n_kv_heads; n++, k += m.head_stride, v += m.head_stride) {
            turn(k, layer.k_norm, position);
            const size_t at = l * layer_size() + (block * m.n_kv_heads + n) * page_size();
            for (int h = 0; h < m.d_head; h++) m.keys[at + h * m.page + slot] = k[h];
            memcpy(m.values + at + slot * m.head_stride, v, m.head_stride * sizeof(float));
        }
    }

    // The query heads of one kv head for one run of tokens; each answer takes the place of its query.
    void attend_run(int64_t task, int l, int thread) const {
        const Run &tokens = run[task / m.n_kv_heads];
        const int kv = task % m.n_kv_heads, group = m.n_heads / m.n_kv_heads;
        const size_t at = l * layer_size() + kv * page_size();
        const Pages pages{m.keys + at, m.values + at, b.table + b.sequence[tokens.first] * b.table_stride,
                          (int64_t)(page_size() * m.n_kv_heads), m.page, m.d_head, m.head_stride};
        std::vector<Query> rows;
        for (int64_t t = tokens.first; t < tokens.first + tokens.count; t++)
            for (int n = kv * group; n < (kv + 1) * group; n++)
                rows.push_back({qkv + t * qkv_stride + n * m.head_stride, b.position[t] + 1});
        attend_all(pages, rows.data(), rows.size(), score + thread * ATTENTION_ROWS * score_stride, score_stride);
    }

    // Heads side by side without their padding.
    void join_heads(int64_t t, const Matrix &o) const {
        float *to = out.value + t * out.stride;
        for (int n = 0; n < m.n_heads; n++)
            memcpy(to + n * m.d_head, qkv + t * qkv_stride + n * m.head_stride, m.d_head * sizeof(float));
        for (int i = m.n_heads * m.d_head; i < o.k; i++) to[i] = 0.0f;
        prepare(out, t, o);
    }

    // Either result may be null: then it is not wanted.
    void go(float *logits, float *hidden) {
#pragma omp parallel num_threads(n_threads)
        {
            const int thread = omp_get_thread_num(), n = omp_get_num_threads();
            const int64_t begin = b.n_tokens * thread / n, end = b.n_tokens * (thread + 1) / n;
            flush_denormals();
            for (int64_t t = begin; t < end; t++) {
                read_row(m.embedding, b.id[t], x + t * m.model_stride);
                for (int i = m.embedding.k; i < m.model_stride; i++) x[t * m.model_stride + i] = 0.0f;
            }
            for (int l = 0; l < m.n_layers; l++) {
                const Layer &layer = m.layers[l];
                for (int64_t t = begin; t < end; t++) normalise(t, t, layer.input_norm, layer.qkv);
#pragma omp barrier
                multiply(layer.qkv, in, b.n_tokens, STORE, qkv, qkv_stride, thread, n);
#pragma omp barrier
                for (int64_t t = begin; t < end; t++) place(t, l);
#pragma omp barrier
#pragma omp for schedule(dynamic)
                for (int64_t task = 0; task < (int64_t)run.size() * m.n_kv_heads; task++) attend_run(task, l, thread);
                for (int64_t t = begin; t < end; t++) join_heads(t, layer.o);
#pragma omp barrier
                multiply(layer.o, out, b.n_tokens, ADD, x, m.model_stride, thread, n);
#pragma omp barrier
                for (int64_t t = begin; t < end; t++) normalise(t, t, layer.post_norm, layer.gate_up);
#pragma omp barrier
                multiply(layer.gate_up, in, b.n_tokens, SWIGLU, out.value, out.stride, thread, n);
#pragma omp barrier
                for (int64_t t = begin; t < end; t++) prepare(out, t, layer.down);
#pragma omp barrier
                multiply(layer.down, out, b.n_tokens, ADD, x, m.model_stride, thread, n);
#pragma omp barrier
            }
            for (int64_t i = b.n_logits * thread / n; i < b.n_logits * (thread + 1) / n; i++)
                normalise(i, b.logit_row[i], m.final_norm, m.head);
#pragma omp barrier
            for (int64_t i = b.n_logits * thread / n; hidden && i < b.n_logits * (thread + 1) / n; i++)
                memcpy(hidden + i * m.d_model, in.value + i * in.stride, m.d_model * sizeof(float));
            if (logits) multiply(m.head, in, b.n_logits, STORE, logits, m.head.n, thread, n);
        }
    }

    // Sums over numbers too small to matter cost a hundred times the others; every thread decides for itself.
    static void flush_denormals() {
#if defined(__x86_64__)
        _mm_setcsr(_mm_getcsr() | 0x8040);
#endif
    }
};

}  // namespace

#include "decode.h"

extern "C" {
void *new_memory() { return new Memory; }
void free_memory(void *memory) { delete (Memory *)memory; }
void forward(const Model *model, const Batch *batch, float *logits, float *hidden, int32_t n_threads, void *memory) {
    Pass(*model, *batch, n_threads, *(Memory *)memory).go(logits, hidden);
}
void decode(const Model *model, const Decoding *decoding, int32_t n_threads, void *memory) {
    Decoder{*model, *decoding, n_threads}.go(*(Memory *)memory);
}
// Of rows of n logits: the token at u of each cumulative distribution, or, where there is no u, the largest logit and the
// log of the sum above it.
void distributions(const float *logits, int64_t n_rows, int64_t stride, int64_t n, const double *uniform, int64_t *id,
                   float *most, float *log_sum, int32_t n_threads) {
#pragma omp parallel num_threads(n_threads)
    {
        Distribution p;
#pragma omp for
        for (int64_t r = 0; r < n_rows; r++) {
            p.of(logits + r * stride, n, 1.0f);
            if (uniform) id[r] = p.draw(uniform[r]);
            else most[r] = p.most, log_sum[r] = p.log_sum;
        }
    }
}
}
