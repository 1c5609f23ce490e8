// From a row of logits to a token: the one definition of the draw, shared by the engine and by decoding in lockstep.
//
// Exponentials in fp64 by explicit multiplications and additions, summed from the first token to the last: the same bits
// whatever the machine's vectors and threads.  The token is the first whose cumulative probability is above u; its
// log-probability (x - most) - log sum in fp32, the log of the sum taken in fp64 and rounded once.

#pragma once
#include <algorithm>
#include <cmath>
#include <vector>
#include "simd.h"

typedef double F64 __attribute__((vector_size(4 * LANES)));
typedef int64_t I64 __attribute__((vector_size(4 * LANES)));
typedef float HalfF32 __attribute__((vector_size(2 * LANES)));
constexpr int HALF_LANES = LANES / 2;

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
    std::vector<double> cumulative;  // unnormalised; rounded up to whole vectors
    float most, log_sum;

    // Of n logits divided by the temperature.
    void of(const float *logit, int64_t n, float temperature) {
        cumulative.resize((n + HALF_LANES - 1) / HALF_LANES * HALF_LANES);
        most = *std::max_element(logit, logit + n) / temperature;
        for (int64_t i = 0; i < n; i += HALF_LANES) {
            HalfF32 x{};
            memcpy(&x, logit + i, std::min<int64_t>(HALF_LANES, n - i) * sizeof(float));
            const F64 scaled = __builtin_convertvector(x / temperature, F64);
            store(&cumulative[i], exponential(scaled - (double)most));
        }
        double sum = 0.0;
        for (int64_t i = 0; i < n; i++) cumulative[i] = sum += cumulative[i];
        log_sum = (float)std::log(sum);
    }

    int64_t draw(int64_t n, double u) const {
        const double *first = cumulative.data();
        return std::min<int64_t>(std::upper_bound(first, first + n, u * first[n - 1]) - first, n - 1);
    }
};
