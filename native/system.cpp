#include "system.h"

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <new>

#if defined(_WIN32)
#define NOMINMAX
#define WIN32_LEAN_AND_MEAN
#include <windows.h>
// After windows.h, which it needs.
#include <malloc.h>
#else
#include <dlfcn.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>
#endif

#if defined(__APPLE__)
#include <malloc/malloc.h>
#include <sys/sysctl.h>
#elif defined(__GLIBC__)
#include <malloc.h>
#endif
#if defined(__linux__)
#include <sys/auxv.h>
#include <sys/syscall.h>
#endif

namespace nextword {

// ---- memory ----

namespace {

// The whole pages of a range: what lies beside it on the others is not touched.
struct Pages {
    void* begin;
    size_t num_bytes;
};

Pages pages_within(void* memory, size_t num_bytes, uintptr_t page) {
    const uintptr_t begin = (reinterpret_cast<uintptr_t>(memory) + page - 1) / page * page;
    const uintptr_t end = (reinterpret_cast<uintptr_t>(memory) + num_bytes) / page * page;
    return {reinterpret_cast<void*>(begin), end > begin ? end - begin : 0};
}

}  // namespace

#if defined(_WIN32)

void* map_memory(size_t num_bytes) {
    void* const memory = VirtualAlloc(nullptr, num_bytes, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE);
    if (memory == nullptr) throw std::bad_alloc();
    return memory;
}

void unmap_memory(void* memory, size_t) { VirtualFree(memory, 0, MEM_RELEASE); }

void discard_memory(void* memory, size_t num_bytes) {
    const Pages pages = pages_within(memory, num_bytes, 4096);
    if (pages.num_bytes > 0) VirtualAlloc(pages.begin, pages.num_bytes, MEM_RESET, PAGE_READWRITE);
}

void release_mapped_pages(const void*, size_t) {}  // which the system does by itself when it needs memory

void trim_heap() { _heapmin(); }

#else

namespace {

Pages whole_pages(void* memory, size_t num_bytes) {
    return pages_within(memory, num_bytes, static_cast<uintptr_t>(sysconf(_SC_PAGESIZE)));
}

}  // namespace

void* map_memory(size_t num_bytes) {
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
#if defined(MADV_HUGEPAGE)
    madvise(memory, num_bytes, MADV_HUGEPAGE);  // a hint: fewer page-table walks while weights are read
#endif
    return memory;
}

void unmap_memory(void* memory, size_t num_bytes) { munmap(memory, num_bytes); }

void discard_memory(void* memory, size_t num_bytes) {
    const Pages pages = whole_pages(memory, num_bytes);
#if defined(__APPLE__)
    constexpr int advice = MADV_FREE;  // MADV_DONTNEED would keep the memory
#else
    constexpr int advice = MADV_DONTNEED;
#endif
    if (pages.num_bytes > 0) madvise(pages.begin, pages.num_bytes, advice);
}

void release_mapped_pages(const void* memory, size_t num_bytes) {
    const Pages pages = whole_pages(const_cast<void*>(memory), num_bytes);
    if (pages.num_bytes > 0) madvise(pages.begin, pages.num_bytes, MADV_DONTNEED);
}

void trim_heap() {
#if defined(__APPLE__)
    malloc_zone_pressure_relief(nullptr, 0);
#elif defined(__GLIBC__)
    malloc_trim(0);
#endif
}

#endif

// ---- mapped files ----

struct GuardedRange {
    std::atomic<bool> is_taken{false}, has_lost_bytes{false};
    std::atomic<uintptr_t> begin{0}, end{0};  // equal until it is guarded
};

#if defined(_WIN32)

MappingGuard::MappingGuard(const void*, size_t) : range_(nullptr) {}
MappingGuard::~MappingGuard() = default;
bool MappingGuard::has_lost_bytes() const { return false; }

#else

namespace {

GuardedRange guarded_ranges[4096];  // without a lock, which a signal could not take
struct sigaction action_before;     // for SIGBUS
uintptr_t page_size = 0;

// Map zeros from the page of `at` to the end of the guarded range that it lies in; false if there is none.
bool map_zeros(uintptr_t at) {
    for (GuardedRange& range : guarded_ranges) {
        const uintptr_t end = range.end.load(), page = at / page_size * page_size;
        if (at < range.begin.load() || at >= end) continue;
        range.has_lost_bytes.store(true);
        return mmap(reinterpret_cast<void*>(page), end - page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
                    0) != MAP_FAILED;
    }
    return false;
}

void on_bus_error(int number, siginfo_t* info, void*) {
    const bool is_sent = info->si_code <= 0;  // by a program; otherwise the access is tried again after this
    if (!is_sent && map_zeros(reinterpret_cast<uintptr_t>(info->si_addr))) return;
    sigaction(number, &action_before, nullptr);
    if (is_sent) raise(number);
}

bool install_bus_handler() {
    page_size = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
    struct sigaction action = {};
    action.sa_sigaction = on_bus_error;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigemptyset(&action.sa_mask);
    return sigaction(SIGBUS, &action, &action_before) == 0;
}

}  // namespace

MappingGuard::MappingGuard(const void* memory, size_t num_bytes) : range_(nullptr) {
    static const bool is_installed = install_bus_handler();
    if (!is_installed) return;
    for (GuardedRange& range : guarded_ranges) {
        if (range.is_taken.exchange(true)) continue;
        range.has_lost_bytes.store(false);
        range.begin.store(reinterpret_cast<uintptr_t>(memory));
        range.end.store(reinterpret_cast<uintptr_t>(memory) + num_bytes);
        range_ = &range;
        return;
    }
}

MappingGuard::~MappingGuard() {
    if (range_ == nullptr) return;
    range_->end.store(0);
    range_->is_taken.store(false);
}

bool MappingGuard::has_lost_bytes() const { return range_ != nullptr && range_->has_lost_bytes.load(); }

#endif

// ---- the process ----

#if defined(_WIN32)

int process_id() { return static_cast<int>(GetCurrentProcessId()); }

void* find_function(const char*) { return nullptr; }

#else

int process_id() { return getpid(); }

void* find_function(const char* name) { return dlsym(RTLD_DEFAULT, name); }

#endif

// ---- the processor ----

bool has_room_for_this_thread() {
#if defined(__linux__)
    // The cores of the machine, not those of this process: the threads of all programs are counted.
    std::FILE* file = std::fopen("/proc/loadavg", "r");
    if (file == nullptr) return true;
    long num_running = 0;
    const bool is_known = std::fscanf(file, "%*f %*f %*f %ld", &num_running) == 1;
    std::fclose(file);
    return !is_known || num_running <= sysconf(_SC_NPROCESSORS_ONLN);
#else
    return true;
#endif
}

#if defined(__x86_64__) && defined(__linux__)

bool permits_tiles() {
    constexpr long request_permission = 0x1023, tile_data = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
    return syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
}

#else

bool permits_tiles() { return false; }

#endif

#if defined(__aarch64__) && defined(__APPLE__)

namespace {

bool has_feature(const char* name) {
    int has = 0;
    size_t size = sizeof has;
    return sysctlbyname(name, &has, &size, nullptr, 0) == 0 && has != 0;
}

}  // namespace

bool has_dot_product() { return has_feature("hw.optional.arm.FEAT_DotProd"); }
bool has_int8_matrices() { return has_feature("hw.optional.arm.FEAT_I8MM"); }

#elif defined(__aarch64__) && defined(__linux__)

// The kernel's numbers, which older headers do not name.
bool has_dot_product() { return (getauxval(AT_HWCAP) & (1ul << 20)) != 0; }
bool has_int8_matrices() { return (getauxval(AT_HWCAP2) & (1ul << 13)) != 0; }

#elif defined(__aarch64__) && defined(_WIN32)

// PF_ARM_V82_DP_INSTRUCTIONS_AVAILABLE and PF_ARM_V82_I8MM_INSTRUCTIONS_AVAILABLE, which older headers do not name.
bool has_dot_product() { return IsProcessorFeaturePresent(43) != 0; }
bool has_int8_matrices() { return IsProcessorFeaturePresent(66) != 0; }

#else

bool has_dot_product() { return false; }
bool has_int8_matrices() { return false; }

#endif

}  // namespace nextword
