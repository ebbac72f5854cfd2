// The tiles of a thread while it uses them.

#ifndef NEXTWORD_TILE_SESSION_H
#define NEXTWORD_TILE_SESSION_H

#include "tile_shapes.h"

namespace nextword {
namespace {

// The tiles of this thread, in use with these shapes while this lives.
template <class Tiles, TileShapes shapes_of()>
class TileSession {
public:
    TileSession() {
        static constexpr TileShapes shapes = shapes_of();
        Tiles::configure(shapes);
    }
    ~TileSession() { Tiles::release(); }
    TileSession(const TileSession&) = delete;
    TileSession& operator=(const TileSession&) = delete;
};

}  // namespace
}  // namespace nextword

#endif
