#include "merges.h"

#include <algorithm>

#include "token_numbers.h"

namespace nextword {

namespace {

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
