#include "tensor.h"

#include "system.h"

namespace nextword {

Buffer::Buffer(size_t num_bytes) {
    if (num_bytes > 0) memory_ = std::unique_ptr<void, Unmap>(map_memory(num_bytes), Unmap{num_bytes});
}

void Unmap::operator()(void* memory) const { unmap_memory(memory, num_bytes); }

Matrix::Matrix(WeightKind kind, int rows, int columns) : kind(kind), rows(rows), columns(columns) {
    bytes = Buffer(panel_bytes() * num_panels());
}

}  // namespace nextword
