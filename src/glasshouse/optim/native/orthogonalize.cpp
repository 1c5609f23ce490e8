// Muon's Newton-Schulz iteration, one matrix a thread at a time.  Equations: optim/muon.py.
//
//   X <- a X + (b G + c G G) X,  G = X X'.   X is R x C, R <= C; a, b, c of each iteration.
// X and G are kept as [panel of columns][tile of rows][TILE][PANEL]: one layout in which a matrix is read as tiles (of
// the left factor) and as a panel (of the right one).  G and G G are symmetric: panels above the diagonal are copied.
// In bf16, X and sums stay fp32, and what is multiplied is rounded, two numbers in the place of one: twice as many
// products an instruction where the processor has it, the same products, slower, where it has not.
// Every matrix is computed by one thread from start to end, in one order: no waiting, the same bits on any number of them.

#include <omp.h>
#include "tiles.h"

struct Stack {
    int64_t n, rows, columns, n_iterations, is_bf16;  // n matrices [rows][columns], overwritten
    float *matrices;
    const float *coefficients;  // [n_iterations][a, b, c]
};

namespace {

struct Shape {
    int64_t tiles_of_rows, row_panels, column_panels, padded;  // padded: rows of storage, of whole tiles and panels
    bool is_bf16;
    explicit Shape(const Stack &s)
        : row_panels(panels(s.rows)), column_panels(panels(s.columns)), is_bf16(s.is_bf16) {
        tiles_of_rows = tiles(row_panels * PANEL), padded = tiles_of_rows * TILE;
    }
    int64_t x() const { return column_panels * padded * PANEL; }
    int64_t gram() const { return row_panels * padded * PANEL; }
    int64_t across() const { return row_panels * column_panels * PANEL * PANEL; }
    int64_t factor() const { return is_bf16 ? x() / 2 : 0; }  // a rounded copy of x or of gram
    int64_t room() const { return 2 * x() + 2 * gram() + across() + 2 * factor() + 128; }
};

// PAIRS: factors are rounded to bf16; PANEL of them lie in WIDTH floats.
template <bool PAIRS> struct Iteration {
    static constexpr int WIDTH = PANEL / HALVED<PAIRS>;
    const Stack &s;
    const Shape w;
    float *x, *next, *gram, *square, *across, *left_room, *right_room;

    Iteration(const Stack &s, Room room) : s(s), w(s) {
        x = room.take(w.x()), next = room.take(w.x());
        gram = room.take(w.gram()), square = room.take(w.gram()), across = room.take(w.across());
        left_room = room.take(w.factor()), right_room = room.take(w.factor());
    }

    float *piece(float *m, int64_t panel, int64_t tile) const { return m + panel * w.padded * PANEL + tile * PIECE; }

    // m as the left factor of a product: pairs along its columns.
    const float *left(const float *m, int64_t n_panels) const {
        if (!PAIRS) return m;
        pair_columns(m, n_panels * w.padded * PANEL, left_room);
        return left_room;
    }
    // m as the right one: pairs along its rows.
    const float *right(const float *m, int64_t n_panels) const {
        if (!PAIRS) return m;
        pair_rows(m, n_panels * w.padded, right_room);
        return right_room;
    }

    // X' as the right factor, from X as the left one: [row panel][column or pair of columns][PANEL].
    void turn(const float *x) {
        for (int64_t p = 0; p < w.row_panels; p++)
            for (int64_t q = 0; q < w.column_panels; q++) {
                const float *from = x + (q * w.padded + p * PANEL) * WIDTH;
                float *to = across + (p * w.column_panels + q) * WIDTH * PANEL;
                for (int k = 0; k < WIDTH; k += LANES)
                    for (int r = 0; r < PANEL; r++)
                        for (int i = 0; i < LANES; i++) to[(k + i) * PANEL + r] = from[r * WIDTH + k + i];
            }
    }

    void product(const float *left, int64_t tile, const float *right, float *to, int64_t n_panels) const {
        times_panel<false, PAIRS>(left + tile * TILE * WIDTH, right, to, n_panels, w.padded * WIDTH);
    }

    // left times right, symmetric: the tiles that reach the diagonal or lie below it, then their mirror image.
    void symmetric(const float *left, int64_t n_panels, const float *right, int64_t right_rows, float *to) {
        for (int64_t p = 0; p < w.row_panels; p++)
            for (int64_t i = p * PANEL / TILE; i < w.tiles_of_rows; i++)
                product(left, i, right + p * right_rows * WIDTH, piece(to, p, i), n_panels);
        for (int64_t p = 1; p < w.row_panels; p++)
            for (int64_t r = 0; r < p * PANEL; r++)
                for (int64_t i = 0; i < PANEL; i++)
                    to[(p * w.padded + r) * PANEL + i] =
                        to[(r / PANEL * w.padded + p * PANEL + i) * PANEL + r % PANEL];
    }

    void step(const float *abc) {
        const float a = abc[0], b = abc[1], c = abc[2];
        const float *factor = left(x, w.column_panels);
        turn(factor);
        symmetric(factor, w.column_panels, across, w.column_panels * PANEL, gram);
        symmetric(left(gram, w.row_panels), w.row_panels, right(gram, w.row_panels), w.padded, square);
        for (int64_t i = 0; i < w.gram(); i += LANES)
            store(square + i, fma(splat(c), load<F32>(square + i), b * load<F32>(gram + i)));
        const float *polynomial = left(square, w.row_panels), *columns = right(x, w.column_panels);
        for (int64_t q = 0; q < w.column_panels; q++)
            for (int64_t i = 0; i < w.tiles_of_rows; i++) {
                float *to = piece(next, q, i);
                const float *from = piece(x, q, i);
                product(polynomial, i, columns + q * w.padded * WIDTH, to, w.row_panels);
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

// Within a parallel region: its threads share the matrices.
template <bool PAIRS> void each_matrix(const Stack &s, Room room) {
    Iteration<PAIRS> iteration(s, room);
#pragma omp for schedule(dynamic)
    for (int64_t i = 0; i < s.n; i++) iteration.go(s.matrices + i * s.rows * s.columns);
}

}  // namespace

// The Python side checks every pointer and size.  `room` holds orthogonalize_room floats for each thread.
extern "C" {
int64_t orthogonalize_room(const Stack *stack) { return Shape(*stack).room(); }
void orthogonalize(const Stack *stack, float *room, int32_t n_threads) {
    const int64_t own = Shape(*stack).room();
#pragma omp parallel num_threads(n_threads)
    {
        flush_denormals();
        const Room mine{room + omp_get_thread_num() * own};
        if (stack->is_bf16) each_matrix<true>(*stack, mine);
        else each_matrix<false>(*stack, mine);
    }
}
}
