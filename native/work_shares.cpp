#include "work_shares.h"

#include <algorithm>

namespace nextword {

namespace {

constexpr int kUnitBits = 16;
constexpr uint64_t kUnitMask = (uint64_t{1} << kUnitBits) - 1;
static_assert(WorkShares::kMaxUnits == kUnitMask, "a ticket has room for the number of any unit");

uint64_t ticket_for(uint32_t job, int64_t begin, int64_t end) {
    return (uint64_t{job} << (2 * kUnitBits)) | (static_cast<uint64_t>(end) << kUnitBits) |
           static_cast<uint64_t>(begin);
}

uint64_t begin_of(uint64_t ticket) { return ticket & kUnitMask; }
uint64_t end_of(uint64_t ticket) { return (ticket >> kUnitBits) & kUnitMask; }

}  // namespace

void WorkShares::assign(uint32_t job, int num_units, int num_active, Call call, const void* work) {
    call_ = call;
    work_ = work;
    num_left_ = num_units;
    for (int i = 0; i < static_cast<int>(shares_.size()); ++i) {
        const int64_t begin = int64_t{num_units} * std::min(i, num_active) / num_active;
        const int64_t end = int64_t{num_units} * std::min(i + 1, num_active) / num_active;
        shares_[i].ticket = ticket_for(job, begin, end);
    }
}

int WorkShares::claim_and_do(int thread) {
    const int num_threads = static_cast<int>(shares_.size());
    for (int i = 0; i < num_threads; ++i) {
        const int taken = claim_from(shares_[(thread + i) % num_threads], i == 0);
        if (taken > 0) return taken;
    }
    return 0;
}

// Claim half of the units that are left in the share, and do them.
int WorkShares::claim_from(Share& share, bool is_own) {
    uint64_t ticket = share.ticket.load();
    while (begin_of(ticket) < end_of(ticket)) {
        const uint64_t taken = (end_of(ticket) - begin_of(ticket) + 1) / 2;
        const uint64_t first = is_own ? begin_of(ticket) : end_of(ticket) - taken;
        const Call call = call_;
        const void* work = work_;
        const uint64_t rest = is_own ? ticket + taken : ticket - (taken << kUnitBits);
        if (!share.ticket.compare_exchange_weak(ticket, rest)) continue;
        // The job cannot end before this piece is done, so what was read before the claim belongs to it.
        call(work, static_cast<int>(first), static_cast<int>(first + taken));
        return static_cast<int>(taken);
    }
    return 0;
}

}  // namespace nextword
