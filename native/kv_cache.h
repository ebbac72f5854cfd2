// The paged KV cache: keys and values of many sequences, in pages of 32 positions. Sequences with a common prefix share
// its pages.
//
// Layers with full attention and layers with a sliding window have pages of their own: those of the latter are freed
// when the window has passed them. Full pages are cached by the tokens of their prefix until they are evicted.

#ifndef NEXTWORD_KV_CACHE_H
#define NEXTWORD_KV_CACHE_H

#include <cstdint>
#include <list>
#include <stdexcept>
#include <unordered_map>
#include <vector>

#include "cache_page.h"
#include "system.h"
#include "tensor.h"

namespace nextword {

struct CacheShape {
    PageShape page;
    int num_kv_heads = 0;
    std::vector<int> windows;  // for each layer the positions it attends to, 0 for all; one window for all that slide
    size_t max_bytes = 0;
};

// Thrown when the cache has reached its limit. When the system has no more memory, std::bad_alloc is thrown.
struct CacheFull : std::runtime_error {
    CacheFull() : std::runtime_error("the KV cache is full") {}
};

// Inputs besides its tokens on which a sequence's keys and values depend.
struct SequenceKind {
    bool is_long = false;  // rotated by LongRoPE's long factors
    int adapter = 0;       // its number, or 0 for none
};

// A page's number within its pool; kNoPage marks positions that a window has passed.
using PageId = int32_t;
constexpr PageId kNoPage = -1;

// Pages of some layers, with counted references. Memory is taken as it is needed; pages without references are reused.
class PagePool {
public:
    PagePool(int num_layers, size_t layer_bytes);

    size_t page_bytes() const { return page_bytes_; }
    size_t bytes_held() const { return num_held_ * page_bytes_; }
    // Number of pages that sequences hold or that are cached for their prefix.
    size_t bytes_taken() const { return (references_.size() - free_.size()) * page_bytes_; }
    uint8_t* layer(PageId page, int layer) const { return memory_of(page) + layer * layer_bytes_; }

    // Take a free page, or allocate one. Throws std::bad_alloc with no change; the methods below cannot fail.
    PageId take();
    void share(PageId page) { num_held_ += references_[page]++ == 0; }
    // True if no sequence holds the page any more.
    bool release(PageId page);
    void give_back(PageId page) { free_.push_back(page); }
    // Free a page and its memory.
    void discard(PageId page);
    int num_references(PageId page) const { return references_[page]; }
    bool is_shared(PageId page) const { return references_[page] > 1; }
    bool is_held(PageId page) const { return references_[page] > 0; }
    void copy(PageId from, PageId to);

private:
    // Large enough to lie on huge pages; memory is committed only where it is used.
    static constexpr size_t kSlabBytes = 16 * kHugePage;

    uint8_t* memory_of(PageId page) const {
        return slabs_[page / slab_pages_].data() + (page % slab_pages_) * page_bytes_;
    }

    size_t layer_bytes_, page_bytes_;
    PageId slab_pages_;
    std::vector<Buffer> slabs_;
    std::vector<int> references_;
    std::vector<PageId> free_;
    size_t num_held_ = 0;
};

class KVCache {
public:
    explicit KVCache(CacheShape shape);

    // Open a sequence and return its handle. It begins with the longest prefix of `prompt` whose pages are cached, but
    // never with all of it. Only sequences of the same kind share pages.
    int64_t open(const std::vector<int32_t>& prompt, SequenceKind kind = {});
    int64_t fork(int64_t id);
    void close(int64_t id);

    // Number of positions of the sequence. Like all methods below, throws std::out_of_range for a handle that is not
    // open.
    int length(int64_t id) const { return sequence_of(id).length(); }
    const SequenceKind& kind(int64_t id) const { return sequence_of(id).kind; }

    // True if all sequences can grow by these counts at once; pages that only keep old prefixes are evicted for it.
    bool has_room(const std::vector<int64_t>& ids, const std::vector<int>& counts) const;
    // Grow a sequence by some positions, copying shared pages that it will write. Throws CacheFull where has_room is
    // false, and std::bad_alloc where the system has no more memory; all sequences are then as before.
    void grow(int64_t id, const std::vector<int32_t>& token_ids);
    // Undo a growth that has not settled: the sequence ends at `length` again. Cannot fail.
    void shrink(int64_t id, int length);
    // End the step that wrote these positions: full pages are cached from now on, and pages that no window reaches are
    // freed. The last `num_tentative` positions do not settle before the next step.
    void settle(int64_t id, int num_tentative = 0);
    // Take back tentative positions: the sequence ends at `length`. Throws std::invalid_argument for a length beyond
    // its own or within what has settled.
    void truncate(int64_t id, int length);

    // The pages of one sequence in one layer. Valid until the sequence grows, settles or is closed.
    class LayerPages {
    public:
        uint8_t* keys(int head, int position) const {
            return pool_->layer(pages_[position / kPagePositions], layer_) + head * head_bytes_;
        }
        uint8_t* values(int head, int position) const { return keys(head, position) + keys_bytes_; }

    private:
        friend class KVCache;
        const PagePool* pool_;
        const PageId* pages_;
        int layer_;
        size_t head_bytes_, keys_bytes_;
    };
    LayerPages layer(int64_t id, int layer) const;

    const PageShape& page() const { return shape_.page; }
    int window(int layer) const { return shape_.windows[layer]; }
    size_t bytes_held() const;   // of pages that sequences hold
    size_t bytes_taken() const;  // of these and of cached prefixes
    // Positions that all sequences may have together.
    int64_t max_positions() const;

private:
    struct Pool {
        PagePool pages;
        int window;  // 0 for all
    };

    struct Sequence {
        std::vector<int32_t> token_ids;
        std::vector<std::vector<PageId>> pages;  // for each pool
        std::vector<uint64_t> keys;              // of its full pages, in the order of the sequence
        SequenceKind kind;
        int num_settled = 0;
        int length() const { return static_cast<int>(token_ids.size()); }
    };

    // A full page by its tokens and the tokens before it.
    struct Prefix {
        uint64_t before = 0;
        std::vector<int32_t> token_ids;
        std::vector<PageId> pages;  // for each pool, kNoPage where it was evicted
        std::list<uint64_t>::iterator age;
    };

    const Sequence& sequence_of(int64_t id) const;
    Sequence& sequence_of(int64_t id);
    int64_t keep(Sequence sequence);
    void touch(const Sequence& sequence);
    int first_page(const Pool& pool, int position) const;
    int num_new_pages(const Sequence& sequence, size_t pool, int count) const;
    bool writes_into_shared_page(const Sequence& sequence, size_t pool, int count) const;
    std::vector<std::vector<PageId>> take_pages(Sequence& sequence, int count);
    PageId new_page(size_t pool);
    bool evict_oldest();
    void release(size_t pool, PageId page);
    const Prefix* find(uint64_t key, uint64_t before, const int32_t* token_ids) const;
    int reusable_pages(const std::vector<int32_t>& prompt, SequenceKind kind, std::vector<uint64_t>& keys) const;

    CacheShape shape_;
    std::vector<Pool> pools_;
    std::vector<int> pool_of_layer_, index_in_pool_;
    std::unordered_map<int64_t, Sequence> sequences_;
    int64_t next_id_ = 0;
    std::unordered_map<uint64_t, Prefix> prefixes_;
    std::list<uint64_t> by_age_;                                     // keys of prefixes, the oldest first
    std::vector<std::unordered_map<PageId, uint64_t>> key_of_page_;  // for each pool
};

}  // namespace nextword

#endif
