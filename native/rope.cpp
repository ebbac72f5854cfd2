#include "rope.h"

#include <cmath>

namespace nextword {

RotationTables::RotationTables(const Shape& shape)
    : ropes_(shape.ropes), head_dim_(shape.head_dim), cosines_(ropes_.size()), sines_(ropes_.size()) {}

void RotationTables::resize(int num_tokens) {
    for (size_t rope = 0; rope < ropes_.size(); ++rope) {
        cosines_[rope].resize(ropes_[rope].frequencies.size() * num_tokens);
        sines_[rope].resize(cosines_[rope].size());
    }
}

void RotationTables::fill(int row, int position, bool is_long) {
    for (size_t index = 0; index < ropes_.size(); ++index) {
        const Rope& rope = ropes_[index];
        const auto& frequencies = is_long && !rope.long_frequencies.empty() ? rope.long_frequencies : rope.frequencies;
        float* cosine = cosines_[index].data() + frequencies.size() * row;
        float* sine = sines_[index].data() + frequencies.size() * row;
        for (size_t pair = 0; pair < frequencies.size(); ++pair) {
            const double angle = static_cast<float>(position) * frequencies[pair];
            cosine[pair] = static_cast<float>(std::cos(angle)) * rope.factor;
            sine[pair] = static_cast<float>(std::sin(angle)) * rope.factor;
        }
    }
}

void RotationTables::rotate(float* heads, int num_heads, int rope, int row) const {
    if (rope < 0) return;
    const int half = static_cast<int>(ropes_[rope].frequencies.size());
    const float* cosine = cosines_[rope].data() + static_cast<size_t>(row) * half;
    const float* sine = sines_[rope].data() + static_cast<size_t>(row) * half;
    for (int head = 0; head < num_heads; ++head) {
        float* first = heads + head * head_dim_;
        float* second = first + half;
        for (int i = 0; i < half; ++i) {
            const float a = first[i], b = second[i];
            first[i] = a * cosine[i] - b * sine[i];
            second[i] = b * cosine[i] + a * sine[i];
        }
    }
}

}  // namespace nextword
