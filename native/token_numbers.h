// Numbers of tokens by their texts.

#ifndef NEXTWORD_TOKEN_NUMBERS_H
#define NEXTWORD_TOKEN_NUMBERS_H

#include <cstddef>
#include <functional>
#include <string_view>
#include <vector>

namespace nextword {

// A table of all tokens. The hashes side by side tell most texts that are no tokens without a look at any text, which
// would wait for memory.
class TokenNumbers {
public:
    // The texts are kept by reference. Of equal ones the last has the number.
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

}  // namespace nextword

#endif
