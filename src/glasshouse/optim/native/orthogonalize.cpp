// Muon's Newton-Schulz iteration, one matrix a thread at a time.  Equations: optim/muon.py.
//
//   X <- a X + (b G + c G G) X,  G = X X'.   X is R x C, R <= C; a, b, c of each iteration.
// X and G are kept as [panel of columns][tile of rows][TILE][PANEL]: one layout in which a matrix is read as tiles (of
// the left factor) and as a panel (of the right one).  G and G G are symmetric: panels above the diagonal are copied.
// Every matrix is computed by one thread from start to end, in one order: no waiting, the same bits on any number of them.

#include <omp.h>
#include "tiles.h"

struct Stack {
    int64_t n, rows, columns, n_iterations;  // n matrices [rows][columns], overwritten
    float *matrices;
    const float *coefficients;  // [n_iterations][a, b, c]
};

namespace {

struct Shape {
    int64_t tiles_of_rows, row_panels, column_panels, padded;  // padded: rows of storage, of whole tiles and panels
    explicit Shape(const Stack &s)
        : row_panels(panels(s.rows)), column_panels(panels(s.columns)) {
        tiles_of_rows = tiles(row_panels * PANEL), padded = tiles_of_rows * TILE;
    }
    int64_t x() const { return column_panels * padded * PANEL; }
    int64_t gram() const { return row_panels * padded * PANEL; }
    int64_t across() const { return row_panels * column_panels * PANEL * PANEL; }
    int64_t room() const { return 2 * x() + 2 * gram() + across() + 128; }
};

struct Iteration {
    const Stack &s;
    const Shape w;
    float *x, *next, *gram, *square, *across;

    Iteration(const Stack &s, Room room) : s(s), w(s) {
        x = room.take(w.x()), next = room.take(w.x());
        gram = room.take(w.gram()), square = room.take(w.gram()), across = room.take(w.across());
    }

    float *piece(float *m, int64_t panel, int64_t tile) const { return m + panel * w.padded * PANEL + tile * PIECE; }

    // X' as panels of X's rows: [row panel][column][PANEL].
    void turn() {
        for (int64_t p = 0; p < w.row_panels; p++)
            for (int64_t q = 0; q < w.column_panels; q++) {
                const float *from = x + (q * w.padded + p * PANEL) * PANEL;
                float *to = across + (p * w.column_panels + q) * PANEL * PANEL;
                for (int k = 0; k < PANEL; k += LANES)
                    for (int r = 0; r < PANEL; r++)
                        for (int i = 0; i < LANES; i++) to[(k + i) * PANEL + r] = from[r * PANEL + k + i];
            }
    }

    // left times right, symmetric: the tiles that reach the diagonal or lie below it, then their mirror image.
    void symmetric(const float *left, int64_t n_panels, const float *right, int64_t right_step, float *to) {
        for (int64_t p = 0; p < w.row_panels; p++)
            for (int64_t i = p * PANEL / TILE; i < w.tiles_of_rows; i++)
                times_panel<false>(left + i * PIECE, right + p * right_step, piece(to, p, i), n_panels,
                                   w.padded * PANEL);
        for (int64_t p = 1; p < w.row_panels; p++)
            for (int64_t r = 0; r < p * PANEL; r++)
                for (int64_t i = 0; i < PANEL; i++)
                    to[(p * w.padded + r) * PANEL + i] =
                        to[(r / PANEL * w.padded + p * PANEL + i) * PANEL + r % PANEL];
    }

    void step(const float *abc) {
        const float a = abc[0], b = abc[1], c = abc[2];
        turn();
        symmetric(x, w.column_panels, across, w.column_panels * PANEL * PANEL, gram);
        symmetric(gram, w.row_panels, gram, w.padded * PANEL, square);
        for (int64_t i = 0; i < w.gram(); i += LANES)
            store(square + i, fma(splat(c), load<F32>(square + i), b * load<F32>(gram + i)));
        for (int64_t q = 0; q < w.column_panels; q++)
            for (int64_t i = 0; i < w.tiles_of_rows; i++) {
                float *to = piece(next, q, i);
                const float *from = piece(x, q, i);
                times_panel<false>(square + i * PIECE, x + q * w.padded * PANEL, to, w.row_panels, w.padded * PANEL);
                for (int k = 0; k < PIECE; k += LANES) store(to + k, fma(splat(a), load<F32>(from + k), load<F32>(to + k)));
            }
        std::swap(x, next);
    }

    void go(float *matrix) {
        double squares = 0.0;
        for (int64_t r = 0; r < s.rows; r++) {
            F32 part{};
            float tail = 0.0f;
            const float *row = matrix + r * s.columns;
            int64_t i = 0;
            for (; i + LANES <= s.columns; i += LANES) part = fma(load<F32>(row + i), load<F32>(row + i), part);
            for (; i < s.columns; i++) tail += row[i] * row[i];
            squares += sum(part) + tail;
        }
        const float norm = (float)sqrt(squares), scale = 1.0f / (norm > 1e-30f ? norm : 1e-30f);
        memset(x, 0, w.x() * sizeof(float)), memset(gram, 0, w.gram() * sizeof(float));
        memset(next, 0, w.x() * sizeof(float)), memset(square, 0, w.gram() * sizeof(float));
        each(matrix, [&](float *at, float *own, int64_t n) {
            for (int64_t i = 0; i < n; i++) at[i] = own[i] * scale;
        });
        for (int64_t i = 0; i < s.n_iterations; i++) step(s.coefficients + 3 * i);
        each(matrix, [&](float *at, float *own, int64_t n) { memcpy(own, at, n * sizeof(float)); });
    }

    // Stretches of a row: here, in the caller's matrix, and how long.
    template <class Work> void each(float *matrix, Work work) {
        for (int64_t q = 0; q < w.column_panels; q++)
            for (int64_t r = 0; r < s.rows; r++) {
                const int64_t left = s.columns - q * PANEL;
                work(x + (q * w.padded + r) * PANEL, matrix + r * s.columns + q * PANEL, left < PANEL ? left : PANEL);
            }
    }
};

}  // namespace

// The Python side checks every pointer and size.  `room` holds orthogonalize_room floats for each thread.
extern "C" {
int64_t orthogonalize_room(const Stack *stack) { return Shape(*stack).room(); }
void orthogonalize(const Stack *stack, float *room, int32_t n_threads) {
    const int64_t own = Shape(*stack).room();
#pragma omp parallel num_threads(n_threads)
    {
        flush_denormals();
        Iteration iteration(*stack, Room{room + omp_get_thread_num() * own});
#pragma omp for schedule(dynamic)
        for (int64_t i = 0; i < stack->n; i++) iteration.go(stack->matrices + i * stack->rows * stack->columns);
    }
}
}
