// The list of kernels: the work that is written for vectors, once in kernels_impl.h, and compiled for each
// instruction set. All of them give bitwise equal results: every number is computed by the same operations in the
// same order, independent of the vector width, the other tokens of the batch, and the thread.

#ifndef NEXTWORD_KERNELS_H
#define NEXTWORD_KERNELS_H

#include <cstdint>
#include <vector>

#include "cache_page.h"
#include "tensor.h"

namespace nextword {

enum class Activation { None, Silu, Gelu, GeluTanh, Relu, Relu2 };

// Output of a panel's sums: stored, added to the output, multiplied with it, or, for rows with 16 of a gate beside 16
// of the values that it gates, activation(gate) x gated.
enum class Epilogue { Store, Add, Multiply, Gate };

// Rows of floats, one for each token, and, for quantised weights, the same as int8 with a scale for each group. Those
// lie in tiles of `tile_tokens` tokens (the last may have fewer), in each tile group by group: tokens x 32 bytes, and
// for scales and sums: tokens. After the last byte of `quants`, memory that may be read, too: a kernel may load more
// tokens than a tile has.
struct Activations {
    int num_tokens = 0;
    int columns = 0;
    const float* rows = nullptr;
    int row_stride = 0;
    const int8_t* quants = nullptr;
    const float* scales = nullptr;
    const int32_t* sums = nullptr;        // of the integers of the group
    const float* totals = nullptr;        // scale x sum
    const int32_t* first_sums = nullptr;  // of the integers of its first 16 columns
};

constexpr int kQuantsSlack = 15 * kGroup;

// Where the int8 form of all rows is written, in the order above.
struct QuantizedRows {
    int8_t* quants = nullptr;
    float* scales = nullptr;
    int32_t* sums = nullptr;
    float* totals = nullptr;
    int32_t* first_sums = nullptr;
};

struct Output {
    float* rows = nullptr;
    int row_stride = 0;
    int width = 0;                // numbers in a row that may be written
    const float* bias = nullptr;  // in the order of the panels, or none
    Epilogue epilogue = Epilogue::Store;
    Activation activation = Activation::None;
};

constexpr int kSegmentPositions = 128;  // positions whose scores are normalised together
constexpr int kSegmentPages = kSegmentPositions / kPagePositions;

// Query vectors of one key-value head against one segment of positions.
struct AttentionSegment {
    PageShape page;
    Activations queries;  // (num_rows, head_dim), scaled; if the keys have 8 bits, also as integers of 16, in two parts
    const int8_t* second_quants = nullptr;  // the second parts; `queries.quants` holds the first
    int num_positions = 0;                  // up to the last that any row attends to
    const uint8_t* keys[kSegmentPages] = {};
    const uint8_t* values[kSegmentPages] = {};
    const uint8_t* next_pages[kSegmentPages] = {};  // keys and values of the next unit, to prefetch, or none
    const int32_t* first = nullptr;                 // for each row, the positions of the segment it attends to:
    const int32_t* last = nullptr;                  // from first up to last, exclusive
    float soft_cap = 0.0f;                          // none if 0
    float* scores = nullptr;                        // scratch memory (num_rows, in whole tiles, 128)
};

// Online-softmax state (max, sum, weighted values): the largest score, the sum of exp(score - max), and the sum of the
// values weighted by these.
struct SoftmaxState {
    float* max = nullptr;     // (num_rows)
    float* sum = nullptr;     // (num_rows)
    float* values = nullptr;  // (num_rows, value_stride)
};

struct Kernels {
    const char* name;
    int tile_tokens;      // of a tile of `quantize`
    int tile_query_rows;  // of a tile of `quantize_words`
    int max_query_rows;   // query vectors of a segment, unless one token has more heads

    // Panels first to last (exclusive) of the matrix times all tokens.
    void (*multiply)(const Matrix& matrix, int first_panel, int last_panel, const Activations& x, const Output& out);
    // Epilogue alone, on a row of sums in the order of the panels, by itself: activation(sum), or, where 16 of
    // a gate stand beside 16 of the values that it gates, activation(gate) x gated.
    void (*activate_row)(const float* sums, const Output& out);
    // Weights of 16 rows and the columns of a group, rounded to kind Q8 or Q4Min, into a panel's unit: its rows from
    // `first_row` on, 0 or 16.
    void (*quantize_weights)(WeightKind kind, const float (*columns)[kLanes], int first_row, uint8_t* unit);
    // The int8 form of the rows of tile number `tile`.
    void (*quantize)(const Activations& x, int tile, const QuantizedRows& rows);
    // The same with 16 bits, in two parts, as `attend` reads them; scales and sums are those of the whole numbers.
    void (*quantize_words)(const Activations& x, int tile, const QuantizedRows& rows, int8_t* second_quants);
    // x / rms(x) * weight.
    void (*rms_norm)(const float* x, const float* weight, float eps, int size, float* out);
    void (*layer_norm)(const float* x, const float* weight, const float* bias, float eps, int size, float* out);
    // Put the key and the value, (head_dim) each, of position number `slot` into a page.
    void (*store_position)(const PageShape& page, int slot, const float* key, const float* value, uint8_t* keys,
                           uint8_t* values);
    // The state of one segment by itself.
    void (*attend)(const AttentionSegment& segment, const SoftmaxState& out);
    // Merge the state of the next segment into that of the segments before it.
    void (*merge)(const SoftmaxState& total, const SoftmaxState& next, int num_rows, int value_stride);
    void (*softmax)(const float* x, int size, float* out);
    // c * tanh(x / c), in place.
    void (*soft_cap)(float* x, int size, float cap);

    // For select.h. e^((logit - highest) / divisor), for logits up to `highest`, in units of 2^-bits: whole numbers.
    void (*softmax_weights)(const float* logits, int size, float highest, float divisor, int bits, float* out);
    bool (*has_nan)(const float* x, int size);
    // The sum of the weights of keys of at least `bound`: exact, for whole numbers that add up to less than 2^53.
    double (*sum_from)(const float* keys, float bound, const float* weights, int size);
    // The largest of each block of keys; `block_size` is a multiple of 16.
    void (*maxima)(const float* keys, int num_blocks, int block_size, float* out);
    // Positions, from first to last (exclusive), of keys from low to high (inclusive), ascending; returns how many.
    // `out` holds all of them and one vector more.
    int (*collect)(const float* keys, int first, int last, float low, float high, int32_t* out);
};

const Kernels& portable_kernels();
const Kernels* avx2_kernels();     // compiled in on x86-64 only, these three
const Kernels* avxvnni_kernels();  // none if the compiler does not know AVX-VNNI
const Kernels* avx512_kernels();
const Kernels* neon_kernels();  // compiled in on aarch64 only, these three
const Kernels* dotprod_kernels();
const Kernels* i8mm_kernels();  // none if the compiler does not know FEAT_I8MM

// Those that this processor runs, the portable ones first and the fastest last; the second list asks the system for
// AMX's tiles.
const std::vector<const Kernels*>& kernels_without_tiles();
const std::vector<const Kernels*>& runnable_kernels();

// The fastest that this processor runs, or those named by `isa` if that is not empty. Throws std::invalid_argument for
// a name that is unknown or cannot run here.
const Kernels& choose_kernels(const char* isa);

}  // namespace nextword

#endif
