#include "tensor.h"

#include <sys/mman.h>
#include <unistd.h>

#ifdef __GLIBC__
#include <malloc.h>
#endif

#include <new>

namespace nextword {

Buffer::Buffer(size_t num_bytes) {
    if (num_bytes == 0) return;
    const size_t spare = num_bytes % kHugePage == 0 ? kHugePage : 0;
    void* const mapped = mmap(nullptr, num_bytes + spare, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped == MAP_FAILED) throw std::bad_alloc();
    uint8_t* memory = static_cast<uint8_t*>(mapped);
    if (spare > 0) {
        const size_t before = (kHugePage - reinterpret_cast<uintptr_t>(mapped) % kHugePage) % kHugePage;
        if (before > 0) munmap(mapped, before);
        memory += before;
        munmap(memory + num_bytes, spare - before);
    }
#ifdef MADV_HUGEPAGE
    madvise(memory, num_bytes, MADV_HUGEPAGE);  // a hint: fewer page-table walks while weights are read
#endif
    memory_ = std::unique_ptr<void, Unmap>(memory, Unmap{num_bytes});
}

void Unmap::operator()(void* memory) const { munmap(memory, num_bytes); }

void discard_memory(void* memory, size_t num_bytes) {
    // Whole pages within the range only; madvise requires page boundaries.
    const uintptr_t page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
    const uintptr_t begin = (reinterpret_cast<uintptr_t>(memory) + page - 1) / page * page;
    const uintptr_t end = (reinterpret_cast<uintptr_t>(memory) + num_bytes) / page * page;
    if (end > begin) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

void trim_heap() {
#ifdef __GLIBC__
    malloc_trim(0);
#endif
}

Matrix::Matrix(WeightKind kind, int rows, int columns) : kind(kind), rows(rows), columns(columns) {
    bytes = Buffer(panel_bytes() * num_panels());
}

}  // namespace nextword
