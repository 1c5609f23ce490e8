// Many answers by one loop: draw a token for each, let those that have ended go, read the others' tokens, again.
//
// B answers, T tokens at most of each, P pages, V vocab.  The Python side (decode.py) checks every size and id.

#pragma once
#include "draw.h"

struct Decoding {
    int64_t n_answers, max_tokens, n_ids, n_ends, table_stride;  // n_ids: of the V those that may be drawn
    float temperature;
    const double *uniform;               // [B][T], from 0 to below 1
    const int64_t *start, *limit, *end;  // [B] position of the first answer token; [B] tokens at most; ids that end one
    const int32_t *table;                // [B][P]
    float *logits;                       // [B][V]: those behind the prompts; then room for those of each step
    int64_t *id;                         // results: [B][T]
    float *logp;                         // [B][T]
    int64_t *n_tokens;                   // [B]
    uint8_t *is_ended;                   // [B]
};

namespace {

struct Decoder {
    const Model &m;
    const Decoding &d;
    int n_threads;
    std::vector<int64_t> active, id, position, row;

    void draw(int64_t t) const {
#pragma omp parallel num_threads(n_threads)
        {
            Distribution p;
#pragma omp for
            for (int64_t a = 0; a < (int64_t)active.size(); a++) {
                const int64_t b = active[a], at = b * d.max_tokens + t;
                const float *logit = d.logits + a * m.head.n;
                p.of(logit, d.n_ids, d.temperature);
                d.id[at] = p.draw(d.uniform[at]);
                d.logp[at] = (logit[d.id[at]] / d.temperature - p.most) - p.log_sum;
            }
        }
    }

    // Those that go on, each with its new token at its next position.
    void advance(int64_t t) {
        size_t kept = 0;
        id.clear(), position.clear(), row.clear();
        for (const int64_t b : active) {
            const int64_t said = d.id[b * d.max_tokens + t];
            d.n_tokens[b] = t + 1;
            d.is_ended[b] = std::find(d.end, d.end + d.n_ends, said) != d.end + d.n_ends;
            if (d.is_ended[b] || t + 1 >= d.limit[b]) continue;
            row.push_back(kept), id.push_back(said), position.push_back(d.start[b] + t);
            active[kept++] = b;
        }
        active.resize(kept);
    }

    void go(Memory &memory) {
        for (int64_t b = 0; b < d.n_answers; b++) active.push_back(b);
        for (int64_t t = 0;; t++) {
            draw(t);
            advance(t);
            if (active.empty()) return;
            const int64_t n = active.size(), longest = *std::max_element(position.begin(), position.end()) + 1;
            const Batch step{n, d.n_answers, n, longest, id.data(), position.data(), active.data(), row.data(),
                             d.table, d.table_stride};
            Pass(m, step, n_threads, memory).go(d.logits, nullptr);
        }
    }
};

}  // namespace
