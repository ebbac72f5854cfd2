// The matrix tiles of AMX in plain C++, after Intel's description of each instruction. What would be an invalid opcode
// or a general protection fault ends the program.

#ifndef NEXTWORD_TESTS_TILE_MACHINE_H
#define NEXTWORD_TESTS_TILE_MACHINE_H

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace nextword {
// Each file has its own copy: some are compiled for processors with AVX2, and others run everywhere.
namespace {

class TileMachine {
public:
    // LDTILECFG
    void configure(const void* shapes) {
        uint8_t bytes[64];
        std::memcpy(bytes, shapes, sizeof bytes);
        require(bytes[0] == 1 && bytes[1] == 0, "palette 1, from the first row");
        for (int i = 2; i < 16; ++i) require(bytes[i] == 0, "reserved bytes");
        for (int tile = 0; tile < 16; ++tile) {
            const int row_bytes = bytes[16 + 2 * tile] | bytes[17 + 2 * tile] << 8, rows = bytes[48 + tile];
            require(row_bytes <= 64 && rows <= 16, "a tile has up to 16 rows x 64 bytes");
            require((row_bytes == 0) == (rows == 0), "rows, and bytes in them");
            require(tile < 8 || rows == 0, "eight tiles");
            if (tile < 8) tiles_[tile] = {row_bytes, rows, {}};
        }
        is_configured_ = true;
    }
    // TILERELEASE
    void release() {
        is_configured_ = false;
        for (Tile& tile : tiles_) tile = {};
    }
    bool is_configured() const { return is_configured_; }

    // TILEZERO
    void zero(int tile) { std::memset(configured(tile).at, 0, sizeof tiles_[tile].at); }

    // TILELOADD
    void load(int tile, const void* rows, int64_t stride) {
        zero(tile);
        for (int row = 0; row < tiles_[tile].rows; ++row) {
            std::memcpy(tiles_[tile].at[row], static_cast<const uint8_t*>(rows) + row * stride, tiles_[tile].row_bytes);
        }
    }

    // TILESTORED
    void store(int tile, void* rows, int64_t stride) {
        const Tile& from = configured(tile);
        for (int row = 0; row < from.rows; ++row) {
            std::memcpy(static_cast<uint8_t*>(rows) + row * stride, from.at[row], from.row_bytes);
        }
    }

    // TDPBSSD, and with unsigned bytes in `b` TDPBSUD.
    template <class Byte>
    void dot(int sums, int a, int b) {
        require(sums != a && sums != b && a != b, "three tiles");
        Tile &to = configured(sums), &left = configured(a), &right = configured(b);
        require(to.rows == left.rows && to.row_bytes == right.row_bytes && left.row_bytes == right.rows * 4 &&
                    to.row_bytes % 4 == 0,
                "shapes that can be multiplied");
        for (int m = 0; m < to.rows; ++m) {
            for (int k = 0; k < left.row_bytes / 4; ++k) {
                for (int n = 0; n < to.row_bytes / 4; ++n)
                    add_quad<Byte>(to.at[m] + 4 * n, left.at[m] + 4 * k, right.at[k] + 4 * n);
            }
        }
    }

private:
    struct Tile {
        int row_bytes = 0, rows = 0;
        uint8_t at[16][64] = {};
    };

    static void require(bool holds, const char* what) {
        if (holds) return;
        std::printf("matrix tiles: not as they must be: %s\n", what);
        std::abort();
    }

    Tile& configured(int tile) {
        require(is_configured_ && tile >= 0 && tile < 8 && tiles_[tile].rows != 0, "a configured tile");
        return tiles_[tile];
    }

    template <class Byte>
    static void add_quad(uint8_t* sum, const uint8_t* a, const uint8_t* b) {
        int32_t value;
        std::memcpy(&value, sum, sizeof value);
        for (int i = 0; i < 4; ++i) value += static_cast<int8_t>(a[i]) * static_cast<Byte>(b[i]);
        std::memcpy(sum, &value, sizeof value);
    }

    Tile tiles_[8];
    bool is_configured_ = false;
};

// The machine of this thread.
inline TileMachine& tile_machine() {
    static thread_local TileMachine machine;
    return machine;
}

}  // namespace
}  // namespace nextword

#endif
