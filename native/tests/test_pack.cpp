// Packing and unpacking: exact for floats and for GGUF's own blocks, within half a step where values are rounded.

#include "pack.h"

#include <algorithm>

#include "check.h"
#include "half.h"

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
        const int first = rows / 3;
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

// A row of blocks with every byte random; scales stay finite.
std::vector<uint8_t> random_blocks(Random& random, Encoding encoding, int num_groups) {
    std::vector<uint8_t> row;
    for (int group = 0; group < num_groups; ++group) {
        for (int half = 0; half < (encoding == Encoding::Q4_1 ? 2 : 1); ++half) {
            const uint16_t bits = static_cast<uint16_t>(random.next() & 0xbbff);
            append(row, &bits, 2);
        }
        for (int i = 0; i < (encoding == Encoding::Q8_0 ? 32 : 16); ++i)
            row.push_back(static_cast<uint8_t>(random.next()));
    }
    return row;
}

float half_at(const uint8_t* bytes) {
    uint16_t half;
    std::memcpy(&half, bytes, 2);
    return from_fp16(half);
}

float block_value(Encoding encoding, const uint8_t* block, int at) {
    const float scale = half_at(block);
    if (encoding == Encoding::Q8_0) return scale * static_cast<float>(static_cast<int8_t>(block[2 + at]));
    const uint8_t* nibbles = block + (encoding == Encoding::Q4_1 ? 4 : 2);
    const int nibble = at < 16 ? nibbles[at] & 15 : nibbles[at - 16] >> 4;
    if (encoding == Encoding::Q4_1) return scale * static_cast<float>(nibble) + half_at(block + 2);
    return scale * static_cast<float>(nibble - 8);
}

void test_blocks_keep_exactly_their_values(Encoding encoding, WeightKind kind) {
    constexpr int rows = 67, columns = 96;
    Random random(5);
    Matrix matrix(kind, rows, columns);
    for (int row = 0; row < rows; ++row) {
        const std::vector<uint8_t> blocks = random_blocks(random, encoding, columns / kGroup);
        check(blocks.size() == row_bytes(encoding, columns), "the size of a row of blocks");
        pack_rows(matrix, PanelPart::Whole, row, 1, encoding, blocks.data());
        const std::vector<float> got = unpacked(matrix, row);
        for (int column = 0; column < columns; ++column) {
            const uint8_t* block = blocks.data() + row_bytes(encoding, kGroup) * (column / kGroup);
            check(got[column] == block_value(encoding, block, column % kGroup), "a block's value");
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
    test_blocks_keep_exactly_their_values(Encoding::Q8_0, WeightKind::Q8);
    test_blocks_keep_exactly_their_values(Encoding::Q4_0, WeightKind::Q4);
    test_blocks_keep_exactly_their_values(Encoding::Q4_1, WeightKind::Q4Min);
    test_the_halves_of_a_gated_pair_do_not_touch_each_other();
    test_zeros_and_single_values_are_packed_without_a_division_by_zero();
    test_the_best_range_of_four_bits_is_no_worse_than_the_whole_range();
    return report("pack");
}
