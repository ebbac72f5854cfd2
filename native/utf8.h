// Validation of UTF-8, by the rules of Python's decoder.

#ifndef NEXTWORD_UTF8_H
#define NEXTWORD_UTF8_H

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace nextword {

// Bytes of the character that begins here, of `size` that follow; 0 if it is none: cut off, longer than it has to be, a
// surrogate, or beyond U+10FFFF.
inline size_t utf8_length(const uint8_t* text, size_t size) {
    const auto continues = [&](size_t at, uint8_t least = 0x80, uint8_t most = 0xbf) {
        return at < size && least <= text[at] && text[at] <= most;
    };
    const uint8_t first = text[0];
    if (first < 0x80) return 1;
    if (0xc2 <= first && first <= 0xdf) return continues(1) ? 2 : 0;
    if (0xe0 <= first && first <= 0xef) {
        const bool is_valid = continues(1, first == 0xe0 ? 0xa0 : 0x80, first == 0xed ? 0x9f : 0xbf) && continues(2);
        return is_valid ? 3 : 0;
    }
    if (0xf0 <= first && first <= 0xf4) {
        const bool is_valid =
            continues(1, first == 0xf0 ? 0x90 : 0x80, first == 0xf4 ? 0x8f : 0xbf) && continues(2) && continues(3);
        return is_valid ? 4 : 0;
    }
    return 0;
}

inline bool is_utf8(std::string_view text) {
    for (size_t at = 0; at < text.size();) {
        const size_t length = utf8_length(reinterpret_cast<const uint8_t*>(text.data()) + at, text.size() - at);
        if (length == 0) return false;
        at += length;
    }
    return true;
}

}  // namespace nextword

#endif
