// Python bindings for the merges of a SentencePiece vocabulary.

#include <nanobind/nanobind.h>
#include <nanobind/stl/vector.h>

#include "bind_text.h"
#include "merges.h"

namespace nextword {
namespace {

// Pairs of the strings given, which are not copied. Throws ValueError if there are not as many scores. None is NaN.
nb::list merges_from_scores(const nb::list& tokens, const std::vector<double>& scores) {
    if (tokens.size() != scores.size()) throw nb::value_error("each token has one score");
    nb::list merges;
    for (const Merge& merge : merges_of(utf8_of(tokens), scores)) {
        merges.append(
            nb::make_tuple(tokens[static_cast<size_t>(merge.left)], tokens[static_cast<size_t>(merge.right)]));
    }
    return merges;
}

}  // namespace

void bind_merges(nb::module_& m) {
    m.def("merges_from_scores", &merges_from_scores, nb::arg("tokens"), nb::arg("scores"));
}

}  // namespace nextword
