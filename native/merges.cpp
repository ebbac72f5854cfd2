#include "merges.h"

#include <algorithm>
#include <functional>

namespace nextword {

namespace {

// Numbers of tokens by their texts. Most texts that are looked for are no tokens, and the hashes side by side say so
// without a look at any text, which would wait for memory.
class TokenNumbers {
public:
    explicit TokenNumbers(const std::vector<std::string_view>& tokens) : tokens_(tokens) {
        size_t size = 1;
        while (size < 2 * tokens.size() + 1) size *= 2;
        slots_.resize(size);
        for (size_t i = 0; i < tokens.size(); ++i) {
            const size_t hash = std::hash<std::string_view>()(tokens[i]);
            slots_[slot_of(tokens[i], hash)] = {hash, static_cast<int>(i)};
        }
    }

    // -1 if the text is no token.
    int find(std::string_view text) const { return slots_[slot_of(text, std::hash<std::string_view>()(text))].number; }

private:
    struct Slot {
        size_t hash = 0;
        int number = -1;
    };

    // The text's slot, or the empty one where it belongs.
    size_t slot_of(std::string_view text, size_t hash) const {
        const size_t last = slots_.size() - 1;
        for (size_t at = hash & last;; at = (at + 1) & last) {
            const Slot& slot = slots_[at];
            if (slot.number < 0) return at;
            if (slot.hash == hash && tokens_[static_cast<size_t>(slot.number)] == text) return at;
        }
    }

    const std::vector<std::string_view>& tokens_;
    std::vector<Slot> slots_;
};

struct Ranked {
    Merge merge;
    double score;
    int left_characters;
};

bool begins_character(char byte) { return (static_cast<unsigned char>(byte) & 0xc0) != 0x80; }

}  // namespace

std::vector<Merge> merges_of(const std::vector<std::string_view>& tokens, const std::vector<double>& scores) {
    const TokenNumbers numbers(tokens);
    std::vector<Ranked> ranked;
    for (size_t i = 0; i < tokens.size(); ++i) {
        const std::string_view token = tokens[i];
        int characters = 0;
        for (size_t cut = 1; cut < token.size(); ++cut) {
            if (!begins_character(token[cut])) continue;
            ++characters;
            const int left = numbers.find(token.substr(0, cut));
            if (left < 0) continue;
            const int right = numbers.find(token.substr(cut));
            if (right >= 0) ranked.push_back({{left, right}, scores[i], characters});
        }
    }
    std::stable_sort(ranked.begin(), ranked.end(), [](const Ranked& a, const Ranked& b) {
        return a.score != b.score ? a.score > b.score : a.left_characters > b.left_characters;
    });
    std::vector<Merge> merges;
    merges.reserve(ranked.size());
    for (const Ranked& one : ranked) merges.push_back(one.merge);
    return merges;
}

}  // namespace nextword
