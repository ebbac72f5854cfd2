// Python bindings for the merges of a SentencePiece vocabulary.

#include <nanobind/nanobind.h>
#include <nanobind/stl/vector.h>

#include "bind_text.h"
#include "merges.h"

namespace nextword {
namespace {

// The left parts and the right ones, of the strings given, which are not copied; as lists for split_strings's reason.
// Throws ValueError if there are not as many scores. None is NaN.
nb::tuple merges_from_scores(const nb::list& tokens, const std::vector<double>& scores) {
    if (tokens.size() != scores.size()) throw nb::value_error("each token has one score");
    nb::list lefts, rights;
    for (const Merge& merge : merges_of(utf8_of(tokens), scores)) {
        lefts.append(tokens[static_cast<size_t>(merge.left)]);
        rights.append(tokens[static_cast<size_t>(merge.right)]);
    }
    return nb::make_tuple(lefts, rights);
}

}  // namespace

void bind_merges(nb::module_& m) {
    m.def("merges_from_scores", &merges_from_scores, nb::arg("tokens"), nb::arg("scores"));
}

}  // namespace nextword
