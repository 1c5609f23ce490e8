// As many floats at a time as the machine adds in one instruction: 16 with AVX-512, else 8.
//
// Vectors are the compiler's own (`vector_size`), so one source serves AVX-512, AVX2 and plain machines; where an
// instruction has no C++ operator, it is wrapped here, once.  Multiply-add is always explicit (the file is compiled
// with -ffp-contract=off), so that a sum is rounded the same way in every copy of a kernel the compiler makes.

#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define INLINE static inline __attribute__((always_inline))

#if defined(__AVX512F__) && defined(__AVX512BW__)
constexpr int LANES = 16;
#else
constexpr int LANES = 8;
#endif
typedef float F32 __attribute__((vector_size(4 * LANES)));
typedef int32_t I32 __attribute__((vector_size(4 * LANES)));
typedef int16_t I16 __attribute__((vector_size(4 * LANES)));  // two to a lane
typedef uint8_t U8 __attribute__((vector_size(4 * LANES)));   // four to a lane
typedef uint16_t H16 __attribute__((vector_size(2 * LANES)));
typedef int8_t Q8 __attribute__((vector_size(LANES)));

template <class V> INLINE V load(const void *p) {
    V v;
    memcpy(&v, p, sizeof v);
    return v;
}
template <class V> INLINE void store(void *p, V v) { memcpy(p, &v, sizeof v); }

INLINE F32 splat(float x) { return x - F32{}; }  // x + 0 would be an addition: it changes -0
INLINE I32 splat_int(int32_t x) { return x - I32{}; }

// a * b + c, rounded once where the machine can
INLINE F32 fma(F32 a, F32 b, F32 c) {
#if defined(__AVX512BW__)
    return (F32)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(__FMA__)
    return (F32)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#else
    return a * b + c;
#endif
}

// Lanes are added in pairs, always the same ones.
INLINE float sum(F32 v) {
#if defined(__AVX__)
#if defined(__AVX512BW__)
    const __m256d high = _mm512_extractf64x4_pd((__m512d)v, 1);
    const __m256 half = _mm256_add_ps(_mm512_castps512_ps256((__m512)v), (__m256)high);
#else
    const __m256 half = (__m256)v;
#endif
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
#else
    float lane[LANES];
    store(lane, v);
    for (int width = LANES / 2; width; width /= 2)
        for (int i = 0; i < width; i++) lane[i] += lane[i + width];
    return lane[0];
#endif
}
INLINE float largest(F32 v) {
    float lane[LANES], most;
    store(lane, v);
    most = lane[0];
    for (int i = 1; i < LANES; i++) most = lane[i] > most ? lane[i] : most;
    return most;
}

INLINE F32 from_bf16(const uint16_t *p) {
    return (F32)(__builtin_convertvector(load<H16>(p), I32) << 16);  // bits above 16 are shifted out
}

// e^x to 1e-7; below -87 it is 0.  x = n ln 2 + r, a polynomial in r (Cephes), n into the exponent.
INLINE F32 exponential(F32 x) {
    const F32 low = splat(-87.0f), high = splat(88.0f), magic = splat(12582912.0f);  // 1.5 * 2^23 rounds to integers
    const I32 is_tiny = x < low;
    x = is_tiny ? low : x;
    x = x > high ? high : x;
    const F32 shifted = fma(x, splat(1.44269504f), magic), n = shifted - magic;
    F32 r = fma(n, splat(-0.693359375f), x);
    r = fma(n, splat(2.12194440e-4f), r);
    F32 y = splat(1.9875691500e-4f);
    for (float c : {1.3981999507e-3f, 8.3334519073e-3f, 4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f})
        y = fma(y, r, splat(c));
    y = fma(y * r, r, r) + 1.0f;
    y *= (F32)(((I32)shifted - (I32)magic + 127) << 23);
    return is_tiny ? F32{} : y;
}

INLINE F32 silu(F32 x) { return x / (1.0f + exponential(-x)); }

// The four bytes of each lane: sum of w * a, w from 0 to 255, a from -63 to 63.  255 * 63 * 2 fits 16 bits, so the
// older instructions are as exact as VNNI: every machine computes the same integers.
INLINE I16 pair_products(U8 w, I32 a) {
#if defined(__AVX512BW__)
    return (I16)_mm512_maddubs_epi16((__m512i)w, (__m512i)a);
#elif defined(__AVX2__)
    return (I16)_mm256_maddubs_epi16((__m256i)w, (__m256i)a);
#else
    int8_t s[4 * LANES];
    I16 out;
    store(s, a);
    for (int i = 0; i < 2 * LANES; i++) out[i] = (int16_t)(w[2 * i] * s[2 * i] + w[2 * i + 1] * s[2 * i + 1]);
    return out;
#endif
}

INLINE I32 pair_sums(I16 v) {
#if defined(__AVX512BW__)
    return (I32)_mm512_madd_epi16((__m512i)v, _mm512_set1_epi16(1));
#elif defined(__AVX2__)
    return (I32)_mm256_madd_epi16((__m256i)v, _mm256_set1_epi16(1));
#else
    I32 out;
    for (int i = 0; i < LANES; i++) out[i] = v[2 * i] + v[2 * i + 1];
    return out;
#endif
}

// Running sum of such products.  Narrow sums stay in 16 bits for a whole group: 16 additions of 15 * 63 * 2 fit.
struct WideSum {
    I32 v{};
    __attribute__((always_inline)) void add(U8 w, I32 a) {
#if defined(__AVX512VNNI__) && defined(__AVX512BW__)
        v = (I32)_mm512_dpbusd_epi32((__m512i)v, (__m512i)w, (__m512i)a);
#else
        v += pair_sums(pair_products(w, a));
#endif
    }
    __attribute__((always_inline)) I32 total() const { return v; }
};

#if defined(__AVX512VNNI__) && defined(__AVX512BW__)
using NarrowSum = WideSum;
#else
struct NarrowSum {
    I16 v{};
    __attribute__((always_inline)) void add(U8 w, I32 a) { v += pair_products(w, a); }
    __attribute__((always_inline)) I32 total() const { return pair_sums(v); }
};
#endif
