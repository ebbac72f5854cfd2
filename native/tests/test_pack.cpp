// Packing and unpacking: exact for floats and for GGUF's own blocks, within half a step where values are rounded.

#include "pack.h"

#include <algorithm>

#include "check.h"
#include "half.h"
#include "random_blocks.h"

using namespace nextword;

namespace {

constexpr WeightKind kKinds[] = {WeightKind::F32, WeightKind::F16, WeightKind::BF16, WeightKind::Q8, WeightKind::Q4Min};

void append(std::vector<uint8_t>& bytes, const void* from, size_t size) {
    const uint8_t* begin = static_cast<const uint8_t*>(from);
    bytes.insert(bytes.end(), begin, begin + size);
}

std::vector<uint8_t> encode(Encoding encoding, const std::vector<float>& values) {
    std::vector<uint8_t> bytes;
    for (const float value : values) {
        if (encoding == Encoding::F32) append(bytes, &value, 4);
        const uint16_t half = encoding == Encoding::F16 ? to_fp16(value) : to_bf16(value);
        if (encoding != Encoding::F32) append(bytes, &half, 2);
    }
    return bytes;
}

float decoded(Encoding encoding, float value) {
    if (encoding == Encoding::F16) return from_fp16(to_fp16(value));
    return encoding == Encoding::BF16 ? from_bf16(to_bf16(value)) : value;
}

std::vector<float> unpacked(const Matrix& matrix, int row) {
    std::vector<float> values(matrix.columns);
    unpack_row(matrix, row, values.data());
    return values;
}

void test_floats_come_back_as_the_kind_holds_them(int rows, int columns, Encoding encoding) {
    Random random(rows * 1000 + columns);
    const std::vector<float> values = random.numbers(static_cast<size_t>(rows) * columns);
    const std::vector<uint8_t> bytes = encode(encoding, values);
    for (const WeightKind kind : kKinds) {
        Matrix matrix(kind, rows, columns);
        // In two pieces, as a loader that reads a file bit by bit does.
        const int first = rows / 2 / kPanelRows * kPanelRows;
        pack_rows(matrix, PanelPart::Whole, 0, first, encoding, bytes.data());
        pack_rows(matrix, PanelPart::Whole, first, rows - first, encoding,
                  bytes.data() + row_bytes(encoding, columns) * first);
        for (int row = 0; row < rows; ++row) {
            const std::vector<float> got = unpacked(matrix, row);
            for (int column = 0; column < columns; ++column) {
                const float expected = decoded(encoding, values[static_cast<size_t>(row) * columns + column]);
                // Values are within 1: half a step of 8 bits is 1 / 254; of 4 bits, an eighth of the range may be cut
                // off.
                const double tolerance = kind == WeightKind::Q8      ? 1.01 / 254
                                         : kind == WeightKind::Q4Min ? 1.01 * 2 / 8
                                                                     : 0.0;
                const float rounded = kind == WeightKind::F16    ? from_fp16(to_fp16(expected))
                                      : kind == WeightKind::BF16 ? from_bf16(to_bf16(expected))
                                                                 : expected;
                check(is_close(got[column], rounded, tolerance), "a packed value comes back");
            }
        }
    }
}

// The checksums are of what `gguf.quants.dequantize` of the Python package gguf gives of the same bytes, those of
// Random(31); fp16 numbers are of both signs, from subnormal ones to the largest.
void test_blocks_have_exactly_the_values_of_the_format() {
    constexpr int rows = 5, columns = 768;
    constexpr std::pair<Encoding, uint64_t> cases[] = {
        {Encoding::Q8_0, 0xb0a3b06b1e929625}, {Encoding::Q4_0, 0x9f72f02423afeb25},
        {Encoding::Q4_1, 0xc69d339325e7a4cf}, {Encoding::Q5_0, 0x2ebf9e818e85e125},
        {Encoding::Q5_1, 0x53a950e79a89c3e3}, {Encoding::IQ4_NL, 0x09115967136c82a5},
        {Encoding::Q2_K, 0xf7bffc67913e8951}, {Encoding::Q3_K, 0x888b06bb9c3c7765},
        {Encoding::Q4_K, 0x63a9cf66cb95b9e0}, {Encoding::Q5_K, 0xff22ae075019e6c3},
        {Encoding::Q6_K, 0x558c00107c7bd523}, {Encoding::IQ4_XS, 0xf0d48d0315fbbd6d},
    };
    for (const auto& [encoding, expected] : cases) {
        Random random(31);
        std::vector<uint8_t> blocks(row_bytes(encoding, columns) * rows);
        for (uint8_t& byte : blocks) byte = static_cast<uint8_t>(random.next());
        const auto [first, count] = halves_of(encoding);
        for (size_t at = first + 1; at < blocks.size(); at += block_size(encoding).bytes) {
            for (int i = 0; i < count; ++i) blocks[at + i * 2] &= 0xfb;  // neither infinite nor NaN
        }
        Matrix matrix(kind_of(encoding), rows, columns);
        pack_rows(matrix, PanelPart::Whole, 0, rows, encoding, blocks.data());
        std::vector<float> values;
        for (int row = 0; row < rows; ++row) {
            const std::vector<float> one = unpacked(matrix, row);
            values.insert(values.end(), one.begin(), one.end());
        }
        const uint64_t seen = checksum(values);
        check(seen == expected, "the values of encoding " + std::to_string(static_cast<int>(encoding)) +
                                    ", whose checksum is " + hexadecimal(seen));
    }
}

// Row by row, in another order, and in either half of a panel: the weights are those of all rows at once.
void test_blocks_may_come_in_any_pieces(Encoding encoding) {
    constexpr int rows = 45, columns = 512;
    Random random(8);
    const WeightKind kind = kind_of(encoding);
    const std::vector<uint8_t> blocks = random_blocks(random, encoding, rows, columns, 1.0f);
    const size_t stride = row_bytes(encoding, columns);
    Matrix whole(kind, rows, columns), pieces(kind, rows, columns), gated(kind, 3 * kPanelRows, columns);
    pack_rows(whole, PanelPart::Whole, 0, rows, encoding, blocks.data());
    pack_rows(pieces, PanelPart::Whole, 20, 25, encoding, blocks.data() + stride * 20);
    for (int row = 19; row >= 0; --row)
        pack_rows(pieces, PanelPart::Whole, row, 1, encoding, blocks.data() + stride * row);
    pack_rows(gated, PanelPart::First, 0, 20, encoding, blocks.data());
    pack_rows(gated, PanelPart::Second, 0, rows, encoding, blocks.data());
    pack_rows(gated, PanelPart::First, 20, 25, encoding, blocks.data() + stride * 20);
    for (int row = 0; row < rows; ++row) {
        const std::vector<float> expected = unpacked(whole, row);
        const int at = row / kLanes * kPanelRows + row % kLanes;
        check(is_same(unpacked(pieces, row), expected), "rows that come in pieces");
        check(is_same(unpacked(gated, at), expected), "the first half of a panel of blocks");
        check(is_same(unpacked(gated, at + kLanes), expected), "the second half of a panel of blocks");
    }
}

void test_only_whole_blocks_are_packed() {
    for (const Encoding encoding : kBlockEncodings) {
        const int values = block_size(encoding).values;
        check(can_pack(kind_of(encoding), encoding, 3 * values), "blocks into their kind");
        check(!can_pack(kind_of(encoding), encoding, 3 * values - 1), "a part of a block");
    }
    check(!can_pack(WeightKind::Q4, Encoding::Q4_1, kGroup), "blocks into another kind");
    check(!can_pack(WeightKind::Q6K, Encoding::F32, 256) && can_pack(WeightKind::Q8, Encoding::F32, 33), "floats");
}

void test_blocks_become_floats_of_the_same_values(Encoding encoding) {
    constexpr int rows = 45, columns = 768;
    Random random(9);
    const std::vector<uint8_t> blocks = random_blocks(random, encoding, rows, columns, 1.0f);
    Matrix own(kind_of(encoding), rows, columns), floats(WeightKind::F32, rows, columns);
    for (Matrix* matrix : {&own, &floats}) pack_rows(*matrix, PanelPart::Whole, 0, rows, encoding, blocks.data());
    for (int row = 0; row < rows; ++row) check(is_same(unpacked(own, row), unpacked(floats, row)), "a row of floats");
}

void test_numbers_beyond_a_range_are_found() {
    std::vector<float> values(70, 1.0f);
    Matrix matrix(WeightKind::F16, 1, 70);
    for (const auto& [value, expected] : {std::pair{65519.0f, true}, {65520.0f, false}, {HUGE_VALF, true}}) {
        values[69] = value;
        const bool is_in_range =
            pack_rows(matrix, PanelPart::Whole, 0, 1, Encoding::F32, encode(Encoding::F32, values).data());
        check(is_in_range == expected, "the range of fp16");
    }
}

void test_numbers_that_no_integer_stands_for_are_found() {
    for (const WeightKind kind : {WeightKind::Q8, WeightKind::Q4Min}) {
        for (const auto& [value, expected] :
             {std::pair{65504.0f, true}, {1e9f, false}, {-HUGE_VALF, false}, {NAN, false}}) {
            std::vector<float> values(3 * 70, 1.0f);
            values[2 * 70 + 69] = value;
            Matrix matrix(kind, 3, 70);
            const bool is_in_range =
                pack_rows(matrix, PanelPart::Whole, 0, 3, Encoding::F32, encode(Encoding::F32, values).data());
            check(is_in_range == expected, "numbers that can be rounded to integers");
        }
    }
}

void test_blocks_scaled_by_no_number_are_found(Encoding encoding) {
    Random random(11);
    const auto [values, bytes] = block_size(encoding);
    const auto [first_half, num_halves] = halves_of(encoding);
    const int rows = 35;
    for (int half = 0; half < num_halves; ++half) {
        for (const uint16_t broken : {0x7c00, 0xfc00, 0x7e01}) {
            std::vector<uint8_t> blocks = random_blocks(random, encoding, rows, 2 * values, 1.0f);
            Matrix matrix(kind_of(encoding), rows, 2 * values);
            const auto pack = [&] { return pack_rows(matrix, PanelPart::Whole, 0, rows, encoding, blocks.data()); };
            check(pack(), "scales that are numbers");
            store_half(&blocks[static_cast<size_t>(33) * 2 * bytes + bytes + first_half + half * 2], broken);
            check(!pack(), "a scale that is none");
        }
    }
}

void test_the_halves_of_a_gated_pair_do_not_touch_each_other() {
    constexpr int rows = 37, columns = 33;
    Random random(6);
    const std::vector<float> gate = random.numbers(rows * columns), up = random.numbers(rows * columns);
    Matrix matrix(WeightKind::F32, ceil_div(rows, kLanes) * kPanelRows, columns);
    pack_rows(matrix, PanelPart::Second, 0, rows, Encoding::F32, encode(Encoding::F32, up).data());
    pack_rows(matrix, PanelPart::First, 0, rows, Encoding::F32, encode(Encoding::F32, gate).data());
    for (int row = 0; row < rows; ++row) {
        const int at = row / kLanes * kPanelRows + row % kLanes;
        const auto row_of = [&](const std::vector<float>& values) {
            return std::vector<float>(values.begin() + row * columns, values.begin() + (row + 1) * columns);
        };
        check(is_same(unpacked(matrix, at), row_of(gate)), "the first half holds the gate");
        check(is_same(unpacked(matrix, at + kLanes), row_of(up)), "the second half holds what is gated");
    }
}

void test_zeros_and_single_values_are_packed_without_a_division_by_zero() {
    for (const WeightKind kind : kKinds) {
        for (const float value : {0.0f, 1.0f, -2.5f, 1e-7f, 1e-30f, 6e4f}) {
            std::vector<float> values(kGroup, value);
            Matrix matrix(kind, 1, kGroup);
            pack_rows(matrix, PanelPart::Whole, 0, 1, Encoding::F32, encode(Encoding::F32, values).data());
            const std::vector<float> got = unpacked(matrix, 0);
            for (const float back : got) {
                check(is_close(back, value, std::max(1e-5, std::fabs(value) / 200.0)), "a group of equal values");
            }
        }
    }
}

void test_the_best_range_of_four_bits_is_no_worse_than_the_whole_range() {
    Random random(7);
    for (int trial = 0; trial < 200; ++trial) {
        std::vector<float> values = random.numbers(kGroup);
        values[random.below(kGroup)] *= static_cast<float>(random.between(1, 8));
        Matrix matrix(WeightKind::Q4Min, 1, kGroup);
        pack_rows(matrix, PanelPart::Whole, 0, 1, Encoding::F32, encode(Encoding::F32, values).data());
        const std::vector<float> got = unpacked(matrix, 0);
        const auto [low, high] = std::minmax_element(values.begin(), values.end());
        const float minimum = from_fp16(to_fp16(*low)), scale = from_fp16(to_fp16((*high - *low) / 15));
        double error = 0, plain = 0;
        for (int i = 0; i < kGroup; ++i) {
            const float nearest = std::min(15.0f, std::max(0.0f, std::nearbyint((values[i] - minimum) / scale)));
            error += std::pow(got[i] - values[i], 2), plain += std::pow(minimum + scale * nearest - values[i], 2);
        }
        check(error <= plain * 1.0001, "the squared error of four bits");
    }
}

}  // namespace

int main() {
    for (const Encoding encoding : {Encoding::F32, Encoding::F16, Encoding::BF16}) {
        for (const int columns : {1, 31, 32, 33, 80, 100}) {
            for (const int rows : {1, 32, 33, 70})
                test_floats_come_back_as_the_kind_holds_them(rows, columns, encoding);
        }
    }
    test_blocks_have_exactly_the_values_of_the_format();
    for (const Encoding encoding : kBlockEncodings) test_blocks_may_come_in_any_pieces(encoding);
    test_only_whole_blocks_are_packed();
    for (const Encoding encoding : kBlockEncodings) test_blocks_become_floats_of_the_same_values(encoding);
    test_numbers_beyond_a_range_are_found();
    test_numbers_that_no_integer_stands_for_are_found();
    for (const Encoding encoding : kBlockEncodings) test_blocks_scaled_by_no_number_are_found(encoding);
    test_the_halves_of_a_gated_pair_do_not_touch_each_other();
    test_zeros_and_single_values_are_packed_without_a_division_by_zero();
    test_the_best_range_of_four_bits_is_no_worse_than_the_whole_range();
    return report("pack");
}
