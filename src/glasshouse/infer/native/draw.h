// From a row of logits to a token: the one definition of the draw, shared by the engine and by decoding in lockstep.
//
// Exponentials in fp64 by explicit multiplications and additions, always eight lanes; summed in blocks, the blocks from
// the first to the last: the same bits whatever the machine's vectors and threads.  The token is the first whose
// cumulative probability is above u; its log-probability (x - most) - log sum in fp32, the log of the sum taken in fp64
// and rounded once.

#pragma once
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>
#include "simd.h"

typedef double F64 __attribute__((vector_size(64)));
typedef int64_t I64 __attribute__((vector_size(64)));
typedef float EightF32 __attribute__((vector_size(32)));
constexpr int EIGHT = 8, BLOCK = 64;

// e^x for x <= 0; below -708 it is 0, not a number gives not a number.  Cephes: x = n ln 2 + r, a quotient in r^2.
INLINE F64 exponential(F64 x) {
    const I64 is_tiny = x < -708.0;
    x = is_tiny ? F64{} : x;
    const F64 magic = 6755399441055744.0 - F64{};  // 1.5 * 2^52 rounds to integers
    const F64 shifted = x * 1.4426950408889634 + magic, n = shifted - magic;
    const F64 r = (x - n * 6.93145751953125e-1) - n * 1.42860682030941723212e-6, rr = r * r;
    const F64 p = r * ((1.26177193074810590878e-4 * rr + 3.02994407707441961300e-2) * rr + 9.99999999999999999910e-1);
    const F64 q = ((3.00198505138664455042e-6 * rr + 2.52448340349684104192e-3) * rr + 2.27265548208155028766e-1) * rr;
    const F64 y = 1.0 + 2.0 * (p / ((q + 2.0) - p));
    return is_tiny ? F64{} : y * (F64)(((I64)shifted - (I64)magic + 1023) << 52);
}

struct Distribution {
    std::vector<double> p, before;  // unnormalised, in whole blocks; the sum of all blocks before each
    double total;
    float most, log_sum;

    // Of n logits divided by the temperature.
    void of(const float *logit, int64_t n, float temperature) {
        const int64_t n_blocks = (n + BLOCK - 1) / BLOCK;
        p.resize(n_blocks * BLOCK), before.resize(n_blocks);
        most = largest(logit, n) / temperature, total = 0.0;
        for (int64_t b = 0; b < n_blocks; b++) {
            F64 sum{};
            for (int64_t i = b * BLOCK; i < (b + 1) * BLOCK; i += EIGHT) {
                const F64 x = __builtin_convertvector(eight(logit, i, n) / temperature, F64) - (double)most;
                const F64 e = exponential(x);
                store(&p[i], e);
                sum += e;
            }
            before[b] = total;
            total += ((sum[0] + sum[4]) + (sum[2] + sum[6])) + ((sum[1] + sum[5]) + (sum[3] + sum[7]));
        }
        log_sum = (float)std::log(total);
    }

    // A token of probability 0 is never drawn.
    int64_t draw(double u) const {
        const double target = u * total;
        const int64_t block = std::upper_bound(before.begin(), before.end(), target) - before.begin() - 1;
        double sum = before[block];
        int64_t last = 0;
        for (int64_t i = block * BLOCK; i < (block + 1) * BLOCK; i++) {
            if (!(p[i] > 0.0)) continue;
            last = i, sum += p[i];
            if (sum > target) break;
        }
        return last;
    }

  private:
    // Behind the end there is nothing to draw.
    static EightF32 eight(const float *logit, int64_t i, int64_t n) {
        if (i + EIGHT <= n) return load<EightF32>(logit + i);
        EightF32 x;
        for (int k = 0; k < EIGHT; k++) x[k] = i + k < n ? logit[i + k] : -std::numeric_limits<float>::infinity();
        return x;
    }

    static float largest(const float *logit, int64_t n) {
        F32 most = splat(logit[0]);
        int64_t i = 0;
        for (; i + LANES <= n; i += LANES) {
            const F32 x = load<F32>(logit + i);
            most = x > most ? x : most;
        }
        float found = ::largest(most);
        for (; i < n; i++) found = logit[i] > found ? logit[i] : found;
        return found;
    }
};
