// Calls of the operating system: no other file of native/ includes a system's headers.

#ifndef NEXTWORD_SYSTEM_H
#define NEXTWORD_SYSTEM_H

#include <cstddef>

namespace nextword {

constexpr size_t kHugePage = size_t{1} << 21;

// Zeroed memory, on huge pages where the system has them. Whole huge pages begin at the beginning of one, so that all
// of them can be huge. Throws std::bad_alloc.
void* map_memory(size_t num_bytes);
void unmap_memory(void* memory, size_t num_bytes);

// Release the physical memory until it is used again; the content is then lost or kept.
void discard_memory(void* memory, size_t num_bytes);

// Let the pages of a mapped file that is only read leave the memory; they are read again if they are used again.
void release_mapped_pages(const void* memory, size_t num_bytes);

// Return freed heap memory to the system, where the C library can.
void trim_heap();

struct GuardedRange;

// While it lives, bytes that a mapped file has lost, since it was truncated or its disk fails, read as zeros from there
// to the end of the mapping, and it says so. Unguarded, reading them ends the process. The memory must outlive it. At
// most some thousand mappings are guarded at once, further ones are not; on Windows a mapped file cannot be truncated.
class MappingGuard {
public:
    MappingGuard(const void* memory, size_t num_bytes);
    ~MappingGuard();
    MappingGuard(const MappingGuard&) = delete;
    MappingGuard& operator=(const MappingGuard&) = delete;

    bool has_lost_bytes() const;

private:
    GuardedRange* range_;  // or none
};

// The number of this process: another one in a forked child.
int process_id();

// A function of the libraries that the process has loaded, or null.
void* find_function(const char* name);

// False if more threads of all programs want to run than there are cores, this one among them; true where the system
// does not say.
bool has_room_for_this_thread();

// True if the system lets this process and its children use the tiles of AMX: Linux wants to be asked first.
bool permits_tiles();

// Extensions of an ARM processor; false on others.
bool has_dot_product();    // SDOT and UDOT of FEAT_DotProd
bool has_int8_matrices();  // USMMLA and USDOT of FEAT_I8MM

}  // namespace nextword

#endif
