// Suffix array of token ids by induced sorting, linear in time whatever the text repeats.
//
// Source: Nong, Zhang and Chan, "Two efficient algorithms for linear time suffix array construction" (2011), SA-IS.
// A suffix is S (smaller) if it sorts before its right neighbour, else L (larger); one that begins an S after an L is
// a leftmost S.  The order of the leftmost S induces that of all the rest in two passes.  The end of the text is
// smaller than every id.  Memory: the array itself, one bit a token, one count an id; sizes below 2^31.
//
// In the array an entry is a position, complemented (~position) when the pass has no use for it.  Fetching memory ahead
// was tried and changed nothing (7.5 M tokens a second of one core at 33 M tokens, either way).

#include <algorithm>
#include <cstdint>
#include <new>
#include <vector>

namespace {

using Place = int32_t;

template <class Id>
class Sorter {
  public:
    Sorter(const Id* text, Place* order, Place n, Place n_ids)
        : text(text), order(order), n(n), counts(n_ids), edges(n_ids), small((n >> 6) + 1) {
        for (Place i = 0; i < n; i++) counts[text[i]]++;
        for (Place i = n - 2; i >= 0; i--)
            if (text[i] < text[i + 1] || (text[i] == text[i + 1] && is_small(i + 1))) small[i >> 6] |= 1ull << (i & 63);
    }

    void sort() {
        Place n_leftmost = sort_leftmost_pieces();
        Place n_names = name_pieces(n_leftmost);
        if (n_names < n_leftmost) {
            Place* names = order + n - n_leftmost;  // the two do not meet: at most every second suffix is leftmost
            Sorter<Place>(names, order, n_leftmost, n_names).sort();
            Place* positions = names;
            for (Place i = 1, k = 0; i < n; i++) if (is_leftmost(i)) positions[k++] = i;
            for (Place i = 0; i < n_leftmost; i++) order[i] = positions[order[i]];
        }
        place_leftmost(n_leftmost);
        induce();
    }

  private:
    bool is_small(Place i) const { return small[i >> 6] >> (i & 63) & 1; }
    bool is_leftmost(Place i) const { return i > 0 && is_small(i) && !is_small(i - 1); }

    void find_edges(bool is_end) {
        Place sum = 0;
        for (size_t c = 0; c < counts.size(); c++) {
            sum += counts[c];
            edges[c] = is_end ? sum : sum - counts[c];
        }
    }

    // Sorts the leftmost S by the piece up to the next one, into order[0, count).
    Place sort_leftmost_pieces() {
        std::fill(order, order + n, ~0);
        find_edges(true);
        for (Place i = 1; i < n; i++) if (is_leftmost(i)) order[--edges[text[i]]] = i;
        induce();
        Place count = 0;
        for (Place i = 0; i < n; i++) {
            if (is_leftmost(order[i])) order[count++] = order[i];
        }
        return count;
    }

    // Replaces pieces by their rank; the reduced text goes to the end of `order`.  Returns the number of ranks.
    Place name_pieces(Place count) {
        Place* name_of = order + count;  // by position / 2: two leftmost S are never neighbours
        std::fill(name_of, order + n, -1);
        Place name = 0;
        for (Place i = 0; i < count; i++) {
            if (i > 0 && !are_equal_pieces(order[i - 1], order[i])) name++;
            name_of[order[i] >> 1] = name;
        }
        if (count > 0) name++;
        if (name < count)
            for (Place from = n - 1, to = n - 1; from >= count; from--)
                if (order[from] >= 0) order[to--] = order[from];
        return name;
    }

    bool are_equal_pieces(Place a, Place b) const {
        for (Place k = 0;; k++) {
            if (std::max(a, b) + k >= n || text[a + k] != text[b + k] || is_small(a + k) != is_small(b + k)) return false;
            if (k > 0 && (is_leftmost(a + k) || is_leftmost(b + k))) return is_leftmost(a + k) && is_leftmost(b + k);
        }
    }

    // Spreads the sorted order[0, count) over the ends of their ids' ranges.
    void place_leftmost(Place count) {
        std::fill(order + count, order + n, ~0);
        find_edges(true);
        for (Place i = count - 1; i >= 0; i--) {
            Place position = order[i];
            order[i] = ~0;
            order[--edges[text[position]]] = position;
        }
    }

    // From the leftmost S in `order` the place of every suffix: first L by a pass to the right, then S to the left.
    void induce() {
        find_edges(false);
        put_large(n - 1);  // the last suffix is L: the end is smaller
        for (Place i = 0; i < n; i++) {
            Place position = order[i];
            order[i] = ~position;  // used by this pass; those kept for the next are turned back
            if (position > 0) put_large(position - 1);
        }
        find_edges(true);
        for (Place i = n - 1; i >= 0; i--) {
            Place position = order[i];
            if (position > 0) {
                Place before = position - 1;
                Id c = text[before];
                bool is_last = before == 0 || text[before - 1] > c;
                order[--edges[c]] = is_last ? ~before : before;
            } else {
                order[i] = ~position;
            }
        }
    }

    void put_large(Place position) {
        Id c = text[position];
        bool is_last = position > 0 && text[position - 1] < c;  // what stands before it is S: for the other pass
        order[edges[c]++] = is_last ? ~position : position;
    }

    const Id* text;
    Place* order;
    Place n;
    std::vector<Place> counts, edges;
    std::vector<uint64_t> small;
};

template <class Id>
int32_t sort_suffixes(const Id* text, Place* order, int64_t n, int64_t n_ids) {
    try {
        if (n == 1) order[0] = 0;
        if (n > 1) Sorter<Id>(text, order, Place(n), Place(n_ids)).sort();
        return 0;
    } catch (const std::bad_alloc&) {
        return 1;
    }
}

}  // namespace

// `order` gets the n positions in the order of their suffixes.  0: done; 1: out of memory.
extern "C" int32_t sort_suffixes_16(const uint16_t* text, int32_t* order, int64_t n, int64_t n_ids) {
    return sort_suffixes(text, order, n, n_ids);
}

extern "C" int32_t sort_suffixes_32(const uint32_t* text, int32_t* order, int64_t n, int64_t n_ids) {
    return sort_suffixes(text, order, n, n_ids);
}
