// SentencePiece's order of joining as ranked merges of BPE.

#ifndef NEXTWORD_MERGES_H
#define NEXTWORD_MERGES_H

#include <string_view>
#include <vector>

namespace nextword {

// The numbers of two tokens whose texts together are a third one's.
struct Merge {
    int left, right;
};

// All merges of tokens in UTF-8, no two of which are the same: the one into the token with the best score first. Of
// equal scores, the one with more characters in its left part comes first; then the order is that of the tokens.
std::vector<Merge> merges_of(const std::vector<std::string_view>& tokens, const std::vector<double>& scores);

}  // namespace nextword

#endif
