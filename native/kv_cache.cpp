#include "kv_cache.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <stdexcept>
#include <string>

namespace nextword {

namespace {

// Keys of pages are larger than the numbers that stand in place of the key of the page before a sequence's first.
constexpr uint64_t kBeginnings = uint64_t{1} << 32;

uint64_t beginning(SequenceKind kind) { return 2 * static_cast<uint64_t>(kind.adapter) + (kind.is_long ? 1 : 0); }

// FNV-1a over the tokens, begun with the key of what stands before them. A find compares the tokens as well.
uint64_t hash_tokens(uint64_t before, const int32_t* token_ids) {
    uint64_t hash = 0xcbf29ce484222325u ^ before;
    for (int i = 0; i < kPagePositions; ++i) {
        hash = (hash ^ static_cast<uint32_t>(token_ids[i])) * 0x100000001b3u;
        hash ^= hash >> 29;
    }
    return std::max(hash, kBeginnings);
}

}  // namespace

PagePool::PagePool(int num_layers, size_t layer_bytes)
    : layer_bytes_(layer_bytes),
      page_bytes_(num_layers * layer_bytes),
      slab_pages_(static_cast<PageId>(std::max<size_t>(1, kSlabBytes / page_bytes_))) {}

PageId PagePool::take() {
    if (free_.empty()) {
        const PageId page = static_cast<PageId>(references_.size());
        if (page % slab_pages_ == 0) {
            references_.reserve(static_cast<size_t>(page) + slab_pages_);
            free_.reserve(static_cast<size_t>(page) + slab_pages_);
            slabs_.emplace_back(std::max(kSlabBytes, page_bytes_));
        }
        references_.push_back(0);
        free_.push_back(page);
    }
    const PageId page = free_.back();
    free_.pop_back();
    references_[page] = 1;
    ++num_held_;
    return page;
}

bool PagePool::release(PageId page) {
    const bool is_last = --references_[page] == 0;
    num_held_ -= is_last;
    return is_last;
}

void PagePool::discard(PageId page) {
    discard_memory(memory_of(page), page_bytes_);
    give_back(page);
}

void PagePool::copy(PageId from, PageId to) { std::memcpy(memory_of(to), memory_of(from), page_bytes_); }

const KVCache::Sequence& KVCache::sequence_of(int64_t id) const {
    const auto found = sequences_.find(id);
    if (found == sequences_.end()) throw std::out_of_range("no open sequence has the handle " + std::to_string(id));
    return found->second;
}

KVCache::Sequence& KVCache::sequence_of(int64_t id) {
    return const_cast<Sequence&>(static_cast<const KVCache*>(this)->sequence_of(id));
}

KVCache::KVCache(CacheShape shape) : shape_(std::move(shape)) {
    std::vector<int> distinct(shape_.windows);
    std::sort(distinct.begin(), distinct.end());
    distinct.erase(std::unique(distinct.begin(), distinct.end()), distinct.end());
    for (const int window : distinct) {
        const auto num_layers = std::count(shape_.windows.begin(), shape_.windows.end(), window);
        pools_.push_back({PagePool(static_cast<int>(num_layers), shape_.page.bytes() * shape_.num_kv_heads), window});
    }
    std::vector<int> seen(pools_.size());
    for (const int window : shape_.windows) {
        const auto pool = std::find(distinct.begin(), distinct.end(), window) - distinct.begin();
        pool_of_layer_.push_back(static_cast<int>(pool));
        index_in_pool_.push_back(seen[pool]++);
    }
    key_of_page_.resize(pools_.size());
}

int64_t KVCache::open(const std::vector<int32_t>& prompt, SequenceKind kind) {
    Sequence sequence;
    sequence.kind = kind;
    const int num_pages = reusable_pages(prompt, kind, sequence.keys);
    sequence.keys.resize(num_pages);
    const int length = num_pages * kPagePositions;
    sequence.token_ids.assign(prompt.begin(), prompt.begin() + length);
    sequence.num_settled = length;
    sequence.pages.resize(pools_.size());
    for (size_t pool = 0; pool < pools_.size(); ++pool) {
        for (int page = 0; page < num_pages; ++page) {
            const bool is_needed = page >= first_page(pools_[pool], length);
            sequence.pages[pool].push_back(is_needed ? prefixes_.at(sequence.keys[page]).pages[pool] : kNoPage);
        }
    }
    touch(sequence);
    return keep(std::move(sequence));
}

int64_t KVCache::fork(int64_t id) { return keep(Sequence(sequence_of(id))); }

// Keep a new sequence, which holds its pages from now on; returns its handle.
int64_t KVCache::keep(Sequence sequence) {
    const Sequence& kept = sequences_.emplace(next_id_, std::move(sequence)).first->second;
    for (size_t pool = 0; pool < pools_.size(); ++pool) {
        for (const PageId page : kept.pages[pool]) {
            if (page != kNoPage) pools_[pool].pages.share(page);
        }
    }
    return next_id_++;
}

// Make the prefixes of a sequence the youngest, its beginning last: it is evicted last, because the rest needs it.
void KVCache::touch(const Sequence& sequence) {
    for (auto key = sequence.keys.rbegin(); key != sequence.keys.rend(); ++key) {
        const auto found = prefixes_.find(*key);
        if (found != prefixes_.end()) by_age_.splice(by_age_.end(), by_age_, found->second.age);
    }
}

void KVCache::close(int64_t id) {
    const Sequence& sequence = sequence_of(id);
    touch(sequence);
    for (size_t pool = 0; pool < pools_.size(); ++pool) {
        for (const PageId page : sequence.pages[pool]) {
            if (page != kNoPage) release(pool, page);
        }
    }
    sequences_.erase(id);
}

// The page that holds the earliest position which the next token, at `position`, attends to.
int KVCache::first_page(const Pool& pool, int position) const {
    return pool.window == 0 ? 0 : std::max(0, position - pool.window + 1) / kPagePositions;
}

int KVCache::num_new_pages(const Sequence& sequence, size_t pool, int count) const {
    const int have = static_cast<int>(sequence.pages[pool].size());
    int needed = ceil_div(sequence.length() + count, kPagePositions) - have;
    if (writes_into_shared_page(sequence, pool, count)) ++needed;
    return needed;
}

bool KVCache::writes_into_shared_page(const Sequence& sequence, size_t pool, int count) const {
    const std::vector<PageId>& pages = sequence.pages[pool];
    const bool writes_into_last = count > 0 && sequence.length() < static_cast<int>(pages.size()) * kPagePositions;
    return writes_into_last && pools_[pool].pages.is_shared(pages.back());
}

bool KVCache::has_room(const std::vector<int64_t>& ids, const std::vector<int>& counts) const {
    size_t bytes = bytes_held();
    for (size_t pool = 0; pool < pools_.size(); ++pool) {
        std::unordered_map<PageId, int> writers;  // of shared pages
        int num_pages = 0;
        for (size_t i = 0; i < ids.size(); ++i) {
            const Sequence& sequence = sequence_of(ids[i]);
            num_pages += num_new_pages(sequence, pool, counts[i]);
            if (!writes_into_shared_page(sequence, pool, counts[i])) continue;
            const PageId page = sequence.pages[pool].back();
            // If all sequences that share a page write to it, the last one is its only holder by then and need not copy
            // it.
            if (++writers[page] == pools_[pool].pages.num_references(page)) --num_pages;
        }
        bytes += num_pages * pools_[pool].pages.page_bytes();
    }
    return bytes <= shape_.max_bytes;
}

PageId KVCache::new_page(size_t pool) {
    PagePool& pages = pools_[pool].pages;
    while (bytes_taken() + pages.page_bytes() > shape_.max_bytes) {
        if (!evict_oldest()) throw CacheFull();
    }
    return pages.take();
}

void KVCache::grow(int64_t id, const std::vector<int32_t>& token_ids) {
    Sequence& sequence = sequence_of(id);
    sequence.token_ids.reserve(sequence.token_ids.size() + token_ids.size());
    const std::vector<std::vector<PageId>> taken = take_pages(sequence, static_cast<int>(token_ids.size()));
    // Nothing can fail from here on.
    for (size_t pool = 0; pool < pools_.size(); ++pool) {
        std::vector<PageId>& pages = sequence.pages[pool];
        auto next = taken[pool].begin();
        if (writes_into_shared_page(sequence, pool, static_cast<int>(token_ids.size()))) {
            pools_[pool].pages.copy(pages.back(), *next);
            release(pool, pages.back());
            pages.back() = *next++;
        }
        pages.insert(pages.end(), next, taken[pool].end());
    }
    sequence.token_ids.insert(sequence.token_ids.end(), token_ids.begin(), token_ids.end());
}

void KVCache::shrink(int64_t id, int length) {
    Sequence& sequence = sequence_of(id);
    sequence.token_ids.resize(length);
    for (size_t pool = 0; pool < pools_.size(); ++pool) {
        std::vector<PageId>& pages = sequence.pages[pool];
        for (; static_cast<int>(pages.size()) > ceil_div(length, kPagePositions); pages.pop_back())
            release(pool, pages.back());
    }
}

// The new pages that a sequence needs in each pool for `count` more positions, and room in its lists for them. Takes
// all, or throws and takes none.
std::vector<std::vector<PageId>> KVCache::take_pages(Sequence& sequence, int count) {
    std::vector<std::vector<PageId>> taken(pools_.size());
    try {
        for (size_t pool = 0; pool < pools_.size(); ++pool) {
            const int num_pages = num_new_pages(sequence, pool, count);
            taken[pool].reserve(num_pages);
            sequence.pages[pool].reserve(sequence.pages[pool].size() + num_pages);
            while (static_cast<int>(taken[pool].size()) < num_pages) taken[pool].push_back(new_page(pool));
        }
    } catch (...) {
        for (size_t pool = 0; pool < pools_.size(); ++pool) {
            for (const PageId page : taken[pool]) release(pool, page);
        }
        throw;
    }
    return taken;
}

void KVCache::truncate(int64_t id, int length) {
    const Sequence& sequence = sequence_of(id);
    if (length < sequence.num_settled || length > sequence.length()) {
        throw std::invalid_argument("a sequence of " + std::to_string(sequence.length()) + " positions, of which " +
                                    std::to_string(sequence.num_settled) + " have settled, cannot end at " +
                                    std::to_string(length));
    }
    shrink(id, length);
}

void KVCache::settle(int64_t id, int num_tentative) {
    Sequence& sequence = sequence_of(id);
    sequence.num_settled = std::max(sequence.num_settled, sequence.length() - num_tentative);
    while (static_cast<int>(sequence.keys.size() + 1) * kPagePositions <= sequence.num_settled) {
        const size_t page = sequence.keys.size();
        const uint64_t before = page == 0 ? beginning(sequence.kind) : sequence.keys.back();
        const int32_t* token_ids = sequence.token_ids.data() + page * kPagePositions;
        const uint64_t key = hash_tokens(before, token_ids);
        if (prefixes_.count(key) != 0) {
            if (find(key, before, token_ids) == nullptr) break;  // another prefix has this key: leave it alone
            sequence.keys.push_back(key);
            continue;
        }
        sequence.keys.push_back(key);
        std::list<uint64_t> newest{key};
        Prefix prefix{before, {token_ids, token_ids + kPagePositions}, {}, newest.begin()};
        for (size_t pool = 0; pool < pools_.size(); ++pool) {
            prefix.pages.push_back(sequence.pages[pool][page]);
            if (prefix.pages.back() != kNoPage) key_of_page_[pool][prefix.pages.back()] = key;
        }
        prefixes_.emplace(key, std::move(prefix));
        by_age_.splice(by_age_.end(), newest);  // once there is such a prefix
    }
    for (size_t pool = 0; pool < pools_.size(); ++pool) {
        const int first = first_page(pools_[pool], sequence.num_settled);
        for (int page = first - 1; page >= 0 && sequence.pages[pool][page] != kNoPage; --page) {
            release(pool, sequence.pages[pool][page]);
            sequence.pages[pool][page] = kNoPage;
        }
    }
}

void KVCache::release(size_t pool, PageId page) {
    if (!pools_[pool].pages.release(page)) return;
    if (key_of_page_[pool].count(page) == 0) pools_[pool].pages.give_back(page);
}

// Evict the pages of the oldest prefix that no sequence holds. False if there are none.
bool KVCache::evict_oldest() {
    for (const uint64_t key : by_age_) {
        Prefix& prefix = prefixes_.at(key);
        bool gave_back = false, is_empty = true;
        for (size_t pool = 0; pool < pools_.size(); ++pool) {
            PageId& page = prefix.pages[pool];
            if (page != kNoPage && !pools_[pool].pages.is_held(page)) {
                key_of_page_[pool].erase(page);
                pools_[pool].pages.discard(page);
                page = kNoPage;
                gave_back = true;
            }
            is_empty = is_empty && page == kNoPage;
        }
        if (is_empty) {
            by_age_.erase(prefix.age);
            prefixes_.erase(key);
        }
        if (gave_back) return true;
    }
    return false;
}

const KVCache::Prefix* KVCache::find(uint64_t key, uint64_t before, const int32_t* token_ids) const {
    const auto found = prefixes_.find(key);
    if (found == prefixes_.end() || found->second.before != before) return nullptr;
    return std::equal(found->second.token_ids.begin(), found->second.token_ids.end(), token_ids) ? &found->second
                                                                                                 : nullptr;
}

// The number of pages at the beginning of the prompt that are cached in all pools that still need them, and their keys.
int KVCache::reusable_pages(const std::vector<int32_t>& prompt, SequenceKind kind, std::vector<uint64_t>& keys) const {
    std::vector<const Prefix*> found;
    const int most = (static_cast<int>(prompt.size()) - 1) / kPagePositions;
    for (int page = 0; page < most; ++page) {
        const int32_t* token_ids = prompt.data() + page * kPagePositions;
        const uint64_t before = keys.empty() ? beginning(kind) : keys.back();
        const uint64_t key = hash_tokens(before, token_ids);
        const Prefix* prefix = find(key, before, token_ids);
        if (prefix == nullptr) break;
        found.push_back(prefix);
        keys.push_back(key);
    }
    for (int num_pages = static_cast<int>(found.size()); num_pages > 0; --num_pages) {
        bool is_whole = true;
        for (size_t pool = 0; pool < pools_.size() && is_whole; ++pool) {
            for (int page = first_page(pools_[pool], num_pages * kPagePositions); page < num_pages; ++page) {
                is_whole = is_whole && found[page]->pages[pool] != kNoPage;
            }
        }
        if (is_whole) return num_pages;
    }
    return 0;
}

KVCache::LayerPages KVCache::layer(int64_t id, int layer) const {
    const size_t pool = pool_of_layer_[layer];
    LayerPages pages;
    pages.pool_ = &pools_[pool].pages;
    pages.pages_ = sequence_of(id).pages[pool].data();
    pages.layer_ = index_in_pool_[layer];
    pages.head_bytes_ = shape_.page.bytes();
    pages.keys_bytes_ = shape_.page.keys_bytes();
    return pages;
}

int64_t KVCache::max_positions() const {
    size_t bytes = 0;
    for (const Pool& pool : pools_) bytes += pool.pages.page_bytes();
    return static_cast<int64_t>(shape_.max_bytes / bytes) * kPagePositions;
}

size_t KVCache::bytes_held() const {
    size_t bytes = 0;
    for (const Pool& pool : pools_) bytes += pool.pages.bytes_held();
    return bytes;
}

size_t KVCache::bytes_taken() const {
    size_t bytes = 0;
    for (const Pool& pool : pools_) bytes += pool.pages.bytes_taken();
    return bytes;
}

}  // namespace nextword
