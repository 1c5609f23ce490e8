// Root-mean-square normalisation of tiles, and of heads, with their gradients.   Source: as model/norm.py.
//
// With r = 1 / rms(x) and n = x r:  y = n w,  dx = r (g w - n mean(g w n)),  dw = sum of g n.

#pragma once
#include "tiles.h"

INLINE float inverse_rms(float squares, int64_t width, float eps) { return 1.0f / sqrtf(squares / width + eps); }

// y = norm(x) w for one tile.
static void normalise(const float *x, const float *w, float *y, int64_t n_panels, int64_t width, float eps) {
    for (int t = 0; t < TILE; t++) {
        F32 squares{};
        for (int64_t p = 0; p < n_panels; p++)
            for (int i = 0; i < PANEL; i += LANES) {
                const F32 v = load<F32>(x + p * PIECE + t * PANEL + i);
                squares = fma(v, v, squares);
            }
        const float r = inverse_rms(sum(squares), width, eps);
        for (int64_t p = 0; p < n_panels; p++)
            for (int i = 0; i < PANEL; i += LANES) {
                const int64_t at = p * PIECE + t * PANEL + i;
                store(y + at, load<F32>(x + at) * r * load<F32>(w + p * PANEL + i));
            }
    }
}

// dx = base + gradient through the norm, y = norm(x) w once more (null: not wanted), dw[width] the tile's part of it.
static void normalise_backward(const float *x, const float *w, const float *g, const float *base, float *dx, float *y,
                               float *dw, int64_t n_panels, int64_t width, float eps) {
    for (int64_t i = 0; i < n_panels * PANEL; i += LANES) store(dw + i, F32{});
    for (int t = 0; t < TILE; t++) {
        F32 squares{}, products{};
        for (int64_t p = 0; p < n_panels; p++)
            for (int i = 0; i < PANEL; i += LANES) {
                const int64_t at = p * PIECE + t * PANEL + i;
                const F32 v = load<F32>(x + at);
                squares = fma(v, v, squares);
                products = fma(load<F32>(g + at) * load<F32>(w + p * PANEL + i), v, products);
            }
        const float r = inverse_rms(sum(squares), width, eps), mean = sum(products) * r / width;
        for (int64_t p = 0; p < n_panels; p++)
            for (int i = 0; i < PANEL; i += LANES) {
                const int64_t at = p * PIECE + t * PANEL + i;
                const F32 n = load<F32>(x + at) * r, grad = load<F32>(g + at), weight = load<F32>(w + p * PANEL + i);
                const F32 through = (grad * weight - n * mean) * r;
                store(dx + at, base ? load<F32>(base + at) + through : through);
                if (y) store(y + at, n * weight);
                store(dw + p * PANEL + i, fma(grad, n, load<F32>(dw + p * PANEL + i)));
            }
    }
}

// Work on whole vectors, then number by number what is left of n.
template <class V, class S> INLINE void each_lane(int64_t n, V vector, S single) {
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES) vector(i);
    for (; i < n; i++) single(i);
}
INLINE float dot(const float *a, const float *b, int64_t n) {
    F32 total{};
    float rest = 0.0f;
    each_lane(
        n, [&](int64_t i) { total = fma(load<F32>(a + i), load<F32>(b + i), total); },
        [&](int64_t i) { rest += a[i] * b[i]; });
    return sum(total) + rest;
}

// The place of one head at one position: normalised where it has a weight, then turned.  Rows of n floats.
struct Turn {
    const float *weight, *cos, *sin;  // weight null in Llama's shape; cos and sin of the position, sin with its sign
    int64_t n;
    float eps;

    float inverse(const float *x) const { return inverse_rms(dot(x, x, n), n, eps); }

    // In place.
    void forward(float *x, float scale) const {
        if (weight) {
            const float r = inverse(x) * scale;
            each_lane(
                n, [&](int64_t i) { store(x + i, load<F32>(x + i) * r * load<F32>(weight + i)); },
                [&](int64_t i) { x[i] = x[i] * r * weight[i]; });
        } else if (scale != 1.0f) {
            each_lane(
                n, [&](int64_t i) { store(x + i, load<F32>(x + i) * scale); }, [&](int64_t i) { x[i] *= scale; });
        }
        rotate(x, sin, sin + n / 2);
    }

    // From g = dy (overwritten) to dx; dw is added to.
    void backward(const float *x, float *g, float *dx, float *dw, float scale) const {
        rotate(g, sin + n / 2, sin);  // the transpose of the turn
        if (!weight) {
            each_lane(
                n, [&](int64_t i) { store(dx + i, load<F32>(g + i) * scale); }, [&](int64_t i) { dx[i] = g[i] * scale; });
            return;
        }
        const float r = inverse(x), through = r * scale;
        each_lane(
            n,
            [&](int64_t i) {
                const F32 grad = load<F32>(g + i);
                store(dw + i, fma(grad * load<F32>(x + i), splat(through), load<F32>(dw + i)));
                store(g + i, grad * load<F32>(weight + i));
            },
            [&](int64_t i) { dw[i] += g[i] * x[i] * through, g[i] *= weight[i]; });
        const float mean = dot(g, x, n) * r * r / n;
        each_lane(
            n, [&](int64_t i) { store(dx + i, (load<F32>(g + i) - load<F32>(x + i) * mean) * through); },
            [&](int64_t i) { dx[i] = (g[i] - x[i] * mean) * through; });
    }

  private:
    // (a, b) to (a cos + b low, b cos + a high), halves of x.
    void rotate(float *x, const float *low, const float *high) const {
        const int64_t half = n / 2;
        float *y = x + half;
        const float *other = cos + half;
        each_lane(
            half,
            [&](int64_t i) {
                const F32 a = load<F32>(x + i), b = load<F32>(y + i);
                store(x + i, fma(a, load<F32>(cos + i), b * load<F32>(low + i)));
                store(y + i, fma(b, load<F32>(other + i), a * load<F32>(high + i)));
            },
            [&](int64_t i) {
                const float a = x[i], b = y[i];
                x[i] = a * cos[i] + b * low[i], y[i] = b * other[i] + a * high[i];
            });
    }
};
