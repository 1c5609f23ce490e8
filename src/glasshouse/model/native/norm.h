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

// The place of one head at one position: normalised where it has a weight, then turned.  Rows of n floats.
struct Turn {
    const float *weight, *cos, *sin;  // weight null in Llama's shape; cos and sin of the position, sin with its sign
    int64_t n;
    float eps;

    float inverse(const float *x) const {
        float squares = 0.0f;
        for (int64_t i = 0; i < n; i++) squares += x[i] * x[i];
        return inverse_rms(squares, n, eps);
    }

    void forward(const float *x, float *y, float scale) const {
        const int64_t half = n / 2;
        if (weight) {
            const float r = inverse(x) * scale;
            for (int64_t i = 0; i < half; i++) {
                const float a = x[i] * r * weight[i], b = x[i + half] * r * weight[i + half];
                y[i] = a * cos[i] + b * sin[i], y[i + half] = b * cos[i + half] + a * sin[i + half];
            }
        } else {
            for (int64_t i = 0; i < half; i++) {
                const float a = x[i] * scale, b = x[i + half] * scale;
                y[i] = a * cos[i] + b * sin[i], y[i + half] = b * cos[i + half] + a * sin[i + half];
            }
        }
    }

    // From g = dy (overwritten) to dx; dw is added to.
    void backward(const float *x, float *g, float *dx, float *dw, float scale) const {
        const int64_t half = n / 2;
        for (int64_t i = 0; i < half; i++) {
            const float a = g[i] * scale, b = g[i + half] * scale;
            g[i] = a * cos[i] + b * sin[i + half], g[i + half] = b * cos[i + half] + a * sin[i];
        }
        if (!weight) {
            memcpy(dx, g, n * sizeof(float));
            return;
        }
        float products = 0.0f;
        const float r = inverse(x);
        for (int64_t i = 0; i < n; i++) products += g[i] * weight[i] * x[i];
        const float mean = products * r / n;
        for (int64_t i = 0; i < n; i++) {
            const float normal = x[i] * r;
            dw[i] += g[i] * normal;
            dx[i] = r * (g[i] * weight[i] - normal * mean);
        }
    }
};
