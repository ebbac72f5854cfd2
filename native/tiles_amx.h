// The matrix tiles of AMX: eight registers of up to 16 rows x 64 bytes. What `TileShapes` says of them is valid from
// `configure` to `release`, in the thread that calls these.
//
// The instructions are written out, because the compilers' intrinsics do not all say that they read memory.

#ifndef NEXTWORD_TILES_AMX_H
#define NEXTWORD_TILES_AMX_H

#include <cstddef>

#include "tile_shapes.h"

namespace nextword {
namespace {

struct AmxTiles {
    static void configure(const TileShapes& shapes) { asm volatile("ldtilecfg %0" ::"m"(shapes) : "memory"); }
    static void release() { asm volatile("tilerelease" ::: "memory"); }

    template <int tile>
    static void zero() {
        asm volatile("tilezero %%tmm%c0" ::"i"(tile));
    }
    template <int tile>
    static void load(const void* rows, size_t stride) {
        asm volatile("tileloadd (%0,%1,1), %%tmm%c2" ::"r"(rows), "r"(stride), "i"(tile) : "memory");
    }
    template <int tile>
    static void store(void* rows, size_t stride) {
        asm volatile("tilestored %%tmm%c2, (%0,%1,1)" ::"r"(rows), "r"(stride), "i"(tile) : "memory");
    }
    // sums += products of signed bytes.
    template <int sums, int a, int b>
    static void dot() {
        asm volatile("tdpbssd %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(sums), "i"(a), "i"(b));
    }
    // The same where the bytes of `b` are unsigned.
    template <int sums, int a, int b>
    static void dot_raised() {
        asm volatile("tdpbsud %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(sums), "i"(a), "i"(b));
    }
};

}  // namespace
}  // namespace nextword

#endif
